"""A network that did not come from a file, as the bytes of an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from birdnn.errors import UnsupportedOpError
from birdnn.graph import Node
from birdnn.network import Network

_IR, _OPSET = 9, 19  # the first opset whose average pooling knows dilations

_RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_WINDOW = ("kernel_shape", "strides", "pads", "dilations")
_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Add", "Div", "Identity", "MatMul", "Mul", "Relu", "Sigmoid", "Sub", "Tanh", *_RESHAPING), ()),
    "AveragePool": (*_WINDOW, "count_include_pad"),
    "BatchNormalization": ("epsilon",),
    "Clip": (),
    "Concat": ("axis",),
    "Conv": ("strides", "pads", "dilations", "group"),
    "Elu": ("alpha",),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "GlobalAveragePool": (),
    "LeakyRelu": ("alpha",),
    "MaxPool": _WINDOW,
    "Slice": (),
    "Transpose": ("perm",),
}


def to_onnx_bytes(net: Network) -> bytes:
    """An ONNX file with the operations, values and names of a network, for engines that read one.

    The input has the network's own shape, with a free batch where the graph has one.

    Raises:
        UnsupportedOpError: the network holds an operator that is not written.
    """
    initialisers = {name: value.detach().cpu().numpy() for name, value in net.initialisers().items()}
    tensors = [numpy_helper.from_array(value, name) for name, value in initialisers.items()]
    dtype = next((value.dtype for value in initialisers.values()), np.dtype(np.float32))
    nodes = []
    for name, value in net.values().items():
        if name not in initialisers:
            constant = numpy_helper.from_array(value.detach().cpu().numpy(), name)
            nodes.append(helper.make_node("Constant", [], [name], value=constant))
    names: set[str] = set()
    for node in net.nodes:
        if node.op not in _ATTRIBUTES:
            raise UnsupportedOpError(net.source, node.op, node.name, tuple(_ATTRIBUTES))
        extra = _as_inputs(node, dtype)
        tensors += [tensor for tensor in extra if tensor.name]
        nodes.append(
            helper.make_node(
                "Reshape" if node.op in _RESHAPING else node.op,
                [*node.inputs, *(tensor.name for tensor in extra)],
                [node.output],
                name=_unused(node.name, names),
                **onnx_attributes(node),
            )
        )
    infos = []
    for name, shape in ((net.input_name, net.input_shape), (net.output_name, net.output_shape)):
        sizes: list[int | str | None] = ["batch", *shape[1:]] if net.graph.batched else list(shape)
        infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), sizes))
    return model_bytes(helper.make_graph(nodes, "birdnn", infos[:1], infos[1:], tensors))


def _unused(name: str, taken: set[str]) -> str:
    """A name that no other node has: those that one node of a file became share theirs."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def model_bytes(graph: onnx.GraphProto) -> bytes:
    """The file of a graph of ours."""
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="birdnn")
    return bytes(model.SerializeToString())


def onnx_attributes(node: Node) -> dict[str, Any]:
    found = {key: _plain(node.attributes[key]) for key in _ATTRIBUTES[node.op]}
    if any(node.attributes.get("overshoot", ())):
        found["ceil_mode"] = 1
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _as_inputs(node: Node, dtype: np.dtype[Any]) -> list[TensorProto]:
    """What this opset takes as inputs and the lowered form as attributes; a tensor without name is left out."""

    def tensor(name: str, values: Sequence[int] | NDArray[np.int64]) -> TensorProto:
        return numpy_helper.from_array(np.array(values, np.int64), f"{node.output}__{name}")

    if node.op in _RESHAPING:
        return [tensor("shape", node.attributes["shape"])]
    if node.op == "Slice":
        axes, starts, stops, steps = np.array(node.attributes["slices"], np.int64).reshape(-1, 4).T
        # a stop before the first entry, -1 in Python's own numbering, would count from the end
        ends = np.where(stops < 0, np.iinfo(np.int64).min, stops)
        parts = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
        return [tensor(name, values) for name, values in parts.items()]
    if node.op == "Clip":
        limits = {f"{node.output}__{name}": float(node.attributes[name]) for name in ("min", "max")}
        return [
            TensorProto() if math.isinf(value) else numpy_helper.from_array(np.array(value, dtype), name)
            for name, value in limits.items()
        ]
    return []
