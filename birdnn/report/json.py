"""Records as the published models."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any, assert_never

from birdnn.records import (
    CertificateFile,
    EngineAnswer,
    InitialiserChange,
    PropertyOutcome,
    PropertyVerdict,
    Proved,
    RepairOutcome,
    SuiteMatch,
    Unknown,
    Verdict,
    VerifyOutcome,
    Violated,
    Witness,
)
from birdnn.report.blocks_models import block_repair_model
from birdnn.report.evidence import (
    largest_models,
    localisation_model,
    pac_bound_model,
    quantity_model,
    region_model,
    watched_model,
)
from birdnn.report.headline import said
from birdnn.report.kept import (
    behaviour_model,
    domain_model,
    drawdown_model,
    fidelity_model,
    neighbours_model,
    rate_model,
    tied_model,
    tried_model,
)
from birdnn.report.machine import machine_model
from birdnn.report.maps import line_model, map_model
from birdnn.report.schema import (
    CertificateModel,
    ChangeModel,
    CheckReport,
    CompetitionVerdict,
    CounterexampleModel,
    EngineModel,
    Outcome,
    PropertyModel,
    RepairReport,
    SuiteModel,
    VerdictModel,
    VerifyReport,
)
from birdnn.report.schema_bench import BenchReport
from birdnn.report.schema_comparison import CompareReport
from birdnn.report.schema_doctor import DoctorReport
from birdnn.report.schema_fetch import FetchReport
from birdnn.report.schema_plot import PlotReport, ProgressReport
from birdnn.report.schema_safety import SafetyReport
from birdnn.report.schema_samples import (
    BlockLocalizeReport,
    EstimateReport,
    LocalizeReport,
)

_NAMED = 10
"""Neurons that a localisation names."""

_PUBLISHED = (
    ("verify", VerifyReport),
    ("repair", RepairReport),
    ("estimate", EstimateReport),
    ("localize", LocalizeReport),
    ("localize-blocks", BlockLocalizeReport),
    ("check", CheckReport),
    ("plot", PlotReport),
    ("plot-progress", ProgressReport),
    ("doctor", DoctorReport),
    ("fetch", FetchReport),
    ("report", SafetyReport),
    ("bench", BenchReport),
    ("compare", CompareReport),
)

_WORST_FIRST: Sequence[CompetitionVerdict] = ("sat", "unknown", "timeout", "unsat")


def outcome_of(verdict: Verdict) -> Outcome:
    """The verdict in our word."""
    match verdict:
        case Proved():
            return "proved"
        case Violated():
            return "violated"
        case Unknown():
            return "unknown"
        case _:
            assert_never(verdict)


def competition_verdict(verdict: Verdict) -> CompetitionVerdict:
    """The verdict in VNN-COMP's word, which speaks about the unsafe set: ``unsat`` means that the property holds."""
    match verdict:
        case Proved():
            return "unsat"
        case Violated():
            return "sat"
        case Unknown():
            return "timeout" if verdict.reason == "timeout" else "unknown"
        case _:
            assert_never(verdict)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that speaks for all of them: proved only if every one is.

    Raises:
        ValueError: there is none.
    """
    return min(verdicts, key=lambda verdict: _WORST_FIRST.index(competition_verdict(verdict)))


def verify_report(outcome: VerifyOutcome) -> VerifyReport:
    """The published model of a ``verify`` or ``falsify``."""
    deciding, settings = worst([v.verdict for v in outcome.verdicts]), outcome.settings
    properties = [_verdict(v) for v in outcome.verdicts]
    return VerifyReport(
        command=shlex.join(settings.command),
        outcome="unknown" if outcome.disagreement else outcome_of(deciding),
        verdict="unknown" if outcome.disagreement else competition_verdict(deciding),
        interrupted=outcome.interrupted,
        wall_s=outcome.wall_s,
        solve_s=outcome.solve_s,
        boxes=sum(v.verdict.boxes for v in outcome.verdicts),
        counterexample=_witness_of(deciding),
        arithmetic=deciding.arithmetic,
        semantics=settings.semantics,
        net=outcome.net,
        net_sha256=outcome.net_sha256,
        property_sha256=outcome.verdicts[0].sha256 if len(outcome.verdicts) == 1 else None,
        properties=properties,
        bound=settings.bound,
        disagreement=outcome.disagreement or None,
        units=settings.units,
        timeout_s=settings.timeout_s,
        memory_gib=settings.memory_gib,
        seed=settings.seed,
        notes=list(outcome.notes),
        certificate=_certificate(outcome.certificate),
        versions=dict(outcome.versions),
        machine=machine_model(outcome.machine),
    )


def _method(outcome: RepairOutcome) -> dict[str, Any]:
    """How was repaired, and what was tried."""
    request = outcome.request
    return {
        "method": request.method_name,
        "top": request.top if request.ranks_neurons else None,
        "alpha": request.alpha if request.ranks_neurons else None,
        "pairing": request.pairing if request.blocks is None else "",
        "rounds": outcome.rounds,
        "tried": [tried_model(entry) for entry in outcome.tried],
        "stopped": outcome.stopped,
    }


def _behaviour(outcome: RepairOutcome) -> dict[str, Any]:
    """What is kept, and what was asked to be."""
    request = outcome.request
    return {
        "rule_by": None if outcome.blocks is not None else outcome.rule_by,
        "behaviour": [behaviour_model(entry) for entry in outcome.behaviour],
        "behaviour_kept": None if outcome.out is None or outcome.blocks is not None else outcome.behaviour_kept,
        "min_agreement": request.min_agreement,
        "max_mae": request.max_mae,
        "max_change": request.max_change if outcome.blocks is None else None,
        "no_ties": request.no_ties,
        "ties": [tied_model(entry) for entry in outcome.ties],
    }


def _described(outcome: RepairOutcome) -> dict[str, Any]:
    """What properties and numbers are about, what changed, and what pictures are drawn from."""
    return {
        "watched": [watched_model(entry) for entry in outcome.watched],
        "inputs": [quantity_model(entry) for entry in outcome.inputs],
        "outputs": [quantity_model(entry) for entry in outcome.outputs],
        "initialisers": dict(outcome.initialisers),
        "change": {c.name: _change(c) for c in outcome.change},
        "maps": [map_model(drawn) for drawn in outcome.maps],
        "lines": [line_model(drawn) for drawn in outcome.lines],
        "localisation": [localisation_model(answer, _NAMED) for answer in outcome.localisation],
        "versions": dict(outcome.versions),
        "machine": machine_model(outcome.machine),
    }


def repair_report(outcome: RepairOutcome) -> RepairReport:
    """The published model of a ``repair``."""
    request, domain = outcome.request, outcome.domain
    report = RepairReport(
        command=shlex.join(request.command),
        outcome=outcome.result,
        interrupted=outcome.interrupted,
        timed_out=outcome.timed_out,
        **_method(outcome),
        properties=[_property(p) for p in outcome.properties],
        fidelity=None if outcome.fidelity is None else fidelity_model(outcome.fidelity),
        fidelity_note=outcome.fidelity_note,
        region_fidelity={name: fidelity_model(value) for name, value in outcome.region_fidelity.items()},
        drawdown=drawdown_model(outcome.drawdown),
        efficacy=rate_model(outcome.efficacy),
        generalisation=rate_model(outcome.generalisation),
        neighbours=[neighbours_model(entry) for entry in outcome.neighbours],
        regressions=list(outcome.regressions),
        disagreement=outcome.disagreement or None,
        **_described(outcome),
        semantics=outcome.semantics,
        arithmetic="; ".join(dict.fromkeys(p.arithmetic for p in outcome.properties)),
        repair_s=outcome.repair_s,
        verify_s=outcome.verify_s,
        sample_s=outcome.sample_s,
        wall_s=outcome.wall_s,
        timeout_s=request.timeout_s,
        net=outcome.net,
        net_sha256=outcome.net_sha256,
        out=outcome.out,
        out_sha256=outcome.out_sha256,
        attempt=outcome.attempt,
        domain=None if domain is None else domain_model(domain),
        decision=outcome.decision,
        **_behaviour(outcome),
        suite=None if outcome.suite is None else suite_model(outcome.suite),
        units=request.units,
        seed=request.seed,
        notes=list(outcome.notes),
        certificate=_certificate(outcome.certificate),
        blocks=None if outcome.blocks is None else block_repair_model(outcome.blocks),
    )
    return report.model_copy(update={"headline": said(report).headline})


def schemas() -> dict[str, str]:
    """File name -> JSON schema text of what the commands write."""
    return {
        f"{name}.schema.json": json.dumps(model.model_json_schema(mode="serialization"), indent=2) + "\n"
        for name, model in _PUBLISHED
    }


def counterexample_text(witness: Witness) -> str:
    """A counterexample in VNN-COMP's format: ``((X_0 v)`` ... ``(Y_n v))``, one value a line, exact decimals."""
    values = [f"(X_{i} {v!r})" for i, v in enumerate(witness.x)] + [f"(Y_{i} {v!r})" for i, v in enumerate(witness.y)]
    return "(" + "\n".join(values) + ")\n"


def witness_model(witness: Witness) -> CounterexampleModel:
    """A counterexample as published."""
    return CounterexampleModel(
        x=list(witness.x), y=list(witness.y), replayed_by=list(witness.replayed_by), exactly=witness.exactly
    )


def _witness_of(verdict: Verdict) -> CounterexampleModel | None:
    return witness_model(verdict.witness) if isinstance(verdict, Violated) else None


def _verdict(answer: PropertyVerdict) -> VerdictModel:
    verdict = answer.verdict
    undecided = verdict if isinstance(verdict, Unknown) else None
    executed = verdict.executed if isinstance(verdict, Proved) else None
    return VerdictModel(
        name=answer.name,
        file=answer.path,
        sha256=answer.sha256,
        text=answer.text,
        outcome=outcome_of(verdict),
        verdict=competition_verdict(verdict),
        reason=undecided.reason if undecided else verdict.undecided if isinstance(verdict, Violated) else None,
        tried=(undecided.tried or None) if undecided else None,
        solve_s=answer.solve_s,
        boxes=verdict.boxes,
        open_boxes=undecided.open_boxes if undecided else 0,
        counterexample=_witness_of(verdict),
        executed=None if executed is None else witness_model(executed),
        over_reals=list(undecided.over_reals) or None if undecided else None,
        arithmetic=verdict.arithmetic,
        engines=_engines(answer.engines),
    )


def _engines(answers: Sequence[EngineAnswer]) -> list[EngineModel]:
    return [
        EngineModel(
            engine=a.engine,
            version=a.version,
            answer=a.answer,
            arithmetic=a.arithmetic,
            seconds=a.seconds,
            detail=a.detail,
            counterexample=None if a.witness is None else witness_model(a.witness),
        )
        for a in answers
    ]


def _certificate(found: CertificateFile | None) -> CertificateModel | None:
    if found is None:
        return None
    return CertificateModel(
        file=found.path,
        sha256=found.sha256,
        size=found.size,
        properties=list(found.properties),
        checked=found.checked,
        answer=found.answer,
        detail=found.detail,
        write_s=found.write_s,
        check_s=found.check_s,
    )


def _property(prop: PropertyOutcome) -> PropertyModel:
    return PropertyModel(
        name=prop.name,
        file=prop.path,
        sha256=prop.sha256,
        text=prop.text,
        role=prop.role,
        before=prop.before,
        after=prop.after,
        verify_s=prop.verify_s,
        boxes=prop.boxes,
        arithmetic=prop.arithmetic,
        counterexamples=[witness_model(w) for w in prop.counterexamples],
        remaining=None if prop.remaining is None else witness_model(prop.remaining),
        sampled=None if prop.sampled is None else pac_bound_model(prop.sampled),
        engines=_engines(prop.engines),
        regions=[region_model(region) for region in prop.regions],
        reason=prop.reason,
        open_boxes=prop.open_boxes,
    )


def _change(change: InitialiserChange) -> ChangeModel:
    largest = largest_models(change)
    return ChangeModel(count=change.count, size=change.size, L1=change.l1, Linf=change.linf, largest=largest)


def suite_model(suite: SuiteMatch) -> SuiteModel:
    return SuiteModel(
        name=suite.name,
        entry=suite.entry,
        by=suite.by,
        applicable=list(suite.applicable),
        not_named=list(suite.not_named),
    )
