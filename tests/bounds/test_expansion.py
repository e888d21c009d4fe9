"""Operators as their parts: the same function, bounds that no point beats, what executions err by; planted bugs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import batch, expansion
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.expansion import Parts, expand_network
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import IntervalBound
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.verify import SearchSettings
from birdnn.verify.bounding import make_bound
from tests.bounds.builders import (
    CPU,
    all_open,
    half_space,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_polytopes,
)
from tests.bounds.test_functions import NUMBERS, SEVERAL
from tests.bounds.test_graph import check
from tests.formats.models import model, node

SEEDS = st.integers(0, 2**32 - 1)


def attention_bytes(seed: int, tokens: int, heads: int, *, normalised: bool, scale: float = 1.0) -> bytes:
    """Self-attention of tokens of four numbers, which three inputs make, with what goes around it."""
    rng, width = np.random.default_rng(seed), 4

    def matrix(*shape: int) -> np.ndarray:
        return (scale * rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    tensors: dict[str, Any] = {"e": matrix(3, tokens * width), "o": matrix(width, width), "l": matrix(width, 2)}
    tensors |= {name: matrix(width, width) for name in ("wq", "wk", "wv")} | {"f": np.float32(0.7)}
    tensors |= {"s": matrix(width), "t": matrix(width)}
    tensors |= {"flat": np.array([-1, tokens, width]), "split": np.array([-1, tokens, heads, width // heads])}
    nodes = [node("MatMul", ["x", "e"], "x0"), node("Reshape", ["x0", "flat"], "x1")]
    read = "x1"
    if normalised:
        nodes.append(node("LayerNormalization", ["x1", "s", "t"], "x2", axis=-1))
        read = "x2"
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [node("MatMul", [read, f"w{name}"], f"{name}0"), node("Reshape", [f"{name}0", "split"], f"{name}1")]
        nodes.append(node("Transpose", [f"{name}1"], name, perm=perm))
    nodes += [node("MatMul", ["q", "k"], "a0"), node("Mul", ["a0", "f"], "a1"), node("Softmax", ["a1"], "a", axis=-1),
              node("MatMul", ["a", "v"], "m0"), node("Transpose", ["m0"], "m1", perm=[0, 2, 1, 3]),
              node("Reshape", ["m1", "flat"], "m2"), node("MatMul", ["m2", "o"], "m3"), node("Add", ["x1", "m3"], "r"),
              node("ReduceMean", ["r"], "p", axes=[1], keepdims=0), node("MatMul", ["p", "l"], "y")]  # fmt: skip
    return model(nodes, tensors, ("N", 3), opset=17)


def attention(seed: int, tokens: int = 3, heads: int = 2, *, normalised: bool = False, scale: float = 1.0) -> Network:
    return network_from_onnx(attention_bytes(seed, tokens, heads, normalised=normalised, scale=scale), check=False)


NETS: dict[str, Callable[[], Network]] = {
    **{name: lambda name=name: SEVERAL[name] for name in SEVERAL},
    "hard swish": lambda: NUMBERS["hard swish"],
    "attention": lambda: attention(0),
    "attention, layer normalisation": lambda: attention(1, normalised=True),
}


@pytest.mark.parametrize("name", NETS)
def test_it_is_the_same_function(name: str) -> None:
    """At each value that the network has, whatever the batch."""
    net = NETS[name]().copy().double()
    parts, names = expand_network(net).net, sorted(net.graph.dependent)
    points = points_of(random_boxes(3, 4, net.n_inputs, 3.0)).flatten(0, 1)
    with torch.no_grad():
        for mine, its in zip(parts.observe(points, names), net.observe(points, names), strict=True):
            assert mine.shape == its.shape
            assert torch.allclose(mine, its, rtol=1e-12, atol=1e-12)
    assert {name: parts.graph.shapes[name] for name in net.graph.shapes} == net.graph.shapes


def test_what_has_parts() -> None:
    whole = attention(0, normalised=True)
    ops = {node.op for node in expand_network(whole).net.nodes}
    assert {"Softmax", "LayerNormalization"} <= {node.op for node in whole.nodes}
    assert not {"Softmax", "LayerNormalization"} & ops
    constant = [node for node in expand_network(whole).net.nodes if node.op == "MatMul"]
    assert all(sum(name in whole.graph.dependent for name in node.inputs) == 1 for node in constant)


def test_nothing_to_expand_is_the_network_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("product", "maximum", "transposed convolution"):
        assert expand_network(SEVERAL[name]).net is SEVERAL[name]
    monkeypatch.setattr(expansion, "MOST_ENTRIES", 0)
    assert expand_network(SEVERAL["softmax"]).net is SEVERAL["softmax"]


def test_names_that_are_taken() -> None:
    nodes = [node("Softmax", ["x"], "a", axis=-1), node("Softmax", ["a"], "a__part0", axis=-1),
             node("MatMul", ["a__part0", "a__part1"], "y")]  # fmt: skip
    net = network_from_onnx(model(nodes, {"a__part1": np.eye(3, dtype=np.float32)}, ("N", 3), opset=13), check=False)
    check(net, random_boxes(0, 4, 3, 0.5), random_polytopes(0, 3), CrownSettings(steps=2))
    outputs = [node.output for node in expand_network(net).net.nodes]
    assert len(outputs) == len(set(outputs))


@settings(max_examples=25)
@given(
    seed=SEEDS,
    tokens=st.sampled_from([1, 2, 3, 4, 9]),
    heads=st.sampled_from([1, 2, 4]),
    normalised=st.booleans(),
    scale=st.sampled_from([1e-6, 0.3, 1.0, 4.0, 1e3]),
    width=st.sampled_from([0.0, 1e-9, 1e-3, 0.3, 2.0, 1e4]),
    steps=st.integers(0, 2),
)
def test_no_point_beats_a_bound_of_attention(
    seed: int, tokens: int, heads: int, normalised: bool, scale: float, width: float, steps: int
) -> None:
    net = attention(seed, tokens, heads, normalised=normalised, scale=scale)
    boxes = random_boxes(seed % 1000, 3, 3, width)
    check(net, boxes, random_polytopes(seed % 1000, 2), CrownSettings(steps=steps))


@pytest.mark.parametrize("normalised", [False, True])
def test_much_of_what_intervals_lose_is_won(normalised: bool) -> None:
    """Of the gap between what intervals prove and what points attain."""
    for seed in range(4):
        net, boxes = attention(seed, normalised=normalised), random_boxes(seed, 2, 3, 0.1)
        question, opened = question_of((half_space([1.0, -1.0], 0.0),)), torch.ones(2, 1, dtype=torch.bool)
        outputs = outputs_at(net, points_of(boxes))
        attained = (outputs[..., 0] - outputs[..., 1]).amin(1)
        loose = IntervalBound(net, CPU).bound(question, boxes, opened, torch.zeros(2, 0)).lower
        bound = GraphBound(net, CPU)
        found = bound.bound(question, boxes, opened, bound.root(2)).lower
        assert bool((attained - found < 0.2 * (attained - loose)).all()), (attained, found, loose)


def residual(op: str, n: int) -> Network:
    """What an operator makes of its input beside the input itself, which cancels: the interval is what counts there."""
    rng = np.random.default_rng(0)
    tensors = {"u": rng.normal(size=(n, 2)), "v": np.tile(rng.normal(size=(n, 1)), (1, 2)), "l": np.array([[1], [-1]])}
    tensors |= {"s": np.ones(n)} if op == "LayerNormalization" else {}
    read = ["x", "s"] if op == "LayerNormalization" else ["x"]
    nodes = [node(op, read, "a", axis=-1), node("MatMul", ["a", "u"], "b"), node("MatMul", ["x", "v"], "c"),
             node("Add", ["c", "b"], "r"), node("MatMul", ["r", "l"], "y")]  # fmt: skip
    single = {name: value.astype(np.float32) for name, value in tensors.items()}
    return network_from_onnx(model(nodes, single, ("N", n), opset=17), check=False)


@pytest.mark.parametrize(("op", "n"), [("Softmax", 4), ("Softmax", 10), ("LogSoftmax", 9), ("LayerNormalization", 4)])
@pytest.mark.parametrize("width", [1e-3, 0.1, 1.0, 30.0, 400.0, 1e6])
def test_parts_prove_no_less_than_the_whole(monkeypatch: pytest.MonkeyPatch, op: str, n: int, width: float) -> None:
    """Exponentials overflow, and their sums mean nothing, where the softmax itself still lies between 0 and 1."""
    net, polytope = residual(op, n), half_space([1.0], 0.0)
    centre = torch.from_numpy(np.random.default_rng(1).normal(size=(1, n)))
    boxes, found = Boxes(centre - width, centre + width), list[float]()
    for entries in (expansion.MOST_ENTRIES, 0):
        monkeypatch.setattr(expansion, "MOST_ENTRIES", entries)
        bound = GraphBound(net, CPU)
        found.append(float(bound.bound(question_of((polytope,)), boxes, torch.ones(1, 1).bool(), bound.root(1)).lower))
    assert found[0] >= found[1] - 1e-6 * abs(found[1])  # there are more roundings to pay for
    if width < 0.01:
        assert found[0] > found[1]


def test_a_search_takes_it() -> None:
    net = attention(2)
    bound = make_bound(net, SearchSettings())
    assert isinstance(bound, GraphBound)
    assert {"a0", "a", "m0"} == set(bound.whole)
    assert len(bound.spans) > 3


# --- executions --------------------------------------------------------------------------------------------------


def products(seed: int) -> tuple[bytes, Network]:
    """Of two matrices that depend on the input, large ones whose sum is small: nearly all of it is rounding."""
    rng = np.random.default_rng(seed)
    tensors = {"u": rng.normal(size=(6, 6)).astype(np.float32), "v": rng.normal(size=(6, 6)).astype(np.float32)}
    nodes = [node("MatMul", ["x", "u"], "a"), node("MatMul", ["x", "v"], "b0"),
             node("Transpose", ["b0"], "b", perm=[0, 2, 1]), node("MatMul", ["a", "b"], "y")]  # fmt: skip
    data = model(nodes, tensors, ("N", 4, 6), opset=13)
    return data, network_from_onnx(data, check=False)


def executed_below(seeds: range) -> int:
    """How many entries of products an execution returns below the bound of the network on that very point."""
    count = 0
    for seed in seeds:
        data, net = products(seed)
        x = (1e3 * np.random.default_rng(seed).normal(size=(1, 4, 6))).astype(np.float32)
        (y,) = onnxruntime.InferenceSession(data).run(None, {"x": x})
        bound, point = GraphBound(net, CPU, None, "float32"), torch.from_numpy(x.reshape(1, -1)).double()
        polytopes = tuple(half_space(row.tolist(), 0.0) for row in np.eye(16))
        boxes = Boxes(point, point)
        found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1))
        count += int((found.lower > torch.from_numpy(y.reshape(-1)).double()[found.polytope]).sum())
        assert bool(found.lower.isfinite().all())
    return count


def test_constants_that_parts_make_are_executed_by_nobody() -> None:
    bound = GraphBound(SEVERAL["gemm"], CPU, None, "float32")
    boxes, polytopes = random_boxes(0, 2, 8, 0.1), random_polytopes(0, 4)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(2))
    assert bool(found.lower.isfinite().all())


def test_what_executions_of_the_whole_err_by_is_paid_for() -> None:
    assert executed_below(range(20)) == 0


def test_executions_that_nobody_pays_for_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birdnn.bounds.batch.executed_error", lambda *_: None)
    monkeypatch.setattr("birdnn.bounds.interval.Mergings.error", lambda self, node, output: 0 * output[0])
    assert executed_below(range(20)) > 0


def test_of_a_softmax_nothing_is_claimed_of_executions() -> None:
    net, boxes = attention(0), random_boxes(0, 1, 3, 1e-3)
    bound = GraphBound(net, CPU, None, "float32")
    found = bound.bound(question_of((half_space([1.0, 0.0], -1e30),)), boxes, torch.ones(1, 1).bool(), bound.root(1))
    assert found.lower.tolist() == [-np.inf]


# --- planted bugs ------------------------------------------------------------------------------------------------


def _replacing(op: str, place: int, change: Callable[[Parts, int], None]) -> Callable[[Parts], None]:
    """The rule of an operator, and after it a change of what it made of one operator, the `place`-th of its kind."""
    right = dict(expansion.RULES)

    def rule(parts: Parts) -> None:
        right[parts.node.op](parts)
        found = [k for k, made in enumerate(parts.made) if made.op == op]
        if len(found) > place:
            change(parts, found[place])

    return rule


def _swapped_inputs(parts: Parts, k: int) -> None:
    parts.made[k] = replace(parts.made[k], inputs=parts.made[k].inputs[::-1])


def _reading_first(parts: Parts, k: int) -> None:
    """What the sum is made of, instead of the sum: of another shape, which broadcasts."""
    parts.made[k] = replace(parts.made[k], inputs=parts.made[k - 1].inputs)
    parts.shapes[parts.made[k].output] = parts.shape(parts.made[k].inputs[0])


def _other_order(parts: Parts) -> None:
    made = parts.node
    parts.node = replace(made, inputs=made.inputs[::-1])
    expansion._matmul(parts)


def _scaled_constant(parts: Parts, k: int) -> None:
    (name,) = (name for name in parts.made[k].inputs if name in parts.constants)
    parts.constants[name] = 1.25 * parts.constants[name]


BUGS: dict[str, tuple[str, Callable[[Parts], None]]] = {
    "factors the other way round": ("matrix product", _other_order),
    "differences the other way round": ("softmax", _replacing("Sub", 0, _swapped_inputs)),
    "more than one over the sum": ("softmax", _replacing("Div", 0, _scaled_constant)),
    "the logarithm less an entry": ("softmax of many", _replacing("Sub", 1, _swapped_inputs)),
    "differences stretched": ("log softmax", _replacing("Mul", 0, _scaled_constant)),
    "an entry above its exponential": ("log softmax of many", _replacing("Log", 0, _reading_first)),
    "a mean of fewer": ("layer normalization", _replacing("Div", 0, _scaled_constant)),
    "a larger epsilon": ("layer normalization", _replacing("Add", 0, _scaled_constant)),
    "another scale of a product": ("gemm", _replacing("Mul", 1, _scaled_constant)),
    "a clip that begins later": ("hard swish", _replacing("Add", 0, _scaled_constant)),
}

SQUARES = [node("MatMul", ["x", "u"], "a"), node("MatMul", ["a", "x"], "y")]

PLACES = {
    **{name: SEVERAL[name] for name, _ in BUGS.values() if name in SEVERAL},
    "hard swish": NUMBERS["hard swish"],
    "matrix product": network_from_onnx(
        model(SQUARES, {"u": np.array([[1, -2], [0.5, 3]], np.float32)}, ("N", 2, 2), opset=13), check=False
    ),
}


def standard_check(name: str) -> None:
    net = PLACES[name]
    for seed in range(6):
        for width in (1e-3, 0.3, 1.0):
            boxes = random_boxes(seed, 4, net.n_inputs, width)
            check(net, boxes, random_polytopes(seed, net.n_outputs), CrownSettings(steps=2))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    name, wrong = BUGS[bug]
    monkeypatch.setattr(expansion, "RULES", dict.fromkeys(expansion.RULES, wrong))
    with pytest.raises(AssertionError, match=r"above a reachable margin|its bound"):
        standard_check(name)


def test_each_operator_has_a_bug_and_the_check_passes_without() -> None:
    assert {node.op for net in PLACES.values() for node in net.nodes} >= set(expansion.RULES)
    for name in PLACES:
        standard_check(name)


def test_rows_that_end_at_an_operator_pay_for_their_sum() -> None:
    """Of ten thousand entries, exactly: without that half of the sums are too large."""
    naive = 0
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        rows, value = (torch.randn(1, 10_000, generator=generator, dtype=torch.float64) for _ in range(2))
        least, terms = batch._least_sum(rows, (value, value), torch.zeros(1, dtype=torch.int64))
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(rows[0].tolist(), value[0].tolist(), strict=True))
        assert Fraction(float(least)) <= exact
        assert exact - Fraction(float(least)) < Fraction(float(terms)) * Fraction(2) ** -36
        naive += Fraction(float((rows * value).sum())) > exact
    assert naive > 0


def test_of_what_is_not_known_zero_rows_lose_nothing() -> None:
    rows = torch.tensor([[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    low, up = torch.tensor([[-torch.inf, 3.0]]).double(), torch.tensor([[5.0, 4.0]]).double()
    least, _ = batch._least_sum(rows, (low, up), torch.zeros(3, dtype=torch.int64))
    assert least[1] == -torch.inf
    assert torch.allclose(least[[0, 2]], torch.tensor([6.0, -5.0], dtype=torch.float64))
