"""What the checker reads as a graph is what onnxruntime runs, in exact arithmetic and as intervals of points."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from birdnn.certify.check.files import File
from birdnn.certify.check.graphs import reader
from birdnn.certify.check.graphs.exact import evaluate
from birdnn.certify.check.graphs.floats import GraphFloatEngine
from birdnn.certify.check.graphs.nodes import Affine, Graph
from birdnn.certify.check.graphs.reader import SUPPORTED, read_graph
from birdnn.certify.check.tree import padded_rows
from birdnn.errors import FormatError
from tests.certify.graphs.models import Draft, drawn, run


def read(draft: Draft) -> Graph:
    return parsed(draft.bytes())


def parsed(data: bytes) -> Graph:
    return read_graph(File("net.onnx", data, hashlib.sha256(data).hexdigest()))


def intervals(graph: Graph, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the outputs at points, (points, inputs)."""
    passed = GraphFloatEngine(graph).start(padded_rows((), graph.n_outputs), len(x))
    passed.begin((x, x))
    for k, node in enumerate(graph.nodes):
        if isinstance(node, Affine):
            passed.affine(k)
        else:
            passed.relax(k, *passed.interval(node.source))
    return passed.interval(len(graph.nodes))


def exactly(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Outputs at points, evaluated exactly and rounded."""
    found = [evaluate(graph, [Fraction(float(value)) for value in row]) for row in x]
    return np.array([[float(v) if isinstance(v, Fraction) else float(v.mid()) for v in row] for row in found])


def points(graph: Graph, seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, graph.n_inputs)).astype(np.float32).astype(float)


SEEDS = range(120)


@pytest.mark.parametrize("seed", SEEDS)
def test_reads_what_onnxruntime_runs(seed: int) -> None:
    draft = drawn(seed)
    graph = read(draft)
    x = points(graph, seed)
    y = run(draft.bytes(), x)
    exact = exactly(graph, x)
    assert exact == pytest.approx(y, rel=1e-4, abs=1e-4)
    low, up = intervals(graph, x)
    assert (low <= exact).all()
    assert (exact <= up).all()
    assert up - low == pytest.approx(0, abs=1e-9 * (1 + np.abs(exact).max()))


def test_every_operator_is_drawn() -> None:
    """Those that name constants or values anew are below."""
    met = {node.op_type for seed in SEEDS for node in drawn(seed).nodes}
    assert met == set(SUPPORTED) - {"Constant", "Dropout", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


def one(put: Callable[[Draft], Any], shape: tuple[int, ...] = (1, 2, 4), opset: int = 13) -> Draft:
    draft = Draft(0, shape, opset=opset)
    put(draft)
    return draft


GOOD: dict[str, Draft] = {
    "other names": one(lambda d: (d.put("Identity", ["X"], d.at), d.put("Dropout", [d.last], d.at))),
    "other shapes": one(
        lambda d: (
            d.put("Reshape", ["X", d.integers(1, 8)], (1, 8)),
            d.put("Unsqueeze", [d.last, d.integers(1)], (1, 1, 8)),
            d.put("Squeeze", [d.last, d.integers(1)], (1, 8)),
        )
    ),
    "a row of weights": one(lambda d: d.put("MatMul", ["X", d.floats(4)], (1, 2))),
    "a column of weights": one(lambda d: d.put("MatMul", [d.floats(2), "X"], (1, 4))),
    "scaled Gemm": one(
        lambda d: d.put("Gemm", ["X", d.floats(4, 3), d.floats(1)], (1, 3), alpha=0.5, beta=3.0), (1, 4)
    ),
    "old slices": one(lambda d: d.put("Slice", ["X"], (1, 1, 2), starts=[1, -3], ends=[9, -1], axes=[1, 2]), opset=9),
    "old padding": one(lambda d: d.put("Pad", ["X"], (1, 3, 6), pads=[0, 1, 0, 0, 0, 2], value=2.0), opset=10),
    "equal parts": one(lambda d: d.put("Split", ["X"], (1, 2, 2), 2, axis=2), opset=11),
    "an index that is a number": one(
        lambda d: d.put("Gather", ["X", d.constant(np.array(-1, np.int64))], (1, 4), axis=1)
    ),
    "windows with holes": one(
        lambda d: d.put("Conv", ["X", d.floats(1, 2, 2)], (1, 1, 2), dilations=[2]),
    ),
    "windows that stay inside": one(
        lambda d: d.put("MaxPool", ["X"], (1, 2, 3), kernel_shape=[2], auto_pad="VALID", pads=[0, 0])
    ),
    "a constant first": one(lambda d: d.put("Sub", [d.floats(4), "X"], (1, 2, 4))),
    "repeated operands": one(lambda d: d.put("Add", ["X", d.floats(3, 1, 1)], (3, 2, 4))),
    "a value beside itself": one(lambda d: d.put("Add", ["X", "X"], (1, 2, 4))),
    "what nothing reads": one(lambda d: (d.put("Tanh", ["X"], d.at), d.put("Relu", ["X"], d.at))),
}


@pytest.mark.parametrize("name", GOOD)
def test_other_ways_to_say_it(name: str) -> None:
    draft = GOOD[name]
    graph = read(draft)
    x = points(graph, 1)
    y = run(draft.bytes(), x)
    assert exactly(graph, x) == pytest.approx(y, rel=1e-5, abs=1e-5)
    low, up = intervals(graph, x)
    assert ((low <= exactly(graph, x)) & (exactly(graph, x) <= up)).all()


def test_what_nothing_reads_is_left_out() -> None:
    assert len(read(GOOD["what nothing reads"]).nodes) == 1


BAD: dict[str, tuple[Draft, str]] = {
    "two values multiplied": (one(lambda d: d.put("Mul", ["X", "X"], d.at)), "one operand that is no constant"),
    "divided by a value": (one(lambda d: d.put("Div", [d.floats(4), "X"], d.at)), "division by constants"),
    "divided by zero": (
        one(lambda d: d.put("Div", ["X", d.constant(np.zeros(4, np.float32))], d.at)),
        "other than zero only",
    ),
    "another operator": (one(lambda d: d.put("Softmax", ["X"], d.at)), "does not read operator 'Softmax'"),
    "constants alone": (
        one(lambda d: (d.put("Add", [d.floats(4), d.floats(4)], (4,)), d.put("Relu", ["X"], (1, 2, 4)))),
        "constants alone",
    ),
    "backwards": (
        one(lambda d: d.put("Slice", ["X", *(d.integers(i) for i in (3, 0, 2, -1))], (1, 2, 3))),
        "or backwards",
    ),
    "an index outside": (
        one(lambda d: d.put("Gather", ["X", d.integers(2)], (1, 1, 4), axis=1)),
        "not whole numbers within 2",
    ),
    "padding by itself": (
        one(lambda d: d.put("Pad", ["X", d.integers(0, 0, 1, 0, 0, 1)], (1, 2, 6), mode="reflect")),
        "constants along all axes only",
    ),
    "rounded up": (
        one(lambda d: d.put("MaxPool", ["X"], (1, 2, 2), kernel_shape=[3], strides=[2], ceil_mode=1)),
        "a window that does not fit",
    ),
    "padded as the runtime likes": (
        one(lambda d: d.put("MaxPool", ["X"], (1, 2, 4), kernel_shape=[2], auto_pad="SAME_UPPER")),
        "does not read auto_pad 'SAME_UPPER'",
    ),
    "a falling activation": (one(lambda d: d.put("LeakyRelu", ["X"], d.at, alpha=-0.5)), "alpha -0.5 in a graph"),
    "a declared shape": (one(lambda d: d.put("Relu", ["X"], (1, 2, 5))), "is declared as other"),
    "another type": (
        one(lambda d: d.put("Add", ["X", d.constant(np.ones(4))], d.at)),
        "must hold float32",
    ),
    "means over everything": (one(lambda d: d.put("ReduceMean", ["X"], (1, 1, 1))), "over named axes only"),
    "a flag that is neither 0 nor 1": (
        one(lambda d: d.put("ReduceSum", ["X", d.integers(1)], (1, 1, 4), keepdims=2)),
        "'keepdims' is 2, which runtimes take differently",
    ),
    "no number": (
        one(lambda d: d.put("Gemm", ["X", d.floats(4, 3)], (1, 3), alpha=float("nan")), (1, 4)),
        "'alpha' is no number",
    ),
    "constants of many axes": (
        one(lambda d: d.put("Add", ["X", d.floats(*[1] * 40)], (1, 2, 4))),
        "constants of at most 16 axes",
    ),
    "many axes of indices": (
        one(lambda d: d.put("Gather", ["X", d.constant(np.zeros([1] * 15, np.int64))], (1, *[1] * 15, 4), axis=1)),
        "values of at most 16 axes",
    ),
    "an operand that is left out": (one(lambda d: d.put("Sum", ["X", ""], (1, 2, 4))), "leaves an input out"),
    "two ways to pad": (
        one(lambda d: d.put("MaxPool", ["X"], (1, 2, 3), kernel_shape=[2], auto_pad="VALID", pads=[1, 0])),
        "does not read auto_pad 'VALID'",
    ),
    "pads as large as windows": (
        one(lambda d: d.put("MaxPool", ["X"], (1, 2, 6), kernel_shape=[2], pads=[2, 1])),
        "as large as its windows",
    ),
    "parts of no size": (
        one(lambda d: d.put("Split", ["X"], (1, 2, 2), 2, axis=2), opset=18),
        "4 entries in 2 parts",
    ),
    "something before it is made": (
        one(lambda d: (d.put("Add", ["X", "v1_0"], d.at), d.put("Relu", ["X"], d.at))),
        "reads 'v1_0', which no node before it makes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_read(name: str) -> None:
    draft, reason = BAD[name]
    with pytest.raises(FormatError, match=r"net\.onnx") as caught:
        read(draft)
    assert reason in str(caught.value)


@pytest.mark.parametrize(("limit", "most"), [("MAX_ENTRIES", 40), ("MAX_NUMBERS", 10)])
def test_limits_hold(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = one(lambda d: d.put("Conv", ["X", d.floats(3, 2, 2)], (1, 3, 3)))
    assert read(draft).n_outputs == 9
    monkeypatch.setattr(reader, limit, most)
    with pytest.raises(FormatError, match="too large for this checker"):
        read(draft)


def _first_only(self: Any, node: Any, right: Any = reader._Reader._sum) -> Any:
    made = right(self, node)
    self.nodes[-1] = Affine(self.nodes[-1].sources[:1], self.nodes[-1].offset)
    return made


def _unpadded(count: Any, shape: Any, right: Any = reader._mean_factors) -> Any:
    return right(np.full_like(count, count.max()), shape)


@pytest.mark.parametrize(
    ("where", "name", "bug"),
    [
        (reader._Reader, "_sum", _first_only),
        (reader, "_mean_factors", _unpadded),
        (reader, "_inverse_root", lambda v: 1 / v),
    ],
)
def test_a_planted_misreading_is_noticed(where: object, name: str, bug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, name, bug)
    wrong = 0
    for seed in SEEDS:
        draft = drawn(seed)
        graph = read(draft)
        x = points(graph, seed, 1)
        wrong += not np.allclose(exactly(graph, x), run(draft.bytes(), x), rtol=1e-3, atol=1e-3)
    assert wrong
