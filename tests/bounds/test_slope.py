"""How fast outputs change along an input: no difference of two runs lies outside, whatever the activation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import difference, slope
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.bounds.slope import CompiledSlopeBound, SlopeBound
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.verify.work import Work, examine
from tests.bounds.builders import ACTIVATIONS, CPU, Layers, graph_net, random_boxes, random_layers

SIZES = (3, 6, 5, 4, 2)
SEEDS = st.integers(0, 2**32 - 1)


def question() -> Question:
    """Item 2 j bounds the slope of output j from below, 2 j + 1 from above."""
    eye, nothing = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    rows = torch.stack([torch.cat([nothing, eye], 1), torch.cat([nothing, -eye], 1)], 1).flatten(0, 1)
    return Question(rows[:, None], torch.zeros(4, 1, dtype=torch.float64), torch.ones(4, dtype=torch.bool))


def ends(bound: MarginBound, boxes: Boxes) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest slopes, (boxes, outputs)."""
    asked = question()
    opened = torch.ones(len(boxes), len(asked), dtype=torch.bool)
    lower = bound.bound(asked, boxes, opened, bound.root(len(boxes))).lower.reshape(len(boxes), 2, 2)
    return lower[:, :, 0], -lower[:, :, 1]


def check_sound(net: Network, direction: int, bound: MarginBound, seed: int) -> None:
    """Secants between points of a box that differ in one coordinate, long and short ones."""
    boxes = Boxes.concatenate([random_boxes(seed, 3, 3), random_boxes(seed + 1, 3, 3, width=0.05)])
    low, high = ends(bound, boxes)
    generator = torch.Generator().manual_seed(seed)
    first = boxes.uniform(300, generator)
    second = first.clone()
    second[..., direction] = boxes.uniform(300, generator)[..., direction]
    run = second[..., direction] - first[..., direction]
    with torch.no_grad():
        y = [net.double()(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (first, second)]
    rise, slack = y[1] - y[0], 1e-9 * (1 + y[0].abs() + y[1].abs())
    one, other = low[:, None] * run[..., None], high[:, None] * run[..., None]
    assert bool((rise >= torch.minimum(one, other) - slack).all())
    assert bool((rise <= torch.maximum(one, other) + slack).all())


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=8)
@given(seed=SEEDS, direction=st.integers(0, 2))
def test_no_secant_is_outside(op: str, alpha: float | None, seed: int, direction: int) -> None:
    net = network_from_layers(random_layers(seed, SIZES), op, alpha=alpha)
    check_sound(net, direction, SlopeBound(net, direction, CPU), seed)


@pytest.mark.parametrize(("op", "alpha"), [*ACTIVATIONS, ("LeakyRelu", 1.5)])
def test_the_compiled_bounds_are_the_same(op: str, alpha: float | None) -> None:
    net = network_from_layers(random_layers(4, SIZES), op, alpha=alpha)
    steps = CrownSettings(steps=0)
    bounds = SlopeBound(net, 1, CPU, steps), CompiledSlopeBound(net, 1, steps, 2, always=True)
    boxes = Boxes.concatenate([random_boxes(0, 6, 3), random_boxes(1, 6, 3, width=0.05)])
    asked, opened, known = question(), torch.ones(12, 4, dtype=torch.bool), [bound.root(12) for bound in bounds]
    for _ in range(2):
        one, other = (b.bound(asked, boxes, opened, k) for b, k in zip(bounds, known, strict=True))
        for name in ("lower", "inherited"):
            assert torch.allclose(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-9), name
        found = zip(bounds, (one, other), strict=True)
        first, second = (bound.sensitivity(asked, opened, result.inherited) for bound, result in found)
        assert torch.allclose(first, second, rtol=1e-7)
        known, boxes = [one.inherited, other.inherited], boxes.bisect(first.argmax(1))[:12]


def test_a_linear_box_has_one_slope() -> None:
    """Where all neurons are active, the slope is the product of the weights, to rounding."""
    layers = [(abs(w), abs(b) + 1) for w, b in random_layers(0, (3, 4, 2))]
    net = network_from_layers(layers)
    boxes = Boxes(torch.full((1, 3), 0.1, dtype=torch.float64), torch.full((1, 3), 0.9, dtype=torch.float64))
    low, high = ends(SlopeBound(net, 2, CPU), boxes)
    exact = torch.from_numpy((layers[1][0].astype("f8") @ layers[0][0].astype("f8"))[:, 2])
    assert torch.allclose(low[0], exact, rtol=1e-9)
    assert torch.allclose(high[0], exact, rtol=1e-9)
    assert bool((low[0] <= exact).all())
    assert bool((exact <= high[0]).all())


@pytest.mark.parametrize("make", [SlopeBound, CompiledSlopeBound])
def test_slopes_are_zero_where_a_layer_is_inactive(make: type) -> None:
    """Exactly, so that nothing falls there; a bound that pays for underflow would be below zero for ever."""
    (weight, bias), (inner, offset), last = random_layers(1, (3, 5, 4, 2))
    dead = (inner, (offset - 100).astype(np.float32))
    alive = (inner, np.append(offset[:-1] - 100, 100).astype(np.float32))
    boxes = random_boxes(0, 4, 3)
    for second, zero in ((dead, True), (alive, False)):
        net = network_from_layers([(weight, bias), second, last], "Relu")
        bound = make(net, 1, CPU) if make is SlopeBound else make(net, 1, always=True)
        low, high = ends(bound, boxes)
        assert bool(((low == 0) & (high == 0)).all()) == zero
        # of slopes and outputs together it says nothing of its own, nor of a closed half-space at zero
        asked = question()
        strict = Question(asked.a, asked.b, torch.tensor([False, False, True, True]))
        opened = torch.ones(len(boxes), 4, dtype=torch.bool)
        step = examine(bound, strict, Work(boxes, opened, bound.root(4), torch.arange(4)))
        assert step.left.closed.reshape(4, 4)[:, :2].all() == zero
        assert not step.left.closed.reshape(4, 4)[:, 2:].all()
        mixed = Question(asked.a.clone().index_fill_(2, torch.tensor([0]), 1.0), asked.b, asked.closed)
        lower = bound.bound(mixed, boxes, opened, bound.root(4)).lower.reshape(4, 4)
        with torch.no_grad():
            assert bool((lower[:, 0] <= net.double()(boxes.centres())[:, 0] + 1e-9).all())


def signed_layers(seed: int) -> Layers:
    """Weights most of which have one sign, at all exponents, and biases as large as what they meet."""
    rng, size, layers = np.random.default_rng(seed), 1.0, []
    for n_in, n_out in itertools.pairwise((2, 4, 3, 3, 2)):
        scale = 2.0 ** int(rng.integers(-30, 31))
        size *= scale
        sign = rng.choice([-1.0, 0.0, 1.0], size=(n_out, n_in), p=[0.15, 0.15, 0.7])
        weight = scale * sign * rng.uniform(0.2, 1, (n_out, n_in))
        layers.append((weight.astype(np.float32), (size * rng.normal(size=n_out)).astype(np.float32)))
    return layers


def exact_outputs(layers: Layers, alpha: float, x: Sequence[Fraction]) -> list[Fraction]:
    """Of LeakyReLU networks, over the rationals."""
    for k, (weight, bias) in enumerate(layers):
        if k:
            x = [max(z, Fraction(0)) + Fraction(alpha) * min(z, Fraction(0)) for z in x]
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        x = [sum((Fraction(w) * v for w, v in zip(row, x, strict=True)), Fraction(b)) for row, b in rows]
    return list(x)


def check_signs(alpha: float, make: Callable[[Network], SlopeBound | CompiledSlopeBound], seeds: Iterable[int]) -> int:
    """No pair of inputs contradicts what is said of the signs of slopes; how often something is said."""
    said = 0
    for seed in seeds:
        layers = signed_layers(seed)
        net, boxes = network_from_layers(layers, "LeakyRelu", alpha=alpha), random_boxes(seed, 6, 2, width=0.3)
        bound, opened = make(net), torch.ones(len(boxes), 4, dtype=torch.bool)
        result = bound.bound(question(), boxes, opened, bound.root(len(boxes)))
        never = ~bound._may_be_negative(question().a[:, 0, 2:], result.inherited)
        assert bool((result.lower.reshape(never.shape)[never] >= 0).all())
        rng = np.random.default_rng(seed)
        for box, (lower, upper) in enumerate(zip(boxes.lower.numpy(), boxes.upper.numpy(), strict=True)):
            claims = [(item // 2, 1 - 2 * (item % 2)) for item in never[box].nonzero()[:, 0].tolist()]
            said += len(claims)
            for _ in range(8 if claims else 0):
                x = [Fraction(float(v)) for v in rng.uniform(lower, upper)]
                ways = sorted(Fraction(float(v)) for v in rng.uniform(lower[1], upper[1], 2))
                first, second = (exact_outputs(layers, alpha, [x[0], way]) for way in ways)
                assert all(sign * (second[j] - first[j]) >= 0 for j, sign in claims), (seed, box)
    return said


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.5])
def test_signs_of_slopes_are_exact(alpha: float) -> None:
    """No tolerance: a slope that is said to be zero or more is that for every pair of inputs, over the rationals."""
    assert check_signs(alpha, lambda net: SlopeBound(net, 1, CPU), range(60)) > 40
    assert check_signs(alpha, lambda net: CompiledSlopeBound(net, 1, always=True), range(60, 90)) > 20


def _signs_without(part: str) -> Callable[..., Any]:
    """A method of signs that forgets something."""
    honest = getattr(slope._Signs, part)
    match part:
        case "of_sums":
            return lambda self, weight, error: honest(self, weight.abs(), error)
        case "within":
            return lambda self, low, up: honest(self, low + 0.3 * (up - low), up)
        case "of_multiples":
            return lambda self, least, most: honest(self, least.clamp(min=0), most.clamp(min=0))
        case _:
            raise AssertionError(part)


@pytest.mark.parametrize("part", ["of_sums", "within", "of_multiples"])
def test_planted_errors_of_signs_are_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slope._Signs, part, _signs_without(part))
    with pytest.raises(AssertionError):
        check_signs(-0.5, lambda net: SlopeBound(net, 1, CPU), range(60))


def cancelling_net(order: Sequence[int]) -> Network:
    """Behind a neuron two maps that fold to -1/2, which float64 sums to 1/2 in some orders of the terms."""
    one = np.array([2.0**30, 1, -(2.0**30), 1], dtype=np.float32)[list(order)]
    other = np.array([2.0**30, -1, 2.0**30, 0.5], dtype=np.float32)[list(order)]
    tensors = {"a": np.array([[0], [1]], dtype=np.float32), "b": one[None], "c": np.stack([other, other], 1)}
    nodes = [
        ("MatMul", ["x", "a"], "h", {}),
        ("Relu", ["h"], "r", {}),
        ("MatMul", ["r", "b"], "s", {}),
        ("MatMul", ["s", "c"], "y", {}),
    ]
    return graph_net(nodes, tensors, (1, 2))


def check_cancelling() -> None:
    box = Boxes(torch.tensor([[0.1, 0.0]], dtype=torch.float64), torch.tensor([[0.9, 1.0]], dtype=torch.float64))
    for order in itertools.permutations(range(4)):
        low, _ = ends(SlopeBound(cancelling_net(order), 1, CPU), box)
        assert bool((low <= -0.5).all())


def test_a_weight_whose_sign_is_rounded_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    check_cancelling()
    honest = SlopeBound._slope_weights
    monkeypatch.setattr(SlopeBound, "_slope_weights", lambda self, k: (honest(self, k)[0], 0 * honest(self, k)[1]))
    with pytest.raises(AssertionError):
        check_cancelling()


def test_a_planted_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = difference.slope_range
    monkeypatch.setattr(difference, "slope_range", lambda *a: (honest(*a)[0], 0.9 * honest(*a)[1]))

    def look() -> None:
        for seed in range(20):
            net = network_from_layers(random_layers(seed, SIZES))
            check_sound(net, 0, SlopeBound(net, 0, CPU), seed)

    with pytest.raises(AssertionError):
        look()
