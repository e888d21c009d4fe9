"""Labelled examples from .npz."""

from __future__ import annotations

import contextlib
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from birdnn.errors import FormatError, SpecError
from birdnn.formats.labelled import read_labelled
from birdnn.formats.partition import read_blocks
from tests.classifiers import classifier, quarters, stored


def test_examples_come_flat_and_in_order(tmp_path: Path) -> None:
    images = quarters(5, 1)
    found = read_labelled(stored(tmp_path / "some.npz", images.x, images.y), classifier())
    assert found.name == "some"
    assert found.x.shape == (5, 64)
    assert (found.x == images.x).all()
    assert (found.y == images.y).all()


GOOD = {"x": np.zeros((2, 1, 8, 8), np.float32), "y": np.zeros(2, np.int64)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": np.zeros((2, 3, 8, 8), np.float32)}, r"images of shape \(n, 1, 8, 8\)"),
        ({"x": np.zeros((2, 64), np.float32)}, r"its shape is \(2, 64\)"),
        ({"x": np.zeros((2, 1, 8, 8), np.uint8)}, "float32 is expected, not uint8"),
        ({"x": np.full((2, 1, 8, 8), np.nan, np.float32)}, "example 0: holds NaN"),
        ({"x": np.full((2, 1, 8, 8), 1e300)}, "infinity"),
        ({"x": np.zeros((0, 1, 8, 8), np.float32), "y": np.zeros(0, int)}, "no example"),
        ({"y": np.array([0, 10])}, "example 1: class 10; the network has classes 0 to 9"),
        ({"y": np.array([-1, 0])}, "class -1"),
        ({"y": np.array([0.0, 1.0])}, "integers of shape"),
        ({"y": np.zeros(3, int)}, "2 examples and y 3 labels"),
        ({"y": None}, "no array 'y' but x"),
        ({"y": np.array([{}, {}])}, "Python objects, which are never loaded"),
        ({"x": np.array([{}, {}])}, "Python objects"),
    ],
)
def test_unusable_examples(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    path = tmp_path / "bad.npz"
    arrays = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=words):
        read_labelled(path, classifier())


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(FormatError, match=r"no \.npz file"):
        read_labelled(path, classifier())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Whatever zipfile and numpy make of them: bytes that changed, and headers that lie in sound archives."""
    path, draw, net = tmp_path / "bad.npz", random.Random(0), classifier()
    np.savez(path, **GOOD)  # type: ignore[arg-type]
    whole = path.read_bytes()
    members = {name: zipfile.ZipFile(path).read(name) for name in ("x.npy", "y.npy")}
    for case in range(600):
        if case % 2:
            path.write_bytes(_changed(whole, draw, len(whole), bytes(range(256))))
        else:
            name = draw.choice(list(members))
            with zipfile.ZipFile(path, "w") as archive:
                for other, data in members.items():
                    archive.writestr(other, _changed(data, draw, 128, b"0123(){},'<>fiuO") if other == name else data)
        with contextlib.suppress(FormatError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_labelled(path, net)


def _changed(data: bytes, draw: random.Random, reach: int, with_what: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        found[draw.randrange(reach)] = draw.choice(with_what)
    return bytes(found)


def test_blocks_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "blocks.toml"
    path.write_text('[blocks]\nstem = ["a", "b"]\nbody = "c..d"\n')
    assert read_blocks([str(path), "head=e..f"]) == {"stem": ("a", "b"), "body": ("c", "d"), "head": ("e", "f")}


@pytest.mark.parametrize("said", ["head", "head=", "=a..b", "head=a..", "head=..b"])
def test_unusable_spans(said: str) -> None:
    with pytest.raises(SpecError, match="FIRST"):
        read_blocks([said])


def test_a_block_is_named_once() -> None:
    with pytest.raises(SpecError, match="twice"):
        read_blocks(["a=b..c", "a=d..e"])


@pytest.mark.parametrize("text", ["", "[blocks]\n", "blocks = 3\n", "[blocks]\na = 4\n", "[blocks]\na = [1]\n", "["])
def test_unusable_files_of_blocks(tmp_path: Path, text: str) -> None:
    path = tmp_path / "blocks.toml"
    path.write_text(text)
    with pytest.raises(FormatError):
        read_blocks([str(path)])
