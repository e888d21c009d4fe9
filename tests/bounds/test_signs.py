"""Inner neurons bounded by lines of their own: nothing that arrives there is outside, and more signs are decided."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds.compiled import bound as loops
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.difference import CompiledDifferenceBound
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.bounds.rules import activation_value
from birdnn.bounds.slope import CompiledSlopeBound
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.rounding import Semantics
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    Layers,
    compiled,
    exact_margin,
    half_space,
    points_of,
    question_of,
    random_boxes,
    random_layers,
    random_net,
    random_polytopes,
)
from tests.bounds.test_crown import check_bound
from tests.bounds.test_slope import check_sound

SEEDS = st.integers(0, 2**32 - 1)
SIZES = 3, 6, 6, 5, 2
OWN = CrownSettings(steps=2, inner_steps=6)
PLAIN = CrownSettings(steps=2)


def scaled(layers: Layers, exponent: int) -> Layers:
    """The same function: hidden values are so many binary orders larger, the last layer makes up for it."""
    (weight, bias), *inner, (last, end) = layers
    size = np.float32(2.0**exponent)
    middle = [(w, b * size) for w, b in inner]
    return [(weight * size, bias * size), *middle, (last / size, end)]


def moved(layers: Layers, seed: int, size: float, first: int = 0) -> Layers:
    """Other weights and biases, about so far away, from layer ``first`` on."""
    rng = np.random.default_rng(seed)
    return [
        (w, b)
        if k < first
        else (w + (size * rng.normal(size=w.shape)).astype(np.float32) * np.abs(w), b + np.float32(size) * b)
        for k, (w, b) in enumerate(layers)
    ]


def bound_pair(one: Network, other: Network, boxes: Boxes, effort: CrownSettings) -> tuple[Any, BoundResult]:
    """Of B - A: each output above and below."""
    bound = CompiledDifferenceBound(one, other, effort, always=True)
    return bound, ask(bound, boxes)


def ask(bound: CompiledDifferenceBound, boxes: Boxes) -> BoundResult:
    """Is B - A within a hundredth?"""
    eye = torch.eye(2, dtype=torch.float64)
    rows = torch.cat([torch.cat([eye, -eye], 1), torch.cat([-eye, eye], 1)])[:, None]
    question = Question(rows, torch.full((4, 1), -0.01, dtype=torch.float64), torch.ones(4, dtype=torch.bool))
    return bound.bound(question, boxes, torch.ones(len(boxes), 4, dtype=torch.bool), bound.root(len(boxes)))


def pre_activations(bound: CompiledDifferenceBound, points: Tensor) -> Tensor:
    """Of both networks and their difference at points, (boxes, points, hidden neurons)."""
    found, h = [], points
    for k, layer in enumerate(bound._layer[:-1]):
        z = h @ layer.weight.T + layer.bias
        found.append(z)
        h = activation_value(bound._activation[k], z)
        # layers that both networks share have no blocks
        if k >= bound.shared:
            a, b, _ = h.chunk(3, dim=-1)
            h = torch.cat([a, b, b - a], -1)
    return torch.cat(found, -1)


def check_pair(layers: Layers, other: Layers, op: str, alpha: float | None, boxes: Boxes) -> int:
    """Nothing is outside of its bounds; how many neurons have an open sign."""
    one, two = (network_from_layers(made, op, alpha=alpha) for made in (layers, other))
    bound, found = bound_pair(one, two, boxes, OWN)
    seen = pre_activations(bound, points_of(boxes))
    low, up = found.inherited[:, None].chunk(2, dim=2)
    room = 1e-9 * seen.abs().amax()
    assert bool((seen >= low - room).all()), "a value outside its bounds"
    assert bool((seen <= up + room).all()), "a value outside its bounds"
    return int(((low < 0) & (up > 0)).sum())


@pytest.mark.thorough
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=10)
@given(seed=SEEDS, width=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 10.0]), rows=st.integers(1, 4))
def test_no_value_of_one_network_is_outside(op: str, alpha: float | None, seed: int, width: float, rows: int) -> None:
    net = random_net(seed, (3, 7, 7, 7, 3), op, alpha)
    check_bound(net, random_boxes(seed, 4, 3, width), random_polytopes(seed, 3, (rows,)), OWN, compiled)


@pytest.mark.parametrize(("op", "alpha"), [each for each in ACTIVATIONS if each[0] in ("Relu", "LeakyRelu")])
@settings(max_examples=12)
@given(
    seed=SEEDS,
    exponent=st.sampled_from([-60, -20, 0, 20, 60]),
    size=st.sampled_from([0.0, 1e-6, 1e-3, 0.3]),
    first=st.integers(0, 3),
)
def test_no_value_of_a_pair_is_outside(
    op: str, alpha: float | None, seed: int, exponent: int, size: float, first: int
) -> None:
    """Layers before ``first`` are shared: they have no blocks, and those behind read them as they are."""
    layers = random_layers(seed, SIZES)
    other = scaled(moved(layers, seed, size, first), exponent)
    check_pair(scaled(layers, exponent), other, op, alpha, random_boxes(seed, 4, 3, 0.5))


@pytest.mark.parametrize(("op", "alpha"), [("Relu", None), ("LeakyRelu", 0.1), ("Elu", 1.0), ("Tanh", None)])
@settings(max_examples=6)
@given(seed=SEEDS, direction=st.integers(0, 2))
def test_no_secant_is_outside(op: str, alpha: float | None, seed: int, direction: int) -> None:
    net = network_from_layers(random_layers(seed, SIZES), op, alpha=alpha)
    check_sound(net, direction, CompiledSlopeBound(net, direction, OWN, always=True), seed)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_no_bound_is_above_the_exact_margin(seed: int) -> None:
    """By linear programs over all patterns of signs."""
    layers, boxes = random_layers(seed, (2, 4, 4, 1)), random_boxes(seed, 2, 2)
    polytope = half_space([1.0], 0.25)
    bound = compiled(network_from_layers(layers, "Relu"), CPU, OWN)
    found = bound.bound(question_of((polytope,)), boxes, torch.ones(2, 1, dtype=torch.bool), bound.root(2))
    for i in range(2):
        exact = exact_margin(layers, boxes.lower[i].tolist(), boxes.upper[i].tolist(), polytope)
        assert float(found.lower[i]) <= exact + 1e-9


def test_more_signs_are_decided_and_bounds_are_closer() -> None:
    """That is what it is for; else the tests above would see nothing of it."""
    undecided, bounds = [], []
    for effort in (PLAIN, OWN):
        open_signs, total = 0, 0.0
        for seed in range(10):
            layers = random_layers(seed, (3, 20, 20, 20, 20, 2))
            nets = (network_from_layers(made, "Relu") for made in (layers, moved(layers, seed, 0.01)))
            _, found = bound_pair(*nets, random_boxes(seed, 6, 3, 0.3), effort)
            low, up = found.inherited.chunk(2, dim=1)
            open_signs, total = open_signs + int(((low < 0) & (up > 0)).sum()), total - float(found.lower.sum())
        undecided.append(open_signs)
        bounds.append(total)
    assert undecided[1] < undecided[0]
    assert bounds[1] < 0.8 * bounds[0]


def test_recorded_bounds_are_made_with_default_lines() -> None:
    """Whoever makes them again from a certificate has no others for inner neurons."""
    net, boxes = random_net(3, (3, 8, 8, 8, 2)), random_boxes(3, 6, 3)
    polytopes = random_polytopes(3, 2, (1,))
    opened = torch.ones(6, 1, dtype=torch.bool)
    known = []
    for effort, record in ((OWN, True), (PLAIN, True), (OWN, False)):
        bound = CompiledBound(net, effort, record=record, always=True)
        known.append(bound.bound(question_of(polytopes), boxes, opened, bound.root(6)).inherited)
    assert torch.equal(known[0], known[1])
    assert not torch.equal(known[0], known[2])


def test_large_networks_take_no_row_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their weights are in no cache, and a row at a time would cost more than halves do."""
    layers, boxes = random_layers(2, (3, 12, 12, 12, 2)), random_boxes(2, 6, 3)
    nets = [network_from_layers(made, "Relu") for made in (layers, moved(layers, 2, 0.05))]
    own, plain = (bound_pair(*nets, boxes, effort)[1].inherited for effort in (OWN, PLAIN))
    monkeypatch.setattr(loops, "LARGE", 10)
    assert torch.equal(bound_pair(*nets, boxes, OWN)[1].inherited, plain)
    assert not torch.equal(own, plain)


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_rows_by_default_lines_are_the_usual_ones(semantics: Semantics) -> None:
    """With steps of length zero; in float32 it is seen whether rows pay for what is rounded."""
    lower = []
    for effort in (CrownSettings(steps=0), CrownSettings(steps=0, inner_steps=1, step_size=0.0)):
        known = []
        for seed in range(5):
            net, boxes = random_net(seed, (3, 9, 9, 9, 2)), random_boxes(seed, 6, 3)
            polytopes = random_polytopes(seed, 2, (1,))
            bound = compiled(net, CPU, effort, semantics)
            opened = torch.ones(6, 1, dtype=torch.bool)
            known.append(bound.bound(question_of(polytopes), boxes, opened, bound.root(6)).inherited)
        lower.append(torch.cat(known))
    assert torch.allclose(lower[0], lower[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("first", [0, 1])
def test_threads_change_nothing(first: int) -> None:
    """Neither bounds nor where boxes are cut."""
    layers = random_layers(0, (3, 12, 12, 12, 2))
    one, two = (network_from_layers(made, "Relu") for made in (layers, moved(layers, 0, 0.05, first)))
    boxes, found = random_boxes(0, 40, 3), []
    for threads in (1, 2, 8):
        bound = CompiledDifferenceBound(one, two, OWN, threads, always=True)
        # what threads find in their room is what others have left there
        for each in (boxes, boxes[torch.arange(39, -1, -1)]):
            result = ask(bound, each)
        found.append(result)
    assert found[0].left is not None
    assert len(found[0].left.parent) > 5
    for other in found[1:]:
        assert other.left is not None
        assert torch.equal(other.inherited, found[0].inherited)
        assert torch.equal(other.lower, found[0].lower)
        assert torch.equal(other.left.edge, found[0].left.edge)


# --- planted bugs, in the loops as plain Python -------------------------------------------------------------------


def standard_check() -> None:
    found = 0
    for seed in range(3):
        layers = random_layers(seed, (2, 4, 4, 4, 2))
        for first in (0, 1, 2):
            found += check_pair(layers, moved(layers, seed, 0.3, first), "Relu", None, random_boxes(seed, 2, 2))
    assert found


def _higher(right: Callable[..., None]) -> Callable[..., None]:
    def choose_line(n: Any, j: int, slack: float) -> None:
        right(n, j, slack)
        n[11, j] += 0.5  # BELOW_OFFSET

    return choose_line


BUGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no bias": ("_push_back", lambda right: lambda net, *a: right(net._replace(bias=0 * net.bias), *a)),
    "a minimum at the wrong end": ("least", lambda right: lambda net, row, c, s: right(net, -row, c, s)),
    "lower lines too high": ("choose_line", _higher),
    "the other network's neurons": ("_block_begin", lambda right: lambda net, k, block: right(net, k, 1 - block)),
    "a shared layer taken for blocks": (
        "_block_width",
        lambda right: lambda net, k: right(net, k) if net.shape[4, k] else max(1, right(net, k) // 3),
    ),
    "a bound of another sign": (
        "_ascend", lambda right: lambda net, k, i, block, sign, *a: right(net, k, i, block, 1.0, *a)
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(plain: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    name, wrong = BUGS[bug]
    monkeypatch.setattr(plain["signs"], name, wrong(getattr(plain["signs"], name)))
    with pytest.raises(AssertionError, match="outside its bounds"):
        standard_check()


def test_the_standard_check_finds_nothing_else(plain: dict[str, ModuleType]) -> None:
    """Without a bug."""
    standard_check()
