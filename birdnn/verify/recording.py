"""Keeps, while a region is searched, what a certificate needs; docs/certificate.md has the format.

Nodes get numbers as they are made; once the proof is finished they are renumbered level by level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.bounds.difference import FORMS
from birdnn.bounds.protocol import BoundResult, Choices, NeuronSplits
from birdnn.records import LEAF, RegionProof
from birdnn.spec import Region
from birdnn.verify.work import Step, Work

Array = npt.NDArray[np.generic]

_COLUMNS = {"item": 9, "face": 3, "cut": 5}
_NODES = {"item": (0,), "face": (0,), "cut": (0, 3, 4)}
"""Of what is kept: how many columns, and which of them hold numbers of nodes."""


@dataclass(slots=True, eq=False)
class Recorder:
    """The proof of one region in the making.

    Attributes:
        region: whose.
        nodes: how many have a number.
        bytes: memory of what is kept.
        intervals: see `Choices.intervals`.
    """

    region: Region
    nodes: int = 1
    bytes: int = 0
    intervals: tuple[int, ...] | None = None
    _items: list[tuple[Array, ...]] = field(default_factory=list)
    _faces: list[tuple[Array, ...]] = field(default_factory=list)
    _cuts: list[tuple[Array, ...]] = field(default_factory=list)

    def arrays(self) -> dict[str, Array]:
        """What is kept, to go on with another time: columns, numbered."""
        columns = {
            f"{kind}{i}": np.concatenate([part[i].ravel() for part in parts])
            for kind, parts in self._columns_by_kind().items()
            for i in range(len(parts[0]) if parts else 0)
        }
        return columns if self.intervals is None else {**columns, "intervals": np.array(self.intervals, np.int64)}

    @classmethod
    def of(cls, region: Region, nodes: int, arrays: Mapping[str, Array]) -> Recorder:
        """What `arrays` gave."""
        recorder = cls(region, nodes)
        if "intervals" in arrays:
            recorder.intervals = tuple(arrays["intervals"].tolist())
        for kind, kept in recorder._columns_by_kind().items():
            if f"{kind}0" in arrays:
                recorder._keep_columns(kept, tuple(arrays[f"{kind}{i}"] for i in range(_COLUMNS[kind])))
        return recorder

    def _columns_by_kind(self) -> dict[str, list[tuple[Array, ...]]]:
        return {"item": self._items, "face": self._faces, "cut": self._cuts}

    def add(self, other: Recorder, own: Tensor) -> Tensor:
        """Take over what was kept of subtrees: their roots were counted from 0, and are our nodes ``own``, (roots,).

        Returns:
            Our numbers of all its nodes, shape (other.nodes,).
        """
        new = other.nodes - len(own)
        # its roots have numbers here already; whatever was made below them follows the last one of ours
        numbers = np.concatenate([own.cpu().numpy(), self.nodes + np.arange(new)])
        self.nodes += new
        for kind, kept in self._columns_by_kind().items():
            for columns in other._columns_by_kind()[kind]:
                places = _NODES[kind]
                self._keep_columns(kept, tuple(numbers[c] if i in places else c for i, c in enumerate(columns)))
        return torch.from_numpy(numbers)

    def examined(self, work: Work, step: Step) -> None:
        """Keep the planes that closed a polytope, or that moved a face of what remains, those faces, and the splits."""
        result, left, before = step.result, step.left, work.boxes[step.left.parent]
        if result.choices is None or left.used is None:
            raise ValueError("a bound method that keeps no choices leaves no certificate")
        self.intervals = result.choices.intervals
        if result.splits is not None:
            self._record_splits(work, result, result.splits)
        item, plane = left.used.nonzero(as_tuple=True)
        multipliers, slopes, sides = _choices_of_planes(result.choices, item, plane)
        self._keep_items(work.node[result.box[item]], result.polytope[item], multipliers, slopes, sides)
        at = torch.stack([left.boxes.lower, left.boxes.upper], 2)  # (m, inputs, sides)
        # a face that has not moved is the parent's, and is not written down
        moved = torch.stack([left.boxes.lower > before.lower, left.boxes.upper < before.upper], 2)
        row, axis, side = moved.nonzero(as_tuple=True)
        self._keep_columns(self._faces, _columns_to_numpy(step.remains.node[row], 2 * axis + side, at[row, axis, side]))

    def _keep_items(self, node: Tensor, polytope: Tensor, multipliers: Tensor, slopes: Tensor, sides: Tensor) -> None:
        """Items with their slopes, (items, neurons), NaN for none, and multipliers of sides, alike."""
        which, neuron = (~slopes.isnan()).nonzero(as_tuple=True)
        count = torch.bincount(which, minlength=len(node))
        item, split = (~sides.isnan()).nonzero(as_tuple=True)
        many = torch.bincount(item, minlength=len(node))
        columns = node, polytope, multipliers, count, neuron, slopes[which, neuron], many, split, sides[item, split]
        self._keep_columns(self._items, _columns_to_numpy(*columns))

    def _record_splits(self, work: Work, result: BoundResult, splits: NeuronSplits) -> None:
        """Keep trees of neurons: their nodes get numbers below that of the box they split."""
        inputs, entries = work.boxes.lower.shape[1], iter(splits.neuron.tolist())
        leaves: list[int] = []
        ways: list[tuple[int, ...]] = []
        cuts: list[tuple[int, int, int, int]] = []
        for root in work.node[result.box[splits.item]].tolist():
            # entries are in preorder, so that a stack of what is still to come meets each node in its turn
            open_: list[tuple[int, tuple[int, ...]]] = [(root, ())]
            while open_:
                node, way = open_.pop()
                neuron = next(entries)
                if neuron < 0:
                    leaves.append(node)
                    ways.append(way)
                    continue
                cuts.append((node, inputs + neuron, self.nodes, self.nodes + 1))
                way = (*way, neuron)
                open_ += [(self.nodes + 1, way), (self.nodes, way)]  # the negative side is next
                self.nodes += 2
        parents, axis, below, above = np.array(cuts, np.int64).reshape(-1, 4).T  # none where a box is the only leaf
        self._keep_columns(self._cuts, (parents, axis, np.zeros(len(cuts)), below, above))
        number = (splits.size + 1) // 2
        sides = torch.full_like(splits.slopes, torch.nan)
        for leaf, way in enumerate(ways):
            sides[leaf, list(way)] = splits.beta[leaf, : len(way)].to(sides)
        polytope = result.polytope[splits.item].repeat_interleave(number)
        self._keep_items(torch.tensor(leaves), polytope, splits.multipliers, splits.slopes, sides)

    def cut(self, parents: Work, halves: Work, edge: Tensor) -> Tensor:
        """Numbers for the halves of the boxes of `parents`, in the order of `Boxes.bisect`: shape (2 * m,).

        Args:
            parents, halves: see above.
            edge: where each was cut, (m,): an input, or from their number on a neuron, at zero.
        """
        m, inputs = len(parents), parents.boxes.lower.shape[1]
        first = halves.boxes[:m]
        # the first half differs from its box in the upper face of the edge that was cut, and in nothing else
        axis = (first.upper < parents.boxes.upper).to(torch.int64).argmax(1)
        at = first.upper.gather(1, axis[:, None])[:, 0].where(edge < inputs, 0.0)
        axis = axis.where(edge < inputs, edge)
        numbers = self.nodes + torch.arange(2 * m)
        self.nodes += 2 * m
        self._keep_columns(self._cuts, _columns_to_numpy(parents.node, axis, at, numbers[:m], numbers[m:]))
        return numbers.to(parents.node.device)

    def _keep_columns(self, kept: list[tuple[Array, ...]], columns: tuple[Array, ...]) -> None:
        kept.append(columns)
        self.bytes += sum(column.nbytes for column in columns)

    def finish(self) -> RegionProof:
        """The proof, once nothing is open."""
        node, axis, at, below, above = _join_columns(self._cuts, (np.int64, np.int64, np.float64, np.int64, np.int64))
        children = np.full((self.nodes, 2), -1)
        children[node] = np.stack([below, above], 1)
        order = _level_by_level(children)
        rank = np.empty(self.nodes, np.int64)
        rank[order] = np.arange(self.nodes)
        # places of leaves are never read
        axes, places = np.full(self.nodes, LEAF, np.uint32), np.empty(self.nodes)
        axes[rank[node]], places[rank[node]] = axis, at
        kept = {**self._face_columns(rank), **self._item_columns(rank, axes)}
        intervals = None if self.intervals is None else np.array(self.intervals, np.int64)
        return RegionProof(axis=axes, cut=places[axes != LEAF], intervals=intervals, **kept)

    def _face_columns(self, rank: npt.NDArray[np.int64]) -> dict[str, Any]:
        node, face, at = _join_columns(self._faces, (np.int64, np.int64, np.float64))
        node = rank[node]
        order = np.lexsort((face, node))
        return {
            "face_node": node[order].astype(np.uint32),
            "face": face[order].astype(np.uint32),
            "face_at": at[order],
        }

    def _item_columns(self, rank: npt.NDArray[np.int64], axes: npt.NDArray[np.uint32]) -> dict[str, Any]:
        """The items sorted, each polytope's multipliers as many as it has rows."""
        types = np.int64, np.int64, np.float64, np.int64, np.int64, np.float32, np.int64, np.int64, np.float32
        node, polytope, multiplier, count, neuron, slope, sides, split, beta = _join_columns(self._items, types)
        sizes = np.array([len(p.rows) for p in self.region.unsafe])
        rows, own = sizes.max(), sizes[polytope]
        forms = len(multiplier) // (rows * len(node)) if len(node) else 1
        multiplier = _unpad_multipliers(multiplier.reshape(len(node), forms, rows), own)
        order = np.lexsort((polytope, rank[node]))
        kept = np.broadcast_to((np.arange(rows) < own[:, None])[:, None], multiplier.shape)[order]
        place = _reordered_entries(count, order)
        beta = beta[_order_from_root(axes, len(self.region.exact_lower), rank[node], sides, split)]
        return {
            "item_node": rank[node][order].astype(np.uint32),
            "item_polytope": polytope[order].astype(np.uint16),
            # multiples of 2**-12 (docs/soundness.md), which float32 holds exactly
            "multiplier": multiplier[order][kept].astype(np.float32),
            "slopes": count[order].astype(np.uint32),
            "neuron": neuron[place].astype(np.uint32),
            "slope": slope[place],
            "beta": beta[_reordered_entries(sides, order)],
        }


def _unpad_multipliers(multiplier: npt.NDArray[np.float64], own: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Multipliers of items' rows, (items, forms, rows), of which each has `own`: padding repeats the last row.

    Rows on two networks come in all of `FORMS`, of which a question leaves the last one out where it is another again.
    """
    forms, rows = multiplier.shape[1:]
    at = np.arange(rows)
    # the last row has the sum of what it and its copies in the padding got
    rest = (multiplier * (at >= own[:, None] - 1)[:, None]).sum(2, keepdims=True)
    multiplier = np.where((at == own[:, None] - 1)[:, None], rest, multiplier)
    # the format has a place for each form, also for one that was not asked for
    missing = 0 if forms == 1 else FORMS - forms
    return np.concatenate([multiplier, np.zeros((len(own), missing, rows))], 1)


def _order_from_root(
    axes: npt.NDArray[np.uint32],
    inputs: int,
    node: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    split: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """In which order the multipliers of items' sides stand as their neurons are split above, from the root on.

    Args:
        axes: of the tree's nodes, level by level.
        inputs: from which on an axis is a neuron.
        node: of each item.
        sides: how many each has; ``split``, of which neurons, of all items one after the other.
    """
    cuts = np.nonzero(axes != LEAF)[0]
    # level by level the children of the k-th cut are the nodes 2 k + 1 and 2 k + 2
    parent = np.concatenate([np.zeros(1, np.int64), np.repeat(cuts, 2)])
    item = np.nonzero(sides)[0]
    child, found = node[item], []
    while len(item):  # upwards, until the root has been looked at
        above = parent[child]
        here = axes[above] >= inputs
        found.append((item[here], above[here], axes[above][here].astype(np.int64) - inputs))
        item, child = item[above > 0], above[above > 0]
    if not found:
        return np.empty(0, np.int64)
    item, above, neuron = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((above, item))  # a node stands behind those above it
    owner = np.repeat(np.arange(len(sides)), sides)
    stands = np.lexsort((split, owner))
    # one number for each pair of item and neuron, so that pairs sort and compare as numbers
    most = 1 + max(int(split.max()), int(neuron.max()))
    wanted = item[order] * most + neuron[order]
    known = owner[stands] * most + split[stands]
    if not np.array_equal(np.sort(wanted), known):
        raise AssertionError("an item has not one multiplier for each neuron that is split above it")
    places: npt.NDArray[np.int64] = stands[np.searchsorted(known, wanted)]
    return places


def _reordered_entries(count: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of all entries once items stand in another order; item ``i`` has ``count[i]`` of them, side by side."""
    start, size = np.cumsum(count) - count, count[order]
    return np.repeat(start[order] - (np.cumsum(size) - size), size) + np.arange(size.sum())


def _choices_of_planes(choices: Choices, item: Tensor, plane: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multipliers, slopes and multipliers of sides of some planes: (n, rows), (n, neurons) and (n, neurons)."""
    multipliers, slopes = choices.multipliers[item], choices.slopes[item]
    rows = multipliers.shape[1]
    # the planes of single rows come first; with one row there is the combination alone, whose slopes were optimised
    single = plane < rows if rows > 1 else torch.zeros_like(plane, dtype=torch.bool)
    alone = torch.nn.functional.one_hot(plane.clamp(max=rows - 1), rows).to(multipliers)
    sides = torch.full_like(slopes, torch.nan)
    if choices.sides is not None:
        sides = torch.where(single[:, None], choices.sides[0][item], choices.sides[1][item])
    return torch.where(single[:, None], alone, multipliers), slopes.masked_fill(single[:, None], torch.nan), sides


def _level_by_level(children: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The nodes of a tree from the root down, the two children of a node side by side."""
    level, order = np.zeros(1, np.int64), []
    while len(level):
        order.append(level)
        below = children[level]
        level = below[below[:, 0] >= 0].reshape(-1)
    return np.concatenate(order)


def _columns_to_numpy(*columns: Tensor) -> tuple[Array, ...]:
    return tuple(column.cpu().numpy() for column in columns)


def _join_columns(parts: list[tuple[Array, ...]], types: tuple[type, ...]) -> list[Any]:
    """The parts' columns, one after the other, in the types given."""
    return [
        np.concatenate([np.empty(0, kind), *(part[i].ravel() for part in parts)]).astype(kind)
        for i, kind in enumerate(types)
    ]
