"""Two networks and their difference, or one and its slopes, block by block: `birdnn.bounds.difference`, compiled.

Layer ``k`` of such a net has ``net.shape[PAIR, k]`` neurons in each of three blocks: A, B, and B - A; or of two: A, and
how fast it changes.
"""

from __future__ import annotations

import numpy as np

from birdnn.bounds.compiled.compiler import compiled, inlined
from birdnn.bounds.compiled.lines import activation_value, slope_of
from birdnn.bounds.compiled.state import (
    ALPHA,
    ELU,
    KIND,
    LARGE,
    LEAKY_RELU,
    LOW,
    LOW2,
    LOW2_OFFSET,
    LOW_OFFSET,
    PAIR,
    REACH,
    RELU,
    ROW,
    START,
    UP,
    UP2,
    UP2_OFFSET,
    UP_OFFSET,
    WIDTH,
    Floats,
    Net,
    Scratch,
)
from birdnn.rounding import FLOAT64, LINE_ROUNDINGS, SLOPE_ROOM


@compiled
def network_neurons(net: Net, k: int) -> int:
    """How many neurons of layer ``k`` are those of networks: differences or slopes come behind."""
    return int(net.shape[WIDTH, k + 1] - net.shape[PAIR, k])


@compiled
def _convexity(kind: int, alpha: float) -> int:
    """See `birdnn.bounds.difference.convexity`."""
    if kind == RELU:
        return 1
    if kind == LEAKY_RELU:
        return 1 if alpha <= 1 else -1
    return 1 if kind == ELU and 0 <= alpha <= 1 else 0


@compiled
def _slope_range(kind: int, alpha: float, lower: float, upper: float) -> tuple[float, float]:
    """See `birdnn.bounds.rules.slope_range`."""
    if kind in (RELU, LEAKY_RELU):
        # exact: nothing is computed of these two slopes, and nothing is rounded outward below
        steep = 0.0 if kind == RELU else alpha
        left = 1.0 if lower >= 0 else steep
        right = steep if upper <= 0 else 1.0
        return min(left, right), max(left, right)
    if kind == ELU:
        left = 1.0 if lower >= 0 else slope_of(kind, alpha, lower)
        right = slope_of(kind, alpha, upper) if upper <= 0 else 1.0
        # at zero the slope jumps, from alpha to one: the left one is at no end
        middle = alpha if lower < 0 < upper else left
    else:
        left, right = slope_of(kind, alpha, lower), slope_of(kind, alpha, upper)
        middle = slope_of(kind, alpha, min(max(0.0, lower), upper))
    least, most = min(left, right, middle), max(left, right, middle)
    return least - SLOPE_ROOM * (1 + abs(least)), most + SLOPE_ROOM * (1 + abs(most))


@compiled
def _gap_slopes(net: Net, k: int, low: Floats, up: Floats, j: int) -> tuple[float, float, float, float]:
    """Least and greatest slopes that bound difference ``j`` of layer ``k`` from below, then from above."""
    kind, alpha = net.shape[KIND, k], net.activation[ALPHA, k]
    a = net.shape[ROW, k] + j
    # of one network and its slopes there is no B: this is ``a`` again
    b = a + network_neurons(net, k) - net.shape[PAIR, k]
    bends = _convexity(kind, alpha)
    if bends == 0:
        least, most = _slope_range(kind, alpha, min(low[a], low[b]), max(up[a], up[b]))
        return least, most, least, most
    first, second = (a, b) if bends > 0 else (b, a)
    least, most = _slope_range(kind, alpha, low[first], up[first])
    lowest, steepest = _slope_range(kind, alpha, low[second], up[second])
    return least, most, lowest, steepest


@compiled
def is_fixed(net: Net, k: int, low: Floats, up: Floats, j: int) -> bool:
    """Is difference ``j`` behind the activation a known multiple of the one before it?"""
    least, most, lowest, steepest = _gap_slopes(net, k, low, up, j)
    return bool(least == most and lowest == steepest and least == lowest)


@compiled
def _gap_chord(left: float, right: float, lower: float, upper: float) -> tuple[float, float]:
    """The line through ``left * lower`` and ``right * upper``, or the one that is left on one side of zero."""
    if lower < 0 < upper:
        width = upper - lower
        return (right * upper - left * lower) / width, (left - right) * lower * upper / width
    return (right if lower >= 0 else left), 0.0


@compiled
def find_gap_lines(net: Net, k: int, low: Floats, up: Floats, s: Scratch) -> None:
    """Lines around the differences behind activation ``k``, where it has any."""
    n, wide = net.shape[PAIR, k], net.shape[WIDTH, k + 1]
    for j in range(n):
        d = net.shape[ROW, k] + network_neurons(net, k) + j
        lower, upper, lines = low[d], up[d], s.neuron[:8, d]
        least, most, lowest, steepest = _gap_slopes(net, k, low, up, j)
        # of a negative difference the greatest multiple is lowest, of a positive one the least
        lines[LOW], lines[LOW_OFFSET] = _gap_chord(most, least, lower, upper)
        lines[UP], lines[UP_OFFSET] = _gap_chord(lowest, steepest, lower, upper)
        size = max(abs(lower), abs(upper))
        # a known multiple is a line through zero: what its slope is rounded by is paid with the row (`find_slack`)
        if not (least == most and lowest == steepest and least == lowest):
            slope = 1 + max(abs(least), abs(most), abs(lowest), abs(steepest))
            computed = (LINE_ROUNDINGS + 2 * wide) * FLOAT64 * 2 * slope * (1 + size)
            lines[LOW_OFFSET] -= computed
            lines[UP_OFFSET] += computed
        # one line on each side: the same twice leaves the ascent nothing to choose
        lines[LOW2], lines[LOW2_OFFSET] = lines[LOW], lines[LOW_OFFSET]
        lines[UP2], lines[UP2_OFFSET] = lines[UP], lines[UP_OFFSET]
        s.neuron[START, d], s.neuron[LARGE, d] = 0.0, size


@inlined
def exact_gap(kind: int, alpha: float, paired: bool, z: float, d: float) -> float:
    """What a difference ``d`` of two networks, ``paired``, or a slope is behind an activation of ``z``."""
    if paired:
        return activation_value(kind, alpha, z + d) - activation_value(kind, alpha, z)
    if kind in (RELU, LEAKY_RELU):
        steep = 0.0 if kind == RELU else alpha
        return d if z > 0 else steep * d
    return slope_of(kind, alpha, z) * d


@compiled
def find_gap_reach(net: Net, k: int, low: Floats, up: Floats, s: Scratch) -> None:
    """Bounds of the absolute differences behind activation ``k``, where it has any."""
    n = net.shape[PAIR, k]
    for j in range(n):
        d = net.shape[ROW, k] + network_neurons(net, k) + j
        least, most, lowest, steepest = _gap_slopes(net, k, low, up, j)
        slope = max(abs(least), abs(most), abs(lowest), abs(steepest)) * (1 + LINE_ROUNDINGS * FLOAT64)
        s.place[REACH, network_neurons(net, k) + j] = slope * max(abs(low[d]), abs(up[d]))


@compiled
def tighten_blocks(net: Net, k: int, low: Floats, up: Floats) -> None:
    """Let three blocks of layer ``k`` tighten each other: d is b - a, b is a + d, a is b - d."""
    n = net.shape[PAIR, k]
    # a network and its slopes: no third block that would follow from the other two
    if network_neurons(net, k) == n:
        return
    for j in range(n):
        a = net.shape[ROW, k] + j
        b, d = a + n, a + 2 * n
        # one after the other: what is tightened here tightens what follows
        low[d], up[d] = max(low[d], _next_below(low[b] - up[a])), min(up[d], -_next_below(low[a] - up[b]))
        low[b], up[b] = max(low[b], _next_below(low[a] + low[d])), min(up[b], -_next_below(-up[a] - up[d]))
        low[a], up[a] = max(low[a], _next_below(low[b] - up[d])), min(up[a], -_next_below(low[d] - up[b]))


@compiled
def _next_below(value: float) -> float:
    """One float64 further down; minus infinity for what overflowed."""
    return float(np.nextafter(value, -np.inf)) if abs(value) < np.inf else -np.inf


@compiled
def fill_differences(net: Net, k: int, h: Floats) -> None:
    """Put the differences behind activation ``k`` at a point where they belong, in place."""
    n = net.shape[PAIR, k]
    # slopes at a point are not asked for: only differences belong to an input
    if network_neurons(net, k) > n:
        for j in range(n):
            h[2 * n + j] = h[n + j] - h[j]
