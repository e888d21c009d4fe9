"""Planes around every operator that has a rule, against exact values: numbers of all sizes, no tolerance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
import torch
from torch import Tensor

from birdnn.bounds import planes
from birdnn.bounds.interval import Interval, node_interval
from birdnn.bounds.planes import RULES, Plane, planes_of
from birdnn.graph import Node

ALPHAS = {"LeakyRelu": (0.1, -0.5, 1.5), "Elu": (1.0, 0.3, 2.0, -0.7)}
TWO = {"Div", "Max", "Min", "Mul"}


def nodes_of(op: str) -> list[Node]:
    """The operator with each of its attributes that rules tell apart."""
    options: Sequence[dict[str, Any]] = {
        "Clip": [{"min": -0.3, "max": 2.0}, {"min": 0.0, "max": np.inf}, {"min": -np.inf, "max": 1.0}],
        "Gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
        "Pow": [{"exponent": 2.0}, {"exponent": 3.0}, {"exponent": 5.0}],
        **{name: [{"alpha": alpha} for alpha in alphas] for name, alphas in ALPHAS.items()},
    }.get(op, [{}])
    inputs = {"Where": [("c", "u", "v")], "Mul": [("u", "v"), ("u", "u")]}
    names = inputs.get(op, [("u", "v") if op in TWO else ("u",)])
    return [Node(op, op, each, "y", chosen) for each in names for chosen in options]


def exactly(node: Node, x: Sequence[Fraction]) -> flint.arb | None:
    """The operator's value; None where this test knows no exact one."""
    one = _ball(x[0])
    number = {name: value for name, value in node.attributes.items() if isinstance(value, float)}
    functions: Mapping[str, Callable[[], Any]] = {
        "Cos": one.cos,
        "Elu": lambda: one if x[0] > 0 else number["alpha"] * one.expm1(),
        "Erf": one.erf,
        "Exp": one.exp,
        "Gelu": lambda: one / 2 * (1 + (one / flint.arb(2).sqrt()).erf()),
        "Log": one.log,
        "Sigmoid": lambda: 1 / (1 + (-one).exp()),
        "Sin": one.sin,
        "Softplus": lambda: (1 + one.exp()).log(),
        "Sqrt": one.sqrt,
        "Tanh": one.tanh,
    }
    if node.attributes.get("approximate") == "tanh":
        return None
    if node.op in functions:
        return flint.arb(functions[node.op]())
    return _ball(_rational(node, x, number))


def _rational(node: Node, x: Sequence[Fraction], number: Mapping[str, float]) -> Fraction:
    match node.op:
        case "Clip":
            bounded = x[0] if number["min"] == -np.inf else max(x[0], Fraction(number["min"]))
            return bounded if number["max"] == np.inf else min(bounded, Fraction(number["max"]))
        case "Div":
            return x[0] / x[1]
        case "LeakyRelu":
            return x[0] if x[0] > 0 else Fraction(number["alpha"]) * x[0]
        case "Max":
            return max(x)
        case "Min":
            return min(x)
        case "Mul":
            return x[0] * x[1]
        case "Pow":
            return Fraction(x[0] ** int(number["exponent"]))
        case "Relu":
            return max(x[0], Fraction(0))
        case "Where":
            return x[1] if x[0] else x[2]
    raise AssertionError(f"{node.op} has no exact value here")


def _ball(value: Fraction) -> flint.arb:
    return flint.arb(flint.fmpq(value.numerator, value.denominator))


def drawn(rng: np.random.Generator, node: Node, count: int) -> list[Interval]:
    """Intervals of the operands, (count, 1): of all sizes, around zero and beside it, points among them."""
    found = []
    functions = node.op in {"Cos", "Elu", "Erf", "Exp", "Gelu", "Sigmoid", "Sin", "Softplus", "Tanh"}
    for name in dict.fromkeys(node.inputs):
        most = 9 if functions else 200
        sizes = 2.0 ** rng.uniform(-most if functions else -200, most, (count, 1))
        centres = rng.choice([-1, 1], (count, 1)) * sizes * rng.choice([0, 1], (count, 1), p=[0.2, 0.8])
        radii = sizes * rng.choice([0, 1e-15, 1e-6, 0.3, 1.0, 3.0], (count, 1))
        low, up = centres - radii, centres + radii
        if node.op in ("Log", "Sqrt") or (node.op == "Div" and name == "v"):
            low, up = np.abs(centres) + sizes / 8, np.abs(centres) + sizes / 8 + radii
            low, up = (low, up) if node.op != "Div" or rng.random() < 0.5 else (-up, -low)
        if name == "c":
            low, up = rng.integers(0, 2, (2, count, 1)).astype(float)
            low, up = np.minimum(low, up), np.maximum(low, up)
        found.append((torch.from_numpy(low.astype(float)), torch.from_numpy(up.astype(float))))
    return found if len(found) == len(node.inputs) else [found[0], found[0]]


def points_in(rng: np.random.Generator, node: Node, operands: Sequence[Interval], box: int) -> list[list[Fraction]]:
    """Corners, and what lies between."""
    ends = [(float(low[box]), float(up[box])) for low, up in operands]
    whole = node.op == "Where"
    corners = [list(corner) for corner in itertools.product(*ends)]
    inside = [
        [low if whole and k == 0 else min(up, max(low, low + share * (up - low))) for k, (low, up) in enumerate(ends)]
        for share in rng.random(4)
    ]
    if node.inputs[0] == node.inputs[-1] and len(node.inputs) == 2:  # one value, read twice
        corners, inside = [[low, low] for low in ends[0]], [[x[0], x[0]] for x in inside]
    return [[Fraction(value) for value in point] for point in [*corners, *inside]]


def value_at(plane: Plane, box: int, x: Sequence[Fraction]) -> Fraction | None:
    """Exactly; None where it is infinite, and says nothing."""
    numbers = [float(slope[box]) for slope in plane.slopes], float(plane.offset[box])
    if not np.isfinite([*numbers[0], numbers[1]]).all():
        return None
    return Fraction(numbers[1]) + sum((Fraction(s) * v for s, v in zip(numbers[0], x, strict=True)), Fraction(0))


def check(node: Node, seed: int, count: int = 40) -> int:
    """No plane on the wrong side anywhere; how many said something."""
    rng, said = np.random.default_rng(seed), 0
    operands = drawn(rng, node, count)
    result = node_interval(node, operands, {"y"})
    found = planes_of(node, operands, result)
    sides = [(plane, 1) for plane in found.low] + [(plane, -1) for plane in found.up]
    for box in range(count):
        for x in points_in(rng, node, operands, box):
            exact = exactly(node, x)
            for plane, sign in sides if exact is not None else ():
                value = value_at(plane, box, x)
                if value is None:
                    assert sign * float(plane.offset[box]) < 0 or np.isnan(float(plane.offset[box]))
                    continue
                said += 1
                assert not sign * (_ball(value) - exact) > 0, f"{node.op}: a plane on the wrong side of {x}"
    return said


def check_all(nodes: Sequence[Node], seeds: int) -> None:
    for node, seed in itertools.product(nodes, range(seeds)):
        check(node, seed)


@pytest.fixture(autouse=True)
def precise() -> Any:
    before, flint.ctx.prec = flint.ctx.prec, 3000
    yield
    flint.ctx.prec = before


@pytest.mark.parametrize("op", RULES)
def test_no_plane_is_on_the_wrong_side(op: str) -> None:
    for node, seed in itertools.product(nodes_of(op), range(3)):
        said = check(node, seed)
        assert said > 100 or node.attributes.get("approximate") == "tanh"


@pytest.mark.parametrize("op", sorted(set(RULES) - {"Where"}))
def test_planes_close_in_on_the_value(op: str) -> None:
    """Of narrow intervals nothing but rounding is between them: a gap that shrinks with the width alone is too much."""
    for node in nodes_of(op):
        gaps = []
        for width in (1e-2, 1e-4):
            operands = [
                (torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[0.7 + width]], dtype=torch.float64))
            ]
            operands = operands * len(node.inputs)
            found = planes_of(node, operands, node_interval(node, operands, {"y"}))
            middle = [Fraction(0.7 + width / 2)] * len(node.inputs)
            low = max(value_at(plane, 0, middle) for plane in found.low)  # type: ignore[type-var]
            up = min(value_at(plane, 0, middle) for plane in found.up)  # type: ignore[type-var]
            gaps.append(float(up - low))  # type: ignore[operator]
        kinked = op in ("Max", "Min")  # within the interval
        ruled = node.attributes.get("approximate") != "tanh" and node.attributes.get("exponent") != 5.0
        assert gaps[0] < 2e-2
        assert gaps[1] < (1e-7 if ruled and not kinked else 1e-3), node


@pytest.mark.parametrize(("op", "low", "up"), [("Div", 1.0, 1e15), ("Exp", -1e6, -1e6 + 1), ("Log", 1e15, 1.001e15)])
def test_last_places_of_an_operand_do_not_count(op: str, low: float, up: float) -> None:
    """Some 1e-16 of 1e15 were taken from planes around a number of at most 1: the sum behind a peaked softmax."""
    ends = torch.tensor([[low]], dtype=torch.float64), torch.tensor([[up]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    operands = [(one, one), ends] if op == "Div" else [ends]
    node = Node(op, op, ("u", "v")[: len(operands)], "y")
    result = node_interval(node, operands, {"y"})
    found = planes_of(node, operands, result)
    for end in (Fraction(low), Fraction(up)):
        x = [Fraction(1), end] if op == "Div" else [end]
        exact = float(exactly(node, x))  # type: ignore[arg-type]
        below = max(float(value_at(plane, 0, x)) for plane in found.low)  # type: ignore[arg-type]
        above = min(float(value_at(plane, 0, x)) for plane in found.up)  # type: ignore[arg-type]
        assert below <= exact <= above
        # the upper planes of the quotient and of the exponential are chords, the lower ones of the logarithm
        assert (exact - below if op == "Log" else above - exact) < 1e-10


CURVES: Mapping[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "erf": (planes._erf(Node("Erf", "", ("u",), "y")), torch.erf),
    "exp": (planes._exp(Node("Exp", "", ("u",), "y")), torch.exp),
    "gelu": (planes._gelu(Node("Gelu", "", ("u",), "y", {"approximate": "none"})), torch.nn.functional.gelu),
    "log": (planes._log(Node("Log", "", ("u",), "y")), torch.log),
    "sqrt": (planes._sqrt(Node("Sqrt", "", ("u",), "y")), torch.sqrt),
    "softplus": (planes._softplus(Node("Softplus", "", ("u",), "y")), torch.nn.functional.softplus),
    "cube": (planes._power(Node("Pow", "", ("u",), "y", {"exponent": 3.0})), lambda x: x**3),
    "reciprocal": (planes._RECIPROCAL, torch.reciprocal),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_bend_as_they_say(name: str) -> None:
    """First and second derivatives by torch, on a grid."""
    curve, function = CURVES[name]
    for low, up in ((0.2, 0.9), (0.5, 4.0), (-3.0, -1.5), (-1.0, 1.0), (-2.5, 2.2), (1.5, 9.0), (-8.0, -0.1)):
        if low < 0 and name in ("log", "sqrt", "reciprocal"):
            continue
        x = torch.linspace(low, up, 4001, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x)
        ends = [torch.tensor([end], dtype=torch.float64) for end in (low, up)]
        least, most = curve.curvature(*ends)
        assert torch.allclose(curve.slope(x), slope, atol=1e-12)
        assert float(least) <= float(bend.min()) + 1e-9
        assert float(most) >= float(bend.max()) - 1e-9


# --- planted bugs ------------------------------------------------------------------------------------------------


def _moved(rule: Any, change: Callable[[Plane], Plane], side: str) -> Any:
    def wrong(node: Node, operands: list[Interval], result: Interval) -> Any:
        found = rule(node, operands, result)
        pairs = {"low": found.low, "up": found.up}
        pairs[side] = tuple(change(plane) for plane in pairs[side])
        return planes.Planes(pairs["low"], pairs["up"], found.start)

    return wrong


BUGS: Mapping[str, tuple[Callable[[Plane], Plane], str]] = {
    "lower slopes steeper": (lambda p: Plane(tuple(s + 0.1 * (1 + s.abs()) for s in p.slopes), p.offset), "low"),
    "upper slopes flatter": (lambda p: Plane(tuple(s - 0.1 * (1 + s.abs()) for s in p.slopes), p.offset), "up"),
    "lower planes moved up": (lambda p: p.moved(1e-6 * (1 + p.offset.abs())), "low"),
    "upper planes moved down": (lambda p: p.moved(-1e-6 * (1 + p.offset.abs())), "up"),
}


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("op", RULES)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, op: str, bug: str) -> None:
    change, side = BUGS[bug]
    node = nodes_of(op)[0]
    monkeypatch.setitem(planes.RULES, op, _moved(RULES[op], change, side))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="on the wrong side"):
        check_all([node], 3)


@pytest.mark.parametrize("op", ["Cos", "Exp", "Gelu", "Log", "Mul", "Pow", "Softplus", "Sqrt"])
def test_planes_that_pay_for_no_rounding_are_seen(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    monkeypatch.setattr(planes, "_ROUNDINGS", 0.0)
    monkeypatch.setattr("birdnn.bounds.rules.LINE_ROUNDINGS", 0.0)
    with pytest.raises(AssertionError, match="on the wrong side"):
        check_all(nodes_of(op), 10)
