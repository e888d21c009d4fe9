"""What the bounds of a box leave of it: domain clipping, the edge to cut, and whether a counterexample may be near.

`birdnn.verify.work` is the reference, `birdnn.boxes.Boxes.cuts` the argument for what is cut away. Here the compiler
may add the three terms of a new face in any order: each of two additions errs by half a unit in the last place of at
most twice the largest corner, less than a third of the slack of `CORNER_ROOM` that a face keeps.
"""

from __future__ import annotations

import math

import numpy as np

from birdnn.bounds.compiled.compiler import compiled
from birdnn.bounds.compiled.lines import activation_value, copy, fill
from birdnn.bounds.compiled.losses import blame_edges
from birdnn.bounds.compiled.pairs import fill_differences
from birdnn.bounds.compiled.rows import push_forward
from birdnn.bounds.compiled.state import (
    ALPHA,
    AT,
    KIND,
    LOWER,
    ROW,
    SIZE,
    UP,
    UP2,
    UPPER,
    WIDTH,
    Asked,
    Floats,
    Found,
    Left,
    Net,
    Scratch,
)
from birdnn.rounding import CLIP_ROOM, CORNER_ROOM

_NEAR = 2.0**-20
"""Of the largest value on the way through a network. Executions in float32 differ by 2**-25 of it on ACAS Xu's; who
leaves out one that violates by less than rounding loses a counterexample until its box is cut, and proves nothing."""


@compiled
def proved(lower: float, closed: bool, apart: float, room: float) -> bool:
    """See `Question.excluded`."""
    # so written that NaN proves nothing
    if not abs(lower) < np.inf:
        return False
    lower -= apart
    return bool(lower > room or (room == 0 and lower >= 0 and not closed))


@compiled
def find_left(net: Net, asked: Asked, found: Found, left: Left, i: int, sound: bool, s: Scratch) -> None:
    """What the items of box ``i`` leave of it: the hull of what each of those that stay open leaves.

    Args:
        sound: do the lines in ``s`` bound the activations on this box?
    """
    lower, upper, score, still = left.lower[i], left.upper[i], np.inf, False
    fill(lower, np.inf)
    fill(upper, -np.inf)
    fill(left.opened[i], False)
    for item in range(asked.first[i], asked.first[i + 1]):
        polytope = asked.polytope[item]
        # the bound has been lowered already where a certificate is wanted (`_keep_apart`)
        left.closed[item] = proved(found.lower[item], asked.closed[polytope], 0.0, 0.0)
        if not left.closed[item]:
            still = left.opened[i, polytope] = True
            score = min(score, found.lower[item])
            _clip(asked, found, i, item, s)
            for d in range(len(lower)):
                # the hull: a point that one open polytope needs stays, whatever others have cut
                lower[d], upper[d] = min(lower[d], s.cut[LOWER, d]), max(upper[d], s.cut[UPPER, d])
    left.score[i] = score
    if len(left.used):
        _find_used(asked, found, left, i, s)
    if still:
        # after the hull is known: an edge that clipping has shortened counts as long as it is now
        left.edge[i] = _edge(net, asked, left, i, sound, s)
        left.suspicious[i] = _is_suspicious(net, asked, found, left, i, s)


@compiled
def _clip(asked: Asked, found: Found, i: int, item: int, s: Scratch) -> None:
    """What one item leaves of its box, in ``s.cut``; the planes that cut most, in ``s.by``.

    Planes that leave nothing together prove something, but none of them alone: then all is left.
    """
    lower, upper = asked.lower[i], asked.upper[i]
    _cuts(lower, upper, found.plane[item], found.minimum[item], s)
    empty = False
    for d in range(len(lower)):
        s.cut[LOWER, d], s.cut[UPPER, d] = max(lower[d], s.cut[LOWER, d]), min(upper[d], s.cut[UPPER, d])
        empty = empty or s.cut[LOWER, d] > s.cut[UPPER, d]
    if empty:
        copy(lower, s.cut[LOWER], len(lower))
        copy(upper, s.cut[UPPER], len(upper))


@compiled
def _cuts(lower: Floats, upper: Floats, planes: Floats, minimum: Floats, s: Scratch) -> None:
    """The innermost faces that planes allow, the first of those that do so: see `birdnn.boxes.Boxes.cuts`."""
    fill(s.cut[LOWER], -np.inf)
    fill(s.cut[UPPER], np.inf)
    for p in range(len(minimum)):
        if not abs(minimum[p]) < np.inf:
            continue
        size = abs(minimum[p])
        for d in range(len(lower)):
            size += abs(planes[p, d]) * (upper[d] - lower[d])
        for d in range(len(lower)):
            # some last places of the corners, for the terms of the new face
            slope, slack = planes[p, d], CORNER_ROOM * max(abs(lower[d]), abs(upper[d]))
            reach = (CLIP_ROOM * size - minimum[p]) / abs(slope) if slope != 0 else np.inf
            # NaN as well as what is too far
            if not reach < np.inf:
                continue
            if slope > 0 and lower[d] + reach + slack < s.cut[UPPER, d]:
                s.cut[UPPER, d], s.by[UPPER, d] = lower[d] + reach + slack, p
            if slope < 0 and upper[d] - reach - slack > s.cut[LOWER, d]:
                s.cut[LOWER, d], s.by[LOWER, d] = upper[d] - reach - slack, p


@compiled
def _find_used(asked: Asked, found: Found, left: Left, i: int, s: Scratch) -> None:
    """The plane that closed each item, and those that moved a face of the box as far as it moved."""
    for item in range(asked.first[i], asked.first[i + 1]):
        used, minimum = left.used[item], found.minimum[item]
        fill(used, False)
        if left.closed[item]:
            best = 0
            for p in range(len(minimum)):
                if minimum[p] > minimum[best]:
                    best = p
            used[best] = True
            continue
        # once more: `s.by` has the planes of the item that was looked at last
        _clip(asked, found, i, item, s)
        for d in range(asked.lower.shape[1]):
            if left.lower[i, d] > asked.lower[i, d]:
                used[s.by[LOWER, d]] = True
            if left.upper[i, d] < asked.upper[i, d]:
                used[s.by[UPPER, d]] = True


@compiled
def _edge(net: Net, asked: Asked, left: Left, i: int, sound: bool, s: Scratch) -> int:
    """The edge to halve, of those that have a midpoint: the one on which bounds of open rows depend most, and what
    their lines lose."""
    # room of rows that are bounded already
    flow, more, layers = s.rows[0, 0], s.rows[0, 1], net.shape.shape[1] - 1
    for j in range(net.shape[WIDTH, layers]):
        flow[j] = 0.0
        for item in range(asked.first[i], asked.first[i + 1]):
            if not left.closed[item]:
                for r in range(asked.a.shape[1]):
                    flow[j] += abs(asked.a[asked.polytope[item], r, j])
    if sound:
        for k in range(layers - 1, -1, -1):
            if k < layers - 1:
                flow_through_lines(net, k, flow, s)
            flow_through_weights(net, k, flow, more)
            flow, more = more, flow
    else:
        # all inputs alike: the longest edge is cut
        fill(flow, 1.0)
    blame = s.rows[0, 2]
    if sound and blame_edges(net, s, blame):
        # of two scores that count different things, the geometric mean: what halves help, what the bound depends on
        for d in range(len(asked.lower[i])):
            flow[d] = math.sqrt(flow[d]) * math.sqrt(blame[d])
    best, most = 0, -1.0
    for d in range(len(asked.lower[i])):
        width = left.upper[i, d] - left.lower[i, d]
        # an edge without a midpoint would give the same box again, for ever
        if not (np.nextafter(left.lower[i, d], np.inf) < left.upper[i, d] and width < np.inf):
            continue
        score = max(1e-300, flow[d] if flow[d] >= 0 else 1.0) * width  # NaN weighs as much as one
        if score > most:
            best, most = d, score
    return best


@compiled
def flow_through_lines(net: Net, k: int, flow: Floats, s: Scratch) -> None:
    """A row of absolute values on activation ``k`` through its steeper upper line, in place."""
    for j in range(net.shape[WIDTH, k + 1]):
        place = net.shape[ROW, k] + j
        flow[j] *= max(abs(s.neuron[UP, place]), abs(s.neuron[UP2, place]))


@compiled
def flow_through_weights(net: Net, k: int, flow: Floats, out: Floats) -> None:
    """``flow`` times the absolute weights of a layer."""
    n, m, at = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[AT, k]
    for x in range(m):
        out[x] = 0.0
    for j in range(n):
        if flow[j] != 0:
            weight = net.matrix[SIZE, at + j * m : at + (j + 1) * m]
            for x in range(m):
                out[x] += flow[j] * weight[x]


@compiled
def _is_suspicious(net: Net, asked: Asked, found: Found, left: Left, i: int, s: Scratch) -> bool:
    """May an execution violate at a candidate of box ``i``: where its first item is least, and in the middle?"""
    last = found.plane.shape[1] - 1
    for candidate in range(2):
        x = s.rows[0, 0]
        for d in range(len(asked.lower[i])):
            if candidate == 0:
                # the corner where the plane is least: if a bound is nearly attained anywhere, then there
                positive = found.plane[asked.first[i], last, d] > 0
                x[d] = asked.lower[i, d] if positive else asked.upper[i, d]
            else:
                x[d] = left.lower[i, d] + (left.upper[i, d] - left.lower[i, d]) / 2
        if _is_near(net, asked, left, i, s):
            return True
    return False


@compiled
def _is_near(net: Net, asked: Asked, left: Left, i: int, s: Scratch) -> bool:
    """Is the input in the first of ``s.rows`` in an open polytope, or so close to one that rounding may decide?"""
    h, z, layers, largest = s.rows[0, 0], s.rows[1, 0], net.shape.shape[1] - 1, 1.0
    for k in range(layers):
        push_forward(net, k, h, z)
        for j in range(net.shape[WIDTH, k + 1]):
            largest = max(largest, abs(z[j]))
            if k < layers - 1:
                z[j] = activation_value(net.shape[KIND, k], net.activation[ALPHA, k], z[j])
        # the third block is what the first two make of the point, not what its own rows say
        fill_differences(net, k, z)
        h, z = z, h
    for item in range(asked.first[i], asked.first[i + 1]):
        if left.closed[item]:
            continue
        polytope, margin = asked.polytope[item], -np.inf
        for r in range(asked.a.shape[1]):
            value = -asked.b[polytope, r]
            for j in range(net.shape[WIDTH, layers]):
                value += asked.a[polytope, r, j] * h[j]
            margin = max(margin, value)
        # so written that NaN is near
        if not margin > _NEAR * largest:
            return True
    return False
