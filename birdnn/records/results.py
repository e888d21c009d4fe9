"""What a command asks for and what it gets back: the pipeline fills these, the report reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from birdnn.errors import NotProvedError
from birdnn.records.behaviour import KeptAt, KeptWord, RuleBy, Tied
from birdnn.records.blocks import BlockRepair, BlockRequest
from birdnn.records.crosschecks import EngineAnswer, EngineState
from birdnn.records.facts import AskedDevice, Machine, ScaledQuantity, SuiteMatch, Units
from birdnn.records.localisation import PropertyLocalisation
from birdnn.records.maps import AdvisoryMap, MarginLine
from birdnn.records.proofs import CertificateFile
from birdnn.records.published import publishes
from birdnn.records.result import Result, in_a_line
from birdnn.records.stages import (
    Decision,
    Drawdown,
    Fidelity,
    InitialiserChange,
    Rate,
    UnknownReason,
    Witness,
)
from birdnn.records.statements import PacBound
from birdnn.rounding import Semantics
from birdnn.spec import Region

Pairing = Literal["input", "output", "projection"]
Method = Literal["auto", "retrain", "finetune", "blocks"]
Prefer = Literal["decisions", "outputs"]
TriedResult = Literal["proved", "unknown", "violated", "passed over"]
OptimiserName = Literal["lp", "pso", "cmaes", "bias"]
Guarantee = Literal["proved", "pac", "violated", "unknown"]
RepairResult = Literal["proved", "sampled", "violated", "nothing_to_repair"]
Role = Literal["goal", "keep", "suite"]


@publishes("DoctorReport", "engines=states versions machine", report=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOutcome:
    """What `birdnn doctor --json` writes."""

    states: tuple[EngineState, ...]
    versions: Mapping[str, str]
    machine: Machine


AIM = 0.999, 0.01
"""What ``auto`` is content with: share of decisions kept, and mean difference of outputs as a share of their size."""

LEAST = 0.99, 0.05
"""The same below which behaviour counts as badly kept."""

LEAST_BEYOND = 0.9
"""The same share of decisions beyond the regions, where nobody said that behaviour matters."""


def as_asked(
    agreement: float | None,
    mae: float,
    size: float,
    *,
    min_agreement: float | None,
    max_mae: float | None,
    least: tuple[float, float] = LEAST,
) -> bool:
    """Are decisions and outputs as well kept as the user says, or where nothing is said as `least` does?

    Args:
        agreement: share with the same decision; None where nothing decides.
        mae: mean absolute difference of the outputs, network units.
        size: mean absolute output of the original.
        min_agreement, max_mae: what the user says.
        least: share of decisions, and difference as a share of the size.
    """
    share = least[0] if min_agreement is None else min_agreement
    most = least[1] * size if max_mae is None else max_mae
    return (agreement is None or agreement >= share) and math.isfinite(mae) and mae <= most


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequest:
    """Everything that ``repair``'s command line says; paths as given, None where the user said nothing.

    Attributes:
        props: properties to repair; may be empty where `suite` names those that apply.
        keep: properties that must stay true.
        points: files of points with the answer wished for there.
        points_tolerance: how far outputs may be from those wished for, where the file does not say it.
        points_radius: neighbours of points, on which generalisation is measured, are this close in each input, network
            units.
        suite: a suite file, or the name of one that is installed (``"acasxu"``).
        as_name: which network of the suite this is, e.g. ``"N2,9"``; None: recognised by content.
        domain: a file with two corners, or a property file, whose input boxes span the domain; ``"property"``: the
            input boxes of the properties to repair; None: from the suite or the NNet header.
        decision: which output decides; None: the suite says it, else the properties, where they compare outputs.
        data, test: inputs that the network is used on, perhaps with the right decision: behaviour is compared on them,
            on those of `data` also for the choice between candidates.
        method: how to repair; ``"auto"``: cheap and local first, dearer later.
        min_agreement, max_mae: what has to be kept: so many decisions (a share), and outputs so close (mean absolute
            difference, network units). Less is no success, and ``"auto"`` goes on. None: ``"auto"`` aims at
            `AIM` and a repair that does not reach `LEAST` counts as one that keeps its behaviour badly.
        prefer: which of the two decides between proved candidates, after drawdown.
        optimiser: of ``"finetune"``: what looks for the change.
        top, alpha: of ``"finetune"`` by ``"pso"`` or ``"cmaes"``: how many neurons are modified, and what preserving
            counts against healing.
        pairing: of ``"retrain"``.
        max_change: how far the values of a layer may move, as a share of their size (Euclidean norms).
        no_ties: never tie outputs (`birdnn.repair.tie`).
        out: folder for the result; None: ``./NAME.birdnn``.
        timeout_s: limit for everything; None: no limit.
        resume: folder where long proofs are kept, and gone on with.
        ray: address of a cluster whose nodes take on large proofs; None: none.
        samples: fresh points that are drawn after the proofs, of each proved property, also of those that apply and
            were not asked for; None: a million of each that was asked for.
        semantics: what a proof speaks about; None: float32 execution, where the network is in float32.
        device: where to attack, prove, sample and train.
        as_many: repair as many properties as possible: one that cannot be repaired does not cost the others.
        crosscheck: engines that are asked about the result, `crosscheck_timeout_s` for each and property.
        report: localise as well, and write the report even where no network is written.
        blocks: of ``"blocks"``: the examples and what else that method is told.
        command: the command line, for the record.
    """

    net: Path
    props: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    points: tuple[Path, ...] = ()
    points_tolerance: float | None = None
    points_radius: float = 0.01
    suite: str | None = None
    as_name: str | None = None
    domain: Path | Literal["property"] | None = None
    decision: Decision | None = None
    data: Path | None = None
    test: Path | None = None
    method: Method = "auto"
    min_agreement: float | None = None
    max_mae: float | None = None
    prefer: Prefer = "decisions"
    optimiser: OptimiserName = "lp"
    top: int = 10
    alpha: float = 0.5
    pairing: Pairing = "projection"
    max_change: float = 1.0
    no_ties: bool = False
    out: Path | None = None
    timeout_s: float | None = None
    resume: Path | None = None
    ray: str | None = None
    units: Units = "normalised"
    seed: int = 0
    samples: int | None = None
    semantics: Semantics | None = None
    device: AskedDevice = "auto"
    as_many: bool = False
    crosscheck: tuple[str, ...] = ()
    crosscheck_timeout_s: float = 60.0
    report: bool = False
    blocks: BlockRequest | None = None
    command: tuple[str, ...] = ()

    @property
    def ranks_neurons(self) -> bool:
        """Does the method modify the most responsible neurons?"""
        return self.method == "finetune" and self.optimiser in ("pso", "cmaes")

    @property
    def method_name(self) -> str:
        """With its optimiser, where it has one, e.g. ``"finetune:lp"``."""
        return f"finetune:{self.optimiser}" if self.method == "finetune" else self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyOutcome:
    """One property before and after a repair.

    Attributes:
        role: ``"goal"`` to be repaired, ``"keep"`` named to stay true, ``"suite"`` taken from the suite.
        before, after: the guarantee on the original and on the repaired file as read back; `after` equals `before`
            where no network was written.
        verify_s: seconds that the last verification (of the repaired network, if there is one) took.
        boxes: boxes of that verification.
        arithmetic: what `after` speaks about.
        counterexamples: replayed witnesses on the original file, a few of them.
        remaining: a replayed witness on the repaired file where `after` is ``"violated"``.
        sampled: what fresh samples say about a property of the repaired file that was proved, beside the proof.
        engines: what others say about `after`, our own answer first; empty where none were asked.
        regions: what the property says, network units; empty for points.
        reason, open_boxes: why `after` is unknown, and what the search left open.
    """

    name: str
    path: str
    sha256: str
    text: str
    role: Role
    before: Guarantee
    after: Guarantee
    verify_s: float
    boxes: int
    arithmetic: str
    counterexamples: tuple[Witness, ...] = ()
    remaining: Witness | None = None
    sampled: PacBound | None = None
    engines: tuple[EngineAnswer, ...] = ()
    regions: tuple[Region, ...] = ()
    reason: UnknownReason | None = None
    open_boxes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A property that applies to the network and was not asked for; `after` is None where it was not looked at again.

    `sampled`: what fresh samples say beside the proof, where a number of them was asked for.
    """

    name: str
    text: str
    before: Guarantee
    after: Guarantee | None
    sampled: PacBound | None = None


@publishes("DomainModel", "lower upper source")
@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The declared input domain, network units.

    Attributes:
        source: where it comes from, e.g. ``"suite acasxu"``.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The answer wished for at points, on fresh inputs close to them.

    Attributes:
        name: the property that stands for the points.
        points: how many.
        radius: greatest difference from the point in each input, network units.
        n: number of neighbours.
        before, after: share of them that have the answer wished for at their point.
        generalisation: of those that had not, how many have it now.
    """

    name: str
    points: int
    radius: float
    n: int
    before: float
    after: float
    generalisation: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a candidate keeps of the original, on a sample drawn for the choice between candidates.

    Attributes:
        agreement: as in `KeptAt`, at the worst place; None where nothing is decided.
        mae: mean absolute difference of outputs, where it is largest for their size.
        size: mean absolute output of the original there.
        drawdown: worst share of newly violating points of an applicable property's region.
        n: inputs at the place with fewest; 0: nothing could be compared, and nothing is said about behaviour.
    """

    agreement: float | None
    mae: float
    size: float
    drawdown: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate: the method that made it, what became of it, what it keeps, seconds for both.

    Attributes:
        boxes: examined for all properties together.
        answers: property name -> answer, for those that were looked at before the candidate was lost.
    """

    method: str
    result: TriedResult
    kept: Kept
    seconds: float
    boxes: int = 0
    answers: Mapping[str, Guarantee] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RepairOutcome(Result):
    """What ``repair`` did; every figure is measured on the file as written, on points drawn after it was frozen.

    Attributes:
        result: ``"proved"`` only if every property is; ``"sampled"``: none is violated as far as sampling sees;
            ``"violated"``: no repair found, `out` is the best attempt; ``"nothing_to_repair"``: `out` is None.
        out: absolute path of the network that was written.
        attempt: it is no repair, only the best attempt, and called so.
        report: absolute path of ``repair.json``.
        fidelity: None where the domain is unknown; `fidelity_note` then says why.
        region_fidelity: property name -> fidelity over its region's points that did not violate.
        behaviour: what is kept, one entry for each place where it was measured; empty: it was not.
        behaviour_kept: how well, over all of these places.
        rule_by: who says which output decides.
        ties: outputs that follow others now.
        drawdown: one entry for each applicable property.
        efficacy, generalisation: None where there was nothing to count; generalisation leaves out points.
        neighbours: one entry for each file of points.
        regressions: names of applicable properties that were proved before and are not now.
        change: only initialisers that differ.
        repair_s, verify_s, sample_s: seconds in each stage; `wall_s` of everything.
        rounds: repair-verify rounds done.
        tried: the candidates, in order.
        stopped: why there were no more.
        interrupted: the user stopped it; `out` is the best attempt so far.
        timed_out: ``--timeout`` ended it.
        notes: what was inferred and what a user should know, one sentence each.
        disagreement: a sample violates what was proved, or engines contradict each other: the point and all answers;
            empty where none does.
        semantics: what the proofs speak about; None where nothing is proved, by ``--method blocks``.
        certificate: of the repaired network; None where there can be none, as `notes` say.
        initialisers: name -> number of values, for those that a repair may change, in the file's order.
        maps, lines: what changed around a counterexample of each violated property, for pictures.
        watched: applicable properties that were not asked for.
        inputs, outputs: what they mean and their scaling; empty where nobody says it.
        localisation: with ``--report``, for each property asked for that was violated.
        blocks: of ``--method blocks``.
    """

    result: RepairResult
    request: RepairRequest
    net: str
    net_sha256: str
    out: str | None
    out_sha256: str | None
    report: str | None
    properties: tuple[PropertyOutcome, ...]
    fidelity: Fidelity | None
    fidelity_note: str
    region_fidelity: Mapping[str, Fidelity]
    drawdown: tuple[Drawdown, ...]
    efficacy: Rate | None
    generalisation: Rate | None
    regressions: tuple[str, ...]
    change: tuple[InitialiserChange, ...]
    domain: Domain | None
    decision: Decision
    semantics: Semantics | None
    suite: SuiteMatch | None
    repair_s: float
    verify_s: float
    sample_s: float
    wall_s: float
    rounds: int
    versions: Mapping[str, str]
    machine: Machine
    attempt: bool = False
    behaviour: tuple[KeptAt, ...] = ()
    behaviour_kept: KeptWord = "not measured"
    rule_by: RuleBy = "nobody"
    ties: tuple[Tied, ...] = ()
    tried: tuple[Tried, ...] = ()
    stopped: str = ""
    neighbours: tuple[Neighbours, ...] = ()
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
    disagreement: str = ""
    certificate: CertificateFile | None = None
    initialisers: Mapping[str, int] = field(default_factory=dict)
    maps: tuple[AdvisoryMap, ...] = ()
    lines: tuple[MarginLine, ...] = ()
    watched: tuple[Watched, ...] = ()
    inputs: tuple[ScaledQuantity, ...] = ()
    outputs: tuple[ScaledQuantity, ...] = ()
    localisation: tuple[PropertyLocalisation, ...] = ()
    blocks: BlockRepair | None = None

    def __repr__(self) -> str:
        words = [self.result, *([Path(self.out).name] if self.out else [])]
        words += [f"{prop.name}: {prop.before}, then {prop.after}" for prop in self.properties]
        return in_a_line("RepairOutcome", words, self.wall_s)

    @property
    def proved(self) -> bool:
        """Is every property that was asked for proved, and does nothing contradict it?

        Of the network in `out`, or of the original where there was nothing to repair. It says nothing about what else
        changed: see `behaviour_kept` and `regressions`.
        """
        done = self.result in ("proved", "nothing_to_repair")
        return done and not self.disagreement and all(prop.after == "proved" for prop in self.properties)

    def raise_unless_proved(self) -> None:
        """For tests and pipelines: nothing where every property is proved.

        Raises:
            NotProvedError: one is not; the message names it.
        """
        if not self.proved:
            told = [f"{prop.name}: {prop.after}" for prop in self.properties if prop.after != "proved"]
            raise NotProvedError("; ".join(filter(None, [self.disagreement, *told])) or f"the result is {self.result}")
