"""ONNX files that end with ArgMax: what it reads is the network, see `birdnn.labels`."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from birdnn.formats.prepared import DEFAULT
from birdnn.graph import Taken

_BEHIND = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""What changes nothing of one number."""

_WIDE = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64})
"""Types that a label may be turned into."""


@dataclass(frozen=True, slots=True)
class Label:
    """The ArgMax that makes the one output of a graph.

    Attributes:
        values: the value that it reads.
        place: of the node, for errors.
        axis: along which it looks, as the file says it.
        taken: which of equal values it takes.
    """

    values: str
    place: str
    axis: int
    taken: Taken


def label_of(graph: onnx.GraphProto) -> Label | None:
    """The label that is all that a graph gives; None where it gives something else."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name) if len(graph.output) == 1 else None
    for _ in makers:  # a file may say that values are made of each other
        if node is None or not node.input or node.domain not in DEFAULT or not _keeps_number(node):
            break
        node = makers.get(node.input[0])
    if node is None or node.op_type != "ArgMax" or node.domain not in DEFAULT or len(node.input) != 1:
        return None
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    if not {numbers.get("select_last_index", 0), numbers.get("keepdims", 1)} <= {0, 1}:
        return None  # of other numbers runtimes take some for false
    taken: Taken = "last" if numbers.get("select_last_index") else "first"
    place = f"node {node.name or node.output[0]!r} (ArgMax)"
    return Label(node.input[0], place, int(numbers.get("axis", 0)), taken)


def _keeps_number(node: onnx.NodeProto) -> bool:
    """Does a node behind a label give the same number?"""
    kinds = [attribute.i for attribute in node.attribute if attribute.name == "to"]
    # a narrow type may make another number of a label: BOOL makes 1 of all but the first
    return node.op_type in _BEHIND or (node.op_type == "Cast" and bool(kinds) and kinds[0] in _WIDE)


def with_output(model: onnx.ModelProto, value: str) -> onnx.ModelProto:
    """The model with one output, the value of that name."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    # without a type, which the file need not say of a value within; `graph_ports` takes it for one that may be real
    made.graph.output.append(onnx.ValueInfoProto(name=value))
    return made
