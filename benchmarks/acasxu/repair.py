"""The 36 repair instances, and N2,9 with its whole suite: ``python -m benchmarks.acasxu.repair [--method M]``.

Each runs ``birdnn repair`` in a process of its own with a limit; the figures are those of its ``repair.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from benchmarks.acasxu.common import RESULTS, data_folder, short_name
from benchmarks.common import Table, provenance, stamp

COLUMNS = (
    "method", "net", "props", "outcome", "wall_s", "repair_s", "verify_s", "sample_s", "boxes", "rounds", "agreement",
    "mae", "region_agreement", "drawdown", "regressions", "note", "efficacy", "generalisation", "semantics",
    "certificate_kb", "leaves", "check_s", "checked", "timeout_s",
)  # fmt: skip
KEPT = "method", "net", "props"
METHODS = "auto", "retrain", "finetune:lp", "finetune:bias", "finetune:pso", "finetune:cmaes"


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--method", choices=METHODS, default=METHODS[0])
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
        key = {"method": options.method, "net": name, "props": asked}
        if not table.has(**key):
            mark = stamp()
            table.add({**key, **run(net, props, options), **mark})
    summarise(Table(table.path, COLUMNS, KEPT))


def run(net: Path, props: tuple[Path, ...], options: argparse.Namespace) -> dict[str, object]:
    """One repair by the command line, as a row."""
    method, _, optimiser = options.method.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        out = (options.keep or Path(scratch)) / f"{short_name(net.name)}-{'+'.join(p.stem for p in props) or 'suite'}"
        command = [sys.executable, "-m", "birdnn", "repair", "--net", str(net), "--out", str(out), "--quiet"]
        for prop in props:
            command += ["--prop", str(prop)]
        command += ["--method", method, *(["--optimiser", optimiser] if optimiser else [])]
        command += ["--timeout", str(options.timeout), *([] if props else ["--suite", "acasxu"])]
        report = out / "repair.json"
        report.unlink(missing_ok=True)  # of an earlier run, should this one write none
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall_s = time.monotonic() - begun
        if not report.is_file():
            failed = {"timeout_s": options.timeout, "outcome": f"exit {done.returncode}", "wall_s": f"{wall_s:.1f}"}
            return dict.fromkeys(COLUMNS[3:], "") | failed | {"note": done.stderr.strip()[-200:]}
        return row_of(json.loads(report.read_text(encoding="utf-8")), wall_s)


def row_of(found: dict, wall_s: float) -> dict[str, object]:  # type: ignore[type-arg]
    """The figures of one ``repair.json``."""
    fidelity = found["fidelity"] or {"decision_agreement": float("nan"), "mae": float("nan")}
    regions = [entry["decision_agreement"] for entry in found["region_fidelity"].values()]
    return dict.fromkeys(COLUMNS[3:], "") | {
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
        "semantics": found["semantics"],
        "timeout_s": found["timeout_s"],
        **{name: share(found[name]) for name in ("efficacy", "generalisation")},
        **certified(found["certificate"]),
    }


def share(rate: dict | None) -> str:  # type: ignore[type-arg]
    """Of a rate, as a number; empty where there was nothing to count."""
    return "" if not rate or not rate["n"] else f"{rate['hits'] / rate['n']:.6f}"


def certified(found: dict | None) -> dict[str, object]:  # type: ignore[type-arg]
    """Size of the certificate, and what the checker said of it."""
    if found is None:
        return {}
    word, _, said = found["checked"].partition(": ")
    leaves = re.search(r"all (\d+) leaves", said)
    return {
        "certificate_kb": f"{found['size'] / 1000:.1f}",
        "leaves": leaves.group(1) if leaves else "",
        "check_s": f"{found['check_s']:.1f}",
        "checked": word,
    }


def worst_drawdown(drawdown: object) -> object:
    """The worst share, however the report spells it."""
    entries = drawdown if isinstance(drawdown, list) else [drawdown]
    return max((entry["share"] for entry in entries if entry and entry["share"] is not None), default="")


def summarise(table: Table) -> None:
    """Write ``repair.md``."""
    rows = sorted(table.rows, key=lambda row: (row["props"] == "suite", row["net"], row["props"]))
    lines = ["# ACAS Xu: repair", ""]
    for method in METHODS:
        lines += _reading(method, [row for row in rows if row["method"] == method and row["props"] != "suite"])
    command = "OMP_NUM_THREADS=1 python -m benchmarks.acasxu.repair [--method M] --timeout S --part 0/2 (1/2 beside it)"
    if any(not row["semantics"] for row in rows):
        lines += ["", "Rows without `semantics`: proofs in float64 over the reals, before rounding was accounted for."]
    lines += ["", provenance(command)]
    shown = [name for name in COLUMNS if name not in ("note", "regressions")]
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method]
        if mine:
            lines += ["", f"## {method}", "", "| " + " | ".join(shown[1:]) + " |"]
            lines += ["| " + " | ".join("---" for _ in shown[1:]) + " |"]
            lines += ["| " + " | ".join(row[name] for name in shown[1:]) + " |" for row in mine]
    text = "\n".join([*lines, ""])
    (RESULTS / "repair.md").write_text(text, encoding="utf-8")
    print(text)


def _reading(method: str, rows: list[dict[str, str]]) -> list[str]:
    """One method's results in two sentences; nothing where it was not run."""
    proved = [row for row in rows if row["outcome"] == "proved"]
    if not proved:
        return [f"- **{method}**: none of {len(rows)} repaired and proved."] if rows else []
    agreement, region, mae, walls = (
        [float(row[name]) for row in proved] for name in ("agreement", "region_agreement", "mae", "wall_s")
    )
    limits = sorted({float(row["timeout_s"]) for row in rows if row["timeout_s"]})
    limit = f", at most {' or '.join(f'{value:g}' for value in limits)} s each" if limits else ""
    text = (
        f"- **{method}**: {len(proved)} of {len(rows)} repaired and proved{limit}. On these: wall time median "
        f"{median(walls):.0f} s, largest {max(walls):.0f} s; decision agreement over the domain mean "
        f"{mean(agreement):.3%}, least {min(agreement):.3%}; in the repaired region mean {mean(region):.3%}, least "
        f"{min(region):.3%}; mean absolute difference mean {mean(mae):.2g}, largest {max(mae):.2g}; worst drawdown "
        f"{max(float(row['drawdown'] or 0) for row in proved):g}."
    )
    return [text]


if __name__ == "__main__":
    main()
