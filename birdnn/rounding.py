"""What floating-point arithmetic adds to a result, as bounds that hold for every order of its operations.

A sum of products in which no term passes through more than ``n`` roundings differs from the exact one by at most
``gamma(n) * sum |terms|``, ``gamma(n) = n u / (1 - n u)`` with the unit roundoff ``u`` (Higham 2002, Accuracy and
Stability of Numerical Algorithms, section 3.1 and lemma 3.1). This holds for any order of the sum, with fused
multiply-add and with wider accumulators; what underflows or is flushed to zero adds less than `SMALLEST` each.

The sum of absolute terms of an affine operator is the same operator with absolute constants: `magnitude`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from birdnn.operators import OPERATORS

Semantics: TypeAlias = Literal["real", "float32"]
"""What a proof speaks about: the function over the reals, or what an execution in float32 returns, in any order."""

FLOAT64 = 2.0**-53
FLOAT32 = 2.0**-24
"""Unit roundoffs."""

SMALLEST = 2.0**-126
SMALLEST64 = 2.0**-1022
"""The smallest normal float32 and float64: what lies below may be rounded to a multiple of less, or flushed to zero."""

RANGE64 = 2.0**450
LOST64 = 2.0**-500
"""Where every value of a network and every entry of a row that is propagated stays below `RANGE64`, all that underflows
in a bound costs less than `LOST64`: each of fewer than 2**36 operations at most `SMALLEST64`, times such a number."""

SUM_ROUNDINGS = 64
"""More than any one sum of a bound has beside the entries of its rows."""

LINE_ROUNDINGS = 256
"""Of a line around an activation, beside two for each entry of a row; far more than there are."""

LARGEST = 2.0**127
"""Where float32 could overflow, nothing is claimed."""

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
"""Of its numbers."""

FUNCTION_ERROR: Mapping[str, float] = {"sigmoid": 5e-7, "tanh": 5e-7, "elu": 5e-7}
"""Assumed absolute error of a runtime's float32 function (ELU: times ``max(1, |alpha|)``), beside one rounding.

Measured for onnxruntime and torch over all float32 values by ``python -m tools.measure_activations``.
"""

Inputs: TypeAlias = Sequence[Tensor]
Shape: TypeAlias = Sequence[int]
Attributes: TypeAlias = Mapping[str, Any]


def gamma(roundings: float, unit: float) -> float:
    """``n u / (1 - n u)``; infinity where that says nothing."""
    product = roundings * unit
    return product / (1 - product) if product < 0.5 else math.inf


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
