"""Small files to compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from birdnn.formats.onnx import layers_to_onnx


def linear(path: Path, weight: Sequence[Sequence[float]], bias: Sequence[float]) -> Path:
    """``weight @ x + bias`` as a network of one layer."""
    path.write_bytes(layers_to_onnx([(np.array(weight, float), np.array(bias, float))]))
    return path


def unit_domain(folder: Path, n_inputs: int) -> Path:
    """All inputs between 0 and 1."""
    path = folder / "domain.toml"
    path.write_text(f"lower = {[0] * n_inputs}\nupper = {[1] * n_inputs}\n")
    return path


def spike(path: Path, height: float, n_inputs: int = 2) -> Path:
    """Outputs ``(spike, 0.5)``: `height` at the corner (1, ..), 0 wherever the sum of inputs is below ``n - 0.05``."""
    first = np.ones((1, n_inputs)), np.array([0.05 - n_inputs])
    path.write_bytes(layers_to_onnx([first, (np.array([[height / 0.05], [0.0]]), np.array([0.0, 0.5]))]))
    return path
