"""Planes around operators that are not affine: the table that bound propagation on graphs looks up.

Over intervals of its operands each entry of an operator's value lies between planes, functions that are affine in the
operands' entries. Each rule gives two valid lower and two valid upper planes; every convex combination of valid planes
is valid, and that is the freedom which optimisation uses. An operator without a rule lies between the ends of its
interval (`birdnn.bounds.interval`), which is always valid.

Activations of chains have their lines in `birdnn.bounds.rules`. A smooth function stays above its chord less
``K w^2 / 8``, where ``K`` is the largest second derivative on an interval of width ``w``, and above its tangents where
it is convex; a product of two values lies between the planes of McCormick (1976, Mathematical Programming 10).

All arithmetic is float64; whatever a plane was computed with, it is moved away by more than that errs by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.bounds.interval import Interval, reach_of
from birdnn.bounds.minima import flatten_samples
from birdnn.bounds.rules import relax
from birdnn.chain import as_activation
from birdnn.graph import Node
from birdnn.operators import apply
from birdnn.rounding import FLOAT64

NEARLY_ZERO = 2.0**-40
"""Nearer to zero an activation is a constant: which way its lines tilt there is decided by rounding alone, and whoever
makes the bounds again has to decide as we do."""

_ROUNDINGS = 1024
"""Of a plane, relative to the largest number that it is made of; far more than there are."""


_RELATIVE = frozenset({"Div", "Exp", "Log", "Mul", "Sqrt"})
"""Operators whose planes are chords, tangents and products of ends. A chord with a rounded slope still goes through one
of its ends, and a tangent through its point, so that either errs by last places of the value and of its own terms; last
places of an operand, which may be ten powers of ten larger than what is made of it, do not count. Other rules subtract
ends of operands from each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """``sum of slopes[k] * operand k + offset``, each tensor of shape (boxes, *value)."""

    slopes: tuple[Tensor, ...]
    offset: Tensor

    def moved(self, by: Tensor) -> Plane:
        """Up by so much."""
        return Plane(self.slopes, self.offset + by)

    def size(self, operands: Sequence[Interval]) -> Tensor:
        """A bound of its absolute terms, on operands within intervals."""
        pairs = zip(self.slopes, operands, strict=True)
        # an operand that is not known costs nothing where it has no slope
        terms = [(slope.abs() * reach_of(operand)).where(slope != 0, 0.0) for slope, operand in pairs]
        return torch.stack([*terms, self.offset.abs()]).sum(0)

    def where(self, chosen: Tensor, other: Plane) -> Plane:
        """This plane where it is chosen, elsewhere the other one."""
        slopes = tuple(a.where(chosen, b) for a, b in zip(self.slopes, other.slopes, strict=True))
        return Plane(slopes, self.offset.where(chosen, other.offset))

    def take(self, box: Tensor) -> Plane:
        """Those of the boxes ``box``, in that order."""
        return Plane(tuple(slope[box] for slope in self.slopes), self.offset[box])


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Two planes below a value and two above it.

    Attributes:
        low, up: the planes.
        start: first guess of the weight of the second plane, lower and upper, in 0..1.
    """

    low: tuple[Plane, Plane]
    up: tuple[Plane, Plane]
    start: tuple[Tensor, Tensor]

    def take(self, box: Tensor) -> Planes:
        """The planes of the boxes ``box``, in that order."""

        # one object twice stays one, so that `_between` mixes nothing and no weight is optimised in vain
        def taken(pair: tuple[Plane, Plane]) -> tuple[Plane, Plane]:
            first = pair[0].take(box)
            return first, first if pair[0] is pair[1] else pair[1].take(box)

        return Planes(taken(self.low), taken(self.up), (self.start[0][box], self.start[1][box]))

    def mixed(self, low: Tensor, up: Tensor) -> tuple[Plane, Plane]:
        """One plane below and one above, with such weights of the second ones, each (boxes, *value)."""
        return _between(self.low, low), _between(self.up, up)

    def size(self, operands: Sequence[Interval]) -> Tensor:
        """A bound of the absolute terms of each."""
        return torch.stack([plane.size(operands) for plane in (*self.low, *self.up)]).amax(0)

    def reaches(self, operands: Sequence[Interval]) -> list[Tensor]:
        """Bounds of the absolute values of operands, zero where they have no slope."""
        planes = *self.low, *self.up
        met = [torch.stack([plane.slopes[k] != 0 for plane in planes]).any(0) for k in range(len(operands))]
        return [reach_of(operand).where(here, 0.0) for operand, here in zip(operands, met, strict=True)]

    def folded(self, operands: Sequence[Interval], kept: Sequence[int]) -> Planes:
        """In the operands at the places `kept` alone; what the others add, at worst, is in the offsets."""

        def folded(plane: Plane, sign: int) -> Plane:
            offset = plane.offset
            for place, (slope, (low, up)) in enumerate(zip(plane.slopes, operands, strict=True)):
                if place not in kept:
                    # at the end where it lowers a lower plane most, or raises an upper one
                    ends = torch.stack([slope * low, slope * up])
                    offset = offset + (ends.amax(0) if sign > 0 else ends.amin(0))
            return Plane(tuple(plane.slopes[place] for place in kept), offset)

        def both(pair: tuple[Plane, Plane], sign: int) -> tuple[Plane, Plane]:
            first = folded(pair[0], sign)
            return first, first if pair[0] is pair[1] else folded(pair[1], sign)

        return self if len(kept) == len(operands) else Planes(both(self.low, -1), both(self.up, 1), self.start)


def _between(pair: tuple[Plane, Plane], weight: Tensor) -> Plane:
    first, second = pair
    if first is second:
        return first
    slopes = tuple(torch.lerp(a, b, weight) for a, b in zip(first.slopes, second.slopes, strict=True))
    return Plane(slopes, torch.lerp(first.offset, second.offset, weight))


Rule: TypeAlias = Callable[[Node, "list[Interval]", Interval], "Planes | None"]


def planes_of(node: Node, operands: list[Interval], result: Interval, known: Interval | None = None) -> Planes:
    """Planes around the value of a node that is not affine.

    Args:
        node: which.
        operands: intervals of all that it reads, spread to the shape of its value, (boxes, *value); none where its
            operator has no rule.
        result: an interval that holds the value at every point of the operands' intervals: rules say of these what is
            true on all of them.
        known: a narrower one that holds it wherever the planes will be asked, as on one side of a split.
    """
    # planes without slope hold whatever else is true, so that these may use all that is known of the box
    flat = _flat_planes(operands, known or result)
    # never `known`: what is true of a value on one side of a split is not true on all of the operands' intervals
    made = RULES[node.op](node, operands, result) if operands else None
    if made is None:
        return flat
    # each rule computes with the operands' ends and the value's; far more of their last places than it needs
    reach = 1 + reach_of(result)
    if node.op not in _RELATIVE:
        reach = reach + torch.stack([reach_of(operand) for operand in operands]).sum(0)
    room = FLOAT64 * _ROUNDINGS * reach

    def outside(planes: tuple[Plane, Plane], sign: int, other: Plane) -> tuple[Plane, Plane]:
        moved = [plane.moved(sign * (room + FLOAT64 * _ROUNDINGS * plane.size(operands))) for plane in planes]
        # a plane that overflowed, or was divided by a width of zero, says nothing
        first, second = (plane.where(_is_finite(plane), other) for plane in moved)
        return first, second

    return Planes(outside(made.low, -1, flat.low[0]), outside(made.up, 1, flat.up[0]), made.start)


def _is_finite(plane: Plane) -> Tensor:
    return torch.stack([*plane.slopes, plane.offset]).isfinite().all(0)


def _flat_planes(operands: Sequence[Interval], result: Interval) -> Planes:
    """The ends of the value's interval."""
    nothing = tuple(torch.zeros_like(result[0]) for _ in operands)
    low, up = Plane(nothing, result[0]), Plane(nothing, result[1])
    half = torch.full_like(result[0], 0.5)
    return Planes((low, low), (up, up), (half, half))


def _activation_planes(node: Node, operands: list[Interval], result: Interval) -> Planes | None:
    """Lines of an activation that chains know."""
    activation = as_activation(node)
    if activation is None:
        return None
    low, up = operands[0]
    found = relax(activation, flatten_samples(low), flatten_samples(up))

    def plane(slope: Tensor, offset: Tensor | None) -> Plane:
        level = torch.zeros_like(slope) if offset is None else offset
        return Plane((slope.reshape(low.shape),), level.reshape(low.shape))

    nothing = torch.zeros_like(low)
    # there the ends of the value's interval take the lines' place: they lie next to each other
    constant = torch.maximum(low.abs(), up.abs()) < NEARLY_ZERO
    lows, ups = (
        [Plane((nothing,), end).where(constant, plane(line.slope, line.offset)) for line in lines]
        for lines, end in ((found.low, result[0]), (found.up, result[1]))
    )
    start = found.start.reshape(low.shape)
    return Planes((lows[0], lows[1]), (ups[0], ups[1]), (start, start))


@dataclass(frozen=True, slots=True)
class Curve:
    """A function with a second derivative.

    Attributes:
        value, slope: itself and its derivative.
        curvature: the least and the greatest second derivative on an interval.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor, Tensor], Interval]

    def planes(self, operand: Interval, result: Interval) -> Planes:
        """The chord, moved by what the function may bend away from it; tangents where it bends one way only."""
        low, up = operand
        width = up - low
        at_low = self.value(low)
        # where both ends are one the chord is a constant, and there is nothing to divide by
        rise = ((self.value(up) - at_low) / width).where(width > 0, torch.zeros_like(width))
        chord = Plane((rise,), at_low - rise * low)
        least, most = self.curvature(low, up)
        # a little more than the eighth: the width was rounded
        bend = (1 + 2.0**-30) / 8 * width * width
        below, above = chord.moved(-bend * most.clamp(min=0)), chord.moved(bend * (-least).clamp(min=0))
        # at the quarters: a tangent at one end is furthest from the function at the other
        tangents = [self._tangent(torch.lerp(low, up, weight)) for weight in (0.25, 0.75)]
        nothing = torch.zeros_like(width)
        floor, ceiling = Plane((nothing,), result[0]), Plane((nothing,), result[1])
        convex, concave, half = least >= 0, most <= 0, torch.full_like(width, 0.5)
        return Planes(
            (tangents[0].where(convex, below), tangents[1].where(convex, floor)),
            (tangents[0].where(concave, above), tangents[1].where(concave, ceiling)),
            # beside a chord the second plane is flat and mostly the worse one: it begins with no weight
            (half.where(convex, nothing), half.where(concave, nothing)),
        )

    def _tangent(self, point: Tensor) -> Plane:
        slope = self.slope(point)
        return Plane((slope,), self.value(point) - slope * point)


def _curve_rule(curve: Callable[[Node], Curve | None]) -> Rule:
    def rule(node: Node, operands: list[Interval], result: Interval) -> Planes | None:
        found = curve(node)
        return None if found is None else found.planes(operands[0], result)

    return rule


def _value_of(node: Node) -> Callable[[Tensor], Tensor]:
    return lambda x: apply(node.op, [x], node.attributes)


def _exp(node: Node) -> Curve:
    return Curve(torch.exp, torch.exp, lambda low, up: (torch.exp(low), torch.exp(up)))


def _log(node: Node) -> Curve:
    """Its interval is infinite where an operand is not positive, and nothing is said there."""
    return Curve(torch.log, torch.reciprocal, lambda low, up: (-1 / (low * low), -1 / (up * up)))


def _sqrt(node: Node) -> Curve:
    def curvature(low: Tensor, up: Tensor) -> Interval:
        # how much it bends near zero does not matter: it bends down everywhere, and the upper planes are tangents
        return torch.full_like(low, -torch.inf), torch.zeros_like(up)

    return Curve(torch.sqrt, lambda x: 0.5 / torch.sqrt(x), curvature)


def _softplus(node: Node) -> Curve:
    return Curve(_value_of(node), torch.sigmoid, lambda low, up: (torch.zeros_like(low), torch.full_like(up, 0.25)))


def _erf(node: Node) -> Curve:
    """Convex below zero, concave above; ``|f''|`` is at most ``sqrt(8 / (pi e))``."""
    # rounded up, as the proof needs it
    steepest = 0.96789

    def curvature(low: Tensor, up: Tensor) -> Interval:
        least = torch.full_like(low, -steepest).where(up > 0, torch.zeros_like(low))
        return least, torch.full_like(low, steepest).where(low < 0, torch.zeros_like(low))

    # two by the root of pi
    return Curve(torch.erf, lambda x: 1.1283791670955126 * torch.exp(-x * x), curvature)


def _gelu(node: Node) -> Curve | None:
    """``f'' = (2 - x^2) phi(x)``: from ``-2 phi(2)`` to ``2 phi(0)``, positive within the square root of 2."""
    if node.attributes["approximate"] != "none":
        return None

    def slope(x: Tensor) -> Tensor:
        return 0.5 * torch.erfc(-x * 0.7071067811865476) + x * 0.3989422804014327 * torch.exp(-x * x / 2)

    def curvature(low: Tensor, up: Tensor) -> Interval:
        # the root of 2 lies between these two, so that neither question is answered too early
        inside, turn = (low > -1.4142) & (up < 1.4142), 1.41422
        outside = (up < -turn) | (low > turn)
        # both numbers are rounded outward
        least = torch.full_like(low, -0.10799).where(~inside, torch.zeros_like(low))
        return least, torch.full_like(low, 0.79789).where(~outside, torch.zeros_like(low))

    return Curve(_value_of(node), slope, curvature)


def _wave(sign_of_slope: int, derivative: Callable[[Tensor], Tensor]) -> Rule:
    """Sine and cosine, which bend as far as they reach: ``f'' = -f``."""

    def rule(node: Node, operands: list[Interval], result: Interval) -> Planes:
        # `result` was rounded, and is the curvature here
        room = 2.0**-40
        curve = Curve(
            _value_of(node),
            lambda x: sign_of_slope * derivative(x),
            lambda low, up: (-(result[1] + room), -(result[0] - room)),
        )
        return curve.planes(operands[0], result)

    return rule


def _power(node: Node) -> Curve | None:
    """Squares and cubes, of which the second derivative is monotone."""
    exponent = float(node.attributes["exponent"])
    if exponent not in (2.0, 3.0):
        return None

    def curvature(low: Tensor, up: Tensor) -> Interval:
        if exponent == 2.0:
            return torch.full_like(low, 2.0), torch.full_like(up, 2.0)
        return 6 * low, 6 * up

    return Curve(_value_of(node), lambda x: exponent * x ** (exponent - 1), curvature)


_SQUARE = Curve(lambda x: x * x, lambda x: 2 * x, lambda low, up: (torch.full_like(low, 2.0), torch.full_like(up, 2.0)))


def _reciprocal_curvature(low: Tensor, up: Tensor) -> Interval:
    """Of ``2 / x^3``, which falls on each side of zero."""
    return 2 / up**3, 2 / low**3


_RECIPROCAL = Curve(torch.reciprocal, lambda x: -1 / (x * x), _reciprocal_curvature)


def _mccormick_planes(u: Interval, v: Interval) -> tuple[tuple[Plane, Plane], tuple[Plane, Plane]]:
    """Two planes below and two above ``u v`` (McCormick)."""
    (low_u, up_u), (low_v, up_v) = u, v
    low = Plane((low_v, low_u), -low_u * low_v), Plane((up_v, up_u), -up_u * up_v)
    up = Plane((low_v, up_u), -up_u * low_v), Plane((up_v, low_u), -low_u * up_v)
    return low, up


def _mul(node: Node, operands: list[Interval], result: Interval) -> Planes:
    half = torch.full_like(result[0], 0.5)
    if node.inputs[0] == node.inputs[1]:
        found = _SQUARE.planes(operands[0], result)

        def of_both(plane: Plane) -> Plane:
            # one value stands in both places: its slope goes to the first, and rows on both are added
            return Plane((plane.slopes[0], torch.zeros_like(plane.offset)), plane.offset)

        low, up = ((of_both(a), of_both(b)) for a, b in (found.low, found.up))
        return Planes(low, up, found.start)
    low, up = _mccormick_planes(*operands)
    return Planes(low, up, (half, half))


def _div(node: Node, operands: list[Interval], result: Interval) -> Planes:
    """A product with the reciprocal; nothing is said where the divisor may be zero: its interval is infinite."""
    low_v, up_v = operands[1]
    # elsewhere everything becomes infinite or NaN, and `planes_of` takes the flat planes
    of_one_sign = (low_v > 0) | (up_v < 0)
    inverse = (1 / up_v).where(of_one_sign, -torch.inf), (1 / low_v).where(of_one_sign, torch.inf)
    room = 2.0**-50 * reach_of(inverse)
    inverse = inverse[0] - room, inverse[1] + room
    lines = _RECIPROCAL.planes(operands[1], inverse)
    low, up = _mccormick_planes(operands[0], inverse)
    half = torch.full_like(result[0], 0.5)
    # what the lines err by would be multiplied, and is not in the room that `planes_of` leaves
    far = FLOAT64 * _ROUNDINGS * (1 + reach_of(inverse))

    below, above = (
        line.moved(sign * (far + FLOAT64 * _ROUNDINGS * line.size(operands[1:])))
        for line, sign in zip(lines.mixed(*lines.start), (-1, 1), strict=True)
    )

    def substituted(plane: Plane, sign: int) -> Plane:
        alpha, beta = plane.slopes
        # by the sign that the quotient's plane gives to the reciprocal: the plane stays on its side
        chosen = below.where(sign * beta < 0, above)
        return Plane((alpha, beta * chosen.slopes[0]), plane.offset + beta * chosen.offset)

    return Planes(
        (substituted(low[0], -1), substituted(low[1], -1)), (substituted(up[0], 1), substituted(up[1], 1)), (half, half)
    )


def _max(node: Node, operands: list[Interval], result: Interval) -> Planes:
    """``v + relu(u - v)``."""
    (low_u, up_u), (low_v, up_v) = operands
    low, up = low_u - up_v, up_u - low_v
    open_ = (low < 0) & (up > 0)
    share = (up / (up - low)).where(open_, (low >= 0).to(up.dtype))
    offset = (-share * low).where(open_, torch.zeros_like(up))
    one, nothing = torch.ones_like(up), torch.zeros_like(up)
    first, second = Plane((nothing, one), nothing), Plane((one, nothing), nothing)
    settled = first.where(up <= 0, second)  # which is the larger one, where that is known
    # as of a ReLU: the lower plane that leaves the smaller gap
    start = (up > -low).to(up.dtype)
    lows = first.where(open_, settled), second.where(open_, settled)
    above = Plane((share, 1 - share), offset)
    ceiling = Plane((nothing, nothing), result[1]).where(open_, above)
    return Planes(lows, (above, ceiling), (start, nothing))


def _min(node: Node, operands: list[Interval], result: Interval) -> Planes:
    """The greater of both with the other sign."""
    mirrored = [(-up, -low) for low, up in operands]
    found = _max(node, mirrored, (-result[1], -result[0]))

    def turned(pair: tuple[Plane, Plane]) -> tuple[Plane, Plane]:
        # a slope on ``-u`` is one on ``u`` of the other sign, and the value's sign turns it back
        first, second = (Plane(plane.slopes, -plane.offset) for plane in pair)
        return first, second

    return Planes(turned(found.up), turned(found.low), (found.start[1], found.start[0]))


def _clip(node: Node, operands: list[Interval], result: Interval) -> Planes | None:
    """Flat, steep, flat: convex at the lower kink, concave at the upper one; or the lines of a ReLU, if it is one."""
    # a Clip that ends at the largest float32 is a ReLU below it and no further
    if as_activation(node) is not None and bool((operands[0][1] <= node.attributes["max"]).all()):
        return _activation_planes(node, operands, result)
    least, most = (torch.full_like(result[0], float(node.attributes[name])) for name in ("min", "max"))
    up = _above_clip(operands[0], least, most)
    low = _above_clip((-operands[0][1], -operands[0][0]), -most, -least)

    def turned(plane: Plane) -> Plane:
        return Plane(plane.slopes, -plane.offset)

    nothing = torch.zeros_like(result[0])
    return Planes((turned(low[0]), turned(low[1])), up, (nothing, nothing))


def _above_clip(operand: Interval, least: Tensor, most: Tensor) -> tuple[Plane, Plane]:
    """From the value at the lower end through the upper kink, or through the value at the upper end; and flat."""
    low, up = operand
    at_low, at_up = low.clamp(min=least, max=most), up.clamp(min=least, max=most)
    end = torch.minimum(up, most)  # the kink, where it is within
    width = end - low
    rise = ((at_up - at_low) / width).where(width > 0, torch.zeros_like(low)).clamp(min=0, max=1)
    # at both ends of the steep part: the plane is not to pass below either by what `rise` is rounded by
    offset = torch.maximum(at_low - rise * low, at_up - rise * end).where(width > 0, at_up)
    return Plane((rise,), offset), Plane((torch.zeros_like(low),), at_up)


def _where(node: Node, operands: list[Interval], result: Interval) -> Planes:
    """One of both where the condition is known."""
    (may_fail, may_hold), *_ = operands
    holds, fails = may_fail > 0, ~(may_hold > 0)
    one, nothing = torch.ones_like(result[0]), torch.zeros_like(result[0])
    first, second = Plane((nothing, one, nothing), nothing), Plane((nothing, nothing, one), nothing)
    floor, ceiling = (Plane((nothing, nothing, nothing), end) for end in result)
    low, up = (first.where(holds, second.where(fails, level)) for level in (floor, ceiling))
    return Planes((low, low), (up, up), (nothing, nothing))


RULES: Mapping[str, Rule] = {
    "Clip": _clip,
    "Cos": _wave(-1, torch.sin),
    "Div": _div,
    "Elu": _activation_planes,
    "Erf": _curve_rule(_erf),
    "Exp": _curve_rule(_exp),
    "Gelu": _curve_rule(_gelu),
    "LeakyRelu": _activation_planes,
    "Log": _curve_rule(_log),
    "Max": _max,
    "Min": _min,
    "Mul": _mul,
    "Pow": _curve_rule(_power),
    "Relu": _activation_planes,
    "Sigmoid": _activation_planes,
    "Sin": _wave(1, torch.cos),
    "Softplus": _curve_rule(_softplus),
    "Sqrt": _curve_rule(_sqrt),
    "Tanh": _activation_planes,
    "Where": _where,
}
"""Operator -> planes around it; all others lie between the ends of their intervals."""
