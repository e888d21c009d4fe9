"""Networks side by side: one network whose outputs are those of several, at inputs that share variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from birdnn.graph import Graph, Node
from birdnn.network import Network

_INPUT = "variables"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A network of several, and the variable that each of its inputs is."""

    net: Network
    reads: tuple[int, ...]

    def inputs(self, x: Tensor) -> Tensor:
        """Its inputs, (n, n_inputs), at variables, (n, variables)."""
        return x[:, list(self.reads)]


def side_by_side(parts: Sequence[Part], variables: int, *, sha256: str = "") -> Network:
    """The outputs of all parts, one behind the other, as a network of the variables: (n, variables) -> (n, outputs).

    Args:
        parts: at least one.
        variables: how many there are.
        sha256: what names it, where it is to have a name.
    """
    joined = _Joined(variables, batched=all(part.net.graph.batched for part in parts))
    outputs = [joined.put(part, f"{number}/") for number, part in enumerate(parts)]
    size = sum(part.net.n_outputs for part in parts)
    output = outputs[0] if len(outputs) == 1 else joined.add("Concat", outputs, "outputs", (1, size), {"axis": 1})
    return joined.network(output, sha256)


def network_of_variables(part: Part, variables: int) -> Network:
    """One of several networks as a function of the variables."""
    # with its own names and hash; a Gather that moves nothing would only be more to bound
    if part.reads == tuple(range(variables)):
        return part.net
    return side_by_side([part], variables)


@dataclass(slots=True, eq=False)
class _Joined:
    """A graph that grows."""

    variables: int
    batched: bool
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dependent: set[str] = field(default_factory=set)
    repairable: set[str] = field(default_factory=set)
    quantised: set[str] = field(default_factory=set)
    initialisers: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes[_INPUT] = (1, self.variables)
        self.dependent.add(_INPUT)

    def put(self, part: Part, prefix: str) -> str:
        """Add a part's nodes, with names behind a prefix; the name of its outputs, in a row."""
        net = part.net
        name = _INPUT
        if part.reads != tuple(range(self.variables)):
            picked = {"axis": 1, "indices": part.reads, "index_shape": (net.n_inputs,)}
            name = self.add("Gather", [_INPUT], f"{prefix}read", (1, net.n_inputs), picked)
        # names of the part -> names here: two parts may use the same ones, and be the same network
        own = {net.input_name: self._with_shape(name, f"{prefix}input", net.input_shape)}
        for node in net.nodes:
            inputs = tuple(own.get(each, prefix + each) for each in node.inputs)
            own[node.output] = prefix + node.output
            made = replace(node, name=prefix + node.name, inputs=inputs, output=prefix + node.output)
            self.nodes.append(made)
            if node.output in net.graph.shapes:
                self.shapes[made.output] = net.graph.shapes[node.output]
            if node.output in net.graph.dependent:
                self.dependent.add(made.output)
        stored = net.initialisers()
        for key, value in net.values().items():
            (self.initialisers if key in stored else self.constants)[prefix + key] = value
        self.repairable |= {prefix + key for key in net.repairable}
        self.quantised |= {prefix + key for key in net.graph.quantised}
        return self._with_shape(own[net.output_name], f"{prefix}outputs", (1, net.n_outputs))

    def _with_shape(self, name: str, wish: str, shape: tuple[int, ...]) -> str:
        if self.shapes[name] == shape:
            return name
        wanted = (-1, *shape[1:]) if self.batched else shape  # the batch stays free
        return self.add("Reshape", [name], wish, shape, {"shape": wanted})

    def add(
        self, op: str, inputs: Sequence[str], name: str, shape: tuple[int, ...], attributes: Mapping[str, Any]
    ) -> str:
        """Add a node that depends on the variables; the name of its value."""
        self.nodes.append(Node(op, name, tuple(inputs), name, MappingProxyType(dict(attributes))))
        self.shapes[name] = shape
        self.dependent.add(name)
        return name

    def network(self, output: str, sha256: str) -> Network:
        """What was put together."""
        graph = Graph(
            nodes=tuple(self.nodes),
            input_name=_INPUT,
            output_name=output,
            shapes=MappingProxyType(self.shapes),
            dependent=frozenset(self.dependent),
            repairable=frozenset(self.repairable),
            batched=self.batched,
            quantised=frozenset(self.quantised),
        )
        return Network(graph, self.initialisers, self.constants, sha256=sha256)
