"""An ONNX file with some nodes replaced: everything else keeps its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import helper, numpy_helper
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.export import onnx_attributes
from birdnn.formats.files import NETWORK_BYTES, read_bytes
from birdnn.formats.onnx import parse_model, serialise_model
from birdnn.formats.tensors import embed_external, lift_constants, put_tensor, read_tensor
from birdnn.graph import Node

Replacements = Mapping[str, tuple[tuple[Node, ...], Mapping[str, Tensor]]]
"""Value of a node -> the nodes that make it instead, the last under its name, and their initialisers."""

_DEFAULTS = {"dilations": 1, "group": 1}
"""Left out where they say nothing: older operator sets do not know all of them."""


def bytes_with_nodes(original: str | Path, values: Mapping[str, Tensor], replaced: Replacements) -> bytes:
    """The file `original`, uncompressed, with other initialiser values and some nodes replaced.

    Nodes that stay keep their place and their bytes, as do initialisers; new nodes stand where the old one stood. An
    initialiser that nobody reads any more goes. External data is embedded.

    Args:
        original: an ONNX file, plain or ``.gz``.
        values: initialiser -> values; those that do not differ leave the bytes alone.
        replaced: see there.

    Raises:
        FormatError: `original` cannot be read.
        MismatchError: it has no such initialiser or node, or already a value of a new one's name; not finite values.
    """
    model = parse_model(read_bytes(original, NETWORK_BYTES), str(original))
    embed_external(model, original, NETWORK_BYTES)
    # also what an old node reads: its numbers may lie in Constant nodes, and their data type is that of the new ones
    olds = (node for node in model.graph.node if replaced.keys() & set(node.output))
    lift_constants(model, {*values, *(name for node in olds for name in node.input)})
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in values.items():
        if name not in tensors:
            raise MismatchError(f"{original} has no initialiser {name!r}")
        read_tensor(tensors[name], str(original))
        put_tensor(tensors[name], value.detach().cpu().numpy())
    for output, (nodes, made) in replaced.items():
        _replace_node(model.graph, output, nodes, made, str(original))
    return serialise_model(model, str(original))


def _replace_node(
    graph: onnx.GraphProto, output: str, nodes: tuple[Node, ...], tensors: Mapping[str, Tensor], path: str
) -> None:
    """Put nodes in the place of the one that makes ``output``."""
    place = next((i for i, node in enumerate(graph.node) if output in node.output), None)
    if place is None:
        raise MismatchError(f"{path} has no node that makes {output!r}")
    old = graph.node[place]
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - {output}
    for name in (*tensors, *(node.output for node in nodes[:-1])):
        if name in taken:
            raise MismatchError(f"{path} has a value {name!r} already, which a new one would be called")
    # the first input is the value that comes in
    orphans = [name for name in old.input[1:] if name]
    after = [_node_proto(node, old.name if node is nodes[-1] else f"{old.name}__{i}") for i, node in enumerate(nodes)]
    # copies: what is deleted from a protobuf list is gone with it
    later = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node[place + 1 :]]
    del graph.node[place:]
    graph.node.extend([*after, *later])
    dtype = next(t.data_type for t in graph.initializer if t.name in orphans)
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    # another node, or an output, may read a weight of the old one as well
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    declared = {value.name for value in graph.input}
    for name in orphans:
        if name not in read:
            _remove_initialiser(graph, name)
    for name, value in tensors.items():
        tensor = numpy_helper.from_array(value.detach().cpu().numpy().astype(kind), name)
        graph.initializer.append(tensor)
        if declared.intersection(orphans):  # IR version 3 lists every initialiser among the inputs
            graph.input.append(helper.make_tensor_value_info(name, dtype, list(tensor.dims)))


def _remove_initialiser(graph: onnx.GraphProto, name: str) -> None:
    for entries in (graph.initializer, graph.input, graph.value_info):
        for place in reversed([i for i, entry in enumerate(entries) if entry.name == name]):
            del entries[place]


def _node_proto(node: Node, name: str) -> onnx.NodeProto:
    """A node as the file has it."""
    attributes = {key: value for key, value in onnx_attributes(node).items() if not _says_nothing(key, value)}
    return helper.make_node(node.op, list(node.inputs), [node.output], name=name, **attributes)


def _says_nothing(key: str, value: int | list[int]) -> bool:
    values = value if isinstance(value, list) else [value]
    return key in _DEFAULTS and all(entry == _DEFAULTS[key] for entry in values)
