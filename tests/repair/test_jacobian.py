"""Parameters as a vector: how far a layer may move."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from birdnn.formats.onnx import network_from_onnx
from birdnn.repair.jacobian import Trained
from tests.formats.models import model, node


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
