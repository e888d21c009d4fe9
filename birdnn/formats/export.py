"""A network that did not come from a file, as the bytes of an ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from birdnn.graph import Node, unused_name
from birdnn.network import Network
from birdnn.operators import operator

_IR, _OPSET = 9, 20  # the first opset that has Gelu


def to_onnx_bytes(net: Network) -> bytes:
    """An ONNX file with the operations, values and names of a network, for engines that read one.

    The input has the network's own shape, with a free batch where the graph has one.

    Raises:
        UnsupportedOpError: the network holds an operator that is not in the table.
    """
    initialisers = net.initialisers()
    values = {name: value.detach().cpu().numpy() for name, value in net.values().items()}
    # a network computes in one type, which any of its numbers has
    dtype = next((value.dtype for value in values.values()), np.dtype(np.float32))
    tensors = [numpy_helper.from_array(values[name], name) for name in initialisers]
    # constants stay nodes, so that the same initialisers are read back
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
        for name, value in values.items()
        if name not in initialisers
    ]
    names: set[str] = set()
    for node in net.nodes:
        extra = _as_inputs(node, dtype)
        # nodes that one node of a file became share their name
        name = unused_name(node.name, names)
        names.add(name)
        tensors += [tensor for tensor in extra if tensor.name]
        nodes.append(
            helper.make_node(
                operator(node.op, node.name).written or node.op,
                [*node.inputs, *(tensor.name for tensor in extra)],
                [node.output],
                name=name,
                **onnx_attributes(node),
            )
        )
    infos = []
    for name, shape in ((net.input_name, net.input_shape), (net.output_name, net.output_shape)):
        # a fixed first axis where samples cannot be told apart along it
        sizes: list[int | str | None] = ["batch", *shape[1:]] if net.graph.batched else list(shape)
        infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), sizes))
    return model_bytes(helper.make_graph(nodes, "birdnn", infos[:1], infos[1:], tensors))


def model_bytes(graph: onnx.GraphProto) -> bytes:
    """The file of a graph of ours."""
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="birdnn")
    return bytes(model.SerializeToString())


def onnx_attributes(node: Node) -> dict[str, Any]:
    """The attributes of a node as ONNX writes them; what it takes as inputs is not among them."""
    row = operator(node.op, node.name)
    found = {key: _plain_attribute(node.attributes[key]) for key in (*row.attributes, *row.numbers)}
    # pads are written out, so that rounding up gives the same overshoot again
    if any(node.attributes.get("overshoot", ())):
        found["ceil_mode"] = 1
    return found


def _plain_attribute(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _as_inputs(node: Node, dtype: np.dtype[Any]) -> list[TensorProto]:
    """What this opset takes as inputs and the lowered form as attributes; a tensor without name is left out."""
    row = operator(node.op, node.name)
    given = row.as_inputs(node.attributes) if row.as_inputs is not None else {}
    return [
        TensorProto()
        if value is None
        else numpy_helper.from_array(
            value if isinstance(value, np.ndarray) else np.array(value, dtype), f"{node.output}__{name}"
        )
        for name, value in given.items()
    ]
