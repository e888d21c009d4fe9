"""What is handed out without a proof has first survived the falsifier: as hard as ``birdnn falsify`` tries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from birdnn.pipeline.case import Related, Subject
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.judging import Answer, Attempt, Effort
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.related import attack_related
from birdnn.records import Progress, Unknown, Violated, Watch
from birdnn.verify import SearchSettings, falsify
from birdnn.verify.effort import FALSIFIER_ROUNDS

AFTER_STOP_S, ALL_AFTER_STOP_S = 3.0, 10.0
"""Of one property and of all together, after the user wants an end: whoever asks for less interrupts twice."""

LIMIT_SHARE = 0.5
"""Of what is left of a time limit when the search for candidates ends: measuring and writing need the rest."""


@dataclass(frozen=True, slots=True)
class _Deaf:
    """Passes news on, and does not hear that somebody wants an end: seconds are limited instead."""

    watch: Watch

    def update(self, progress: Progress) -> None:
        """See `Watch`."""
        self.watch.update(progress)

    def stopped(self) -> bool:
        """See `Watch`."""
        return False


def survivors(attempt: Attempt, subjects: Sequence[Subject], clock: Clock, effort: Effort, limit_s: float) -> set[str]:
    """Attack each property of a network that is to be handed out and is neither proved nor violated.

    Where a counterexample is found, the attempt's answer becomes `Violated`. A property that nobody had looked at gets
    an answer as well.

    Args:
        attempt: the network with its answers, which are changed.
        subjects: the properties that were asked about.
        clock: of the command.
        effort: seed, semantics and attack.
        limit_s: seconds of the whole command; infinite without a limit.

    Returns:
        The names of those that survived: every input region was attacked in full at least once, within the limits.
    """
    names = [subject.prop.name for subject in subjects]
    # the result is "violated" anyway: a short look at the others will do
    rounds = 1 if any(attempt.guarantee(name) == "violated" for name in names) else FALSIFIER_ROUNDS
    todo = [subject for subject in subjects if attempt.guarantee(subject.prop.name) == "unknown"]
    found: set[str] = set()
    for place, subject in enumerate(todo):
        # a user who wants an end still gets a word that can be trusted, in seconds
        if clock.watch.stopped():
            seconds = min(AFTER_STOP_S, ALL_AFTER_STOP_S / len(todo))
        else:
            # of the whole limit: the search, whose end `left_s` of the clock knows, is over
            left_s = limit_s - clock.wall_s()
            seconds = left_s if math.isinf(left_s) else max(0.0, left_s) * LIMIT_SHARE / (len(todo) - place)
        clock.watch.update(Progress(phase=f"attacking {subject.prop.name}, which is not proved"))
        begun = clock.now()
        answer = attempt.answers.get(subject.prop.name)
        verdict = _attack_property(attempt.loaded, subject, replace(effort, seconds=seconds), clock, rounds)
        spent = clock.book("verify", begun) + (0.0 if answer is None else answer.verify_s)
        if isinstance(verdict, Violated):
            attempt.answers[subject.prop.name] = Answer(verdict=verdict, verify_s=spent)
            continue
        if verdict.tried:
            found.add(subject.prop.name)
        # the proof's reason, where there is one, says more than that an attack found nothing
        kept = verdict if answer is None else answer.verdict
        attempt.answers[subject.prop.name] = Answer(verdict=kept, verify_s=spent)
    return found


def _attack_property(loaded: Loaded, subject: Subject, effort: Effort, clock: Clock, rounds: int) -> Violated | Unknown:
    """The attacks of `falsify`, with its default seed: it is asked next. `tried` is empty where none was finished."""
    watch = _Deaf(clock.watch) if clock.watch.stopped() else clock.watch
    # no boxes: `falsify` has rounds, and seconds
    limits = SearchSettings(
        timeout_s=effort.seconds, semantics=effort.semantics, attack=effort.attack, device=effort.device
    )
    if isinstance(subject, Related):
        return attack_related(subject, loaded, limits, watch, rounds)
    # of single points there is nothing to attack: a second round would run the same inputs
    same_again = all(region.is_point for region in subject.prop.regions)
    return falsify(
        loaded.net,
        subject.prop,
        settings=limits,
        replays=loaded.replays,
        watch=watch,
        rounds=1 if same_again else rounds,
    )


def survival_notes(survived: set[str], attempt: Attempt, subjects: Sequence[Subject]) -> tuple[str, ...]:
    """What a user should know of properties that are neither proved nor violated, one sentence each."""
    names = [s.prop.name for s in subjects if attempt.guarantee(s.prop.name) == "unknown"]
    withstood = [name for name in names if name in survived]
    unseen = [name for name in names if name not in survived]
    told = []
    if withstood:
        told.append(f"Not proved, and no counterexample was found by the whole falsifier: {', '.join(withstood)}.")
    if unseen:
        told.append(
            f"Neither proved nor attacked in full, for lack of time, so not called repaired: {', '.join(unseen)}; "
            "birdnn falsify looks for a counterexample."
        )
    return tuple(told)
