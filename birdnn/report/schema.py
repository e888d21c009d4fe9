"""The published shape of results: one pydantic model for each command.

Fields are added, never renamed. Numbers that could not be measured are null, never zero. Seconds end in ``_s``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from birdnn.records import EngineWord
from birdnn.report.machine import MachineModel as MachineModel
from birdnn.report.model import SCHEMA_VERSION as SCHEMA_VERSION
from birdnn.report.model import Model as Model
from birdnn.report.model import Readable as Readable
from birdnn.report.model import readable as readable
from birdnn.report.schema_blocks import BlockRepairModel
from birdnn.report.schema_evidence import (
    LocalisationModel,
    PacBoundModel,
    RegionModel,
    ScaledQuantityModel,
    ValueChangeModel,
    WatchedModel,
)
from birdnn.report.schema_pictures import LineModel, MapModel

SemanticsField = Annotated[
    Literal["real", "float32"],
    Field(description="A proof speaks about the function over the reals, or about any execution in float32."),
]


class CounterexampleModel(Model):
    """A replayed counterexample, network units."""

    x: list[float] = Field(description="Inputs: float32 values inside the exact input box.")
    y: list[float] = Field(description="Outputs, as the first engine of `replayed_by` gave them.")
    replayed_by: list[str] = Field(description="Engines on which it violates, with tolerance 0.")
    exactly: bool | None = Field(
        default=None,
        description="Does the function over the reals violate at x as well? Null where nobody could tell, and in "
        "reports of birdnn 0.1.0.",
    )


class EngineModel(Model):
    """What one engine answers about a property; `birdnn` is our own answer."""

    engine: str
    version: str
    answer: EngineWord = Field(
        description="near_miss: its point does not violate when replayed. no_violation: of points replayed, no proof. "
        "not_reproduced: our counterexample does not violate there. refused: the engine does not take the question."
    )
    arithmetic: str = Field(description="Which arithmetic the answer speaks about.")
    seconds: float
    detail: Readable
    counterexample: CounterexampleModel | None = Field(description="Of violated, replayed.")


class CertificateModel(Model):
    """A certificate on disk, see docs/certificate.md."""

    file: Readable
    sha256: str
    size: int = Field(description="Bytes.")
    properties: list[str]
    checked: Readable = Field(description="Answer and detail as one sentence.")
    answer: Literal["accepted", "rejected", "not checked"] = Field(
        description="Of the independent checker. Rejected: prover and checker disagree."
    )
    detail: Readable = Field(description="What was checked, or why it was rejected or not checked.")
    write_s: float
    check_s: float

    @model_validator(mode="before")
    @classmethod
    def _said_in_one_sentence(cls, data: Any) -> Any:
        """Reports of birdnn 0.1.0 have the sentence only."""
        if isinstance(data, dict) and "answer" not in data and isinstance(data.get("checked"), str):
            answer, _, detail = data["checked"].partition(": ")
            return {**data, "answer": answer, "detail": detail}
        return data


class PropertyModel(Model):
    """One property before and after a repair."""

    name: Readable
    file: Readable
    sha256: str
    text: Readable = Field(description="One line that says what the property is about.")
    role: Literal["goal", "keep", "suite"]
    before: Literal["proved", "pac", "violated", "unknown"]
    after: Literal["proved", "pac", "violated", "unknown"]
    verify_s: float
    boxes: int
    arithmetic: str = Field(description="Which arithmetic `after` speaks about.")
    counterexamples: list[CounterexampleModel] = Field(description="Of the original file; a few.")
    remaining: CounterexampleModel | None = Field(description="Of the repaired file.")
    sampled: PacBoundModel | None = Field(description="Fresh samples of the repaired file, drawn after the proof.")
    engines: list[EngineModel] = Field(description="With --crosscheck, about `after`: ours, then that of each engine.")
    regions: list[RegionModel] = Field(default=[], description="What it says, network units; empty for points.")
    reason: str | None = Field(default=None, description="Why `after` is unknown, as in `verify`.")
    open_boxes: int = Field(default=0, description="Boxes left open by an undecided search.")


class FidelityModel(Model):
    """Behaviour kept over points that no repair has seen."""

    decision_agreement: float | None = Field(description="Share with the same decision; null without a decision rule.")
    mae: float = Field(description="Mean absolute difference of the outputs, network units.")
    n: int


class BehaviourModel(Model):
    """How alike both networks are on inputs that need not change: points that must, and what is violated, left out."""

    where: Readable = Field(description="What the figures speak about, in words.")
    ground: Literal["domain", "data", "surroundings", "hull", "regions", "beyond", "test"]
    n: int
    decision_agreement: float | None = Field(
        description="Share with the same decision; where neither user nor suite says which output decides, the lesser "
        "of the next two; null where nothing decides."
    )
    argmin_agreement: float | None = Field(description="Null where user or suite say which output decides.")
    argmax_agreement: float | None
    mae: float = Field(description="Mean absolute difference of the outputs, network units.")
    size: float = Field(description="Mean absolute output of the original there.")
    labelled: int = Field(description="Inputs of the file whose right decision is known; 0 for other places.")
    right_before: int
    right_after: int


class TiedModel(Model):
    """An output that follows others up to a constant: what it told by itself is lost."""

    output: int
    follows: list[int] = Field(description="Empty: it is constant.")
    property: Readable = Field(description="What is proved by that.")


class RateModel(Model):
    """`hits` of `n`; `share` is null below 100 points unless a proof gives it."""

    share: float | None
    hits: int
    n: int
    by_proof: bool


class NeighboursModel(Model):
    """The answer wished for at points (`--points`), on fresh inputs close to them."""

    name: Readable = Field(description="The entry of `properties` that stands for the points.")
    points: int
    radius: float = Field(description="Greatest difference from the point in each input, network units.")
    n: int
    before: float = Field(description="Share of neighbours with the answer wished for at their point.")
    after: float
    generalisation: RateModel = Field(description="Of the neighbours that had not the answer, those that have it now.")


class PropertyDrawdownModel(Model):
    """Share of a property's points that satisfied it before and violate it now."""

    name: Readable
    share: float | None = Field(description="Null where n is 0.")
    n: int


class DrawdownModel(Model):
    """The worst property, and each."""

    worst: str | None
    share: float | None
    n: int | None
    properties: list[PropertyDrawdownModel]


class ChangeModel(Model):
    """How far one initialiser moved."""

    count: int = Field(description="Values that differ.")
    size: int
    L1: float
    Linf: float
    largest: list[ValueChangeModel] = Field(default=[], description="The values that moved most, at most 20.")


class DomainModel(Model):
    """The declared input domain, network units."""

    lower: list[float]
    upper: list[float]
    source: str


class SuiteModel(Model):
    """A suite that knows the network."""

    name: Readable
    entry: str
    by: Literal["content", "--as"]
    applicable: list[str]
    not_named: list[str] = Field(description="Applicable properties that the user did not ask for.")


class TriedModel(Model):
    """One candidate of a repair, in the order in which they were tried."""

    method: Readable
    result: Literal["proved", "unknown", "violated", "passed over"] = Field(
        description="Passed over: it changes more than a candidate that is proved."
    )
    decision_agreement: float | None
    mae: float
    drawdown: float
    n: int = Field(default=-1, description="Inputs compared; 0: none could be. -1: not recorded.")
    seconds: float
    boxes: int = Field(default=0, description="Boxes examined for all properties; 0 where it was passed over.")
    answers: dict[str, Literal["proved", "pac", "violated", "unknown"]] = Field(
        default_factory=dict, description="Property -> answer, for those that were looked at before it was lost."
    )


class RepairReport(Model):
    """What `birdnn repair` writes: `repair.json` in the output folder, and `--json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["proved", "sampled", "violated", "nothing_to_repair"]
    interrupted: bool
    timed_out: bool
    method: str = Field(description="With its optimiser, where it has one, such as `finetune:lp`.")
    top: int | None = Field(description="How many neurons were to be modified; null for methods that choose none.")
    alpha: float | None = Field(description="What preserving counted against healing; null for methods without it.")
    pairing: str = Field(description="Of `retrain`; empty for `blocks`, which pairs nothing.")
    rounds: int
    tried: list[TriedModel]
    stopped: Readable = Field(description="Why no more candidates were tried; empty where none was.")
    properties: list[PropertyModel]
    fidelity: FidelityModel | None
    fidelity_note: str = Field(description="Why `fidelity` is null; empty otherwise.")
    region_fidelity: dict[str, FidelityModel]
    drawdown: DrawdownModel
    efficacy: RateModel | None
    generalisation: RateModel | None = Field(description="Over regions; `neighbours` has it for points.")
    neighbours: list[NeighboursModel]
    regressions: list[str]
    disagreement: Readable | None = Field(
        description="A sample violates what was proved, or engines contradict each other: the point, all answers."
    )
    change: dict[str, ChangeModel]
    initialisers: dict[str, int] = Field(
        default_factory=dict, description="How many values each that a repair may change has, in the file's order."
    )
    maps: list[MapModel] = Field(
        default_factory=list,
        description="What is decided around a counterexample of each violated property, before and after.",
    )
    lines: list[LineModel] = Field(
        default_factory=list, description="The margin along a line through each of these counterexamples."
    )
    semantics: SemanticsField | None = Field(description="Null for a repair by blocks, which proves nothing.")
    arithmetic: str
    repair_s: float
    verify_s: float
    sample_s: float
    wall_s: float
    timeout_s: float | None
    net: Readable
    net_sha256: str
    out: Readable | None = Field(
        description="Absolute path of the network that was written, NAME.repaired.* or, where `attempt` is true, "
        "NAME.attempt.*; null where none was."
    )
    out_sha256: str | None
    attempt: bool = Field(default=False, description="The network in `out` is no repair, only the best attempt.")
    domain: DomainModel | None
    decision: Literal["argmin", "argmax", "none"]
    rule_by: Literal["option", "suite", "property", "nobody"] | None = Field(
        default=None, description="Who says which output decides: the user, the suite, or the rows of the properties."
    )
    headline: Readable = Field(default="", description="The result in words and figures, as every report begins.")
    behaviour: list[BehaviourModel] = Field(
        default=[], description="What is kept, for each place where it was measured."
    )
    behaviour_kept: Literal["kept", "badly kept", "not measured"] | None = Field(
        default=None, description="As well as asked for, at every place? Status 0 is for what is proved and kept."
    )
    min_agreement: float | None = Field(default=None, description="What was asked for; null: 0.99.")
    max_mae: float | None = Field(default=None, description="What was asked for; null: 5 % of the outputs' mean size.")
    max_change: float | None = Field(default=None, description="How far a layer might move, as a share of its size.")
    no_ties: bool = False
    ties: list[TiedModel] = Field(default=[], description="Outputs that follow others now.")
    suite: SuiteModel | None
    units: Literal["normalised", "raw"]
    seed: int
    notes: list[Readable]
    certificate: CertificateModel | None
    versions: dict[str, str]
    machine: MachineModel
    watched: list[WatchedModel] = Field(default=[], description="Applicable properties that were not asked for.")
    inputs: list[ScaledQuantityModel] = Field(
        default=[], description="What the inputs mean; empty where nobody says it."
    )
    outputs: list[ScaledQuantityModel] = Field(default=[])
    localisation: list[LocalisationModel] = Field(
        default=[], description="With --report: responsible neurons, for each asked property that was violated."
    )
    blocks: BlockRepairModel | None = Field(default=None, description="Of --method blocks; null for other methods.")

    @model_validator(mode="after")
    def _proofs_speak_about_something(self) -> Self:
        if self.semantics is None and self.blocks is None:
            raise ValueError("semantics may be null for a repair by blocks only")
        return self


class CheckedModel(Model):
    """One property's proof, checked."""

    file: Readable
    verdict: Literal["proved", "violated"] = Field(description="What the certificate says, and was found true.")
    leaves: int = Field(description="Of the proof's trees; all of them were checked. 0 where violated.")
    sampled: int = Field(description="How many leaves were checked in exact arithmetic.")
    exactly: bool | None = Field(
        description="Does the counterexample, or the input beside a proof over the reals, violate in exact arithmetic? "
        "Null without one."
    )
    replayed: bool | None = Field(description="Does it violate when onnxruntime runs it? Null without one.")


class CheckReport(Model):
    """What `birdnn check --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["accepted", "rejected"]
    reason: Readable | None = Field(description="Why it was rejected.")
    checked: Readable | None = Field(description="What was accepted, as the first line of output says it.")
    net: Readable
    certificate: Readable
    semantics: Literal["real", "float32"] | None = Field(description="Which execution it speaks about.")
    assumptions: dict[str, float] = Field(description="Assumed absolute errors of the runtime's functions.")
    arithmetic: Literal["float64", "exact"]
    sample: int | None
    seed: int
    properties: list[CheckedModel]
    wall_s: float
