"""Each operator and each way that opsets write it, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from birdnn.errors import FormatError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.graph import Lowering
from birdnn.formats.lowering import LOWER
from birdnn.formats.onnx import network_from_onnx
from birdnn.formats.rewriting import READ, REWRITTEN
from birdnn.operators import OPERATORS
from tests.formats.map_cases import MAPS
from tests.formats.models import Array, model, node, runner

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


def split(
    *outputs: str,
    tensors: Mapping[str, Array] | None = None,
    opset: int = 13,
    shape: tuple[int, ...] = (1, 6, 4),
    **options: Any,
) -> bytes:
    """The parts of an axis, joined in another order."""
    inputs = ["x", *(tensors or {})]
    made = onnx.helper.make_node("Split", inputs, list(outputs), name="the_Split", **options)
    axis = options.get("axis", 0)
    joined = node("Concat", [name for name in reversed(outputs) if name], axis=axis)
    return model([made, joined], tensors or {}, shape, opset=opset)


def reduction(op: str, opset: int, axes: tuple[int, ...] | None, shape: tuple[int | str, ...], **options: Any) -> bytes:
    """Axes as an attribute or an input, as the opset wants them."""
    if opset < (13 if op == "ReduceSum" else 18):
        return model([node(op, ["x"], **({} if axes is None else {"axes": axes}), **options)], {}, shape, opset=opset)
    return simple(op, *([] if axes is None else [ints(*axes)]), shape=shape, opset=opset, **options)


def padded(
    opset: int, pads: tuple[int, ...], *more: Array, shape: tuple[int | str, ...] = (1, 2, 3, 4), **options: Any
) -> bytes:
    if opset < 11:
        return model([node("Pad", ["x"], pads=pads, **options)], {}, shape, opset=opset)
    return simple("Pad", ints(*pads), *more, shape=shape, opset=opset, **options)


def quantised(kind: type[Any], *, axis: int | None = None, op: str = "Gemm") -> bytes:
    """A weight of integers, (out, in), with one scale or one for each row; the same at each call.

    Of one in fifty what onnxruntime quantises beside it makes no difference that is seen.
    """
    rng = np.random.default_rng(3)
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind != np.int32 else (-(2**30), 2**30)
    shape = (3, 4) if op == "Gemm" else (4, 3)
    weight = rng.integers(low, high, shape, endpoint=True).astype(kind)
    scale = (np.abs(rng.normal(size=1 if axis is None else 3).astype(np.float32)) / np.float32(high)).reshape(
        () if axis is None else 3
    )
    zero = np.zeros(scale.shape, kind) if kind == np.int32 else rng.integers(low, high, scale.shape).astype(kind)
    options = {"transB": 1} if op == "Gemm" else {}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=axis or 0), node(op, ["x", "w"], **options)]
    return model(nodes, {"q": weight, "s": scale, "z": np.array(zero)}, opset=13)


MASK = np.array([[True, False, True, True]])

REWRITES: Mapping[str, bytes] = {
    "neg": simple("Neg"),
    "abs": simple("Abs"),
    "sum-3": model([node("Sum", ["x", "t", "x"])], {"t": floats(4)}),
    "sum-1": simple("Sum"),
    "max-zero": simple("Max", np.float32(0)),
    "max-zero-first": swapped("Max", np.zeros(1, np.float32)),
    "max-number": simple("Max", np.full((1, 1), 0.3, np.float32)),
    "max-row": simple("Max", floats(4)),
    "max-wider": simple("Max", floats(1, 1, 1)),
    "max-3": model([node("Tanh", ["x"], "h"), node("Max", ["x", "t", "h"])], {"t": np.float32(0.1)}),
    "min-zero": simple("Min", np.float32(0)),
    "min-number": simple("Min", np.float32(-0.4)),
    "min-two": model([node("Tanh", ["x"], "h"), node("Min", ["h", "x"])], {}),
    "prelu-number": simple("PRelu", np.full(4, 0.2, np.float32)),
    "prelu-row": simple("PRelu", floats(4)),
    "prelu-channels": simple("PRelu", floats(2, 1, 1), shape=("N", *IMAGE[1:])),
    "hard-sigmoid": simple("HardSigmoid"),
    "hard-sigmoid-own": simple("HardSigmoid", alpha=0.5, beta=0.1),
    "selu": simple("Selu"),
    "selu-own": simple("Selu", alpha=1.1, gamma=0.7),
    "pad-7": padded(7, (0, 1, 0, 2, 0, 0, 3, 0)),
    "pad-10-value": padded(10, (0, 0, 1, 1, 0, 0, 1, 1), value=-0.7),
    "pad-11": padded(11, (0, 1, 2, 0, 0, 0, 1, 2), np.float32(1.5), shape=("N", 2, 3, 4)),
    "pad-negative": padded(13, (0, 1, -1, 0, 0, 0, 1, -2)),
    "pad-reflect": padded(13, (0, 0, 2, 1, 0, 0, 1, 3), mode="reflect"),
    "pad-edge": padded(13, (0, 2, 0, 1, 0, 0, 1, 3), mode="edge"),
    "pad-wrap": padded(19, (0, 2, 0, 1, 0, 0, 1, 3), mode="wrap"),
    "pad-axes": model([node("Pad", ["x", "p", "", "a"])], {"p": ints(1, 2), "a": ints(-1)}, opset=18),
    "pad-batch": padded(13, (1, 0, 0, 0, 0, 0, 0, 0)),
    "split-11": split("a", "b", "c", opset=11, axis=1, split=[1, 2, 3]),
    "split-13": split("a", "b", tensors={"s": ints(2, 4)}, axis=1),
    "split-equal": split("a", "b", "c", axis=-2),
    "split-18": split("a", "b", "c", opset=18, axis=1, shape=(1, 5, 2), num_outputs=3),
    "gather": simple("Gather", ints(2, 0, -1, 2), axis=1),
    "gather-number": simple("Gather", np.array(1, np.int64), shape=("N", 3, 2), axis=-2),
    "gather-table": simple("Gather", np.array([[0, 1], [2, 3]], np.int32), axis=1),
    "gather-front": simple("Gather", np.array(0, np.int64), shape=(1, 3, 2)),
    "expand": simple("Expand", ints(2, 1, 4, 1), shape=(3, 1, 2)),
    "expand-rank": simple("Expand", ints(1, 3, 4), shape=("N", 4)),
    "expand-same": simple("Expand", ints(1, 1)),
    "tile": simple("Tile", ints(1, 2, 3), shape=("N", 2, 2)),
    "tile-batch": simple("Tile", ints(2, 1), shape=(1, 4)),
    "constant-of-shape": model([node("ConstantOfShape", ["n"], "c"), node("Add", ["x", "c"])], {"n": ints(2, 1, 4)}),
    "where": model([node("Tanh", ["x"], "h"), node("Where", ["m", "x", "h"])], {"m": MASK}),
    "where-constant": model([node("Where", ["m", "t", "x"])], {"m": MASK, "t": floats(4)}, ("N", 4)),
    "where-wider": model([node("Where", ["m", "x", "t"])], {"m": MASK.reshape(1, 4, 1), "t": np.float32(2)}),
    "reduce-sum-11": reduction("ReduceSum", 11, (1, -1), IMAGE),
    "reduce-sum-13": reduction("ReduceSum", 13, (2,), ("N", 2, 3, 4), keepdims=0),
    "reduce-sum-all": reduction("ReduceSum", 13, None, (1, 3, 2)),
    "reduce-sum-all-flat": reduction("ReduceSum", 13, None, ("N", 3, 2), keepdims=0),
    "reduce-sum-nothing": reduction("ReduceSum", 13, None, (1, 3), noop_with_empty_axes=1),
    "reduce-sum-batch": reduction("ReduceSum", 13, (0,), (2, 3)),
    "reduce-mean-features": reduction("ReduceMean", 18, (1,), ("N", 4)),
    "reduce-mean-one-axis": reduction("ReduceMean", 13, (2,), IMAGE, keepdims=0),
    "reduce-mean-channels": reduction("ReduceMean", 18, (1, 2, 3), IMAGE),
    "reduce-mean-all": reduction("ReduceMean", 13, None, IMAGE),
    "reduce-mean-nothing": reduction("ReduceMean", 18, None, IMAGE, noop_with_empty_axes=1),
    "reduce-l1": reduction("ReduceL1", 13, (1,), ("N", 3, 4), keepdims=0),
    "mean-3": model([node("Mean", ["x", "t", "x"])], {"t": floats(4)}),
    "celu": simple("Celu"),
    "celu-own": simple("Celu", alpha=0.3),
    "gather-nd": simple("GatherND", np.array([[0, 1], [0, -1], [0, 0]]), shape=(1, 3, 2)),
    "gather-nd-rows": simple("GatherND", np.array([[[2], [0]]]), shape=(3, 2)),
    "depth-to-space": simple("DepthToSpace", shape=("N", 8, 2, 3), blocksize=2),
    "depth-to-space-columns": simple("DepthToSpace", shape=(1, 8, 2, 3), blocksize=2, mode="CRD"),
    "space-to-depth": simple("SpaceToDepth", shape=("N", 2, 4, 6), blocksize=2),
    "reduce-max-13": reduction("ReduceMax", 13, (1,), ("N", 3, 4), keepdims=0),
    "reduce-max-18": reduction("ReduceMax", 18, (-1, 1), IMAGE),
    "reduce-max-all": reduction("ReduceMax", 13, None, (2, 3)),
    "reduce-min-13": reduction("ReduceMin", 13, (3, 1), IMAGE, keepdims=0),
    "reduce-min-20": reduction("ReduceMin", 20, (1,), (1, 4)),
    "dequantized-int8": quantised(np.int8),
    "dequantized-uint8": quantised(np.uint8, axis=0),
    "dequantized-int32": quantised(np.int32),
}


def live(op: str, shape: tuple[int | str, ...] = ("N", 4), **options: Any) -> bytes:
    """Of two values, of which the second is not zero."""
    return model([node("Softplus", ["x"], "p"), node(op, ["x", "p"], **options)], {}, shape)


def positive(op: str, **options: Any) -> bytes:
    return model([node("Exp", ["x"], "p"), node(op, ["p"], **options)], {}, ("N", 4))


def attention() -> bytes:
    """Softmax of a product of two values, times a third."""
    tensors = {name: floats(4, 4) for name in ("q", "k", "v")}
    nodes = [node("MatMul", ["x", name], f"x{name}") for name in tensors]
    nodes += [node("Transpose", ["xk"], "t", perm=[0, 2, 1]), node("MatMul", ["xq", "t"], "s")]
    return model([*nodes, node("Softmax", ["s"], "p", axis=-1), node("MatMul", ["p", "xv"])], tensors, ("N", 3, 4))


def transposed(shape: tuple[int, ...], weight: tuple[int, ...], bias: int, **options: Any) -> bytes:
    tensors = {"w": floats(*weight), "b": floats(bias)}
    return model([node("ConvTranspose", ["x", "w", "b"], **options)], tensors, shape)


FUNCTIONS: Mapping[str, bytes] = {
    "cos": simple("Cos"),
    "sin": simple("Sin"),
    "erf": simple("Erf"),
    "exp": simple("Exp"),
    "log": positive("Log"),
    "sqrt": positive("Sqrt"),
    "reciprocal": positive("Reciprocal"),
    "softplus": simple("Softplus", shape=("N", 4)),
    **{op.lower(): simple(op) for op in ("Ceil", "Floor", "Round", "Sign")},
    "gelu": simple("Gelu", opset=20),
    "gelu-tanh": simple("Gelu", opset=20, approximate="tanh"),
    "hard-swish": simple("HardSwish", opset=14),
    "pow-2": simple("Pow", np.float32(2)),
    "pow-3": simple("Pow", np.full(4, 3, np.float32)),
    "pow-1": simple("Pow", np.float32(1)),
    "pow-integer": simple("Pow", np.array(2, np.int64)),
    "pow-root": model([node("Exp", ["x"], "p"), node("Pow", ["p", "t"])], {"t": np.float32(0.5)}),
    "pow-inverse-root": model([node("Exp", ["x"], "p"), node("Pow", ["p", "t"])], {"t": np.float32(-0.5)}),
    "pow-inverse": model([node("Exp", ["x"], "p"), node("Pow", ["p", "t"])], {"t": np.float32(-1)}),
    "reduce-l2": reduction("ReduceL2", 18, (1,), ("N", 4)),
    "reduce-sum-square": reduction("ReduceSumSquare", 13, (1, 2), (1, 3, 2), keepdims=0),
    "reduce-log-sum": model([node("Exp", ["x"], "p"), node("ReduceLogSum", ["p"], axes=[1])], {}, ("N", 4)),
    "reduce-log-sum-exp": reduction("ReduceLogSumExp", 18, (-1,), ("N", 4)),
    "mish": simple("Mish", opset=18),
    "instance-normalization": simple("InstanceNormalization", floats(2), floats(2), shape=("N", *IMAGE[1:])),
    "group-normalization": simple(
        "GroupNormalization", floats(4), floats(4), shape=("N", 4, 3, 2), opset=21, num_groups=2
    ),
    **{
        op: model(
            [node("Tanh", ["x"], "h"), node(op, ["x", "t"], "c"), node("Where", ["c", "h", "x"])], {"t": floats(4)}
        )
        for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    },
    "mul-two": live("Mul"),
    "div-two": live("Div"),
    "matmul-two": attention(),
    "softmax-11": simple("Softmax", shape=("N", 2, 3), opset=11),
    "softmax-11-axis": simple("Softmax", shape=(1, 2, 3), opset=11, axis=2),
    "softmax-13": simple("Softmax", shape=("N", 2, 3)),
    "softmax-13-axis": simple("Softmax", shape=("N", 2, 3), axis=1),
    "softmax-batch": simple("Softmax", shape=(2, 3), axis=0),
    "log-softmax-12": simple("LogSoftmax", shape=("N", 4), opset=12),
    "log-softmax-13": simple("LogSoftmax", shape=("N", 4)),
    "layer-normalization": simple("LayerNormalization", floats(4), floats(4), shape=("N", 3, 4), opset=17),
    "layer-normalization-axes": simple(
        "LayerNormalization", floats(3, 4), shape=("N", 3, 4), opset=17, axis=1, epsilon=0.01
    ),
    "layer-normalization-batch": simple("LayerNormalization", floats(1, 4), shape=(1, 4), opset=17, axis=0),
    "conv-transpose": transposed((1, 2, 3, 4), (2, 3, 3, 2), 3),
    "conv-transpose-all": transposed(
        (1, 4, 3, 2),
        (4, 1, 3, 2),
        2,
        group=2,
        strides=[2, 3],
        pads=[1, 0, 2, 1],
        dilations=[2, 1],
        output_padding=[1, 2],
    ),
    "conv-transpose-1d": transposed((1, 2, 4), (2, 1, 3), 1, strides=[2], pads=[1, 1], output_padding=[1]),
    "conv-transpose-3d": transposed((1, 1, 2, 3, 2), (1, 2, 2, 2, 2), 2, strides=[1, 2, 1]),
    "conv-transpose-upper": transposed((1, 2, 3, 4), (2, 1, 3, 4), 1, strides=[2, 3], auto_pad="SAME_UPPER"),
    "conv-transpose-lower": transposed((1, 2, 3, 4), (2, 1, 3, 2), 1, strides=[2, 3], auto_pad="SAME_LOWER"),
    "conv-transpose-wide": transposed((1, 2, 3), (2, 1, 1), 1, strides=[3], auto_pad="SAME_LOWER"),
    "conv-transpose-shape": transposed((1, 2, 3, 4), (2, 1, 3, 3), 1, strides=[2, 2], output_shape=[6, 8]),
}

WEIGHTED: Mapping[str, bytes] = {
    "biased": model([node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"])], {"w": floats(4, 3), "b": floats(3)}),
    "normalized": model(
        [node("Conv", ["x", "w"], "c"), node("BatchNormalization", ["c", "s", "b", "m", "v"])],
        {"w": floats(3, 2, 2, 2), "s": floats(3), "b": floats(3), "m": floats(3), "v": np.abs(floats(3))},
        IMAGE,
    ),
}

CASES: Mapping[str, bytes] = {
    **WEIGHTED,
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
    "clip-relu": simple("Clip", np.float32(0)),
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
    **REWRITES,
    **FUNCTIONS,
    **MAPS,
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
    """A thousand fresh inputs at once: with a wrong default, pad or axis every proof would be about another network."""
    data = CASES[name]
    net = network_from_onnx(data)  # compares on its own probes
    x = torch.from_numpy(RNG.normal(size=(1000, net.n_inputs)).astype(np.float32))
    evaluated = runner(data)
    theirs = np.stack([evaluated(row.reshape(net.input_shape)).ravel() for row in x.numpy()])
    assert np.allclose(net(x).detach().numpy(), theirs, rtol=1e-5, atol=1e-5)
    x = x[:5]
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
    assert set(READ) == {*OPERATORS, *REWRITTEN, "Constant", "DequantizeLinear"}


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


def test_refusals_of_rewritten_operators() -> None:
    """What cannot be treated is told with the node, before anything is computed or crashes."""
    cases = {
        "without a name": split("a", "", "c", axis=1),
        "an input without a name": model([node("Max", ["x", "t", ""])], {"t": floats(4)}),
        "shift without a name": model([node("LayerNormalization", ["x", "t", ""])], {"t": floats(4)}, opset=17),
        "has no input number 2": model([node("Gather", ["x"], axis=1)], {}),
        "do not make up axis 1": split("a", "b", tensors={"s": ints(2, 5)}, axis=1),
        "leaves nothing of axis 1": padded(13, (0, -1, 0, 0, 0, -1, 0, 0)),
        "by more than it has": padded(13, (0, 0, 3, 0, 0, 0, 0, 0), mode="reflect"),
        r"32768\] is larger than": padded(13, (0, 0, 2**15, 2**15, 0, 0, 0, 0)),
        r"\[1, 1099511627776, 1, 1\] is larger than": simple("Expand", ints(1, 2**40, 1, 1), shape=(1, 1, 1, 1)),
        "do not broadcast": simple("Expand", ints(1, 3), shape=(1, 4)),
        "within axis 1": simple("Gather", ints(4), axis=1),
        "must be a constant": model([node("Tanh", ["x"], "s"), node("PRelu", ["x", "s"])], {}),
        "truth values": model([node("Where", ["m", "x", "x"])], {"m": floats(4)}),
        "axis 7 is outside": reduction("ReduceSum", 13, (7,), IMAGE),
        "repeat": reduction("ReduceMax", 18, (1, -3), IMAGE),
        "onnxruntime quantises": quantised(np.uint8, op="MatMul"),
        "does not fit a value": simple("PRelu", floats(3, 1, 4)),
        "'exclusive' must be 0 or 1": model([node("CumSum", ["x", "a"], exclusive=2)], {"a": np.array(1)}),
        "scales or sizes do not fit": model(
            [node("Resize", ["x", "", "s"])], {"s": np.array([1, 1, 3e38, 3e38], np.float32)}, IMAGE
        ),
    }
    for problem, data in cases.items():
        with pytest.raises(FormatError, match=problem):
            network_from_onnx(data)


def test_what_nodes_are_made_of_is_not_repaired() -> None:
    """A number that became an attribute would stay where the initialiser moves."""
    nodes = [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "c"], "h"), node("Max", ["h", "c"])]
    tensors = {"w": floats(4, 3), "c": np.array([0.25], np.float32)}
    assert network_from_onnx(model([*nodes[:2], node("Relu", ["h"])], tensors)).repairable == {"w", "c"}
    assert network_from_onnx(model(nodes, tensors)).repairable == {"w"}


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
