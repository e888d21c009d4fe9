"""The classifier that is repaired: ``python -m benchmarks.digits.train FILE.onnx --seed 0``.

Scikit-learn's digits: 1,797 images of 8 x 8 pixels with 17 shades. A seed says which images are for what, and where
training starts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from birdnn.formats.onnx import layers_to_onnx

SHADES = 16
FOR_TRAINING, FOR_REPAIR = 1000, 297
HIDDEN = 32, 32
EPOCHS, BATCH, RATE = 60, 50, 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Some of the images: pixels `x` (n, 64) float32 from 0 to 1, classes `y` (n,) from 0 to 9."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def split(seed: int) -> tuple[Images, Images, Images]:
    """Images for training, those whose neighbourhoods may be repaired, and those that nothing but measuring sees."""
    digits = load_digits()
    x = torch.from_numpy((digits.data / SHADES).astype(np.float32))
    y = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    sizes = [FOR_TRAINING, FOR_REPAIR, len(y) - FOR_TRAINING - FOR_REPAIR]
    training, repair, test = (Images(x[part], y[part]) for part in torch.split(order, sizes))
    return training, repair, test


def train(images: Images, seed: int) -> bytes:
    """An ONNX file of a fully connected ReLU classifier, 64-32-32-10, its logits as outputs."""
    generator = torch.Generator().manual_seed(seed)
    sizes = images.x.shape[1], *HIDDEN, 10
    layers = [nn.Linear(before, after) for before, after in pairwise(sizes)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    parts = [part for layer in layers for part in (layer, nn.ReLU())]
    model = nn.Sequential(*parts[:-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for part in torch.split(torch.randperm(len(images), generator=generator), BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images.x[part]), images.y[part]).backward()
            optimiser.step()
    return layers_to_onnx([(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers])


def main() -> None:
    """Train one."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    training, _, _ = split(options.seed)
    options.file.write_bytes(train(training, options.seed))


if __name__ == "__main__":
    main()
