"""What a repair is asked for, and the parts of what it gives back (`birdnn.records.repairs`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.blocks import BlockRequest
from birdnn.records.crosschecks import EngineAnswer, EngineState
from birdnn.records.facts import (
    AskedDevice,
    Machine,
    StatedRegion,
    Units,
)
from birdnn.records.published import CommandLine, Said, Written, publishes
from birdnn.records.stages import (
    Decision,
    Rate,
    UnknownReason,
    Witness,
)
from birdnn.records.statements import PacBound
from birdnn.rounding import Semantics

Pairing = Literal["input", "output", "projection"]
Method = Literal["auto", "retrain", "finetune", "blocks"]
Prefer = Literal["decisions", "outputs"]
TriedResult = Literal["proved", "unknown", "violated", "passed over", "too far"]
OptimiserName = Literal["lp", "pso", "cmaes", "bias"]
Guarantee = Literal["proved", "violated", "unknown"]
RepairResult = Literal["proved", "sampled", "violated", "nothing_to_repair"]
Role = Literal["goal", "keep", "suite"]


_AsText = Written(str | None, lambda word: word, lambda word: word)
"""A word of which the published form does not say which ones there are."""


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


def behaves_as_asked(
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
    # What the user says takes the place of the default, also where it asks for less.
    share = least[0] if min_agreement is None else min_agreement
    most = least[1] * size if max_mae is None else max_mae
    # Outputs that are infinite have an infinite size, of which 5 % are infinite: any difference would be small enough.
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
        max_difference: how far an output may be from the original's, anywhere in the domain, network units. It is
            proved, and a candidate of which it is not is none. None: as far as it has to be.
        no_ties: never tie outputs (`birdnn.repair.tie`).
        out: folder for the result; None: ``./NAME.birdnn``.
        timeout_s: limit for everything; None: no limit.
        resume: folder where long proofs are kept, and gone on with.
        ray: address of a cluster whose nodes take on large proofs; None: none.
        samples: fresh points that are drawn after the proofs, of each proved property, also of those that apply and
            were not asked for; None: a million of each that was asked for.
        semantics: what a proof speaks about; None: float32 execution, where the network is in float32 and a chain.
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
    min_agreement: Annotated[float | None, Said("What was asked for; null: 0.99.", absent=None)] = None
    max_mae: Annotated[float | None, Said("What was asked for; null: 5 % of the outputs' mean size.", absent=None)] = (
        None
    )
    prefer: Prefer = "decisions"
    optimiser: OptimiserName = "lp"
    top: int | None = None
    alpha: float = 0.5
    pairing: Pairing = "projection"
    max_change: float = 1.0
    max_difference: Annotated[
        float | None, Said("What was asked for, network units; null: as far as it has to be.", absent=None)
    ] = None
    no_ties: Annotated[bool, Said(absent=False)] = False
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
    command: CommandLine = ()

    @property
    def ranks_neurons(self) -> bool:
        """Does the method modify the most responsible neurons?"""
        return self.method == "finetune" and self.optimiser in ("pso", "cmaes")

    @property
    def method_name(self) -> Annotated[str, Said("With its optimiser, where it has one, such as `finetune:lp`.")]:
        """With its optimiser, where it has one, e.g. ``"finetune:lp"``."""
        return f"finetune:{self.optimiser}" if self.method == "finetune" else self.method


@publishes(
    "PropertyModel",
    "name file=path sha256 text role before after verify_s boxes arithmetic counterexamples remaining sampled engines "
    "regions runs reason open_boxes",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyOutcome:
    """One property before and after a repair.

    Attributes:
        role: ``"goal"`` to be repaired, ``"keep"`` named to stay true, ``"suite"`` taken from the suite.
        before, after: the guarantee on the original and on the repaired file as read back; `after` equals `before`
            where no network was written.
        verify_s: seconds that the last verification (of the repaired network, if there is one) took.
        boxes: boxes of that verification.
        counterexamples, remaining: replayed.
    """

    name: str
    path: str
    sha256: str
    text: Annotated[str, Said("One line that says what the property is about.")]
    role: Role
    before: Guarantee
    after: Guarantee
    verify_s: float
    boxes: int
    arithmetic: Annotated[str, Said("Which arithmetic `after` speaks about.")]
    counterexamples: Annotated[tuple[Witness, ...], Said("Of the original file; a few.")] = ()
    remaining: Annotated[Witness | None, Said("Of the repaired file.")] = None
    sampled: Annotated[PacBound | None, Said("Fresh samples of the repaired file, drawn after the proof.")] = None
    engines: Annotated[
        tuple[EngineAnswer, ...], Said("With --crosscheck, about `after`: ours, then that of each engine.")
    ] = ()
    regions: Annotated[
        tuple[StatedRegion, ...],
        Said("What it says, network units; empty for points, and for a query that relates two inputs.", absent=()),
    ] = ()
    runs: Annotated[
        tuple[str, ...],
        Said(
            "Of a query that relates the network to itself: what it calls each run. Counterexamples list their inputs, "
            "and outputs, one behind the other.",
            absent=(),
        ),
    ] = ()
    reason: Annotated[UnknownReason | None, _AsText, Said("Why `after` is unknown, as in `verify`.", absent=None)] = (
        None
    )
    open_boxes: Annotated[int, Said("Boxes left open by an undecided search.", absent=0)] = 0


@publishes("WatchedModel", "name text before after sampled")
@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicableOutcome:
    """A property that applies to the network and was not asked for."""

    name: str
    text: str
    before: Guarantee
    after: Annotated[
        Guarantee | None,
        Said(
            "Null where it was not looked at again. Of one that was not proved before only a counterexample is "
            "looked for: without one it is unknown."
        ),
    ]
    sampled: Annotated[
        PacBound | None,
        Said("Fresh samples of the repaired file, where a number of them was asked for.", absent=None),
    ] = None


@publishes("DomainModel", "lower upper source")
@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The declared input domain, network units.

    Attributes:
        source: where it comes from, e.g. ``"suite acasxu"``.

    Raises:
        ValueError: its corners have different lengths.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    source: str

    def __post_init__(self) -> None:
        if len(self.lower) != len(self.upper):
            raise ValueError("the corners of the domain have different lengths")


@publishes("NeighboursModel", "name points radius n before after generalisation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The answer wished for at points (`--points`), on fresh inputs close to them."""

    name: Annotated[str, Said("The entry of `properties` that stands for the points.")]
    points: int
    radius: Annotated[float, Said("Greatest difference from the point in each input, network units.")]
    n: int
    before: Annotated[float, Said("Share of neighbours with the answer wished for at their point.")]
    after: float
    generalisation: Annotated[Rate, Said("Of the neighbours that had not the answer, those that have it now.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a candidate keeps of the original, on a sample drawn for the choice between candidates.

    Attributes:
        decision_agreement: as in `KeptAt`, at the worst place; None where nothing is decided.
        mae: mean absolute difference of outputs, where it is largest for their size.
        size: mean absolute output of the original there; NaN where that is not known any more.
        drawdown: worst share of newly violating points of an applicable property's region.
        n: 0: nothing is said about behaviour.
    """

    decision_agreement: float | None
    mae: float
    size: float = math.nan
    drawdown: float
    n: Annotated[int, Said("Inputs compared; 0: none could be. -1: not recorded.", absent=-1)]

    @property
    def measured(self) -> bool:
        """Were inputs compared? Otherwise `mae` is 0, which would read as a candidate that changes nothing."""
        return self.n != 0


@publishes(
    "TriedModel",
    "method result decision_agreement=kept.decision_agreement mae=kept.mae drawdown=kept.drawdown n=kept.n seconds "
    "boxes answers",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate of a repair, in the order in which they were tried.

    Attributes:
        method: that made it.
        seconds: for making and deciding it.
    """

    method: str
    result: Annotated[
        TriedResult,
        Said(
            "Passed over: it changes more than a candidate that is proved. Too far: it could not be proved to be as "
            "close to the original as was asked for."
        ),
    ]
    kept: Kept
    seconds: float
    boxes: Annotated[int, Said("Boxes examined for all properties; 0 where it was passed over.", absent=0)] = 0
    answers: Annotated[
        Mapping[str, Guarantee],
        Said("Property -> answer, for those that were looked at before it was lost.", absent=dict),
    ] = field(default_factory=dict)
