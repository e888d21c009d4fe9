"""The outputs as an affine function of the last weights: which these are, and that derivatives tell the whole story."""

from __future__ import annotations

import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.repair.jacobian import Trained
from birdnn.repair.readout import Readout
from tests.bounds.builders import random_net
from tests.repair.graphs import GRAPHS, a_graph


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_are_affine_in_the_last_values_and_no_others_are_named(name: str) -> None:
    """A change of any size moves the outputs by derivatives times change, jointly: features do not move."""
    net = a_graph(name)
    readout = Readout(net)
    assert readout.names == GRAPHS[name][1]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 16, generator=generator, dtype=torch.float64)
    change = 3 * torch.randn(len(readout), generator=generator, dtype=torch.float64)
    trained = Trained(net, names=readout.names)
    moved = trained.at(change)(x) - net(x)
    features = readout.features(x)
    for output in range(net.n_outputs):
        direction = torch.nn.functional.one_hot(torch.tensor([output]), net.n_outputs)
        rows = readout.rows(features, direction)
        assert torch.allclose(rows @ change, moved[:, output], atol=1e-4)
        assert not bool(rows[:, ~readout.moves[output]].any())  # what is said not to move it does not
        columns = readout.moves[output].nonzero()[:, 0]
        assert torch.equal(readout.rows(features, direction, columns), rows[:, columns])
    constant = readout.rows(features, torch.eye(net.n_outputs)[:1])[:, readout.constant]
    assert torch.equal(constant, constant[:1].expand_as(constant))


def test_a_value_that_is_read_twice_is_a_feature() -> None:
    """Its own weights would move what another layer reads."""
    assert set(Readout(a_graph("a layer that another reads as well")).reads) == {"z", "r"}


@pytest.mark.parametrize("name", GRAPHS)
def test_derivatives_by_features(name: str) -> None:
    net = a_graph(name)
    readout = Readout(net)
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    features = readout.features(x)
    direction = torch.randn(3, net.n_outputs, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    value, slope = readout.directed(net, features, direction)
    assert torch.allclose(value, (net(x) * direction).sum(1), atol=1e-6)
    step = torch.randn_like(features)
    other, _ = readout.directed(net, features + step, direction)
    assert torch.allclose(other - value, (slope * step).sum(1), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "there"),
    [("behind convolutions", True), ("behind a residual block", True), ("a transposed matrix", True)]
    + [(name, False) for name in ("two heads", "a sum of two layers, scaled", "a convolution at the end")],
)
def test_the_last_map_is_a_matrix_where_each_output_has_its_own_row(name: str, there: bool) -> None:
    net = a_graph(name)
    layer = Trained(net, 1).output_layer()
    assert (layer is not None) == there
    if layer is not None:
        x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        features = Readout(net).features(x)
        assert torch.allclose(features @ layer.weight.T + layer.bias, net(x), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in GRAPHS if Readout(a_graph(name)).matrix is not None])
def test_derivatives_of_a_matrix_are_those_that_gradients_say(name: str) -> None:
    """Nothing is derived there, so that nothing has to be loaded for it."""
    readout = Readout(a_graph(name))
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(6, readout.features(torch.zeros(1, 16)).shape[1], generator=generator, dtype=torch.float64)
    directions = torch.randn(6, readout.net.n_outputs, generator=generator, dtype=torch.float64)
    columns = torch.randperm(len(readout), generator=generator)[:5]
    said = readout.rows(features, directions), readout.rows(features, directions, columns)
    readout.matrix = None
    assert torch.equal(said[0], readout.rows(features, directions))
    assert torch.equal(said[1], readout.rows(features, directions, columns))


def test_what_ends_in_an_activation_is_refused() -> None:
    with pytest.raises(MismatchError, match="Softmax makes its outputs"):
        Readout(a_graph("behind convolutions", softmax=True))


def test_a_perceptron_has_the_features_that_its_last_matrix_reads() -> None:
    net = random_net(3, (4, 6, 5, 2))
    found = Readout(net)
    assert found.names == ("B2", "W2")
    assert len(found.features(torch.zeros(2, 4))[0]) == 5


@pytest.mark.parametrize("name", GRAPHS)
def test_no_features_have_no_derivatives(name: str) -> None:
    """A goal that nothing violates yet asks for none."""
    net = a_graph(name)
    readout = Readout(net)
    none = readout.features(torch.randn(1, 16, dtype=torch.float64))[:0]
    directions = torch.ones(1, net.n_outputs, dtype=torch.float64)
    assert readout.rows(none, directions).shape == (0, len(readout))
    value, slope = readout.directed(net, none, directions.expand(0, -1))
    assert value.shape == (0,)
    assert slope.shape == none.shape
