"""When a stage has to end, and what a part of it may take."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.pipeline.clock import Clock, Deadline, no_deadline, remaining_limit
from birdnn.records import Unwatched
from birdnn.records.limits import never


class Hand:
    """A clock that somebody sets."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Stopped(Unwatched):
    """A user who wants an end."""

    def stopped(self) -> bool:
        return True


def until(end: float, now: Hand) -> Deadline:
    return Deadline(until=end, stopped=never, now=now)


@pytest.mark.parametrize(("now", "over", "left"), [(9.0, False, 1.0), (10.0, True, 0.0), (11.0, True, 0.0)])
def test_a_stage_is_over_at_its_very_end(now: float, over: bool, left: float) -> None:
    deadline = until(10.0, Hand(now))
    assert (deadline.over(), deadline.left_s()) == (over, left)


def test_whoever_wants_an_end_ends_every_part() -> None:
    deadline = Deadline(until=math.inf, stopped=lambda: True, now=Hand())
    assert deadline.over()
    assert deadline.part(0.5).over()
    assert not no_deadline().over()


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1))
def test_a_part_lies_between_now_and_the_end(now: float, end: float, share: float) -> None:
    hand = Hand(now)
    whole = until(end, hand)
    part = whole.part(share)
    assert part.left_s() == pytest.approx(share * whole.left_s(), abs=1e-6)
    assert now <= part.until <= max(now, end) + 1e-6


def test_no_share_of_no_limit_is_no_limit() -> None:
    assert no_deadline().part(0.0).until == math.inf
    assert until(10.0, Hand(4.0)).part(0.0).over()


@pytest.mark.parametrize(
    ("end", "count", "affordable"),
    [(105.0, 1000, 300), (102.0, 1000, 1), (50.0, 1000, 1), (105.0, 7, 7), (0.0, 1000, 1)],
)
def test_what_a_first_run_costs_more_is_not_counted(end: float, count: int, affordable: int) -> None:
    """A hundred pieces take a second, after a start of a hundred seconds; both measurements have been spent by then."""
    now, seconds = Hand(), iter([101.0, 1.0])

    def once() -> int:
        now.seconds += next(seconds)
        return 100

    assert until(end, now).affordable(count, once) == affordable


def test_what_takes_no_time_is_affordable_whatever_it_counts() -> None:
    assert until(1.0, Hand()).affordable(5, lambda: 0) == 5


def test_a_limit_counts_from_now_where_nobody_says_since_when() -> None:
    assert remaining_limit(None) == math.inf
    assert remaining_limit(0.0) == 0.0
    assert remaining_limit(1e-9, 0.0) == 0.0
    assert remaining_limit(5.0, time.monotonic() + 1.0) > 5.0


def test_seconds_of_a_stage_add_up() -> None:
    now = Hand(5.0)
    clock = Clock(timeout_s=math.inf, watch=Unwatched(), now=now)
    for begun, seconds in ((5.0, 2.0), (6.0, 1.0)):
        now.seconds = 7.0
        assert clock.book("verify", begun) == seconds
    clock.book("repair", 7.0)
    assert clock.spent == {"verify": 3.0, "repair": 0.0}
    assert clock.wall_s() == 2.0


def test_a_reserve_beyond_the_limit_leaves_the_search_nothing() -> None:
    clock = Clock(timeout_s=10.0, reserve_s=20.0, watch=Unwatched(), now=Hand())
    assert (clock.left_s(), clock.over()) == (0.0, True)
    assert (clock.end.left_s(), clock.stage(0.5).left_s()) == (10.0, 5.0)
    assert clock.left_of(1.0) == -10.0


def test_a_user_ends_search_and_stages_at_once() -> None:
    clock = Clock(timeout_s=math.inf, watch=Stopped(), now=Hand())
    assert clock.over()
    assert clock.end.over()
    assert clock.stage(1.0).over()
    assert clock.left_s() == math.inf
