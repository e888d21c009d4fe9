"""Statements about a measure of inputs, from samples: each has its own type, and none is a proof."""

from __future__ import annotations

from dataclasses import dataclass

EXECUTION = "float32 inference by torch"
"""Which execution of a network sampled statements speak about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacBound:
    """With confidence ``1 - delta`` at most ``epsilon`` of the measure violates the property.

    A statement about a measure: it says nothing about any one input, and no number of samples makes it a proof.

    Attributes:
        measure: its printable name.
        epsilon: the bound.
        delta: this statement's own share of the error probability.
        n, violations: the draws it rests on, and those that violated.
        anytime: it holds although the number of draws depended on what they showed.
        execution: which execution of the network was sampled.
    """

    measure: str
    epsilon: float
    delta: float
    n: int
    violations: int
    anytime: bool = False
    execution: str = EXECUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval of the violation probability, by itself; several share nothing."""

    lower: float
    upper: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """An affine function that lies below the margin of one forbidden polytope on most of the measure.

    ``coefficients . x + constant - error`` is at most the margin on all but ``epsilon`` of the measure conditioned on
    the region, with confidence ``1 - delta``.

    Attributes:
        region, polytope: which of the property's, from 0.
        error: largest distance of ``coefficients . x + constant`` from the margin on the samples.
        lowest: minimum of the lower function over the region's box; positive: no violation outside that ``epsilon``.
    """

    region: int
    polytope: int
    coefficients: tuple[float, ...]
    constant: float
    error: float
    lowest: float
    epsilon: float
    delta: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RareEvent:
    """A violation probability by multilevel splitting: an estimate without any confidence statement.

    Attributes:
        estimate: mean over the repetitions.
        repetitions: what each of them found; 0 where it never reached a violation.
        log10_se: standard error of the estimate's decimal logarithm, from the relative spread of the repetitions; None
            where none reached a violation.
        evaluations: how many inputs the network was run on.
    """

    measure: str
    estimate: float
    repetitions: tuple[float, ...]
    log10_se: float | None
    particles: int
    evaluations: int
