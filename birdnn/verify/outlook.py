"""How far a search is and how long it will still take: from estimates that are made again as it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_S = 6.0
"""No estimate before: an earlier one is made in the hardest corner and frightens people."""

SHARE = 0.25
"""Of the time spent so far, an estimate may take."""

_LONGEST_S = 60.0
_NEARLY = 0.99


@dataclass(slots=True, kw_only=True)
class Outlook:
    """Of one search.

    An estimate says how many boxes are left of the region at hand; from then on they are counted down. A search that
    needs more boxes than that has no outlook until the next estimate, and says so.

    Attributes:
        regions: how many there are.
        now: the clock, seconds.
    """

    regions: int
    now: Callable[[], float] = time.monotonic
    _started: float = field(init=False)
    _next: float = field(init=False)
    _finished: int = 0
    _before: int = 0
    _at: int = 0
    _left: float | None = None

    def __post_init__(self) -> None:
        self._started = self.now()
        self._next = self._started + FIRST_S

    def due(self, boxes: int) -> bool:
        """Is it time for an estimate, after so many boxes? Once half of what the last one said is done, it is."""
        now = self.now()
        if self._left is not None and boxes - self._at > self._left / 2:
            # half of the way to the next estimate is enough, but never before the first one may be told
            return now >= min(self._next, self._started + FIRST_S + (self._next - self._started) / 2)
        return now >= self._next

    def until(self) -> float:
        """When an estimate that begins now has to end."""
        now = self.now()
        return now + SHARE * (now - self._started)

    def estimated(self, boxes: int, left: float | None, begun: float) -> None:
        """Take an estimate of the boxes left, None where it did not end in time, and how long it took."""
        now = self.now()
        self._at, self._left = boxes, left
        seconds = self.left_s(boxes) or 0.0
        # rarer in a long search, though at most a minute apart, and more often again towards the expected end
        pause = min(now - self._started, _LONGEST_S, max(FIRST_S, seconds / 4))
        self._next = now + max((now - begun) / SHARE, pause)

    def region_done(self, boxes: int) -> None:
        """The next region begins."""
        self._finished += 1
        self._before, self._at, self._left = boxes, boxes, None

    def done(self, boxes: int) -> float | None:
        """Share of the work that is done, None where unknown; below 1, as long as anybody asks."""
        left = self._boxes_left(boxes)
        if self._left is None:
            return self._finished / self.regions if self._finished else None
        here = boxes - self._before
        # whoever outlived an estimate is counted as done here, and `_NEARLY` keeps it from reading as finished
        share = here / (here + left) if left is not None else 1.0
        return min(_NEARLY, (self._finished + share) / self.regions)

    def left_s(self, boxes: int) -> float | None:
        """Seconds to the end, None where unknown."""
        left = self._boxes_left(boxes)
        if left is None or not boxes:
            return None
        total = boxes + left  # of the regions up to this one; the others are like them
        others = (self.regions - self._finished - 1) * total / (self._finished + 1)
        return (left + others) * (self.now() - self._started) / boxes

    def overrun(self, boxes: int) -> bool:
        """Was there an outlook that the search has outlived?"""
        return self._left is not None and self._boxes_left(boxes) is None

    def _boxes_left(self, boxes: int) -> float | None:
        if self._left is None or boxes - self._at >= self._left:
            return None
        return self._left - (boxes - self._at)
