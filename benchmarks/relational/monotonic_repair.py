"""Monotonic ACAS Xu, repaired: ``python -m benchmarks.relational.monotonic_repair --seed 0``.

The networks of `benchmarks.relational.monotonic` whose cost of SL falls somewhere as rho grows: each is repaired by one
process of ``birdnn repair``, which proves that it no longer does. Seconds are wall-clock seconds and count everything.

The networks are not part of the project: ``--data``, or ``BIRDNN_ACASXU``, names a folder with ``onnx/*.onnx``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import ROOT, Table, provenance, stamp
from benchmarks.relational.monotonic import queries
from benchmarks.relational.pairs import DATA, RESULTS, networks
from birdnn.bounds.compiled.bound import prepare

COLUMNS = "seed", "net", "outcome", "agreement", "mae", "largest", "lost", "candidates", "boxes", "wall_s", "threads"
_OVERTIME_S = 30.0
_AGREEMENT = 0.995
"""What the summary counts as much."""


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=DATA, help="folder with the networks")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--timeout", type=float, default=300.0, metavar="S")
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    arguments.add_argument("--after", type=int, default=0, metavar="N", help="leave out the first N networks")
    arguments.add_argument("--keep", type=Path, help="folder in which the repaired networks stay")
    options = arguments.parse_args()
    nets = networks(options.data, arguments)
    prepare()  # compiles what is compiled once and kept
    table = Table(RESULTS / "monotonic_repair.csv", COLUMNS, ("seed", "net"))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for net, query in zip(nets, queries(nets, options.seed, folder), strict=True):
            (folder / "query.vnnlib").write_text(query, encoding="utf-8")
            if nets.index(net) >= options.after and not table.has(seed=str(options.seed), net=net.stem):
                out = (options.keep or folder) / net.stem
                found = repaired(net, folder / "query.vnnlib", out, options.timeout, options.threads)
                table.add({"seed": str(options.seed), "net": net.stem, **found, **stamp()})
                print(net.stem, *found.values(), flush=True)
    text = summary(table.rows)
    (RESULTS / "monotonic_repair.md").write_text(text, encoding="utf-8")
    print(text)


def repaired(net: Path, query: Path, out: Path, timeout_s: float, threads: int) -> dict[str, str]:
    """What ``birdnn repair`` makes of a network."""
    command = [sys.executable, "-m", "birdnn", "repair", "--net", str(net), "--prop", str(query)]
    command += ["--timeout", f"{timeout_s:g}", "--out", str(out), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    record, status = out / "repair.json", "outlasted its limit"
    record.unlink(missing_ok=True)  # what an earlier run left is no evidence of this one
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s + _OVERTIME_S
        )
        status = f"exit {done.returncode}" if done.returncode else "nothing to repair"
    except subprocess.TimeoutExpired:
        pass
    wall_s = time.monotonic() - began
    found = dict.fromkeys(COLUMNS[2:], "") | {"wall_s": f"{wall_s:.1f}", "threads": str(threads)}
    if not record.exists():
        # a network that needs no repair leaves no folder
        return found | {"outcome": status}
    said = json.loads(record.read_text(encoding="utf-8"))
    (prop,) = said["properties"]
    kept, far = said["fidelity"] or {}, said["preservation"] or {}
    ends = [*far.get("found_lower", ()), *far.get("found_upper", ())]
    lost = [one["name"] for one in said["watched"] if one["before"] == "proved" != one["after"]]
    return found | {
        "outcome": said["outcome"] if prop["after"] == "proved" else f"not proved ({prop['after']})",
        "agreement": f"{kept['decision_agreement']:.5f}" if kept else "",
        "mae": f"{kept['mae']:.2g}" if kept else "",
        "largest": f"{max(map(abs, ends)):.2g}" if ends else "",
        "lost": " ".join(lost),
        "candidates": str(len(said["tried"])),
        "boxes": str(prop["boxes"]),
    }


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """What was repaired, what it kept, and how long it took."""
    asked = [row for row in rows if row["outcome"] != "nothing to repair"]
    proved = [row for row in asked if row["outcome"] == "proved"]
    good = [row for row in proved if row["agreement"] and float(row["agreement"]) >= _AGREEMENT]
    seconds = [float(row["wall_s"]) for row in asked]
    shares = [float(row["agreement"]) for row in proved if row["agreement"]]
    told = [
        f"{len(asked)} networks that violated the query, {len(rows) - len(asked)} that did not.",
        f"{len(proved)} were repaired and proved,",
        f"{len(good)} of them with at least {100 * _AGREEMENT:g} % of the decisions in the domain kept,",
        f"{sum(not row['lost'] for row in proved)} without losing the proof of another property.",
    ]
    if proved:
        told += [
            f"Decisions kept: median {100 * statistics.median(shares):.2f} %, least {100 * min(shares):.2f} %.",
            f"Whole commands: median {statistics.median(seconds):.0f} s, at most {max(seconds):.0f} s.",
        ]
    names = "outcome", "agreement", "mae", "largest", "lost", "candidates", "boxes", "wall_s", "threads"
    lines = [
        "# Networks repaired until the cost of a strong left turn never falls as the distance grows",
        "",
        provenance("python -m benchmarks.relational.monotonic_repair --seed 0", "Seed as listed"),
        " ".join(told),
        "",
        "Largest: the largest change of an output that was found in the domain. Lost: properties that were proved of",
        "the original and were not proved again of the repaired network. Candidates: networks that were trained and",
        "judged.",
        "",
        "| network | " + " | ".join(names) + " |",
        "| --- | --- |" + " ---: |" * (len(names) - 1),
        *(f"| {row['net']} | " + " | ".join(row[name] for name in names) + " |" for row in rows),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
