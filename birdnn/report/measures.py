"""What was measured of candidates and repairs, as published."""

from __future__ import annotations

from birdnn.records import Domain, Fidelity, Neighbours, Rate, Tried
from birdnn.report.schema import DomainModel, FidelityModel, NeighboursModel, RateModel, TriedModel


def tried_model(entry: Tried) -> TriedModel:
    kept = entry.kept
    return TriedModel(
        method=entry.method,
        result=entry.result,
        decision_agreement=kept.agreement,
        mae=kept.mae,
        drawdown=kept.drawdown,
        seconds=entry.seconds,
        boxes=entry.boxes,
        answers=dict(entry.answers),
    )


def fidelity_model(value: Fidelity) -> FidelityModel:
    return FidelityModel(decision_agreement=value.decision_agreement, mae=value.mae, n=value.n)


def rate_model(rate: Rate | None) -> RateModel | None:
    return None if rate is None else RateModel(share=rate.share, hits=rate.hits, n=rate.n, by_proof=rate.by_proof)


def neighbours_model(entry: Neighbours) -> NeighboursModel:
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


def domain_model(domain: Domain) -> DomainModel:
    return DomainModel(lower=list(domain.lower), upper=list(domain.upper), source=domain.source)
