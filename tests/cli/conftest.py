"""Small files for the command line, and a way to call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from birdnn.cli.app import app
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx

ROOT = Path(__file__).resolve().parent.parent.parent

Call = Callable[..., "Result"]


class Result:
    """Exit status and both streams of a command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def word(self) -> str:
        """The first line of what it prints: VNN-COMP's word, or the sentence that sums it up; a table follows."""
        return self.out.partition("\n")[0]


def birdnn(*arguments: object, **environment: str) -> Result:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "birdnn", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def call() -> Call:
    """The command in this process."""
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        done = runner.invoke(app, [str(argument) for argument in arguments], prog_name="birdnn")
        return Result(done.exit_code, done.stdout, done.stderr)

    return run


def box_property(n_inputs: int, unsafe: str, lower: str = "0.0", upper: str = "1.0", n_outputs: int = 1) -> str:
    """A property over a box with the same range for each input."""
    lines = [f"(declare-const X_{i} Real)" for i in range(n_inputs)]
    lines += [f"(declare-const Y_{i} Real)" for i in range(n_outputs)]
    lines += [f"(assert (>= X_{i} {lower}))\n(assert (<= X_{i} {upper}))" for i in range(n_inputs)]
    return "\n".join([*lines, f"(assert {unsafe})", ""])


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """``relu(x0) + relu(x1)``."""
    layers: Sequence[tuple[list[list[float]], list[float]]] = [([[1, 0], [0, 1]], [0, 0]), ([[1, 1]], [0])]
    path = tmp_path / "sum.onnx"
    path.write_bytes(layers_to_onnx([(np.array(w), np.array(b)) for w, b in layers]))
    return path


@pytest.fixture
def holds(tmp_path: Path) -> Path:
    """A property of the sum over the unit square that holds."""
    path = tmp_path / "holds.vnnlib"
    path.write_text("; the sum stays below three\n" + box_property(2, "(>= Y_0 3.0)"))
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """One that does not."""
    path = tmp_path / "broken.vnnlib"
    path.write_text(box_property(2, "(>= Y_0 1.5)"))
    return path


@pytest.fixture
def endless(tmp_path: Path) -> tuple[Path, Path]:
    """A network and a property whose search takes far longer than any test.

    Beside it lies ``stubborn.vnnlib``, which the network violates and whose repair takes as long.
    """
    import torch

    draw = np.random.default_rng(7)
    sizes = [6, 60, 60, 60, 60, 1]
    layers = [(draw.normal(size=(o, i)) * np.sqrt(2 / i), draw.normal(size=o) * 0.1) for i, o in pairwise(sizes)]
    data = layers_to_onnx(layers)
    with torch.no_grad():
        top = float(network_from_onnx(data)(torch.rand(20000, 6, generator=torch.manual_seed(0)) * 4 - 2).max())
    (tmp_path / "big.onnx").write_bytes(data)
    for name, share in (("endless", 1.25), ("stubborn", 0.8)):
        text = box_property(6, f"(>= Y_0 {top * share:.6f})", "-2.0", "2.0")
        (tmp_path / f"{name}.vnnlib").write_text(text)
    return tmp_path / "big.onnx", tmp_path / "endless.vnnlib"
