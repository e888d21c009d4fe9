"""Residual classifiers of digits: ``python -m benchmarks.digits.residual FILE.onnx --size small --seed 0``.

A stem, residual blocks of two convolutions 3 x 3 each, the mean over all places, a dense layer. Trained with batch
normalisation, which the file holds folded into the convolutions, as exporters do. Nodes are called as exporters call
them, ``/layer1/conv1/Conv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.digits.file import File, fit
from benchmarks.digits.train import Images, split

SIZES: Mapping[str, tuple[int, ...]] = {"small": (16, 16, 16, 32), "large": (24, 24, 24, 48, 48)}
"""Channels of the stem and of each residual block; where they grow, the block has stride 2."""

EPOCHS = 14


class Residual(nn.Module):
    """Two convolutions and what goes around them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = None if stride == 1 else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, before, h, w) -> (n, after, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class Classifier(nn.Module):
    """The network that is trained: images (n, 1, 8, 8) -> logits (n, 10)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, channels[0], 3, 1, 1, bias=False), nn.BatchNorm2d(channels[0])
        self.layers = nn.ModuleList(Residual(before, after) for before, after in pairwise(channels))
        self.fc = nn.Linear(channels[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.bn(self.conv(x)))
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def train(images: Images, seed: int, channels: tuple[int, ...], epochs: int = EPOCHS) -> bytes:
    """An ONNX file of a classifier trained on some images."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Classifier(channels)
    fit(model, images, seed, epochs)
    return to_onnx(model.eval())


def to_onnx(model: Classifier) -> bytes:
    """The trained classifier as a file, its normalisations folded into the convolutions."""
    file = File()
    value = file.convolution("/stem/conv", "X", model.conv, model.bn)
    value = file.node("Relu", "/stem/relu", [value])
    for index, layer in enumerate(model.layers, 1):
        assert isinstance(layer, Residual)
        name, start = f"/layer{index}", value
        value = file.node("Relu", f"{name}/relu1", [file.convolution(f"{name}/conv1", start, layer.conv1, layer.bn1)])
        value = file.convolution(f"{name}/conv2", value, layer.conv2, layer.bn2)
        around = start
        if layer.shortcut is not None:
            around = file.convolution(f"{name}/shortcut", start, layer.shortcut, None)
        value = file.node("Relu", f"{name}/relu2", [file.node("Add", f"{name}/add", [value, around])])
    value = file.node("Flatten", "/head/flatten", [file.node("GlobalAveragePool", "/head/pool", [value])])
    names = [file.tensor("fc.weight", model.fc.weight), file.tensor("fc.bias", model.fc.bias)]
    file.node("Gemm", "/head/fc", [value, *names], transB=1)
    return file.model(opset=13)


def main() -> None:
    """Train one."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--size", choices=tuple(SIZES), default="small")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    training, _, _ = split(options.seed)
    options.file.write_bytes(train(training, options.seed, SIZES[options.size]))


if __name__ == "__main__":
    main()
