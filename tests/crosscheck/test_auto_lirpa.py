"""Bounds by auto_LiRPA: below what networks do, on the file's network, and nothing proved by accident."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds.interval import IntervalBound
from birdnn.boxes import Boxes
from birdnn.crosscheck import traceable
from birdnn.crosscheck.auto_lirpa import AutoLirpaBound, AutoLirpaSettings, BoundMethod
from birdnn.errors import EngineError
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.records import Proved, Unknown
from birdnn.verify import verify
from tests.bounds.builders import (
    CPU,
    all_open,
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
from tests.crosscheck.engines import needs
from tests.formats.test_onnx_operators import FUNCTIONS, REWRITES
from tests.verify.cases import effort, with_replay

pytestmark = needs("auto_lirpa")

METHODS: Sequence[BoundMethod] = ("IBP", "CROWN", "CROWN-Optimized")
TOLERANCE = 1e-9


def sampled(boxes: Boxes, count: int = 400) -> torch.Tensor:
    """Uniform points, corners' ends among them: of images nobody lists all corners."""
    drawn = boxes.uniform(count, torch.Generator().manual_seed(0))
    ends = boxes.uniform(count, torch.Generator().manual_seed(1)) > boxes.centres()[:, None]
    return torch.cat([drawn, torch.where(ends, boxes.upper[:, None], boxes.lower[:, None])], 1)


def plain(method: BoundMethod) -> AutoLirpaSettings:
    """One method alone."""
    return AutoLirpaSettings(method=method, optimise=0, iterations=4)


def check(net: Network, seed: int, method: BoundMethod, boxes: int = 4) -> None:
    """Bounds and planes lie below the margins at sampled points."""
    where, polytopes = random_boxes(seed, boxes, net.n_inputs, 0.8), random_polytopes(seed, net.n_outputs)
    bound = AutoLirpaBound(net, CPU, plain(method))
    found = bound.bound(question_of(polytopes), where, all_open(where, polytopes), bound.root(boxes))
    points = sampled(where)
    check_items(found, where, polytopes, points, outputs_at(net, points))


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("op", "alpha"), [("Relu", None), ("LeakyRelu", 0.1), ("Sigmoid", None), ("Tanh", None)])
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_point_beats_its_bound(method: BoundMethod, op: str, alpha: float | None, seed: int) -> None:
    check(random_net(seed, (3, 6, 5, 2), op, alpha), seed, method)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_bounds_stay_below_the_exact_minimum(method: BoundMethod, seed: int) -> None:
    """Linear programs over activation patterns share no code with either engine."""
    layers, boxes = random_layers(seed, (2, 4, 3, 2)), random_boxes(seed, 2, 2)
    polytopes = random_polytopes(seed, 2, (1,))
    bound = AutoLirpaBound(with_replay(layers)[0], CPU, plain(method))
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(2))
    for i, box in enumerate(found.box.tolist()):
        exact = exact_margin(layers, boxes.lower[box].tolist(), boxes.upper[box].tolist(), polytopes[0])
        assert found.lower[i] <= exact + 1e-7


@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_its_intervals_are_no_looser_than_ours(seed: int) -> None:
    """Both propagate the same intervals; it folds the rows of the property into the last layer, which tightens."""
    net, boxes, polytopes = random_net(seed, (3, 6, 2)), random_boxes(seed, 3, 3), random_polytopes(seed, 2, (1, 2))
    question, opened = question_of(polytopes), all_open(boxes, polytopes)
    ours, theirs = IntervalBound(net, CPU), AutoLirpaBound(net, CPU, plain("IBP"))
    low = ours.bound(question, boxes, opened, ours.root(3)).lower
    assert bool((theirs.bound(question, boxes, opened, theirs.root(3)).lower >= low - TOLERANCE).all())


# --- graphs --------------------------------------------------------------------------------------------------------


def floats(*shape: int) -> np.ndarray:
    """Weights."""
    return (np.random.default_rng(sum(shape)).normal(size=shape) / 2).astype(np.float32)


TENSORS = {
    "k": floats(3, 2, 3, 3), "k2": floats(3, 3, 3, 3), "b": floats(3), "w": floats(48, 2), "pooled": floats(12, 2),
    "mean": floats(3, 2), "c1": floats(1, 3, 1, 1), "c0": floats(3, 1, 1), "cf": floats(1, 3, 4, 4), "s": floats(1),
    "var": floats(3) ** 2 + np.float32(0.1),
}  # fmt: skip
HALVES = {"kernel_shape": [2, 2], "strides": [2, 2]}
GRAPHS = {
    "convolution": ([], "r", "w"),
    "add": ([("Add", ["r", "c1"], "z", {})], "z", "w"),
    "subtract from": ([("Sub", ["c0", "r"], "z", {})], "z", "w"),
    "product": ([("Mul", ["r", "cf"], "z", {})], "z", "w"),
    "quotient": ([("Div", ["r", "s"], "z", {})], "z", "w"),
    "normalisation": ([("BatchNormalization", ["r", "b", "b", "b", "var"], "z", {})], "z", "w"),
    "greatest": ([("MaxPool", ["r"], "z", HALVES)], "z", "pooled"),
    "average": ([("AveragePool", ["r"], "z", HALVES)], "z", "pooled"),
    "global average": ([("GlobalAveragePool", ["r"], "z", {})], "z", "mean"),
    "residual": (
        [("Conv", ["r", "k2", "b"], "c", {"pads": [1] * 4}), ("Add", ["c", "r"], "d", {}), ("Relu", ["d"], "z", {})],
        "z",
        "w",
    ),
}


def graph(name: str) -> Network:
    """A small convolutional network."""
    middle, last, weight = GRAPHS[name]
    nodes = [("Conv", ["x", "k", "b"], "a", {"pads": [1] * 4}), ("Relu", ["a"], "r", {}), *middle]
    nodes += [("Flatten", [last], "flat", {}), ("MatMul", ["flat", weight], "y", {})]
    read = {value for _, inputs, _, _ in nodes for value in inputs}
    return graph_net(nodes, {key: value for key, value in TENSORS.items() if key in read}, (1, 2, 4, 4))


@pytest.mark.parametrize(("name", "method"), list(product(GRAPHS, ("IBP", "CROWN"))))
def test_graphs_of_images(name: str, method: BoundMethod) -> None:
    check(graph(name), 1, method)


@pytest.mark.parametrize("name", ["residual", "greatest"])
def test_alpha_crown_on_graphs(name: str) -> None:
    """In batches too; where windows have slopes of their own it is left out."""
    net, polytopes = graph(name), random_polytopes(3, 2)
    boxes = random_boxes(3, 3, net.n_inputs, 0.5)
    bound = AutoLirpaBound(net, CPU, AutoLirpaSettings(optimise=3, iterations=3))
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(3))
    points = sampled(boxes)
    check_items(found, boxes, polytopes, points, outputs_at(net, points))


def test_a_graph_of_one_sample_is_rebuilt_from_its_chain() -> None:
    """Without a batch axis a tracer would take the inputs for one."""
    nodes = [("MatMul", ["x", "w0"], "a", {}), ("Relu", ["a"], "b", {}), ("MatMul", ["b", "w1"], "y", {})]
    net = graph_net(nodes, {"w0": floats(3, 5), "w1": floats(5, 2)}, (3,))
    assert not net.graph.batched
    check(net, 5, "CROWN")


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (lambda: random_net(0, (2, 3, 1), "Elu", 1.0), "Elu"),
        (lambda: random_net(0, (2, 3, 1), "LeakyRelu", 1.5), "slope 1.5"),
        (lambda: random_net(0, (2, 3, 1), "LeakyRelu", -0.5), "slope -0.5"),
    ],
)
def test_what_it_has_no_sound_rule_for_is_refused(net, told: str) -> None:
    """Its bounds for slopes outside 0..1 lie above reachable values by whole units; ELU it does not know."""
    with pytest.raises(EngineError, match=told):
        AutoLirpaBound(net(), CPU)


# --- planted bugs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REWRITES, *FUNCTIONS])
def test_operators_that_become_others(name: str) -> None:
    """Bounded rightly or refused: whatever they became must be said in words that it has sound rules for."""
    net = network_from_onnx({**REWRITES, **FUNCTIONS}[name], check=False)
    with contextlib.suppress(EngineError):
        check(net, 0, "CROWN")


def test_a_network_traced_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(node, inputs):
        return torch.nn.functional.linear(inputs[0], inputs[1], inputs[2] * 0.9)

    monkeypatch.setitem(traceable.WORDS, "Gemm", wrong)
    with pytest.raises(EngineError, match="another network"):
        AutoLirpaBound(random_net(0, (2, 3, 1)), CPU)


def planted(monkeypatch: pytest.MonkeyPatch, bound: AutoLirpaBound, change) -> None:
    """Change what the foreign engine answers."""
    module = bound._module_for(bound.settings.method)
    honest = module.compute_bounds

    def lying(**asked):
        answer = honest(**asked)
        return (change(answer[0]), *answer[1:])

    monkeypatch.setattr(module, "compute_bounds", lying)


def test_a_bound_that_is_too_high_turns_the_test_red(monkeypatch: pytest.MonkeyPatch) -> None:
    net, boxes, polytopes = random_net(1, (2, 4, 2)), random_boxes(1, 3, 2), random_polytopes(1, 2)
    bound = AutoLirpaBound(net, CPU, plain("CROWN"))
    planted(monkeypatch, bound, lambda lower: lower + 5.0)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(3))
    points = sampled(boxes)
    with pytest.raises(AssertionError, match="above a reachable margin"):
        check_items(found, boxes, polytopes, points, outputs_at(net, points))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_prove_nothing(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    net, replay = with_replay(random_layers(2, (2, 4, 1)))
    bound = AutoLirpaBound(net, CPU, plain("CROWN"))
    planted(monkeypatch, bound, lambda lower: torch.full_like(lower, value))
    holds = make_property([0, 0], [1, 1], half_space([-1], -1000))  # y >= 1000
    verdict = verify(net, holds, settings=effort(max_boxes=64), replays=[replay], bound=lambda *_: bound)
    assert isinstance(verdict, Unknown)


def test_our_search_ends_on_its_bounds() -> None:
    net, replay = with_replay(random_layers(2, (2, 8, 8, 1)))
    top = float(outputs_at(net, points_of(Boxes(torch.zeros(1, 2).double(), torch.ones(1, 2).double()))).max())
    tight = make_property([0, 0], [1, 1], half_space([-1], -(top + 0.02)))
    made = AutoLirpaBound(net, CPU, plain("IBP"))
    verdict = verify(net, tight, settings=effort(), replays=[replay], bound=lambda *_: made)
    assert isinstance(verdict, Proved)
    assert verdict.boxes > 1, "nothing was cut: the case is too easy"
