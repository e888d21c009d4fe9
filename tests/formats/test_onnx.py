"""Reading and writing ONNX files: what is repairable, what is refused, and what a written file keeps."""

from __future__ import annotations

import dataclasses
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from birdnn.chain import Affine
from birdnn.errors import FormatError, InputError, MismatchError, OutputError, SpecError, UnsupportedOpError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import (
    MAX_VALUES,
    layers_to_onnx,
    network_from_layers,
    network_from_onnx,
    read_onnx,
    write_onnx,
)
from birdnn.network import Network, weights_sha256
from tests.formats.models import Array, dense, edited, model, node, perceptron, run

RNG = np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_kinds_of_storage(dtype: type[np.floating[Any]], raw: bool, listed: bool) -> None:
    """raw_data or float_data, float64, and IR version 3 with initialisers among the inputs give the same network."""
    data = perceptron(ir=3 if listed else 8, dtype=dtype, raw=raw)
    net = network_from_onnx(data)
    assert (net.input_name, net.input_shape, net.n_inputs, net.n_outputs) == ("x", (1, 1, 1, 4), 4, 3)
    assert {value.dtype for value in net.initialisers().values()} == {torch.from_numpy(np.zeros(1, dtype)).dtype}
    assert weights_sha256(net) == weights_sha256(network_from_onnx(data, check=False))


def refuse(data: bytes, match: str, error: type[FormatError] = FormatError) -> None:
    with pytest.raises(error, match=match) as caught:
        network_from_onnx(data, path="net.onnx")
    assert str(caught.value).startswith("net.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"the_Flatten", b"batches"])
def test_names_that_are_no_text(text: bytes) -> None:
    """Of a node or of a symbolic axis: onnxruntime, asked about it, fails with an error about text."""
    proto = onnx.ModelProto.FromString(model([node("Flatten", ["x"])], {}, (1, 1, 2, 2)))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batches"
    data = proto.SerializeToString()
    assert text in data
    refuse(data.replace(text, b"\xff\xfe" + text[2:]), "a name in it is not UTF-8")


def test_unsupported_operators_are_named() -> None:
    """The message names node, operator and what would have been accepted."""
    refuse(
        model([node("Hardmax", ["x"])], {}),
        r"node 'the_Hardmax': operator 'Hardmax' .*supported: Abs,",
        UnsupportedOpError,
    )
    foreign = helper.make_node("Relu", ["x"], ["y"], name="n", domain="com.acme")
    refuse(model([foreign], {}), "com.acme.Relu", UnsupportedOpError)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(bad: float) -> None:
    """NaN compares false with everything, so it would prove anything."""
    weight = floats(4, 3)
    weight[1, 1] = bad
    refuse(model([node("MatMul", ["x", "my_weight"])], {"my_weight": weight}), "initialiser 'my_weight': holds NaN")
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weight))
    refuse(model([constant, node("MatMul", ["x", "k"])], {}), "constant 'k': holds NaN")


def test_declared_sizes_are_compared_with_the_bytes() -> None:
    """A file of a few bytes must not make us allocate terabytes."""
    base = model([node("MatMul", ["x", "w"])], {"w": floats(4, 3)})

    def grow(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = [4, 10**15]

    refuse(edited(base, grow), r"initialiser 'w': dimensions \[4, 1000000000000000\] need")

    def negate(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = [-4, -3]

    refuse(edited(base, negate), "negative dimension")

    def wide(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 10**15

    refuse(edited(base, wide), f"input 'x': shape .* more than {MAX_VALUES}")
    pads = model([node("Conv", ["x", "w"], pads=[10**6] * 4)], {"w": floats(1, 1, 1, 1)}, (1, 1, 2, 2))
    refuse(pads, "node 'the_Conv'.* too large")
    more = model([node("Conv", ["x", "w"], pads=[2**62] * 4)], {"w": floats(1, 1, 1, 1)}, (1, 1, 2, 2))
    refuse(more, "out of range")
    padded = model(
        [node("AveragePool", ["x"], kernel_shape=[9, 9], strides=[10**6] * 2, pads=[10**6] * 4)], {}, (1, 1, 4, 4)
    )
    refuse(padded, "padded input .* too large")
    wide = [node("Concat", ["x"] * 4, "v0", axis=1)]
    wide += [node("Relu", [f"v{i}"], f"v{i + 1}") for i in range(20)] + [node("Relu", ["v20"], "y")]
    refuse(model(wide, {}, (1, 1 << 20)), "the values of the network have more than")
    outer = [node("Reshape", ["x", "s"], "column"), node("Add", ["column", "x"], "y")]
    refuse(model(outer, {"s": np.array([-1, 1], np.int64)}, (1, 100_000)), "node 'the_Add'.* larger than")


def test_an_input_and_an_output() -> None:
    """Without them a property would have nothing to speak about."""
    data = model([node("Relu", ["x"])], {})
    refuse(edited(data, lambda p: p.graph.ClearField("input")), "a network with an input is expected")
    refuse(edited(data, lambda p: p.graph.ClearField("output")), "no output is a tensor of floating-point")
    refuse(edited(data, lambda p: p.graph.input.append(p.graph.input[0])), "input 'x': is listed twice")
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(floats(1, 4)))
    refuse(model([constant], {}), "does not depend on the input")


def graph_errors() -> dict[str, tuple[bytes, str]]:
    data = model([node("Relu", ["x"])], {})
    dims = {"": "axis 1 has no fixed size"}
    return {
        "dangling": (model([node("Relu", ["nowhere"])], {}), "reads 'nowhere', which nothing made"),
        "missing output": (edited(data, lambda p: setattr(p.graph.output[0], "name", "q")), "'q': is made by no"),
        "twice": (model([node("Relu", ["x"], "y"), node("Tanh", ["x"], "y")], {}), "made twice"),
        "old opset": (model([node("Relu", ["x"])], {}, opset=6), "opset .6. is not one of 7 to"),
        "no opset": (edited(data, lambda p: p.ClearField("opset_import")), "opset"),
        "free axis": (model([node("Relu", ["x"])], {}, (1, "n")), dims[""]),
        "beyond float64": (model([node("Relu", ["x"])], {}, [1, *[2**62] * 20]), "more than 4194304 entries"),
        "many axes": (model([node("Relu", ["x"])], {}, [1] * 100), "its shape has 100 axes; at most 64"),
        "integers": (edited(data, lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", 7)), "floating"),
        "shapes": (model([node("MatMul", ["x", "w"])], {"w": floats(3, 3)}), r"shapes \[1, 4\], \[3, 3\]: inner sizes"),
        "types": (model([node("Add", ["x", "w"])], {"w": floats(4).astype(np.float64)}), "different data types"),
        "int operand": (model([node("Add", ["x", "w"])], {"w": np.arange(4)}), "does not hold floating-point"),
        "live shape": (model([node("Reshape", ["x", "x"])], {}), "must be a constant"),
        "training": (
            model([node("BatchNormalization", ["x", "a", "a", "a", "a"], training_mode=1)], {"a": floats(4)}, opset=14),
            "inference",
        ),
        "sparse": (edited(data, lambda p: p.graph.sparse_initializer.add()), "sparse"),
        "empty": (edited(data, lambda p: p.graph.ClearField("node")), "holds no graph"),
        "places of maxima": (
            model(
                [
                    helper.make_node("MaxPool", ["x"], ["p", "i"], name="p", kernel_shape=[2]),
                    node("Reshape", ["p", "i"]),
                ],
                {},
                (1, 1, 4),
            ),
            "has 2 outputs",
        ),
    }


@pytest.mark.parametrize("name", graph_errors())
def test_graphs_that_make_no_sense(name: str) -> None:
    """Each with a message that says where."""
    data, message = graph_errors()[name]
    refuse(data, message)


def _constant(name: str, *values: float, **attributes: Any) -> onnx.NodeProto:
    """A ``Constant`` with a value for each of ``values``, and other attributes."""
    made = helper.make_node("Constant", [], [name], name="k", **attributes)
    for value in values:
        made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.float32([value] * 4))))
    return made


def _mistyped(kind: int) -> onnx.NodeProto:
    """What the name says is 7, what the type says is 5."""
    made = _constant("w", 7.0)
    made.attribute[0].type = kind
    made.attribute[0].f, made.attribute[0].i = 5.0, 5
    return made


def ambiguous() -> dict[str, tuple[bytes, str]]:
    """What onnxruntime runs otherwise than a reader may expect, or may run otherwise one day."""
    add = node("Add", ["x", "w"])
    leaky = model([node("LeakyRelu", ["x"], alpha=0.5)], {})
    second = helper.make_attribute("alpha", 0.25)
    return {
        "attribute twice": (
            edited(leaky, lambda p: p.graph.node[0].attribute.append(second)),
            "'alpha' is given twice",
        ),
        "attribute that refers": (
            edited(leaky, lambda p: setattr(p.graph.node[0].attribute[0], "ref_attr_name", "b")),
            "'alpha' is of a kind",
        ),
        "attribute without a type": (
            edited(leaky, lambda p: p.graph.node[0].attribute[0].ClearField("type")),
            "a kind",
        ),
        "two constants": (model([_constant("w", 5.0), _constant("w", 7.0), add], {}), "'w': is made twice"),
        "second constant behind": (model([_constant("w", 5.0), add, _constant("w", 7.0)], {}), "'w': is made twice"),
        "constant for an initialiser": (model([_constant("w", 5.0), add], {"w": floats(4)}), "'w': is made twice"),
        "constant for the input": (model([_constant("x", 5.0), add], {"w": floats(4)}), "'x': is made twice"),
        "constant of two values": (model([_constant("w", 5.0, 7.0), add], {}), "one value"),
        "constant by its type": (model([_mistyped(1), add], {}), "of another type than its name"),
        "integer by its type": (model([_constant("w", value_float=1), add], {}), "of another type than its name"),
        "constant of text": (model([_constant("w", value_string="x"), add], {}), "is not supported"),
        "activation of integers": (
            model([node("LeakyRelu", ["r"], "s"), node("Reshape", ["x", "s"])], {"r": np.array([4])}),
            "not supported on integers",
        ),
        "no axes": (
            model([node("Squeeze", ["x", "a"])], {"a": np.zeros(0, np.int64)}, (1, 1, 4)),
            "has no axes in its list",
        ),
        "cast to text": (
            model([node("Cast", ["r"], "s", to=8), node("Reshape", ["x", "s"])], {"r": np.array([4])}),
            "data type 8 is not supported",
        ),
    }


@pytest.mark.parametrize("name", ambiguous())
def test_what_may_be_run_otherwise_is_refused(name: str) -> None:
    """The comparison with onnxruntime would not show a difference that hides behind a large value."""
    data, message = ambiguous()[name]
    with pytest.raises(FormatError, match=message):
        network_from_onnx(data, path="net.onnx", check=False)


@pytest.mark.parametrize(("kind", "value"), [(2, 44), (3, 44), (6, 300), (7, 300), (9, 1), (1, 300)])
def test_casts_go_by_their_type(kind: int, value: int) -> None:
    """300 does not fit a byte."""
    nodes = [node("Cast", ["k"], "c", to=kind), node("CastLike", ["c", "x"], "w"), node("Add", ["x", "w"])]
    if kind == 1:
        nodes = [node("Cast", ["k"], "w", to=kind), node("Add", ["x", "w"])]
    data = model(nodes, {"k": np.array(300)}, opset=15)
    assert run(data, np.zeros((1, 4), np.float32)).tolist() == [[value] * 4]
    assert network_from_onnx(data)(torch.zeros(1, 4)).tolist() == [[value] * 4]


def test_epsilon_by_default_is_a_number_of_single_precision() -> None:
    """As every attribute is; where the variance is zero the difference shows."""
    nodes = [node("BatchNormalization", ["x", "a", "z", "z", "z"])]
    net = network_from_onnx(model(nodes, {"a": np.ones(4, np.float32), "z": np.zeros(4, np.float32)}))
    assert net.nodes[0].attributes["epsilon"] == float(np.float32(1e-5)) != 1e-5


def test_nodes_that_the_output_does_not_need_are_ignored() -> None:
    """Dead branches, even of unknown operators, do not change what the network computes."""
    data = model([node("Relu", ["x"]), node("Hardmax", ["x"], "unused")], {"never": floats(2)})
    net = network_from_onnx(data)
    assert [step.op for step in net.nodes] == ["Relu"]
    assert net.initialisers() == {}


def external(folder: Path, location: str) -> Path:
    proto = onnx.load_model_from_string(model([node("MatMul", ["x", "w"])], {"w": floats(4, 3)}))
    tensor = proto.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "8"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "w.bin").write_bytes(b"8 bytes." + data)
    (folder / "w.bin").write_bytes(b"8 bytes." + data)
    path = folder / "inside" / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    """Inside is read, and embedded when the network is written."""
    path = external(tmp_path, "w.bin")
    net = read_onnx(path)
    assert net.repairable == {"w"}
    out = tmp_path / "elsewhere.onnx"
    write_onnx(net, path, out)
    assert weights_sha256(read_onnx(out)) == weights_sha256(net)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "link.bin", "", "missing.bin", "\0"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    """A network must not make us read files of the machine."""
    path = external(tmp_path, location)
    (path.parent / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(FormatError, match="initialiser 'w': external data"):
        read_onnx(path)


def test_external_data_that_is_too_short(tmp_path: Path) -> None:
    """Its size is known before it is read."""
    path = external(tmp_path, "w.bin")
    (path.parent / "w.bin").write_bytes(b"short")
    with pytest.raises(FormatError, match="too short"):
        read_onnx(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("raw", [True, False])
def test_writing_changes_initialiser_values_only(tmp_path: Path, dtype: type[np.floating[Any]], raw: bool) -> None:
    """The network stays the user's: every other field of the file is as it was."""
    original, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    data = perceptron(ir=3, dtype=dtype, raw=raw)
    original.write_bytes(data)
    net = read_onnx(original)
    write_onnx(net, original, out)
    assert out.read_bytes() == data
    changed = net.with_values({"B1": torch.tensor([1.0, 2.0, 3.0])})
    write_onnx(changed, original, out)
    before, after = onnx.load_model_from_string(data), onnx.load_model_from_string(out.read_bytes())
    position = [tensor.name for tensor in before.graph.initializer].index("B1")
    assert numpy_helper.to_array(after.graph.initializer[position]).tolist() == [1, 2, 3]
    assert after.graph.initializer[position].HasField("raw_data") == raw
    after.graph.initializer[position].CopyFrom(before.graph.initializer[position])
    assert after.SerializeToString() == data
    assert weights_sha256(read_onnx(out)) == weights_sha256(changed)
    assert len(out.read_bytes()) == len(data)


def test_half_precision_is_refused_in_a_sentence() -> None:
    """It was read, and onnxruntime then refused the float32 points of a replay in words of its own."""
    tensors = {"w": floats(4, 3).astype(np.float16)}
    refuse(
        model([node("MatMul", ["x", "w"])], tensors, dtype=np.float16), r"half precision \(float16\) is not supported"
    )


def test_writing_compressed(tmp_path: Path) -> None:
    """`.gz` in and out, by extension; the same content twice gives the same bytes."""
    original, out = tmp_path / "in.onnx.gz", tmp_path / "out.onnx.gz"
    original.write_bytes(gzip.compress(perceptron()))
    net = read_onnx(original)
    write_onnx(net, original, out)
    assert gzip.decompress(out.read_bytes()) == perceptron()
    first = out.read_bytes()
    write_onnx(net, original, out)
    assert out.read_bytes() == first
    write_onnx(net, original, tmp_path / "plain.onnx")
    assert (tmp_path / "plain.onnx").read_bytes() == perceptron()


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    """Not under another name either."""
    original = tmp_path / "in.onnx"
    original.write_bytes(perceptron())
    (tmp_path / "soft.onnx").symlink_to(original)
    (tmp_path / "hard.onnx").hardlink_to(original)
    net = read_onnx(original)
    for out in (original, tmp_path / "." / "in.onnx", tmp_path / "soft.onnx", tmp_path / "hard.onnx"):
        with pytest.raises(OutputError, match="never overwritten"):
            write_onnx(net, original, out)
    with pytest.raises(OutputError, match="cannot be written"):
        write_onnx(net, original, tmp_path / "missing" / "out.onnx")
    assert original.read_bytes() == perceptron()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hard.onnx", "in.onnx", "soft.onnx"]


def test_writing_what_does_not_fit(tmp_path: Path) -> None:
    """Another network's values, or NaN, are not written, and no file appears."""
    original, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    original.write_bytes(perceptron())
    other = network_from_layers([(np.eye(2), np.zeros(2))])
    with pytest.raises(MismatchError, match="'W0' has shape"):
        write_onnx(other, original, out)
    spoiled = read_onnx(original).with_values({"B0": torch.full((6,), math.nan)})
    with pytest.raises(MismatchError, match="'B0' would hold NaN"):
        write_onnx(spoiled, original, out)
    wide = read_onnx(original).double()
    with torch.no_grad():
        wide.value("B0").fill_(1e300)
    with pytest.raises(MismatchError, match="'B0' would hold NaN"):
        write_onnx(wide, original, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "empty"), (b"not a network", "not an ONNX file"), (b"\x1f\x8bgarbage", "gzip")],
)
def test_files_that_are_no_networks(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Missing, empty, random: one message that names the file."""
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)
    with pytest.raises(FormatError, match="regular"):
        read_onnx(tmp_path)


def test_layers_to_onnx_refuses_what_is_no_network() -> None:
    """Sizes that do not fit, unknown activations, values that are not finite."""
    square, zero = np.eye(2), np.zeros(2)
    for layers in ([], [(square, np.zeros(3))], [(np.ones(2), zero)], [(square, zero), (np.eye(3), np.zeros(3))]):
        with pytest.raises(SpecError):
            layers_to_onnx(layers)
    with pytest.raises(SpecError, match="Swish"):
        layers_to_onnx([(square, zero)], "Swish")
    with pytest.raises(InputError, match="NaN"):
        network_from_layers([(square * math.nan, zero)])


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"])
def test_export_is_read_back(activation: str) -> None:
    """A network that did not come from a file can be given to other engines."""
    tensors = dense(RNG, 3, 5, 2)
    layers = [(tensors[f"W{i}"].T, tensors[f"B{i}"]) for i in range(2)]
    net = network_from_layers(layers, activation, alpha=0.2, check=True)
    again = network_from_onnx(to_onnx_bytes(net))
    x = torch.randn(6, 3)
    assert torch.equal(net(x), again(x))
    assert weights_sha256(again) == weights_sha256(net)
    assert again.repairable == net.repairable
    assert np.allclose(run(to_onnx_bytes(net), x.numpy()), net(x).detach().numpy(), atol=1e-6)


def test_export_of_constants_alone() -> None:
    """Their data type is the network's where it has no initialiser."""
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.array([0.1, 2, 3, 4])))
    net = network_from_onnx(model([constant, node("Add", ["x", "k"])], {}, dtype=np.float64))
    assert not net.initialisers()
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(network_from_onnx(to_onnx_bytes(net))(x), net(x))


def test_export_of_a_graph() -> None:
    """Reshapes and constants too; an operator that nobody writes is refused by name."""
    net = network_from_onnx(perceptron())
    again = network_from_onnx(to_onnx_bytes(net))
    x = torch.randn(6, 4)
    assert torch.equal(net(x), again(x))
    node = dataclasses.replace(net.nodes[0], op="Swish")
    with pytest.raises(UnsupportedOpError, match="Swish"):
        to_onnx_bytes(Network(dataclasses.replace(net.graph, nodes=(node, *net.nodes[1:])), net.values()))


@pytest.mark.thorough
@pytest.mark.acasxu
def test_the_acasxu_networks_load(acasxu: Path) -> None:
    """All 45: five inputs, seven affine maps, preprocessing untouched, and onnxruntime agrees (checked on load)."""
    paths = sorted((acasxu / "onnx").glob("*.onnx"))
    assert len(paths) == 45
    for path in paths:
        net = read_onnx(path)
        assert (net.input_shape, net.n_inputs, net.n_outputs) == ((1, 1, 1, 5), 5, 5)
        assert "input_AvgImg" in net.initialisers()
        assert "input_AvgImg" not in net.repairable
        assert len(net.repairable) == 14
        chain = net.chain()
        assert sum(isinstance(layer, Affine) for layer in chain) == 7
        assert len(chain) == 13
