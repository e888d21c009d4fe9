"""Proved bounds of the difference: branch and bound that cuts the boxes which leave most open.

It may be ended at any time; what it has then holds. The boxes are those of a place, rounded outward.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.difference import SeparateBound, difference_bound, questions
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.chain import NotAChain
from birdnn.compare.pair import Pair, Place
from birdnn.pipeline.clock import Clock
from birdnn.records import ARITHMETIC, Progress, ProvedApart
from birdnn.records.limits import OutOfTime
from birdnn.verify import SearchSettings
from birdnn.verify.bounding import make_bound
from birdnn.verify.work import Work, edges, halve

_STEPS = 2  # while boxes are wide, cutting pays more than optimising
_MAX_BOXES, _MAX_BYTES = 200_000, 1 << 31
_CPU = torch.device("cpu")


def bound_method(pair: Pair) -> tuple[MarginBound, str]:
    """Whose bounds, and a remark where they are not those of the difference itself.

    Raises:
        UnsupportedOpError: a network holds an operator without a sound bound.
    """
    before, after = pair.before.net, pair.after.net
    try:
        return difference_bound(before, after, _CPU, CrownSettings(steps=_STEPS)), ""
    except NotAChain as error:
        settings = SearchSettings(crown=CrownSettings(steps=_STEPS))
        parts = make_bound(before, settings), make_bound(after, settings)
        remark = f"Each network was bounded by itself, which says little about their difference: {error.reason}."
        return SeparateBound(*parts, before.n_outputs), remark


@dataclass(slots=True, eq=False)
class _Tightening:
    """The boxes of a place with what is known about each.

    Attributes:
        work: the boxes; `upper`: bounds of the absolute difference of each output there, (boxes, outputs).
    """

    bound: MarginBound
    question: Question
    work: Work
    upper: Tensor
    _stored: list[Tensor] = field(default_factory=list)

    @classmethod
    def start(cls, bound: MarginBound, boxes: Boxes, n_outputs: int) -> _Tightening:
        question = questions(n_outputs, bound.device)
        opened = torch.ones(len(boxes), len(question), dtype=torch.bool, device=bound.device)
        node = torch.zeros(len(boxes), dtype=torch.int64, device=bound.device)
        empty = cls(bound, question, Work(boxes, opened, bound.root(len(boxes)), node), boxes.lower.new_zeros(0))
        empty.work, empty.upper = empty.examined(empty.work)
        return empty

    def examined(self, work: Work) -> tuple[Work, Tensor]:
        """Boxes with what was learned about them, and their bounds."""
        result = self.bound.bound(self.question, work.boxes, work.opened, work.inherited)
        lower = result.lower.reshape(len(work), -1, 2).nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        # the difference of an output is at most what bounds it from both sides, and never negative
        upper = (-lower).amax(2).clamp(min=0)
        return Work(work.boxes, work.opened, result.inherited, work.node), upper

    def cut(self, which: Tensor) -> None:
        """Replace boxes by their halves: one of each in its place, the others behind all."""
        parents = self.work[which]
        halves, upper = self.examined(halve(self.bound, parents, edges(self.bound, self.question, parents)))
        upper = torch.minimum(upper, self.upper[which].repeat(2, 1))
        n, m = len(self.work), len(which)
        if self._room < n + m:
            self._grow(2 * (n + m))
        for stored, new in zip(self._stored, (*_tensors(halves), upper), strict=True):
            stored[which] = new[:m]
            stored[n : n + m] = new[m:]
        self._show(n + m)

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


def _tensors(work: Work) -> tuple[Tensor, ...]:
    return work.boxes.lower, work.boxes.upper, work.opened, work.inherited, work.node


def proved_apart(
    bound: MarginBound, place: Place, enough: Tensor, batch: int, clock: Clock, seconds: float
) -> ProvedApart | None:
    """Bound the difference of each output over a place, for at most so many seconds.

    None where the time limit ended before there was any bound.

    Args:
        bound: from `bound_method`.
        place: where.
        enough: of each output, what need not be lowered, (outputs,).
        batch: how many boxes are bounded together.
        clock: when everything ends.
        seconds: when this ends; the first bounds are computed as long as not everything ends.
    """
    begun = clock.wall_s()
    boxes = Boxes(*(torch.stack([getattr(region, side) for region in place.regions]) for side in ("lower", "upper")))
    for part in (bound.before, bound.after) if isinstance(bound, SeparateBound) else (bound,):
        if isinstance(part, CrownBound):
            part.over = clock.over
    try:
        state = _Tightening.start(bound, boxes, len(enough))
    except OutOfTime:
        return None
    examined, complete = len(boxes), False
    most = min(_MAX_BOXES, _MAX_BYTES // (state.work.bytes // len(state.work)))
    while not clock.over() and clock.wall_s() - begun < seconds and len(state.work) < most:
        gap = (state.upper - enough).amax(1)
        gap[~state.work.boxes.divisible().any(1)] = -torch.inf
        which = gap.topk(min(batch, len(gap))).indices
        which = which[gap[which] > 0]
        complete = not len(which)
        if complete:
            break
        try:
            state.cut(which)
        except OutOfTime:
            break
        examined += 2 * len(which)
        _tell(clock, place, examined, float(state.upper.amax()), (clock.wall_s() - begun) / seconds)
    return ProvedApart(
        place=place.name,
        upper=tuple(state.upper.amax(0).tolist()),
        method=bound.name,
        arithmetic=ARITHMETIC["real"],
        boxes=examined,
        seconds=clock.wall_s() - begun,
        complete=complete,
    )


def _tell(clock: Clock, place: Place, boxes: int, most: float, done: float) -> None:
    news = Progress(
        phase=f"bounding the difference, {place.name}",
        done=min(1.0, done),
        detail=f"{boxes:,} boxes, at most {most:.3g}",
    )
    clock.watch.update(news)
