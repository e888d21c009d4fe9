"""Lines around differences: by hand, and against sampled differences of any size in both arithmetics."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.certify.check.layers import Activation
from birdnn.certify.check.pairs import exact, lines
from birdnn.certify.check.pairs.lines import (
    Slants,
    default_slopes,
    largest_magnitude,
    line_offsets,
    slants,
    tighten_blocks,
)
from tests.certify.pairs.cases import KINDS

RELU, LEAKY, STEEP, FALLING = KINDS


def of(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float64)


def multiples(act: Activation, *ends: tuple[float, float]) -> tuple[float, ...]:
    """Below and above, of one neuron with these bounds of A, B and the difference."""
    found = slants(act, *(of(*side) for side in zip(*ends, strict=True)))
    return tuple(float(side[0, 0]) for both in (found.below, found.above) for side in both)


def test_multiples_are_slopes_at_the_right_point() -> None:
    """Tangents at z from below where it is convex, at z + d from above; the other way round where it is concave."""
    on, off, open_ = (1.0, 2.0), (-2.0, -1.0), (-1.0, 1.0)
    apart = (-0.5, 0.5)
    assert multiples(RELU, on, open_, apart) == (1, 1, 0, 1)
    assert multiples(RELU, open_, off, apart) == (0, 1, 0, 0)
    assert multiples(LEAKY, open_, on, apart) == (0.25, 1, 1, 1)
    assert multiples(STEEP, on, off, apart) == (2, 2, 1, 1)
    assert multiples(STEEP, open_, on, apart) == (1, 1, 1, 2)
    assert multiples(FALLING, open_, off, apart) == (-0.5, 1, -0.5, -0.5)
    assert multiples(RELU, (0.0, 1.0), (-1.0, 0.0), apart) == (1, 1, 0, 0)
    assert multiples(STEEP, (0.0, 1.0), (-1.0, 0.0), apart) == (2, 2, 1, 1)
    assert multiples(RELU, (np.nan, 1.0), (-1.0, np.nan), apart) == (0, 1, 0, 1)
    assert multiples(RELU, (-np.inf, np.inf), (-np.inf, -1.0), apart) == (0, 1, 0, 0)


def test_where_the_difference_is_known() -> None:
    def known(*ends: tuple[float, float]) -> bool:
        return bool(slants(RELU, *(of(*side) for side in zip(*ends, strict=True))).known[0, 0])

    on, off, open_, apart = (1.0, 2.0), (-2.0, -1.0), (-1.0, 1.0), (-9.0, 9.0)
    assert known(on, on, apart)
    assert known(off, off, apart)
    assert not any(known(one, other, apart) for one, other in ((on, off), (off, on), (on, open_), (open_, off)))


def test_lines_by_hand() -> None:
    """Chords where the difference is on both sides of zero, else one multiple."""
    both = Slants((of(0.25), of(1.0)), (of(0.0), of(0.5)))
    for l, u, low, high, below, above in (
        (-2.0, 6.0, (0.25 * 6 + 2) / 8, 0.5 * 6 / 8, -2 + (0.25 * 6 + 2) / 8 * 2, 0.5 * 6 / 8 * 2),
        (1.0, 3.0, 0.25, 0.5, 0.0, 0.0),
        (0.0, 3.0, 0.25, 0.5, 0.0, 0.0),
        (-3.0, -1.0, 1.0, 0.0, 0.0, 0.0),
        (-3.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    ):
        slopes = default_slopes(both, of(l), of(u))
        assert tuple(float(side[0, 0]) for side in slopes) == (low, high)
        found = line_offsets(both, of(l), of(u), *slopes)
        for got, wanted, side in zip(found, (below, above), (-1, 1), strict=True):
            assert float(got[0, 0]) == pytest.approx(wanted, abs=1e-13 if l < 0 < u else 0)
            assert side * (float(got[0, 0]) - wanted) >= 0
    one = Slants((of(1.0), of(1.0)), (of(1.0), of(1.0)))
    ends = of(-np.inf), of(np.inf)
    with np.errstate(invalid="ignore"):
        slopes = default_slopes(one, *ends)
        assert [float(side[0, 0]) for side in (*slopes, *line_offsets(one, *ends, *slopes))] == [1, 1, 0, 0]
        nothing = line_offsets(both, *ends, of(0.5), of(0.5))
    assert not any(np.isfinite(side).any() for side in nothing)


def test_offsets_leave_room_for_underflow() -> None:
    """Half of the smallest number is none, and rows of any size may meet it."""
    least = 2.0**-1074
    halves = Slants((of(0.5), of(0.5)), (of(0.5), of(0.5)))
    below, above = line_offsets(halves, of(-least), of(least), of(1.0), of(1.0))
    for end in (-1, 1):
        exact_gap = Fraction(end, 2**1075) - Fraction(end, 2**1074)
        assert Fraction(float(below[0, 0])) <= exact_gap <= Fraction(float(above[0, 0]))
    assert below < 0 < above


def test_the_largest_difference() -> None:
    found = float(largest_magnitude(Slants((of(-0.5), of(1.0)), (of(0.0), of(0.5))), of(-3.0), of(2.0))[0, 0])
    assert 3 < found < 3 + 1e-13
    assert float(largest_magnitude(Slants((of(0.0), of(0.0)), (of(0.0), of(0.0))), of(-3.0), of(2.0))[0, 0]) > 0


def test_blocks_tighten_each_other() -> None:
    """A in 0 .. 1 and B in 2 .. 4, of which the difference may say more, or less, or nothing."""
    for apart, wanted in (
        ((-np.inf, np.inf), ((0, 1), (2, 4), (1, 4))),
        ((1.5, 2.0), ((0, 1), (2, 3), (1.5, 2))),
        ((2.5, 9.0), ((0, 1), (2.5, 4), (2.5, 4))),
        ((3.5, 9.0), ((0, 0.5), (3.5, 4), (3.5, 4))),
    ):
        l, u = of(0.0, 2.0, apart[0]), of(1.0, 4.0, apart[1])
        tighten_blocks(l, u)
        for low, high, (least, most) in zip(l[0], u[0], wanted, strict=True):
            assert least - 1e-13 < low <= least
            assert most <= high < most + 1e-13
    l, u = of(-np.inf, -np.inf, -1.0), of(np.inf, np.inf, 1.0)
    tighten_blocks(l, u)
    assert (l.tolist(), u.tolist()) == ([[-np.inf, -np.inf, -1]], [[np.inf, np.inf, 1]])


@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-300, 300))
@settings(max_examples=80)
def test_agreeing_loses_no_point(seed: int, power: int) -> None:
    """Bounds around a point that is exact stay around it, however they round."""
    draw = np.random.default_rng(seed)
    a, b = (Fraction(float(v)) for v in np.ldexp(draw.normal(size=2) * 10.0 ** draw.integers(-9, 9, 2), power))
    point = a, b, b - a
    ends = [[float(np.nextafter(float(v), side)) for v in point] for side in (-np.inf, np.inf)]
    wide = draw.random((2, 3)) * (draw.random((2, 3)) < 0.5) * np.abs(np.array(ends))
    l, u = np.array([ends[0]]) - wide[0], np.array([ends[1]]) + wide[1]
    tighten_blocks(l, u)
    assert all(
        Fraction(float(low)) <= v <= Fraction(float(high)) for low, v, high in zip(l[0], point, u[0], strict=True)
    )


def _wrong(seed: int, act: Activation, power: int = 0) -> bool:
    """Does a line of some slope, in either arithmetic, miss a sampled difference?"""
    draw = np.random.default_rng(seed)
    size = np.ldexp(1.0, power)
    z = draw.normal(size=2) * size * 10.0 ** draw.integers(-3, 3)
    wide = np.abs(draw.normal(size=(3, 2))) * size * 10.0 ** draw.integers(-4, 1, (3, 1))
    exactly = [Fraction(float(v)) for v in z]
    d = exactly[1] - exactly[0]
    centre = np.array([[z[0], z[1], float(d)]])
    l, u = centre - wide[:, 0], centre + wide[:, 1]
    if not Fraction(float(l[0, 2])) <= d <= Fraction(float(u[0, 2])):
        return False
    slanted, apart = slants(act, l, u), (l[:, 2:], u[:, 2:])
    s = [float(act.alpha + draw.random() * (1 - act.alpha)) for _ in range(2)]
    chosen = [default_slopes(slanted, *apart), (of(s[0]), of(s[1]))][draw.integers(2)]
    found = [float(side[0, 0]) for side in line_offsets(slanted, *apart, *chosen)]
    slopes = [Fraction(float(side[0, 0])) for side in chosen]
    pass_: Any = SimpleNamespace(_slants=[slanted], bounds=[(l, u, None)])
    own = cast(Any, exact.PairExactPass._gap_extremes)
    said = [own(pass_, 0, 0, 2, fmpq(s.numerator, s.denominator))[side] for side, s in enumerate(slopes)]
    before, after = (v if v > 0 else Fraction(act.alpha) * v for v in exactly)
    gap = [after - before - s * d for s in slopes]
    inexact = Fraction(found[0]) > gap[0] or Fraction(found[1]) < gap[1]
    return (
        inexact
        or Fraction(int(said[0].p), int(said[0].q)) > gap[0]
        or Fraction(int(said[1].p), int(said[1].q)) < gap[1]
    )


@pytest.mark.parametrize("act", KINDS, ids=lambda act: f"{act.kind}-{act.alpha}")
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-500, 390))
@settings(max_examples=80)
def test_lines_of_any_slope_hold(act: Activation, seed: int, power: int) -> None:
    assert not _wrong(seed, act, power)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_end_is_noticed(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the interval, in float64 and in exact arithmetic."""
    right = lines.line_offsets

    def half(slanted: Slants, l: np.ndarray, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> Any:
        return right(slanted, *((u, u) if lost == 0 else (l, l)), low, high)

    assert not any(_wrong(seed, act) for seed in range(100) for act in KINDS)
    monkeypatch.setitem(globals(), "line_offsets", half)
    assert any(_wrong(seed, act) for seed in range(100) for act in KINDS)


def test_a_lost_end_of_the_exact_arithmetic_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = exact.fmpq_of_float
    monkeypatch.setattr(exact, "fmpq_of_float", lambda value: right(value) if not 0 < value < 0.2 else right(0.2))
    assert any(_wrong(seed, act) for seed in range(100) for act in KINDS)
