"""What operators of many operands are made of: simpler ones around which planes are known.

A product of two matrices is a sum of products; an entry of a softmax is one over a sum of exponentials of differences,
or the exponential of what an entry is above the logarithm of a sum; layer normalisation is a quotient by the root of a
mean of squares. Backward propagation goes through these parts: each has a row in `birdnn.operators` and, where it is
not affine, planes in `birdnn.bounds.planes`. The function over the reals is the same, so that bounds of the parts are
bounds of the whole. What a float32 execution of the whole errs by is not what one of its parts would: it is asked of
the operator itself (`birdnn.bounds.batch`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from birdnn.graph import Node, unused_name
from birdnn.network import Network
from birdnn.operators import shape_of

MOST_ENTRIES = 1 << 16
"""Of the largest part of an operator: planes take a hundred bytes for each entry, on each box. Of more it stays whole,
and lies between the ends of its interval."""


FEW = 8
"""Entries of a softmax whose differences, each from each, are exponents. That is tighter than the logarithm of a sum,
and of more entries there are too many differences."""


class Parts:
    """What one node becomes.

    Args:
        net: whose node it is.
        node: which.
        taken: names that other values have.

    Attributes:
        node: see above.
        made: the nodes, in their order; the last one makes the value.
        shapes: of the values that they make, for a batch of one.
        constants: that they read and the network has not.
        ranges: by name, what holds of values whatever the node reads, and is not seen in intervals of what made them.
    """

    def __init__(self, net: Network, node: Node, taken: Set[str]) -> None:
        self.node, self._net, self._taken = node, net, taken
        self.made: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.constants: dict[str, Tensor] = {}
        self.ranges: dict[str, tuple[float, float]] = {}

    def depends(self, name: str) -> bool:
        """Does a value of the network depend on the input?"""
        return name in self._net.graph.dependent

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a value, for a batch of one."""
        if name in self.constants:
            return tuple(self.constants[name].shape)
        return self.shapes[name] if name in self.shapes else self._net.shape_of(name)

    def constant(self, value: Tensor | float) -> str:
        """Name of a constant."""
        name = self._new_name()
        self.constants[name] = torch.as_tensor(value, dtype=torch.float64)
        return name

    def put(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Name of what an operator makes of values."""
        name = self._new_name()
        self.shapes[name] = shape_of(op, [self.shape(read) for read in inputs], attributes)
        self.made.append(Node(op, self.node.name, inputs, name, MappingProxyType(attributes)))
        return name

    def viewed(self, x: str, shape: tuple[int, ...]) -> str:
        """Name of the same entries in another shape; a batch, where there is one, stays the first axis."""
        name = self.put("Reshape", x, shape=shape)
        if self._net.graph.batched:
            self.made[-1] = replace(self.made[-1], attributes=MappingProxyType({"shape": (-1, *shape[1:])}))
        return name

    def _new_name(self) -> str:
        # other nodes' parts have the names of their own values before the number
        return unused_name(f"{self.node.output}__part{len(self.shapes) + len(self.constants)}", self._taken)


Rule: TypeAlias = Callable[[Parts], None]
"""Puts the parts of a node; none where they say no more than the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Expanded:
    """A network over parts of its operators.

    Attributes:
        net: the same function, in which all values of the network keep their names; itself where nothing has parts.
        ranges: see `Parts`; of values of `net` that are none of the network's.
    """

    net: Network
    ranges: Mapping[str, tuple[float, float]]


def expand_network(net: Network) -> Expanded:
    """Put the parts of operators in their places."""
    taken = {*net.values(), *net.graph.shapes}
    nodes, shapes, constants = list[Node](), dict(net.graph.shapes), dict[str, Tensor]()
    ranges = dict[str, tuple[float, float]]()
    for node in net.nodes:
        parts = Parts(net, node, taken)
        if node.op in RULES and parts.depends(node.output):
            RULES[node.op](parts)
        if not parts.made or max(map(math.prod, parts.shapes.values())) > MOST_ENTRIES:
            nodes.append(node)
            continue
        nodes += [*parts.made[:-1], replace(parts.made[-1], output=node.output)]
        shapes |= {each.output: parts.shapes[each.output] for each in parts.made[:-1]}
        constants |= parts.constants
        ranges |= parts.ranges
    if len(nodes) == len(net.nodes):
        return Expanded(net, {})
    dependent = set(net.graph.dependent)
    for node in nodes:
        if any(name in dependent for name in node.inputs):
            dependent.add(node.output)
    graph = replace(net.graph, nodes=tuple(nodes), shapes=shapes, dependent=frozenset(dependent))
    own, values = net.initialisers(), net.values()
    known = {name: value for name, value in values.items() if name not in own} | constants
    return Expanded(Network(graph, own, known), ranges)


def _matmul(parts: Parts) -> None:
    a, b = parts.node.inputs
    # a vector, or a matrix for each of a batch beside one for all, is rare; beside a constant it is affine
    if parts.depends(a) and parts.depends(b) and 2 <= len(parts.shape(a)) == len(parts.shape(b)):
        _sum_of_products(parts, a, b)


def _gemm(parts: Parts) -> None:
    a, b, *shift = parts.node.inputs
    if not (parts.depends(a) and parts.depends(b)):
        return
    said = parts.node.attributes
    first, second = (
        parts.put("Transpose", x, perm=(1, 0)) if said[turned] else x for x, turned in ((a, "transA"), (b, "transB"))
    )
    value = parts.put("Mul", _sum_of_products(parts, first, second), parts.constant(said["alpha"]))
    if shift:
        parts.put("Add", value, parts.put("Mul", shift[0], parts.constant(said["beta"])))


def _sum_of_products(parts: Parts, a: str, b: str) -> str:
    """``(..., n, k, 1) * (..., 1, k, m)``, over k."""
    first, second = parts.shape(a), parts.shape(b)
    terms = parts.put("Mul", parts.viewed(a, (*first, 1)), parts.viewed(b, (*second[:-2], 1, *second[-2:])))
    total = parts.put("ReduceSum", terms, axes=(len(first) - 1,))
    shape = parts.shape(total)
    return parts.viewed(total, (*shape[:-2], shape[-1]))


def _softmax(parts: Parts) -> None:
    x = _along_last(parts)
    if parts.shape(x)[-1] <= FEW:
        value = parts.put("Div", parts.constant(1.0), _sums_of_differences(parts, x))
    else:
        value = parts.put("Exp", _above_logarithm(parts, x))
    _moved_back(parts, value)


def _log_softmax(parts: Parts) -> None:
    x = _along_last(parts)
    if parts.shape(x)[-1] <= FEW:
        value = parts.put("Mul", parts.put("Log", _sums_of_differences(parts, x)), parts.constant(-1.0))
    else:
        value = _above_logarithm(parts, x)
    _moved_back(parts, value)


def _sums_of_differences(parts: Parts, x: str) -> str:
    """For each entry along the last axis the sum of ``exp(x_j - x_i)``, over all j."""
    *lead, n = shape = parts.shape(x)
    differences = parts.put("Sub", parts.viewed(x, (*lead, 1, n)), parts.viewed(x, (*lead, n, 1)))
    # an interval does not know that a number less itself is zero
    differences = parts.put("Mul", differences, parts.constant(1 - torch.eye(n)))
    total = parts.put("ReduceSum", parts.put("Exp", differences), axes=(len(shape),))
    parts.ranges[total] = 1.0, math.inf  # one of the exponents is zero
    return parts.viewed(total, shape)


def _above_logarithm(parts: Parts, x: str) -> str:
    """For each entry along the last axis ``x_i - log(sum of exp(x_j))``, of entries less the greatest one.

    Their sum lies between 1 and their number, where a logarithm bends little. What is known of the greatest entry
    hardly matters: it is taken away from both.
    """
    *lead, n = shape = parts.shape(x)
    window = {"kernel_shape": (1, n), "strides": (1, n), "dilations": (1, 1), "pads": (0,) * 4, "overshoot": (0,) * 4}
    greatest = parts.put("MaxPool", parts.viewed(x, (1, math.prod(lead), 1, n)), **window)
    lowered = parts.put("Sub", x, parts.viewed(greatest, (*lead, 1)))
    total = parts.put("ReduceSum", parts.put("Exp", lowered), axes=(len(shape) - 1,))
    parts.ranges |= {lowered: (-math.inf, 0.0), total: (1.0, float(n))}
    return parts.put("Sub", lowered, parts.put("Log", total))


def _along_last(parts: Parts) -> str:
    """What a node reads, with the axis along which it computes at the end."""
    x, perm = parts.node.inputs[0], _swapped(parts)
    return parts.put("Transpose", x, perm=perm) if perm else x


def _moved_back(parts: Parts, value: str) -> None:
    perm = _swapped(parts)
    if perm:
        parts.put("Transpose", value, perm=perm)


def _swapped(parts: Parts) -> tuple[int, ...]:
    """The axes, that along which a node computes and the last in each other's place; nothing where it is the last."""
    axes, axis = list(range(len(parts.shape(parts.node.inputs[0])))), parts.node.attributes["axis"]
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return () if axis == len(axes) - 1 else tuple(axes)


def _layer_normalization(parts: Parts) -> None:
    x, scale, *shift = parts.node.inputs
    axes = tuple(range(parts.node.attributes["axis"], len(parts.shape(x))))
    count = parts.constant(float(math.prod(parts.shape(x)[axis] for axis in axes)))

    def mean(name: str) -> str:
        return parts.put("Div", parts.put("ReduceSum", name, axes=axes), count)

    centred = parts.put("Sub", x, mean(x))
    mean_square, epsilon = mean(parts.put("Mul", centred, centred)), parts.node.attributes["epsilon"]
    variance = parts.put("Add", mean_square, parts.constant(epsilon))
    value = parts.put("Mul", parts.put("Div", centred, parts.put("Sqrt", variance)), scale)
    if shift:
        parts.put("Add", value, shift[0])


def _hard_swish(parts: Parts) -> None:
    x = parts.node.inputs[0]
    share = parts.put("Clip", parts.put("Add", x, parts.constant(3.0)), min=0.0, max=6.0)
    parts.put("Div", parts.put("Mul", x, share), parts.constant(6.0))


RULES: Mapping[str, Rule] = {
    "Gemm": _gemm,
    "HardSwish": _hard_swish,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _log_softmax,
    "MatMul": _matmul,
    "Softmax": _softmax,
}
"""Operator -> what it is made of."""
