"""Which initialisers a repair may change."""

from __future__ import annotations

import numpy as np
import torch
from onnx import helper, numpy_helper

from birdnn.formats.onnx import network_from_onnx
from tests.formats.models import Array, model, node, perceptron

RNG = np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def test_preprocessing_is_never_repairable() -> None:
    """The mean that is subtracted before the first layer is part of what the input means."""
    net = network_from_onnx(perceptron())
    assert net.repairable == {"W0", "B0", "W1", "B1"}
    assert set(net.initialisers()) == {"mean", "W0", "B0", "W1", "B1"}
    assert {
        name for name, value in net.initialisers().items() if isinstance(value, torch.nn.Parameter)
    } == net.repairable


def test_repairable_in_a_residual_convolutional_network() -> None:
    """Weights, biases, scale, shift; not statistics, shapes, constants, later scalings, normalisation of the input."""
    tensors = {
        "c1": floats(3, 2, 3, 3), "d1": floats(3), "s": floats(3), "t": floats(3), "m": floats(3), "v": floats(3) ** 2,
        "c2": floats(3, 3, 1, 1), "b2": floats(1, 3, 1, 1), "w": floats(2, 27), "b": floats(2), "gain": floats(2),
        "pm": floats(2), "pv": floats(2) ** 2, "ps": floats(2), "pt": floats(2),
        "shape": np.array([1, -1], np.int64),
    }  # fmt: skip
    nodes = [
        node("BatchNormalization", ["x", "ps", "pt", "pm", "pv"], "pre"),
        node("Conv", ["pre", "c1", "d1"], "h1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["h1", "s", "t", "m", "v"], "h2"),
        node("Relu", ["h2"], "h3"),
        node("Conv", ["h3", "c2"], "h4"),
        node("Add", ["h4", "b2"], "h5"),
        node("Add", ["h5", "h3"], "h6"),
        node("Reshape", ["h6", "shape"], "flat"),
        node("Transpose", ["w"], "wt", perm=[1, 0]),
        node("MatMul", ["flat", "wt"], "o1"),
        node("Add", ["b", "o1"], "o2"),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(floats(2), "k")),
        node("Add", ["o2", "k"], "o3"),
        node("Mul", ["o3", "gain"], "y"),
    ]
    net = network_from_onnx(model(nodes, tensors, (1, 2, 3, 3)))
    assert net.repairable == {"c1", "d1", "s", "t", "c2", "b2", "w", "b"}
    assert "k" not in net.initialisers()
    assert "k" in net.values()
    assert net.graph.batched


def test_a_shared_parameter_stays_one() -> None:
    """Two nodes that read one initialiser must see the same change."""
    weight = floats(3, 3)
    nodes = [node("MatMul", ["x", "w"], "a"), node("Relu", ["a"], "b"), node("MatMul", ["b", "w"], "y")]
    net = network_from_onnx(model(nodes, {"w": weight}, (1, 3)))
    assert len(list(net.parameters())) == 1
    net(torch.ones(1, 3)).sum().backward()
    once = [value.grad for value in net.parameters()]
    assert once[0] is not None
    changed = net.with_values({"w": torch.eye(3)})
    assert torch.equal(changed(torch.tensor([[1.0, -2.0, 3.0]])), torch.tensor([[1.0, 0.0, 3.0]]))


def test_a_batch_normalization_of_the_input_and_a_weight_used_twice_are_excluded() -> None:
    """An initialiser that also serves preprocessing is preprocessing."""
    nodes = [node("Add", ["x", "b"], "a"), node("MatMul", ["a", "w"], "c"), node("Add", ["c", "b"], "y")]
    net = network_from_onnx(model(nodes, {"w": floats(3, 3), "b": floats(3)}, (1, 3)))
    assert net.repairable == {"w"}
