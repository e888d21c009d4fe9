"""A box closed in place: what is left of it is split by the signs of neurons, not along its edges.

Where few neurons are undecided on a box all others are linear there, and the network is a small one, the *model*
(`birdnn.bounds.compiled.model`): a tree of signs is searched on it, depth first, for a few hundred multiplications a
step. This is beta-CROWN (Wang et al. 2021, arXiv:2103.06624): where ``side * z >= 0`` is known of a neuron, it is
linear, and ``c @ f - beta * side * z`` is at most ``c @ f`` for every multiplier ``beta >= 0``.

The model's rounding is nobody's concern. What it finds is a choice of signs, slopes and multipliers; with these each
leaf is bounded by one sound pass through all layers (`_leaf_bound`), and nothing else counts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from birdnn.bounds.compiled.branch import proved
from birdnn.bounds.compiled.compiler import compiled, entrance
from birdnn.bounds.compiled.lines import copy, execution_error, find_lines
from birdnn.bounds.compiled.model import ascend_model, choose_neuron, find_model
from birdnn.bounds.compiled.rows import (
    choose_lines,
    default_lines,
    find_reach,
    find_slack,
    least,
    make_storable,
    take_lines,
)
from birdnn.bounds.compiled.state import (
    ABOVE,
    ABOVE_OFFSET,
    AT,
    BELOW,
    BELOW_OFFSET,
    BETA,
    BIAS,
    LINE_WEIGHT,
    LOW_WEIGHT,
    MULTIPLIER,
    PASSED,
    RADIUS,
    ROW,
    SIDE,
    START,
    STEEP,
    TREE_LEAF,
    WEIGHT,
    WIDTH,
    Asked,
    Closed,
    Floats,
    Found,
    Net,
    Scratch,
    Tree,
)
from birdnn.bounds.compiled.step import measure_box, settle, start

_SETTLED = 2.0**-20
"""Of what a leaf's plane varies by over its box: by so much it must be proved, since a checker rounds differently."""

_HOPE = 2.0
"""A tree is left where a node would need so many times more levels below it, each gaining what the first one does, than
a full tree of the entries that are left has."""

_FINEST = 64.0
"""Parts of one, into which slopes are rounded at last."""

_CLEAR = 2.0**-20
"""Of a neuron's range: so far from its middle zero must be, that a checker takes the same default line."""


class Leaf(NamedTuple):
    """What a leaf is bounded with: the polytope's rows, the box's bounds of neurons, how many are undecided."""

    a: Floats
    b: Floats
    low: Floats
    up: Floats
    undecided: int


@entrance
def close(net: Net, asked: Asked, found: Found, s: Scratch, t: Tree, out: Closed, part: Any, stop: Any) -> None:
    """Search trees for the items ``part[0] <= i < part[1]`` of ``out``; ``part`` ends with steps and tried neurons.

    Bounds of items that are closed go to ``found.lower``. Leaves off once ``stop[0]`` is set.
    """
    layers, neurons = net.shape.shape[1] - 1, found.known.shape[1] // 2
    for i in range(part[0], part[1]):
        if stop[0]:
            return
        item, box = out.item[i], out.box[i]
        low, up = found.known[box, :neurons], found.known[box, neurons:]
        measure_box(asked, box, s)
        sound = True
        # lines and slacks are made anew: the loops bounded other boxes of the batch since
        for k in range(layers - 1):
            sound = find_slack(net, k, s) and sound
            find_lines(net, k, low, up, s)
            default_lines(net, k, s)
            find_reach(net, k, low, up, s)
        if not (find_slack(net, layers - 1, s) and sound):
            continue
        polytope = asked.polytope[item]
        a, b = asked.a[polytope], asked.b[polytope]
        leaf = Leaf(a, b, low, up, find_model(net, a, b, low, up, s, t))
        lower = _search_tree(net, leaf, s, t, out, i, part[2], part[3])
        if proved(lower, asked.closed[polytope], 0.0, 0.0):
            found.lower[item] = lower
        else:
            out.size[i] = 0


@compiled
def _search_tree(net: Net, leaf: Leaf, s: Scratch, t: Tree, out: Closed, i: int, steps: int, tried: int) -> float:
    """Tree ``i``: the bound of its worst leaf; minus infinity where it has too many nodes, or a leaf stays open."""
    inputs, rows, node = net.shape[WIDTH, 0], len(leaf.b), t.node
    for u in range(leaf.undecided):
        # the root of the tree: nothing is split, all lines are default ones
        node[SIDE, u] = node[BETA, u] = 0.0
        node[LINE_WEIGHT, u] = s.neuron[START, t.which[u]]
    for r in range(rows):
        s.combined[MULTIPLIER, r] = 1.0 / rows
    depth, nodes, leaves, worst = 0, 0, 0, np.inf
    while nodes + depth < out.neuron.shape[1]:  # each side that waits will be a leaf at least
        # the model decides where to look, `_leaf_bound` whether it is proved
        lower = ascend_model(inputs, leaf.undecided, steps, True, s, t)
        sure = _leaf_bound(net, leaf, depth, s, t, out, i, leaves) if lower > 0 else -np.inf
        if sure > 0:
            worst = min(worst, sure)
            out.neuron[i, nodes] = TREE_LEAF
            nodes, leaves = nodes + 1, leaves + 1
            # up, until a node's second side waits
            while depth > 0 and t.path[1, depth - 1] == 1:
                depth -= 1
                node[SIDE, t.path[0, depth]] = 0.0
            if depth == 0:
                out.size[i], out.undecided[i] = nodes, leaf.undecided
                copy(t.which, out.which[i], leaf.undecided)
                return worst
            t.path[1, depth - 1] = 1
            # the second side begins where the first one did, with what served the node above
            copy(t.kept[0, depth - 1], node[BETA], leaf.undecided)
            copy(t.kept[1, depth - 1], node[LINE_WEIGHT], leaf.undecided)
            copy(t.weights[depth - 1], s.combined[MULTIPLIER], rows)
            node[SIDE, t.path[0, depth - 1]] = 1.0
            continue
        u, levels = choose_neuron(inputs, leaf.undecided, tried, s, t)
        # entries that are left, but for one leaf of each side that waits
        waiting = out.neuron.shape[1] - nodes - depth
        if u < 0 or levels > _HOPE * math.log2(waiting):
            break
        out.neuron[i, nodes] = t.which[u]
        # before it is kept: neither side has a multiplier yet
        node[BETA, u] = 0.0
        copy(node[BETA], t.kept[0, depth], leaf.undecided)
        copy(node[LINE_WEIGHT], t.kept[1, depth], leaf.undecided)
        copy(s.combined[MULTIPLIER], t.weights[depth], rows)
        t.path[0, depth], t.path[1, depth] = u, 0
        node[SIDE, u] = -1.0
        nodes, depth = nodes + 1, depth + 1
    return -np.inf


@compiled
def _leaf_bound(net: Net, leaf: Leaf, depth: int, s: Scratch, t: Tree, out: Closed, i: int, number: int) -> float:
    """A bound of leaf ``number`` with what the model found, put into ``out``; not positive where rounding may tell.

    What it is made with is rounded first, so that the bound is one of the numbers that are kept; slopes as coarsely as
    proves the leaf, for they are most of a certificate.
    """
    settle(s.combined[MULTIPLIER], len(leaf.b))
    copy(s.combined[MULTIPLIER], out.multipliers[i, number], len(leaf.b))
    for d in range(depth):
        u = t.path[0, d]
        # rounded before the bound is made, so that the leaf holds for what the certificate says
        t.node[BETA, u] = out.beta[i, number, d] = _round_beta(t.node[BETA, u])
    sure, parts = -np.inf, 1.0
    while not sure > 0 and parts <= _FINEST:
        sure = _rounded_bound(net, leaf, depth, parts, s, t)
        parts *= 4
    n = s.neuron
    for u in range(leaf.undecided):
        j = t.which[u]
        # the default line goes by the end that is further from zero: so near a draw the checker may take the other one
        middle = abs(leaf.low[j] + leaf.up[j]) <= _CLEAR * (leaf.up[j] - leaf.low[j])
        default = n[LOW_WEIGHT, j] == n[START, j] and not middle
        chosen = t.node[SIDE, u] == 0 and n[PASSED, j] > 0 and not default
        out.slope[i, number, u] = n[BELOW, j] if chosen else np.nan
    return sure


@compiled
def _rounded_bound(net: Net, leaf: Leaf, depth: int, parts: float, s: Scratch, t: Tree) -> float:
    """`_leaf_bound` where the weights of second lines are so many parts of one."""
    for u in range(leaf.undecided):
        s.neuron[LOW_WEIGHT, t.which[u]] = np.rint(t.node[LINE_WEIGHT, u] * parts) / parts
    for k in range(net.shape.shape[1] - 2):
        choose_lines(net, k, s)
        make_storable(net, k, s)
    # last: sides take the place of whatever lines were chosen
    for d in range(depth):
        _take_side(net, leaf, t.path[0, d], s, t)
    start(net, leaf.a, leaf.b, s, 0)
    _push_back(net, leaf.undecided, s, t)
    spread = 0.0
    for d in range(net.shape[WIDTH, 0]):
        spread += abs(s.rows[0, 0, d]) * s.place[RADIUS, d]
    return least(net, s.rows[0, 0], s.constant[0], s) - _SETTLED * spread


@compiled
def _round_beta(beta: float) -> float:
    """About the same number, of 8 digits, and one that float32 holds."""
    if not 2.0**-100 < beta < 2.0**100:
        return 0.0
    mantissa, exponent = math.frexp(beta)
    return math.ldexp(np.rint(mantissa * 256), exponent - 8)


@compiled
def _take_side(net: Net, leaf: Leaf, u: int, s: Scratch, t: Tree) -> None:
    """The line that an activation is on a side of zero."""
    j, k = t.which[u], 0
    while net.shape[ROW, k + 1] <= j:
        k += 1
    slope = 1.0 if t.node[SIDE, u] > 0 else t.line[STEEP, u]
    wide = slope * s.slack[j] + execution_error(net, k, leaf.low[j], leaf.up[j])
    s.neuron[BELOW, j] = s.neuron[ABOVE, j] = slope
    s.neuron[BELOW_OFFSET, j], s.neuron[ABOVE_OFFSET, j] = -wide, wide


@compiled
def _push_back(net: Net, undecided: int, s: Scratch, t: Tree) -> None:
    """The first row to the inputs, as `birdnn.bounds.compiled.rows.push_back`, and the multipliers of sides on its way.

    The executed pre-activation lies within the slack of the one that the row meets: a multiplier pays that, beside
    what the row pays with its line, so that the rounding of their difference is paid for as well.
    """
    layers, u = net.shape.shape[1] - 1, undecided - 1
    row, more = s.rows[0, 0], s.rows[1, 0]
    for k in range(layers - 2, -1, -1):
        n, m, first, at = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[ROW, k], net.shape[AT, k]
        total = take_lines(s.neuron[:, first : first + n], row)
        while u >= 0 and t.which[u] >= first:
            row[t.which[u] - first] -= t.node[SIDE, u] * t.node[BETA, u]
            total -= t.node[BETA, u] * s.slack[t.which[u]]
            u -= 1
        weight = net.matrix[WEIGHT, at : at + n * m].reshape((n, m))
        for j in range(m):
            more[j] = 0.0
        for i in range(n):
            total += row[i] * net.bias[BIAS, first + i]
            value, source = row[i], weight[i]
            if value != 0:
                for j in range(m):
                    more[j] += value * source[j]
        s.constant[0] += total
        row, more = more, row
    if layers % 2 == 0:  # the result lies in the other buffer
        copy(s.rows[1, 0], s.rows[0, 0], net.shape[WIDTH, 0])
