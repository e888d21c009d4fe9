"""Properties decided on both networks: in order, with their evidence, and each with its share of the time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from birdnn.compare import deciding
from birdnn.compare.deciding import compared_properties
from birdnn.compare.pair import Pair, read_pair
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.judging import Answer
from birdnn.records import CompareRequest, Progress, Unknown, Unwatched
from tests.compare.files import linear


class Told:
    """A watch that never stops anything."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def update(self, progress: Progress) -> None:
        self.phases.append(progress.phase)

    def stopped(self) -> bool:
        return False


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """``x`` and ``x + 1/2`` on the unit interval: of `low` below 5/4, `high` below 3, `never` below 0.9."""
    files = [linear(tmp_path / f"{name}.onnx", [[1]], [bias]) for name, bias in (("a", 0.0), ("b", 0.5))]
    props = []
    for name, bound in (("low", 1.25), ("high", 3.0), ("never", 0.9)):
        props.append(tmp_path / f"{name}.vnnlib")
        props[-1].write_text(
            "(declare-const X_0 Real)(declare-const Y_0 Real)"
            f"(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= Y_0 {bound}))"
        )
    return read_pair(CompareRequest(before=files[0], after=files[1], props=tuple(props[:2]), keep=(props[2],), seed=5))


def test_each_property_on_both(pair: Pair) -> None:
    watch = Told()
    low, high, never = compared_properties(pair, Clock(timeout_s=math.inf, watch=watch))
    assert [(entry.name, entry.role, entry.became) for entry in (low, high, never)] == [
        ("low", "goal", "lost"),
        ("high", "goal", "kept"),
        ("never", "keep", "violated in both"),
    ]
    assert (low.before, low.after) == ("proved", "violated")
    assert low.before_counterexample is None
    assert low.after_counterexample is not None
    assert low.after_counterexample.y[0] >= 1.25
    assert never.before_counterexample is not None
    assert never.before_counterexample.y[0] < never.after_counterexample.y[0]  # type: ignore[union-attr]
    assert low.before_arithmetic is not None
    assert "float32" in low.before_arithmetic
    assert watch.phases[:3] == ["deciding low on A", "deciding low on B", "deciding high on A"]
    assert len(watch.phases) == 6


def test_questions_share_what_is_left_of_the_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick answer leaves its time to the others; the last one has all that is left."""
    now, given = [0.0], []

    def stand_in(loaded: Any, subject: Any, clock: Clock, effort: Any) -> Answer:
        given.append((effort.seconds, effort.seed, effort.semantics))
        now[0] += 1.0
        return Answer(verdict=Unknown(reason="timeout", boxes=0, open_boxes=0), verify_s=1.0)

    monkeypatch.setattr(deciding, "decide", stand_in)
    found = compared_properties(pair, Clock(timeout_s=60.0, watch=Unwatched(), now=lambda: now[0]))
    assert given == [((60 - i) / (6 - i), 5, "float32") for i in range(6)]
    assert [entry.became for entry in found] == ["undecided"] * 3
    given.clear()
    compared_properties(pair, Clock(timeout_s=math.inf, watch=Unwatched(), now=lambda: now[0]))
    assert [seconds for seconds, _, _ in given] == [math.inf] * 6


def test_without_time_nothing_is_proved(pair: Pair) -> None:
    """A counterexample that an end point happens to be is one."""
    found = compared_properties(pair, Clock(timeout_s=0.0, watch=Unwatched()))
    assert "proved" not in {word for entry in found for word in (entry.before, entry.after)}


def test_without_properties_there_is_nothing(pair: Pair, tmp_path: Path) -> None:
    none = read_pair(CompareRequest(before=tmp_path / "a.onnx", after=tmp_path / "b.onnx"))
    assert compared_properties(none, Clock(timeout_s=1.0, watch=Unwatched())) == ()
