"""Lines around activations, by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq

from birdnn.certify.check import lines
from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import (
    ASSUMED_ERROR,
    _derivative,
    _gap_bounds,
    _tangent_bound,
    activation_value,
    default_slopes,
    default_slopes_in_graphs,
    execution_error,
    is_bent,
    largest_magnitude,
    line_offsets,
    slope_range,
    touching_point,
)

RELU, LEAKY, STEEP = Activation("relu", 0.0), Activation("leaky_relu", 0.25), Activation("leaky_relu", 2.0)
ELU, TANH, SIGMOID = Activation("elu", 0.7), Activation("tanh", 0.0), Activation("sigmoid", 0.0)
LARGE = 2.0**-6


def of(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_where_it_is_bent() -> None:
    l, u = of(-1, 0, -2, 1, -2, np.nan, -1), of(1, 2, 0, 2, -1, 1, np.nan)
    for act in (RELU, LEAKY):
        assert is_bent(act, l, u).tolist() == [True, False, False, False, False, True, True]
    assert is_bent(ELU, l, u).tolist() == [True, False, True, False, True, True, True]
    assert is_bent(TANH, l, u).all()


def test_slopes_and_errors() -> None:
    assert [slope_range(act) for act in (RELU, LEAKY, STEEP)] == [(0, 1), (0.25, 1), (1, 2)]
    assert [slope_range(act) for act in (ELU, TANH, SIGMOID)] == [(0, 1), (0, 1), (0, 0.25)]
    l = of(-4, 3)
    assert execution_error(RELU, l).tolist() == [0, 0]
    assert execution_error(LEAKY, l).tolist() == [2.0**-23 + 2.0**-120, 2.0**-120]
    assert execution_error(Activation("leaky_relu", -0.25), l)[0] == 2.0**-23 + 2.0**-120
    for alpha, share in ((2.0**-126, 2.0**-23), (2.0**-127, 1.0)):  # the smaller one may be flushed to zero
        assert execution_error(Activation("leaky_relu", alpha), l)[0] == alpha * 4 * share + 2.0**-120
    assert execution_error(TANH, l).tolist() == [ASSUMED_ERROR["tanh"]] * 2


@pytest.mark.parametrize(
    ("act", "largest"),
    [
        (RELU, (2, 0, 3)),
        (LEAKY, (2, 1, 3)),
        (STEEP, (4, 8, 3)),
        (Activation("leaky_relu", -1.0), (2, 4, 3)),
        (ELU, (2, 0.7, 3)),
        (TANH, (1, 1, 1)),
    ],
)
def test_magnitudes(act: Activation, largest: tuple[float, ...]) -> None:
    """Of the activation over -2 .. 2, -4 .. -1 and 1 .. 3, an error added, rounded up and never zero."""
    got = largest_magnitude(act, of(-2, -4, 1), of(2, -1, 3), of(0.0, 0.0, 1 / 3))
    for found, exact in zip(got, (largest[0], largest[1], Fraction(largest[2]) + Fraction(1 / 3)), strict=True):
        assert (
            Fraction(exact) < Fraction(float(found)) <= Fraction(exact) * (1 + Fraction(1, 2**47)) + Fraction(1, 2**899)
        )


def test_values() -> None:
    z = of(-2, -0.0, 3)
    assert activation_value(RELU, z).tolist() == [0, 0, 3]
    assert activation_value(LEAKY, z).tolist() == [-0.5, 0, 3]
    assert activation_value(ELU, z) == pytest.approx([0.7 * np.expm1(-2), 0, 3], rel=1e-15)
    assert activation_value(SIGMOID, z) == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-15)
    assert activation_value(TANH, z).tolist() == np.tanh(z).tolist()
    assert _derivative(ELU, of(-1, 2)) == pytest.approx([0.7 * np.exp(-1), 1], rel=1e-15)
    assert _derivative(TANH, z) == pytest.approx(1 / np.cosh(z) ** 2, rel=1e-14)
    assert _derivative(SIGMOID, z) == pytest.approx(1 / (4 * np.cosh(z / 2) ** 2), rel=1e-14)


def test_default_slopes_of_what_is_piecewise_linear() -> None:
    """Below the line of the wider side, above the chord; where it is linear both are the function."""
    l, u = of(-1, -2, 1, -2, 0, -1), of(2, 1, 2, -1, 1, 1)
    below, above = default_slopes(RELU, l, u)
    assert below.tolist() == [1, 0, 1, 0, 1, 0]
    assert above == pytest.approx([2 / 3, 1 / 3, 1, 0, 1, 0.5])
    below, above = default_slopes(LEAKY, l, u)
    assert below.tolist() == [1, 0.25, 1, 0.25, 1, 0.25]
    assert above == pytest.approx([2.25 / 3, 1.5 / 3, 1, 0.25, 1, 0.625])
    below, above = default_slopes(STEEP, l, u)
    assert below == pytest.approx([4 / 3, 5 / 3, 1, 2, 1, 1.5])
    assert above.tolist() == [1, 2, 1, 2, 1, 2]


def test_default_slopes_of_elu() -> None:
    below, above = default_slopes(ELU, of(-1, -2, 1, 0), of(2, -1, 2, 1))
    assert below == pytest.approx([(0.7 * np.exp(-0.25) + 1) / 2, 0.35 * (np.exp(-1.75) + np.exp(-1.25)), 1, 1])
    assert above == pytest.approx([(2 - 0.7 * np.expm1(-1)) / 3, 0.7 * (np.exp(-1) - np.exp(-2)), 1, 1])


@pytest.mark.parametrize("act", [TANH, SIGMOID], ids=lambda act: act.kind)
@pytest.mark.parametrize(
    "ends", [(-2.0, 1.5), (-1.0, 3.0), (-3.0, 0.2), (0.5, 2.0), (-2.0, -0.5), (0.0, 1.0), (-1.0, 0.0)]
)
def test_default_slopes_of_what_is_s_shaped(act: Activation, ends: tuple[float, float]) -> None:
    """Above: between the tangent through the left end and that at the right one, where there is one; else the chord."""
    l, u = ends
    below, above = default_slopes(act, of(l), of(u))

    def f(z: float) -> float:
        return float(activation_value(act, of(z))[0])

    def slope(z: float) -> float:
        return float(_derivative(act, of(z))[0])

    def expected(l: float, u: float) -> float:
        def misses(d: float) -> float:
            return f(d) + slope(d) * (l - d) - f(l)

        if u <= 0 or (l < 0 and misses(u) < 0):
            return (f(u) - f(l)) / (u - l)
        least = l if l >= 0 else float(brentq(misses, 0, u, xtol=1e-13))
        return (slope(least + (u - least) / 4) + slope(least + 3 * (u - least) / 4)) / 2

    assert above[0] == pytest.approx(expected(l, u), abs=1e-9)
    assert below[0] == pytest.approx(expected(-u, -l), abs=1e-9)


def test_default_slopes_of_several_at_once() -> None:
    """One of them needs a search and the other does not."""
    l, u = of(-2, 0.5), of(1.5, 2)
    for act in (TANH, SIGMOID):
        together = default_slopes(act, l, u)
        for i in range(2):
            alone = default_slopes(act, l[i : i + 1], u[i : i + 1])
            assert [side[i] for side in together] == pytest.approx([side[0] for side in alone], abs=1e-9)


def test_a_chord_without_length_is_flat() -> None:
    for act in (TANH, ELU):
        assert lines._chord_slope(act, of(-1.0), of(-1.0)).tolist() == [0]


@pytest.mark.parametrize("act", [TANH, SIGMOID, ELU], ids=lambda act: act.kind)
def test_a_tangent_touches_where_the_slope_is_asked_for(act: Activation) -> None:
    for s in (0.05, 0.1, 0.2):
        left, right = touching_point(act, of(-3), of(0), of(s))[0], touching_point(act, of(0), of(3), of(s))[0]
        assert _derivative(act, of(left))[0] == pytest.approx(s, rel=1e-9)
        if act is not ELU:
            assert right == -left
        assert touching_point(act, of(-0.1), of(0), of(0.01))[0] == -0.1
    assert touching_point(ELU, of(-1), of(0), of(0.7))[0] == 0
    assert touching_point(ELU, of(-1), of(0), of(0.9))[0] == 0


@pytest.mark.parametrize("act", [RELU, LEAKY, ELU, TANH, SIGMOID], ids=lambda act: act.kind)
def test_what_functions_err_by_is_on_the_safe_side(act: Activation) -> None:
    """With functions that err by a sixty-fourth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LIBM", LARGE)
        for z, s in ((-2.0, 0.3), (1.5, 0.3), (1.5, -0.2), (0.0, 0.5)):
            low, high = (float(side[0]) for side in _gap_bounds(act, of(z), of(s)))
            f = float(activation_value(act, of(z))[0])
            wide = LARGE * (abs(f) + abs(s * z))
            assert (low, high) == pytest.approx((f - s * z - wide, f - s * z + wide), abs=1e-12)
            assert low < high


@pytest.mark.parametrize("act", [ELU, TANH, SIGMOID], ids=lambda act: act.kind)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_tangents_carry_what_functions_err_by(act: Activation, side: float) -> None:
    l, u = (0.25, 2.0) if side > 0 else (-2.0, -0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LIBM", LARGE)
        for s in (0.1, 0.2, -0.1, 1.0):
            got = float(_tangent_bound(act, of(l), of(u), of(s), side)[0])
            d = float(touching_point(act, of(l), of(u), of(s))[0])
            f, slope = float(activation_value(act, of(d))[0]), float(_derivative(act, of(d))[0])
            ends = [
                side * (f - s * d + (slope - s) * (z - d))
                + 2 * LARGE * (abs(f) + abs(s * d) + (slope + abs(s)) * abs(z - d))
                for z in (l, u)
            ]
            assert got == pytest.approx(side * max(ends), abs=1e-12)


@pytest.mark.parametrize("act", [ELU, TANH, SIGMOID], ids=lambda act: act.kind)
@pytest.mark.parametrize("ends", [(-2.0, -0.25), (0.25, 2.0), (-2.0, 2.0)])
def test_offsets_carry_what_functions_err_by(act: Activation, ends: tuple[float, float]) -> None:
    """Below everything that ends and tangents say, and above it."""
    l, u = ends
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LIBM", LARGE)
        for s in (of(0.1), of(0.2)):
            lows, highs = ([float(_gap_bounds(act, of(z), s)[side][0]) for z in ends] for side in (0, 1))
            if l < 0:
                upper = u if act is ELU else min(u, 0.0)
                lows.append(float(_tangent_bound(act, of(l), of(upper), s, -1.0)[0]))
            if u > 0 and act is not ELU:
                highs.append(float(_tangent_bound(act, of(max(l, 0.0)), of(u), s, 1.0)[0]))
            low, high = (float(side[0]) for side in line_offsets(act, of(l), of(u), s))
            straight = act is ELU and l >= 0
            assert (low, high) == ((0, 0) if straight else pytest.approx((min(lows), max(highs)), abs=1e-12))


def test_default_slopes_in_graphs_are_zero_where_nothing_but_rounding_is_left() -> None:
    """The prover takes the same (`birdnn.bounds.planes`): other slopes are as sound, and would reject its proofs."""
    near, below = 2.0**-40, np.nextafter(2.0**-40, 0)
    # both ends have to be near zero: one of these is at the limit or beyond, the others are not
    l, u = of(-near, -below, -below, -below, 0, -1), of(below, near, below, 0, below, below)
    plain, found = default_slopes(TANH, l, u), default_slopes_in_graphs(TANH, l, u)
    constant = np.array([False, False, True, True, True, False])
    assert ((plain[0] != 0) | (plain[1] != 0)).all()
    for own, other in zip(found, plain, strict=True):
        assert own.tolist() == np.where(constant, 0.0, other).tolist()


def test_a_derivative_that_underflows_counts_with_the_distance() -> None:
    """So far below zero a sigmoid and its derivative are zero in float64, and nothing else is left."""
    l, u = of(-(2.0**300)), of(-(2.0**20))
    assert touching_point(SIGMOID, l, u, of(0.0)) == l
    assert _tangent_bound(SIGMOID, l, u, of(0.0), -1.0)[0] == -(2.0**-700)


@pytest.mark.parametrize("act", [TANH, ELU], ids=lambda act: act.kind)
def test_what_underflows_counts(act: Activation) -> None:
    """At zero nothing else is left."""
    zero = of(0.0)
    assert [float(side[0]) for side in _gap_bounds(act, zero, of(0.5))] == [-(2.0**-900), 2.0**-900]
    assert [float(_tangent_bound(act, zero, zero, of(0.5), side)[0]) for side in (1.0, -1.0)] == [
        2.0**-900,
        -(2.0**-900),
    ]
