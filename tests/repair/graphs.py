"""Small graphs that are no chains, each with other operators before or behind its last weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from birdnn.network import Network
from tests.bounds.builders import graph_net

GRAPHS: Mapping[str, tuple[list[tuple[str, list[str], str, dict[str, object]]], tuple[str, ...]]] = {
    "behind convolutions": (
        [
            ("Conv", ["x", "k0", "c0"], "a", {"pads": [1, 1, 1, 1]}),
            ("Relu", ["a"], "b", {}),
            ("MaxPool", ["b"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Flatten", ["p"], "f", {}),
            ("Gemm", ["f", "w12", "b3"], "y", {"transB": 1}),
        ],
        ("b3", "w12"),
    ),
    "behind a residual block": (
        [
            ("Conv", ["x", "k0", "c0"], "a", {"pads": [1, 1, 1, 1]}),
            ("Relu", ["a"], "b", {}),
            ("Conv", ["b", "k1", "c1"], "c", {"pads": [1, 1, 1, 1]}),
            ("Add", ["c", "b"], "d", {}),
            ("Relu", ["d"], "e", {}),
            ("GlobalAveragePool", ["e"], "g", {}),
            ("Flatten", ["g"], "f", {}),
            ("MatMul", ["f", "w3"], "m", {}),
            ("Add", ["m", "b3"], "y", {}),
        ],
        ("b3", "w3"),
    ),
    "two heads": (
        [
            ("Flatten", ["x"], "i", {}),
            ("MatMul", ["i", "w16"], "h", {}),
            ("Relu", ["h"], "r", {}),
            ("Gemm", ["r", "wa", "ba"], "p", {}),
            ("Tanh", ["h"], "t", {}),
            ("Gemm", ["t", "wb", "bb"], "q", {}),
            ("Concat", ["p", "q"], "y", {"axis": 1}),
        ],
        ("bb", "wb", "ba", "wa"),
    ),
    "a sum of two layers, scaled": (
        [
            ("Flatten", ["x"], "i", {}),
            ("MatMul", ["i", "w16"], "h", {}),
            ("Sigmoid", ["h"], "r", {}),
            ("MatMul", ["r", "w53"], "m", {}),
            ("MatMul", ["i", "w163"], "n", {}),
            ("Add", ["m", "n"], "s", {}),
            ("Add", ["s", "b3"], "a", {}),
            ("Mul", ["a", "two"], "y", {}),
        ],
        ("b3", "w163", "w53"),
    ),
    "a convolution at the end": (
        [
            ("Conv", ["x", "k0", "c0"], "a", {"pads": [1, 1, 1, 1]}),
            ("Relu", ["a"], "b", {}),
            ("Conv", ["b", "k1", "c1"], "c", {}),
            ("Flatten", ["c"], "y", {}),
        ],
        ("c1", "k1"),
    ),
    "a layer that another reads as well": (
        [
            ("Flatten", ["x"], "i", {}),
            ("Gemm", ["i", "w163", "b3"], "z", {}),
            ("Relu", ["z"], "r", {}),
            ("MatMul", ["r", "w33"], "m", {}),
            ("Add", ["m", "z"], "y", {}),
        ],
        ("w33",),
    ),
    "a transposed matrix": (
        [
            ("Flatten", ["x"], "i", {}),
            ("MatMul", ["i", "w16"], "h", {}),
            ("Relu", ["h"], "r", {}),
            ("Transpose", ["w35"], "v", {"perm": [1, 0]}),
            ("MatMul", ["r", "v"], "m", {}),
            ("Add", ["b3", "m"], "y", {}),
        ],
        ("b3", "w35"),
    ),
}
"""Name -> nodes, and the initialisers that the outputs are jointly affine in, those nearest to the output first."""

_SHAPES = {
    "k0": (3, 1, 3, 3), "c0": (3,), "k1": (3, 3, 3, 3), "c1": (3,), "w12": (3, 12), "w3": (3, 3), "b3": (3,),
    "w16": (16, 5), "wa": (5, 2), "ba": (2,), "wb": (5, 2), "bb": (2,), "w53": (5, 3), "w163": (16, 3), "w33": (3, 3),
    "w35": (3, 5),
}  # fmt: skip


def a_graph(name: str, seed: int = 0, *, softmax: bool = False) -> Network:
    """One of them with random values and an input of shape (1, 1, 4, 4); perhaps with a softmax at its end."""
    rng, nodes = np.random.default_rng(seed), GRAPHS[name][0]
    if softmax:
        op, inputs, _, attributes = nodes[-1]
        nodes = [*nodes[:-1], (op, inputs, "logits", attributes), ("Softmax", ["logits"], "y", {"axis": 1})]
    used = {read for _, inputs, _, _ in nodes for read in inputs}
    tensors = {key: (rng.normal(size=shape) / 2).astype(np.float32) for key, shape in _SHAPES.items() if key in used}
    if "two" in used:
        tensors["two"] = np.array([2, 2, 2], np.float32)
    return graph_net(nodes, tensors, (1, 1, 4, 4))
