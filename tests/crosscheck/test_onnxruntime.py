"""Replay on onnxruntime: what the file answers, at the very point asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats.onnx import layers_to_onnx
from birdnn.records import Replay
from tests.bounds.builders import random_layers


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_answers_what_the_network_computes(seed: int) -> None:
    """A replay of something else would confirm counterexamples that are none."""
    layers = random_layers(seed, (3, 5, 2))
    replay = OnnxReplay(layers_to_onnx(layers))
    x = np.random.default_rng(seed).normal(size=3).astype(np.float32)
    (w, b), (v, c) = layers
    expected = v.astype(float) @ np.maximum(w.astype(float) @ x + b, 0) + c
    y = replay(x)
    assert y.shape == (2,)
    assert np.allclose(y, expected, atol=1e-5)
    assert np.array_equal(y, replay(x)), "the same point twice"


def test_it_is_a_replay() -> None:
    """The record of a witness names who ran it."""
    replay = OnnxReplay(layers_to_onnx(random_layers(0, (2, 1))))
    assert isinstance(replay, Replay)
    assert replay.name == "onnxruntime"


def _listed_initialisers(shape: list[int | str]) -> bytes:
    """IR version 3: initialisers among the inputs, the true one last; the input keeps its axes."""
    weight, mean = np.arange(8, dtype=np.float32).reshape(4, 2), np.full(shape, 0.5, np.float32)
    infos = [
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 2]),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
    ]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        infos,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(mean, "mean")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3).SerializeToString()


def test_listed_initialisers_are_no_inputs() -> None:
    """ACAS Xu files list weights as inputs; feeding the point to one of them would replay nonsense."""
    y = OnnxReplay(_listed_initialisers([1, 1, 1, 4]))(np.array([1.5, 0.5, 0.5, 2.5], np.float32))
    assert y.tolist() == [0 * 1 + 6 * 2, 1 * 1 + 7 * 2]


def test_double_networks_are_run_in_double() -> None:
    """1 + 1e-12 is 1 in float32; a margin that small would vanish."""
    replay = OnnxReplay(layers_to_onnx([([[1e-12]], [1.0])], dtype=np.float64))
    (y,) = replay(np.ones(1, np.float32))
    assert float(y) == 1.0 + 1e-12


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_point_of_another_size_is_refused(size: int) -> None:
    """Broadcasting would evaluate another point."""
    with pytest.raises(ValueError, match="2 input values"):
        OnnxReplay(layers_to_onnx(random_layers(0, (2, 1))))(np.zeros(size, np.float32))
