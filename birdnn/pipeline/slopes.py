"""Queries about one network at two inputs that differ in one coordinate, as statements about its slope.

With ``t = x_f - x_g`` in that coordinate the outputs differ by ``t D``, with a slope D that the network has between
the inputs (`birdnn.bounds.slope`). ``(< Y_f Y_g)`` where ``t >= 0`` is ``t D < 0``: nowhere, if no slope is negative. A
proof of that is one over boxes of one input, and does not mind that both runs agree where t is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from birdnn.joint import Part
from birdnn.network import Network
from birdnn.spec import Polytope, Property, Region, Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slope:
    """What implies a query.

    Attributes:
        net: the network.
        direction: the input in which its two inputs differ.
        regions: of its inputs; unsafe are rows on outputs and, behind them, their slopes.
    """

    net: Network
    direction: int
    regions: tuple[Region, ...]


def slope_of(parts: Sequence[Part], prop: Property, *, same: bool) -> Slope | None:
    """The statement about slopes that implies a query; None where there is none.

    Args:
        parts: of the query.
        prop: it, as a property of the variables.
        same: are the parts one network?
    """
    if len(parts) != 2 or not same or not prop.relational or prop.vacuous:
        return None
    reads_f, reads_g = parts[0].reads, parts[1].reads
    # one coordinate: with two the difference of outputs is a sum of slopes, each times its own t
    apart = [i for i, (p, q) in enumerate(zip(reads_f, reads_g, strict=True)) if p != q]
    # a variable that stands for two inputs would move the other one as well
    if len(apart) != 1 or len(set(reads_f)) < len(reads_f) or len(set(reads_g)) < len(reads_g):
        return None
    (direction,) = apart
    p, q = reads_f[direction], reads_g[direction]
    m = parts[0].net.n_outputs
    regions = []
    for region in prop.regions:
        # of both variables: |t| is at most the distance of the outermost of their ends
        ends = [side[i] for side in (region.exact_lower, region.exact_upper) for i in (p, q)]
        longest = max(ends) - min(ends)
        rows = [_slope_row(polytope.rows, m, (p, q), longest) for polytope in region.unsafe]
        known = [row for row in rows if row is not None]
        # a polytope without such a row may hold pairs of inputs whatever the slopes are
        if len(known) < len(rows):
            return None
        regions.append(_region_between(region, reads_f, direction, (p, q), known))
    return Slope(net=parts[0].net, direction=direction, regions=tuple(regions))


def _region_between(
    region: Region, reads: Sequence[int], direction: int, apart: tuple[int, int], rows: Sequence[Row]
) -> Region:
    """The inputs of both runs, and all between."""
    lower, upper = ([side[i] for i in reads] for side in (region.exact_lower, region.exact_upper))
    # a slope between two inputs is one of the network between them: the box holds all of the way
    lower[direction] = min(region.exact_lower[i] for i in apart)
    upper[direction] = max(region.exact_upper[i] for i in apart)
    unsafe = tuple(Polytope(rows=(row,), n_outputs=len(row.coefficients)) for row in dict.fromkeys(rows))
    return Region(exact_lower=tuple(lower), exact_upper=tuple(upper), unsafe=unsafe)


def _slope_row(rows: Sequence[Row], m: int, apart: tuple[int, int], longest: Fraction) -> Row | None:
    """A half-space of outputs and slopes outside of which no pair of inputs lies in all of the rows.

    Some row orders the inputs: ``t >= 0``, or ``t <= 0``. Another is ``t (c @ D + w) <= b`` with ``b < 0``, or ``< 0``:
    where ``c @ D + w`` has the sign of t, or is zero, or is beyond zero by less than ``b`` over the longest t, that is
    nowhere true.
    """
    p, q = apart
    order = next((sign for row in rows if (sign := _input_order(row, m, p, q))), 0)
    if not order:
        return None
    for row in rows:
        f, g, x = row.coefficients[:m], row.coefficients[m : 2 * m], row.coefficients[2 * m :]
        others = [value for i, value in enumerate(x) if i not in (p, q)]
        if any(a != -b for a, b in zip(f, g, strict=True)) or any(others) or x[p] != -x[q] or not any(f):
            continue
        # else t = 0 is in the row, whatever the slopes are
        if longest and (row.bound < 0 or (row.bound == 0 and row.strict)):
            slopes = tuple(order * value for value in f)
            found = Row((Fraction(0),) * m + slopes, row.bound / longest - order * x[p], row.strict).normal()
            # a coefficient that float64 rounds would be another statement than the one that implies the query
            if all(float(value) == value for value in found.coefficients):
                return found
    return None


def _input_order(row: Row, m: int, p: int, q: int) -> int:
    """1 where a row says that variable p is at least q, -1 where it says the opposite, 0 where it says neither."""
    outputs, x = row.coefficients[: 2 * m], row.coefficients[2 * m :]
    others = [value for i, value in enumerate(x) if i not in (p, q)]
    # bound > 0 allows the wrong order by so much; below zero it is the order with a distance
    if any(outputs) or any(others) or row.bound > 0 or not x[p] or x[p] != -x[q]:
        return 0
    return 1 if x[p] < 0 else -1
