"""The proof tree, walked once: tighten, items, faces, cut. The arithmetic is the engine's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from birdnn.certify.check.certificate import LEAF, Region
from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Activation, Chain, Network
from birdnn.certify.check.lines import Flags, Floats, execution_error, is_bent, largest_magnitude
from birdnn.certify.check.statement import Row

Index = NDArray[np.intp]
Corners = tuple[Floats, Floats]

LARGEST = 1 << 127
"""Below the largest single-precision number."""


@dataclass(frozen=True)
class Rows:
    """The polytopes of a region: coefficients (polytopes, rows, outputs) and bounds, padded by rows of zeros, in
    float64 next to the exact ones, which stand in ``exact``; ``strict`` where all rows of a polytope are."""

    a: Floats
    b: Floats
    strict: Flags
    exact: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class Sides:
    """What items make of neurons that are split above their nodes, in one hidden layer: where ``side`` is 1 the
    pre-activation is known not to lie below ``at``, where it is -1 not above, and ``beta`` times the distance from
    there is subtracted. ``count`` is how many the item has in all layers."""

    item: Index
    neuron: Index
    side: Floats
    at: Floats
    beta: Floats
    count: Index


@dataclass(frozen=True)
class Items:
    """The items of a batch: its box, polytope and multipliers (items, rows), and for each hidden layer the slopes as
    (item, neuron of the layer, slope) and the sides."""

    box: Index
    polytope: Index
    multipliers: Floats
    slopes: tuple[tuple[Index, Index, Floats], ...]
    sides: tuple[Sides, ...] = ()


@runtime_checkable
class Planes(Protocol):
    """A batch of boxes of which all lines are fixed."""

    def planes(self, items: Items) -> Any:
        """Planes below the items' combinations, valid on their boxes."""

    def minimum(self, planes: Any, which: Index, corners: Corners) -> Floats:
        """A number not above the minimum of each plane ``which`` over the box beside it."""


@runtime_checkable
class Pass(Planes, Protocol):
    """Backward propagation over one batch of boxes. Layers come in order: enter, neurons, relax, enter, ..."""

    def enter(self, k: int, h: Floats) -> None:
        """Begin layer ``k``, whose inputs do not exceed ``h`` (boxes, in)."""

    def neurons(self, k: int, box: Index, neuron: Index, corners: Corners) -> tuple[Floats, Floats]:
        """Lower and upper bounds of pre-activations of layer ``k``, one for each entry of ``box`` and ``neuron``."""

    def relax(self, k: int, l: Floats, u: Floats, error: Floats) -> None:
        """Fix the default lines of layer ``k`` for pre-activations in ``l .. u``; the activation errs by ``error``."""


@runtime_checkable
class Engine(Protocol):
    """An arithmetic."""

    name: str

    def start(self, rows: Rows, boxes: int) -> Planes:
        """A pass over ``boxes`` boxes, of which nothing is known yet."""


@dataclass
class Batch:
    """Nodes that still have an open polytope: number, box, bounds of hidden neurons, polytopes open above."""

    node: Index
    lower: Floats
    upper: Floats
    l: Floats
    u: Floats
    open: Flags

    def take(self, which: Any) -> Batch:
        return Batch(*(part[which] for part in self._parts()))

    def join(self, other: Batch) -> Batch:
        return Batch(*(np.concatenate(both) for both in zip(self._parts(), other._parts(), strict=True)))

    def _parts(self) -> tuple[Any, ...]:
        return self.node, self.lower, self.upper, self.l, self.u, self.open


@dataclass
class Walk:
    """One region's tree under one engine.

    Attributes:
        where: names proof and region in reasons.
        single: does the statement speak about executions in single precision?
        wanted: the nodes to visit, closed under taking parents; None for all.
        batch: nodes at once.
        seen: told how many nodes are done, now and then.
    """

    network: Network
    engine: Engine
    region: Region
    where: str
    single: bool
    wanted: Flags | None = None
    batch: int = 256
    seen: Callable[[int], None] = lambda _: None

    def run(self) -> None:
        """Visit the tree.

        Raises:
            Rejected: it proves nothing.
        """
        region = self.region
        ends = np.cumsum([0, *self._layer_widths()])
        self.spans = [slice(a, b) for a, b in pairwise(ends)]
        self.rows = self._padded_rows()
        root = np.full((1, ends[-1]), np.inf)
        lower, upper = region.root()
        stack = [
            Batch(np.zeros(1, int), lower[None], upper[None], -root, root, np.ones((1, len(region.polytopes)), bool))
        ]
        # Nothing is unsafe here, so that there is nothing to prove.
        if not region.polytopes:
            return
        with np.errstate(all="ignore"):  # infinities and NaN prove nothing, silently
            while stack:
                batch = self._next_batch(stack)
                children = self._examine_batch(batch)
                self.seen(len(batch.node))
                if len(children.node):
                    stack.append(children)

    def _layer_widths(self) -> list[int]:
        """How many neurons each hidden layer has."""
        return [size for _, size in self.network.hidden]

    def _padded_rows(self) -> Rows:
        """What is asked of the last layer."""
        return padded_rows(self.region.polytopes, self.network.n_outputs)

    def _next_batch(self, stack: list[Batch]) -> Batch:
        """The last nodes of the stack, as many as a batch takes: depth first, so that the stack stays low."""
        batch, most = stack.pop(), self._batch_limit()
        while len(batch.node) < most and stack:
            batch = stack.pop().join(batch)
        if len(batch.node) > most:
            # The rest goes back below, so that what was made last is still looked at first.
            stack.append(batch.take(slice(None, -most)))
            batch = batch.take(slice(-most, None))
        return batch

    def _batch_limit(self) -> int:
        """How many nodes a batch may take."""
        return self.batch

    def _examine_batch(self, batch: Batch) -> Batch:
        pass_ = self._tighten_bounds(batch)
        items, index = self._open_items(batch)
        planes = pass_.planes(items)
        least = pass_.minimum(planes, np.arange(len(index)), (batch.lower[items.box], batch.upper[items.box]))
        # On a polytope with a closed row a plane that is zero may touch an unsafe output. NaN compares as False and
        # closes nothing.
        closed = (least > 0) | (self.rows.strict[items.polytope] & (least >= 0))
        batch.open[items.box[closed], items.polytope[closed]] = False
        moved = self._move_faces(batch, pass_, planes, items)
        return self._children_of_open(batch, *moved)

    def _tighten_bounds(self, batch: Batch) -> Planes:
        """Bounds of all hidden neurons, in place, and the pass that knows them."""
        pass_, corners = self.engine.start(self.rows, len(batch.node)), (batch.lower, batch.upper)
        h = np.maximum(np.abs(batch.lower), np.abs(batch.upper))
        # The root counts as its own parent in that array.
        anew = (batch.node == 0) | ~self._is_split(self.region.parent[batch.node])  # the box of a parent has its bounds
        chain = self.network
        if not isinstance(chain, Chain) or not isinstance(pass_, Pass):
            raise TypeError("a walk of layers needs a chain of them, and an engine for it")
        for k, layer in enumerate(chain.layers):
            # Once is enough: the box of the root, which makes a batch of its own, contains all others. Beyond the
            # largest number an execution is no longer near the function that is bounded, and a Clip is no ReLU.
            far = (self.single or layer.limited) and batch.node[0] == 0
            if far and not _stays_below(layer.peak, float(h[0].max()), LARGEST):
                raise Rejected(f"{self.where}: a number of single precision could overflow in layer {k}")
            pass_.enter(k, h)
            act = layer.activation
            if act is None:
                break
            l, u = batch.l[:, self.spans[k]], batch.u[:, self.spans[k]]
            self._bound_layer(pass_, k, act, (l, u), anew, corners)
            error = execution_error(act, l) if self.single else np.zeros_like(l)
            pass_.relax(k, l, u, error)
            h = self._layer_magnitude(k, act, l, u, error)
        return pass_

    def _bound_layer(self, pass_: Pass, k: int, act: Activation, known: Corners, anew: Flags, corners: Corners) -> None:
        """Tighten in place what is ``known`` of the neurons of layer ``k``, on the boxes that are ``anew``."""
        # Bounds of the first layer are wanted whole, as they are those of exact rows; behind it a linear neuron has
        # nothing to gain. The format fixes which (docs/certificate.md, "Tighten").
        wanted = np.ones_like(known[0], dtype=bool) if k == 0 else is_bent(act, *known)
        self._tighten_neurons(pass_, k, wanted & anew[:, None], known, corners)

    def _tighten_neurons(self, pass_: Pass, k: int, wanted: Flags, known: Corners, corners: Corners) -> None:
        """Tighten, in place, what is ``known`` of those neurons that are ``wanted``, (boxes, neurons)."""
        box, neuron = np.nonzero(wanted)
        if len(box):
            (l, u), (low, high) = known, pass_.neurons(k, box, neuron, corners)
            # Inherited bounds hold as well. NaN is handed on by these two, and counts as unknown everywhere.
            l[box, neuron], u[box, neuron] = np.maximum(l[box, neuron], low), np.minimum(u[box, neuron], high)

    def _layer_magnitude(self, k: int, act: Activation, l: Floats, u: Floats, error: Floats) -> Floats:
        """The largest absolute value of each neuron behind its activation, rounded up."""
        return largest_magnitude(act, l, u, error)

    def _open_items(self, batch: Batch) -> tuple[Items, Index]:
        """The items at the batch's nodes whose polytope is open, and their numbers in the region."""
        region = self.region
        box, index = find_ranges(region.item_node, batch.node)
        polytope = region.item_polytope[index]
        # What a checker with tighter bounds has closed already, the certificate may still have items for.
        keep = batch.open[box, polytope]
        box, index, polytope = box[keep], index[keep], polytope[keep]
        sizes = region.sizes[polytope]
        column = np.arange(self.rows.a.shape[1])
        inside = column < sizes[:, None]
        # Zero is a place that exists; what stands there is not taken.
        place = np.where(inside, region.multiplier_start[index][:, None] + column, 0)
        multipliers = np.where(inside, region.multiplier[place], 0.0) if len(index) else np.zeros(inside.shape)
        item, at = expand_ranges(region.slope_start[index], region.slope_start[index + 1])
        neuron, slope = region.neuron[at], region.slope[at]
        slopes = []
        for span in self.spans:
            mine = (neuron >= span.start) & (neuron < span.stop)
            slopes.append((item[mine], neuron[mine] - span.start, slope[mine]))
        return Items(box, polytope, multipliers, tuple(slopes), self._sides_of_items(batch.node[box], index)), index

    def _sides_of_items(self, node: Index, index: Index) -> tuple[Sides, ...]:
        """Of the items of these numbers, at these nodes; nothing where no neuron is split above any of them."""
        region, found = self.region, []
        # All items at once go up by one node in each turn, and leave when nothing is split above.
        item = np.nonzero(region.sides[node])[0]
        child = node[item]
        while len(item):  # upwards, as long as there is a neuron above
            parent = region.parent[child]
            split = self._is_split(parent)
            i, at = item[split], parent[split]
            # Children above a cut have even numbers, `2j + 2`.
            side = np.where(child[split] % 2 == 0, 1.0, -1.0)
            # An item lists its multipliers from the root on: as many come before this one as neurons are split above.
            beta = region.beta[region.beta_start[index[i]] + region.sides[at]]
            found.append((i, region.axis[at] - self.network.n_inputs, side, region.cut[region.rank[at]], beta))
            more = region.sides[parent] > 0
            item, child = item[more], parent[more]
        if not found:
            return ()
        i, neuron, side, place, beta = (np.concatenate(parts) for parts in zip(*found, strict=True))
        sides = []
        for span in self.spans:
            at = (neuron >= span.start) & (neuron < span.stop)
            # Neurons are numbered over all hidden layers in the file, and within their layer in an engine.
            own = i[at], neuron[at] - span.start, side[at], place[at], beta[at]
            sides.append(Sides(*own, region.sides[node][i[at]]))
        return tuple(sides)

    def _is_split(self, node: Index) -> Flags:
        """At which nodes is a neuron split?"""
        axis = self.region.axis[node]
        split: Flags = (axis >= self.network.n_inputs) & (axis != LEAF)
        return split

    def _move_faces(self, batch: Batch, pass_: Planes, planes: Any, items: Items) -> Corners:
        """The corners that remain when the faces have moved."""
        region = self.region
        box, index = find_ranges(region.face_node, batch.node)
        # A node that is closed has no children; where its faces move to does not matter.
        keep = batch.open[box].any(1)
        box, index = box[keep], index[keep]
        lower, upper = batch.lower.copy(), batch.upper.copy()
        if not len(box):
            return lower, upper
        axis, side, at = region.face[index] // 2, region.face[index] % 2, region.face_at[index]
        # From the box before any face moved: slabs may overlap at corners, but leave nothing uncovered between them.
        low, high = batch.lower[box], batch.upper[box]
        each = np.arange(len(box))
        inside = (low[each, axis] <= at) & (at <= high[each, axis])
        self._require(inside, batch.node[box], "a face moves out of its box")
        high[each, axis] = np.where(side == 0, at, high[each, axis])
        low[each, axis] = np.where(side == 1, at, low[each, axis])
        face, which = find_ranges(items.box, box)  # every face with every item of its node
        polytope = items.polytope[which]
        least = pass_.minimum(planes, which, (low[face], high[face]))
        clear = (least > 0) | (self.rows.strict[polytope] & (least >= 0))
        # The first one is for the message alone: what is clear has a plane. Any item may clear its polytope.
        has_plane, is_clear = (np.zeros((len(box), batch.open.shape[1]), dtype=bool) for _ in range(2))
        has_plane[face, polytope] = True
        is_clear[face[clear], polytope[clear]] = True
        still_open = batch.open[box]
        node = batch.node[box]
        self._require((has_plane | ~still_open).all(1), node, "a face moves, but an open polytope has no plane")
        self._require((is_clear | ~still_open).all(1), node, "a face moves farther than a plane is positive")
        lower[box[side == 0], axis[side == 0]] = at[side == 0]
        upper[box[side == 1], axis[side == 1]] = at[side == 1]
        self._require(np.all(lower <= upper, axis=1), batch.node, "faces cross each other")
        return lower, upper

    def _children_of_open(self, batch: Batch, lower: Floats, upper: Floats) -> Batch:
        """The children of those nodes that have an open polytope; a leaf may have none."""
        region, node = self.region, batch.node
        left = np.nonzero(batch.open.any(1))[0]
        axis = region.axis[node[left]]
        self._require(axis != LEAF, node[left], "a polytope is left open")
        cut, split = region.cut[region.rank[node[left]]], self._is_split(node[left])
        # A neuron is no axis of the box; any will do, as it is not looked at.
        edge = np.where(split, 0, axis)
        inside = np.asarray((lower[left, edge] < cut) & (cut < upper[left, edge]))
        self._require(inside | split, node[left], "a cut outside of its box")
        # These are copies, so that the two halves may be cut in place.
        both = np.repeat(left, 2)
        first = 2 * region.rank[node[left]] + 1
        numbers = np.stack([first, first + 1], 1).reshape(-1)
        children = Batch(numbers, lower[both], upper[both], batch.l[both], batch.u[both], batch.open[both])
        for corners, which, at in (
            ((children.lower, children.upper), np.nonzero(~split)[0], axis),
            ((children.l, children.u), np.nonzero(split)[0], axis - self.network.n_inputs),
        ):
            # Both halves are closed and share the cut: together they are all of the parent.
            below, above, at = 2 * which, 2 * which + 1, at[which]
            corners[1][below, at] = np.minimum(corners[1][below, at], cut[which])
            corners[0][above, at] = np.maximum(corners[0][above, at], cut[which])
        return children if self.wanted is None else children.take(self.wanted[numbers])

    def _require(self, holds: Any, node: Index, what: str) -> None:
        if not holds.all():
            raise Rejected(f"{self.where}, node {node[np.argmin(holds)]}: {what}")


def _stays_below(peak: Fraction, h: float, limit: int) -> bool:
    # Exactly: a product in float64 could be rounded to below the limit.
    return bool(np.isfinite(h)) and peak * Fraction(max(1.0, h)) < limit


def padded_rows(polytopes: tuple[tuple[Row, ...], ...], n_outputs: int) -> Rows:
    """Polytopes as arrays."""
    most = max((len(rows) for rows in polytopes), default=0)
    a, b = np.zeros((len(polytopes), most, n_outputs)), np.zeros((len(polytopes), most))
    for i, rows in enumerate(polytopes):
        for j, row in enumerate(rows):
            a[i, j], b[i, j] = [_float_or_nan(value) for value in row.coefficients], _float_or_nan(row.bound)
    # One closed row is enough for its border to be unsafe.
    strict = np.array([bool(rows) and all(row.strict for row in rows) for rows in polytopes], dtype=bool)
    return Rows(a, b, strict, polytopes)


def _float_or_nan(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        # NaN proves nothing, which is right for what float64 cannot hold.
        return np.nan


def find_ranges(owner: Index, wanted: Index) -> tuple[Index, Index]:
    """Where each of ``wanted`` stands in the sorted ``owner``: (place in ``wanted``, index into ``owner``)."""
    return expand_ranges(np.searchsorted(owner, wanted, "left"), np.searchsorted(owner, wanted, "right"))


def expand_ranges(start: Index, stop: Index) -> tuple[Index, Index]:
    """The numbers of all ranges ``start .. stop``, each with the number of its range."""
    count = stop - start
    place = np.repeat(np.arange(len(count)), count)
    return place, np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + start[place]
