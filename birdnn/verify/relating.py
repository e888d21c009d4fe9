"""Networks that hand on their inputs beside their outputs, for properties that relate both.

``Y_0 < X_0`` is a half-space of outputs and inputs together. A network whose outputs are those of another one, followed
by its inputs, makes it one of outputs alone: bounds, searches and attacks take it as it is. In a chain of ReLUs the
inputs pass them as ``relu(x - low) + low``, which changes nothing over the reals where no input is below ``low``, so
that the network stays a chain; in other graphs, and where a proof is recorded, they go past everything, so that the
neurons are those of the network itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from birdnn.graph import Graph, Node
from birdnn.network import Network
from birdnn.spec import Property

_CARRYING = frozenset({"Relu", "LeakyRelu"})
"""What changes no number that is not negative."""


def net_for(net: Network, prop: Property, *, recorded: bool = False) -> Network:
    """The network whose outputs a property's rows speak about: itself, or `beside_inputs` where they relate these."""
    return beside_inputs(net, prop, recorded=recorded) if prop.relational and not prop.vacuous else net


def beside_inputs(net: Network, prop: Property, *, recorded: bool = False) -> Network:
    """The network with its inputs behind its outputs, (n, outputs + inputs), on the property's regions.

    It is the original one over the reals only: its runs round on the way. Its sha256 is that of the original. Where
    proofs are to be ``recorded``, no neuron is added.
    """
    return _Carrier(net, prop, recorded=recorded).network()


class _Carrier:
    """Makes the nodes of such a network, one after the other."""

    def __init__(self, net: Network, prop: Property, *, recorded: bool) -> None:
        self.net, self.graph = net, net.graph
        self.nodes: list[Node] = []
        self.shapes = dict(net.graph.shapes)
        self.dependent = set(net.graph.dependent)
        carried = not recorded and all(node.op in _CARRYING for node in net.nodes if _bends(node))
        lowest = torch.stack([region.lower for region in prop.regions]).amin(0)
        self.low = self._below(lowest) if carried else None

    def _below(self, lowest: torch.Tensor) -> torch.Tensor:
        """Numbers of the network's type that are at most as large."""
        kind = next((value.dtype for value in self.net.values().values() if value.is_floating_point()), torch.float32)
        # a number above an input would have relu cut the input off, and the property speak about another one
        rounded = lowest.to(kind)
        return torch.where(rounded.double() > lowest, rounded.nextafter(rounded.new_tensor(-math.inf)), rounded)

    def network(self) -> Network:
        net, n = self.net, self.net.n_inputs
        low = self._new("low")
        carried = self._flat(net.input_name)
        if self.low is not None:
            carried = self._add("Sub", (carried, low), n)
        for node in net.nodes:
            if self.low is not None and node.op in _CARRYING and node.output in net.graph.dependent:
                carried = self._past(node, carried)
            else:
                self.nodes.append(node)
        if self.low is not None:
            carried = self._add("Add", (carried, low), n)
        both = (self._flat(net.output_name), carried)
        output = self._add("Concat", both, net.n_outputs + n, {"axis": int(self.graph.batched)})
        graph: Graph = replace(
            self.graph,
            nodes=tuple(self.nodes),
            output_name=output,
            shapes=MappingProxyType(self.shapes),
            dependent=frozenset(self.dependent),
        )
        constants = {name: value for name, value in net.values().items() if name not in net.initialisers()}
        if self.low is not None:
            constants[low] = self.low.reshape(self._shape(n))
        return Network(graph, net.initialisers(), constants, source=net.source, sha256=net.sha256)

    def _past(self, node: Node, carried: str) -> str:
        """Apply an activation to its value and the inputs at once; the inputs behind it."""
        size, n = self.net.size_of(node.output), self.net.n_inputs
        both = self._add("Concat", (self._flat(node.inputs[0]), carried), size + n, {"axis": int(self.graph.batched)})
        after = self._add(node.op, (both,), size + n, node.attributes)
        flat = self._sliced(after, 0, size)
        # under the name that the activation had, so that whatever reads it stays as it is
        self._named("Reshape", (flat,), node.output, self.shapes[node.output])
        return self._sliced(after, size, size + n)

    def _sliced(self, name: str, start: int, stop: int) -> str:
        return self._add("Slice", (name,), stop - start, {"slices": ((int(self.graph.batched), start, stop, 1),)})

    def _flat(self, name: str) -> str:
        size = math.prod(self.shapes[name])
        flat = self._new(f"{name}.flat")
        self._named("Reshape", (name,), flat, self._shape(size))
        return flat

    def _shape(self, size: int) -> tuple[int, ...]:
        return (1, size) if self.graph.batched else (size,)

    def _add(self, op: str, inputs: tuple[str, ...], size: int, attributes: Mapping[str, Any] | None = None) -> str:
        name = self._new(op)
        self._put(op, inputs, name, self._shape(size), attributes or {})
        return name

    def _named(self, op: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...]) -> None:
        wanted = (-1, *shape[1:]) if self.graph.batched else shape
        self._put(op, inputs, name, shape, {"shape": wanted})

    def _put(
        self, op: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], attributes: Mapping[str, Any]
    ) -> None:
        self.nodes.append(Node(op, name, inputs, name, MappingProxyType(dict(attributes))))
        self.shapes[name] = shape
        self.dependent.add(name)

    def _new(self, wish: str) -> str:
        """A name that no value has."""
        taken = self.shapes.keys() | self.net.values().keys()
        return next(name for i in range(len(taken) + 1) if (name := f"{wish}/{i}") not in taken)


def _bends(node: Node) -> bool:
    """Is a node an activation: elementwise, and not affine?"""
    from birdnn.chain import as_activation

    return as_activation(node) is not None
