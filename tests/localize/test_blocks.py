"""Blocks ranked: damage that was planted, few examples, and what many weights cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.digits.damage import damaged, mutant
from benchmarks.digits.train import Images
from birdnn.blocks import partition
from birdnn.errors import MismatchError
from birdnn.localize import SpectrumSettings, TrialSettings, localize_blocks
from tests.classifiers import classifier, hard, quarters


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["layer1", "layer2"])
def test_planted_damage_is_found(name: str) -> None:
    net, drawn = classifier(), quarters(300, 7)
    right = net(drawn.x).argmax(1) == drawn.y
    images = Images(drawn.x[right], drawn.y[right])
    block = next(block for block in partition(net) if block.name == name)

    def failing(other: object) -> float:
        return 1 - float((other(images.x).argmax(1) == images.y).double().mean())  # type: ignore[operator]

    bad, _ = mutant(net, block, "noise", 3, failing, (0.2, 0.4))
    found = localize_blocks(bad, partition(bad), images.x, images.y, settings=SpectrumSettings(radius=0.01), seed=0)
    assert found.ranking()[0].name == name
    assert [entry.suspiciousness is None for entry in found.blocks] == [False, False, False, True]
    assert found.near_failing > 0


def test_blocks_of_many_weights_step_less_and_pay_for_them() -> None:
    trial = TrialSettings(steps=2, counted=(2,), halvings=1)
    assert trial.step(10_000) == trial.rate
    assert trial.step(160_000) == pytest.approx(trial.rate / 2)
    net, images = classifier(), hard(60, 9)
    dear, free, level = (
        localize_blocks(
            net, partition(net), images.x, images.y, settings=SpectrumSettings(trial=steps, price=price), seed=0
        )
        for steps, price in ((trial, 0.5), (trial, 0.0), (replace(trial, falls=0.0), 0.0))
    )
    assert {e.name: e.suspiciousness for e in free.ranking()} != {e.name: e.suspiciousness for e in level.ranking()}
    assert {e.name: e.suspiciousness * e.weights**0.5 for e in dear.ranking() if e.suspiciousness} == pytest.approx(
        {e.name: e.suspiciousness for e in free.ranking()}
    )


@pytest.mark.thorough
@pytest.mark.parametrize("count", [1, 5])
def test_few_failing_examples_suffice(count: int) -> None:
    net, images = classifier(), hard(300, 9)
    right = net(images.x).argmax(1) == images.y
    keep = torch.cat([(~right).nonzero()[:count, 0], right.nonzero()[:50, 0]])
    settings = SpectrumSettings(radius=0.02)
    found = localize_blocks(net, partition(net), images.x[keep], images.y[keep], settings=settings, seed=0)
    assert (found.failing, found.passing) == (count, 50)
    assert len(found.ranking()) == 3
    again = localize_blocks(net, partition(net), images.x[keep], images.y[keep], settings=settings, seed=0)
    assert again == found


def test_both_kinds_of_examples_are_needed() -> None:
    net, images = classifier(), quarters(20, 1)
    decided = net(images.x).argmax(1)
    with pytest.raises(MismatchError, match="0 examples fail and 20 pass"):
        localize_blocks(net, partition(net), images.x, decided, settings=SpectrumSettings(), seed=0)


def test_damage_touches_one_block() -> None:
    net = classifier()
    block = partition(net)[1]
    for kind in ("noise", "swap"):
        other = damaged(net, block, kind, 0.5, 0)
        changed = {
            name for name, value in net.initialisers().items() if not torch.equal(value, other.initialisers()[name])
        }
        assert changed
        assert changed <= set(block.weights(net))
