"""Records as the published models."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from birdnn.records import (
    CampaignOutcome,
    CertificateFile,
    CompareOutcome,
    DoctorOutcome,
    EngineAnswer,
    EstimateOutcome,
    FetchOutcome,
    InitialiserChange,
    PropertyOutcome,
    RepairOutcome,
    SuiteMatch,
    VerifyOutcome,
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
from birdnn.report.publish import model_of
from birdnn.report.schema import (
    CertificateModel,
    ChangeModel,
    CheckReport,
    CounterexampleModel,
    EngineModel,
    PropertyModel,
    RepairReport,
    SuiteModel,
)
from birdnn.report.schema_plot import PlotReport, ProgressReport
from birdnn.report.schema_safety import SafetyReport
from birdnn.report.schema_samples import BlockLocalizeReport, LocalizeReport

_NAMED = 10
"""Neurons that a localisation names."""

_PUBLISHED: Sequence[tuple[str, type[Any]]] = (
    ("verify", VerifyOutcome),
    ("repair", RepairReport),
    ("estimate", EstimateOutcome),
    ("localize", LocalizeReport),
    ("localize-blocks", BlockLocalizeReport),
    ("check", CheckReport),
    ("plot", PlotReport),
    ("plot-progress", ProgressReport),
    ("doctor", DoctorOutcome),
    ("fetch", FetchOutcome),
    ("report", SafetyReport),
    ("bench", CampaignOutcome),
    ("compare", CompareOutcome),
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
        f"{name}.schema.json": json.dumps(_model(published).model_json_schema(mode="serialization"), indent=2) + "\n"
        for name, published in _PUBLISHED
    }


def _model(published: type[Any]) -> type[BaseModel]:
    return published if issubclass(published, BaseModel) else model_of(published)


def witness_model(witness: Witness) -> CounterexampleModel:
    """A counterexample as published."""
    return CounterexampleModel(
        x=list(witness.x), y=list(witness.y), replayed_by=list(witness.replayed_by), exactly=witness.exactly
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
