"""How a repair's time limit is divided between the repair and the page that shows it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.pipeline.settings import RepairSettings
from birdnn.records import RepairRequest

SETTINGS = RepairSettings()


def asked(timeout_s: float | None, *, report: bool) -> RepairRequest:
    return RepairRequest(net=Path("net.onnx"), timeout_s=timeout_s, report=report)


@pytest.mark.parametrize(
    ("limit", "page"),
    [(0.0, 0.0), (9.0, 3.0), (24.0, 8.0), (100.0, 8.0), (200.0, 12.0), (400.0, 20.0), (1000.0, 20.0)],
)
def test_the_page_has_its_share_a_least_and_a_most_and_never_more_than_a_third(limit: float, page: float) -> None:
    assert SETTINGS.page_of(limit) == pytest.approx(page)
    assert SETTINGS.limit_of(asked(limit, report=True), None) == pytest.approx(limit - page)
    assert SETTINGS.limit_of(asked(limit, report=False), None) == limit


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_limit_leaves_no_less_to_either(one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert SETTINGS.page_of(short) <= SETTINGS.page_of(long)
    assert short - SETTINGS.page_of(short) <= long - SETTINGS.page_of(long) + 1e-6


def test_without_a_limit_a_page_takes_nothing_away() -> None:
    assert SETTINGS.limit_of(asked(None, report=True), time.monotonic() - 5.0) == math.inf


def test_the_page_has_its_share_of_what_loading_left() -> None:
    began = time.monotonic() - 900.0
    assert SETTINGS.limit_of(asked(1000.0, report=True), began) == pytest.approx(92.0, abs=1.0)
    assert SETTINGS.limit_of(asked(100.0, report=True), began) == 0.0
