"""The bounds of one box after another: inner neurons, then each item, by better and better lines; what they leave.

A box on which anything overflows is given up as a whole: minus infinity for each of its items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdnn.bounds.compiled.branch import find_left, flow_through_lines, flow_through_weights, proved
from birdnn.bounds.compiled.compiler import compiled, entrance
from birdnn.bounds.compiled.lines import copy, fill, find_lines, is_free
from birdnn.bounds.compiled.losses import add_losses, find_losses, forget_losses
from birdnn.bounds.compiled.pairs import find_gap_lines, is_fixed, network_neurons, tighten_blocks
from birdnn.bounds.compiled.rows import (
    choose_lines,
    default_lines,
    find_reach,
    find_slack,
    least,
    make_storable,
    push_back,
    push_forward,
    step_line_weight,
)
from birdnn.bounds.compiled.signs import decide_signs
from birdnn.bounds.compiled.state import (
    ABOVE,
    ALPHA,
    AT,
    BELOW,
    BIAS,
    BLOCK,
    CENTRE,
    ELU,
    EXECUTED,
    KIND,
    LEAKY_RELU,
    LOW,
    LOW2,
    MARGIN,
    MULTIPLIER,
    PAIR,
    PASSED,
    PLANE,
    RADIUS,
    REACH,
    RELU,
    ROW,
    TERMS,
    TERMS_BIAS,
    UP,
    UP2,
    WEIGHT,
    WIDTH,
    Asked,
    Effort,
    Floats,
    Found,
    Left,
    Net,
    Scratch,
)
from birdnn.rounding import COUNTED_ROWS, FLOAT64, SUM_ROUNDINGS

_SETTLED = 2.0**-20
"""Of what a plane varies by over its box: by so much an item must be proved before its slopes are left alone."""


@entrance
def bound(net: Net, asked: Asked, found: Found, left: Left, effort: Effort, s: Scratch, part: Any, stop: Any) -> None:
    """Bound the boxes ``part[0] <= i < part[1]``, and say what is left of them.

    Leaves off, with results of no meaning, once ``stop[0]`` is set.
    """
    neurons = found.known.shape[1] // 2
    for i in range(part[0], part[1]):
        if stop[0]:
            return
        # the results' own copy is tightened in place: `inherited` stays what it was
        copy(asked.inherited[i], found.known[i], 2 * neurons)
        measure_box(asked, i, s)
        # once for all items of the box: these bounds do not depend on the rows
        sound = _inner_bounds(net, found.known[i, :neurons], found.known[i, neurons:], effort, s, stop)
        forget_losses(s)
        for item in range(asked.first[i], asked.first[i + 1]):
            if sound:
                _bound_item(net, asked, found, effort, s, item)
            else:
                _give_up(found, item)
            _keep_apart(found, effort, item)
            if sound and not proved(found.lower[item], asked.closed[asked.polytope[item]], 0.0, 0.0):
                add_losses(s)
        find_left(net, asked, found, left, i, sound, s)


@compiled
def _give_up(found: Found, item: int) -> None:
    """Nothing is known."""
    found.lower[item] = -np.inf
    fill(found.minimum[item], -np.inf)
    for p in range(found.plane.shape[1]):
        fill(found.plane[item, p], 0.0)
    if len(found.multipliers):
        fill(found.multipliers[item], 0.0)
        found.multipliers[item, 0] = 1.0
        fill(found.slopes[item], np.nan)


@compiled
def _keep_apart(found: Found, effort: Effort, item: int) -> None:
    """What the checker would not close is no proof that can be handed over, and its planes may lie lower."""
    for p in range(found.minimum.shape[1]):
        found.minimum[item, p] -= effort.apart
    if len(found.multipliers):
        found.lower[item] -= effort.apart


@entrance
def sensitivity(net: Net, open_rows: Floats, inherited: Floats, s: Scratch, out: Floats) -> None:
    """Absolute rows, (boxes, outputs), multiplied through the steepest upper lines: (boxes, inputs) in ``out``."""
    layers, neurons = net.shape.shape[1] - 1, inherited.shape[1] // 2
    for i in range(len(open_rows)):
        flow, more = s.rows[0, 0], s.rows[0, 1]
        copy(open_rows[i], flow, net.shape[WIDTH, layers])
        for k in range(layers - 1, -1, -1):
            if k < layers - 1:
                # lines of the inherited bounds, whatever they are: nothing is proved here
                find_lines(net, k, inherited[i, :neurons], inherited[i, neurons:], s)
                find_gap_lines(net, k, inherited[i, :neurons], inherited[i, neurons:], s)
                flow_through_lines(net, k, flow, s)
            flow_through_weights(net, k, flow, more)
            flow, more = more, flow
        copy(flow, out[i], net.shape[WIDTH, 0])


@compiled
def measure_box(asked: Asked, i: int, s: Scratch) -> None:
    """Centre, half widths with what rounding can hide, and absolute values of a box."""
    n = asked.lower.shape[1]
    for d in range(n):
        lower, upper = asked.lower[i, d], asked.upper[i, d]
        s.place[CENTRE, d] = lower + (upper - lower) / 2
        s.place[REACH, d] = max(abs(lower), abs(upper))
        s.place[RADIUS, d] = (upper - lower) / 2 + (SUM_ROUNDINGS + 2 * n) * FLOAT64 * s.place[REACH, d]


@compiled
def _inner_bounds(net: Net, low: Floats, up: Floats, effort: Effort, s: Scratch, stop: Any) -> bool:
    """Tighten the bounds of all hidden neurons, layer by layer; lines and slacks are ready behind. Is all finite?"""
    layers = net.shape.shape[1] - 1
    for k in range(layers - 1):
        if not find_slack(net, k, s):
            return False
        for j in range(net.shape[ROW, k], net.shape[ROW, k + 1]):
            fill(s.depends[j], 0.0)
        if k == 0:
            _first_layer(net, low, up, s)
            tighten_blocks(net, k, low, up)
        elif net.shape[PAIR, k] == 0:
            _tighten_networks(net, k, low, up, effort, s, stop)
        else:
            _tighten_pair(net, k, low, up, effort, s, stop)
        for j in range(net.shape[ROW, k], net.shape[ROW, k + 1]):
            if not (abs(low[j]) < np.inf and abs(up[j]) < np.inf):
                return False
        find_lines(net, k, low, up, s)
        find_gap_lines(net, k, low, up, s)
        default_lines(net, k, s)
        find_reach(net, k, low, up, s)
    return find_slack(net, layers - 1, s)


@compiled
def _first_layer(net: Net, low: Floats, up: Floats, s: Scratch) -> None:
    n, m = net.shape[WIDTH, 1], net.shape[WIDTH, 0]
    for i in range(n):
        weight = net.matrix[WEIGHT, i * m : (i + 1) * m]
        # on a box the first map is bounded exactly, all neurons alike
        middle, spread = net.bias[BIAS, i], s.slack[i] + net.lost
        for j in range(m):
            middle += weight[j] * s.place[CENTRE, j]
        for j in range(m):
            spread += abs(weight[j]) * s.place[RADIUS, j]
        for j in range(s.depends.shape[1]):
            s.depends[i, j] = abs(weight[j])
        # what `max` and `min` make of NaN depends on the order of their arguments
        if abs(middle) < np.inf and spread < np.inf:
            low[i] = max(low[i], middle - spread)
            up[i] = min(up[i], middle + spread)


@compiled
def _find_needed(net: Net, k: int, low: Floats, up: Floats, s: Scratch, begin: int, end: int) -> int:
    """How many of the neurons ``begin <= j < end`` of a layer have an activation that is not yet linear; which ones."""
    first, kind, count = net.shape[ROW, k], net.shape[KIND, k], 0
    for j in range(begin, end):
        lower, upper = low[first + j], up[first + j]
        until = 0.0 if kind in (RELU, LEAKY_RELU, ELU) else upper  # see `birdnn.bounds.rules.is_bent`
        if lower < until and (upper > 0 or kind not in (RELU, LEAKY_RELU)):
            s.needed[count] = j
            count += 1
    return count


@compiled
def _tighten_networks(net: Net, k: int, low: Floats, up: Floats, effort: Effort, s: Scratch, stop: Any) -> None:
    """By default lines, then those of open signs by better ones."""
    count = _find_needed(net, k, low, up, s, 0, network_neurons(net, k))
    _tighten_neurons(net, k, count, low, up, s, stop)
    tighten_blocks(net, k, low, up)
    if effort.inner > 0:
        decide_signs(net, k, count, low, up, effort, s, stop)
        tighten_blocks(net, k, low, up)


@compiled
def _tighten_pair(net: Net, k: int, low: Floats, up: Floats, effort: Effort, s: Scratch, stop: Any) -> None:
    """Networks first: where they say what multiple a difference is, it need not be bounded."""
    n, first = net.shape[PAIR, k], network_neurons(net, k)
    _tighten_networks(net, k, low, up, effort, s, stop)
    count = 0
    for j in range(n):
        d = net.shape[ROW, k] + first + j
        if not (is_fixed(net, k, low, up, j) and abs(low[d]) < np.inf and abs(up[d]) < np.inf):
            s.needed[count] = first + j
            count += 1
    _tighten_neurons(net, k, count, low, up, s, stop)
    tighten_blocks(net, k, low, up)


@compiled
def _tighten_neurons(net: Net, k: int, count: int, low: Floats, up: Floats, s: Scratch, stop: Any) -> None:
    """Bound the first ``count`` of the neurons that are needed: two rows each, a few neurons together."""
    m, at, first = net.shape[WIDTH, k], net.shape[AT, k], net.shape[ROW, k]
    for begin in range(0, count, BLOCK // 2):
        # within a box, too: time may be over long before a wide layer is
        if stop[0]:
            return
        # two rows for each neuron, and `BLOCK` rows of room
        together = min(BLOCK // 2, count - begin)
        for r in range(together):
            j = s.needed[begin + r]
            weight = net.matrix[WEIGHT, at + j * m : at + (j + 1) * m]
            for x in range(m):
                s.rows[0, 2 * r, x] = weight[x]
                s.rows[0, 2 * r + 1, x] = -weight[x]
            s.constant[2 * r] = net.bias[BIAS, first + j] - s.slack[first + j]
            s.constant[2 * r + 1] = -net.bias[BIAS, first + j] - s.slack[first + j]
        push_back(net, k - 1, 2 * together, s)
        for r in range(together):
            j = first + s.needed[begin + r]
            low[j] = max(low[j], least(net, s.rows[0, 2 * r], s.constant[2 * r], s))
            up[j] = min(up[j], -least(net, s.rows[0, 2 * r + 1], s.constant[2 * r + 1], s))
            for d in range(s.depends.shape[1]):
                s.depends[j, d] = abs(s.rows[0, 2 * r, d]) + abs(s.rows[0, 2 * r + 1, d])


@compiled
def _bound_item(net: Net, asked: Asked, found: Found, effort: Effort, s: Scratch, item: int) -> None:
    """Single rows by default lines, then the best combination of them by better lines."""
    polytope = asked.polytope[item]
    a, b = asked.a[polytope], asked.b[polytope]
    n_rows, layers, n_inputs = len(b), net.shape.shape[1] - 1, net.shape[WIDTH, 0]
    last = found.plane.shape[1] - 1
    for k in range(layers - 1):
        # the item before has left its own choices
        default_lines(net, k, s)
    best, chosen = -np.inf, 0
    for begin in range(0, n_rows, BLOCK):
        together = min(BLOCK, n_rows - begin)
        for r in range(together):
            fill(s.combined[MULTIPLIER], 0.0)
            s.combined[MULTIPLIER, begin + r] = 1.0
            start(net, a, b, s, r)
        push_back(net, layers - 2, together, s)
        for r in range(together):
            minimum = least(net, s.rows[0, r], s.constant[r], s)
            copy(s.rows[0, r], found.plane[item, begin + r], n_inputs)
            found.minimum[item, begin + r] = minimum
            if minimum > best:
                best, chosen = minimum, begin + r
    # with one row its plane is the last one already
    if n_rows > 1:
        copy(found.plane[item, chosen], found.plane[item, last], n_inputs)
    fill(s.combined[MULTIPLIER], 0.0)
    s.combined[MULTIPLIER, chosen] = 1.0
    if len(found.multipliers):
        copy(s.combined[MULTIPLIER], found.multipliers[item], n_rows)
        # default lines, as the single rows have: `_ascend` puts down others where these are better
        fill(found.slopes[item], np.nan)
    found.lower[item] = best
    apart = effort.apart if len(found.multipliers) else 0.0
    if layers > 1 and effort.steps > 0 and not proved(best, asked.closed[polytope], apart, 0.0):
        _ascend(net, asked, found, effort, s, item)
    found.minimum[item, last] = found.lower[item]


@compiled
def start(net: Net, a: Floats, b: Floats, s: Scratch, place: int) -> None:
    """The rows of a polytope, weighed, as row ``place`` on the last activation: `_FinalRows._start_rows` of crown."""
    layers = net.shape.shape[1] - 1
    k = layers - 1
    n, m, at, first = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[AT, k], net.shape[ROW, k]
    # the other buffer is free until rows are pushed
    row, error = s.rows[0, place], s.rows[1, 0]
    for j in range(m):
        row[j] = error[j] = 0.0
    # sums of more rows than `SUM_ROUNDINGS` has room for are paid for as many times
    constant, many = 0.0, max(1.0, len(b) / COUNTED_ROWS)
    for r in range(len(b)):
        if not s.combined[MULTIPLIER, r] >= 0:
            constant = -np.inf  # a combination of this kind proves nothing
        if s.combined[MULTIPLIER, r] != 0:
            bound, rounding = s.combined[MULTIPLIER, r] * b[r], many * SUM_ROUNDINGS * layers * FLOAT64
            constant -= bound + abs(bound) * rounding
    for i in range(n):
        value, size = 0.0, 0.0
        for r in range(len(b)):
            value += s.combined[MULTIPLIER, r] * a[r, i]
            size += s.combined[MULTIPLIER, r] * abs(a[r, i])
        # an output that no row reads may have infinite slack, and zero times that is NaN
        if size == 0:
            continue
        constant += value * net.bias[BIAS, first + i] - many * size * s.slack[first + i]
        weight = net.matrix[WEIGHT, at + i * m : at + (i + 1) * m]
        for j in range(m):
            row[j] += value * weight[j]
        if net.linear:
            constant -= net.layer[EXECUTED, k] * size * net.bias[TERMS_BIAS, first + i]
            terms = net.matrix[TERMS, at + i * m : at + (i + 1) * m]
            for j in range(m):
                error[j] += size * terms[j]
    if net.linear:
        for j in range(m):
            row[j] -= net.layer[EXECUTED, k] * error[j]
    s.constant[place] = constant


@compiled
def _ascend(net: Net, asked: Asked, found: Found, effort: Effort, s: Scratch, item: int) -> None:
    """Signed-gradient ascent on slopes and multipliers: see `_FinalRows._ascend`."""
    polytope = asked.polytope[item]
    a, b, closed = asked.a[polytope], asked.b[polytope], asked.closed[polytope]
    layers, n_inputs, record = net.shape.shape[1] - 1, net.shape[WIDTH, 0], len(found.multipliers) > 0
    last, size, apart = found.plane.shape[1] - 1, effort.step_size, effort.apart if record else 0.0
    older = before = now = found.lower[item]  # two and one step ago, and now
    for step in range(effort.steps + 1):
        for k in range(layers - 1):
            choose_lines(net, k, s)
            if record:
                make_storable(net, k, s)
        start(net, a, b, s, 0)
        push_back(net, layers - 2, 1, s)
        minimum = least(net, s.rows[0, 0], s.constant[0], s)
        copy(s.rows[0, 0], s.place[PLANE], n_inputs)
        if minimum > found.lower[item]:
            found.lower[item] = minimum
            copy(s.place[PLANE], found.plane[item, last], n_inputs)
            if record:
                copy(s.combined[MULTIPLIER], found.multipliers[item], len(b))
                _slopes_used(net, s, found.slopes[item])
        # by the last three steps: by the last two it cost twice as many boxes
        if step > 2 and found.lower[item] + effort.hope * (found.lower[item] - older) < 0:
            return
        older, before, now = before, now, found.lower[item]
        room = 0.0
        for j in range(n_inputs):
            room += abs(s.place[PLANE, j]) * s.place[RADIUS, j]
        if step == effort.steps or proved(found.lower[item], closed, apart, _SETTLED * room):
            return
        h, z = s.rows[0, 0], s.rows[1, 0]
        for j in range(n_inputs):
            # the derivative of a minimum is that where it is attained (Danskin): one pass forward gives all of them
            h[j] = s.place[CENTRE, j] - np.sign(s.place[PLANE, j]) * s.place[RADIUS, j]
        for k in range(layers):
            push_forward(net, k, h, z)
            if k < layers - 1:
                find_losses(net, k, z, s)
                _step_line_weights(net, k, z, s, size)
                h, z = z, h
        if len(b) > 1:
            # half the step of slopes, as in the reference
            _weigh(a, b, z, s, size / 2)
        size *= effort.decay


@compiled
def _step_line_weights(net: Net, k: int, z: Floats, s: Scratch, size: float) -> None:
    """One signed step of the line weights of a layer, and ``z`` through the lines that were taken, in place."""
    for i in range(net.shape[WIDTH, k + 1]):
        z[i] = step_line_weight(s.neuron, net.shape[ROW, k] + i, z[i], size)


@compiled
def _weigh(a: Floats, b: Floats, y: Floats, s: Scratch, size: float) -> None:
    """Move the multipliers towards the rows with the larger margins, within the simplex."""
    n_rows = len(b)
    mean, most, total = 0.0, 1e-12, 0.0
    for r in range(n_rows):
        s.combined[MARGIN, r] = -b[r]
        for i in range(a.shape[1]):
            s.combined[MARGIN, r] += a[r, i] * y[i]
        mean += s.combined[MARGIN, r] / n_rows
    for r in range(n_rows):
        most = max(most, abs(s.combined[MARGIN, r] - mean))
    for r in range(n_rows):
        s.combined[MULTIPLIER, r] = max(0.0, s.combined[MULTIPLIER, r] + size * (s.combined[MARGIN, r] - mean) / most)
        total += s.combined[MULTIPLIER, r]
    for r in range(n_rows):
        s.combined[MULTIPLIER, r] /= total
    settle(s.combined[MULTIPLIER], n_rows)


@compiled
def settle(multiplier: Floats, rows: int) -> None:
    """Multipliers of about sum 1, in place, as multiples of 2**-12 of sum 1: rounded down, so that none is negative
    when the largest one takes what is left."""
    largest, left = 0, 1.0
    for r in range(rows):
        multiplier[r] = np.floor(min(max(multiplier[r], 0.0), 1.0) * 4096) / 4096
        left -= multiplier[r]
        if multiplier[r] > multiplier[largest]:
            largest = r
    multiplier[largest] += left


@compiled
def _slopes_used(net: Net, s: Scratch, out: NDArray[np.float32]) -> None:
    """The slope of the line that each row took; NaN where there was no choice: see `birdnn.bounds.slopes`."""
    for k in range(net.shape.shape[1] - 2):
        kind, alpha = net.shape[KIND, k], net.activation[ALPHA, k]
        free_below, free_above = is_free(kind, alpha, LOW), is_free(kind, alpha, UP)
        for j in range(net.shape[ROW, k], net.shape[ROW, k + 1]):
            low, up = s.neuron[BELOW, j], s.neuron[ABOVE, j]
            straight = s.neuron[LOW, j] == s.neuron[LOW2, j] and s.neuron[UP, j] == s.neuron[UP2, j] and low == up
            taken = np.nan
            if not straight:
                if s.neuron[PASSED, j] > 0 and free_below:
                    taken = low
                elif s.neuron[PASSED, j] < 0 and free_above:
                    taken = up
            out[j] = taken
