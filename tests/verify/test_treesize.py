"""Knuth's estimate of the number of boxes."""

from __future__ import annotations

import pytest
import torch

from birdnn.records import Proved
from birdnn.verify import verify
from tests.bounds.builders import half_space, make_property, random_layers
from tests.verify.cases import effort, estimate_boxes, with_replay


def test_the_estimate_is_within_a_factor_of_two() -> None:
    """A progress bar from it would be a lie otherwise. Some thousand boxes, three seeds."""
    net, replay = with_replay(random_layers(0, (5, 24, 24, 24, 1), scale=2.0))
    prop = make_property([-1.0] * 5, [1.0] * 5, half_space([1.0], -5.95))
    verdict = verify(net, prop, settings=effort(), replays=[replay])
    assert isinstance(verdict, Proved)
    assert 1500 < verdict.boxes < 20_000
    ratios = [estimate_boxes(net, prop, settings=effort(seed=seed), descents=128) / verdict.boxes for seed in range(3)]
    assert all(0.5 < ratio < 2 for ratio in ratios), ratios


def test_a_tree_of_one_box_is_counted_exactly() -> None:
    """And as many for as many regions: nothing to estimate."""
    net, _ = with_replay(random_layers(1, (2, 4, 1)))
    prop = make_property([0.0, 0.0], [1.0, 1.0], half_space([1.0], -99.0))
    assert estimate_boxes(net, prop, settings=effort(), descents=16) == 1.0


@pytest.mark.thorough
def test_the_mean_of_many_descents_is_the_number_of_boxes() -> None:
    """The estimate is unbiased: 20,000 descents of a small tree come within a few per cent."""
    net, replay = with_replay(random_layers(1, (2, 8, 8, 1), scale=3.0))
    x = 2 * torch.rand(100_000, 2, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        least = float(net(x)[:, 0].amin())
    prop = make_property([-1.0] * 2, [1.0] * 2, half_space([1.0], round(least - 0.02, 3)))
    boxes = verify(net, prop, settings=effort(batch=1), replays=[replay]).boxes
    assert boxes > 10
    assert abs(estimate_boxes(net, prop, settings=effort(), descents=20_000) / boxes - 1) < 0.08
