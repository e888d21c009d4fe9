"""What one stage tells the next: verdicts, counterexamples, samples, the change, progress.

Records are immutable and hold no behaviour beyond reading themselves. `Proved`, `Violated` and `Unknown` are three
types, so that nothing but a finished proof can be mistaken for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, assert_never, runtime_checkable

from birdnn.boxes import Boxes
from birdnn.later import later
from birdnn.records.proofs import RegionProof
from birdnn.records.published import Said, publishes
from birdnn.records.result import Result
from birdnn.rounding import Semantics

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
else:
    np, npt, torch = later("numpy"), later("numpy.typing"), later("torch")

Decision = Literal["argmin", "argmax", "none"]
"""Which output decides; none: nobody says it."""

ARITHMETIC: Mapping[Semantics, str] = {
    "real": "float64, rounding accounted for; over the reals",
    "float32": "float64, rounding accounted for; as executed in float32, sums in any order",
}
"""What a bound computes with, and what it speaks about."""


@runtime_checkable
class Replay(Protocol):
    """Runs the network as its file says, outside torch.

    Attributes:
        name: who runs it, e.g. ``"onnxruntime"``.
    """

    @property
    def name(self) -> str:
        """See above."""

    # One point, no batch: the shapes that a file declares may leave no room for one.
    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """Outputs, shape (outputs,), in the file's type, at the point ``x``, shape (inputs,)."""


UnknownReason = Literal[
    "timeout", "memory", "boxes", "interrupted", "precision", "not_found", "not_executed", "rejected"
]


@publishes("CounterexampleModel", "x y replayed_by exactly")
@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A replayed counterexample, network units."""

    x: Annotated[
        tuple[float, ...],
        Said("Inputs: float32 values inside the exact input box, or nearest to a range that holds none."),
    ]
    y: Annotated[tuple[float, ...], Said("Outputs, as the first engine of `replayed_by` gave them.")]
    replayed_by: Annotated[tuple[str, ...], Said("Engines on which it violates, with tolerance 0.")]
    exactly: Annotated[
        bool | None,
        Said(
            "Does the function over the reals violate at x as well? Null where nobody could tell, and in "
            "reports of birdnn 0.1.0.",
            absent=None,
        ),
    ] = None

    def contradicts(self, semantics: Semantics) -> bool:
        """Beside it, can a proof of what ``semantics`` speaks about not be right?

        Runs round: one that violates says nothing about the reals where these do not violate at the same input.
        """
        # None counts as a contradiction: where nobody could tell, a proof is not believed.
        return semantics == "float32" or self.exactly is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved(Result):
    """No point of any region is unsafe: every box of a complete cover has a positive bound.

    Attributes:
        boxes: how many were examined.
        proofs: what a certificate needs of each region, where that was recorded.
        executed: of a proof over the reals, an input at which the network violates all the same when it is run: runs
            round. None where none was met.
        touched: boxes that float64 left open, as the threshold is touched there, and that were closed exactly; no
            certificate can say that.
    """

    boxes: int
    proofs: tuple[RegionProof, ...] = field(default=(), compare=False, repr=False)
    arithmetic: str = ARITHMETIC["real"]
    executed: Witness | None = field(default=None, repr=False)
    touched: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violated(Result):
    """Some point is unsafe, and here it is.

    Attributes:
        witness: violates when it is run; its `exactly` says whether over the reals as well.
        boxes: how many were examined.
        undecided: where a search spoke about the reals and `witness` violates when run only: why it did not decide what
            holds over the reals.
    """

    witness: Witness
    boxes: int
    arithmetic: str = "exact property on replayed outputs"
    undecided: UnknownReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unknown(Result):
    """Neither proved nor violated.

    Attributes:
        reason: what ended the search. ``"precision"``: a box too small to cut stays undecided; ``"not_found"``: nothing
            but falsification was asked for, and it found nothing. ``"not_executed"``: the function over the reals
            violates at `over_reals`, and no run that does was found. ``"rejected"``: there was a proof, and the
            independent checker rejected its certificate, or another engine contradicts it.
        boxes: how many were examined.
        undecided: boxes that were still open, at most a few thousand of them. Those that were cut last come first;
            they stem from boxes that were hard, but the order is no ranking.
        open_boxes: how many were open in all.
        tried: what falsification did, e.g. ``"10 rounds of attack"``, where nothing else was asked for.
        over_reals: an input at which the function over the reals violates, and no engine does; empty without one.
    """

    reason: UnknownReason
    boxes: int
    undecided: Boxes | None = None
    open_boxes: int = 0
    tried: str = ""
    arithmetic: str = ARITHMETIC["real"]
    over_reals: tuple[float, ...] = ()


Verdict: TypeAlias = Proved | Violated | Unknown

OutcomeWord = Literal["proved", "violated", "unknown"]
CompetitionWord = Literal["unsat", "sat", "unknown", "timeout"]

# One violation is a violation of all, and one that is undecided leaves all undecided.
_WORST_FIRST: Sequence[CompetitionWord] = ("sat", "unknown", "timeout", "unsat")


def outcome_word(verdict: Verdict) -> OutcomeWord:
    """The verdict in our word."""
    match verdict:
        case Proved():
            return "proved"
        case Violated():
            return "violated"
        case Unknown():
            return "unknown"
        case _:
            assert_never(verdict)


def competition_word(verdict: Verdict) -> CompetitionWord:
    """The verdict in VNN-COMP's word, which speaks about the unsafe set: ``unsat`` means that the property holds."""
    match verdict:
        case Proved():
            return "unsat"
        case Violated():
            return "sat"
        case Unknown():
            return "timeout" if verdict.reason == "timeout" else "unknown"
        case _:
            assert_never(verdict)


def worst_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that speaks for all of them: proved only if every one is.

    Raises:
        ValueError: there is none.
    """
    return min(verdicts, key=lambda verdict: _WORST_FIRST.index(competition_word(verdict)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """News from a running stage.

    Attributes:
        phase: what is being done, e.g. ``"proving prop_8"``.
        done: share of the work in 0..1 where it is known.
        left_s: expected seconds to the end, where known.
        detail: one short remark, e.g. ``"12,000 boxes, 340 open"``.
    """

    phase: str
    done: float | None = None
    left_s: float | None = None
    detail: str = ""


@runtime_checkable
class Watch(Protocol):
    """Someone who follows a long computation and may stop it."""

    def update(self, news: Progress) -> None:
        """Take the news; must return quickly and never raise."""

    def stopped(self) -> bool:
        """True once the user asked to stop; long loops look at it several times a second."""


@dataclass(frozen=True, slots=True)
class Unwatched:
    """The `Watch` of someone who waits in silence."""

    def update(self, news: Progress) -> None:
        """Ignore the news."""

    def stopped(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleSet:
    """Points of an input region with the network's outputs there.

    Attributes:
        x: shape (points, inputs), network units.
        y: shape (points, outputs).
        margin: signed margin of the property, shape (points,); not positive means unsafe.
    """

    x: torch.Tensor
    y: torch.Tensor
    margin: torch.Tensor

    def __len__(self) -> int:
        return self.x.shape[0]

    def where(self, mask: torch.Tensor) -> SampleSet:
        """The points at which ``mask`` is true."""
        return SampleSet(x=self.x[mask], y=self.y[mask], margin=self.margin[mask])


@publishes("ValueChangeModel", "index before after")
@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One value of an initialiser."""

    index: tuple[int, ...]
    before: float
    after: float


@publishes("ChangeModel", "count size L1=l1 Linf=linf largest")
@dataclass(frozen=True, slots=True, kw_only=True)
class InitialiserChange:
    """How far one initialiser moved.

    Attributes:
        l1, linf: sum and maximum of the absolute differences.
    """

    count: Annotated[int, Said("Values that differ.")]
    size: int
    l1: float
    linf: float
    largest: Annotated[tuple[ValueChange, ...], Said("The values that moved most, at most 20.", absent=())] = ()


@publishes("FidelityModel", "decision_agreement mae n")
@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Behaviour kept over points that no repair has seen."""

    decision_agreement: Annotated[float | None, Said("Share with the same decision; null without a decision rule.")]
    mae: Annotated[float, Said("Mean absolute difference of the outputs, network units.")]
    n: int


@publishes("PropertyDrawdownModel", "name share n")
@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """Share of a property's points that satisfied it before and violate it now.

    Attributes:
        name: the property.
        n: number of points that satisfied it before.
    """

    name: str
    share: Annotated[float | None, Said("Null where n is 0.")]
    n: int


@publishes("DrawdownModel", "worst share n properties")
@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdowns:
    """The worst property, and each."""

    properties: tuple[Drawdown, ...] = ()

    @property
    def top(self) -> Drawdown | None:
        """The property that lost most; None where none was measured."""
        # Without those of no points, whose share is null: nothing is no worst.
        return max((entry for entry in self.properties if entry.n), key=lambda entry: entry.share or 0.0, default=None)

    @property
    def worst(self) -> str | None:
        """Its name."""
        return self.top.name if self.top else None

    @property
    def share(self) -> float | None:
        """Its share."""
        return self.top.share if self.top else None

    @property
    def n(self) -> int | None:
        """Its number of points."""
        return self.top.n if self.top else None


@publishes("RateModel", "share hits n by_proof")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`hits` of `n`; `share` is null below 100 points unless a proof gives it."""

    hits: int
    n: int
    by_proof: bool = field(default=False)

    @property
    def share(self) -> float | None:
        """``hits / n``, 1.0 by proof, or None where n is below 100."""
        if self.by_proof:
            return 1.0
        # Of fewer points a percentage claims more than was seen; `hits` and `n` are told instead.
        return self.hits / self.n if self.n >= 100 else None
