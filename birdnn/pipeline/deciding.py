"""`verify` and `falsify` on files: one network, several properties, one limit for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from birdnn.errors import EngineError, MismatchError
from birdnn.labels import label_of_values
from birdnn.later import later
from birdnn.network import Network
from birdnn.pipeline.claims import assumption_notes, network_semantics, query_semantics
from birdnn.pipeline.clock import Clock, remaining_limit
from birdnn.pipeline.crosschecking import (
    Inquiry,
    contradicting_witness,
    cross_checked,
    decided_by,
    disagreement,
    require_engines,
)
from birdnn.pipeline.device import device_for
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.keeping import keeper_in
from birdnn.pipeline.load import Loaded, load_network, load_property, property_statement
from birdnn.pipeline.recognising import named_apart, network_notes
from birdnn.records import (
    CertificateFile,
    Device,
    EngineAnswer,
    Progress,
    PropertyVerdict,
    Proved,
    Units,
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
from birdnn.verify import SearchSettings, falsify
from birdnn.verify.compared import left_out_remark
from birdnn.verify.effort import FALSIFIER_ROUNDS
from birdnn.verify.relating import net_for_property
from birdnn.verify.remote import helpers_at

if TYPE_CHECKING:
    from birdnn.pipeline import certifying
else:  # the checker, which not every proof is for
    certifying = later("birdnn.pipeline.certifying")

_CERTIFYING = 0.15
"""Of the time limit, up to so long a one, is kept for writing a certificate and having it checked."""

_LONG_S = 800.0

VACUOUS = "none: the property is vacuous"
"""The arithmetic of a proof that takes none."""

Decide = Callable[[Loaded, Property, SearchSettings, Watch], Verdict]


def verify_files(
    net_path: Path,
    prop_paths: Sequence[Path],
    *,
    settings: VerifySettings,
    watch: Watch | None = None,
    began: float | None = None,
) -> VerifyOutcome:
    """Decide each property for the network, in the order given.

    Everything is read before the first search starts, so that a mistake in the last file costs no time. The time limit
    counts from now, or since ``began`` on the monotonic clock.

    Raises:
        InputError: a file is unusable, a property does not fit the network, an engine or a cluster is not there.
            Engines that contradict each other raise nothing here: the outcome names them in `disagreement`.
        OutputError: the folder to resume from cannot be made or written to.
    """
    require_engines(settings.crosscheck)

    # a closure, as it is called once `keeper` and `helpers` below are there
    def verified(loaded: Loaded, prop: Property, limits: SearchSettings, watching: Watch) -> Verdict:
        if prop.vacuous:
            return Proved(boxes=0, arithmetic=VACUOUS)
        return decided_by(settings.bound, loaded, prop, limits, watching, keeper, helpers)

    if settings.ray is not None and settings.bound != "own":
        raise EngineError("ray", f"proofs by bounds of {settings.bound} stay on this machine: choose bounds of our own")
    # before anything is read: a folder that cannot be written to is told at once
    keeper = keeper_in(settings.resume, (net_path, *prop_paths))
    run = _Verification(net_path, prop_paths, settings, watch or Unwatched(), began)
    with helpers_at(settings.ray) as helpers:
        outcome = run.outcome(verified)
    if keeper is not None and keeper.failure:
        return replace(outcome, notes=(*outcome.notes, keeper.failure))
    return outcome


def falsify_files(
    net_path: Path,
    prop_paths: Sequence[Path],
    *,
    settings: VerifySettings,
    watch: Watch | None = None,
    began: float | None = None,
) -> VerifyOutcome:
    """Look for a counterexample of each property; never proves one. Raises as `verify_files` does."""
    return _Verification(net_path, prop_paths, settings, watch or Unwatched(), began).outcome(falsify_loaded)


def clock_for(settings: VerifySettings, limit: float, watch: Watch) -> Clock:
    """So many seconds: a proof is half of what was asked for where its certificate is not written and checked."""
    # 120 s at most, as a repair keeps
    reserve = 0.0 if settings.certificate is None else _CERTIFYING * min(limit, _LONG_S)
    return Clock(timeout_s=limit, reserve_s=reserve, watch=watch)


def search_settings(settings: VerifySettings, semantics: Semantics, timeout_s: float, device: Device) -> SearchSettings:
    """The engine's settings, with `timeout_s` for what is left of the time."""
    limits = SearchSettings(
        timeout_s=timeout_s,
        seed=settings.seed,
        device=device,
        semantics=semantics,
        record=settings.certificate is not None,
    )
    if settings.memory_gib is None:
        return limits
    return replace(limits, memory_bytes=int(settings.memory_gib * 2**30))


def falsify_loaded(loaded: Loaded, prop: Property, settings: SearchSettings, watch: Watch) -> Verdict:
    if prop.vacuous:
        return Unknown(reason="not_found", boxes=0, tried="nothing, as the property is vacuous")
    # without a limit a few rounds, with one as many as fit
    rounds = 10**9 if math.isfinite(settings.timeout_s) else FALSIFIER_ROUNDS
    return falsify(loaded.net, prop, settings=settings, replays=loaded.replays, watch=watch, rounds=rounds)


def _with_given_label(net: Network, verdict: Verdict) -> Verdict:
    """The verdict with what the file gives at its counterexample, where that is a label."""
    if not net.graph.label or not isinstance(verdict, Violated):
        return verdict
    # only now: searches and the judge work on the values, of which a label says too little
    given = label_of_values(verdict.witness.y, net.graph.label)
    return replace(verdict, witness=replace(verdict.witness, y=(float(given),)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LoadedProperty:
    path: Path
    prop: Property


class _Verification:
    """One command on one network."""

    def __init__(
        self,
        net_path: Path,
        prop_paths: Sequence[Path],
        settings: VerifySettings,
        watch: Watch,
        began: float | None,
    ) -> None:
        # before files are read: reading counts
        limit = remaining_limit(settings.timeout_s, began)
        self.clock = clock_for(settings, limit, watch)
        self.watch = watch
        watch.update(Progress(phase=f"reading {net_path.name}"))
        self.loaded = load_network(net_path)
        self.device = device_for(settings.device, self.loaded.net)
        # refused at once: whoever asks for a certificate does not want to learn after an hour that there can be none
        if settings.certificate is not None and (told := certifying.certificate_obstacle(self.loaded, settings.units)):
            raise MismatchError(f"{net_path}: no certificate, {told}")
        # two files may have one name in different folders, and verdicts are told by it
        named = named_apart([self._read_property(path, settings.units) for path in prop_paths])
        # semantics are given here always, so that this only checks: over the reals unless told otherwise
        self.semantics = network_semantics(self.loaded.net, query_semantics(named.props, settings.semantics))
        if any(prop.relational for prop in named.props) and (self.semantics != "real" or settings.bound != "own"):
            told = "over the reals, by bounds of our own"
            raise MismatchError(f"a property that relates inputs, as one of these does, is decided {told}, only")
        if settings.bound != "own" and self.semantics != "real":
            raise MismatchError(f"bounds of {settings.bound} speak about real numbers: choose semantics real")
        self.asked, self.settings = settings.semantics, replace(settings, semantics=self.semantics)
        self.questions = [
            _LoadedProperty(path=path, prop=prop) for path, prop in zip(prop_paths, named.props, strict=True)
        ]
        self.renamed = named.notes

    def _read_property(self, path: Path, units: Units) -> Property:
        return load_property(path, self.loaded, units, deciding=True, relating=True)

    def outcome(self, decide: Decide) -> VerifyOutcome:
        """Ask every question."""
        found: dict[str, PropertyVerdict] = {}  # a file that was named twice is decided once
        for question in self.questions:
            if question.prop.sha256 not in found:
                found[question.prop.sha256] = self.answer(question, decide)
        verdicts = tuple(
            replace(found[question.prop.sha256], name=question.prop.name, path=str(question.path.resolve()))
            for question in self.questions
        )
        certificate, late = None, ""
        try:
            # after all verdicts: one file holds all proofs
            certificate = self.certificate(verdicts)
        except OutOfTime:
            late = certifying.unwritten_note(self.settings.certificate or Path())
        told = [disagreement(v.name, v.engines, self.semantics) for v in verdicts]
        # of the verdicts as they were, before a rejection below makes proofs unknown
        beside = [] if certificate is None else certifying.notes_beside_graphs(self.decided(verdicts), certificate)
        if certificate is not None and certificate.answer == "rejected":
            # neither is believed: the checker shares no code with the prover, and nobody knows here which of them errs
            told.append(certificate.disagreement)
            # a file that was given twice is stated once
            stated = {v.sha256 for v in verdicts if v.name in certificate.properties}
            verdicts = tuple(
                replace(v, verdict=certifying.verdict_without_proof(v.verdict)) if v.sha256 in stated else v
                for v in verdicts
            )
        return VerifyOutcome(
            net=str(self.loaded.path),
            net_sha256=self.loaded.net.sha256,
            verdicts=verdicts,
            wall_s=self.clock.wall_s(),
            solve_s=sum(v.solve_s for v in found.values()),
            settings=self.settings,
            versions=versions(),
            machine=machine(self.device),
            interrupted=self.watch.stopped(),
            notes=(
                *self.renamed,
                *network_notes(self.loaded, [q.prop for q in self.questions]),
                *assumption_notes(self.loaded.net, self.semantics),
                *self.left_out(),
                *(line for v in verdicts for line in v.notes),
                *([late] if late else []),
                *beside,
                *(line for v in verdicts if (line := verdict_remark(v.name, v.verdict))),
            ),
            disagreement=" | ".join(line for line in told if line),
            certificate=certificate,
        )

    def left_out(self) -> list[str]:
        """What searches left out of the network, a sentence for each property."""
        if self.settings.certificate is not None:
            return []
        told = [left_out_remark(self.loaded.net, question.prop, self.semantics) for question in self.questions]
        return [line for line in dict.fromkeys(told) if line]

    def certificate(self, verdicts: Sequence[PropertyVerdict]) -> CertificateFile | None:
        """Written and checked, where it was asked for and something was decided."""
        out = self.settings.certificate
        if out is None:
            return None
        decided, over = self.decided(verdicts), self.clock.end.over
        return certifying.certify(self.loaded, decided, out, semantics=self.semantics, watch=self.watch, over=over)

    def decided(self, verdicts: Sequence[PropertyVerdict]) -> list[certifying.Decided]:
        """Each property with its verdict, once."""
        decided = [
            certifying.Decided(prop=question.prop, path=answer.path, verdict=answer.verdict)
            for question, answer in zip(self.questions, verdicts, strict=True)
        ]
        # a certificate names properties by their hash: no two proofs of the same one
        return list({entry.prop.sha256: entry for entry in decided}.values())

    def answer(self, question: _LoadedProperty, decide: Decide) -> PropertyVerdict:
        """One property's verdict."""
        begun, prop = time.monotonic(), question.prop
        # every question has a verdict, those too for which no time is left
        verdict: Verdict | None = self.refusal()
        if verdict is None:
            self.watch.update(Progress(phase=f"looking for a counterexample to {prop.name}"))
            # all that is left, not a share of it: what an easy property leaves the next one has
            limits = search_settings(self.settings, self.semantics, self.clock.left_s(), self.device)
            # replays stay those of the file: they judge by the inputs themselves, which the changed network hands on
            loaded = replace(self.loaded, net=net_for_property(self.loaded.net, prop, recorded=limits.record))
            verdict = _with_given_label(self.loaded.net, decide(loaded, prop, limits, self.watch))
        spent = time.monotonic() - begun
        engines = self.others(prop, verdict, spent)
        # what an engine found when it ran the network stands beside a proof over the reals, as a finding of ours would
        if (
            isinstance(verdict, Proved)
            and verdict.executed is None
            and (met := contradicting_witness(engines)) is not None
        ):
            verdict = verdict if met.contradicts(self.semantics) else replace(verdict, executed=met)
        return PropertyVerdict(
            name=prop.name,
            path=str(question.path.resolve()),
            sha256=prop.sha256,
            text=property_statement(prop),
            verdict=verdict,
            solve_s=spent,
            engines=engines,
            notes=self.notes(prop),
        )

    def notes(self, prop: Property) -> tuple[str, ...]:
        """What a user should know of how a property was taken, one sentence each."""
        told = f"No certificate speaks about {prop.name}: the checker takes no property that is vacuous."
        uncertified = prop.vacuous and self.settings.certificate is not None
        chosen = prop.element == "float32" and self.asked is None
        return (
            *prop.notes,
            *([told] if uncertified else []),
            *([f"{prop.name} is a query over float32: the answer is about runs in float32."] if chosen else []),
        )

    def others(self, prop: Property, verdict: Verdict, spent: float) -> tuple[EngineAnswer, ...]:
        """What the engines say that the user wants asked as well."""
        # no engine is given rows on inputs, and of what is vacuous there is nothing to ask
        if not self.settings.crosscheck or prop.vacuous or prop.relational:
            return ()
        inquiry = Inquiry(
            loaded=self.loaded,
            prop=prop,
            verdict=verdict,
            timeout_s=min(self.settings.crosscheck_timeout_s, self.clock.left_s()),
            seed=self.settings.seed,
            watch=self.watch,
        )
        return cross_checked(inquiry, self.settings.crosscheck, spent)

    def refusal(self) -> Unknown | None:
        """Why a question is not even begun."""
        if self.watch.stopped():
            return Unknown(reason="interrupted", boxes=0)
        return Unknown(reason="timeout", boxes=0) if self.clock.left_s() <= 0 else None
