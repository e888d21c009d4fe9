"""The terms of an affine operator's sums: how large they are together, and how often each is rounded.

The sum of absolute terms of an affine operator is the same operator with absolute constants. What `birdnn.rounding`
says of sums takes it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.operators import forward
from birdnn.operators.forward import Attributes, Forward, Inputs
from birdnn.rounding import SMALLEST

RoundingCount: TypeAlias = Callable[[Sequence[Sequence[int]], Attributes], int]


@dataclass(frozen=True, slots=True)
class Sums:
    """What an affine operator errs by.

    Attributes:
        roundings: how many a term passes through at most, in any order of the sums, from the shapes of the inputs.
        magnitude: the sum of absolute terms, from the absolute values of what the operator reads.
        peak: a bound of everything that a float32 runtime may compute on the way, from the same. More than the result's
            magnitude where a sum is divided, or scaled down, only after it was formed; infinite where a divisor, or a
            factor of a large product, may be flushed to zero.
    """

    roundings: RoundingCount
    magnitude: Forward
    peak: Forward


def gemm_roundings(shapes: Sequence[Sequence[int]], attributes: Attributes) -> int:
    return shapes[0][0 if attributes["transA"] else -1] + 3  # alpha, beta, the sum of both


def gemm_magnitude(inputs: Inputs, attributes: Attributes) -> Tensor:
    return forward.gemm(inputs, {**attributes, "alpha": abs(attributes["alpha"]), "beta": abs(attributes["beta"])})


def gemm_peak(inputs: Inputs, attributes: Attributes) -> Tensor:
    # before they are scaled down the sums are as large as with factors of one
    sizes = {key: abs(attributes[key]) for key in ("alpha", "beta")}
    # a factor below the smallest normal number may be flushed to zero, and much is lost with it
    scales = {key: math.inf if 0 < size < SMALLEST else max(1.0, size) for key, size in sizes.items()}
    return forward.gemm(inputs, {**attributes, **scales}).nan_to_num(nan=torch.inf, posinf=torch.inf)


def average_pool_peak(inputs: Inputs, attributes: Attributes) -> Tensor:
    # the sum of a window, before it is divided by at most so many
    return forward.average_pool(inputs, attributes) * math.prod(attributes["kernel_shape"])


def global_average_pool_peak(inputs: Inputs, attributes: Attributes) -> Tensor:
    return forward.global_average_pool(inputs, attributes) * math.prod(inputs[0].shape[2:])


def div_peak(inputs: Inputs, attributes: Attributes) -> Tensor:
    # what may be flushed to zero is a division by zero
    return forward.div(inputs, attributes).where(inputs[1].abs() >= SMALLEST, torch.inf)


def batch_normalization_magnitude(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale, shift, mean, variance = inputs
    # the operator subtracts the mean, and |x| + |mean| is asked for
    return forward.batch_normalization([x, scale, shift, -mean, variance], attributes)


def batch_normalization_peak(inputs: Inputs, attributes: Attributes) -> Tensor:
    """The factors in any order, or folded: (|x| + |mean| + 1) * max(1, |scale|) / sqrt(min(1, spread)) + |shift|."""
    x, scale, shift, mean, variance = inputs
    spread = variance + attributes["epsilon"]
    steep = scale.clamp(min=1).where(spread >= 2.0**-100, torch.inf)  # a variance below 2**-126 may be flushed
    factors = [x, steep, shift, -mean - 1, spread.clamp(max=1)]
    return forward.batch_normalization(factors, {**attributes, "epsilon": 0.0})
