"""Sound and complete verification: falsify first, then branch and bound over input boxes.

The tree is searched depth first in batches, so that the open boxes stay few. A box is closed when a float64 lower bound
excludes every unsafe polytope on it, or when clipping leaves nothing of it. Every batch also yields candidates for a
counterexample; one that violates when replayed ends the search, one that does not leaves its box open.

A search that is to speak about the reals goes on at an input that violates when it is run and not over the reals. Where
it ends in a proof, that input stands beside it; where it decides nothing, the input is the answer and says what it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.errors import EngineError, out_of_memory
from birdnn.network import Network
from birdnn.records import (
    ARITHMETIC,
    Progress,
    Proved,
    RegionProof,
    Replay,
    Unknown,
    UnknownReason,
    Unwatched,
    Verdict,
    Violated,
    Watch,
    Witness,
)
from birdnn.records.limits import OutOfTime
from birdnn.rounding import Semantics
from birdnn.spec import Property, Region
from birdnn.verify import spread
from birdnn.verify.attack import AttackSettings, attack_all
from birdnn.verify.bounding import MakeBound, make_bound, root_of
from birdnn.verify.branching import cut_remains, take_batch
from birdnn.verify.compared import without_tail
from birdnn.verify.effort import MANY, Due, attack_ladder, batch_for, boxes_within, first_attack
from birdnn.verify.float32 import require_float32
from birdnn.verify.frontier import Frontier, Keeper, search_name
from birdnn.verify.outlook import Outlook
from birdnn.verify.pace import Pace
from birdnn.verify.part import Part
from birdnn.verify.recording import Recorder
from birdnn.verify.settings import SearchSettings
from birdnn.verify.sifting import Suspect, find_suspects
from birdnn.verify.touching import Touching
from birdnn.verify.treesize import boxes_below
from birdnn.verify.witness import Judge
from birdnn.verify.work import Step, Work, candidate_points, examine

_KEPT_UNDECIDED, _DESCENTS = 2048, 256
_HINTS = 64  # open boxes whose middles an attack begins with
_GLANCE = 300  # evaluations, for each polytope; they meet ten of eleven violations of other people's benchmarks
_JUDGED = 512  # points of a region that come closest, looked at closely
_NEWS_EVERY_S = 0.2
_FIRST_PROGNOSIS = 16_384  # boxes; later ones after four times as many each
_HOPELESS = 1.5
"""An estimate may be wrong by so much. Where it lets a search go on, the limit of boxes grows by as much: those that
are nearly done would be cut, dearest of all."""
_MANY_INPUTS = 100
"""That vary, from which on a chain is searched by the signs of its neurons as well; compiled bounds of boxes are faster
where few do."""
_RUNS, _PROOF = 4096, 65_536
"""Boxes, beside as many as so far: to find a run that violates, where the function over the reals is known to do so;
 to prove that it does not, where a run is known to do so. Such margins are a hair, and a search may never end."""


def verify(
    net: Network,
    prop: Property,
    *,
    settings: SearchSettings,
    replays: Sequence[Replay],
    watch: Watch | None = None,
    bound: MakeBound | None = None,
    keeper: Keeper | None = None,
    helpers: spread.Helpers | None = None,
) -> Verdict:
    """Decide ``prop`` for ``net``, by bounds of `make_bound` unless ``bound`` makes others.

    With a ``keeper`` a long search goes on where it was: what it reached is kept now and then, and wherever a limit
    ends it; the same question, asked again, begins there. With ``helpers`` the rest of a search that has become large
    is theirs (`birdnn.verify.spread`), and the proof is the one that would have been made without them.

    Returns:
        `Proved` once a complete cover of every region has positive bounds; `Violated` with a replayed witness;
        `Unknown` with the reason and some of the open boxes otherwise.

    Raises:
        MismatchError: the property speaks about another number of inputs or outputs.
        InputError: what was kept cannot be read.
        EngineError: helpers lose the same task again and again.
    """
    search = Search(net, prop, settings, replays, watch or Unwatched(), keeper, helpers)
    try:
        verdict = search.run(bound or make_bound)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        verdict = Unknown(reason="memory", boxes=search.boxes, arithmetic=search.arithmetic)
    if search.keeper is not None and not isinstance(verdict, Unknown):
        search.keeper.done(search.name)
    return search.concluded(verdict)


def varies_in_many(prop: Property) -> bool:
    """Do so many inputs vary that chains, too, are searched by the signs of their neurons?"""
    return prop.varying > _MANY_INPUTS


class Search:
    """The state of one verification, or of one falsification."""

    def __init__(
        self,
        net: Network,
        prop: Property,
        settings: SearchSettings,
        replays: Sequence[Replay],
        watch: Watch,
        keeper: Keeper | None = None,
        helpers: spread.Helpers | None = None,
    ) -> None:
        prop.require_sizes(net.n_inputs, net.n_outputs)
        if settings.semantics == "float32":
            require_float32(net)
        before, net = net, without_tail(net, prop, settings.semantics)
        if net is not before:  # what is proved of the values before a softmax no certificate says of those behind it
            settings = replace(settings, record=False)
        self.started = time.monotonic()
        settings = replace(settings, many_inputs=varies_in_many(prop))
        self.prop, self.settings, self.watch = prop, settings, watch
        self.net = net.copy().to(device=torch.device(settings.device), dtype=torch.float32)
        self.source = net  # with the numbers of its file: bounds are of these, attacks run the copy above
        self.judge = Judge(self.net, prop, replays, source=net)
        self.executed: Witness | None = None  # violates when run, not over the reals, which are spoken of
        self.over_reals: tuple[float, ...] = ()  # the other way round
        self.enough_boxes = math.inf
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.arithmetic = ARITHMETIC[settings.semantics]
        self.proofs: list[RegionProof] = []
        self.boxes, self.proof_bytes = 0, 0
        self.exact = Touching(net, settings.semantics)
        self.polytopes = max(1, *(len(region.unsafe) for region in prop.regions))
        self.batch = settings.batch or batch_for(net, settings.device, self.polytopes)
        self.max_boxes, self.granted = settings.max_boxes, 1.0  # so many times as many
        self.keeper, self.name, self.helpers = keeper, "", helpers
        self.gave_up: list[Boxes] = []
        self.ladder: tuple[Due, ...] = ()
        self.bound: MarginBound | None = None
        self.pace = Pace()
        self.outlook = self._new_outlook()
        self.last_news, self.next_prognosis = self.started, _FIRST_PROGNOSIS

    def run(self, make: MakeBound) -> Verdict:
        settings = self.settings
        if (witness := self._at_a_glance()) is not None:
            return Violated(witness=witness, boxes=self.boxes)
        suspected = self.suspects(make)
        polytopes = sum(len(suspect.region.unsafe) for suspect in suspected)
        first = first_attack(self.source, polytopes, settings.attack, settings.device)
        kept = self._resume_region(make, first) if self.keeper is not None else None
        if kept is None and suspected:
            witness = self.attack(suspected, first)
            if witness is not None:
                return Violated(witness=witness, boxes=self.boxes)
            reason = self.limit_reached()
            if reason is not None:
                return Unknown(reason=reason, boxes=self.boxes)
        bound = self._search_bound(make)  # after the first attack: folding a large network takes seconds
        self.ladder = attack_ladder(self.source, bound, first, settings.attack)
        self.outlook = self._new_outlook()
        recorded = settings.record and bound.record  # a certificate needs every region
        todo = {*range(len(self.prop.regions))} if recorded else {suspect.place for suspect in suspected}
        self.boxes += len(self.prop.regions) - len(todo) if kept is None else 0
        for place, region in enumerate(self.prop.regions):
            part: Part | None = None  # it is done
            if kept is not None and place == kept.place:
                part = kept
            elif place in todo and (kept is None or place > kept.place):
                part = self._begin_region(bound, place, region)
            verdict = None if part is None else self._search_region(bound, part)
            if verdict is not None:
                return verdict
            self.outlook.region_done(self.boxes)
        if self.gave_up:
            stuck = Boxes.concatenate(self.gave_up)
            return Unknown(
                reason="precision",
                boxes=self.boxes,
                undecided=stuck[:_KEPT_UNDECIDED].to("cpu"),
                open_boxes=len(stuck),
                arithmetic=self.arithmetic,
            )
        return Proved(boxes=self.boxes, proofs=tuple(self.proofs), arithmetic=self.arithmetic)

    def _at_a_glance(self) -> Witness | None:
        """A violation that a few hundred evaluations meet, before anything is loaded or folded for bounds."""
        polytopes, settings = sum(len(region.unsafe) for region in self.prop.regions), self.settings
        if polytopes > MANY or self.keeper is not None:  # a search that goes on where it was repeats no attack
            return None
        glance = first_attack(self.source, polytopes, settings.attack, settings.device).within(_GLANCE)
        return self.attack(Suspect.all_of(self.prop), glance)

    def _new_outlook(self) -> Outlook:
        return Outlook(regions=len(self.prop.regions), now=lambda: time.monotonic())

    def _search_bound(self, make: MakeBound) -> MarginBound:
        """The bound method of the search, made once."""
        if self.bound is None:
            self.bound = self._make_bound(make)
            self.batch = self.settings.batch or batch_for(self.source, self.settings.device, self.polytopes, self.bound)
        return self.bound

    def _make_bound(self, make: MakeBound, **other: Any) -> MarginBound:
        """The bound method, by `other` settings, and how many boxes the work allowed is worth with it."""
        bound = make(self.source, replace(self.settings, **other))
        bound.over = self._is_late
        if not math.isinf(self.settings.max_work):
            self.max_boxes = min(self.max_boxes, boxes_within(self.settings.max_work, self.source, bound))
        return bound

    def suspects(self, make: MakeBound) -> list[Suspect]:
        """The regions that are worth an attack (`birdnn.verify.sifting`)."""

        def speaking(semantics: Semantics) -> MarginBound:
            own = semantics == self.settings.semantics
            return self._search_bound(make) if own else self._make_bound(make, semantics=semantics, record=False)

        settings = self.settings
        return find_suspects(
            self.source, self.prop, settings.semantics, speaking, settings.device, self.batch, self._is_late
        )

    def _attack_again(self, part: Part, work: list[Work], boxes: float) -> Witness | None:
        """The hardest attack that is due after so many boxes, on the polytopes that are open in ``work``."""
        if not part.attacks or part.attacks[0].boxes > boxes:
            return None
        opened = torch.stack([each.opened.any(0) for each in work]).any(0).tolist()
        unsafe = tuple(p for p, still in zip(part.region.unsafe, opened, strict=True) if still)
        due = [attack for attack in part.attacks if attack.boxes * len(unsafe) <= boxes]
        if not due or not unsafe:
            return None
        del part.attacks[: len(due)]
        middles = Boxes.concatenate([each.boxes for each in work]).centres().cpu()
        some = middles[:: -(-len(middles) // _HINTS)]
        region = replace(part.region, unsafe=unsafe)
        return self.attack([Suspect(part.place, region, some.expand(len(unsafe), *some.shape))], due[-1].attack)

    def attack(self, suspected: Sequence[Suspect], settings: AttackSettings) -> Witness | None:
        """One attack on all of them together."""
        witnesses: list[Witness] = []

        def accepts(number: int, points: Tensor) -> bool:
            witness = self.witness(suspected[number].region, points)
            witnesses.extend([] if witness is None else [witness])
            return witness is not None

        found = attack_all(
            self.net,
            [suspect.region for suspect in suspected],
            settings=settings,
            generator=self.generator,
            hints=[suspect.hints for suspect in suspected],
            accepts=accepts,
            stopped=self._is_late,
        )
        closest = sorted(range(len(found)), key=lambda number: found[number].least)[:MANY]
        if not witnesses:  # runs and reals differ by a hair
            any(accepts(number, found[number].best(_JUDGED)) for number in closest)
        return witnesses[0] if witnesses else None

    def witness(self, region: Region, points: Tensor) -> Witness | None:
        """A counterexample among ``points`` to what is spoken of; what is half of one is kept."""
        if self.settings.semantics != "real":
            return self.judge.first(region, points)
        found, over_reals = self.judge.first_over_reals(region, points)
        if over_reals and not self.over_reals:
            self.over_reals, self.enough_boxes = over_reals, min(self.enough_boxes, 2 * self.boxes + _RUNS)
        # a run beside a decimal (`Region.nearest`) says nothing of the decimal while nobody can tell what holds there
        told = found is not None and (found.exactly is not None or not region.nearest)
        if found is None or (told and found.exactly is not False):
            return found
        if self.executed is None:
            self.executed, self.enough_boxes = found, min(self.enough_boxes, 2 * self.boxes + _PROOF)
        return None

    def concluded(self, verdict: Verdict) -> Verdict:
        """The verdict, with the input that violates when run only, if one was met."""
        if not isinstance(verdict, Proved):
            return self.falsified(verdict) if isinstance(verdict, Unknown) else verdict
        return replace(verdict, executed=self.executed, touched=self.exact.closed)

    def falsified(self, verdict: Unknown) -> Violated | Unknown:
        """The input that violates when run only, where nothing was decided over the reals."""
        if self.executed is not None:
            return Violated(witness=self.executed, boxes=verdict.boxes, undecided=verdict.reason)
        return replace(verdict, over_reals=self.over_reals)

    def _is_late(self) -> bool:
        return self.limit_reached() in ("interrupted", "timeout")

    def _left_s(self) -> float:
        return max(0.0, self.settings.timeout_s - (time.monotonic() - self.started))

    def limit_reached(self, part: Part | None = None) -> UnknownReason | None:
        """Why the search has to end now, if it has to; by memory only if it is told what is open."""
        if self.watch.stopped():
            return "interrupted"
        if time.monotonic() - self.started > self.settings.timeout_s:
            return "timeout"
        if self.boxes >= self.enough_boxes and self.over_reals:
            return "not_executed"
        if self.boxes >= min(self.granted * self.max_boxes, self.enough_boxes):
            return "boxes"
        if part is not None and part.bytes + self.proof_bytes > self.settings.memory_bytes:
            return "memory"
        return None

    def _begin_region(self, bound: MarginBound, place: int, region: Region) -> Part:
        """The search of a region before its first batch: its whole box is open."""
        recorder = Recorder(region) if self.settings.record and bound.record and not self.exact.closed else None
        return Part(
            place=place,
            region=region,
            boxes_before=self.boxes,
            attacks=list(self.ladder[1:]),
            stack=[root_of(bound, region)],
            rounds=[],
            recorder=recorder,
        )

    def _search_region(self, bound: MarginBound, part: Part) -> Verdict | None:
        """None once the region is proved, but for boxes that are given up; it is attacked harder as time goes by."""
        region, stack = part.region, part.stack
        question = Question.of(region.unsafe, self.prop.n_outputs, bound.device)
        smallest = spread.smallest_edges(self.settings, region).to(bound.device)
        while stack:
            reason = self.limit_reached(part)
            if reason is not None:
                return self._end_at_limit(reason, part)
            if self.keeper is not None and self.keeper.due():
                self._keep_frontier(part)
            if self.helpers is not None and self._may_ask_helpers(bound, part):
                verdict = self._search_with_helpers(self.helpers, bound, part)
                if verdict is not None:
                    return verdict
                continue
            part.rounds.clear()
            batch = take_batch(stack, self.pace.fitting(self.batch, self._left_s()))
            step = self._examine_batch(bound, question, batch, stack)
            if step is None:
                continue
            if part.recorder is not None:
                part.recorder.examined(batch, step)
            points = candidate_points(batch, step)
            witness = self.witness(region, points) if len(points) else None
            if witness is None:
                witness = self._attack_again(part, [*stack, step.remains], self.boxes - part.boxes_before)
            if witness is not None:
                return Violated(witness=witness, boxes=self.boxes)
            step, stuck = self.exact.close(region, step, first=self.boxes - part.boxes_before == len(batch))
            if self.exact.closed:  # what has a leaf that no certificate can close is of no use, of any region
                part.recorder, self.proofs, self.proof_bytes = None, [], 0
            halves, small = cut_remains(bound, step, smallest, part.recorder)
            self.gave_up += [*small, *stuck]
            stack += halves  # in place: it is the list of the part
            self._tell_watch(bound, question, part)
            reason = self._hopeless_limit(bound, question, part)
            if reason is not None:
                return self._end_at_limit(reason, part)
        if part.recorder is not None:
            self.proofs.append(part.recorder.finish())
            self.proof_bytes += self.proofs[-1].bytes
        return None

    def _may_ask_helpers(self, bound: MarginBound, part: Part) -> bool:
        """Is it time to ask others? They are not asked while an estimate may still say that it is hopeless."""
        if part.rounds:
            return True
        estimated = not self.settings.give_up or self.next_prognosis > _FIRST_PROGNOSIS
        enough = self.boxes - part.boxes_before >= spread.boxes_before_helpers(self.source, bound)
        return estimated and enough and sum(len(work) for work in part.stack) >= spread.PARTS

    def _search_with_helpers(self, helpers: spread.Helpers, bound: MarginBound, part: Part) -> Verdict | None:
        """The rest of a region by helpers; None once it is proved, but for boxes that are given up.

        What comes home when depends on who was fast, so that no estimate in between gives up: limits end it.
        """
        recorder, question = part.recorder, Question.of(part.region.unsafe, self.prop.n_outputs, bound.device)
        if not part.rounds:
            part.open([spread.Task(work, 0) for work in spread.deal_boxes(part.stack, spread.PARTS)])
        errand = spread.Errand(
            net=self.source,
            region=part.region,
            settings=replace(self.settings, device="cpu"),
            batch=self.batch,
            budget=spread.first_budget(self.source, bound),
            record=recorder is not None,
        )
        with spread.Crew(helpers, errand, part.tasks()) as crew:
            while part.stack:
                reason = self.limit_reached(part)
                if reason is not None:
                    return self._end_at_limit(reason, part)
                if self.keeper is not None and self.keeper.due():
                    self._keep_frontier(part)
                witness = self._take_pieces(crew, part)
                if witness is not None:
                    return Violated(witness=witness, boxes=self.boxes)
                self._tell_watch(bound, question, part)
        return None

    def _take_pieces(self, crew: spread.Crew, part: Part) -> Witness | None:
        """Take over what helpers found meanwhile; the witness among their points, if there is one."""
        witness = None
        try:
            for piece in crew.ended(part.recorder):
                self.boxes += piece.boxes
                self.gave_up += piece.small
                if witness is None and len(piece.points):
                    witness = self.witness(part.region, piece.points)
        except EngineError:
            # what came home before is kept: another run goes on from there
            part.open(crew.tasks)
            self._keep_frontier(part)
            raise
        part.open(crew.tasks)
        if witness is None and part.stack:
            witness = self._attack_again(part, part.stack, self.boxes - part.boxes_before)
        return witness

    def _hopeless_limit(self, bound: MarginBound, question: Question, part: Part) -> UnknownReason | None:
        """Which limit will not do, by an estimate; boxes say when it is made, so that a seed repeats a run."""
        if not self.settings.give_up or not part.stack or self.boxes < self.next_prognosis or self.limit_reached(part):
            return None
        self.next_prognosis *= 4  # before it is made: one that fails is not tried again at once
        left = self._estimate_left(bound, question, part.stack, math.inf)
        if left is None:
            if (reached := self.limit_reached(part)) is not None:
                self.next_prognosis //= 4  # whoever resumes the search makes this estimate
            return reached
        if self.boxes + left > _HOPELESS * self.max_boxes:
            return "boxes"
        self.granted = _HOPELESS
        needed = left * (time.monotonic() - self.started) / self.boxes
        return "timeout" if needed > _HOPELESS * self._left_s() else None

    def _estimate_left(self, bound: MarginBound, question: Question, stack: list[Work], until: float) -> float | None:
        """Boxes of this region still to examine, estimated, also for the outlook; None at a time limit, or `until`."""
        begun = time.monotonic()

        def over() -> bool:
            return time.monotonic() > until or self._is_late()

        # draws of its own: when people are told how far it is must not change what a seed repeats
        generator = torch.Generator().manual_seed(self.settings.seed)
        descents, work = min(_DESCENTS, self.batch), Work.concatenate(stack)
        try:
            left = boxes_below(bound, question, work, descents=descents, generator=generator, over=over)
        except (OutOfTime, MemoryError, RuntimeError) as error:  # an estimate is not worth a search that can go on
            if not (isinstance(error, OutOfTime) or out_of_memory(error)):
                raise
            left = None
        self.outlook.estimated(self.boxes, left, begun)
        return left

    def _examine_batch(self, bound: MarginBound, question: Question, batch: Work, stack: list[Work]) -> Step | None:
        """One step; where the device runs out of memory the batch goes back and later ones are smaller.

        Where time runs out within the step it goes back as well, and the next look at the limits ends the search.
        """
        begun = time.monotonic()
        try:
            step = examine(bound, question, batch)
        except OutOfTime:
            stack.append(batch)
            return None
        except (MemoryError, RuntimeError) as error:
            if self.batch == 1 or not out_of_memory(error):
                raise
            self.batch = max(1, min(self.batch, len(batch)) // 2)  # the batch at hand may have been a smaller one
            stack.append(batch)
            return None
        self.pace.took(len(batch), time.monotonic() - begun)
        self.boxes += len(batch)
        return step

    def _end_at_limit(self, reason: UnknownReason, part: Part) -> Verdict:
        """A limit is reached. Where it is not time, and nobody else decides, what is open is attacked once more."""
        if reason in ("boxes", "memory") and not self.settings.give_up:
            witness = self._attack_again(part, part.stack, math.inf)
            if witness is not None:
                return Violated(witness=witness, boxes=self.boxes)
        if self.keeper is not None:
            self._keep_frontier(part)
        return self._unknown_verdict(reason, part.stack)

    def _resume_region(self, make: MakeBound, first: AttackSettings) -> Part | None:
        """The region that a keeper has the search in, and its whole state; None where there is nothing to go on with.

        A network that was not read from a file has no name, so that nothing is kept of it.
        """
        if self.keeper is None or not self.source.sha256:
            self.keeper = None
            return None
        bound = self._search_bound(make)
        self.name = search_name(self.source, self.prop, self.settings, type(bound).__name__)
        found = self.keeper.read(self.name, self.prop.regions)
        if found is None:
            return None
        self.boxes, self.batch, self.proofs = found.boxes, found.batch, [*found.proofs]
        self.gave_up = [boxes.to(bound.device) for boxes in found.gave_up]
        self.enough_boxes, self.next_prognosis = found.enough_boxes, found.next_prognosis
        self.granted = _HOPELESS if self.next_prognosis > _FIRST_PROGNOSIS else 1.0
        self.executed, self.over_reals = found.executed, found.over_reals
        self.proof_bytes = sum(proof.bytes for proof in found.proofs)
        self.generator.set_state(found.drawn)  # later attacks draw what they would have drawn
        return Part(
            place=found.place,
            region=self.prop.regions[found.place],
            boxes_before=found.boxes_before,
            attacks=list(attack_ladder(self.source, bound, first, self.settings.attack)[1 + found.attacks :]),
            stack=[work.to(bound.device) for work in found.stack],
            rounds=[*found.rounds],
            recorder=found.recorder,
        )

    def _keep_frontier(self, part: Part) -> None:
        """Have the state kept, between two batches."""
        if self.keeper is None or not part.stack:
            return
        frontier = Frontier(
            place=part.place,
            boxes=self.boxes,
            boxes_before=part.boxes_before,
            batch=self.batch,
            attacks=len(self.ladder) - 1 - len(part.attacks),
            enough_boxes=self.enough_boxes,
            next_prognosis=self.next_prognosis,
            stack=part.stack,
            rounds=part.rounds,
            gave_up=self.gave_up,
            proofs=self.proofs,
            recorder=part.recorder,
            drawn=self.generator.get_state(),
            executed=self.executed,
            over_reals=self.over_reals,
        )
        self.keeper.write(self.name, frontier)

    def _unknown_verdict(self, reason: UnknownReason, stack: list[Work]) -> Unknown:
        boxes = [w.boxes for w in reversed(stack)]  # what would come next, the hardest, first
        return Unknown(
            reason=reason,
            boxes=self.boxes,
            undecided=Boxes.concatenate(boxes)[:_KEPT_UNDECIDED].to("cpu"),
            open_boxes=sum(map(len, boxes)),
            arithmetic=self.arithmetic,
        )

    def _tell_watch(self, bound: MarginBound, question: Question, part: Part) -> None:
        """News for the watch; now and then a new estimate of what is left."""
        now, outlook = time.monotonic(), self.outlook
        waiting = sum(len(w) for w in part.stack)
        if waiting and outlook.due(self.boxes) and self.limit_reached(part) is None:
            self._estimate_left(bound, question, part.stack, outlook.until())
            now = time.monotonic()
        elif now - self.last_news < _NEWS_EVERY_S:
            return
        self.last_news = now
        unknown = ", time left unknown" if outlook.overrun(self.boxes) else ""
        self.watch.update(
            Progress(
                phase=f"proving {self.prop.name}",
                done=outlook.done(self.boxes),
                left_s=outlook.left_s(self.boxes),
                detail=f"{self.boxes:,} boxes, {waiting:,} open{unknown}",
            )
        )
