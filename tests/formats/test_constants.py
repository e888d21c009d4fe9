"""What is computed while a file is read: integers, with which exporters compute shapes, and quantised weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from birdnn.errors import FormatError
from birdnn.formats.integers import INTEGERS
from birdnn.formats.onnx import network_from_onnx
from tests.formats.models import Array, model, node
from tests.formats.test_onnx_operators import ints, quantised


def test_integers_are_computed() -> None:
    """Against onnxruntime, each operator on integers or truth values that files compute shapes with."""
    a, b, yes = ints(7, -7, 5, 2**40), ints(2, 2, -3, 7), np.array([True, False, True, False])
    cases: list[tuple[str, list[Array], dict[str, Any]]] = [
        *((op, [a, b], {}) for op in ("Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
                                      "Min", "Mod", "Mul", "Sub")),
        ("Mod", [a, b], {"fmod": 1}),
        *((op, [a], {}) for op in ("Abs", "Neg", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Sign")),
        ("ReduceSum", [a.reshape(2, 2), ints(1)], {"keepdims": 0}),
        *((op, [yes, ~yes], {}) for op in ("And", "Or")),
        ("Not", [yes], {}),
        ("Where", [yes, a, b], {}),
        ("Range", [np.array(v) for v in (2, 11, 3)], {}),
        ("Range", [np.array(v) for v in (5, -3, -2)], {}),
        ("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(ints(7))}),
        ("Expand", [ints(3, 4), ints(2, 2)], {}),
        ("Tile", [ints(3, 4), ints(2)], {}),
        ("Gather", [a.reshape(2, 2), ints(1, 0, -1)], {"axis": 1}),
    ]  # fmt: skip
    assert {op for op, _, _ in cases} >= set(INTEGERS)
    for op, arrays, options in cases:
        names = [f"k{index}" for index in range(len(arrays))]
        made = [node(op, names, "k", **options), node("Cast", ["k"], "f", to=TensorProto.FLOAT)]
        made += [node("Flatten", ["f"], "g", axis=0), node("Concat", ["x", "g"], axis=1)]
        net = network_from_onnx(model(made, dict(zip(names, arrays, strict=True)), opset=13))
        assert len(net.nodes) in (1, 2), "computed while it was read"


def test_quotients_of_large_integers_are_whole() -> None:
    """Also of the least, whose absolute value its type does not hold; less what is due, since float32 shows no ones."""
    large = -(2**63)
    tensors = {"a": ints(large, large, 2**63 - 1, -7), "b": ints(3, -3, -2, 2)}
    tensors["due"] = ints(-(2**63 // 3), 2**63 // 3, -(2**62 - 1), -3)
    nodes = [node("Div", ["a", "b"], "q"), node("Sub", ["q", "due"], "d"), node("Cast", ["d"], "f", to=1)]
    net = network_from_onnx(model([*nodes, node("Add", ["x", "f"])], tensors))
    assert net.value("f").tolist() == [0, 0, 0, 0]


def test_integers_that_cannot_be_computed() -> None:
    cases: dict[str, tuple[str, list[Array]]] = {
        "divides by zero": ("Div", [ints(1, 2), ints(1, 0)]),
        "takes two inputs": ("Mod", [ints(1)]),
        "makes no sense, or is too large": ("ConstantOfShape", [ints(2**20, 2**20)]),
        "too large": ("Expand", [ints(1), ints(2**30)]),
        r"\[1099511627776\] makes no sense": ("Tile", [ints(1), ints(2**40)]),
        "too long": ("Range", [np.array(v) for v in (0, 2**40, 1)]),
        "cannot be computed": ("Equal", [ints(1, 2), ints(1, 2, 3)]),
        "its shape has 100000 axes": ("ConstantOfShape", [np.full(100_000, 2**62)]),
        "divides the least integer": ("Mod", [ints(-(2**63)), ints(-1)]),
        "attribute 'fmod' must be 0 or 1": ("Mod", [ints(3), ints(2)]),
    }
    for problem, (op, arrays) in cases.items():
        names = [f"k{index}" for index in range(len(arrays))]
        options = {"fmod": 2} if "fmod" in problem else {}
        made = [node(op, names, "k", **options), node("Reshape", ["x", "k"])]
        with pytest.raises(FormatError, match=problem):
            network_from_onnx(model(made, dict(zip(names, arrays, strict=True))))


def _filled(name: str, *sizes: int) -> list[onnx.NodeProto]:
    """A node that makes a constant of integers, and a constant of its sizes."""
    return [
        onnx.helper.make_node("Constant", [], [f"{name}_sizes"], value=numpy_helper.from_array(ints(*sizes))),
        node("ConstantOfShape", [f"{name}_sizes"], name, value=numpy_helper.from_array(ints(1))),
    ]


def test_a_small_file_takes_no_large_memory() -> None:
    """Each would take gigabytes, or forever; a limit on one operand or value alone lets them pass."""
    wide, empty = _filled("wide", 2, 2_000_000), _filled("empty", 0, 2**33)
    # the sums are zeros, which NumPy need not touch; the others it would
    cases: dict[str, list[onnx.NodeProto]] = {
        r"its shape \[1000, 2000000\]": [*wide, *_filled("at", 1000), node("Gather", ["wide", "at"], "k", axis=0)],
        r"its shape \[8589934592\]": [*empty, node("ReduceSum", ["empty", "first"], "k", keepdims=0)],
        "its repeats do not fit": [node("Tile", ["square", "counts"], "k")],
        "must be a list of at most 4096": [*_filled("k", 4_000_000)],
        "computed up to here have more than": [
            *(part for i in range(20) for part in _filled(f"k{i}", 4_000_000)),
            node("Concat", [f"k{i}" for i in range(20)], "k", axis=0),
        ],
    }
    tensors = {"first": ints(0), "square": ints(1).reshape(1, 1), "counts": ints(2**33, 0)}
    for problem, nodes in cases.items():
        with pytest.raises(FormatError, match=problem):
            network_from_onnx(model([*nodes, node("Reshape", ["x", "k"])], tensors))


def test_matrices_of_sums_are_few() -> None:
    """Each has four million numbers, and makes a value of two thousand."""
    names = ["x", *(f"s{i}" for i in range(20)), "y"]
    nodes = [node("CumSum", [a, "axis"], b) for a, b in pairwise(names)]
    with pytest.raises(FormatError, match="computed up to here have more than"):
        network_from_onnx(model(nodes, {"axis": np.array(1)}, (1, 2048)))


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([node("CastLike", ["huge", "x"], "k"), node("Add", ["x", "k"])], "'huge' holds numbers beyond the range"),
        ([node("HardSigmoid", ["x"], alpha=np.inf)], "'alpha' must be a finite number, not inf"),
        ([node("LeakyRelu", ["x"], alpha=np.inf)], "'alpha' must be a finite number, not inf"),
        ([node("Pad", ["x", "pads", "huge"])], "a constant that is not finite in float32"),
    ],
)
def test_infinity_enters_no_network(nodes: list[onnx.NodeProto], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        network_from_onnx(model(nodes, {"huge": np.array(1e300), "pads": ints(0, 1, 0, 0)}, opset=15))


def test_a_limit_that_is_infinite_is_none() -> None:
    net = network_from_onnx(model([node("Clip", ["x"], min=0.0, max=np.inf)], {}, opset=10))
    assert net(torch.tensor([[-1.0, 0.0, 1.0, 3e38]])).tolist() == [[0.0, 0.0, 1.0, float(np.float32(3e38))]]
    with pytest.raises(FormatError, match="leave infinity alone"):
        network_from_onnx(model([node("Clip", ["x"], min=np.inf, max=np.inf)], {}, opset=10))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_quantised_weights_are_what_onnxruntime_makes_of_them(kind: type[Any]) -> None:
    """Bit for bit: what is proved is said of these numbers."""
    for axis in (None, 0):
        data = quantised(kind, axis=axis)
        net = network_from_onnx(data)
        model_ = onnx.load_model_from_string(data)
        model_.graph.output.append(onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model_.SerializeToString(), providers=["CPUExecutionProvider"])
        theirs = session.run(["w"], {"x": np.zeros((1, 4), np.float32)})[0]
        assert np.array_equal(net.value("w").numpy(), theirs)
        assert not net.repairable & {"q", "s", "z", "w"}
