"""Proved bounds of a place: above every difference there, for as long as was asked, and told as they fall."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from birdnn.compare.bounding import proved_apart
from birdnn.compare.pair import Place
from birdnn.pipeline.clock import Clock
from birdnn.records import Progress, ProvedApart, Unwatched, Watch
from birdnn.spec import Region
from birdnn.verify.differing import bound_of_difference
from tests.bounds.builders import random_net

NETS = random_net(1, (2, 6, 2)), random_net(2, (2, 6, 2))
NOTHING = torch.zeros(2, dtype=torch.float64)


class Told:
    """A watch that never stops anything."""

    def __init__(self) -> None:
        self.news: list[Progress] = []

    def update(self, progress: Progress) -> None:
        self.news.append(progress)

    def stopped(self) -> bool:
        return False


def ticking(watch: Watch) -> Clock:
    """A clock that is a second further whenever it is looked at: the same work on any machine."""
    ticks = itertools.count()
    return Clock(timeout_s=math.inf, watch=watch, now=lambda: float(next(ticks)))


def region(low: float, high: float) -> Region:
    return Region(exact_lower=(Fraction(low),) * 2, exact_upper=(Fraction(high),) * 2, unsafe=())


def bounded(
    *regions: Region, enough: Tensor = NOTHING, seconds: float = 1.0, watch: Watch | None = None
) -> ProvedApart:
    bound, _ = bound_of_difference(*NETS)
    clock = ticking(watch or Unwatched())
    found = proved_apart(bound, Place(name="p", regions=regions), enough, 64, clock, seconds)
    assert found is not None
    return found


BOUNDED = bounded(region(-1, 0), region(2, 3), seconds=20)


@given(seed=st.integers(0, 99))
def test_no_difference_exceeds_its_bound(seed: int) -> None:
    """In any of the regions of a place."""
    found = BOUNDED
    draw = torch.Generator().manual_seed(seed)
    x = torch.cat([torch.rand(50, 2, generator=draw, dtype=torch.float64) + low for low in (-1.0, 2.0)])
    with torch.no_grad():
        apart = (NETS[1].copy().double()(x) - NETS[0].copy().double()(x)).abs().amax(0)
    assert bool((apart <= torch.tensor(found.upper) + 1e-9).all())


def test_the_first_bound_is_there_however_short_the_time() -> None:
    found = bounded(region(-1, 0), region(2, 3))
    assert (found.place, found.boxes, found.complete) == ("p", 2, False)
    assert found.arithmetic == BOUNDED.arithmetic
    assert "reals" in found.arithmetic
    assert all(late <= early for late, early in zip(BOUNDED.upper, found.upper, strict=True))
    assert BOUNDED.boxes > 2


def test_what_is_enough_ends_it() -> None:
    found = bounded(region(-1, 0), enough=torch.full((2,), 1e6, dtype=torch.float64), seconds=60)
    assert (found.boxes, found.complete) == (1, True)
    only_one = torch.tensor([1e6, 0.0], dtype=torch.float64)
    assert not bounded(region(-1, 0), enough=only_one).complete


def test_when_everything_ends_there_is_none() -> None:
    bound, _ = bound_of_difference(*NETS)
    clock = Clock(timeout_s=0.0, watch=Unwatched())
    assert proved_apart(bound, Place(name="p", regions=(region(0, 1),)), NOTHING, 64, clock, 10.0) is None


def test_news_name_the_place_and_are_never_more_than_done() -> None:
    watch = Told()
    bounded(region(-1, 0), seconds=10, watch=watch)
    assert watch.news
    assert {news.phase for news in watch.news} == {"bounding the difference, p"}
    assert all(news.done is not None and 0 <= news.done <= 1 for news in watch.news)
    assert all("boxes, at most" in news.detail for news in watch.news)


def test_a_point_is_bounded_by_its_difference() -> None:
    with torch.no_grad():
        x = torch.full((1, 2), 0.5, dtype=torch.float64)
        apart = (NETS[1].copy().double()(x) - NETS[0].copy().double()(x)).abs()[0]
    assert bounded(region(0.5, 0.5)).upper == pytest.approx(apart.tolist(), abs=1e-6)
