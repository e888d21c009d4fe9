"""Eight ways to spoil images of 8 x 8 pixels, each in five severities, in the spirit of the -C sets.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, for the idea; kinds and severities are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from benchmarks.digits.train import Images

SIDE = 8
SEVERITIES = range(1, 6)

Pixels = NDArray[np.float32]
Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]


def _noise(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return x + (0.1 * severity * rng.normal(size=x.shape)).astype(np.float32)


def _blur(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    sigma = (0.4, 0.6, 0.8, 1.1, 1.5)[severity - 1]
    return np.asarray(ndimage.gaussian_filter(x, (0, sigma, sigma), mode="nearest"))


def _contrast(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    mean = x.mean((1, 2), keepdims=True)
    return mean + (0.6, 0.45, 0.3, 0.2, 0.12)[severity - 1] * (x - mean)


def _brightness(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return x + (0.1, 0.2, 0.3, 0.45, 0.6)[severity - 1]


def _shift(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    far = (0.5, 0.8, 1.1, 1.5, 2.0)[severity - 1]
    angles = rng.uniform(0, 2 * np.pi, len(x))
    moved = [
        ndimage.shift(image, (far * np.sin(a), far * np.cos(a)), order=1) for image, a in zip(x, angles, strict=True)
    ]
    return np.stack(moved)


def _rotation(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    angles = 8 * severity * rng.choice((-1, 1), len(x))
    return np.stack([ndimage.rotate(image, a, reshape=False, order=1) for image, a in zip(x, angles, strict=True)])


def _occlusion(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """A dark square whose side is the severity."""
    out = x.copy()
    for image, (row, column) in zip(out, rng.integers(0, SIDE + 1 - severity, (len(x), 2)), strict=True):
        image[row : row + severity, column : column + severity] = 0
    return out


def _pixelation(x: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    size = SIDE - severity
    small = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x)[:, None], size)
    return np.asarray(torch.nn.functional.interpolate(small, SIDE, mode="nearest")[:, 0].numpy())


CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "shift": _shift,
    "rotation": _rotation,
    "occlusion": _occlusion,
    "pixelation": _pixelation,
}


def corrupted(x: Tensor, name: str, severity: int, seed: int) -> Tensor:
    """Images (n, 64) from 0 to 1, spoilt; the same for the same seed, and another draw for each kind and severity."""
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name), severity])
    pixels = CORRUPTIONS[name](x.reshape(-1, SIDE, SIDE).numpy(), severity, rng)
    return torch.from_numpy(np.clip(pixels, 0, 1).astype(np.float32)).flatten(1)


def spoilt(images: Images, severities: tuple[int, ...], seed: int) -> Images:
    """Every image as it is, and once by every kind, the severities in turn."""
    parts = [images.x]
    for place, name in enumerate(CORRUPTIONS):
        chosen = [severities[(place + number) % len(severities)] for number in range(len(images))]
        by = {severity: corrupted(images.x, name, severity, seed) for severity in severities}
        parts.append(torch.stack([by[severity][number] for number, severity in enumerate(chosen)]))
    return Images(torch.cat(parts), images.y.repeat(len(parts)))
