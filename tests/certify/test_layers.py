"""The checker's ONNX reader: the same function as onnxruntime computes, an error that covers what it does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from birdnn.certify.check.exact import evaluate
from birdnn.certify.check.files import read_file
from birdnn.certify.check.layers import Fold, _absolute_constants, exact_array
from birdnn.certify.check.network import read_network
from birdnn.errors import FormatError
from tests.certify.cases import network

W = np.array([[1.5, -2.0, 0.3], [0.1, 0.7, -1.0]], dtype=np.float32)
B = np.array([0.25, -0.1], dtype=np.float32)


def build(
    path: Path, nodes: list[Any], constants: dict[str, Any], shape: tuple[int, ...] = (1, 3), opset: int = 13
) -> Path:
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("Y", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def node(op: str, *names: str, **attributes: Any) -> Any:
    return helper.make_node(op, list(names[:-1]), [names[-1]], **attributes)


F32 = np.float32
GRAPHS: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "matmul": ([node("MatMul", "X", "w", "z"), node("Add", "z", "b", "Y")], {"w": W.T, "b": B}, (1, 3)),
    "matmul from the left": (
        [node("MatMul", "w", "X", "z"), node("Add", "b", "z", "Y")],
        {"w": W, "b": B[:, None]},
        (3, 1),
    ),
    "gemm": ([node("Gemm", "X", "w", "b", "Y", transB=1)], {"w": W, "b": B}, (1, 3)),
    "preprocessing": (
        [
            node("Sub", "X", "m", "a"),
            node("Div", "a", "d", "c"),
            node("Flatten", "c", "f"),
            node("MatMul", "f", "w", "Y"),
        ],
        {"m": F32([0.1, 0.2, 0.3]), "d": F32([3.0, 7.0, -2.0]), "w": W.T},
        (1, 1, 1, 3),
    ),
    "constant minus": (
        [node("Sub", "m", "X", "a"), node("Mul", "s", "a", "Y")],
        {"m": F32([1, 2, 3]), "s": F32(0.3)},
        (1, 3),
    ),
    "reshaping": (
        [
            node("Reshape", "X", "r", "a"),
            node("Squeeze", "a", "q", "c"),
            node("Unsqueeze", "c", "q", "e"),
            node("Flatten", "e", "f", axis=-1),
            node("Relu", "f", "Y"),
        ],
        {"r": np.array([0, -1, 1]), "q": np.array([0])},
        (1, 3),
    ),
    "activations": (
        [
            node("MatMul", "X", "w", "z"),
            node("Relu", "z", "h"),
            node("Mul", "h", "s", "g"),
            node("LeakyRelu", "g", "i"),
            node("Clip", "i", "zero", "j"),
            node("Identity", "j", "k"),
            node("Tanh", "k", "t"),
            node("Elu", "t", "e", alpha=0.5),
            node("Sigmoid", "e", "Y"),
        ],
        {"w": W.T, "s": F32([-1, 2]), "zero": F32(0)},
        (1, 3),
    ),
}


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_it_is_the_function_that_runs(name: str, tmp_path: Path) -> None:
    """Exact values agree with onnxruntime's up to the error that is accounted for, which is no larger than needed."""
    nodes, constants, shape = GRAPHS[name]
    path = build(tmp_path / "n.onnx", nodes, constants, shape)
    chain, session = read_network(read_file(path)), onnxruntime.InferenceSession(str(path))
    draw = np.random.default_rng(1)
    for scale in (1.0, 1e3, 1e-3):
        x = (draw.normal(size=shape) * scale).astype(np.float32)
        y = session.run(None, {"X": x})[0].reshape(-1)
        exact = evaluate(chain, [Fraction(float(v)) for v in x.reshape(-1)])
        assert (chain.n_inputs, chain.n_outputs) == (x.size, y.size)
        if len(chain.layers) == 1:
            error = chain.layers[0].error_weight.dot(
                np.abs(np.array([Fraction(float(v)) for v in x.reshape(-1)], dtype=object))
            )
            error = error + chain.layers[0].error_bias
            assert all(abs(Fraction(float(v)) - e) <= bound for v, e, bound in zip(y, exact, error, strict=True))
            assert all(bound <= Fraction(1, 10**5) * int(max(1, scale)) for bound in error)
        assert np.allclose(y, [float(v) for v in exact], rtol=1e-5, atol=1e-6 * max(1, scale))


def test_errors_by_hand(tmp_path: Path) -> None:
    """Two terms and an addition are three roundings; a subtraction before makes four and enters by its constant."""
    nodes = [node("Sub", "X", "m", "a"), node("MatMul", "a", "w", "z"), node("Add", "z", "b", "Y")]
    path = build(tmp_path / "n.onnx", nodes, {"m": F32([2, 4]), "w": F32([[3], [-5]]), "b": F32([7])}, (1, 2))
    (layer,) = read_network(read_file(path)).layers
    gamma = 4 * Fraction(1, 2**24) / (1 - 4 * Fraction(1, 2**24))
    assert list(layer.weight[0]) == [3, -5]
    assert list(layer.bias) == [-6 + 20 + 7]
    tiny = Fraction(1, 2**126)
    gain = (1 + 4) * 8 * (1 + 7)
    merged = (3 + 1) * (4 + 1) ** 2 * gain * tiny
    assert list(layer.error_weight[0]) == [3 * gamma + merged, 5 * gamma + merged]
    flushed = 8 * (tiny + 3 * tiny + tiny) + 2 * 2 * tiny + 3 * tiny  # of the input, and of each operation
    assert list(layer.error_bias) == [gamma * (6 + 20 + 7) + 2 * flushed + merged]
    assert layer.peak == gain == 320 > 2 * (8 + 33 + flushed)


def test_errors_of_scaling_by_hand(tmp_path: Path) -> None:
    """A division counts twice, a product once; what underflow adds grows with what it is multiplied by."""
    nodes = [node("Div", "X", "d", "a"), node("Mul", "a", "s", "Y")]
    path = build(tmp_path / "n.onnx", nodes, {"d": F32([0.25]), "s": F32([-3])}, (1, 1))
    (layer,) = read_network(read_file(path)).layers
    gamma, tiny = 3 * Fraction(1, 2**24) / (1 - 3 * Fraction(1, 2**24)), Fraction(1, 2**126)
    merged = (2 + 1) * (3 + 1) ** 2 * 4 * 3 * tiny
    assert (layer.weight[0, 0], layer.error_weight[0, 0]) == (-12, 12 * gamma + merged)
    assert layer.error_bias[0] == 2 * (3 * (4 * (tiny + tiny) + 2 * tiny + tiny) + 2 * tiny) + merged
    assert layer.peak == 2 * (12 + 3 * (4 * (tiny + tiny) + 2 * tiny) + 2 * tiny + 3 * tiny)


def test_the_largest_row_and_the_largest_factor_count(tmp_path: Path) -> None:
    """Merging adds to no entry that is zero; where the gain is small, sums decide the peak."""
    nodes = [node("Mul", "X", "s", "a"), node("MatMul", "a", "w", "Y")]
    constants = {"s": F32([2, 9]), "w": F32([[1, 0], [4, 3]])}
    (layer,) = read_network(read_file(build(tmp_path / "n.onnx", nodes, constants, (1, 2)))).layers
    gamma, tiny = 3 * Fraction(1, 2**24) / (1 - 3 * Fraction(1, 2**24)), Fraction(1, 2**126)
    merged = (2 + 1) * (3 + 1) ** 2 * 9 * 5 * tiny
    assert layer.error_weight.tolist() == [[2 * gamma + merged, 36 * gamma + merged], [0, 27 * gamma + merged]]
    nodes = [node("Add", "X", "b", "Y")]
    (layer,) = read_network(read_file(build(tmp_path / "m.onnx", nodes, {"b": F32([10, -3])}, (1, 2)))).layers
    assert layer.peak == 2 * (1 + 10 + 4 * tiny)


def test_a_subnormal_weight_may_be_flushed(tmp_path: Path) -> None:
    """Then all of it is the error."""
    small = F32(2.0**-130)
    path = build(tmp_path / "n.onnx", [node("MatMul", "X", "w", "Y")], {"w": np.full((1, 1), small)}, (1, 1))
    (layer,) = read_network(read_file(path)).layers
    assert layer.error_weight[0, 0] >= Fraction(1, 2**126) > layer.weight[0, 0] == Fraction(1, 2**130)


@pytest.mark.parametrize(("value", "counts"), [(2.0**-130, 2.0**-102), (2.0**-126, 2.0**-126), (0.0, 0.0), (-3.0, 3.0)])
def test_what_a_constant_counts(value: float, counts: float) -> None:
    """Only what is subnormal counts for more than it is."""
    assert _absolute_constants(exact_array([value]))[0] == Fraction(counts)


def test_a_long_sum_has_a_bound_of_its_own() -> None:
    """Gamma needs fewer roundings than a quarter of what single precision tells apart."""
    fold = Fold(1)
    fold.roundings = (1 << 22) - 1
    assert fold.layer(None).error_weight[0, 0] < Fraction(1, 2)
    fold.roundings = 1 << 22
    assert fold.layer(None).error_weight[0, 0] >= 1 << 126


def test_what_ends_in_relu(tmp_path: Path) -> None:
    """One affine map alone does not; nor does one behind another activation."""
    for sizes, activation, ends in (([2, 2], "Relu", False), ([2, 3, 1], "Relu", True), ([2, 3, 1], "Tanh", False)):
        net = network(tmp_path / "n.onnx", sizes, activation)
        assert read_network(read_file(net)).ends_in_relu == ends


REFUSED: dict[str, tuple[list[Any], dict[str, Any], tuple[int, ...]]] = {
    "does not read operator 'Cos'": ([node("Cos", "X", "Y")], {}, (1, 3)),
    "alpha and beta": ([node("Gemm", "X", "w", "Y", transB=1, alpha=2.0)], {"w": W}, (1, 3)),
    "no chain": ([node("Relu", "X", "a"), node("Add", "a", "X", "Y")], {}, (1, 3)),
    "input 1 must be a constant": ([node("Add", "X", "X", "Y")], {}, (1, 3)),
    "do not fit": ([node("MatMul", "X", "w", "Y")], {"w": W}, (1, 3)),
    "division by": ([node("Div", "X", "d", "Y")], {"d": F32([1, 0, 1])}, (1, 3)),
    "NaN": ([node("Add", "X", "d", "Y")], {"d": F32([1, np.nan, 1])}, (1, 3)),
    "Clip of float32 from 0 to infinity": ([node("Clip", "X", "d", "Y")], {"d": F32(-1)}, (1, 3)),
    "alpha 2": ([node("Elu", "X", "Y", alpha=2.0)], {}, (1, 3)),
    "an operand of shape": ([node("Add", "X", "d", "Y")], {"d": F32([[1], [1]])}, (1, 3)),
    "target shape": ([node("Reshape", "X", "r", "Y")], {"r": np.array([2, 2])}, (1, 3)),
    "float32, float64 and int64": ([node("Add", "X", "d", "Y")], {"d": np.float16([1, 1, 1])}, (1, 3)),
}


@pytest.mark.parametrize("reason", sorted(REFUSED))
def test_what_it_does_not_know_is_refused(reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read_network(read_file(build(tmp_path / "n.onnx", *REFUSED[reason])))
    assert reason in str(caught.value) or "no chain" in str(caught.value)
