"""Slopes along an input as training sees them, at points and on boxes, against torch; their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.repair.tangents import Tangents
from tests.bounds.builders import random_net
from tests.repair.graphs import GRAPHS, a_graph

BENT = [name for name in GRAPHS if name != "behind convolutions"]
"""Graphs of affine operators and activations; the other one takes maxima."""


def slopes(net: Network, x: Tensor, direction: int) -> Tensor:
    """By torch, (n, outputs)."""
    x = x.clone().requires_grad_(True)
    y = net(x)
    each = [torch.autograd.grad(part.sum(), x, retain_graph=True)[0][:, direction] for part in y.unbind(1)]
    return torch.stack(each, 1)


def inputs(net: Network, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, net.n_inputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BENT)
@pytest.mark.parametrize("direction", [0, 5])
def test_slopes_at_inputs_are_derivatives(name: str, direction: int) -> None:
    net = a_graph(name).float()
    x = inputs(net, 50)
    found = Tangents(net, direction).at(net, x)
    torch.testing.assert_close(found.detach(), slopes(net, x, direction), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["Relu", "LeakyRelu", "Tanh", "Sigmoid", "Elu"])
def test_slopes_of_every_activation(op: str) -> None:
    net = random_net(3, (4, 9, 7, 3), op, 0.1 if op in ("LeakyRelu", "Elu") else None).float()
    x = inputs(net, 50)
    found = Tangents(net, 2).at(net, x)
    torch.testing.assert_close(found.detach(), slopes(net, x, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BENT)
def test_intervals_hold_the_slopes_of_their_samples(name: str) -> None:
    net = a_graph(name).float()
    samples = inputs(net, 20, 1) + 0.2 * inputs(net, 20, 9, seed=1)
    middle, radius = (part.detach() for part in Tangents(net, 0).on_boxes(net, samples))
    seen = slopes(net, samples.flatten(0, 1), 0).reshape(20, 9, -1)
    room = 1e-4 * (1 + middle.abs() + radius)[:, None]
    assert bool(((seen - middle[:, None]).abs() <= radius[:, None] + room).all())
    assert bool((radius > 0).any())


def test_the_interval_of_one_input_is_a_number() -> None:
    net = random_net(1, (3, 8, 8, 2)).float()
    x = inputs(net, 30)
    tangents = Tangents(net, 1)
    middle, radius = tangents.on_boxes(net, x[:, None])
    torch.testing.assert_close(middle, tangents.at(net, x))
    assert float(radius.detach().abs().max()) <= 1e-5


@pytest.mark.parametrize("op", ["Relu", "Tanh"])
def test_gradients_by_the_weights_are_those_of_the_slopes(op: str) -> None:
    """Against quotients of differences in float64: of a smooth activation its own slope moves as well."""
    net = random_net(5, (3, 6, 5, 2), op).double()
    tangents, x = Tangents(net.copy().float(), 0), inputs(net, 20).double()
    tangents._start = tangents._start.double()
    name = next(name for name in net.initialisers() if net.value(name).dim() > 1)
    for value in net.parameters():
        value.requires_grad_(True)
    torch.autograd.backward(tangents.at(net, x)[:, 1].sum())
    gradient = net.value(name).grad
    assert gradient is not None
    assert bool(gradient.any())
    step = torch.zeros_like(gradient)
    for place in range(min(4, step.numel())):
        step.zero_().view(-1)[place] = 1e-6
        moved = [net.with_values({name: net.value(name).detach() + sign * step}) for sign in (1, -1)]
        up, down = (slopes(each, x, 0)[:, 1].sum() for each in moved)
        assert float((up - down) / 2e-6) == pytest.approx(float(gradient.view(-1)[place]), rel=1e-4, abs=1e-6)


def test_what_has_no_slopes_is_named() -> None:
    with pytest.raises(MismatchError, match=r"MaxPool.*is neither affine nor an activation"):
        Tangents(a_graph("behind convolutions"), 0)
    with pytest.raises(MismatchError, match="Softmax"):
        Tangents(a_graph("two heads", softmax=True), 0)
