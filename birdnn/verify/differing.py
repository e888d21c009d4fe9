"""Proved bounds of how far two networks are apart: branch and bound that cuts the boxes which leave most open.

It may be ended at any time; what it has then holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.difference import SeparateBound, difference_bound, questions
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.chain import NotAChain
from birdnn.network import Network
from birdnn.records.limits import OutOfTime, Over, never
from birdnn.verify.bounding import make_bound
from birdnn.verify.settings import SearchSettings
from birdnn.verify.work import Work, edges, halve

_STEPS = 2  # while boxes are wide, cutting pays more than optimising
_MAX_BOXES, _MAX_BYTES = 200_000, 1 << 31
_DIVES = 48
_CPU = torch.device("cpu")


def bound_of_difference(before: Network, after: Network) -> tuple[MarginBound, str]:
    """Whose bounds, and a remark where they are not those of the difference itself.

    Raises:
        UnsupportedOpError: a network holds an operator without a sound bound.
    """
    try:
        return difference_bound(before, after, _CPU, CrownSettings(steps=_STEPS)), ""
    except NotAChain as error:
        settings = SearchSettings(crown=CrownSettings(steps=_STEPS))
        parts = make_bound(before, settings), make_bound(after, settings)
        remark = f"Each network was bounded by itself, which says little about their difference: {error.reason}."
        return SeparateBound(*parts, before.n_outputs), remark


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


def bounded_difference(
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
    _let_end(bound, over)
    try:
        state = _Tightening.start(bound, boxes, enough)
    except OutOfTime:
        return None
    examined, complete = len(boxes), False
    room = min(_MAX_BOXES, _MAX_BYTES // max(1, state.work.bytes // len(state.work)))
    while not over() and enough_time() and examined < most_boxes and len(state.work) < room:
        gap = (state.upper - state.enough).amax(1)
        gap[~state.work.boxes.divisible().any(1)] = -torch.inf
        which = gap.topk(min(batch, len(gap))).indices
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
    """About how many boxes it takes until bounds are no more than `enough`, by random dives (Knuth 1975).

    Each dive follows one half of each box that is cut, at random; a box at depth d stands for 2^d of them. An estimate,
    most often too low.

    Args:
        bound, boxes, enough, over: as for `bounded_difference`.
        generator: on the CPU.
        most: more of them are not counted.
    """
    _let_end(bound, over)
    start = torch.randint(len(boxes), (_DIVES,), generator=generator)
    try:
        state = _Tightening.start(bound, boxes[start], enough)
        total = weight = float(len(boxes))
        while total <= most:
            still = ((state.upper > state.enough).any(1) & state.work.boxes.divisible().any(1)).nonzero()[:, 0]
            if not len(still) or over():
                break
            weight *= 2
            total += weight * len(still) / _DIVES
            state.dive(still, torch.rand(len(still), generator=generator) < 1 / 2)
    except OutOfTime:
        return torch.inf
    return total


def _let_end(bound: MarginBound, over: Over) -> None:
    for part in (bound.before, bound.after) if isinstance(bound, SeparateBound) else (bound,):
        if isinstance(part, CrownBound):
            part.over = over


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
        items, device = enough.numel(), bound.device
        opened = torch.ones(len(boxes), items, dtype=torch.bool, device=device)
        node = torch.zeros(len(boxes), dtype=torch.int64, device=device)
        work = Work(boxes, opened, bound.root(len(boxes)), node)
        known = boxes.lower.new_full((len(boxes), items), torch.inf)
        enough = enough.reshape(-1).to(known)
        asked = questions(items // 2, device)  # what is above zero is not open: a bound beyond what is enough
        question = Question(asked.a, -enough[:, None], asked.closed)
        state = cls(bound, question, enough, work, known)
        state.work, state.upper = state.examined(work, known)
        return state

    def examined(self, work: Work, known: Tensor) -> tuple[Work, Tensor]:
        """Boxes with what was learned about them, and their bounds: of what is open only, no greater than known."""
        result = self.bound.bound(self.question, work.boxes, work.opened, work.inherited)
        here, upper = (result.box, result.polytope), known.clone()
        found = _above(self.enough[result.polytope] - result.lower)
        upper[here] = torch.minimum(known[here], found)
        return Work(work.boxes, upper > self.enough, result.inherited, work.node), upper

    def halves(self, which: Tensor) -> tuple[Work, Tensor]:
        """Both halves of some boxes, all first ones first, with their bounds."""
        parents = self.work[which]
        cut = halve(self.bound, parents, edges(self.bound, self.question, parents))
        return self.examined(cut, self.upper[which].repeat(2, 1))

    def cut(self, which: Tensor) -> None:
        """Replace boxes by their halves: one of each in its place, the others behind all."""
        halves, upper = self.halves(which)
        n, m = len(self.work), len(which)
        if self._room < n + m:
            self._grow(2 * (n + m))
        for stored, new in zip(self._stored, (*_tensors(halves), upper), strict=True):
            stored[which] = new[:m]
            stored[n : n + m] = new[m:]
        self._show(n + m)

    def dive(self, which: Tensor, second: Tensor) -> None:
        """Replace all boxes by one half of some of them."""
        halves, upper = self.halves(which)
        taken = torch.arange(len(which)) + len(which) * second
        self.work, self.upper = halves[taken], upper[taken]

    @property
    def _room(self) -> int:
        return len(self._stored[0]) if self._stored else 0

    def _grow(self, room: int) -> None:
        """Room for so many boxes: adding each batch to a copy of all would take longer than bounding it."""
        n = len(self.work)
        grown = []
        for known in (*_tensors(self.work), self.upper):
            wider = known.new_empty(room, *known.shape[1:])
            wider[:n] = known
            grown.append(wider)
        self._stored = grown

    def _show(self, count: int) -> None:
        lower, upper, opened, inherited, node, apart = (stored[:count] for stored in self._stored)
        self.work, self.upper = Work(Boxes(lower, upper), opened, inherited, node), apart


def _above(value: Tensor) -> Tensor:
    """One float64 further up; infinity for what is no number."""
    known = value.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
    return torch.nextafter(known, known.new_tensor(torch.inf))


def _tensors(work: Work) -> tuple[Tensor, ...]:
    return work.boxes.lower, work.boxes.upper, work.opened, work.inherited, work.node
