"""What is computed while a file is read: integers, with which exporters compute shapes, and quantised weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
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


def test_integers_that_cannot_be_computed() -> None:
    cases: dict[str, tuple[str, list[Array]]] = {
        "divides by zero": ("Div", [ints(1, 2), ints(1, 0)]),
        "takes two inputs": ("Mod", [ints(1)]),
        "makes no sense, or is too large": ("ConstantOfShape", [ints(2**20, 2**20)]),
        "too large": ("Expand", [ints(1), ints(2**30)]),
        "would be too large": ("Tile", [ints(1), ints(2**40)]),
        "too long": ("Range", [np.array(v) for v in (0, 2**40, 1)]),
        "cannot be computed": ("Equal", [ints(1, 2), ints(1, 2, 3)]),
    }
    for problem, (op, arrays) in cases.items():
        names = [f"k{index}" for index in range(len(arrays))]
        made = [node(op, names, "k"), node("Reshape", ["x", "k"])]
        with pytest.raises(FormatError, match=problem):
            network_from_onnx(model(made, dict(zip(names, arrays, strict=True))))


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
