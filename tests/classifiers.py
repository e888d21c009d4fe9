"""A small residual classifier that knows which quarter of an image is bright, and examples for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.digits.residual import train
from benchmarks.digits.train import Images
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network

SHAPE = 1, 8, 8
CHANNELS = 6, 6, 12


def quarters(n: int, seed: int, noise: float = 0.1) -> Images:
    """Images whose class, 0 to 3, is the bright quarter."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=generator)
    x = noise * torch.randn((n, 8, 8), generator=generator) + 0.3
    for place, label in enumerate(y.tolist()):
        row, column = 4 * (label // 2), 4 * (label % 2)
        x[place, row : row + 4, column : column + 4] += 0.4
    return Images(x.clamp(0, 1).flatten(1), y)


@lru_cache(maxsize=1)
def trained() -> bytes:
    """The classifier's file: blocks stem, layer1, layer2, head."""
    return train(quarters(300, 0), 0, CHANNELS, epochs=20)


def classifier() -> Network:
    """The same, read."""
    return network_from_onnx(trained())


def hard(n: int, seed: int) -> Images:
    """Examples of which the classifier gets some wrong: less bright, more noise."""
    images = quarters(n, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x = (images.x - 0.3) * 0.6 + 0.3 + 0.3 * torch.randn(images.x.shape, generator=generator)
    return Images(x, images.y)


def stored(path: Path, x: Tensor, y: Tensor) -> Path:
    """A file of labelled examples."""
    np.savez(path, x=x.reshape(-1, *SHAPE).numpy().astype(np.float32), y=y.numpy())
    return path
