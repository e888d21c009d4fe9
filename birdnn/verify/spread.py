"""One large proof by many helpers: its open boxes are dealt out as tasks, and every closed box comes home.

A task is some open boxes and a budget, counted in boxes. Whoever takes it searches depth first, and hands back the
piece of the tree that it made, with the boxes that are still open when the budget is spent: these are dealt out again,
with twice the budget. So whoever is idle takes a share of what was too much for another, a helper that is lost costs a
task at most, and proofs of any size are made of few tasks.

What a task gives depends on nothing but the task, and how boxes are dealt out on nothing but the boxes. So the tree is
the same whoever did what, however many they are, and whoever was lost on the way. Memory is the exception: a helper
that runs out of it examines fewer boxes together, takes them in another order, and leaves others open when the budget
is spent. Its piece is as good, but the tree may be another one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound, prepare
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.errors import EngineError, out_of_memory
from birdnn.network import Network
from birdnn.spec import Region
from birdnn.verify.branching import cut_remains, take_batch
from birdnn.verify.effort import boxes_within
from birdnn.verify.recording import Recorder
from birdnn.verify.settings import SearchSettings
from birdnn.verify.witness import Suspects
from birdnn.verify.work import Work, candidate_points, examine

PARTS = 64
"""Tasks that a search is dealt out as at first; fewer open boxes are not worth it."""

_AGAIN = 4  # tasks that the rest of one is dealt out as
_WORK = 3.2e10  # multiplications of a first budget: a second or so in compiled loops, by torch some seconds
_MOST, _LEAST = 8192, 16  # boxes of a first budget
_DOUBLED = 4  # times
_AHEAD = 2  # tasks for each helper, so that none waits for the next one
_LOOK_S = 0.2
_LOSSES = 4  # of the same task
_SHOWN = 64  # suspicious points of a task


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Open boxes that somebody may search.

    Attributes:
        work: the boxes, with their numbers in the tree.
        round: how often they were dealt out before; the budget doubles with it.
    """

    work: Work
    round: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """What became of a task.

    Attributes:
        boxes: examined.
        left: still open; as in `recorder` the task's own boxes are nodes 0, 1, .., later ones count on.
        small: boxes that cannot be cut any further.
        points: suspicious ones, shape (m, inputs), float32: only a replay makes one a counterexample.
        recorder: what a certificate needs of the piece, where the search records.
        seconds: of processor time that it took.
    """

    boxes: int
    left: Sequence[Work]
    small: Sequence[Boxes]
    points: Tensor
    recorder: Recorder | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Errand:
    """What all tasks of a region have in common; it travels by value.

    Attributes:
        net: as its file has it.
        region: of the property.
        settings: of the search.
        batch: boxes that are examined together.
        budget: boxes of a task that was not dealt out before.
        record: whether pieces have a recorder.
    """

    net: Network
    region: Region
    settings: SearchSettings
    batch: int
    budget: int
    record: bool


@runtime_checkable
class Helpers(Protocol):
    """Who does tasks: processes on other machines, or whatever a test or a simulation puts in their place."""

    def begin(self, errand: Errand) -> None:
        """Tasks of this errand will follow."""

    def count(self) -> int:
        """How many tasks are done at the same time, at present."""

    def submit(self, key: int, task: Task) -> None:
        """Have a task done, some time; a key that was submitted before was lost."""

    def ended(self, timeout_s: float) -> Sequence[tuple[int, Piece | str]]:
        """What ended since the last call, or within so long: the piece, or why the task was lost."""

    def end(self) -> None:
        """Stop what is under way; nobody wants its result."""


class Explorer:
    """Does tasks of an errand.

    Args:
        errand: what they have in common.
        bound: the bound method of the errand's network.
    """

    def __init__(self, errand: Errand, bound: MarginBound) -> None:
        if isinstance(bound, CompiledBound):
            prepare()  # which loops bound a box must not depend on when they were compiled
        self.errand, self.bound = errand, bound
        region, net = errand.region, errand.net
        self._question = Question.of(region.unsafe, net.n_outputs, bound.device)
        self._smallest = smallest_edges(errand.settings, region).to(bound.device)
        # float32, as it is run: what is unsafe there is worth sending home
        copy = net.copy().to(device=bound.device, dtype=torch.float32)
        self._suspects = Suspects(copy, source=net if errand.settings.semantics == "real" else None)

    def explore(self, task: Task) -> Piece:
        """Search a task's boxes depth first, as far as its budget goes."""
        begun, errand = time.process_time(), self.errand
        work, budget = task.work, errand.budget << min(task.round, _DOUBLED)
        recorder = Recorder(errand.region, nodes=len(work)) if errand.record else None
        # numbered from 0: what is free in the whole tree only the crew knows
        stack = [replace(work, node=torch.arange(len(work), device=work.node.device))]
        small: list[Boxes] = []
        points = [torch.empty(0, work.boxes.lower.shape[1])]
        boxes, size = 0, errand.batch
        # in boxes, not seconds: whoever does the task, however slowly, makes the same piece
        while stack and boxes < budget:
            batch = take_batch(stack, size)
            try:
                step = examine(self.bound, self._question, batch)
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not out_of_memory(error):
                    raise
                # from here on boxes come in another order: see the module's text
                size = max(1, min(size, len(batch)) // 2)
                stack.append(batch)
                continue
            boxes += len(batch)
            if recorder is not None:
                recorder.examined(batch, step)
            if sum(map(len, points)) < _SHOWN:
                points.append(self._suspects.unsafe(errand.region, candidate_points(batch, step)).cpu())
            halves, tiny = cut_remains(self.bound, step, self._smallest, recorder)
            stack += halves
            small += tiny
        return Piece(
            boxes=boxes,
            left=stack,
            small=small,
            points=torch.cat(points),
            recorder=recorder,
            seconds=time.process_time() - begun,
        )


class Crew:
    """The tasks of a region: which wait, which are under way. Leaving its context stops those.

    Args:
        helpers: who does them.
        errand: what they have in common.
        tasks: the first ones.
    """

    def __init__(self, helpers: Helpers, errand: Errand, tasks: Sequence[Task]) -> None:
        self._helpers, self._errand = helpers, errand
        self._waiting = [*tasks]
        self._running: dict[int, Task] = {}
        self._losses: dict[int, int] = {}
        self._next = 0

    def __enter__(self) -> Self:
        self._helpers.begin(self._errand)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._helpers.end()

    @property
    def tasks(self) -> list[Task]:
        """All that are not done, those next in turn last."""
        return [*self._waiting, *self._running.values()]

    def ended(self, recorder: Recorder | None) -> Iterator[Piece]:
        """Pieces that came home meanwhile, each once; what they leave open is dealt out again.

        Args:
            recorder: takes their nodes over.

        Raises:
            EngineError: a task was lost too often.
        """
        self._submit_tasks()
        for key, found in self._helpers.ended(_LOOK_S):
            task = self._running.get(key)
            if task is None:  # a second result of a task that somebody was believed to have lost
                continue
            if isinstance(found, str):
                self._retry_lost(key, task, found)
                continue
            del self._running[key]
            numbers = task.work.node
            if recorder is not None and found.recorder is not None:
                numbers = recorder.add(found.recorder, numbers)
            # from numbers within the piece to those of the whole tree
            left = [replace(work, node=numbers[work.node]) for work in found.left] if recorder else [*found.left]
            self._waiting += [Task(work, task.round + 1) for work in deal_again(left, self._errand.batch)]
            # before the piece is looked at: a replay takes a while, and a helper would wait for it
            self._submit_tasks()
            yield found

    def _submit_tasks(self) -> None:
        """Keep every helper busy; the last task comes first, so that few boxes are open at any time."""
        # counted anew each time: nodes come and go
        room = _AHEAD * self._helpers.count() - len(self._running)
        while room > 0 and self._waiting:
            task = self._waiting.pop()
            self._running[self._next] = task
            self._helpers.submit(self._next, task)
            self._next += 1
            room -= 1

    def _retry_lost(self, key: int, task: Task, why: str) -> None:
        """Have a task done again, by somebody else.

        Raises:
            EngineError: it was lost too often.
        """
        self._losses[key] = self._losses.get(key, 0) + 1
        if self._losses[key] >= _LOSSES:
            told = f"the same task was lost {_LOSSES} times, in the end because {why}; nothing is decided"
            raise EngineError("ray", told)
        # under the same key: a result that comes after all counts, and the second one is dropped
        self._helpers.submit(key, task)


def deal_boxes(stack: Sequence[Work], parts: int) -> list[Work]:
    """Open boxes in parts that are alike: of each some that are large and some that are hard, in their order."""
    if not stack:
        return []
    work = Work.concatenate([*stack])
    return [work[begin::parts] for begin in range(min(parts, len(work)))]


def deal_again(left: Sequence[Work], batch: int) -> list[Work]:
    """What a task has left open, dealt out: a whole batch at least for each, as bounds of few boxes take as long."""
    return deal_boxes(left, max(1, min(_AGAIN, sum(map(len, left)) // batch)))


def first_budget(net: Network, bound: MarginBound) -> int:
    """Boxes of a task that was not dealt out before: work for a second or so, whatever the network."""
    return int(max(_LEAST, min(_MOST, boxes_within(_WORK, net, bound))))


def boxes_before_helpers(net: Network, bound: MarginBound) -> int:
    """Boxes of a region before any helper is asked."""
    return first_budget(net, bound) // 2


def smallest_edges(settings: SearchSettings, region: Region) -> Tensor:
    """Edges of a box that is given up, shape (inputs,)."""
    edges = region.upper - region.lower
    # an input that is fixed at a decimal has a box of its roundings around it, and a share of these is no measure
    fixed = [low == high for low, high in zip(region.exact_lower, region.exact_upper, strict=True)]
    return settings.smallest_width * torch.where(torch.tensor(fixed), edges.amax(), edges)
