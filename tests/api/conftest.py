"""A folder as the examples expect it: the demonstration network, its properties, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "birdnn" / "data"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``demo.onnx`` and the properties in it."""
    shutil.copy(DATA / "demo.onnx", tmp_path)
    for file in (DATA / "properties").glob("prop_*.vnnlib"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
