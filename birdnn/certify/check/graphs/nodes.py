"""A network as a graph: sparse affine maps of exact constants, activations, and windows whose largest entry counts.

Values are numbered: 0 is the input, k + 1 what node k makes. Nothing is folded, so that every constant stays the number
of the file that it is. What is said of a node here is said of the function over the reals.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np

from birdnn.certify.check.layers import Activation, Exact
from birdnn.certify.check.tree import Index

UNSURE = Fraction(1, 1 << 190)
"""Relative error of a constant that is no rational number, as it is kept: what a normalisation divides by is a root."""


@dataclass(frozen=True, eq=False)
class Map:
    """A sparse matrix: ``table[which]`` stands at ``row`` and ``column``, sorted by rows, no place twice.

    Attributes:
        shape: rows and columns.
        row, column, which: of each entry.
        table: the numbers that stand anywhere.
    """

    shape: tuple[int, int]
    row: Index
    column: Index
    which: Index
    table: Exact


@dataclass(frozen=True, eq=False)
class Affine:
    """``sum of map @ value + offset`` over the sources, each a value and its map.

    Attributes:
        unsure: may entries of maps be off by `UNSURE` of themselves?
    """

    sources: tuple[tuple[int, Map], ...]
    offset: Exact
    unsure: bool = False


@dataclass(frozen=True)
class Bend:
    """An activation of every entry of a value.

    Attributes:
        limited: is it what it says only below the largest single-precision number, as Clip is?
    """

    source: int
    activation: Activation
    limited: bool = False


@dataclass(frozen=True, eq=False)
class Pool:
    """The largest entry of each window of a value: ``windows`` holds places, (entries, places), -1 for none."""

    source: int
    windows: Index


Node: TypeAlias = Affine | Bend | Pool


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        nodes: in order; each reads values before its own.
        sizes: entries of each value, the input's first.
        single: does the file compute in single precision?
    """

    nodes: tuple[Node, ...]
    sizes: tuple[int, ...]
    single: bool

    @property
    def n_inputs(self) -> int:
        """Entries of the input."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Entries of the last value."""
        return self.sizes[-1]

    @cached_property
    def bends(self) -> tuple[int, ...]:
        """The nodes that are not affine; the entries of what they read are the network's neurons, in this order."""
        return tuple(k for k, node in enumerate(self.nodes) if not isinstance(node, Affine))

    @property
    def hidden(self) -> tuple[tuple[Activation | None, int], ...]:
        """Of each of `bends`, the activation and how many neurons; none of windows."""
        nodes = [self.nodes[k] for k in self.bends]
        return tuple(
            (node.activation if isinstance(node, Bend) else None, self.sizes[node.source])
            for node in nodes
            if not isinstance(node, Affine)
        )

    @cached_property
    def entries(self) -> int:
        """Of all values, and of all windows."""
        return sum(self.sizes) + sum(node.windows.size for node in self.nodes if isinstance(node, Pool))

    @cached_property
    def plain(self) -> frozenset[int]:
        """Values of which intervals are about as good as bounds by planes.

        These are functions of single entries of one value, whose ends are as good as its own, and affine functions of
        independent intervals: of the input, and of what only gives its entries another place.
        """
        # ``apart``: values whose entries move independently of each other, of which interval arithmetic loses nothing.
        found, apart = set[int](), {0}
        for k, node in enumerate(self.nodes):
            if isinstance(node, Bend):
                found.add(k + 1)
            elif isinstance(node, Affine) and len(node.sources) == 1 and node.sources[0][0] in apart:
                found.add(k + 1)
                # An affine function of such a value is met exactly by its interval; its entries depend on each other
                # then, unless they were only moved.
                if _is_one_to_one(node.sources[0][1]):
                    apart.add(k + 1)
        return frozenset(found)

    @cached_property
    def terms(self) -> int:
        """Most terms of a sum: of a row of a node's maps, of a column of all that read a value, of all of a value."""
        # The minimum over a box, and the product of a row with a value, are sums over all entries.
        most = max(self.sizes)
        columns = [np.zeros(size, np.intp) for size in self.sizes]
        for node in self.nodes:
            if isinstance(node, Affine):
                rows = np.zeros(len(node.offset), np.intp)
                for source, each in node.sources:
                    np.add.at(rows, each.row, 1)
                    # Rows of all readers of a value are added up, so that each entry counts all that it is read by.
                    np.add.at(columns[source], each.column, 1)
                most = max(most, int(rows.max(initial=0)))
            elif isinstance(node, Bend):
                columns[node.source] += 1
            else:
                inside = node.windows >= 0
                np.add.at(columns[node.source], node.windows[inside], 1)
                most = max(most, node.windows.shape[1])
        return max(most, *(int(column.max(initial=0)) for column in columns)) + 1


def _is_one_to_one(each: Map) -> bool:
    """Does every entry of the map's value come from one place of its source, and none from two?"""
    return len(np.unique(each.row)) == len(each.row) and len(np.unique(each.column)) == len(each.column)


def beside_inputs(graph: Graph) -> Graph:
    """The network whose outputs are those of ``graph``, followed by its inputs."""
    n, m = graph.n_inputs, graph.n_outputs
    outputs = np.concatenate([np.arange(m), np.full(n, -1)])
    inputs = np.concatenate([np.full(m, -1), np.arange(n)])
    # Value 0 is the input; the last value has the number of the last node and one.
    sources = (len(graph.nodes), selection_map(outputs, m)), (0, selection_map(inputs, n))
    both = Affine(sources, np.array([Fraction(0)] * (m + n), dtype=object))
    return Graph((*graph.nodes, both), (*graph.sizes, m + n), graph.single)


def selection_map(places: Index, columns: int) -> Map:
    """The map that takes the entries at ``places`` of a value of so many; none where a place is -1."""
    rows = np.nonzero(places >= 0)[0]
    one = np.array([Fraction(1)], dtype=object)
    return Map((len(places), columns), rows, places[rows], np.zeros(len(rows), np.intp), one)


def sums_map(terms: Index, which: Index, table: Exact, columns: int) -> Map:
    """Each row a sum: entries ``table[which]`` on the places ``terms``, (rows, terms) both; none where that is -1."""
    # By rows, as `Map` promises: float64 reads them as the segments of a sparse matrix.
    row, place = np.nonzero(terms >= 0)
    return Map((len(terms), columns), row, terms[row, place], which[row, place], table)
