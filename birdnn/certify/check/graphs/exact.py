"""Backward propagation through a graph without any rounding of its own, row by row; and exact evaluation.

Rows are rational numbers on the places where they are not zero. Ends of intervals are rounded outward to float64,
slopes are numbers of the certificate or float64 ones; what is computed with them is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq

from birdnn.certify.check.exact import (
    EVALUATION_PRECISION,
    PRECISION,
    ball_end,
    fmpq_of_float,
    fmpq_of_fraction,
    gap_extremes,
    leaky_relu,
    smooth_value,
)
from birdnn.certify.check.graphs.nodes import UNSURE, Affine, Bend, Graph, Map, Pool
from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import Floats, default_slopes_in_graphs
from birdnn.certify.check.rounding import round_towards
from birdnn.certify.check.tree import Corners, Index, Items, Rows

_ZERO = fmpq(0)

Row = dict[int, fmpq]
"""A row, without its zeros."""
Plane = tuple[Row, fmpq]
"""A row and its constant."""
Line = tuple[fmpq, fmpq]
"""Slope and offset."""
Lines = Callable[[int, int, int], tuple[Line, Line]]
"""Of a node, for a box and an entry: the lower and the upper one."""


class _Sums:
    """An affine node: for each source and each of its maps' rows the places and numbers."""

    def __init__(self, node: Affine) -> None:
        self.sources = [(source, _rows_of_map(each)) for source, each in node.sources]
        self.offset = [fmpq_of_fraction(value) for value in node.offset]
        self.unsure = fmpq_of_fraction(UNSURE) if node.unsure else _ZERO


def _rows_of_map(each: Map) -> list[list[tuple[int, fmpq]]]:
    table, found = (
        [fmpq_of_fraction(value) for value in each.table],
        [list[tuple[int, fmpq]]() for _ in range(each.shape[0])],
    )
    for row, column, which in zip(each.row.tolist(), each.column.tolist(), each.which.tolist(), strict=True):
        found[row].append((column, table[which]))
    return found


class GraphExactEngine:
    """`Engine` in exact arithmetic.

    Args:
        graph: the network.
    """

    name = "exact"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.sums = {k: _Sums(node) for k, node in enumerate(graph.nodes) if isinstance(node, Affine)}

    def start(self, rows: Rows, boxes: int) -> GraphExactPass:
        """Nothing known yet about ``boxes`` boxes."""
        del boxes
        return GraphExactPass(self, rows)


class GraphExactPass:
    """`GraphPass` in exact arithmetic.

    Attributes:
        low, up: intervals of the values, (boxes, entries).
        slack: of affine nodes whose constants are not known exactly, for each box how far a value may be off.
        lines: of bends, for each box and entry the lower and the upper one.
        picked: of windows, for each box and entry what is picked, and the upper bound where others may be larger.
    """

    def __init__(self, engine: GraphExactEngine, rows: Rows) -> None:
        self.engine, self.rows = engine, rows
        self.low: list[Floats] = []
        self.up: list[Floats] = []
        self.slack: dict[int, list[list[fmpq]]] = {}
        self.bounds: dict[int, Corners] = {}
        self.lines: dict[int, list[list[tuple[Line, Line]]]] = {}
        self.picked: dict[int, list[list[tuple[int, fmpq | None]]]] = {}

    def begin(self, corners: Corners) -> None:
        """The input lies between these, (boxes, inputs)."""
        self.low.append(corners[0])
        self.up.append(corners[1])

    def interval(self, number: int) -> Corners:
        """Of a value, (boxes, entries)."""
        return self.low[number], self.up[number]

    def affine(self, k: int) -> None:
        """The interval of what an affine node makes."""
        sums, boxes = self.engine.sums[k], len(self.low[0])
        low, up = np.empty((2, boxes, len(sums.offset)))
        for i in range(boxes):
            ends = {source: _interval_ends(self.low[source][i], self.up[source][i]) for source, _ in sums.sources}
            slack = self.slack.setdefault(k, [])
            slack.append([])
            for o, offset in enumerate(sums.offset):
                least = most = offset
                size = _ZERO
                for source, rows in sums.sources:
                    for column, weight in rows[o]:
                        a, b = ends[source][column]
                        least += weight * (a if weight > 0 else b)
                        most += weight * (b if weight > 0 else a)
                        # Only what a normalisation divides by is not known exactly.
                        size += abs(weight) * max(abs(a), abs(b)) if sums.unsure else 0
                slack[i].append(size * sums.unsure)
                # Ends of intervals are float64 numbers, as bounds in the tree are: outward.
                low[i, o], up[i, o] = _round_down(least - slack[i][o]), _round_up(most + slack[i][o])
        self.low.append(low)
        self.up.append(up)

    def neurons(self, number: int, box: Index, entry: Index, corners: Corners) -> Corners:
        """Lower and upper bounds of entries of a value, one for each entry of ``box`` and ``entry``."""
        found = np.empty((2, len(box)))
        for n, (i, j) in enumerate(zip(box.tolist(), entry.tolist(), strict=True)):
            for side, sign in enumerate((1, -1)):
                # The upper bound is the lower one of the negated entry.
                plane = self._propagate_to_inputs(number, {j: fmpq(sign)}, _ZERO, i, self._default_lines)
                found[side, n] = sign * _minimum_over_box(*plane, corners[0][i], corners[1][i])
        return found[0], found[1]

    def relax(self, k: int, l: Floats, u: Floats) -> None:
        """Fix the default lines of a node that is not affine, for entries of what it reads in ``l .. u``."""
        node = self.engine.graph.nodes[k]
        self.bounds[k] = l, u
        boxes = range(len(l))
        if isinstance(node, Pool):
            self.picked[k] = [[_pick_entry(window, l[i], u[i]) for window in node.windows] for i in boxes]
            inside = node.windows >= 0
            # Of any entry that is largest the bounds are the largest bounds.
            low, up = (np.where(inside, side[:, node.windows], -np.inf).max(2) for side in (l, u))
        elif isinstance(node, Bend):
            act, width = node.activation, range(l.shape[1])
            slopes = default_slopes_in_graphs(act, l, u)
            ends = [[(fmpq_of_float(a), fmpq_of_float(b)) for a, b in zip(l[i], u[i], strict=True)] for i in boxes]
            self.lines[k] = [
                [
                    (
                        _lines_of_slope(act, ends[i][j], slopes[0][i, j])[0],
                        _lines_of_slope(act, ends[i][j], slopes[1][i, j])[1],
                    )
                    for j in width
                ]
                for i in boxes
            ]
            low, up = (
                np.array([[_activation_end(act, z, side) for z in box] for box in ends])
                for side, ends in ((-1, l), (1, u))
            )
        self.low.append(low)
        self.up.append(up)

    def _default_lines(self, k: int, i: int, j: int) -> tuple[Line, Line]:
        return self.lines[k][i][j]

    def planes(self, items: Items) -> list[Plane]:
        """Planes below the items' combinations: the certificate's multipliers, times exact rows."""
        found = []
        for n, (box, polytope) in enumerate(zip(items.box.tolist(), items.polytope.tolist(), strict=True)):
            exact = self.rows.exact[polytope]
            row, constant = dict[int, fmpq](), _ZERO
            for weight, each in zip(items.multipliers[n].tolist(), exact, strict=False):
                multiplier = fmpq_of_float(weight)
                constant -= multiplier * fmpq_of_fraction(each.bound)
                _add_to_row(
                    row, ((o, multiplier * fmpq_of_fraction(value)) for o, value in enumerate(each.coefficients))
                )
            # A function, as most items change a few lines of many.
            own = self._lines_of_item(items, n, box)
            found.append(
                self._propagate_to_inputs(len(self.low) - 1, row, constant, box, own, self._side_terms(items, n))
            )
        return found

    def _lines_of_item(self, items: Items, n: int, box: int) -> Lines:
        """The lines of an item: its own slopes in place of the default ones."""
        chosen: dict[tuple[int, int], tuple[Line, Line]] = {}
        for place, k in enumerate(self.engine.graph.bends):
            node, (l, u) = self.engine.graph.nodes[k], self.bounds[k]
            item, neuron, slope = items.slopes[place]
            if not isinstance(node, Bend):
                continue
            for at in np.nonzero(item == n)[0]:
                j = int(neuron[at])
                # In graphs a stored slope counts wherever it is named, also where the activation is linear.
                chosen[k, j] = _lines_of_slope(
                    node.activation, (fmpq_of_float(l[box, j]), fmpq_of_float(u[box, j])), slope[at]
                )

        def lines(k: int, i: int, j: int) -> tuple[Line, Line]:
            return chosen.get((k, j)) or self.lines[k][i][j]

        return lines

    def _side_terms(self, items: Items, n: int) -> dict[int, Plane]:
        """For each bend what the sides of an item add to its row on what the bend reads, and to its constant."""
        found = {}
        for k, sides in zip(self.engine.graph.bends, items.sides, strict=False):
            row, constant = dict[int, fmpq](), _ZERO
            for at in np.nonzero(sides.item == n)[0]:
                beta = fmpq_of_float(sides.beta[at]) * int(sides.side[at])
                _add_to_row(row, [(int(sides.neuron[at]), -beta)])
                # ``- beta side (z - cut)`` is a row on z itself and a constant: z needs no slack here, as it is not
                # taken apart.
                constant += beta * fmpq_of_float(sides.at[at])
            found[k] = row, constant
        return found

    def _propagate_to_inputs(
        self,
        number: int,
        row: Row,
        constant: fmpq,
        i: int,
        lines: Any,
        sides: dict[int, Plane] | None = None,
    ) -> Plane:
        """From a row on value ``number`` of box ``i`` to one on the input, and its constant; ``sides`` add to both."""
        waiting = {number: row}
        # In the order of the file every reader of a value comes after it, so that all rows on it have arrived.
        for k in range(number - 1, -1, -1):
            here, node = waiting.pop(k + 1, {}), self.engine.graph.nodes[k]
            if isinstance(node, Affine):
                sums, slack = self.engine.sums[k], self.slack[k][i]
                for o, value in here.items():
                    # The slack counts against the plane whatever the sign.
                    constant += value * sums.offset[o] - abs(value) * slack[o]
                for source, rows in sums.sources:
                    into = waiting.setdefault(source, {})
                    for o, value in here.items():
                        _add_to_row(into, ((column, value * weight) for column, weight in rows[o]))
                continue
            into = waiting.setdefault(node.source, {})
            if isinstance(node, Pool):
                for o, value in here.items():
                    place, top = self.picked[k][i][o]
                    # Below always the picked entry; above it as well where no other can exceed it, else a constant.
                    if value > 0 or top is None:
                        _add_to_row(into, [(place, value)])
                    else:
                        constant += value * top
            else:
                for j, value in here.items():
                    slope, offset = lines(k, i, j)[0 if value > 0 else 1]
                    constant += value * offset
                    _add_to_row(into, [(j, value * slope)])
            if sides:
                _add_to_row(into, sides[k][0].items())
                constant += sides[k][1]
        return waiting.get(0, {}), constant

    def minimum(self, planes: list[Plane], which: Index, corners: Corners) -> Floats:
        """Minimum of the planes ``which`` over a box each, rounded down."""
        return np.array([_minimum_over_box(*planes[n], *both) for n, *both in zip(which, *corners, strict=True)])


def _lines_of_slope(act: Activation, ends: tuple[fmpq, fmpq], slope: float) -> tuple[Line, Line]:
    """The best lines of a slope, below and above."""
    s = fmpq_of_float(slope)
    low, high = gap_extremes(act, *ends, s)
    return (s, low), (s, high)


def _add_to_row(row: Row, more: Any) -> None:
    for place, value in more:
        if value != 0:
            row[place] = row.get(place, _ZERO) + value


def _interval_ends(low: Floats, up: Floats) -> list[tuple[fmpq, fmpq]]:
    return [(fmpq_of_float(a), fmpq_of_float(b)) for a, b in zip(low, up, strict=True)]


def _pick_entry(window: Index, l: Floats, u: Floats) -> tuple[int, fmpq | None]:
    """The entry with the largest lower bound; and the largest upper bound, unless no other entry exceeds that one."""
    places = window[window >= 0]
    best = int(places[l[places].argmax()])
    others = places[places != best]
    # NaN is not settled.
    settled = (u[others] <= l[best]).all()
    return best, None if settled else fmpq_of_float(u[places].max())


def _activation_end(act: Activation, z: float, side: int) -> float:
    """The activation at ``z``, rounded down (``side`` -1) or up."""
    exact = fmpq_of_float(z)
    if act.kind in ("relu", "leaky_relu"):
        # Without a ball: rational, so that a bound of zero stays zero.
        value = exact if exact > 0 else fmpq_of_float(act.alpha) * exact
    else:
        with ctx.workprec(PRECISION):
            value = ball_end(smooth_value(act, arb(exact)), side)
    return _round_up(value) if side > 0 else _round_down(value)


def _round_down(value: fmpq) -> float:
    return round_towards(Fraction(int(value.p), int(value.q)), -np.inf)


def _round_up(value: fmpq) -> float:
    return round_towards(Fraction(int(value.p), int(value.q)), np.inf)


def _minimum_over_box(row: Row, constant: fmpq, lower: Floats, upper: Floats) -> float:
    total = constant
    for place, value in row.items():
        total += value * fmpq_of_float(lower[place] if value > 0 else upper[place])
    return _round_down(total)


def evaluate(graph: Graph, x: Sequence[Fraction]) -> list[Any]:
    """The network's exact outputs at ``x``: fractions, or balls where something is no rational number."""
    values: list[list[Any]] = [list(x)]
    with ctx.workprec(EVALUATION_PRECISION):
        for node in graph.nodes:
            if isinstance(node, Affine):
                values.append(_evaluate_affine(node, values))
            elif isinstance(node, Pool):
                h = values[node.source]
                values.append([_largest_value([h[p] for p in window if p >= 0]) for window in node.windows])
            elif node.activation.kind in ("relu", "leaky_relu"):
                values.append([leaky_relu(z, node.activation.alpha) for z in values[node.source]])
            else:
                values.append([smooth_value(node.activation, _as_ball(z)) for z in values[node.source]])
    return values[-1]


def _evaluate_affine(node: Affine, values: Sequence[Sequence[Any]]) -> list[Any]:
    smooth = node.unsure or any(isinstance(value, arb) for source, _ in node.sources for value in values[source])
    # Relative to the constant as it is kept; twice covers that it was relative to the true one.
    unsure = arb(0, float(2 * UNSURE)) if node.unsure else None
    total = [_as_ball(value) if smooth else value for value in node.offset]
    for source, each in node.sources:
        h = [_as_ball(value) for value in values[source]] if smooth else values[source]
        table = [_as_ball(value) * (1 + unsure) if unsure is not None else _as_ball(value) for value in each.table]
        for row, column, which in zip(each.row, each.column, each.which, strict=True):
            total[row] += (table[which] if smooth else each.table[which]) * h[column]
    return total


def _as_ball(value: Any) -> arb:
    return value if isinstance(value, arb) else arb(fmpq_of_fraction(value))


def _largest_value(values: list[Any]) -> Any:
    if not any(isinstance(value, arb) for value in values):
        return max(values)
    best = _as_ball(values[0])
    for value in values[1:]:
        best = best.max(_as_ball(value))
    return best
