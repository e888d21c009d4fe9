"""Records that several outcomes share, as the published models of `birdnn.report.schema_evidence`."""

from __future__ import annotations

from birdnn.records import (
    InitialiserChange,
    InterventionCheck,
    Localisation,
    PacBound,
    PropertyLocalisation,
    ScaledQuantity,
    Watched,
)
from birdnn.records.published import exact
from birdnn.report.schema_evidence import (
    HalfSpaceModel,
    InterventionModel,
    LayerModel,
    LocalisationModel,
    PacBoundModel,
    RegionModel,
    ResponsibleModel,
    ScaledQuantityModel,
    ValueChangeModel,
    WatchedModel,
)
from birdnn.spec import Region


def region_model(region: Region) -> RegionModel:
    """A region as published."""
    return RegionModel(
        lower=[exact(value) for value in region.exact_lower],
        upper=[exact(value) for value in region.exact_upper],
        unsafe=[
            [
                HalfSpaceModel(
                    coefficients=[exact(value) for value in row.coefficients], bound=exact(row.bound), strict=row.strict
                )
                for row in polytope.rows
            ]
            for polytope in region.unsafe
        ],
    )


def quantity_model(quantity: ScaledQuantity) -> ScaledQuantityModel:
    """An input or output as published."""
    return ScaledQuantityModel(
        name=quantity.name,
        text=quantity.text,
        unit=quantity.unit,
        mean=exact(quantity.mean),
        range=exact(quantity.range),
    )


def pac_bound_model(bound: PacBound) -> PacBoundModel:
    """The published model of a sampled statement."""
    return PacBoundModel(
        measure=bound.measure,
        epsilon=bound.epsilon,
        delta=bound.delta,
        n=bound.n,
        violations=bound.violations,
        anytime=bound.anytime,
        execution=bound.execution,
    )


def watched_model(watched: Watched) -> WatchedModel:
    """A property that nobody asked for, as published."""
    drawn = None if watched.sampled is None else pac_bound_model(watched.sampled)
    return WatchedModel(name=watched.name, text=watched.text, before=watched.before, after=watched.after, sampled=drawn)


def largest_models(change: InitialiserChange) -> list[ValueChangeModel]:
    """The values that moved most, as published."""
    return [ValueChangeModel(index=list(v.index), before=v.before, after=v.after) for v in change.largest]


def localisation_model(answer: PropertyLocalisation, top: int) -> LocalisationModel:
    """One property's answer as published."""
    found = answer.localisation
    return LocalisationModel(
        name=answer.name,
        file=answer.path,
        sha256=answer.sha256,
        text=answer.text,
        outcome="nothing_to_localise" if found is None else "localised",
        note=answer.note,
        samples=answer.samples,
        uniform_negatives=answer.uniform,
        found_by=answer.found_by,
        positives=0 if found is None else found.positives,
        negatives=answer.distinct,
        layers=[] if found is None else _layers(found),
        top=[] if found is None else _top(found, top),
        interventions=[_intervention(check) for check in answer.checks],
    )


def _layers(found: Localisation) -> list[LayerModel]:
    return [
        LayerModel(
            value=layer.value,
            node=layer.node,
            responsibility=layer.responsibility.tolist(),
            positive_mean=layer.positive.tolist(),
            negative_mean=layer.negative.tolist(),
        )
        for layer in found.layers
    ]


def _top(found: Localisation, count: int) -> list[ResponsibleModel]:
    return [
        ResponsibleModel(
            rank=rank,
            layer=entry.layer,
            node=found.layers[entry.layer].node,
            neuron=entry.neuron.index,
            responsibility=entry.value,
            positive_mean=entry.positive,
            negative_mean=entry.negative,
        )
        for rank, entry in enumerate(found.ranking()[:count], 1)
    ]


def _intervention(check: InterventionCheck) -> InterventionModel:
    return InterventionModel(
        k=check.k,
        top=check.top,
        random_mean=check.random_mean,
        random_spread=check.random_spread,
        draws=len(check.random),
        broken=check.broken,
        n=check.n,
    )
