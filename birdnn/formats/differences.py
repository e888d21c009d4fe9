"""What differs between two ONNX files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from birdnn.formats.files import NETWORK_BYTES, read_bytes
from birdnn.formats.onnx import parse_model
from birdnn.formats.tensors import embed_external
from birdnn.reading import guarded_reader
from birdnn.records import GraphChange, GraphNode


def graph_change(before: str | Path, after: str | Path) -> GraphChange:
    """Compare two files, plain or ``.gz``, with external data embedded.

    Nodes are known by the values that they make, initialisers by their names.

    Raises:
        FormatError: one of them cannot be read.
    """
    old, new = _read_model(before), _read_model(after)
    nodes_old, nodes_new = _nodes_by_outputs(old.graph.node), _nodes_by_outputs(new.graph.node)
    same = {
        key
        for key, node in nodes_old.items()
        if key in nodes_new and _message_bytes(node) == _message_bytes(nodes_new[key])
    }
    was, now = ({tensor.name: tensor for tensor in model.graph.initializer} for model in (old, new))
    both = [name for name in was if name in now]
    changed = tuple(name for name in both if _message_bytes(was[name]) != _message_bytes(now[name]))
    gone, come = _shapes_only_in(was, now), _shapes_only_in(now, was)
    return GraphChange(
        nodes_gone=tuple(_graph_node(node) for key, node in nodes_old.items() if key not in same),
        nodes_new=tuple(_graph_node(node) for key, node in nodes_new.items() if key not in same),
        nodes_kept=len(same),
        initialisers_gone=gone,
        initialisers_new=come,
        initialisers_changed=changed,
        initialisers_kept=len(both) - len(changed),
        rest_kept=_rest_of_model(old, gone) == _rest_of_model(new, come),
    )


@guarded_reader
def _read_model(path: str | Path) -> onnx.ModelProto:
    model = parse_model(read_bytes(path, NETWORK_BYTES), str(path))
    embed_external(model, path, NETWORK_BYTES)
    return model


def _message_bytes(message: onnx.NodeProto | onnx.TensorProto | onnx.ModelProto) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _nodes_by_outputs(nodes: Iterable[onnx.NodeProto]) -> dict[tuple[str, ...], onnx.NodeProto]:
    # not by names, which are optional and may stand twice
    return {tuple(node.output): node for node in nodes}


def _graph_node(node: onnx.NodeProto) -> GraphNode:
    """A node's name, or that of what it makes, as in a partition into blocks, with its operator."""
    return GraphNode(node.name or next((name for name in node.output if name), node.op_type), node.op_type)


def _shapes_only_in(
    mine: dict[str, onnx.TensorProto], other: dict[str, onnx.TensorProto]
) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.dims) for name, tensor in mine.items() if name not in other}


def _rest_of_model(model: onnx.ModelProto, apart: Iterable[str]) -> bytes:
    """The model without its nodes and initialisers, and without what it declares about those set `apart`."""
    rest = onnx.ModelProto.FromString(_message_bytes(model))
    del rest.graph.node[:]
    del rest.graph.initializer[:]
    # IR version 3 lists initialisers among the inputs, and they come and go with them
    for entries in (rest.graph.input, rest.graph.value_info):
        for place in reversed([i for i, entry in enumerate(entries) if entry.name in set(apart)]):
            del entries[place]
    return _message_bytes(rest)
