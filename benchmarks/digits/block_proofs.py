"""Does repair by blocks make local robustness more provable: ``python -m benchmarks.digits.block_proofs WORK``.

WORK is where `benchmarks.digits.corruption --work WORK` left its networks. Around test images that the network before
reads right, a box of radius `eps` is bounded once by auto_LiRPA (CROWN, float64): *proved* where no other class can
win. The same boxes for every network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.corruption import GOALS, SEEDS, place
from benchmarks.digits.residual import SIZES
from benchmarks.digits.robustness import HARD, RESULTS, written
from benchmarks.digits.train import split
from birdnn.crosscheck.auto_lirpa import AutoLirpaBound, AutoLirpaSettings
from birdnn.network import Network
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved, Violated
from birdnn.verify import SearchSettings, verify

FILES = {"before": "digits.onnx", "blocks": "out/digits.repaired.onnx", "network": "out/digits.network.onnx"}
EPS = "0.01", "0.015", "0.02"
KEY = "goal", "size", "seed", "eps", "method"
COLUMNS = (*KEY, "images", "proved", "violated", "seconds")


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    arguments.add_argument("--eps", nargs="+", choices=EPS, default=EPS)
    arguments.add_argument("--goals", nargs="+", choices=GOALS, default=GOALS)
    arguments.add_argument("--images", type=int, default=5)
    options = arguments.parse_args()
    table = Table(RESULTS / "block_proofs.csv", COLUMNS, KEY)
    for goal, size, seed, eps, method in product(options.goals, options.sizes, SEEDS, options.eps, FILES):
        key = {"goal": goal, "size": size, "seed": str(seed), "eps": eps, "method": method}
        folder = place(options.work, key)
        if table.has(**key) or not (folder / FILES[method]).exists():
            continue
        mark = stamp()
        table.add({**key, "images": options.images, **run(folder, seed, eps, method, options.images), **mark})
        print(*key.values(), flush=True)
    text = summary(Table(table.path, COLUMNS, table.key).rows)
    (RESULTS / "block_proofs.md").write_text(text, encoding="utf-8")
    print(text)


def run(folder: Path, seed: int, eps: str, method: str, images: int) -> dict[str, object]:
    """One network: a row without its key."""
    _, _, test = split(seed)
    loaded = load_network(folder / FILES[method])
    made = AutoLirpaBound(loaded.net, torch.device("cpu"), AutoLirpaSettings(optimise=0))

    def bound(net: Network, settings: SearchSettings) -> AutoLirpaBound:
        del net, settings
        return made

    begun, proved, violated = time.monotonic(), 0, 0
    with TemporaryDirectory() as scratch:
        before = load_network(folder / FILES["before"]).net
        for path in written(Path(scratch) / "props", before, test, eps, images):
            asked = load_property(path, loaded, "normalised")
            limits = SearchSettings(max_boxes=1, batch=1, attack=HARD)
            verdict = verify(loaded.net, asked, settings=limits, replays=loaded.replays, bound=bound)
            proved += isinstance(verdict, Proved)
            violated += isinstance(verdict, Violated)
    return {"proved": proved, "violated": violated, "seconds": f"{time.monotonic() - begun:.1f}"}


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """The table, as Markdown."""
    lines = [
        "# Local robustness before and after repair by labelled examples",
        "",
        (
            "Boxes of radius eps around test images that the network before reads right: proved by one bound of "
            "auto_LiRPA (CROWN), violated by a point that an attack found, of so many over all seeds; fewer boxes "
            "where a repair found nothing and wrote no network."
        ),
        "",
        "| goal | size | eps | network | proved | violated | boxes | s for one |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for goal, size, eps, method in product(GOALS, SIZES, EPS, FILES):
        mine = [row for row in rows if [row[n] for n in ("goal", "size", "eps", "method")] == [goal, size, eps, method]]
        if mine:
            proved, violated, images = (
                sum(int(row[name]) for row in mine) for name in ("proved", "violated", "images")
            )
            each = mean(float(row["seconds"]) / int(row["images"]) for row in mine)
            lines.append(f"| {goal} | {size} | {eps} | {method} | {proved} | {violated} | {images} | {each:.2f} |")
    command = "OMP_NUM_THREADS=1 python -m benchmarks.digits.block_proofs WORK"
    return "\n".join([*lines, "", provenance(command, f"Seeds {', '.join(sorted({row['seed'] for row in rows}))}")])


if __name__ == "__main__":
    main()
