"""The 36 repair instances, and N2,9 with its whole suite: ``python -m benchmarks.acasxu.repair``.

Each runs ``birdnn repair`` in a process of its own with a limit; the figures are those of its ``repair.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from benchmarks.acasxu.common import RESULTS, data_folder, short_name
from benchmarks.common import Table, provenance, stamp

COLUMNS = (
    "net", "props", "outcome", "wall_s", "repair_s", "verify_s", "sample_s", "boxes", "rounds", "agreement", "mae",
    "region_agreement", "drawdown", "regressions", "note",
)  # fmt: skip
KEPT = "net", "props"


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--timeout", type=float, default=600.0, help="seconds for each instance")
    arguments.add_argument("--part", default="0/1", help="i/n: every n-th instance from the i-th, for several cores")
    arguments.add_argument("--keep", type=Path, help="folder in which the repaired networks stay")
    options = arguments.parse_args()
    data = data_folder(options.data)
    table = Table(RESULTS / "repair.csv", COLUMNS, KEPT)
    with (data / "repair_instances.csv").open(encoding="utf-8") as file:
        instances = [(data / row["onnx"], (data / row["vnnlib"],)) for row in csv.DictReader(file)]
    suite = next(net for net, props in instances if "prop_8" in props[0].name)
    instances.append((suite, ()))
    index, count = map(int, options.part.split("/"))
    for net, props in instances[index::count]:
        name, asked = short_name(net.name), "+".join(p.stem for p in props) or "suite"
        if not table.has(net=name, props=asked):
            mark = stamp()
            table.add({"net": name, "props": asked, **run(net, props, options.timeout, options.keep), **mark})
    summarise(Table(table.path, COLUMNS, KEPT), options.timeout)


def run(net: Path, props: tuple[Path, ...], limit_s: float, keep: Path | None) -> dict[str, object]:
    """One repair by the command line, as a row."""
    with tempfile.TemporaryDirectory() as scratch:
        out = (keep or Path(scratch)) / f"{short_name(net.name)}-{'+'.join(p.stem for p in props) or 'suite'}"
        command = [sys.executable, "-m", "birdnn", "repair", "--net", str(net), "--out", str(out), "--quiet"]
        for prop in props:
            command += ["--prop", str(prop)]
        command += ["--timeout", str(limit_s), *([] if props else ["--suite", "acasxu"])]
        report = out / "repair.json"
        report.unlink(missing_ok=True)  # of an earlier run, should this one write none
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall_s = time.monotonic() - begun
        if not report.is_file():
            return dict.fromkeys(COLUMNS[2:], "") | {
                "outcome": f"exit {done.returncode}", "wall_s": f"{wall_s:.1f}", "note": done.stderr.strip()[-200:]
            }  # fmt: skip
        return row_of(json.loads(report.read_text(encoding="utf-8")), wall_s)


def row_of(found: dict, wall_s: float) -> dict[str, object]:  # type: ignore[type-arg]
    """The figures of one ``repair.json``."""
    fidelity = found["fidelity"] or {"decision_agreement": float("nan"), "mae": float("nan")}
    regions = [entry["decision_agreement"] for entry in found["region_fidelity"].values()]
    return {
        "outcome": found["outcome"],
        "wall_s": f"{wall_s:.1f}",
        "repair_s": f"{found['repair_s']:.1f}",
        "verify_s": f"{found['verify_s']:.1f}",
        "sample_s": f"{found['sample_s']:.1f}",
        "boxes": sum(entry["boxes"] for entry in found["properties"]),
        "rounds": found.get("rounds", ""),
        "agreement": f"{fidelity['decision_agreement']:.6f}",
        "mae": f"{fidelity['mae']:.3g}",
        "region_agreement": f"{min(regions, default=float('nan')):.6f}",
        "drawdown": worst_drawdown(found["drawdown"]),
        "regressions": " ".join(found["regressions"]),
        "note": "",
    }


def worst_drawdown(drawdown: object) -> object:
    """The worst share, however the report spells it."""
    entries = drawdown if isinstance(drawdown, list) else [drawdown]
    return max((entry["share"] for entry in entries if entry and entry["share"] is not None), default="")


def summarise(table: Table, limit_s: float) -> None:
    """Write ``repair.md``."""
    rows = sorted(table.rows, key=lambda row: (row["props"] == "suite", row["net"], row["props"]))
    single = [row for row in rows if row["props"] != "suite"]
    proved = [row for row in single if row["outcome"] == "proved"]
    lines = ["# ACAS Xu repair by behaviour imitation", "", f"{len(proved)} of {len(single)} repaired and proved."]
    if proved:
        agreement = [float(row["agreement"]) for row in proved]
        region = [float(row["region_agreement"]) for row in proved]
        walls = [float(row["wall_s"]) for row in proved]
        lines[-1] += (
            f" On these: wall time median {median(walls):.0f} s, largest {max(walls):.0f} s; decision agreement over "
            f"the domain mean {mean(agreement):.4%}, least {min(agreement):.4%}; in the repaired region mean "
            f"{mean(region):.4%}, least {min(region):.4%}; mean absolute difference mean "
            f"{mean(float(row['mae']) for row in proved):.2g}; worst drawdown "
            f"{max(float(row['drawdown'] or 0) for row in proved):g}."
        )
    command = (
        f"OMP_NUM_THREADS=1 python -m benchmarks.acasxu.repair --timeout {limit_s:g} --part 0/2 (and 1/2 beside it)"
    )
    lines += ["", provenance(command)]
    lines += ["| " + " | ".join(COLUMNS[:-1]) + " |", "| " + " | ".join("---" for _ in COLUMNS[:-1]) + " |"]
    lines += ["| " + " | ".join(row[name] for name in COLUMNS[:-1]) + " |" for row in rows]
    text = "\n".join([*lines, ""])
    (RESULTS / "repair.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
