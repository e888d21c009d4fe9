"""`verify` and `falsify` on queries about several networks: each network's file by its name in the query."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from birdnn.errors import MismatchError
from birdnn.formats.relation import Relation, read_relation
from birdnn.joint import network_of_variables
from birdnn.pipeline.certifying import Decided, unwritten_note, verdict_without_proof
from birdnn.pipeline.certifying_related import certify_related, pair_obstacle
from birdnn.pipeline.claims import assumption_notes, query_semantics
from birdnn.pipeline.clock import remaining_limit
from birdnn.pipeline.deciding import clock_for, search_settings
from birdnn.pipeline.device import device_for
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.load import load_network, property_statement
from birdnn.pipeline.posing import Posed, decide_query, pose_query
from birdnn.records import (
    CertificateFile,
    NetworkFile,
    Progress,
    PropertyVerdict,
    Proved,
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
from birdnn.verify import require_float32

_ALONE = ("crosscheck", "resume", "ray")
"""Settings that are about one network."""


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
        self.posed = [pose_query(path, relation, self.nets, self.semantics) for path, relation in relations]

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

    def _why_uncertified(self, posed: Posed, verdict: Verdict) -> str:
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

    def _answer_query(self, posed: Posed, *, proving: bool) -> PropertyVerdict:
        begun, prop = time.monotonic(), posed.prop
        verdict: Verdict = Unknown(reason="interrupted" if self.watch.stopped() else "timeout", boxes=0)
        if not self.watch.stopped() and self.clock.left_s() > 0:
            self.watch.update(Progress(phase=f"looking for a counterexample to {prop.name}"))
            limits = search_settings(self.settings, self.semantics, self.clock.left_s(), self.device)
            verdict = decide_query(posed, limits, self.watch, proving=proving)
        return PropertyVerdict(
            name=prop.name,
            path=str(posed.path.resolve()),
            sha256=prop.sha256,
            text=property_statement(prop),
            verdict=verdict,
            solve_s=time.monotonic() - begun,
            notes=(*prop.notes, *self._notes(posed, verdict, proving=proving)),
        )

    def _notes(self, posed: Posed, verdict: Verdict, *, proving: bool) -> list[str]:
        names = [net.name for net in posed.relation.networks]
        by_parts = posed.note and proving and not (posed.slope is not None and isinstance(verdict, Proved))
        said = [f"{posed.prop.name}: {posed.note}"] if by_parts else []
        if isinstance(verdict, Violated):
            said.append(f"{posed.prop.name}: inputs are those of {', then those of '.join(names)}, and so are outputs.")
        return said


def _read_relation(path: Path) -> Relation:
    found = read_relation(path)
    if found is None:
        raise MismatchError(f"{path}: is about one network; give one --net, without a name")
    return found
