"""Is a damaged block found: ``python -m benchmarks.digits.blocks``.

Residual classifiers of two sizes, five seeds each. In each of 100 cases the convolutions of one block are damaged, by
noise or by channels that change places, until a share of the test images is read wrong; `localize --blocks` is asked,
with all failing examples and, in the first 10 cases, with few. The rank of the damaged block is what counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from statistics import mean

import torch

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.damage import DAMAGE, mutant
from benchmarks.digits.residual import SIZES, train
from benchmarks.digits.robustness import RESULTS
from benchmarks.digits.train import Images, split
from birdnn.blocks import partition
from birdnn.formats.onnx import network_from_onnx
from birdnn.localize import SpectrumSettings, localize_blocks
from birdnn.network import Network
from birdnn.records import FORMULAS

CASES, WITH_FEW, SEEDS = 100, 10, 5
COUNTS = 1, 5, 20, 100
AIM = 0.08, 0.25
RADIUS = 0.01
KEY = "case", "formula"
COLUMNS = (*KEY, "size", "seed", "block", "kind", "strength", "share", "blocks", *(f"rank_{n}" for n in COUNTS), "rank",
           "seconds")  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=CASES)
    arguments.add_argument("--formula", choices=FORMULAS, default="ochiai")
    options = arguments.parse_args()
    table = Table(RESULTS / "blocks.csv", COLUMNS, KEY)
    nets: dict[tuple[str, int], Network] = {}
    for case in range(options.cases):
        if not table.has(case=str(case), formula=options.formula):
            mark = stamp()
            row = run(case, options.formula, nets)
            table.add({"case": case, "formula": options.formula, **row, **mark})
            print(f"case {case}: {row['kind']} in {row['block']}, rank {row['rank']}", flush=True)
    text = summary(Table(table.path, COLUMNS, table.key).rows)
    (RESULTS / "blocks.md").write_text(text, encoding="utf-8")
    print(text)


def run(case: int, formula: str, nets: dict[tuple[str, int], Network]) -> dict[str, object]:
    """One damaged network: a row without its key."""
    size, seed = tuple(SIZES)[case % len(SIZES)], (case // len(SIZES)) % SEEDS
    training, some, test = split(seed)
    if (size, seed) not in nets:
        nets[size, seed] = network_from_onnx(train(training, seed, SIZES[size]))
    net = nets[size, seed]
    blocks = [block for block in partition(net) if block.convolutions]
    number = case // (len(SIZES) * SEEDS)
    block, kind = blocks[(case // len(SIZES) + number) % len(blocks)], tuple(DAMAGE)[number % len(DAMAGE)]
    images = Images(torch.cat([some.x, test.x]), torch.cat([some.y, test.y]))

    def failing(other: Network) -> float:
        with torch.no_grad():
            return 1 - float((other(test.x).argmax(1) == test.y).double().mean())

    bad, strength = mutant(net, block, kind, case, failing, AIM)
    with torch.no_grad():
        right = bad(images.x).argmax(1) == images.y
    begun = time.monotonic()
    row: dict[str, object] = {"rank": rank(bad, images, block.name, formula, case)}
    row["seconds"] = f"{time.monotonic() - begun:.1f}"
    order = (~right).nonzero()[:, 0][torch.randperm(int((~right).sum()), generator=torch.Generator().manual_seed(case))]
    for count in COUNTS if case < WITH_FEW else ():
        keep = torch.cat([order[:count], right.nonzero()[:, 0]])
        few = Images(images.x[keep], images.y[keep])
        row[f"rank_{count}"] = rank(bad, few, block.name, formula, case) if len(order) >= count else ""
    row = dict.fromkeys((f"rank_{count}" for count in COUNTS), "") | row
    facts = {"size": size, "seed": seed, "block": block.name, "kind": kind, "strength": f"{strength:.3g}"}
    return {**facts, "share": f"{float((~right).double().mean()):.3f}", "blocks": len(blocks), **row}


def rank(net: Network, images: Images, name: str, formula: str, seed: int) -> int:
    """Of a block among those that are judged."""
    settings = SpectrumSettings(formula=formula, radius=RADIUS)
    found = localize_blocks(net, partition(net), images.x, images.y, settings=settings, seed=seed)
    return 1 + [entry.name for entry in found.ranking()].index(name)


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The tables, as Markdown."""
    lines = [
        "# Is a damaged block found?",
        "",
        (
            "Residual classifiers of scikit-learn's digits. One block is damaged until, where that can be had, between "
            f"{AIM[0]:.0%} and {AIM[1]:.0%} of the test images are read wrong. Share of cases in which it ranks first, "
            "with so many failing examples at most (and their adversarial neighbours; the first 10 cases), in which it "
            "is among the first two, which `repair --method blocks` tries, and its mean rank."
        ),
        "",
        "| formula | cases | failing | first | by chance | among the first two | mean rank |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for formula in dict.fromkeys(row["formula"] for row in rows):
        mine = [row for row in rows if row["formula"] == formula]
        for count in (*map(str, COUNTS), "all"):
            column = "rank" if count == "all" else f"rank_{count}"
            lines.append(f"| {formula} | {_line([row for row in mine if row[column]], column, count)} |")
        for kind in DAMAGE:
            some = [row for row in mine if row["kind"] == kind]
            lines.append(f"| {formula} | {_line(some, 'rank', f'all, {kind}')} |")
        for stem in (True, False):
            some = [row for row in mine if (row["block"] == "stem") == stem]
            where = "in the stem" if stem else "elsewhere"
            lines.append(f"| {formula} | {_line(some, 'rank', f'all, {where}')} |")
    command = "OMP_NUM_THREADS=1 python -m benchmarks.digits.blocks"
    return "\n".join([*lines, "", provenance(command, f"Seeds 0 to {SEEDS - 1}, and the case's number")])


def _line(rows: Sequence[Mapping[str, str]], column: str, count: str) -> str:
    if not rows:
        return f"0 | {count} | | | |"
    ranks = [int(row[column]) for row in rows]
    first, two = (100 * mean(value <= most for value in ranks) for most in (1, 2))
    chance = 100 * mean(1 / int(row["blocks"]) for row in rows)
    return f"{len(rows)} | {count} | {first:.0f} % | {chance:.0f} % | {two:.0f} % | {mean(ranks):.2f}"


if __name__ == "__main__":
    main()
