"""Proofs read back: the boxes cover the region, without a gap and without overlap."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from birdnn.certify.read import StoredProof, boxes_on_plane, read_proof
from birdnn.errors import FormatError
from birdnn.formats import read_network, read_property
from birdnn.pipeline.deciding import verify_files
from birdnn.records import VerifySettings
from birdnn.sample import evaluate
from tests.certify.cases import network, property_text, sha256


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of three inputs, a property that takes some cuts, and its certificate."""
    folder = tmp_path_factory.mktemp("proved")
    net = network(folder / "net.onnx", [3, 30, 30, 1], seed=3)
    x = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    top = float(evaluate(read_network(net), x).max())
    prop = folder / "p.vnnlib"
    for room in (0.01, 0.05, 0.2):
        prop.write_text(property_text(3, 1, f"(>= Y_0 {top + room:.3f})"))
        settings = VerifySettings(certificate=folder / "p.certificate.json.gz", timeout_s=60.0)
        (answer,) = verify_files(net, [prop], settings=settings).verdicts
        if type(answer.verdict).__name__ == "Proved":
            return folder
    raise AssertionError("no level is proved")


def stored(folder: Path) -> StoredProof:
    return read_proof(folder / "p.certificate.json.gz", read_property(folder / "p.vnnlib"))


@pytest.mark.parametrize("axes", [(0, 1), (2, 0)])
def test_boxes_cover_the_plane_without_a_gap(proved: Path, axes: tuple[int, int]) -> None:
    proof = stored(proved)
    assert proof.net_sha256 == sha256(proved / "net.onnx")
    (region,) = proof.regions
    assert region.proof.leaves > 4
    assert len(region.proof.face)
    boxes = boxes_on_plane(region, np.array([0.11, -0.23, 0.37]), axes)
    assert len(boxes) > 1
    assert (boxes[:, [1, 3]] >= boxes[:, [0, 2]]).all()
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    assert area.sum() == pytest.approx(1.0, rel=1e-9)  # the region is a cube of side one
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 2))
    inside = (boxes[:, None, [0, 2]] <= points) & (points <= boxes[:, None, [1, 3]])
    assert inside.all(2).any(0).all()


def test_a_plane_beside_the_region_meets_no_box(proved: Path) -> None:
    (region,) = stored(proved).regions
    assert not len(boxes_on_plane(region, np.array([0.0, 0.0, 0.6]), (0, 1)))


def test_of_a_violated_property_there_are_no_boxes(tmp_path: Path) -> None:
    net, prop = network(tmp_path / "net.onnx", [2, 4, 1]), tmp_path / "p.vnnlib"
    prop.write_text(property_text(2, 1, "(>= Y_0 -100)"))
    verify_files(net, [prop], settings=VerifySettings(certificate=tmp_path / "p.certificate.json.gz"))
    assert stored(tmp_path).regions == ()


def damaged(folder: Path, target: Path, change: dict[str, Any]) -> Path:
    data = json.loads(gzip.decompress((folder / "p.certificate.json.gz").read_bytes()))
    data["proofs"][0]["regions"][0].update(change)
    target.write_bytes(gzip.compress(json.dumps(data).encode()))
    return target


@pytest.mark.parametrize(
    "change",
    [
        {"axis": {"dtype": "<u2", "data": "AAAA"}},
        {"axis": {"dtype": "<f8", "data": ""}},
        {"axis": 3},
        {"cut": {"dtype": "<f8", "data": ""}},
        {"lower": ["0", "zero", "0"]},
        {"lower": ["0"]},
        {"faces": {}},
    ],
)
def test_damaged_trees_are_refused(proved: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    path = damaged(proved, tmp_path / "c.json.gz", change)
    with pytest.raises(FormatError, match=r"c\.json\.gz"):
        read_proof(path, read_property(proved / "p.vnnlib"))


def test_another_property_is_refused(proved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.vnnlib"
    other.write_text(property_text(3, 1, "(>= Y_0 77)"))
    with pytest.raises(FormatError, match="other: 0 proofs speak about"):
        read_proof(proved / "p.certificate.json.gz", read_property(other))
