"""The same proof on 8 and 64 workers, replayed: ``python -m benchmarks.ray.simulate``.

The scheduler is the one of every proof (`birdnn.verify.spread.Crew`); helpers are simulated. Each task takes the
processor time that it took when `benchmarks.ray.proof` measured it, and opens what it opened then. Tasks and results
cross a network of 1 Gbit/s, one after the other, with 5 ms each for Ray; the coordinator takes results over one after
the other, as fast as it did. What it does before any helper is asked and after the last one is done counts as well.
"""

from __future__ import annotations

import argparse
import gzip
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from benchmarks.common import ROOT, provenance
from benchmarks.ray.proof import RESULTS, TASKS
from birdnn.boxes import Boxes
from birdnn.pipeline.load import load_network, load_property
from birdnn.verify import SearchSettings
from birdnn.verify.spread import Crew, Errand, Piece, Task
from birdnn.verify.work import Work

CALL_S, BYTES_A_SECOND = 0.005, 125e6


@dataclass
class Simulated:
    """`birdnn.verify.spread.Helpers` in a time of their own; boxes are numbers of tasks.

    Attributes:
        workers: how many.
        tasks: number -> what it was and took, its children as numbers.
        merging_s: of the coordinator, for each box of a result.
        now: the coordinator's clock; `network`: when the network is free again; `busy`: seconds of all workers.
    """

    workers: int
    tasks: Sequence[Mapping[str, Any]]
    merging_s: float
    now: float = 0.0
    network: float = 0.0
    busy: float = 0.0
    done: list[tuple[float, int, int]] = field(default_factory=list)

    def begin(self, errand: Errand) -> None:
        self.free = [0.0] * self.workers

    def count(self) -> int:
        return self.workers

    def submit(self, key: int, task: Task) -> None:
        number = int(task.work.node[0])
        told = self.tasks[number]
        there = self.crossing(self.now, told["given"])
        begun = max(heapq.heappop(self.free), there)
        ended = begun + told["seconds"]
        self.busy += told["seconds"]
        heapq.heappush(self.free, ended)
        heapq.heappush(self.done, (ended, key, number))

    def crossing(self, since: float, size: float) -> float:
        """When so many bytes are at the other side."""
        self.network = max(self.network, since) + size / BYTES_A_SECOND
        return self.network + CALL_S

    def ended(self, timeout_s: float) -> Sequence[tuple[int, Piece | str]]:
        ended, key, number = heapq.heappop(self.done)
        told = self.tasks[number]
        self.now = max(self.now, self.crossing(ended, told["bytes"])) + told["boxes"] * self.merging_s
        left = [numbered(told["children"])] if told["children"] else []
        piece = Piece(
            boxes=told["boxes"], left=left, small=[], points=torch.empty(0, 1), recorder=None, seconds=told["seconds"]
        )
        return [(key, piece)]

    def end(self) -> None:
        pass


def numbered(tasks: Sequence[int]) -> Work:
    """A box for each task."""
    sides = torch.zeros(len(tasks), 1, dtype=torch.float64)
    return Work(Boxes(sides, sides), sides > 0, sides, torch.tensor(tasks))


@cache
def some_errand() -> Errand:
    """Of any network: nothing is bound, and a box is a task."""
    data = ROOT / "birdnn/data"
    loaded = load_network(data / "demo.onnx")
    region = load_property(data / "properties/prop_2.vnnlib", loaded, "normalised").regions[0]
    return Errand(net=loaded.net, region=region, settings=SearchSettings(), batch=1, budget=1, record=False)


def simulated(told: Mapping[str, Any], workers: int) -> tuple[float, float, int]:
    """Seconds in all, those of the helpers' phase that workers were busy (a share), and tasks."""
    numbers = {name: number for number, name in enumerate(told["tasks"])}
    tasks = [{**task, "children": [numbers[name] for name in task["children"]]} for task in told["tasks"].values()]
    given = {child: task["bytes"] / len(task["children"]) for task in tasks for child in task["children"]}
    tasks = [{**task, "given": given.get(number, 0.0)} for number, task in enumerate(tasks)]
    helpers = Simulated(workers, tasks, told["merging_s"] / sum(task["boxes"] for task in tasks))
    first = [Task(numbered([numbers[name]]), 0) for name in told["first"]]
    boxes = done = 0
    with Crew(helpers, some_errand(), first) as crew:
        while crew.tasks:
            for piece in crew.ended(None):
                boxes, done = boxes + piece.boxes, done + 1
    assert boxes == sum(task["boxes"] for task in tasks)
    assert done == len(tasks)
    return told["before_s"] + helpers.now + told["after_s"], helpers.busy / (workers * helpers.now), done


def main() -> None:
    """Replay, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 64])
    options = arguments.parse_args()
    told = json.loads(gzip.decompress(TASKS.read_bytes()))
    work = told["before_s"] + told["after_s"] + sum(task["seconds"] for task in told["tasks"].values())
    lines = [f"# {told['boxes']:,} boxes on many workers, replayed from {len(told['tasks']):,} measured tasks", ""]
    lines += [
        "| workers | seconds | times as fast as none | workers busy |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for workers in options.workers:
        seconds, busy, _ = simulated(told, workers)
        lines.append(f"| {workers} | {seconds:.1f} | {work / seconds:.1f} | {100 * busy:.0f} % |")
    lines += [
        "",
        f"Of these seconds {told['before_s']:.1f} are the coordinator's before helpers are asked,",
        f"{told['after_s']:.1f} when all are done; results take it {told['merging_s']:.1f} s besides.",
        "",
        provenance("python -m benchmarks.ray.simulate", threads=1, resumable=False),
    ]
    (RESULTS / "simulated.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
