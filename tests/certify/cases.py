"""Small networks, properties and certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from birdnn.formats.onnx import layers_to_onnx

ACTIVATIONS = ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh")


def network(
    path: Path, sizes: Sequence[int], activation: str = "Relu", seed: int = 0, alpha: float | None = None
) -> Path:
    """A random network of these layer sizes."""
    draw = np.random.default_rng(seed)
    layers = [(draw.normal(size=(o, i)) * np.sqrt(2 / i), draw.normal(size=o) * 0.3) for i, o in pairwise(sizes)]
    path.write_bytes(layers_to_onnx(layers, activation, alpha=alpha))
    return path


def property_text(n_inputs: int, n_outputs: int, unsafe: str, side: float = 0.5) -> str:
    """All inputs between minus and plus ``side``."""
    names = [f"X_{i}" for i in range(n_inputs)] + [f"Y_{i}" for i in range(n_outputs)]
    lines = [f"(declare-const {name} Real)" for name in names]
    lines += [f"(assert (<= X_{i} {side}))\n(assert (>= X_{i} -{side}))" for i in range(n_inputs)]
    return "\n".join([*lines, f"(assert {unsafe})", ""])


def sha256(path: Path) -> str:
    """Of a file as stored."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
