"""A network as a sequence of blocks: what block-level localisation and repair speak about.

A block has one input value and one output value. Between two *cuts*, values through which every path from the input to
the output goes, lies a *unit*: a single operation, or everything between the fork and the join of a residual or dense
connection. Blocks are runs of units, so that every node is in exactly one, and no partition, ours or a user's, can
break a join.

Where an exporter kept the names of modules (``/layer1/conv1/Conv``, or initialisers such as ``layer1.conv1.weight``),
the units of one module are a block; a module that only lists layers is divided by structure, as is a graph without
names: a join is a block with what follows it up to the next weighted layer, a plain run of layers ends behind a pooling
and before a change of channels, and what turns images into numbers begins a block of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import operators_where

WEIGHTED = operators_where(lambda row: row.weighted)
_POOLING = frozenset({"AveragePool", "MaxPool"})
_RESHAPING = operators_where(lambda row: row.written == "Reshape")

By = Literal["names", "structure", "user"]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a network with one input and one output.

    Attributes:
        name: unique in its network.
        nodes: in topological order; those that do not depend on the input lie where they are read first.
        entry, exit: names of the value it reads and of the value it makes.
        by: what drew its borders.
    """

    name: str
    nodes: tuple[Node, ...]
    entry: str
    exit: str
    by: By

    def weights(self, net: Network) -> tuple[str, ...]:
        """Names of the initialisers that it alone reads and that a repair may change, in order.

        One that another block reads, too, as exporters leave it of equal tensors, is not its own: other values would
        change what that block computes, before this one as well as behind it.
        """
        # by origins: a node may hand an initialiser on as another value, transposed for example
        mine = {node.output for node in self.nodes}
        others = set(net.origins(name for node in net.nodes if node.output not in mine for name in node.inputs))
        read = dict.fromkeys(name for node in self.nodes for name in node.inputs)
        return tuple(name for name in read if name in net.repairable and name not in others)

    @property
    def convolutions(self) -> tuple[Node, ...]:
        """Its convolutions, in order."""
        return tuple(node for node in self.nodes if node.op == "Conv")


def partition(net: Network, chosen: Mapping[str, Sequence[str]] | None = None) -> tuple[Block, ...]:
    """The blocks of a network, from input to output; every node is in exactly one.

    Args:
        net: the network.
        chosen: name of a block -> nodes that belong to it, by their names or those of their values. It is widened to
            whole units, and to everything between its first and its last node. What nobody chose is divided as ever.

    Raises:
        MismatchError: an unknown node, or two chosen blocks overlap.
    """
    units = _cut_into_units(net)
    owner = _owners_of_units(units, chosen or {})
    blocks: list[_Draft] = []
    for place, unit in enumerate(units):
        before = owner.get(place - 1)
        user = owner.get(place)
        # a block of the user's ends where the user says, whatever modules its units belong to
        begins = not blocks or user != before or (user is None and _begins_block(net, blocks[-1], unit))
        if begins:
            blocks.append(_Draft(user))
        blocks[-1].add(unit)
    return _named_blocks(net, _merge_weightless(blocks))


def require_blocks(net: Network, chosen: Mapping[str, Sequence[str]] | None = None) -> tuple[Block, ...]:
    """The same, of a network that has something to choose between.

    Raises:
        MismatchError: see `partition`; no convolution, fewer than two blocks with weights, or no axis for batches.
    """
    name = net.source or "the network"
    blocks = partition(net, chosen)
    if not any(block.convolutions for block in blocks):
        told = "it has no convolution, so there is no block to repair"
        raise MismatchError(f"{name}: {told}; for fully connected networks use properties, or --points, without blocks")
    if sum(bool(block.weights(net)) for block in blocks) < 2:
        raise MismatchError(f"{name}: all its weights are in one block; name parts of it with --block NAME=FIRST..LAST")
    if not net.graph.batched:
        raise MismatchError(f"{name}: its graph takes one image at a time; export it with a batch axis of free size")
    return blocks


# --- units


@dataclass(frozen=True, slots=True)
class _Unit:
    nodes: tuple[Node, ...]
    entry: str
    extra: tuple[Node, ...]  # nodes that do not depend on the input

    @property
    def exit(self) -> str:
        return self.nodes[-1].output

    @property
    def joined(self) -> bool:
        """Is it a fork with its join, rather than one operation?"""
        return len(self.nodes) > 1

    def has(self, ops: Iterable[str]) -> bool:
        return any(node.op in ops for node in self.nodes)


def _cut_into_units(net: Network) -> list[_Unit]:
    """Everything between neighbouring cuts."""
    dependent = [node for node in net.nodes if node.output in net.graph.dependent]
    last_use = {name: place for place, node in enumerate(dependent) for name in node.inputs}
    last_use[net.output_name] = len(dependent)
    constant = {node.output: node for node in net.nodes if node.output not in net.graph.dependent}
    found: list[_Unit] = []
    # `latest`: where the last of all values made so far is read; a value with nothing older still wanted is a cut
    entry, start, latest = net.input_name, 0, last_use.get(net.input_name, -1)
    for place, node in enumerate(dependent):
        if latest <= place:  # everything made before is used up
            nodes = tuple(dependent[start : place + 1])
            found.append(_Unit(nodes, entry, _take_constants(nodes, constant)))
            entry, start = node.output, place + 1
        latest = max(latest, last_use.get(node.output, -1))
    return found


def _take_constants(nodes: Sequence[Node], left: dict[str, Node]) -> tuple[Node, ...]:
    """Takes those that ``nodes`` read, through one another, out of ``left``."""
    found: list[Node] = []
    wanted = [name for node in nodes for name in node.inputs]
    while wanted:
        # taken out: a constant that several units read lies in the first of them
        node = left.pop(wanted.pop(), None)
        if node is not None:
            found.append(node)
            wanted += node.inputs
    return tuple(found)


def _owners_of_units(units: Sequence[_Unit], chosen: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """Place of a unit -> the user's block that it belongs to."""
    places: dict[str, set[int]] = {}  # a node of the file may be several here, which share its name
    for place, unit in enumerate(units):
        for node in (*unit.extra, *unit.nodes):
            for name in (node.output, node.name):
                places.setdefault(name, set()).add(place)
    owner: dict[int, str] = {}
    for block, names in chosen.items():
        if missing := [name for name in names if name not in places]:
            known = ", ".join(unit.nodes[-1].name for unit in units[:6])
            raise MismatchError(f"block {block!r}: the network has no node {missing[0]!r}; it has {known}, ...")
        found = set().union(*(places[name] for name in names))
        # with all between: what is left out in the middle would have a second way in or out
        for place in range(min(found), max(found) + 1):
            if owner.setdefault(place, block) != block:
                told = f"node {units[place].nodes[-1].name!r} would be in both"
                raise MismatchError(f"blocks {owner[place]!r} and {block!r} overlap: {told}")
    return owner


# --- blocks from units


class _Draft:
    """A block that grows; `user` is its name where a user gave it."""

    def __init__(self, user: str | None) -> None:
        self.user, self.units = user, list[_Unit]()

    def add(self, unit: _Unit) -> None:
        self.units.append(unit)

    @property
    def scope(self) -> tuple[str, ...]:
        """The module that its first named unit lies in; empty where nobody says."""
        return next((scope for unit in self.units if (scope := _enclosing_module(unit))), ())

    @property
    def joined(self) -> bool:
        return any(unit.joined for unit in self.units)

    @property
    def weighted(self) -> bool:
        return any(unit.has(WEIGHTED) for unit in self.units)


def _begins_block(net: Network, before: _Draft, unit: _Unit) -> bool:
    """Is the unit behind a draft the beginning of another block?"""
    if before.user is not None:
        return True
    known, here = before.scope, _module_of_unit(unit)
    # where one of the two has no name there is no module to compare: structure decides
    if known and here and here[: len(known)] != known:
        # a bare activation or pooling of the level above goes on with what it follows
        plain = not unit.joined and not unit.has(WEIGHTED)
        return not (plain and len(here) <= 1 and not _flattens_images(net, unit))
    return _structure_divides(net, before, unit)


def _structure_divides(net: Network, before: _Draft, unit: _Unit) -> bool:
    """The same by structure alone."""
    if not before.weighted:  # preprocessing, or what turns images into numbers: goes with what follows
        return False
    if unit.joined or _flattens_images(net, unit):
        return True
    if not unit.has(WEIGHTED):
        return False
    if before.joined or any(part.has(_POOLING) for part in before.units):
        return True
    return _changes_channels(net, unit) and any(part.has({"Conv"}) for part in before.units)


def _flattens_images(net: Network, unit: _Unit) -> bool:
    """Does it turn images into numbers, by a mean over all places or another layout?"""
    shapes = net.graph.shapes
    before, after = shapes[unit.entry], shapes[unit.exit]
    # images of one pixel are numbers already
    if unit.joined or len(before) < 3 or math.prod(before[2:]) == 1:
        return False
    return len(after) < 3 or (math.prod(after[2:]) == 1 and unit.has({*_POOLING, "GlobalAveragePool", *_RESHAPING}))


def _changes_channels(net: Network, unit: _Unit) -> bool:
    shapes = net.graph.shapes
    return unit.has({"Conv"}) and shapes[unit.entry][1:2] != shapes[unit.exit][1:2]


def _merge_weightless(drafts: list[_Draft]) -> list[_Draft]:
    """Without weights a part is no block: it goes with what precedes it, unless a user wants it."""
    found: list[_Draft] = []
    for draft in drafts:
        # either of the two: a first part without weights takes the next one in
        ours = draft.user is None and found and found[-1].user is None
        if ours and not (draft.weighted and found[-1].weighted):
            found[-1].units += draft.units
        else:
            found.append(draft)
    return found


# --- names


def _module_of_unit(unit: _Unit) -> tuple[str, ...]:
    """The module path that the nodes of a unit share, without the operator; empty where names say nothing."""
    paths = [path for node in unit.nodes if (path := _module_of_node(node))]
    shared = []
    for parts in zip(*paths):  # noqa: B905 - as far as the shortest goes
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)


def _enclosing_module(unit: _Unit) -> tuple[str, ...]:
    """The module that a unit fills or lies in: of a single layer the one around it."""
    scope = _module_of_unit(unit)
    return scope if unit.joined else scope[:-1]


def _module_of_node(node: Node) -> tuple[str, ...]:
    """``/layer1/conv1/Conv`` -> layer1, conv1; else by an initialiser, ``layer1.conv1.weight``."""
    if node.name.startswith("/"):
        return tuple(part for part in node.name.split("/")[1:-1] if part)
    # the first is what the layer reads, which another module has made
    for name in node.inputs[1:]:
        parts = name.split(".")
        if len(parts) > 1 and parts[-1] in ("weight", "bias"):
            return tuple(parts[:-1])
    return ()


def _block_name(scope: tuple[str, ...]) -> str:
    """Exporters repeat the path: ``layer1``, ``layer1.0`` is called ``layer1.0``."""
    parts: list[str] = []
    for part in scope:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def _named_blocks(net: Network, drafts: Sequence[_Draft]) -> tuple[Block, ...]:
    # a module that became several blocks can name none of them; users' names are taken first, and ours give way
    scopes = [_block_name(draft.scope) for draft in drafts]
    blocks: list[Block] = []
    taken: set[str] = {draft.user for draft in drafts if draft.user is not None}
    for place, (draft, scope) in enumerate(zip(drafts, scopes, strict=True), 1):
        by: By = "user" if draft.user is not None else "names" if scopes.count(scope) == 1 and scope else "structure"
        name = draft.user or (scope if by == "names" else f"block{place}")
        while draft.user is None and name in taken:
            name += "'"
        taken.add(name)
        parts = {node.output for unit in draft.units for node in (*unit.extra, *unit.nodes)}
        # in the order of the network: constants were found backwards, from those that read them
        nodes = tuple(node for node in net.nodes if node.output in parts)
        blocks.append(Block(name, nodes, draft.units[0].entry, draft.units[-1].exit, by))
    return tuple(blocks)
