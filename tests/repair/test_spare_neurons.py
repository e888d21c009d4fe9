"""Neurons that are given other work: the ones with which least is lost, in every layout of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records.limits import OutOfTime
from birdnn.repair.spare_neurons import SpareNeurons
from birdnn.sample import evaluate
from tests.bounds.builders import Layers, graph_net, random_layers

SIZES = (3, 7, 6, 2)


def inputs(count: int = 2000, n: int = 3) -> torch.Tensor:
    return 2 * torch.rand(count, n, generator=torch.Generator().manual_seed(0)) - 1


def loss_of(net: Network, x: torch.Tensor):
    """Mean change of outputs, relative to their size."""
    before = evaluate(net, x)
    return lambda after: float((evaluate(after, x) - before).abs().mean() / before.abs().mean())


def spare_of(net: Network, **more: object) -> SpareNeurons:
    x = inputs()
    return SpareNeurons(net, x, loss_of(net, x), **more)  # type: ignore[arg-type]


def with_idle(layers: Layers, layer: int, neuron: int) -> Layers:
    """The same, but for a neuron that is never active."""
    made = [(w.copy(), b.copy()) for w, b in layers]
    made[layer][1][neuron] = -100
    return made


def in_layout(layers: Layers, layout: str) -> Network:
    """The same function as files write it."""
    tensors, nodes, value = dict[str, np.ndarray](), list[tuple](), "x"
    for k, (weight, bias) in enumerate(layers):
        out = "y" if k == len(layers) - 1 else f"z{k}"
        names = f"w{k}", f"b{k}"
        match layout:
            case "MatMul, Add":
                tensors |= {names[0]: weight.T.copy(), names[1]: bias}
                nodes += [("MatMul", [value, names[0]], f"m{k}", {}), ("Add", [f"m{k}", names[1]], out, {})]
            case "Add first":
                tensors |= {names[0]: weight.T.copy(), names[1]: bias[None]}
                nodes += [("MatMul", [value, names[0]], f"m{k}", {}), ("Add", [names[1], f"m{k}"], out, {})]
            case "Gemm":
                tensors |= {names[0]: weight.T.copy(), names[1]: bias}
                nodes += [("Gemm", [value, *names], out, {})]
            case "Gemm, transposed":
                tensors |= {names[0]: weight, names[1]: bias}
                nodes += [("Gemm", [value, *names], out, {"transB": 1})]
            case "column":
                value = value if k else "column"
                if not k:
                    tensors["shape"] = np.array([-1, 1])
                    nodes += [("Reshape", ["x", "shape"], "column", {})]
                tensors |= {names[0]: weight, names[1]: bias[:, None]}
                nodes += [("MatMul", [names[0], value], f"m{k}", {}), ("Add", [f"m{k}", names[1]], out, {})]
        if out != "y":
            nodes.append(("Relu", [out], f"h{k}", {}))
            value = f"h{k}"
    return graph_net(nodes, tensors, (1, layers[0][0].shape[1]))


LAYOUTS = "MatMul, Add", "Add first", "Gemm", "Gemm, transposed", "column"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_idle_neuron_goes_first_and_nothing_is_lost(layout: str) -> None:
    net = in_layout(with_idle(with_idle(random_layers(1, SIZES), 0, 4), 1, 2), layout)
    spare = spare_of(net)
    assert spare.layers == 2
    assert None not in [spare.take(layer, 0.0) for layer in range(2)]
    assert spare.lost == 0
    assert torch.equal(evaluate(spare.network(), inputs()), evaluate(net, inputs()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_neuron_computes_what_it_is_told(layout: str) -> None:
    layers = with_idle(with_idle(random_layers(1, SIZES), 0, 4), 1, 2)
    net, x = in_layout(layers, layout), inputs()
    spare = spare_of(net)
    one, other = spare.take(0, 0.0), spare.take(1, 0.0)
    assert one is not None
    assert other is not None
    spare.read(0, one, {1: 2.0}, 3.0)
    spare.read(1, other, {one: 0.5}, 0.25)
    spare.write(other, torch.tensor([1.0, -1.0]))
    added = ((2 * x[:, 1] + 3).clamp(min=0) * 0.5 + 0.25).clamp(min=0)
    expected = evaluate(net, x) + torch.stack([added, -added], 1)
    assert torch.allclose(evaluate(spare.network(), x), expected, atol=1e-5)
    # and so in other proportions
    spare.balance(1.0)
    spare.write(other, torch.tensor([1.0, -1.0]))
    assert spare.scale != 1
    assert torch.allclose(evaluate(spare.network(), x), expected, atol=1e-5)


def test_balanced_weights_change_no_layer_much_more_than_others() -> None:
    spare = spare_of(network_from_layers(with_idle(with_idle(random_layers(1, SIZES), 0, 4), 1, 2)))
    one, other = spare.take(0, 0.0), spare.take(1, 0.0)
    assert one is not None
    assert other is not None
    spare.read(0, one, {1: 1e4}, 0.0)
    spare.read(1, other, {one: 1e-2}, 0.0)
    before = {name: value.norm() for name, value in spare.changed().items() if value.dim() == 2}
    spare.balance(1e-3)
    spare.write(other, torch.full((2,), 1e-3))
    assert max(float(value.abs().max()) for value in spare.changed().values() if value.dim() == 2) < 10
    assert max(map(float, before.values())) > 1e3


def test_others_do_the_work_of_a_neuron_that_is_their_sum() -> None:
    (weight, bias), *rest = random_layers(2, SIZES)
    # active everywhere, so that the third is a linear function of both
    weight[:3], bias[:2] = np.abs(weight[:3]), 10
    weight[2], bias[2] = weight[0] + 2 * weight[1], bias[0] + 2 * bias[1] + 1
    net = network_from_layers([(weight, bias), *rest])
    spare = spare_of(net)
    assert spare.take(0, 1e-4) in (0, 1, 2)
    assert torch.allclose(evaluate(spare.network(), inputs()), evaluate(net, inputs()), atol=1e-3)


def test_no_more_is_lost_than_may_be() -> None:
    net = network_from_layers(random_layers(3, SIZES))
    spare = spare_of(net)
    before = spare.changed()
    assert spare.take(0, 1e-6) is None
    assert all(torch.equal(value, before[name]) for name, value in spare.changed().items())
    copy = spare.copied()
    neuron = copy.take(0, 10.0)
    assert neuron is not None
    assert copy.lost > 0 == spare.lost
    assert all(torch.equal(value, before[name]) for name, value in spare.changed().items())
    # of those that were tried it is the one with which least is lost
    losses = []
    for _ in range(4):
        losses.append(copy.lost)
        copy.take(0, 10.0)
    assert losses == sorted(losses)


def test_neurons_run_out() -> None:
    spare = spare_of(network_from_layers(random_layers(3, (3, 2, 2))))
    assert {spare.take(0, torch.inf), spare.take(0, torch.inf)} == {0, 1}
    assert spare.take(0, torch.inf) is None


def test_time_may_be_over() -> None:
    with pytest.raises(OutOfTime):
        spare_of(network_from_layers(random_layers(3, SIZES)), over=lambda: True).take(0, 1.0)


def _residual() -> Network:
    (w, b), (v, _), (u, c) = random_layers(0, (3, 4, 4, 2))
    tensors = {"w": w.T.copy(), "b": b, "v": v.T.copy(), "u": u.T.copy(), "c": c}
    nodes = [
        ("Gemm", ["x", "w", "b"], "z", {}),
        ("Relu", ["z"], "h", {}),
        ("MatMul", ["h", "v"], "m", {}),
        ("Relu", ["m"], "g", {}),
        ("Add", ["g", "h"], "s", {}),
        ("Gemm", ["s", "u", "c"], "y", {}),
    ]
    return graph_net(nodes, tensors, (1, 3))


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (network_from_layers(random_layers(0, SIZES), "Tanh"), "ReLU"),
        (network_from_layers(random_layers(0, (3, 2))), "ReLU"),
        (_residual(), "no matrices|more than the one"),
    ],
)
def test_other_networks_are_refused(net: Network, words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        spare_of(net)
