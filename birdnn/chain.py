"""A network folded to an alternation of dense affine maps and elementwise activations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor

from birdnn.errors import BirdnnError
from birdnn.graph import Graph, Node
from birdnn.merging import Merging, mergings
from birdnn.operators import apply, magnitude, operator, peak, roundings
from birdnn.rounding import LARGEST_FLOAT32

MAX_DENSE_ENTRIES = 1 << 24
"""Largest dense matrix of a chain: 4096 x 4096 entries of float64, 128 MiB."""

_ROWS = 256
"""Rows of a matrix that go through an operator together: torch unfolds a convolution of all of them, a copy for each
entry of the kernel."""


class NotAChain(BirdnnError):
    """A network is not an alternation of dense affine maps and elementwise activations.

    Args:
        reason: what stands in the way, naming the node.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What the rounding errors of an affine map grow with, see `birdnn.rounding`.

    An execution differs from the exact result by at most ``gamma(roundings) * (weight @ |x| + bias)`` and, by what
    underflows, ``underflow * (1 + max |x|)`` times the smallest normal number. Folding is an execution in float64, for
    each entry of the input by itself (`Affine.lost`).

    Attributes:
        weight, bias: the map with the absolute values of all constants, (out, in) and (out,) float64.
        roundings: how many each term passes through at most.
        underflow: see above.
        peak: no value on the way exceeds ``peak * max(1, max |x|)``.
        merging: beside `underflow`, in a runtime that merges constants, see `birdnn.merging`; folding merges none.
    """

    weight: Tensor
    bias: Tensor
    roundings: int
    underflow: float
    peak: float
    merging: float


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The map ``x -> weight @ x + bias``.

    Attributes:
        weight: (out, in) float64.
        bias: (out,) float64.
        terms: of its rounding errors.
    """

    weight: Tensor
    bias: Tensor
    terms: Terms

    @property
    def lost(self) -> float:
        """What underflow in folding costs, in ``SMALLEST64 * (1 + max |x|)``: columns and offset err by twice each."""
        return 2 * self.terms.underflow * (1 + self.weight.shape[1])


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise activation.

    Attributes:
        kind: which one, see `birdnn.operators.Function`.
        alpha: slope of a leaky ReLU, scale of an ELU; 0 for the others.
        limited: it cuts off what exceeds the largest float32, as Clip does: what it is only below that.
    """

    kind: str
    alpha: float = 0.0
    limited: bool = False


Chain: TypeAlias = tuple[Affine | Activation, ...]


def fold_graph(graph: Graph, values: Mapping[str, Tensor]) -> Chain:
    """See `birdnn.network.Network.chain`.

    Args:
        graph: the structure.
        values: of initialisers and constants.
    """
    return _Folding(graph, values).run()


def chain_on_device(chain: Chain, device: torch.device) -> Chain:
    """The chain with its tensors on a device.

    Networks are folded on the CPU: a library for graphics devices may convolve by Fourier transforms, also in float64,
    and what these err by does not grow with the terms of each result alone, as `Terms` has it.
    """

    def over(layer: Affine) -> Affine:
        terms = replace(layer.terms, weight=layer.terms.weight.to(device), bias=layer.terms.bias.to(device))
        return Affine(layer.weight.to(device), layer.bias.to(device), terms)

    return tuple(over(layer) if isinstance(layer, Affine) else layer for layer in chain)


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    """A value as an affine function of the last activation's output, or a constant, where `basis` is None.

    Attributes:
        basis, offset: shapes (k, *sample) for k entries of that output, and (1, *sample); of a constant its own shape.
        absolute_basis, absolute_offset: the same of the map with the absolute values of all constants.
        roundings: so far.
        underflow, peak: see `Terms`.
    """

    basis: Tensor | None
    offset: Tensor
    absolute_basis: Tensor | None
    absolute_offset: Tensor
    roundings: int = 0
    underflow: float = 0.0
    peak: float = 1.0

    @property
    def total(self) -> Tensor:
        """Bounds of the value's entries, absolute terms added up, for inputs between -1 and 1."""
        if self.absolute_basis is None:
            return self.absolute_offset
        return self.absolute_basis.sum(0, keepdim=True) + self.absolute_offset


class _Folding:
    """Walks a graph and keeps each value as an `_Affine`."""

    def __init__(self, graph: Graph, values: Mapping[str, Tensor]) -> None:
        self.graph = graph
        # float64 holds each float32 exactly: times a basis of ones and zeros the first weights stay what they are
        self.fixed = {name: _constant_value(tensor.detach().double()) for name, tensor in values.items()}
        self.mergings = mergings(graph, values)
        self.device = next(iter(values.values())).device if values else None
        self.layers: list[Affine | Activation] = []
        self.live: dict[str, _Affine] = {}
        self.reads = Counter(name for node in graph.nodes for name in node.inputs)  # still to come
        self.restart(graph.input_name)

    def restart(self, name: str) -> None:
        """Make the value called `name` the one that all later ones are functions of."""
        shape = self.graph.shapes[name]
        size = math.prod(shape)
        if size * size > MAX_DENSE_ENTRIES:
            raise NotAChain(f"value {name!r} has {size} entries, too many for dense matrices")
        sample = shape[1:] if self.graph.batched else shape
        basis = torch.eye(size, dtype=torch.float64, device=self.device).reshape(size, *sample)
        nothing = torch.zeros_like(basis[:1])
        # an entry that is read may be flushed to zero, even where nothing is computed with it
        self.live = {name: _Affine(basis, nothing, basis, nothing, underflow=1.0)}

    def run(self) -> Chain:
        graph = self.graph
        for node in graph.nodes:
            if node.output not in graph.dependent:
                self.fixed[node.output] = self.constant(node)
            elif (activation := as_activation(node)) is not None:
                self.close(self.at(node.inputs[0], node), self.mergings[node.inputs[0]])
                self.layers.append(activation)
                self.restart(node.output)
            else:
                self.live[node.output] = self.fold(node)
            self.forget(node)
        if graph.output_name not in self.live:
            raise NotAChain(f"output {graph.output_name!r} is read before a later activation")
        self.close(self.live[graph.output_name], self.mergings[graph.output_name])
        return tuple(self.layers)

    def forget(self, node: Node) -> None:
        """Drop the values that nobody reads after `node`: each may take 256 MiB."""
        self.reads.subtract(node.inputs)
        for name in node.inputs:
            if not self.reads[name] and name != self.graph.output_name:
                self.live.pop(name, None)

    def close(self, value: _Affine, merging: Merging) -> None:
        basis, absolute_basis = cast(Tensor, value.basis), cast(Tensor, value.absolute_basis)
        weight = basis.reshape(len(basis), -1).T.contiguous()
        absolute = absolute_basis.reshape(len(basis), -1).T.contiguous()
        terms = Terms(
            weight=absolute,
            bias=value.absolute_offset.flatten().clone(),
            roundings=value.roundings,
            underflow=value.underflow,
            # the largest value on the way, whether a runtime merges constants or computes node by node
            peak=max(value.peak, merging.gain),
            merging=merging.lost,
        )
        self.layers.append(Affine(weight, value.offset.flatten().clone(), terms))

    def at(self, name: str, node: Node) -> _Affine:
        """The value called `name`, which `node` reads."""
        if name in self.fixed:
            return self.fixed[name]
        if name not in self.live:
            raise NotAChain(f"node {node.name!r} reads {name!r} across an activation")
        return self.live[name]

    def constant(self, node: Node) -> _Affine:
        """What a node makes of constants alone."""
        inputs = [self.fixed[name] for name in node.inputs]
        value = apply(node.op, [i.offset for i in inputs], node.attributes, node.name)
        row = operator(node.op, node.name)
        # what only chooses among exact numbers gives an exact number, and starts anew
        if row.compares and not any(i.roundings for i in inputs):
            return _constant_value(value)
        if row.linear_part is None:
            raise NotAChain(f"node {node.name!r} ({node.op}) computes a constant, and is not affine")
        absolute = magnitude(node.op, [i.absolute_offset for i in inputs], node.attributes)
        growth = _largest_entry(absolute)
        underflow = self.underflow(node, inputs, growth)
        return _Affine(None, value, None, absolute, self.roundings(node, inputs), underflow, growth)

    def fold(self, node: Node) -> _Affine:
        depends = [name in self.graph.dependent for name in node.inputs]
        rule = operator(node.op, node.name).linear_part
        if rule is None:
            raise NotAChain(f"node {node.name!r} ({node.op}) is neither affine nor an elementwise activation")
        inputs = [self.at(name, node) for name in node.inputs]
        width = next(len(i.basis) for i in inputs if i.basis is not None)
        if width * math.prod(self.graph.shapes[node.output]) > MAX_DENSE_ENTRIES:
            raise NotAChain(f"node {node.name!r} needs a dense matrix above {MAX_DENSE_ENTRIES} entries")
        # the operator goes over the basis with what it adds set to zero, and over the offset as it is
        linear = rule([i.offset if i.basis is None else i.basis for i in inputs], depends)
        absolute = rule([i.absolute_offset if i.absolute_basis is None else i.absolute_basis for i in inputs], depends)
        if linear is None or absolute is None:
            raise NotAChain(f"node {node.name!r} ({node.op}) is not affine in its inputs")
        # the same map with the absolute values of all constants: what rounding errors grow with
        absolute_basis = self.evaluate(magnitude, node, absolute, depends)
        absolute_offset = self.evaluate(magnitude, node, [i.absolute_offset for i in inputs], depends)
        growth = _largest_entry(absolute_basis.sum(0) + absolute_offset)
        summit = _largest_entry(self.evaluate(peak, node, [i.total for i in inputs], depends))
        return _Affine(
            self.evaluate(_apply_operator, node, linear, depends),
            self.evaluate(_apply_operator, node, [i.offset for i in inputs], depends),
            absolute_basis,
            absolute_offset,
            self.roundings(node, inputs),
            self.underflow(node, inputs, growth),
            max(summit, *(i.peak for i in inputs)),
        )

    def underflow(self, node: Node, inputs: list[_Affine], growth: float) -> float:
        """See `Terms`: what the inputs err by, passed on, and what the node itself adds."""
        depends = [i.basis is not None for i in inputs]
        gains = []  # how far the result moves when an input moves by 1 everywhere
        for k in range(len(inputs)):
            moved = [torch.ones_like(i.total) if k == j else i.total for j, i in enumerate(inputs)]
            gains.append(_largest_entry(self.evaluate(magnitude, node, moved, depends)))
        # an infinite gain of an input that errs by nothing would make NaN of the sum
        passed = sum(gain * i.underflow for gain, i in zip(gains, inputs, strict=True) if i.underflow)
        largest = max(_largest_entry(i.total) for i in inputs)
        return passed + 4 * self.roundings(node, []) * (1 + sum(gains) + growth + largest)

    def roundings(self, node: Node, inputs: list[_Affine]) -> int:
        """Those of all inputs together, and the node's own."""
        if operator(node.op).divides and any(i.roundings for i in inputs if i.basis is None):
            raise NotAChain(f"node {node.name!r} ({node.op}) divides by a constant that other nodes compute")
        graph, names = self.graph, node.inputs
        shapes = [graph.shapes[n] if n in graph.dependent else self.fixed[n].offset.shape for n in names]
        return sum(i.roundings for i in inputs) + roundings(node.op, shapes, node.attributes)

    def evaluate(
        self,
        function: Callable[[str, list[Tensor], Mapping[str, object]], Tensor],
        node: Node,
        inputs: list[Tensor],
        depends: list[bool],
    ) -> Tensor:
        """The node's operator, or another function of the same arguments, over the leading axis of live values."""
        axes = tuple(0 if on else None for on in depends[: len(inputs)])
        compute: Callable[..., Tensor] = partial(_apply_to_parts, function, node)
        if any(depends) and not self.graph.batched:
            # the rows of the basis are a batch to a graph that has one; to any other each row is a sample
            compute = torch.func.vmap(compute, in_dims=axes)
        rows = next((len(value) for value, axis in zip(inputs, axes, strict=True) if axis == 0), 1)
        if rows <= _ROWS:
            return compute(*inputs)
        # filled in place: to put parts together in the end takes the memory of two matrices
        out = inputs[0].new_empty(0)
        for begin in range(0, rows, _ROWS):
            some = slice(begin, begin + _ROWS)
            result = compute(*(value[some] if axis == 0 else value for value, axis in zip(inputs, axes, strict=True)))
            if not begin:
                out = result.new_empty(rows, *result.shape[1:])
            out[some] = result
        return out


def _apply_to_parts(
    function: Callable[[str, list[Tensor], Mapping[str, object]], Tensor], node: Node, *parts: Tensor
) -> Tensor:
    return function(node.op, list(parts), node.attributes)


def _constant_value(value: Tensor) -> _Affine:
    return _Affine(None, value, None, value.abs(), peak=_largest_entry(value.abs()))


def _largest_entry(value: Tensor) -> float:
    return float(value.max()) if value.numel() else 0.0


def _apply_operator(op: str, inputs: list[Tensor], attributes: Mapping[str, object]) -> Tensor:
    return apply(op, inputs, attributes)


def as_activation(node: Node) -> Activation | None:
    """The activation that a node computes, if it is one."""
    # no float32 lies above such a limit, so that what is executed is a ReLU; over the reals it is one only below
    # the limit, which `limited` keeps in mind
    if node.op == "Clip" and node.attributes["min"] == 0.0 and node.attributes["max"] >= LARGEST_FLOAT32:
        return Activation("relu", limited=math.isfinite(node.attributes["max"]))
    function = operator(node.op, node.name).function
    return None if function is None else Activation(function.kind, float(node.attributes.get("alpha", 0.0)))
