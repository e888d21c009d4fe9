"""Files as other tools write them: order, versions, local functions, casts, scikit-learn, what nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from birdnn.errors import FormatError, UnsupportedOpError
from birdnn.formats.onnx import bytes_with_values, network_from_onnx
from birdnn.network import Network
from tests.formats.models import Array, dense, edited, model, node, perceptron, run

RNG = np.random.default_rng(5)
VALUE = helper.make_tensor_value_info


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def refuse(data: bytes, match: str, error: type[FormatError] = FormatError) -> None:
    with pytest.raises(error, match=match) as caught:
        network_from_onnx(data, path="net.onnx")
    assert str(caught.value).startswith("net.onnx")
    assert "\n" not in str(caught.value)


def same(one: Network, other: Network) -> None:
    """Bit by bit the same outputs."""
    x = torch.randn(16, one.n_inputs, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one(x), other(x))


def reordered(data: bytes, order: list[int]) -> bytes:
    def change(proto: onnx.ModelProto) -> None:
        nodes = [onnx.NodeProto.FromString(proto.graph.node[place].SerializeToString()) for place in order]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)

    return edited(data, change)


# --- order


@given(seed=st.integers(0, 2**32 - 1))
def test_nodes_in_any_order(seed: int) -> None:
    """The standard wants them sorted; onnxruntime sorts them, and so do we."""
    order = list(range(7))
    Random(seed).shuffle(order)
    net = network_from_onnx(reordered(perceptron(), order))
    assert [step.op for step in net.nodes] == ["Sub", "Flatten", "MatMul", "Add", "Relu", "MatMul", "Add"]
    same(net, network_from_onnx(perceptron(), check=False))


def test_sorted_nodes_stay_where_they_are() -> None:
    """Two branches keep the order in which the file has them."""
    nodes = [node("Tanh", ["x"], "b"), node("Relu", ["x"], "a"), node("Sigmoid", ["b"], "c"), node("Add", ["a", "c"])]
    data = model(nodes, {})
    assert [step.op for step in network_from_onnx(data).nodes] == ["Tanh", "Relu", "Sigmoid", "Add"]
    turned = network_from_onnx(reordered(data, [3, 1, 0, 2]))
    assert [step.op for step in turned.nodes] == ["Relu", "Tanh", "Sigmoid", "Add"]


def test_constants_behind_their_readers() -> None:
    """As Keras2ONNX and the layer tests of Marabou have them."""
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(floats(4)))
    net = network_from_onnx(model([node("Add", ["x", "k"]), constant], {}))
    assert [step.op for step in net.nodes] == ["Add"]


def test_a_circle_is_no_network() -> None:
    """Nor are nodes that read what they make."""
    circle = [node("Add", ["x", "b"], "a"), node("Relu", ["a"], "b"), node("Tanh", ["b"])]
    refuse(model(circle, {}), "node 'the_Add_a' .Add.: its value depends on itself: nodes form a circle")
    refuse(model([node("Add", ["x", "y"])], {}), "form a circle")


# --- versions, what nobody reads


@pytest.mark.parametrize("listed", [[("", 13), ("", 13)], [("", 13), ("ai.onnx", 13)], [("", 12), ("ai.onnx", 13)]])
def test_the_last_version_that_is_listed_counts(listed: list[tuple[str, int]]) -> None:
    """As for onnxruntime: Squeeze has its axes as an input from 13 on, and as an attribute before."""
    nodes = [node("Squeeze", ["x", "axes"])]

    def version(proto: onnx.ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.extend(helper.make_opsetid(*entry) for entry in listed)

    data = edited(model(nodes, {"axes": np.array([1])}, (1, 1, 3)), version)
    assert network_from_onnx(data).output_shape == (1, 3)
    turned = edited(data, lambda p: p.opset_import.append(helper.make_opsetid("", 12)))
    with pytest.raises(FormatError):  # without axes, as an attribute
        network_from_onnx(turned)


def test_what_nobody_reads_may_be_anything() -> None:
    """NaN, a data type that we do not know: it does not change what the network computes."""
    data = model([node("Relu", ["x"])], {"bad": np.array([np.nan], np.float32), "text": np.array([True])})
    assert network_from_onnx(data).initialisers() == {}
    refuse(model([node("Add", ["x", "bad"])], {"bad": np.array([np.nan], np.float32)}), "holds NaN")


def test_further_outputs_of_a_node_that_nobody_reads() -> None:
    """The places of maxima, the mask of a dropout; those of a normalisation say that it is one of training."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "places"], kernel_shape=[2]),
        helper.make_node("Dropout", ["p"], ["d", "mask"]),
        node("BatchNormalization", ["d", "a", "a", "a", "a"]),
    ]
    data = model(nodes, {"a": np.ones(1, np.float32)}, (1, 1, 4), opset=8)
    assert [step.op for step in network_from_onnx(data).nodes] == ["MaxPool", "Identity", "BatchNormalization"]
    refuse(edited(data, lambda p: p.graph.node[2].output.extend(["m", "v", "s", "t"])), "has 5 outputs")


def test_a_batch_of_nothing() -> None:
    """onnxruntime takes 0 at its word, and -1 as any size."""
    data = model([node("Relu", ["x"])], {}, (0, 4))
    refuse(data, "input 'x': axis 0, the batch, has 0 entries.*name it, or make it 1")
    assert network_from_onnx(model([node("Relu", ["x"])], {}, (-1, 4))).input_shape == (1, 4)


# --- casts and half precision


def cast(name: str, to: int, output: str) -> onnx.NodeProto:
    return node("Cast", [name], output, to=to)


def test_a_cast_to_its_own_type_is_nothing() -> None:
    """Converters write it around everything, also around weights, which stay repairable."""
    nodes = [cast("x", 1, "c"), cast("w", 1, "v"), node("MatMul", ["c", "v"], "m"), cast("m", 1, "y")]
    net = network_from_onnx(model(nodes, {"w": floats(4, 3)}))
    assert [step.op for step in net.nodes] == ["Identity", "Identity", "MatMul", "Identity"]
    assert net.repairable == {"w"}
    double = model(
        [cast("x", 11, "c"), node("MatMul", ["c", "w"])], {"w": floats(4, 3).astype(np.float64)}, dtype=np.float64
    )
    assert network_from_onnx(double).nodes[0].op == "Identity"


@pytest.mark.parametrize("stored", [np.float16, np.float64, np.int8, np.float32])
def test_weights_of_another_type(stored: type) -> None:
    """A constant that is turned into the network's type before anyone computes with it."""
    weight = (floats(4, 3) * 5).astype(stored)
    data = model([cast("w", 1, "v"), node("MatMul", ["x", "v"])], {"w": weight})
    net = network_from_onnx(data)
    x = floats(1, 4)
    assert np.allclose(net(torch.from_numpy(x)).detach().numpy(), run(data, x), atol=1e-5)
    value = net.value("w" if stored is np.float32 else "v").detach().numpy()
    assert np.array_equal(value, weight.astype(np.float32))


def test_numbers_that_a_cast_cannot_keep() -> None:
    """Runtimes make of them what the machine makes of them."""
    large = np.full(4, 1e300)
    refuse(model([cast("w", 1, "v"), node("Add", ["x", "v"])], {"w": large}), "beyond the range")
    to_bytes = [cast("w", 2, "v"), cast("v", 1, "u"), node("Add", ["x", "u"])]
    refuse(model(to_bytes, {"w": np.full(4, 300, np.float32)}), "beyond the range")
    data = model(to_bytes, {"w": np.array([1.9, 0.2, 7, 8], np.float32)})
    assert network_from_onnx(data)(torch.zeros(1, 4)).tolist() == [[1, 0, 7, 8]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_that_are_left_out_are_those_of_the_value(dtype: type[np.floating[Any]]) -> None:
    """Whatever else the file stores."""
    nodes = [
        cast("w", 1 if dtype is np.float32 else 11, "v"),
        node("Add", ["x", "v"], "a"),
        node("Clip", ["a", "zero"]),
    ]
    stored = np.ones(4, np.float64 if dtype is np.float32 else np.float32)
    net = network_from_onnx(model(nodes, {"w": stored, "zero": np.array(0, dtype)}, dtype=dtype))
    assert net.nodes[-1].attributes["max"] == (float(np.finfo(np.float32).max) if dtype is np.float32 else np.inf)


def half() -> dict[str, tuple[bytes, str]]:
    one = np.ones(4, np.float16)
    into = [cast("x", 10, "h"), cast("h", 1, "y")]
    inner = [node("Add", ["w", "w"], "v"), cast("v", 1, "u"), node("Add", ["x", "u"])]
    return {
        "input": (model([node("Relu", ["x"])], {}, dtype=np.float16), "input 'x': half precision"),
        "inside": (model(into, {}), "changes the data type of 'x'"),
        "to double": (model([cast("x", 11, "d"), cast("d", 1, "y")], {}), "changes the data type of 'x'"),
        "computed": (model(inner, {"w": one}), "node 'the_Add_v' .Add.: reads 'w': half precision"),
        "rounded": (
            model([cast("w", 10, "v"), node("Add", ["x", "v"])], {"w": floats(4)}),
            "the_Cast_v.*half precision",
        ),
        "as it is": (model([node("Add", ["x", "w"])], {"w": one}), "half precision"),
    }


@pytest.mark.parametrize("name", half())
def test_half_precision_is_refused_in_a_sentence(name: str) -> None:
    """Where anything would be computed in it: neither bounds nor replays speak about its rounding."""
    refuse(*half()[name])


# --- local functions


BODY = [
    helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32([0.5] * 4))),
    helper.make_node("MatMul", ["a", "w"], ["m"]),
    helper.make_node("Add", ["m", "k"], ["s"]),
    helper.make_node("Relu", ["s"], ["b"]),
]


def functions(body: Sequence[onnx.NodeProto] = BODY, *, domain: str = "own", calls: int = 1) -> bytes:
    """A perceptron whose layer is a function of its input and weights, called `calls` times."""
    layer = helper.make_function(domain, "Layer", ["a", "w"], ["b"], list(body), [helper.make_opsetid("", 13)])
    nodes, value = [], "x"
    for place in range(calls):
        after = "y" if place == calls - 1 else f"h{place}"
        nodes.append(helper.make_node("Layer", [value, f"W{place}"], [after], domain=domain, name=f"layer_{place}"))
        value = after
    weights = [numpy_helper.from_array(floats(4, 4), f"W{place}") for place in range(calls)]
    ends = VALUE("x", TensorProto.FLOAT, ["n", 4]), VALUE("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], weights)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(domain, 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[layer])
    return made.SerializeToString()


def test_local_functions(tmp_path: Any) -> None:
    """As PyTorch's exporter and onnxscript write modules. The file keeps them when weights change."""
    data = functions(calls=3)
    net = network_from_onnx(data)
    assert [step.op for step in net.nodes] == ["MatMul", "Add", "Relu"] * 3
    assert net.repairable == {"W0", "W1", "W2"}
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    changed = bytes_with_values(net.with_values({"W1": torch.eye(4)}), path)
    before, after = onnx.load_model_from_string(data), onnx.load_model_from_string(changed)
    assert after.functions == before.functions
    assert after.graph.node == before.graph.node
    x = floats(1, 4)
    written = network_from_onnx(changed)(torch.from_numpy(x)).detach().numpy()
    assert np.allclose(written, run(changed, x), atol=1e-6)
    assert not np.allclose(written, run(data, x), atol=1e-3)


def test_constants_of_functions_are_not_the_file_s_to_change() -> None:
    """One body may be called twice."""
    body = [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.eye(4, dtype=np.float32)))]
    body += [helper.make_node("MatMul", ["a", "k"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["b"])]
    assert network_from_onnx(functions(body)).repairable == {"W0"}


def test_functions_that_never_end() -> None:
    """A function that calls itself, and a few that call each other for more nodes than a file could hold."""
    again = [helper.make_node("Layer", ["a", "w"], ["b"], domain="own")]
    with pytest.raises(FormatError, match="function 'Layer': calls itself"):
        network_from_onnx(functions(again), check=False)
    twice = [("a", "c"), ("c", "b")]
    proto = onnx.load_model_from_string(functions())
    del proto.functions[:]
    for level in range(40):
        op, domain = ("Relu", "") if level == 0 else (f"F{level - 1}", "own")
        body = [helper.make_node(op, [read], [made], domain=domain) for read, made in twice]
        proto.functions.append(
            helper.make_function("own", f"F{level}", ["a"], ["b"], body, [helper.make_opsetid("", 13)])
        )
    del proto.graph.node[:]
    proto.graph.node.append(helper.make_node("F39", ["x"], ["y"], domain="own"))
    with pytest.raises(FormatError, match="more than 131,072 nodes"):
        network_from_onnx(proto.SerializeToString(), check=False)


def test_names_in_functions_that_are_no_text() -> None:
    """As in the graph."""
    data = functions([*BODY[:-1], helper.make_node("Relu", ["s"], ["b"], name="the_last_one")])
    refuse(data.replace(b"the_last_one", b"\xff\xfee_last_one"), "a name in it is not UTF-8")


def test_a_function_named_like_an_operator() -> None:
    """Whether a runtime takes the function or the operator is its own affair."""
    body = [helper.make_node("Neg", ["a"], ["b"])]
    relu = helper.make_function("", "Relu", ["a"], ["b"], body, [helper.make_opsetid("", 13)])
    refuse(edited(model([node("Relu", ["x"])], {}), lambda p: p.functions.append(relu)), "named like an operator")


# --- Keras and scikit-learn


def test_keras_by_tf2onnx(tmp_path: Any) -> None:
    """Images with channels last, transpositions around convolutions, names with slashes and colons, domains unused."""
    tensors = {
        "conv/Conv2D/ReadVariableOp:0": floats(2, 1, 3, 3),
        "conv/BiasAdd/ReadVariableOp:0": floats(2),
        "dense/MatMul/ReadVariableOp:0": floats(32, 3),
        "dense/BiasAdd/ReadVariableOp:0": floats(3),
        "const_fold_opt__12": np.array([-1, 32]),
    }
    nodes = [
        node("Transpose", ["x"], "model/conv/Conv2D__6:0", perm=[0, 3, 1, 2]),
        node("Conv", ["model/conv/Conv2D__6:0", *list(tensors)[:2]], "c:0", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Relu", ["c:0"], "r:0"),
        node("Transpose", ["r:0"], "t:0", perm=[0, 2, 3, 1]),
        node("Reshape", ["t:0", "const_fold_opt__12"], "flatten/Reshape:0"),
        node("MatMul", ["flatten/Reshape:0", "dense/MatMul/ReadVariableOp:0"], "m:0"),
        node("Add", ["m:0", "dense/BiasAdd/ReadVariableOp:0"]),
    ]

    def noise(proto: onnx.ModelProto) -> None:
        proto.opset_import.extend([helper.make_opsetid("ai.onnx.ml", 2), helper.make_opsetid("com.microsoft", 1)])
        proto.graph.value_info.append(VALUE("m:0", TensorProto.FLOAT, ["unk__3", 3]))
        proto.doc_string = proto.graph.doc_string = proto.graph.node[0].doc_string = "converted from model"
        proto.metadata_props.add(key="by", value="tf2onnx")

    path = tmp_path / "net.onnx"
    path.write_bytes(edited(model(nodes, tensors, ("unk__2", 4, 4, 1)), noise))
    net = network_from_onnx(path.read_bytes())
    assert net.graph.batched
    assert net.repairable == set(list(tensors)[:4])
    bias = {"dense/BiasAdd/ReadVariableOp:0": torch.ones(3)}
    before = onnx.load(path)
    after = onnx.load_model_from_string(bytes_with_values(net.with_values(bias), path))
    for proto in (before, after):
        del proto.graph.initializer[:]
    assert before == after


def scaled(scaler: dict[str, list[float]], **more: Any) -> bytes:
    """What skl2onnx writes of StandardScaler and MLPRegressor in a pipeline."""
    tensors = dense(RNG, 4, 5, 1)
    first = helper.make_node("Scaler", ["x"], ["scaled"], name="Scaler", domain="ai.onnx.ml", **scaler)
    nodes = [
        *([cast("variable", 1, "y")] if more else []),
        first,
        cast("scaled", 1, "cast"),
        node("MatMul", ["cast", "W0"], "m0"),
        node("Add", ["m0", "B0"], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "W1"], "m1"),
        node("Add", ["m1", "B1"], "a1"),
        node("Reshape", ["a1", "shape"]),
    ]
    data = model(nodes, {**tensors, "shape": np.array([-1, 1])}, ("N", 4))
    return edited(data, lambda p: p.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1)))


@pytest.mark.parametrize("size", [1, 4])
def test_a_scaler_is_a_difference_and_a_product(size: int) -> None:
    """Of one number for all features or one for each; and no repair changes it."""
    data = scaled({"offset": floats(size).tolist(), "scale": floats(size).tolist()})
    net = network_from_onnx(data)
    assert [step.op for step in net.nodes][:3] == ["Sub", "Mul", "Identity"]
    assert net.repairable == {"W0", "B0", "W1", "B1"}
    for x in floats(20, 1, 4):
        assert np.allclose(net(torch.from_numpy(x)).detach().numpy(), run(data, x), atol=1e-5)


def test_a_scaler_without_numbers_is_refused() -> None:
    """And other operators of that domain, by name."""
    refuse(scaled({"offset": [1.0]}), "Scaler.: offset and scale, as many numbers of each, are expected")
    other = helper.make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0])
    refuse(model([other], {}), "ai.onnx.ml.LinearRegressor", UnsupportedOpError)


def classifier(*, zipmap: bool) -> bytes:
    """The label and the probabilities of two classes, as skl2onnx writes MLPClassifier."""
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Sigmoid", ["m"], "one"),
        node("Sub", ["unit", "one"], "zero"),
        node("Concat", ["zero", "one"], "both", axis=1),
        node("ArgMax", ["both"], "label", axis=1),
        node("Identity", ["both"]),
    ]
    data = model(nodes, {"w": floats(4, 1), "unit": np.ones(1, np.float32)}, ("N", 4))

    def outputs(proto: onnx.ModelProto) -> None:
        proto.graph.output.insert(0, VALUE("label", TensorProto.INT64, ["N", 1]))
        if zipmap:
            made = helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
            proto.graph.node.append(made)
            proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
            proto.graph.output[1].CopyFrom(onnx.ValueInfoProto(name="maps"))
            entry = proto.graph.output[1].type.sequence_type.elem_type.map_type
            entry.key_type = TensorProto.INT64
            entry.value_type.tensor_type.elem_type = TensorProto.FLOAT

    return edited(data, outputs)


def test_classifiers_give_their_probabilities() -> None:
    """The label is an integer, of which no property speaks; a list of maps is no tensor."""
    net = network_from_onnx(classifier(zipmap=False))
    assert (net.output_name, net.n_outputs) == ("y", 2)
    assert net.notes == ("Outputs that hold no floating-point numbers are left out and not counted: 'label'.",)
    refuse(classifier(zipmap=True), r"no output is a tensor of floating-point numbers; export .*'zipmap': False")
