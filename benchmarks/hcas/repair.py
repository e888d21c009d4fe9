"""Repair of HorizontalCAS and VerticalCAS: ``python -m benchmarks.hcas.repair``.

Every controller that violates a property of its suite, as ``benchmarks.hcas.verify`` found, is repaired against all of
them, NNet in and NNet out, by the command line's defaults. The seconds are those on the processor, so that they mean
the same on a busy machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from benchmarks.common import Table, provenance, stamp
from benchmarks.hcas import verify
from benchmarks.hcas.common import RESULTS, Controller, arguments, controllers
from birdnn.pipeline.repairing import repair_files
from birdnn.records import PropertyRepair, RepairRequest

COLUMNS = (
    "net", "violated", "outcome", "proved", "properties", "agreement", "mae", "region_agreement", "drawdown", "changed",
    "tried", "cpu_s", "timeout_s", "note",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    parser = arguments(__doc__)
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for each controller")
    parser.add_argument("--net", action="append", help="only this one, e.g. H3,10; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder in which the repaired networks stay")
    options = parser.parse_args()
    found = Table(RESULTS / "verify.csv", verify.COLUMNS, ("net", "property")).rows
    broken = {row["net"] for row in found if row["verdict"] == "sat"}
    table = Table(RESULTS / "repair.csv", COLUMNS, ("net",))
    for controller in controllers(options.data):
        wanted = controller.name in (options.net or broken)
        if wanted and not table.has(net=controller.name):
            mark = stamp()
            with TemporaryDirectory() as scratch:
                table.add({**repaired(controller, options.keep or Path(scratch), options.timeout), **mark})
    text = summary(table.rows, len(broken))
    (RESULTS / "repair.md").write_text(text, encoding="utf-8")
    print(text)


def repaired(controller: Controller, folder: Path, timeout_s: float) -> dict[str, object]:
    """One controller against its suite, as a row."""
    request = RepairRequest(
        net=controller.path,
        suite=controller.suite,
        out=folder / controller.path.stem,
        timeout_s=timeout_s,
        samples=100_000,
    )
    begun = time.process_time()
    outcome = repair_files(request)
    return {"net": controller.name, "timeout_s": timeout_s, **row_of(outcome, time.process_time() - begun)}


def row_of(outcome: PropertyRepair, cpu_s: float) -> dict[str, object]:
    """The figures of one repair."""
    kept, regions = outcome.fidelity, [entry.decision_agreement for entry in outcome.region_fidelity.values()]
    worst = outcome.drawdown.share
    return {
        "violated": " ".join(p.name for p in outcome.properties if p.before == "violated"),
        "outcome": outcome.result,
        "proved": sum(p.after == "proved" for p in outcome.properties),
        "properties": len(outcome.properties),
        "agreement": "" if kept is None or kept.decision_agreement is None else f"{kept.decision_agreement:.6f}",
        "mae": "" if kept is None else f"{kept.mae:.3g}",
        "region_agreement": f"{min((r for r in regions if r is not None), default=float('nan')):.6f}",
        "drawdown": "" if worst is None else f"{worst:.3g}",
        "changed": " ".join(f"{name}:{moved.count}/{moved.size}" for name, moved in outcome.change.items()),
        "tried": " ".join(f"{entry.method}={entry.result}" for entry in outcome.tried),
        "cpu_s": f"{cpu_s:.1f}",
        "note": " ".join(outcome.regressions),
    }


def summary(rows: list[dict[str, str]], broken: int) -> str:
    """All rows and what they come to, as Markdown."""
    proved = [row for row in rows if row["outcome"] == "proved"]
    lines = ["# HorizontalCAS and VerticalCAS: repair", ""]
    told = (
        f"{len(rows)} of the {broken} controllers that violate a property of their suite; {len(proved)} repaired and "
    )
    told += "proved for all of it, as executed in float32."
    if proved:
        agreement = [float(row["agreement"]) for row in proved]
        seconds = [float(row["cpu_s"]) for row in proved]
        told += (
            f" On these: decision agreement over the header's domain mean {mean(agreement):.3%}, least "
            f"{min(agreement):.3%}; mean absolute difference at most {max(float(row['mae']) for row in proved):.2g}; "
            f"processor seconds mean {mean(seconds):.0f}, largest {max(seconds):.0f}."
        )
    shown = [name for name in COLUMNS if name not in ("tried", "note", "timeout_s")]
    lines += [told, "", provenance("OMP_NUM_THREADS=1 python -m benchmarks.hcas.repair")]
    lines += ["| " + " | ".join(shown) + " |", "| " + " | ".join("---" for _ in shown) + " |"]
    lines += ["| " + " | ".join(row[name] for name in shown) + " |" for row in rows]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
