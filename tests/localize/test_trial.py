"""Blocks on trial: what counts as covered, how halves are cut, and that nothing of the network is changed."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch import Tensor

from benchmarks.digits.train import Images
from birdnn.blocks import Block, partition
from birdnn.localize.trial import Covered, TrialSettings, try_block
from birdnn.network import Network
from tests.classifiers import classifier, hard

SHORT = TrialSettings(steps=2, counted=(1, 2), halvings=1)
HALVES = torch.arange(40)[None] % 2 == 0


@lru_cache(maxsize=1)
def case() -> tuple[Network, Block, Images, Tensor]:
    """The classifier, a block of it, examples, and which of them it gets wrong."""
    net, images = classifier(), hard(40, 5)
    block = next(block for block in partition(net) if block.name == "layer2")
    return net, block, images, net(images.x).argmax(1) != images.y


def tried(settings: TrialSettings = SHORT, failing: Tensor | None = None, halves: Tensor = HALVES) -> Covered:
    net, block, images, wrong = case()
    return try_block(net, block, images.x, images.y, wrong if failing is None else failing, halves, settings)


def test_each_half_is_counted_once_and_each_counted_step_has_a_sum() -> None:
    found, wrong = tried(), case()[3]
    assert (found.n_failing, found.n_passing) == (int(wrong.sum()), int((~wrong).sum()))
    assert found.failing.shape == found.passing.shape == (2,)
    assert bool((found.failing >= 0).all())
    assert bool((found.passing >= 0).all())
    assert bool((found.failing <= found.n_failing).all())
    twice = tried(halves=HALVES.repeat(2, 1))
    assert torch.allclose(twice.failing, 2 * found.failing)
    assert torch.allclose(twice.passing, 2 * found.passing)
    assert (twice.n_failing, twice.n_passing) == (2 * found.n_failing, 2 * found.n_passing)
    turned = tried(halves=~HALVES)
    assert torch.allclose(turned.failing, found.failing)


def test_steps_that_do_not_count_are_not_looked_at() -> None:
    last, both = tried(replace(SHORT, counted=(2,))), tried()
    assert last.failing.tolist() == both.failing[1:].tolist()


@pytest.mark.parametrize("lonely", ["failing", "passing"])
def test_a_kind_that_one_half_lacks_is_tried_on_all(lonely: str) -> None:
    """One example cannot be halved: it is learnt from and counted, and so is everything else, once."""
    marked = torch.zeros(40, dtype=torch.bool)
    marked[7] = True
    failing = marked if lonely == "failing" else ~marked
    found = tried(failing=failing)
    assert (found.n_failing, found.n_passing) == (int(failing.sum()), int((~failing).sum()))
    whole = tried(failing=failing, halves=torch.cat([HALVES, ~HALVES]))
    assert whole.failing.tolist() == found.failing.tolist()


def test_the_network_is_left_as_it_was() -> None:
    net = case()[0]
    before = {name: value.detach().clone() for name, value in net.initialisers().items()}
    first, again = tried(), tried()
    assert all(torch.equal(before[name], value) for name, value in net.initialisers().items())
    assert (first.failing.tolist(), first.passing.tolist()) == (again.failing.tolist(), again.passing.tolist())


def test_a_step_of_no_size_covers_nothing_and_larger_ones_more() -> None:
    still, small, large = (tried(replace(SHORT, rate=rate)) for rate in (0.0, 0.001, 0.01))
    assert still.failing.tolist() == still.passing.tolist() == [0.0, 0.0]
    assert 0 < float(small.failing[-1]) < float(large.failing[-1])


def test_what_helps_failing_examples_is_covered_and_not_what_harms_them() -> None:
    """Were right classes and wrong ones exchanged in the count, the steps would cover nothing."""
    settings = TrialSettings(steps=8, counted=(8,), halvings=1)
    found = tried(settings, halves=torch.ones_like(HALVES))
    assert float(found.failing) > 0.1 * found.n_failing
    assert float(found.failing) / found.n_failing > float(found.passing) / found.n_passing
