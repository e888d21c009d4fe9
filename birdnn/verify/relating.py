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


def net_for_property(net: Network, prop: Property, *, recorded: bool = False) -> Network:
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
        carried = not recorded and all(node.op in _CARRYING for node in net.nodes if _is_activation(node))
        lowest = torch.stack([region.lower for region in prop.regions]).amin(0)
        self.low = self._round_down(lowest) if carried else None

    def _round_down(self, lowest: torch.Tensor) -> torch.Tensor:
        """Numbers of the network's type that are at most as large."""
        kind = next((value.dtype for value in self.net.values().values() if value.is_floating_point()), torch.float32)
        # a number above an input would have relu cut the input off, and the property speak about another one
        rounded = lowest.to(kind)
        return torch.where(rounded.double() > lowest, rounded.nextafter(rounded.new_tensor(-math.inf)), rounded)

    def network(self) -> Network:
        net, n = self.net, self.net.n_inputs
        low = self._new_name("low")
        carried = self._add_flatten(net.input_name)
        if self.low is not None:
            carried = self._add_node("Sub", (carried, low), n)
        for node in net.nodes:
            if self.low is not None and node.op in _CARRYING and node.output in net.graph.dependent:
                carried = self._carry_past(node, carried)
            else:
                self.nodes.append(node)
        if self.low is not None:
            carried = self._add_node("Add", (carried, low), n)
        both = (self._add_flatten(net.output_name), carried)
        output = self._add_node("Concat", both, net.n_outputs + n, {"axis": int(self.graph.batched)})
        graph: Graph = replace(
            self.graph,
            nodes=tuple(self.nodes),
            output_name=output,
            shapes=MappingProxyType(self.shapes),
            dependent=frozenset(self.dependent),
        )
        constants = {name: value for name, value in net.values().items() if name not in net.initialisers()}
        if self.low is not None:
            constants[low] = self.low.reshape(self._flat_shape(n))
        return Network(graph, net.initialisers(), constants, source=net.source, sha256=net.sha256)

    def _carry_past(self, node: Node, carried: str) -> str:
        """Apply an activation to its value and the inputs at once; the inputs behind it."""
        size, n = self.net.size_of(node.output), self.net.n_inputs
        both = self._add_node(
            "Concat", (self._add_flatten(node.inputs[0]), carried), size + n, {"axis": int(self.graph.batched)}
        )
        after = self._add_node(node.op, (both,), size + n, node.attributes)
        flat = self._add_slice(after, 0, size)
        # under the name that the activation had, so that whatever reads it stays as it is
        self._add_reshape("Reshape", (flat,), node.output, self.shapes[node.output])
        return self._add_slice(after, size, size + n)

    def _add_slice(self, name: str, start: int, stop: int) -> str:
        return self._add_node("Slice", (name,), stop - start, {"slices": ((int(self.graph.batched), start, stop, 1),)})

    def _add_flatten(self, name: str) -> str:
        size = math.prod(self.shapes[name])
        flat = self._new_name(f"{name}.flat")
        self._add_reshape("Reshape", (name,), flat, self._flat_shape(size))
        return flat

    def _flat_shape(self, size: int) -> tuple[int, ...]:
        return (1, size) if self.graph.batched else (size,)

    def _add_node(
        self, op: str, inputs: tuple[str, ...], size: int, attributes: Mapping[str, Any] | None = None
    ) -> str:
        name = self._new_name(op)
        self._put_node(op, inputs, name, self._flat_shape(size), attributes or {})
        return name

    def _add_reshape(self, op: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...]) -> None:
        wanted = (-1, *shape[1:]) if self.graph.batched else shape
        self._put_node(op, inputs, name, shape, {"shape": wanted})

    def _put_node(
        self, op: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], attributes: Mapping[str, Any]
    ) -> None:
        self.nodes.append(Node(op, name, inputs, name, MappingProxyType(dict(attributes))))
        self.shapes[name] = shape
        self.dependent.add(name)

    def _new_name(self, wish: str) -> str:
        """A name that no value has."""
        taken = self.shapes.keys() | self.net.values().keys()
        return next(name for i in range(len(taken) + 1) if (name := f"{wish}/{i}") not in taken)


def _is_activation(node: Node) -> bool:
    """Is a node an activation: elementwise, and not affine?"""
    from birdnn.chain import as_activation

    return as_activation(node) is not None
