"""Monotonic ACAS Xu: ``python -m benchmarks.relational.monotonic --seed 0``.

On a region of each network, drawn by the seed: where rho (input 0) grows and all else stays, the cost of SL (output 3)
must not fall. That is a query of VNN-LIB 2.0 about one network at two inputs (`equal-to`), as VNN-COMP 2026 asks them.
The regions are those that a public script draws with the same seed, behind its pairs of networks.

The networks are not part of the project: ``--data``, or ``BIRDNN_ACASXU``, names a folder with ``onnx/*.onnx``.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.common import Table, provenance, stamp
from benchmarks.relational.pairs import DATA, PAIRS, RESULTS, decided, networks, noisy
from birdnn.bounds.compiled.bound import prepare
from birdnn.formats.relation_text import monotone_query

COLUMNS = "seed", "net", "verdict", "boxes", "wall_s", "solve_s", "reason"
_LOWER = (-0.328422877, -0.499999896, -0.499999896, -0.5, -0.5)
_UPPER = (0.679857769, 0.499999896, 0.499999896, 0.5, 0.5)
_WIDTHS = (0.3, 0.2, 0.2, 0.0, 0.0)
"""Of the domain, of which each region is so much."""


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=DATA, help="folder with the networks")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--timeout", type=float, default=100.0, metavar="S")
    options = arguments.parse_args()
    nets = networks(options.data, arguments)
    prepare()  # compiles what is compiled once and kept
    table = Table(RESULTS / "monotonic.csv", COLUMNS, ("seed", "net"))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for net, query in zip(nets, queries(nets, options.seed, folder), strict=True):
            (folder / "query.vnnlib").write_text(query, encoding="utf-8")
            if not table.has(seed=str(options.seed), net=net.stem):
                found = decided({"f": net}, folder, options.timeout)
                table.add({"seed": str(options.seed), "net": net.stem, **found, **stamp()})
                print(net.stem, *found.values(), flush=True)
    text = summary(table.rows)
    (RESULTS / "monotonic.md").write_text(text, encoding="utf-8")
    print(text)


def queries(nets: list[Path], seed: int, folder: Path) -> list[str]:
    """The query of each network; ``folder`` is for what is drawn before."""
    rng = np.random.default_rng(seed)
    for _ in range(PAIRS):  # the draws of the pairs come first
        noisy(nets[rng.integers(len(nets))], folder / "copy.onnx", 0.001, rng)
    return [monotone_query(region(rng), 5, 0, 3) for _ in nets]


def region(rng: np.random.Generator) -> list[tuple[float, float]]:
    """The next region."""
    centre = [rng.uniform(a, b) for a, b in zip(_LOWER, _UPPER, strict=True)]
    half = [0.5 * w * (b - a) for a, b, w in zip(_LOWER, _UPPER, _WIDTHS, strict=True)]
    return [
        (round(max(a, c - h), 9), round(min(b, c + h), 9))
        for a, b, c, h in zip(_LOWER, _UPPER, centre, half, strict=True)
    ]


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """What was answered, and how long it took."""
    words = Counter(row["verdict"] for row in rows)
    seconds = [float(row["wall_s"]) for row in rows]
    told = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    median = statistics.median(seconds)
    lines = [
        "# Does the cost of a strong left turn never fall as the distance grows?",
        "",
        provenance("python -m benchmarks.relational.monotonic --seed 0", "Seed as listed"),
        f"{len(rows)} networks: {told}. Whole commands: median {median:.1f} s, at most {max(seconds):.1f} s.",
        "",
        "| network | verdict | boxes | s |",
        "| --- | --- | ---: | ---: |",
        *(f"| {row['net']} | {row['verdict']} | {row['boxes']} | {row['wall_s']} |" for row in rows),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
