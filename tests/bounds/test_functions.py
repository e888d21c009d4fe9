"""Intervals of functions that turn, are not defined everywhere, or take several values; each rule against samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import helper

from birdnn.bounds import interval
from birdnn.bounds.interval import propagate
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_onnx
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import OPERATORS, operators_where
from tests.bounds.builders import outputs_at, points_of, random_boxes
from tests.formats.models import Array, model, node, runner
from tests.formats.test_onnx_operators import CASES

_RNG = np.random.default_rng(5)


def _floats(*shape: int) -> Array:
    return _RNG.normal(size=shape).astype(np.float32)


HALVES = helper.make_node("Split", ["x"], ["a", "b"], name="halves", axis=1)


def net_of(op: str, tensors: Mapping[str, Array] | None = None, shape: tuple[int, ...] = (1, 1), **options) -> Network:
    """One operator of the input and constants, of opset 20."""
    tensors = tensors or {}
    return network_from_onnx(model([node(op, ["x", *tensors], **options)], tensors, shape, opset=20), check=False)


def pair_of(op: str, shape: tuple[int, ...], perm: list[int] | None = None, **options) -> Network:
    """One operator of the two halves of the input."""
    nodes = [HALVES] if perm is None else [HALVES, node("Transpose", ["b"], "t", perm=perm)]
    second = "b" if perm is None else "t"
    return network_from_onnx(model([*nodes, node(op, ["a", second], **options)], {}, shape, opset=13), check=False)


NUMBERS: Mapping[str, Network] = {
    "cos": net_of("Cos"),
    "sin": net_of("Sin"),
    "erf": net_of("Erf"),
    "exp": net_of("Exp"),
    "softplus": net_of("Softplus"),
    **{op.lower(): net_of(op) for op in ("Ceil", "Floor", "Round", "Sign")},
    "gelu": net_of("Gelu"),
    "gelu, approximate": net_of("Gelu", approximate="tanh"),
    "hard swish": net_of("HardSwish"),
    "square": net_of("Pow", {"n": np.float32(2)}),
    "cube": net_of("Pow", {"n": np.float32(3)}),
    "own product": network_from_onnx(model([node("Mul", ["x", "x"])], {}, (1, 1)), check=False),
}
"""Functions of one number that is anything."""

DEFINED: Mapping[str, tuple[Network, float]] = {
    "log": (net_of("Log"), 0.0),
    "sqrt": (net_of("Sqrt"), 0.0),
    "reciprocal": (net_of("Reciprocal"), 0.0),
    "inverse root": (net_of("Pow", {"n": np.float32(-0.5)}), 0.0),
}
"""Functions that are defined above a number."""

SEVERAL: Mapping[str, Network] = {
    "softmax": net_of("Softmax", shape=(1, 3)),
    "softmax, other axis": net_of("Softmax", shape=(1, 3, 2), axis=1),
    "softmax of many": net_of("Softmax", shape=(1, 10)),
    "softmax of many, other axis": net_of("Softmax", shape=(1, 9, 2), axis=1),
    "log softmax": net_of("LogSoftmax", shape=(1, 3)),
    "log softmax of many": net_of("LogSoftmax", shape=(1, 10)),
    "layer normalization": net_of("LayerNormalization", {"s": _floats(4), "b": _floats(4)}, (1, 4)),
    "layer normalization, axes": net_of("LayerNormalization", {"s": _floats(2, 2)}, (1, 2, 2), axis=1),
    "product": pair_of("Mul", (1, 4)),
    "matrix product": pair_of("MatMul", (1, 2, 3), [0, 2, 1]),
    "gemm": network_from_onnx(
        model([HALVES, node("Gemm", ["a", "b", "c"], transB=1, alpha=-0.5)], {"c": _floats(2, 2)}, (2, 4)),
        check=False,
    ),
    "maximum": pair_of("Max", (1, 4)),
    "greater": pair_of("Greater", (1, 4)),
    "greater or equal": pair_of("GreaterOrEqual", (1, 4)),
    "choice": network_from_onnx(
        model(
            [HALVES, node("Greater", ["a", "k"], "c"), node("Where", ["c", "b", "n"])],
            {"k": np.float32(0.1), "n": _floats(1, 2)},
            (1, 4),
        ),
        check=False,
    ),
    "transposed convolution": net_of(
        "ConvTranspose", {"w": _floats(2, 1, 2, 2), "b": _floats(1)}, (1, 2, 2, 2), strides=[2, 1], pads=[1, 0, 0, 0]
    ),
}
"""Operators of several numbers."""

EXACT = {
    "greater",
    "greater or equal",
    "softmax",
    "softmax, other axis",
    "log softmax",
    "product",
    "maximum",
    "transposed convolution",
}
"""Those whose extremes lie at corners."""


def check_number(net: Network, low: float, high: float, tight: bool = True) -> None:
    """A fine grid lies inside; and reaches the ends, but for the grid's own gaps."""
    ends = propagate(net, torch.tensor([[low]], dtype=torch.float64), torch.tensor([[high]], dtype=torch.float64))
    grid = torch.linspace(low, high, 20001, dtype=torch.float64)[:, None]
    y = net(grid)
    assert float(ends[0]) <= float(y.min()), "below its interval"
    assert float(ends[1]) >= float(y.max()), "above its interval"
    if tight:
        gap = 1e-3 * float(y.abs().max()) + 1e-12
        assert float(ends[0]) >= float(y.min()) - gap, "a lower end that nothing reaches"
        assert float(ends[1]) <= float(y.max()) + gap, "an upper end that nothing reaches"


def intervals(seed: int, count: int, least: float = -math.inf) -> list[tuple[float, float]]:
    """From points to widths of many, near zero and far."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=count) * rng.choice([0.3, 3, 20], count)
    radii = np.abs(rng.normal(size=count)) * rng.choice([0, 1e-6, 0.1, 1, 10], count)
    pairs = [(c - r, c + r) for c, r in zip(centres.tolist(), radii.tolist(), strict=True)]
    if least == -math.inf:
        return pairs
    return [(least + 1e-3 + abs(a), least + 1e-3 + abs(a) + b - a) for a, b in pairs]


@pytest.mark.parametrize("name", NUMBERS)
def test_functions_of_a_number(name: str) -> None:
    for low, high in intervals(3, 60):
        check_number(NUMBERS[name], low, high)


@pytest.mark.parametrize("name", DEFINED)
def test_functions_that_are_not_defined_everywhere(name: str) -> None:
    """Where they may be undefined nothing is known, to either side."""
    net, least = DEFINED[name]
    for low, high in intervals(4, 60, least):
        check_number(net, low, high)
    for low, high in ((-1.0, 1.0), (-2.0, -1.0), (-1e-300, 2.0), (-math.inf, math.inf)):
        if name == "reciprocal" and high < 0:
            continue
        ends = propagate(net, *(torch.tensor([[end]], dtype=torch.float64) for end in (low, high)))
        assert [float(end) for end in ends] == [-math.inf, math.inf]


@pytest.mark.parametrize("low", [1e5, -3e6, 2.0**20, 1e12])
def test_waves_far_away(low: float) -> None:
    """Where a period is as long as rounding, nothing but the range is said."""
    for width in (0.0, 1e-3, 3.0, 7.0):
        check_number(NUMBERS["sin"], low, low + width, tight=False)
        check_number(NUMBERS["cos"], low, low + width, tight=False)


def test_waves_at_their_crests() -> None:
    """An interval that ends at a crest, or begins there, to within rounding."""
    for k, (name, crest) in itertools.product(range(-30, 30), (("sin", math.pi / 2), ("cos", 0.0))):
        for place in (crest + k * math.tau, crest + math.pi + k * math.tau):
            check_number(NUMBERS[name], place, place + 0.1)
            check_number(NUMBERS[name], place - 0.1, place)


def check_several(name: str, seeds: range) -> None:
    """Corners and samples lie inside; with few inputs, corners decide where the operator says so."""
    net = SEVERAL[name]
    for seed in seeds:
        boxes = random_boxes(seed, 5, net.n_inputs, width=float(np.random.default_rng(seed).choice([0.1, 1, 20])))
        low, high = propagate(net, boxes.lower, boxes.upper)
        outputs = outputs_at(net, points_of(boxes, count=300))
        least, most = outputs.amin(1), outputs.amax(1)
        assert bool((low <= least).all()), "below its interval"
        assert bool((high >= most).all()), "above its interval"
        if name in EXACT:
            assert torch.allclose(low, least, atol=1e-9)
            assert torch.allclose(high, most, atol=1e-9)


@pytest.mark.parametrize("name", SEVERAL)
def test_operators_of_several_numbers(name: str) -> None:
    check_several(name, range(20))


def test_a_quotient_of_two_values() -> None:
    net = pair_of("Div", (1, 4))
    for seed in range(20):
        boxes = random_boxes(seed, 5, 4)
        low, high = propagate(net, boxes.lower, boxes.upper)
        outputs = outputs_at(net, points_of(boxes, count=300))
        holds_zero = (boxes.lower[:, 2:] <= 0) & (boxes.upper[:, 2:] >= 0)
        assert bool((low.isinf() == holds_zero).all())
        assert bool((high.isinf() == holds_zero).all())
        assert bool((low <= outputs.amin(1)).all())
        assert bool((high >= outputs.amax(1)).all())
        assert torch.allclose(low[~holds_zero], outputs.amin(1)[~holds_zero], rtol=1e-9)


def test_one_box_without_a_bound_costs_the_others_nothing() -> None:
    net = pair_of("Div", (1, 2))
    lower = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    low, _ = propagate(net, lower, lower + 1)
    assert low.isinf().tolist() == [[True], [False]]


def test_far_numbers_of_softmax() -> None:
    """Exponents that underflow or overflow, and one entry that is alone with what it is."""
    net = SEVERAL["softmax"]
    for row in ([[0.0, 700, -700], [1.0, 701, -699]], [[-800.0, -800, 0], [-709, -709, 709]], [[0.0, 1e6, 2e6]] * 2):
        lower, upper = (torch.tensor([end], dtype=torch.float64) for end in row)
        boxes = Boxes(lower, upper)
        for name in ("softmax", "log softmax"):
            low, high = propagate(SEVERAL[name], lower, upper)
            outputs = outputs_at(SEVERAL[name], points_of(boxes, count=300))
            assert bool((low <= outputs.amin(1)).all())
            assert bool((high >= outputs.amax(1)).all())
    low, high = propagate(net, torch.full((1, 3), -torch.inf).double(), torch.full((1, 3), torch.inf).double())
    assert float(low.min()) <= 0
    assert float(high.max()) >= 1


def test_layer_normalization_says_something_of_wide_boxes() -> None:
    """No entry is more than the root of their number times the scale, whatever the input."""
    net = SEVERAL["layer normalization"]
    low, high = propagate(net, torch.full((1, 4), -1e3).double(), torch.full((1, 4), 1e3).double())
    assert float((high - low).max()) < 4.1 * float(net.value("s").abs().max())


def test_nothing_is_claimed_of_unmeasured_executions() -> None:
    """What a runtime's float32 function returns nobody measured."""
    nets = [*NUMBERS.values(), *(net for net, _ in DEFINED.values()), *SEVERAL.values()]
    unmeasured = operators_where(lambda row: row.unmeasured)
    seen = set()
    for net in nets:
        ops = {step.op for step in net.nodes} & unmeasured
        seen |= ops
        point = torch.full((1, net.n_inputs), 0.5, dtype=torch.float64)
        low, high = propagate(net, point, point, "float32")
        assert bool(low.isinf().all() and high.isinf().all()) == bool(ops)
    assert seen == unmeasured


ABSORBING: Mapping[str, tuple[Network, list[float]]] = {
    "sum": (net_of("ReduceSum", {"a": np.array([1])}, (1, 64)), [2.0**24] + [1.0] * 63),
    "transposed convolution": (
        net_of("ConvTranspose", {"w": np.ones((64, 1, 1), np.float32)}, (1, 64, 1)),
        [2.0**24] + [1.0] * 63,
    ),
    "matrix product": (pair_of("MatMul", (1, 2, 64), [0, 2, 1]), [2.0**24] + [1.0] * 127),
}
"""Sums of a large number and of ones, each of which is lost in some orders and in others none."""


def check_any_order(name: str) -> None:
    net, numbers = ABSORBING[name]
    point = torch.tensor([numbers], dtype=torch.float64)
    low, high = propagate(net, point, point, "float32")
    total = 2.0**24 + 63
    assert float(low) <= 2.0**24 < total <= float(high)
    assert float(high - low) < 1e3, "far more than there is to lose"


@pytest.mark.parametrize("name", ABSORBING)
def test_sums_in_any_order(name: str) -> None:
    check_any_order(name)


@pytest.mark.parametrize(("op", "name"), [("ReduceSum", "sum"), ("ConvTranspose", "transposed convolution")])
def test_a_row_that_forgets_its_roundings_is_seen(op: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = OPERATORS[op]
    assert row.sums is not None
    forgetful = replace(row, sums=replace(row.sums, roundings=lambda shapes, attributes: 0))
    monkeypatch.setitem(OPERATORS, op, forgetful)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        check_any_order(name)


def _monotone(node: Node, inputs):
    return interval._monotone(node, inputs)


def _narrow(node: Node, inputs):
    """Without what two radii make together."""
    (low_a, high_a), (low_b, high_b) = inputs[:2]
    a, b = (low_a + high_a) / 2, (low_b + high_b) / 2
    middle = interval._apply_node(node, [a, b])
    spread = interval._apply_node(node, [a.abs(), (high_b - low_b) / 2]) + interval._apply_node(
        node, [(high_a - low_a) / 2, b.abs()]
    )
    return middle - spread, middle + spread


PLANTED = [
    ("Gelu", _monotone, "gelu"),
    ("Gelu", interval._monotone_each_side(lambda node: -0.5), "gelu, approximate"),
    ("HardSwish", interval._monotone_each_side(lambda node: 0.0), "hard swish"),
    ("Pow", _monotone, "square"),
    ("Cos", interval._wave(0.1), "cos"),
    ("Sin", _monotone, "sin"),
    ("Softmax", _monotone, "softmax"),
    ("LogSoftmax", _monotone, "log softmax"),
    ("MatMul", _narrow, "matrix product"),
    ("LayerNormalization", _monotone, "layer normalization"),
    ("ConvTranspose", _monotone, "transposed convolution"),
    ("Greater", _monotone, "greater"),
    ("Where", _monotone, "choice"),
]


@pytest.mark.parametrize(("op", "rule", "name"), PLANTED)
def test_a_planted_bug_of_a_rule_is_seen(op: str, rule: Callable, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(interval.RULES, op, rule)  # type: ignore[arg-type]
    more = () if name in NUMBERS else (range(20),)
    check: Callable = check_several if more else test_functions_of_a_number
    with pytest.raises(AssertionError, match="its interval"):
        check(name, *more)


@pytest.mark.parametrize("name", CASES)
def test_executions_lie_inside(name: str) -> None:
    """At points, near zero and far, where an interval has nothing but its account of rounding."""
    data = CASES[name]
    net, run = network_from_onnx(data, check=False), runner(data)
    x = np.random.default_rng(6).normal(size=(60, net.n_inputs)) * np.repeat([1e-3, 1.0, 30.0, 1e4], 15)[:, None]
    points = torch.from_numpy(x.astype(np.float32))
    low, high = propagate(net, points.double(), points.double(), "float32")
    theirs = torch.stack([torch.from_numpy(run(row.reshape(net.input_shape).numpy())).flatten() for row in points])
    for y in (theirs.double(), net(points).detach().double()):
        assert bool(((low <= y) & (y <= high) | y.isnan()).all())


def test_a_normalisation_whose_squares_overflow() -> None:
    """A quotient by infinity would be a bound of zero, where the value is one."""
    tensors = {"s": np.ones(2, np.float64), "o": np.zeros(2, np.float64)}
    nodes = [node("LayerNormalization", ["x", "s", "o"])]
    net = network_from_onnx(model(nodes, tensors, (1, 2), opset=17, dtype=np.float64), check=False)
    low, high = (torch.tensor([ends], dtype=torch.float64) for ends in ([1e160, -1.5e160], [1.5e160, -1e160]))
    least, most = propagate(net, low, high)
    assert float(least[0, 0]) <= 1 <= float(most[0, 0])
