"""Backward propagation through a graph in float64, many boxes at a time, with its rounding accounted for.

As on chains (`birdnn.certify.check.floats`); the argument is under "Rounding in the checker" in docs/certificate.md.
Rows stand in columns here, (entries, rows), because a sparse matrix is multiplied by them from the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from birdnn.certify.check.graphs.nodes import Affine, Bend, Graph, Map, Pool
from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import LIBM, Floats, activation_value, default_slopes_in_graphs, offsets_of_any
from birdnn.certify.check.rounding import HUGE, MORE, TINY, UNDERFLOW, round_towards_zero
from birdnn.certify.check.tree import Corners, Index, Items, Rows

_ENTRIES = 1 << 22
"""Of rows that are propagated together."""


@dataclass(frozen=True)
class _Straight:
    """An affine node: of each source its map, the absolute map and the transposed one; and the offset."""

    sources: tuple[tuple[int, sparse.csr_array, sparse.csr_array, sparse.csr_array], ...]
    offset: Floats


@dataclass(frozen=True)
class _Lines:
    """Lines around a node's value as functions of what it reads, (boxes, entries); errors are in the offsets."""

    low: Floats
    low_offset: Floats
    up: Floats
    up_offset: Floats

    def of(self, box: Index) -> _Lines:
        """A copy for each entry of ``box``."""
        return _Lines(self.low[box], self.low_offset[box], self.up[box], self.up_offset[box])


class GraphFloatEngine:
    """`Engine` in float64.

    Args:
        graph: the network.
    """

    name = "float64"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        # N of docs/certificate.md: the longest sum, and what else is done to a number on its way; twice what is needed.
        self.gamma = 2 * (graph.terms + 4 * len(graph.nodes) + 40) * 2.0**-53
        self.at_once = max(1, _ENTRIES // sum(graph.sizes))
        self.straight = {k: _convert_affine(node) for k, node in enumerate(graph.nodes) if isinstance(node, Affine)}

    def start(self, rows: Rows, boxes: int) -> GraphFloatPass:
        """Nothing known yet about ``boxes`` boxes."""
        return GraphFloatPass(self, rows)


def _convert_affine(node: Affine) -> _Straight:
    found = []
    for source, each in node.sources:
        matrix = _sparse_matrix(each)
        found.append((source, matrix, abs(matrix), sparse.csr_array(matrix.T)))
    return _Straight(tuple(found), round_towards_zero(node.offset))


def _sparse_matrix(each: Map) -> sparse.csr_array:
    start = np.searchsorted(each.row, np.arange(each.shape[0] + 1))
    return sparse.csr_array((round_towards_zero(each.table)[each.which], each.column, start), shape=each.shape)


class GraphFloatPass:
    """`GraphPass` in float64.

    Attributes:
        low, up: intervals of the values, (boxes, entries).
        slack: of affine nodes, how far a value may seem to lie from the exact one.
        lines: of the others; ``picked``, the places that windows pick; ``bounds``, those of what such a node reads.
    """

    def __init__(self, engine: GraphFloatEngine, rows: Rows) -> None:
        self.engine, self.rows = engine, rows
        self.low: list[Floats] = []
        self.up: list[Floats] = []
        self.slack: dict[int, Floats] = {}
        self.lines: dict[int, _Lines] = {}
        self.picked: dict[int, Index] = {}
        self.bounds: dict[int, Corners] = {}

    def begin(self, corners: Corners) -> None:
        """The input lies between these, (boxes, inputs)."""
        self._append_interval(*corners)

    def interval(self, number: int) -> Corners:
        """Of a value, (boxes, entries)."""
        return self.low[number], self.up[number]

    def affine(self, k: int) -> None:
        """The interval of what an affine node makes."""
        node = self.engine.straight[k]
        reach, middle = np.abs(node.offset)[:, None], node.offset[:, None]
        radius = np.zeros_like(middle)
        for source, matrix, size, _ in node.sources:
            low, up = self.low[source].T, self.up[source].T
            # By middle and radius, as two sparse products are enough then. Halves first: the sum of both ends could
            # overflow.
            middle = middle + matrix @ (low / 2 + up / 2)
            radius = radius + size @ (up / 2 - low / 2)
            far = np.maximum(np.abs(low), np.abs(up))
            # halves of the least numbers are lost, and met by weights of any size
            reach = reach + size @ np.where(far <= HUGE, far + 2.0**-1000, np.inf)
        # Also what is read: beyond `HUGE` rows that underflow are no longer paid by `UNDERFLOW`. NaN becomes infinity.
        slack = np.where(reach <= HUGE, self.engine.gamma * MORE * reach + TINY, np.inf)
        self.slack[k] = slack.T
        self._append_interval((middle - radius - slack).T, (middle + radius + slack).T)

    def neurons(self, number: int, box: Index, entry: Index, corners: Corners) -> Corners:
        """Lower and upper bounds of entries of a value, one for each entry of ``box`` and ``entry``."""
        low, up = np.empty(len(box)), np.empty(len(box))
        size = self.engine.graph.sizes[number]
        step = max(1, self.engine.at_once // 2)
        for start in range(0, len(box), step):
            i, j = box[start : start + step], entry[start : start + step]
            rows = np.zeros((size, 2 * len(i)))
            # Each entry, and each negated for its upper bound.
            rows[j, np.arange(len(i))] = 1.0
            rows[j, len(i) + np.arange(len(i))] = -1.0
            both = np.concatenate([i, i])
            found = self._propagate_to_inputs(number, rows, np.zeros(len(both)), both, self.lines)
            least = self._minimum_over_boxes(*found, corners[0][both], corners[1][both])
            low[start : start + step], up[start : start + step] = least[: len(i)], -least[len(i) :]
        return low, up

    def relax(self, k: int, l: Floats, u: Floats) -> None:
        """Fix the default lines of a node that is not affine, for entries of what it reads in ``l .. u``."""
        node = self.engine.graph.nodes[k]
        self.bounds[k] = l, u
        if isinstance(node, Pool):
            self._pick_entries(k, node.windows, l, u)
        elif isinstance(node, Bend):
            act = node.activation
            low, high = default_slopes_in_graphs(act, l, u)
            self.lines[k] = self._lines_of_slopes(act, l, u, low, high)
            ends = activation_value(act, l), activation_value(act, u)
            # a ReLU computes nothing: where all entries of a window are inactive, none exceeds the others
            wide = [0.0 if act.kind == "relu" else LIBM * np.abs(end) + TINY for end in ends]
            self._append_interval(ends[0] - wide[0], ends[1] + wide[1])

    def _lines_of_slopes(self, act: Activation, l: Floats, u: Floats, low: Floats, high: Floats) -> _Lines:
        """Lines of slopes ``low`` and ``high``, on the safe side of what rows and what they meet are rounded by."""
        below, above = offsets_of_any(act, l, u, low)[0], offsets_of_any(act, l, u, high)[1]
        reach, gamma = np.maximum(np.abs(l), np.abs(u)), self.engine.gamma
        # A slope times a row is rounded: the line pays by what it meets.
        reach = np.where(reach <= HUGE, reach, np.inf)
        sides = []
        for slope, offset in ((low, below), (high, above)):
            sides.append(gamma * (np.abs(offset) + np.abs(slope) * reach) * MORE + TINY)
        return _Lines(low, below - sides[0], high, above + sides[1])

    def _pick_entries(self, k: int, windows: Index, l: Floats, u: Floats) -> None:
        """Below and above each window: the entry of the largest lower bound, or above the largest upper bound."""
        inside = windows >= 0
        low, up = (np.where(inside, side[:, windows], -np.inf) for side in (l, u))
        # an entry of which nothing is known is picked before a place that holds none
        best = np.where(inside, np.maximum(low, -np.finfo(np.float64).max), -np.inf).argmax(2)[:, :, None]
        most, top = np.take_along_axis(low, best, 2)[:, :, 0], up.max(2)
        # Of several entries with the largest bound only the picked one is left out.
        others = up.copy()
        np.put_along_axis(others, best, -np.inf, 2)
        settled = others.max(2) <= most
        self.picked[k] = np.take_along_axis(np.broadcast_to(windows, low.shape), best, 2)[:, :, 0]
        # many windows may hand their rows to one entry, and these are added up
        reach = np.maximum(np.abs(most), np.abs(np.take_along_axis(up, best, 2)[:, :, 0]))
        reach = np.where(np.maximum(reach, np.abs(top)) <= HUGE, np.maximum(reach, np.abs(top)), np.inf)
        room = self.engine.gamma * reach * MORE + TINY
        above = np.where(settled, room, top + room)
        self.lines[k] = _Lines(np.ones_like(top), -room, settled.astype(float), above)
        self._append_interval(most, top)

    def _append_interval(self, low: Floats, up: Floats) -> None:
        # NaN is no bound.
        self.low.append(np.where(np.isfinite(low), low, -np.inf))
        self.up.append(np.where(np.isfinite(up), up, np.inf))

    def planes(self, items: Items) -> tuple[Floats, Floats]:
        """Planes below the items' combinations: coefficients (items, inputs) and constants (items,)."""
        graph = self.engine.graph
        rows, constants = np.empty((len(items.box), graph.n_inputs)), np.empty(len(items.box))
        for start in range(0, len(items.box), self.engine.at_once):
            part = np.arange(start, min(start + self.engine.at_once, len(items.box)))
            rows[part], constants[part] = self._planes_of_part(items, part)
        return rows, constants

    def _planes_of_part(self, items: Items, part: Index) -> tuple[Floats, Floats]:
        box, multipliers, polytope = items.box[part], items.multipliers[part], items.polytope[part]
        a, b = self.rows.a[polytope], self.rows.b[polytope]
        gamma = self.engine.gamma + 2 * b.shape[1] * 2.0**-53  # rows are added up too
        rows = np.einsum("ir,iro->oi", multipliers, a)
        # Errors do not cancel where rows do.
        wide = np.einsum("ir,iro->io", multipliers, np.abs(a)) * MORE
        reach = np.maximum(np.abs(self.low[-1]), np.abs(self.up[-1]))
        reach = np.where(reach <= HUGE, reach, np.inf)[box]
        constant = -np.einsum("ir,ir->i", multipliers, b)
        constant -= gamma * (np.einsum("io,io->i", wide, reach) + np.einsum("ir,ir->i", multipliers, np.abs(b)))
        lines = {k: self.lines[k].of(box) for k in self.engine.graph.bends}
        towards = {}
        for place, k in enumerate(self.engine.graph.bends):
            self._put_item_slopes(k, lines[k], items, place, part)
            if items.sides and len(items.sides[place].item):
                towards[k] = self._side_terms(k, items, place, part)
        return self._propagate_to_inputs(len(self.low) - 1, rows, constant, box, lines, np.arange(len(part)), towards)

    def _put_item_slopes(self, k: int, lines: _Lines, items: Items, place: int, part: Index) -> None:
        """An item's own slopes in place of the default ones, in place."""
        item, neuron, slope = items.slopes[place]
        # Parts are ranges of items.
        mine = (item >= part[0]) & (item <= part[-1])
        item, neuron, slope = item[mine] - part[0], neuron[mine], slope[mine]
        node = self.engine.graph.nodes[k]
        if not len(item) or not isinstance(node, Bend):
            return
        l, u = (side[items.box[part][item], neuron] for side in self.bounds[k])
        own = self._lines_of_slopes(node.activation, l, u, slope, slope)
        lines.low[item, neuron] = lines.up[item, neuron] = slope
        lines.low_offset[item, neuron], lines.up_offset[item, neuron] = own.low_offset, own.up_offset

    def _side_terms(self, k: int, items: Items, place: int, part: Index) -> tuple[Floats, Floats]:
        """What the sides of a bend add to rows on what it reads, (entries, items), and to constants, (items,)."""
        sides = items.sides[place]
        mine = (sides.item >= part[0]) & (sides.item <= part[-1])
        item, neuron = sides.item[mine] - part[0], sides.neuron[mine]
        side, at, beta = sides.side[mine], sides.at[mine], sides.beta[mine]
        l, u = (end[items.box[part][item], neuron] for end in self.bounds[k])
        reach = np.maximum(np.maximum(np.abs(l), np.abs(u)), np.abs(at))
        # an item's sums of these have so many terms more, each off by v times its size
        wide = self.engine.gamma * (1 + sides.count[mine]) * np.where(reach <= HUGE, 2 * reach, np.inf) + TINY
        rows, constant = np.zeros((self.bounds[k][0].shape[1], len(part))), np.zeros(len(part))
        # Unbuffered: a neuron may be split at several places above one item.
        np.subtract.at(rows, (neuron, item), side * beta)
        np.add.at(constant, item, side * beta * at - beta * wide * MORE)
        return rows, constant

    def _propagate_to_inputs(
        self,
        number: int,
        rows: Floats,
        constant: Floats,
        box: Index,
        lines: dict[int, _Lines],
        owner: Index | None = None,
        towards: dict[int, tuple[Floats, Floats]] | None = None,
    ) -> tuple[Floats, Floats]:
        """From rows on a value, (entries, n), and constants, (n,), to rows on the input, (n, inputs), and constants.

        Args:
            number: of the value.
            rows, constant: see above.
            box: whose each row is, (n,).
            lines: of the bends; those of boxes, or with ``owner`` of what that names.
            owner: whose lines each row takes, (n,).
            towards: of bends, what is added to rows on what they read, and to constants.
        """
        waiting = {number: rows}
        for k in range(number - 1, -1, -1):
            here, node = waiting.pop(k + 1, None), self.engine.graph.nodes[k]
            if isinstance(node, Affine):
                # Nothing that is asked for depends on it.
                if here is None:
                    continue
                straight = self.engine.straight[k]
                constant = constant + straight.offset @ here - _products_by_owner(self.slack[k], np.abs(here), box)
                for source, _, _, transposed in straight.sources:
                    _add_waiting_rows(waiting, source, transposed @ here)
                continue
            if here is not None:
                constant, moved = self._propagate_bend(
                    k, here, constant, box, lines[k], box if owner is None else owner
                )
                _add_waiting_rows(waiting, node.source, moved)
            # A split neuron counts also where no row reads its activation.
            if towards and k in towards:
                constant = constant + towards[k][1]
                _add_waiting_rows(waiting, node.source, towards[k][0])
        found = waiting.get(0)
        return np.zeros((len(box), self.engine.graph.n_inputs)) if found is None else found.T, constant

    def _propagate_bend(
        self, k: int, rows: Floats, constant: Floats, box: Index, lines: _Lines, owner: Index
    ) -> tuple[Floats, Floats]:
        """Constants, and rows on what a bend reads, from rows on what it makes."""
        negative = np.minimum(rows, 0.0)
        positive = rows - negative
        constant = (
            constant
            + _products_by_owner(lines.low_offset, positive, owner)
            + _products_by_owner(lines.up_offset, negative, owner)
        )
        passed = positive * _columns_of_owners(lines.low, owner) + negative * _columns_of_owners(lines.up, owner)
        if k not in self.picked:
            return constant, passed
        moved = np.zeros((self.bounds[k][0].shape[1], rows.shape[1]))
        # Several windows may have picked the same entry.
        np.add.at(moved, (self.picked[k][box].T, np.arange(rows.shape[1])), passed)
        return constant, moved

    def minimum(self, planes: tuple[Floats, Floats], which: Index, corners: Corners) -> Floats:
        """Minimum of the planes ``which`` over a box each, rounded down; minus infinity where nothing is known."""
        return self._minimum_over_boxes(planes[0][which], planes[1][which], *corners)

    def _minimum_over_boxes(self, rows: Floats, constant: Floats, lower: Floats, upper: Floats) -> Floats:
        wide = self.engine.gamma * np.maximum(np.abs(lower), np.abs(upper)) + TINY
        negative = np.minimum(rows, 0.0)
        least = np.einsum("rn,rn->r", rows - negative, lower - wide) + np.einsum("rn,rn->r", negative, upper + wide)
        least = least + constant
        # More than all products that underflow; NaN proves nothing.
        return np.where(np.isfinite(least), least - UNDERFLOW, -np.inf)


def _add_waiting_rows(waiting: dict[int, Floats], source: int, rows: Floats) -> None:
    """Add rows to those that wait on a value."""
    waiting[source] = waiting[source] + rows if source in waiting else rows


def _products_by_owner(values: Floats, rows: Floats, owner: Sequence[int] | Index) -> Floats:
    """The products of rows, (entries, n), with values of their owners, (owners, entries)."""
    # One box, which all rows share: a matrix product, and no copies of its lines.
    if len(values) == 1:
        single: Floats = values[0] @ rows
        return single
    many: Floats = np.einsum("ne,en->n", values[np.asarray(owner)], rows)
    return many


def _columns_of_owners(values: Floats, owner: Index) -> Floats:
    """Values of owners, (owners, entries), as rows stand, (entries, n)."""
    return values.T if len(values) == 1 else values[owner].T
