"""The structure of a network: a graph of operations, without its numbers."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Taken: TypeAlias = Literal["first", "last"]
"""Which of equal values the place of the greatest is that of."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    Attributes:
        op: operator name, as ONNX spells it.
        name: the node's name in the file, or the name of its output where it has none.
        inputs: names of the values it reads: graph input, initialisers, constants, outputs of earlier nodes.
        output: name of the one value it makes.
        attributes: lowered attributes, see `birdnn.operators`.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    # a MappingProxyType cannot be pickled, and nodes travel between processes
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_node, (self.op, self.name, self.inputs, self.output, dict(self.attributes))


def _restore_node(op: str, name: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]) -> Node:
    return Node(op, name, inputs, output, MappingProxyType(attributes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The structure of a network, without its numbers.

    Attributes:
        nodes: in topological order, only those that the output depends on.
        input_name, output_name: the one input and the one output.
        shapes: value name -> shape for a batch of one, for the input and every node's output.
        dependent: names of the values that depend on the input.
        repairable: initialisers that a repair may change.
        batched: the first axis of every dependent value is the batch. Otherwise the graph describes one sample,
            and batches are mapped over it.
        quantised: constants that the file stores as integers for ``DequantizeLinear``. A runtime may multiply by these
            integers, and round what they are multiplied with to integers as well.
        label: the file gives the place of the greatest of the outputs, not them; empty where it gives them.
    """

    nodes: tuple[Node, ...]
    input_name: str
    output_name: str
    shapes: Mapping[str, tuple[int, ...]]
    dependent: frozenset[str]
    repairable: frozenset[str]
    batched: bool
    quantised: frozenset[str] = frozenset()
    label: Literal["", "first", "last"] = ""

    def last_reads(self) -> list[tuple[str, ...]]:
        """For each node the values that depend on the input and that no node behind it reads, the output left out."""
        last = {name: place for place, node in enumerate(self.nodes) for name in node.inputs if name in self.dependent}
        found: list[list[str]] = [[] for _ in self.nodes]
        for name, place in last.items():
            if name != self.output_name:
                found[place].append(name)
        return [tuple(names) for names in found]


def unused_name(name: str, taken: Container[str]) -> str:
    """The name, with so many underscores that nobody has it."""
    while name in taken:
        name += "_"
    return name
