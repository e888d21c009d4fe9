"""One proof of a million boxes on 1, 2 and 4 workers: ``python -m benchmarks.ray.proof``.

A local Ray cluster with a processor for each worker is started for each of them; the same proof by one process without
Ray comes first. Certificates must be the same, box by box. Overhead is told in processor time, for these machines are
shared: all that helpers and coordinator take together, against the one process. Bounds are weakened (no steps of their
optimisation) and the property is made harder by a hair (a margin), so that an instance that is proved by 39,000 boxes
takes a million. What each task was and took is stored, for `benchmarks.ray.simulate`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.cluster_utils import Cluster

from benchmarks.acasxu.common import data_folder
from benchmarks.common import provenance
from birdnn.bounds.compiled.bound import prepare
from birdnn.bounds.crown import CrownSettings
from birdnn.pipeline.load import Loaded, load_network, load_property
from birdnn.records import Proved, RegionProof
from birdnn.spec import Polytope, Property
from birdnn.verify import AttackSettings, SearchSettings, verify
from birdnn.verify.remote import RayHelpers, helpers_at
from birdnn.verify.spread import Errand, Piece, Task, deal_again

RESULTS = Path(__file__).parent / "results"
TASKS = RESULTS / "tasks.json.gz"
_NO_ATTACK = AttackSettings(evaluations=1)


@dataclass(frozen=True)
class Run:
    """What a proof took."""

    proof: RegionProof
    boxes: int
    wall_s: float
    here_s: float  # processor time of this process, of which `before_s` and `after_s` while no helper was at work
    helpers_s: float
    before_s: float
    after_s: float
    tasks: int


class Noting:
    """Helpers that note what each task was, and became of."""

    def __init__(self, helpers: RayHelpers) -> None:
        self.helpers = helpers
        self.tasks: dict[str, dict[str, Any]] = {}
        self.first: list[str] = []
        self._names: dict[int, str] = {}
        self._known: set[str] = set()
        self.began = self.ended_at = 0.0

    def begin(self, errand: Errand) -> None:
        self.began, self.batch = time.process_time(), errand.batch
        self.helpers.begin(errand)

    def count(self) -> int:
        return self.helpers.count()

    def submit(self, key: int, task: Task) -> None:
        name = named(task)
        self._names[key] = name
        if name not in self._known:
            self.first.append(name)
        self.helpers.submit(key, task)

    def ended(self, timeout_s: float) -> Sequence[tuple[int, Piece | str]]:
        found = self.helpers.ended(timeout_s)
        for key, piece in found:
            if isinstance(piece, Piece):
                parts = deal_again(piece.left, self.batch)
                children = [named(Task(part, 0)) for part in parts]
                self._known.update(children)
                self.tasks[self._names[key]] = {
                    "boxes": piece.boxes,
                    "seconds": round(piece.seconds, 4),
                    "bytes": sum(part.bytes for part in parts),
                    "children": children,
                }
        return found

    def end(self) -> None:
        self.ended_at = time.process_time()
        self.helpers.end()


def named(task: Task) -> str:
    """A name that no other task of the proof has: of its boxes."""
    return hashlib.sha256(task.work.boxes.lower.numpy().tobytes()).hexdigest()[:12]


def main() -> None:
    """Measure, and write the table and the tasks."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--net", default="3_3")
    arguments.add_argument("--prop", type=int, default=2)
    arguments.add_argument("--steps", type=int, default=0)
    arguments.add_argument("--margin", default="1/5000", help="more than the property asks of each row, network units")
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options = arguments.parse_args()
    torch.set_num_threads(1)
    prepare()
    data = data_folder(options.data)
    loaded = load_network(data / f"onnx/ACASXU_run2a_{options.net}_batch_2000.onnx")
    prop = load_property(data / f"vnnlib/prop_{options.prop}.vnnlib", loaded, "normalised")
    prop = harder(prop, Fraction(options.margin))
    settings = SearchSettings(record=True, attack=_NO_ATTACK, crown=CrownSettings(steps=options.steps))
    alone = proved(loaded, prop, settings, None)
    print(f"alone: {alone.boxes:,} boxes, {alone.here_s:.1f} s", flush=True)
    runs = []
    for workers in options.workers:
        run, notes = on_cluster(loaded, prop, settings, workers)
        require_same(run, alone)
        runs.append(run)
        print(f"{workers}: {run.wall_s:.1f} s wall, {run.helpers_s:.1f} + {run.here_s:.1f} s of processors", flush=True)
        if workers == options.workers[0]:
            store(run, notes)
        write(options, alone, runs)


def harder(prop: Property, margin: Fraction) -> Property:
    """The property with each half-space of what is unsafe moved outwards."""

    def wider(polytope: Polytope) -> Polytope:
        return replace(polytope, rows=tuple(replace(row, bound=row.bound + margin) for row in polytope.rows))

    regions = (replace(region, unsafe=tuple(map(wider, region.unsafe))) for region in prop.regions)
    return replace(prop, regions=tuple(regions))


def proved(loaded: Loaded, prop: Property, settings: SearchSettings, notes: Noting | None) -> Run:
    """One proof, alone or with helpers."""
    began, wall = time.process_time(), time.perf_counter()
    verdict = verify(loaded.net, prop, settings=settings, replays=loaded.replays, helpers=notes)
    ended, wall = time.process_time(), time.perf_counter() - wall
    assert isinstance(verdict, Proved)
    return Run(
        proof=verdict.proofs[0],
        boxes=verdict.boxes,
        wall_s=wall,
        here_s=ended - began,
        helpers_s=0.0 if notes is None else sum(task["seconds"] for task in notes.tasks.values()),
        before_s=0.0 if notes is None else notes.began - began,
        after_s=0.0 if notes is None else ended - notes.ended_at,
        tasks=0 if notes is None else len(notes.tasks),
    )


def on_cluster(loaded: Loaded, prop: Property, settings: SearchSettings, workers: int) -> tuple[Run, Noting]:
    """One proof by so many workers, each the only processor of a node."""
    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(workers - 1):
            cluster.add_node(**node)
        with helpers_at(cluster.address) as helpers:
            assert helpers is not None
            warm(helpers, workers)
            notes = Noting(helpers)
            return proved(loaded, prop, settings, notes), notes
    finally:
        cluster.shutdown()


def warm(helpers: RayHelpers, workers: int) -> None:
    """Start the processes and load what they load: the start of a process is no part of a proof."""
    for number in range(workers):
        helpers._cluster.submit(number, _loaded)
    left = workers
    while left:
        left -= len(helpers._cluster.ended(1.0))


def _loaded() -> bool:
    import birdnn.verify.remote  # noqa: F401 - torch, and all else

    time.sleep(2.0)  # so that each of them gets one
    return prepare()[0]


def require_same(one: Run, other: Run) -> None:
    """The same boxes, cuts and planes."""
    assert one.boxes == other.boxes
    for field in fields(RegionProof):
        mine, theirs = (getattr(run.proof, field.name) for run in (one, other))
        assert np.array_equal(mine, theirs, equal_nan=True), field.name


def store(run: Run, notes: Noting) -> None:
    """The tasks, for the simulation."""
    told = {
        "boxes": run.boxes,
        "before_s": round(run.before_s, 3),
        "after_s": round(run.after_s, 3),
        "merging_s": round(run.here_s - run.before_s - run.after_s, 3),
        "first": notes.first,
        "tasks": notes.tasks,
    }
    RESULTS.mkdir(exist_ok=True)
    TASKS.write_bytes(gzip.compress(json.dumps(told, separators=(",", ":")).encode(), mtime=0))


def write(options: argparse.Namespace, alone: Run, runs: Sequence[Run]) -> None:
    """``proof.md``."""
    name = f"N{options.net.replace('_', ',')} phi-{options.prop} with margin {options.margin}, {options.steps} steps"
    lines = [f"# One proof on several workers: {name}, {alone.boxes:,} boxes", ""]
    header = "workers", "wall, s", "helpers, s", "coordinator, s", "together", "overhead", "tasks"
    lines += ["| " + " | ".join(header) + " |", "| ---: " * len(header) + "|"]
    lines.append(f"| none | {alone.wall_s:.1f} | | {alone.here_s:.1f} | {alone.here_s:.1f} | | |")
    for workers, run in zip(options.workers, runs, strict=False):
        together = run.helpers_s + run.here_s
        cells = run.wall_s, run.helpers_s, run.here_s, together
        told = " | ".join(f"{cell:.1f}" for cell in cells)
        lines.append(f"| {workers} | {told} | {100 * (together / alone.here_s - 1):+.1f} % | {run.tasks:,} |")
    lines += ["", "Seconds are of processor time where they are not of wall time. All certificates are the same."]
    lines += ["Helpers' are those of searching; what they take to read tasks and write results is not counted.", ""]
    lines.append(provenance(f"python -m benchmarks.ray.proof --net {options.net}", threads=1, resumable=False))
    (RESULTS / "proof.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
