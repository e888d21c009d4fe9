"""Local robustness of a convolutional classifier: ``python -m benchmarks.digits.convolution``.

As `benchmarks.digits.robustness`, with a network of two convolutions. Every neighbourhood is decided twice, on our
bounds, which fold the convolutions into dense matrices, and on those of auto_LiRPA, which keep them; a contradiction
ends the campaign.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.robustness import HARD, RESULTS, SETS, WORDS, repaired
from benchmarks.digits.train import BATCH, EPOCHS, RATE, Images
from birdnn.pipeline.crosschecking import decided_by, require_engines
from birdnn.pipeline.load import Loaded, load_property
from birdnn.records import BoundName, Proved, Unwatched, Violated
from birdnn.verify import SearchSettings

CHANNELS = 8, 16
BOUNDS: dict[BoundName, int] = {"own": 4096, "auto_lirpa": 8}
"""Whose bounds -> boxes examined for one proof at most. Alpha-CROWN at the root does more than bisecting 64 inputs."""

COLUMNS = (
    "eps", "seed", "images", *(f"{name}_{bound}_{word}_{when}" for name in SETS for when in ("before", "after")
    for bound in BOUNDS for word in WORDS), *(f"{bound}_s" for bound in BOUNDS), "accuracy_before", "accuracy_after",
    "agreement", "outcome", "rounds", "repair_s",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--eps", default="0.03")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--images", type=int, default=20)
    options = arguments.parse_args()
    require_engines(["auto_lirpa"])
    table = Table(RESULTS / "convolution.csv", COLUMNS, ("eps", "seed", "images"))
    key = {"eps": options.eps, "seed": str(options.seed), "images": str(options.images)}
    if not table.has(**key):
        mark = stamp()
        with TemporaryDirectory() as scratch:
            table.add({**key, **run(Path(scratch), options.eps, options.seed, options.images), **mark})
    text = summary(table.rows)
    (RESULTS / "convolution.md").write_text(text, encoding="utf-8")
    print(text)


def run(folder: Path, eps: str, seed: int, images: int) -> dict[str, object]:
    """Train, repair and measure once, with files in ``folder``: a row of the table without its key."""
    done = repaired(folder, train, eps, seed, images, samples=1000)
    row: dict[str, object] = {"outcome": done.outcome.result, **done.figures}
    spent: dict[BoundName, float] = dict.fromkeys(BOUNDS, 0.0)
    for name, (when, which) in ((n, w) for n in SETS for w in done.states.items()):
        words = {}
        for bound in BOUNDS:
            begun = time.monotonic()
            words[bound] = decided(which, done.props[name], bound)
            spent[bound] += time.monotonic() - begun
            row |= {f"{name}_{bound}_{word}_{when}": words[bound].count(word) for word in WORDS}
        if any({a, b} == {"proved", "violated"} for a, b in zip(*words.values(), strict=True)):
            raise SystemExit(f"DISAGREEMENT: {name} {when} the repair: {words}")
    return row | {f"{bound}_s": f"{seconds:.1f}" for bound, seconds in spent.items()}


def train(images: Images, seed: int) -> bytes:
    """An ONNX file: two convolutions of 3 x 3 with stride 2 and ReLU, and a dense layer; logits as outputs."""
    generator = torch.Generator().manual_seed(seed)
    first, second = CHANNELS
    layers = [nn.Conv2d(1, first, 3, 2, 1), nn.Conv2d(first, second, 3, 2, 1), nn.Linear(second * 4, 10)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), nn.Flatten(), layers[2])
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for part in torch.split(torch.randperm(len(images), generator=generator), BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images.x[part].reshape(-1, 1, 8, 8)), images.y[part]).backward()
            optimiser.step()
    return to_onnx(layers)


def to_onnx(layers: Sequence[nn.Conv2d | nn.Linear]) -> bytes:
    """The trained layers as a file."""
    shape = {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["X", "K0", "C0"], ["a"], **shape),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "K1", "C1"], ["c"], **shape),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "W", "B"], ["Y"], transB=1),
    ]
    names = [("K0", "C0"), ("K1", "C1"), ("W", "B")]
    tensors = [
        numpy_helper.from_array(value.detach().numpy(), name)
        for layer, pair in zip(layers, names, strict=True)
        for value, name in zip((layer.weight, layer.bias), pair, strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["N", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def decided(loaded: Loaded, paths: Sequence[Path], bound: BoundName) -> list[str]:
    """One word for each property, all with the same limits."""
    found, limits = [], SearchSettings(max_boxes=BOUNDS[bound], attack=HARD, batch=1 if bound != "own" else None)
    for path in paths:
        verdict = decided_by(bound, loaded, load_property(path, loaded, "normalised"), limits, Unwatched())
        proved = "proved" if isinstance(verdict, Proved) else "unknown"
        found.append("violated" if isinstance(verdict, Violated) else proved)
    return found


def summary(rows: Sequence[dict[str, str]]) -> str:
    """The table, as Markdown: one line for each row and engine."""
    lines = [
        "# Repair of local robustness of a convolutional classifier",
        "",
        (
            f"Scikit-learn's digits; Conv 3 x 3 ({CHANNELS[0]} channels, stride 2), ReLU, Conv 3 x 3 ({CHANNELS[1]}, "
            "stride 2), ReLU, Flatten, Gemm. Proved / violated / unknown around correctly classified images of those "
            f"for repair and, not repaired, of test images; at most {BOUNDS['own']:,} boxes on our bounds, "
            f"{BOUNDS['auto_lirpa']} on those of auto_LiRPA (CROWN, alpha-CROWN on single boxes). Accuracy and "
            "agreement on 500 test images. Seconds of all proofs by an engine, both sets, before and after."
        ),
        "",
        (
            "| eps | seed | images | bounds | repair set before | after | held out before | after | proofs, s "
            "| accuracy before | after | agreement | repair, s |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        for bound in BOUNDS:
            cells = [row["eps"], row["seed"], row["images"], bound]
            cells += [
                " / ".join(row[f"{name}_{bound}_{word}_{when}"] for word in WORDS)
                for name in SETS
                for when in ("before", "after")
            ]
            cells += [
                row[f"{bound}_s"],
                *(row[n] for n in ("accuracy_before", "accuracy_after", "agreement", "repair_s")),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    seeds = f"Seeds {', '.join(sorted({row['seed'] for row in rows}, key=int))}"
    return "\n".join([*lines, "", provenance("OMP_NUM_THREADS=1 python -m benchmarks.digits.convolution", seeds)])


if __name__ == "__main__":
    main()
