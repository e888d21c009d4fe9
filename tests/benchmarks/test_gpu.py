"""The rates of a device: where there is none, a sentence and status 4; the cores alone can be measured anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import rates
from tests.second_device import SecondDevice
from tests.second_device import second_device as second_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_device(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rates"])
    assert rates.main() == 4
    assert "no CUDA device" in capsys.readouterr().err


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Small numbers of boxes, points and examples, each thing once; where the table goes."""
    monkeypatch.setattr(rates, "BATCHES", dict.fromkeys(rates.SIZES, (4,)))
    monkeypatch.setattr(rates, "EXAMPLES", 256)
    monkeypatch.setattr(rates, "BATCH", {"cpu": 64, "cuda": 64})
    monkeypatch.delenv("BIRDNN_ACASXU", raising=False)
    return tmp_path / "rates.md"


def figures(out: Path) -> list[list[float]]:
    """Of the rows that are rates."""
    rows = [line.split("|")[2:-1] for line in out.read_text().splitlines() if "/s" in line]
    return [[float(cell.replace(",", "")) for cell in row] for row in rows]


def test_each_rate_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, little: Path, properties: Path
) -> None:
    demo = str(properties.parent / "demo.onnx")
    options = ["--device", "cpu", "--seconds", "0.01", "--out", str(little), "--net", demo]
    monkeypatch.setattr(rates.Rates, "proof", lambda self, path: 1.5)
    monkeypatch.setattr(sys, "argv", ["rates", *options])
    assert rates.main() == 0
    assert capsys.readouterr().out.strip() in little.read_text()
    found = figures(little)
    assert len(found) == 6
    assert all(value > 0 for row in found for value in row)
    assert "| N3,3 phi-2, s | 1.50 |" in little.read_text()


@pytest.mark.thorough
def test_the_script_mixes_no_devices(
    second_device: SecondDevice, monkeypatch: pytest.MonkeyPatch, little: Path
) -> None:
    """It is to run on a machine that is lent for minutes, the first time."""
    monkeypatch.setattr(sys, "argv", ["rates", "--seconds", "0.01", "--out", str(little)])
    assert rates.main() == 0
    assert [len(row) for row in figures(little)] == [3] * 6
    assert "Imagined H100" in little.read_text()
    assert second_device.visited > 1000


@pytest.mark.acasxu
def test_the_proof_is_one(acasxu: Path) -> None:
    assert rates.Rates("cpu", 0.01).proof(acasxu / "onnx" / "ACASXU_run2a_3_3_batch_2000.onnx") > 0
