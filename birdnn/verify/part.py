"""The search of one region: what is open of it, and what is kept of its proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from birdnn.spec import Region
from birdnn.verify.effort import Due
from birdnn.verify.recording import Recorder
from birdnn.verify.spread import Task
from birdnn.verify.work import Work


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """The search of one region.

    Attributes:
        place: of the region; `boxes_before`: examined before it.
        attacks: those that are still to come.
        stack: open boxes, the next ones last.
        rounds: how often each entry of the stack was dealt out to helpers; empty where none ever were.
        recorder: of its proof.
    """

    place: int
    region: Region
    boxes_before: int
    attacks: list[Due]
    stack: list[Work]
    rounds: list[int]
    recorder: Recorder | None

    @property
    def bytes(self) -> int:
        """Memory of the open boxes, and of what is kept of the proof."""
        return sum(work.bytes for work in self.stack) + (0 if self.recorder is None else self.recorder.bytes)

    def open(self, tasks: Sequence[Task]) -> None:
        """These are the open boxes now."""
        # in place: the loop of the search holds this very list
        self.stack[:], self.rounds[:] = [task.work for task in tasks], [task.round for task in tasks]

    def tasks(self) -> list[Task]:
        """The open boxes, once they are dealt out."""
        return [Task(*of) for of in zip(self.stack, self.rounds, strict=True)]
