"""Proved bounds of how far two networks are apart: branch and bound that cuts the boxes which leave most open.

It may be ended at any time; what it has then holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.difference import SeparateBound, difference_bound, difference_questions, next_below
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.chain import NotAChain
from birdnn.network import Network
from birdnn.records.limits import OutOfTime, Over, never
from birdnn.spec import Polytope, Row
from birdnn.verify.bounding import make_bound
from birdnn.verify.settings import SearchSettings
from birdnn.verify.treesize import boxes_below
from birdnn.verify.work import Work, choose_edges, halve

# while boxes are wide, cutting pays more than optimising; so it does for inner neurons, of repaired networks
_STEPS = 2
_MAX_BOXES, _MAX_BYTES = 200_000, 1 << 31  # none is ever dropped: the bound is the largest of all boxes
_DIVES = 48
_CPU = torch.device("cpu")


def followed_difference(before: Network, after: Network) -> MarginBound:
    """Bounds of the difference itself.

    Raises:
        NotAChain: it is followed through chains of corresponding layers only.
    """
    return difference_bound(before, after, _CPU, CrownSettings(steps=_STEPS))


def bound_of_difference(before: Network, after: Network) -> tuple[MarginBound, str]:
    """Whose bounds, and a remark where they are not those of the difference itself.

    Raises:
        UnsupportedOpError: a network holds an operator without a sound bound.
    """
    try:
        return followed_difference(before, after), ""
    except NotAChain as error:
        settings = SearchSettings(crown=CrownSettings(steps=_STEPS))
        parts = make_bound(before, settings), make_bound(after, settings)
        remark = f"Each network was bounded by itself, which says little about their difference: {error.reason}."
        return SeparateBound(*parts, before.n_outputs), remark


def polytopes_apart(outputs: Iterable[int], n_outputs: int) -> Iterator[Polytope]:
    """Of A and B side by side: each output of B above that of A, and below it."""
    for output in outputs:
        for sign in (1, -1):
            row = [Fraction(0)] * (2 * n_outputs)
            row[output], row[n_outputs + output] = Fraction(sign), Fraction(-sign)
            yield Polytope(rows=(Row(tuple(row), Fraction(0)),), n_outputs=2 * n_outputs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """What is proved of B - A on all boxes, over the reals.

    Attributes:
        lower, upper: of each output, (outputs,) float64; infinite where nothing is known.
        boxes: how many were bounded.
        complete: no bound exceeds what was enough.
    """

    lower: Tensor
    upper: Tensor
    boxes: int
    complete: bool

    @property
    def most(self) -> Tensor:
        """Of the absolute difference of each output, (outputs,)."""
        return torch.maximum(self.upper, -self.lower).clamp(min=0)


def tighten_difference(
    bound: MarginBound,
    boxes: Boxes,
    enough: Tensor,
    *,
    batch: int,
    most_boxes: float = torch.inf,
    over: Over = never,
    enough_time: Callable[[], bool] = lambda: True,
    news: Callable[[int, float], None] = lambda boxes, most: None,
) -> Difference | None:
    """Bound the difference of two networks on some boxes; None where it had to end before there was any bound.

    Args:
        bound: from `bound_of_difference`.
        boxes: where.
        enough: what bounds need not be lowered beyond, (outputs, 2): of B - A, and of A - B.
        batch: how many boxes are bounded together.
        most_boxes: that are bounded at most.
        over: must everything end?
        enough_time: is there time for more than the first bounds?
        news: who is told how many boxes were bounded, and the largest bound.
    """
    bound.over = over
    try:
        state = _Tightening.start(bound, boxes, enough)
    except OutOfTime:
        return None
    examined = len(boxes)
    room = min(_MAX_BOXES, _MAX_BYTES // max(1, state.work.bytes // len(state.work)))
    while not over() and enough_time() and examined < most_boxes and len(state.work) < room:
        gap = (state.upper - state.enough).amax(1)
        # an edge without a midpoint would give the same box again, for ever
        gap[~state.work.boxes.divisible().any(1)] = -torch.inf
        which = gap.topk(min(batch, len(gap))).indices
        # a box whose bounds are enough does not raise the maximum that is asked for
        which = which[gap[which] > 0]
        if not len(which):
            break
        try:
            state.cut(which)
        except OutOfTime:
            break
        examined += 2 * len(which)
        news(examined, float(state.upper.amax()))
    complete = bool((state.upper <= state.enough).all())
    above = state.upper.amax(0).reshape(-1, 2)
    return Difference(lower=-above[:, 1], upper=above[:, 0], boxes=examined, complete=complete)


def boxes_needed(
    bound: MarginBound, boxes: Boxes, enough: Tensor, generator: torch.Generator, *, most: float, over: Over = never
) -> float:
    """About how many boxes it takes until bounds are no more than `enough`; see `boxes_below`.

    Args:
        bound, boxes, enough, over: as for `tighten_difference`.
        generator: on the CPU.
        most: more of them are not counted.
    """
    bound.over = over
    question = _difference_question(bound, enough)
    work = _all_open(bound, boxes, len(question))
    try:
        found = boxes_below(bound, question, work, descents=_DIVES, generator=generator, over=over, most=most)
    except OutOfTime:
        found = None
    return torch.inf if found is None else found


def _difference_question(bound: MarginBound, enough: Tensor) -> Question:
    """Is the difference within what is enough, (outputs, 2)? An item is closed once its bound is above zero."""
    asked = difference_questions(len(enough), bound.device)
    # so that an item counts as closed, and is left alone, once its bound is enough
    return Question(asked.a, -enough.reshape(-1, 1).to(asked.a), asked.closed)


def _all_open(bound: MarginBound, boxes: Boxes, items: int) -> Work:
    """Boxes of which nothing is known."""
    opened = torch.ones(len(boxes), items, dtype=torch.bool, device=bound.device)
    node = torch.zeros(len(boxes), dtype=torch.int64, device=bound.device)
    return Work(boxes, opened, bound.root(len(boxes)), node)


@dataclass(slots=True, eq=False)
class _Tightening:
    """Boxes with what is known about each.

    Attributes:
        question: is it beyond what is enough?
        work: the boxes.
        upper: bounds of B - A, and of A - B, for each output in turn, (boxes, 2 outputs).
        enough: what they need not be lowered beyond, (2 outputs,).
    """

    bound: MarginBound
    question: Question
    enough: Tensor
    work: Work
    upper: Tensor
    _stored: list[Tensor] = field(default_factory=list)

    @classmethod
    def start(cls, bound: MarginBound, boxes: Boxes, enough: Tensor) -> _Tightening:
        question = _difference_question(bound, enough)
        work = _all_open(bound, boxes, len(question))
        known = boxes.lower.new_full(work.opened.shape, torch.inf)
        state = cls(bound, question, -question.b[:, 0], work, known)
        state.work, state.upper = state.examined(work, known)
        return state

    def examined(self, work: Work, known: Tensor) -> tuple[Work, Tensor]:
        """Boxes with what was learned about them, and their bounds: of what is open only, no greater than known."""
        result = self.bound.bound(self.question, work.boxes, work.opened, work.inherited)
        here, upper = (result.box, result.polytope), known.clone()
        # lower is a bound of A - B + enough (`_difference_question`); `next_below` pays for the subtraction's rounding
        found = -next_below(result.lower - self.enough[result.polytope])
        # what holds on a box holds on its halves: optimising anew may end higher
        upper[here] = torch.minimum(known[here], found)
        return Work(work.boxes, upper > self.enough, result.inherited, work.node), upper

    def halves(self, which: Tensor) -> tuple[Work, Tensor]:
        """Both halves of some boxes, all first ones first, with their bounds."""
        parents = self.work[which]
        # not where the bounds say: that is chosen for what they leave of a box, and here all of it stays
        cut = halve(self.bound, parents, choose_edges(self.bound, self.question, parents))
        # both halves start from what is proved of the whole
        return self.examined(cut, self.upper[which].repeat(2, 1))

    def cut(self, which: Tensor) -> None:
        """Replace boxes by their halves: one of each in its place, the others behind all."""
        halves, upper = self.halves(which)
        n, m = len(self.work), len(which)
        if self._room < n + m:
            self._grow_storage(2 * (n + m))
        for stored, new in zip(self._stored, (*_tensors_of(halves), upper), strict=True):
            stored[which] = new[:m]
            stored[n : n + m] = new[m:]
        self._view_stored(n + m)

    @property
    def _room(self) -> int:
        return len(self._stored[0]) if self._stored else 0

    def _grow_storage(self, room: int) -> None:
        """Room for so many boxes: adding each batch to a copy of all would take longer than bounding it."""
        n = len(self.work)
        grown = []
        for known in (*_tensors_of(self.work), self.upper):
            wider = known.new_empty(room, *known.shape[1:])
            wider[:n] = known
            grown.append(wider)
        self._stored = grown

    def _view_stored(self, count: int) -> None:
        lower, upper, opened, inherited, node, apart = (stored[:count] for stored in self._stored)
        self.work, self.upper = Work(Boxes(lower, upper), opened, inherited, node), apart


def _tensors_of(work: Work) -> tuple[Tensor, ...]:
    return work.boxes.lower, work.boxes.upper, work.opened, work.inherited, work.node
