"""What ``birdnn-check`` says of options that it cannot use."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import metadata

import psutil
import pytest

from birdnn.certify.check import __main__ as checker
from birdnn.certify.check.__main__ import main


@pytest.mark.parametrize(
    ("option", "said", "told"),
    [
        ("--most", "abc", "a positive finite number is expected, not 'abc'"),
        ("--most", "nan", "a positive finite number is expected, not 'nan'"),
        ("--part", "x", "N/M with N from 0 to M - 1 is expected, not 'x'"),
        ("--part", "2/2", "N/M with N from 0 to M - 1 is expected, not '2/2'"),
        ("--sample", "abc", "a whole number of at least 1 is expected, not 'abc'"),
        ("--sample", "0", "a whole number of at least 1 is expected, not '0'"),
        ("--seed", "1.5", "a whole number of at least 0 is expected, not '1.5'"),
    ],
)
def test_what_is_expected_is_told_in_words(
    option: str, said: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse would name the function that reads the value."""
    with pytest.raises(SystemExit, match="2"):
        main(["--net", "n.onnx", option, said])
    assert f"argument {option}: {told}" in capsys.readouterr().err


def test_it_says_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """An assessor writes down what judged the certificate."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"birdnn-check {metadata.version('birdnn')}\n"


def test_whoever_waits_at_a_terminal_sees_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody else: what is piped holds the answer alone."""
    seconds = iter(range(100))
    monkeypatch.setattr(checker.time, "monotonic", lambda: next(seconds))
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal, raising=False)
        progress = checker._Progress()
        progress("proof of a\x1bb", 1, 2000)
        progress.clear()
        told = capsys.readouterr().err
        assert told == ("\rchecking proof of a\\x1bb: 1 of 2,000 nodes\x1b[K\r\x1b[K" if terminal else "")


def test_who_ends_it_ends_the_processes_that_check_other_parts() -> None:
    """`timeout` sends SIGTERM, of which Python leaves nothing in order by itself."""
    program = (
        "import subprocess, sys, time\n"
        "from birdnn.certify.check import __main__ as checker, parts\n"
        "class Sleeping(parts.Others):\n"
        "    def __init__(self):\n"
        "        self._running, self._commands = [], [[sys.executable, '-c', 'import time; time.sleep(600)']]\n"
        "def check(*args, **more):\n"
        "    with Sleeping():\n"
        "        print('started', flush=True)\n"
        "        time.sleep(600)\n"
        "checker.check = check\n"
        "checker.main(['--net', 'n.onnx', '--prop', 'p.vnnlib', 'c.json'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        (other,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    until = time.monotonic() + 60
    while other.is_running() and time.monotonic() < until:
        time.sleep(0.05)
    assert not other.is_running()
