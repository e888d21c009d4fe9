"""What the lines of a box lose, and on which of its edges that depends.

At the point where a bound is attained, an activation is nearly what its lines say, or far from it: the difference,
times the row on the activation, is what its lines lose there. Halving an edge helps as far as pre-activations that lose
something depend on it. The idea is that of branching scores for neurons (Bunel et al. 2020, arXiv:1909.06588; Henriksen
and Lomuscio 2020, VeriNet, doi:10.3233/FAIA200385), turned to the inputs. Nothing is proved here.
"""

from __future__ import annotations

import numpy as np

from birdnn.bounds.compiled.compiler import compiled
from birdnn.bounds.compiled.lines import activation_value, fill
from birdnn.bounds.compiled.pairs import exact_gap, network_neurons
from birdnn.bounds.compiled.state import (
    ABOVE,
    ABOVE_OFFSET,
    ALPHA,
    BELOW,
    BELOW_OFFSET,
    BLAMED,
    KIND,
    LOST,
    PAIR,
    PASSED,
    RADIUS,
    ROW,
    WIDTH,
    Floats,
    Net,
    Scratch,
)

_ROUNDING = 2.0**-30
"""Of the values of an activation and its line: they differ by less where only rounding is paid for."""


@compiled
def forget_losses(s: Scratch) -> None:
    """Before the items of a box."""
    fill(s.neuron[LOST], 0.0)
    fill(s.neuron[BLAMED], 0.0)


@compiled
def find_losses(net: Net, k: int, z: Floats, s: Scratch) -> None:
    """What the lines that the first row took lose on each activation of a layer at pre-activations ``z``."""
    kind, alpha, n, first = net.shape[KIND, k], net.activation[ALPHA, k], s.neuron, net.shape[ROW, k]
    own, gaps = network_neurons(net, k), net.shape[PAIR, k]
    for i in range(own):
        n[LOST, first + i] = activation_value(kind, alpha, z[i])
    for i in range(gaps):
        n[LOST, first + own + i] = exact_gap(kind, alpha, own > gaps, z[i], z[own + i])
    for i in range(net.shape[WIDTH, k + 1]):
        j = first + i
        row, exact = n[PASSED, j], n[LOST, j]
        line = z[i] * n[ABOVE, j] + n[ABOVE_OFFSET, j] if row < 0 else z[i] * n[BELOW, j] + n[BELOW_OFFSET, j]
        gap = abs(exact - line)
        # what a line pays for rounding is there on every box, however small
        n[LOST, j] = abs(row) * gap if gap > _ROUNDING * (abs(exact) + abs(line)) else 0.0


@compiled
def add_losses(s: Scratch) -> None:
    """Of an item that stays open."""
    for j in range(s.neuron.shape[1]):
        s.neuron[BLAMED, j] += s.neuron[LOST, j]


@compiled
def blame_edges(net: Net, s: Scratch, blame: Floats) -> bool:
    """Share the losses of open items among the inputs, by unit of their edges, in ``blame``; are there any?

    A loss is shared as the planes below and above its pre-activation vary over the box.
    """
    inputs, total = s.depends.shape[1], 0.0
    for d in range(net.shape[WIDTH, 0]):
        blame[d] = 0.0
    for k in range(net.shape.shape[1] - 2):
        # the same neuron of two networks and its difference become linear together
        n = net.shape[PAIR, k] if net.shape[PAIR, k] > 0 else net.shape[WIDTH, k + 1]
        first, end = net.shape[ROW, k], net.shape[ROW, k + 1]
        for i in range(first, first + n):
            lost, spread = 0.0, 0.0
            for j in range(i, end, n):
                lost += s.neuron[BLAMED, j]
            # so written that NaN and infinity are passed over
            if not 0 < lost < np.inf:
                continue
            for j in range(i, end, n):
                for d in range(inputs):
                    spread += s.depends[j, d] * s.place[RADIUS, d]
            if not 0 < spread < np.inf:
                continue
            total += lost
            for j in range(i, end, n):
                for d in range(inputs):
                    blame[d] += lost / spread * s.depends[j, d]
    return bool(total > 0)
