"""Files that end with ArgMax."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from tests.formats.models import dense, model, node


def classifier(*behind: onnx.NodeProto, seed: int = 5, softmax: bool = False, **options: int) -> bytes:
    """Two inputs, four classes, their label."""
    tensors = {**dense(np.random.default_rng(seed), 2, 8, 4), "n": np.array([1], np.int64)}
    nodes = [node("MatMul", ["x", "W0"], "m0"), node("Add", ["m0", "B0"], "a0"), node("Relu", ["a0"], "r0")]
    nodes += [node("MatMul", ["r0", "W1"], "m1"), node("Add", ["m1", "B1"], "l")]
    nodes += [node("Softmax", ["l"], "p", axis=1)] if softmax else []
    nodes.append(node("ArgMax", ["p" if softmax else "l"], "y" if not behind else "k", **{"axis": 1, **options}))
    kind = TensorProto.FLOAT if behind and behind[-1].attribute[0].i == TensorProto.FLOAT else TensorProto.INT64
    return typed(model([*nodes, *behind], tensors, (1, 2), opset=13), kind)


def typed(data: bytes, kind: int = TensorProto.INT64) -> bytes:
    """A file whose output is of that type."""
    made = onnx.load_model_from_string(data)
    made.graph.output[0].type.tensor_type.elem_type = kind
    return bytes(made.SerializeToString())


TAILS = {
    "alone": classifier(),
    "no axis left": classifier(keepdims=0),
    "last": classifier(select_last_index=1),
    "softmax": classifier(softmax=True),
    "float": classifier(node("Cast", ["k"], to=TensorProto.FLOAT)),
    "squeezed": classifier(node("Reshape", ["k", "n"], "s"), node("Cast", ["s"], to=TensorProto.INT64)),
    "negative axis": classifier(axis=-1),
}
