"""Where standards and guidance ask for what this report has: evidence offered toward them, never compliance.

A tool cannot claim that a system complies. It can say which of its evidence speaks to which request, and whether this
very outcome has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from birdnn.records import ExampleRepair, Offered, PropertyRepair, RepairOutcome, SafetyReport
from birdnn.report.headline import behaviour_word
from birdnn.report.sections import section_numbers

DISCLAIMER = (
    "Evidence offered toward the requests below. Nothing here states or implies that a network, a process or a "
    "product complies with any of them: that is for the applicant and the authority to judge."
)

R = TypeVar("R", bound=RepairOutcome)

_EASA, _DRAFT = "EASA concept paper, issue 2", "ED-324 / ARP6983 (draft)"


@dataclass(frozen=True, slots=True)
class _Request(Generic[R]):
    """What a source asks for, what we have for it and in which section; `have`: all of it, at least a part of it."""

    source: str
    asks: str
    evidence: str
    section: str
    have: Callable[[SafetyReport, R], tuple[bool, bool]]


def _is_proved(report: SafetyReport) -> bool:
    return report.summary.verdict in ("proved", "proved as it was")


def _is_accepted(outcome: PropertyRepair) -> bool:
    return outcome.certificate is not None and outcome.certificate.answer == "accepted"


def _has_stated_regions(report: SafetyReport) -> bool:
    return all(prop.regions for prop in report.properties)


def _has_confirmed_files(report: SafetyReport) -> bool:
    return all(entry.state == "as recorded" for entry in report.files)


_BY_PROPERTIES: tuple[_Request[PropertyRepair], ...] = (
    _Request(
        _EASA,
        "Operational domain of the model",
        "Declared input domain and each property’s input region, in the suite’s units",
        "properties",
        lambda r, o: (o.domain is not None and _has_stated_regions(r), o.domain is not None or _has_stated_regions(r)),
    ),
    _Request(
        _EASA,
        "Stability of the trained model; behaviour kept by a change",
        "Fidelity over the domain and each repaired region, drawdown of every applicable property",
        "kept",
        lambda r, o: (
            o.fidelity is not None and behaviour_word(o) == "kept",
            bool(o.drawdown.properties),
        ),
    ),
    _Request(
        _EASA,
        "Equivalence of the inference model",
        "Proof about the file as stored, for executions in float32; counterexamples replayed by onnxruntime",
        "verdicts",
        # Over the reals a proof speaks about no execution, so it is a part at most.
        lambda r, o: (_is_proved(r) and o.semantics == "float32", bool(r.defects) or _is_proved(r)),
    ),
    _Request(
        _DRAFT,
        "Trace from requirement to evidence",
        "Property file by hash, its statement in words, the verdict and the proof of each",
        "properties",
        lambda r, o: (_has_stated_regions(r) and _is_proved(r), True),
    ),
    _Request(
        "DO-333",
        "Formal notation, soundness argument for each method, assumptions stated",
        "Properties in VNN-LIB; docs/soundness.md and docs/certificate.md; assumptions listed",
        "risks",
        lambda r, o: (_is_proved(r), True),
    ),
    _Request(
        "DO-330",
        "Independent check of the tool’s output; tool version and known limits",
        "Certificate accepted by a checker that shares no code with the prover; versions under Reproduction",
        "certificate",
        lambda r, o: (_is_accepted(o), True),
    ),
    _Request(
        "ISO/PAS 8800",
        "Insufficiency found, root cause, change, re-verification",
        "Counterexamples, responsible neurons, changed parameters, verdicts after the change",
        "defects",
        lambda r, o: (bool(r.defects and o.localisation) and _is_proved(r), bool(r.defects)),
    ),
    _Request(
        "UL 4600",
        "Evidence is valid for this configuration",
        "sha256 of the networks, every property and the certificate, compared when the report was made",
        "scope",
        lambda r, o: (_has_confirmed_files(r), True),
    ),
    _Request(
        "AMLAS",
        "Verification log and independence of verification",
        "Verdict matrix with engine, arithmetic and time; the checker’s log; other engines where asked",
        "verdicts",
        lambda r, o: (_is_accepted(o), True),
    ),
)


# The same requests in the same order, also where there is nothing to offer: what is missing has to be seen.
_BY_EXAMPLES: tuple[_Request[ExampleRepair], ...] = (
    _Request(
        _EASA,
        "Operational domain of the model",
        "None is declared, and labelled examples do not describe one",
        "scope",
        lambda r, o: (False, False),
    ),
    _Request(
        _EASA,
        "Stability of the trained model; behaviour kept by a change",
        "Decisions kept and examples broken, as counts; which nodes and initialisers kept their bytes",
        "accuracy",
        lambda r, o: (False, o.out is not None),
    ),
    _Request(
        _EASA,
        "Equivalence of the inference model",
        "No proof and no replay: answers were counted by birdnn on the file as written",
        "accuracy",
        lambda r, o: (False, False),
    ),
    _Request(
        _DRAFT,
        "Trace from requirement to evidence",
        "Each file of examples by hash and role, and how many are right before and after",
        "scope",
        lambda r, o: (False, True),
    ),
    _Request(
        "DO-333",
        "Formal notation, soundness argument for each method, assumptions stated",
        "Nothing is proved by this method; what it leaves open is stated",
        "risks",
        lambda r, o: (False, False),
    ),
    _Request(
        "DO-330",
        "Independent check of the tool’s output; tool version and known limits",
        "Versions and limits; there is no certificate that a checker could examine",
        "reproduction",
        lambda r, o: (False, True),
    ),
    _Request(
        "ISO/PAS 8800",
        "Insufficiency found, root cause, change, re-verification",
        "Failing examples, suspicious blocks, the change of one, counts after it; no verification",
        "blocks",
        lambda r, o: (False, True),
    ),
    _Request(
        "UL 4600",
        "Evidence is valid for this configuration",
        "sha256 of the networks and of every file of examples, compared when the report was made",
        "scope",
        lambda r, o: (_has_confirmed_files(r), True),
    ),
    _Request(
        "AMLAS",
        "Verification log and independence of verification",
        "Counts for each file and method, no proof; independence is that of held-out examples, if there are any",
        "accuracy",
        lambda r, o: (False, any(entry.role == "held-out examples" for entry in r.files)),
    ),
)


def standards_mapping(report: SafetyReport) -> tuple[Offered, ...]:
    """Each request with what this outcome has for it; ``report`` without its own mapping."""
    outcome = report.outcome
    if isinstance(outcome, PropertyRepair):
        return tuple(_offered_evidence(request, report, outcome) for request in _BY_PROPERTIES)
    return tuple(_offered_evidence(request, report, outcome) for request in _BY_EXAMPLES)


def _offered_evidence(request: _Request[R], report: SafetyReport, outcome: R) -> Offered:
    fully, partly = request.have(report, outcome)
    return Offered(
        source=request.source,
        asks=request.asks,
        offered="offered" if fully else "in part" if partly else "not offered",
        evidence=request.evidence,
        section=section_numbers(outcome)[request.section],
    )
