"""Splitting against probabilities that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from birdnn.records import RareEvent, Unwatched
from birdnn.sample import splitting
from birdnn.sample.measures import UNIFORM
from birdnn.sample.splitting import SplittingSettings, violation_probability
from birdnn.spec import Property
from tests.sample.cases import SUM, box, corner, float32, generator, prop

SETTINGS = SplittingSettings(first=20_000, seeds=100, particles=500, moves=25)


def split(target: Property, seed: int, settings: SplittingSettings = SETTINGS) -> tuple[RareEvent, Tensor]:
    return violation_probability(
        float32(SUM),
        UNIFORM.cube(target),
        settings=settings,
        generator=generator(seed),
        measure=UNIFORM.name,
        watch=Unwatched(),
    )


def is_near(found: RareEvent, probability: float) -> bool:
    """Within four standard errors, which are less than a factor of 1.5."""
    assert found.log10_se is not None
    return found.log10_se < 0.17 and abs(math.log10(found.estimate / probability)) < 4 * found.log10_se


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_in_a_hundred_million(seed: int) -> None:
    found, points = split(corner(1e-8), seed)
    assert is_near(found, 1e-8), found
    assert len(found.repetitions) == 10
    assert found.evaluations < 10**6  # counting would see its first violation after a hundred times as many
    assert len(points)
    assert float(points.sum(1).max()) <= math.sqrt(2e-8)


def test_a_probability_that_the_first_level_sees() -> None:
    found, _ = split(corner(0.2), 1)
    assert is_near(found, 0.2), found


def test_no_violation_is_an_estimate_of_zero_without_spread() -> None:
    found, points = split(prop(box((0, 0), (1, 1), -1.0)), 1, SplittingSettings(first=2000, particles=50, levels=8))
    assert (found.estimate, found.log10_se, len(points)) == (0.0, None, 0)


def test_overlapping_regions_count_once() -> None:
    """A triangle that both of two overlapping squares hold, on a union of area 1.5."""
    both = prop(box((0, 0), (1, 1), 1e-3), box((0, 0), (1, 1.5), 1e-3))
    found, _ = split(both, 1)
    assert is_near(found, 5e-7 / 1.5), found


def test_the_check_sees_steps_that_are_not_reversible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clamped instead of reflected, particles pile up on the faces, where this violation lies."""

    def clamped(swarm: splitting._Swarm, u: Tensor) -> Tensor:
        step = torch.randn(u.shape, generator=swarm.generator, dtype=u.dtype)
        return (u + swarm.settings.widest * step * torch.rand(u.shape[:2], generator=swarm.generator)[..., None]).clamp(
            0, 1
        )

    monkeypatch.setattr(splitting._Swarm, "_propose_step", clamped)
    assert not is_near(split(corner(1e-8), 1)[0], 1e-8)


def test_the_check_sees_particles_that_do_not_move() -> None:
    still = SplittingSettings(first=20_000, seeds=100, particles=500, moves=0)
    assert split(corner(1e-8), 1, still)[0].estimate == 0.0


def test_a_plateau_is_passed() -> None:
    """Half of the points and more share the quantile's height: the level is the next one above."""
    heights = torch.tensor([[-3.0] * 8 + [-2.0, -1.0], [-3.0] * 10, [-1.0, 0.0, 2.0, 3.0, 4.0, -1, -1, -1, -1, -1]])
    assert splitting._next_levels(heights, 3).tolist() == [-2.0, math.inf, 0.0]
