"""The open boxes of a search, and what one step of branch and bound makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.bounds.protocol import BoundResult, Left, MarginBound, Question, SplitsNeurons
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
        left: what they leave of its boxes.
        remains: the boxes that stay open, clipped, with their tightened bounds.
    """

    result: BoundResult
    left: Left
    remains: Work


def examine(bound: MarginBound, question: Question, work: Work) -> Step:
    """Bound a batch, drop what is proved, clip what remains, choose where it is to be cut."""
    result = bound.bound(question, work.boxes, work.opened, work.inherited)
    left = result.left or left_by_bounds(bound, question, work, result)
    parent = left.parent
    return Step(result, left, Work(left.boxes, left.opened, result.inherited[parent], work.node[parent]))


def left_by_bounds(bound: MarginBound, question: Question, work: Work, result: BoundResult) -> Left:
    """What bounds leave of a batch; the reference of methods that say so themselves."""
    closed = question.excluded(result.lower, result.polytope)
    undecided = ~closed
    box, polytope, lower = result.box[undecided], result.polytope[undecided], result.lower[undecided]
    whole = work.boxes[box]
    clipped = whole.clip(result.plane[undecided], result.plane_minimum[undecided])
    # planes that leave nothing together prove something, but none of them alone: rare, and the halves will tell
    clipped = clipped.where(~clipped.empty(), whole)

    # joined, not intersected: a point stays that any of the open polytopes may hold
    index = box[:, None].expand(-1, clipped.lower.shape[1])
    hull_lower = torch.full_like(work.boxes.lower, torch.inf).scatter_reduce(0, index, clipped.lower, "amin")
    hull_upper = torch.full_like(work.boxes.upper, -torch.inf).scatter_reduce(0, index, clipped.upper, "amax")
    score = torch.full_like(work.boxes.lower[:, 0], torch.inf).scatter_reduce(0, box, lower, "amin")
    opened = torch.zeros_like(work.opened)
    opened[box, polytope] = True
    parent = opened.any(1).nonzero()[:, 0]
    remains = Work(Boxes(hull_lower, hull_upper), opened, result.inherited, work.node)[parent]
    edge = choose_edges(bound, question, remains)
    if result.neuron is not None:
        neuron = result.neuron[parent]
        edge = torch.where(neuron >= 0, remains.boxes.lower.shape[1] + neuron, edge)
    used = None if result.choices is None else _used_planes(work, result, closed, parent, remains.boxes)
    everywhere = torch.ones_like(parent, dtype=torch.bool)
    return Left(closed, parent, remains.boxes, remains.opened, score[parent], edge, everywhere, used)


def _used_planes(work: Work, result: BoundResult, closed: Tensor, parent: Tensor, remains: Boxes) -> Tensor:
    """The plane with the largest minimum of each closed item, those that moved a face of others: (items, planes)."""
    best = torch.nn.functional.one_hot(result.plane_minimum.argmax(1), result.plane_minimum.shape[1])
    used = best.bool() & closed[:, None]
    before = work.boxes[parent]
    moved = torch.stack([remains.lower > before.lower, remains.upper < before.upper], 2)  # (m, inputs, sides)
    # from a box of the batch to its row among those that stay open
    place = torch.full((len(work),), -1, device=parent.device)
    place[parent] = torch.arange(len(parent), device=place.device)
    items = (~closed).nonzero()[:, 0]
    lower, upper = work.boxes[result.box[items]].cuts(result.plane[items], result.plane_minimum[items])
    # of all planes of an item the one that cuts off most is the one that moved the face
    best = torch.stack([lower.argmax(1), upper.argmin(1)], 2)  # (items, inputs, sides)
    i, axis, side = moved[place[result.box[items]]].nonzero(as_tuple=True)
    used[items[i], best[i, axis, side]] = True
    return used


def choose_edges(bound: MarginBound, question: Question, work: Work) -> Tensor:
    """The edge of each box on which the bounds of its open rows depend most, shape (n,)."""
    # where nothing is known of any edge, or none matters, the widest one is cut
    sensitivity = bound.sensitivity(question, work.opened, work.inherited).nan_to_num(nan=1.0).clamp(min=1e-300)
    score = sensitivity * work.boxes.widths()
    # an edge without a midpoint would give the same box again, for ever
    return score.masked_fill(~work.boxes.divisible(), -1.0).argmax(1)


def halve(bound: MarginBound, work: Work, edge: Tensor) -> Work:
    """Divide each box at its ``edge``, or by its neuron (`Left.edge`); all first halves come first, then the others."""
    inputs = work.boxes.lower.shape[1]
    on_input = edge < inputs
    # a neuron is no edge: where boxes are divided by one, these halves are thrown away below
    halves = work.boxes.bisect(edge.clamp(max=inputs - 1))
    inherited = work.inherited.repeat(2, 1)
    if isinstance(bound, SplitsNeurons) and not bool(on_input.all()):
        # both sides of a neuron keep the whole box: its sign there is what they inherit
        whole = Boxes(work.boxes.lower.repeat(2, 1), work.boxes.upper.repeat(2, 1))
        halves = halves.where(on_input.repeat(2), whole)
        inherited = bound.split(work.inherited, torch.where(on_input, -1, edge - inputs))
    return Work(halves, work.opened.repeat(2, 1), inherited, work.node.repeat(2))


def candidate_points(batch: Work, step: Step) -> Tensor:
    """Points of suspicious boxes: where the bounds are attained, and the centres of what is left of them."""
    which = step.left.suspicious
    parent, left = step.left.parent[which], step.left.boxes[which]
    # items stand box by box: the first one of each, and its last plane, the combination of all rows
    plane = step.result.plane[torch.searchsorted(step.result.box, parent), -1]
    corner = torch.where(plane > 0, batch.boxes.lower[parent], batch.boxes.upper[parent])
    return torch.cat([corner, left.centres()])
