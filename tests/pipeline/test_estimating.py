"""`estimate` on files: what a reader sees on the way, interruptions, devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.estimating import estimate_files
from birdnn.records import EstimateRequest, Progress
from tests.cli.conftest import box_property


class Reader:
    """Collects the news, and stops as soon as one of them says so."""

    def __init__(self, stop: Callable[[Progress], bool] = lambda news: False) -> None:
        self.news: list[Progress] = []
        self.stop, self.has_stopped = stop, False

    def update(self, news: Progress) -> None:
        self.news.append(news)
        self.has_stopped |= self.stop(news)

    def stopped(self) -> bool:
        return self.has_stopped


@pytest.fixture
def request_of(tmp_path: Path) -> EstimateRequest:
    """The sum of two inputs of the unit square, above 1.5 in an eighth of it."""
    net, prop = tmp_path / "sum.onnx", tmp_path / "low.vnnlib"
    net.write_bytes(layers_to_onnx([(np.array([[1.0, 1.0]]), np.array([0.0]))]))
    prop.write_text(box_property(2, "(>= Y_0 1.5)"))
    return EstimateRequest(net=net, props=(prop,), samples=50_000, splitting=True)


def test_a_fixed_number_of_draws_shows_no_count_on_the_way(request_of: EstimateRequest) -> None:
    """Whoever sees it may stop at a moment of his choice, and then the bound would not hold."""
    reader = Reader()
    outcome = estimate_files(request_of, watch=reader)
    assert outcome.properties[0].violations > 5000
    assert any("samples" in news.detail for news in reader.news)
    assert not any("violate" in news.detail for news in reader.news)


def test_interrupted_while_counting(request_of: EstimateRequest) -> None:
    outcome = estimate_files(request_of, watch=Reader(lambda news: "samples" in news.detail))
    (entry,) = outcome.properties
    assert outcome.interrupted
    assert 0 < entry.n < 50_000
    assert (entry.bound.n, entry.rare) == (entry.n, None)


def test_interrupted_while_splitting(request_of: EstimateRequest) -> None:
    """Repetitions that have not arrived would count as no violation."""
    outcome = estimate_files(request_of, watch=Reader(lambda news: news.phase.startswith("splitting")))
    (entry,) = outcome.properties
    assert outcome.interrupted
    assert (entry.n, entry.rare) == (50_000, None)


@pytest.mark.parametrize("more", [{}, {"anytime": True, "epsilon": 0.2}, {"anytime": True, "epsilon": 0.05}])
@pytest.mark.parametrize("scenario", [False, True])
def test_all_statements_share_delta(request_of: EstimateRequest, scenario: bool, more: dict[str, Any]) -> None:
    """An interval and a bound inside of it, each with all of delta, erred with one and a half of it."""
    asked = replace(request_of, splitting=False, samples=500, scenario=scenario, attempts=3, **more)
    outcome = estimate_files(replace(asked, epsilon=more.get("epsilon", 0.4)))
    (entry,) = outcome.properties
    # where the bound errs the interval does as well, which is one of the statements then
    assert entry.bound.epsilon >= entry.interval.upper * (1 - 1e-9)
    errors = [1 - entry.interval.confidence, *(each.delta for each in entry.surrogates)]
    assert len(errors) == 1 + scenario
    assert sum(errors) == pytest.approx(asked.delta / asked.attempts)


@pytest.mark.gpu
def test_on_a_graphics_device(request_of: EstimateRequest) -> None:
    outcome = estimate_files(replace(request_of, device="cuda", scenario=True, epsilon=0.1))
    (entry,) = outcome.properties
    assert entry.interval.lower < 0.125 < entry.interval.upper
    assert entry.rare is not None
    assert entry.rare.estimate == pytest.approx(0.125, rel=0.1)
    assert entry.counterexample is not None
