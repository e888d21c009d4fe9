"""Many small computations on all cores, each on one of them.

torch gives every operation all threads, which wait for each other at its end. That takes no time on a quiet machine;
where another process has a core, the waiting threads of each operation wait for a turn of the scheduler: measured, the
samples of a repair took 78 seconds instead of 2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")


def one_thread_each(function: Callable[[S], T], parts: Sequence[S]) -> list[T]:
    """``function`` of each part, in their order; as many at a time as torch has threads, each with one of its own.

    Raises:
        what ``function`` raises, first of all; parts that were not begun are not.
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2:
        return [function(part) for part in parts]
    pool = ThreadPoolExecutor(threads, "birdnn", initializer=torch.set_num_threads, initargs=(1,))
    try:
        # map gives results in the order of the parts, and raises what the first one raised
        return list(pool.map(function, parts))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch.get_num_threads())  # of this thread; a new one takes the number that was set last
