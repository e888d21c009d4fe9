"""Neurons by their responsibility, and what interventions say together."""

from __future__ import annotations

import pytest
import torch

from birdnn.neurons import Neuron
from birdnn.records import Behaviour, InterventionCheck, Localisation, PropertyLocalisation


def layer(value: str, *responsibility: float) -> Behaviour:
    """Means of a neuron tell its place: n over positive samples, -n over negative ones."""
    size = len(responsibility)
    return Behaviour(
        value=value,
        node=f"relu_{value}",
        responsibility=torch.tensor(responsibility, dtype=torch.float64),
        positive=torch.arange(size, dtype=torch.float64),
        negative=-torch.arange(size, dtype=torch.float64),
        alive=torch.ones(size, dtype=torch.bool),
    )


FOUND = Localisation(form="mean", layers=(layer("a", 0.5, 0.25), layer("b", 0.5, 0.75, 0.0)), positives=3, negatives=2)


def test_the_most_responsible_come_first_and_equals_stay_in_order() -> None:
    assert [(entry.neuron, entry.layer, entry.value) for entry in FOUND.ranking()] == [
        (Neuron("b", 1), 1, 0.75),
        (Neuron("a", 0), 0, 0.5),
        (Neuron("b", 0), 1, 0.5),
        (Neuron("a", 1), 0, 0.25),
        (Neuron("b", 2), 1, 0.0),
    ]
    assert FOUND.size == 5


def test_each_neuron_keeps_its_own_means() -> None:
    for entry in FOUND.ranking():
        assert (entry.positive, entry.negative) == (entry.neuron.index, -entry.neuron.index)


def test_so_many_as_were_asked_for_are_named() -> None:
    first, second = FOUND.most(2)
    assert (first.rank, first.layer, first.node, first.neuron) == (1, 1, "relu_b", 1)
    assert (first.responsibility, first.positive_mean, first.negative_mean) == (0.75, 1.0, -1.0)
    assert (second.rank, second.layer, second.node, second.neuron) == (2, 0, "relu_a", 0)
    assert FOUND.most(0) == ()
    assert len(FOUND.most(99)) == 5


def test_all_of_a_layer_is_published() -> None:
    _, told = FOUND.told()
    assert (told.value, told.node, told.responsibility) == ("b", "relu_b", (0.5, 0.75, 0.0))
    assert (told.positive_mean, told.negative_mean) == ((0.0, 1.0, 2.0), (0.0, -1.0, -2.0))


def test_draws_say_their_mean_and_how_far_they_spread() -> None:
    found = InterventionCheck.of(3, 0.125, [0.25, 0.75], broken=0.5, n=40)
    assert (found.random_mean, found.random_spread) == (0.5, pytest.approx(0.125**0.5))
    assert (found.k, found.top, found.draws, found.broken, found.n) == (3, 0.125, 2, 0.5, 40)
    # The spread of a sample is that of two draws at least.
    assert InterventionCheck.of(1, 0.0, [0.25], broken=0.0, n=1).random_spread == 0.0


def test_there_is_something_to_localise_where_layers_were_told() -> None:
    made = {
        told: PropertyLocalisation(
            name="p",
            path="/p",
            sha256="ab",
            text="",
            samples=5,
            uniform=0,
            found_by="sampling",
            distinct=0,
            layers=FOUND.told() if told else (),
        )
        for told in (True, False)
    }
    assert (made[True].outcome, made[True].size) == ("localised", 5)
    assert (made[False].outcome, made[False].size) == ("nothing_to_localise", 0)
