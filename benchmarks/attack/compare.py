"""Finding violations, two versions in turn: ``python -m benchmarks.attack.compare --beside COPY [--limit 10]``.

COPY is a working copy of an earlier version. Each instance is asked of it and of this one, one after the other, each in
a process that has read an instance before, with one thread: the 47 violated instances of ACAS Xu (``BIRDNN_ACASXU``),
by `verify`; public instances of other families (``BIRDNN_VNNCOMP``, a folder with `instances.csv`), by `verify` and,
but for those that are known to hold, by `falsify`. A violation that took no box was found by the first attack.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.acasxu.common import data_folder, short_name
from benchmarks.common import ROOT, Table, provenance, stamp
from benchmarks.vnncomp.common import DATA, instances_of

RESULTS = Path(__file__).resolve().parent / "results"
KEY = "set", "instance", "what", "code"
COLUMNS = (*KEY, "known", "limit_s", "verdict", "boxes", "evaluations", "processor_s", "wall_s")
CODES = "before", "now"


class Worker:
    """A process that answers, of the version that lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
            cwd=folder,
        )

    def answer(self, what: str, net: Path, prop: Path, limit_s: float) -> dict[str, object]:
        """One instance."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        self.process.stdin.write(json.dumps([what, str(net), str(prop), limit_s]) + "\n")
        self.process.stdin.flush()
        found: dict[str, object] = json.loads(self.process.stdout.readline())
        return found


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--beside", type=Path, required=True, help="a working copy of an earlier version")
    arguments.add_argument("--data", type=Path, help="the ACAS Xu folder")
    arguments.add_argument("--limit", type=float, default=10.0, help="seconds for each instance")
    options = arguments.parse_args()
    table = Table(RESULTS / "compare.csv", COLUMNS, KEY)
    workers = {"before": Worker(options.beside.resolve()), "now": Worker(ROOT)}
    commits = {"before": commit(options.beside), "now": stamp()["commit"]}
    first = next(acasxu(data_folder(options.data)))
    for worker in workers.values():
        worker.answer("verify", first[2], first[3], options.limit)
    for of, name, net, prop, known in (*acasxu(data_folder(options.data)), *others()):
        for what in ("verify", "falsify") if of != "ACAS Xu" and known != "unsat" else ("verify",):
            for code, worker in workers.items():
                key = {"set": of, "instance": name, "what": what, "code": code}
                if table.has(**key):
                    continue
                found = worker.answer(what, net, prop, options.limit)
                row = {**key, "known": known, "limit_s": options.limit, **found, **stamp(), "commit": commits[code]}
                print(*table.add(row).values(), flush=True)
    text = summary(table.rows, options.limit)
    (RESULTS / "compare.md").write_text(text, encoding="utf-8")
    print(text)


Instance = tuple[str, str, Path, Path, str]


def acasxu(folder: Path) -> Iterator[Instance]:
    """The violated ones."""
    for row in read(folder / "verdicts.csv"):
        if row["verdict"] == "sat":
            name = f"{short_name(row['onnx'])} {Path(row['vnnlib']).stem}"
            yield "ACAS Xu", name, folder / "onnx" / row["onnx"], folder / "vnnlib" / row["vnnlib"], "sat"


def others() -> Iterator[Instance]:
    """The public instances of other families, violated ones first; none where the folder is not there."""
    if not (DATA / "instances.csv").is_file():
        return
    for row in sorted(instances_of(DATA), key=lambda row: row["verdict"] != "sat"):
        name = f"{Path(row['onnx']).stem} {Path(row['vnnlib']).name.split('.vnnlib')[0]}"
        yield row["family"], name, DATA / row["onnx"], DATA / row["vnnlib"], row["verdict"]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def commit(folder: Path) -> str:
    """Its short hash."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def summary(rows: Sequence[Mapping[str, str]], limit_s: float) -> str:
    """What is found, and at what cost, in Markdown."""
    lines = ["# Finding violations", "", *acasxu_lines([row for row in rows if row["set"] == "ACAS Xu"]), ""]
    header = (
        "family",
        "instance",
        "known",
        "what",
        *(f"{code}: {c}" for code in CODES for c in ("verdict", "boxes", "s")),
    )
    lines += ["| " + " | ".join(header) + " |", "| --- " * 4 + "| --- | ---: | ---: " * 2 + "|"]
    pairs: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        if row["set"] != "ACAS Xu":
            pairs.setdefault(tuple(row[name] for name in ("set", "instance", "known", "what")), {})[row["code"]] = row
    for key, pair in pairs.items():
        cells = [cell for code in CODES for cell in (pair[code][c] for c in ("verdict", "boxes", "processor_s"))]
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    commits = ", ".join(
        f"{code} {', '.join(sorted({r['commit'] for r in rows if r['code'] == code}))}" for code in CODES
    )
    lines += ["", f"Seconds of processor time, of at most {limit_s:g} each. Versions: {commits}.", ""]
    return "\n".join([*lines, provenance("python -m benchmarks.attack.compare --beside COPY", threads=1)])


def acasxu_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """One line for each version."""
    lines = [
        "| ACAS Xu, violated | found | by the first attack | boxes | evaluations, first attack | processor s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for code in CODES:
        mine = [row for row in rows if row["code"] == code]
        found = [row for row in mine if row["verdict"] == "sat"]
        first = [row for row in found if row["boxes"] == "0"]
        costs = sorted(int(row["evaluations"]) for row in first)
        median = costs[len(costs) // 2] if costs else 0
        boxes, seconds = (sum(float(row[name]) for row in mine) for name in ("boxes", "processor_s"))
        cells = len(found), len(first), f"{boxes:,.0f}", f"median {median:,}", f"{seconds:.1f}"
        lines.append(f"| {code} | " + " | ".join(map(str, cells)) + " |")
    return lines


if __name__ == "__main__":
    main()
