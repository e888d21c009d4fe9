"""Each operator and each way that opsets write it, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from birdnn.errors import FormatError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.graph import Lowering
from birdnn.formats.lowering import LOWER, READ, REWRITTEN
from birdnn.formats.onnx import network_from_onnx
from birdnn.operators import OPERATORS
from tests.formats.models import Array, model, node, run

RNG = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def conv(shape: tuple[int, ...], weight: tuple[int, ...], **options: Any) -> bytes:
    tensors = {"w": floats(*weight), "b": floats(weight[0])}
    return model([node("Conv", ["x", "w", "b"], **options)], tensors, shape)


def pool(op: str, shape: tuple[int, ...], opset: int = 13, **options: Any) -> bytes:
    return model([node(op, ["x"], **options)], {}, shape, opset=opset)


def simple(op: str, *tensors: Array, shape: tuple[int | str, ...] = (1, 4), opset: int = 13, **options: Any) -> bytes:
    named = {f"t{index}": tensor for index, tensor in enumerate(tensors)}
    return model([node(op, ["x", *named], **options)], named, shape, opset=opset)


def swapped(op: str, tensor: Array, shape: tuple[int, ...] = (1, 4), **options: Any) -> bytes:
    return model([node(op, ["t", "x"], **options)], {"t": tensor}, shape)


IMAGE = (1, 2, 7, 6)

CASES: Mapping[str, bytes] = {
    "add": simple("Add", floats(4)),
    "add-batch-1": simple("Add", floats(1, 4)),
    "add-higher-rank": simple("Add", floats(1, 1, 4)),
    "add-outer": simple("Add", floats(3, 1)),
    "sub": simple("Sub", floats(1, 4)),
    "sub-from": swapped("Sub", floats(1)),
    "mul": simple("Mul", floats(4)),
    "div": simple("Div", np.abs(floats(4)) + 1),
    "div-into": model([node("Sigmoid", ["x"], "s"), node("Div", ["t", "s"])], {"t": floats(4)}),
    "relu": simple("Relu"),
    "leaky-default": simple("LeakyRelu"),
    "leaky": simple("LeakyRelu", alpha=0.3),
    "elu-default": simple("Elu"),
    "elu": simple("Elu", alpha=0.4),
    "sigmoid": simple("Sigmoid"),
    "tanh": simple("Tanh"),
    "identity": simple("Identity"),
    "clip-6": simple("Clip", opset=10, min=-0.2, max=0.5),
    "clip-6-open": simple("Clip", opset=10, max=0.5),
    "clip-11": simple("Clip", np.float32(-0.2), np.float32(0.5)),
    "clip-11-max-only": model([node("Clip", ["x", "", "t"])], {"t": np.float32(0.1)}),
    "matmul": simple("MatMul", floats(4, 3)),
    "matmul-vector": simple("MatMul", floats(4)),
    "matmul-left": swapped("MatMul", floats(5, 4), (1, 4, 2)),
    "matmul-left-no-batch": swapped("MatMul", floats(5, 4), (4, 1)),
    "matmul-own": model([node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("MatMul", ["x", "t"])], {}, (1, 3, 2)),
    "gemm": simple("Gemm", floats(4, 3), floats(3)),
    "gemm-no-c": simple("Gemm", floats(4, 3)),
    "gemm-all": simple("Gemm", floats(3, 4), floats(1, 3), transB=1, alpha=0.5, beta=-2.0),
    "gemm-scalar-c": simple("Gemm", floats(4, 3), floats(1)),
    "gemm-trans-a": simple("Gemm", floats(4, 3), floats(3), shape=(4, 2), transA=1),
    "flatten": simple("Flatten", shape=IMAGE),
    "flatten-0": simple("Flatten", shape=IMAGE, axis=0),
    "flatten-2": simple("Flatten", shape=IMAGE, axis=2),
    "flatten-negative": simple("Flatten", shape=IMAGE, axis=-3),
    "reshape": simple("Reshape", ints(1, -1), shape=IMAGE),
    "reshape-all": simple("Reshape", ints(-1, 84), shape=IMAGE),
    "reshape-zero": simple("Reshape", ints(0, 14, -1), shape=IMAGE),
    "reshape-no-batch": simple("Reshape", ints(12, 7), shape=IMAGE),
    "reshape-symbolic": simple("Reshape", ints(0, -1), shape=("N", 2, 3)),
    "transpose": simple("Transpose", shape=IMAGE, perm=[0, 3, 1, 2]),
    "transpose-reverse": simple("Transpose", shape=IMAGE),
    "squeeze-11": simple("Squeeze", shape=(1, 1, 4), opset=11, axes=[1]),
    "squeeze-13": simple("Squeeze", ints(1), shape=(1, 1, 4)),
    "squeeze-all": simple("Squeeze", shape=(1, 1, 4)),
    "squeeze-negative": simple("Squeeze", ints(-1), shape=(1, 4, 1)),
    "unsqueeze-11": simple("Unsqueeze", opset=11, axes=[1, 3]),
    "unsqueeze-13": simple("Unsqueeze", ints(-1)),
    "unsqueeze-front": simple("Unsqueeze", ints(0)),
    "concat-constant": model([node("Concat", ["x", "t", "x"], axis=1)], {"t": floats(1, 3)}),
    "concat-last": model([node("Concat", ["x", "x"], axis=-1)], {}, (1, 2, 3)),
    "concat-batch": model([node("Concat", ["x", "t"], axis=0)], {"t": floats(1, 4)}),
    "slice-9": simple("Slice", shape=IMAGE, opset=9, starts=[1, -4], ends=[9, -1], axes=[2, 3]),
    "slice-10": simple("Slice", ints(0, 1), ints(2**62, 5), ints(1, 2), ints(1, 2), shape=IMAGE, opset=10),
    "slice-back": simple("Slice", ints(-1), ints(-(2**62)), ints(1), ints(-2), shape=(1, 5)),
    "slice-no-axes": simple("Slice", ints(0, 1), ints(1, 3)),
    "conv": conv(IMAGE, (3, 2, 3, 2)),
    "conv-all": conv(IMAGE, (4, 1, 3, 2), group=2, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
    "conv-1d": conv((1, 2, 9), (3, 2, 3), pads=[2, 1]),
    "conv-3d": conv((1, 1, 4, 5, 3), (2, 1, 2, 2, 2), strides=[1, 2, 1]),
    "conv-same-upper": conv(IMAGE, (3, 2, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv-same-lower": conv(IMAGE, (3, 2, 4, 3), auto_pad="SAME_LOWER", strides=[2, 1]),
    "conv-valid": conv(IMAGE, (3, 2, 4, 3), auto_pad="VALID"),
    "max-pool": pool("MaxPool", IMAGE, kernel_shape=[3, 2]),
    "max-pool-all": pool("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], dilations=[2, 1]),
    "max-pool-ceil": pool("MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "max-pool-same": pool("MaxPool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "max-pool-1d": pool("MaxPool", (1, 2, 9), kernel_shape=[3], strides=[2]),
    "average-pool": pool("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 1]),
    "average-pool-pads": pool("AveragePool", IMAGE, kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 2]),
    "average-pool-include": pool("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 2, 1], count_include_pad=1),
    "average-pool-ceil": pool("AveragePool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "average-pool-ceil-include": pool(
        "AveragePool",
        IMAGE,
        opset=19,
        kernel_shape=[3, 3],
        strides=[3, 3],
        pads=[1] * 4,
        ceil_mode=1,
        count_include_pad=1,
    ),
    "average-pool-same": pool("AveragePool", IMAGE, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    "average-pool-1d": pool("AveragePool", (1, 2, 9), kernel_shape=[3], strides=[2]),
    "global-average-pool": pool("GlobalAveragePool", IMAGE),
    "reduce-mean-17": pool("ReduceMean", IMAGE, axes=[2, 3]),
    "reduce-mean-17-flat": pool("ReduceMean", ("N", *IMAGE[1:]), opset=17, axes=[-1, -2], keepdims=0),
    "reduce-mean-18": simple("ReduceMean", ints(3, 2), shape=IMAGE, opset=18),
    "reduce-mean-18-flat": simple("ReduceMean", ints(-2, -1), shape=("N", *IMAGE[1:]), opset=18, keepdims=0),
    "reduce-mean-1d": simple("ReduceMean", ints(2), shape=(1, 2, 9), opset=18, keepdims=0),
    "reduce-mean-3d": simple("ReduceMean", ints(4, 2, -2), shape=(1, 2, 3, 4, 2), opset=18, keepdims=0),
    "dropout-7": simple("Dropout", opset=7, ratio=0.7),
    "dropout-12": simple("Dropout", np.float32(0.7), np.array(False), opset=12),
    "batch-normalization": simple(
        "BatchNormalization", floats(2), floats(2), floats(2), np.abs(floats(2)), shape=IMAGE, epsilon=0.1
    ),
    "batch-normalization-8": simple(
        "BatchNormalization", floats(4), floats(4), floats(4), np.abs(floats(4)), shape=(1, 4), opset=8
    ),
    "no-batch": model([node("MatMul", ["x", "t"], "m"), node("Relu", ["m"])], {"t": floats(4, 3)}, (4,)),
    "batch-of-two": model([node("MatMul", ["x", "t"])], {"t": floats(4, 3)}, (2, 4)),
    "symbolic-batch": simple("MatMul", floats(4, 3), shape=("N", 4)),
    "shape-arithmetic": model(
        [
            node("Shape", ["x"], "s"),
            node("Gather", ["s", "zero"], "n", axis=0),
            node("Unsqueeze", ["n", "axes"], "n1"),
            node("Concat", ["n1", "rest"], "target", axis=0),
            node("Reshape", ["x", "target"]),
        ],
        {"zero": np.array(0, np.int64), "axes": ints(0), "rest": ints(-1)},
        IMAGE,
    ),
    "cast-like": model(
        [node("CastLike", ["c", "x"], "like"), node("Mul", ["x", "like"])], {"c": np.array([3], np.int64)}, opset=15
    ),
    "shape-part": model(
        [
            node("Shape", ["x"], "n", start=-4, end=1),
            node("Shape", ["x"], "c", start=1, end=-2),
            node("Concat", ["n", "c", "rest"], "target", axis=0),
            node("Reshape", ["x", "target"]),
        ],
        {"rest": ints(-1)},
        IMAGE,
        opset=15,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnxruntime_does(name: str) -> None:
    """Fresh inputs, many at once: a wrong default, pad or axis would make every proof speak about another network."""
    data = CASES[name]
    net = network_from_onnx(data)  # compares on its own probes
    x = torch.from_numpy(RNG.normal(size=(5, net.n_inputs)).astype(np.float32))
    theirs = np.stack([run(data, row.reshape(net.input_shape)).ravel() for row in x.numpy()])
    assert np.allclose(net(x).detach().numpy(), theirs, rtol=1e-5, atol=1e-5)
    assert net(x.double()).dtype == torch.float64
    assert net(x[:0]).shape == (0, net.n_outputs)
    alone = torch.cat([net(row[None].double()) for row in x])
    assert torch.allclose(net(x.double()), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_every_network_can_be_written(name: str) -> None:
    """What is written says the same, in our reading and in onnxruntime's."""
    net = network_from_onnx(CASES[name])
    data = to_onnx_bytes(net)
    again = network_from_onnx(data)  # compares with onnxruntime
    x = torch.from_numpy(RNG.normal(size=(5, net.n_inputs)).astype(np.float32))
    assert torch.equal(net(x), again(x))
    assert again.input_shape == net.input_shape
    assert again.graph.batched == net.graph.batched


def test_the_tables_speak_about_the_same_operators() -> None:
    """An operator that one table lacks would end in a KeyError instead of a verdict or a clear refusal."""
    assert set(LOWER) < set(OPERATORS)
    covered = {step.op for data in CASES.values() for step in network_from_onnx(data, check=False).nodes}
    assert covered == set(OPERATORS)
    assert set(READ) == {*OPERATORS, *REWRITTEN, "Constant"}
    assert not set(REWRITTEN) & set(OPERATORS)


@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("LeakyRelu", lambda inputs, _: torch.nn.functional.leaky_relu(inputs[0], 0.011)),
        ("Elu", lambda inputs, _: torch.nn.functional.elu(inputs[0], 1.01)),
        ("Sub", lambda inputs, _: inputs[1] - inputs[0]),
        ("Tanh", lambda inputs, _: torch.tanh(inputs[0]) * 1.001),
    ],
)
def test_a_misread_operator_is_refused_on_load(
    op: str, wrong: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison with onnxruntime is what catches an operator that we get wrong."""
    data = next(data for data in CASES.values() if [n.op for n in network_from_onnx(data).nodes] == [op])
    monkeypatch.setitem(OPERATORS, op, replace(OPERATORS[op], forward=wrong))  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="onnxruntime differ"):
        network_from_onnx(data)


def test_a_mean_over_all_places_is_a_pooling() -> None:
    """So that whatever knows poolings knows it; both nodes bear the name that the file has."""
    flat = network_from_onnx(CASES["reduce-mean-18-flat"])
    assert [(node.op, node.name) for node in flat.nodes] == [
        ("GlobalAveragePool", "the_ReduceMean"),
        ("Flatten", "the_ReduceMean"),
    ]
    assert flat.graph.batched
    assert flat.output_shape == IMAGE[:2]
    assert [node.op for node in network_from_onnx(CASES["reduce-mean-17"]).nodes] == ["GlobalAveragePool"]


def test_a_name_that_a_rewritten_node_would_take() -> None:
    inner = "y__GlobalAveragePool"
    nodes = [node("ReduceMean", ["x"], "m", axes=[2, 3], keepdims=0), node("Add", ["m", "m__GlobalAveragePool"])]
    net = network_from_onnx(model(nodes, {"m__GlobalAveragePool": floats(2)}, IMAGE))
    assert [step.output for step in net.nodes] == ["m__GlobalAveragePool_", "m", "y"]
    late = [node("Relu", ["x"], "r"), node("ReduceMean", ["r"], axes=[2, 3], keepdims=0)]
    assert network_from_onnx(model(late, {}, IMAGE)).nodes[1].output == inner


@pytest.mark.parametrize(
    ("shape", "opset", "axes", "options"),
    [
        (IMAGE, 18, [1], {}),
        (IMAGE, 18, [2], {"keepdims": 0}),
        (IMAGE, 18, [1, 2, 3], {}),
        (IMAGE, 18, [0, 2, 3], {}),
        (IMAGE, 13, [3], {}),
        (IMAGE, 13, None, {}),
        (IMAGE, 18, None, {"noop_with_empty_axes": 1}),
        ((1, 4), 18, [1], {}),
    ],
)
def test_other_means_are_refused(
    shape: tuple[int, ...], opset: int, axes: list[int] | None, options: dict[str, int]
) -> None:
    if opset >= 18:
        data = simple("ReduceMean", *([] if axes is None else [ints(*axes)]), shape=shape, opset=opset, **options)
    else:
        data = pool("ReduceMean", shape, opset, **({} if axes is None else {"axes": axes}), **options)
    with pytest.raises(FormatError, match=r"'the_ReduceMean' \(ReduceMean\): the mean over axes .* is not supported"):
        network_from_onnx(data)


def test_what_dropout_and_means_must_not_be() -> None:
    with pytest.raises(FormatError, match="inference mode"):
        network_from_onnx(simple("Dropout", np.float32(0.7), np.array(True), opset=12))
    with pytest.raises(FormatError, match="axis 7 is outside"):
        network_from_onnx(simple("ReduceMean", ints(7), shape=IMAGE, opset=18))
    whole = [node("ReduceMean", ["k"], "m", axes=[0]), node("Reshape", ["x", "m"])]
    with pytest.raises(FormatError, match="integers"):
        network_from_onnx(model(whole, {"k": ints(1, 4)}))


def test_only_constants_are_cast() -> None:
    with pytest.raises(FormatError, match="on a constant and a floating-point value"):
        network_from_onnx(model([node("CastLike", ["x", "t"])], {"t": floats(4)}, opset=15))


def test_wrongly_batched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that mixes the samples of a batch must be evaluated sample by sample."""
    data = CASES["add-outer"]
    assert not network_from_onnx(data).graph.batched
    monkeypatch.setattr(Lowering, "batched", lambda self: tuple(self.nodes))
    with pytest.raises((FormatError, RuntimeError)):
        network_from_onnx(data)
