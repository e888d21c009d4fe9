"""Backward propagation through any graph: against samples, intervals, chains' bounds and exact values; planted bugs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds import ascent, batch, plan, steps
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.expansion import expand_network
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.planes import Plane
from birdnn.bounds.protocol import BoundResult
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.records import Proved, Violated
from birdnn.records.limits import OutOfTime
from birdnn.spec import Polytope
from birdnn.verify import verify
from birdnn.verify.bounding import make_bound
from birdnn.verify.settings import SearchSettings
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    all_open,
    convolution,
    exact_margin,
    graph_net,
    half_space,
    make_property,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_layers,
    random_net,
    random_polytopes,
)
from tests.bounds.test_crown import check_items
from tests.bounds.test_functions import DEFINED, NUMBERS, SEVERAL, pair_of
from tests.bounds.test_interval import CASES
from tests.formats.models import model, node
from tests.verify.cases import Engine, effort
from tools import adversarial_graphs, adversarial_operators

SEEDS = st.integers(0, 2**32 - 1)


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pooled(strides: list[int]) -> Network:
    nodes = [("Relu", ["x"], "r", {}), ("MaxPool", ["r"], "p", {"kernel_shape": [2, 2], "strides": strides}),
             ("Flatten", ["p"], "f", {}), ("MatMul", ["f", "w"], "y", {})]  # fmt: skip
    size = 4 if strides == [2, 2] else 9
    return graph_net(nodes, {"w": floats(1, size, 3)}, (1, 1, 4, 4))


def one_sample() -> Network:
    """A graph whose first axis is no batch."""
    nodes = [("MatMul", ["x", "v"], "u", {}), ("Transpose", ["u"], "t", {"perm": [1, 0]}),
             ("MatMul", ["w", "t"], "m", {}), ("Tanh", ["m"], "s", {}), ("Add", ["s", "c"], "a", {}),
             ("Mul", ["a", "m"], "p", {}), ("Transpose", ["p"], "y", {"perm": [1, 0]})]  # fmt: skip
    return graph_net(nodes, {"w": floats(2, 3, 4), "c": floats(3, 1), "v": floats(3, 4, 4)}, (1, 4))


NETS: dict[str, Callable[[], Network]] = {
    **{name: lambda name=name: graph_net(*CASES[name]) for name in CASES},
    **{name: lambda name=name: NUMBERS[name] for name in NUMBERS},
    **{name: lambda name=name: DEFINED[name][0] for name in DEFINED},
    **{name: lambda name=name: SEVERAL[name] for name in SEVERAL},
    "quotient": lambda: pair_of("Div", (1, 4)),
    "least": lambda: pair_of("Min", (1, 4)),
    "residual convolution": lambda: convolution(3, "residual"),
    "convolution, sigmoid": lambda: convolution(4, "sigmoid"),
    "pooled": lambda: pooled([2, 2]),
    "pooled, windows that overlap": lambda: pooled([1, 1]),
    "one sample": one_sample,
}


def check(net: Network, boxes: Boxes, polytopes: tuple[Polytope, ...], effort: CrownSettings) -> BoundResult:
    """Nothing above what samples reach, nothing looser than intervals."""
    bound = GraphBound(net, CPU, effort)
    question, opened = question_of(polytopes), all_open(boxes, polytopes)
    found = bound.bound(question, boxes, opened, bound.root(len(boxes)))
    points = points_of(boxes, count=150)
    check_items(found, boxes, polytopes, points, outputs_at(net, points))
    loose = IntervalBound(net, CPU).bound(question, boxes, opened, torch.zeros(len(boxes), 0))
    assert bool((found.lower >= loose.lower - 1e-9 * (1 + loose.lower.abs())).all()), "looser than intervals"
    check_known(bound, net, found.inherited, points)
    return found


def check_known(bound: GraphBound, net: Network, known: Tensor, points: Tensor) -> None:
    """What the halves of a box start from holds what really arrives there."""
    lower, upper = known[:, : bound.neurons], known[:, bound.neurons : 2 * bound.neurons]
    names, x = list(bound.spans), points.flatten(0, 1)
    own = [name for name in names if name in net.graph.shapes]
    with torch.no_grad():
        made = dict(zip(names, expand_network(net.copy().double()).net.observe(x, names), strict=True))
        known_values = dict(zip(own, net.observe(x, own), strict=True))
    # an exponential that a part makes may be too large for a float, where the softmax that it is a part of is not
    computed = torch.cat([x, *made.values()], 1).isfinite().all(1, keepdim=True)
    for name, span in bound.spans.items():
        values = known_values.get(name, made[name].where(computed, torch.nan)).unflatten(0, points.shape[:2])
        assert not bool((values < lower[:, None, span] - 1e-9).any()), "its bound: a value below"
        assert not bool((values > upper[:, None, span] + 1e-9).any()), "its bound: a value above"


def boxes_for(name: str, net: Network, seed: int, width: float) -> Boxes:
    boxes = random_boxes(seed, 4, net.n_inputs, width)
    if name in DEFINED or name == "quotient":  # where it is defined
        return Boxes(boxes.lower.abs() + 0.05, boxes.lower.abs() + 0.05 + boxes.widths())
    return boxes


@pytest.mark.parametrize("name", NETS)
def test_no_point_beats_its_bound(name: str) -> None:
    """Each operator by itself, and graphs of several."""
    net = NETS[name]()
    for seed, width in ((0, 1e-3), (1, 0.5), (2, 4.0)):
        check(net, boxes_for(name, net, seed, width), random_polytopes(seed, net.n_outputs), CrownSettings(steps=3))


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=8)
@given(seed=SEEDS, width=st.sampled_from([1e-9, 0.3, 2.0]), steps=st.integers(0, 4))
def test_dense_networks(op: str, alpha: float | None, seed: int, width: float, steps: int) -> None:
    net = random_net(seed, (2, 5, 4, 2), op, alpha)
    check(net, random_boxes(seed, 4, 2, width), random_polytopes(seed, 2), CrownSettings(steps=steps))


@settings(max_examples=15)
@given(seed=SEEDS)
def test_no_bound_exceeds_the_exact_minimum(seed: int) -> None:
    """Which linear programs find, one for each pattern of signs."""
    layers, polytope = random_layers(seed, (2, 4, 3, 2)), random_polytopes(seed, 2, rows=(2,))[0]
    boxes = random_boxes(seed, 3, 2)
    net = random_net(seed, (2, 4, 3, 2))
    found = GraphBound(net, CPU).bound(question_of((polytope,)), boxes, torch.ones(3, 1, dtype=torch.bool),
                                       GraphBound(net, CPU).root(3))  # fmt: skip
    for box in range(3):
        exact = exact_margin(layers, boxes.lower[box].tolist(), boxes.upper[box].tolist(), polytope)
        assert float(found.lower[box]) <= exact + 1e-9


@pytest.mark.parametrize("steps", [0, 6])
def test_chains_are_bounded_as_well_as_by_their_own_bounds(steps: int) -> None:
    """The same relaxation: nearly always the same numbers; intervals that are narrower may choose other first lines."""
    gaps = []
    for seed, (op, alpha) in itertools.product(range(4), ACTIVATIONS):
        net, boxes, polytopes = (
            random_net(seed, (2, 6, 5, 2), op, alpha),
            random_boxes(seed, 6, 2),
            random_polytopes(seed, 2),
        )
        question, opened, results = question_of(polytopes), all_open(boxes, polytopes), []
        for kind in (GraphBound, CrownBound):
            bound = kind(net, CPU, CrownSettings(steps=steps))
            results.append(bound.bound(question, boxes, opened, bound.root(6)).lower)
        gaps.append(results[1] - results[0])
    gap = torch.cat(gaps)
    assert float(gap.mean()) < 0.01
    assert float((gap > 1e-4).double().mean()) < (0.05 if not steps else 0.15)


def test_halves_of_a_box_start_from_what_is_known() -> None:
    """Their bounds are no worse for it, and no box becomes worse by being cut."""
    net = convolution(5, "residual")
    boxes, polytopes = random_boxes(1, 3, net.n_inputs, 0.5), random_polytopes(1, 2)
    bound, question = GraphBound(net, CPU), question_of(polytopes)
    whole = bound.bound(question, boxes, all_open(boxes, polytopes), bound.root(3))
    halves = boxes.bisect(torch.zeros(3, dtype=torch.int64))
    opened = all_open(halves, polytopes)
    told = bound.bound(question, halves, opened, whole.inherited.repeat(2, 1))
    alone = bound.bound(question, halves, opened, bound.root(6))
    points = points_of(halves, count=100)
    check_items(told, halves, polytopes, points, outputs_at(net, points))
    assert float((told.lower - alone.lower).mean()) > -0.05
    assert bool((told.inherited[:, : bound.neurons] >= whole.inherited.repeat(2, 1)[:, : bound.neurons]).all())


@pytest.mark.thorough
@pytest.mark.parametrize("draw", [adversarial_graphs.drawn, adversarial_operators.made])
def test_graphs_that_are_points(draw: Callable[[int], Any]) -> None:
    """Exact arithmetic says what they are: a bound has nothing there but its account of rounding."""
    count = Counter[str]()
    for seed in range(0, 60, 2):
        assert not list(adversarial_graphs.wrong(seed, count, draw))
    assert count["real, graph: a bound"] > 15


def test_the_search_takes_it_for_graphs() -> None:
    for semantics in ("real", "float32"):
        bound = make_bound(convolution(0, "residual"), SearchSettings(semantics=semantics))
        assert isinstance(bound, GraphBound)
        assert bound.semantics == semantics
    assert not isinstance(make_bound(random_net(0, (2, 4, 2)), SearchSettings()), GraphBound)


def test_searches_are_decided() -> None:
    """A residual network with products, which intervals need many boxes for: both verdicts."""
    nodes = [("MatMul", ["x", "w"], "a", {}), ("Relu", ["a"], "b", {}), ("MatMul", ["b", "v"], "c", {}),
             ("Add", ["c", "x"], "d", {}), ("Mul", ["d", "x"], "e", {}), ("Sin", ["e"], "f", {}),
             ("MatMul", ["f", "u"], "y", {})]  # fmt: skip
    tensors = {"w": floats(1, 2, 8), "v": floats(2, 8, 2) / 4, "u": floats(3, 2, 1)}
    data = model([node(op, read, out, **more) for op, read, out, more in nodes], tensors, (1, 2), opset=13)
    net = network_from_onnx(data)
    points = 2 * torch.rand(200_000, 2, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        least = float(net(points).min())
    for bound, kind in ((least - 0.05, Proved), (least + 0.05, Violated)):
        prop = make_property([-1.0, -1.0], [1.0, 1.0], half_space([1.0], float(np.float32(bound))))
        verdict = verify(net, prop, settings=effort(max_boxes=20_000), replays=[Engine(net)])
        assert isinstance(verdict, kind)
        if kind is Proved:
            assert verdict.boxes < 1000


def test_time_ends_it() -> None:
    net, polytopes = convolution(0, "residual"), random_polytopes(0, 2)
    bound, boxes = GraphBound(net, CPU), random_boxes(0, 2, 18)
    bound.over = lambda: True
    with pytest.raises(OutOfTime):
        bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(2))


def test_what_costs_too_much_keeps_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    net, polytopes = convolution(0, "residual"), random_polytopes(0, 2)
    boxes = random_boxes(0, 2, 18)
    monkeypatch.setattr(plan, "_WORTH", 0.0)
    check(net, boxes, polytopes, CrownSettings(steps=1))


def test_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However memory cuts them, the bounds are the same but for rounding."""
    net, polytopes, boxes = convolution(0, "residual"), random_polytopes(0, 2), random_boxes(0, 3, 18)
    whole = check(net, boxes, polytopes, CrownSettings(steps=2))
    monkeypatch.setattr(plan, "_ENTRIES", 200)
    parts = check(net, boxes, polytopes, CrownSettings(steps=2))
    assert torch.allclose(whole.lower, parts.lower, atol=1e-9)


@pytest.mark.parametrize("squares", [2, 4])
def test_numbers_that_are_too_large_prove_nothing(squares: int) -> None:
    """Beyond the range in which underflow is paid for, and where they overflow."""
    nodes = [node("Mul", ["x", "w"], "a0"), *(node("Mul", [f"a{k}"] * 2, f"a{k + 1}") for k in range(squares))]
    data = model([*nodes, node("Identity", [f"a{squares}"])], {"w": np.float32([[1e38]])}, (1, 1))
    net = network_from_onnx(data, check=False)
    one = torch.ones(1, 1, dtype=torch.float64)
    bound, question = GraphBound(net, CPU), question_of((half_space([1.0], -1.0),))
    found = bound.bound(question, Boxes(-one, one), torch.ones(1, 1, dtype=torch.bool), bound.root(1))
    assert not bool(question.excluded(found.lower, found.polytope).any())


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_poisoned_weights_prove_nothing(poison: float) -> None:
    net, question = convolution(1, "residual"), question_of((half_space([1.0, 0.0], -1e9),))
    boxes, opened = random_boxes(1, 2, 18), torch.ones(2, 1, dtype=torch.bool)

    def excluded() -> Tensor:
        bound = GraphBound(net, CPU)
        found = bound.bound(question, boxes, opened, bound.root(2))
        return question.excluded(found.lower, found.polytope)

    assert bool(excluded().all())
    with torch.no_grad():
        net.value("k1").fill_(poison)
    assert not bool(excluded().any())


# --- planted bugs ------------------------------------------------------------------------------------------------


def _back_with(kind: type, change: Callable[[list[Tensor], Tensor, Tensor], steps.Back]) -> Any:
    right = kind.back

    def back(self: Any, *arguments: Any) -> steps.Back:
        return change(*right(self, *arguments))

    return back


def _mixed_up(self: Any, rows: Tensor, box: Tensor, lines: Any = None, right: Any = steps.Bent.back) -> steps.Back:
    return right(self, rows, (box + 1) % (int(box.max()) + 1), lines)


def _lost_operand(step: Any, parts: Any, waiting: Any, right: Any = batch._hand_over) -> None:
    """Where a value is read twice, the second reader's rows replace the first one's."""
    for (_, name), part in zip(step.reads, parts, strict=False):
        waiting[name] = part


def _upper_everywhere(self: Any, low: Tensor, up: Tensor) -> tuple[Plane, Plane]:
    return self.up[0], self.up[0]


BUGS: dict[str, tuple[str, Any]] = {
    "radius of the box times 0.9": (
        "batch.minimum_of",
        lambda rows, constant, centre, radius, right=batch.minimum_of: right(rows, constant, centre, 0.9 * radius),
    ),
    "affine rows times 0.9": (
        "steps.Straight.back",
        _back_with(steps.Straight, lambda parts, constant, size: ([0.9 * part for part in parts], constant, size)),
    ),
    "affine constants left out": (
        "steps.Straight.back",
        _back_with(steps.Straight, lambda parts, constant, size: (parts, 0 * constant, size)),
    ),
    "bent rows times 0.9": (
        "steps.Bent.back",
        _back_with(steps.Bent, lambda parts, constant, size: ([0.9 * part for part in parts], constant, size)),
    ),
    "offsets of planes left out": (
        "steps.Bent.back",
        _back_with(steps.Bent, lambda parts, constant, size: (parts, 0 * constant, size)),
    ),
    "planes of another box": ("steps.Bent.back", _mixed_up),
    "one reader of two": ("batch._hand_over", _lost_operand),
    "upper planes below": ("planes.Planes.mixed", _upper_everywhere),
    "weights out of their range": ("planes._between", lambda pair, weight: Plane(
        tuple(2 * a - b for a, b in zip(pair[0].slopes, pair[1].slopes, strict=True)),
        2 * pair[0].offset - pair[1].offset)),
}  # fmt: skip


def standard_check(seeds: range) -> None:
    for seed in seeds:
        for net in (convolution(seed, "residual"), one_sample(), random_net(seed, (2, 5, 4, 2), "Tanh")):
            boxes = random_boxes(seed, 4, net.n_inputs, 0.7)
            check(net, boxes, random_polytopes(seed, net.n_outputs), CrownSettings(steps=2))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    place, wrong = BUGS[bug]
    monkeypatch.setattr(f"birdnn.bounds.{place}", wrong)
    with pytest.raises(AssertionError, match=r"above a reachable margin|its bound"):
        standard_check(range(4))


def test_the_check_passes_without_bugs() -> None:
    standard_check(range(4))


@pytest.mark.thorough
def test_rounding_that_nobody_pays_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """On points, against exact values: the slack of nodes and the room of constants left out."""
    monkeypatch.setattr(steps, "gamma", lambda *_: 0.0)
    for place in (ascent, plan):
        monkeypatch.setattr(place, "FLOAT64", 0.0)
    monkeypatch.setattr("birdnn.bounds.minima.FLOAT64", 0.0)
    monkeypatch.setattr("birdnn.bounds.interval.gamma", lambda *_: 0.0)
    found = [list(adversarial_graphs.wrong(seed, Counter[str]())) for seed in range(0, 200, 2)]
    assert any("graph" in str(wrong) for wrongs in found for wrong in wrongs)
