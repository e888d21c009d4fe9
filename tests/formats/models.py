"""ONNX files for tests, made with the package ``onnx`` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def model(
    nodes: Sequence[onnx.NodeProto],
    tensors: Mapping[str, Array],
    shape: Sequence[int | str] = (1, 4),
    *,
    opset: int = 13,
    ir: int = 8,
    dtype: type[np.floating[Any]] = np.float32,
    raw: bool = True,
) -> bytes:
    """A graph from ``x`` to ``y``; IR version 3 wants initialisers among the inputs."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", element, list(shape))]
    outputs = [helper.make_tensor_value_info("y", element, None)]
    made = []
    for name, value in tensors.items():
        array = np.asarray(value)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        if ir < 4:
            inputs.insert(0, helper.make_tensor_value_info(name, kind, array.shape))
        if raw:
            made.append(numpy_helper.from_array(array, name))
        else:
            made.append(helper.make_tensor(name, kind, array.shape, array.ravel().tolist()))
    graph = helper.make_graph(list(nodes), "g", inputs, outputs, made)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, producer_name="a test"
    ).SerializeToString()


def node(op: str, inputs: Sequence[str], output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node named after its operator."""
    return helper.make_node(
        op, list(inputs), [output], name=f"the_{op}" if output == "y" else f"the_{op}_{output}", **attributes
    )


def runner(data: bytes) -> Callable[[Array], Array]:
    """What onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[-1].name
    return lambda x: session.run(None, {name: x})[0]


def edited(data: bytes, change: Callable[[onnx.ModelProto], Any]) -> bytes:
    """The file with something changed in place."""
    proto = onnx.load_model_from_string(data)
    change(proto)
    return proto.SerializeToString()


def run(data: bytes, x: Array) -> Array:
    """What it computes of one input."""
    return runner(data)(x)


def dense(rng: np.random.Generator, *sizes: int, dtype: type[np.floating[Any]] = np.float32) -> dict[str, Array]:
    """Weights (in, out) ``W0``, biases ``B0``, ... for MatMul and Add."""
    made: dict[str, Array] = {}
    for index, (n_in, n_out) in enumerate(pairwise(sizes)):
        made[f"W{index}"] = (rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)).astype(dtype)
        made[f"B{index}"] = rng.normal(size=n_out).astype(dtype)
    return made


def perceptron(*, ir: int = 8, dtype: type[np.floating[Any]] = np.float32, raw: bool = True) -> bytes:
    """Sub (preprocessing), Flatten, MatMul, Add, Relu, MatMul, Add: what ACAS Xu files look like, with 4 inputs."""
    rng = np.random.default_rng(7)
    tensors = {"mean": rng.normal(size=(1, 1, 1, 4)).astype(dtype), **dense(rng, 4, 6, 3, dtype=dtype)}
    nodes = [
        node("Sub", ["x", "mean"], "centred"),
        node("Flatten", ["centred"], "flat", axis=1),
        node("MatMul", ["flat", "W0"], "m0"),
        node("Add", ["m0", "B0"], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "W1"], "m1"),
        node("Add", ["m1", "B1"], "y"),
    ]
    return model(nodes, tensors, (1, 1, 1, 4), ir=ir, dtype=dtype, raw=raw, opset=8 if ir == 3 else 13)
