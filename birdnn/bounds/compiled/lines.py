"""Lines around activations for one neuron after another: `birdnn.bounds.rules`, compiled."""

from __future__ import annotations

import math
from typing import Any

from birdnn.bounds.compiled.compiler import compiled
from birdnn.bounds.compiled.state import (
    ALPHA,
    ELU,
    ERROR,
    KIND,
    LARGE,
    LEAKY_RELU,
    LOW,
    LOW2,
    LOW2_OFFSET,
    LOW_OFFSET,
    PAIR,
    RELU,
    ROW,
    SIGMOID,
    START,
    TANH,
    UP,
    UP2,
    UP2_OFFSET,
    UP_OFFSET,
    WIDTH,
    Floats,
    Net,
    Scratch,
)
from birdnn.rounding import BISECTIONS, FLOAT32, FLOAT64, LINE_ROUNDINGS, NARROW, SMALLEST


@compiled
def fill(target: Any, value: float) -> None:
    for i in range(len(target)):
        target[i] = value


@compiled
def copy(source: Any, target: Any, n: int) -> None:
    for i in range(n):
        target[i] = source[i]


@compiled
def activation_value(kind: int, alpha: float, z: float) -> float:
    """The activation."""
    if kind == RELU:
        return max(z, 0.0)
    if kind == LEAKY_RELU:
        return z if z > 0 else alpha * z
    if kind == ELU:
        return z if z > 0 else alpha * math.expm1(z)
    if kind == SIGMOID:
        return 1 / (1 + math.exp(-z))
    return math.tanh(z)


@compiled
def slope_of(kind: int, alpha: float, z: float) -> float:
    """The derivative, for the activations that bend."""
    if kind == ELU:
        return 1.0 if z > 0 else alpha * math.exp(z)
    if kind == SIGMOID:
        return 1 / (1 + math.exp(-z)) / (1 + math.exp(z))
    return 4 / (1 + math.exp(-2 * z)) / (1 + math.exp(2 * z))  # 1 - tanh(z) ** 2 cancels


@compiled
def largest_value(net: Net, k: int, lower: float, upper: float) -> float:
    """Of the absolute values of activation ``k``, which is at an end."""
    kind, alpha = net.shape[KIND, k], net.activation[ALPHA, k]
    return float(max(abs(activation_value(kind, alpha, lower)), abs(activation_value(kind, alpha, upper))))


@compiled
def execution_error(net: Net, k: int, lower: float, upper: float) -> float:
    """See `birdnn.bounds.rules.execution_error`; zero where executions are not spoken of."""
    error, alpha = net.activation[ERROR, k], abs(net.activation[ALPHA, k])
    if error < 0 or net.shape[KIND, k] == RELU:
        return 0.0
    if net.shape[KIND, k] == LEAKY_RELU:
        return float((FLOAT32 if alpha >= SMALLEST else 1.0) * alpha * max(-lower, 0.0) + SMALLEST)
    return float(error + FLOAT32 * largest_value(net, k, lower, upper) + SMALLEST)


@compiled
def _leaky(lower: float, upper: float, alpha: float, lines: Floats) -> None:
    """``max(z, alpha z)`` for ``alpha <= 1``, ``min(z, alpha z)`` above."""
    fill(lines, 0.0)
    if lower < 0 < upper:
        chord, offset = (upper - alpha * lower) / (upper - lower), (alpha - 1) * lower * upper / (upper - lower)
        small, large = alpha, 1.0
    else:
        # NaN would pass for inactive: whoever proves with these lines has seen that bounds are finite (`_inner_bounds`)
        chord = small = large = 1.0 if lower >= 0 else alpha
        offset = 0.0
    if alpha <= 1:
        lines[LOW], lines[LOW2] = small, large
        lines[UP], lines[UP_OFFSET], lines[UP2], lines[UP2_OFFSET] = chord, offset, chord, offset
    else:
        lines[LOW], lines[LOW_OFFSET], lines[LOW2], lines[LOW2_OFFSET] = chord, offset, chord, offset
        lines[UP], lines[UP2] = small, large


@compiled
def _elu(lower: float, upper: float, alpha: float, lines: Floats) -> None:
    """Convex for ``0 <= alpha <= 1``; otherwise constants wherever it is not."""
    slope, offset = _chord(ELU, alpha, lower, upper)
    at_l, at_u = activation_value(ELU, alpha, lower), activation_value(ELU, alpha, upper)
    flat = not 0 <= alpha <= 1 and (lower < 0 < upper if alpha > 0 else lower < 0)
    if flat:
        floor = min(at_l, at_u) if alpha > 0 else (at_u if upper < 0 else 0.0)
        lines[LOW], lines[LOW_OFFSET], lines[LOW2], lines[LOW2_OFFSET] = 0.0, floor, 0.0, floor
        slope, offset = 0.0, max(at_l, at_u)
    else:
        # as in `birdnn.bounds.rules`, so that the checker's default slope lies in the middle
        near, far = lower + 0.25 * (upper - lower), lower + 0.75 * (upper - lower)
        lines[LOW] = slope_of(ELU, alpha, near)
        lines[LOW_OFFSET] = activation_value(ELU, alpha, near) - lines[LOW] * near
        lines[LOW2] = slope_of(ELU, alpha, far)
        lines[LOW2_OFFSET] = activation_value(ELU, alpha, far) - lines[LOW2] * far
    lines[UP], lines[UP_OFFSET], lines[UP2], lines[UP2_OFFSET] = slope, offset, slope, offset


@compiled
def _chord(kind: int, alpha: float, lower: float, upper: float) -> tuple[float, float]:
    """The line through both ends; a constant above both where the interval is a point or nearly so."""
    at_l, at_u = activation_value(kind, alpha, lower), activation_value(kind, alpha, upper)
    # between closer ends the slope would be mostly rounding; so written that NaN, too, ends here
    if not upper - lower > NARROW:
        return 0.0, max(at_l, at_u)
    slope = (at_u - at_l) / (upper - lower)
    return slope, max(at_l - slope * lower, at_u - slope * upper)


@compiled
def _s_shaped(kind: int, lower: float, upper: float, lines: Floats) -> None:
    """Lines of a function that is convex below zero, concave above, with ``f(-z) = twin - f(z)``."""
    twin = 1.0 if kind == SIGMOID else 0.0
    for place in range(2):
        slope, offset = _upper_tangent(kind, lower, upper, 0.25 if place == 0 else 0.75)
        lines[UP + 2 * place], lines[UP_OFFSET + 2 * place] = slope, offset
        # the lower side is the upper side of the function turned about its middle
        slope, offset = _upper_tangent(kind, -upper, -lower, 0.25 if place == 0 else 0.75)
        lines[LOW + 2 * place], lines[LOW_OFFSET + 2 * place] = slope, twin - offset


@compiled
def _clears(kind: int, d: float, lower: float) -> bool:
    """Does the tangent at ``d`` lie above the function at ``lower``?"""
    return bool(
        activation_value(kind, 0.0, d) + slope_of(kind, 0.0, d) * (lower - d) >= activation_value(kind, 0.0, lower)
    )


@compiled
def _upper_tangent(kind: int, lower: float, upper: float, weight: float) -> tuple[float, float]:
    """A tangent on the concave side that clears the lower end, else the chord; `weight`: which of those that do."""
    concave = lower >= 0
    far = max(upper, 0.0)
    near = min(max(lower, 0.0), far)
    if not (upper > 0 and (concave or _clears(kind, far, lower))):
        return _chord(kind, 0.0, lower, upper)
    least = near
    if not (concave or _clears(kind, near, lower)):
        left, right = near, far
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            if _clears(kind, middle, lower):
                right = middle
            else:
                left = middle
        # the right end clears at every step, so that any number of steps is sound
        least = right
    point = least + weight * (far - least)
    # between two points that clear every one does, but the test may round otherwise: `far` has passed it
    if not (concave or _clears(kind, point, lower)):
        point = far
    slope = slope_of(kind, 0.0, point)
    return slope, activation_value(kind, 0.0, point) - slope * point


@compiled
def is_free(kind: int, alpha: float, side: int) -> bool:
    """Are there two lines on the side, `LOW` or `UP`? A chord leaves no choice."""
    if kind == LEAKY_RELU and alpha > 1:
        return side == UP
    return side == LOW or kind in (SIGMOID, TANH)


@compiled
def find_lines(net: Net, k: int, low: Floats, up: Floats, s: Scratch) -> None:
    """Lines around activation ``k``: see `birdnn.bounds.rules.relax`."""
    kind, alpha, first, n = net.shape[KIND, k], net.activation[ALPHA, k], net.shape[ROW, k], net.shape[WIDTH, k + 1]
    for j in range(first, first + n - net.shape[PAIR, k]):  # lines around differences are in `pairs`
        lower, upper = low[j], up[j]
        size = max(abs(lower), abs(upper))
        computed = (LINE_ROUNDINGS + 2 * n) * FLOAT64 * (1 + abs(alpha)) * (1 + size)
        executed = execution_error(net, k, lower, upper)
        lines = s.neuron[:8, j]
        if kind in (RELU, LEAKY_RELU):
            slope = 0.0 if kind == RELU else alpha
            _leaky(lower, upper, slope, lines)
            s.neuron[START, j] = 1.0 if upper > -lower else 0.0
            if not lower < 0 < upper:
                computed = 0.0
        else:
            s.neuron[START, j] = 0.5
            if kind == ELU:
                _elu(lower, upper, alpha, lines)
            else:
                _s_shaped(kind, lower, upper, lines)
        straight = kind in (RELU, LEAKY_RELU)  # two lines through zero: no arithmetic of ours is in them
        low_computed = 0.0 if straight and is_free(kind, alpha, LOW) else computed
        up_computed = 0.0 if straight and is_free(kind, alpha, UP) else computed
        lines[LOW_OFFSET] -= low_computed + executed
        lines[LOW2_OFFSET] -= low_computed + executed
        lines[UP_OFFSET] += up_computed + executed
        lines[UP2_OFFSET] += up_computed + executed
        s.neuron[LARGE, j] = size
