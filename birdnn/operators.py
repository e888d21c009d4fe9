"""The operators of a network: what each computes, and the linear part of those that are affine.

An operator takes its tensor inputs and its attributes and returns one tensor. Attributes are in the *lowered* form
that `birdnn.formats.onnx` produces, whatever the opset of the file: reshaping operators carry ``shape`` (leading ``-1``
where it is the batch), ``Clip`` carries ``min`` and ``max``, ``Slice`` carries ``slices`` (axis, start, stop, step),
pooling and convolution carry explicit ``pads``; ``overshoot`` is what ``ceil_mode`` adds to those of a pooling.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from birdnn.errors import UnsupportedOpError

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Tensor], Attributes], Tensor]
LinearPart = Callable[[Sequence[Tensor], Sequence[bool]], "list[Tensor] | None"]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def _gemm(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    a, b = inputs[0], inputs[1]
    out = (a.mT if attributes["transA"] else a) @ (b.mT if attributes["transB"] else b)
    if attributes["alpha"] != 1.0:
        out = attributes["alpha"] * out
    if len(inputs) > 2:
        out = out + (inputs[2] if attributes["beta"] == 1.0 else attributes["beta"] * inputs[2])
    return out


def _pad(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    """`x` padded on its last ``len(pads) / 2`` axes; `pads` lists all beginnings, then all ends, as ONNX does."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    flat = [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]
    return functional.pad(x, flat, value=value)


def _conv(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    return _CONV[x.dim() - 2](
        _pad(x, attributes["pads"], 0.0),
        weight,
        bias,
        stride=attributes["strides"],
        dilation=attributes["dilations"],
        groups=attributes["group"],
    )


def _batch_normalization(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, scale, shift, mean, variance = inputs
    column = (1, -1) + (1,) * (x.dim() - 2)
    factor = scale / torch.sqrt(variance + attributes["epsilon"])
    return (x - mean.reshape(column)) * factor.reshape(column) + shift.reshape(column)


def _max_pool(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    pads = [pad + extra for pad, extra in zip(attributes["pads"], attributes["overshoot"], strict=True)]
    x = _pad(inputs[0], pads, -math.inf)
    return _MAX_POOL[x.dim() - 2](
        x, attributes["kernel_shape"], stride=attributes["strides"], dilation=attributes["dilations"]
    )


def _window_sums(x: Tensor, attributes: Attributes) -> Tensor:
    """Sums over pooling windows, as a depthwise convolution with ones (any rank, dilation included)."""
    channels, rank = x.shape[1], x.dim() - 2
    ones = torch.ones((channels, 1, *attributes["kernel_shape"]), dtype=x.dtype, device=x.device)
    return _CONV[rank](x, ones, stride=attributes["strides"], dilation=attributes["dilations"], groups=channels)


def _average_pool(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, pads, overshoot = inputs[0], attributes["pads"], attributes["overshoot"]
    counted = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    counted = _pad(_pad(counted, pads, 1.0 if attributes["count_include_pad"] else 0.0), overshoot, 0.0)
    return _window_sums(_pad(_pad(x, pads, 0.0), overshoot, 0.0), attributes) / _window_sums(counted, attributes)


def _concat(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    axis = attributes["axis"] % inputs[0].dim()
    if axis:  # a constant operand is written for a batch of one
        batch = next((part.shape[0] for part in inputs if part.shape[0] != 1), 1)
        inputs = [part.expand(batch, *part.shape[1:]) for part in inputs]
    return torch.cat(list(inputs), dim=axis)


def _slice(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x = inputs[0]
    for axis, start, stop, step in attributes["slices"]:
        x = x.index_select(axis, torch.arange(start, stop, step, device=x.device))
    return x


def _global_average_pool(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return inputs[0].mean(dim=tuple(range(2, inputs[0].dim())), keepdim=True)


def _reshape(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return inputs[0].reshape(attributes["shape"])


def _elu(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, alpha = inputs[0], attributes["alpha"]
    return torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0.0)))


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Clip": lambda inputs, attributes: torch.clamp(inputs[0], attributes["min"], attributes["max"]),
    "Concat": _concat,
    "Conv": _conv,
    "Div": lambda inputs, _: inputs[0] / inputs[1],
    "Elu": _elu,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": lambda inputs, _: inputs[0],
    "LeakyRelu": lambda inputs, attributes: functional.leaky_relu(inputs[0], attributes["alpha"]),
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Relu": lambda inputs, _: torch.relu(inputs[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda inputs, _: torch.sigmoid(inputs[0]),
    "Slice": _slice,
    "Squeeze": _reshape,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Tanh": lambda inputs, _: torch.tanh(inputs[0]),
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
    "Unsqueeze": _reshape,
}
"""Operator name -> function. Shapes follow ONNX."""

SUPPORTED: tuple[str, ...] = tuple(sorted((*OPERATORS, "Constant", "Dropout", "ReduceMean")))
"""What an error message lists; ``Constant`` is folded when a file is read, and the other two become operators here."""


def apply(op: str, inputs: Sequence[Tensor], attributes: Attributes, node: str = "") -> Tensor:
    """Apply the operator `op` of the node called `node`.

    Raises:
        UnsupportedOpError: `op` is not in `OPERATORS`.
    """
    function = OPERATORS.get(op)
    if function is None:
        raise UnsupportedOpError("", op, node, SUPPORTED)
    return function(inputs, attributes)


def _constants_to_zero(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    return [x if on_input else torch.zeros_like(x) for x, on_input in zip(inputs, depends, strict=True)]


def _exactly_one(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    return list(inputs) if sum(depends) == 1 else None


def _first_only(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    return list(inputs) if depends[0] and not any(depends[1:]) else None


def _without_bias(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    return list(inputs[:2]) if depends[0] and not any(depends[1:]) else None


def _gemm_part(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    if sum(depends[:2]) != 1:
        return None
    keep_offset = len(inputs) > 2 and depends[2]
    return list(inputs) if keep_offset else list(inputs[:2])


def _normalization_part(inputs: Sequence[Tensor], depends: Sequence[bool]) -> list[Tensor] | None:
    if not depends[0] or any(depends[1:]):
        return None
    x, scale, shift, mean, variance = inputs
    return [x, scale, torch.zeros_like(shift), torch.zeros_like(mean), variance]


LINEAR_PARTS: Mapping[str, LinearPart] = {
    "Add": _constants_to_zero,
    "AveragePool": _first_only,
    "BatchNormalization": _normalization_part,
    "Concat": _constants_to_zero,
    "Conv": _without_bias,
    "Div": _first_only,
    "Flatten": _first_only,
    "Gemm": _gemm_part,
    "GlobalAveragePool": _first_only,
    "Identity": _first_only,
    "MatMul": _exactly_one,
    "Mul": _exactly_one,
    "Reshape": _first_only,
    "Slice": _first_only,
    "Squeeze": _first_only,
    "Sub": _constants_to_zero,
    "Transpose": _first_only,
    "Unsqueeze": _first_only,
}
"""Affine operator -> rule that turns its inputs into those of its linear part.

A rule gets the inputs and, for each, whether it depends on the network's input. The same operator applied to what it
returns is linear in the dependent inputs. It returns None where the operator is not affine in them (a product of two
dependent values, a division by one).
"""
