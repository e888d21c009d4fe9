"""Properties that relate inputs with each other and with outputs, on networks that hand on their inputs."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from birdnn.formats.onnx import network_from_layers
from birdnn.formats.vnnlib import parse_property
from birdnn.network import Network
from birdnn.records import Proved, Violated
from birdnn.spec import Property
from birdnn.verify import verify
from birdnn.verify.bounding import make_bound
from birdnn.verify.exactly import OverReals
from birdnn.verify.relating import beside_inputs
from tests.bounds.builders import half_space, make_property, random_net
from tests.verify.test_exactly import convolution
from tests.verify.test_search import effort, with_replay
from tests.verify.test_touching import dyadic, exactly

F = Fraction


def related(formula: str, n_outputs: int = 1, low: str = "-1", high: str = "1", n_inputs: int = 2) -> Property:
    names = [f"X_{i}" for i in range(n_inputs)]
    text = "".join(f"(declare-const {name} Real)" for name in (*names, *(f"Y_{j}" for j in range(n_outputs))))
    text += "".join(f"(assert (<= {low} {name} {high}))" for name in names)
    return parse_property(f"{text}(assert {formula})", name="p", deciding=True, relating=True)


def graphs() -> dict[str, tuple[Network, str]]:
    """Name -> a network, and the bounds that it has with its inputs beside it."""
    return {
        "ReLU": (random_net(0, (3, 5, 4, 2)), "crown"),
        "LeakyReLU": (network_from_layers(layers(1), "LeakyRelu", alpha=0.25), "crown"),
        "tanh": (network_from_layers(layers(2), "Tanh"), "graph"),
        "float64": (network_from_layers(layers(3), dtype=np.float64), "crown"),
        "one layer": (network_from_layers(layers(4)[:1]), "crown"),
        "residual": (convolution(0, "residual"), "graph"),
    }


def layers(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(seed)
    return [(draw.normal(size=(n, m)), draw.normal(size=n)) for m, n in itertools.pairwise((3, 4, 3, 2))]


@pytest.mark.parametrize("name", graphs())
def test_the_inputs_come_behind_the_outputs(name: str) -> None:
    """Exactly over the reals, below zero too; by bounds of chains wherever the network is one."""
    net, bound = graphs()[name]
    n, m = net.n_inputs, net.n_outputs
    prop = make_property([-1.7] * n, [0.9] * n, half_space([1.0] * m, 0.0))
    both = beside_inputs(net, prop)
    assert (both.n_inputs, both.n_outputs, both.sha256) == (n, m + n, net.sha256)
    x = torch.rand((50, n), generator=torch.Generator().manual_seed(0)) * 2.6 - 1.7
    with torch.no_grad():
        assert torch.allclose(both(x), torch.cat([net(x), x], 1), atol=1e-5)
    assert make_bound(both, effort()).name.startswith(bound) or bound == "crown"
    if name == "residual":  # of which nobody can tell what it is over the reals
        return
    point = [float(v) for v in x[0]]
    ours, theirs = OverReals(both).outputs(point), OverReals(net).outputs(point)
    assert [ours.fraction(m + i) for i in range(n)] == [(F(v), 0) for v in point]
    for i in range(m):
        (mid, rad), (value, spread) = ours.fraction(i), theirs.fraction(i)
        assert abs(mid - value) <= rad + spread


def test_rows_are_of_outputs_and_inputs() -> None:
    """As they are written; a property with them is violated by inputs and outputs together."""
    made = related("(and (<= (+ X_0 X_1) 1) (> Y_1 (* 2 X_0)) (<= Y_0 3))", n_outputs=2)
    (region,) = made.regions
    rows = [(row.coefficients, row.bound, row.strict) for row in region.unsafe[0].rows]
    assert rows == [((0, 0, 1, 1), 1, False), ((0, -1, 2, 0), 0, True), ((1, 0, 0, 0), 3, False)]
    assert (made.relational, made.n_outputs) == (True, 4)
    made.require_sizes(2, 2)
    assert made.violated([0.25, 0.5], [3.0, 0.75])
    assert not made.violated([0.25, 0.5], [3.0, 0.5])
    assert not made.violated([0.75, 0.5], [3.0, 9.0])
    wider = made.fitted(2, 3)
    assert [row.coefficients for row in wider.regions[0].unsafe[0].rows][1] == (0, -1, 0, 2, 0)
    assert not related("(<= Y_0 X_0)").fitted(2, 1).notes


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("(<= Y_0 (- X_0 0.1))", Proved),  # y0 = relu(x0) + relu(x1) is never below x0
        ("(<= Y_0 X_0)", Violated),
        ("(< Y_0 X_0)", Proved),  # by nothing to spare
        ("(and (<= (+ X_0 X_1) 1) (>= Y_0 1.5))", Proved),
        ("(and (<= (+ X_0 X_1) 1) (>= Y_0 1))", Violated),
        ("(and (<= (+ X_0 X_1) 1) (> Y_0 1) (>= X_0 0) (>= X_1 0))", Proved),
        ("(and (= X_0 X_1) (>= Y_0 2))", Violated),
        ("(>= (+ X_0 X_1) 2.5)", Proved),  # nowhere in the box
        ("(or (and (<= X_0 X_1) (>= (- Y_0 X_1) 1.1)) (>= Y_0 2.1))", Proved),
    ],
)
def test_known_answers(formula: str, expected: type) -> None:
    """By closed form."""
    net, replay = with_replay([([[1.0, 0], [0, 1]], [0.0, 0]), ([[1.0, 1]], [0.0])])
    prop = related(formula)
    verdict = verify(beside_inputs(net, prop), prop, settings=effort(max_boxes=20_000), replays=[replay])
    assert isinstance(verdict, expected), verdict
    if isinstance(verdict, Violated):
        assert prop.violated(verdict.witness.x, verdict.witness.y)
        assert len(verdict.witness.y) == 1
        assert verdict.witness.exactly


@pytest.mark.thorough
def test_verdicts_agree_with_a_grid() -> None:
    """Random small networks and half-spaces, exactly at the points of a grid: no proof where one of them violates."""
    proved = violated = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        made = [(dyadic(draw, n, m), dyadic(draw, n)) for m, n in itertools.pairwise((2, 3, 2))]
        net, replay = with_replay(made)
        a, b = draw.integers(-2, 3, 4), draw.integers(-2, 3, 2)
        terms = " ".join(f"(* {c} {v})" for c, v in zip(a.tolist(), ("Y_0", "Y_1", "X_0", "X_1"), strict=True))
        space = f"(<= (+ (* {b[0]} X_0) (* {b[1]} X_1)) {draw.integers(-2, 3) / 2})"
        grid = list(itertools.product([F(k, 8) for k in range(-8, 9)], repeat=2))
        values = [sum((int(c) * v for c, v in zip(a, (*exactly(made, x), *x), strict=True)), F(0)) for x in grid]
        least = float(sorted(values)[draw.integers(0, 40)] - F(1, 8))
        prop = related(f"(and {space} (<= (+ {terms}) {least}))", n_outputs=2)
        if not prop.relational or prop.vacuous:
            continue
        (region,) = prop.regions
        inside = [x for x in grid if region.contains([float(v) for v in x])]
        bad = [x for x in inside if region.unsafe[0].holds([*exactly(made, x), *x])]
        verdict = verify(beside_inputs(net, prop), prop, settings=effort(max_boxes=5000), replays=[replay])
        proved, violated = proved + isinstance(verdict, Proved), violated + isinstance(verdict, Violated)
        assert not (bad and isinstance(verdict, Proved)), seed
        if isinstance(verdict, Violated):
            assert prop.violated(verdict.witness.x, verdict.witness.y)
    assert proved > 10
    assert violated > 10
