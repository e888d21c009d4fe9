"""The exact arithmetic's own parts, by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx, fmpq, fmpz

from birdnn.certify.check import exact, files
from birdnn.certify.check.exact import (
    _LONGEST,
    _MORE_BITS,
    ExactEngine,
    ExactPass,
    _derivative,
    _expm1,
    _Planes,
    ball_end,
    certainly_holds,
    gap_extremes,
    leaky_relu,
    smooth_value,
)
from birdnn.certify.check.lines import Activation
from birdnn.certify.check.network import read_network
from birdnn.certify.check.statement import Row
from tests.certify.cases import network

ELU = Activation("elu", 0.5)


def test_ends_of_a_ball_are_on_their_sides() -> None:
    third = arb(1) / 3
    assert ball_end(third, -1) < fmpq(1, 3) < ball_end(third, 1)
    with pytest.raises(ArithmeticError):
        ball_end(arb("nan"), 1)


def test_elu_is_the_identity_above_zero() -> None:
    """Without a ball, so to the last bit, and at zero as well."""
    assert gap_extremes(ELU, fmpq(1), fmpq(2), fmpq(1, 2)) == (fmpq(1, 2), fmpq(1))
    assert gap_extremes(ELU, fmpq(0), fmpq(1), fmpq(1, 3)) == (fmpq(0), fmpq(2, 3))
    assert gap_extremes(ELU, fmpq(1), fmpq(3), fmpq(2)) == (fmpq(-3), fmpq(-1))


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "elu"])
def test_balls_count_with_all_they_hold(kind: str) -> None:
    """Seen with balls as large as a thousandth, on intervals whose extremes lie inside of them, or at their ends."""
    act = Activation(kind, 0.7)
    scale = fmpq(1, 4) if kind == "sigmoid" else fmpq(1)
    for l, u in ((-3, 0), (-3, -1), (0, 3), (1, 3), (-2, 2), (1, 1), (-1, -1)):
        for s in (scale * fmpq(k, 13) for k in range(14)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exact, "PRECISION", 10)
                low, high = gap_extremes(act, fmpq(l), fmpq(u), s)
            with ctx.workprec(200):
                values = [_gap(act, fmpq(l) + fmpq(u - l) * fmpq(k, 60), s) for k in range(61)]
                slack = arb(2) ** -150  # of the comparison's own balls
                assert all(arb(low) - slack <= value <= arb(high) + slack for value in values)


def _gap(act: Activation, z: fmpq, s: fmpq) -> arb:
    return smooth_value(act, arb(z)) - arb(s) * arb(z)


FAR = exact._FAR
FAR_OFF: dict[str, tuple[Callable[[arb], arb], Callable[[arb], arb], tuple[int, ...]]] = {
    "sigmoid": (partial(smooth_value, Activation("sigmoid", 0.0)), lambda z: 1 / (1 + (-z).exp()), (-1, 1)),
    "tanh": (partial(smooth_value, Activation("tanh", 0.0)), lambda z: z.tanh(), (-1, 1)),
    "derivative of sigmoid": (
        partial(_derivative, Activation("sigmoid", 0.0)),
        lambda z: 1 / (2 + z.exp() + (-z).exp()),
        (-1, 1),
    ),
    "derivative of tanh": (partial(_derivative, Activation("tanh", 0.0)), lambda z: 1 / z.cosh() ** 2, (-1, 1)),
    "expm1": (_expm1, lambda z: z.expm1(), (-1,)),
}


@pytest.mark.parametrize("name", FAR_OFF)
def test_far_from_zero_little_is_computed_and_nothing_lost(name: str) -> None:
    """At the last point that is computed, and behind it, compared with the function in thousands of bits."""
    found, true, sides = FAR_OFF[name]
    with ctx.workprec(4000):
        narrow = arb(2) ** -1399
        for side in sides:
            at, behind = arb(side * FAR), side * (FAR + arb(2) ** -20)
            assert found(at).overlaps(true(at))
            assert found(at).rad() < narrow * narrow
            assert found(behind).contains(true(behind))
            assert found(behind).rad() < narrow
            inward = found(behind).mid() - true(behind), true(behind) - true(4 * behind)
            assert inward[0] * inward[1] > 0  # all of the ball but the limit itself is on the function's side of it


@pytest.mark.parametrize("z", [arb(-2), arb(3), arb(0), arb(0, 1), arb(-1, 1), arb(1, 1)])
def test_a_leaky_ball_holds_every_value_and_little_more(z: arb) -> None:
    low, high = (Fraction(int(v.p), int(v.q)) for v in (ball_end(z, -1), ball_end(z, 1)))
    ends = [max(v, Fraction(1, 4) * v) for v in (low, high)]
    got = leaky_relu(z, 0.25)
    assert got.contains(arb(fmpq(ends[0].numerator, ends[0].denominator)))
    assert got.contains(arb(fmpq(ends[1].numerator, ends[1].denominator)))
    assert float(got.rad()) <= float(high - low) / 2 + 1e-6


def test_a_ball_that_ends_at_zero_is_below_it() -> None:
    """So that its values are no more than those of the branch below."""
    z = -arb(arb(0, 1).rad(), 1)
    assert ball_end(z, 1) == 0
    assert leaky_relu(z, 0.25).rad() < 0.26
    assert smooth_value(Activation("elu", 0.125), z).rad() < 0.5


def test_minima_are_rounded_down() -> None:
    for constant in (fmpq(1, 3), fmpq(-1, 3)):
        planes = _Planes([[fmpz(1), fmpz(-1)]], 0, [constant])
        box = np.array([[2.0, 1.0]]), np.array([[3.0, 4.0]])
        (least,) = ExactPass._minimum_over_boxes(object.__new__(ExactPass), planes, box)
        least_exactly = Fraction(-2) + Fraction(int(constant.p), int(constant.q))
        assert Fraction(float(least)) < least_exactly < Fraction(float(np.nextafter(least, np.inf)))


@pytest.mark.parametrize(
    ("total", "closed", "strict"),
    [(arb(-1), True, True), (arb(0), True, False), (arb(1), False, False), (arb(0, 1e-9), False, False)],
)
def test_balls_hold_where_all_their_numbers_do(total: arb, closed: bool, strict: bool) -> None:
    zero = Fraction(0)
    assert certainly_holds(Row((Fraction(1),), zero, False), [total]) is closed
    assert certainly_holds(Row((Fraction(1),), zero, True), [total]) is strict


def test_weights_lose_nothing_they_need_not(tmp_path: Path) -> None:
    """As many bits as the longest weight has, and not more than are worth it."""

    def engine(*weights: float) -> Any:
        chain = read_network(files.read_file(network(tmp_path / "net.onnx", [len(weights), 1], seed=0)))
        chain.layers[0].weight[:] = np.array([[Fraction(w) for w in weights]], dtype=object)
        return ExactEngine(chain, False).layers[0]

    assert engine(0.5, 0.25).bits == 3 + _MORE_BITS
    long = engine(1.0, 2.0**-_MORE_BITS / 8)
    assert long.bits == 4 + 2 * _MORE_BITS
    assert engine(1.0, 2.0**-900).bits == _LONGEST
