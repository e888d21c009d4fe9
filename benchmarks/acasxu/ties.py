"""What ties cost and bring: ``python -m benchmarks.acasxu.ties [--timeout S] [--run NAME ...]``.

N2,9 with phi-8 alone and with its whole suite, N1,9 with phi-7: with ties as the last resort, and with ``--no-ties``.
A run that was made before is read from its ``repair.json`` (``--keep FOLDER``, a folder for each run): the table can be
of runs of several versions, for a folder ``before`` beside those of today stands for an earlier one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, data_folder
from birdnn.campaign import provenance
from birdnn.pipeline.repairing import repair_files
from birdnn.records import PropertyRepair, RepairRequest
from birdnn.report.headline import tied_words
from birdnn.report.publish import record_from
from birdnn.report.words import percent

PROPERTIES = Path(__file__).resolve().parents[2] / "properties"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One repair: its folder's name, the network, a property or the suite, and are ties allowed?"""

    name: str
    net: str
    prop: str | None
    ties: bool

    def request(self, data: Path, out: Path, timeout_s: float) -> RepairRequest:
        """What is asked."""
        return RepairRequest(
            net=data / "onnx" / f"ACASXU_run2a_{self.net.replace(',', '_')[1:]}_batch_2000.onnx",
            props=() if self.prop is None else (PROPERTIES / f"{self.prop}.vnnlib",),
            suite="acasxu" if self.prop is None else None,
            out=out,
            timeout_s=timeout_s,
            no_ties=not self.ties,
        )


RUNS = tuple(
    Run(name=f"{name}{'' if ties else '_noties'}", net=net, prop=prop, ties=ties)
    for name, net, prop in (
        ("n19_phi7", "N1,9", "prop_7"),
        ("n29_phi8", "N2,9", "prop_8"),
        ("n29_suite", "N2,9", None),
    )
    for ties in (True, False)
)


def main() -> None:
    """Run what is missing, then write the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--timeout", type=float, default=900.0, help="seconds for each")
    arguments.add_argument("--keep", type=Path, required=True, help="folder of the results")
    arguments.add_argument("--run", action="append", choices=[run.name for run in RUNS], help="only these")
    options = arguments.parse_args()
    for run in RUNS:
        out = options.keep / run.name
        if not (out / "repair.json").exists() and run.name in (options.run or [run.name for run in RUNS]):
            repair_files(run.request(data_folder(options.data), out, options.timeout))
    text = "\n".join(summary(options.keep, options.timeout))
    (RESULTS / "ties.md").write_text(text, encoding="utf-8")
    print(text)


def summary(folder: Path, timeout_s: float) -> Iterator[str]:
    """The table, as Markdown."""
    yield "# ACAS Xu: repair with and without ties"
    yield ""
    yield "| instance | ties | result | behaviour | seconds | same decision | mean difference | of the size | tied |"
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- |"
    for run in RUNS:
        for word, place in (("0.1.0", folder / "before" / run.name), ("", folder / run.name)):
            if (place / "repair.json").exists():
                report = record_from(PropertyRepair, json.loads((place / "repair.json").read_text(encoding="utf-8")))
                yield row(run, report, word)
    yield ""
    yield "Rows of 0.1.0 are those of the version before, which tied as soon as one proof was out of reach. Seconds are"
    yield "wall time, and of the limit, on a machine that other work kept busy. N2,9's suite took the version before"
    yield "765 s, with 99.984 % of the decisions kept and a mean difference of 0.00029 (repair.csv)."
    yield ""
    yield provenance(f"python -m benchmarks.acasxu.ties --keep FOLDER --timeout {timeout_s:g}", threads=1)
    yield ""


def row(run: Run, report: PropertyRepair, version: str) -> str:
    """One run."""
    what = f"{run.net} {run.prop or 'suite'}"
    ties = "allowed" if run.ties else "--no-ties"
    here = next((entry for entry in report.behaviour if entry.ground == "domain"), None)
    figures = report.fidelity
    share = "" if figures is None or figures.decision_agreement is None else percent(figures.decision_agreement)
    moved = "" if figures is None else f"{figures.mae:.2g}"
    size = "" if here is None or not here.size else percent(here.mae / here.size)
    noted = ", ".join(line.split(",")[0] for line in report.notes if "what it told by itself is lost" in line)
    cells = (
        what,
        f"{ties}{f' ({version})' if version else ''}",
        report.result,
        report.behaviour_kept or "not judged",
        f"{report.wall_s:.0f} of {report.request.timeout_s:.0f}",
        share,
        moved,
        size,
        tied_words(report) or noted or "none",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
