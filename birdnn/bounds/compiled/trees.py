"""Which items are split by neurons, and what the compiled loops found, as `birdnn.bounds.protocol` wants it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from birdnn.bounds.compiled.state import Asked, Closed, Found, Integers, Left
from birdnn.bounds.protocol import NeuronSplits
from birdnn.chain import Activation

TOGETHER = 256
"""Items whose trees are searched together: each has room for a tree of the largest size."""


_VERY_FEW = 15
"""Undecided neurons: see `candidates`."""


def splittable(activations: Sequence[Activation]) -> bool:
    """Are all activations two lines that meet at zero, the steeper one of slope 1 on the right?"""
    return bool(activations) and all(
        activation.kind == "relu" or (activation.kind == "leaky_relu" and 0 <= activation.alpha < 1)
        for activation in activations
    )


def candidates(asked: Asked, found: Found, left: Left, box: Integers, few: int) -> Integers:
    """The items that are to be split: alone on their box, ``box`` of each, where at most so many neurons are undecided.

    What an item lacks to a proof is due to the width of its box and to the lines around undecided neurons. Where these
    are very few, and more is missing than its plane varies by over the box, it is the width.
    """
    low, up = np.split(found.known, 2, axis=1)
    undecided = ((low < 0) & (up > 0)).sum(1)
    alone = left.opened.sum(1) == 1
    items = np.nonzero(~left.closed & np.isfinite(found.lower) & (alone & (undecided <= few))[box])[0]
    radius = (asked.upper - asked.lower)[box[items]] / 2
    spread = (np.abs(found.plane[items, -1]) * radius).sum(1)
    promising: Integers = items[(undecided[box[items]] >= _VERY_FEW) | (-found.lower[items] <= spread)]
    return promising


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
    trees = [_of_part(part, neurons) for part in parts]
    columns = [np.concatenate(column) for column in zip(*trees, strict=True)]
    return NeuronSplits(*map(torch.from_numpy, columns)) if len(columns) and len(columns[0]) else None


def _of_part(part: Closed, neurons: int) -> tuple[np.ndarray, ...]:
    closed = np.nonzero(part.size)[0]
    size = part.size[closed]
    each, number = np.arange(part.neuron.shape[1]), (size + 1) // 2
    entries, leaves = each < size[:, None], each < number[:, None]
    few = np.arange(part.which.shape[1])
    which = np.repeat(part.which[closed], number, 0)
    item, undecided = np.nonzero(few < np.repeat(part.undecided[closed], number)[:, None])
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
