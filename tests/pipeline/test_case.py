"""What is asked of a case is told by type, and each subject is counted where it belongs."""

from __future__ import annotations

from pathlib import Path

from birdnn.pipeline.case import Applicable, Asked, Points
from tests.pipeline.subjects import above, case_of, identity


def test_points_are_asked_for_and_state_no_region(tmp_path: Path) -> None:
    goal = Asked(prop=above(1.0), path="goal", text="", role="goal")
    points = Points(prop=above(1.0), path="points", text="", role="goal", radius=0.1)
    besides = Applicable(prop=above(1.0), path="besides", text="")
    case = case_of(identity(tmp_path, 0.0), goal, besides, points)
    assert case.asked == (goal, points)
    assert case.points == (points,)
    assert case.applicable == (besides,)
    assert case.stated == (goal, besides)
