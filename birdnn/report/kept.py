"""What a repair healed, kept and lost, as the published models."""

from __future__ import annotations

from collections.abc import Sequence

from birdnn.records import Domain, Drawdown, Fidelity, KeptAt, Neighbours, Rate, Tied, Tried
from birdnn.report.schema import (
    BehaviourModel,
    DomainModel,
    DrawdownModel,
    FidelityModel,
    NeighboursModel,
    PropertyDrawdownModel,
    RateModel,
    TiedModel,
    TriedModel,
)


def fidelity_model(value: Fidelity) -> FidelityModel:
    """Behaviour kept, as published."""
    return FidelityModel(decision_agreement=value.decision_agreement, mae=value.mae, n=value.n)


def behaviour_model(entry: KeptAt) -> BehaviourModel:
    """Behaviour kept at one place, as published."""
    argmin, argmax = entry.either or (None, None)
    return BehaviourModel(
        where=entry.where,
        ground=entry.ground,
        n=entry.n,
        decision_agreement=entry.agreement,
        argmin_agreement=argmin,
        argmax_agreement=argmax,
        mae=entry.mae,
        size=entry.size,
        labelled=entry.labelled,
        right_before=entry.right_before,
        right_after=entry.right_after,
    )


def tied_model(entry: Tied) -> TiedModel:
    """An output that follows others, as published."""
    return TiedModel(output=entry.output, follows=list(entry.follows), property=entry.property)


def rate_model(rate: Rate | None) -> RateModel | None:
    """A count, as published."""
    return None if rate is None else RateModel(share=rate.share, hits=rate.hits, n=rate.n, by_proof=rate.by_proof)


def neighbours_model(entry: Neighbours) -> NeighboursModel:
    """How far points reach, as published."""
    rate = entry.generalisation
    return NeighboursModel(
        name=entry.name,
        points=entry.points,
        radius=entry.radius,
        n=entry.n,
        before=entry.before,
        after=entry.after,
        generalisation=RateModel(share=rate.share, hits=rate.hits, n=rate.n, by_proof=rate.by_proof),
    )


def worst_drawdown(entries: Sequence[Drawdown]) -> Drawdown | None:
    """The property that lost most; None where none was measured."""
    return max((entry for entry in entries if entry.n), key=lambda entry: entry.share or 0.0, default=None)


def drawdown_model(entries: Sequence[Drawdown]) -> DrawdownModel:
    """What was lost, as published."""
    top = worst_drawdown(entries)
    return DrawdownModel(
        worst=top.name if top else None,
        share=top.share if top else None,
        n=top.n if top else None,
        properties=[PropertyDrawdownModel(name=e.name, share=e.share, n=e.n) for e in entries],
    )


def tried_model(entry: Tried) -> TriedModel:
    """A candidate, as published."""
    kept = entry.kept
    return TriedModel(
        method=entry.method,
        result=entry.result,
        decision_agreement=kept.agreement,
        mae=kept.mae,
        drawdown=kept.drawdown,
        n=kept.n,
        seconds=entry.seconds,
        boxes=entry.boxes,
        answers=dict(entry.answers),
    )


def domain_model(domain: Domain) -> DomainModel:
    """The domain, as published."""
    return DomainModel(lower=list(domain.lower), upper=list(domain.upper), source=domain.source)
