"""How fast outputs change along an input: no difference of two runs lies outside, whatever the activation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import difference
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.bounds.slope import CompiledSlopeBound, SlopeBound
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.verify.work import Work, examine
from tests.bounds.builders import ACTIVATIONS, CPU, random_boxes, random_layers

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


def test_a_planted_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = difference.slope_range
    monkeypatch.setattr(difference, "slope_range", lambda *a: (honest(*a)[0], 0.9 * honest(*a)[1]))

    def look() -> None:
        for seed in range(20):
            net = network_from_layers(random_layers(seed, SIZES))
            check_sound(net, 0, SlopeBound(net, 0, CPU), seed)

    with pytest.raises(AssertionError):
        look()
