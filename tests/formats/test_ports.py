"""Several inputs and outputs: counted one after the other, and the file is run as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from birdnn.chain import Affine
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import FormatError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import bytes_with_values, network_from_onnx, read_onnx
from tests.formats.models import Array, dense, node

VALUE = helper.make_tensor_value_info
INPUTS = {"q": (3, 1), "unread": (2,), "p": (2,)}


def several(*, batch: str | int | None = "N", seed: int = 0, pass_on: bool = False) -> bytes:
    """Inputs q, unread and p; outputs label (an integer), first (2), second (3), maybe p itself.

    ``batch`` is None for inputs without an axis for it.
    """
    rng = np.random.default_rng(seed)
    tensors = dense(rng, 5, 6, 2) | {"U": dense(rng, 6, 3)["W0"]}
    tensors |= {"A": tensors["W0"][:3], "B": tensors.pop("W0")[3:]}
    flat = [node("Flatten", ["q"], "qf")] if batch is not None else [node("Squeeze", ["q", "axes"], "qf")]
    nodes = [
        *flat,
        node("MatMul", ["qf", "A"], "qa"),
        node("MatMul", ["p", "B"], "pb"),
        node("Add", ["qa", "pb"], "s"),
        node("Add", ["s", "B0"], "a"),
        node("Relu", ["a"], "r"),
        node("MatMul", ["r", "W1"], "m"),
        node("Add", ["m", "B1"], "first"),
        node("MatMul", ["r", "U"], "second"),
        node("ArgMax", ["second"], "label", axis=-1),
    ]
    sized = {name: list(shape) if batch is None else [batch, *shape] for name, shape in INPUTS.items()}
    inputs = [VALUE(name, TensorProto.FLOAT, shape) for name, shape in sized.items()]
    outputs = [VALUE("label", TensorProto.INT64, None), VALUE("first", TensorProto.FLOAT, None)]
    outputs += [VALUE("second", TensorProto.FLOAT, None)]
    outputs += [VALUE("p", TensorProto.FLOAT, sized["p"])] if pass_on else []
    made = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    made += [numpy_helper.from_array(np.array([1]), "axes")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def by_hand(data: bytes, x: Array) -> Array:
    """Outputs at x (7,) by NumPy, in the order of the file."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(data).graph.initializer}
    hidden = np.maximum(x[:3] @ stored["A"] + x[5:] @ stored["B"] + stored["B0"], 0)
    return np.concatenate([hidden @ stored["W1"] + stored["B1"], hidden @ stored["U"]])


@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from(["N", 1, None]))
def test_they_are_counted_one_after_the_other(seed: int, batch: str | int | None) -> None:
    """In the order of the file, one that nobody reads too; by our forward pass and by onnxruntime alike."""
    data = several(batch=batch, seed=seed)
    net, replay = network_from_onnx(data), OnnxReplay(data)
    assert (net.n_inputs, net.n_outputs, net.graph.batched) == (7, 5, batch is not None)
    x = np.random.default_rng(seed).normal(size=(4, 7)).astype(np.float32)
    expected = np.stack([by_hand(data, row) for row in x])
    assert np.allclose(net(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-5)
    assert np.allclose(np.stack([replay(row) for row in x]), expected, atol=1e-5)


def test_what_a_user_is_told() -> None:
    """Which variable of a property stands for what."""
    net, inputs = network_from_onnx(several()), "X_0 to X_2 are 'q', X_3 to X_4 are 'unread', X_5 to X_6 are 'p'"
    assert net.notes == (
        f"The network has 3 inputs, counted one after the other: {inputs}.",
        "The network has 2 outputs, counted one after the other: Y_0 to Y_1 are 'first', Y_2 to Y_4 are 'second'.",
        "Outputs that hold no floating-point numbers are left out and not counted: 'label'.",
    )
    assert net.copy().notes == net.notes


def test_an_input_that_is_an_output() -> None:
    """It comes out as it went in."""
    data = several(pass_on=True)
    net, x = network_from_onnx(data), torch.randn(3, 7)
    assert torch.equal(net(x)[:, 5:], x[:, 5:])
    assert np.allclose(OnnxReplay(data)(x[0].numpy()), net(x)[0].detach().numpy(), atol=1e-5)


def test_names_that_are_taken() -> None:
    """The whole is called something that no value of the file is called."""
    proto = onnx.load_model_from_string(several())
    for entry in proto.graph.node:
        entry.input[:] = ["inputs" if name == "s" else name for name in entry.input]
        entry.output[:] = ["inputs" if name == "s" else name for name in entry.output]
    assert network_from_onnx(proto.SerializeToString()).input_name == "inputs_"


def test_it_folds_to_a_chain_and_can_be_exported() -> None:
    """Bounds by planes, and engines that read a file of ours, see one flat input and one flat output."""
    net = network_from_onnx(several())
    first, _, last = net.chain()
    assert isinstance(first, Affine)
    assert isinstance(last, Affine)
    assert (first.weight.shape, last.weight.shape) == ((6, 7), (5, 6))
    assert not bool(first.weight[:, 3:5].any())
    again = network_from_onnx(to_onnx_bytes(net))
    x = torch.randn(5, 7)
    assert torch.equal(again(x), net(x))


def test_a_repaired_file_keeps_them(tmp_path: Path) -> None:
    """Only the numbers of initialisers change."""
    path = tmp_path / "net.onnx"
    path.write_bytes(several())
    net = read_onnx(path)
    assert net.repairable == {"A", "B", "B0", "W1", "B1", "U"}
    changed = onnx.load_model_from_string(
        bytes_with_values(net.with_values({"U": torch.zeros_like(net.value("U"))}), path)
    )
    before = onnx.load_model_from_string(path.read_bytes())
    assert changed.graph.node == before.graph.node
    assert changed.graph.input == before.graph.input
    assert changed.graph.output == before.graph.output
    assert OnnxReplay(changed.SerializeToString())(np.ones(7, np.float32))[2:].tolist() == [0.0, 0.0, 0.0]


def test_a_point_of_another_size() -> None:
    """Says how many values there should have been."""
    with pytest.raises(ValueError, match="expected 7 input values, got 5"):
        OnnxReplay(several())(np.ones(5, np.float32))


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [("q", TensorProto.DOUBLE, "different data types"), ("p", TensorProto.INT64, "input 'p': a tensor of floating")],
)
def test_inputs_of_other_types(place: str, kind: int, message: str) -> None:
    """A point has one data type."""
    proto = onnx.load_model_from_string(several())
    entry = next(value for value in proto.graph.input if value.name == place)
    entry.type.tensor_type.elem_type = kind
    with pytest.raises(FormatError, match=message):
        network_from_onnx(proto.SerializeToString(), check=False)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_an_output_that_nothing_makes(name: str) -> None:
    """Among others that are made."""
    proto = onnx.load_model_from_string(several())
    proto.graph.output.append(VALUE(name, TensorProto.FLOAT, None))
    with pytest.raises(FormatError, match=f"output '{name}': is made by no node"):
        network_from_onnx(proto.SerializeToString(), check=False)
