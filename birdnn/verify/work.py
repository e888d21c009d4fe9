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
        node: its number in the tree, shape (n,); halves have their parent's until someone counts them.
    """

    boxes: Boxes
    opened: Tensor
    inherited: Tensor
    node: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, which: slice | Tensor) -> Work:
        return Work(self.boxes[which], self.opened[which], self.inherited[which], self.node[which])

    def to(self, device: torch.device) -> Work:
        """The same on a device."""
        return Work(self.boxes.to(device), self.opened.to(device), self.inherited.to(device), self.node.to(device))

    @property
    def bytes(self) -> int:
        """Memory of all tensors."""
        tensors = (self.boxes.lower, self.boxes.upper, self.opened, self.inherited, self.node)
        return sum(t.numel() * t.element_size() for t in tensors)

    @staticmethod
    def concatenate(parts: list[Work]) -> Work:
        """All of ``parts`` in their order."""
        return Work(
            Boxes.concatenate([p.boxes for p in parts]),
            torch.cat([p.opened for p in parts]),
            torch.cat([p.inherited for p in parts]),
            torch.cat([p.node for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What became of a batch.

    Attributes:
        result: the bounds of its items.
        closed: which items are proved, shape (items,).
        parent: indices into the batch of the boxes that stay open, shape (m,).
        remains: these boxes after clipping, with their tightened bounds, m of them.
        score: lower bound of the worst open item of each, shape (m,).
    """

    result: BoundResult
    closed: Tensor
    parent: Tensor
    remains: Work
    score: Tensor


def examine(bound: MarginBound, question: Question, work: Work) -> Step:
    """Bound a batch, drop what is proved, clip what remains."""
    result = bound.bound(question, work.boxes, work.opened, work.inherited)
    closed = question.excluded(result.lower, result.polytope)
    undecided = ~closed
    box, polytope, lower = result.box[undecided], result.polytope[undecided], result.lower[undecided]
    whole = work.boxes[box]
    clipped = whole.clip(result.plane[undecided], result.plane_minimum[undecided])
    # planes that leave nothing together prove something, but none of them alone: rare, and the halves will tell
    clipped = clipped.where(~clipped.empty(), whole)

    index = box[:, None].expand(-1, clipped.lower.shape[1])
    hull_lower = torch.full_like(work.boxes.lower, torch.inf).scatter_reduce(0, index, clipped.lower, "amin")
    hull_upper = torch.full_like(work.boxes.upper, -torch.inf).scatter_reduce(0, index, clipped.upper, "amax")
    score = torch.full_like(work.boxes.lower[:, 0], torch.inf).scatter_reduce(0, box, lower, "amin")
    opened = torch.zeros_like(work.opened)
    opened[box, polytope] = True
    parent = opened.any(1).nonzero()[:, 0]
    remains = Work(Boxes(hull_lower, hull_upper), opened, result.inherited, work.node)[parent]
    return Step(result, closed, parent, remains, score[parent])


def halve(bound: MarginBound, question: Question, work: Work) -> Work:
    """Bisect each box where the bounds of its open rows react most; first halves first, then second halves."""
    sensitivity = bound.sensitivity(question, work.opened, work.inherited).nan_to_num(nan=1.0).clamp(min=1e-300)
    score = sensitivity * work.boxes.widths()
    # an edge without a midpoint would give the same box again, for ever
    dimension = score.masked_fill(~work.boxes.divisible(), -1.0).argmax(1)
    halves = work.boxes.bisect(dimension)
    return Work(halves, work.opened.repeat(2, 1), work.inherited.repeat(2, 1), work.node.repeat(2))
