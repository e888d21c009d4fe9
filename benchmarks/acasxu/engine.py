"""Bounds by torch and by compiled loops, in turn: ``python -m benchmarks.acasxu.engine [--rounds 3]``.

Each instance is proved by boxes alone in either form, then by boxes and splits of neurons, with one thread and with
two, one after the other, in one warm process, as often as asked; the fastest round counts, for these machines are
shared. Seconds are of processor time, reading and imports left out; with two threads of wall time. No attack comes
before, no record is kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.acasxu.common import RESULTS, data_folder
from benchmarks.common import provenance
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.network import Network
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved
from birdnn.rounding import Semantics
from birdnn.verify import AttackSettings, SearchSettings, verify
from birdnn.verify.bounding import MakeBound

INSTANCES = (
    ("3_3", 2), ("4_2", 2), ("4_7", 1), ("3_7", 1), ("1_7", 1),
    ("2_7", 1), ("3_3", 9), ("1_1", 6), ("2_5", 1), ("3_3", 1),
)  # fmt: skip
"""Network and property: the hardest that hold."""

NO_ATTACK = AttackSettings(evaluations=1)
BY_BOXES = CrownSettings()
HEADER = (
    "instance", "boxes", "torch, s", "compiled, s", "ratio", "boxes where neurons are split", "compiled, s", "ratio",
    "wall, 1 thread", "2 threads", "ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One proof: its boxes, and seconds of processor and wall."""

    boxes: int
    processor_s: float
    wall_s: float


def main() -> None:
    """Measure, and write ``engine.md``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--semantics", choices=("real", "float32"), default="float32")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    data = data_folder(options.data)
    lines = [f"# The engine: torch, compiled loops, splits of neurons, semantics {options.semantics}", ""]
    lines += ["| " + " | ".join(HEADER) + " |", "| --- |" + " ---: |" * (len(HEADER) - 1)]
    total = [0.0] * 5
    for name, number in INSTANCES:
        rounds = [proofs(data, name, number, options.semantics) for _ in range(options.rounds)]
        boxes, split = (" / ".join(f"{n:,}" for n in sorted({r[form].boxes for r in rounds})) for form in (1, 2))
        processor, wall = (
            [min(getattr(each[form], field) for each in rounds) for form in range(4)]
            for field in ("processor_s", "wall_s")
        )
        seconds = [*processor[:3], *wall[2:]]
        total = [a + b for a, b in zip(total, seconds, strict=True)]
        lines.append(row(f"N{name.replace('_', ',')} phi-{number}", boxes, split, *seconds))
        print(lines[-1], flush=True)
    lines += [row("all", "", "", *total), "", f"Fastest of {options.rounds} rounds, the forms in turn.", ""]
    lines.append(
        provenance(f"python -m benchmarks.acasxu.engine --rounds {options.rounds}", threads=1, resumable=False)
    )
    (RESULTS / "engine.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def proofs(data: Path, name: str, number: int, semantics: Semantics) -> list[Run]:
    """One proof by torch, by the loops, by the loops with splits, and by these on two threads."""
    loaded = load_network(data / f"onnx/ACASXU_run2a_{name}_batch_2000.onnx")
    prop = load_property(data / f"vnnlib/prop_{number}.vnnlib", loaded, "normalised")
    split = SearchSettings(semantics=semantics, attack=NO_ATTACK)
    plain = replace(split, crown=BY_BOXES)
    forms: tuple[tuple[SearchSettings, MakeBound], ...] = (
        (plain, by_torch), (plain, compiled(1)), (split, compiled(1)), (split, compiled(2))
    )  # fmt: skip
    found = []
    for settings, make in forms:
        processor, wall = time.process_time(), time.perf_counter()
        verdict = verify(loaded.net, prop, settings=settings, replays=loaded.replays, bound=make)
        assert isinstance(verdict, Proved), f"N{name} phi-{number}"
        found.append(Run(verdict.boxes, time.process_time() - processor, time.perf_counter() - wall))
    return found


def by_torch(net: Network, settings: SearchSettings) -> CrownBound:
    """The reference."""
    return CrownBound(net, torch.device("cpu"), settings.crown, settings.semantics, settings.record)


def compiled(threads: int) -> Callable[[Network, SearchSettings], CrownBound]:
    """The loops, from the first box on."""

    def make(net: Network, settings: SearchSettings) -> CrownBound:
        return CompiledBound(net, settings.crown, settings.semantics, settings.record, threads, always=True)

    return make


def row(name: str, boxes: str, split: str, *seconds: float) -> str:
    """One line of the table, of processor seconds in three forms and wall seconds of one and of two threads."""
    by_torch_s, plain_s, split_s, one_s, two_s = seconds
    boxed = name, boxes, f"{by_torch_s:.2f}", f"{plain_s:.2f}", f"{by_torch_s / plain_s:.1f}"
    cells = *boxed, split, f"{split_s:.2f}", f"{plain_s / split_s:.1f}"
    return "| " + " | ".join((*cells, f"{one_s:.2f}", f"{two_s:.2f}", f"{one_s / two_s:.2f}")) + " |"


if __name__ == "__main__":
    main()
