"""The replayed scheduler: every task once, never faster than work allows, and shared by all workers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ray", reason="Ray is not installed: make engines")

from benchmarks.ray.simulate import simulated


def tree(sizes: list[float]) -> dict:
    """Two first tasks, each of which opens three others, and so on."""
    tasks = {
        str(i): {
            "boxes": 10,
            "seconds": size,
            "bytes": 1000,
            "children": [str(c) for c in range(3 * i + 2, 3 * i + 5) if c < len(sizes)],
        }
        for i, size in enumerate(sizes)
    }
    return {"before_s": 0.5, "after_s": 0.25, "merging_s": 0.01, "first": ["0", "1"], "tasks": tasks}


@given(sizes=st.lists(st.floats(0.01, 2.0), min_size=2, max_size=80), workers=st.integers(1, 70))
@settings(max_examples=50)
def test_every_task_is_done_once_by_somebody(sizes: list[float], workers: int) -> None:
    seconds, busy, done = simulated(tree(sizes), workers)
    assert done == len(sizes)
    assert seconds >= 0.75 + max(sum(sizes) / workers, max(sizes))
    assert 0 < busy <= 1


def test_more_workers_share_the_work() -> None:
    told = tree([0.5] * 2000)
    one, eight = (simulated(told, workers)[0] for workers in (1, 8))
    assert 6 < (one - 0.75) / (eight - 0.75) <= 8.0
