"""Classifiers of digits by attention: ``python -m benchmarks.digits.attention``.

Patches of 4 x 4 pixels, blocks of self-attention and of two dense layers with residual joins, with or without layer
normalisation before each, the mean over patches, a dense layer. For each kind and radius the neighbourhoods of test
images that are classified correctly are decided: by planes around the parts of matrix products, softmax and layer
normalisation (`birdnn.bounds.expansion`), and by intervals of these operators alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.file import SIDE, File, fit
from benchmarks.digits.robustness import written
from benchmarks.digits.train import Images, split
from birdnn.bounds import expansion
from birdnn.pipeline.load import Loaded, load_network, load_property
from birdnn.records import Proved, Violated
from birdnn.sample import evaluate
from birdnn.verify import AttackSettings, SearchSettings, verify

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = "kind", "eps", "seed", "images", "bounds", "proved", "violated", "unknown", "boxes", "seconds", "accuracy"
EPS, IMAGES, SEED, BOXES = ("0.005", "0.01", "0.02", "0.03"), 20, 0, 64
EPOCHS = 60
PATCH = 4
TOKENS = (SIDE // PATCH) ** 2


@dataclass(frozen=True, slots=True)
class Size:
    """Of a classifier.

    Attributes:
        depth, width, heads: blocks, numbers of a token, and attentions of each block.
        normalised: is there a layer normalisation before each part of a block?
    """

    depth: int
    width: int
    heads: int
    normalised: bool


KINDS: Mapping[str, Size] = {
    "one block": Size(1, 16, 2, normalised=False),
    "two blocks": Size(2, 16, 2, normalised=False),
    "one block, layer normalisation": Size(1, 16, 2, normalised=True),
}


class Block(nn.Module):
    """Self-attention and two dense layers, and what goes around each."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, self.heads = size.width, size.heads
        self.norm1 = nn.LayerNorm(width) if size.normalised else None
        self.norm2 = nn.LayerNorm(width) if size.normalised else None
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> the same."""
        y = x if self.norm1 is None else self.norm1(x)
        query, key, value = (
            layer(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[3]), 3)
        x = x + self.out((weights @ value).transpose(1, 2).flatten(2))
        y = x if self.norm2 is None else self.norm2(x)
        out: Tensor = x + self.down(torch.relu(self.up(y)))
        return out


class Classifier(nn.Module):
    """The network that is trained: images (n, 1, 8, 8) -> logits (n, 10)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size, self.patches = size, nn.Conv2d(1, size.width, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(1, TOKENS, size.width))
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.depth))
        self.head = nn.Linear(size.width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x.mean(1))
        return out


def train(images: Images, seed: int, size: Size, epochs: int = EPOCHS) -> bytes:
    """An ONNX file of a classifier trained on some images."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Classifier(size)
    fit(model, images, seed, epochs)
    return to_onnx(model.eval())


def to_onnx(model: Classifier) -> bytes:
    """The trained classifier as a file."""
    file, width, heads = File(), model.size.width, model.size.heads

    def dense(scope: str, value: str, layer: nn.Linear) -> str:
        weight, bias = file.tensor(f"{scope}.weight", layer.weight.T), file.tensor(f"{scope}.bias", layer.bias)
        return file.node("Add", scope, [file.node("MatMul", scope, [value, weight]), bias])

    def normalised(scope: str, value: str, layer: nn.LayerNorm | None) -> str:
        if layer is None:
            return value
        numbers = [file.tensor(f"{scope}.{name}", getattr(layer, name)) for name in ("weight", "bias")]
        return file.node("LayerNormalization", scope, [value, *numbers], axis=-1, epsilon=layer.eps)

    def shaped(scope: str, value: str, *shape: int) -> str:
        return file.node("Reshape", scope, [value, file.tensor(f"{scope}.shape", torch.tensor(shape))])

    def head(scope: str, value: str, layer: nn.Linear, perm: Sequence[int]) -> str:
        split_ = shaped(f"{scope}/heads", dense(scope, value, layer), -1, TOKENS, heads, width // heads)
        return file.node("Transpose", f"{scope}/heads", [split_], perm=perm)

    x = file.convolution("/patches", "X", model.patches, None)
    x = file.node("Transpose", "/patches", [shaped("/patches", x, -1, width, TOKENS)], perm=[0, 2, 1])
    x = file.node("Add", "/places", [x, file.tensor("places", model.places)])
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        name = f"/block{index}"
        y = normalised(f"{name}/norm1", x, block.norm1)
        query = head(f"{name}/query", y, block.query, [0, 2, 1, 3])
        key = head(f"{name}/key", y, block.key, [0, 2, 3, 1])
        root = file.tensor(f"{name}.root", torch.tensor(math.sqrt(width // heads)))
        scores = file.node("Div", f"{name}/scores", [file.node("MatMul", f"{name}/scores", [query, key]), root])
        weights = file.node("Softmax", f"{name}/weights", [scores], axis=-1)
        value = head(f"{name}/value", y, block.value, [0, 2, 1, 3])
        mixed = file.node("MatMul", f"{name}/mixed", [weights, value])
        joined = shaped(
            f"{name}/joined", file.node("Transpose", f"{name}/joined", [mixed], perm=[0, 2, 1, 3]), -1, TOKENS, width
        )
        x = file.node("Add", f"{name}/around", [x, dense(f"{name}/out", joined, block.out)])
        y = dense(f"{name}/up", normalised(f"{name}/norm2", x, block.norm2), block.up)
        down = dense(f"{name}/down", file.node("Relu", f"{name}/relu", [y]), block.down)
        x = file.node("Add", f"{name}/beside", [x, down])
    x = file.node("ReduceMean", "/mean", [x], axes=[1], keepdims=0)
    dense("/head", x, model.head)
    return file.model(opset=17)


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--eps", action="append", help=f"radius, may be repeated; default {', '.join(EPS)}")
    arguments.add_argument("--file", type=Path, help="train one of the first kind and write it there; nothing else")
    options = arguments.parse_args()
    training, _, test = split(SEED)
    if options.file is not None:
        options.file.write_bytes(train(training, SEED, next(iter(KINDS.values()))))
        return
    table = Table(RESULTS / "attention.csv", COLUMNS, ("kind", "eps", "seed", "bounds"))
    for kind, size in KINDS.items():
        with TemporaryDirectory() as scratch:
            net = Path(scratch) / "digits.onnx"
            net.write_bytes(train(training, SEED, size))
            for eps in options.eps or EPS:
                add_rows(table, kind, load_network(net), test, eps)
    text = summary(table.rows)
    (RESULTS / "attention.md").write_text(text, encoding="utf-8")
    print(text)


def add_rows(table: Table, kind: str, loaded: Loaded, images: Images, eps: str) -> None:
    """What is missing of a kind and a radius."""
    with TemporaryDirectory() as scratch:
        props = written(Path(scratch) / "props", loaded.net, images, eps, IMAGES)
        for bounds, entries in (("parts", expansion.MOST_ENTRIES), ("intervals", 0)):
            key = {"kind": kind, "eps": eps, "seed": str(SEED), "bounds": bounds}
            if not table.has(**key):
                found = decided(loaded, props, entries)
                table.add({**key, **found, "accuracy": accuracy(loaded, images), **stamp()})


def accuracy(loaded: Loaded, images: Images) -> str:
    """The share of images that are classified correctly."""
    right = evaluate(loaded.net.copy().float(), images.x).argmax(1) == images.y
    return f"{float(right.double().mean()):.4f}"


def decided(loaded: Loaded, props: Sequence[Path], entries: int) -> dict[str, object]:
    """Verdicts about properties with parts of operators up to so many entries, each with the same limits."""
    words, boxes, begun = Counter[str](), list[int](), time.monotonic()
    kept, expansion.MOST_ENTRIES = expansion.MOST_ENTRIES, entries
    try:
        for path in props:
            prop = load_property(path, loaded, "normalised")
            limits = SearchSettings(max_boxes=BOXES, attack=AttackSettings(evaluations=800))
            verdict = verify(loaded.net, prop, settings=limits, replays=loaded.replays)
            proved = "proved" if isinstance(verdict, Proved) else "unknown"
            words["violated" if isinstance(verdict, Violated) else proved] += 1
            boxes.append(verdict.boxes)
    finally:
        expansion.MOST_ENTRIES = kept
    return {
        "images": len(props),
        **{word: words[word] for word in ("proved", "violated", "unknown")},
        "boxes": sum(boxes),
        "seconds": f"{time.monotonic() - begun:.1f}",
    }


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """Both bounds beside each other, for each kind and radius, as Markdown."""
    lines = [
        "# Robustness of classifiers with attention",
        "",
        (
            f"Scikit-learn's digits, patches of {PATCH} x {PATCH} pixels; the class is to be the only one within eps "
            f"of each pixel, around the first {IMAGES} test images that are classified correctly. Proved / violated / "
            f"unknown after at most {BOXES} boxes: by planes around the parts of matrix products, softmax and layer "
            "normalisation, and by intervals of these operators."
        ),
        "",
        "| network | accuracy | eps | by parts | s | by intervals | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, eps in dict.fromkeys((row["kind"], row["eps"]) for row in rows):
        cells, known = list[str](), ""
        for bounds in ("parts", "intervals"):
            (row,) = (row for row in rows if (row["kind"], row["eps"], row["bounds"]) == (kind, eps, bounds))
            cells += [f"{row['proved']} / {row['violated']} / {row['unknown']}", row["seconds"]]
            known = row["accuracy"]
        lines.append(f"| {kind} | {known} | {eps} | " + " | ".join(cells) + " |")
    lines += ["", provenance("OMP_NUM_THREADS=1 python -m benchmarks.digits.attention", f"Seed {SEED}")]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
