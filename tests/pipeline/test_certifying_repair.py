"""A repair's certificate: checked while other things are done, and made anew where these change what is to be said."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from birdnn.formats.together import Together
from birdnn.pipeline import certifying_repair
from birdnn.pipeline.certifying_repair import RepairCertificate
from birdnn.pipeline.checking_beside import CheckBeside
from birdnn.pipeline.repairing import repair_files
from birdnn.records import CertificateFile, Unwatched
from tests.pipeline.subjects import UNKNOWN, identity
from tests.pipeline.test_certifying import decided
from tests.pipeline.test_repairing import FAST, build


def never() -> bool:
    return False


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, whatever the environment of the tests says."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.fixture
def asked_beside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The certificates that were given to a process beside this one."""
    found: list[str] = []
    right = certifying_repair.CheckBeside

    def asked(net: Path, props: list[str], certificate: Path, sha256: str) -> object:
        found.append(sha256)
        return right(net, props, certificate, sha256)

    monkeypatch.setattr(certifying_repair, "CheckBeside", asked)
    return found


def stored(place: Path) -> dict:
    return json.loads(gzip.decompress(place.read_bytes()))


@pytest.mark.usefixtures("cores")
def test_what_has_not_changed_is_written_once(tmp_path: Path, asked_beside: list[str]) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out, written = decided(tmp_path, loaded, 2.0), tmp_path / "c.json.gz", []
    files = Together()

    def write(place: Path, data: bytes) -> Path:
        written.append(place)
        return files.add(place, data)

    writing = RepairCertificate(out, write, "real", Unwatched())
    with writing.begun(loaded, [entry], "small.repaired.onnx", never):
        assert written == [out]
        # made again from the same answer, as whoever asks twice does
        found = writing.finished(loaded, [replace(entry)], "small.repaired.onnx", never)
    assert written == [out]
    assert isinstance(found, CertificateFile)
    assert (found.answer, found.detail, asked_beside) == ("accepted", "float64, all 1 leaves", [found.sha256])
    files.commit()
    assert stored(out)["network"]["file"] == "small.repaired.onnx"


class Busy(CheckBeside):
    """A checker that ends when it is told to."""

    at_work = True  # type: ignore[assignment]

    def __init__(self, *files: object) -> None: ...

    def __enter__(self) -> Busy:
        return self

    def __exit__(self, *how: object) -> None: ...


@pytest.mark.usefixtures("cores")
def test_cores_are_left_to_the_checker_while_it_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(certifying_repair, "CheckBeside", Busy)
    loaded = identity(tmp_path, 0.0)
    entry, files = decided(tmp_path, loaded, 2.0), Together()
    writing = RepairCertificate(tmp_path / "c.json.gz", files.add, "real", Unwatched())
    threads.clear()  # of the proof
    writing.share_cores()
    with writing.begun(loaded, [entry], "n.onnx", never):
        writing.share_cores()
        monkeypatch.setattr(Busy, "at_work", False)
        writing.share_cores()
        monkeypatch.setattr(Busy, "at_work", True)
    files.discard()
    assert threads == [2, 1, 2, 2]


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("changed", ["name", "verdict", "fewer", "none"])
def test_what_has_changed_is_written_again(tmp_path: Path, asked_beside: list[str], changed: str) -> None:
    loaded = identity(tmp_path, 0.0)
    one, two = (decided(tmp_path, loaded, bound, f"p{bound}") for bound in (2.0, 3.0))
    out, files = tmp_path / "c.json.gz", Together()
    writing = RepairCertificate(out, files.add, "real", Unwatched())
    named = "small.attempt.onnx" if changed == "name" else "small.repaired.onnx"
    now = {
        "name": [one, two],
        "verdict": [one, replace(two, verdict=UNKNOWN)],
        "fewer": [one],
        "none": [],
    }[changed]
    with writing.begun(loaded, [one, two], "small.repaired.onnx", never):
        found = writing.finished(loaded, now, named, never)
    assert len(asked_beside) == 1
    if changed == "none":
        assert found is None
        return
    assert found is not None
    assert (found.answer, found.sha256 in asked_beside) == ("accepted", False)
    files.commit()
    assert stored(out)["network"]["file"] == named
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_on_one_core_it_is_checked_in_the_end(tmp_path: Path, asked_beside: list[str], monkeypatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    loaded = identity(tmp_path, 0.0)
    entry, out, files = decided(tmp_path, loaded, 2.0), tmp_path / "c.json.gz", Together()
    writing = RepairCertificate(out, files.add, "real", Unwatched())
    with writing.begun(loaded, [entry], "n.onnx", never):
        assert files.asked == []
        found = writing.finished(loaded, [entry], "n.onnx", never)
    files.discard()
    assert found is not None
    assert (found.answer, asked_beside) == ("accepted", [])


@pytest.mark.usefixtures("cores")
def test_no_time_at_first_may_be_time_in_the_end(tmp_path: Path, asked_beside: list[str]) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out, files = decided(tmp_path, loaded, 2.0), tmp_path / "c.json.gz", Together()
    writing = RepairCertificate(out, files.add, "real", Unwatched())
    with writing.begun(loaded, [entry], "n.onnx", lambda: True):
        assert files.asked == []
        found = writing.finished(loaded, [entry], "n.onnx", never)
    files.discard()
    assert found is not None
    assert (found.answer, asked_beside) == ("accepted", [])


@pytest.mark.thorough
def test_a_repair_is_the_same_with_the_checker_beside_it(
    tmp_path: Path, asked_beside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = []
    for count in (1, 2):
        monkeypatch.setattr(certifying_repair.torch, "get_num_threads", lambda count=count: count)
        request = build(tmp_path, "Relu").request()
        outcome = repair_files(replace(request, out=tmp_path / str(count)), settings=FAST)
        assert outcome.certificate is not None
        assert outcome.certificate.checked.startswith("accepted")
        certificates.append(Path(outcome.certificate.path).read_bytes())
        assert len(asked_beside) == count - 1
    assert certificates[0] == certificates[1]
