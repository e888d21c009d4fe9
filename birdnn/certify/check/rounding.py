"""From exact numbers to float64, on the side that is asked for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

HUGE = 2.0**400
"""Where what is read, a pre-activation or an output may exceed it, nothing is known."""

# 2**-1074, what one product loses at most, times 2**400, times as many terms as any network has, lies far below
# 2**-500.
UNDERFLOW = 2.0**-500
"""More than all products that underflow cost, given that they meet numbers below `HUGE`."""

TINY = 2.0**-900
"""Room for what underflows in a number that is stored, so that the rows which meet it may be of any size."""

MORE = 1 + 2.0**-40
"""Times an error that is itself computed: more than the rounding of its own sum."""

_LARGEST = float(np.finfo(np.float64).max)


def round_towards_zero(values: NDArray[np.object_]) -> NDArray[np.float64]:
    """Float64 numbers next to exact ones, rounded towards zero, off by less than 2**-52 of each, which is twice the
    unit roundoff; infinite beyond the largest, where nothing is known."""
    flat = [_round_entry(value) for value in values.reshape(-1)]
    return np.array(flat, dtype=np.float64).reshape(values.shape)


def _round_entry(value: Fraction) -> float:
    found = round_towards(value, -np.inf if value > 0 else np.inf)
    # The largest number would be wrong by any factor, which no relative error covers.
    if abs(found) == _LARGEST and abs(value) > _LARGEST:
        return float(np.inf if value > 0 else -np.inf)
    return found


def round_up(values: NDArray[np.object_]) -> NDArray[np.float64]:
    """Float64 numbers not below exact ones, none of them zero."""
    # For errors, which are not negative: `near` loses less than 2**-52 of them, the product as much as half of that.
    return round_towards_zero(values) * (1 + 2.0**-50) + 2.0**-900


def round_towards(value: Fraction, towards: float) -> float:
    """The float64 nearest to ``value`` on the side of ``towards`` (minus or plus infinity)."""
    try:
        near = float(value)
    except OverflowError:
        # Beyond the largest number: infinity on the side that is asked for, the largest number on the other.
        near = float(np.inf if value > 0 else -np.inf)
        return float(np.nextafter(near, towards)) if near != towards else near
    if near.as_integer_ratio() == (value.numerator, value.denominator):
        return near  # most numbers of files; to compare a fraction takes ten times as long
    wrong = near > value if towards < 0 else near < value
    return float(np.nextafter(near, towards)) if wrong else near
