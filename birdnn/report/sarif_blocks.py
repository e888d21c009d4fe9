"""A repair by labelled examples as SARIF rules and results: one rule for each file of examples.

An example that is wrong is a finding, level ``warning``: no network is asked to get every example right. Where none is
wrong the result is ``open``, never ``pass``: counts prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from birdnn.records import Accuracy, EvidenceFile, ExampleRepair, Examples
from birdnn.report.risks_blocks import ROLES

Objects = list[dict[str, Any]]


def rules_of_examples(outcome: ExampleRepair, files: Sequence[EvidenceFile]) -> tuple[Objects, Objects]:
    """Rules, and for each the result of the network before and of the one that was written."""
    return [_rule(entry) for entry in outcome.blocks.examples], list(_results(outcome, files))


def _rule_id(examples: Examples) -> str:
    return f"{ROLES[examples.role]}-examples"


def _rule(examples: Examples) -> dict[str, Any]:
    name = ROLES[examples.role]
    return {
        "id": _rule_id(examples),
        "shortDescription": {"text": f"The network gives the right class for each of {examples.n:,} {name} examples."},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"sha256": examples.sha256, "role": examples.role},
    }


def _results(outcome: ExampleRepair, files: Sequence[EvidenceFile]) -> Iterator[dict[str, Any]]:
    repair = outcome.blocks
    for rule, examples in enumerate(repair.examples):
        counts = {"network before": repair.before[examples.role]}
        if outcome.out is not None:
            counts["network after"] = repair.methods[0].accuracy[examples.role]
        # All files, for a location names its artifact by its place among them.
        for place, entry in enumerate(files):
            if entry.role in counts:
                yield _result(rule, examples, entry, place, counts[entry.role])


def _result(rule: int, examples: Examples, file: EvidenceFile, place: int, counted: Accuracy) -> dict[str, Any]:
    wrong = counted.n - counted.right
    which = "network before the repair" if file.role == "network before" else "repaired network"
    told = f"The {which} gets {wrong:,} of {counted.n:,} {ROLES[examples.role]} examples wrong."
    uri = Path(file.path).absolute().as_uri()
    return {
        "ruleId": _rule_id(examples),
        "ruleIndex": rule,
        "kind": "fail" if wrong else "open",
        "level": "warning" if wrong else "none",
        "message": {"text": told if wrong else f"{told} That proves nothing of other inputs."},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": place}}}],
        "partialFingerprints": {"networkAndExamples/v1": f"{file.recorded_sha256}:{examples.sha256}"},
    }
