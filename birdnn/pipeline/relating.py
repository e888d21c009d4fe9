"""`verify` and `falsify` on queries about several networks: each network's file by its name in the query."""

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
from birdnn.formats.relation import Relation, read_relation
from birdnn.joint import Part, network_of_variables, side_by_side
from birdnn.network import Network
from birdnn.pipeline.certifying import Decided, unwritten_note, verdict_without_proof
from birdnn.pipeline.certifying_related import certify_related, pair_obstacle
from birdnn.pipeline.claims import assumption_notes, is_chain, query_semantics
from birdnn.pipeline.clock import remaining_limit
from birdnn.pipeline.deciding import VACUOUS, clock_for, falsify_loaded, search_settings
from birdnn.pipeline.device import device_for
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.load import Loaded, load_network, property_statement
from birdnn.pipeline.slopes import Slope, slope_of
from birdnn.records import (
    ARITHMETIC,
    CertificateFile,
    NetworkFile,
    Progress,
    PropertyVerdict,
    Proved,
    Replay,
    Unknown,
    Unwatched,
    Verdict,
    VerifyOutcome,
    VerifySettings,
    Violated,
    Watch,
)
from birdnn.records.limits import OutOfTime
from birdnn.report.witnesses import verdict_remark
from birdnn.rounding import Semantics
from birdnn.spec import Property
from birdnn.verify import SearchSettings, falsify, require_float32, verify
from birdnn.verify.bounding import MakeBound, make_bound
from birdnn.verify.covering import cover_region
from birdnn.verify.relating import net_for_property

_ALONE = ("crosscheck", "resume", "ray")
"""Settings that are about one network."""


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


def verify_related(
    nets: Mapping[str, Path],
    prop_paths: Sequence[Path],
    *,
    settings: VerifySettings,
    watch: Watch | None = None,
    began: float | None = None,
) -> VerifyOutcome:
    """Decide queries about several networks, whose files are named as the queries name the networks.

    Counterexamples list the inputs of all networks in the order of the query, and their outputs.

    Raises:
        InputError: a file is unusable, a network is missing or too many, or its sizes are not those of the query.
    """
    return _Related(nets, prop_paths, settings, watch or Unwatched(), began).outcome(proving=True)


def falsify_related(
    nets: Mapping[str, Path],
    prop_paths: Sequence[Path],
    *,
    settings: VerifySettings,
    watch: Watch | None = None,
    began: float | None = None,
) -> VerifyOutcome:
    """Look for counterexamples only; see `verify_related`."""
    return _Related(nets, prop_paths, settings, watch or Unwatched(), began).outcome(proving=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Posed:
    """A query with its networks.

    Attributes:
        loaded: all of them as one network, of the variables.
        parts: them, each with the variables that it reads.
        note: how they are bounded, where that is not by their difference.
        shared: layers in which they are one, where their difference is followed; else None.
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
        return self.relation.prop


class _Related:
    """One command on several networks."""

    def __init__(
        self,
        nets: Mapping[str, Path],
        prop_paths: Sequence[Path],
        settings: VerifySettings,
        watch: Watch,
        began: float | None,
    ) -> None:
        # refused, not ignored: a user would believe that it was done
        given = [name for name in _ALONE if getattr(settings, name)]
        if given or settings.bound != "own" or settings.units != "normalised":
            told = f"--{given[0]}" if given else "--bound" if settings.bound != "own" else "--units"
            raise MismatchError(f"{told} is about one network: leave it out where a query is about several")
        self.clock = clock_for(settings, remaining_limit(settings.timeout_s, began), watch)
        self.settings, self.watch = settings, watch
        watch.update(Progress(phase=f"reading {', '.join(path.name for path in nets.values())}"))
        # before networks are read, which take longer
        relations = [(path, _read_relation(path)) for path in prop_paths]
        self.nets = {name: load_network(path) for name, path in nets.items()}
        self.device = device_for(settings.device, *(loaded.net for loaded in self.nets.values()))
        self.semantics = query_semantics([relation.prop for _, relation in relations], settings.semantics)
        if self.semantics == "float32":
            for loaded in self.nets.values():
                require_float32(loaded.net)
            if related := [path for path, relation in relations if relation.prop.relational]:
                told = "relates inputs by more than equality, which is decided over the reals only"
                raise MismatchError(f"{related[0]}: {told}")
        self.posed = [self._pose_query(path, relation) for path, relation in relations]

    def _pose_query(self, path: Path, relation: Relation) -> _Posed:
        loaded = _networks_of_query(path, relation, self.nets)
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
        make, note, shared = _choose_bounds(parts, relation.prop, self.semantics)
        slope = None
        if self.semantics == "real" and relation.prop.relational:  # others need no chain, and no comparison of weights
            slope = slope_of(parts, relation.prop, same=all(_is_same_network(part.net, parts[0].net) for part in parts))
            slope = slope if slope is not None and is_chain(slope.net) else None
        return _Posed(
            path=path, relation=relation, loaded=whole, parts=parts, make=make, note=note, shared=shared, slope=slope
        )

    def outcome(self, *, proving: bool) -> VerifyOutcome:
        """Ask every question."""
        verdicts = tuple(self._answer_query(posed, proving=proving) for posed in self.posed)
        certificate, told = self._write_certificate(verdicts) if self.settings.certificate is not None else (None, ())
        if certificate is not None and certificate.answer == "rejected":
            verdicts = tuple(
                replace(v, verdict=verdict_without_proof(v.verdict)) if v.name in certificate.properties else v
                for v in verdicts
            )
        first = next(iter(self.nets.values()))
        return VerifyOutcome(
            net=str(first.path),
            net_sha256=first.net.sha256,
            networks=tuple(
                NetworkFile(name=name, path=str(loaded.path), sha256=loaded.net.sha256)
                for name, loaded in self.nets.items()
            ),
            verdicts=verdicts,
            wall_s=self.clock.wall_s(),
            solve_s=sum(verdict.solve_s for verdict in verdicts),
            settings=replace(self.settings, semantics=self.semantics),
            versions=versions(),
            machine=machine(self.device),
            interrupted=self.watch.stopped(),
            notes=(
                *dict.fromkeys(
                    note for loaded in self.nets.values() for note in assumption_notes(loaded.net, self.semantics)
                ),
                *(note for verdict in verdicts for note in verdict.notes),
                *told,
                *(line for v in verdicts if (line := verdict_remark(v.name, v.verdict))),
            ),
            disagreement=certificate.disagreement if certificate is not None else "",
            certificate=certificate,
        )

    def _write_certificate(self, verdicts: Sequence[PropertyVerdict]) -> tuple[CertificateFile | None, tuple[str, ...]]:
        """Written and checked; and what of the verdicts has none, a sentence each."""
        out, told, found = self.settings.certificate or Path(), list[str](), dict[str, Decided]()
        for posed, answer in zip(self.posed, verdicts, strict=True):
            if isinstance(answer.verdict, Unknown):
                continue
            # told one by one: others of the same command may have their certificate all the same
            if why := self._why_uncertified(posed, answer.verdict):
                told.append(f"No certificate speaks about {answer.name}: {why}.")
                continue
            # by content: a query that was named twice has one proof
            found[answer.sha256] = Decided(
                prop=posed.prop, path=answer.path, verdict=answer.verdict, shared=posed.shared or 0
            )
        try:
            return certify_related(
                self.nets, [*found.values()], out, watch=self.watch, over=self.clock.end.over
            ), tuple(told)
        except OutOfTime:
            return None, (*told, unwritten_note(out))

    def _why_uncertified(self, posed: _Posed, verdict: Verdict) -> str:
        """Why a verdict has no certificate; empty where it has one."""
        prop = posed.prop
        if any(loaded.nnet is not None for loaded in self.nets.values()):
            return "the checker reads ONNX, not NNet"
        if prop.vacuous:
            return "the checker takes no property that is vacuous"
        if self.semantics != "real":
            return "of queries about executions there is none"
        if isinstance(verdict, Violated):
            return "" if len(posed.parts) == 2 else "the checker reads queries about two networks only"
        if posed.shared is None or not isinstance(verdict, Proved):
            by = "each network by itself" if posed.slope is None else "slopes, or by each network itself"
            return f"it was proved by {by}, and the checker follows differences of two networks only"
        first, second = (network_of_variables(part, prop.n_inputs) for part in posed.parts)
        if why := pair_obstacle(first, second, prop):
            return why
        recorded = 0 < len(verdict.proofs) == len(prop.regions)
        return "" if recorded else "its proof does not follow the difference everywhere"

    def _answer_query(self, posed: _Posed, *, proving: bool) -> PropertyVerdict:
        begun, prop = time.monotonic(), posed.prop
        verdict: Verdict = Unknown(reason="interrupted" if self.watch.stopped() else "timeout", boxes=0)
        if not self.watch.stopped() and self.clock.left_s() > 0:
            self.watch.update(Progress(phase=f"looking for a counterexample to {prop.name}"))
            verdict = self._decide_query(posed, proving=proving)
        return PropertyVerdict(
            name=prop.name,
            path=str(posed.path.resolve()),
            sha256=prop.sha256,
            text=property_statement(prop),
            verdict=_with_all_inputs(verdict, posed.relation),
            solve_s=time.monotonic() - begun,
            notes=(*prop.notes, *self._notes(posed, verdict, proving=proving)),
        )

    def _prove_by_slope(self, slope: Slope, loaded: Loaded, prop: Property, limits: SearchSettings) -> Verdict:
        """A short attack on pairs of inputs, then a proof about slopes, for half of the time.

        Where that is in vain some slope may have the wrong sign, and so may pairs that an attack finds.
        """
        # before the proof, which a violation would make go on until its boxes are spent
        found = falsify(loaded.net, prop, settings=limits, replays=loaded.replays, watch=self.watch, rounds=1)
        # one that violates by rounding alone refutes no statement over the reals
        if isinstance(found, Violated) and found.witness.exactly is not False:
            return found
        boxes, bound, half = 0, _slope_bound(slope, limits), self.clock.search.part(0.5)
        if bound is None:
            return Unknown(reason="precision", boxes=0)
        for region in slope.regions:
            verdict = cover_region(
                bound,
                region,
                2 * slope.net.n_outputs,
                settings=replace(limits, timeout_s=half.left_s(), max_boxes=_SLOPE_BOXES),
                watch=self.watch,
                phase=f"proving {prop.name} by slopes",
            )
            boxes += verdict.boxes
            if isinstance(verdict, Unknown):
                return replace(verdict, boxes=boxes)
        executed = found.witness if isinstance(found, Violated) else None  # violates when run, by rounding
        return Proved(boxes=boxes, arithmetic=ARITHMETIC["real"], executed=executed)

    def _notes(self, posed: _Posed, verdict: Verdict, *, proving: bool) -> list[str]:
        names = [net.name for net in posed.relation.networks]
        by_parts = posed.note and proving and not (posed.slope is not None and isinstance(verdict, Proved))
        said = [f"{posed.prop.name}: {posed.note}"] if by_parts else []
        if isinstance(verdict, Violated):
            said.append(f"{posed.prop.name}: inputs are those of {', then those of '.join(names)}, and so are outputs.")
        return said

    def _decide_query(self, posed: _Posed, *, proving: bool) -> Verdict:
        prop = posed.prop
        limits = search_settings(self.settings, self.semantics, self.clock.left_s(), self.device)
        # the checker follows differences only: anything else would be recorded for nobody
        limits = replace(limits, record=limits.record and posed.shared is not None)
        loaded = replace(posed.loaded, net=net_for_property(posed.loaded.net, prop))
        # before what is vacuous, for which the falsifier has an answer of its own
        if not proving:
            return falsify_loaded(loaded, prop, limits, self.watch)
        if prop.vacuous:
            return Proved(boxes=0, arithmetic=VACUOUS)
        if posed.slope is not None:
            verdict = self._prove_by_slope(posed.slope, loaded, prop, limits)
            if not isinstance(verdict, Unknown) or self.watch.stopped() or self.clock.left_s() <= 0:
                return verdict
            # the slopes have taken some of what was left when these limits were made
            limits = replace(limits, timeout_s=self.clock.left_s())
        return verify(loaded.net, prop, settings=limits, replays=loaded.replays, watch=self.watch, bound=posed.make)


def _read_relation(path: Path) -> Relation:
    found = read_relation(path)
    if found is None:
        raise MismatchError(f"{path}: is about one network; give one --net, without a name")
    return found


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


def _with_all_inputs(verdict: Verdict, relation: Relation) -> Verdict:
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
