"""What a property says, in words and in the units in which people think."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from birdnn.records import (
    InputRange,
    PropertyInWords,
    PropertyOutcome,
    PropertyRepair,
    RegionInWords,
    ScaledQuantity,
    ShownValue,
    StatedRegion,
)
from birdnn.spec import Row

_MOST_ZEROS = 8
_SMALL_DELTA = 1e-8


def plain_number(value: float) -> str:
    """A number as people write it, to seven digits: ``55,947.69``."""
    return f"{value:,.7g}".replace("-", "−")


def _rounded_text(value: float, how: str) -> str:
    """Three digits, rounded as `decimal` says."""
    if not math.isfinite(value):
        return str(value)
    # `:.3g` rounds to nearest, whatever is meant. What counts is what is read: 0.001 is not 0.00101 because the float
    # nearest to it is a little more.
    return f"{float(Context(prec=3, rounding=how).create_decimal(repr(float(value)))):g}"


def at_least_text(value: float) -> str:
    """What is found, or proved from below, with three digits; never said to be more than it is."""
    return _rounded_text(value, ROUND_FLOOR)


def at_most_text(value: float) -> str:
    """What is proved from above, with three digits; never said to be less than it is."""
    return _rounded_text(value, ROUND_CEILING)


def percent(share: float) -> str:
    """A share in percent that never rounds to 0 or 100 unless it is."""
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    value, digits = 100 * share, 2
    # 99.999 % of a million points leave ten that differ: they must not be told as none.
    while float(text := f"{value:.{digits}f}") in (0.0, 100.0):
        digits += 1
    # Nobody counts a row of zeros.
    return f"{value:.1g} %" if digits > _MOST_ZEROS and value < 1 else f"{text} %"


def confidence_text(delta: float) -> str:
    """The confidence ``1 - delta``, never said to be more than it is: ``"99.90 %"``, ``"1 - 1e-12"``."""
    # Nobody counts a row of nines, and the float nearest to 1 - delta may be 1.
    if delta < _SMALL_DELTA:
        return f"1 - {at_most_text(delta)}"
    value = (100 - 100 * Decimal(at_most_text(delta))).normalize()
    return f"{value:.{max(2, -int(value.as_tuple().exponent))}f} %"


def nearest_float(value: Fraction) -> float:
    """The nearest float64; the largest there is where the value lies beyond."""
    # Bounds are exact numbers of any size, as 1e400 of a file; JSON has no infinity.
    try:
        return float(value)
    except OverflowError:
        return math.copysign(sys.float_info.max, value)


@dataclass(frozen=True, slots=True)
class Side:
    """The inputs or the outputs of a network: names, units, scaling where somebody says them.

    Attributes:
        letter: ``X`` or ``Y``, as VNN-LIB calls them.
    """

    letter: str
    quantities: Sequence[ScaledQuantity]

    def name(self, place: int) -> str:
        """What the value is called."""
        return self.quantities[place].name if place < len(self.quantities) else f"{self.letter}_{place}"

    def unit(self, place: int) -> str:
        """Its unit; empty where nobody says it."""
        return self.quantities[place].unit if place < len(self.quantities) else ""

    def raw(self, place: int, value: Fraction) -> Fraction:
        """From network units to raw ones; the same number where nobody says the scaling."""
        if place >= len(self.quantities):
            return value
        quantity = self.quantities[place]
        return value * quantity.range + quantity.mean

    def value(self, place: int, network: float) -> ShownValue:
        """One number in both units."""
        raw = nearest_float(self.raw(place, Fraction(network)))
        return ShownValue(name=self.name(place), unit=self.unit(place), value=raw, network=network)


def network_sides(outcome: PropertyRepair) -> tuple[Side, Side]:
    """Inputs and outputs of the network that was repaired."""
    return Side("X", outcome.inputs), Side("Y", outcome.outputs)


def property_in_words(prop: PropertyOutcome, outcome: PropertyRepair) -> PropertyInWords:
    """A property in words and raw units."""
    inputs, outputs = network_sides(outcome)
    return PropertyInWords(
        name=prop.name,
        text=prop.text,
        role=prop.role,
        sha256=prop.sha256,
        regions=tuple(_region_in_words(region, inputs, outputs) for region in prop.regions),
        raw=bool(outcome.inputs),
    )


def domain_ranges(outcome: PropertyRepair) -> tuple[InputRange, ...]:
    """The declared input domain in raw units; empty where there is none."""
    if outcome.domain is None:
        return ()
    inputs, _ = network_sides(outcome)
    corners = zip(outcome.domain.lower, outcome.domain.upper, strict=True)
    return tuple(
        _input_range(inputs, place, Fraction(low), Fraction(high)) for place, (low, high) in enumerate(corners)
    )


def _region_in_words(region: StatedRegion, inputs: Side, outputs: Side) -> RegionInWords:
    return RegionInWords(
        inputs=tuple(
            _input_range(inputs, place, low, high)
            for place, (low, high) in enumerate(zip(region.lower, region.upper, strict=True))
        ),
        unsafe=tuple(unsafe_words(rows, outputs) for rows in region.unsafe),
    )


def _input_range(inputs: Side, place: int, low: Fraction, high: Fraction) -> InputRange:
    lower, upper = rounded_range(nearest_float(inputs.raw(place, low)), nearest_float(inputs.raw(place, high)))
    return InputRange(
        name=inputs.name(place),
        text=inputs.quantities[place].text if place < len(inputs.quantities) else "",
        unit=inputs.unit(place),
        lower=lower,
        upper=upper,
        network_lower=nearest_float(low),
        network_upper=nearest_float(high),
    )


def rounded_range(lower: float, upper: float) -> tuple[float, float]:
    """Both to nine digits of the larger: files round normalised bounds, which leaves dust in raw units."""
    largest = max(abs(lower), abs(upper))
    # Zeros have no logarithm.
    if not largest or largest > 1e300:
        return lower, upper
    digits = 8 - math.floor(math.log10(largest))
    return round(lower, digits) + 0.0, round(upper, digits) + 0.0  # a zero without its sign


def unsafe_words(rows: Sequence[Row], outputs: Side) -> str:
    """A polytope of outputs in words: ``COC is minimal (COC ≤ WL, WR, SL, SR)``, or its rows joined by *and*."""
    if not rows:
        return "any output at all"
    pairs = [_compared_outputs(row) for row in rows]
    known = [pair for pair in pairs if pair is not None]
    others = len(rows[0].coefficients) - 1
    # One output against each other one. Of two outputs `a ≤ b` says it better, and a strict row among others that are
    # not fits no single sign.
    if len(known) == len(rows) == others > 1 and len({row.strict for row in rows}) == 1:
        sign = "<" if rows[0].strict else "≤"
        least, most = {small for small, _ in known}, {large for _, large in known}
        if len(least) == 1 and len(most) == others:
            one = outputs.name(least.pop())
            return f"{one} is minimal ({one} {sign} {', '.join(outputs.name(i) for i in sorted(most))})"
        if len(most) == 1 and len(least) == others:
            one = outputs.name(most.pop())
            return f"{one} is maximal ({', '.join(outputs.name(i) for i in sorted(least))} {sign} {one})"
    return " and ".join(_row_words(row, outputs) for row in rows)


def _compared_outputs(row: Row) -> tuple[int, int] | None:
    """``(i, j)`` where the row says that output i is at most output j; else None."""
    values = {place: value for place, value in enumerate(row.coefficients) if value}
    # `c a - c b <= 0` for any c > 0: the same half-space as `a <= b`, whichever factor a file writes.
    if len(values) != 2 or sum(values.values(), Fraction(0)) or row.bound:
        return None
    small, large = sorted(values, key=lambda place: -values[place])
    return small, large


def _row_words(row: Row, outputs: Side) -> str:
    sign = "<" if row.strict else "≤"
    if (pair := _compared_outputs(row)) is not None:
        return f"{outputs.name(pair[0])} {sign} {outputs.name(pair[1])}"
    values = {place: value for place, value in enumerate(row.coefficients) if value}
    bound = row.bound
    if len(values) == 1:
        ((place, factor),) = values.items()
        # One output alone has one scaling, so its limit can be said in raw units; a sum of several mixes theirs and
        # stays in network units, as below.
        limit = nearest_float(outputs.raw(place, bound / factor))
        turned = {"<": ">", "≤": "≥"}[sign] if factor < 0 else sign
        unit = outputs.unit(place)
        return f"{outputs.name(place)} {turned} {plain_number(limit)}" + (f" {unit}" if unit else "")
    terms = " ".join(
        _term_text(factor, outputs.name(place), first=not n) for n, (place, factor) in enumerate(values.items())
    )
    return f"{terms or '0'} {sign} {plain_number(nearest_float(bound))} (network units)"


def _term_text(factor: Fraction, name: str, *, first: bool) -> str:
    size = "" if abs(factor) == 1 else f"{plain_number(nearest_float(abs(factor)))} "
    minus = ("−" if factor < 0 else "") if first else ("− " if factor < 0 else "+ ")
    return f"{minus}{size}{name}"
