"""Bounds against arithmetic that does not round, and against float32 executions in any order: no tolerance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import crown, interval, rules
from birdnn.bounds.compiled import bound as loops
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound
from birdnn.boxes import Boxes
from birdnn.chain import Affine
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from birdnn.rounding import Semantics, gamma
from birdnn.spec import Polytope, Row
from birdnn.verify import SearchSettings, require_float32, verify
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    Layers,
    all_open,
    compiled,
    graph_net,
    half_space,
    make_property,
    question_of,
    random_layers,
    random_polytopes,
)

SEEDS = st.integers(0, 2**32 - 1)
Executed = Callable[[Layers, str, float, np.ndarray, np.random.Generator], list]


def functions(op: str, alpha: float) -> Callable:
    """The activation in 60 digits."""
    return {
        "Relu": lambda z: max(z, mpmath.mpf(0)),
        "LeakyRelu": lambda z: z if z > 0 else alpha * z,
        "Elu": lambda z: z if z > 0 else alpha * mpmath.expm1(z),
        "Sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "Tanh": mpmath.tanh,
    }[op]


def exact(layers: Layers, op: str, alpha: float, x: np.ndarray, _: np.random.Generator) -> list:
    """Outputs at ``x`` in 60 digits."""
    with mpmath.workdps(60):
        act, values = functions(op, alpha), [mpmath.mpf(float(v)) for v in x]
        for k, (weight, bias) in enumerate(layers):
            if k:
                values = [act(v) for v in values]
            values = [
                mpmath.fsum(mpmath.mpf(float(w)) * v for w, v in zip(row, values, strict=True)) + float(b)
                for row, b in zip(weight, bias, strict=True)
            ]
        return values


def executed(layers: Layers, op: str, alpha: float, x: np.ndarray, rng: np.random.Generator) -> list:
    """What one float32 execution returns: any order, plain, fused, with wide accumulators, with flush to zero."""
    act = {
        "Relu": lambda z: torch.relu(z),
        "LeakyRelu": lambda z: torch.nn.functional.leaky_relu(z, alpha),
        "Elu": lambda z: torch.nn.functional.elu(z, alpha),
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
    }[op]
    value = x.astype(np.float32)
    for k, (weight, bias) in enumerate(layers):
        if k:
            value = act(torch.tensor(value)).numpy()
            if op in ("Elu", "Sigmoid", "Tanh"):  # another runtime's function, as good as is assumed
                value = value + np.float32(4e-7 * rng.choice([-1, 1]))
        value = np.array([dot(row, value, b, rng) for row, b in zip(weight, bias, strict=True)], dtype=np.float32)
    return [mpmath.mpf(float(v)) for v in value]


def dot(row: np.ndarray, value: np.ndarray, bias: np.float32, rng: np.random.Generator) -> np.float32:
    """``row @ value + bias`` in float32, in an order and a manner that the generator picks."""
    order, manner = rng.permutation(len(row)), rng.integers(4)
    if manner == 0:  # wide accumulator
        return np.float32(np.float32(np.sum(row.astype(np.float64) * value)) + bias)
    total = np.float32(bias) if manner == 1 else np.float32(0)
    for i in order:
        if manner == 2:  # fused
            total = np.float32(np.float64(row[i]) * np.float64(value[i]) + np.float64(total))
        else:
            product = row[i] * value[i]
            total = total + (product if manner != 3 or abs(product) >= 2.0**-126 else np.float32(0))
    return total if manner == 1 else np.float32(total + bias)


def margins(polytope: Polytope, outputs: list) -> Iterator:
    """Left minus right side of each row, in 60 digits."""
    with mpmath.workdps(60):
        for row in map(Row.normal, polytope.rows):
            left = mpmath.fsum(
                mpmath.mpf(c.numerator) / c.denominator * y for c, y in zip(row.coefficients, outputs, strict=True)
            )
            yield left - mpmath.mpf(row.bound.numerator) / row.bound.denominator


def check(
    make: Callable[..., MarginBound], semantics: Semantics, run: Executed, seed: int, op: str, alpha: float | None
) -> None:
    """The bounds of single points and of small boxes, none of them above what is attained there."""
    rng = np.random.default_rng(seed)
    layers = random_layers(seed, (3, 8, 8, 2), scale=float(rng.choice([0.5, 1.5, 4.0])))
    layers = [(weight, bias * np.float32(rng.choice([1, 1e5]))) for weight, bias in layers]
    last, _ = layers[-1]
    reference = network_from_layers([*layers[:-1], (last, np.zeros(2, np.float32))], op, alpha=alpha)
    layers[-1] = last, -reference(torch.zeros(1, 3))[0].detach().numpy()  # large numbers that cancel
    net = network_from_layers(layers, op, alpha=alpha)
    alpha = float(np.float32(alpha or 0.0))  # as a file stores it
    bound = make(net, CPU, semantics=semantics)
    centre = torch.tensor(rng.uniform(-1, 1, (4, 3)).astype(np.float32)).double()
    width = torch.tensor(rng.choice([0.0, 0.0, 2.0**-20, 2.0**-10], (4, 1)))
    boxes = Boxes(centre - width, centre + width)
    polytopes = random_polytopes(seed, 2)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(4))
    for i in range(4):
        points = [boxes.lower[i].numpy(), boxes.upper[i].numpy(), centre[i].numpy()]
        for x in points:
            outputs = run(layers, op, alpha, x, rng)
            for j, polytope in enumerate(polytopes):
                mine = (found.box == i) & (found.polytope == j)
                assert mpmath.mpf(float(found.lower[mine])) <= max(margins(polytope, outputs))


@pytest.mark.parametrize("make", [CrownBound, compiled, IntervalBound])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=12)
@given(seed=SEEDS)
def test_no_exact_margin_is_below_its_bound(make, op: str, alpha: float | None, seed: int) -> None:
    """The claim is about real numbers; a bound that forgets its own rounding is above one half of all single points."""
    check(make, "real", exact, seed, op, alpha)


@pytest.mark.parametrize("make", [CrownBound, compiled, IntervalBound])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=12)
@given(seed=SEEDS)
def test_no_float32_execution_is_below_its_bound(make, op: str, alpha: float | None, seed: int) -> None:
    """The claim of semantics float32: any order of the sums, fused or not, wide accumulators, flush to zero."""
    check(make, "float32", executed, seed, op, alpha)


def many(make, semantics: Semantics, run: Executed, op: str = "Relu", alpha: float | None = None) -> None:
    for seed in range(12):
        check(make, semantics, run, seed, op, alpha)


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (crown._Layer, "slack", lambda self, reach, executed=True: torch.zeros(len(reach), len(self.bias)).double()),
        (interval, "_error", lambda *_: None),
    ],
)
def test_forgotten_rounding_is_seen(monkeypatch: pytest.MonkeyPatch, where, name: str, instead) -> None:
    """Planted: no room for our own rounding."""
    make = CrownBound if where is crown._Layer else IntervalBound
    many(make, "real", exact)
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(AssertionError):
        many(make, "real", exact)


def test_forgotten_execution_errors_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: room for our own rounding only; and activations that are taken for exact."""
    for module in (crown, interval):
        monkeypatch.setattr(module, "gamma", lambda n, unit: gamma(n, 2.0**-53) if unit == 2.0**-24 else gamma(n, unit))
    for make in (CrownBound, IntervalBound):
        with pytest.raises(AssertionError):
            many(make, "float32", executed)


UNLUCKY = np.float32([1.0, *[2.0**-24] * 99])
"""Added one after the other in float32 every term but the first is lost: nearly all of what the bound allows."""

PLACES = {
    "the only layer": [UNLUCKY[None]],
    "a hidden layer": [UNLUCKY[None], np.ones((1, 1), np.float32)],
    "the last layer": [np.ones((100, 1), np.float32), UNLUCKY[None]],
}


@pytest.mark.parametrize("make", [CrownBound, compiled, IntervalBound])
@pytest.mark.parametrize("place", PLACES)
def test_the_worst_order_is_covered_and_hardly_more(monkeypatch: pytest.MonkeyPatch, make, place: str) -> None:
    """Random orders err far less than the bound says; here a bound of nine tenths is one that an execution breaks.

    Intervals pay twice: node by node, and for the segment as a whole.
    """
    net = network_from_layers([(w, np.zeros(len(w), np.float32)) for w in PLACES[place]])
    total = np.float32(0)
    for term in UNLUCKY:
        total = np.float32(total + term)
    assert total == 1.0
    ones = torch.ones(1, net.n_inputs).double()
    boxes, polytopes = Boxes(ones, ones), (half_space([1.0], 0.0),)

    def least() -> float:
        bound = make(net, CPU, semantics="float32")
        return float(bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1)).lower)

    assert least() <= 1.0
    module, share = (interval, 0.45) if make is IntervalBound else (crown, 0.9)
    monkeypatch.setattr(module, "gamma", lambda n, unit: gamma(n, unit) * (share if unit == 2.0**-24 else 1.0))
    assert least() > 1.0


@pytest.mark.parametrize("make", [CrownBound, compiled, IntervalBound])
@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Elu"])
def test_a_runtimes_function_may_err(monkeypatch: pytest.MonkeyPatch, make, op: str) -> None:
    """By what is assumed, and by no more; planted: a function that is taken for exact."""
    one = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    net, x = network_from_layers([one, one], op), torch.tensor([[-0.001]]).double()
    question, polytopes = question_of((half_space([1.0], 0.0),)), (half_space([1.0], 0.0),)

    def least() -> float:
        bound = make(net, CPU, semantics="float32")
        return float(bound.bound(question, Boxes(x, x), all_open(Boxes(x, x), polytopes), bound.root(1)).lower)

    value = net(x).item()
    assert least() <= value - 5e-7
    assert least() == pytest.approx(value, abs=2e-6)
    for module in (crown, interval, rules):
        monkeypatch.setattr(module, "execution_error", lambda *_: None)
    monkeypatch.setattr(loops, "_least_error", lambda *_: -1.0)
    assert not least() <= value - 4e-7


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_lines_leave_room_for_their_own_rounding(op: str, alpha: float | None) -> None:
    """A chord or tangent through computed values is not above, or below, the function everywhere: it is moved."""
    rng = np.random.default_rng(0)
    ends = torch.tensor(-rng.uniform(0, 3, (1, 200))), torch.tensor(rng.uniform(0, 3, (1, 200)))
    chain = network_from_layers(random_layers(0, (1, 1, 1)), op, alpha=alpha).chain()
    relaxation = rules.relax(next(a for a in chain if not isinstance(a, Affine)), *ends)
    act = functions(op, float(np.float32(alpha or 0.0)))
    lines = [(line, 1) for line in relaxation.low] + [(line, -1) for line in relaxation.up]
    with mpmath.workdps(60):
        for k, side, (line, sign) in itertools.product(range(200), ends, lines):
            z, offset = mpmath.mpf(float(side[0, k])), 0.0 if line.offset is None else float(line.offset[0, k])
            assert sign * (act(z) - mpmath.mpf(float(line.slope[0, k])) * z - offset) >= 0


def test_where_float32_overflows_nothing_is_proved() -> None:
    """1e30 times 1e30 is a number in float64 and none in float32."""
    net = network_from_layers([(np.float32([[1e30]]), np.float32([0])), (np.float32([[1e30]]), np.float32([0]))])
    boxes = Boxes(torch.tensor([[1.0]]).double(), torch.tensor([[2.0]]).double())
    polytopes = (half_space([1.0], 0.0),)
    for make in (CrownBound, IntervalBound):
        for semantics, proved in (("real", True), ("float32", False)):
            bound = make(net, CPU, semantics=semantics)
            found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1))
            assert bool(question_of(polytopes).excluded(found.lower, found.polytope).all()) is proved


def test_an_overflow_on_the_way_proves_nothing() -> None:
    """Times 1e18 twice, times 1e-18 twice: harmless as one map, infinite as it runs from 1000 on."""
    tensors = {"big": np.float32([[1e18]]), "small": np.float32([[1e-18]])}
    names = [("x", "big", "a"), ("a", "big", "b"), ("b", "small", "c"), ("c", "small", "y")]
    nodes = [("Mul", [first, factor], out, {}) for first, factor, out in names]
    net, corner = graph_net(nodes, tensors, (1, 1)), torch.tensor([[1000.0]]).double()
    boxes, polytopes = Boxes(corner, 2 * corner), (half_space([1.0], 0.5),)
    for make in (CrownBound, IntervalBound):
        for semantics, proved in (("real", True), ("float32", False)):
            bound = make(net, CPU, semantics=semantics)
            found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1))
            assert bool(question_of(polytopes).excluded(found.lower, found.polytope).all()) is proved


def test_preprocessing_counts() -> None:
    """A subtraction that cancels errs by what it cancels, not by what is left."""
    tensors = {"mean": np.float32([[1000.1]]), "w": np.float32([[1.0]]), "v": np.float32([[1.0]])}
    nodes = [("Sub", ["x", "mean"], "a", {}), ("MatMul", ["a", "w"], "b", {}), ("Relu", ["b"], "c", {}),
             ("MatMul", ["c", "v"], "y", {})]  # fmt: skip
    first = graph_net(nodes, tensors, (1, 1)).chain()[0]
    assert isinstance(first, Affine)
    assert float(first.terms.bias[0]) == pytest.approx(1000.1)
    assert first.terms.roundings == 2


def test_another_type_has_no_float32_execution() -> None:
    """What an execution in float32 of float64 weights is, nobody says."""
    net = network_from_layers(random_layers(0, (1, 2, 1)), dtype=np.float64)
    with pytest.raises(MismatchError, match="semantics float32 speaks about networks in float32, and this one has"):
        require_float32(net)
    prop = make_property([0.0], [1.0], half_space([1.0], -9.0))
    with pytest.raises(MismatchError, match="choose semantics real"):
        verify(net, prop, settings=SearchSettings(semantics="float32"), replays=[])
