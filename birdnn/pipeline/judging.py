"""Is a network what its properties say? Each answer with its evidence, on files as they lie on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.pipeline.case import Related, Subject
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.preserving import Bounded
from birdnn.pipeline.related import decide_related
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Device, Guarantee, Proved, Unknown, Verdict, Violated, Witness
from birdnn.repair import Evidence
from birdnn.rounding import Semantics
from birdnn.sample import distinct_rows
from birdnn.spec import Property, Region
from birdnn.verify import AttackSettings, SearchSettings, attack, falsify, verify
from birdnn.verify.effort import hunt_effort
from birdnn.verify.frontier import Keeper
from birdnn.verify.spread import Helpers
from birdnn.verify.witness import Judge

_SHOWN_COUNTEREXAMPLES = 3
_REPLAYED = 64
_GLANCE = 0.1  # of the effort, which each of many properties gets before any gets more
_LEAST_S = 2.0  # what ends before its first bound was for nothing
FULL = 8
"""Properties that are each decided with the whole effort; more of them share as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """One property's verdict, and how long it took."""

    verdict: Verdict
    verify_s: float

    @property
    def guarantee(self) -> Guarantee:
        """In one word."""
        if isinstance(self.verdict, Proved):
            return "proved"
        return "violated" if isinstance(self.verdict, Violated) else "unknown"


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """A candidate as read back from disk.

    Attributes:
        loaded: network and replays.
        answers: property name -> answer; a property that was not looked at is missing.
        bounded: what was proved of its change, where that was asked for.
        too_far: it could not be proved to be as close to the original as was asked for; nothing else was looked at.
    """

    loaded: Loaded
    answers: dict[str, Answer] = field(default_factory=dict)
    bounded: Bounded | None = None
    too_far: bool = False

    def guarantee(self, name: str) -> Guarantee:
        """``"unknown"`` for a property that was not looked at."""
        return self.answers[name].guarantee if name in self.answers else "unknown"

    def proved(self) -> frozenset[str]:
        """The properties that are proved of it."""
        return frozenset(name for name in self.answers if self.guarantee(name) == "proved")

    def rank(self, wanted: list[str]) -> tuple[bool, int, int]:
        """Greater is better: all proved, then few violated, then many proved."""
        # judging ends at the first violation, so that what was not looked at counts as badly as what is violated
        words = [self.guarantee(name) if name in self.answers else "not looked at" for name in wanted]
        bad = words.count("violated") + words.count("not looked at")
        return all(w == "proved" for w in words), -bad, words.count("proved")

    def rank_by_count(self, wanted: list[str], kept: list[str]) -> tuple[bool, int, int]:
        """Greater is better: all proved, then many proved of those to be kept, then many proved of all."""
        # violations do not count here: of as many as possible one that is violated loses nothing for the others
        proved = {name for name in wanted if self.guarantee(name) == "proved"}
        return len(proved) == len(wanted), len(proved.intersection(kept)), len(proved)

    def evidence(self) -> Evidence:
        """What the next candidate can learn."""
        found = Evidence(too_far=self.too_far)
        for name, answer in self.answers.items():
            if isinstance(answer.verdict, Violated):
                # a replayed witness alone: what only the bound could not exclude is no violation to learn from
                found.points[name] = torch.tensor([answer.verdict.witness.x])
            elif isinstance(answer.verdict, Unknown) and answer.verdict.undecided is not None:
                found.undecided[name] = answer.verdict.undecided
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What one verification may cost: boxes, of a large network fewer by the work they are (`SearchSettings.max_work`),
    so that a seed repeats a run however busy the machine is; and seconds, of the user's own limit.

    With `give_up` it ends as soon as this is known not to be enough; another candidate may be easier to prove. `attack`
    comes before it; with `record` its proof can become a certificate; a `keeper` keeps what it reaches, and `helpers`
    take it on once it is large. All of that happens on the `device`, but for what helpers do.
    """

    boxes: float
    seed: int
    semantics: Semantics
    work: float = math.inf
    seconds: float = math.inf
    give_up: bool = False
    record: bool = False
    attack: AttackSettings = field(default_factory=AttackSettings)
    keeper: Keeper | None = None
    device: Device = "cpu"
    helpers: Helpers | None = None


def decide(loaded: Loaded, subject: Subject, clock: Clock, effort: Effort, *, cheap: bool = False) -> Answer:
    """Verify one property; ``cheap`` only looks for a counterexample."""
    begun = clock.now()
    limits = SearchSettings(
        # to the end of the search, which leaves what is kept for measuring and writing
        timeout_s=min(effort.seconds, clock.left_s()),
        max_boxes=effort.boxes,
        max_work=effort.work,
        seed=effort.seed,
        semantics=effort.semantics,
        record=effort.record,
        give_up=effort.give_up,
        attack=effort.attack,
        device=effort.device,
    )
    found: Verdict
    if isinstance(subject, Related) and cheap:
        found = Unknown(reason="not_found", boxes=0)  # a proof begins with the same attack
    elif isinstance(subject, Related):
        # no keeper and no helpers: boxes of slopes are few, or a proof is out of reach
        found = decide_related(subject, loaded, limits, clock.watch)
    elif cheap:
        # no keeper: an attack has no frontier to go on from
        found = falsify(loaded.net, subject.prop, settings=limits, replays=loaded.replays, watch=clock.watch)
    else:
        found = verify(
            loaded.net,
            subject.prop,
            settings=limits,
            replays=loaded.replays,
            watch=clock.watch,
            keeper=effort.keeper,
            helpers=effort.helpers,
        )
    return Answer(verdict=found, verify_s=clock.book("verify", begun))


def decide_all(
    loaded: Loaded, subjects: Sequence[Subject], clock: Clock, effort: Effort, *, as_many: bool = False
) -> Attempt:
    """Answers in the order given; ends early at a property that is violated, for then the candidate is lost.

    Counterexamples are looked for in all properties before the first proof is begun. With ``as_many`` no property
    loses the candidate, and each is decided.
    """
    attempt = Attempt(loaded=loaded)
    if as_many:
        return _decide_each(attempt, subjects, clock, effort)
    # a candidate that an attack refutes must not cost the proofs of the properties before that one
    for cheap in (True, False):
        for subject in subjects:
            if clock.over():
                return attempt
            answer = decide(loaded, subject, clock, effort, cheap=cheap)
            attempt.answers[subject.prop.name] = answer
            if answer.guarantee == "violated":
                return attempt
    return attempt


def _decide_each(attempt: Attempt, subjects: Sequence[Subject], clock: Clock, effort: Effort) -> Attempt:
    """Each decided with a small part of the effort, then those that are still open, which share the rest of it.

    What is hopeless costs what is easy no time, and a hundred properties no hundred times the work of one.
    """
    until = clock.now() + effort.seconds
    # twice over all: what a glance decides needs nothing more, and says which ones share the rest
    for share in (_GLANCE, 1.0):
        waiting = [s for s in subjects if attempt.guarantee(s.prop.name) == "unknown"]
        for number, subject in enumerate(waiting):
            if clock.over():
                return attempt
            # up to `FULL` properties have the whole effort each, more of them together as much as `FULL`
            part = share * min(1.0, FULL / len(waiting))
            left = max(0.0, min(until - clock.now(), clock.left_s()))
            # in the first round `_LEAST_S` for each all the same: so that no property stays without any look
            if share == 1 and left == 0:
                return attempt
            seconds = max(_LEAST_S, share * left / (len(waiting) - number))
            limits = replace(effort, boxes=part * effort.boxes, work=part * effort.work, seconds=seconds)
            attempt.answers[subject.prop.name] = decide(attempt.loaded, subject, clock, limits)
    return attempt


def shown_counterexamples(loaded: Loaded, prop: Property, first: Witness, points: Tensor) -> tuple[Witness, ...]:
    """A few replayed witnesses, ``first`` among them."""
    # the copy: a judge evaluates in float32, and must not change the network that is judged
    judge = Judge(loaded.net.copy().float(), prop, loaded.replays, source=loaded.net)
    found = [first]
    for region in prop.regions:
        # a hunt ends many times at the same corner, and each replay is evaluated over the reals too
        for point in judge.suspicious(region, distinct_rows(points))[:_REPLAYED]:
            if len(found) == _SHOWN_COUNTEREXAMPLES:
                return tuple(found)
            witness = judge.replayed(point)
            # as float32 a point may be one that is there already
            if witness is not None and witness.x not in {w.x for w in found}:
                found.append(witness)
    return tuple(found)


def make_hunter(
    settings: RepairSettings, stopped: Callable[[], bool], regions: int = 1, device: Device = "cpu"
) -> Hunter:
    """`Resample` by attack, which ends once ``stopped`` says so, and tries less hard where ``regions`` are many."""
    return Hunter(settings.hunt, settings.light_hunt, stopped, regions, device)


@dataclass(frozen=True, slots=True)
class Hunter:
    """See `make_hunter`."""

    hard: AttackSettings
    light: AttackSettings
    stopped: Callable[[], bool]
    regions: int
    device: Device

    def __call__(self, net: Network, region: Region, generator: torch.Generator, thorough: bool) -> Tensor:
        effort = hunt_effort(net, len(region.unsafe), self.regions, self.hard if thorough else self.light)
        # a copy moves; the caller's network stays where it is, and what comes back is on the CPU again
        if self.device != "cpu":
            net = net.copy().to(self.device)
        return attack(net, region, settings=effort, generator=generator, thorough=True, stopped=self.stopped).cpu()
