"""The time limit of a command, and every stage's share of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from birdnn.records import Watch
from birdnn.records.limits import never


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deadline:
    """When a stage has to end. It asks between pieces of work of a second or less, and keeps what it has by then.

    Attributes:
        until: on the clock ``now``; infinity without a limit.
        stopped: does the user want an end?
    """

    until: float
    stopped: Callable[[], bool]
    now: Callable[[], float] = time.monotonic

    def left_s(self) -> float:
        """Seconds to the end, never negative."""
        return max(0.0, self.until - self.now())

    def over(self) -> bool:
        """Must the stage end now?"""
        return self.stopped() or self.now() >= self.until

    def part(self, share: float) -> Deadline:
        """The end of a part of the stage that may take this share of what is left."""
        left = self.left_s()
        # infinity times a share of zero would be NaN, which no clock ever reaches
        until = self.until if math.isinf(left) else self.now() + share * left
        return Deadline(until=until, stopped=self.stopped, now=self.now)

    def affordable(self, count: int, once: Callable[[], int], *, times: float = 1.0) -> int:
        """How many of ``count`` pieces of work there is time for, at least one.

        Measured on the few that ``once`` does and counts, where the work takes so many ``times`` as long for each.
        Without a limit nothing is measured, so that a seed repeats a run.
        """
        left = self.left_s()
        if math.isinf(left):
            return count
        once()  # the first time anything costs more
        begun = self.now()
        done = once()
        each = (self.now() - begun) / max(1, done)
        # `left_s` anew: the two measurements have taken some of it
        return max(1, min(count, int(self.left_s() / max(times * each, 1e-9))))


def remaining_limit(timeout_s: float | None, began: float | None = None) -> float:
    """What is left of a limit that counts since ``began``, on the monotonic clock; since now where nobody says it."""
    if timeout_s is None:
        return math.inf
    # never negative: a limit that loading has spent ends the command at once
    return timeout_s if began is None else max(0.0, timeout_s - (time.monotonic() - began))


def no_deadline() -> Deadline:
    """No end."""
    return Deadline(until=math.inf, stopped=never)


@dataclass(slots=True, kw_only=True, eq=False)
class Clock:
    """The time limit of a command and the user's wish to stop.

    The limit is wall time, the only one that is; what is limited otherwise is work. A part at its end is kept from the
    search for what has to follow it.

    Attributes:
        timeout_s: for everything.
        reserve_s: of it, for what follows the search.
        watch: who may stop it.
        now: the clock, seconds.
        spent: stage -> seconds so far.
    """

    timeout_s: float
    watch: Watch
    reserve_s: float = 0.0
    now: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    spent: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = self.now()

    def wall_s(self) -> float:
        """Seconds since the start."""
        return self.now() - self.started

    def left_s(self) -> float:
        """Seconds to the end of the search, never negative."""
        return self.search.left_s()

    def over(self) -> bool:
        """Must the search end now?"""
        return self.search.over()

    @property
    def search(self) -> Deadline:
        """The end of the search."""
        return self._deadline_after(self.timeout_s - self.reserve_s)

    @property
    def end(self) -> Deadline:
        """The end of everything."""
        return self._deadline_after(self.timeout_s)

    def stage(self, share: float) -> Deadline:
        """The end of a stage that begins now, and may take this share of all that is left."""
        # not of the search: what is kept from that is kept for stages
        return self.end.part(share)

    def left_of(self, share: float) -> float:
        """Seconds until the search has spent this share of the whole limit; negative afterwards."""
        return self.started + share * self.timeout_s - self.reserve_s - self.now()  # no difference of two infinities

    def book(self, stage: str, begun: float) -> float:
        """Add the seconds since ``begun`` to a stage."""
        seconds = self.now() - begun
        self.spent[stage] = self.spent.get(stage, 0.0) + seconds
        return seconds

    def _deadline_after(self, after_s: float) -> Deadline:
        return Deadline(until=self.started + after_s, stopped=self.watch.stopped, now=self.now)
