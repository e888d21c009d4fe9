"""The sections of the safety report and their numbers: of repairs by properties, and of those by examples."""

from __future__ import annotations

from collections.abc import Mapping

from birdnn.records import PropertyRepair, RepairOutcome

_BY_PROPERTIES = {
    "scope": "Scope and hashes",
    "properties": "Properties in words and units",
    "defects": "Defect evidence",
    "localisation": "Localisation",
    "change": "The change",
    "kept": "What was preserved",
    "verdicts": "Verdict matrix",
    "certificate": "Certificate and the checker’s log",
    "sampling": "Sampling",
    "risks": "Assumptions and residual risk",
    "reproduction": "Reproduction",
    "standards": "Standards: evidence offered toward",
}
_BY_EXAMPLES = {
    "scope": "Scope and hashes",
    "blocks": "Which block, and why",
    "change": "The change",
    "accuracy": "Accuracy before and after",
    "risks": "Residual risk",
    "reproduction": "Reproduction",
    "standards": "Standards: evidence offered toward",
}


def section_titles(outcome: RepairOutcome) -> Mapping[str, str]:
    """Key of each section -> its title, in order."""
    return _BY_PROPERTIES if isinstance(outcome, PropertyRepair) else _BY_EXAMPLES


def section_numbers(outcome: RepairOutcome) -> Mapping[str, int]:
    """Key of each section -> its number, from 1."""
    return {key: place for place, key in enumerate(section_titles(outcome), 1)}
