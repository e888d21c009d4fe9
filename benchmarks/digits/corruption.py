"""Repair by blocks and by what it is compared with: ``python -m benchmarks.digits.corruption``.

Two goals, two sizes, five seeds. *corrupted*: a classifier of clean digits is to read spoilt ones, too; it learns from
severities 2 and 4 and is measured on 1, 3 and 5, of other images. *misclassified*: a classifier that was trained on
few digits is to read others right. Every method sees the same examples and validation
examples, and is trained for the same number of epochs; the search comes on top for blocks, and *network longer* is
trained for as many seconds. The networks are left in the folder `--work`, for `benchmarks.digits.block_proofs`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.corruptions import CORRUPTIONS, SEVERITIES, corrupted, spoilt
from benchmarks.digits.file import SIDE
from benchmarks.digits.residual import SIZES, train
from benchmarks.digits.robustness import RESULTS
from benchmarks.digits.train import Images, split
from birdnn.formats import read_network
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.records import BlockRequest, MethodResult, RepairRequest
from birdnn.sample import evaluate

GOALS, SEEDS = ("corrupted", "misclassified"), range(5)
SEEN, HELD_OUT = (2, 4), (1, 3, 5)
FOR_LEARNING, FEW, EPOCHS = 150, 200, 20
METHODS = "before", "blocks", "block weights", "layer", "network", "network longer", "imitation"
KEY = "goal", "size", "seed", "method"
COLUMNS = (
    *KEY, "clean", "held_out", "seen", *CORRUPTIONS, "agreement", "mae", "values", "epochs", "seconds", "block",
    "architecture",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--goals", nargs="+", choices=GOALS, default=GOALS)
    arguments.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    arguments.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    arguments.add_argument("--epochs", type=int, default=EPOCHS)
    arguments.add_argument("--work", type=Path, help="folder for the networks; default: one that is deleted")
    options = arguments.parse_args()
    table = Table(RESULTS / "corruption.csv", COLUMNS, KEY)
    for seed, size, goal in product(options.seeds, options.sizes, options.goals):
        key = {"goal": goal, "size": size, "seed": str(seed)}
        missing = [method for method in METHODS if not table.has(**key, method=method)]
        if not missing:
            continue
        begun, mark = time.monotonic(), stamp()
        with TemporaryDirectory() as scratch:
            rows = list(run(place(options.work or Path(scratch), key), key, options.epochs))
        for row in rows:
            if row["method"] in missing:
                table.add({**key, **row, **mark})
        print(f"{goal} {size} seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)
    text = summary(Table(table.path, COLUMNS, table.key).rows)
    (RESULTS / "corruption.md").write_text(text, encoding="utf-8")
    print(text)


def place(work: Path, key: Mapping[str, str]) -> Path:
    """Where the networks of one repair lie: `digits.onnx`, and in `out` what was made of it."""
    return work / "_".join((key["goal"], key["size"], key["seed"]))


def run(folder: Path, key: Mapping[str, str], epochs: int) -> Iterator[dict[str, object]]:
    """Train, repair and measure once: a row for each method, without the rest of its key."""
    folder.mkdir(parents=True, exist_ok=True)
    goal, size, seed = key["goal"], key["size"], int(key["seed"])
    training, some, test = split(seed)
    learn = Images(some.x[:FOR_LEARNING], some.y[:FOR_LEARNING])
    check = Images(some.x[FOR_LEARNING:], some.y[FOR_LEARNING:])
    if goal == "corrupted":
        learn, check = spoilt(learn, SEEN, seed), spoilt(check, SEEN, seed + 1)
    else:
        training = Images(training.x[:FEW], training.y[:FEW])
    net = folder / "digits.onnx"
    net.write_bytes(train(training, seed, SIZES[size]))
    files = {name: stored(folder / f"{name}.npz", part) for name, part in (("data", learn), ("val", check))}
    asked = BlockRequest(**files, epochs=epochs, compare=True)
    request = RepairRequest(net=net, method="blocks", blocks=asked, out=folder / "out", seed=seed, decision="argmax")
    outcome = repair_blocks(request)
    made = {entry.name: entry for entry in outcome.blocks.methods}
    places = {name: Path(entry.out) for name, entry in made.items() if entry.out is not None} | {"before": net}
    for method in METHODS:
        yield {
            "method": method,
            **measured(places.get(method, net), test, seed + 2),
            **told(made.get(method)),
            "block": outcome.blocks.block,
        }


def stored(path: Path, images: Images) -> Path:
    """A file of labelled examples."""
    np.savez(path, x=images.x.reshape(-1, 1, SIDE, SIDE).numpy(), y=images.y.numpy())
    return path


def measured(path: Path, test: Images, seed: int) -> dict[str, str]:
    """Accuracies on test images: clean, by kind over held-out severities, and over those learnt from."""
    net = read_network(path).float()

    def accuracy(name: str, severity: int) -> float:
        x = corrupted(test.x, name, severity, seed)
        return float((evaluate(net, x).argmax(1) == test.y).double().mean())

    every = {name: {severity: accuracy(name, severity) for severity in SEVERITIES} for name in CORRUPTIONS}
    held_out = {name: mean(found[severity] for severity in HELD_OUT) for name, found in every.items()}
    figures = {
        "clean": float((evaluate(net, test.x).argmax(1) == test.y).double().mean()),
        "held_out": mean(held_out.values()),
        "seen": mean(found[severity] for found in every.values() for severity in SEEN),
        **held_out,
    }
    return {name: f"{value:.4f}" for name, value in figures.items()}


def told(entry: MethodResult | None) -> dict[str, object]:
    """What the repair says of a method; nothing of the network before."""
    if entry is None:
        return dict.fromkeys(("agreement", "mae", "values", "epochs", "seconds", "architecture"), "")
    return {
        "agreement": f"{entry.decision_agreement:.4f}",
        "mae": f"{entry.mae:.4g}",
        "values": entry.values,
        "epochs": entry.epochs,
        "seconds": f"{entry.seconds:.1f}",
        "architecture": " ".join(entry.architecture.values()),
    }


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The tables, as Markdown: mean and spread over the seeds."""
    lines = [
        "# Repair of digit classifiers by labelled examples",
        "",
        (
            f"Scikit-learn's digits; residual classifiers of two sizes ({_sizes()}). Accuracy in % on 500 test images, "
            f"mean ± standard deviation over seeds. corrupted: learnt from {FOR_LEARNING} images, clean and spoilt in "
            f"eight ways of severities {SEEN[0]} and {SEEN[1]}; held out: severities 1, 3 and 5. misclassified: learnt "
            f"from {FOR_LEARNING} plain images by a classifier that was trained on {FEW}. The same examples, validation"
            " examples, loss and epochs for all methods; the choice between two blocks, the search and the trial of "
            "architectures come on top for blocks, as their time tells; network longer has as many epochs as fit in "
            "that time. Judging how suspicious blocks are is not in it."
        ),
    ]
    for goal in GOALS:
        for size in SIZES:
            found = [row for row in rows if row["goal"] == goal and row["size"] == size]
            if found:
                lines += ["", f"## {goal}, {size}", "", *_table(found), "", *_differences(found)]
    seeds = f"Seeds {', '.join(sorted({row['seed'] for row in rows}, key=int))}"
    return "\n".join([*lines, "", provenance("OMP_NUM_THREADS=1 python -m benchmarks.digits.corruption", seeds)])


def _sizes() -> str:
    return "; ".join(f"{name}: {', '.join(map(str, channels))} channels" for name, channels in SIZES.items())


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    columns = ["clean", "held_out", "seen", *CORRUPTIONS]
    head = ["method", *(name.replace("_", " ") for name in columns), "agreement", "s"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method]
        cells = [method, *(_spread([100 * float(row[name]) for row in mine]) for name in columns)]
        for name, factor in (("agreement", 100.0), ("seconds", 1.0)):
            cells.append(_spread([factor * float(row[name]) for row in mine if row[name]]))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _differences(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Blocks less each other method, seed by seed: the spread of the seeds themselves is not in it."""
    lines = ["| blocks less | clean | held out | seeds in which blocks read more held-out images |", "| --- " * 4 + "|"]
    ours = {row["seed"]: row for row in rows if row["method"] == "blocks"}
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method != "blocks" and row["seed"] in ours]
        gains = {
            name: [100 * (float(ours[row["seed"]][name]) - float(row[name])) for row in mine]
            for name in ("clean", "held_out")
        }
        if mine:
            cells = [method, *(_spread(gain) for gain in gains.values())]
            better = sum(gain > 0 for gain in gains["held_out"])
            lines.append("| " + " | ".join([*cells, f"{better} of {len(mine)}"]) + " |")
    return lines


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


if __name__ == "__main__":
    main()
