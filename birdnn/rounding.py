"""What floating-point arithmetic adds to a result, as bounds that hold for every order of its operations.

A sum of products in which no term passes through more than ``n`` roundings differs from the exact one by at most
``gamma(n) * sum |terms|``, ``gamma(n) = n u / (1 - n u)`` with the unit roundoff ``u`` (Higham 2002, Accuracy and
Stability of Numerical Algorithms, section 3.1 and lemma 3.1). This holds for any order of the sum, with fused
multiply-add and with wider accumulators; what underflows or is flushed to zero adds less than `SMALLEST` each.

What an operator's terms and roundings are says `birdnn.operators`.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

Semantics: TypeAlias = Literal["real", "float32"]
"""What a proof speaks about: the function over the reals, or what an execution in float32 returns, in any order."""

FLOAT64 = 2.0**-53
FLOAT32 = 2.0**-24
"""Unit roundoffs."""

SMALLEST = 2.0**-126
SMALLEST64 = 2.0**-1022
"""The smallest normal float32 and float64: what lies below may be rounded to a multiple of less, or flushed to zero."""

RANGE64 = 2.0**450
LOST64 = 2.0**-500
"""Where every value of a network and every entry of a row that is propagated stays below `RANGE64`, all that underflows
in a bound costs less than `LOST64`: each of fewer than 2**36 operations at most `SMALLEST64`, times such a number."""

SUM_ROUNDINGS = 64
"""More than any one sum of a bound has beside the entries of its rows."""

COUNTED_ROWS = 32
"""Rows of a polytope whose combination `SUM_ROUNDINGS` has room for; who combines more pays as many times as much."""

LINE_ROUNDINGS = 256
"""Of a line around an activation, beside two for each entry of a row; far more than there are."""

CLIP_ROOM = 2.0**-20
"""Of a plane's size, by how much less it clips a box than it says, see `birdnn.boxes.Boxes.cuts`."""

CORNER_ROOM = 1e-15
"""Of a box's largest corner, what a new face keeps for the roundings of its three terms."""

SLOPE_ROOM = 1e-12
"""Of a slope that was computed, beside one; far more than the few units in the last place that exp errs by."""

BISECTIONS = 40
"""Steps towards the first tangent that clears an end, see `birdnn.bounds.rules`: to a share of 2**-40."""

NARROW = 1e-9
"""Up to this width an interval has no chord: the slope of one would be mostly rounding."""

LARGEST = 2.0**127
"""Where float32 could overflow, nothing is claimed."""

LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
"""Of its numbers."""


def gamma(roundings: float, unit: float) -> float:
    """``n u / (1 - n u)``; infinity where that says nothing."""
    product = roundings * unit
    # beyond 1 the quotient is negative, which would pass for no error at all
    return product / (1 - product) if product < 0.5 else math.inf
