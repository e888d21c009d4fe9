"""The verification instances by every engine: ``python -m benchmarks.acasxu.crosscheck [--limit S] [--easiest N]``.

Each engine gets the same limit for each instance, in one process, one after the other. Answers are compared with the
known verdict and with our own; a contradiction ends the campaign.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.acasxu.common import RESULTS, data_folder, short_name
from benchmarks.common import Table, provenance, stamp
from birdnn.crosscheck.engines import NAMES
from birdnn.pipeline.crosschecking import Inquiry, cross_checked, disagreement, require_engines
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import EngineAnswer, Unwatched
from birdnn.verify import SearchSettings, verify

COLUMNS = (
    "onnx", "vnnlib", "limit_s", "expected", "engine", "version", "answer", "seconds", "arithmetic", "detail",
)  # fmt: skip
HOLDS = {"proved": "unsat", "violated": "sat"}
"""Answer -> verdict; any other answer decides nothing."""


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--limit", type=float, default=116.0, help="seconds for each engine and instance")
    arguments.add_argument("--easiest", type=int, help="only so many of each verdict, those we solved fastest")
    arguments.add_argument("--engines", default=",".join(NAMES), help="separated by commas")
    options = arguments.parse_args()
    data, engines = data_folder(options.data), tuple(options.engines.split(","))
    require_engines(engines)
    table = Table(RESULTS / "crosscheck.csv", COLUMNS, ("onnx", "vnnlib", "engine", "limit_s"))
    for onnx, prop, expected in instances(data, options.easiest):
        key = {"onnx": onnx.name, "vnnlib": prop.name, "limit_s": f"{options.limit:g}"}
        missing = tuple(name for name in engines if not table.has(**key, engine=name))
        if not missing:
            continue
        mark, answers = stamp(), asked(onnx, prop, missing, options.limit)
        for answer in answers:
            if table.has(**key, engine=answer.engine):
                continue
            row = {
                "engine": answer.engine,
                "version": answer.version,
                "answer": answer.answer,
                "seconds": f"{answer.seconds:.2f}",
                "arithmetic": answer.arithmetic,
                "detail": answer.detail,
            }
            table.add({**key, "expected": expected, **row, **mark})
        told = disagreement(f"{onnx.name} {prop.name}", answers)
        wrong = [a.engine for a in answers if HOLDS.get(a.answer, expected) != expected]
        if told or wrong:
            raise SystemExit(f"DISAGREEMENT: {told or f'{onnx.name} {prop.name}: {wrong}, known {expected}'}")
    text = summary(table.rows)
    (RESULTS / "crosscheck.md").write_text(text, encoding="utf-8")
    print(text)


def instances(data: Path, easiest: int | None) -> list[tuple[Path, Path, str]]:
    """Network, property, known verdict; all, or the fastest of the stored table."""
    with (data / "verdicts.csv").open(encoding="utf-8") as file:
        known = {(row["onnx"], row["vnnlib"]): row["verdict"] for row in csv.DictReader(file)}
    with (data / "instances.csv").open(encoding="utf-8") as file:
        listed = [(data / onnx, data / prop) for onnx, prop, _ in csv.reader(file)]
    found = [(onnx, prop, known[onnx.name, prop.name]) for onnx, prop in listed]
    if easiest is None:
        return found
    with (RESULTS / "verify_warm.csv").open(encoding="utf-8") as file:
        seconds = {(row["onnx"], row["vnnlib"]): float(row["seconds"]) for row in csv.DictReader(file)}
    found.sort(key=lambda one: seconds[one[0].name, one[1].name])
    return [one for word in ("unsat", "sat") for one in [x for x in found if x[2] == word][:easiest]]


def asked(onnx: Path, prop_path: Path, engines: Sequence[str], limit_s: float) -> tuple[EngineAnswer, ...]:
    """Our own answer, then the engines'."""
    loaded = load_network(onnx)
    prop = load_property(prop_path, loaded, "normalised")
    begun = time.monotonic()
    verdict = verify(loaded.net, prop, settings=SearchSettings(timeout_s=limit_s), replays=loaded.replays)
    spent = time.monotonic() - begun
    inquiry = Inquiry(loaded=loaded, prop=prop, verdict=verdict, timeout_s=limit_s, seed=0, watch=Unwatched())
    return cross_checked(inquiry, engines, spent)


def summary(rows: Sequence[dict[str, str]]) -> str:
    """Agreement by engine, then every answer, as Markdown."""
    lines = [
        "# ACAS Xu, the same question to several engines",
        "",
        (
            "Agree and differ: with the known verdict. A near miss is a point of the engine that does not violate when "
            "replayed. No violation: of replayed uniform points; it decides nothing. Seconds of answers that agree."
        ),
        "",
        (
            "| engine | limit, s | instances | agree | differ | near miss | no violation | not finished "
            "| refused, crashed | median s | slowest s |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups = sorted({(row["engine"], row["version"], row["limit_s"]) for row in rows})
    lines += [_of_engine(group, [r for r in rows if _group(r) == group]) for group in groups]
    listed = ["", provenance("OMP_NUM_THREADS=1 python -m benchmarks.acasxu.crosscheck")]
    listed += ["| network | property | known | engine | answer | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    listed += [
        f"| {short_name(r['onnx'])} | {Path(r['vnnlib']).stem} | {r['expected']} | {r['engine']} | {r['answer']} "
        f"| {float(r['seconds']):.2f} |"
        for r in rows
    ]
    return "\n".join([*lines, *listed, ""])


def _group(row: dict[str, str]) -> tuple[str, str, str]:
    return row["engine"], row["version"], row["limit_s"]


def _of_engine(group: tuple[str, str, str], rows: Sequence[dict[str, str]]) -> str:
    words = [row["answer"] for row in rows]
    agree = [row for row in rows if HOLDS.get(row["answer"]) == row["expected"]]
    differ = sum(HOLDS.get(row["answer"], row["expected"]) != row["expected"] for row in rows)
    differ += words.count("not_reproduced")
    seconds = [float(row["seconds"]) for row in agree]
    undone = sum(words.count(word) for word in ("timeout", "unknown", "interrupted"))
    broken = words.count("refused") + words.count("crash")
    cells = [len(rows), len(agree), differ, words.count("near_miss"), words.count("no_violation"), undone, broken]
    times = [f"{median(seconds):.2f}", f"{max(seconds):.1f}"] if seconds else ["-", "-"]
    return "| " + " | ".join([f"{group[0]} {group[1]}".strip(), group[2], *map(str, cells), *times]) + " |"


if __name__ == "__main__":
    main()
