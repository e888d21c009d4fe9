"""Helpers of a spread search in this process: as many as asked for, in whatever order, some of them unreliable."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from birdnn.verify.bounding import make_bound
from birdnn.verify.spread import Errand, Explorer, Piece, Task


@dataclass(kw_only=True)
class Hands:
    """Does tasks when somebody waits for them, in an order of its own.

    Attributes:
        number: tasks that are done at the same time.
        seed: of the order, and of what goes wrong.
        lost: share of tasks that are lost when they are done; the same one `often` times at most.
        twice: share of tasks whose result comes a second time, some time later.
        idle: nothing ever comes home.
    """

    number: int = 2
    seed: int = 0
    lost: float = 0.0
    often: int = 3
    twice: float = 0.0
    idle: bool = False
    pieces: list[Piece] = field(default_factory=list)
    losses: Counter[int] = field(default_factory=Counter)
    repeats: int = 0
    begun: int = 0
    ended_: int = 0

    def begin(self, errand: Errand) -> None:
        self.begun += 1
        self.explorer = Explorer(errand, make_bound(errand.net, errand.settings))
        self.tasks: list[tuple[int, Task]] = []
        self.again: list[tuple[int, Piece]] = []
        self.random = random.Random(self.seed)

    def count(self) -> int:
        return self.number

    def submit(self, key: int, task: Task) -> None:
        self.tasks.append((key, task))

    def ended(self, timeout_s: float) -> Sequence[tuple[int, Piece | str]]:
        if self.idle or not self.tasks:
            return []
        found: list[tuple[int, Piece | str]] = []
        for _ in range(min(len(self.tasks), self.number)):
            key, task = self.tasks.pop(self.random.randrange(len(self.tasks)))
            if self.random.random() < self.lost and self.losses[key] < self.often:
                self.losses[key] += 1
                found.append((key, "somebody pulled the plug"))
                continue
            piece = self.explorer.explore(task)
            self.pieces.append(piece)
            found.append((key, piece))
            if self.random.random() < self.twice:
                self.again.append((key, piece))
        if self.again and self.random.random() < 0.5:
            self.repeats += 1
            found.append(self.again.pop())
        return found

    def end(self) -> None:
        self.ended_ += 1
