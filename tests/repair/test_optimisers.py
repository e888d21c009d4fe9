"""Particle swarm and CMA-ES: they find a minimum, repeat with a seed, leave torch's generator alone, and stop."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from birdnn.repair.optimisers import OPTIMISERS, Optimiser, Search

TARGET = torch.tensor([0.5, -0.25, 0.0, 0.75])

every_optimiser = pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)


def search(k: int = 4, **changes: object) -> Search:
    said: dict[str, object] = {
        "lower": -torch.ones(k),
        "upper": torch.ones(k),
        "start": torch.zeros(k),
        "seed": 3,
        "evaluations": 2000,
        "stopped": lambda: False,
    }
    return Search(**{**said, **changes})


def bowl(candidates: Tensor) -> Tensor:
    return (candidates - TARGET[: candidates.shape[1]]).square().sum(1)


@every_optimiser
@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_minimum_is_found(optimiser: Optimiser, k: int) -> None:
    assert isinstance(optimiser, Optimiser)
    assert torch.allclose(optimiser(bowl, search(k)), TARGET[:k], atol=0.02)


@every_optimiser
def test_candidates_stay_in_the_box_and_within_the_budget(optimiser: Optimiser) -> None:
    seen: list[Tensor] = []

    def outside(candidates: Tensor) -> Tensor:
        seen.append(candidates.clone())
        return -candidates.sum(1)  # the minimum is a corner

    best = optimiser(outside, search(evaluations=300, upper=torch.full((4,), 0.5)))
    everything = torch.cat(seen)
    assert 200 <= len(everything) <= 300
    assert float(everything.min()) >= -1
    assert float(everything.max()) <= 0.5
    assert torch.allclose(best, torch.full((4,), 0.5), atol=0.15)


@every_optimiser
def test_a_seed_repeats_and_the_global_generator_is_left_alone(optimiser: Optimiser) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    few = search(evaluations=100)
    first, second = optimiser(bowl, few), optimiser(bowl, few)
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(optimiser(bowl, search(evaluations=100, seed=4)), first)


@every_optimiser
def test_the_start_is_a_candidate_and_what_is_no_number_is_never_best(optimiser: Optimiser) -> None:
    start = torch.full((4,), 0.125)

    def only_the_start(candidates: Tensor) -> Tensor:
        return torch.where((candidates == start).all(1), 1.0, float("nan"))

    assert torch.equal(optimiser(only_the_start, search(start=start, evaluations=100)), start)


@every_optimiser
def test_it_stops_when_told(optimiser: Optimiser) -> None:
    seen = 0

    def counted(candidates: Tensor) -> Tensor:
        nonlocal seen
        seen += len(candidates)
        return bowl(candidates)

    optimiser(counted, search(stopped=lambda: seen >= 60))
    assert 60 <= seen <= 100


@pytest.mark.thorough
def test_the_packages_are_imported_only_when_they_are_used() -> None:
    """EvoX alone takes more than a second."""
    told = "import sys, birdnn.pipeline.repairing; sys.exit(len({'evox', 'cmaes'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", told], check=False, timeout=120).returncode == 0
