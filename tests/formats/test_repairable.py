"""Which initialisers a repair may change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from birdnn.formats.onnx import bytes_with_values, lifted_constants, network_from_onnx, read_onnx
from tests.formats.models import Array, model, node, perceptron, run

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


def test_weights_that_nodes_move_or_scale() -> None:
    """Each number that stands for an entry of a weight or bias; not a factor that all share, nor what divides."""
    tensors = {
        "w": floats(3, 4), "s": floats(1), "g": floats(4, 3), "b": floats(3), "c": floats(3), "u": floats(3, 2),
        "d": floats(3, 2) + 3,
    }  # fmt: skip
    nodes = [
        node("Transpose", ["w"], "wt", perm=[1, 0]),
        node("Mul", ["wt", "s"], "ws"),
        node("Mul", ["ws", "g"], "v"),
        node("Identity", ["b"], "bi"),
        node("Sub", ["bi", "c"], "bc"),
        node("Div", ["u", "d"], "ud"),
        node("MatMul", ["x", "v"], "m"),
        node("Add", ["m", "bc"], "a"),
        node("Relu", ["a"], "r"),
        node("MatMul", ["r", "ud"], "y"),
    ]
    assert network_from_onnx(model(nodes, tensors)).repairable == {"w", "g", "b", "c", "u"}


def test_sums_of_a_weight_and_itself() -> None:
    """Each names its operand twice; the second way back is not gone again, or a file of 60 nodes would never end."""
    nodes = [node("Add", [f"w{i}", f"w{i}"], f"w{i + 1}") for i in range(60)] + [node("MatMul", ["x", "w60"])]
    assert network_from_onnx(model(nodes, {"w0": floats(4, 3) / 2**60})).repairable == {"w0"}


def test_a_bias_behind_a_sum_of_products() -> None:
    """As of a layer with two inputs; a residual connection is no such sum."""
    tensors = {"w": floats(4, 3), "v": floats(4, 3), "b": floats(3), "u": floats(3, 3), "c": floats(3)}
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("MatMul", ["x", "v"], "n"),
        node("Add", ["m", "n"], "s"),
        node("Add", ["s", "b"], "a"),
        node("Relu", ["a"], "r"),
        node("MatMul", ["r", "u"], "o"),
        node("Add", ["o", "r"], "p"),
        node("Add", ["p", "c"], "y"),
    ]
    assert network_from_onnx(model(nodes, tensors)).repairable == {"w", "v", "b", "u"}


def constants(*, ir: int = 8, form: str = "value") -> bytes:
    """All weights in ``Constant`` nodes, and a mean that is none of them; the second bias as numbers where told so."""
    values = {"mean": floats(4), "w": floats(4, 3), "b": floats(3), "v": floats(3, 2), "c": floats(2)}
    made = [
        helper.make_node("Constant", [], [name], name=f"{name}_node", value=numpy_helper.from_array(value))
        for name, value in values.items()
        if name != "c" or form == "value"
    ]
    if form == "value_floats":
        made.append(helper.make_node("Constant", [], ["c"], name="c_node", value_floats=values["c"].tolist()))
    nodes = [
        *made,
        node("Sub", ["x", "mean"], "d"),
        node("MatMul", ["d", "w"], "m"),
        node("Add", ["m", "b"], "a"),
        node("Relu", ["a"], "r"),
        node("Gemm", ["r", "v", "c"], "y"),
    ]
    return model(nodes, {}, ir=ir, opset=8 if ir == 3 else 13)


@pytest.mark.parametrize(("ir", "form"), [(8, "value"), (3, "value"), (8, "value_floats")])
def test_weights_in_constant_nodes_become_initialisers(tmp_path: Path, ir: int, form: str) -> None:
    """All that a repair may change, where it changes any; everything else keeps its bytes."""
    path = tmp_path / "net.onnx"
    path.write_bytes(constants(ir=ir, form=form))
    net = read_onnx(path)
    assert net.repairable == set(net.initialisers()) == {"w", "b", "v", "c"} == set(lifted_constants(net, path))
    assert bytes_with_values(net, path) == path.read_bytes()
    changed = bytes_with_values(net.with_values({"v": torch.ones(3, 2)}), path)
    before, after = onnx.load_model_from_string(path.read_bytes()), onnx.load_model_from_string(changed)
    assert list(after.graph.node) == [n for n in before.graph.node if n.name not in {f"{w}_node" for w in "wbvc"}]
    again = network_from_onnx(changed)
    assert again.graph == net.graph
    assert torch.equal(again.value("v"), torch.ones(3, 2))
    x = floats(1, 4)
    assert np.allclose(again(torch.from_numpy(x)).detach().numpy(), run(changed, x), atol=1e-5)


def test_maps_that_are_read_as_products_are_no_layers() -> None:
    """What is added behind a cumulated sum is preprocessing; the weights of an Einsum are those of a layer."""
    nodes = [node("CumSum", ["x", "axis"], "s"), node("Add", ["s", "mean"], "a")]
    nodes += [node("Einsum", ["a", "w"], "m", equation="bi,oi->bo"), node("Add", ["m", "b"])]
    tensors = {"axis": np.array(1, np.int64), "mean": floats(4), "w": floats(3, 4), "b": floats(3)}
    assert network_from_onnx(model(nodes, tensors)).repairable == {"w", "b"}
