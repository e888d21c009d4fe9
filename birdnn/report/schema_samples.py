"""The published models of `estimate` and `localize`, which speak about samples. See `birdnn.report.schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.schema import (
    SCHEMA_VERSION,
    CounterexampleModel,
    MachineModel,
    Model,
    Readable,
    SuiteModel,
)
from birdnn.report.schema_blocks import BlockLocalisationModel, ExamplesModel
from birdnn.report.schema_evidence import LocalisationModel, PacBoundModel


class IntervalModel(Model):
    """Two-sided confidence interval of the violation probability, by itself: intervals of several rows share nothing.

    Clopper-Pearson; with ``--anytime`` limits that hold for all numbers of draws at once.
    """

    lower: float
    upper: float
    confidence: float


class SurrogateModel(Model):
    """``coefficients . x + constant - error`` lies below a margin on all but ``epsilon`` of the measure.

    With confidence ``1 - delta``; of the measure conditioned on this region. The margin is that of one forbidden
    polytope: the largest ``a . y - b`` over its rows, positive outside it.
    """

    region: int
    polytope: int
    coefficients: list[float]
    constant: float
    error: float
    lowest: float = Field(description="Minimum of the lower function over the region's box.")
    epsilon: float
    delta: float
    n: int


class RareEventModel(Model):
    """Adaptive multilevel splitting: an estimate without any confidence statement."""

    measure: Readable
    estimate: float = Field(description="Mean over the repetitions.")
    log10_se: float | None = Field(description="Standard error of log10(estimate), from the relative spread.")
    repetitions: list[float] = Field(description="Each repetition's estimate; 0 where it found no violation.")
    particles: int
    evaluations: int


class PropertyEstimateModel(Model):
    """One property under the measure."""

    name: Readable
    file: Readable
    sha256: str
    text: Readable = Field(description="One line that says what the property is about.")
    n: int
    violations: int = Field(description="Counted in the sampled execution; NaN and the boundary count.")
    rate: float | None
    interval: IntervalModel
    bound: PacBoundModel
    asked: float | None = Field(description="The epsilon that was asked for.")
    reached: bool | None = Field(description="Is `bound.epsilon` at most `asked`?")
    surrogates: list[SurrogateModel]
    splitting: RareEventModel | None
    counterexample: CounterexampleModel | None
    sample_s: float
    samples_per_s: float | None


class EstimateReport(Model):
    """What `birdnn estimate --json` writes.

    Each property's `bound` and `surrogates` hold all together with confidence ``1 - delta``.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    interrupted: bool
    measure: Readable
    measure_file: Readable | None
    delta: float
    attempts: int = Field(description="How many such runs share delta.")
    anytime: bool
    properties: list[PropertyEstimateModel]
    wall_s: float
    net: Readable
    net_sha256: str
    units: Literal["normalised", "raw"] = Field(description="Of the property files; x and y are normalised.")
    measure_units: Literal["normalised", "raw"] = Field(description="Of the measure's file.")
    seed: int
    notes: list[Readable]
    versions: dict[str, str]
    machine: MachineModel


class LocalizeReport(Model):
    """What `birdnn localize --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["localised", "nothing_to_localise"]
    interrupted: bool
    form: Literal["mean", "sum"]
    net: Readable
    net_sha256: str
    properties: list[LocalisationModel]
    suite: SuiteModel | None
    units: Literal["normalised", "raw"]
    seed: int
    wall_s: float
    notes: list[Readable]
    versions: dict[str, str]
    machine: MachineModel


class BlockLocalizeReport(Model):
    """What `birdnn localize --blocks --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["localised"] = "localised"
    interrupted: bool
    net: Readable
    net_sha256: str
    examples: ExamplesModel
    localisation: BlockLocalisationModel
    seed: int
    wall_s: float
    versions: dict[str, str]
    machine: MachineModel
