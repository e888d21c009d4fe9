"""The 186 verification instances: ``python -m benchmarks.acasxu.verify [--cold]``.

Warm: all instances in one process; ``solve_s`` counts falsification and search, reading left out. Cold: one process of
``birdnn verify`` each; ``wall_s`` counts everything, interpreter and imports included.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, data_folder, short_name
from benchmarks.common import Table, provenance, stamp

COLUMNS = ("onnx", "vnnlib", "expected", "verdict", "seconds", "boxes")


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--cold", action="store_true", help="one process of the command line for each instance")
    options = arguments.parse_args()
    data = data_folder(options.data)
    mode = "cold" if options.cold else "warm"
    table = Table(RESULTS / f"verify_{mode}.csv", COLUMNS, ("onnx", "vnnlib"))
    with (data / "verdicts.csv").open(encoding="utf-8") as file:
        expected = {(row["onnx"], row["vnnlib"]): row["verdict"] for row in csv.DictReader(file)}
    with (data / "instances.csv").open(encoding="utf-8") as file:
        instances = [(data / onnx, data / prop, float(limit)) for onnx, prop, limit in csv.reader(file)]
    for onnx, prop, limit_s in instances:
        if table.has(onnx=onnx.name, vnnlib=prop.name):
            continue
        mark = stamp()
        verdict, seconds, boxes = (cold if options.cold else warm)(onnx, prop, limit_s)
        known = expected[onnx.name, prop.name]
        values = onnx.name, prop.name, known, verdict, f"{seconds:.3f}", "" if boxes is None else boxes
        table.add({**dict(zip(COLUMNS, values, strict=True)), **mark})
        if {verdict, known} == {"sat", "unsat"}:
            raise SystemExit(f"WRONG VERDICT: {onnx.name} {prop.name}: {verdict}, known {known}")
    summarise(table, mode)


def warm(onnx: Path, prop: Path, limit_s: float) -> tuple[str, float, int]:
    """Verdict, solve seconds and boxes in this process."""
    from birdnn.pipeline import verify_files
    from birdnn.records import Proved, VerifySettings, Violated

    outcome = verify_files(onnx, [prop], settings=VerifySettings(timeout_s=limit_s))
    verdict = outcome.verdicts[0].verdict
    word = "unsat" if isinstance(verdict, Proved) else "sat" if isinstance(verdict, Violated) else "unknown"
    return word, outcome.solve_s, verdict.boxes


def cold(onnx: Path, prop: Path, limit_s: float) -> tuple[str, float, int | None]:
    """First line and wall seconds of the command line in a process of its own, which is not asked for boxes."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "birdnn", "verify", "--net", str(onnx), "--prop", str(prop)]
    done = subprocess.run([*command, "--timeout", str(limit_s), "--quiet"], capture_output=True, text=True, check=False)
    first = (done.stdout.splitlines() or ["error"])[0]
    return first, time.monotonic() - begun, None


def summarise(table: Table, mode: str) -> None:
    """Write ``verify_MODE.md``."""
    rows = table.rows
    solved = [row for row in rows if row["verdict"] in ("sat", "unsat")]
    wrong = [row for row in solved if row["verdict"] != row["expected"]]
    seconds = sorted(float(row["seconds"]) for row in rows)
    what = "solve seconds, one warm process" if mode == "warm" else "wall seconds, one process each"
    lines = [
        f"# ACAS Xu verification, {mode}",
        "",
        (
            f"{len(solved)} of {len(rows)} solved ({sum(r['verdict'] == 'unsat' for r in solved)} unsat, "
            f"{sum(r['verdict'] == 'sat' for r in solved)} sat), {len(wrong)} against the known verdict; {what}: "
            f"sum over all {sum(seconds):.1f}, median {seconds[len(seconds) // 2]:.2f}, slowest {seconds[-1]:.1f}."
        ),
        "",
        provenance(f"OMP_NUM_THREADS=1 python -m benchmarks.acasxu.verify{' --cold' if mode == 'cold' else ''}"),
        "| network | property | verdict | seconds | boxes |",
        "| --- | --- | --- | --- | --- |",
    ]
    slowest = sorted(rows, key=lambda row: -float(row["seconds"]))[:15]
    lines += [
        f"| {short_name(r['onnx'])} | {Path(r['vnnlib']).stem} | {r['verdict']} | {float(r['seconds']):.2f} "
        f"| {r['boxes']} |"
        for r in slowest
    ]
    text = "\n".join([*lines, "", "The fifteen slowest; all rows are in the CSV beside this file.", ""])
    (RESULTS / f"verify_{mode}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
