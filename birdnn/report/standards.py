"""Where standards and guidance ask for what this report has: evidence offered toward them, never compliance.

A tool cannot claim that a system complies. It can say which of its evidence speaks to which request, and whether this
very outcome has it.
"""

from __future__ import annotations

from birdnn.report.schema_safety import OfferedModel, SafetyReport

DISCLAIMER = (
    "Evidence offered toward the requests below. Nothing here states or implies that a network, a process or a "
    "product complies with any of them: that is for the applicant and the authority to judge."
)


def mapping(report: SafetyReport) -> list[OfferedModel]:
    """Each request with what this outcome has for it; ``report`` without its own mapping."""
    outcome = report.outcome
    proved = report.summary.verdict in ("proved", "proved as it was")
    accepted = outcome.certificate is not None and outcome.certificate.checked.startswith("accepted")
    known = all(entry.state == "as recorded" for entry in report.files)
    stated = all(prop.regions for prop in report.properties)
    return [
        _row(
            "EASA concept paper, issue 2",
            "Operational domain of the model",
            (bool(outcome.domain), stated),
            "Declared input domain and each property's input region, in the suite's units",
            2,
        ),
        _row(
            "EASA concept paper, issue 2",
            "Stability of the trained model; behaviour kept by a change",
            (outcome.fidelity is not None, bool(outcome.drawdown.properties)),
            "Fidelity over the domain and each repaired region, drawdown of every applicable property",
            6,
        ),
        _row(
            "EASA concept paper, issue 2",
            "Equivalence of the inference model",
            (proved and outcome.semantics == "float32", True),
            "Proof about the file as stored, for executions in float32; counterexamples replayed by onnxruntime",
            7,
        ),
        _row(
            "ED-324 / ARP6983 (draft)",
            "Trace from requirement to evidence",
            (stated, True),
            "Property file by hash, its statement in words, the verdict and the proof of each",
            2,
        ),
        _row(
            "DO-333",
            "Formal notation, soundness argument for each method, assumptions stated",
            (proved, True),
            "Properties in VNN-LIB; docs/soundness.md and docs/certificate.md; assumptions in section 10",
            10,
        ),
        _row(
            "DO-330",
            "Independent check of the tool's output; tool version and known limits",
            (accepted, outcome.certificate is not None),
            "Certificate accepted by a checker that shares no code with the prover; versions in section 11",
            8,
        ),
        _row(
            "ISO/PAS 8800",
            "Insufficiency found, root cause, change, re-verification",
            (bool(outcome.localisation) and proved, bool(report.defects)),
            "Counterexamples, responsible neurons, changed parameters, verdicts after the change",
            3,
        ),
        _row(
            "UL 4600",
            "Evidence is valid for this configuration",
            (known, True),
            "sha256 of both networks, every property and the certificate, verified when the report was made",
            1,
        ),
        _row(
            "AMLAS",
            "Verification log and independence of verification",
            (accepted, True),
            "Verdict matrix with engine, arithmetic and time; the checker's log; other engines where asked",
            7,
        ),
    ]


def _row(source: str, asks: str, have: tuple[bool, bool], evidence: str, section: int) -> OfferedModel:
    """``have``: all that is asked for, and at least a part of it."""
    offered = "offered" if all(have) else "in part" if any(have) else "not offered"
    return OfferedModel.model_validate(
        {"source": source, "asks": asks, "offered": offered, "evidence": evidence, "section": section}
    )
