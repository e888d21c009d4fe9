"""Counting: what is a violation, and memory that runs out."""

from __future__ import annotations

import math
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from birdnn.network import Interventions, Network
from birdnn.sample.measures import UNIFORM, Samples
from birdnn.sample.tally import KEPT, Tally, evaluate_on_device, union_margin
from tests.sample.cases import SUM, box, corner, float32, generator, prop


def test_the_count_is_near_the_probability() -> None:
    tally = Tally(float32(SUM), corner(0.02), UNIFORM.draws(corner(0.02), generator()))
    while tally.n < 40_000:
        tally.add(1000)
    assert tally.violations == pytest.approx(800, abs=4 * 28)
    assert tally.seconds > 0
    assert len(tally.worst) == KEPT
    assert tally.worst.sum(1).max() <= 0.2


def test_the_boundary_and_nan_count_as_violations() -> None:
    interval = prop(box((0, 0), (1, 1), 0.5))
    x = torch.tensor([[0.25, 0.25], [0.5, 0.25]], dtype=torch.float64)
    tally = Tally(float32(SUM), interval, Samples(name="two", x=x).draws(interval, generator()))
    assert tally.add(10) == 2
    assert tally.violations == 1
    blind = Mock(spec=Network, side_effect=lambda points, _: points[:, :1] * math.nan)
    tally = Tally(blind, interval, UNIFORM.draws(interval, generator()))
    tally.add(7)
    assert tally.violations == 7


def test_each_region_judges_its_own_points() -> None:
    both = prop(box((0, 0), (1, 1), -9.0), box((0.5, 0), (2, 1), 9.0))
    x = torch.tensor([[0.2, 0.0], [0.7, 0.0], [1.5, 0.0], [5.0, 0.0]])
    assert (union_margin(both, x, SUM(x)) > 0).tolist() == [True, False, False, True]


def test_a_batch_beyond_memory_is_halved() -> None:
    def small(x: Tensor, _: Interventions) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError
        return SUM(x)

    x = torch.rand(10, 2)
    assert torch.equal(evaluate_on_device(Mock(spec=Network, side_effect=small), x), SUM(x))
    with pytest.raises(torch.OutOfMemoryError):
        evaluate_on_device(Mock(spec=Network, side_effect=torch.OutOfMemoryError), x)
