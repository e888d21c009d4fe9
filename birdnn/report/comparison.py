"""`compare`'s outcome as the published model, from which the tables and the page are made."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from fractions import Fraction

from birdnn.records import (
    Apart,
    CompareOutcome,
    Interval,
    Likeness,
    PropertyComparison,
    ProvedApart,
    ScaledQuantity,
    Structure,
)
from birdnn.report.evidence import quantity_model
from birdnn.report.json import suite_model, witness_model
from birdnn.report.kept import fidelity_model, rate_model
from birdnn.report.machine import machine_model
from birdnn.report.schema import DomainModel, PropertyDrawdownModel
from birdnn.report.schema_comparison import (
    ApartModel,
    ComparedPropertyModel,
    CompareReport,
    ConfidenceModel,
    LikenessModel,
    ParameterChangeModel,
    ProvedApartModel,
    StructureModel,
    TransitionModel,
)
from birdnn.report.words import percent

UNKNOWN_DOMAIN = "not measured over the domain: it is unknown, give --domain"


def compare_report(outcome: CompareOutcome) -> CompareReport:
    """The published model of a ``compare``."""
    request, domain = outcome.request, outcome.domain
    return CompareReport(
        command=shlex.join(request.command),
        outcome="same" if _same(outcome.structure) else "different",
        headline=headline(outcome),
        interrupted=outcome.interrupted,
        timed_out=outcome.timed_out,
        net_before=outcome.before,
        net_before_sha256=outcome.before_sha256,
        net_after=outcome.after,
        net_after_sha256=outcome.after_sha256,
        likeness=[_likeness(entry) for entry in outcome.likeness],
        likeness_note="" if domain is not None else UNKNOWN_DOMAIN,
        apart=[_apart(entry, outcome.inputs, outcome.outputs) for entry in outcome.apart],
        proved_apart=[_proved(entry) for entry in outcome.proved_apart],
        bound_note=outcome.bound_note,
        structure=_structure(outcome.structure),
        properties=[_property(entry) for entry in outcome.properties],
        lost=[entry.name for entry in outcome.properties if entry.became == "lost"],
        gained=[entry.name for entry in outcome.properties if entry.became == "gained"],
        regressions=list(outcome.regressions),
        disagreement=outcome.disagreement or None,
        semantics=outcome.semantics,
        domain=None
        if domain is None
        else DomainModel(lower=list(domain.lower), upper=list(domain.upper), source=domain.source),
        decision=outcome.decision,
        suite=None if outcome.suite is None else suite_model(outcome.suite),
        inputs=[quantity_model(each) for each in outcome.inputs],
        outputs=[quantity_model(each) for each in outcome.outputs],
        units=request.units,
        samples=request.samples,
        seed=request.seed,
        timeout_s=request.timeout_s,
        wall_s=outcome.wall_s,
        notes=list(outcome.notes),
        versions=dict(outcome.versions),
        machine=machine_model(outcome.machine),
    )


def headline(outcome: CompareOutcome) -> str:
    """The result in one sentence or two."""
    if outcome.disagreement:
        return "What was found contradicts what was proved: trust neither, look."
    parts = []
    if _same(outcome.structure):
        parts.append("The same network: no parameter differs.")
    elif outcome.likeness and (first := outcome.likeness[0]).fidelity is not None:
        share = first.fidelity.decision_agreement
        where = "the domain" if outcome.domain is not None else f"the region of {first.place}"
        if share is None:
            parts.append(f"Mean absolute difference {first.fidelity.mae:.2g} over {where}.")
        else:
            parts.append(f"Same decision on {percent(share)} of {where}.")
    words = [entry.became for entry in outcome.properties]
    if words:
        counts = [(words.count("lost"), "lost"), (words.count("gained"), "gained"), (words.count("kept"), "kept")]
        said = [f"{count or 'none'} {word}" for count, word in counts if count or word == "lost"]
        open_ones = [entry.name for entry in outcome.properties if entry.became == "undecided"]
        said += [f"{len(open_ones)} undecided"] if open_ones else []
        said += [f"{n} violated in both"] if (n := words.count("violated in both")) else []
        parts.append(f"Of {len(words)} {'property' if len(words) == 1 else 'properties'} {', '.join(said)}.")
    return " ".join(parts) or "Compared by structure alone: nothing says where to sample."


def _same(structure: Structure) -> bool:
    return structure.matching != "none" and not structure.changes


def _confidence(interval: Interval | None) -> ConfidenceModel | None:
    if interval is None:
        return None
    return ConfidenceModel(lower=interval.lower, upper=interval.upper, confidence=interval.confidence)


def _likeness(entry: Likeness) -> LikenessModel:
    lost = entry.drawdown
    return LikenessModel(
        place=entry.place,
        n=entry.n,
        fidelity=None if entry.fidelity is None else fidelity_model(entry.fidelity),
        agreement=_confidence(entry.agreement),
        mae=_confidence(entry.mae),
        per_output=list(entry.per_output),
        transitions=[TransitionModel(before=t.before, after=t.after, count=t.count) for t in entry.transitions],
        drawdown=None if lost is None else PropertyDrawdownModel(name=lost.name, share=lost.share, n=lost.n),
        healed=rate_model(entry.healed),
    )


def _apart(entry: Apart, inputs: Sequence[ScaledQuantity], outputs: Sequence[ScaledQuantity]) -> ApartModel:
    raw = None
    if inputs:
        raw = [float(Fraction(v) * q.range + q.mean) for v, q in zip(entry.x, inputs, strict=True)]
    return ApartModel(
        place=entry.place,
        output=entry.output,
        size=entry.size,
        size_raw=float(Fraction(entry.size) * outputs[entry.output or 0].range) if outputs else None,
        x=list(entry.x),
        x_raw=raw,
        before=list(entry.before),
        after=list(entry.after),
        decided_before=None if entry.decided is None else entry.decided[0],
        decided_after=None if entry.decided is None else entry.decided[1],
        replayed_by=list(entry.replayed_by),
    )


def _proved(entry: ProvedApart) -> ProvedApartModel:
    return ProvedApartModel(
        place=entry.place,
        upper=[value if math.isfinite(value) else None for value in entry.upper],
        method=entry.method,
        arithmetic=entry.arithmetic,
        boxes=entry.boxes,
        seconds=entry.seconds,
        complete=entry.complete,
    )


def _structure(found: Structure) -> StructureModel:
    known = found.matching != "none"
    parts = [entry.change for entry in found.changes]
    return StructureModel(
        matching=found.matching,
        statements=list(found.statements),
        same_file=found.same_file,
        parameters=found.parameters,
        compared=found.compared,
        changed=sum(part.count for part in parts) if known else None,
        L1=sum(part.l1 for part in parts) if known else None,
        Linf=max((part.linf for part in parts), default=0.0) if known else None,
        changes=[
            ParameterChangeModel(
                name=entry.change.name,
                layer=entry.layer,
                count=entry.change.count,
                size=entry.change.size,
                share=entry.change.count / entry.change.size,
                L1=entry.change.l1,
                Linf=entry.change.linf,
            )
            for entry in found.changes
        ],
    )


def _property(entry: PropertyComparison) -> ComparedPropertyModel:
    before, after = entry.witness_before, entry.witness_after
    return ComparedPropertyModel(
        name=entry.name,
        file=entry.path,
        sha256=entry.sha256,
        text=entry.text,
        role=entry.role,
        before=entry.before,
        after=entry.after,
        became=entry.became,
        before_s=entry.seconds[0],
        after_s=entry.seconds[1],
        before_boxes=entry.boxes[0],
        after_boxes=entry.boxes[1],
        before_arithmetic=entry.arithmetic[0],
        after_arithmetic=entry.arithmetic[1],
        before_counterexample=None if before is None else witness_model(before),
        after_counterexample=None if after is None else witness_model(after),
    )
