"""Small random graphs of the operators that certificates of version 3 know."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]


class Draft:
    """A graph in the making.

    Args:
        seed: of everything drawn.
        shape: of the input, for a batch of one.
        size: of constants, as a power of two.
        opset: of the file.
    """

    def __init__(self, seed: int, shape: Shape, size: int = 0, opset: int = 13) -> None:
        self.draw, self.shape, self.size, self.opset = np.random.default_rng(seed), shape, size, opset
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.shapes: dict[str, Shape] = {"X": shape}
        self.last = "X"

    def floats(self, *shape: int) -> str:
        """Random constants."""
        values = np.ldexp(self.draw.normal(size=shape), self.size).astype(np.float32)
        return self.constant(values)

    def constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def put(self, op: str, inputs: list[str], shape: Shape, outputs: int = 1, **attributes: Any) -> str:
        """A node whose first value, of this shape, is the last one now."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attributes))
        self.shapes |= dict.fromkeys(names, shape)
        self.last = names[0]
        return self.last

    @property
    def at(self) -> Shape:
        return self.shapes[self.last]

    def flat(self, outputs: int) -> None:
        """What ends most networks: a matrix on all entries."""
        if len(self.at) != 2:
            self.put("Flatten", [self.last], (self.at[0], prod(self.at[1:])), axis=1)
        width = self.at[1]
        self.put("Gemm", [self.last, self.floats(outputs, width), self.floats(outputs)], (1, outputs), transB=1)

    def bytes(self) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, self.at)],
            self.tensors,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return bytes(made.SerializeToString())


def conv(d: Draft) -> None:
    _, channels, *sides = d.at
    groups = channels if channels > 1 and d.draw.random() < 0.3 else 1
    out, kernel = groups * int(d.draw.integers(1, 3)), [int(d.draw.integers(1, min(3, side) + 1)) for side in sides]
    strides, pads = (
        [int(d.draw.integers(1, 3)) for _ in sides],
        [int(d.draw.integers(0, k)) for k in (*kernel, *kernel)],
    )
    n = len(sides)
    counts = [(s + pads[i] + pads[n + i] - kernel[i]) // strides[i] + 1 for i, s in enumerate(sides)]
    weight = d.floats(out, channels // groups, *kernel)
    bias = [d.floats(out)] if d.draw.random() < 0.7 else []
    d.put("Conv", [d.last, weight, *bias], (1, out, *counts), strides=strides, pads=pads, group=groups)


def pool(d: Draft) -> None:
    op = str(d.draw.choice(["MaxPool", "AveragePool"]))
    _, channels, *sides = d.at
    kernel = [int(d.draw.integers(1, min(3, side) + 1)) for side in sides]
    strides, pads = [int(d.draw.integers(1, 3)) for _ in sides], [int(d.draw.integers(0, k // 2 + 1)) for k in kernel]
    counts = [(s + 2 * p - k) // t + 1 for s, p, k, t in zip(sides, pads, kernel, strides, strict=True)]
    more = {"count_include_pad": int(d.draw.integers(0, 2))} if op == "AveragePool" else {}
    d.put(op, [d.last], (1, channels, *counts), kernel_shape=kernel, strides=strides, pads=[*pads, *pads], **more)


def average(d: Draft) -> None:
    d.put("GlobalAveragePool", [d.last], (*d.at[:2], *(1,) * (len(d.at) - 2)))


def normalise(d: Draft) -> None:
    channels = d.at[1]
    variance = d.constant(np.ldexp(d.draw.random(channels) + 0.1, 2 * d.size).astype(np.float32))
    inputs = [d.last, d.floats(channels), d.floats(channels), d.floats(channels), variance]
    d.put("BatchNormalization", inputs, d.at, epsilon=float(d.draw.choice([1e-5, 1e-3])))


def activate(d: Draft) -> None:
    op = str(d.draw.choice(["Relu", "Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Clip"]))
    inputs = [d.last, d.constant(np.float32(0))] if op == "Clip" else [d.last]
    d.put(op, inputs, d.at, **({"alpha": 0.25} if op == "LeakyRelu" else {}))


def residual(d: Draft) -> None:
    """A branch that comes back: ``x + f(x)``, ``x - f(x)`` or the sum of three."""
    start, shape = d.last, d.at
    d.put("Mul", [start, d.floats(*shape[1:])], shape)
    d.put("Relu", [d.last], shape)
    op = str(d.draw.choice(["Add", "Sub", "Sum"]))
    d.put(op, [start, d.last, *([start] if op == "Sum" else [])], shape)


def scale(d: Draft) -> None:
    op = str(d.draw.choice(["Mul", "Div", "Add", "Sub", "Neg"]))
    other = d.floats(*(d.at[-1:] if d.draw.random() < 0.5 else d.at))
    inputs = [d.last] if op == "Neg" else [d.last, other]
    d.put(op, inputs[::-1] if op in ("Mul", "Sub") and d.draw.random() < 0.3 else inputs, d.at)


def join(d: Draft) -> None:
    axis = int(d.draw.integers(1, len(d.at)))
    start, shape = d.last, d.at
    d.put("Tanh", [start], shape)
    known = d.floats(*shape[:axis], 1, *shape[axis + 1 :])
    d.put("Concat", [start, d.last, known], (*shape[:axis], 2 * shape[axis] + 1, *shape[axis + 1 :]), axis=axis)


def part(d: Draft) -> None:
    axis = int(d.draw.integers(1, len(d.at)))
    size, shape = d.at[axis], d.at
    op = str(d.draw.choice(["Slice", "Gather", "Split", "Transpose", "Pad", "Reduce"]))
    if op == "Slice":
        start = int(d.draw.integers(0, size))
        inputs = [d.last, d.integers(start), d.integers(2**40), d.integers(axis - len(shape)), d.integers(2)]
        d.put("Slice", inputs, (*shape[:axis], (size - start + 1) // 2, *shape[axis + 1 :]))
    elif op == "Gather":
        places = d.draw.integers(-size, size, 2)
        d.put("Gather", [d.last, d.integers(*places)], (*shape[:axis], 2, *shape[axis + 1 :]), axis=axis)
    elif op == "Split" and size > 1:
        first = d.put("Split", [d.last, d.integers(1, size - 1)], (*shape[:axis], 1, *shape[axis + 1 :]), 2, axis=axis)
        d.put("Relu", [first], d.shapes[first])
    elif op == "Transpose":
        order = [0, *(1 + d.draw.permutation(len(shape) - 1)).tolist()]
        d.put("Transpose", [d.last], tuple(shape[i] for i in order), perm=order)
    elif op == "Pad":
        around = d.draw.integers(0, 2, 2 * len(shape) - 2)
        pads = [0, *around[: len(shape) - 1], 0, *around[len(shape) - 1 :]]
        grown = tuple(s + a + b for s, a, b in zip(shape, pads[: len(shape)], pads[len(shape) :], strict=True))
        d.put("Pad", [d.last, d.integers(*pads), d.constant(np.float32(0.5))], grown)
    else:
        kind, kept = str(d.draw.choice(["ReduceSum", "ReduceMean"])), int(d.draw.integers(0, 2)) or int(len(shape) == 2)
        smaller = (*shape[:axis], *(1,) * kept, *shape[axis + 1 :])
        if kind == "ReduceSum":
            d.put(kind, [d.last, d.integers(axis)], smaller, keepdims=kept)
        else:
            d.put(kind, [d.last], smaller, axes=[axis], keepdims=kept)


def matrix(d: Draft) -> None:
    if d.draw.random() < 0.5 or len(d.at) < 3:
        d.put("MatMul", [d.last, d.floats(d.at[-1], 3)], (*d.at[:-1], 3))
    else:
        d.put("MatMul", [d.floats(2, d.at[-2]), d.last], (*d.at[:-2], 2, d.at[-1]))


IMAGES: tuple[Callable[[Draft], None], ...] = (conv, pool, average, normalise)
ANY: tuple[Callable[[Draft], None], ...] = (activate, residual, scale, join, part, matrix)


def drawn(seed: int, size: int = 0, outputs: int = 2, steps: int = 5) -> Draft:
    """A random graph."""
    draw = np.random.default_rng([seed, 7])
    image = draw.random() < 0.6
    shape = (1, int(draw.integers(1, 4)), *draw.integers(2, 5, 2).tolist()) if image else (1, int(draw.integers(2, 5)))
    draft = Draft(seed, shape, size)
    for _ in range(steps):
        kinds = (*IMAGES, *ANY) if len(draft.at) == 4 else ANY
        before = len(draft.nodes)
        kinds[int(draw.integers(len(kinds)))](draft)
        if prod(draft.at) > 60 or len(draft.nodes) == before:
            draft.put("Relu", [draft.last], draft.at)
            if prod(draft.at) > 60:
                break
    draft.flat(outputs)
    return draft


def pooled(seed: int, size: int = 0, outputs: int = 2) -> Draft:
    """Windows that overlap and reach beyond the value, of what is not known well."""
    draft = Draft(seed, (1, 2, 3, 3), size)
    conv(draft)
    more = {"kernel_shape": [2] * (len(draft.at) - 2), "pads": [1] * (2 * len(draft.at) - 4)}
    draft.put("MaxPool", [draft.last], (*draft.at[:2], *(side + 1 for side in draft.at[2:])), **more)
    draft.flat(outputs)
    return draft


def written(path: Path, draft: Draft) -> Path:
    path.write_bytes(draft.bytes())
    return path


def run(data: bytes, x: np.ndarray) -> np.ndarray:
    """Outputs of onnxruntime, (points, outputs), at points, (points, inputs)."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    found = [session.run(None, {given.name: row.astype(np.float32).reshape(given.shape)})[0] for row in x]
    return np.stack([value.reshape(-1) for value in found])
