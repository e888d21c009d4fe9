"""What `compare` asks for and gets back. A is the network before, B the one after; differences are B - A."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.facts import Machine, ProofSemantics, ScaledQuantity, SuiteMatch, Units
from birdnn.records.published import CommandLine, OrNull, Said, Written, finite_or_null, publishes
from birdnn.records.result import Result, in_a_line
from birdnn.records.results import Domain, Guarantee, Role
from birdnn.records.stages import Decision, Drawdown, Fidelity, InitialiserChange, Rate, Witness

Matching = Literal["graph", "layers", "none"]
Became = Literal["kept", "lost", "gained", "violated in both", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """Everything that ``compare``'s command line says.

    Attributes:
        before, after: A and B.
        props, keep, suite, as_name, domain, decision, units: as for ``repair``; properties are decided on both.
        samples: uniform points of the domain; a quarter of them in each property's region.
        bound_s: seconds for a proved bound of the difference; 0: none.
        timeout_s: limit for everything; None: no limit.
        command: the command line, for the record.
    """

    before: Path
    after: Path
    props: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    domain: Path | Literal["property"] | None = None
    decision: Decision | None = None
    samples: int = 400_000
    bound_s: float = 10.0
    timeout_s: float | None = None
    units: Annotated[Units, Said("Of the property files.")] = "normalised"
    seed: int = 0
    command: CommandLine = ()


@publishes("ConfidenceModel", "lower upper confidence")
@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """A two-sided confidence interval, by itself: intervals of several figures share nothing."""

    lower: float
    upper: float
    confidence: float


@publishes("TransitionModel", "before after count")
@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Points at which A decides for one output and B for another."""

    before: int
    after: int
    count: int


@publishes("LikenessModel", "place n fidelity agreement mae per_output transitions drawdown healed")
@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike A and B behave on uniform points of one place.

    Attributes:
        agreement: None without a decision rule.
        drawdown, healed: of a property's region; None where there was no such point.
    """

    place: Annotated[str, Said("`domain`, or the property in whose region the points lie.")]
    fidelity: Annotated[
        Fidelity | None,
        Said("Over the points at which A violates none of the properties; null where there is none."),
    ]
    agreement: Annotated[Confidence | None, Said("Of the decision agreement: Clopper and Pearson's.")] = None
    mae: Annotated[Confidence | None, Said("Of the mean absolute difference: normal approximation.")] = None
    per_output: Annotated[tuple[float, ...], Said("Mean absolute difference of each output, network units.")] = ()
    n: Annotated[int, Said("Points drawn.")] = 0
    transitions: Annotated[tuple[Transition, ...], Said("How decisions changed, the most frequent first.")] = ()
    drawdown: Annotated[
        Drawdown | None,
        Said("Of a region's points that satisfy the property in A, the share that violates it in B."),
    ] = None
    healed: Annotated[Rate | None, Said("Of those that violate it in A, those that satisfy it in B.")] = None


@publishes(
    "ApartModel",
    "place output size size_raw x x_raw before after decided_before decided_after replayed_by",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """An input at which the files, when run, are far apart. Found by a search, no bound.

    Attributes:
        place: where it was looked for.
        decided: the outputs that decide in A and B; None without a decision rule.
    """

    place: str
    x: Annotated[tuple[float, ...], Said("The input, network units, float32 values.")]
    before: Annotated[tuple[float, ...], Said("Outputs of A, network units.")]
    after: tuple[float, ...]
    size: Annotated[
        float,
        Said(
            "Absolute difference of that output; for a change of decision the lesser of how much A prefers "
            "its choice to B's and B its own to A's. Network units."
        ),
    ]
    output: Annotated[int | None, Said("Which output is meant; null for a change of decision.")]
    decided: tuple[int, int] | None
    replayed_by: Annotated[tuple[str, ...], Said("Who ran A, and who ran B.")]
    size_raw: Annotated[
        float | None,
        Said("The same in raw units; null where nobody knows the scaling, or the outputs compared have several."),
    ] = None
    x_raw: Annotated[tuple[float, ...] | None, Said("The same in raw units; null where nobody knows the scaling.")] = (
        None
    )

    @property
    def decided_before(self) -> int | None:
        """The output that decides in A."""
        return None if self.decided is None else self.decided[0]

    @property
    def decided_after(self) -> int | None:
        """The output that decides in B."""
        return None if self.decided is None else self.decided[1]

    def scaled(self, inputs: Sequence[ScaledQuantity], outputs: Sequence[ScaledQuantity]) -> Apart:
        """The same, said in raw units too, where their scaling is known."""
        x_raw = size_raw = None
        if inputs:
            # In exact arithmetic, rounded once: the raw point, scaled back, is that close to the one that was run.
            pairs = zip(self.x, inputs, strict=True)
            x_raw = tuple(float(Fraction(value) * side.range + side.mean) for value, side in pairs)
        if outputs:
            meant = (self.output, self.output) if self.output is not None else self.decided
            size_raw = None if meant is None else _difference_raw(self.size, *(outputs[place] for place in meant))
        return replace(self, x_raw=x_raw, size_raw=size_raw)


def _difference_raw(size: float, one: ScaledQuantity, other: ScaledQuantity) -> float | None:
    """A difference of two values in raw units; None where each is scaled in its own way."""
    # Where both have one scaling only the range counts: the mean cancels.
    return float(Fraction(size) * one.range) if (one.range, one.mean) == (other.range, other.mean) else None


@publishes("ProvedApartModel", "place upper method arithmetic boxes seconds complete")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedApart:
    """No input of a place has an output differ by more than this; proved by our own engine.

    Attributes:
        upper: infinity where nothing is known.
        method: whose bounds; `arithmetic`: which arithmetic, and what they speak about.
        boxes: into how many the place was cut; `seconds` it took.
    """

    place: str
    upper: Annotated[
        tuple[float, ...],
        Written(list[float | None], finite_or_null),
        Said("For each output, network units; null where nothing is known."),
    ]
    method: str
    arithmetic: str
    boxes: int
    seconds: float
    complete: Annotated[bool, Said("The bounds are close to what was found; more time would gain little.")]


@publishes(
    "ParameterChangeModel",
    "name layer count=change.count size=change.size share L1=change.l1 Linf=change.linf",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """One tensor of numbers that differs."""

    name: str
    layer: Annotated[int, Said("Which weighted layer reads it, from 1; 0: before the first.")]
    change: InitialiserChange

    @property
    def share(self) -> float:
        """Of its values, those that differ."""
        return self.change.count / self.change.size


@publishes("StructureModel", "matching statements same_file parameters compared changed L1=l1 Linf=linf changes")
@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How the graphs and their numbers differ.

    Attributes:
        statements: how they differ, one sentence each.
        changes: what differs, from input to output.
        compared: how many numbers of A were compared.
        same_file: both files hold the same bytes.
    """

    matching: Annotated[
        Matching,
        Said(
            "graph: the same operations on numbers of the same names. layers: other graphs that fold to layers "
            "of the same form, which are compared. none: no parameter of one corresponds to one of the other."
        ),
    ]
    statements: tuple[str, ...]
    changes: tuple[LayerChange, ...]
    parameters: Annotated[int, Said("Numbers of A.")]
    compared: int
    same_file: bool

    @property
    def same(self) -> bool:
        """Were parameters compared, and does none differ?"""
        return self.matching != "none" and not self.changes

    @property
    def changed(self) -> Annotated[int | None, Said("Null where nothing corresponds.")]:
        """How many parameters differ."""
        return None if self.matching == "none" else sum(entry.change.count for entry in self.changes)

    @property
    def l1(self) -> float | None:
        """Sum of their absolute differences."""
        return None if self.matching == "none" else sum(entry.change.l1 for entry in self.changes)

    @property
    def linf(self) -> float | None:
        """The largest of them."""
        if self.matching == "none":
            return None
        return max((entry.change.linf for entry in self.changes), default=0.0)


@publishes(
    "ComparedPropertyModel",
    "name file=path sha256 text role before after became before_s after_s before_boxes after_boxes before_arithmetic "
    "after_arithmetic before_counterexample after_counterexample",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyComparison:
    """One property on both networks.

    Attributes:
        before, after: the guarantee on A and on B; what their arithmetic speaks about stands beside each.
    """

    name: str
    path: str
    sha256: str
    text: str
    role: Role
    before: Guarantee
    after: Guarantee
    became: Annotated[
        Became,
        Said("lost: proved for A, a counterexample of B. gained: a counterexample of A, proved for B."),
    ]
    before_s: float
    after_s: float
    before_boxes: int
    after_boxes: int
    before_arithmetic: str
    after_arithmetic: str
    before_counterexample: Witness | None = None
    after_counterexample: Witness | None = None


UNKNOWN_DOMAIN = "not measured over the domain: it is unknown, give --domain"


@publishes(
    "CompareReport",
    "command=request.command outcome=result headline interrupted timed_out net_before=before "
    "net_before_sha256=before_sha256 net_after=after net_after_sha256=after_sha256 likeness likeness_note apart "
    "proved_apart bound_note structure properties lost gained regressions disagreement semantics domain decision suite "
    "inputs outputs units=request.units samples=request.samples seed=request.seed timeout_s=request.timeout_s wall_s "
    "notes versions machine",
    told={"headline": str},
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CompareOutcome(Result):
    """What `birdnn compare --json` writes.

    Attributes:
        before, after: absolute paths of A and B; `before_sha256`, `after_sha256` of the files.
        apart: the worst found: for each output, and the clearest change of decision.
        proved_apart: for the domain and each region.
        properties: those that were decided, on both.
        notes: what was inferred and what a user should know, one sentence each.
        timed_out: ``--timeout`` cut something short.
    """

    request: CompareRequest
    before: str
    after: str
    before_sha256: str
    after_sha256: str
    structure: Structure
    likeness: Annotated[tuple[Likeness, ...], Said("The domain first, where it is known.")]
    apart: tuple[Apart, ...]
    proved_apart: tuple[ProvedApart, ...]
    bound_note: Annotated[str, Said("Why there is no proved bound; empty otherwise.")]
    properties: tuple[PropertyComparison, ...]
    regressions: Annotated[tuple[str, ...], Said("Proved for A and not for B, be it violated or undecided.")]
    semantics: ProofSemantics
    domain: Domain | None
    decision: Decision
    suite: SuiteMatch | None
    inputs: Annotated[tuple[ScaledQuantity, ...], Said("Empty where nobody says what they mean.")]
    outputs: tuple[ScaledQuantity, ...]
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
    disagreement: Annotated[OrNull, Said("A point that was found contradicts what was proved.")] = ""

    @property
    def result(
        self,
    ) -> Annotated[
        Literal["same", "different"],
        Said("same: parameters were compared and none differs; says nothing where none corresponds."),
    ]:
        """Is it the same network?"""
        return "same" if self.structure.same else "different"

    @property
    def likeness_note(self) -> Annotated[str, Said("Why the domain is missing; empty otherwise.")]:
        """Why nothing is said about the domain."""
        return UNKNOWN_DOMAIN if self.domain is None else ""

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of properties that were proved for A and have a counterexample of B."""
        return tuple(entry.name for entry in self.properties if entry.became == "lost")

    @property
    def gained(self) -> tuple[str, ...]:
        """The other way round."""
        return tuple(entry.name for entry in self.properties if entry.became == "gained")

    def __repr__(self) -> str:
        words = (f"{entry.name}: {entry.became}" for entry in self.properties)
        return in_a_line("CompareOutcome", [self.result, *words], self.wall_s)
