"""Lines around activations: default slopes, and in float64 the best offset of a line with a given slope.

Slopes are a choice: no value of one can make a wrong proof, so nothing about their rounding matters. Offsets carry the
proof. All arrays are (boxes, neurons) or any common shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from birdnn.certify.check.layers import Activation

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ASSUMED_ERROR = {"tanh": 5e-7, "sigmoid": 5e-7, "elu": 5e-7}
"""Absolute error that a runtime's single-precision function is assumed not to exceed."""

LIBM = 2.0**-48
"""Relative error of float64 ``exp``, ``expm1``, ``tanh`` and what is made of them here: 16 units in the last place."""

NEARLY_ZERO = 2.0**-40

_ROUNDED = 2.0**-49
"""Relative error of a few float64 operations, a multiple of what they need."""

_BISECTIONS = 40


def is_bent(act: Activation, l: Floats, u: Floats) -> Flags:
    """Where the activation is not linear on ``l .. u``; NaN counts as not linear."""
    if act.kind in ("relu", "leaky_relu"):
        # Not ``(l < 0) & (u > 0)``: of NaN that would say linear.
        return ~((l >= 0) | (u <= 0))
    if act.kind == "elu":
        return ~(l >= 0)
    return np.ones_like(l, dtype=np.bool_)


def slope_range(act: Activation) -> tuple[float, float]:
    """Where the activation's derivative lies."""
    if act.kind in ("relu", "leaky_relu"):
        return min(act.alpha, 1.0), max(act.alpha, 1.0)
    return 0.0, 0.25 if act.kind == "sigmoid" else 1.0


def execution_error(act: Activation, l: Floats) -> Floats:
    """How far a single-precision execution of the activation itself may be off, at pre-activations above ``l``."""
    if act.kind == "relu":
        return np.zeros_like(l)
    if act.kind == "leaky_relu":
        # The product of alpha and z is one more rounding: twice its size, and room for underflow.
        share = 2.0**-23 if abs(act.alpha) >= 2.0**-126 else 1.0  # a smaller alpha may be flushed to zero
        return abs(act.alpha) * np.maximum(-l, 0) * share + 2.0**-120
    return np.full_like(l, ASSUMED_ERROR[act.kind])


def largest_magnitude(act: Activation, l: Floats, u: Floats, error: Floats) -> Floats:
    """The largest absolute value of the activation on ``l .. u``, ``error`` added, rounded up."""
    if act.kind in ("relu", "leaky_relu"):
        largest = np.maximum(np.maximum(u, 0), abs(act.alpha) * np.maximum(-l, 0))
    elif act.kind == "elu":
        # Below zero ELU lies above -alpha.
        largest = np.maximum(np.maximum(u, 0), act.alpha)
    else:
        largest = np.ones_like(l)
    return (largest + error) * (1 + _ROUNDED) + 2.0**-900


def default_slopes(act: Activation, l: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Slopes of the line below and of the line above."""
    if act.kind in ("relu", "leaky_relu"):
        # The format fixes these: where an item stores no slope, prover and checker must mean the same line.
        flat, loose = np.where(l >= 0, 1.0, act.alpha), is_bent(act, l, u)
        one = np.where(loose, np.where(u > -l, 1.0, act.alpha), flat)
        chord = np.where(loose, (u - act.alpha * l) / np.where(loose, u - l, 1.0), flat)
        # Convex: the chord lies above. With an alpha above 1 it is concave, and both change places.
        return (one, chord) if act.alpha <= 1 else (chord, one)
    if act.kind == "elu":
        quarters = [_derivative(act, l + share * (u - l)) for share in (0.25, 0.75)]
        loose = is_bent(act, l, u)
        return np.where(loose, (quarters[0] + quarters[1]) / 2, 1.0), np.where(loose, _chord_slope(act, l, u), 1.0)
    # The line below is that above the mirrored function.
    return _slope_above(act, -u, -l), _slope_above(act, l, u)


def default_slopes_in_graphs(act: Activation, l: Floats, u: Floats) -> tuple[Floats, Floats]:
    """`default_slopes` in certificates of version 3: no slope so near to zero that rounding alone would choose it."""
    constant = np.maximum(np.abs(l), np.abs(u)) < NEARLY_ZERO
    low, high = default_slopes(act, l, u)
    return np.where(constant, 0.0, low), np.where(constant, 0.0, high)


def activation_value(act: Activation, z: Floats) -> Floats:
    """The activation, to within `LIBM` of its value."""
    if act.kind in ("relu", "leaky_relu"):
        return np.where(z > 0, z, act.alpha * z)
    if act.kind == "elu":
        return np.where(z > 0, z, act.alpha * np.expm1(np.minimum(z, 0)))
    return np.tanh(z) if act.kind == "tanh" else _sigmoid(z)


def line_offsets(act: Activation, l: Floats, u: Floats, s: Floats) -> tuple[Floats, Floats]:
    """Offsets of lines of slope ``s`` over ``l .. u``, which is the activation's own where that is linear."""
    low, high = offsets_of_any(act, l, u, s)
    straight = ~is_bent(act, l, u)  # there the function is the line itself
    return np.where(straight, 0.0, low), np.where(straight, 0.0, high)


def offsets_of_any(act: Activation, l: Floats, u: Floats, s: Floats) -> tuple[Floats, Floats]:
    """For lines of any slope ``s`` over ``l .. u``: an offset below the lowest valid one, one above the highest.

    That is the minimum and the maximum of ``activation(z) - s z``, to the safe side of rounding.
    """
    # What remains inside is at most one extreme on each side, which a kink or a tangent bounds.
    ends = [_gap_bounds(act, z, s) for z in (l, u)]
    if act.kind in ("relu", "leaky_relu"):
        kink = np.where(is_bent(act, l, u), 0.0, ends[0][0]), np.where(is_bent(act, l, u), 0.0, ends[0][1])
        ends.append(kink)  # piecewise linear: extreme at an end or at zero
    low = np.minimum.reduce([end[0] for end in ends])
    high = np.maximum.reduce([end[1] for end in ends])
    if act.kind == "elu":
        # Convex: the maximum is at an end, where ``high`` has it.
        low = np.minimum(low, _tangent_bound(act, l, u, s, -1.0))
    elif act.kind in ("tanh", "sigmoid"):
        # A tangent bounds the function only on the side of zero where it is convex or concave; zero, where both sides
        # meet, is then one of the ends that it is looked at.
        above, below = u > 0, l < 0
        concave = _tangent_bound(act, np.maximum(l, 0), np.maximum(u, 0), s, 1.0)
        convex = _tangent_bound(act, np.minimum(l, 0), np.minimum(u, 0), s, -1.0)
        high = np.where(above, np.maximum(high, concave), high)
        low = np.where(below, np.minimum(low, convex), low)
    return low, high


def touching_point(act: Activation, l: Floats, u: Floats, s: Floats) -> Floats:
    """A point of ``l .. u``, on one side of zero, where the derivative is about ``s``. Any point of it would do."""
    with np.errstate(all="ignore"):
        if act.kind == "elu":
            point = np.where(s >= act.alpha, 0.0, np.log(s / act.alpha))
        else:
            root = np.sqrt(np.maximum(1 - (4 * s if act.kind == "sigmoid" else s), 0))
            # The derivative of tanh is ``1 - tanh(z)**2``, that of a sigmoid a quarter of this at ``z / 2``.
            point = np.arctanh(root) * (2 if act.kind == "sigmoid" else 1)
            point = np.where(l + u < 0, -point, point)
    # No slope in the range of the derivative, no point: any will do.
    return np.clip(np.where(np.isnan(point), l, point), l, u)


def _gap_bounds(act: Activation, z: Floats, s: Floats) -> tuple[Floats, Floats]:
    """``activation(z) - s z``, rounded down and up."""
    f, line = activation_value(act, z), s * z
    # Of both terms before they cancel: their difference may be much smaller than its error.
    wide = LIBM * (np.abs(f) + np.abs(line)) + 2.0**-900
    return f - line - wide, f - line + wide


def _tangent_bound(act: Activation, l: Floats, u: Floats, s: Floats, side: float) -> Floats:
    """A bound of ``activation(z) - s z`` over ``l .. u``, where the activation is concave (``side`` 1) or convex (-1).

    A tangent at any d bounds the function on that side: ``f(z) <= f(d) + f'(d) (z - d)`` where it is concave. What
    the tangent leaves is linear in z and extreme at an end.
    """
    d = touching_point(act, l, u, s)
    f, slope = activation_value(act, d), _derivative(act, d)
    if act.kind == "elu":
        slope = np.where(d == 0, np.clip(s, act.alpha, 1.0), slope)  # a kink: any of these supports it
    best = np.full_like(d, -np.inf)
    for z in (l, u):
        way = z - d
        size = np.abs(f) + np.abs(s * d) + (slope + np.abs(s)) * np.abs(way)
        wide = 2 * LIBM * size + 2.0**-1000 * np.abs(way) + 2.0**-900  # a derivative below 2**-1022 is off by as much
        best = np.maximum(best, side * (f - s * d + (slope - s) * way) + wide)
    out: Floats = side * best
    return out


def _sigmoid(z: Floats) -> Floats:
    # Of the negative absolute value: it never overflows, and small values keep their relative precision.
    small = np.exp(-np.abs(z))
    out: Floats = np.where(z >= 0, 1.0, small) / (1 + small)
    return out


def _derivative(act: Activation, z: Floats) -> Floats:
    """The activation's derivative, to within `LIBM` of itself."""
    if act.kind == "elu":
        return np.where(z > 0, 1.0, act.alpha * np.exp(np.minimum(z, 0)))
    # Not ``1 - tanh(z)**2``, which cancels: the promise of `LIBM` is relative.
    twice = 2 * z if act.kind == "tanh" else z
    out: Floats = (4.0 if act.kind == "tanh" else 1.0) * _sigmoid(twice) * _sigmoid(-twice)
    return out


def _chord_slope(act: Activation, l: Floats, u: Floats) -> Floats:
    # Of a shorter interval the rise is mostly rounding; any slope in the range proves what it proves.
    wide = u - l > 1e-9
    rise = (activation_value(act, u) - activation_value(act, l)) / np.where(wide, u - l, 1.0)
    return np.clip(np.where(wide, rise, 0.0), *slope_range(act))


def _slope_above(act: Activation, l: Floats, u: Floats) -> Floats:
    """Default slope above an S-shaped function; mirrored, also below: ``f(-z) = constant - f(z)``."""
    at_l = activation_value(act, l)

    def clears(d: Floats) -> Flags:
        return (l >= 0) | (activation_value(act, d) + _derivative(act, d) * (l - d) >= at_l)

    far = np.maximum(u, 0.0)
    near = np.minimum(np.maximum(l, 0.0), far)
    left, right = near, far
    open_ = ~clears(near)
    # The smallest point whose tangent clears the one at l; 40 halvings find it more closely than matters.
    for _ in range(_BISECTIONS if open_.any() else 0):
        middle = (left + right) / 2
        good = clears(middle)
        left, right = np.where(good, left, middle), np.where(good, middle, right)
    least = np.where(open_, right, near)
    quarters = [_derivative(act, least + share * (far - least)) for share in (0.25, 0.75)]
    return np.where((u > 0) & clears(far), (quarters[0] + quarters[1]) / 2, _chord_slope(act, l, u))
