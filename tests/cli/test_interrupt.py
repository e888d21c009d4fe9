"""Ctrl-C on a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from birdnn.cli.interrupt import Interrupt
from birdnn.cli.progress import TerminalWatch
from tests.cli.conftest import ROOT


def test_the_second_signal_raises_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_the_user_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalWatch(quiet=True) as watch:
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.stopped()
        assert watch.stopped()
    assert capsys.readouterr().err.count("stopping at the next chance") == 1


@contextmanager
def _searching(net: Path, prop: Path, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A verification that has begun its search."""
    command = [sys.executable, "-m", "birdnn", "verify", "--net", net, "--prop", prop, "--json", target]
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "proving" in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.thorough
def test_once_stops_cleanly(endless: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    with _searching(*endless, target) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.startswith("unknown\n")
    assert "Traceback" not in err
    report = json.loads(target.read_text())
    assert report["interrupted"] is True
    assert report["properties"][0]["reason"] == "interrupted"
    assert report["boxes"] > 0


@pytest.mark.thorough
def test_twice_leaves_at_once(endless: tuple[Path, Path], tmp_path: Path) -> None:
    with _searching(*endless, tmp_path / "result.json") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
