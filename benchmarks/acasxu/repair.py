"""The 36 repair instances, and N2,9 with its whole suite: ``python -m benchmarks.acasxu.repair [--method M]``.

A campaign of ``birdnn bench --repair``: each runs in a process of its own with a limit; the figures are those of its
``repair.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, STATUS, campaign_arguments, data_folder, short_name
from birdnn.campaign import (
    REPAIR,
    Campaign,
    Instance,
    campaign_figures,
    campaign_files,
    campaign_rows,
    kept_figures,
    latest_rows,
    open_table,
    provenance,
    read_instances,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.pipeline.facts import machine
from birdnn.records import CampaignRow
from birdnn.report.bench import figures_markdown, rows_markdown

METHODS = "auto", "retrain", "finetune:lp", "finetune:bias", "finetune:pso", "finetune:cmaes"


def main() -> int:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    campaign_arguments(arguments)
    arguments.add_argument("--method", choices=METHODS, default=METHODS[0])
    arguments.add_argument("--timeout", type=float, default=600.0, help="seconds for each instance")
    arguments.add_argument("--keep", type=Path, help="folder in which the repaired networks stay")
    options = arguments.parse_args()
    source = data_folder(options.data) / "repair_instances.csv"
    campaign = Campaign(
        kind=REPAIR,
        instances=instances(source, options.timeout),
        table=RESULTS / "repair.csv",
        jobs=options.jobs,
        threads=machine().cores // options.jobs or 1,
        method=options.method,
        keep=options.keep,
    )
    with TerminalWatch(quiet=False) as watch:
        outcome = campaign_files(campaign, source=source, watch=watch)
    text = summary(campaign.instances, open_table(REPAIR, campaign.table).rows, options.jobs, campaign.threads)
    (RESULTS / "repair.md").write_text(text, encoding="utf-8")
    print(text)
    return 130 if outcome.interrupted else STATUS[outcome.result]


def instances(source: Path, timeout_s: float) -> list[Instance]:
    """The 36 under the names of the field, and N2,9, whose whole suite is to be repaired."""
    found = [
        replace(one, onnx=short_name(one.onnx)) for one in read_instances(source, timeout_s=timeout_s, repair=True)
    ]
    whole = next(one for one in found if one.vnnlib == "prop_8.vnnlib")
    return [*found, replace(whole, props=(), vnnlib="suite", suite="acasxu")]


def summary(instances: Sequence[Instance], rows: Sequence[dict[str, str]], jobs: int, threads: int) -> str:
    """Every method's figures on the 36, and its rows, as Markdown."""
    by_method = {
        method: campaign_rows(REPAIR, instances, latest_rows(REPAIR, instances, rows, method=method))
        for method in METHODS
    }
    asked = {method: [r for r in of_36(found) if r.answer] for method, found in by_method.items()}
    asked = {method: found for method, found in asked.items() if found}
    lines = ["# ACAS Xu: repair", "", "Solved: repaired and proved. Wall seconds of one process each.", ""]
    lines += [*figures_markdown(campaign_figures(method, REPAIR, found) for method, found in asked.items()), ""]
    for method, found in asked.items():
        limits = " or ".join(f"{limit:g}" for limit in sorted({row.timeout_s for row in found}))
        lines.append(f"- **{method}**, at most {limits} s each; of the proved: {'; '.join(kept_figures(found))}.")
    if any(row.answer and not row.fields["semantics"] for found in asked.values() for row in found):
        lines += ["", "Rows without `semantics`: proofs in float64 over the reals, before rounding was accounted for."]
    command = f"python -m benchmarks.acasxu.repair [--method M] --timeout S --jobs {jobs}"
    lines += ["", provenance(command, threads=threads)]
    for method in asked:
        done = [row for row in by_method[method] if row.answer]
        lines += ["", f"## {method}", "", *rows_markdown(done)]
    return "\n".join([*lines, ""])


def of_36(rows: Sequence[CampaignRow]) -> Iterator[CampaignRow]:
    """The instances of the field, without the suite."""
    return (row for row in rows if not row.name.endswith(" suite"))


if __name__ == "__main__":
    sys.exit(main())
