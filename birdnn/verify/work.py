"""The open boxes of a search, and what one step of branch and bound makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.bounds.protocol import BoundResult, MarginBound, Question
from birdnn.boxes import Boxes


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Boxes that are still open.

    Attributes:
        boxes: n boxes.
        opened: which unsafe polytopes are not yet excluded on each, shape (n, polytopes).
        inherited: what the bound method knows of each from its parent, shape (n, k).
    """

    boxes: Boxes
    opened: Tensor
    inherited: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, which: slice | Tensor) -> Work:
        return Work(self.boxes[which], self.opened[which], self.inherited[which])

    @property
    def bytes(self) -> int:
        """Memory of all tensors."""
        tensors = (self.boxes.lower, self.boxes.upper, self.opened, self.inherited)
        return sum(t.numel() * t.element_size() for t in tensors)

    @staticmethod
    def concatenate(parts: list[Work]) -> Work:
        """All of ``parts`` in their order."""
        return Work(
            Boxes.concatenate([p.boxes for p in parts]),
            torch.cat([p.opened for p in parts]),
            torch.cat([p.inherited for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What became of a batch.

    Attributes:
        result: the bounds of its items.
        parent: indices into the batch of the boxes that stay open, shape (m,).
        remains: these boxes after clipping, with their tightened bounds, m of them.
        score: lower bound of the worst open item of each, shape (m,).
    """

    result: BoundResult
    parent: Tensor
    remains: Work
    score: Tensor


def examine(bound: MarginBound, question: Question, work: Work) -> Step:
    """Bound a batch, drop what is proved, clip what remains."""
    result = bound.bound(question, work.boxes, work.opened, work.inherited)
    undecided = ~question.excluded(result.lower, result.polytope)
    box, polytope = result.box[undecided], result.polytope[undecided]
    clipped = work.boxes[box].clip(result.plane[undecided], result.plane_minimum[undecided])
    alive = ~clipped.empty()
    box, polytope, clipped, lower = box[alive], polytope[alive], clipped[alive], result.lower[undecided][alive]

    index = box[:, None].expand(-1, clipped.lower.shape[1])
    hull_lower = torch.full_like(work.boxes.lower, torch.inf).scatter_reduce(0, index, clipped.lower, "amin")
    hull_upper = torch.full_like(work.boxes.upper, -torch.inf).scatter_reduce(0, index, clipped.upper, "amax")
    score = torch.full_like(work.boxes.lower[:, 0], torch.inf).scatter_reduce(0, box, lower, "amin")
    opened = torch.zeros_like(work.opened)
    opened[box, polytope] = True
    parent = opened.any(1).nonzero()[:, 0]
    remains = Work(Boxes(hull_lower, hull_upper), opened, result.inherited)[parent]
    return Step(result, parent, remains, score[parent])


def halve(bound: MarginBound, question: Question, work: Work) -> Work:
    """Bisect each box where the bounds of its open rows react most; first halves first, then second halves."""
    sensitivity = bound.sensitivity(question, work.opened, work.inherited).nan_to_num(nan=1.0).clamp(min=1e-300)
    score = sensitivity * work.boxes.widths()
    # an edge without a midpoint would give the same box again, for ever
    dimension = score.masked_fill(~work.boxes.divisible(), -1.0).argmax(1)
    return Work(work.boxes.bisect(dimension), work.opened.repeat(2, 1), work.inherited.repeat(2, 1))
