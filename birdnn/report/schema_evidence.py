"""Published models that several commands share and that speak about neither a verdict nor a sample."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from birdnn.decimals import MAX_DIGITS, parse_exact
from birdnn.report.model import Model, Readable
from birdnn.report.publish import EXACT


def _exact(text: str) -> str:
    if parse_exact(text) is None:
        raise ValueError(f"a number of at most {MAX_DIGITS} digits, or a quotient of two, is expected")
    return text


Exact = Annotated[str, Field(pattern=EXACT), AfterValidator(_exact)]
"""A number as text that says it exactly: a decimal or a fraction."""


class HalfSpaceModel(Model):
    """``coefficients . y <= bound``, or ``<`` where `strict`; exact numbers as text."""

    coefficients: list[Exact]
    bound: Exact
    strict: bool


class RegionModel(Model):
    """A box of inputs and what must not come out of it, network units; exact numbers as text."""

    lower: list[Exact]
    upper: list[Exact]
    unsafe: list[list[HalfSpaceModel]] = Field(description="Outputs in all half-spaces of one list are unsafe.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sizes = {len(row.coefficients) for rows in self.unsafe for row in rows}
        if len(self.lower) != len(self.upper) or len(sizes) > 1:
            raise ValueError("a region's corners, or its half-spaces, have different lengths")
        return self


class ScaledQuantityModel(Model):
    """An input or output: ``network value = (raw - mean) / range``; exact numbers as text."""

    name: Readable
    text: Readable
    unit: Readable
    mean: Exact
    range: Exact


class ValueChangeModel(Model):
    """One value of an initialiser."""

    index: list[int]
    before: float
    after: float


class PacBoundModel(Model):
    """With confidence ``1 - delta`` at most ``epsilon`` of the measure violates; no proof, whatever the numbers."""

    measure: Readable
    epsilon: float
    delta: float = Field(description="This statement's own share of the error probability.")
    n: int = Field(description="Independent draws that it rests on.")
    violations: int
    anytime: bool = Field(description="Holds although the number of draws depended on what they showed.")
    execution: str = Field(description="Which execution of the network was sampled.")


class WatchedModel(Model):
    """A property that applies to the network and was not asked for."""

    name: Readable
    text: Readable
    before: Literal["proved", "pac", "violated", "unknown"]
    after: Literal["proved", "pac", "violated", "unknown"] | None = Field(
        description="Null where it was not looked at again. Of one that was not proved before only a counterexample is "
        "looked for: without one it is unknown."
    )
    sampled: PacBoundModel | None = Field(
        default=None, description="Fresh samples of the repaired file, where a number of them was asked for."
    )


class ResponsibleModel(Model):
    """One of the most responsible neurons; layers and neurons are counted from 0."""

    rank: int = Field(description="From 1.")
    layer: int
    node: Readable = Field(description="The activation's node.")
    neuron: int = Field(description="Place in the layer's value, flattened.")
    responsibility: float
    positive_mean: float = Field(description="Of the neuron's output over positive samples.")
    negative_mean: float


class LayerModel(Model):
    """One hidden layer; the lists have one entry for each neuron."""

    value: Readable = Field(description="The value that the activation makes.")
    node: Readable
    responsibility: list[float]
    positive_mean: list[float]
    negative_mean: list[float]


class InterventionModel(Model):
    """Violations that remain on held-out violating points when k neurons are fixed to their positive mean."""

    k: int
    top: float = Field(description="Share that still violates with the k most responsible neurons fixed.")
    random_mean: float = Field(description="Mean of that share over draws of k neurons that vary at all.")
    random_spread: float = Field(description="Standard deviation over the draws.")
    draws: int
    broken: float = Field(description="Share of satisfying points that violate with the top k fixed.")
    n: int = Field(description="Number of held-out violating points.")


class LocalisationModel(Model):
    """One property's answer; `layers`, `top` and `interventions` are empty where there is nothing to localise."""

    name: Readable
    file: Readable
    sha256: str
    text: Readable
    outcome: Literal["localised", "nothing_to_localise"]
    note: Readable = Field(description="Why there is nothing to localise; empty otherwise.")
    samples: int = Field(description="Uniform points looked at.")
    uniform_negatives: int = Field(description="How many of them violate.")
    found_by: Literal["sampling", "sampling and attack"]
    positives: int
    negatives: int = Field(description="Different violating points.")
    layers: list[LayerModel]
    top: list[ResponsibleModel]
    interventions: list[InterventionModel]
