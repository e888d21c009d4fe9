"""The published model of `compare`. A is the network before, B the one after; differences are B - A."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.model import SCHEMA_VERSION, Model, Readable
from birdnn.report.schema import (
    CounterexampleModel,
    DomainModel,
    FidelityModel,
    MachineModel,
    PropertyDrawdownModel,
    RateModel,
    SemanticsField,
    SuiteModel,
)
from birdnn.report.schema_evidence import ScaledQuantityModel

Answer = Literal["proved", "pac", "violated", "unknown"]


class ConfidenceModel(Model):
    """A two-sided confidence interval, by itself: intervals of several figures share nothing."""

    lower: float
    upper: float
    confidence: float


class TransitionModel(Model):
    """Points at which A decides for one output and B for another."""

    before: int
    after: int
    count: int


class LikenessModel(Model):
    """How alike A and B behave on uniform points of one place."""

    place: Readable = Field(description="`domain`, or the property in whose region the points lie.")
    n: int = Field(description="Points drawn.")
    fidelity: FidelityModel | None = Field(
        description="Over the points at which A violates none of the properties; null where there is none."
    )
    agreement: ConfidenceModel | None = Field(description="Of the decision agreement: Clopper and Pearson's.")
    mae: ConfidenceModel | None = Field(description="Of the mean absolute difference: normal approximation.")
    per_output: list[float] = Field(description="Mean absolute difference of each output, network units.")
    transitions: list[TransitionModel] = Field(description="How decisions changed, the most frequent first.")
    drawdown: PropertyDrawdownModel | None = Field(
        description="Of a region's points that satisfy the property in A, the share that violates it in B."
    )
    healed: RateModel | None = Field(description="Of those that violate it in A, those that satisfy it in B.")


class ApartModel(Model):
    """An input at which the files, when run, are far apart. Found by a search, no bound."""

    place: Readable
    output: int | None = Field(description="Which output is meant; null for a change of decision.")
    size: float = Field(
        description="Absolute difference of that output; for a change of decision the lesser of how much A prefers "
        "its choice to B's and B its own to A's. Network units."
    )
    size_raw: float | None
    x: list[float] = Field(description="The input, network units, float32 values.")
    x_raw: list[float] | None = Field(description="The same in raw units; null where nobody knows the scaling.")
    before: list[float] = Field(description="Outputs of A, network units.")
    after: list[float]
    decided_before: int | None
    decided_after: int | None
    replayed_by: list[str] = Field(description="Who ran A, and who ran B.")


class ProvedApartModel(Model):
    """No input of a place has an output differ by more than this; proved by our own engine."""

    place: Readable
    upper: list[float | None] = Field(description="For each output, network units; null where nothing is known.")
    method: str
    arithmetic: str
    boxes: int
    seconds: float
    complete: bool = Field(description="The bounds are close to what was found; more time would gain little.")


class ParameterChangeModel(Model):
    """One tensor of numbers that differs."""

    name: Readable
    layer: int = Field(description="Which weighted layer reads it, from 1; 0: before the first.")
    count: int = Field(description="Values that differ.")
    size: int
    share: float
    L1: float
    Linf: float


class StructureModel(Model):
    """How the graphs and their numbers differ."""

    matching: Literal["graph", "layers", "none"] = Field(
        description="graph: the same operations on numbers of the same names. layers: other graphs that fold to layers "
        "of the same form, which are compared. none: no parameter of one corresponds to one of the other."
    )
    statements: list[Readable]
    same_file: bool
    parameters: int = Field(description="Numbers of A.")
    compared: int
    changed: int | None = Field(description="Null where nothing corresponds.")
    L1: float | None
    Linf: float | None
    changes: list[ParameterChangeModel]


class ComparedPropertyModel(Model):
    """One property on both networks."""

    name: Readable
    file: Readable
    sha256: str
    text: Readable
    role: Literal["goal", "keep", "suite"]
    before: Answer
    after: Answer
    became: Literal["kept", "lost", "gained", "violated in both", "undecided"] = Field(
        description="lost: proved for A, a counterexample of B. gained: a counterexample of A, proved for B."
    )
    before_s: float
    after_s: float
    before_boxes: int
    after_boxes: int
    before_arithmetic: str
    after_arithmetic: str
    before_counterexample: CounterexampleModel | None
    after_counterexample: CounterexampleModel | None


class CompareReport(Model):
    """What `birdnn compare --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["same", "different"] = Field(
        description="same: parameters were compared and none differs; says nothing where none corresponds."
    )
    headline: Readable
    interrupted: bool
    timed_out: bool
    net_before: Readable
    net_before_sha256: str
    net_after: Readable
    net_after_sha256: str
    likeness: list[LikenessModel] = Field(description="The domain first, where it is known.")
    likeness_note: str = Field(description="Why the domain is missing; empty otherwise.")
    apart: list[ApartModel]
    proved_apart: list[ProvedApartModel]
    bound_note: Readable = Field(description="Why there is no proved bound; empty otherwise.")
    structure: StructureModel
    properties: list[ComparedPropertyModel]
    lost: list[str]
    gained: list[str]
    regressions: list[str] = Field(description="Proved for A and not for B, be it violated or undecided.")
    disagreement: Readable | None = Field(description="A point that was found contradicts what was proved.")
    semantics: SemanticsField
    domain: DomainModel | None
    decision: Literal["argmin", "argmax", "none"]
    suite: SuiteModel | None
    inputs: list[ScaledQuantityModel] = Field(description="Empty where nobody says what they mean.")
    outputs: list[ScaledQuantityModel]
    units: Literal["normalised", "raw"] = Field(description="Of the property files.")
    samples: int
    seed: int
    timeout_s: float | None
    wall_s: float
    notes: list[Readable]
    versions: dict[str, str]
    machine: MachineModel
