"""Spectra by hand, gradients of single examples, and damage that was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.digits.damage import damaged, mutant
from benchmarks.digits.train import Images
from birdnn.blocks import partition
from birdnn.errors import MismatchError
from birdnn.localize import SpectrumSettings, TrialSettings, localize_blocks
from birdnn.localize.neighbours import adversarial_neighbours
from birdnn.localize.symptoms import SpectrumExamples, _trace_examples, find_symptoms, suspiciousness
from birdnn.records import FORMULAS
from tests.classifiers import classifier, hard, quarters


def one(failing: float, passing: float, n: int, m: int, formula: str) -> float:
    return float(suspiciousness(torch.tensor(failing).double(), torch.tensor(passing).double(), n, m, formula))  # type: ignore[arg-type]


def test_formulas_by_hand() -> None:
    assert one(3, 10, 4, 40, "tarantula") == pytest.approx(0.75 / (0.75 + 0.25))
    # as many passing examples as failing ones: 3 of 4 failing, 1 of 4 passing
    assert one(3, 10, 4, 40, "ochiai") == pytest.approx(3 / (4 * (3 + 1)) ** 0.5)
    assert one(2, 10, 4, 40, "tarantula") == pytest.approx(0.5 / (0.5 + 0.25))
    assert one(2, 10, 4, 40, "ochiai") == pytest.approx(2 / (4 * (2 + 1)) ** 0.5)
    d = 3**2 / (1 + 1)
    assert one(3, 10, 4, 40, "dstar") == pytest.approx(d / (1 + d))


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_only_failing_examples_cover_is_most_suspicious(formula: str) -> None:
    values = [
        one(5, 0, 5, 50, formula),
        one(5, 25, 5, 50, formula),
        one(2, 25, 5, 50, formula),
        one(0, 0, 5, 50, formula),
    ]
    assert values == sorted(values, reverse=True)
    assert 0 == values[-1] < values[0] <= 1


def test_no_examples() -> None:
    with pytest.raises(MismatchError, match="0 failing"):
        one(0, 1, 0, 1, "ochiai")


def test_gradients_of_single_examples() -> None:
    net, images = classifier(), quarters(3, 5)
    nodes = [node for node in net.nodes if node.op == "Conv"]
    for node, trace in zip(nodes, _trace_examples(net, nodes, images.x, images.y), strict=True):
        for place in range(3):
            net.zero_grad()
            cross_entropy(net(images.x[place : place + 1]), images.y[place : place + 1]).backward()
            wanted = net.value(node.inputs[1]).grad
            assert wanted is not None
            assert torch.allclose(trace.gradient[place], wanted.flatten(1), atol=1e-5), node.name


def test_a_channel_that_only_failing_examples_switch_on() -> None:
    net = classifier()
    images, bright = quarters(30, 1), quarters(30, 2)
    node = next(node for node in net.nodes if node.op == "Conv")
    seen = SpectrumExamples(failing_x=bright.x + 2, failing_y=bright.y, passing_x=images.x, passing_y=images.y)
    (found,) = find_symptoms(net, [node], seen, "ochiai")
    assert float(found.forward.max()) == pytest.approx(1 / (1 + 0) ** 0.5, abs=0.2)
    same = SpectrumExamples(failing_x=images.x, failing_y=images.y, passing_x=images.x, passing_y=images.y)
    (found,) = find_symptoms(net, [node], same, "ochiai")
    assert float(found.forward.max()) < 0.8


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
