"""How many cores other programs leave to this one."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

_FEW_TICKS = 10
"""Of all cores together, a hundredth of a second each: fewer say nothing."""


_COUNTED = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Ticks:
    """What the system had counted at some time: ticks of all cores, those of them without work; our own seconds."""

    every: int
    idle: int
    ours_s: float


SINCE: ContextVar[Ticks | None] = ContextVar("since", default=None)
"""When the process began; None where nobody looked."""


def count_ticks() -> Ticks | None:
    """What the system has counted by now; None where it does not tell."""
    try:
        with _COUNTED.open(encoding="ascii") as file:
            counted = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return Ticks(sum(counted), sum(counted[3:5]), time.process_time()) if len(counted) == 8 else None


def busy_cores() -> float:
    """How many cores are at work for others.

    While this program was loaded, if the system tells that: whole cores, for what others do now counts, and not what an
    earlier command has done. Otherwise on the mean of the last minute.

    Raises:
        AttributeError, OSError, ValueError: the system does not tell.
    """
    cores, before, now = os.cpu_count() or 1, SINCE.get(), count_ticks()
    if before is None or now is None or (every := now.every - before.every) < _FEW_TICKS:
        return os.getloadavg()[0]
    busy = (every - (now.idle - before.idle)) / every * cores
    passed_s = every / cores / os.sysconf("SC_CLK_TCK")
    return max(0.0, round(busy - (now.ours_s - before.ours_s) / passed_s))


def spare_busy_cores() -> None:
    """Threads for idle cores only, where more than half are busy and the user has not said how many.

    Threads that share a core with other work wait for each other at every small product: twenty times as long.
    """
    try:
        idle = (cores := os.cpu_count() or 1) - busy_cores()
        ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    except (AttributeError, OSError, ValueError):  # not every system tells
        return
    if idle <= cores / 2:
        # torch, which is not loaded yet, reads this once
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, min(int(idle), ours))))
