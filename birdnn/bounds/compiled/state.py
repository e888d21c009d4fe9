"""What the compiled bounds read and write: arrays of float64, contiguous, and the names of their rows.

A function takes each array apart that it is given: a few arrays of many rows compile several times as fast as many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# plain numbers, not an enumeration: the compiler freezes them into the code
RELU, LEAKY_RELU, ELU, SIGMOID, TANH = range(5)
KINDS = {"relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "sigmoid": SIGMOID, "tanh": TANH}
"""Kind of an activation -> its number."""

BLOCK = 8
"""Rows that go through the layers together."""

# Rows of `Net.shape`, `Net.matrix`, `Net.bias`, `Net.layer` and `Net.activation`:
WIDTH, AT, ROW, KIND, PAIR = range(5)
WEIGHT, SIZE, TERMS = range(3)
BIAS, TERMS_BIAS = range(2)
FACTOR, EXECUTED, PEAK, LARGEST, SMALLEST_SUM = range(5)
ALPHA, ERROR = range(2)

# Rows of `Scratch.place`, `Scratch.neuron` and `Scratch.combined`. Of a neuron: two lower and two upper lines, of each
# its slope and its offset; the lines that were chosen, packed as in `birdnn.bounds.slopes.Slopes`; the first weights of
# the second lines, the largest absolute pre-activation, the weights now, a row on the activation, and what the lines
# lose for it and for all items that are open (`birdnn.bounds.compiled.losses`).
CENTRE, RADIUS, REACH, PLANE = range(4)
LOW, LOW_OFFSET, LOW2, LOW2_OFFSET, UP, UP_OFFSET, UP2, UP2_OFFSET = range(8)
BELOW, ABOVE, ABOVE_OFFSET, BELOW_OFFSET = range(8, 12)
START, LARGE, LOW_WEIGHT, UP_WEIGHT, PASSED, LOST, BLAMED = range(12, 19)
MULTIPLIER, MARGIN = range(2)

# Rows of `Tree.line`: slope of an undecided activation on the left, its chord; then the line that was taken, the
# pre-activation at the minimiser, and the row on the activation.
STEEP, CHORD, OFFSET, SLOPE, Z, ARRIVED = range(6)
# Rows of `Tree.node`: -1 or 1 where a neuron was split, its multiplier, the weight of its second lower line; of these
# the best ones.
SIDE, BETA, LINE_WEIGHT, BEST_BETA, BEST_WEIGHT = range(5)

_MOST_DEPENDS = 2**21
"""Entries of `Scratch.depends`: 16 MB for each thread."""

TREE_LEAF = -1
"""In a tree, in place of a neuron."""

# Rows of `Scratch.cut` and `Scratch.by`:
LOWER, UPPER = range(2)


class Net(NamedTuple):
    """A chain of affine maps and activations, and what its arithmetic errs by.

    Layer ``k`` maps ``shape[WIDTH, k]`` values to ``shape[WIDTH, k + 1]``. Its matrix begins at ``shape[AT, k]``, its
    rows (hidden neurons, and the outputs last) at ``shape[ROW, k]``.

    Attributes:
        shape: (5, layers + 1): see above, and the kind of each activation; where a layer is that of two networks and
            their difference (`birdnn.bounds.difference`), how many neurons each of the three blocks has, of one network
            and its slopes each of the two, else 0.
        matrix: (3, entries), all layers one behind the other: the map, its absolute values, absolute terms
            (`birdnn.chain.Terms`).
        bias: (2, rows): of the map, of the absolute terms.
        layer: (5, layers): factor, executed, peak, largest, smallest of `birdnn.bounds.crown`.
        activation: (2, activations): alpha; what a float32 execution errs by at least, negative if not asked.
        lost: paid for what underflows in a bound (`birdnn.rounding.LOST64`).
        linear: is the last map's execution error a row on its inputs?
    """

    shape: Integers
    matrix: Floats
    bias: Floats
    layer: Floats
    activation: Floats
    lost: float
    linear: bool


class Asked(NamedTuple):
    """What is to be bounded on a batch of boxes.

    Attributes:
        lower, upper: corners, (boxes, inputs).
        first: items of box ``i`` are those from ``first[i]`` to ``first[i + 1]``, (boxes + 1,).
        polytope: of each item.
        a, b, closed: see `birdnn.bounds.protocol.Question`.
        inherited: lower and then upper bounds of the hidden neurons, (boxes, 2 * neurons).
    """

    lower: Floats
    upper: Floats
    first: Integers
    polytope: Integers
    a: Floats
    b: Floats
    closed: NDArray[np.bool_]
    inherited: Floats


class Found(NamedTuple):
    """Where results go, see `birdnn.bounds.protocol.BoundResult`.

    Attributes:
        known: what was inherited, tightened, (boxes, 2 * neurons).
        lower, plane, minimum: of each item; the last plane is the best one.
        multipliers, slopes: see `birdnn.bounds.protocol.Choices`; empty where nothing is recorded.
    """

    known: Floats
    lower: Floats
    plane: Floats
    minimum: Floats
    multipliers: Floats
    slopes: NDArray[np.float32]


class Left(NamedTuple):
    """Where goes what is left of each box, see `birdnn.bounds.protocol.Left`; nothing but ``closed`` where none is.

    Attributes:
        lower, upper: corners, (boxes, inputs).
        opened: (boxes, polytopes).
        closed: (items,).
        used: (items, planes); empty where nothing is recorded.
        score, edge, suspicious: (boxes,).
    """

    lower: Floats
    upper: Floats
    opened: NDArray[np.bool_]
    closed: NDArray[np.bool_]
    used: NDArray[np.bool_]
    score: Floats
    edge: Integers
    suspicious: NDArray[np.bool_]


class Effort(NamedTuple):
    """Of the ascent on slopes and multipliers (`CrownSettings`), ``inner``: for inner neurons whose sign is open;
    ``apart`` is `birdnn.bounds.crown.CrownBound`'s."""

    steps: int
    inner: int
    step_size: float
    decay: float
    hope: float
    apart: float


class Scratch(NamedTuple):
    """Room for one box; ``n`` hidden neurons, the widest layer ``w``.

    Attributes:
        place: (4, w): centre, half widths and absolute values of the box, later of a layer; a plane.
        rows: (2, BLOCK, w): the rows under way, and room for the next ones.
        constant: (BLOCK,), of these rows.
        slack: (rows,), of each row of each layer.
        neuron: (19, n): lines, their choice, the row on each activation, what the lines lose.
        depends: (n, inputs): how steep the planes are that bound each pre-activation, zero where none was made; of
            large networks, whose boxes are not cut by inputs, (n, 0).
        needed, active: (w,), of which neurons: those to be bounded, those that are not flat.
        combined: (2, polytope rows): multipliers and margins.
        cut, by: (2, inputs): new lower and upper corners, and the planes that they are of.
    """

    place: Floats
    rows: Floats
    constant: Floats
    slack: Floats
    neuron: Floats
    depends: Floats
    needed: Integers
    active: Integers
    combined: Floats
    cut: Floats
    by: Integers


def scratch_room(net: Net, polytope_rows: int) -> Scratch:
    """Room for one box of ``net``."""
    neurons, rows, widest = int(net.shape[ROW, -2]), int(net.shape[ROW, -1]), int(net.shape[WIDTH].max())
    inputs = int(net.shape[WIDTH, 0])
    return Scratch(
        place=np.empty((4, widest)),
        rows=np.empty((2, BLOCK, widest)),
        constant=np.empty(BLOCK),
        slack=np.empty(rows),
        neuron=np.empty((19, neurons)),
        depends=np.empty((neurons, inputs if neurons * inputs <= _MOST_DEPENDS else 0)),
        needed=np.empty(widest, np.int64),
        active=np.empty(widest, np.int64),
        combined=np.empty((2, polytope_rows)),
        cut=np.empty((2, inputs)),
        by=np.zeros((2, inputs), np.int64),
    )


class Tree(NamedTuple):
    """Room for the tree of one box; at most ``few`` neurons are undecided on it.

    Attributes:
        which: these neurons, (few,).
        rows: (few, columns): their pre-activations.
        goal: (polytope rows + 2, columns): the polytope's rows; the combination of them at hand, and its minimiser.
        hidden: (2, widest layer, columns): activations of a layer, and of the next one.
        line: (6, few).
        node: (5, few), of the node at hand.
        kept: (2, few, few): multipliers and weights of the nodes above, by depth.
        weights: (few + 2, polytope rows): multipliers of rows above; the best ones; margins.
        score: (2, few): of neurons to be split; multipliers that a trial began with.
        path: (2, few): neurons split above, whether their second side is at work.
    """

    which: Integers
    rows: Floats
    goal: Floats
    hidden: Floats
    line: Floats
    node: Floats
    kept: Floats
    weights: Floats
    score: Floats
    path: Integers


class Closed(NamedTuple):
    """Trees of items, (items, ...).

    Attributes:
        box, item: where they stand in the batch.
        size: entries of each tree; 0 where an item is left open.
        neuron: (items, nodes): the neurons split, in preorder, the negative side first; `TREE_LEAF` for a leaf.
        multipliers: of the polytope's rows, of each leaf, (items, nodes, rows).
        beta: of the sides on the way to each leaf, from the root on, (items, nodes, few).
        slope: of each leaf, by undecided neuron, (items, nodes, few); NaN for a default one.
        undecided: how many neurons; `which`: these, (items, few).
    """

    box: Integers
    item: Integers
    size: Integers
    neuron: Integers
    multipliers: Floats
    beta: NDArray[np.float32]
    slope: NDArray[np.float32]
    undecided: Integers
    which: Integers


def tree_room(net: Net, polytope_rows: int, few: int) -> Tree:
    """Room for the tree of one box of ``net``."""
    columns, widest = 1 + int(net.shape[WIDTH, 0]) + few, int(net.shape[WIDTH].max())
    return Tree(
        which=np.zeros(few, np.int64),
        rows=np.zeros((few, columns)),
        goal=np.zeros((polytope_rows + 2, columns)),
        hidden=np.zeros((2, widest, columns)),
        line=np.zeros((6, few)),
        node=np.zeros((5, few)),
        kept=np.zeros((2, few, few)),
        weights=np.zeros((few + 2, polytope_rows)),
        score=np.zeros((2, few)),
        path=np.zeros((2, few), np.int64),
    )


def closed_room(box: Integers, item: Integers, polytope_rows: int, few: int, nodes: int) -> Closed:
    """Room for the trees of these items."""
    n = len(item)
    return Closed(
        box=box,
        item=item,
        size=np.zeros(n, np.int64),
        neuron=np.empty((n, nodes), np.int64),
        multipliers=np.empty((n, nodes, polytope_rows)),
        beta=np.empty((n, nodes, few), np.float32),
        slope=np.empty((n, nodes, few), np.float32),
        undecided=np.zeros(n, np.int64),
        which=np.empty((n, few), np.int64),
    )
