"""Rows through affine maps and lines, backwards and forwards, for one box."""

from __future__ import annotations

from typing import Any

import numpy as np

from birdnn.bounds.compiled.compiler import compiled, inlined
from birdnn.bounds.compiled.lines import copy, execution_error, is_free, largest_value
from birdnn.bounds.compiled.pairs import find_gap_reach
from birdnn.bounds.compiled.state import (
    ABOVE,
    ABOVE_OFFSET,
    ALPHA,
    AT,
    BELOW,
    BELOW_OFFSET,
    BIAS,
    CENTRE,
    EXECUTED,
    FACTOR,
    KIND,
    LARGE,
    LARGEST,
    LEAKY_RELU,
    LOW,
    LOW2,
    LOW2_OFFSET,
    LOW_OFFSET,
    LOW_WEIGHT,
    PAIR,
    PASSED,
    PEAK,
    RADIUS,
    REACH,
    RELU,
    ROW,
    SMALLEST_SUM,
    START,
    TERMS,
    TERMS_BIAS,
    UP,
    UP2,
    UP2_OFFSET,
    UP_OFFSET,
    UP_WEIGHT,
    WEIGHT,
    WIDTH,
    Floats,
    Net,
    Scratch,
)
from birdnn.rounding import FLOAT64


@compiled
def _between(one: float, other: float, weight: float) -> float:
    """A convex combination, which rounding does not put outside: of two slopes from 1 to 1e20 it is one, too."""
    mixed = one + weight * (other - one) if weight < 0.5 else other - (1 - weight) * (other - one)
    return min(max(mixed, min(one, other)), max(one, other))


@compiled
def choose_lines(net: Net, k: int, s: Scratch) -> None:
    """The lines that the weights of a layer choose, packed; see `birdnn.bounds.slopes`."""
    for j in range(net.shape[ROW, k], net.shape[ROW, k + 1]):
        choose_line(s.neuron, j, s.slack[j])


@inlined
def choose_line(n: Floats, j: int, slack: float) -> None:
    """Those of one neuron, whose pre-activation errs by ``slack``; ``n`` is `Scratch.neuron`."""
    # a line passes the slack on by its slope: away from the function on either side
    slope = _between(n[LOW, j], n[LOW2, j], n[LOW_WEIGHT, j])
    offset = _between(n[LOW_OFFSET, j], n[LOW2_OFFSET, j], n[LOW_WEIGHT, j])
    n[BELOW, j], n[BELOW_OFFSET, j] = slope, offset - abs(slope) * slack
    slope = _between(n[UP, j], n[UP2, j], n[UP_WEIGHT, j])
    offset = _between(n[UP_OFFSET, j], n[UP2_OFFSET, j], n[UP_WEIGHT, j])
    n[ABOVE, j], n[ABOVE_OFFSET, j] = slope, offset + abs(slope) * slack


@compiled
def default_lines(net: Net, k: int, s: Scratch) -> None:
    """Those that are taken before any step."""
    reset_lines(net.shape[ROW, k], net.shape[ROW, k + 1], s)


@compiled
def reset_lines(begin: int, end: int, s: Scratch) -> None:
    """The same for some neurons, counted over all layers."""
    for j in range(begin, end):
        s.neuron[LOW_WEIGHT, j] = s.neuron[UP_WEIGHT, j] = s.neuron[START, j]
        choose_line(s.neuron, j, s.slack[j])


@inlined
def step_line_weight(n: Floats, j: int, z: float, size: float) -> float:
    """One signed step of the weight of the line that a row met, by what it is at pre-activation ``z``; that line there.

    The line stays as it was until it is chosen anew.
    """
    row = n[PASSED, j]
    if row < 0:
        gap = (n[UP2, j] - n[UP, j]) * z + n[UP2_OFFSET, j] - n[UP_OFFSET, j]
        # down, as a negative row wants the upper line low
        n[UP_WEIGHT, j] = round_weight(n[UP_WEIGHT, j] - size * np.sign(gap))
        return float(z * n[ABOVE, j] + n[ABOVE_OFFSET, j])
    if row > 0:
        gap = (n[LOW2, j] - n[LOW, j]) * z + n[LOW2_OFFSET, j] - n[LOW_OFFSET, j]
        n[LOW_WEIGHT, j] = round_weight(n[LOW_WEIGHT, j] + size * np.sign(gap))
    return float(z * n[BELOW, j] + n[BELOW_OFFSET, j])


@compiled
def round_weight(weight: float) -> float:
    """In 0..1, as a multiple of 2**-12: a number that float32 holds, for certificates."""
    return float(np.rint(min(max(weight, 0.0), 1.0) * 4096) / 4096)


@compiled
def make_storable(net: Net, k: int, s: Scratch) -> None:
    """Give the lines that were mixed slopes that float32 holds, moved away from the function by what that costs.

    Lines through zero need not move: a rounded slope lies between the same two slopes, which float32 holds.
    """
    kind, alpha = net.shape[KIND, k], net.activation[ALPHA, k]
    if kind == RELU:
        return  # its slopes are multiples of 2**-12
    n = s.neuron
    for j in range(net.shape[ROW, k], net.shape[ROW, k + 1]):
        # of a LeakyReLU only what the slack was multiplied with: its line goes through zero, see above
        far = s.slack[j] if kind == LEAKY_RELU else n[LARGE, j] + s.slack[j]
        if is_free(kind, alpha, LOW):
            rounded = float(np.float32(n[BELOW, j]))
            n[BELOW_OFFSET, j] -= abs(rounded - n[BELOW, j]) * far
            n[BELOW, j] = rounded
        if is_free(kind, alpha, UP):
            rounded = float(np.float32(n[ABOVE, j]))
            n[ABOVE_OFFSET, j] += abs(rounded - n[ABOVE, j]) * far
            n[ABOVE, j] = rounded


@compiled
def take_lines(lines: Floats, row: Floats) -> float:
    """A row on activations to one on what they read, in place, and the constant that their lines add.

    Args:
        lines: the part of `Scratch.neuron` that is about them; holds then what the row was on each.
        row: its entries, or more.
    """
    total = 0.0
    for i in range(lines.shape[1]):  # one line or the other: what lies between two of different size is no line
        lines[PASSED, i] = row[i]
        negative = row[i] < 0
        total += row[i] * (lines[ABOVE_OFFSET, i] if negative else lines[BELOW_OFFSET, i])
        row[i] *= lines[ABOVE, i] if negative else lines[BELOW, i]
    return total


@compiled
def push_back(net: Net, k: int, count: int, s: Scratch) -> None:
    """Rows on activation ``k``, the first ``count`` of ``s.rows``, to rows on the inputs, in place.

    What the first of them is on each activation stays in ``s.neuron``.
    """
    # two buffers in turn: nothing is allocated
    rows, more = s.rows[0], s.rows[1]
    for layer in range(k, -1, -1):
        n, m, first = net.shape[WIDTH, layer + 1], net.shape[WIDTH, layer], net.shape[ROW, layer]
        lines = s.neuron[:, first : first + n]
        bias = net.bias[BIAS, first : first + n]
        # the first row comes last: it is the one whose slopes are optimised and recorded
        for r in range(count - 1, -1, -1):
            row = rows[r]
            total = take_lines(lines, row)
            for i in range(n):
                total += row[i] * bias[i]
            s.constant[r] += total
            for j in range(m):
                more[r, j] = 0.0
        _multiply_layer(net, layer, count, rows, more, s)
        rows, more = more, rows
    if k % 2 == 0:  # the result lies in the other buffer
        for r in range(count):
            copy(s.rows[1, r], s.rows[0, r], net.shape[WIDTH, 0])


@compiled
def _multiply_layer(net: Net, k: int, count: int, rows: Floats, out: Floats, s: Scratch) -> None:
    """Add rows times the layer's matrix to ``out``."""
    n, m = net.shape[PAIR, k], net.shape[PAIR, k - 1] if k > 0 else 0
    if n == 0 or m == 0:
        _multiply_block(net, k, count, rows, out, s, (0, net.shape[WIDTH, k + 1], 0, net.shape[WIDTH, k]))
        return
    _multiply_block(net, k, count, rows, out, s, (0, n, 0, m))
    if net.shape[WIDTH, k + 1] == 2 * n:  # slopes read slopes alone
        _multiply_block(net, k, count, rows, out, s, (n, 2 * n, m, 2 * m))
        return
    # A reads A, B reads B, and the difference reads A and the difference
    _multiply_block(net, k, count, rows, out, s, (n, 2 * n, m, 2 * m))
    _multiply_block(net, k, count, rows, out, s, (2 * n, 3 * n, 0, m))
    _multiply_block(net, k, count, rows, out, s, (2 * n, 3 * n, 2 * m, 3 * m))


@compiled
def _multiply_block(net: Net, k: int, count: int, rows: Floats, out: Floats, s: Scratch, block: Any) -> None:
    """Of the matrix the rows ``block[0] <= i < block[1]`` and the columns ``block[2] <= j < block[3]``: four entries of
    the rows at a time, without those that are zero."""
    n, m, first = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[ROW, k]
    weight = net.matrix[WEIGHT, net.shape[AT, k] : net.shape[AT, k] + n * m].reshape((n, m))
    begin, end, left, right = block
    active, used = s.active, 0
    for i in range(begin, end):
        # a neuron that is inactive on the box has passed nothing on, in any row
        if s.neuron[BELOW, first + i] != 0 or s.neuron[ABOVE, first + i] != 0:
            active[used] = i
            used += 1
    # each entry of the result is read and written once for four rows of the matrix
    fours = used - used % 4
    for p in range(0, fours, 4):
        i0, i1, i2, i3 = active[p], active[p + 1], active[p + 2], active[p + 3]
        w0, w1 = weight[i0, left:right], weight[i1, left:right]
        w2, w3 = weight[i2, left:right], weight[i3, left:right]
        for r in range(count):
            a0, a1, a2, a3, target = rows[r, i0], rows[r, i1], rows[r, i2], rows[r, i3], out[r, left:right]
            if a0 == 0 and a1 == 0 and a2 == 0 and a3 == 0:
                continue
            for j in range(right - left):
                target[j] += a0 * w0[j] + a1 * w1[j] + a2 * w2[j] + a3 * w3[j]
    for p in range(fours, used):
        i0, w0 = active[p], weight[active[p], left:right]
        for r in range(count):
            a0, target = rows[r, i0], out[r, left:right]
            for j in range(right - left):
                target[j] += a0 * w0[j]


@compiled
def least(net: Net, row: Floats, constant: float, s: Scratch) -> float:
    """Minimum of ``row @ x + constant`` over the box; minus infinity where that overflows."""
    total = constant - 4 * FLOAT64 * abs(constant)
    for j in range(net.shape[WIDTH, 0]):
        total += row[j] * s.place[CENTRE, j] - abs(row[j]) * s.place[RADIUS, j]
    total -= net.lost
    # so written that NaN, too, becomes minus infinity
    return total if abs(total) < np.inf else -np.inf


@compiled
def push_forward(net: Net, k: int, h: Floats, z: Floats) -> None:
    # an affine map at a point: it guides steps and looks for counterexamples, and pays for no rounding
    n, m, at = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[AT, k]
    for i in range(n):
        weight = net.matrix[WEIGHT, at + i * m : at + (i + 1) * m]
        total = net.bias[BIAS, net.shape[ROW, k] + i]
        for j in range(m):
            total += weight[j] * h[j]
        z[i] = total


@compiled
def find_slack(net: Net, k: int, s: Scratch) -> bool:
    """How far each result of a layer may lie from the exact one; is that finite everywhere?"""
    n, m, at, first = net.shape[WIDTH, k + 1], net.shape[WIDTH, k], net.shape[AT, k], net.shape[ROW, k]
    most = 0.0
    for j in range(m):
        most = max(most, s.place[REACH, j])
    elsewhere = net.linear and k == net.shape.shape[1] - 2  # there it is part of the rows, see `start` in `step.py`
    factor = net.layer[FACTOR, k] + (0.0 if elsewhere else net.layer[EXECUTED, k])
    sound = net.layer[PEAK, k] * max(1.0, most) < net.layer[LARGEST, k]
    for i in range(n):
        terms = net.matrix[TERMS, at + i * m : at + (i + 1) * m]
        total = net.bias[TERMS_BIAS, first + i]
        for j in range(m):
            total += terms[j] * s.place[REACH, j]
        s.slack[first + i] = factor * total + net.layer[SMALLEST_SUM, k] * (1 + most)
        # so written that NaN is not sound
        sound = sound and total < net.layer[LARGEST, k] and s.slack[first + i] < np.inf
    return bool(sound)


@compiled
def find_reach(net: Net, k: int, low: Floats, up: Floats, s: Scratch) -> None:
    """Bounds of the absolute values of activation ``k``: they are largest at an end."""
    first, gaps = net.shape[ROW, k], net.shape[PAIR, k]
    find_gap_reach(net, k, low, up, s)
    for j in range(net.shape[WIDTH, k + 1] - gaps):
        lower, upper = low[first + j], up[first + j]
        s.place[REACH, j] = largest_value(net, k, lower, upper) + execution_error(net, k, lower, upper)
