"""Two repairs into one folder: one at a time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.processes import finished, killed, repair, require_whole, start, temporaries, wait_for

pytestmark = pytest.mark.faults


def test_the_second_is_refused_and_the_first_undisturbed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(*repair(out))
    wait_for(first, "solving|proving|measuring")
    first.send_signal(signal.SIGSTOP)  # it must not end before the second has begun
    status, _, err = finished(start(*repair(out)))
    first.send_signal(signal.SIGCONT)
    assert (status, "Traceback" in err) == (4, False)
    assert f"{out}: another repair is at work there" in err
    assert finished(first)[0] == 0
    require_whole(out)
    assert not temporaries(out)


def test_of_two_at_once_one_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [start(*repair(out), "--quiet"), start(*repair(out), "--quiet")]
    assert sorted(finished(process)[0] for process in both) == [0, 4]
    require_whole(out)
    assert not temporaries(out)


def test_one_that_was_killed_locks_nobody_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(*repair(out))
    wait_for(first, "solving|proving|measuring")
    killed(first)
    assert finished(start(*repair(out)))[0] == 0
