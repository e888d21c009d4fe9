"""What people are told of how far a search is: counted down, made again, never finished before it is."""

from __future__ import annotations

import pytest

from birdnn.records import Progress, Unknown
from birdnn.verify import outlook, search, verify
from birdnn.verify.outlook import Outlook
from birdnn.verify.pace import Pace
from tests.verify.cases import Impatient, effort
from tests.verify.test_search import endless


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_time_left_is_counted_down_between_estimates() -> None:
    clock = Clock()
    view = Outlook(regions=1, now=clock)
    assert view.left_s(0) is view.done(0) is None
    clock.seconds = 10.0
    assert view.due(100)
    view.estimated(100, 300.0, begun=9.0)
    assert view.left_s(100) == pytest.approx(30.0)  # ten boxes a second
    assert view.done(100) == pytest.approx(0.25)
    seen = []
    for second in range(11, 30):
        clock.seconds = float(second)
        seen.append(view.left_s(10 * second))
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen), "frozen"


def test_an_estimate_that_was_too_small_is_no_end() -> None:
    """The search goes on: no time left is told, no hundred per cent, and the next estimate comes soon."""
    clock = Clock()
    view = Outlook(regions=1, now=clock)
    clock.seconds = 100.0
    view.estimated(1000, 50.0, begun=99.9)
    clock.seconds = 130.0
    assert view.overrun(2000)
    assert view.left_s(2000) is None
    assert view.done(2000) == 0.99
    assert view.due(2000)


def test_an_estimate_that_did_not_end_leaves_nothing_stale() -> None:
    clock = Clock()
    view = Outlook(regions=1, now=clock)
    clock.seconds = 10.0
    view.estimated(100, 300.0, begun=9.0)
    view.estimated(120, None, begun=9.0)
    assert view.left_s(130) is view.done(130) is None
    assert not view.overrun(130)


def test_the_end_of_one_region_is_not_the_end() -> None:
    """An estimate speaks about the region at hand only."""
    clock = Clock()
    view = Outlook(regions=4, now=clock)
    clock.seconds = 10.0
    view.estimated(100, 100.0, begun=9.0)
    assert view.done(100) == pytest.approx(0.125)
    assert view.left_s(100) == pytest.approx(10.0 + 3 * 20.0)
    view.region_done(200)
    assert view.done(200) == pytest.approx(0.25)
    assert view.left_s(200) is None


def test_nobody_reads_a_hundred_per_cent_beside_open_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: estimates that are far too small, in a search that never ends."""
    monkeypatch.setattr(search, "boxes_below", lambda *args, **options: 5.0)
    monkeypatch.setattr(search, "_NEWS_EVERY_S", 0.0)
    monkeypatch.setattr(outlook, "FIRST_S", 0.0)
    monkeypatch.setattr(outlook, "SHARE", 1e-12)  # the first estimate is the only one
    net, prop, engine = endless()
    watch = Impatient(400)
    assert isinstance(verify(net, prop, settings=effort(batch=8), replays=[engine], watch=watch), Unknown)
    told: list[Progress] = [news for news in watch.news if "open" in news.detail]
    assert len(told) > 20
    assert all(news.done is None or news.done <= 0.99 for news in told)
    assert any("time left unknown" in news.detail for news in told)
    assert all(news.left_s is None for news in told if "unknown" in news.detail)


def test_the_last_step_fits_into_what_is_left() -> None:
    pace = Pace()
    assert pace.fitting(256, 1.0) == 256  # nothing is known yet
    pace.took(10, 20.0)
    assert pace.fitting(256, float("inf")) == 256
    assert pace.fitting(256, 10_000.0) == 256
    assert pace.fitting(256, 30.0) == 15
    assert pace.fitting(256, 0.1) == 1
