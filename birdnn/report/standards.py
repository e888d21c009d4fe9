"""Where standards and guidance ask for what this report has: evidence offered toward them, never compliance.

A tool cannot claim that a system complies. It can say which of its evidence speaks to which request, and whether this
very outcome has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from birdnn.report.schema_safety import OfferedModel, SafetyReport

DISCLAIMER = (
    "Evidence offered toward the requests below. Nothing here states or implies that a network, a process or a "
    "product complies with any of them: that is for the applicant and the authority to judge."
)

_EASA, _DRAFT = "EASA concept paper, issue 2", "ED-324 / ARP6983 (draft)"


@dataclass(frozen=True, slots=True)
class _Request:
    """What a source asks for, what we have for it and where; `have`: all that is asked for, at least a part of it."""

    source: str
    asks: str
    evidence: str
    section: int
    have: Callable[[SafetyReport], tuple[bool, bool]]


def _proved(report: SafetyReport) -> bool:
    return report.summary.verdict in ("proved", "proved as it was")


def _accepted(report: SafetyReport) -> bool:
    stored = report.outcome.certificate
    return stored is not None and stored.checked.startswith("accepted")


def _stated(report: SafetyReport) -> bool:
    return all(prop.regions for prop in report.properties)


def _confirmed(report: SafetyReport) -> bool:
    return all(entry.state == "as recorded" for entry in report.files)


_REQUESTS = (
    _Request(
        _EASA,
        "Operational domain of the model",
        "Declared input domain and each property’s input region, in the suite’s units",
        2,
        lambda r: (r.outcome.domain is not None and _stated(r), r.outcome.domain is not None or _stated(r)),
    ),
    _Request(
        _EASA,
        "Stability of the trained model; behaviour kept by a change",
        "Fidelity over the domain and each repaired region, drawdown of every applicable property",
        6,
        lambda r: (r.outcome.fidelity is not None, bool(r.outcome.drawdown.properties)),
    ),
    _Request(
        _EASA,
        "Equivalence of the inference model",
        "Proof about the file as stored, for executions in float32; counterexamples replayed by onnxruntime",
        7,
        lambda r: (_proved(r) and r.outcome.semantics == "float32", bool(r.defects) or _proved(r)),
    ),
    _Request(
        _DRAFT,
        "Trace from requirement to evidence",
        "Property file by hash, its statement in words, the verdict and the proof of each",
        2,
        lambda r: (_stated(r) and _proved(r), True),
    ),
    _Request(
        "DO-333",
        "Formal notation, soundness argument for each method, assumptions stated",
        "Properties in VNN-LIB; docs/soundness.md and docs/certificate.md; assumptions in section 10",
        10,
        lambda r: (_proved(r), True),
    ),
    _Request(
        "DO-330",
        "Independent check of the tool’s output; tool version and known limits",
        "Certificate accepted by a checker that shares no code with the prover; versions in section 11",
        8,
        lambda r: (_accepted(r), True),
    ),
    _Request(
        "ISO/PAS 8800",
        "Insufficiency found, root cause, change, re-verification",
        "Counterexamples, responsible neurons, changed parameters, verdicts after the change",
        3,
        lambda r: (bool(r.defects and r.outcome.localisation) and _proved(r), bool(r.defects)),
    ),
    _Request(
        "UL 4600",
        "Evidence is valid for this configuration",
        "sha256 of the networks, every property and the certificate, compared when the report was made",
        1,
        lambda r: (_confirmed(r), True),
    ),
    _Request(
        "AMLAS",
        "Verification log and independence of verification",
        "Verdict matrix with engine, arithmetic and time; the checker’s log; other engines where asked",
        7,
        lambda r: (_accepted(r), True),
    ),
)


def mapping(report: SafetyReport) -> list[OfferedModel]:
    """Each request with what this outcome has for it; ``report`` without its own mapping."""
    return [_offered(request, report) for request in _REQUESTS]


def _offered(request: _Request, report: SafetyReport) -> OfferedModel:
    fully, partly = request.have(report)
    return OfferedModel(
        source=request.source,
        asks=request.asks,
        offered="offered" if fully else "in part" if partly else "not offered",
        evidence=request.evidence,
        section=request.section,
    )
