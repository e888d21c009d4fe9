"""Bytes in and out: limits, damaged archives, nothing half-written."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from birdnn.errors import FormatError, OutputError
from birdnn.formats import files
from birdnn.formats.files import read_bytes, stem_and_kind, write_bytes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/prop_8.vnnlib.gz", ("prop_8", "vnnlib")),
        ("x.ONNX", ("x", "onnx")),
        ("x.repaired.onnx", ("x.repaired", "onnx")),
        ("plain", ("plain", "")),
        (".hidden", (".hidden", "")),
        ("x.gz", ("x", "")),
    ],
)
def test_stem_and_kind(name: str, expected: tuple[str, str]) -> None:
    """Extensions say the format; .gz is looked through."""
    assert stem_and_kind(name) == expected


def test_reading(tmp_path: Path) -> None:
    """Plain and packed, up to the limit."""
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(FormatError, match="larger than 4 bytes"):
        read_bytes(path, 4)
    path.write_bytes(gzip.compress(b"x" * 10_000))
    assert read_bytes(path, 10_000) == b"x" * 10_000
    with pytest.raises(FormatError, match="unpacks to more than 9999 bytes"):
        read_bytes(path, 9_999)


@pytest.mark.parametrize("cut", [3, 12, 20, -9, -4, -1])
def test_truncated_archives(tmp_path: Path, cut: int) -> None:
    """Every cut is noticed."""
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"hello, hello, hello")[:cut])
    with pytest.raises(FormatError, match="damaged gzip archive"):
        read_bytes(path, 100)


def test_an_archive_of_nothing(tmp_path: Path) -> None:
    """Empty inside is empty."""
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(FormatError, match="holds nothing"):
        read_bytes(path, 100)


def test_names_that_cannot_be(tmp_path: Path) -> None:
    """A NUL byte, a folder, a name that is too long: refused like a missing file."""
    for bad in ("a\0b", str(tmp_path), "x" * 5000):
        with pytest.raises(FormatError):
            read_bytes(bad, 100)
        with pytest.raises(OutputError):
            write_bytes(bad, b"x")


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle leaves the old file whole and no temporary one."""
    path = tmp_path / "f"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
