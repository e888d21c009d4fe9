"""Tensors of numbers that are known exactly, or to within a known radius: integers over one power of two.

Sums and products of what a file holds are exact. Quotients, roots and smooth functions are balls of a radius far below
anything that matters (2**-256). Every operation gives balls that hold all values that its exact result may have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

Whole: TypeAlias = npt.NDArray[Any]
"""An array of Python integers, of NumPy's type object."""

PRECISION = 256
"""Bits behind the point of what cannot be exact."""

_LONGEST = 8192  # bits of an integer; beyond it a tensor is rounded to half of that


class NotEvaluated(Exception):
    """Nothing is known of the value: an operation without a rule here, or a number that is not finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """Entry i lies within ``(mid[i] - rad[i]) * 2**exponent .. (mid[i] + rad[i]) * 2**exponent``.

    Attributes:
        mid: any shape with at least one axis, as operations on arrays without axes make numbers of them.
        rad: of the same shape, not negative; None where every entry is exact.
        exponent: of all entries.
    """

    mid: Whole
    rad: Whole | None
    exponent: int

    @staticmethod
    def of(values: Tensor | npt.NDArray[np.number]) -> Balls:
        """Floats or integers, exactly.

        Raises:
            NotEvaluated: one is NaN or infinite.
        """
        given = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        array = np.atleast_1d(np.asarray(given))
        if array.dtype.kind in "iu":  # float64 does not hold all integers of 64 bits
            return Balls(array.astype(object), None, 0).shortened()
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise NotEvaluated("a number that is not finite")
        # a float64 is an integer of at most 53 bits over a power of two
        fraction, exponent = np.frexp(array)
        whole = np.ldexp(fraction, 53).astype(np.int64)
        # zero has no size of its own, and must not decide over the common power
        low = np.where(whole != 0, exponent - 53, 0)
        least = int(low[whole != 0].min()) if (whole != 0).any() else 0
        shift = np.where(whole != 0, low - least, 0)
        return Balls(whole.astype(object) << shift.astype(object), None, least).shortened()

    @staticmethod
    def around(values: Sequence[Fraction] | Sequence[float]) -> Balls:
        """Numbers, flat: exactly where they are floats, else within ``2**-PRECISION``."""
        exponent = -4 * PRECISION  # finer than the smallest float64 of a network's input needs
        scaled = [Fraction(value) * 2**-exponent for value in values]
        mid, rad = np.empty(len(scaled), dtype=object), np.empty(len(scaled), dtype=object)
        for i, value in enumerate(scaled):
            mid[i], rad[i] = round(value), int(value.denominator != 1)
        return Balls(mid, rad if rad.any() else None, exponent).shortened()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.mid.shape

    def radius(self) -> Whole:
        """`rad`, zeros where every entry is exact."""
        return np.zeros_like(self.mid) if self.rad is None else self.rad

    def ends(self) -> tuple[Whole, Whole]:
        """Lower and upper ends, over ``2**exponent``."""
        return (self.mid, self.mid) if self.rad is None else (self.mid - self.rad, self.mid + self.rad)

    def each(self, function: Callable[[Whole], Whole]) -> Balls:
        """What moves entries and computes nothing: reshaping, picking, broadcasting."""
        return Balls(function(self.mid), None if self.rad is None else function(self.rad), self.exponent)

    def at(self, exponent: int) -> Balls:
        """The same over a smaller power of two."""
        shift = self.exponent - exponent
        return Balls(self.mid << shift, None if self.rad is None else self.rad << shift, exponent)

    def shortened(self) -> Balls:
        """The same with shorter integers: without zeros at their ends, and rounded where they are very long."""
        if not self.mid.size:
            return self
        # one pass tells how many zeros all share and how long the longest is
        bits = int(np.bitwise_or.reduce(np.abs(self.mid), axis=None))  # that any of them has
        zeros = (bits & -bits).bit_length() - 1
        # only exact ones: a radius would have to end in as many zeros
        if self.rad is None and zeros > 0:
            return Balls(self.mid >> zeros, None, self.exponent + zeros).shortened()
        longest = bits.bit_length()
        if longest <= _LONGEST:
            return self
        drop = longest - _LONGEST // 2
        # shifts round down: one unit for what the middle loses, one for the radius
        return Balls(self.mid >> drop, (self.radius() >> drop) + 2, self.exponent + drop)

    def fraction(self, index: int) -> tuple[Fraction, Fraction]:
        """Centre and radius of an entry of the flattened tensor."""
        scale = Fraction(2) ** self.exponent
        return self.mid.flat[index] * scale, (0 if self.rad is None else self.rad.flat[index]) * scale


def align_exponents(parts: Sequence[Balls]) -> list[Balls]:
    """The same over one power of two."""
    least = min(part.exponent for part in parts)
    return [part.at(least) for part in parts]


def add(one: Balls, other: Balls) -> Balls:
    """The sum, broadcast."""
    a, b = align_exponents([one, other])
    rad = None if a.rad is None and b.rad is None else a.radius() + b.radius()
    return Balls(a.mid + b.mid, rad, a.exponent)


def negate(one: Balls) -> Balls:
    """The opposite."""
    return Balls(-one.mid, one.rad, one.exponent)


def apply_bilinear(function: Callable[[Whole, Whole], Whole], one: Balls, other: Balls) -> Balls:
    """A bilinear function without negative coefficients: an entrywise product, a matrix product, a convolution."""
    exponent = one.exponent + other.exponent
    mid = function(one.mid, other.mid)
    if one.rad is None and other.rad is None:
        return Balls(mid, None, exponent).shortened()
    a, b = one.radius(), other.radius()
    # |x y - m n| <= |m| s + r |n| + r s; as no coefficient is negative, the function keeps such an order
    rad = function(np.abs(one.mid), b) + function(a, np.abs(other.mid)) + function(a, b)
    return Balls(mid, rad, exponent).shortened()


def quotient(one: Balls, other: Balls) -> Balls:
    """Entrywise, broadcast; exact where it can be.

    ``|x / y - a / b| <= (r + |a / b| s) / (|b| - s)`` for x within r of a and y within s of b.

    Raises:
        NotEvaluated: a divisor may be zero.
    """
    size, spread = np.abs(other.mid), other.radius()
    if not all((size > spread).flat):
        raise NotEvaluated("division by what may be zero")
    # a divisor of many bits takes as many from the quotient
    bits = PRECISION + max((value.bit_length() for value in other.mid.flat), default=0)
    mid = one.mid << bits
    exponent = one.exponent - other.exponent - bits
    if one.rad is None and other.rad is None and not any((mid % other.mid).flat):
        return Balls(mid // other.mid, None, exponent).shortened()
    mid = mid // other.mid
    # 1 for the middle, which was rounded down; 2 for that once more, and for this division
    rad = ((one.radius() << bits) + (np.abs(mid) + 1) * spread) // (size - spread) + 2
    return Balls(mid, rad, exponent).shortened()


def inverse_root(one: Balls) -> Balls:
    """``1 / sqrt`` of exact positive numbers.

    Raises:
        NotEvaluated: one is not exact, or not positive.
    """
    if one.rad is not None or any(value <= 0 for value in one.mid.flat):
        raise NotEvaluated("the root of a number that is not exact, or not positive")
    # half of the exponent has to be whole
    even = one.at(one.exponent - one.exponent % 2)
    bits = PRECISION + max((value.bit_length() for value in even.mid.flat), default=0)
    floor = np.empty_like(even.mid)
    floor.flat[:] = [math.isqrt((1 << 2 * bits) // value) for value in even.mid.flat]  # 2**bits / sqrt, rounded down
    # the floor of a root of a floor is the floor of the root: one unit holds what is missing
    return Balls(floor, np.ones_like(floor), -bits - even.exponent // 2)


def apply_increasing(one: Balls, function: Callable[[Whole], Whole], exponent: int) -> Balls:
    """A function that never decreases, computed exactly at both ends, which it maps to multiples of ``2**exponent``."""
    if one.rad is None:
        return Balls(function(one.mid), None, exponent).shortened()
    low, high = (function(end) for end in one.ends())
    return Balls(low + high, high - low, exponent - 1).shortened()
