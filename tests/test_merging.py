"""What a runtime that merges constants may lose, against numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from birdnn.bounds.crown import CrownBound
from birdnn.bounds.interval import propagate
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_onnx
from birdnn.merging import Merging, mergings
from birdnn.network import Network
from tests.bounds.builders import all_open, half_space, question_of


def network(nodes: list[tuple[str, list[str], str]], constants: dict[str, Any], size: int = 2) -> Network:
    made = [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in nodes]
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("X", "Y")]
    graph = helper.make_graph(made, "merging", [ends[0]], [ends[1]], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return network_from_onnx(model.SerializeToString(), check=False)


def found(net: Network) -> dict[str, Merging]:
    return mergings(net.graph, net.values())


def test_a_segment_by_hand() -> None:
    """Gains multiply, each at least 1; what is lost grows with the roundings of a term, and with the nodes."""
    nodes = [("Mul", ["X", "s"], "a"), ("MatMul", ["a", "w"], "b"), ("Add", ["b", "c"], "z"), ("Relu", ["z"], "Y")]
    values = found(network(nodes, {"s": [[-4, 1]], "w": [[0.25, 3], [0.25, -2]], "c": [[1, -7]]}))
    assert [values[name].gain for name in "Xabz"] == [1, 4, 20, 160]
    assert [values[name].roundings for name in "Xabz"] == [0, 1, 3, 4]
    assert values["z"].lost == 2 * 5 * 5**2 * 160
    assert values["Y"] == values["X"] == Merging()


def test_two_ways_through_a_segment() -> None:
    """A sum of both has the larger gain twice; that of constants which nodes compute multiplies it."""
    nodes = [
        ("Mul", ["X", "s"], "a"), ("Add", ["a", "X"], "b"), ("Mul", ["s", "t"], "u"), ("Mul", ["b", "u"], "Y"),
    ]  # fmt: skip
    values = found(network(nodes, {"s": [[8.0, 1]], "t": [[0.5, 2]]}))
    assert values["b"].gain == 16
    assert values["u"].gain == 4
    assert values["Y"].gain == 16 * 4 * 4


def test_a_product_of_two_values_begins_a_segment() -> None:
    nodes = [("Mul", ["X", "s"], "a"), ("Mul", ["a", "X"], "b"), ("Mul", ["b", "s"], "Y")]
    values = found(network(nodes, {"s": [[8.0, 1]]}))
    assert [values[name].gain for name in "abY"] == [8, 1, 8]


def test_what_cannot_be_counted_is_infinite() -> None:
    """A divisor that may be flushed to zero."""
    values = found(network([("Div", ["X", "s"], "Y")], {"s": [[1e-40, 1]]}))
    assert math.isinf(values["Y"].gain)
    assert math.isinf(values["Y"].lost)


@pytest.mark.parametrize(("reach", "known"), [(1.0, True), (2.0**30, False)])
def test_where_what_is_merged_overflows_nothing_is_claimed(reach: float, known: bool) -> None:
    """``x * 2**-60 * 2**100`` may be computed as ``x * 2**100 * 2**-60``; only in a float32 execution."""
    nodes = [("Mul", ["X", "s"], "a"), ("Mul", ["a", "t"], "Y")]
    net = network(nodes, {"s": [[2.0**-60] * 2], "t": [[2.0**100] * 2]})
    x = torch.full((1, 2), reach, dtype=torch.float64)
    for semantics, finite in (("real", True), ("float32", known)):
        low, high = propagate(net, -x, x, semantics)  # type: ignore[arg-type]
        assert bool((low.isfinite() & high.isfinite()).all()) == finite


@pytest.mark.parametrize("pooled", [False, True])
def test_what_is_added_last_may_be_rounded_first(pooled: bool) -> None:
    """onnxruntime makes one Gemm of both: 2**24 is there before the products, and swallows each of them."""
    shape = (1, 1, 64, 64)
    nodes = [("Flatten", ["X"], "f"), ("MatMul", ["f", "w"], "z"), ("Add", ["z", "c"], "Y")]
    made = [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in nodes]
    if pooled:
        made[0].input[0] = "p"
        made.insert(0, helper.make_node("MaxPool", ["X"], ["p"], name="p", kernel_shape=[1, 1]))
    constants = {"w": np.ones((4096, 1), np.float32), "c": np.full((1, 1), 2.0**24, np.float32)}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("X", shape), ("Y", (1, 1)))]
    graph = helper.make_graph(made, "added", [ends[0]], [ends[1]], tensors)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    x = np.full(shape, np.float32(0.9) / 256, np.float32)
    run = float(onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"X": x})[0][0, 0])
    point = torch.from_numpy(x.reshape(1, -1)).double()
    low, high = propagate(network_from_onnx(data, check=False), point, point, "float32")
    assert float(low) <= run <= float(high)
    assert float(low) <= 2.0**24, "some sums lose all products"


def test_a_constant_that_joins_by_concatenation() -> None:
    """It is no part of what the segment reads, and what is merged meets it all the same."""
    nodes = [
        ("Concat", ["X", "c"], "h"),
        ("Mul", ["h", "s"], "a"),
        ("MatMul", ["a", "w"], "b"),
        ("Mul", ["b", "t"], "Y"),
    ]
    made = [helper.make_node(op, i, [o], name=o, **({"axis": 1} if op == "Concat" else {})) for op, i, o in nodes]
    constants = {"c": [[1e38]], "s": [[1e-23, 1e-23]], "w": [[1], [1]], "t": [[1e-23]]}
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("X", "Y")]
    graph = helper.make_graph(made, "joined", [ends[0]], [ends[1]], tensors)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    net = network_from_onnx(data, check=False)
    assert found(net)["h"].gain > 9e37
    point = torch.full((1, 1), 0.5, dtype=torch.float64)
    assert float(propagate(net, point, point, "float32")[0]) <= 0
    boxes, unsafe = Boxes(point, point), (half_space([1], 0),)  # 1e-23 * 1e-23 is zero
    bound = CrownBound(net, torch.device("cpu"), semantics="float32")
    lower = bound.bound(question_of(unsafe), boxes, all_open(boxes, unsafe), bound.root(1)).lower
    assert float(lower) <= 0
