"""Statements about a measure of inputs, from samples: each has its own type, and none is a proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from birdnn.records.published import Said, publishes

EXECUTION = "float32 inference by torch"
"""Which execution of a network sampled statements speak about."""


@publishes("PacBoundModel", "measure epsilon delta n violations anytime execution")
@dataclass(frozen=True, slots=True, kw_only=True)
class PacBound:
    """With confidence ``1 - delta`` at most ``epsilon`` of the measure violates; no proof, whatever the numbers."""

    measure: str
    epsilon: float
    delta: Annotated[float, Said("This statement's own share of the error probability.")]
    n: Annotated[int, Said("Independent draws that it rests on.")]
    violations: int
    anytime: Annotated[bool, Said("Holds although the number of draws depended on what they showed.")] = False
    execution: Annotated[str, Said("Which execution of the network was sampled.")] = EXECUTION


@publishes("IntervalModel", "lower upper confidence")
@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Two-sided confidence interval of the violation probability, by itself: intervals of several rows share nothing.

    Clopper-Pearson; with ``--anytime`` limits that hold for all numbers of draws at once.
    """

    lower: float
    upper: float
    confidence: float


@publishes("SurrogateModel", "region polytope coefficients constant error lowest epsilon delta n")
@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """``coefficients . x + constant - error`` lies below a margin on all but ``epsilon`` of the measure.

    With confidence ``1 - delta``; of the measure conditioned on this region. The margin is that of one forbidden
    polytope: the largest ``a . y - b`` over its rows, positive outside it.

    Attributes:
        region, polytope: which of the property's, from 0.
        error: largest distance of ``coefficients . x + constant`` from the margin on the samples.
    """

    region: int
    polytope: int
    coefficients: tuple[float, ...]
    constant: float
    error: float
    lowest: Annotated[float, Said("Minimum of the lower function over the region's box.")]
    epsilon: float
    delta: float
    n: int


@publishes("RareEventModel", "measure estimate log10_se repetitions particles evaluations")
@dataclass(frozen=True, slots=True, kw_only=True)
class RareEvent:
    """Adaptive multilevel splitting: an estimate without any confidence statement.

    Attributes:
        evaluations: how many inputs the network was run on.
    """

    measure: str
    estimate: Annotated[float, Said("Mean over the repetitions.")]
    repetitions: Annotated[tuple[float, ...], Said("Each repetition's estimate; 0 where it found no violation.")]
    log10_se: Annotated[float | None, Said("Standard error of log10(estimate), from the relative spread.")]
    particles: int
    evaluations: int
