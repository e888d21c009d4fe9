"""What `estimate` asks for and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from birdnn.records.facts import AskedDevice, Machine, Units
from birdnn.records.stages import Witness
from birdnn.records.statements import Interval, PacBound, RareEvent, Surrogate


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
        units: of the property files.
        measure_units: of the measure's file.
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
    measure_units: Units = "normalised"
    seed: int = 0
    device: AskedDevice = "auto"
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
