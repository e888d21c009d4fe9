"""What each operator of a network computes.

A function takes its tensor inputs and its attributes and returns one tensor. Attributes are in the *lowered* form
that `birdnn.formats.onnx` produces, whatever the opset of the file: reshaping operators carry ``shape`` (leading ``-1``
where it is the batch), ``Clip`` carries ``min`` and ``max``, ``Slice`` carries ``slices`` (axis, start, stop, step),
pooling and convolution carry explicit ``pads``; ``overshoot`` is what ``ceil_mode`` adds to those of a pooling.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Attributes: TypeAlias = Mapping[str, Any]
Inputs: TypeAlias = Sequence[Tensor]
Forward: TypeAlias = Callable[[Inputs, Attributes], Tensor]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    a, b = inputs[0], inputs[1]
    out = (a.mT if attributes["transA"] else a) @ (b.mT if attributes["transB"] else b)
    if attributes["alpha"] != 1.0:
        out = attributes["alpha"] * out
    if len(inputs) > 2:
        out = out + (inputs[2] if attributes["beta"] == 1.0 else attributes["beta"] * inputs[2])
    return out


def pad(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    """`x` padded on its last ``len(pads) / 2`` axes; `pads` lists all beginnings, then all ends, as ONNX does."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    # torch pads from the last axis on, ONNX has all beginnings and then all ends
    flat = [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]
    return functional.pad(x, flat, value=value)


def conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    return _CONV[x.dim() - 2](
        pad(x, attributes["pads"], 0.0),
        weight,
        bias,
        stride=attributes["strides"],
        dilation=attributes["dilations"],
        groups=attributes["group"],
    )


def conv_transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    """The sum of the kernel at all places, cut by ``pads``; ``output_padding`` more entries at the ends."""
    x, weight = inputs[0], inputs[1]
    whole = _CONV_TRANSPOSE[x.dim() - 2](
        x, weight, None, stride=attributes["strides"], groups=attributes["group"], dilation=attributes["dilations"]
    )
    pads, more = attributes["pads"], attributes["output_padding"]
    rank = len(more)
    # before the cut, which may leave nothing but entries that `output_padding` adds
    whole = pad(pad(whole, [*(0,) * rank, *more], 0.0), [-cut for cut in pads], 0.0)
    # after the cut: entries that `output_padding` adds may be beyond any kernel, and have the bias alone
    return whole + inputs[2].reshape(-1, *(1,) * rank) if len(inputs) > 2 else whole


def layer_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale = inputs[0], inputs[1]
    axes = tuple(range(attributes["axis"], x.dim()))
    centred = x - x.mean(dim=axes, keepdim=True)
    spread = torch.sqrt((centred * centred).mean(dim=axes, keepdim=True) + attributes["epsilon"])
    out = centred / spread * scale
    return out + inputs[2] if len(inputs) > 2 else out


def batch_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale, shift, mean, variance = inputs
    column = (1, -1) + (1,) * (x.dim() - 2)
    factor = scale / torch.sqrt(variance + attributes["epsilon"])
    return (x - mean.reshape(column)) * factor.reshape(column) + shift.reshape(column)


def max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    pads = [given + extra for given, extra in zip(attributes["pads"], attributes["overshoot"], strict=True)]
    # so that a padded place is never the greatest
    x = pad(inputs[0], pads, -math.inf)
    return _MAX_POOL[x.dim() - 2](
        x, attributes["kernel_shape"], stride=attributes["strides"], dilation=attributes["dilations"]
    )


def _window_sums(x: Tensor, attributes: Attributes) -> Tensor:
    """Sums over pooling windows, as a depthwise convolution with ones (any rank, dilation included)."""
    channels, rank = x.shape[1], x.dim() - 2
    ones = torch.ones((channels, 1, *attributes["kernel_shape"]), dtype=x.dtype, device=x.device)
    return _CONV[rank](x, ones, stride=attributes["strides"], dilation=attributes["dilations"], groups=channels)


def average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, pads, overshoot = inputs[0], attributes["pads"], attributes["overshoot"]
    # what each window counts: padding where `count_include_pad` says so, what `ceil_mode` adds never
    counted = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    counted = pad(pad(counted, pads, 1.0 if attributes["count_include_pad"] else 0.0), overshoot, 0.0)
    return _window_sums(pad(pad(x, pads, 0.0), overshoot, 0.0), attributes) / _window_sums(counted, attributes)


def concat(inputs: Inputs, attributes: Attributes) -> Tensor:
    axis = attributes["axis"] % inputs[0].dim()
    if axis:  # a constant operand is written for a batch of one
        batch = next((part.shape[0] for part in inputs if part.shape[0] != 1), 1)
        inputs = [part.expand(batch, *part.shape[1:]) for part in inputs]
    return torch.cat(list(inputs), dim=axis)


def slice_(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = inputs[0]
    for axis, start, stop, step in attributes["slices"]:
        # slices of torch take no negative steps
        x = x.index_select(axis, torch.arange(start, stop, step, device=x.device))
    return x


def gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axis = inputs[0], attributes["axis"]
    picked = x.index_select(axis, torch.tensor(attributes["indices"], dtype=torch.int64, device=x.device))
    return picked.reshape(*x.shape[:axis], *attributes["index_shape"], *x.shape[axis + 1 :])


def reduce_sum(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].sum(dim=attributes["axes"], keepdim=True)


def global_average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].mean(dim=tuple(range(2, inputs[0].dim())), keepdim=True)


def reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].reshape(attributes["shape"])


def _without_attributes(function: Callable[..., Tensor]) -> Forward:
    """A function of tensors that has no attributes."""
    return lambda inputs, _: function(*inputs)


add = _without_attributes(torch.add)
sub = _without_attributes(torch.sub)
mul = _without_attributes(torch.mul)
div = _without_attributes(torch.div)
maximum = _without_attributes(torch.maximum)
minimum = _without_attributes(torch.minimum)
matmul = _without_attributes(torch.matmul)
relu = _without_attributes(torch.relu)
sigmoid = _without_attributes(torch.sigmoid)
erf = _without_attributes(torch.erf)
exp = _without_attributes(torch.exp)
log = _without_attributes(torch.log)
sqrt = _without_attributes(torch.sqrt)
sin = _without_attributes(torch.sin)
cos = _without_attributes(torch.cos)
sign = _without_attributes(torch.sign)
floor = _without_attributes(torch.floor)
ceil = _without_attributes(torch.ceil)
round_ = _without_attributes(torch.round)  # halves to even
tanh = _without_attributes(torch.tanh)


def elu(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, alpha = inputs[0], attributes["alpha"]
    # clamped: `where` computes both sides, and the gradient through an overflow is NaN
    return torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0.0)))


def greater(inputs: Inputs, _: Attributes) -> Tensor:
    """One where it holds, zero elsewhere: truth values are numbers here."""
    return (inputs[0] > inputs[1]).to(inputs[0].dtype)


def greater_or_equal(inputs: Inputs, _: Attributes) -> Tensor:
    return (inputs[0] >= inputs[1]).to(inputs[0].dtype)


def where(inputs: Inputs, _: Attributes) -> Tensor:
    return torch.where(inputs[0] != 0, inputs[1], inputs[2])


def identity(inputs: Inputs, _: Attributes) -> Tensor:
    return inputs[0]


def transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].permute(attributes["perm"])


def clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.clamp(inputs[0], attributes["min"], attributes["max"])


def leaky_relu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return functional.leaky_relu(inputs[0], attributes["alpha"])


def power(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.pow(inputs[0], attributes["exponent"])


def softplus(inputs: Inputs, _: Attributes) -> Tensor:
    """torch's own is the identity above a threshold."""
    # only of negative numbers is the exponential taken: none overflows
    return torch.relu(inputs[0]) + torch.log1p(torch.exp(-inputs[0].abs()))


def gelu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return functional.gelu(inputs[0], approximate=attributes["approximate"])


def hard_swish(inputs: Inputs, _: Attributes) -> Tensor:
    return inputs[0] * torch.clamp(inputs[0] / 6 + 0.5, 0.0, 1.0)


def softmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.softmax(inputs[0], dim=attributes["axis"])


def log_softmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.log_softmax(inputs[0], dim=attributes["axis"])
