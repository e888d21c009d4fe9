"""Lines around the difference behind an activation, ``s(z + d) - s(z)``, and what they rest on.

ReLU and LeakyReLU are convex or concave. A convex function lies above its tangents, of which at a kink every one
between both slopes is one: ``s'(z) d <= s(z + d) - s(z) <= s'(z + d) d``. So with least and greatest slopes m and M on
the bounds of z it is at least ``m d`` where d is positive and ``M d`` where it is negative, which is a concave function
of d, and with those on the bounds of ``z + d`` at most ``M d`` and ``m d``, which is a convex one. Of a concave
function the bounds of z and ``z + d`` change places. A line is below a concave function, or above a convex one, where
it is so at both ends.

Slopes are a choice here as elsewhere; offsets carry the proof. Arrays are (boxes, neurons).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import LIBM, Flags, Floats
from birdnn.certify.check.rounding import TINY


@dataclass(frozen=True)
class Slants:
    """Multiples of d, exact: the least and the greatest slopes that bound the difference from below, and from above."""

    below: tuple[Floats, Floats]
    above: tuple[Floats, Floats]

    @property
    def known(self) -> Flags:
        """Where the difference behind the activation is one multiple of that before it."""
        both = (self.below[0] == self.below[1]) & (self.above[0] == self.above[1])
        known: Flags = both & (self.below[0] == self.above[0])
        return known

    def steepest(self) -> Floats:
        """The largest of all absolute values."""
        most: Floats = np.maximum.reduce([np.abs(side) for side in (*self.below, *self.above)])
        return most


def slants(act: Activation, l: Floats, u: Floats) -> Slants:
    """The multiples, for bounds of the three blocks, (boxes, 3 neurons)."""
    n = l.shape[1] // 3
    of_first, of_second = (_slope_bounds(act, l[:, part], u[:, part]) for part in (slice(n), slice(n, 2 * n)))
    # Convex up to an alpha of 1, concave above: then the bounds of z and z + d change places.
    return Slants(of_first, of_second) if act.alpha <= 1 else Slants(of_second, of_first)


def _slope_bounds(act: Activation, l: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Least and greatest slope of ReLU or LeakyReLU on ``l .. u``; NaN counts as all numbers."""
    # Neither comparison holds for NaN: then the slope may be either.
    right = np.where(u <= 0, act.alpha, 1.0)
    return np.where(l >= 0, 1.0, np.minimum(act.alpha, right)), np.where(l >= 0, 1.0, np.maximum(act.alpha, right))


def default_slopes(slanted: Slants, l: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Slopes of the line below and of the line above, for differences in ``l .. u``."""
    (low_m, low_M), (up_m, up_M) = slanted.below, slanted.above
    return _chord_slope(low_M, low_m, l, u), _chord_slope(up_m, up_M, l, u)


def _chord_slope(left: Floats, right: Floats, l: Floats, u: Floats) -> Floats:
    """The slope of the line through ``left * l`` and ``right * u``, where these are on both sides of zero."""
    mixed = (l < 0) & (u > 0) & (left != right)
    # Any number that is not zero, where the quotient is not taken.
    width = np.where(mixed, u - l, 1.0)
    chord: Floats = np.where(mixed, (right * u - left * l) / width, np.where(l >= 0, right, left))
    return chord


def line_offsets(slanted: Slants, l: Floats, u: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Of lines of any slopes over ``l .. u``: an offset below the lowest valid one, one above the highest.

    Where a bound is a multiple of d on all of ``l .. u`` and the slope is that one, the offset is zero.
    """
    (low_m, low_M), (up_m, up_M) = slanted.below, slanted.above
    below, above = [], []
    for end in (l, u):
        lower, upper = np.where(end > 0, low_m, low_M) * end, np.where(end > 0, up_M, up_m) * end
        # Concave below, convex above: the worst of a line is at one of the ends.
        below.append(lower - low * end - _product_rounding(lower, low * end))
        above.append(upper - high * end + _product_rounding(upper, high * end))
    # Exactly zero, and no rounding: else a known multiple would lose a hair in each layer.
    straight = _is_multiple(low_M, low_m, low, l, u), _is_multiple(up_m, up_M, high, l, u)
    return np.where(straight[0], 0.0, np.minimum(*below)), np.where(straight[1], 0.0, np.maximum(*above))


def _is_multiple(left: Floats, right: Floats, slope: Floats, l: Floats, u: Floats) -> Flags:
    """Is the function that is ``left * d`` below zero and ``right * d`` above it ``slope * d`` on ``l .. u``?"""
    multiple: Flags = ((slope == left) | (l >= 0)) & ((slope == right) | (u <= 0))
    return multiple


def _product_rounding(one: Floats, other: Floats) -> Floats:
    """More than the rounding of two products and their difference."""
    return LIBM * (np.abs(one) + np.abs(other)) + TINY


def largest_magnitude(slanted: Slants, l: Floats, u: Floats) -> Floats:
    """The largest absolute value of the difference behind the activation, rounded up."""
    largest: Floats = slanted.steepest() * np.maximum(np.abs(l), np.abs(u)) * (1 + LIBM) + TINY
    return largest


def tighten_blocks(l: Floats, u: Floats) -> None:
    """Let the bounds of the three blocks tighten each other, in place: d is b - a, b is a + d, a is b - d."""
    n = l.shape[1] // 3
    a, b, d = (slice(i * n, (i + 1) * n) for i in range(3))
    # The order is the format's: each uses what the one before has found.
    for one, first, second in ((d, (b, 1), (a, -1)), (b, (a, 1), (d, 1)), (a, (b, 1), (d, -1))):
        ends = [(l[:, part], u[:, part]) if sign > 0 else (-u[:, part], -l[:, part]) for part, sign in (first, second)]
        low, high = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
        # Not `maximum`: infinity minus infinity is NaN, which says nothing and must not replace what is known.
        l[:, one] = np.fmax(l[:, one], low - _sum_rounding(low))
        u[:, one] = np.fmin(u[:, one], high + _sum_rounding(high))


def _sum_rounding(value: Any) -> Any:
    """More than the rounding of a sum; NaN of what is infinite on the wrong side."""
    return LIBM * np.abs(value) + TINY
