"""Partition of networks into blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from birdnn.blocks import partition, require_blocks
from birdnn.errors import MismatchError
from birdnn.formats.export import model_bytes
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network
from tests.classifiers import classifier


def built(
    nodes: Sequence[NodeProto],
    weights: dict[str, tuple[int, ...]],
    shape: tuple[int, ...],
    integers: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> Network:
    """A network of some nodes from X to Y, its weights drawn."""
    rng = np.random.default_rng(0)
    tensors = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in weights.items()]
    tensors += [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in integers.items()]
    infos = [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", *shape]),
        helper.make_tensor_value_info("Y", TensorProto.FLOAT, None),
    ]
    return network_from_onnx(model_bytes(helper.make_graph(nodes, "g", infos[:1], infos[1:], tensors)))


def conv(value: str, weight: str, out: str, name: str = "") -> NodeProto:
    return helper.make_node("Conv", [value, weight], [out], name=name or out, pads=[1, 1, 1, 1])


def relu(value: str, out: str, name: str = "") -> NodeProto:
    return helper.make_node("Relu", [value], [out], name=name or out)


PLAIN = [
    conv("X", "K0", "a"),
    relu("a", "b"),
    conv("b", "K1", "c"),
    relu("c", "d"),
    helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
    conv("e", "K2", "f"),
    relu("f", "g"),
    helper.make_node("Flatten", ["g"], ["h"]),
    helper.make_node("Gemm", ["h", "W"], ["Y"]),
]
PLAIN_WEIGHTS = {"K0": (3, 1, 3, 3), "K1": (3, 3, 3, 3), "K2": (4, 3, 3, 3), "W": (16, 2)}


def plain() -> Network:
    return built(PLAIN, PLAIN_WEIGHTS, (1, 4, 4))


def test_modules_of_the_exporter_are_blocks() -> None:
    blocks = partition(classifier())
    assert [block.name for block in blocks] == ["stem", "layer1", "layer2", "head"]
    assert {block.by for block in blocks} == {"names"}
    assert [len(block.convolutions) for block in blocks] == [1, 2, 3, 0]


def test_every_node_is_in_one_block_and_blocks_follow_each_other() -> None:
    for net in (classifier(), plain()):
        blocks = partition(net)
        assert [node.output for block in blocks for node in block.nodes] == [node.output for node in net.nodes]
        assert [block.entry for block in blocks] == [net.input_name, *(block.exit for block in blocks[:-1])]
        assert blocks[-1].exit == net.output_name


def test_without_names_poolings_and_layouts_divide() -> None:
    blocks = partition(plain())
    assert [[node.op for node in block.nodes] for block in blocks] == [
        ["Conv", "Relu", "Conv", "Relu", "MaxPool"],
        ["Conv", "Relu"],
        ["Flatten", "Gemm"],
    ]
    assert {block.by for block in blocks} == {"structure"}


def test_a_change_of_channels_divides() -> None:
    nodes = [conv("X", "K0", "a"), relu("a", "b"), conv("b", "K1", "c"), relu("c", "d"), conv("d", "K2", "Y")]
    net = built(nodes, {"K0": (3, 3, 3, 3), "K1": (3, 3, 3, 3), "K2": (5, 3, 3, 3)}, (3, 4, 4))
    assert [[node.output for node in block.nodes] for block in partition(net)] == [["a", "b", "c", "d"], ["Y"]]


def test_a_join_is_never_broken_and_takes_its_activation_along() -> None:
    nodes = [
        conv("X", "K0", "a"),
        relu("a", "b"),
        conv("b", "K1", "c"),
        helper.make_node("Add", ["c", "b"], ["d"]),
        relu("d", "e"),
        conv("e", "K2", "Y"),
    ]
    net = built(nodes, {"K0": (3, 1, 3, 3), "K1": (3, 3, 3, 3), "K2": (3, 3, 3, 3)}, (1, 4, 4))
    assert [[node.output for node in block.nodes] for block in partition(net)] == [["a", "b"], ["c", "d", "e"], ["Y"]]
    chosen = partition(net, {"mine": ("c", "c")})
    assert [(block.name, [n.output for n in block.nodes]) for block in chosen if block.by == "user"] == [
        ("mine", ["c", "d"])
    ]


def test_initialisers_name_modules_where_nodes_do_not() -> None:
    nodes = [
        conv("X", "body.0.conv.weight", "a"),
        relu("a", "b"),
        conv("b", "body.1.conv.weight", "c"),
        helper.make_node("Add", ["c", "b"], ["d"]),
        relu("d", "Y"),
    ]
    net = built(nodes, {"body.0.conv.weight": (3, 1, 3, 3), "body.1.conv.weight": (3, 3, 3, 3)}, (1, 4, 4))
    assert [block.name for block in partition(net)] == ["body.0", "body.1.conv"]


def test_weights_that_another_block_reads_are_not_its_own() -> None:
    """Directly, or through what does not depend on the input; within a block they may be shared."""
    nodes = [
        conv("X", "K0", "a"),
        relu("a", "b"),
        helper.make_node("Conv", ["b", "K1", "B"], ["c"], name="c", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "K1", "B"], ["d"], name="d", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["d"], ["e"], name="e", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["K0"], ["turned"], perm=[1, 0, 2, 3]),
        helper.make_node("Conv", ["e", "turned"], ["f"], name="f", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["f", "K2", "B"], ["Y"], name="Y", pads=[1, 1, 1, 1]),
    ]
    weights = {"K0": (3, 3, 3, 3), "K1": (3, 3, 3, 3), "K2": (3, 3, 3, 3), "B": (3,)}
    net = built(nodes, weights, (3, 4, 4))
    assert {"K0", "K1", "K2", "B"} <= net.repairable
    first, second = partition(net)
    assert [block.weights(net) for block in (first, second)] == [("K1",), ("K2",)]


def test_a_node_of_the_file_that_is_several_here_is_chosen_whole() -> None:
    nodes = [conv("X", "K0", "a"), relu("a", "b"), conv("b", "K1", "c")]
    nodes += [helper.make_node("ReduceMean", ["c", "axes"], ["m"], name="mean", keepdims=0)]
    nodes += [helper.make_node("Gemm", ["m", "W"], ["Y"], name="fc")]
    tensors = {"K0": (3, 1, 3, 3), "K1": (3, 3, 3, 3), "W": (3, 2)}
    net = built(nodes, tensors, (1, 4, 4), {"axes": [2, 3]})
    for chosen in (("mean", "fc"), ("mean",), ("fc", "mean")):
        block = next(block for block in partition(net, {"mine": chosen}) if block.by == "user")
        assert [node.op for node in block.nodes][:2] == ["GlobalAveragePool", "Flatten"]
    assert [[node.op for node in block.nodes] for block in partition(net)][-1] == [
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ]


def test_a_user_draws_the_borders() -> None:
    net = plain()
    blocks = partition(net, {"mine": ("b", "g")})
    assert [(block.name, block.by) for block in blocks] == [
        ("block1", "structure"),
        ("mine", "user"),
        ("block3", "structure"),
    ]
    assert [node.output for node in blocks[1].nodes] == ["b", "c", "d", "e", "f", "g"]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"mine": ("nowhere", "b")}, "no node 'nowhere'"),
        ({"one": ("a", "c"), "two": ("b", "d")}, "overlap"),
    ],
)
def test_blocks_that_cannot_be(chosen: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        partition(plain(), chosen)


def test_a_graph_without_blocks() -> None:
    dense = network_from_layers([(np.eye(3), np.zeros(3)), (np.eye(3), np.zeros(3))])
    with pytest.raises(MismatchError, match="no convolution"):
        require_blocks(dense)
    alone = built([conv("X", "K", "Y")], {"K": (1, 1, 3, 3)}, (1, 4, 4))
    with pytest.raises(MismatchError, match="all its weights are in one block"):
        require_blocks(alone)
