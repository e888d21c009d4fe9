"""The proof tree of a network that is a graph: what is known of its values at each node of the tree."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from birdnn.certify.check.files import Rejected
from birdnn.certify.check.graphs.nodes import Affine, Bend, Graph, Pool
from birdnn.certify.check.lines import Flags, Floats, is_bent
from birdnn.certify.check.tree import LARGEST, Batch, Corners, Index, Planes, Walk

_ENTRIES = 1 << 24
"""Of all values and windows of a batch."""


@runtime_checkable
class GraphPass(Planes, Protocol):
    """Backward propagation over one batch of boxes. Nodes come in order: an affine one, or one that is relaxed."""

    def begin(self, corners: Corners) -> None:
        """The input lies between these, (boxes, inputs)."""

    def affine(self, k: int) -> None:
        """The interval of what an affine node makes."""

    def interval(self, number: int) -> Corners:
        """Of a value, (boxes, entries)."""

    def neurons(self, number: int, box: Index, entry: Index, corners: Corners) -> Corners:
        """Lower and upper bounds of entries of a value, one for each entry of ``box`` and ``entry``."""

    def relax(self, k: int, l: Floats, u: Floats) -> None:
        """Fix the default lines of a node that is not affine, for entries of what it reads in ``l .. u``."""


class GraphWalk(Walk):
    """`Walk` of a network that is a graph."""

    def _batch_limit(self) -> int:
        return max(1, min(self.batch, _ENTRIES // self._graph.entries))

    @property
    def _graph(self) -> Graph:
        if not isinstance(self.network, Graph):
            raise TypeError("a walk of nodes needs a graph of them")
        return self.network

    def _tighten_bounds(self, batch: Batch) -> Planes:
        """Bounds of all neurons, in place, and the pass that knows them.

        Every neuron is bounded by the intervals of what it is made of; by planes too where that may tell more, unless
        the certificate leaves it at intervals, or a neuron is split above: too many are known better then to look at
        all others again.
        """
        pass_, corners = self.engine.start(self.rows, len(batch.node)), (batch.lower, batch.upper)
        if not isinstance(pass_, GraphPass):
            raise TypeError(f"{type(self.engine).__name__} is no engine for graphs")
        pass_.begin(corners)
        # The format says which neurons are bounded by planes, so that prover and checker know the same.
        planes = self.region.sides[batch.node] == 0
        spans = iter(enumerate(self.spans))
        for k, node in enumerate(self._graph.nodes):
            if isinstance(node, Affine):
                pass_.affine(k)
                continue
            place, span = next(spans)
            # Views: what is tightened here is what children inherit.
            l, u = batch.l[:, span], batch.u[:, span]
            np.maximum(l, pass_.interval(node.source)[0], out=l)
            np.minimum(u, pass_.interval(node.source)[1], out=u)
            # Planes are what costs time; here they would tell hardly more than the intervals do.
            if node.source not in self._graph.plain and place not in self.region.intervals:
                box, entry = np.nonzero(_depends_on_bounds(node, l, u) & planes[:, None])
                if len(box):
                    low, up = pass_.neurons(node.source, box, entry, corners)
                    l[box, entry], u[box, entry] = np.maximum(l[box, entry], low), np.minimum(u[box, entry], up)
            # Once, at the root, which contains all others; NaN does not pass.
            if isinstance(node, Bend) and node.limited and batch.node[0] == 0 and not (u < LARGEST).all():
                raise Rejected(f"{self.where}: a Clip could end at the largest number of single precision, node {k}")
            pass_.relax(k, l, u)
        return pass_


def _depends_on_bounds(node: Bend | Pool, l: Floats, u: Floats) -> Flags:
    """Of which entries the lines of a node depend on the bounds."""
    # Not ``l < u``: NaN must count as open.
    return is_bent(node.activation, l, u) if isinstance(node, Bend) else ~(l >= u)
