"""What `estimate` asks for and gets back: statements about a measure, each with its own type and never a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from birdnn.records.results import Machine, Units
from birdnn.records.stages import Witness

EXECUTION = "float32 inference by torch"
"""Which execution of a network sampled statements speak about."""

Device = Literal["cpu", "cuda"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """Everything that ``estimate``'s command line says.

    Attributes:
        props, suite, as_name: as for a repair.
        measure: ``"uniform"``, or a file: samples (.csv, .npz) or independent marginals (.toml).
        epsilon: the bound that is wanted; None: the default, and with a number of samples whatever comes out.
        delta: error probability of all statements of the command together.
        samples: draws for each property; None: as many as `epsilon` needs; with `anytime` the most that are drawn.
        attempts: how many such commands share `delta`.
        anytime: stop as soon as the bound is reached, or is known to be missed.
        scenario, splitting: what else to do.
        units: of the properties and of the measure's file.
    """

    net: Path
    props: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    measure: str = "uniform"
    epsilon: float | None = None
    delta: float = 1e-3
    samples: int | None = None
    attempts: int = 1
    anytime: bool = False
    scenario: bool = False
    splitting: bool = False
    units: Units = "normalised"
    seed: int = 0
    device: Device = "cpu"
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyEstimate:
    """One property under the measure.

    Attributes:
        n, violations: draws, and those at which the sampled execution violates; a NaN counts as a violation.
        asked: the epsilon that was wanted, or None; `reached`: does `bound` meet it?
        counterexample: a violating input that was replayed; None where none was found or none violates when replayed.
        sample_s: seconds of drawing and evaluating the `n` points.
    """

    name: str
    path: str
    sha256: str
    text: str
    n: int
    violations: int
    interval: Interval
    bound: PacBound
    asked: float | None
    reached: bool | None
    surrogates: tuple[Surrogate, ...] = ()
    rare: RareEvent | None = None
    counterexample: Witness | None = None
    sample_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateOutcome:
    """What ``estimate`` found; `measure` is the printable name that every statement repeats."""

    request: EstimateRequest
    net: str
    net_sha256: str
    measure: str
    properties: tuple[PropertyEstimate, ...]
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    notes: tuple[str, ...] = ()
