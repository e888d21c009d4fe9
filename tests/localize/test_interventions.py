"""Neurons fixed to their mean: counted by hand on a network of three neurons, of which one is to blame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from birdnn.formats.onnx import network_from_layers
from birdnn.localize import check_interventions, localize
from birdnn.localize.interventions import DRAWS
from birdnn.records import InterventionCheck, Localisation, SampleSet
from birdnn.records.limits import OutOfTime
from birdnn.spec import Polytope, Region, Row

NET = network_from_layers(
    [(np.array([[1.0], [0.125], [0.0]]), np.array([0.0, 0.0, 5.0])), (np.array([[1.0, 0.0, 0.0]]), np.zeros(1))], "Relu"
)
"""Neurons ``relu(x)``, which is the output, ``relu(x / 8)``, which nobody reads, and one that never varies."""

REGION = Region(
    exact_lower=(Fraction(0),),
    exact_upper=(Fraction(9),),
    unsafe=(Polytope(rows=(Row((Fraction(-1),), Fraction(-4)),), n_outputs=1),),
)
"""Outputs of 4 and more are unsafe."""


def samples(*x: float) -> SampleSet:
    points = torch.tensor(x, dtype=torch.float32)[:, None]
    return SampleSet(x=points, y=points, margin=4 - points[:, 0])


FOUND = localize(NET, samples(1, 2, 3), samples(5, 6, 9))


def checked(
    found: Localisation = FOUND,
    good: Sequence[float] = (0.5, 3.5),
    bad: Sequence[float] = (4.0, 8.0),
    counts: Sequence[int] = (1, 2, 3),
    seed: int = 0,
) -> tuple[InterventionCheck, ...]:
    def points(values: Sequence[float]) -> list[tuple[Region, Tensor]]:
        # two parts of a region, the second empty at times
        x = torch.tensor(values, dtype=torch.float32)[:, None]
        return [(REGION, x[:1]), (REGION, x[1:])]

    generator = torch.Generator().manual_seed(seed)
    return check_interventions(
        NET, found, positives=points(good), negatives=points(bad), counts=counts, generator=generator
    )


def test_fixing_the_one_to_blame_heals_all() -> None:
    """At 2, its mean over positive samples, nothing violates; of draws of one neuron half or so take the other."""
    one, two = checked()
    assert (one.k, one.top, one.broken, one.n, one.draws) == (1, 0.0, 0.0, 2, DRAWS)
    assert 0 < one.random_mean < 1
    assert (two.k, two.top, two.random_mean, two.random_spread) == (2, 0.0, 0.0, 0.0)


def test_fixing_another_heals_nothing_and_breaks_nothing() -> None:
    layer = FOUND.layers[0]
    turned = dataclasses.replace(layer, responsibility=torch.tensor([0.1, 0.9, 0.0], dtype=torch.float64))
    one, two = checked(dataclasses.replace(FOUND, layers=(turned,)))
    assert (one.top, one.broken) == (1.0, 0.0)
    assert two.top == 0.0


def test_a_mean_that_is_unsafe_breaks_what_was_right() -> None:
    """The share is of all points, whatever region they lie in."""
    layer = dataclasses.replace(FOUND.layers[0], positive=torch.tensor([4.0, 0.0, 5.0], dtype=torch.float64))
    one, _ = checked(dataclasses.replace(FOUND, layers=(layer,)), good=(1.0, 2.0, 3.0))
    assert (one.top, one.broken) == (1.0, 1.0)


def test_outputs_that_are_no_numbers_violate() -> None:
    layer = dataclasses.replace(FOUND.layers[0], positive=torch.tensor([float("nan"), 0.0, 5.0], dtype=torch.float64))
    one, _ = checked(dataclasses.replace(FOUND, layers=(layer,)))
    assert (one.top, one.broken) == (1.0, 1.0)


def test_neurons_that_never_vary_are_not_drawn() -> None:
    """Fixing one does nothing, and would flatter the ranking; so there are draws of at most two."""
    assert [check.k for check in checked(counts=(2, 3, 1000))] == [2]
    assert checked(counts=()) == ()


def test_the_draws_are_the_generators() -> None:
    assert checked(seed=1) == checked(seed=1)
    assert len({checked(seed=seed)[0].random_mean for seed in range(5)}) > 1


def test_without_time_there_is_no_check() -> None:
    points = [(REGION, torch.tensor([[5.0]]))]
    generator = torch.Generator()
    with pytest.raises(OutOfTime):
        check_interventions(
            NET, FOUND, positives=points, negatives=points, counts=(1,), generator=generator, over=lambda: True
        )
