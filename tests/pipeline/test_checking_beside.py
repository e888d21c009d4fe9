"""The checker in a process of its own: what it accepts counts, and everything else is asked again."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import psutil
import pytest

from birdnn.pipeline.checking_beside import CheckBeside
from tests.pipeline.subjects import identity
from tests.pipeline.test_certifying import certified, decided


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, str, Path, str]:
    """Network, property, certificate and its hash."""
    loaded = identity(tmp_path, 0.0)
    entry, out = decided(tmp_path, loaded, 2.0), tmp_path / "c.json"
    assert certified(loaded, [entry], out) is not None
    return loaded.path, entry.path, out, hashlib.sha256(out.read_bytes()).hexdigest()


def line_of(net: Path, prop: str, certificate: Path, sha256: str) -> str | None:
    with CheckBeside(net, [prop], certificate, sha256) as beside:
        return beside.accepted_line(lambda: False)


def test_its_line_is_that_of_the_checker_here(files: tuple[Path, str, Path, str], tmp_path: Path) -> None:
    net, prop, certificate, sha256 = files
    with CheckBeside(net, [prop], certificate, sha256) as beside:
        assert beside.accepted_line(lambda: False) == "float64, all 1 leaves"
        assert 0 < beside.seconds < 600


def test_what_it_does_not_accept_has_no_line(files: tuple[Path, str, Path, str], tmp_path: Path) -> None:
    net, prop, certificate, sha256 = files
    assert line_of(net, prop, certificate, "0" * 64) is None  # another certificate under this name
    assert line_of(tmp_path / "absent.onnx", prop, certificate, sha256) is None
    other = tmp_path / "other.vnnlib"
    other.write_text(Path(prop).read_text() + "; another property\n")
    assert line_of(net, str(other), certificate, sha256) is None
    false = certificate.read_bytes().replace(hashlib.sha256(net.read_bytes()).hexdigest().encode(), b"0" * 64)
    assert false != certificate.read_bytes()
    certificate.write_bytes(false)
    assert line_of(net, prop, certificate, hashlib.sha256(false).hexdigest()) is None


def test_names_that_look_like_options_or_pairs_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "f=g"
    folder.mkdir()
    loaded = identity(folder, 0.0)
    entry, out = decided(folder, loaded, 2.0), folder / "--part"
    assert certified(loaded, [entry], out) is not None
    monkeypatch.chdir(folder)
    sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
    assert line_of(Path("net.onnx"), entry.path, Path("--part"), sha256) == "float64, all 1 leaves"


class Sleeping(CheckBeside):
    """A program that starts another one, and neither ends."""

    def __init__(self, program: str) -> None:
        super().__init__(Path("net.onnx"), ["p.vnnlib"], Path("c.json"), "")
        self._command = [sys.executable, "-c", program]


@pytest.mark.parametrize("deaf", [False, True])
def test_nothing_outlives_it(monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    monkeypatch.setattr("birdnn.pipeline.checking_beside._END_S", 0.2 if deaf else 60.0)
    program = "import time; time.sleep(600)"
    if deaf:
        program = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {program}"
    with Sleeping(program) as beside:
        process, begun = psutil.Process(beside._process.pid), time.monotonic()
        assert beside.accepted_line(lambda: time.monotonic() - begun > 0.5) is None
        assert process.is_running()
    assert not process.is_running()


def test_where_no_process_can_be_started_nothing_is_accepted(tmp_path: Path) -> None:
    beside = Sleeping("")
    beside._command = [str(tmp_path / "absent")]
    with beside:
        assert not beside.at_work
        assert beside.accepted_line(lambda: False) is None


def test_a_killed_process_accepts_nothing() -> None:
    with Sleeping("import time; time.sleep(600)") as beside:
        psutil.Process(beside._process.pid).kill()
        assert beside.accepted_line(lambda: False) is None
