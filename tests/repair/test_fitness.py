"""The fitness: its batched forward pass and its shares against a slow, plain evaluation."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.neurons import Neuron, hidden_layers, neurons, with_scaled_outputs
from birdnn.repair.fitness import Healed, ModificationFitness, Preserved, ScaledOutputs
from birdnn.spec import Polytope, Region, Row
from tests.bounds.builders import random_net

ACTIVATIONS = ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"]
LEVEL = 1.25


def points(count: int, seed: int) -> Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 4 - 2


def some_neurons(net: Network, k: int) -> list[Neuron]:
    order = torch.randperm(len(neurons(net)), generator=torch.Generator().manual_seed(7))
    return [neurons(net)[i] for i in order[:k].tolist()]


def changes(count: int, k: int) -> Tensor:
    return torch.rand(count, k, generator=torch.Generator().manual_seed(8)) * 2 - 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_candidates_at_once_are_each_of_them_alone(activation: str) -> None:
    """Through interventions here, through the weights of the network that is written there."""
    net = random_net(3, (2, 8, 8, 3), activation)
    chosen, x, candidates = some_neurons(net, 6), points(50, 0), changes(5, 6)
    assert len({neuron.value for neuron in chosen}) == len(hidden_layers(net)) == 2
    together = ScaledOutputs(net, chosen)(candidates, x)
    assert together.shape == (5, 50, 3)
    for change, y in zip(candidates, together, strict=True):
        alone = with_scaled_outputs(net, {n: 1 + r for n, r in zip(chosen, change.tolist(), strict=True)})
        with torch.no_grad():
            assert torch.allclose(alone(x), y, atol=1e-5)


def unsafe(least: float) -> Region:
    """Output 0 must stay above."""
    row = Row((Fraction(1), Fraction(0), Fraction(0)), Fraction(least))
    corner = (Fraction(2), Fraction(2))
    return Region(
        exact_lower=tuple(-c for c in corner), exact_upper=corner, unsafe=(Polytope(rows=(row,), n_outputs=3),)
    )


def plain(net: Network, chosen: list[Neuron], change: Tensor, alpha: float, parts: tuple[Tensor, ...]) -> float:
    """The two shares for one candidate, point by point; unsafe is output 0 at most `LEVEL`, asked for is 0.125 more."""
    after = with_scaled_outputs(net, {n: 1 + r for n, r in zip(chosen, change.tolist(), strict=True)})
    bad, inside, domain = parts

    def answers(which: Network, x: Tensor) -> list[list[float]]:
        with torch.no_grad():
            return [[float(v) for v in row] for row in which(x)]

    violated = sum(not y[0] - LEVEL > 0.125 for y in answers(after, bad))
    kept = 0
    for x, in_region in ((inside, True), (domain, False)):
        for was, now in zip(answers(net, x), answers(after, x), strict=True):
            kept += was.index(min(was)) == now.index(min(now)) and (not in_region or now[0] > LEVEL)
    return (1 - alpha) * violated / len(bad) + alpha * (1 - kept / (len(inside) + len(domain)))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_fitness_is_what_the_paper_says_up_to_less_than_a_point(alpha: float) -> None:
    net = random_net(5, (2, 8, 8, 3), "Tanh")
    chosen, candidates = some_neurons(net, 6), changes(12, 6)
    bad, inside, domain = points(40, 1), points(30, 2), points(50, 3)
    fitness = ModificationFitness(
        ScaledOutputs(net, chosen),
        [Healed(unsafe(LEVEL), bad, 0.125, 0.25)],
        [Preserved(unsafe(LEVEL), inside), Preserved(None, domain)],
        alpha=alpha,
        decision="argmin",
    )
    found = fitness(candidates).tolist()
    slow = [plain(net, chosen, change, alpha, (bad, inside, domain)) for change in candidates]
    assert len({round(value, 6) for value in slow}) > 3
    counts = [(1 - alpha) / 40, alpha / 80]
    point = min(share for share in counts if share > 0)
    for value, expected in zip(found, slow, strict=True):
        assert -1e-6 <= value - expected < point


def test_where_the_shares_are_flat_less_lacking_is_better() -> None:
    """Every point violates for both candidates: without the smooth term a search could not tell them apart."""
    net = random_net(5, (2, 8, 3))
    every, far = some_neurons(net, 8), unsafe(10.0)
    fitness = ModificationFitness(
        ScaledOutputs(net, every), [Healed(far, points(40, 1), 0.0, 1.0)], [], alpha=0.0, decision="none"
    )
    with torch.no_grad():
        candidates = changes(20, 8)
        lacking = (10.0 - ScaledOutputs(net, every)(candidates, points(40, 1))[..., 0]).mean(1)
    found = fitness(candidates)
    assert bool((found >= 1).all())
    assert int(found.argmin()) == int(lacking.argmin())


def test_outputs_that_are_no_numbers_violate_and_are_not_preserved() -> None:
    net = random_net(5, (2, 8, 3))
    fitness = ModificationFitness(
        ScaledOutputs(net, some_neurons(net, 2)),
        [Healed(unsafe(-1000.0), points(10, 1), 0.0, 1.0)],
        [Preserved(None, points(10, 2))],
        alpha=0.5,
        decision="argmin",
    )
    good, bad = fitness(torch.tensor([[0.0, 0.0], [math.nan, math.nan]])).tolist()
    assert good < 0.01
    assert bad >= 1.0
