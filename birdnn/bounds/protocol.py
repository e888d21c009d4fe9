"""What a search asks of a bound method, and what it gets.

A property is violated on a box iff some of its unsafe polytopes is reachable. A bound method gives, for each pair of
a box and a polytope that is still open (an *item*), a number below

    max over multipliers lambda >= 0, sum(lambda) = 1, of min over the box of sum_i lambda_i (a_i @ f(x) - b_i),

for multipliers of its own choice. A positive number proves that the polytope is out of reach: one point of the box
inside it would have every term at or below zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.records.limits import Over
from birdnn.spec import Polytope


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """The unsafe polytopes of one region, padded to the same number of rows.

    Attributes:
        a: shape (polytopes, rows, outputs).
        b: shape (polytopes, rows).
        closed: shape (polytopes,); false where every row is strict, so that a bound of exactly zero is a proof.
    """

    a: Tensor
    b: Tensor
    closed: Tensor

    @staticmethod
    def of(polytopes: tuple[Polytope, ...], n_outputs: int, device: torch.device) -> Question:
        """Stack ``polytopes``; padding repeats a polytope's last row, a polytope without rows is never excluded."""
        rows = max([1, *(len(p.rows) for p in polytopes)])
        a = torch.zeros(len(polytopes), rows, n_outputs, dtype=torch.float64)
        b = torch.zeros(len(polytopes), rows, dtype=torch.float64)
        # stays where a polytope has no rows: the bound of zeros is never positive, and zero proves nothing then
        closed = torch.ones(len(polytopes), dtype=torch.bool)
        for i, polytope in enumerate(polytopes):
            n = len(polytope.rows)
            if n:
                pick = torch.arange(rows).clamp(max=n - 1)
                a[i], b[i] = polytope.a[pick], polytope.b[pick]
                closed[i] = not bool(polytope.strict.all())
        return Question(a.to(device), b.to(device), closed.to(device))

    def __len__(self) -> int:
        return self.a.shape[0]

    def excluded(self, lower: Tensor, polytope: Tensor) -> Tensor:
        """Which items are proved, given a lower bound of each; NaN and infinity (an overflow) prove nothing."""
        return lower.isfinite() & ((lower > 0) | ((lower >= 0) & ~self.closed[polytope]))


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What the last plane of each item was made with, so that someone else can make it again.

    Attributes:
        multipliers: of the polytope's rows, shape (items, rows).
        slopes: of the lines that were taken, shape (items, hidden neurons), float32; NaN for a default one.
        sides: multipliers of the neurons that are split above each box, of the planes of single rows and of the last
            one, shape (items, hidden neurons) each, float32; NaN where none is. None where the method splits none.
        intervals: on a graph, the numbers of the activations whose neurons are bounded by intervals only; None on a
            chain.
    """

    multipliers: Tensor
    slopes: Tensor
    sides: tuple[Tensor, Tensor] | None = None
    intervals: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NeuronSplits:
    """How some items were proved: by trees whose nodes split the box by the sign of a pre-activation.

    Entries of all trees stand one behind the other, as do their leaves, in preorder, the negative side first.

    Attributes:
        item: of each tree, shape (trees,), increasing.
        size: entries of each tree, shape (trees,).
        neuron: which one is split, counted over all hidden layers, shape (entries,); -1 for a leaf.
        multipliers, slopes: of each leaf, see `Choices`.
        beta: multipliers of the sides on the way to each leaf, from the root on, shape (leaves, k), float32.
    """

    item: Tensor
    size: Tensor
    neuron: Tensor
    multipliers: Tensor
    slopes: Tensor
    beta: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What the bounds of a batch leave of its boxes; m of them stay open.

    Attributes:
        closed: which items are proved, shape (items,).
        parent: indices into the batch of the boxes that stay open, shape (m,).
        boxes: these after clipping; `opened`: their polytopes that are not yet excluded, shape (m, polytopes).
        score: lower bound of the worst open item of each, shape (m,).
        edge: which edge of each to halve, shape (m,); from the number of inputs on neurons are counted.
        suspicious: on which of them a candidate (`birdnn.verify.work.candidate_points`) may be a counterexample,
            shape (m,); all where nobody has looked.
        used: the plane that closed each item, none where neurons were split, or those that moved a face of its box
            as far as it moved, shape (items, planes); where choices are kept.
    """

    closed: Tensor
    parent: Tensor
    boxes: Boxes
    opened: Tensor
    score: Tensor
    edge: Tensor
    suspicious: Tensor
    used: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class BoundResult:
    """Bounds of all items of a batch of boxes.

    Attributes:
        box, polytope: indices of each item, shape (items,).
        lower: proved lower bound of each item, shape (items,).
        plane: coefficients of linear functions of the input that lie below some combination of the item's rows,
            shape (items, planes, inputs). Where such a function is positive the polytope is out of reach. With
            several rows the first planes are of single rows, in their order, by default lines.
        plane_minimum: minimum of each such function over the item's box, shape (items, planes).
        inherited: what the halves of each box may start from, shape (boxes, k); means something to the method only.
        choices: where the method keeps them.
        splits: of items that are proved by splitting neurons, each the only one left of its box; their planes prove
            nothing.
        left: where the method says itself what is left of the boxes; else `birdnn.verify.work` does.
        neuron: which one to split each box by, shape (boxes,), where the method is one that `SplitsNeurons`; -1 where
            an edge is better.
    """

    box: Tensor
    polytope: Tensor
    lower: Tensor
    plane: Tensor
    plane_minimum: Tensor
    inherited: Tensor
    choices: Choices | None = None
    splits: NeuronSplits | None = None
    left: Left | None = None
    neuron: Tensor | None = None


@runtime_checkable
class MarginBound(Protocol):
    """A sound bound method for one network. All tensors are float64 on ``device``.

    Attributes:
        record: do results hold their `Choices`?
        over: asked between pieces of work; `bound` raises `OutOfTime` once it is so. `never`, until someone sets it.
    """

    name: str
    device: torch.device
    record: bool
    over: Over

    def root(self, boxes: int) -> Tensor:
        """The `BoundResult.inherited` of boxes of which nothing is known, shape (boxes, k)."""

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """Bound every item of ``opened``, shape (boxes, polytopes), bool."""

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """How strongly the bounds of a box depend on each input's width, shape (boxes, inputs); for branching."""


@runtime_checkable
class SplitsNeurons(Protocol):
    """A bound method of which a search may also divide the inputs of a box by the sign of a pre-activation."""

    def split(self, inherited: Tensor, neuron: Tensor) -> Tensor:
        """What both sides start from, (2 n, k), first all negative ones, from what n boxes have, (n, k).

        Args:
            inherited: see above.
            neuron: which one, (n,); -1 leaves a box's two copies as they are.
        """
