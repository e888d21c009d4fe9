"""The repair-verify loop: candidates of one method after the other, until one is proved and keeps enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.errors import MismatchError
from birdnn.pipeline.behaviour import keeps_enough
from birdnn.pipeline.case import Asked
from birdnn.pipeline.clock import Clock, Deadline
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.judging import Attempt, Effort, decide_all
from birdnn.pipeline.load import Loaded, load_network
from birdnn.pipeline.measuring import Comparison
from birdnn.pipeline.methods import Stage
from birdnn.pipeline.preserving import Closeness
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import LEAST, Device, Kept, Progress, RepairRequest, Tied, Tried, TriedResult
from birdnn.records.limits import OutOfTime
from birdnn.repair import Evidence, Repairer
from birdnn.rounding import Semantics
from birdnn.verify.frontier import Keeper
from birdnn.verify.spread import Helpers

_LEAST_S = 1.0
"""For the proof of a candidate whose share of the time is spent: a cheap one is worth it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Candidates:
    """Looks for the candidate to hand out; the best so far is on disk at any time.

    A candidate that changes more than one that is proved is passed over without a proof.

    Attributes:
        asked: what has to be proved, in the order in which candidates are judged.
        compare: the original with a candidate, as far as the time goes.
        closeness: to the original, where that has to be proved.
        semantics: what a proof speaks about.
        record: can proofs become a certificate?
        slow: may a proof that is hopeless go on for long?
        tried: every candidate, in order.
        stopped: why the search ended.
        best: None before the first candidate.
        remarks: what its method has to say of it.
        ties: the outputs that it ties.
        repair_set: the violating inputs that its method began with, property name -> (m, inputs).
    """

    request: RepairRequest
    settings: RepairSettings
    asked: list[Asked]
    clock: Clock
    folder: ResultFolder
    compare: Callable[[Loaded, Deadline], Comparison]
    closeness: Closeness | None
    semantics: Semantics
    record: bool
    slow: bool
    device: Device
    keeper: Keeper | None
    helpers: Helpers | None
    tried: list[Tried] = field(default_factory=list)
    stopped: str = ""
    best: Attempt | None = None
    repair_set: dict[str, Tensor] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    ties: tuple[Tied, ...] = ()
    # what `best` keeps
    _kept: Kept | None = None
    # of all candidates of all methods: what violates one network is a hard input for the next method too
    _points: dict[str, Tensor] = field(default_factory=dict)
    _undecided: dict[str, Boxes] = field(default_factory=dict)

    def search(self, stages: Sequence[Stage]) -> Attempt | None:
        """Go through the stages; the best candidate."""
        # the last resort is no choice: where one method was asked for, nothing is compared with what it proves
        methods = [stage for stage in stages if not stage.last_resort]
        self.stopped = "everything was tried" if len(methods) > 1 else "the method has no more candidates"
        for number, stage in enumerate(stages):
            # what a tie costs (`birdnn.repair.tie`) is not worth paying where something is proved without one
            if stage.last_resort and self._best_is_proved():
                continue
            self.clock.watch.update(Progress(phase=f"preparing {stage.name}"))
            try:
                repairer = stage.make()
            except MismatchError:  # a method that the task leaves no room for; the last one says why
                if number == len(stages) - 1 and self.best is None:
                    raise
                continue
            # no break yet: below it is told whether the clock or the user ended it
            except OutOfTime:
                repairer = None
            if repairer is not None:
                # what is kept for the last resort is free once something is proved without it
                free = stage.last_resort or self._best_is_proved() or not any(later.last_resort for later in stages)
                if not self._run_stage(stage, repairer, 1.0 if free else self.settings.share_before_ties):
                    self.stopped = f"the time limit left too little for more of {stage.name}"
            if self.clock.over():
                self.stopped = "interrupted" if self.clock.watch.stopped() else "the time limit"
                break
            # no break: a last resort that follows is passed over above, as something is proved
            if self._best_is_proved() and len(methods) == 1:
                self.stopped = "proved"
            # other methods could be preferred only for what they keep, which nobody can tell
            elif self._best_is_proved() and not self._best_is_measured():
                self.stopped = "proved; behaviour could not be measured, so that no other candidate could be preferred"
                break
            elif self._best_is_proved() and self._best_keeps_enough(stage):
                self.stopped = "proved, and as much is kept as asked for"
                break
        return self.best

    def _run_stage(self, stage: Stage, repairer: Repairer, share: float) -> bool:
        """Candidates of one method until one is proved, or passed over; false where a share of the limit ended it."""
        # a repairer remembers what it learnt: after its first candidate the last one's evidence is all that is new
        evidence, last = Evidence(points=dict(self._points), undecided=dict(self._undecided)), ""
        for number in range(stage.rounds):
            left_s = self.clock.left_of(share) if share < 1 else math.inf
            # a spent share still allows one candidate where there is none: something has to lie on the disk
            if self.clock.over() or (left_s <= 0 and self.best is not None):
                return False
            attempt, tried = self._try_candidate(stage, repairer, evidence, number, left_s)
            self.tried.append(tried)
            # passed over without a verdict: there is no evidence from which the method could propose something else
            if attempt is None:
                return True
            if self.best is None or self._is_better(attempt, tried.kept):
                self.best, self._kept = attempt, tried.kept
                self.repair_set, self.remarks = repairer.negatives(), repairer.remarks()
                self.ties = repairer.ties()
                # at once: the next candidate is written over the draft, and a killed command leaves the best attempt
                attempt.loaded = replace(attempt.loaded, path=self.folder.keep_draft())
            # a method that proposes the same bytes again knows no way to be closer
            again = number > 0 and attempt.loaded.net.sha256 == last
            if self._rank(attempt)[0] or (attempt.too_far and again):
                return True
            last = attempt.loaded.net.sha256
            evidence = attempt.evidence()
            self._undecided = evidence.undecided
            # violating inputs add up; open boxes are those of one network, so that the last ones replace those before
            for name, points in evidence.points.items():
                self._points[name] = torch.cat([self._points.get(name, points[:0]), points])
        return True

    def _try_candidate(
        self, stage: Stage, repairer: Repairer, evidence: Evidence, number: int, left_s: float
    ) -> tuple[Attempt | None, Tried]:
        """Train, write, read back, measure what is kept, decide; no attempt where no proof is worth it."""
        begun, shares = self.clock.now(), self.settings.shares
        net = repairer.propose(evidence, timeout_s=shares.training * self.clock.left_s(), watch=self.clock.watch)
        self.clock.book("repair", begun)
        # read back before anything is judged: writing rounds to the file's type, and a proof is to speak about the file
        loaded = load_network(self.folder.write_draft(net))
        compared = self.compare(loaded, self.clock.search.part(shares.comparing))
        # before the proof, which is dear, and with one seed for all, so that candidates are compared on the same inputs
        kept = compared.kept(self.settings.selection_points, seed=self.request.seed)
        attempt = self._check_closeness(loaded) if self._may_be_better(kept) else None
        if attempt is not None and not attempt.too_far:
            # boxes and work limit a proof rather than seconds, so that a seed repeats the run on a busy machine
            growth = min(stage.growth, self.settings.slice_growth**number)
            # more is left to candidates that are easier to prove; chains with few inputs end early where it is hopeless
            shared = self.request.as_many or self.slow
            most = shares.deciding * self.clock.left_s() if shared else math.inf
            effort = Effort(
                boxes=growth * self.settings.slice_boxes,
                work=growth * self.settings.slice_work,
                seconds=max(min(left_s, most), _LEAST_S),
                # another attack on each: what one seed's attack misses on every candidate another one's may find
                seed=self.request.seed + len(self.tried) + 1,
                semantics=self.semantics,
                # what is hopeless ends early: the method then asks for more margin, which is easier to prove
                give_up=True,
                record=self.record,
                attack=self.settings.attack,
                keeper=self.keeper,
                device=self.device,
                helpers=self.helpers,
            )
            decided = decide_all(loaded, self.asked, self.clock, effort, as_many=self.request.as_many)
            attempt.answers = decided.answers
        tried = Tried(
            method=stage.name,
            result=self._result_word(attempt),
            kept=kept,
            seconds=self.clock.now() - begun,
            boxes=0 if attempt is None else sum(answer.verdict.boxes for answer in attempt.answers.values()),
            answers={} if attempt is None else {name: attempt.guarantee(name) for name in attempt.answers},
        )
        return attempt, tried

    def _check_closeness(self, loaded: Loaded) -> Attempt:
        """The candidate, and whether it is known to be as close to the original as it has to be."""
        attempt = Attempt(loaded=loaded)
        if self.closeness is not None and self.request.max_difference is not None:
            deadline = self.clock.search.part(self.settings.shares.deciding)
            attempt.bounded = self.closeness.within(loaded, self.request.max_difference, deadline.over)
            difference = attempt.bounded.difference
            attempt.too_far = difference is None or not difference.complete
        return attempt

    def _may_be_better(self, kept: Kept) -> bool:
        """Can a candidate that keeps so much be the better one?"""
        # whatever it keeps: a best one that is too far from the original is none
        if self._kept is None or (self.best is not None and self.best.too_far):
            return True
        # its rank is not known yet; only what keeps too little cannot win, for that is asked first
        if self.request.as_many and self._best_is_measured() and not self._best_is_proved():
            return keeps_enough(kept, self.request, LEAST) or not keeps_enough(self._kept, self.request, LEAST)
        return not self._best_is_proved() or self._preference_key(kept) > self._preference_key(self._kept)

    def _result_word(self, attempt: Attempt | None) -> TriedResult:
        if attempt is None:
            return "passed over"
        if attempt.too_far:
            return "too far"
        words = [attempt.guarantee(s.prop.name) for s in self.asked]
        if all(word == "proved" for word in words):
            return "proved"
        return "violated" if "violated" in words else "unknown"

    def _best_is_proved(self) -> bool:
        return self.best is not None and self._rank(self.best)[0]

    def _rank(self, attempt: Attempt) -> tuple[bool, int, int]:
        wanted = [s.prop.name for s in self.asked]
        if not self.request.as_many:
            return attempt.rank(wanted)
        return attempt.rank_by_count(wanted, [s.prop.name for s in self.asked if s.role == "keep"])

    def _is_better(self, new: Attempt, kept: Kept) -> bool:
        """By closeness, where that is asked for; by what is proved; of two that are, by what is kept.

        Of as many as possible first: is enough kept?
        """
        if self.best is None or self._kept is None:
            return True
        if new.too_far != self.best.too_far:
            return self.best.too_far
        if self.request.as_many and self._best_is_measured():
            enough = [keeps_enough(each, self.request, LEAST) for each in (kept, self._kept)]
            # before any count of proofs: a network that always gives one answer is easily proved
            if enough[0] != enough[1]:
                return enough[0]
        ranks = self._rank(new), self._rank(self.best)
        # of two that are not proved an equal rank does not replace the best
        if ranks[0] != ranks[1] or not ranks[0][0]:
            return ranks[0] > ranks[1]
        return self._preference_key(kept) > self._preference_key(self._kept)

    def _best_is_measured(self) -> bool:
        """Is anything known of the behaviour that the best candidate keeps?"""
        return self._kept is not None and self._kept.n > 0

    def _preference_key(self, kept: Kept) -> tuple[float, ...]:
        """Greater is better: least drawdown first, then decisions and outputs as the user prefers.

        What was not measured, and decisions where nothing decides, prefer no candidate.
        """
        closeness = (-kept.mae,) if kept.n else ()
        agreement = (kept.decision_agreement,) if kept.n and kept.decision_agreement is not None else ()
        pair = (*agreement, *closeness) if self.request.prefer == "decisions" else (*closeness, *agreement)
        # drawdown first whatever the user prefers: new violations are harm, changed decisions a price
        return (-kept.drawdown, *pair)

    def _best_keeps_enough(self, stage: Stage) -> bool:
        """Does the best candidate keep what the user asked for? Not, where that was not measured."""
        kept = self._kept
        return kept is not None and kept.drawdown <= stage.drawdown and keeps_enough(kept, self.request, stage.content)
