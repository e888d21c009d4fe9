"""What `estimate` asks for and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from birdnn.records.facts import AskedDevice, Machine, Units
from birdnn.records.published import CommandLine, Said, publishes
from birdnn.records.result import Result, in_a_line
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
        anytime: stop as soon as the bound is reached, or is known to be missed.
        scenario, splitting: what else to do.
    """

    net: Path
    props: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    measure: str = "uniform"
    epsilon: float | None = None
    delta: float = 1e-3
    samples: int | None = None
    attempts: Annotated[int, Said("How many such runs share delta.")] = 1
    anytime: bool = False
    scenario: bool = False
    splitting: bool = False
    units: Annotated[Units, Said("Of the property files; x and y are normalised.")] = "normalised"
    measure_units: Annotated[Units, Said("Of the measure's file.")] = "normalised"
    seed: int = 0
    device: AskedDevice = "auto"
    command: CommandLine = ()

    @property
    def measure_file(self) -> str | None:
        """The measure's file, where it is not uniform."""
        return None if self.measure == "uniform" else self.measure


@publishes(
    "PropertyEstimateModel",
    "name file=path sha256 text n violations rate interval bound asked reached surrogates splitting=rare "
    "counterexample sample_s samples_per_s",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyEstimate:
    """One property under the measure.

    Attributes:
        counterexample: a violating input that was replayed; None where none was found or none violates when replayed.
        sample_s: seconds of drawing and evaluating the `n` points.
    """

    name: str
    path: str
    sha256: str
    text: Annotated[str, Said("One line that says what the property is about.")]
    n: int
    violations: Annotated[int, Said("Counted in the sampled execution; NaN and the boundary count.")]
    interval: Interval
    bound: PacBound
    asked: Annotated[float | None, Said("The epsilon that was asked for.")]
    reached: Annotated[bool | None, Said("Is `bound.epsilon` at most `asked`?")]
    surrogates: tuple[Surrogate, ...] = ()
    rare: RareEvent | None = None
    counterexample: Witness | None = None
    sample_s: float = 0.0

    @property
    def rate(self) -> float | None:
        """Share of the draws that violate."""
        return self.violations / self.n if self.n else None

    @property
    def samples_per_s(self) -> float | None:
        """Draws in a second; None where it was none."""
        return self.n / self.sample_s if self.sample_s else None


@publishes(
    "EstimateReport",
    "command=request.command interrupted measure measure_file=request.measure_file delta=request.delta "
    "attempts=request.attempts anytime=request.anytime properties wall_s net net_sha256 units=request.units "
    "measure_units=request.measure_units seed=request.seed notes versions machine",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EstimateOutcome(Result):
    """What `birdnn estimate --json` writes.

    Each property's `interval`, the `bound` that is its upper limit, and `surrogates` hold all together with confidence
    ``1 - delta``.

    Attributes:
        measure: the printable name that every statement repeats.
    """

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

    def __repr__(self) -> str:
        words = (f"{e.name}: {e.violations:,} of {e.n:,} violate, bound {e.bound.epsilon}" for e in self.properties)
        return in_a_line("EstimateOutcome", words, self.wall_s)
