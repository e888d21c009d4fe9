"""Networks side by side compute what each computes by itself."""

from __future__ import annotations

import pytest
import torch

from birdnn.chain import Affine
from birdnn.joint import Part, network_of_variables, side_by_side
from birdnn.network import Network
from tests.bounds.builders import random_net
from tests.repair.graphs import a_graph


@pytest.mark.parametrize("reads", [((0, 1, 2), (0, 1, 2)), ((2, 0, 0), (1, 1, 3))])
def test_outputs_follow_each_other(reads: tuple[tuple[int, ...], ...]) -> None:
    nets = random_net(0, (3, 5, 4, 2)), random_net(1, (3, 6, 3))
    parts = [Part(net=net, reads=each) for net, each in zip(nets, reads, strict=True)]
    joint = side_by_side(parts, 4, sha256="name")
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart = torch.cat([part.net(part.inputs(x)) for part in parts], 1)
        assert torch.equal(joint(x), apart)
    assert (joint.n_inputs, joint.n_outputs, joint.sha256) == (4, 5, "name")
    assert len(joint.repairable) == sum(len(net.repairable) for net in nets)


def test_graphs_and_networks_of_one_sample() -> None:
    """Convolutions beside a network whose file describes one sample."""
    graph = a_graph("behind convolutions")
    chain = random_net(3, (16, 4, 2))
    parts = [Part(net=net, reads=tuple(range(16))) for net in (graph, chain, graph)]
    joint = side_by_side(parts, 16)
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.cat([net(x) for net in (graph, chain, graph)], 1)
        assert torch.allclose(joint(x), expected, atol=1e-6)


def test_a_network_of_the_variables_is_a_chain() -> None:
    """What picks its inputs is folded into the first layer, exactly; what picks nothing is the network itself."""
    net = random_net(0, (3, 5, 2))
    assert network_of_variables(Part(net=net, reads=(0, 1, 2)), 3) is net
    made: Network = network_of_variables(Part(net=net, reads=(3, 0, 3)), 4)
    first, own = made.chain()[0], net.chain()[0]
    assert isinstance(first, Affine)
    assert isinstance(own, Affine)
    wanted = torch.zeros(5, 4, dtype=torch.float64)
    wanted[:, 3], wanted[:, 0] = own.weight[:, 0] + own.weight[:, 2], own.weight[:, 1]
    assert torch.allclose(first.weight, wanted)
