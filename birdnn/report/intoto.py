"""The safety report as an in-toto Statement v1; docs/report.md defines the predicate.

It binds, by sha256, the network before and after, each property, the certificate and the version of the tool. It is a
statement, not a signature: whoever signs it puts it into a DSSE envelope.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birdnn.records import AnyRepair, BlockRepair, EvidenceFile, PropertyOutcome, PropertyRepair, SafetyReport
from birdnn.report.headline import behaviour_word
from birdnn.report.risks_blocks import ROLES

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:birdnn:attestation:repair:v1"


def intoto_statement(report: SafetyReport) -> dict[str, Any]:
    """The statement; its subject is the network that is handed over, repaired or found in order."""
    outcome = report.outcome
    by_role: dict[str, list[EvidenceFile]] = {}
    for entry in report.files:
        by_role.setdefault(entry.role, []).append(entry)
    before = by_role["network before"][0]
    subject = by_role.get("network after", [before])[0]
    return {
        "_type": STATEMENT,
        "subject": [_resource_descriptor(subject)],
        "predicateType": PREDICATE,
        "predicate": {
            "tool": {
                "name": "birdnn",
                "version": outcome.versions.get("birdnn", "unknown"),
                "versions": dict(outcome.versions),
            },
            "verdict": report.summary.verdict,
            "outcome": outcome.result,
            "headline": report.summary.headline,
            "tone": report.summary.tone,
            "behaviourKept": behaviour_word(outcome),
            "semantics": None,
            "networkBefore": _resource_descriptor(before),
            "networkAfter": _resource_descriptor(by_role["network after"][0]) if "network after" in by_role else None,
            "properties": [],
            "examples": [],
            "certificate": None,
            "checker": None,
            "outcomeFile": _resource_descriptor(by_role["outcome"][0]),
            "invocation": {"command": shlex.join(outcome.request.command), "seed": outcome.request.seed},
            "residualRisks": [
                {"weight": risk.weight, "topic": risk.topic} for risk in report.risks if risk.weight in ("stop", "open")
            ],
        }
        | _evidence_fields(outcome, by_role),
    }


def _evidence_fields(outcome: AnyRepair, by_role: Mapping[str, Sequence[EvidenceFile]]) -> dict[str, Any]:
    """What the repair rests on; fields that are not here have nothing to say."""
    if not isinstance(outcome, PropertyRepair):
        return {"examples": _example_entries(outcome.blocks, by_role)}
    stored, found = outcome.certificate, by_role.get("certificate", [])
    return {
        "semantics": outcome.semantics,
        "properties": [_property_entry(prop) for prop in outcome.properties],
        "certificate": _resource_descriptor(found[0]) if found else None,
        "checker": stored.checked if stored else None,
    }


def _property_entry(prop: PropertyOutcome) -> dict[str, Any]:
    return {
        "name": prop.name,
        "digest": {"sha256": prop.sha256},
        "before": prop.before,
        "after": prop.after,
        "arithmetic": prop.arithmetic,
    }


def _example_entries(repair: BlockRepair, by_role: Mapping[str, Sequence[EvidenceFile]]) -> list[dict[str, Any]]:
    """What a repair by labelled examples rests on: each file, and how many of it are right."""
    ours = repair.methods[0].accuracy
    return [
        _resource_descriptor(by_role[f"{ROLES[entry.role]} examples"][0])
        | {
            "role": entry.role,
            "n": entry.n,
            "rightBefore": repair.before[entry.role].right,
            "rightAfter": ours[entry.role].right,
        }
        for entry in repair.examples
    ]


def _resource_descriptor(entry: EvidenceFile) -> dict[str, Any]:
    """An in-toto ResourceDescriptor."""
    # As recorded, not as found: the evidence is about these bytes. No path, which means nothing elsewhere.
    return {"name": Path(entry.path).name, "digest": {"sha256": entry.recorded_sha256}}
