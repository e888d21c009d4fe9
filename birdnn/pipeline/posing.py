"""Queries about several networks, posed to the networks of given files, and decided."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.difference import INNER_STEPS, difference_bound, joint_chain
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound
from birdnn.bounds.slope import slope_bound
from birdnn.chain import NotAChain
from birdnn.errors import MismatchError
from birdnn.formats.relation import Relation
from birdnn.joint import Part, network_of_variables, side_by_side
from birdnn.network import Network
from birdnn.pipeline.claims import is_chain
from birdnn.pipeline.deciding import VACUOUS, falsify_loaded
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.slopes import Slope, slope_of
from birdnn.records import (
    ARITHMETIC,
    Proved,
    Replay,
    Unknown,
    Verdict,
    Violated,
    Watch,
)
from birdnn.rounding import Semantics
from birdnn.spec import Property
from birdnn.verify import SearchSettings, falsify, verify
from birdnn.verify.bounding import MakeBound, make_bound
from birdnn.verify.covering import cover_region
from birdnn.verify.relating import net_for_property

_SLOPE_BOXES = 1_000_000
"""After so many a proof by slopes is given up, however much time there is: some slope may have the wrong sign."""

_STEPS = 2
"""On slopes of lines: of differences few are free, and a cut is worth more."""


@dataclass(frozen=True, slots=True, eq=False)
class JointReplay:
    """`Replay` of several files at inputs that share variables: all outputs, one network's behind the other's."""

    parts: tuple[tuple[Replay, tuple[int, ...]], ...]

    @property
    def name(self) -> str:
        """Who runs them."""
        return " and ".join(dict.fromkeys(replay.name for replay, _ in self.parts))

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs at one point: (variables,) -> (outputs,)."""
        # each file by itself: nobody outside of us has both as one network
        return np.concatenate([replay(x[list(reads)]).reshape(-1) for replay, reads in self.parts])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posed:
    """A query with its networks.

    Attributes:
        path, relation: of the query, and what it says.
        loaded: all networks as one, of the variables.
        parts: them, each with the variables that it reads.
        make: what bounds all outputs.
        note: how they are bounded, where that is not by their difference.
        shared: layers in which they are one, where their difference is followed; else None.
        slope: a statement about slopes that implies it, where there is one over the reals.
    """

    path: Path
    relation: Relation
    loaded: Loaded
    parts: tuple[Part, ...]
    make: MakeBound
    note: str
    shared: int | None
    slope: Slope | None

    @property
    def prop(self) -> Property:
        """The query, as a property of the variables."""
        return self.relation.prop


def pose_query(path: Path, relation: Relation, given: Mapping[str, Loaded], semantics: Semantics) -> Posed:
    """A query posed to networks.

    Args:
        path: of the query.
        relation: what it says.
        given: networks by the names that the query has for them.
        semantics: what is to be proved.

    Raises:
        MismatchError: a network is missing or too many, or its sizes are not those of the query.
    """
    loaded = _networks_of_query(path, relation, given)
    for net in relation.networks:
        own = loaded[net.name].net
        relation.require_sizes(net.name, own.n_inputs, own.n_outputs, str(loaded[net.name].path))
    files = [loaded[net.name] for net in relation.networks]
    if label := next((file for file in files if file.net.graph.label), None):
        raise MismatchError(f"{label.path}: gives a label, and queries about several networks compare numbers")
    parts = tuple(Part(net=file.net, reads=reads) for file, reads in zip(files, relation.reads, strict=True))
    # an NNet file has two engines, an ONNX file one: as many as all of them have
    replays = zip(*(file.replays for file in files), strict=False)
    both = [JointReplay(tuple(zip(engines, relation.reads, strict=True))) for engines in replays]
    joint = side_by_side(parts, relation.prop.n_inputs, sha256=relation.prop.sha256)
    whole = Loaded(net=joint, path=files[0].path, replays=tuple(both), nnet=None, known=None)
    make, note, shared = _choose_bounds(parts, relation.prop, semantics)
    slope = None
    if semantics == "real" and relation.prop.relational:  # others need no chain, and no comparison of weights
        slope = slope_of(parts, relation.prop, same=all(_is_same_network(part.net, parts[0].net) for part in parts))
        slope = slope if slope is not None and is_chain(slope.net) else None
    return Posed(
        path=path, relation=relation, loaded=whole, parts=parts, make=make, note=note, shared=shared, slope=slope
    )


def decide_query(posed: Posed, limits: SearchSettings, watch: Watch, *, proving: bool) -> Verdict:
    """Decide a query; the inputs of a counterexample are those of all networks, one network's behind the other's."""
    return with_all_inputs(_decide_posed(posed, limits, watch, proving=proving), posed.relation)


def _decide_posed(posed: Posed, limits: SearchSettings, watch: Watch, *, proving: bool) -> Verdict:
    prop = posed.prop
    until = time.monotonic() + limits.timeout_s
    # the checker follows differences only: anything else would be recorded for nobody
    limits = replace(limits, record=limits.record and posed.shared is not None)
    loaded = replace(posed.loaded, net=net_for_property(posed.loaded.net, prop))
    # before what is vacuous, for which the falsifier has an answer of its own
    if not proving:
        return falsify_loaded(loaded, prop, limits, watch)
    if prop.vacuous:
        return Proved(boxes=0, arithmetic=VACUOUS)
    if posed.slope is not None:
        half = replace(limits, timeout_s=limits.timeout_s / 2)
        verdict = prove_by_slope(posed.slope, loaded, prop, half, watch)
        if not isinstance(verdict, Unknown) or watch.stopped() or time.monotonic() >= until:
            return verdict
        # the slopes have taken some of what was left when these limits were made
        limits = replace(limits, timeout_s=max(0.0, until - time.monotonic()))
    return verify(loaded.net, prop, settings=limits, replays=loaded.replays, watch=watch, bound=posed.make)


def prove_by_slope(slope: Slope, loaded: Loaded, prop: Property, limits: SearchSettings, watch: Watch) -> Verdict:
    """A short attack on pairs of inputs, then a proof about slopes.

    Where that is in vain some slope may have the wrong sign, and so may pairs that an attack finds.
    """
    until = time.monotonic() + limits.timeout_s
    most = min(_SLOPE_BOXES, limits.max_boxes)
    # before the proof, which a violation would make go on until its boxes are spent
    found = falsify(loaded.net, prop, settings=limits, replays=loaded.replays, watch=watch, rounds=1)
    # one that violates by rounding alone refutes no statement over the reals
    if isinstance(found, Violated) and found.witness.exactly is not False:
        return found
    boxes, bound = 0, _slope_bound(slope, limits)
    if bound is None:
        return Unknown(reason="precision", boxes=0)
    for region in slope.regions:
        verdict = cover_region(
            bound,
            region,
            2 * slope.net.n_outputs,
            settings=replace(limits, timeout_s=max(0.0, until - time.monotonic()), max_boxes=most),
            watch=watch,
            phase=f"proving {prop.name} by slopes",
        )
        boxes += verdict.boxes
        if isinstance(verdict, Unknown):
            return replace(verdict, boxes=boxes)
    executed = found.witness if isinstance(found, Violated) else None  # violates when run, by rounding
    return Proved(boxes=boxes, arithmetic=ARITHMETIC["real"], executed=executed)


def _networks_of_query(path: Path, relation: Relation, given: Mapping[str, Loaded]) -> dict[str, Loaded]:
    """Each of the query's networks; one that is equal to another need not be given.

    Raises:
        MismatchError: one is missing, is not in the query, or is said to be equal to another and is not.
    """
    names = [net.name for net in relation.networks]
    if unknown := [name for name in given if name not in names]:
        raise MismatchError(f"{path}: declares {', '.join(names)}, and no network {unknown[0]!r}")
    found = dict[str, Loaded]()
    for net in relation.networks:
        loaded = given.get(net.name) or found.get(net.equal)
        if loaded is None:
            raise MismatchError(f"{path}: is about {', '.join(names)}; say --net {net.name}=FILE")
        if net.equal and not _is_same_network(loaded.net, found[net.equal].net):
            raise MismatchError(f"{path}: {net.name} is equal to {net.equal} there, and the two files are not")
        found[net.name] = loaded
    return found


def _is_same_network(one: Network, other: Network) -> bool:
    """Are two networks one: the same operations on the same numbers, those of constants included?

    A file's digest does not say it: the numbers may lie beside the file.
    """
    if one is other:
        return True
    mine, theirs = one.values(), other.values()
    if one.graph != other.graph or mine.keys() != theirs.keys():
        return False
    return all(torch.equal(value.double(), theirs[name].double()) for name, value in mine.items())


def _choose_bounds(parts: Sequence[Part], prop: Property, semantics: Semantics) -> tuple[MakeBound, str, int | None]:
    """What bounds the outputs side by side, and a remark where the difference is not followed; else the number of
    layers in which both networks are one."""
    why = ""
    if semantics != "real":
        why = "executions are bounded each by itself"
    elif len(parts) != 2:
        why = f"{len(parts)} networks are bounded each by itself"
    elif prop.relational:
        why = "inputs are related by more than equality, so that each network was bounded by itself"
    # the bound adds coefficients of both networks in float64: sums that round would be another query
    elif not _is_exact_in_float64(prop):
        why = "it has coefficients that float64 does not hold, so that each network was bounded by itself"
    else:
        first, second = (network_of_variables(part, prop.n_inputs) for part in parts)
        try:
            _, shared = joint_chain(first, second)
        except NotAChain as error:
            why = f"each network was bounded by itself, which says little about their difference: {error.reason}"
        else:
            return _Following(first, second), "", shared
    return make_bound, f"{why}.", None


@dataclass(frozen=True, slots=True, eq=False)
class _Following:
    """`MakeBound` of two networks whose difference is followed."""

    before: Network
    after: Network

    def __call__(self, net: Network, settings: SearchSettings) -> MarginBound:
        """The bounds; of executions, which the difference says nothing of, those of `net`."""
        device = torch.device(settings.device)
        if settings.semantics != "real":  # asked at a first look, which is not worth more than intervals
            return IntervalBound(net, device, settings.semantics)
        try:
            crown = _crown_settings(settings)
            return difference_bound(self.before, self.after, device, crown, settings.record)
        except NotAChain:  # its weights multiply to more than bounds hold for
            return make_bound(net, replace(settings, record=False))


def _slope_bound(slope: Slope, settings: SearchSettings) -> MarginBound | None:
    """None where the weights multiply to more than bounds hold for."""
    try:
        return slope_bound(slope.net, slope.direction, torch.device(settings.device), _crown_settings(settings))
    except NotAChain:
        return None


def _crown_settings(settings: SearchSettings) -> CrownSettings:
    """Effort on differences and slopes: little on final rows, more on the inner neurons that these depend on."""
    return replace(settings.crown, steps=min(_STEPS, settings.crown.steps), inner_steps=INNER_STEPS)


def _is_exact_in_float64(prop: Property) -> bool:
    """Does float64 hold all coefficients, as searches take them?"""
    rows = (row.normal() for region in prop.regions for polytope in region.unsafe for row in polytope.rows)
    return all(float(value) == value for row in rows for value in row.coefficients)


def with_all_inputs(verdict: Verdict, relation: Relation) -> Verdict:
    """A verdict whose inputs are those of all networks, one network's behind the other's."""

    def inputs(x: Sequence[float]) -> tuple[float, ...]:
        return tuple(x[variable] for reads in relation.reads for variable in reads)

    match verdict:
        case Violated(witness=witness):
            return replace(verdict, witness=replace(witness, x=inputs(witness.x)))
        case Proved(executed=witness) if witness is not None:
            return replace(verdict, executed=replace(witness, x=inputs(witness.x)))
        case Unknown(over_reals=x) if x:
            return replace(verdict, over_reals=inputs(x), undecided=None)
        case Unknown():
            return replace(verdict, undecided=None)
        case _:
            return verdict
