"""Intervals of any graph: every operator's rule against sampled and, where corners decide, exact values."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds import interval
from birdnn.bounds.interval import IntervalBound, propagate, rule_for
from birdnn.boxes import Boxes
from birdnn.errors import UnsupportedOpError
from birdnn.formats.onnx import network_from_layers
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import OPERATORS
from birdnn.rounding import Semantics
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    all_open,
    convolution,
    graph_net,
    half_space,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_net,
    random_polytopes,
)
from tests.bounds.test_functions import DEFINED, NUMBERS, SEVERAL

_RNG = np.random.default_rng(11)


def _floats(*shape: int) -> np.ndarray:
    return _RNG.normal(size=shape).astype(np.float32)


def _one(
    op: str, inputs: list[str], shape: tuple[int, ...], tensors: dict[str, np.ndarray] | None = None, **attributes
):
    return [(op, inputs, "y", attributes)], tensors or {}, shape


_IMAGE = (1, 2, 2, 2)
_STATISTICS = {
    "s": np.array([-1.2, 0.7], np.float32),
    "t": _floats(2),
    "m": _floats(2),
    "v": _floats(2) ** 2 + np.float32(0.1),
}
_GEMM = {"w": _floats(3, 4), "c": _floats(1, 4)}

_SIGNED = np.array([[0.7, -0.2, -1.1, 0.1]], np.float32)

CASES = {
    "add a constant": _one("Add", ["x", "c"], (1, 4), {"c": _floats(1, 4)}),
    "average with counted pads": _one(
        "AveragePool", ["x"], _IMAGE, kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1
    ),
    "average without pads": _one("AveragePool", ["x"], _IMAGE, kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    "normalisation, scales of both signs": _one("BatchNormalization", ["x", "s", "t", "m", "v"], _IMAGE, _STATISTICS),
    "clip": _one("Clip", ["x", "l", "u"], (1, 4), {"l": np.float32(-0.2), "u": np.float32(0.3)}),
    "concat with a constant": _one("Concat", ["x", "c"], (1, 4), {"c": _floats(1, 2)}, axis=1),
    "convolution": _one(
        "Conv", ["x", "k", "c"], _IMAGE, {"k": _floats(3, 2, 2, 2), "c": _floats(3)}, pads=[1, 0, 0, 1]
    ),
    "grouped convolution": _one("Conv", ["x", "k"], _IMAGE, {"k": _floats(2, 1, 2, 2)}, group=2, pads=[1, 1, 1, 1]),
    "divide by both signs": _one("Div", ["x", "c"], (1, 2), {"c": np.array([[-0.5, 3.0]], np.float32)}),
    "elu": _one("Elu", ["x"], (1, 4), alpha=1.0),
    "elu, large": _one("Elu", ["x"], (1, 4), alpha=2.5),
    "elu, negative": _one("Elu", ["x"], (1, 4), alpha=-0.7),
    "flatten": _one("Flatten", ["x"], _IMAGE),
    "gather": _one("Gather", ["x", "i"], (1, 4), {"i": np.array([2, 0, 2])}, axis=1),
    "gemm": _one("Gemm", ["x", "w", "c"], (1, 3), _GEMM, alpha=0.5, beta=2.0),
    "gemm, negative factors": _one("Gemm", ["x", "w", "c"], (1, 3), _GEMM, alpha=-0.7, beta=-2.0),
    "gemm, transposed weight": _one("Gemm", ["x", "w"], (1, 4), {"w": _floats(3, 4)}, transB=1, alpha=-1.0),
    "gemm, weight first": _one("Gemm", ["w", "x", "c"], (3, 2), {"w": _floats(4, 3), "c": _floats(4, 1)}, alpha=-1.5),
    "gemm, weight first, both transposed": _one(
        "Gemm", ["w", "x"], (2, 3), {"w": _floats(3, 4)}, transA=1, transB=1, alpha=-0.3
    ),
    "global average": _one("GlobalAveragePool", ["x"], _IMAGE),
    "identity": _one("Identity", ["x"], (1, 4)),
    "leaky": _one("LeakyRelu", ["x"], (1, 4), alpha=0.1),
    "leaky, negative": _one("LeakyRelu", ["x"], (1, 4), alpha=-0.5),
    "leaky, steep": _one("LeakyRelu", ["x"], (1, 4), alpha=1.5),
    "matmul": _one("MatMul", ["x", "w"], (1, 3), {"w": _floats(3, 4)}),
    "matmul, weight first": _one("MatMul", ["w", "x"], (3, 2), {"w": _floats(4, 3)}),
    "maximum of two": _one("Max", ["x", "c"], (1, 4), {"c": _SIGNED}),
    "minimum of two": _one("Min", ["x", "c"], (1, 4), {"c": _SIGNED}),
    "maximum, padded": _one("MaxPool", ["x"], _IMAGE, kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
    "multiply by both signs": _one("Mul", ["x", "c"], (1, 4), {"c": _floats(1, 4)}),
    "sum over an axis": _one("ReduceSum", ["x", "a"], _IMAGE, {"a": np.array([1])}),
    "relu": _one("Relu", ["x"], (1, 4)),
    "reshape": _one("Reshape", ["x", "n"], _IMAGE, {"n": np.array([1, 4, 2])}),
    "sigmoid": _one("Sigmoid", ["x"], (1, 4)),
    "slice backwards": _one("Slice", ["x", "b", "e", "a", "p"], (1, 4), {
        "b": np.array([3]), "e": np.array([0]), "a": np.array([1]), "p": np.array([-2])}),
    "squeeze": _one("Squeeze", ["x", "a"], (1, 1, 4), {"a": np.array([1])}),
    "subtract from a constant": _one("Sub", ["c", "x"], (1, 4), {"c": _floats(1, 4)}),
    "subtract a constant": _one("Sub", ["x", "c"], (1, 4), {"c": _floats(1, 4)}),
    "tanh": _one("Tanh", ["x"], (1, 4)),
    "transpose": _one("Transpose", ["x"], (1, 2, 3), perm=[0, 2, 1]),
    "unsqueeze": _one("Unsqueeze", ["x", "a"], (1, 4), {"a": np.array([1])}),
}  # fmt: skip
"""One operator each. On all of them the extreme values lie at corners of the box, or where an input is zero."""


def check_intervals(net: Network, boxes: Boxes, *, exact: bool = False) -> None:
    """Outputs at sampled points lie inside; with `exact` the ends are attained at the tried points."""
    low, high = propagate(net, boxes.lower, boxes.upper)
    points = points_of(boxes, count=64)
    kinks = torch.zeros_like(points).clamp(boxes.lower[:, None], boxes.upper[:, None])
    generator = torch.Generator().manual_seed(0)
    mixed = torch.where(torch.rand(points.shape, generator=generator) < 0.5, points, kinks)
    outputs = outputs_at(net, torch.cat([points, mixed, kinks], 1))
    least, most = outputs.amin(1), outputs.amax(1)
    assert bool((low <= least + 1e-9).all()), "a value below its interval"
    assert bool((high >= most - 1e-9).all()), "a value above its interval"
    if exact:
        assert torch.allclose(low, least, atol=1e-9), "a lower end that nothing reaches"
        assert torch.allclose(high, most, atol=1e-9), "an upper end that nothing reaches"


def check_case(case: str, seeds: range = range(6)) -> None:
    """`check_intervals` of a single operator, on boxes around and beside zero, exactly."""
    net = graph_net(*CASES[case])
    for seed in seeds:
        check_intervals(net, random_boxes(seed, 5, net.n_inputs), exact=True)


@pytest.mark.parametrize("case", CASES)
def test_one_operator_is_exact(case: str) -> None:
    """A rule that assumes monotone growth, a positive weight or a positive alpha fails here."""
    check_case(case)


def test_every_operator_has_a_rule_and_a_case() -> None:
    """An operator that the importer reads but nothing bounds would surface in a user's network."""
    for op in OPERATORS:
        rule_for(Node(op, op, ("x",), "y"))
    functions = {step.op for net in (*NUMBERS.values(), *SEVERAL.values()) for step in net.nodes}
    functions |= {step.op for net, _ in DEFINED.values() for step in net.nodes}
    assert {nodes[0][0] for nodes, _, _ in CASES.values()} | functions == set(OPERATORS)


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_weights_that_nodes_compute(semantics: Semantics) -> None:
    """Of constants alone: known up to rounding, as an interval; the bounds pay for it, also on a point."""
    tensors = {
        "k": _floats(3, 2, 2, 2),
        "c": _floats(3),
        "s": _floats(3, 1, 1, 1),
        "w": _floats(2, 12),
        "r": _floats(2),
    }
    nodes = [
        ("Mul", ["k", "s"], "scaled", {}),
        ("Add", ["c", "c"], "bias", {}),
        ("Conv", ["x", "scaled", "bias"], "a", {"pads": [1, 0, 0, 1]}),
        ("Relu", ["a"], "b", {}),
        ("Flatten", ["b"], "f", {}),
        ("Transpose", ["w"], "v", {"perm": [1, 0]}),
        ("Mul", ["v", "r"], "u", {}),
        ("MatMul", ["f", "u"], "y", {}),
    ]
    net = graph_net(nodes, tensors, _IMAGE)
    for seed in range(10):
        check_intervals(net, random_boxes(seed, 6, 8, 2.0))
    point = torch.from_numpy(_floats(1, 8))
    low, high = propagate(net, point.double(), point.double(), semantics)
    outputs = net(point) if semantics == "float32" else outputs_at(net, point[:, None].double())[:, 0]
    assert bool(((low < outputs) & (outputs < high)).all())
    assert float((high - low).max()) < 1e-3


COMPUTED = {  # constants that nodes make, at places where a hair decides, and what they are
    "floor": ([("Mul", ["a", "b"], "m", {}), ("Floor", ["m"], "k", {})], {"a": 1.5, "b": 2.0}, 3.0),
    "sign": ([("Sub", ["a", "a"], "m", {}), ("Sign", ["m"], "k", {})], {"a": 0.7}, 0.0),
    "relu": ([("Mul", ["a", "b"], "m", {}), ("Relu", ["m"], "k", {})], {"a": 1.5, "b": 2.0}, 3.0),
    "moved": ([("Sub", ["a", "b"], "m", {}), ("Mul", ["m", "c"], "k", {})], {"a": 1000001.0, "b": 1e6, "c": 1.0}, 1.0),
    "function": ([("Softplus", ["a"], "m", {}), ("Relu", ["m"], "k", {})], {"a": 5.0}, 5.006715348489118),
}  # fmt: skip


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("name", COMPUTED)
def test_constants_that_nodes_make_are_intervals_from_there_on(name: str, semantics: Semantics) -> None:
    """What comes behind a rounding reads both ends: a step or a ReLU of the lower one alone is another number."""
    nodes, numbers, value = COMPUTED[name]
    tensors = {key: np.float32([number]) for key, number in numbers.items()}
    net = graph_net([*nodes, ("Add", ["x", "k"], "y", {})], tensors, (1, 1))
    point = torch.zeros(1, 1, dtype=torch.float64)
    low, high = propagate(net, point, point, semantics)
    assert float(low) <= value <= float(high)
    if name == "function" and semantics == "float32":  # nothing is claimed of its runs
        assert float(high) == torch.inf


def test_a_kernel_that_depends_on_the_input() -> None:
    """A convolution is linear in its kernel as well."""
    nodes = [("Tanh", ["x"], "t", {}), ("Conv", ["x", "t"], "y", {"pads": [1, 0, 0, 1]})]
    net = graph_net(nodes, {}, (1, 1, 2, 2))
    for seed in range(10):
        check_intervals(net, random_boxes(seed, 6, 4, 2.0))


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), width=st.sampled_from([1e-9, 0.1, 3.0]))
def test_dense_networks(op: str, alpha: float | None, seed: int, width: float) -> None:
    """Layers on top of each other: an error of one rule reaches the outputs of all."""
    check_intervals(random_net(seed, (3, 5, 4, 2), op, alpha), random_boxes(seed, 4, 3, width))


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1), last=st.sampled_from(["residual", "sigmoid"]), width=st.sampled_from([0.01, 1.0])
)
def test_residual_convolutions(seed: int, last: str, width: float) -> None:
    """What crown cannot do yet is decided by these bounds alone."""
    check_intervals(convolution(seed, last), random_boxes(seed, 3, 18, width))


def test_products_and_sums_of_two_variables() -> None:
    """x * x, x - 2 x and x + tanh(x): both operands move."""
    tensors = {"two": np.array([[2.0]], np.float32)}
    nodes = [
        ("Mul", ["x", "two"], "twice", {}),
        ("Mul", ["x", "twice"], "square", {}),
        ("Sub", ["square", "x"], "difference", {}),
        ("Tanh", ["difference"], "t", {}),
        ("Concat", ["t", "x"], "y", {"axis": 1}),
    ]
    for seed in range(10):
        check_intervals(graph_net(nodes, tensors, (1, 3)), random_boxes(seed, 6, 3, 2.0))


def test_a_variable_addend_of_gemm() -> None:
    """Gemm(x, W, x): the addend varies too, with a negative factor."""
    net = graph_net([("Gemm", ["x", "w", "x"], "y", {"alpha": -0.5, "beta": -1.5})], {"w": _floats(3, 3)}, (1, 3))
    for seed in range(10):
        check_intervals(net, random_boxes(seed, 6, 3, 2.0))


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_products_of_two_variable_matrices(op: str) -> None:
    """x @ tanh(x), with a negative factor where there is one."""
    more = {"alpha": -0.5} if op == "Gemm" else {}
    net = graph_net([("Tanh", ["x"], "t", {}), (op, ["x", "t"], "y", more)], {}, (2, 2))
    for seed in range(10):
        check_intervals(net, random_boxes(seed, 6, 4, 2.0))


def test_an_operator_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatch ends in `raise`, with the node's name."""
    monkeypatch.setitem(OPERATORS, "Tanh", replace(OPERATORS["Tanh"], monotone=False))  # type: ignore[arg-type]
    boxes = random_boxes(0, 2, 2)
    with pytest.raises(UnsupportedOpError, match="activation_0"):
        propagate(random_net(0, (2, 3, 1), "Tanh"), boxes.lower, boxes.upper)


# --- as a bound of a property's margin -----------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1))
def test_no_point_beats_its_bound(seed: int) -> None:
    """The bound of the margin, rows of both signs and several polytopes of different lengths."""
    net, boxes, polytopes = random_net(seed, (2, 4, 3)), random_boxes(seed, 4, 2), random_polytopes(seed, 3)
    found = IntervalBound(net, CPU).bound(question_of(polytopes), boxes, all_open(boxes, polytopes), torch.zeros(4, 0))
    outputs = outputs_at(net, points_of(boxes))
    for box, polytope, lower in zip(found.box.tolist(), found.polytope.tolist(), found.lower.tolist(), strict=True):
        assert lower <= float(polytopes[polytope].margin(outputs[box]).amin()) + 1e-9


def test_overflow_proves_nothing() -> None:
    """A sigmoid makes 1 of infinity: an overflow in between must not come out as a number."""
    layers = [([[1e308, 1e308, -1.5e308]], [0.0]), ([[1.0]], [0.0])]
    net = network_from_layers(layers, "Sigmoid", dtype=np.float64)
    point = torch.tensor([[1.0, 1.0, 1.5]], dtype=torch.float64)  # 1e308 * (2 - 2.25): the sigmoid is 0
    low, high = propagate(net, point, point)
    assert bool((low <= 0).all())
    assert bool((high >= 0).all())
    question, boxes = question_of((half_space([1.0], 0.5),)), Boxes(point, point)
    bound = IntervalBound(net, CPU)
    found = bound.bound(question, boxes, torch.ones(1, 1, dtype=torch.bool), bound.root(1))
    assert not bool(question.excluded(found.lower, found.polytope).any())


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_poisoned_weights_prove_nothing(poison: float) -> None:
    """NaN in a weight: every interval behind it is everything."""
    bound = IntervalBound(random_net(1, (2, 3, 3, 1)), CPU)
    boxes, question = random_boxes(1, 3, 2), question_of((half_space([1.0], -1e9),))
    opened = torch.ones(3, 1, dtype=torch.bool)

    def excluded() -> Tensor:
        found = bound.bound(question, boxes, opened, bound.root(3))
        return question.excluded(found.lower, found.polytope)

    assert bool(excluded().all())
    with torch.no_grad():
        bound._net.value("W0").fill_(poison)
    assert not bool(excluded().any())


# --- planted bugs ------------------------------------------------------------------------------------------------


def _shrunk(rule):
    def wrong(node, inputs):
        low, high = rule(node, inputs)
        middle, radius = (low + high) / 2, (high - low) / 2
        return middle - 0.9 * radius, middle + 0.9 * radius

    return wrong


def _scaled(rule):
    def wrong(node, inputs):
        low, high = rule(node, inputs)
        return 0.9 * low, 0.9 * high

    return wrong


@pytest.mark.parametrize("bug", [_shrunk, _scaled])
@pytest.mark.parametrize("case", CASES)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, case: str, bug) -> None:
    """Each rule, its intervals made smaller or scaled by 0.9."""
    op = CASES[case][0][0][0]
    monkeypatch.setitem(interval.RULES, op, bug(rule_for(Node(op, op, ("x",), "y"))))
    with pytest.raises(AssertionError, match="its interval"):
        check_case(case)


NAIVE = [
    ("BatchNormalization", "normalisation, scales of both signs"), ("Div", "divide by both signs"),
    ("Mul", "multiply by both signs"), ("Sub", "subtract from a constant"), ("MatMul", "matmul"),
    ("Gemm", "gemm, negative factors"), ("Conv", "convolution"), ("LeakyRelu", "leaky, negative"),
    ("Elu", "elu, negative"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "case"), NAIVE)
def test_taking_an_operator_for_monotone_is_seen(monkeypatch: pytest.MonkeyPatch, op: str, case: str) -> None:
    """The likeliest mistake: ends go to ends."""
    monkeypatch.setitem(interval.RULES, op, interval._monotone)
    with pytest.raises(AssertionError, match="its interval"):
        check_case(case)


def test_both_bound_methods_are_of_one_kind() -> None:
    """Intervals and crown on the same boxes: neither proves what the other's samples refute, crown is no looser."""
    from birdnn.bounds.crown import CrownBound, CrownSettings

    for seed, (op, alpha) in itertools.product(range(3), ACTIVATIONS):
        net, boxes, polytopes = (
            random_net(seed, (2, 4, 2), op, alpha),
            random_boxes(seed, 6, 2),
            random_polytopes(seed, 2),
        )
        question, opened = question_of(polytopes), all_open(boxes, polytopes)
        loose = IntervalBound(net, CPU).bound(question, boxes, opened, torch.zeros(6, 0))
        bound = CrownBound(net, CPU, CrownSettings())
        tight = bound.bound(question, boxes, opened, bound.root(6))
        assert torch.equal(loose.box, tight.box)
        assert torch.equal(loose.polytope, tight.polytope)
        assert float((tight.lower - loose.lower).mean()) >= 0
