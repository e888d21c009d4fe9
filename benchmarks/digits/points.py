"""Thirty wrong digits put right: ``python -m benchmarks.digits.points FOLDER [--timeout S]``.

A classifier of 300 images is to get 30 images right that it gets wrong: without a domain, with other labelled images
(``--data``), and on the box of all pixels. What is kept is counted on images that nothing else sees.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.digits.train import Images, split, train
from birdnn.formats import read_network
from birdnn.pipeline.repairing import repair_files
from birdnn.records import RepairRequest
from birdnn.sample import evaluate

FEW, WRONG = 300, 30


def main() -> None:
    """Repair the same points in three ways."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--timeout", type=float, default=150.0)
    options = arguments.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    training, more, held_out = split(0)
    net = folder / "digits.onnx"
    net.write_bytes(train(Images(training.x[:FEW], training.y[:FEW]), 0))
    rest = Images(torch.cat([training.x[FEW:], more.x]), torch.cat([training.y[FEW:], more.y]))
    wrong = (evaluate(read_network(net), rest.x).argmax(1) != rest.y).nonzero()[:WRONG, 0]
    with (folder / "fixes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"x_{i}" for i in range(rest.x.shape[1])), "decision"])
        rows.writerows([*map(repr, rest.x[i].tolist()), int(rest.y[i])] for i in wrong)
    np.savez(folder / "others.npz", x=rest.x.numpy(), y=rest.y.numpy())
    np.savez(folder / "held_out.npz", x=held_out.x.numpy(), y=held_out.y.numpy())
    (folder / "box.toml").write_text(f"lower = {[0.0] * 64}\nupper = {[1.0] * 64}\n")
    ways: dict[str, dict[str, Any]] = {
        "nothing": {},
        "data": {"data": folder / "others.npz"},
        "domain": {"domain": folder / "box.toml"},
    }
    for name, way in ways.items():
        request = RepairRequest(
            net=net,
            points=(folder / "fixes.csv",),
            decision="argmax",
            test=folder / "held_out.npz",
            out=folder / name,
            timeout_s=options.timeout,
            **way,
        )
        report = repair_files(request)
        moved = max((entry.linf for entry in report.change.values()), default=0.0)
        print(f"{name}: values moved by at most {moved:.3g}\n  {report.headline}", flush=True)


if __name__ == "__main__":
    main()
