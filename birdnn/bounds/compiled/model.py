"""The network on one box, as a function of its inputs and of the few activations that are undecided there.

Nothing here is proved: these numbers guide `birdnn.bounds.compiled.splits`, which bounds what they lead to.

Columns of a linear function are the constant, the inputs, the undecided activations from the first layer on, so that
those of a pre-activation end before its own activation.
"""

from __future__ import annotations

import math

import numpy as np

from birdnn.bounds.compiled.compiler import compiled
from birdnn.bounds.compiled.lines import copy, fill
from birdnn.bounds.compiled.state import (
    ALPHA,
    ARRIVED,
    AT,
    BEST_BETA,
    BEST_WEIGHT,
    BETA,
    BIAS,
    CENTRE,
    CHORD,
    KIND,
    LEAKY_RELU,
    LINE_WEIGHT,
    MULTIPLIER,
    OFFSET,
    RADIUS,
    ROW,
    SIDE,
    SLOPE,
    STEEP,
    WEIGHT,
    WIDTH,
    Floats,
    Net,
    Scratch,
    Tree,
    Z,
)

AIM = 2.0**-10
"""Of what a plane varies by over its box: by so much an item is to be proved, that rounding has room."""

_SIZE, _DECAY, _TRIAL = 0.25, 0.85, 3
"""Of the signed steps: the first one, and a factor. Steps by which a candidate is judged."""


@compiled
def find_model(net: Net, a: Floats, b: Floats, low: Floats, up: Floats, s: Scratch, t: Tree) -> int:
    """The model of the network on a box with these bounds of neurons; how many of them are undecided."""
    layers, inputs = net.shape.shape[1] - 1, net.shape[WIDTH, 0]
    now, then = t.hidden[0], t.hidden[1]
    active, used = 0, 0
    for k in range(layers):
        first, last = net.shape[ROW, k], k == layers - 1
        alpha = net.activation[ALPHA, k] if not last and net.shape[KIND, k] == LEAKY_RELU else 0.0
        some = 0
        for j in range(net.shape[WIDTH, k + 1]):
            below = not last and up[first + j] <= 0
            # what an inactive ReLU makes is zero, and no later row meets it
            if below and alpha == 0:
                continue
            s.needed[some] = j
            some += 1
            _pre_activation(net, k, j, active, 1 + inputs + used, now, then[j], s)
            if below:
                for c in range(1 + inputs + used):
                    then[j, c] *= alpha
            elif not last and low[first + j] < 0:
                # the activation is a variable of its own from here on; its pre-activation is kept to replace it
                copy(then[j], t.rows[used], then.shape[1])
                fill(then[j], 0.0)
                then[j, 1 + inputs + used] = 1.0
                lower, upper = low[first + j], up[first + j]
                t.which[used] = first + j
                t.line[STEEP, used], t.line[CHORD, used] = alpha, (upper - alpha * lower) / (upper - lower)
                t.line[OFFSET, used] = (alpha - 1) * lower * upper / (upper - lower)
                used += 1
        copy(s.needed, s.active, some)
        active = some
        now, then = then, now
    for r in range(len(b)):
        row = t.goal[r]
        fill(row, 0.0)
        for i in range(a.shape[1]):
            for c in range(1 + inputs + used):
                row[c] += a[r, i] * now[i, c]
        row[0] -= b[r]
    return used


@compiled
def _pre_activation(net: Net, k: int, j: int, active: int, columns: int, now: Floats, row: Floats, s: Scratch) -> None:
    """Row ``j`` of layer ``k``, from the inputs, or from the activations that are not zero."""
    m, at = net.shape[WIDTH, k], net.shape[AT, k]
    weight = net.matrix[WEIGHT, at + j * m : at + (j + 1) * m]
    fill(row, 0.0)
    row[0] = net.bias[BIAS, net.shape[ROW, k] + j]
    if k == 0:
        copy(weight, row[1:], m)
    for p in range(active):
        value, source = weight[s.active[p]], now[s.active[p]]
        for c in range(columns):
            row[c] += value * source[c]


@compiled
def _model_bound(inputs: int, used: int, s: Scratch, t: Tree) -> float:
    """What the model's lines, multipliers and sides bound the combination of the polytope's rows by; the minimiser."""
    rows = len(t.goal) - 2
    row, point, line, node = t.goal[rows], t.goal[rows + 1], t.line, t.node
    fill(row, 0.0)
    for r in range(rows):
        weight = s.combined[MULTIPLIER, r]
        for c in range(1 + inputs + used):
            row[c] += weight * t.goal[r, c]
    # backwards: what is put in an activation's place reads the inputs and earlier activations only
    for u in range(used - 1, -1, -1):
        value, side = row[1 + inputs + u], node[SIDE, u]
        line[ARRIVED, u] = value
        if side != 0:
            line[SLOPE, u] = 1.0 if side > 0 else line[STEEP, u]
        elif value < 0:
            line[SLOPE, u] = line[CHORD, u]
            row[0] += value * line[OFFSET, u]
        else:
            line[SLOPE, u] = line[STEEP, u] + node[LINE_WEIGHT, u] * (1 - line[STEEP, u])
        # on its side ``side * z`` is not negative, so that taking a multiple of it away leaves a lower bound
        value = value * line[SLOPE, u] - side * node[BETA, u]
        if value != 0:
            for c in range(1 + inputs + u):
                row[c] += value * t.rows[u, c]
    least = row[0]
    point[0] = 1.0
    for i in range(1, 1 + inputs):
        # where the bound is attained: `ascend_model` takes its derivatives there
        point[i] = s.place[CENTRE, i - 1] - np.sign(row[i]) * s.place[RADIUS, i - 1]
        least += row[i] * point[i]
    for u in range(used):
        z = 0.0
        for c in range(1 + inputs + u):
            z += t.rows[u, c] * point[c]
        line[Z, u] = z
        point[1 + inputs + u] = line[SLOPE, u] * z + _line_offset(u, t)
    return float(least)


@compiled
def _line_offset(u: int, t: Tree) -> float:
    """The offset of the line that was taken: only a chord has one."""
    return float(t.line[OFFSET, u]) if t.node[SIDE, u] == 0 and t.line[ARRIVED, u] < 0 else 0.0


@compiled
def ascend_model(inputs: int, used: int, steps: int, all_of_it: bool, s: Scratch, t: Tree) -> float:
    """Better multipliers of sides, and with ``all_of_it`` slopes and multipliers of rows; the best bound, in the model.

    The best ones found are those at hand in the end. Sides are moved by a Polyak step towards what proves the item,
    everything else by signed steps, as in `birdnn.bounds.crown`.
    """
    node, line, rows = t.node, t.line, len(t.goal) - 2
    best, size = -np.inf, _SIZE
    for step in range(steps + 1):
        lower = _model_bound(inputs, used, s, t)
        # also where the first one is minus infinity or NaN: something has to be at hand
        if step == 0 or lower > best:
            best = lower
            copy(node[BETA], node[BEST_BETA], used)
            copy(node[LINE_WEIGHT], node[BEST_WEIGHT], used)
            copy(s.combined[MULTIPLIER], t.weights[-2], rows)
        spread, norm = 0.0, 0.0
        for i in range(inputs):
            spread += abs(t.goal[rows, 1 + i]) * s.place[RADIUS, i]
        # enough for a proof that leaves room for rounding; more is of no use
        if best > AIM * spread or step == steps:
            break
        for u in range(used):
            gradient = -node[SIDE, u] * line[Z, u]
            # a multiplier at zero that would fall stays, and takes no part in the length of the step
            if gradient > 0 or node[BETA, u] > 0:
                norm += gradient * gradient
        for u in range(used):
            gradient = -node[SIDE, u] * line[Z, u]
            if norm > 0 and (gradient > 0 or node[BETA, u] > 0):
                # a little more than the proof needs, as if the bound were linear
                node[BETA, u] = max(0.0, node[BETA, u] + (2 * AIM * spread - lower) / norm * gradient)
            elif all_of_it and node[SIDE, u] == 0 and line[ARRIVED, u] > 0:
                moved = node[LINE_WEIGHT, u] + size * np.sign(line[Z, u])
                node[LINE_WEIGHT, u] = min(max(moved, 0.0), 1.0)
        if all_of_it and rows > 1:
            # half as far as slopes, as in the reference
            _weigh(1 + inputs + used, size / 2, s, t)
        size *= _DECAY
    copy(node[BEST_BETA], node[BETA], used)
    copy(node[BEST_WEIGHT], node[LINE_WEIGHT], used)
    copy(t.weights[-2], s.combined[MULTIPLIER], rows)
    return best


@compiled
def _weigh(columns: int, size: float, s: Scratch, t: Tree) -> None:
    """Move the multipliers of rows towards those with the larger margins at the minimiser, within the simplex."""
    rows = len(t.goal) - 2
    margin, multiplier, point = t.weights[-1], s.combined[MULTIPLIER], t.goal[rows + 1]
    mean, most, total = 0.0, 1e-12, 0.0
    for r in range(rows):
        margin[r] = 0.0
        for c in range(columns):
            margin[r] += t.goal[r, c] * point[c]
        mean += margin[r] / rows
    for r in range(rows):
        most = max(most, abs(margin[r] - mean))
    for r in range(rows):
        multiplier[r] = max(0.0, multiplier[r] + size * (margin[r] - mean) / most)
        total += multiplier[r]
    for r in range(rows):
        multiplier[r] /= total


@compiled
def _value_at_minimiser(inputs: int, used: int, s: Scratch, t: Tree) -> float:
    """What the combination, less multipliers of sides, is at the minimiser, whose activations are made exact."""
    rows, node = len(t.goal) - 2, t.node
    point, value = t.goal[rows + 1], 0.0
    for u in range(used):
        z = 0.0
        for c in range(1 + inputs + u):
            z += t.rows[u, c] * point[c]
        # with the activation itself, not its line: what is left below zero is no line's fault
        point[1 + inputs + u] = z if z > 0 else t.line[STEEP, u] * z
        value -= node[SIDE, u] * node[BETA, u] * z
    for r in range(rows):
        for c in range(1 + inputs + used):
            value += s.combined[MULTIPLIER, r] * t.goal[r, c] * point[c]
    return value


@compiled
def choose_neuron(inputs: int, used: int, tried: int, s: Scratch, t: Tree) -> tuple[int, float]:
    """The neuron to split, by number among the undecided ones, and how many such gains are left to a proof.

    Of those whose lines err most at the minimiser, ``tried`` of them, the one whose two sides gain most together. It is
    -1 where no line errs, and where the combination itself is not positive there: no line's error is to blame.
    """
    node, line = t.node, t.line
    error, before = t.score[0], t.score[1]
    lower = _model_bound(inputs, used, s, t)
    if not _value_at_minimiser(inputs, used, s, t) > 0:
        return -1, 0.0
    for u in range(used):
        z = line[Z, u]
        exact = z if z > 0 else line[STEEP, u] * z
        error[u] = (
            0.0 if node[SIDE, u] != 0 else abs(line[ARRIVED, u] * (exact - line[SLOPE, u] * z - _line_offset(u, t)))
        )
    chosen, best = -1, 0.0
    copy(node[BETA], before, used)
    for _ in range(tried):
        worst = 0
        for u in range(used):
            if error[u] > error[worst]:
                worst = u
        if not error[worst] > 0:
            break
        # not the same one again
        error[worst] = 0.0
        gain = 1.0
        for negative in range(2):
            # both sides are tried from the same multipliers: `ascend_model` leaves those that it found
            node[SIDE, worst] = -1.0 if negative == 0 else 1.0
            bound = ascend_model(inputs, used, _TRIAL, False, s, t)
            copy(before, node[BETA], used)
            gain *= max(1e-6, min(bound, 0.0) - lower)  # beyond a proof there is nothing to gain
        node[SIDE, worst] = 0.0
        if gain > best:
            chosen, best = worst, gain
    # the geometric mean of what the two sides gain stands for one more level of the tree
    return chosen, float(max(0.0, -lower) / math.sqrt(best)) if chosen >= 0 else 0.0
