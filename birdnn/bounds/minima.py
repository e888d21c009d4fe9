"""The end of backward propagation: minima of affine functions over boxes, and the multipliers of a conjunction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.rounding import FLOAT64, LOST64, SUM_ROUNDINGS


def outward_radius(boxes: Boxes) -> Tensor:
    """Half of the widths, and what the rounding of centres, widths and products with them can hide: (boxes, inputs)."""
    # of the corners, not of the widths: on a narrow box far from zero the centre rounds as much as the corners do
    size = torch.maximum(boxes.lower.abs(), boxes.upper.abs())
    return boxes.widths() / 2 + (SUM_ROUNDINGS + 2 * size.shape[1]) * FLOAT64 * size


def minimum_of(rows: Tensor, constant: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """Minimum of ``rows @ x + constant`` over each box, shape (rows,), with `radius` from `outward_radius`."""
    minimum = torch.linalg.vecdot(rows, centre) - torch.linalg.vecdot(rows.abs(), radius) + constant
    # `radius` pays for both dot products (see `outward_radius`), this for adding the constant to them
    return or_unknown(minimum - 4 * FLOAT64 * constant.abs() - LOST64)


def or_unknown(lower: Tensor) -> Tensor:
    """Minus infinity for each lower bound that overflowed: NaN would pass for the bound of an inactive ReLU."""
    return lower.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def combine_rows(weights: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of each item, weighed: (items, rows, outputs) and (items, rows) -> (items, outputs) and (items,)."""
    bound: Tensor = torch.linalg.vecdot(weights, b)
    return torch.einsum("ir,iro->io", weights, a), bound


def step_multipliers(weights: Tensor, margins: Tensor, size: float) -> Tensor:
    """Move the multipliers towards the rows with the larger margins, within the simplex."""
    slope = margins - margins.mean(1, keepdim=True)
    # of size one at most, whatever the rows' units are; where all rows have the same margin there is no direction
    slope = slope / slope.abs().amax(1, keepdim=True).clamp(min=1e-12)
    moved = (weights + size * slope).clamp(min=0)
    # rounded down, so that none is negative when the largest one takes what is left
    # multiples of 2**-12 add up to one without rounding, also in the float32 of a certificate
    coarse = (moved / moved.sum(1, keepdim=True)).clamp(0, 1).mul(4096).floor().div(4096)
    largest = coarse.argmax(1, keepdim=True)
    return coarse.scatter_add(1, largest, 1 - coarse.sum(1, keepdim=True))


def flatten_samples(values: Tensor) -> Tensor:
    """All entries of each sample in a row, (n, *value) to (n, entries); also of values that are single numbers."""
    return values.reshape(len(values), math.prod(values.shape[1:]))
