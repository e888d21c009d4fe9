"""How fast outputs change along one input, differentiable in the weights: at inputs, and on small boxes around them.

A tangent passes an affine operator as its linear part, and an activation as a multiple of itself, by the slope that the
activation has there. On a box that slope is not one number. What it may be is read from a few inputs of the box: an
activation that is on at some of them and off at others may have either slope, and the tangent behind it is an interval.
A proof loses in the same place: where intervals keep away from zero, proofs are short.

For training only: between the inputs that were looked at an activation may have other slopes, and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import apply, magnitude, operator

Held: TypeAlias = tuple[Tensor, ...]
"""A value's tangent, (boxes, ...): a number, or the middle of an interval and how far it reaches on either side."""


class Tangents:
    """The tangents of networks of one graph along one input.

    Args:
        net: whose graph.
        direction: number of the input.

    Raises:
        MismatchError: a node is neither affine nor an activation of single numbers.
    """

    def __init__(self, net: Network, direction: int) -> None:
        self.net = net
        self._live = [node for node in net.nodes if node.output in net.graph.dependent]
        self._constants = [node for node in net.nodes if node.output not in net.graph.dependent]
        self._activations = {node.output for node in self._live if operator(node.op).function is not None}
        # what each of them reads, by the name of its value
        self._read = tuple(dict.fromkeys(n.inputs[0] for n in self._live if n.output in self._activations))
        for node in self._live:
            if node.output not in self._activations and operator(node.op).linear_part is None:
                raise MismatchError(_unknown_slopes(node))
        start = torch.zeros(net.n_inputs)
        start[direction] = 1.0
        # a graph without a batch has the shapes of one sample, and boxes are an axis before these
        self._start = start.reshape(net.input_shape if net.graph.batched else (1, *net.input_shape))

    def at(self, student: Network, x: Tensor) -> Tensor:
        """The slopes of all outputs at inputs (n, inputs), of a network of the graph in float32: (n, outputs)."""
        (found,) = self._follow(student, x[:, None], (self._spread(len(x)),))
        return found

    def on_boxes(self, student: Network, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Where slopes lie on boxes: the middles of intervals, (boxes, outputs), and how far these reach.

        Args:
            student: a network of the graph, float32.
            samples: inputs of each box, (boxes, inputs of a box, inputs).
        """
        start = self._spread(len(samples))
        middle, radius = self._follow(student, samples, (start, torch.zeros_like(start)))
        return middle, radius

    def _spread(self, boxes: int) -> Tensor:
        return self._start.expand(boxes, *self._start.shape[1:])

    def _follow(self, student: Network, samples: Tensor, start: Held) -> Held:
        boxes, each = samples.shape[:2]
        before = student.observe(samples.flatten(0, 1), self._read) if self._read else ()
        slopes = {name: value.reshape(boxes, each, -1) for name, value in zip(self._read, before, strict=True)}
        known: dict[str, Tensor] = dict(student.values())
        for node in self._constants:
            known[node.output] = apply(node.op, [known[name] for name in node.inputs], node.attributes, node.name)
        found = {self.net.input_name: start}
        for node in self._live:
            if node.output in self._activations:
                found[node.output] = _through_activation(node, found[node.inputs[0]], slopes[node.inputs[0]])
            else:
                found[node.output] = self._through_affine(node, found, known)
        return tuple(part.reshape(boxes, -1) for part in found[self.net.output_name])

    def _through_affine(self, node: Node, found: Mapping[str, Held], known: Mapping[str, Tensor]) -> Held:
        """An affine operator without what it adds; what an interval reaches, by the absolute values of constants."""
        held = [found.get(name) for name in node.inputs]
        pairs = list(zip(node.inputs, held, strict=True))
        middles = [known[name] if part is None else part[0] for name, part in pairs]
        made = [self._linear_part(node, apply, middles, held)]
        if any(part is not None and len(part) > 1 for part in held):
            reach = [known[name].abs() if part is None else part[1] for name, part in pairs]
            made.append(self._linear_part(node, magnitude, reach, held))
        return tuple(made)

    def _linear_part(
        self, node: Node, function: Callable[..., Tensor], operands: list[Tensor], held: Sequence[Held | None]
    ) -> Tensor:
        """The operator, or its absolute terms, on what its linear part reads; for each box by itself."""
        live, rule = [part is not None for part in held], operator(node.op).linear_part
        linear = None if rule is None else rule(operands, live)
        if linear is None:
            raise MismatchError(_unknown_slopes(node))
        compute: Callable[..., Tensor] = partial(_apply_to_operands, function, node)
        if not self.net.graph.batched:
            compute = torch.func.vmap(compute, in_dims=tuple(0 if on else None for on in live[: len(linear)]))
        return compute(*linear)


def _through_activation(node: Node, held: Held, z: Tensor) -> Held:
    low, high = (slope.reshape(held[0].shape) for slope in _slope_range(node, z))
    if len(held) == 1:
        return (held[0] * low,)
    middle, radius = held
    products = [end * slope for end in (middle - radius, middle + radius) for slope in (low, high)]
    least = torch.minimum(torch.minimum(*products[:2]), torch.minimum(*products[2:]))
    most = torch.maximum(torch.maximum(*products[:2]), torch.maximum(*products[2:]))
    return (least + most) / 2, (most - least) / 2


def _unknown_slopes(node: Node) -> str:
    told = f"node {node.name!r} ({node.op}) is neither affine nor an activation of single numbers"
    return f"{told}: nothing is known of slopes behind it"


def _slope_range(node: Node, z: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest slope of an activation at pre-activations (boxes, inputs of a box, entries)."""
    function = operator(node.op).function
    # of straight pieces slopes are constants, and what depends on nothing needs no derivative
    curved = z.requires_grad and (function is None or function.straight != "both sides")
    with torch.enable_grad():
        here = z if curved else z.detach().requires_grad_(True)
        value = apply(node.op, [here], node.attributes, node.name)
        (slope,) = torch.autograd.grad(value.sum(), here, create_graph=curved)
    return slope.amin(1), slope.amax(1)


def _apply_to_operands(function: Callable[..., Tensor], node: Node, *operands: Tensor) -> Tensor:
    return function(node.op, list(operands), node.attributes)
