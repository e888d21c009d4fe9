"""Hidden neurons: which there are, interventions on them, the weights that read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.neurons import Neuron, Weights, hidden_layers, neurons, rescaling_interventions, with_scaled_outputs
from tests.formats.models import model, node, perceptron
from tests.strategies import networks

RNG = np.random.default_rng(2)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def inputs(net: Network, seed: int, n: int = 5) -> torch.Tensor:
    return torch.randn(n, net.n_inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def column() -> Network:
    """``W @ x`` on column vectors: no batch axis, so that batches are mapped over the graph."""
    nodes = [node("MatMul", ["a", "x"], "h"), node("Tanh", ["h"], "t"), node("MatMul", ["b", "t"])]
    return network_from_onnx(model(nodes, {"a": floats(3, 4), "b": floats(2, 3)}, (4, 1)))


def convolutional() -> Network:
    nodes = [
        node("Conv", ["x", "c"], "h", pads=[1, 1, 1, 1]),
        node("Relu", ["h"], "r"),
        node("Flatten", ["r"], "f"),
        node("Gemm", ["f", "w"], "g", transB=1),
        node("Sigmoid", ["g"], "s"),
        node("MatMul", ["s", "v"], "o"),
        node("Sigmoid", ["o"], "p"),
        node("Reshape", ["p", "shape"], "y"),
    ]
    tensors = {"c": floats(2, 1, 3, 3), "w": floats(3, 32), "v": floats(3, 2), "shape": np.array([1, 2, 1])}
    return network_from_onnx(model(nodes, tensors, (1, 1, 4, 4)))


def residual() -> Network:
    nodes = [
        node("MatMul", ["x", "a"], "h"),
        node("Relu", ["h"], "r"),
        node("MatMul", ["r", "b"], "m"),
        node("Add", ["m", "r"], "s"),
        node("Relu", ["s"], "t"),
        node("MatMul", ["t", "b"]),
    ]
    return network_from_onnx(model(nodes, {"a": floats(4, 4), "b": floats(4, 4)}))


def test_hidden_layers_and_the_weights_that_read_them() -> None:
    (layer,) = hidden_layers(network_from_onnx(perceptron()))
    assert (layer.value, layer.node, layer.size, layer.weights) == ("r0", "the_Relu_r0", 6, (Weights("W1", 0),))
    first, second = hidden_layers(convolutional())  # the last sigmoid makes the output
    assert (first.value, first.size, first.weights) == ("r", 32, (Weights("w", 1),))
    assert (second.value, second.weights) == ("s", (Weights("v", 0),))
    (only,) = hidden_layers(column())
    assert only.weights == (Weights("b", 1),)
    # a sum reads the first, and both multiply by the same weights
    assert [layer.weights for layer in hidden_layers(residual())] == [(), ()]


def test_a_clamp_of_the_inputs_is_no_hidden_layer() -> None:
    nodes = [node("Clip", ["x"], "c", min=-1.0, max=1.0), node("MatMul", ["c", "a"])]
    assert hidden_layers(network_from_onnx(model(nodes, {"a": floats(4, 3)}, opset=10))) == ()


@given(net=networks(), seed=st.integers(0, 2**31), data=st.data())
def test_scaled_outputs_are_scaled_weights(net: Network, seed: int, data: st.DataObject) -> None:
    """Two ways to the same network: an intervention in the forward pass, and other weights."""
    chosen = data.draw(st.sets(st.sampled_from(neurons(net)), min_size=1, max_size=3))
    factors = {neuron: 1.0 + 0.5 * place for place, neuron in enumerate(sorted(chosen))} | {min(chosen): -0.75}
    x = inputs(net, seed)
    changed = with_scaled_outputs(net.double(), factors)
    by_intervention = net(
        x, rescaling_interventions(net, {neuron: (factor, 0.0) for neuron, factor in factors.items()})
    )
    assert torch.allclose(changed(x), by_intervention, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [column, convolutional])
def test_interventions_in_any_graph(make: object) -> None:
    net = make().double()
    x, last = inputs(net, 1), hidden_layers(net)[-1]
    fixed = {neuron: (0.0, 0.25 * neuron.index) for neuron in last.neurons()}
    (value, y) = net.observe(x, (last.value, net.output_name), rescaling_interventions(net, fixed))
    assert torch.allclose(value, 0.25 * torch.arange(last.size, dtype=torch.float64).expand(len(x), -1))
    assert torch.allclose(y, y[:1].expand_as(y))
    assert not torch.allclose(net(x), y)
    (untouched,) = net.observe(x, (net.output_name,))
    assert torch.equal(untouched, net(x))
    scaled = with_scaled_outputs(net, {Neuron(last.value, 1): 3.0})
    assert torch.allclose(scaled(x), net(x, rescaling_interventions(net, {Neuron(last.value, 1): (3.0, 0.0)})))
    assert net.observe(x[:0], (last.value,))[0].shape == (0, last.size)


def test_what_is_not_there_is_refused() -> None:
    net, other = network_from_onnx(perceptron()), residual()
    x = torch.zeros(1, 4)
    for names, interventions in ((("nothing",), {}), (("W1",), {}), (("y",), {"x": torch.neg}), ((), {"z": torch.neg})):
        with pytest.raises(MismatchError, match="no node"):
            net.observe(x, names, interventions)
    for neuron in (Neuron("r0", 6), Neuron("r0", -1), Neuron("y", 0)):
        with pytest.raises(MismatchError, match="no hidden neuron"):
            rescaling_interventions(net, {neuron: (1.0, 0.0)})
    with pytest.raises(MismatchError, match="cannot be scaled"):
        with_scaled_outputs(other, {Neuron("r", 0): 2.0})


def test_weights_that_are_transposed_before_they_are_read() -> None:
    """The slice of a neuron is that of the initialiser; one that is scaled on the way has none."""
    tensors = {"a": floats(5, 4), "b": floats(3, 5), "c": floats(3, 2), "s": floats(3, 2)}
    nodes = [
        node("Transpose", ["a"], "at", perm=[1, 0]),
        node("Transpose", ["b"], "bt", perm=[1, 0]),
        node("Mul", ["c", "s"], "cs"),
        node("MatMul", ["x", "at"], "h"),
        node("Relu", ["h"], "r"),
        node("MatMul", ["r", "bt"], "i"),
        node("Relu", ["i"], "q"),
        node("MatMul", ["q", "cs"], "y"),
    ]
    net = network_from_onnx(model(nodes, tensors))
    first, second = hidden_layers(net)
    assert (first.weights, second.weights) == ((Weights("b", 1),), ())
    x = inputs(net, 3)
    scaled = with_scaled_outputs(net.double(), {Neuron("r", 2): 3.0})
    assert torch.allclose(scaled(x), net(x, rescaling_interventions(net, {Neuron("r", 2): (3.0, 0.0)})))
