"""Which items are split by neurons, and what the compiled loops found, as `birdnn.bounds.protocol` wants it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from birdnn.bounds.compiled.state import Closed, Floats, Found, Integers, Left
from birdnn.bounds.protocol import NeuronSplits
from birdnn.chain import Activation
from birdnn.operators import activation_function

TOGETHER = 256
"""Items whose trees are searched together: each has room for a tree of the largest size."""

_FEWEST = 15
"""Undecided neurons: where fewer are left, two more boxes take less time than a tree that is given up in most cases."""

_FEWER = 0.85
"""Of the neurons that were undecided when a tree was given up: so many may be undecided when the next one is tried."""


def splittable(activations: Sequence[Activation]) -> bool:
    """Are all activations two lines that meet at zero, the steeper one of slope 1 on the right?"""
    return bool(activations) and all(
        # a kink at zero, where the tree splits; lines on either side then need no choice
        activation_function(activation.kind)[1].straight == "both sides" and 0 <= activation.alpha < 1
        for activation in activations
    )


def undecided_neurons(found: Found) -> Integers:
    """How many neurons are undecided on each box, shape (boxes,)."""
    low, up = np.split(found.known, 2, axis=1)
    count: Integers = ((low < 0) & (up > 0)).sum(1)
    return count


def items_to_split(found: Found, left: Left, box: Integers, undecided: Integers, most: Floats) -> Integers:
    """The items that are worth a tree: open, alone on their box, and few neurons undecided there, but not too few.

    Args:
        found, left: what bounds say of the items and their boxes.
        box: of each item.
        undecided: neurons of each box.
        most: how many may be, of each box.
    """
    # a tree that is found leaves nothing of its box: other polytopes would have to be closed by another one
    alone = (left.opened.sum(1) == 1) & (undecided <= most) & (undecided >= _FEWEST)
    items: Integers = np.nonzero(~left.closed & np.isfinite(found.lower) & alone[box])[0]
    return items


def postpone_trees(trees: Closed, undecided: Integers, most: Floats) -> None:
    """Where a tree was given up, the next one below waits for fewer undecided neurons: ``most`` of each box."""
    given_up = trees.box[trees.size == 0]
    # the halves inherit it: right below the same tree would most likely be given up again
    most[given_up] = _FEWER * undecided[given_up]


def leave_out(left: Left, trees: Closed) -> None:
    """Nothing is left of the boxes of items that have a tree, and no plane closed these."""
    split = trees.size > 0
    item = trees.item[split]
    left.closed[item] = True
    left.opened[trees.box[split]] = False
    if len(left.used):
        left.used[item] = False


def as_splits(parts: Sequence[Closed], neurons: int) -> NeuronSplits | None:
    """The trees of all parts; None where there are none."""
    trees = [_columns_of_part(part, neurons) for part in parts]
    columns = [np.concatenate(column) for column in zip(*trees, strict=True)]
    return NeuronSplits(*map(torch.from_numpy, columns)) if len(columns) and len(columns[0]) else None


def _columns_of_part(part: Closed, neurons: int) -> tuple[np.ndarray, ...]:
    closed = np.nonzero(part.size)[0]
    size = part.size[closed]
    # a tree in which every split has two sides has one leaf more than splits
    each, number = np.arange(part.neuron.shape[1]), (size + 1) // 2
    entries, leaves = each < size[:, None], each < number[:, None]
    few = np.arange(part.which.shape[1])
    which = np.repeat(part.which[closed], number, 0)
    item, undecided = np.nonzero(few < np.repeat(part.undecided[closed], number)[:, None])
    # by the model's few undecided neurons on this side, by all hidden neurons on the other
    slopes = np.full((len(which), neurons), np.nan, np.float32)
    slopes[item, which[item, undecided]] = part.slope[closed][leaves][item, undecided]
    return (
        part.item[closed],
        size,
        part.neuron[closed][entries],
        part.multipliers[closed][leaves],
        slopes,
        part.beta[closed][leaves],
    )
