"""An ONNX model as others write it, brought into the form that is lowered node by node.

Local functions are inlined, nodes sorted as they read each other, what no output needs is left out, and the one
operator of `ai.onnx.ml` that pipelines of scikit-learn begin with becomes two of ONNX itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from birdnn.errors import FormatError, UnsupportedOpError
from birdnn.formats.rewriting import READ
from birdnn.formats.tensors import read_attributes
from birdnn.graph import unused_name

# 7 is the first whose operators broadcast as NumPy does
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
"""Versions of the operator set that are read."""

DEFAULT = ("", "ai.onnx")
"""The two names of ONNX's own domain."""

_ML = "ai.onnx.ml"
_NO_NUMBERS = frozenset(
    getattr(TensorProto, name)
    for name in ("BOOL", "STRING", *(f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)))
)
"""Data types of outputs that are left out: labels, indices, masks."""
_MORE_OUTPUTS = frozenset({"Dropout", "LayerNormalization", "MaxPool"})
"""Operators whose first output does not depend on which of the others there are; that of BatchNormalization does."""
_MAX_NODES = 1 << 17  # calls of calls multiply: a small file may stand for more nodes than memory holds


def opset_version(model: onnx.ModelProto, path: str) -> int:
    """The version of ONNX's own operators; of several that are listed onnxruntime takes the last, and so do we.

    Raises:
        FormatError: none is listed, or one that we do not read.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in DEFAULT]
    if not versions or versions[-1] not in OPSETS:
        raise FormatError(path, "opset_import", f"opset {versions} is not one of {OPSETS.start} to {OPSETS.stop - 1}")
    return int(versions[-1])


def inline_functions(model: onnx.ModelProto, path: str) -> onnx.ModelProto:
    """The model without local functions: their nodes stand where they were called. Initialisers keep their names.

    Raises:
        FormatError: a function calls itself, or all calls together make more nodes than `_MAX_NODES`.
    """
    if not model.functions:
        return model
    calls = {(f.domain, f.name, f.overload): list(_nested_nodes(f.node)) for f in model.functions}
    if own := [name for domain, name, _ in calls if domain in DEFAULT]:
        raise FormatError(path, f"function {own[0]!r}", "is named like an operator of ONNX, and runtimes take either")
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], above: tuple[tuple[str, str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in above:
                raise FormatError(path, f"function {node.op_type!r}", "calls itself")
            # counted once and not at each call, of which there may be exponentially many
            if key in calls and key not in sizes:
                sizes[key] = size(calls[key], (*above, key))
            total += sizes.get(key, 1)
        return total

    if size(_nested_nodes(model.graph.node), ()) > _MAX_NODES:
        raise FormatError(path, "", f"its local functions make more than {_MAX_NODES:,} nodes")
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # noqa: BLE001 - what its C++ raises shares no base class
        told = str(error).strip().partition("\n")[0]
        raise FormatError(path, "", f"its local functions cannot be inlined: {told}") from None


def _nested_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those in graphs that are attributes of theirs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nested_nodes(graph.node)


@dataclass(frozen=True, slots=True)
class Ports:
    """What a network reads and gives, in the order of the file.

    Attributes:
        inputs: those that are no initialisers.
        outputs: names of those that hold floating-point numbers, as far as the file says.
        left_out: names of the others, which no property can speak about: the labels of a classifier.
    """

    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[str, ...]
    left_out: tuple[str, ...]


def graph_ports(graph: onnx.GraphProto, path: str) -> Ports:
    """The inputs and outputs of a graph.

    Raises:
        FormatError: there are none, or one stands twice.
    """
    initialisers = {tensor.name for tensor in graph.initializer}
    # an input with an initialiser is a constant here: IR version 3 lists all of them, and later ones let callers give
    # others
    inputs = tuple(value for value in graph.input if value.name not in initialisers)
    real = [value for value in graph.output if _may_be_real(value)]
    left_out = tuple(value.name for value in graph.output if not _may_be_real(value))
    if not inputs:
        raise FormatError(path, "", "a network with an input is expected; all that this one lists are initialisers")
    if not real:
        sets = any(value.type.WhichOneof("value") not in ("tensor_type", None) for value in graph.output)
        advice = "; export a classifier of scikit-learn with options={'zipmap': False}" if sets else ""
        raise FormatError(path, "", f"no output is a tensor of floating-point numbers{advice}")
    for kind, values in (("input", inputs), ("output", tuple(graph.output))):
        twice = [name for name, count in Counter(value.name for value in values).items() if count > 1]
        if twice:
            raise FormatError(path, f"{kind} {twice[0]!r}", "is listed twice")
    return Ports(inputs, tuple(value.name for value in real), left_out)


def _may_be_real(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    # a value without a type may be one; what it is shows when nodes are lowered
    return kind is None or (kind == "tensor_type" and value.type.tensor_type.elem_type not in _NO_NUMBERS)


def needed_nodes(graph: onnx.GraphProto, outputs: Sequence[str], path: str) -> list[onnx.NodeProto]:
    """The nodes that outputs need, each behind those that it reads, otherwise in the order of the file.

    The standard wants files sorted; onnxruntime, as we do, sorts them.

    Raises:
        FormatError: nodes read each other in a circle.
        UnsupportedOpError: one is of a domain that we do not read.
    """
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    nodes = [part for node in graph.node for part in _expand_scaler(node, taken, path)]
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    wanted, reached = list(outputs), set[int]()
    # no recursion: Python's ends after a thousand nodes in a row
    while wanted:
        place = makers.get(wanted.pop())
        if place is not None and place not in reached:
            reached.add(place)
            wanted += nodes[place].input
    # asked of these alone: a dead branch may hold any operator
    for place in sorted(reached):
        if nodes[place].domain not in DEFAULT:
            raise UnsupportedOpError(path, f"{nodes[place].domain}.{nodes[place].op_type}", nodes[place].name, READ)
    read = {*outputs, *(name for place in reached for name in nodes[place].input)}
    return [_drop_unread_outputs(nodes[place], read) for place in _sort_nodes(nodes, makers, reached, path)]


def _drop_unread_outputs(node: onnx.NodeProto, read: Container[str]) -> onnx.NodeProto:
    """A node without further outputs that nobody reads: the mask of a dropout, the places of maxima."""
    if node.op_type not in _MORE_OUTPUTS or len(node.output) < 2:
        return node
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    # from the end only, since outputs are known by their places
    while len(bare.output) > 1 and bare.output[-1] not in read:
        del bare.output[-1]
    return bare


def _sort_nodes(nodes: list[onnx.NodeProto], makers: Mapping[str, int], reached: set[int], path: str) -> list[int]:
    # sets: who reads two outputs of one node waits for it once
    reads = {place: {makers[name] for name in nodes[place].input if name in makers} for place in reached}
    readers: dict[int, list[int]] = {place: [] for place in reached}
    for place, sources in reads.items():
        for source in sources:
            readers[source].append(place)
    open_, found = {place: len(sources) for place, sources in reads.items()}, list[int]()
    ready = [place for place, count in open_.items() if not count]
    # of the nodes whose inputs are made the first one in the file, so that a sorted file stays as it is
    heapify(ready)
    while ready:
        place = heappop(ready)
        found.append(place)
        for reader in readers[place]:
            open_[reader] -= 1
            if not open_[reader]:
                heappush(ready, reader)
    if len(found) < len(reached):
        node = nodes[min(reached.difference(found))]
        named = node.name or next(iter(node.output), node.op_type)
        raise FormatError(path, f"node {named!r} ({node.op_type})", "its value depends on itself: nodes form a circle")
    return found


def _expand_scaler(node: onnx.NodeProto, taken: Container[str], path: str) -> list[onnx.NodeProto]:
    """A node as nodes of ONNX's own operators; one that cannot be said so is left as it is."""
    if node.domain != _ML or node.op_type != "Scaler":
        return [node]
    place = f"node {node.name or ''.join(node.output)!r} (Scaler)"
    attributes = read_attributes(node, path, place)
    numbers = [attributes.get(key) for key in ("offset", "scale")]
    sizes = {len(value) if isinstance(value, list) else 0 for value in numbers}
    if len(sizes) > 1 or 0 in sizes or len(node.input) != 1 or len(node.output) != 1:
        raise FormatError(path, place, "offset and scale, as many numbers of each, are expected, and one input")
    x, y = node.input[0], node.output[0]
    offset, scale, less = (unused_name(f"{y}__{part}", taken) for part in ("offset", "scale", "less"))
    return [
        *(
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.float32)))
            for name, value in zip((offset, scale), numbers, strict=True)
        ),
        helper.make_node("Sub", [x, offset], [less], name=node.name),
        helper.make_node("Mul", [less, scale], [y], name=node.name),
    ]
