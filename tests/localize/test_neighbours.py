"""Adversarial neighbours: on a classifier whose gradient is known, and what bounds them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from birdnn.formats.onnx import network_from_layers
from birdnn.localize import neighbours
from birdnn.localize.neighbours import adversarial_neighbours
from tests.classifiers import classifier, hard

NET = network_from_layers([(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))])
"""Scores are the inputs: to do worse at class 0 is to lower input 0 and to raise input 1."""


def near(x: Tensor, y: list[int], radius: float, seed: int = 0, steps: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return adversarial_neighbours(NET, x, torch.tensor(y), radius=radius, generator=generator, steps=steps)


def test_the_rim_that_does_worst_is_reached_from_anywhere() -> None:
    x = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    wanted = torch.tensor([[0.375, 0.625], [0.625, 0.375], [0.125, 0.875]])
    for seed in range(5):
        assert torch.allclose(near(x, [0, 1, 1], 0.125, seed), wanted, atol=1e-6)


@given(seed=st.integers(0, 999), radius=st.sampled_from([0.01, 0.5, 10.0]), steps=st.integers(0, 3))
def test_they_stay_near_and_within_the_values_that_examples_have(seed: int, radius: float, steps: int) -> None:
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed))
    found = near(x, [0, 1, 0, 1], radius, seed, steps)
    assert bool(((found - x).abs() <= radius + 1e-6).all())
    assert bool((found >= x.min()).all())
    assert bool((found <= x.max()).all())
    assert not found.requires_grad


def test_neighbours_do_not_depend_on_how_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one step, so that the start is seen."""
    x = torch.rand(7, 2, generator=torch.Generator().manual_seed(1))
    whole = near(x, [0] * 7, 0.3, steps=0)
    assert bool((whole != x).any())
    monkeypatch.setattr(neighbours, "_BATCH", 2)
    assert torch.equal(near(x, [0] * 7, 0.3, steps=0), whole)
    assert not torch.equal(near(x, [0] * 7, 0.3, seed=2, steps=0), whole)


@pytest.mark.parametrize("radius", [0.0, -1.0])
def test_without_a_radius_they_are_the_examples(radius: float) -> None:
    x = torch.tensor([[0.25, 0.5]])
    found = near(x, [0], radius)
    assert torch.equal(found, x)
    assert found.data_ptr() != x.data_ptr()
    assert near(x[:0], [], 0.1).shape == (0, 2)


def test_neighbours_stay_close_and_do_worse() -> None:
    net, images = classifier(), hard(40, 3)
    near = adversarial_neighbours(net, images.x, images.y, radius=0.05, generator=torch.Generator().manual_seed(0))
    assert float((near - images.x).abs().max()) <= 0.05 + 1e-6
    assert near.min() >= images.x.min()
    assert near.max() <= images.x.max()
    before, after = (cross_entropy(net(x), images.y) for x in (images.x, near))
    assert after > before
    none = adversarial_neighbours(net, images.x, images.y, radius=0.0, generator=torch.Generator().manual_seed(0))
    assert (none == images.x).all()
