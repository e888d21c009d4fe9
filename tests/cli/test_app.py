"""Help, version, start-up, errors of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from birdnn.cli.options import SUITES
from birdnn.cli.terminal import FILE_WIDTH, console
from birdnn.errors import BirdnnError, DisagreementError
from birdnn.formats.suite import BUNDLED
from tests.cli.conftest import ROOT, Call, birdnn

HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "scipy", "pydantic", "matplotlib")


def test_help_teaches_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['birdnn', '--help']\n"
        "from birdnn.cli import main\n"
        "try:\n    main()\nexcept SystemExit as leave:\n    assert not leave.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("birdnn verify --net") == 2
    assert done.stdout.count("birdnn repair --net") == 3
    for word in ("--units raw", "130", "verify", "falsify", "repair", "localize", "doctor"):
        assert word in done.stdout
    # status 6 has two meanings
    assert "6  two engines disagree, or a sample violates what was proved" in done.stdout


def test_version() -> None:
    assert birdnn("--version").out.startswith("birdnn ")


@pytest.mark.thorough
@pytest.mark.parametrize("width", ["60", "80"])
def test_help_fits(width: str) -> None:
    for arguments in (("--help",), *((name, "--help") for name in ("verify", "repair", "localize", "doctor"))):
        result = birdnn(*arguments, COLUMNS=width, NO_COLOR="1")
        assert result.status == 0
        assert max(map(len, result.out.splitlines())) <= int(width)


@pytest.mark.parametrize(("said", "width"), [("1", 40), ("60", 60), ("9" * 30, 1000), ("wide", FILE_WIDTH)])
def test_columns_off_a_screen(said: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as COLUMNS says, within reason."""
    monkeypatch.setenv("COLUMNS", said)
    assert console(stderr=False).width == width


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("birdnn.pipeline.deciding.verify_files", fail)


def test_a_defect_is_status_5_with_the_traceback_in_a_file(
    call: Call, net: Path, holds: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _failing(monkeypatch, ZeroDivisionError("planted"))
    result = call("verify", "--net", net, "--prop", holds, "--quiet")
    assert (result.status, result.out) == (5, "")
    assert "planted" in result.err
    assert "Traceback" not in result.err
    (saved,) = tmp_path.glob("*.traceback.txt")
    assert str(saved) in result.err
    assert "ZeroDivisionError: planted" in saved.read_text()


def test_a_traceback_that_no_file_takes_is_shown(
    call: Call, net: Path, holds: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    _failing(monkeypatch, ZeroDivisionError("planted"))
    result = call("verify", "--net", net, "--prop", holds, "--quiet")
    assert result.status == 5
    assert "ZeroDivisionError: planted" in result.err.partition("Traceback")[2]
    assert all(len(line) > len("birdnn: ") for line in result.err.splitlines() if line.startswith("birdnn:"))
    assert "that file" not in result.err


def test_debug_shows_the_traceback(call: Call, net: Path, holds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, ZeroDivisionError("planted"))
    result = call("--debug", "verify", "--net", net, "--prop", holds, "--quiet")
    assert result.status == 5
    assert "Traceback" in result.err


@pytest.mark.parametrize(
    ("error", "status"),
    [(BirdnnError("ours"), 5), (DisagreementError("they differ"), 6), (KeyboardInterrupt(), 130)],
)
def test_errors_have_their_status(
    call: Call, net: Path, holds: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    _failing(monkeypatch, error)
    result = call("verify", "--net", net, "--prop", holds, "--quiet")
    assert (result.status, result.out) == (status, "")
    assert result.err.startswith("birdnn: ")


def test_help_names_every_suite_that_is_installed() -> None:
    assert ", ".join(BUNDLED) == SUITES
