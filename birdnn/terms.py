"""The terms of an affine operator's sums: how large they are together, and how often each is rounded.

The sum of absolute terms of an affine operator is the same operator with absolute constants. What `birdnn.rounding`
says of sums takes it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from birdnn.operators import OPERATORS
from birdnn.rounding import SMALLEST

Inputs: TypeAlias = Sequence[Tensor]
Shape: TypeAlias = Sequence[int]
Attributes: TypeAlias = Mapping[str, Any]


def magnitude(op: str, inputs: Inputs, attributes: Attributes) -> Tensor:
    """The sum of absolute terms of an affine operator, given the absolute values of what it reads."""
    match op:
        case "Sub":
            return OPERATORS["Add"](inputs, attributes)
        case "Gemm":
            positive = {**attributes, "alpha": abs(attributes["alpha"]), "beta": abs(attributes["beta"])}
            return OPERATORS["Gemm"](inputs, positive)
        case "BatchNormalization":
            x, scale, shift, mean, variance = inputs
            return OPERATORS[op]([x, scale, shift, -mean, variance], attributes)
    return OPERATORS[op](inputs, attributes)


def peak(op: str, inputs: Inputs, attributes: Attributes) -> Tensor:
    """A bound of everything that a float32 runtime may compute on the way, arguments as of `magnitude`.

    More than the result's magnitude where a sum is divided, or scaled down, only after it was formed; infinite where a
    divisor, or a factor of a large product, may be flushed to zero.
    """
    match op:
        case "Gemm":
            sizes = {key: abs(attributes[key]) for key in ("alpha", "beta")}
            # a factor below the smallest normal number may be flushed to zero, and much is lost with it
            scales = {key: math.inf if 0 < size < SMALLEST else max(1.0, size) for key, size in sizes.items()}
            return OPERATORS[op](inputs, {**attributes, **scales}).nan_to_num(nan=torch.inf, posinf=torch.inf)
        case "AveragePool":
            return OPERATORS[op](inputs, attributes) * math.prod(attributes["kernel_shape"])
        case "GlobalAveragePool":
            return OPERATORS[op](inputs, attributes) * math.prod(inputs[0].shape[2:])
        case "Div":
            return OPERATORS[op](inputs, attributes).where(inputs[1].abs() >= SMALLEST, torch.inf)
        case "BatchNormalization":
            x, scale, shift, mean, variance = inputs
            spread = variance + attributes["epsilon"]
            # the factors in any order, or folded: (|x| + |mean| + 1) * max(1, |scale|) / sqrt(min(1, spread)) + |shift|
            steep = scale.clamp(min=1).where(spread >= 2.0**-100, torch.inf)  # a variance below 2**-126 may be flushed
            return OPERATORS[op]([x, steep, shift, -mean - 1, spread.clamp(max=1)], {**attributes, "epsilon": 0.0})
    return magnitude(op, inputs, attributes)


def roundings(op: str, shapes: Sequence[Shape], attributes: Attributes) -> int:
    """How many roundings a term of an affine operator passes through at most, in any order of its sums.

    Args:
        op: operator name.
        shapes: of its inputs.
        attributes: lowered, see `birdnn.operators`.
    """
    count = _ROUNDINGS.get(op)
    return 0 if count is None else count(shapes, attributes)


def _gemm(shapes: Sequence[Shape], attributes: Attributes) -> int:
    return shapes[0][0 if attributes["transA"] else -1] + 3  # alpha, beta, the sum of both


_ROUNDINGS: Mapping[str, Callable[[Sequence[Shape], Attributes], int]] = {
    "Add": lambda shapes, _: 1,
    "AveragePool": lambda shapes, attributes: math.prod(attributes["kernel_shape"]) + 1,
    "BatchNormalization": lambda shapes, _: 8,  # also where a runtime folds scale and variance, mean and shift
    "Conv": lambda shapes, _: math.prod(shapes[1][1:]) + 1,
    "Div": lambda shapes, _: 2,  # a runtime may multiply by the reciprocal
    "Gemm": _gemm,
    "GlobalAveragePool": lambda shapes, _: math.prod(shapes[0][2:]) + 2,
    "MatMul": lambda shapes, _: shapes[0][-1],
    "Mul": lambda shapes, _: 1,
    "Sub": lambda shapes, _: 1,
}
