"""Responsibility: finds what was planted, does not depend on scales or on the sizes of the sets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from birdnn.localize import check_interventions, localize
from birdnn.network import Network
from birdnn.records import SampleSet
from tests.localize.planted import PLANTED, planted
from tests.strategies import ACTIVATIONS, Layers, layers


def some(net: Network, n: int, seed: int, shift: float = 0.0) -> SampleSet:
    x = torch.randn(n, net.n_inputs, generator=torch.Generator().manual_seed(seed)) + shift
    return SampleSet(x=x, y=torch.zeros(n, net.n_outputs), margin=torch.zeros(n))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_planted_neuron_comes_first_and_fixing_it_heals(activation: str) -> None:
    case = planted(activation)
    positives, negatives = case.samples(1)
    assert 100 < len(negatives) < len(positives) / 5
    found = localize(case.net, positives, negatives)
    assert found.ranking()[0].neuron == PLANTED
    good, bad = case.samples(2)
    (one, three) = check_interventions(
        case.net,
        found,
        positives=[(case.region, good.x)],
        negatives=[(case.region, bad.x)],
        counts=(1, 3, 1000),
        generator=torch.Generator().manual_seed(3),
    )
    assert (one.k, three.k, one.n) == (1, 3, len(bad))
    assert one.top < 0.01
    assert one.broken == 0.0
    assert one.draws == 20
    assert one.random_mean > 0.5
    assert three.top < three.random_mean - three.random_spread / 2


def test_interventions_on_a_random_ranking_do_not_beat_chance() -> None:
    """The check must be able to say no: the ranking turned round heals nothing."""
    case = planted("Relu")
    positives, negatives = case.samples(1)
    found = localize(case.net, positives, negatives)
    turned = dataclasses.replace(
        found,
        layers=tuple(dataclasses.replace(layer, responsibility=-layer.responsibility) for layer in found.layers),
    )
    good, bad = case.samples(2)
    (check,) = check_interventions(
        case.net,
        turned,
        positives=[(case.region, good.x)],
        negatives=[(case.region, bad.x)],
        counts=(1,),
        generator=torch.Generator().manual_seed(3),
    )
    assert check.top > 0.5


@given(made=layers(max_hidden=2), power=st.integers(-3, 3), seed=st.integers(0, 2**31))
def test_scaling_a_layer_and_undoing_it_in_the_next_changes_no_responsibility(
    made: Layers, power: int, seed: int
) -> None:
    factor = np.float32(2.0**power)
    (weight, bias), (following, last), *rest = made
    scaled = [(factor * weight, factor * bias), (following / factor, last), *rest]
    before, after = (
        localize(net, some(net, 50, seed), some(net, 30, seed + 1, shift=0.5))
        for net in (network_from_layers(made), network_from_layers(scaled))
    )
    for one, other in zip(before.layers, after.layers, strict=True):
        assert torch.allclose(one.responsibility, other.responsibility, rtol=1e-9, atol=1e-12)
        assert bool(((one.responsibility >= 0) & (one.responsibility <= 1)).all())


def test_a_neuron_that_never_wakes_up_has_none_and_one_that_separates_has_it_all() -> None:
    weight = np.array([[1.0], [1.0], [0.0]], np.float32)
    bias = np.array([-100.0, 0.0, 3.0], np.float32)
    net = network_from_layers([(weight, bias), (np.ones((1, 3), np.float32), np.zeros(1, np.float32))], "Relu")

    def at(value: float) -> SampleSet:
        return SampleSet(x=torch.full((4, 1), value), y=torch.zeros(4, 1), margin=torch.zeros(4))

    (layer,) = localize(net, at(1.0), at(2.0)).layers
    assert layer.responsibility.tolist() == [0.0, 1.0, 0.0]
    assert layer.alive.tolist() == [False, True, False]


def test_set_sizes_bias_the_sum_and_not_the_mean() -> None:
    case = planted("Sigmoid")
    positives, negatives = case.samples(1)
    equal = positives.where(torch.arange(len(positives)) < len(negatives))
    twice = SampleSet(
        x=torch.cat([equal.x, equal.x]),
        y=torch.cat([equal.y, equal.y]),
        margin=torch.cat([equal.margin, equal.margin]),
    )
    for form, same in (("mean", True), ("sum", False)):
        one, other = (localize(case.net, sets, negatives, form=form) for sets in (equal, twice))
        pairs = zip(one.layers, other.layers, strict=True)
        alike = [torch.allclose(a.responsibility, b.responsibility, rtol=1e-6, atol=1e-9) for a, b in pairs]
        assert all(alike) is same
    # with equal sizes the sum is the number of samples times the difference of means
    summed = localize(case.net, equal, negatives, form="sum")
    for layer in summed.layers:
        difference = (layer.positive - layer.negative).abs() * len(equal)
        assert torch.allclose(layer.responsibility, difference, rtol=1e-6, atol=1e-6)


def test_bad_questions() -> None:
    case = planted("Relu")
    positives, negatives = case.samples(1, count=500)
    nobody = positives.where(torch.zeros(len(positives), dtype=torch.bool))
    with pytest.raises(MismatchError, match="0 positive"):
        localize(case.net, nobody, negatives)
    affine = network_from_layers([(np.eye(16, dtype=np.float32), np.zeros(16, np.float32))], "Relu")
    with pytest.raises(MismatchError, match="no hidden neuron"):
        localize(affine, positives, negatives)


def test_an_unknown_form_is_refused() -> None:
    case = planted("Relu")
    sets = case.samples(1, count=500)
    with pytest.raises(Exception, match="form"):
        localize(case.net, *sets, form="median")
