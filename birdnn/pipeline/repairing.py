"""`repair` on files: measure the defect, change the network, prove the file that was written, measure what changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.together import Together
from birdnn.metrics import initialiser_changes, regressions
from birdnn.pipeline.behaviour import kept_word, right_inputs
from birdnn.pipeline.candidates import Candidates
from birdnn.pipeline.case import Asked, Case, Related, Subject, has_regions
from birdnn.pipeline.certifying import Decided, certificate_obstacle, unwritten_note, verdict_without_proof
from birdnn.pipeline.certifying_repair import RepairCertificate
from birdnn.pipeline.claims import is_chain
from birdnn.pipeline.clock import Clock, Deadline
from birdnn.pipeline.crosschecking import Inquiry, contradicting_witness, cross_checked, disagreement, require_engines
from birdnn.pipeline.describing import Found, applicable_outcomes, outcome_remarks, property_outcomes, scaled_quantities
from birdnn.pipeline.device import device_for
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.fresh_samples import SAMPLES, sample_afresh
from birdnn.pipeline.judging import FULL, Answer, Attempt, Effort, Hunter, decide, make_hunter, shown_counterexamples
from birdnn.pipeline.keeping import keeper_in
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.localising import localise_violated
from birdnn.pipeline.measuring import Comparison, Measured
from birdnn.pipeline.methods import front_of, require_method_for, stages, with_method
from birdnn.pipeline.picturing import repair_pictures
from birdnn.pipeline.preserving import Closeness, require_comparable, too_far_note
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.related import slope_goal
from birdnn.pipeline.room import rounding_room
from birdnn.pipeline.settings import RepairSettings
from birdnn.pipeline.surviving import survival_notes, survivors
from birdnn.records import (
    AdvisoryMap,
    CaseFiles,
    CertificateFile,
    EngineAnswer,
    Guarantee,
    MarginLine,
    PacBound,
    Preservation,
    Progress,
    PropertyLocalisation,
    PropertyRepair,
    Proved,
    RepairRequest,
    RepairResult,
    Unwatched,
    Violated,
    Watch,
    Witness,
)
from birdnn.records.limits import OutOfTime
from birdnn.repair import Goal, RepairTask
from birdnn.report.headline import result_in_words as said_of
from birdnn.report.publish import write_record
from birdnn.report.witnesses import verdict_remark
from birdnn.verify.remote import helpers_at
from birdnn.verify.search import varies_in_many
from birdnn.verify.settings import SearchSettings
from birdnn.verify.spread import Helpers
from birdnn.verify.witness import Judge

_HUNTED = 16
"""Regions in which more counterexamples are looked for."""
_BEFORE, _LEAST_S = 0.35, 2.0  # of a limit, that deciding many properties on the original may take; seconds for each


def repair_files(
    request: RepairRequest,
    *,
    watch: Watch | None = None,
    settings: RepairSettings | None = None,
    began: float | None = None,
) -> PropertyRepair:
    """Repair a network as the request says; the result lies in the request's folder.

    The proof speaks about the file as read back. On interruption or at the time limit, which counts from now or since
    ``began`` on the monotonic clock, the best attempt is on disk.

    Raises:
        InputError: a file is unusable, properties do not fit, an engine or a cluster is not there.
        OutputError: the folder cannot be written.
        DisagreementError: torch and onnxruntime differ on a file. A sample that violates what was proved, and engines
            that contradict each other, raise nothing here: the outcome names them in `disagreement`.
    """
    return _Repair(request, watch or Unwatched(), settings or RepairSettings(), began).run()


class _Repair:
    """One command."""

    def __init__(self, request: RepairRequest, watch: Watch, settings: RepairSettings, began: float | None) -> None:
        timeout = settings.limit_of(request, began)
        # what comes after the search, measuring and writing, has to fit into the limit as well
        reserve = min(settings.reserve_s, settings.reserve_share * timeout) if math.isfinite(timeout) else 0.0
        self.clock = Clock(timeout_s=timeout, reserve_s=reserve, watch=watch)
        self.request, self.watch = request, watch
        self.folder = ResultFolder(request)
        self.folder.require_usable()
        self.replaced = self.folder.replaced()
        self.keeper = keeper_in(request.resume, (request.net, *request.props))
        self.helpers: Helpers | None = None
        self.settings = settings
        require_engines(request.crosscheck)
        self.engines: dict[str, tuple[EngineAnswer, ...]] = {}
        watch.update(Progress(phase=f"reading {request.net.name}"))
        self.case: Case = read_case(CaseFiles.of(request), repairing=True)
        require_comparable(self.case, request)
        require_method_for(self.case, request)
        self.device = device_for(request.device, self.case.loaded.net)
        self.before: dict[str, Answer] = {}
        self.witnesses: dict[str, tuple[Witness, ...]] = {}
        if not self.case.loaded.net.repairable:
            told = "nothing may be changed: no layer has weights or a bias that stand as float32 or float64 in the file"
            raise MismatchError(f"{request.net}: {told}")
        self.front = front_of(self.case)
        self.request = request = with_method(request, self.case.loaded.net, self.front)
        self.candidates: Candidates | None = None
        self.disagreements: list[str] = []
        self.disputed: set[str] = set()
        self.late: list[str] = []
        self.sampled: dict[str, PacBound] = {}
        self.certificate: CertificateFile | None = None
        self.preservation: Preservation | None = None
        self.together = Together()
        self.remarks: tuple[str, ...] = ()

    @property
    def asked(self) -> list[Asked]:
        """The subjects that have to be proved in the end, violated ones first: they are where candidates fail."""
        return sorted(self.case.asked, key=lambda s: self.before[s.prop.name].guarantee == "proved")

    def run(self) -> PropertyRepair:
        with self.folder.taken() as self.together, helpers_at(self.request.ray) as self.helpers:
            return self._repair_in_folder()

    def _repair_in_folder(self) -> PropertyRepair:
        self._decide_original()
        words = {name: answer.guarantee for name, answer in self.before.items()}
        if all(words[s.prop.name] == "proved" for s in self.asked):
            return self._nothing_to_repair()
        broken = [s for s in self.asked if words[s.prop.name] != "proved"]
        task = self._repair_task()
        self.candidates = self._make_candidates()
        best = self.candidates.search(stages(self.request, self.case, task, broken, self.settings))
        violated = any(words[s.prop.name] == "violated" for s in self.asked)
        if best is None:
            return self._outcome("violated" if violated else "sampled", None, None)
        # before anything is measured: a counterexample found here changes what is said of everything else
        survived = survivors(best, self.asked, self.clock, self._effort_before(), self.clock.timeout_s)
        if not violated and not initialiser_changes(
            self.case.loaded.net.initialisers(), best.loaded.net.initialisers()
        ):
            return self._outcome_untouched(best)
        self.remarks = survival_notes(survived, best, self.asked)
        self._look_at_applicable(best)
        writing = RepairCertificate(self.folder.certificate, self.together.add, self.case.semantics, self.watch)
        shares, stage = self.settings.shares, self.clock.stage
        # by the name that it will have unless something contradicts the proof meanwhile
        proved = best.proved().issuperset(s.prop.name for s in self.asked)
        final = (self.folder.network if proved else self.folder.attempt).name
        with writing.begun(best.loaded, self._certifiable(best), final, stage(shares.measuring).over):
            writing.share_cores()
            measured = self._measure(best, self.candidates.repair_set)
            writing.share_cores()
            measured.contradicted.update(self._sample_afresh(best.loaded, best.proved()))
            measured.contradicted.update(self._ask_engines(best.loaded, best.answers))
            self._overrule_proofs(best.answers, measured.contradicted)
            writing.share_cores()
            self.preservation = self._bound_change(best)
            result = self._judge_result(best, measured, survived)
            repaired = self._may_be_called_repaired(result, best)
            final = (self.folder.network if repaired else self.folder.attempt).name
            try:
                self.certificate = writing.finished(
                    best.loaded, self._certifiable(best), final, stage(shares.certifying).over
                )
            except OutOfTime:
                self.late.append(unwritten_note(self.folder.certificate))
        if self.certificate is not None and self.certificate.answer == "rejected":
            # what is to be stored has changed with it: result and name follow from the answers
            self._drop_rejected_proofs(best.answers, self.certificate)
            result, repaired = self._judge_result(best, measured, survived), False
        if self.disagreements:  # nothing is healed by a proof that is contradicted
            measured = measured.without_proof()
        place = self.folder.place(self.together, repaired=repaired)
        best.loaded = replace(best.loaded, path=place)
        return self._outcome(result, best, measured)

    def _make_candidates(self) -> Candidates:
        return Candidates(
            request=self.request,
            settings=self.settings,
            asked=self.asked,
            clock=self.clock,
            folder=self.folder,
            compare=self._comparison,
            closeness=self._closeness() if self.request.max_difference is not None else None,
            semantics=self.case.semantics,
            device=self.device,
            record=not certificate_obstacle(self.case.loaded, self.request.units),
            slow=self._has_slow_proofs(),
            keeper=self.keeper,
            helpers=self.helpers,
        )

    def _has_slow_proofs(self) -> bool:
        """Are proofs about a graph, or by signs of neurons? Of others estimates soon say that they are hopeless."""
        by_signs = self.case.semantics == "real" and any(varies_in_many(s.prop) for s in self.asked)
        return by_signs or not is_chain(self.case.loaded.net)

    def _may_be_called_repaired(self, result: RepairResult, best: Attempt) -> bool:
        """May the network be called repaired? Of as many properties as possible: one of them, and none is lost."""
        if self.disagreements:
            return False
        if result != "violated":
            return True
        after = {s.prop.name: best.guarantee(s.prop.name) for s in self.asked}
        before: dict[str, Guarantee] = {name: answer.guarantee for name, answer in self.before.items()}
        won = any(word == "proved" and before[name] != "proved" for name, word in after.items())
        # `regressions` counts proofs only: from undecided to violated is a loss as well
        newly = any(word == "violated" and before[name] != "violated" for name, word in after.items())
        lost = newly or bool(regressions(before, after))
        return self.request.as_many and won and not lost

    def _certifiable(self, best: Attempt) -> list[Decided]:
        """What a certificate may speak about: of points there is no property's file."""
        if certificate_obstacle(best.loaded, self.request.units):
            return []
        return [
            Decided(prop=s.prop, path=s.path, verdict=best.answers[s.prop.name].verdict)
            for s in self.asked
            if has_regions(s) and best.guarantee(s.prop.name) == "proved"
        ]

    # --- the defect

    def _decide_original(self) -> None:
        """Decide every property on the original."""
        subjects, until = (*self.case.subjects, *self.case.related), _BEFORE * self.clock.timeout_s
        for number, subject in enumerate(subjects):
            name = subject.prop.name
            self.watch.update(Progress(phase=f"deciding {name} on the original"))
            effort = self._effort_before()
            if len(subjects) > FULL:
                part, left = FULL / len(subjects), max(0.0, until - self.clock.wall_s()) / (len(subjects) - number)
                effort = replace(
                    effort, boxes=part * effort.boxes, work=part * effort.work, seconds=max(_LEAST_S, left)
                )
            answer = decide(self.case.loaded, subject, self.clock, effort)
            self.before[name] = answer
            if isinstance(answer.verdict, Violated) and isinstance(subject, Asked):
                self.witnesses[name] = self._more_witnesses(subject, answer.verdict.witness)

    def _effort_before(self) -> Effort:
        s = self.settings
        return Effort(
            boxes=s.before_boxes,
            work=s.before_work,
            seconds=s.shares.before * self.clock.timeout_s,
            seed=self.request.seed,
            semantics=self.case.semantics,
            attack=s.attack,
            keeper=self.keeper,
            device=self.device,
            helpers=self.helpers,
        )

    def _more_witnesses(self, subject: Subject, first: Witness) -> tuple[Witness, ...]:
        if isinstance(subject, Related):  # a hunt knows regions of one input
            return (first,)
        deadline = self.clock.search.part(self.settings.shares.examples / len(self.case.subjects))
        generator = torch.Generator().manual_seed(self.request.seed)
        hunt = self._make_hunter(deadline.over, len(self.case.subjects))
        net = self.case.loaded.net.copy().float()
        regions = subject.prop.regions
        if len(regions) > _HUNTED:  # a few examples are shown
            own = [region for region in regions if region.contains(first.x)]
            regions = (*own, *regions)[:_HUNTED]
        points = [hunt(net, region, generator, False) for region in regions if not deadline.over()]
        return shown_counterexamples(
            self.case.loaded, subject.prop, first, torch.cat([torch.tensor([first.x]), *points])
        )

    # --- the repair

    def _repair_task(self) -> RepairTask:
        goals = []
        for subject in self.case.subjects:
            was = self.before[subject.prop.name].guarantee
            # one that was not asked about and is violated anyway: only its satisfying points are protected
            must = isinstance(subject, Asked) or was == "proved"
            goals.append(Goal(prop=subject.prop, repair=must, violated=was != "proved"))
        # the hunt's effort falls with the number of regions, of a great many with its square
        regions = sum(len(goal.prop.regions) for goal in goals)
        return RepairTask(
            net=self.case.loaded.net,
            goals=tuple(goals),
            domain=self.case.corners,
            decision=self.case.decision,
            resample=self._make_hunter(self.clock.over, regions * max(1, regions // _HUNTED)),
            room=rounding_room(self.case.loaded.net, SearchSettings(semantics=self.case.semantics, device=self.device)),
            rule_told=self.case.rule_by in ("option", "suite"),
            max_change=self.request.max_change,
            max_difference=math.inf if self.request.max_difference is None else self.request.max_difference,
            seed=self.request.seed,
            device=self.device,
            front=self.front,
            data=right_inputs(self.case),
            over=self.clock.over,
            slopes=tuple(map(slope_goal, self.case.related)),
        )

    def _make_hunter(self, stopped: Callable[[], bool], regions: int = 1) -> Hunter:
        return make_hunter(self.settings, stopped, regions, self.device)

    def _look_at_applicable(self, best: Attempt) -> None:
        """Look on the result at what applies to the network and was not asked about.

        What was proved before is decided again. Of the rest a counterexample is looked for, that of the original first.
        """
        for subject in self.case.applicable:
            name, was = subject.prop.name, self.before[subject.prop.name]
            if isinstance(was.verdict, Violated) and (found := self._violated_still(best.loaded, subject, was.verdict)):
                best.answers[name] = found
            elif not self.clock.over():
                # what was not proved before is not made worse by not being proved now: only violations are looked for
                cheap = was.guarantee != "proved"
                best.answers[name] = decide(best.loaded, subject, self.clock, self._effort_before(), cheap=cheap)

    def _violated_still(self, loaded: Loaded, subject: Subject, was: Violated) -> Answer | None:
        """Where the input that violates the property on the original does so on the result, when run there."""
        begun = self.clock.now()
        judge = Judge(loaded.net.copy().float(), subject.prop, loaded.replays, source=loaded.net)
        witness = judge.replayed(torch.tensor(was.witness.x))
        spent = self.clock.book("verify", begun)
        if witness is None or not witness.contradicts(self.case.semantics):
            return None
        return Answer(verdict=Violated(witness=witness, boxes=0), verify_s=spent)

    # --- what came of it

    def _comparison(self, after: Loaded, deadline: Deadline) -> Comparison:
        return Comparison(
            before=self.case.loaded.net.copy().float().to(self.device),
            after=after.net.copy().float().to(self.device),
            case=self.case,
            settings=self.settings,
            seed=self.request.seed,
            resample=self._make_hunter(
                deadline.over, max((len(s.prop.regions) for s in self.case.subjects), default=1)
            ),
            replays=after.replays,
            deadline=deadline,
            source=after.net,
        )

    def _measure(self, best: Attempt, repair_set: dict[str, Tensor]) -> Measured:
        self.watch.update(Progress(phase="measuring what changed"))
        begun = self.clock.now()
        violated = frozenset(s.prop.name for s in self.asked if self.before[s.prop.name].guarantee != "proved")
        points = {
            name: torch.cat([x, torch.tensor([w.x for w in self.witnesses.get(name, ())]).reshape(-1, x.shape[1])])
            for name, x in repair_set.items()
        }
        deadline = self.clock.stage(self.settings.shares.measuring)
        measured = self._comparison(best.loaded, deadline).measure(points, best.proved(), violated)
        self.clock.book("sample", begun)
        return measured

    def _closeness(self) -> Closeness:
        return Closeness(case=self.case, settings=self.settings.preserving, seed=self.request.seed, watch=self.watch)

    def _bound_change(self, best: Attempt) -> Preservation | None:
        """How far the network can be from the original; None where no domain says where."""
        if self.case.corners is None or self.case.loaded.net.graph.label:
            return None
        begun, deadline = self.clock.now(), self.clock.stage(self.settings.shares.preserving)
        closeness = self._closeness()
        found = closeness.preserved(best.loaded, best.bounded, self._make_hunter(deadline.over), deadline.over)
        if found is not None and (told := closeness.contradiction(best.loaded, found)):
            self.disagreements.append(told)
        self.clock.book("verify", begun)
        return found

    def _sample_afresh(self, loaded: Loaded, proved: frozenset[str]) -> dict[str, Witness]:
        """What fresh samples of the proved properties contradict."""
        begun, said = self.clock.now(), self.request.samples
        drawn = [s for s in (self.asked if said is None else self.case.subjects) if has_regions(s)]
        found = sample_afresh(
            loaded,
            [s.prop for s in drawn if s.prop.name in proved],  # of single points and of pairs nothing is drawn
            samples=SAMPLES if said is None else said,
            seed=self.request.seed,
            watch=self.watch,
            deadline=self.clock.stage(self.settings.shares.sampling),
            device=self.device,
        )
        self.sampled = found.bounds
        self.clock.book("sample", begun)
        return found.contradicted

    def _ask_engines(self, loaded: Loaded, answers: dict[str, Answer]) -> dict[str, Witness]:
        """Ask the engines that the user wants asked as well; what violations they found of what is proved."""
        contradicted: dict[str, Witness] = {}
        for subject in self.asked if self.request.crosscheck else ():
            name = subject.prop.name
            if name not in answers or isinstance(subject, Related):  # engines are asked about one input
                continue
            inquiry = Inquiry(
                loaded=loaded,
                prop=subject.prop,
                verdict=answers[name].verdict,
                timeout_s=min(self.request.crosscheck_timeout_s, self.clock.end.left_s()),
                seed=self.request.seed,
                watch=self.watch,
            )
            self.engines[name] = cross_checked(inquiry, self.request.crosscheck, answers[name].verify_s)
            if told := disagreement(name, self.engines[name], self.case.semantics):
                self.disagreements.append(told)
                self.disputed.add(name)
            if (witness := contradicting_witness(self.engines[name])) is not None:
                contradicted[name] = witness
        return contradicted

    def _nothing_to_repair(self) -> PropertyRepair:
        """Every property is proved on the original; samples may contradict that too."""
        proved = frozenset(name for name, answer in self.before.items() if answer.guarantee == "proved")
        contradicted = self._sample_afresh(self.case.loaded, proved)
        contradicted.update(self._ask_engines(self.case.loaded, self.before))
        self._overrule_proofs(self.before, contradicted)
        self.witnesses.update({name: (witness,) for name, witness in contradicted.items()})
        unsettled: RepairResult = "sampled" if self.disputed else "nothing_to_repair"
        return self._outcome("violated" if contradicted else unsettled, None, None)

    def _outcome_untouched(self, best: Attempt) -> PropertyRepair:
        """No violation was known, and nothing was changed: what was learnt of the candidate is true of the original."""
        self.folder.forget_attempt()
        self.before.update({n: a for n, a in best.answers.items() if a.guarantee in ("proved", "violated")})
        words = {self.before[s.prop.name].guarantee for s in self.asked}
        if words == {"proved"}:
            return self._nothing_to_repair()
        return self._outcome("violated" if "violated" in words else "sampled", None, None)

    def _drop_rejected_proofs(self, answers: dict[str, Answer], certificate: CertificateFile) -> None:
        """Believe the checker that rejects the certificate, not the proofs that are in it."""
        for name in certificate.properties:
            answers[name] = replace(answers[name], verdict=verdict_without_proof(answers[name].verdict))
        self.disagreements.append(certificate.disagreement)

    def _overrule_proofs(self, answers: dict[str, Answer], contradicted: dict[str, Witness]) -> None:
        """Believe a replayed counterexample, not the proof that it contradicts, and no proof that engines dispute.

        A proof over the reals stands beside an input that violates when the network is run only, which it names.
        """
        for name, witness in list(contradicted.items()):
            proof = answers[name]
            if isinstance(proof.verdict, Proved) and not witness.contradicts(self.case.semantics):
                answers[name] = replace(proof, verdict=replace(proof.verdict, executed=witness))
                del contradicted[name]
                continue
            verdict = Violated(witness=witness, boxes=proof.verdict.boxes)
            answers[name] = replace(proof, verdict=verdict)
            self.disagreements.append(
                f"{name} was proved ({verdict.boxes} boxes, {proof.verdict.arithmetic}), and yet the input "
                f"{list(witness.x)} violates it: {' and '.join(witness.replayed_by)} answers {list(witness.y)}"
            )
        for name in self.disputed:
            answers[name] = replace(answers[name], verdict=verdict_without_proof(answers[name].verdict))

    def _judge_result(self, best: Attempt, measured: Measured, survived: set[str]) -> RepairResult:
        words = [best.guarantee(s.prop.name) for s in self.asked]
        if measured.contradicted or best.too_far:
            return "violated"
        if all(word == "proved" for word in words):
            return "proved"
        rates = (measured.efficacy, measured.generalisation)
        # without a proof one unhealed point is enough: the network still does what it was to be healed of
        unhealed = any(rate is not None and rate.hits < rate.n for rate in rates)
        unseen = any(best.guarantee(s.prop.name) == "unknown" and s.prop.name not in survived for s in self.asked)
        return "violated" if unhealed or unseen or "violated" in words else "sampled"

    def _localise_broken(self) -> tuple[PropertyLocalisation, ...]:
        """The neurons behind each violation, where a report was asked for."""
        broken = [s for s in self.asked if self.before[s.prop.name].guarantee == "violated"]
        broken = [s for s in broken if not isinstance(s, Related)]  # neurons are ranked by runs of one input
        if not self.request.report:
            return ()
        deadline = self.clock.stage(self.settings.shares.localising)
        return tuple(
            localise_violated(self.case, broken, self.request.seed, self.settings.localize, self.watch, deadline)
        )

    def _notes(self, best: Attempt | None) -> tuple[str, ...]:
        method = () if self.candidates is None else self.candidates.remarks
        answers = self.before if best is None else best.answers
        asked = [s.prop.name for s in self.case.asked if s.prop.name in answers]
        rounded = [line for name in asked if (line := verdict_remark(name, answers[name].verdict))]
        kept = [self.keeper.failure] if self.keeper is not None and self.keeper.failure else []
        far = best is not None and best.too_far
        said = (
            *([too_far_note(self.request)] if far else []),
            *self.case.notes,
            *method,
            *self.remarks,
            *kept,
            *outcome_remarks(self.case, self.before, best, as_many=self.request.as_many),
        )
        return (*said, *rounded, *self.late)

    def _pictures(self, best: Attempt) -> tuple[tuple[AdvisoryMap, ...], tuple[MarginLine, ...]]:
        drawing = self.clock.stage(self.settings.shares.drawing)
        return repair_pictures(self.case, best, self.witnesses, drawing.over)

    def _found(self) -> Found:
        return Found(before=self.before, witnesses=self.witnesses, sampled=self.sampled, engines=self.engines)

    def _outcome(self, result: RepairResult, best: Attempt | None, measured: Measured | None) -> PropertyRepair:
        case, spent, found = self.case, self.clock.spent, self.candidates
        original, before = case.loaded.net, {name: answer.guarantee for name, answer in self.before.items()}
        # before pictures: what they take, and who stops them, is no part of what was decided
        wall_s, interrupted, late = self.clock.wall_s(), self.watch.stopped(), self.clock.left_s() <= 0
        report = self.folder.report if best is not None or self.request.report else None
        answers = {} if best is None else best.answers
        kept = measured or Measured.nothing()
        maps, lines = ((), ()) if best is None else self._pictures(best)
        inputs, outputs = scaled_quantities(case.loaded)
        outcome = PropertyRepair(
            result=result,
            request=self.request,
            net=str(case.loaded.path),
            net_sha256=original.sha256,
            out=None if best is None else str(best.loaded.path),
            out_sha256=None if best is None else best.loaded.net.sha256,
            attempt=best is not None and best.loaded.path != self.folder.network,
            report=None if report is None else str(report),
            properties=tuple(property_outcomes(case, self._found(), None if best is None else answers)),
            fidelity=kept.fidelity,
            fidelity_note=kept.fidelity_note,
            region_fidelity=kept.region_fidelity,
            drawdown=kept.drawdown,
            efficacy=kept.efficacy,
            generalisation=kept.generalisation,
            neighbours=kept.neighbours,
            behaviour=kept.behaviour,
            behaviour_kept=None if best is None else kept_word(kept.behaviour, self.request),
            regressions=() if best is None else regressions(before, {n: best.guarantee(n) for n in answers}),
            change={} if best is None else initialiser_changes(original.initialisers(), best.loaded.net.initialisers()),
            initialisers=original.repairable_sizes(),
            domain=case.domain,
            decision=case.decision,
            rule_by=case.rule_by,
            preservation=None if best is None else self.preservation,
            ties=() if best is None or found is None else found.ties,
            semantics=case.semantics,
            suite=case.suite,
            rounds=0 if found is None else len(found.tried),
            tried=() if found is None else tuple(found.tried),
            stopped="" if found is None else found.stopped,
            repair_s=spent.get("repair", 0.0),
            verify_s=spent.get("verify", 0.0),
            sample_s=spent.get("sample", 0.0),
            wall_s=wall_s,
            versions=versions(),
            machine=machine(self.device),
            interrupted=interrupted,
            timed_out=late and result != "proved",
            notes=(*self._notes(best), *(() if report is None else self.replaced)),
            disagreement="; ".join(self.disagreements),
            certificate=self.certificate,
            maps=maps,
            lines=lines,
            inputs=inputs,
            outputs=outputs,
            watched=tuple(applicable_outcomes(case, self._found(), answers)),
            localisation=self._localise_broken(),
        )
        return self._written(replace(outcome, headline=said_of(outcome).headline), report)

    def _written(self, outcome: PropertyRepair, report: Path | None) -> PropertyRepair:
        """The outcome, on disk with all that belongs to it where there is to be a record."""
        if report is not None:
            write_record(outcome, report, self.together.add)
            self.folder.settle(self.together)
        return outcome
