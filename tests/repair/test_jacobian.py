"""Derivatives by initialisers of any shape, wherever nodes move them, in which order they are taken, and how
far a layer may move."""

from __future__ import annotations

from itertools import pairwise

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


def test_the_last_layer_of_one_output_is_a_layer() -> None:
    """However large the one before it is: a layer of one output has a vector of weights."""
    tensors = dense(np.random.default_rng(2), 300, 100, 1)
    nodes = [
        node("MatMul", ["x", "W0"], "m0"),
        node("Add", ["m0", "B0"], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "W1"], "m1"),
        node("Add", ["m1", "B1"]),
    ]
    assert Trained(network_from_onnx(model(nodes, tensors, (1, 300))), 50).names == ("B1", "W1")


@pytest.mark.parametrize("asleep", [0.0, 1e-30])
def test_a_layer_of_zeros_holds_no_other(asleep: float) -> None:
    """It has no size to move by: as if each value were a hundredth of what the network's are."""
    net = shifted(np.zeros(1, np.float32))
    trained = Trained(net.with_values({"W0": torch.full((3, 5), asleep)}), 10_000)
    nothing, towards = torch.zeros(len(trained)).double(), torch.ones(len(trained)).double()
    assert trained.reach(nothing, towards, float("inf")) == 1.0
    size = torch.cat([trained.original, torch.zeros(0)]).square().mean().sqrt()
    assert trained.reach(nothing, towards, 0.5) == pytest.approx(0.5 * 0.01 * float(size))
    zero = Trained(net.with_values({name: torch.zeros_like(value) for name, value in net.initialisers().items()}), 9)
    assert zero.reach(nothing[: len(zero)], towards[: len(zero)], float("inf")) == 1.0


@pytest.mark.parametrize("sizes", [(30, 8, 2), (30, 8, 8, 2)])
def test_a_bias_whose_matrix_is_left_out_belongs_to_the_layer_behind_it(sizes: tuple[int, ...]) -> None:
    """Of a ``MatMul`` followed by an ``Add`` the bias may be trained where the matrix is too large to be."""
    rng, tensors, nodes, value = np.random.default_rng(0), {}, [], "x"
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        tensors[f"W{i}"] = rng.normal(size=(n_in, n_out)).astype(np.float32)
        tensors[f"B{i}"] = rng.normal(size=n_out).astype(np.float32)
        last = i == len(sizes) - 2
        nodes += [node("MatMul", [value, f"W{i}"], f"m{i}"), node("Add", [f"m{i}", f"B{i}"], "y" if last else f"a{i}")]
        nodes += [] if last else [node("Relu", [f"a{i}"], f"r{i}")]
        value = f"r{i}"
    net = network_from_onnx(model(nodes, tensors, (1, sizes[0])))
    behind = sum(tensors[f"{kind}{i}"].size for kind in "WB" for i in range(1, len(sizes) - 1))
    trained = Trained(net, behind + tensors["B0"].size)
    assert set(trained.names) == set(tensors) - {"W0"}

    def farthest(moving: str, *layer: str) -> None:
        """Where one initialiser moves alone, half of the size of its layer."""
        towards = torch.zeros(len(trained)).double()
        parts = torch.split(towards, [tensors[name].size for name in trained.names])
        parts[trained.names.index(moving)].fill_(1e3)
        moved = trained.reach(torch.zeros_like(towards), towards, 0.5) * float(towards.norm())
        size = np.linalg.norm(np.concatenate([tensors[name].ravel() for name in layer]).astype(np.float64))
        assert moved == pytest.approx(0.5 * float(size))

    farthest("B0", "B0", "W1", "B1")
    if len(sizes) > 3:
        farthest("B2", "W2", "B2")
