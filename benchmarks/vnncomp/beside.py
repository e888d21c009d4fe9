"""Other people's instances beside another verifier: ``python -m benchmarks.vnncomp.beside --peer vibecheck``.

Each instance is asked of both in turn, one process each, on one core, with the same limit; who begins changes from one
instance to the next. Seconds are processor time and count everything, interpreter and imports included. The instances
are not part of the project: ``--data``, or ``BIRDNN_VNNCOMP``, names a folder with ``instances.csv``, whose columns
``onnx``, ``vnnlib`` and ``verdict`` name the files and what is known.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Table, provenance, stamp
from birdnn.campaign.table import Row

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    "family", "onnx", "vnnlib", "known", "birdnn", "birdnn_cpu_s", "birdnn_wall_s", "reason",
    "peer", "peer_cpu_s", "peer_wall_s",
)  # fmt: skip
_DECIDED = "sat", "unsat"
_OVERTIME_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one process said: its verdict, processor and wall seconds, and the last line of its errors."""

    verdict: str
    cpu_s: float
    wall_s: float
    reason: str


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=os.environ.get("BIRDNN_VNNCOMP"), help="folder of instances")
    arguments.add_argument("--peer", help="the other verifier's command; without it only birdnn runs")
    arguments.add_argument("--timeout", type=float, default=60.0, metavar="S", help="of each process")
    options = arguments.parse_args()
    if options.data is None:
        arguments.error("name the folder of the instances: --data DIR, or BIRDNN_VNNCOMP")
    table = Table(RESULTS / "beside.csv", COLUMNS, ("onnx", "vnnlib"))
    with (options.data / "instances.csv").open(encoding="utf-8", newline="") as file:
        instances = list(csv.DictReader(file))
    if instances:
        beside(options.data, instances[0], None, 10.0, peer_first=False)  # compiles what is compiled once and kept
    for number, instance in enumerate(instances):
        if not table.has(onnx=instance["onnx"], vnnlib=instance["vnnlib"]):
            row = beside(options.data, instance, options.peer, options.timeout, peer_first=bool(number % 2))
            table.add({**row, **stamp()})
            print(row["onnx"], row["vnnlib"], row["known"], row["birdnn"], row["birdnn_cpu_s"], row["peer"], flush=True)
    text = summary(table.rows, options.peer, options.timeout)
    (RESULTS / "beside.md").write_text(text, encoding="utf-8")
    print(text)


def beside(
    data: Path, instance: Mapping[str, str], peer: str | None, timeout_s: float, *, peer_first: bool
) -> dict[str, object]:
    """A row of the table: the instance asked of both."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        net, prop = (plain(data / instance[name], folder) for name in ("onnx", "vnnlib"))
        runs = {"birdnn": lambda: ours(net, prop, timeout_s, folder)}
        if peer is not None:
            runs["peer"] = lambda: theirs(peer, net, prop, timeout_s, folder)
        order = list(runs)[:: -1 if peer_first else 1]
        done = {name: runs[name]() for name in order}
    mine, other = done["birdnn"], done.get("peer", Run("", 0.0, 0.0, ""))
    return {
        "family": instance["family"],
        "onnx": instance["onnx"],
        "vnnlib": instance["vnnlib"],
        "known": instance["verdict"],
        "birdnn": mine.verdict,
        "birdnn_cpu_s": f"{mine.cpu_s:.1f}",
        "birdnn_wall_s": f"{mine.wall_s:.1f}",
        "reason": mine.reason,
        "peer": other.verdict,
        "peer_cpu_s": f"{other.cpu_s:.1f}",
        "peer_wall_s": f"{other.wall_s:.1f}",
    }


def plain(path: Path, folder: Path) -> Path:
    """The file, unpacked where it is packed: not everybody reads ``.gz``."""
    if path.suffix != ".gz":
        return path
    unpacked = folder / path.stem
    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    return unpacked


def ours(net: Path, prop: Path, timeout_s: float, folder: Path) -> Run:
    """birdnn, as its command line."""
    command = [sys.executable, "-m", "birdnn", "verify", "--net", str(net), "--prop", str(prop)]
    done, cpu_s, wall_s = _run([*command, "--timeout", f"{timeout_s:g}", "--quiet"], timeout_s, folder)
    verdict = done.stdout.strip().partition("\n")[0]
    reason = "" if verdict in _DECIDED else _last_line(done.stderr)
    return Run(verdict or "error", cpu_s, wall_s, reason.replace(str(net), net.name).replace(str(prop), prop.name))


def theirs(peer: str, net: Path, prop: Path, timeout_s: float, folder: Path) -> Run:
    """The other verifier, by the options and the file of results that vibecheck has."""
    results = folder / "results.txt"
    command = [peer, "--net", str(net), "--spec", str(prop), "--timeout", f"{timeout_s:g}", "--device", "cpu"]
    done, cpu_s, wall_s = _run([*command, "--results-file", str(results)], timeout_s, folder)
    word = results.read_text(encoding="utf-8").partition("\n")[0].strip() if results.exists() else ""
    return Run(word or "error", cpu_s, wall_s, "" if word else _last_line(done.stderr))


def _run(
    command: Sequence[str], timeout_s: float, folder: Path
) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """The process, with its processor and wall seconds; ended where it outlasts its limit by far."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    core = {max(os.sched_getaffinity(0))}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
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


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\[ *[0-9.]+ s\]", line)]
    return lines[-1][:300] if lines else ""


def summary(rows: Sequence[Row], peer: str | None, timeout_s: float) -> str:
    """The table in Markdown, below what it says in all."""
    name = Path(peer).name if peer else "the other"
    words = Counter(row["birdnn"] for row in rows), Counter(row["peer"] for row in rows)
    both = [row for row in rows if row["birdnn"] in _DECIDED and row["peer"] in _DECIDED]
    apart = sum(row["birdnn"] != row["peer"] for row in both)
    known = [row for row in rows if row["known"] in _DECIDED and row["birdnn"] in _DECIDED]
    wrong = sum(row["known"] != row["birdnn"] for row in known)
    found = [row for row in rows if row["peer"] == "sat"]
    also = [row for row in found if row["birdnn"] == "sat"]
    in_time = sum(float(row["birdnn_cpu_s"]) <= float(row["peer_cpu_s"]) for row in also)
    seconds = [sum(float(row[f"{who}_cpu_s"]) for row in both) for who in ("birdnn", "peer")]
    told = (
        f"{len(rows)} instances. birdnn: {_counted(words[0])}. {name}: {_counted(words[1])}. "
        f"Both decide {len(both)} and differ in {apart}; birdnn differs from what is known in {wrong}. "
        f"Of {len(found)} violations that {name} finds, birdnn finds {len(also)}, {in_time} of them in at most its "
        f"processor time. On what both decide: {seconds[0]:.0f} s and {seconds[1]:.0f} s."
    )
    lines = [
        f"# Other people's instances, birdnn beside {name}",
        "",
        provenance(f"python -m benchmarks.vnncomp.beside --peer {name} --timeout {timeout_s:g}", threads=1),
        told,
        "",
        f"| instance | known | birdnn | cpu s | {name} | cpu s | why not |",
        "| --- | --- | --- | ---: | --- | ---: | --- |",
    ]
    for row in rows:
        instance = f"{Path(row['onnx']).stem} {Path(row['vnnlib']).name.removesuffix('.gz').removesuffix('.vnnlib')}"
        cells = row["known"], row["birdnn"], row["birdnn_cpu_s"], row["peer"], row["peer_cpu_s"], row["reason"]
        lines.append(f"| {row['family']}: {instance} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items(), key=lambda pair: -pair[1]))


if __name__ == "__main__":
    main()
