"""How many threads there are beside other programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from birdnn.cli import cores
from birdnn.cli.cores import SINCE, Ticks, busy_cores, count_ticks, spare_busy_cores


@pytest.mark.parametrize(
    ("load", "ours", "said", "threads"),
    [
        (0.3, 8, None, None),
        (3.9, 8, None, None),
        (5.5, 8, None, "2"),
        (4.0, 3, None, "3"),
        (11.0, 8, None, "1"),
        (11.0, 8, "5", "5"),
    ],
)
def test_busy_cores_are_spared(
    monkeypatch: pytest.MonkeyPatch, load: float, ours: int, said: str | None, threads: str | None
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(ours)), raising=False)
    environment = {} if said is None else {"OMP_NUM_THREADS": said}
    monkeypatch.setattr(os, "environ", environment)
    spare_busy_cores()
    assert environment.get("OMP_NUM_THREADS") == threads


def test_systems_that_do_not_tell_their_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.setattr(os, "environ", {})
    spare_busy_cores()
    assert not os.environ


@pytest.mark.parametrize(
    ("busy", "ours_s", "others"),
    [
        (100, 1.0, 0),  # one core of four for a second, and that is ours
        (110, 1.0, 0),
        (205, 1.0, 1),
        (390, 0.9, 3),
        (95, 1.0, 0),
    ],
)
def test_what_others_do_now_counts(monkeypatch: pytest.MonkeyPatch, busy: int, ours_s: float, others: int) -> None:
    """Not what an earlier command did: the load of the last minute is still high when the next one begins."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    monkeypatch.setattr(os, "getloadavg", lambda: (4.0, 0.0, 0.0))
    monkeypatch.setattr(cores, "count_ticks", lambda: Ticks(1400, 900 + 400 - busy, 2.0 + ours_s))
    token = SINCE.set(Ticks(1000, 900, 2.0))
    try:
        assert busy_cores() == others
        monkeypatch.setattr(cores, "count_ticks", lambda: Ticks(1009, 905, 2.0))
        assert busy_cores() == 4.0, "nine ticks say nothing"
        monkeypatch.setattr(cores, "count_ticks", lambda: None)
        assert busy_cores() == 4.0
    finally:
        SINCE.reset(token)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system counts no ticks")
def test_ticks_of_this_system() -> None:
    before = count_ticks()
    assert before is not None
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    now = count_ticks()
    assert now is not None
    assert now.every - before.every >= 10
    assert 0 <= now.idle - before.idle <= now.every - before.every
    assert now.ours_s - before.ours_s >= 0.2


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system counts no ticks")
def test_a_command_looks_when_it_begins() -> None:
    program = (
        "import atexit; from birdnn.cli import cores, main; atexit.register(lambda: print(cores.SINCE.get()))\n"
        "main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    assert "Ticks(every=" in done.stdout
