"""How much work a network is, and work on it in pieces that are short enough to end in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from birdnn.errors import out_of_memory
from birdnn.network import Network
from birdnn.records.limits import Over

T = TypeVar("T")

_PIECE = 1e9  # multiplications, a fraction of a second
_HELD = 1 << 19  # entries of the widest value, which a processor holds close by
_TOGETHER = 512  # points at least: of fewer, each of many weights is fetched for too little
_ENTRIES = 1 << 23  # of inputs that are drawn at once: 64 MiB, a fraction of a second


_COUNTED: WeakKeyDictionary[Network, int] = WeakKeyDictionary()  # counting takes a good part of an evaluation


def multiplications(net: Network) -> int:
    """About how many there are in one evaluation."""
    if net not in _COUNTED:
        _COUNTED[net] = _count_multiplications(net)
    return _COUNTED[net]


def _count_multiplications(net: Network) -> int:
    total = 1
    for node in net.nodes:
        if node.output not in net.graph.dependent:
            continue
        constant = [net.shape_of(name) for name in node.inputs if name not in net.graph.dependent]
        # each output entry takes one kernel of its group
        if node.op == "Conv" and constant:
            total += net.size_of(node.output) * math.prod(constant[0][1:])
        # here each input entry is spread by one
        elif node.op == "ConvTranspose" and constant:
            total += net.size_of(node.inputs[0]) * math.prod(constant[0][1:])
        elif node.op in ("Gemm", "MatMul") and not constant:
            total += net.size_of(node.output) * net.graph.shapes[node.inputs[0]][-1]
        else:
            # a matrix: each of its weights once; elementwise functions: each entry
            total += max([net.size_of(node.output), *map(math.prod, constant)])
    return total


def points_per_piece(net: nn.Module) -> int:
    """How many points are evaluated between two looks at a clock."""
    # of other modules nobody knows what they cost
    return max(1, int(_PIECE / multiplications(net))) if isinstance(net, Network) else 1 << 16


def _points_in_cache(net: nn.Module, device: torch.device) -> int:
    """Of how many points a processor holds the values close by, which is faster than to fetch them from memory."""
    if not isinstance(net, Network) or device.type != "cpu":
        return 1 << 16
    widest = max(math.prod(shape) for shape in net.graph.shapes.values())
    return max(_TOGETHER, _HELD // widest)


def drawable_count(count: int, n_inputs: int) -> int:
    """At most ``count`` points, fewer where so many would take the memory."""
    return max(1, min(count, _ENTRIES // n_inputs))


def apply_in_memory(function: Callable[[Tensor], T], x: Tensor) -> list[T]:
    """``function`` of ``x``, or of its halves, quarters, ..., in their order, where memory does not do for more."""
    try:
        return [function(x)]
    except (MemoryError, RuntimeError) as error:
        if len(x) < 2 or not out_of_memory(error):
            raise
    # behind the handler: it holds what the attempt held
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    return [*apply_in_memory(function, first), *apply_in_memory(function, second)]


def evaluate_in_time(net: nn.Module, x: Tensor, over: Over, *, most: int = 1 << 16) -> Tensor:
    """Outputs (m, outputs) without gradients, where ``x`` (n, inputs) lies: of all points, or of the first ones.

    At least one piece is evaluated, of at most ``most`` points.
    """
    parts: list[Tensor] = []
    with torch.no_grad():
        for part in torch.split(x, min(most, points_per_piece(net), _points_in_cache(net, x.device))):
            if parts and over():
                break
            parts += apply_in_memory(net, part)
    return torch.cat(parts)
