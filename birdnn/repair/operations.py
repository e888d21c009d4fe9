"""Operations that may stand where a convolution stands: what each computes, and the nodes that it leaves in a file.

An operation maps images (n, c, h, w) to the shape that the convolution makes. It is at most one pooling, then one or
two convolutions without biases, then batch normalisation, which is folded into the last convolution when the
operation is written. Weights start from those of the original where they fit:

======================  ==============================================================================================
``conv3x3``, ``conv5x5``  the original's kernel in the middle, cut or filled up with zeros
``dilated3x3``          the same, its entries two pixels apart
``separable3x3``        for each input channel the kernel that fits best over all output channels (singular vectors)
``maxpool3x3``, ``avgpool3x3``, ``skip``  the kernel's sum over its places, from the pooled image or the image itself
======================  ==============================================================================================

Each is then normalised to the mean and spread that the original has there, channel by channel, so that what follows
sees numbers of the kind it knows.

Source: the candidate operations of Liu et al. 2019 (DARTS), arXiv:1806.09055, as Qi et al. 2023 (ArchRepair) use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from birdnn.graph import Node
from birdnn.network import Network

ORIGINAL = "original"
KINDS = ("conv3x3", "conv5x5", "dilated3x3", "separable3x3", "maxpool3x3", "avgpool3x3", "skip")
"""What may stand for a convolution, besides the convolution itself."""

_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A convolution that may be replaced.

    Attributes:
        node: the convolution; its first input is what the operation reads.
        weight: (out, in / groups, k, k).
        bias: (out,).
    """

    node: Node
    weight: Tensor
    bias: Tensor

    @property
    def channels(self) -> tuple[int, int]:
        """Into it, and out of it."""
        return int(self.weight.shape[1]) * int(self.node.attributes["group"]), int(self.weight.shape[0])

    @property
    def stride(self) -> int:
        """The same along both axes."""
        return int(self.node.attributes["strides"][0])


def slots_of(net: Network, nodes: tuple[Node, ...]) -> tuple[Slot, ...]:
    """The convolutions among some nodes that may be replaced: square, of images, keeping their size up to the stride.

    One whose weights another node reads too, or that are no initialisers, is left out.
    """
    found = []
    for node in nodes:
        if node.op != "Conv" or node.output not in net.graph.dependent or not _has_own_weights(net, node):
            continue
        weight = net.value(node.inputs[1]).detach()
        if not _is_replaceable(net, node, weight):
            continue
        bias = net.value(node.inputs[2]).detach() if len(node.inputs) > 2 else weight.new_zeros(len(weight))
        found.append(Slot(node, weight, bias))
    return tuple(found)


def _has_own_weights(net: Network, node: Node) -> bool:
    readers = [name for other in net.nodes for name in other.inputs]
    return all(name in net.repairable and readers.count(name) == 1 for name in node.inputs[1:])


def _is_replaceable(net: Network, node: Node, weight: Tensor) -> bool:
    if weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        return False
    stride, dilation = set(node.attributes["strides"]), set(node.attributes["dilations"])
    before, after = (net.graph.shapes[name] for name in (node.inputs[0], node.output))
    # rounded up: what padding by half of an odd kernel makes of a size
    same = [-(-size // node.attributes["strides"][0]) for size in before[2:]] == list(after[2:])
    even = set(node.attributes["pads"]) == {weight.shape[2] // 2}  # some exporters pad one side only
    # operations pad by half of their own kernel: they read the same places only where the original does so
    return len(stride) == 1 and dilation == {1} and weight.shape[2] % 2 == 1 and same and even


class Operation(nn.Module):
    """One of `KINDS` in the place of a convolution."""

    def __init__(self, kind: str, slot: Slot) -> None:
        super().__init__()
        self.kind, self.slot = kind, slot
        kernels = [kernel.clone() for kernel in _KERNELS[kind](slot)]
        self.kernels = nn.ParameterList(nn.Parameter(kernel) for kernel in kernels)
        self.norm = nn.BatchNorm2d(slot.channels[1], eps=_EPSILON, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h / stride, w / stride)."""
        out: Tensor = self.norm(self.raw(x))
        return out

    def raw(self, x: Tensor) -> Tensor:
        """The same before normalisation."""
        pooled = "pool" in self.kind
        if self.kind == "maxpool3x3":
            x = functional.max_pool2d(x, 3, self.slot.stride, 1)
        elif self.kind == "avgpool3x3":
            x = functional.avg_pool2d(x, 3, self.slot.stride, 1)
        for place, kernel in enumerate(self.kernels):
            # the stride is taken once, by whatever comes first
            stride = 1 if pooled or place else self.slot.stride
            groups = x.shape[1] // kernel.shape[1]
            x = functional.conv2d(x, kernel, None, stride, self._padding(kernel), self._dilation, groups)
        return x

    @property
    def _dilation(self) -> int:
        return 2 if self.kind == "dilated3x3" else 1

    def _padding(self, kernel: Tensor) -> int:
        return self._dilation * (kernel.shape[2] // 2)

    def _running_moments(self) -> tuple[Tensor, Tensor]:
        """Running mean and variance, which a normalisation of this kind always has."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if mean is None or variance is None:
            raise TypeError("a normalisation without running statistics")
        return mean, variance

    @torch.no_grad()
    def calibrate(self, x: Tensor, wanted: Tensor) -> None:
        """Give the outputs at ``x`` the mean and spread of ``wanted`` (n, out, h, w), channel by channel."""
        # the statistics of these inputs themselves: running ones would take many batches to get there
        raw = self.raw(x)
        running_mean, running_var = self._running_moments()
        mean, variance = raw.mean((0, 2, 3)), raw.var((0, 2, 3), unbiased=False)
        running_mean.copy_(mean)
        running_var.copy_(variance)
        self.norm.weight.copy_((wanted.var((0, 2, 3), unbiased=False) + _EPSILON).sqrt())
        self.norm.bias.copy_(wanted.mean((0, 2, 3)))

    @torch.no_grad()
    def folded(self) -> list[Tensor]:
        """The kernels and last the bias, normalisation folded in by its running statistics."""
        mean, variance = self._running_moments()
        # float64, rounded once: the file has to compute what was trained
        factor = self.norm.weight.double() / (variance.double() + self.norm.eps).sqrt()
        # copies: what is handed out must not move where the operation goes on being trained
        *first, last = (kernel.detach().clone() for kernel in self.kernels)
        bias = self.norm.bias.double() - mean.double() * factor
        return [*first, (last.double() * factor[:, None, None, None]).to(last), bias.to(last)]

    def nodes(self) -> tuple[tuple[Node, ...], dict[str, Tensor]]:
        """What stands in the file in the place of the convolution, and its initialisers."""
        end, value = self.slot.node.output, self.slot.node.inputs[0]
        *kernels, bias = self.folded()
        made, tensors = [], dict[str, Tensor]()
        stride = self.slot.stride
        if "pool" in self.kind:
            made.append(_pool_node(self.kind, value, f"{end}__pooled", stride))
            value, stride = f"{end}__pooled", 1
        channels = self.slot.channels[0]
        for place, kernel in enumerate(kernels):
            last = place == len(kernels) - 1
            # normalisation stands behind the last kernel, and so does the bias
            names = [f"{end}__kernel_{place}", *([f"{end}__bias"] if last else [])]
            tensors |= dict(zip(names, (kernel, bias), strict=False))
            out = end if last else f"{end}__inner_{place}"
            groups = channels // int(kernel.shape[1])
            made.append(_conv_node(value, out, names, kernel, stride, self._dilation, groups))
            value, stride, channels = out, 1, int(kernel.shape[0])
        return tuple(made), tensors


class Original(nn.Module):
    """The convolution itself."""

    kind = ORIGINAL

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        self.weight = nn.Parameter(slot.weight.clone())
        # a file whose convolution has no bias has no place for one that was trained
        self.bias = nn.Parameter(slot.bias.clone(), requires_grad=len(slot.node.inputs) > 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h / stride, w / stride)."""
        a = self.slot.node.attributes
        padding = self.weight.shape[2] // 2
        return functional.conv2d(x, self.weight, self.bias, a["strides"], padding, groups=a["group"])

    def values(self) -> dict[str, Tensor]:
        """Initialiser name -> its value now; copies, as in `folded`."""
        names = self.slot.node.inputs[1:]
        return dict(zip(names, (self.weight.detach().clone(), self.bias.detach().clone()), strict=False))


def _conv_node(value: str, out: str, names: list[str], kernel: Tensor, stride: int, dilation: int, groups: int) -> Node:
    attributes = {**_window_attributes(int(kernel.shape[2]), stride, dilation), "group": groups}
    return Node("Conv", out, (value, *names), out, MappingProxyType(attributes))


def _pool_node(kind: str, value: str, out: str, stride: int) -> Node:
    if kind == "maxpool3x3":
        return Node("MaxPool", out, (value,), out, MappingProxyType(_window_attributes(3, stride, 1)))
    # as torch counts unless told otherwise; ONNX does not
    attributes = {**_window_attributes(3, stride, 1), "count_include_pad": True}
    return Node("AveragePool", out, (value,), out, MappingProxyType(attributes))


def _window_attributes(size: int, stride: int, dilation: int) -> dict[str, Any]:
    return {
        "kernel_shape": (size, size),
        "strides": (stride, stride),
        "pads": (dilation * (size // 2),) * 4,
        "dilations": (dilation, dilation),
    }


# --- kernels to start from


def _dense_kernel(slot: Slot) -> Tensor:
    """The kernel without groups: (out, in, k, k)."""
    groups = int(slot.node.attributes["group"])
    if groups == 1:
        return slot.weight
    out, inner, *size = slot.weight.shape
    full = slot.weight.new_zeros(out, inner * groups, *size)
    for group, rows in enumerate(torch.arange(out).chunk(groups)):
        full[rows, group * inner : (group + 1) * inner] = slot.weight[rows]
    return full


def _centred_kernel(slot: Slot, size: int) -> list[Tensor]:
    """The kernel with zeros around it, or its middle."""
    kernel = _dense_kernel(slot)
    # a negative one cuts
    margin = (size - kernel.shape[2]) // 2
    return [functional.pad(kernel, (margin,) * 4)]


def _separable_kernels(slot: Slot) -> list[Tensor]:
    """A depthwise kernel and a pointwise one, for each input channel the best of rank one."""
    kernel = _centred_kernel(slot, 3)[0]
    across = kernel.flatten(2).transpose(0, 1)  # (in, out, 9)
    left, values, right = torch.linalg.svd(across.double(), full_matrices=False)
    depthwise = right[:, 0].reshape(-1, 1, 3, 3)
    pointwise = (left[:, :, 0] * values[:, :1]).T[:, :, None, None]
    return [depthwise.to(kernel), pointwise.to(kernel)]


def _summed_kernel(slot: Slot) -> list[Tensor]:
    return [_dense_kernel(slot).sum((2, 3), keepdim=True)]


_KERNELS: Mapping[str, Callable[[Slot], list[Tensor]]] = {
    "conv3x3": lambda slot: _centred_kernel(slot, 3),
    "conv5x5": lambda slot: _centred_kernel(slot, 5),
    "dilated3x3": lambda slot: _centred_kernel(slot, 3),
    "separable3x3": _separable_kernels,
    "maxpool3x3": _summed_kernel,
    "avgpool3x3": _summed_kernel,
    # ones, channel by channel: still a convolution, into which normalisation can be folded
    "skip": lambda slot: (
        [torch.ones(slot.channels[1], 1, 1, 1)] if slot.channels[0] == slot.channels[1] and slot.stride == 1
        else _summed_kernel(slot)
    ),
}  # fmt: skip


def kinds_for(slot: Slot) -> tuple[str, ...]:
    """Those of `KINDS` that are another operation than the convolution itself."""
    return tuple(kind for kind in KINDS if not (kind == "conv3x3" and slot.weight.shape[2] == 3))
