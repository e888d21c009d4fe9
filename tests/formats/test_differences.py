"""What differs between two ONNX files is found, and nothing else is named."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from birdnn.formats.differences import graph_change
from birdnn.records import GraphNode
from tests.classifiers import trained


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.load_from_string(trained())


def stored(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


def test_a_file_is_itself(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = stored(tmp_path / "a.onnx", model)
    found = graph_change(path, path)
    assert (found.nodes_kept, found.initialisers_kept) == (len(model.graph.node), len(model.graph.initializer))
    assert (found.nodes_gone, found.nodes_new, found.initialisers_changed) == ((), (), ())
    assert (found.initialisers_gone, found.initialisers_new, found.rest_kept) == ({}, {}, True)


def test_each_difference_is_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    before = stored(tmp_path / "a.onnx", model)
    first, second = model.graph.initializer[:2]
    values = numpy_helper.to_array(first).copy()
    values.flat[-1] += 1
    first.CopyFrom(numpy_helper.from_array(values, first.name))
    old, second.name = second.name, "another"
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "another" if name == old else name
    reader = next(node for node in model.graph.node if "another" in node.input)
    found = graph_change(before, stored(tmp_path / "b.onnx", model))
    assert found.initialisers_changed == (first.name,)
    assert found.initialisers_gone == {old: tuple(second.dims)}
    assert found.initialisers_new == {"another": tuple(second.dims)}
    assert found.nodes_gone == found.nodes_new == (GraphNode(reader.name, reader.op_type),)
    assert found.nodes_kept == len(model.graph.node) - 1
    assert found.rest_kept


@pytest.mark.parametrize("part", ["metadata", "opset", "output"])
def test_the_rest_is_compared(model: onnx.ModelProto, tmp_path: Path, part: str) -> None:
    before = stored(tmp_path / "a.onnx", model)
    if part == "metadata":
        model.metadata_props.add(key="who", value="someone else")
    elif part == "opset":
        model.opset_import[0].version += 1
    else:
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "others"
    found = graph_change(before, stored(tmp_path / "b.onnx", model))
    assert not found.rest_kept
    assert found.nodes_gone == ()
