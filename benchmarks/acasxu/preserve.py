"""How far repairs are from their originals, anywhere in the domain: ``python -m benchmarks.acasxu.preserve``.

The 36 repair instances by the linear program, once as it is and once with ``--max-difference``: campaigns of
``birdnn bench --repair``, whose rows say the largest change of an output that was found, and that was proved.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, STATUS, campaign_arguments, data_folder
from benchmarks.acasxu.repair import instances
from birdnn.campaign import REPAIR, Campaign, Instance, campaign_files, open_table, provenance
from birdnn.campaign.run import rows_of
from birdnn.cli.progress import TerminalWatch
from birdnn.pipeline.facts import machine

METHOD = "finetune:lp"


def main() -> int:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    campaign_arguments(arguments)
    arguments.add_argument("--timeout", type=float, default=120.0, help="seconds for each repair")
    arguments.add_argument("--most", type=float, default=0.05, help="what --max-difference asks for, network units")
    arguments.add_argument("--first", type=int, help="only so many instances; rows that are there stay")
    options = arguments.parse_args()
    source = data_folder(options.data) / "repair_instances.csv"
    asked = [one for one in instances(source, options.timeout) if not one.suite]
    threads = machine().cores // options.jobs or 1
    found: list[list[Mapping[str, str] | None]] = []
    status = 0
    for more in ((), ("--max-difference", f"{options.most:g}")):
        campaign = Campaign(
            kind=REPAIR,
            instances=asked[: options.first],
            table=RESULTS / "preserve.csv",
            jobs=options.jobs,
            threads=threads,
            method=METHOD,
            options=more,
        )
        with TerminalWatch(quiet=False) as watch:
            outcome = campaign_files(campaign, source=source, watch=watch)
        whole = replace(campaign, instances=asked)
        found.append(list(rows_of(whole, open_table(REPAIR, campaign.table).rows)))
        status = max(status, 130 if outcome.interrupted else STATUS[outcome.result])
    command = "python -m benchmarks.acasxu.preserve" + (f" --first {options.first}" if options.first else "")
    text = summary(asked, *found, most=options.most, made=provenance(command, threads=threads))
    (RESULTS / "preserve.md").write_text(text, encoding="utf-8")
    print(text)
    return status


def summary(
    asked: Sequence[Instance],
    free: Sequence[Mapping[str, str] | None],
    held: Sequence[Mapping[str, str] | None],
    *,
    most: float,
    made: str,
) -> str:
    """Both repairs of each instance side by side, as Markdown."""
    lines = [
        "# ACAS Xu: how far repairs are from their originals",
        "",
        (
            f"Repairs by the linear program, without and with `--max-difference {most:g}`: the largest change of an "
            "output anywhere in the domain, network units, as a search found it and as proved over the reals; the "
            "share of decisions that are the same, measured; the share that is kept for certain, whatever change the "
            "proved bounds allow; the mean absolute difference. Seconds are of whole commands."
        ),
        "",
        *(line for name, rows in (("without", free), ("with", held)) for line in _told(name, rows)),
        "",
        (
            "| instance | largest found | same decision | mean | s | with: largest found | proved | same decision "
            "| certainly kept | mean | s |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for instance, one, other in zip(asked, free, held, strict=True):
        if one is None and other is None:
            continue
        cells = [f"{instance.onnx} {Path(instance.vnnlib).stem}"]
        cells += _cells(one, ("largest", "agreement", "mae", "wall_s"))
        cells += _cells(other, ("largest", "largest_proved", "agreement", "surely", "mae", "wall_s"))
        lines.append(f"| {' | '.join(cells)} |")
    commits = sorted({row["commit"] for rows in (free, held) for row in rows if row})
    return "\n".join([*lines, "", f"Commit {', '.join(commits)}. {made}"])


def _cells(row: Mapping[str, str] | None, names: Sequence[str]) -> list[str]:
    """Of a repair that is proved; of another its answer, and nothing else."""
    if row is None or row["outcome"] != "proved":
        return ["not asked" if row is None else row["outcome"], *("" for _ in names[1:])]
    return [row[name] for name in names]


def _told(name: str, rows: Sequence[Mapping[str, str] | None]) -> list[str]:
    done = [row for row in rows if row is not None and row["outcome"] == "proved"]
    if not done:
        return [f"- {name}: none proved"]
    asked, largest = sum(row is not None for row in rows), [float(row["largest"]) for row in done]
    ratios = [float(row["largest_proved"]) / float(row["largest"]) for row in done if float(row["largest"])]
    seconds = [float(row["wall_s"]) for row in done]
    near = [ratio for ratio in ratios if ratio <= 4]
    bound = f"a bound of at most 4 times as much is proved of {len(near)}"
    if near:
        bound += f" (median {statistics.median(near):.3g} times)"
    return [
        (
            f"- **{name}**: {len(done)} of {asked} repaired and proved; largest change found: median "
            f"{statistics.median(largest):.3g}, most {max(largest):.3g}; {bound}; same decision: least "
            f"{min(float(row['agreement']) for row in done):.6f}; median {statistics.median(seconds):.1f} s, "
            f"{sum(seconds):.0f} s in all."
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
