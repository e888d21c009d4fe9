"""What the benchmarks on other people's instances share: where these are, and how another verifier is asked."""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import re
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
DATA = Path(os.environ.get("BIRDNN_VNNCOMP", ROOT / "../shared/vnncomp"))
"""Where the instances are, unless somebody says otherwise."""

_OVERTIME_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one process said: its verdict, processor and wall seconds, and the last line of its errors."""

    verdict: str
    cpu_s: float
    wall_s: float
    reason: str


def asked(text: str | None, *, timeout_s: float) -> argparse.Namespace:
    """The options of a benchmark: ``data``, the folder of the instances; ``peer``; ``timeout``."""
    arguments = argparse.ArgumentParser(description=text)
    arguments.add_argument("--data", type=Path, default=DATA, help="folder of instances")
    arguments.add_argument("--peer", help="the other verifier's command; without it nobody else is asked")
    arguments.add_argument("--timeout", type=float, default=timeout_s, metavar="S", help="of each command of ours")
    options = arguments.parse_args()
    if not (options.data / "instances.csv").is_file():
        arguments.error(f"no instances in {options.data}: give --data DIR, or set BIRDNN_VNNCOMP")
    return options


def instances_of(folder: Path) -> list[dict[str, str]]:
    """The rows of its ``instances.csv``: ``family``, the files ``onnx`` and ``vnnlib``, and ``verdict``, if known."""
    with (folder / "instances.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain(path: Path, folder: Path) -> Path:
    """The file, unpacked where it is packed: not everybody reads ``.gz``."""
    if path.suffix != ".gz":
        return path
    unpacked = folder / path.stem
    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    return unpacked


def theirs(peer: str, net: Path, prop: Path, timeout_s: float, folder: Path) -> Run:
    """The other verifier, by the options and the file of results that vibecheck has."""
    results = folder / "results.txt"
    command = [peer, "--net", str(net), "--spec", str(prop), "--timeout", f"{timeout_s:g}", "--device", "cpu"]
    done, cpu_s, wall_s = run([*command, "--results-file", str(results)], timeout_s, folder)
    word = results.read_text(encoding="utf-8").partition("\n")[0].strip() if results.exists() else ""
    return Run(word or "error", cpu_s, wall_s, "" if word else last_line(done.stderr))


def run(
    command: Sequence[str], timeout_s: float, folder: Path
) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """The process, with its processor and wall seconds; ended where it outlasts its limit by far."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    core = {max(os.sched_getaffinity(0))}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is kept, as it is by who installs
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
            timeout=timeout_s + _OVERTIME_S, preexec_fn=lambda: os.sched_setaffinity(0, core),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(list(command), 124, "killed", "outlasted its limit by a minute")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, cpu_s, time.monotonic() - began


def last_line(text: str) -> str:
    """Of what a command complains of, without its news."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\[ *[0-9.]+ s\]", line)]
    return lines[-1] if lines else ""
