"""The safety report as SARIF 2.1.0, for pages that show findings beside code.

A property violated before the repair is a failure of the original file. Where the repaired file is proved, that
failure is suppressed with the proof as justification, for the original stays violated whatever we repair; and the
repaired file has a result of kind ``pass``. Where its behaviour is not kept the suppression is under review, and a
rule of its own says so. What is undecided has kind ``open``: by section 3.27.9 of the standard the tool had too little
information. Kinds other than ``fail`` have level ``none`` (3.27.10).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from birdnn.records import EvidenceFile, Guarantee, PropertyOutcome, PropertyRepair, SafetyReport
from birdnn.report.headline import behaviour_word
from birdnn.report.sarif_blocks import Objects, rules_of_examples

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_BEHAVIOUR = {
    "id": "birdnn/behaviour",
    "shortDescription": {"text": "Where nothing has to change the network does as before, as well as asked for."},
    "defaultConfiguration": {"level": "warning"},
}
_KINDS: Mapping[Guarantee, tuple[str, str]] = {
    "proved": ("pass", "none"),
    "violated": ("fail", "error"),
    "unknown": ("open", "none"),
}


def sarif_log(report: SafetyReport) -> dict[str, Any]:
    """A SARIF log with one run."""
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}


def _run(report: SafetyReport) -> dict[str, Any]:
    outcome = report.outcome
    if isinstance(outcome, PropertyRepair):
        rules, results = _rules_of_properties(outcome, report)
    else:
        rules, results = rules_of_examples(outcome, report.files)
    return {
        "tool": {
            "driver": {
                "name": "birdnn",
                "semanticVersion": outcome.versions.get("birdnn", report.birdnn),
                "rules": rules,
            }
        },
        "invocations": [
            {
                # Of the tool, which ran to its end; what it found bad stands in the results.
                "executionSuccessful": True,
                "commandLine": shlex.join(outcome.request.command),
                "toolExecutionNotifications": [
                    {
                        "level": "error" if risk.weight == "stop" else "warning",
                        "message": {"text": f"{risk.topic}. {risk.text}"},
                    }
                    for risk in report.risks
                    if risk.weight in ("stop", "open")
                ],
            }
        ],
        "artifacts": [_artifact(entry) for entry in report.files],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": report.summary.verdict,
            "tone": report.summary.tone,
            "headline": report.summary.headline,
            "behaviourKept": behaviour_word(outcome),
        },
    }


def _rules_of_properties(outcome: PropertyRepair, report: SafetyReport) -> tuple[Objects, Objects]:
    """Rules, one for each property, and the results of the networks before and after."""
    nets = {entry.role: place for place, entry in enumerate(report.files) if entry.role.startswith("network")}
    before = nets["network before"]
    after = nets.get("network after", before)
    results: Objects = []
    for rule, prop in enumerate(outcome.properties):
        # Where nothing was written both networks are one file, and the result below says it.
        if prop.before == "violated" and outcome.out is not None:
            results.append(_result(report.files[before], before, rule, prop) | _before_fields(outcome, prop))
        results.append(_result(report.files[after], after, rule, prop) | _after_fields(outcome, prop))
    rules = [_rule(prop) for prop in outcome.properties]
    # A list of passes would be taken for success, and a proof alone is none.
    if (word := behaviour_word(outcome)) not in (None, "kept"):
        results.append(_behaviour_result(report, len(rules), nets["network after"], bad=word == "badly kept"))
        rules.append(_BEHAVIOUR)
    return rules, results


def _rule(prop: PropertyOutcome) -> dict[str, Any]:
    return {
        "id": prop.name,
        "shortDescription": {"text": prop.text or prop.name},
        "defaultConfiguration": {"level": "error"},
        "properties": {"sha256": prop.sha256, "role": prop.role},
    }


def _behaviour_result(report: SafetyReport, rule: int, place: int, *, bad: bool) -> dict[str, Any]:
    """The network that is handed over, where a proof is not all that was asked for."""
    entry = report.files[place]
    uri = Path(entry.path).absolute().as_uri()
    return {
        "ruleId": _BEHAVIOUR["id"],
        "ruleIndex": rule,
        "kind": "fail" if bad else "open",
        "level": "warning" if bad else "none",
        "message": {"text": report.summary.headline},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": place}}}],
        "partialFingerprints": {"networkAndBehaviour/v1": entry.recorded_sha256},
    }


def _artifact(entry: EvidenceFile) -> dict[str, Any]:
    return {
        "location": {
            "uri": Path(entry.path).absolute().as_uri(),
            "description": {"text": f"{entry.role}: {entry.name}"},
        },
        "hashes": {"sha-256": entry.recorded_sha256},
        "properties": {"state": entry.state},
    }


def _result(file: EvidenceFile, place: int, rule: int, prop: PropertyOutcome) -> dict[str, Any]:
    uri = Path(file.path).absolute().as_uri()
    return {
        "ruleId": prop.name,
        "ruleIndex": rule,
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": place}}}],
        # By these a page of findings knows the same one again in a later run, wherever the files lie.
        "partialFingerprints": {"networkAndProperty/v1": f"{file.recorded_sha256}:{prop.sha256}"},
    }


def _before_fields(outcome: PropertyRepair, prop: PropertyOutcome) -> dict[str, Any]:
    """The original, which is violated and stays so."""
    x = list(prop.counterexamples[0].x) if prop.counterexamples else []
    # An image would fill the page; repair.json has it.
    shown = f" by the input {x}" if 0 < len(x) <= 16 else ""
    found: dict[str, Any] = {
        "kind": "fail",
        "level": "error",
        "message": {"text": f"The network before the repair violates {prop.name}{shown}. {prop.text}"},
    }
    if prop.after == "proved":
        certificate = outcome.certificate
        proof = f"; certificate sha256 {certificate.sha256}, {certificate.checked}" if certificate else ""
        told = f"Repaired: proved for the network with sha256 {outcome.out_sha256}{proof}"
        status = "accepted" if behaviour_word(outcome) == "kept" else "underReview"
        found["suppressions"] = [{"kind": "external", "status": status, "justification": told}]
    return found


def _after_fields(outcome: PropertyRepair, prop: PropertyOutcome) -> dict[str, Any]:
    """The network that is handed over."""
    kind, level = _KINDS[prop.after]
    which = "best attempt" if outcome.attempt else "repaired network" if outcome.out else "network"
    said = {
        "pass": f"Proved: the {which} satisfies {prop.name} ({prop.arithmetic}).",
        "fail": f"The {which} violates {prop.name}. {prop.text}",
        "open": f"Undecided: {prop.name} is neither proved nor refuted for the {which}.",
    }[kind]
    return {"kind": kind, "level": level, "message": {"text": said}}
