"""Bounds by torch and by compiled loops, in turn: ``python -m benchmarks.acasxu.engine [--rounds 3]``.

Each instance is proved by either form of the same bounds, one after the other, in one warm process, as often as asked;
the fastest round counts, for these machines are shared. Seconds are of processor time, reading and imports left out;
with two threads also of wall time. No attack comes before, no record is kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.acasxu.common import RESULTS, data_folder
from benchmarks.common import provenance
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound
from birdnn.network import Network
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved
from birdnn.verify import AttackSettings, SearchSettings, verify
from birdnn.verify.search import MakeBound

INSTANCES = (
    ("3_3", 2), ("4_2", 2), ("4_7", 1), ("3_7", 1), ("1_7", 1),
    ("2_7", 1), ("3_3", 9), ("1_1", 6), ("2_5", 1), ("3_3", 1),
)  # fmt: skip
"""Network and property: the hardest that hold."""

NO_ATTACK = AttackSettings(samples=1, starts=0, steps=0, generations=0)


def main() -> None:
    """Measure, and write ``engine.md``."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--semantics", choices=("real", "float32"), default="float32")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    data = data_folder(options.data)
    header = "instance", "boxes", "torch, s", "compiled, s", "ratio", "compiled: wall, 1 thread", "2 threads", "ratio"
    lines = [f"# The engine: torch and compiled loops, semantics {options.semantics}", ""]
    lines += ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    total = [0.0] * 4
    for name, number in INSTANCES:
        loaded = load_network(data / f"onnx/ACASXU_run2a_{name}_batch_2000.onnx")
        prop = load_property(data / f"vnnlib/prop_{number}.vnnlib", loaded, "normalised")
        settings = SearchSettings(semantics=options.semantics, attack=NO_ATTACK)

        def run(make: MakeBound) -> tuple[int, float, float]:
            processor, wall = time.process_time(), time.perf_counter()
            verdict = verify(loaded.net, prop, settings=settings, replays=loaded.replays, bound=make)  # noqa: B023
            assert isinstance(verdict, Proved), f"N{name} phi-{number}"  # noqa: B023
            return verdict.boxes, time.process_time() - processor, time.perf_counter() - wall

        forms: tuple[MakeBound, ...] = (by_torch, compiled(1), compiled(2))
        rounds = [[run(make) for make in forms] for _ in range(options.rounds)]
        torch_s, compiled_s, one_s, two_s = (
            min(each[form][which] for each in rounds) for form, which in ((0, 1), (1, 1), (1, 2), (2, 2))
        )
        boxes = {each[0] for each in rounds[0]}
        total = [a + b for a, b in zip(total, (torch_s, compiled_s, one_s, two_s), strict=True)]
        told = " / ".join(f"{count:,}" for count in sorted(boxes))
        lines.append(row(f"N{name.replace('_', ',')} phi-{number}", told, torch_s, compiled_s, one_s, two_s))
        print(lines[-1], flush=True)
    lines += [row("all", "", *total), "", f"Fastest of {options.rounds} rounds, the forms in turn.", ""]
    lines.append(
        provenance(f"python -m benchmarks.acasxu.engine --rounds {options.rounds}", threads=1, resumable=False)
    )
    (RESULTS / "engine.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def by_torch(net: Network, settings: SearchSettings) -> CrownBound:
    """The reference."""
    return CrownBound(net, torch.device("cpu"), settings.crown, settings.semantics, settings.record)


def compiled(threads: int) -> Callable[[Network, SearchSettings], CrownBound]:
    """The loops, from the first box on."""

    def make(net: Network, settings: SearchSettings) -> CrownBound:
        return CompiledBound(net, settings.crown, settings.semantics, settings.record, threads, always=True)

    return make


def row(name: str, boxes: str, torch_s: float, compiled_s: float, one_s: float, two_s: float) -> str:
    """One line of the table."""
    cells = name, boxes, f"{torch_s:.2f}", f"{compiled_s:.2f}", f"{torch_s / compiled_s:.1f}"
    return "| " + " | ".join((*cells, f"{one_s:.2f}", f"{two_s:.2f}", f"{one_s / two_s:.2f}")) + " |"


if __name__ == "__main__":
    main()
