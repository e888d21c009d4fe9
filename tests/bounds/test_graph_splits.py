"""Boxes of many inputs, divided by the signs of neurons: bounds of each side, multipliers, and searches to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from birdnn.bounds import ascent
from birdnn.bounds.batch import FEW_INPUTS
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.planes import planes_of
from birdnn.bounds.protocol import SplitsNeurons
from birdnn.bounds.settling import best_multipliers
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown, Violated
from birdnn.verify import search, verify, work
from birdnn.verify.bounding import make_bound
from birdnn.verify.settings import SearchSettings
from birdnn.verify.work import Work
from tests.bounds.builders import (
    CPU,
    all_open,
    convolution,
    exact_margin,
    graph_net,
    half_space,
    make_property,
    outputs_at,
    question_of,
    random_boxes,
    random_layers,
    random_net,
    random_polytopes,
)
from tests.verify.cases import Engine, effort

MANY = 30
"""Inputs of the networks here."""


def nets(seed: int) -> list[Network]:
    return [
        random_net(seed, (MANY, 8, 6, 2)),
        random_net(seed, (MANY, 8, 6, 2), "LeakyRelu", 0.1),
        convolution(seed, "residual"),
        *(of_a_wave(op, seed) for op in ("Sin", "Cos")),
    ]


def of_a_wave(op: str, seed: int) -> Network:
    """What is divided by its sign is no monotone function of anything: a side says nothing of what it reads."""
    rng = np.random.default_rng(seed)
    nodes = [("MatMul", ["x", "w"], "z", {}), (op, ["z"], "s", {}), ("Relu", ["s"], "r", {}),
             ("Concat", ["s", "r"], "c", {"axis": 1}), ("MatMul", ["c", "v"], "y", {})]  # fmt: skip
    tensors = {"w": rng.normal(size=(MANY, 3)), "v": rng.normal(size=(6, 2))}
    return graph_net(nodes, {name: value.astype(np.float32) for name, value in tensors.items()}, (1, MANY))


def sides(bound: GraphBound, net: Network, known: Tensor, points: Tensor) -> Tensor:
    """Which points, (boxes, points, inputs), lie on the sides that their boxes are, (boxes, points)."""
    splits = known[:, 2 * bound.neurons : 3 * bound.neurons].sign()
    inside = torch.ones(points.shape[:2], dtype=torch.bool)
    for name, span in bound.spans.items():
        with torch.no_grad():
            values = net.observe(points.flatten(0, 1), (name,))[0].unflatten(0, points.shape[:2])
        inside &= (values * splits[:, None, span] >= 0).all(2)
    return inside


def check(net: Network, seed: int, depth: int = 3) -> int:
    """Below every sampled margin on a side, whatever the multipliers; how many margins there were."""
    boxes, polytopes = random_boxes(seed, 2, net.n_inputs, 0.6), random_polytopes(seed, net.n_outputs)
    bound, question = GraphBound(net, CPU, CrownSettings(steps=3)), question_of(polytopes)
    opened, generator, seen = all_open(boxes, polytopes), torch.Generator().manual_seed(seed), 0
    found = bound.bound(question, boxes, opened, bound.root(2))
    for _ in range(depth):
        known, n = found.inherited, bound.neurons
        unstable = (known[:, :n] < 0) & (known[:, n : 2 * n] > 0) & (known[:, 2 * n : 3 * n] == 0)
        kinked = torch.zeros(n, dtype=torch.bool)
        for step in bound.kinked:
            kinked[bound.spans[step.reads[0][1]]] = True
        choice = (unstable & kinked).double() * torch.rand(len(known), n, generator=generator, dtype=torch.float64)
        neuron = torch.where(choice.amax(1) > 0, choice.argmax(1), -1)
        known = bound.split(known, neuron)
        split = known[:, 2 * n : 3 * n]
        # multipliers that an earlier step might have found, right or wrong
        split += split.sign() * torch.rand(split.shape, generator=generator, dtype=torch.float64)
        boxes = Boxes(boxes.lower.repeat(2, 1), boxes.upper.repeat(2, 1))
        opened = all_open(boxes, polytopes)
        found = bound.bound(question, boxes, opened, known)
        points = boxes.uniform(300, torch.Generator().manual_seed(seed))
        inside, outputs = sides(bound, net, found.inherited, points), outputs_at(net, points)
        for i, (box, polytope) in enumerate(zip(found.box.tolist(), found.polytope.tolist(), strict=True)):
            margin = polytopes[polytope].margin(outputs[box])[inside[box]]
            seen += len(margin)
            assert not bool((margin < found.lower[i] - 1e-9).any()), "a bound above a reachable margin"
            corner = torch.where(found.plane[i, -1] > 0, boxes.lower[box], boxes.upper[box])
            at_points = (points[box][inside[box]] - corner) @ found.plane[i, -1] + found.plane_minimum[i, -1]
            assert not bool((at_points > margin + 1e-9).any()), "a plane above a reachable margin"
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_side_beats_its_bound(seed: int) -> None:
    assert sum(check(net, seed) for net in nets(seed)) > 1000


def test_a_side_of_a_sine_says_nothing_of_its_operand() -> None:
    """Where a sine is negative it was taken for convex, also on a wide interval, and a violation was proved away."""
    nodes = [("MatMul", ["x", "w"], "z", {}), ("Sin", ["z"], "s", {}), ("Relu", ["s"], "r", {}),
             ("Add", ["s", "r"], "y", {})]  # fmt: skip
    net = graph_net(nodes, {"w": np.full((MANY, 1), 1 / MANY, np.float32)}, (1, MANY))
    t = torch.linspace(-3, 6, 2001, dtype=torch.float64)[:, None].expand(-1, MANY)
    boxes = Boxes(t[:1].clone(), t[-1:].clone())
    bound, polytope = GraphBound(net, CPU), half_space([-1.0], 0.05)  # unsafe: y >= -0.05
    question, opened = question_of((polytope,)), torch.ones(1, 1, dtype=torch.bool)
    whole = bound.bound(question, boxes, opened, bound.root(1))
    (place,) = [span.start for name, span in bound.spans.items() if name == "s"]
    known = bound.split(whole.inherited, torch.tensor([place]))
    both = Boxes(boxes.lower.repeat(2, 1), boxes.upper.repeat(2, 1))
    found = bound.bound(question, both, opened.repeat(2, 1), known)
    with torch.no_grad():
        margin = polytope.margin(net(t))
        negative = torch.sin(t[:, 0]) <= 0
    assert float(found.lower[0]) <= float(margin[negative].min())
    assert float(found.lower[1]) <= float(margin[~negative].min())


def test_what_is_unbounded_settles_nothing() -> None:
    """A root of what may be negative beside neurons whose signs are all known."""
    weights = np.random.default_rng(0).normal(size=(MANY, 2)).astype(np.float32)
    nodes = [("MatMul", ["x", "w"], "z", {}), ("Relu", ["z"], "r", {}), ("Mul", ["z", "z"], "q", {}),
             ("Sub", ["q", "z"], "d", {}), ("Add", ["d", "one"], "e", {}), ("Sqrt", ["e"], "s", {}),
             ("Add", ["r", "s"], "y", {})]  # fmt: skip
    net = graph_net(nodes, {"w": weights, "one": np.float32([[0.3, 0.3]])}, (1, MANY))
    prop = make_property([-0.5] * MANY, [0.5] * MANY, half_space([1.0, 1.0], 0.1))
    assert isinstance(verify(net, prop, settings=effort(max_boxes=100), replays=[Engine(net)]), Unknown)
    nothing = np.full((1, 2), np.inf), np.zeros(1)
    assert best_multipliers(nothing, (np.zeros((0, 2)), np.zeros(0)), -np.ones(2), np.ones(2)) is None


@pytest.mark.parametrize("seed", [0, 2, 3])  # on the boxes of seed 1 all signs are known
def test_both_sides_are_bounded_better_than_the_whole(seed: int) -> None:
    """By the neuron that is chosen."""
    net, polytopes = random_net(seed, (MANY, 8, 6, 2)), random_polytopes(seed, 2, rows=(1,))
    side = torch.full((2, MANY), 0.3, dtype=torch.float64)
    boxes = Boxes(torch.tensor([[-1.0], [-0.5]]) * side, side)
    bound, question = GraphBound(net, CPU, CrownSettings(steps=10, hope=100.0)), question_of(polytopes)
    batch = Work(boxes, all_open(boxes, polytopes), bound.root(2), torch.zeros(2, dtype=torch.int64))
    step = work.examine(bound, question, batch)
    assert bool((step.left.edge >= MANY).all())
    halves = work.halve(bound, step.remains, step.left.edge)
    told = bound.bound(question, halves.boxes, halves.opened, halves.inherited)
    gain = told.lower.view(2, -1) - step.left.score
    assert float(gain.min()) > -1e-9
    assert float(gain.max()) > 1e-3


def test_an_edge_or_a_neuron() -> None:
    """Some boxes of a batch are cut by an input, others by a neuron."""
    net = random_net(0, (MANY, 8, 6, 2))
    bound, boxes = GraphBound(net, CPU), random_boxes(0, 2, MANY)
    assert isinstance(bound, SplitsNeurons)
    batch = Work(boxes, torch.ones(2, 1, dtype=torch.bool), bound.root(2), torch.tensor([5, 6]))
    halves = work.halve(bound, batch, torch.tensor([1, MANY + 4]))
    assert torch.equal(halves.boxes.upper[0, 1], halves.boxes.lower[2, 1])
    assert torch.equal(halves.boxes.lower[1], boxes.lower[1])
    assert torch.equal(halves.boxes.upper[3], boxes.upper[1])
    n = bound.neurons
    assert halves.inherited[:, 2 * n + 4].tolist() == [0.0, -1.0, 0.0, 1.0]
    assert halves.inherited[1, n + 4] == 0.0
    assert halves.inherited[3, 4] == 0.0
    assert halves.node.tolist() == [5, 6, 5, 6]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
def test_searches_end_with_the_exact_answer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little below the exact minimum, which linear programs find, it is proved; a little above, violated."""
    monkeypatch.setattr(search, "_MANY_INPUTS", FEW_INPUTS)
    layers, row = random_layers(seed, (MANY, 5, 4, 2)), [1.0, -0.5]
    net, lower, upper = network_from_layers(layers), [-0.5] * MANY, [0.5] * MANY
    least = exact_margin(layers, lower, upper, half_space(row, 0.0))
    for off, kind in ((-1e-3, Proved), (2e-2, Violated)):
        prop = make_property(lower, upper, half_space(row, round((least + off) * 2**20) / 2**20))
        attack = {"attack": SearchSettings().attack} if kind is Violated else {}
        verdict = verify(net, prop, settings=effort(max_boxes=5000, **attack), replays=[Engine(net)])
        assert isinstance(verdict, kind)
        if kind is Proved:
            assert 1 < verdict.boxes < 1000


def test_who_is_asked() -> None:
    """Boxes of many inputs are searched by neurons, but for certificates about executions in float32."""
    net = random_net(0, (MANY, 8, 2))
    for semantics, record in (("real", False), ("real", True), ("float32", False)):
        bound = make_bound(net, SearchSettings(many_inputs=True, semantics=semantics, record=record))
        assert isinstance(bound, GraphBound)
        assert (bound.semantics, bound.record) == (semantics, record)
    for settings in (SearchSettings(), SearchSettings(many_inputs=True, semantics="float32", record=True)):
        assert not isinstance(make_bound(net, settings), GraphBound)


@pytest.mark.parametrize("op", ["Tanh", "Relu"])
def test_without_neurons_to_split_edges_are_cut_and_bounds_follow(op: str) -> None:
    """Of many inputs, where no activation has a kink, or all signs are known: halves are bounded anew."""
    layers = random_layers(1, (MANY, 6, 2), 0.3)
    if op == "Relu":
        layers[0] = layers[0][0], layers[0][1] + np.float32(20)
    net = network_from_layers([*layers, (np.eye(2, dtype=np.float32), np.zeros(2, np.float32))], "Tanh")
    if op == "Relu":
        net = network_from_layers(layers)
    bound, side = GraphBound(net, CPU), torch.ones(1, MANY, dtype=torch.float64)
    question, opened = question_of((half_space([1.0, 0.0], 1e6),)), torch.ones(1, 1, dtype=torch.bool)
    batch = Work(Boxes(-side, side), opened, bound.root(1), torch.zeros(1, dtype=torch.int64))
    first = work.examine(bound, question, batch)
    assert int(first.left.edge[0]) < MANY
    halves = work.halve(bound, first.remains, first.left.edge)
    second = bound.bound(question, halves.boxes, halves.opened, halves.inherited)
    n = bound.neurons
    narrower = first.result.inherited[:, n : 2 * n] - second.inherited[:, n : 2 * n]
    assert op == "Relu" or float(narrower.max()) > 0
    assert float(second.lower.max()) > float(first.result.lower[0])


def test_half_spaces_that_miss_each_other() -> None:
    """What the program finds is checked by who asked; here, that it lifts the row above zero."""
    rows = np.array([[1.0, 0.0]]), np.array([-5.0])
    sides = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([-1.5, 1.0])  # x + y at least 1.5 and at most 1
    found = best_multipliers(rows, sides, -np.ones(2), np.ones(2))
    assert found is not None
    weights, multipliers = found
    plane = weights @ rows[0] - multipliers @ sides[0]
    assert weights @ rows[1] - multipliers @ sides[1] - np.abs(plane).sum() > 0


def test_half_spaces_that_do_not_matter() -> None:
    rows, sides = (np.array([[1.0, 0.0]]), np.array([3.0])), (np.zeros((0, 2)), np.zeros(0))
    found = best_multipliers(rows, sides, -np.ones(2), np.ones(2))
    assert found is not None
    assert found[0].tolist() == [1.0]
    assert not len(found[1])


# --- planted bugs ------------------------------------------------------------------------------------------------


def _swapped(self: GraphBound, inherited: Tensor, neuron: Tensor, right: Any = GraphBound.split) -> Tensor:
    """Each side has the other one's bounds and the right sign."""
    both, n = right(self, inherited, neuron), self.neurons
    half = len(inherited)
    changed = torch.cat([both[half:], both[:half]])
    changed[:, 2 * n : 3 * n] = both[:, 2 * n : 3 * n]
    return changed


BUGS: dict[str, tuple[str, Any]] = {
    "sides mixed up": ("graph.GraphBound.split", _swapped),
    "rules that see one side of a value": (
        "steps.planes_of",
        lambda node, operands, result, known, right=planes_of: right(node, operands, known, known),
    ),
    "multipliers of the wrong sign": ("ascent.side_of", lambda splits: -splits.sign()),
    "multipliers below zero": ("ascent.multiplier_of", lambda splits: -3 * (splits.abs() - 1).clamp(min=0)),
    "multipliers of neurons that nobody split": ("ascent.side_of", lambda splits: splits.sign() + (splits == 0)),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    place, wrong = BUGS[bug]
    monkeypatch.setattr(f"birdnn.bounds.{place}", wrong)
    if "nobody" in bug:
        monkeypatch.setattr(ascent, "multiplier_of", lambda splits: (splits.abs() - 1).clamp(min=0) + 0.5)
    with pytest.raises(AssertionError, match="above a reachable margin"):
        _all()


def _all(check: Callable[..., int] = check) -> None:
    for seed in range(6):
        for net in nets(seed):
            check(net, seed)
