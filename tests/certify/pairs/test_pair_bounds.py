"""No bound of a pair is contradicted by exact values, in either arithmetic; and none of these tests is idle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from birdnn.certify.check.pairs import chain, exact, floats, lines, walk
from birdnn.certify.check.pairs.lines import Slants
from tests.certify.pairs.cases import KINDS, contradictions

SEEDS = range(60)


@pytest.mark.parametrize("exactly", [False, True], ids=["float64", "exact"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_bound_is_contradicted(exactly: bool, seed: int) -> None:
    assert not contradictions(seed, exactly=exactly)


@pytest.mark.parametrize("powers", [20, 120, 400])
@pytest.mark.parametrize("exactly", [False, True], ids=["float64", "exact"])
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=9)  # beyond float64
@settings(max_examples=40)
def test_numbers_of_any_size(exactly: bool, powers: int, seed: int) -> None:
    """Weights and inputs from 2**-400 to 2**400: differences of large numbers, small numbers, and what underflows."""
    assert not contradictions(seed, exactly=exactly, powers=powers)


SLANTS = lines.slants


def _swapped(act: Any, l: np.ndarray, u: np.ndarray) -> Slants:
    """Tangents at the wrong point."""
    found = SLANTS(act, l, u)
    return Slants(found.above, found.below)


def _of_the_first_alone(act: Any, l: np.ndarray, u: np.ndarray) -> Slants:
    found = SLANTS(act, l, u)
    return Slants(found.below, found.below) if act.alpha <= 1 else Slants(found.above, found.above)


def _reversed(act: Any, l: np.ndarray, u: np.ndarray) -> Slants:
    """The greatest slope where the least one belongs."""
    found = SLANTS(act, l, u)
    return Slants(found.below[::-1], found.above[::-1])


def _none(slanted: Slants, l: np.ndarray, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> Any:
    return np.zeros_like(l), np.zeros_like(u)


def _sum(l: np.ndarray, u: np.ndarray) -> None:
    """The difference taken for the sum."""
    n = l.shape[1] // 3
    low, high = l[:, n : 2 * n] + l[:, :n], u[:, n : 2 * n] + u[:, :n]
    l[:, 2 * n :], u[:, 2 * n :] = np.fmax(l[:, 2 * n :], low), np.fmin(u[:, 2 * n :], high)


def _half_agreed(l: np.ndarray, u: np.ndarray) -> None:
    """Upper ends for lower ones: the distance of the first network from itself is lost."""
    n = l.shape[1] // 3
    l[:, 2 * n :] = np.fmax(l[:, 2 * n :], l[:, n : 2 * n] - l[:, :n])


def _other_sign(one: Any, other: Any, *, first: bool, joined: Any = chain._join_layers) -> Any:
    """The weights' difference the wrong way round."""
    made = joined(one, other, first=first)
    n = len(made.bias) // 3
    made.weight[2 * n :, : one.weight.shape[1]] *= -1
    return made


def _form(row: Any, form: int, right: Any = chain._row_in_form) -> Any:
    """The third form with the difference added."""
    found = right(row, form)
    n = len(found.coefficients) // 3
    if form != 2:
        return found
    return type(row)((*found.coefficients[: 2 * n], *(-v for v in found.coefficients[2 * n :])), row.bound, row.strict)


def _everywhere(name: str, wrong: Callable[..., Any]) -> list[tuple[Any, str, Callable[..., Any]]]:
    return [(module, name, wrong) for module in (lines, walk, floats, exact) if hasattr(module, name)]


PLANTED: dict[str, list[tuple[Any, str, Any]]] = {
    "tangents at the wrong point": _everywhere("slants", _swapped),
    "tangents at one point": _everywhere("slants", _of_the_first_alone),
    "least and greatest slope change places": _everywhere("slants", _reversed),
    "no offset": [(floats, "line_offsets", _none)],
    "the difference is a sum": [(walk, "tighten_blocks", _sum)],
    "upper ends for lower ones": [(walk, "tighten_blocks", _half_agreed)],
    "weights the wrong way round": [(chain, "_join_layers", _other_sign)],
    "a form with another sign": [(chain, "_row_in_form", _form)],
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(contradictions(seed) for seed in SEEDS)
    for place in PLANTED[name]:
        monkeypatch.setattr(*place)
    assert any(contradictions(seed) for seed in SEEDS)


def test_a_planted_bug_of_the_exact_arithmetic_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what it does by itself: the extremes of a difference, taken for those of a network's neuron."""
    assert not any(contradictions(seed, exactly=True) for seed in SEEDS)
    monkeypatch.setattr(exact.PairExactPass, "_gap_extremes", exact.ExactPass._gap_extremes)
    assert any(contradictions(seed, exactly=True) for seed in SEEDS)


def test_all_kinds_are_tried() -> None:
    """ReLU, LeakyReLU that is convex, concave, and falls below zero."""
    for kind in range(len(KINDS)):
        assert not any(contradictions(seed, kind=kind) for seed in range(20))
