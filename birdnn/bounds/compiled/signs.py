"""Better bounds of inner neurons whose sign is open, by lines of their own for each of them.

Default lines decide the signs of most neurons. Where two networks are compared each sign that stays open counts: what
is then not known of a difference grows from layer to layer. So rows of such neurons take the same steps as final rows
do (alpha-CROWN for intermediate bounds, Xu et al. 2021, arXiv:2011.13824), one row at a time.

A row on one network's neuron meets that network's neurons only: of layers in blocks the block of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from birdnn.bounds.compiled.compiler import compiled
from birdnn.bounds.compiled.lines import copy
from birdnn.bounds.compiled.rows import choose_line, default_lines, least, reset_lines, step_line_weight, take_lines
from birdnn.bounds.compiled.state import (
    ABOVE,
    AT,
    BELOW,
    BIAS,
    CENTRE,
    ELU,
    KIND,
    LEAKY_RELU,
    LOW_WEIGHT,
    PAIR,
    RADIUS,
    RELU,
    ROW,
    UP_WEIGHT,
    WEIGHT,
    WIDTH,
    Effort,
    Floats,
    Net,
    Scratch,
)


@compiled
def decide_signs(net: Net, k: int, count: int, low: Floats, up: Floats, effort: Effort, s: Scratch, stop: Any) -> None:
    """Bound those of the first ``count`` neurons that are needed again whose sign is open.

    Default lines are back in place behind, but where ``stop`` ended it, whose results mean nothing.
    """
    kind, first, n = net.shape[KIND, k], net.shape[ROW, k], net.shape[PAIR, k]
    # what bends everywhere has no sign to decide
    if kind not in (RELU, LEAKY_RELU, ELU):
        return
    found = False
    for r in range(count):
        i = s.needed[r]
        j, block = first + i, i // n if n > 0 else 0
        if not low[j] < 0 < up[j]:
            continue
        # a layer may be wide: time may be over before its end
        if stop[0]:
            return
        found = True
        low[j] = max(low[j], _ascend(net, k, i, block, 1.0, effort, s))
        if low[j] < 0:
            up[j] = min(up[j], -_ascend(net, k, i, block, -1.0, effort, s))
    if found:
        for layer in range(k):
            default_lines(net, layer, s)


@compiled
def _block_begin(net: Net, k: int, block: int) -> int:
    """Where a network's values begin among those that layer ``k`` makes."""
    return int(block * net.shape[PAIR, k])


@compiled
def _block_width(net: Net, k: int) -> int:
    """How many of them there are."""
    return int(net.shape[PAIR, k] if net.shape[PAIR, k] > 0 else net.shape[WIDTH, k + 1])


@compiled
def _ascend(net: Net, k: int, i: int, block: int, sign: float, effort: Effort, s: Scratch) -> float:
    """A lower bound of neuron ``i`` of layer ``k`` times ``sign``.

    The steps are those of `_FinalRows._ascend` of `birdnn.bounds.crown`, without multipliers; it is left as soon as one
    step gains too little.
    """
    for layer in range(k):
        begin = net.shape[ROW, layer] + _block_begin(net, layer, block)
        reset_lines(begin, begin + _block_width(net, layer), s)
    best, before, size = -np.inf, -np.inf, effort.step_size
    for step in range(effort.inner + 1):
        _push_back(net, k, i, block, sign, s)
        best = max(best, least(net, s.rows[0, 0], s.constant[0], s))
        # decided, or out of reach: a bound that stays on its side of zero saves little
        if best > 0 or step == effort.inner or (step > 0 and best + effort.hope * (best - before) < 0):
            break
        before = best
        _step_line_weights(net, k, block, size, s)
        size *= effort.decay
    return best


@compiled
def _push_back(net: Net, k: int, i: int, block: int, sign: float, s: Scratch) -> None:
    """The row of a neuron to the inputs, in the first of ``s.rows``; what it is on each activation stays in
    ``s.neuron``. As `birdnn.bounds.compiled.rows.push_back`."""
    row, more = s.rows[0, 0], s.rows[1, 0]
    m, at, place = net.shape[WIDTH, k], net.shape[AT, k], net.shape[ROW, k] + i
    begin, width = _block_begin(net, k - 1, block), _block_width(net, k - 1)
    weight = net.matrix[WEIGHT, at + i * m + begin : at + i * m + begin + width]
    for x in range(width):
        row[x] = sign * weight[x]
    s.constant[0] = sign * net.bias[BIAS, place] - s.slack[place]
    for layer in range(k - 1, -1, -1):
        m, at = net.shape[WIDTH, layer], net.shape[AT, layer]
        begin, width = _block_begin(net, layer, block), _block_width(net, layer)
        left = 0 if layer == 0 else _block_begin(net, layer - 1, block)
        wide = m if layer == 0 else _block_width(net, layer - 1)
        first = net.shape[ROW, layer] + begin
        total = take_lines(s.neuron[:, first : first + width], row)
        for x in range(width):
            total += row[x] * net.bias[BIAS, first + x]
        s.constant[0] += total
        for y in range(wide):
            more[y] = 0.0
        for x in range(width):
            value = row[x]
            # a neuron that is inactive on the box passes nothing on
            if value != 0:
                source = net.matrix[WEIGHT, at + (begin + x) * m + left : at + (begin + x) * m + left + wide]
                for y in range(wide):
                    more[y] += value * source[y]
        row, more = more, row
    if k % 2 == 1:  # the result lies in the other buffer
        copy(s.rows[1, 0], s.rows[0, 0], net.shape[WIDTH, 0])


@compiled
def _step_line_weights(net: Net, k: int, block: int, size: float, s: Scratch) -> None:
    """One signed step of the weights of all lines that the row met, by what these are where the row is least."""
    h, z, n = s.rows[0, 1], s.rows[1, 1], s.neuron
    for d in range(net.shape[WIDTH, 0]):
        h[d] = s.place[CENTRE, d] - np.sign(s.rows[0, 0, d]) * s.place[RADIUS, d]
    for layer in range(k):
        m, at = net.shape[WIDTH, layer], net.shape[AT, layer]
        begin, width = _block_begin(net, layer, block), _block_width(net, layer)
        left = 0 if layer == 0 else _block_begin(net, layer - 1, block)
        wide = m if layer == 0 else _block_width(net, layer - 1)
        for x in range(width):
            j = net.shape[ROW, layer] + begin + x
            if n[BELOW, j] == 0 and n[ABOVE, j] == 0:
                # of a neuron that is inactive nobody asks the pre-activation
                z[x] = 0.0
                continue
            value = net.bias[BIAS, j]
            source = net.matrix[WEIGHT, at + (begin + x) * m + left : at + (begin + x) * m + left + wide]
            for y in range(wide):
                value += source[y] * h[y]
            z[x] = value
        for x in range(width):
            j = net.shape[ROW, layer] + begin + x
            before = n[LOW_WEIGHT, j] + n[UP_WEIGHT, j]
            z[x] = step_line_weight(n, j, z[x], size)
            # most neurons have one line only on either side, and nothing to choose
            if n[LOW_WEIGHT, j] + n[UP_WEIGHT, j] != before:
                choose_line(n, j, s.slack[j])
        h, z = z, h
