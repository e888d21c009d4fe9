"""How large a search tree will be, from random descents (Knuth 1975, Estimating the efficiency of backtrack programs).

Start at a random open box, examine it, go on into a random half, until a box is proved. A descent that ends at depth
d visits one node on each level; weighing level i by 2^i makes the weighted count an unbiased estimate of the number
of boxes below the start. Its spread is large, its mean over a few hundred descents is within a factor of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from birdnn.bounds.protocol import MarginBound, Question
from birdnn.verify.work import Work, examine, halve

# a box at that depth stands for 2**120 of them, whatever is below
MAX_DEPTH = 120


def boxes_below(
    bound: MarginBound,
    question: Question,
    work: Work,
    *,
    descents: int,
    generator: torch.Generator,
    over: Callable[[], bool],
    most: float = math.inf,
) -> float | None:
    """Estimated number of boxes that a search of all of ``work`` still has to examine; None once it is ``over``.

    More than ``most`` are not counted.
    """
    start = torch.randint(len(work), (descents,), generator=generator)
    current = work[start.to(bound.device)]
    total, weight = 0.0, len(work) / descents
    for _ in range(MAX_DEPTH):
        if over():
            return None
        # descents that have ended count no more; those that go on stand for twice as many boxes on each level
        total += weight * len(current)
        step = examine(bound, question, current)
        count = len(step.remains)
        if not count or total > most:
            break
        halves = halve(bound, step.remains, step.left.edge)
        side = torch.randint(2, (count,), generator=generator).to(bound.device)
        current = halves[torch.arange(count, device=bound.device) + side * count]
        weight *= 2
    return total
