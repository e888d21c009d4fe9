"""Derivatives by initialisers of any shape, wherever nodes move them, and in which order they are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.repair.jacobian import Trained
from tests.formats.models import Array, dense, model, node

TENSORS = dense(np.random.default_rng(1), 3, 5, 2)


def shifted(shift: Array) -> Network:
    """A perceptron whose hidden layer and outputs are shifted by a number as well."""
    nodes = [
        node("MatMul", ["x", "W0"], "m0"),
        node("Add", ["m0", "s"], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "W1"], "m1"),
        node("Add", ["m1", "t"]),
    ]
    tensors = {name: TENSORS[name] for name in ("W0", "W1")} | {"s": shift, "t": 2 * shift}
    return network_from_onnx(model(nodes, tensors, (1, 3)))


@pytest.mark.parametrize("shape", [(1,), (1, 1), ()])
def test_a_number_without_axes_is_a_parameter_like_others(shape: tuple[int, ...]) -> None:
    """``net(x) + 0.5`` is exported so; the derivatives are those of the same number with axes, and right."""
    trained = Trained(shifted(np.full(shape, 0.5, np.float32)), 10_000)
    reference = Trained(shifted(np.full(1, 0.5, np.float32)), 10_000)
    assert trained.names == reference.names == ("t", "W1", "s", "W0")
    generator = torch.Generator().manual_seed(0)
    x, directions = torch.randn(4, 3, generator=generator), torch.randn(4, 2, 2, generator=generator)
    nothing = torch.zeros(len(trained), dtype=torch.float64)
    rows = trained.rows(nothing, x, directions)
    assert torch.equal(rows, reference.rows(nothing, x, directions))
    change = 1e-3 * torch.randn(len(trained), generator=generator, dtype=torch.float64)
    moved = trained.at(change)(x) - trained.net(x)
    expected = torch.einsum("nqo,no->nq", directions, moved).flatten()
    assert torch.allclose(rows.double() @ change, expected.double(), atol=1e-4)
    assert trained.reach(nothing, change, 10.0) == 1.0


def test_weights_are_taken_from_the_output_backwards() -> None:
    """Where the nodes that move them all stand at the beginning of the file, too."""
    nodes = [
        node("Transpose", ["W1"], "V1", perm=[1, 0]),
        node("Transpose", ["W0"], "V0", perm=[1, 0]),
        node("MatMul", ["x", "V0"], "m0"),
        node("Add", ["m0", "B0"], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "V1"], "m1"),
        node("Add", ["m1", "B1"]),
    ]
    tensors = {name: value.T.copy() if name[0] == "W" else value for name, value in TENSORS.items()}
    net = network_from_onnx(model(nodes, tensors, (1, 3)))
    assert Trained(net, 1).names == ("B1", "W1")
    assert Trained(net, 10_000).names == ("B1", "W1", "B0", "W0")
    layer = Trained(net, 10_000).output_layer()
    assert layer is not None
    assert torch.equal(layer.weight, net.value("W1").detach().double())
