"""Bounds of graphs that a runtime rewrites before it runs them; `tools.adversarial_graphs` draws and runs these."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from birdnn import chain, rounding
from birdnn.bounds import crown, interval, plan
from birdnn.formats.rewriting import REWRITTEN
from birdnn.merging import Merging
from birdnn.operators import OPERATORS
from tools.adversarial_graphs import LEVELS, drawn, sessions, wrong
from tools.adversarial_operators import made, mapped

UNDERFLOWS = (1473, 2814)
"""Seeds whose constants onnxruntime merges to something else than they are one after the other."""
TRANSPOSED = 20764
"""A seed in which a transposed convolution's rounding is seen."""
ROUNDS = (78, 92)
"""Seeds whose rounding alone is seen, by intervals and by linear bounds."""


@pytest.mark.thorough
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=UNDERFLOWS[0])
@example(seed=UNDERFLOWS[1])
def test_no_bound_is_above_what_some_level_of_optimisation_returns(seed: int) -> None:
    """Nor above what the network is over the reals."""
    assert not list(wrong(seed, Counter()))


@pytest.mark.thorough
def test_bounds_are_claimed() -> None:
    """Of most networks, by intervals and by linear bounds, in both semantics: the question is not idle."""
    count = Counter[str]()
    for seed in range(40):
        assert not list(wrong(seed, count))
    for semantics in ("float32", "real"):
        assert count[f"{semantics}, interval: a bound"] > 25
        assert count[f"{semantics}, crown: a bound"] > 25
        assert count[f"{semantics}, graph: a bound"] > 20


@pytest.mark.parametrize("seed", range(100, 200))
def test_operators_that_become_others(seed: int) -> None:
    """The same of all that is read."""
    assert not list(wrong(seed, Counter(), made))


@pytest.mark.parametrize("seed", range(60))
def test_maps_along_axes(seed: int) -> None:
    """The same of cumulated sums, sums of products in another notation, and values of other sizes."""
    assert not list(wrong(seed, Counter(), mapped))


def test_every_map_is_drawn() -> None:
    assert {"CumSum", "Einsum", "Resize"} <= {n.op_type for seed in range(60) for n in mapped(seed).graph.graph.node}


@pytest.mark.thorough
def test_maps_along_axes_in_many_graphs() -> None:
    """Of most of them something is claimed."""
    count = Counter[str]()
    for seed in range(1000, 1400):
        assert not list(wrong(seed, count, mapped))
    assert count["float32, interval: a bound"] > 300
    assert count["real, graph: a bound"] > 300


@pytest.mark.thorough
def test_operators_that_become_others_in_many_graphs() -> None:
    """Of most of them something is claimed; ``python -m tools.adversarial_operators`` looks at as many as asked for."""
    count = Counter[str]()
    for seed in range(10_000, 10_400):
        assert not list(wrong(seed, count, made))
    assert count["float32, interval: a bound"] > 240
    assert count["real, interval: a bound"] > 320


def test_every_operator_is_drawn() -> None:
    """Those that only give a value another shape have a representative."""
    ops = {node.op_type for seed in range(500) for node in made(seed).graph.graph.node}
    assert set(OPERATORS) - ops <= {"Identity", "Squeeze", "Unsqueeze"}
    assert {"Abs", "Expand", "HardSigmoid", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMean", "ReduceMin", "Selu",
            "Split", "Sum", "Tile", "Where"} <= ops & set(REWRITTEN)  # fmt: skip


def test_levels_are_different() -> None:
    """Optimised graphs have fewer nodes: what is compared is not the same program four times."""
    one = drawn(UNDERFLOWS[0])
    assert len(sessions(one)) == len(LEVELS)
    rounded = {session.run(None, {"X": one.lower.reshape(one.shape)})[0].tobytes() for session in sessions(one)}
    assert len(rounded) > 1


@pytest.mark.parametrize("seed", UNDERFLOWS)
def test_planted_nobody_pays_for_merged_constants(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chain, interval, plan):
        monkeypatch.setattr(module, "mergings", lambda *_: defaultdict(Merging))
    assert list(wrong(seed, Counter()))


@pytest.mark.parametrize("seed", ROUNDS)
def test_planted_nobody_pays_for_rounding(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rounding.gamma
    for module in (chain, interval, crown):
        if hasattr(module, "gamma"):
            monkeypatch.setattr(module, "gamma", lambda n, unit: 0.0 if unit == rounding.FLOAT32 else real(n, unit))
    assert {found.bound for found in wrong(seed, Counter())} == {"interval", "crown", "graph"}


def test_planted_a_transposed_convolution_without_roundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """In linear bounds, behind other layers."""
    row = OPERATORS["ConvTranspose"]
    assert row.sums is not None
    forgetful = replace(row, sums=replace(row.sums, roundings=lambda shapes, attributes: 0))
    monkeypatch.setitem(OPERATORS, "ConvTranspose", forgetful)  # type: ignore[arg-type]
    assert {found.bound for found in wrong(TRANSPOSED, Counter(), made)} == {"crown"}


def test_drawn_models_are_models() -> None:
    for seed in range(20):
        onnx.checker.check_model(drawn(seed).graph)
