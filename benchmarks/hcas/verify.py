"""Our properties of HorizontalCAS and VerticalCAS: ``python -m benchmarks.hcas.verify``.

Every property of the suites on every controller that it is meant for, in one process. The seconds are those of this
process on the processor, so that they mean the same on a busy machine.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from benchmarks.common import Table, provenance, stamp
from benchmarks.hcas.common import RESULTS, arguments, controllers
from birdnn.formats.suite import Suite
from birdnn.pipeline.deciding import verify_files
from birdnn.records import VerifySettings, competition_word

COLUMNS = ("net", "property", "verdict", "cpu_s", "boxes")
WORDS = "unsat", "sat", "unknown", "timeout"


def main() -> None:
    """Run what is missing, then write the summary."""
    parser = arguments(__doc__)
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds for each property")
    options = parser.parse_args()
    table = Table(RESULTS / "verify.csv", COLUMNS, ("net", "property"))
    for controller in controllers(options.data):
        for prop in controller.props:
            if not table.has(net=controller.name, property=prop.stem):
                row = asked(controller.path, prop, options.timeout)
                table.add({"net": controller.name, "property": prop.stem, **row, **stamp()})
    text = summary(table.rows)
    (RESULTS / "verify.md").write_text(text, encoding="utf-8")
    print(text)


def asked(net: Path, prop: Path, timeout_s: float) -> dict[str, object]:
    """One property of one controller, as a row."""
    begun = time.process_time()
    settings = VerifySettings(timeout_s=timeout_s, semantics="float32")
    (answer,) = verify_files(net, [prop], settings=settings).verdicts
    seconds = time.process_time() - begun
    return {
        "verdict": competition_word(answer.verdict),
        "cpu_s": f"{seconds:.2f}",
        "boxes": answer.verdict.boxes,
    }


def summary(rows: list[dict[str, str]]) -> str:
    """What holds where, as Markdown."""
    found = Counter(row["verdict"] for row in rows)
    seconds = sorted(float(row["cpu_s"]) for row in rows)
    counts = f"{found['unsat']} hold, {found['sat']} are violated, {found['unknown'] + found['timeout']} undecided"
    suites = [Suite.load(name) for name in ("hcas", "vcas")]
    total = sum(len(entry.applicable) for suite in suites for entry in suite.entries)
    lines = [
        "# HorizontalCAS and VerticalCAS: verification",
        "",
        (
            f"{len(rows)} of {total} questions, proofs for the networks as executed in float32: {counts}. "
            f"Processor seconds: sum {sum(seconds):.0f}, median {seconds[len(seconds) // 2]:.2f}, "
            f"slowest {seconds[-1]:.1f}."
        ),
        "",
        provenance("OMP_NUM_THREADS=1 python -m benchmarks.hcas.verify"),
        "| property | says | networks | hold | violated by | undecided | slowest s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, text in (pair for suite in suites for pair in suite.texts.items()):
        mine = [row for row in rows if row["property"] == name]
        lists = [", ".join(r["net"] for r in mine if r["verdict"] in words) for words in (WORDS[1:2], WORDS[2:])]
        hold = sum(row["verdict"] == "unsat" for row in mine)
        slowest = max((float(row["cpu_s"]) for row in mine), default=0.0)
        lines.append(
            f"| {name} | {text} | {len(mine)} | {hold} | {lists[0] or '-'} | {lists[1] or '-'} | {slowest:.1f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
