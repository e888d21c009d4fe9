"""Freed memory stays with processes that are ours, unless the user says something else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from birdnn import heap

_FAULTS = """
import resource, sys
import numpy as np
from birdnn.heap import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    for _ in range(20):
        held = [np.ones(1 << 20) for _ in range(4)]
        del held

if sys.argv[1] == "kept":
    assert keep_freed_memory()
work()
before = faults()
work()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep it by themselves")
@pytest.mark.skipif(not hasattr(heap.ctypes.CDLL(None), "mallopt"), reason="this C library has no such setting")
def test_memory_that_was_freed_is_not_asked_for_anew() -> None:
    """Each page that the system hands out is cleared and costs a fault: 640 MiB of them, or next to none."""

    def faults(word: str) -> int:
        done = subprocess.run([sys.executable, "-c", _FAULTS, word], check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults("kept") * 10 < faults("as it is")


def test_a_user_who_says_how_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert not heap.keep_freed_memory()


@pytest.mark.parametrize("library", [object(), type("Library", (), {"mallopt": lambda *_: 0})])
def test_a_library_that_cannot_is_left_alone(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: library)
    assert not heap.keep_freed_memory()
