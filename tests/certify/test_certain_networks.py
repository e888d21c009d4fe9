"""Networks that a runtime may take otherwise are refused: fields, names, attributes, operands, declarations, sizes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from birdnn.certify.check import files, network
from birdnn.certify.check.files import File
from birdnn.certify.check.network import read_network
from birdnn.errors import FormatError
from tests.certify.cases import sha256
from tests.certify.producer import write
from tests.certify.test_certain import HEADER, told
from tests.certify.test_layers import F32, W, build, node


def gemm(*nodes: Any, opset: int = 13) -> onnx.ModelProto:
    """Three inputs, two outputs, a chain that has everything."""
    made = nodes or (node("Gemm", "X", "w", "b", "z", transB=1), node("LeakyRelu", "z", "Y", alpha=0.25))
    tensors = [numpy_helper.from_array(W, "w"), numpy_helper.from_array(F32([1, 2]), "b")]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("X", ["N", 3]), ("Y", ["N", 2]))]
    graph = helper.make_graph(list(made), "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def chain(model: onnx.ModelProto, more: bytes = b"") -> Any:
    return read_network(File("it.onnx", model.SerializeToString() + more, ""))


def _alpha(model: onnx.ModelProto) -> AttributeProto:
    return model.graph.node[1].attribute[0]


def _again(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("alpha", 0.5))


def _constant(model: onnx.ModelProto, name: str, *values: float) -> None:
    made = helper.make_node("Constant", [], [name])
    for value in values:
        made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(F32([value, value]))))
    model.graph.node.insert(0, made)
    model.graph.node[1].input[2] = name


def _tensor(model: onnx.ModelProto, **fields: Any) -> None:
    for name, value in fields.items():
        target = getattr(model.graph.initializer[1], name)
        target.extend(value) if isinstance(value, list) else setattr(model.graph.initializer[1], name, value)


def _declare(model: onnx.ModelProto, place: str, name: str, kind: int, shape: Any) -> None:
    getattr(model.graph, place).append(helper.make_tensor_value_info(name, kind, shape))


def _input(model: onnx.ModelProto, kind: int, shape: Any) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("X", kind, shape))


def _output(model: onnx.ModelProto, kind: int, shape: Any) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("Y", kind, shape))


def _entry(model: onnx.ModelProto) -> None:
    entry = model.graph.initializer[1].external_data.add()
    entry.key, entry.value = "location", "elsewhere"


def _segment(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].segment.begin = 0


def _function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], body, [helper.make_opsetid("", 13)]))


def _unmentioned(model: onnx.ModelProto, ir_version: int = 3) -> None:
    model.ir_version = ir_version
    model.graph.initializer.append(helper.make_tensor("u", 1, [1], [1.0]))


def _set(message: Callable[[onnx.ModelProto], Any], **fields: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for name, value in fields.items():
            setattr(message(model), name, value)

    return change


def _other(name: str, array: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.asarray(array), name))

    return change


def _first(model: onnx.ModelProto) -> onnx.NodeProto:
    return model.graph.node[0]


Change = Callable[[onnx.ModelProto], Any]
REFUSED: dict[str, tuple[Change, str]] = {
    "attribute twice": (_again, "given twice"),
    "attribute unknown": (lambda m: _first(m).attribute.append(helper.make_attribute("gamma", 1.0)), "is unknown"),
    "attribute of a later opset": (_set(lambda m: m.graph.node[1], op_type="Softsign"), "does not read operator"),
    "attribute without a type": (lambda m: _alpha(m).ClearField("type"), "another type"),
    "attribute of another type": (_set(_alpha, type=AttributeProto.INT), "another type"),
    "attribute of text": (_set(_alpha, type=AttributeProto.STRING, s=b"x"), "another type"),
    "attribute that refers": (_set(_alpha, ref_attr_name="beta"), "'ref_attr_name'"),
    "attribute of two values": (_set(_alpha, i=1), "the field 'i'"),
    "attribute of no name": (_set(_alpha, name=""), "is unknown"),
    "operand too many": (lambda m: m.graph.node[1].input.append("b"), "takes 1 to 1 inputs, not 2"),
    "operand left out too many": (lambda m: m.graph.node[1].input.append(""), "takes 1 to 1 inputs, not 2"),
    "operand too few": (lambda m: m.graph.node[1].input.pop(), "takes 1 to 1 inputs, not 0"),
    "operand of another type": (_other("b", np.float64([1, 2])), "must hold float32"),
    "operand of integers": (_other("b", [1, 2]), "must hold float32"),
    "two outputs": (lambda m: m.graph.node[1].output.append("more"), "other than one output"),
    "no output": (lambda m: m.graph.node[1].output.pop(), "other than one output"),
    "output of no name": (lambda m: m.graph.node[0].output.__setitem__(0, ""), "missing, no text, or given twice"),
    "value made twice": (lambda m: m.graph.node.append(m.graph.node[0]), "given twice"),
    "initialiser made again": (lambda m: m.graph.node[0].output.__setitem__(0, "b"), "one that exists already"),
    "input made again": (lambda m: m.graph.node[0].output.__setitem__(0, "X"), "one that exists already"),
    "initialiser twice": (lambda m: m.graph.initializer.append(m.graph.initializer[1]), "given twice"),
    "initialiser of no name": (_other("", [1]), "missing"),
    "input twice": (lambda m: m.graph.input.append(m.graph.input[0]), "given twice"),
    "node name twice": (lambda m: [_set(lambda m, i=i: m.graph.node[i], name="n")(m) for i in (0, 1)], "given twice"),
    "output twice": (lambda m: m.graph.output.append(m.graph.output[0]), "one output"),
    "second input": (lambda m: _declare(m, "input", "more", 1, [1]), "one input and one output"),
    "output before the end": (_set(lambda m: m.graph.output[0], name="z"), "not the output"),
    "nodes in another order": (lambda m: m.graph.node.append(m.graph.node.pop(0)), "no chain"),
    "node that nothing needs": (lambda m: m.graph.node.append(node("Tanh", "z", "dead")), "no chain"),
    "node behind the output": (lambda m: m.graph.node.append(node("Tanh", "Y", "dead")), "not the output"),
    "node of another domain": (_set(_first, domain="own"), "does not read operator"),
    "overloaded node": (_set(_first, overload="own"), "'overload'"),
    "constant of two values": (lambda m: _constant(m, "c", 1, 2), "given twice"),
    "constant of no value": (lambda m: _constant(m, "c"), "no tensor"),
    "values twice": (lambda m: _tensor(m, float_data=[3.0, 4.0]), "its values twice"),
    "values of another type, too": (lambda m: _tensor(m, double_data=[3.0]), "'double_data'"),
    "values missing": (lambda m: m.graph.initializer[1].ClearField("raw_data"), "holds nothing"),
    "values too few": (_set(lambda m: m.graph.initializer[1], raw_data=bytes(4)), "cannot be read"),
    "values too many": (_set(lambda m: m.graph.initializer[1], raw_data=bytes(12)), "cannot be read"),
    "other dimensions": (lambda m: _tensor(m, dims=[3]), "cannot be read"),
    "negative dimension": (lambda m: m.graph.initializer[1].dims.__setitem__(0, -1), "inside the file only"),
    "negative dimension of two": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -1), "inside the file only"),
    "values elsewhere": (lambda m: _tensor(m, data_location=TensorProto.EXTERNAL), "inside the file only"),
    "place elsewhere": (_entry, "'external_data'"),
    "segment": (_segment, "'segment'"),
    "sparse initialiser": (lambda m: m.graph.sparse_initializer.add(), "'sparse_initializer'"),
    "quantization": (lambda m: m.graph.quantization_annotation.add(), "'quantization_annotation'"),
    "function": (_function, "'functions'"),
    "training": (lambda m: m.training_info.add(), "'training_info'"),
    "opset twice": (lambda m: m.opset_import.append(helper.make_opsetid("", 12)), "has two versions"),
    "opset by its other name": (lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 9)), "has two versions"),
    "other domain twice": (
        lambda m: m.opset_import.extend(helper.make_opsetid("own", version) for version in (8, 9)),
        "has two versions",
    ),
    "no opset": (lambda m: m.opset_import.pop(), "is not known"),
    "opset too old": (_set(lambda m: m.opset_import[0], version=6), "is not known"),
    "opset too new": (_set(lambda m: m.opset_import[0], version=99), "is not known"),
    "format too old": (_set(lambda m: m, ir_version=2), "of the format"),
    "an initialiser that nothing mentions, in the oldest format": (_unmentioned, "neither used nor listed"),
    "format too new": (_set(lambda m: m, ir_version=14), "of the format"),
    "input of half precision": (lambda m: _input(m, TensorProto.FLOAT16, ["N", 3]), "float32 and float64 only"),
    "input without a shape": (lambda m: _input(m, 1, None), "is not known"),
    "input of unknown width": (lambda m: _input(m, 1, [1, "M"]), "is not known"),
    "batches of zero": (lambda m: _input(m, 1, [0, 3]), "is not known"),
    "batches of minus two": (lambda m: _input(m, 1, [-2, 3]), "is not known"),
    "input of axes without end": (lambda m: _input(m, 1, [1] * 17), "is not known"),
    "input too large": (lambda m: _input(m, 1, [1, (1 << 18) + 1]), "is not known"),
    "output of another type": (lambda m: _output(m, 11, ["N", 2]), "declared as other"),
    "output of another shape": (lambda m: _output(m, 1, ["N", 3]), "declared as other"),
    "output of more axes": (lambda m: _output(m, 1, ["N", 2, 1]), "declared as other"),
    "output of fewer axes": (lambda m: _output(m, 1, ["N"]), "declared as other"),
    "output of other batches": (lambda m: _output(m, 1, [2, 2]), "declared as other"),
    "value of another type": (lambda m: _declare(m, "value_info", "z", 11, [1, 2]), "declared as other"),
    "value of another shape": (lambda m: _declare(m, "value_info", "z", 1, [1, 7]), "declared as other"),
    "input of another shape": (lambda m: _declare(m, "value_info", "X", 1, [1, 7]), "declared as other"),
    "initialiser of another shape": (lambda m: _declare(m, "input", "b", 1, [3]), "declared as other"),
    "initialiser of any batch": (lambda m: _declare(m, "input", "b", 1, [-1]), "declared as other"),
    "initialiser of another type": (lambda m: _declare(m, "input", "b", 11, [2]), "declared as other"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_may_run_otherwise_is_refused(name: str) -> None:
    model, (change, reason) = gemm(), REFUSED[name]
    assert len(chain(model).layers) == 2
    change(model)
    with pytest.raises(FormatError, match=r"it\.onnx") as caught:
        chain(model)
    assert reason in caught.value.problem


ACCEPTED: dict[str, Change] = {
    "the operator set by its other name": _set(lambda m: m.opset_import[0], domain="ai.onnx"),
    "the same operator set twice": lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 13)),
    "a domain that no node uses": lambda m: m.opset_import.append(helper.make_opsetid("own", 1)),
    "the oldest operator set": _set(lambda m: m.opset_import[0], version=7),
    "the newest operator set": _set(lambda m: m.opset_import[0], version=onnx.defs.onnx_opset_version()),
    "the oldest format": _set(lambda m: m, ir_version=3),
    "an initialiser that nothing mentions": lambda m: _unmentioned(m, 4),
    "the newest format": _set(lambda m: m, ir_version=13),
    "initialisers among the inputs": lambda m: _declare(m, "input", "b", 1, [2]),
    "what says nothing": _set(lambda m: m.graph, doc_string="x", name="y"),
    "values one by one": lambda m: m.graph.initializer[1].CopyFrom(helper.make_tensor("b", 1, [2], [1.0, 2.0])),
    "an attribute of zero that is not written": lambda m: _alpha(m).ClearField("f"),
    "batches of any size": lambda m: _input(m, 1, [-1, 3]),
    "one at a time": lambda m: _input(m, 1, [1, 3]),
    "an output of any batch": lambda m: _output(m, 1, [-1, 2]),
    "an output of no shape": lambda m: _output(m, 1, None),
    "values that are declared": lambda m: _declare(m, "value_info", "z", 1, ["N", 2]),
    "a constant": lambda m: _constant(m, "c", 1),
    "a constant under another name": lambda m: m.graph.node.insert(0, node("Identity", "b", "c")),
    "names of nodes": _set(_first, name="n", doc_string="x"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_certain_in_a_network_stays(name: str) -> None:
    model = gemm()
    ACCEPTED[name](model)
    found = chain(model)
    assert (len(found.layers), found.n_inputs, found.n_outputs, found.single) == (2, 3, 2, True)


def test_fields_that_nobody_defined() -> None:
    """Neither a field nor a value of an enumeration: a newer runtime may know it."""
    with pytest.raises(FormatError, match="fields that ONNX does not define"):
        chain(gemm(), b"\xfa\x7f\x01a")
    data = gemm().SerializeToString()
    with pytest.raises(FormatError, match="not an ONNX file"):
        read_network(File("it.onnx", data[:-1], ""))


def test_a_name_that_is_no_text() -> None:
    data = gemm(node("Relu", "X", "Qz"), node("MatMul", "Qz", "w", "Y")).SerializeToString()
    with pytest.raises(FormatError, match="no text"):
        read_network(File("it.onnx", data.replace(b"Qz", b"\xff\xfe"), ""))


SHAPES: dict[str, tuple[list[Any], dict[str, Any], int, str]] = {
    "flatten from behind": ([node("Flatten", "X", "Y", axis=-1)], {}, 11, ""),
    "flatten from behind, old": ([node("Flatten", "X", "Y", axis=-1)], {}, 10, "axis -1"),
    "flatten far behind": ([node("Flatten", "X", "Y", axis=-3)], {}, 11, "axis -3"),
    "flatten at the end": ([node("Flatten", "X", "Y", axis=2)], {}, 9, ""),
    "flatten from the start, from behind": ([node("Flatten", "X", "Y", axis=-2)], {}, 11, ""),
    "flatten behind the end": ([node("Flatten", "X", "Y", axis=3)], {}, 13, "axis 3"),
    "squeeze from behind": ([node("Squeeze", "X", "Y", axes=[-2])], {}, 11, ""),
    "squeeze from behind, old": ([node("Squeeze", "X", "Y", axes=[-2])], {}, 10, "do not fit"),
    "squeeze far behind": ([node("Squeeze", "X", "Y", axes=[-3])], {}, 11, "do not fit"),
    "squeeze beyond": ([node("Squeeze", "X", "Y", axes=[2])], {}, 11, "do not fit"),
    "squeeze of no axes": ([node("Squeeze", "X", "a", "Y")], {"a": np.zeros(0, np.int64)}, 13, "holds nothing"),
    "squeeze of every one": ([node("Squeeze", "X", "Y")], {}, 13, ""),
    "squeeze of an axis twice": ([node("Squeeze", "X", "a", "Y")], {"a": np.array([0, 0])}, 13, "repeat"),
    "squeeze of three": ([node("Squeeze", "X", "a", "Y")], {"a": np.array([1])}, 13, "do not fit"),
    "unsqueeze twice the same": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([0, -4])}, 13, "repeat"),
    "unsqueeze unsorted": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([2, 0])}, 13, "not sorted"),
    "unsqueeze of three": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([0, 2, 1])}, 13, "not sorted"),
    "unsqueeze, one axis beyond": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([0, 9])}, 13, "do not fit"),
    "squeeze of one and of three": ([node("Squeeze", "X", "a", "Y")], {"a": np.array([0, 1])}, 13, "do not fit"),
    "unsqueeze sorted": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([0, -1])}, 13, ""),
    "unsqueeze unsorted, old": ([node("Unsqueeze", "X", "Y", axes=[1, 0])], {}, 9, "not sorted"),
    "squeeze of what is left out": ([node("Squeeze", "X", "", "Y")], {}, 13, "must be a constant"),
    "axes of a matrix": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array([[0]])}, 13, "list of integers"),
    "one axis alone": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.array(0)}, 13, "list of integers"),
    "axes of small integers": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.int32([0])}, 13, "float32, float64"),
    "as many axes as there may be": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.arange(14)}, 13, ""),
    "too many axes": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.arange(15)}, 13, "at most 16 axes"),
    "far too many axes": ([node("Unsqueeze", "X", "a", "Y")], {"a": np.arange(17)}, 13, "17 integers"),
    "reshape by the rest": ([node("Reshape", "X", "r", "Y")], {"r": np.array([0, 1, -1])}, 13, ""),
    "reshape without a rest": ([node("Reshape", "X", "r", "Y")], {"r": np.array([3, 1])}, 13, ""),
    "reshape to many axes": ([node("Reshape", "X", "r", "Y")], {"r": np.array([1] * 15 + [-1])}, 13, ""),
    "reshape of two rests": ([node("Reshape", "X", "r", "Y")], {"r": np.array([-1, -1])}, 13, "target shape"),
    "reshape of three rests": ([node("Reshape", "X", "r", "Y")], {"r": np.array([-1, -1, -1])}, 13, "target shape"),
    "reshape below": ([node("Reshape", "X", "r", "Y")], {"r": np.array([-2, 3])}, 13, "target shape"),
    "reshape of an axis that lacks": ([node("Reshape", "X", "r", "Y")], {"r": np.array([1, 3, 0])}, 13, "target shape"),
    "reshape with zero": ([node("Reshape", "X", "r", "Y", allowzero=1)], {"r": np.array([1, 3])}, 14, "target shape"),
    "reshape with zero, early": ([node("Reshape", "X", "r", "Y", allowzero=0)], {"r": np.array([3])}, 13, "unknown"),
    "reshape to what does not divide": ([node("Reshape", "X", "r", "Y")], {"r": np.array([2, -1])}, 13, "target shape"),
    "gemm of two, old": ([node("Gemm", "X", "w", "Y")], {"w": W.T}, 10, "takes 3 to 3"),
    "gemm of two and nothing, old": ([node("Gemm", "X", "w", "", "Y")], {"w": W.T}, 10, "leaves an input out"),
    "gemm of two and nothing": ([node("Gemm", "X", "w", "", "Y")], {"w": W.T}, 11, ""),
    "gemm of two": ([node("Gemm", "X", "w", "Y")], {"w": W.T}, 11, ""),
    "gemm whose third is left out": ([node("Gemm", "X", "w", "", "Y")], {"w": W.T}, 13, ""),
    "matmul whose second is left out": ([node("MatMul", "X", "", "Y")], {}, 13, "leaves an input out"),
    "limit of one entry": ([node("Clip", "X", "z", "Y")], {"z": F32([0])}, 13, ""),
    "limit of one entry, first": ([node("Clip", "X", "z", "Y")], {"z": F32([0])}, 11, ""),
    "limit of a matrix": ([node("Clip", "X", "z", "Y")], {"z": F32([[0]])}, 13, "single numbers"),
    "limit of integers": ([node("Clip", "X", "z", "Y")], {"z": np.int64(0)}, 13, "must hold float32"),
    "limit above": ([node("Clip", "X", "z", "t", "Y")], {"z": F32(0), "t": F32(9)}, 13, "from 0 to infinity"),
    "limit above alone": ([node("Clip", "X", "", "t", "Y")], {"t": F32(9)}, 13, "not (-3.4"),
    "limit above alone, old": ([node("Clip", "X", "Y", max=9.0)], {}, 10, "not (-3.4"),
    "limits of old": ([node("Clip", "X", "Y", min=0.0, max=float(np.finfo(np.float32).max))], {}, 10, ""),
    "limits of old, low": ([node("Clip", "X", "Y", min=0.0, max=3.4e38)], {}, 10, "from 0 to infinity"),
    "limits as of old": ([node("Clip", "X", "Y", min=0.0)], {}, 11, "unknown"),
    "elu of scale zero": ([node("Elu", "X", "Y", alpha=0.0)], {}, 13, ""),
    "elu of scale one": ([node("Elu", "X", "Y", alpha=1.0)], {}, 13, ""),
    "elu of scale below zero": ([node("Elu", "X", "Y", alpha=-0.5)], {}, 13, "alpha -0.5"),
    "leaky, steep": ([node("LeakyRelu", "X", "Y", alpha=2.0)], {}, 13, ""),
    "division by the smallest": ([node("Div", "X", "d", "Y")], {"d": F32(2.0**-126)}, 13, ""),
    "division by a subnormal": ([node("Div", "X", "d", "Y")], {"d": F32(2.0**-127)}, 13, "less than 2**-126"),
    "constant by a number": ([helper.make_node("Constant", [], ["c"], value_float=1.0)], {}, 13, "no tensor"),
    "product from the left of a row": ([node("MatMul", "w", "X", "Y")], {"w": W}, 13, "not fit"),
    "product of a scalar and a list": ([node("MatMul", "X", "w", "Y")], {"w": F32([2])}, 13, "not fit"),
    "product, a scalar": ([node("Squeeze", "X", "q"), node("MatMul", "q", "w", "Y")], {"w": W[:1, :1]}, 13, "not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_operators_by_their_version(name: str, tmp_path: Path) -> None:
    """The reason why not, or none."""
    nodes, constants, opset, reason = SHAPES[name]
    path = build(tmp_path / "n.onnx", nodes, constants, (1, 1) if "scalar" in name else (1, 3), opset)
    if not reason:
        assert read_network(files.read_file(path)).n_inputs == 3
        return
    with pytest.raises(FormatError) as caught:
        read_network(files.read_file(path))
    assert reason in caught.value.problem


@pytest.mark.parametrize(("axes", "made"), [([0], (1, 3)), ([2], (3, 1)), ([2, -1], (3, 1))])
def test_where_a_value_is_flattened(axes: list[int], made: tuple[int, int], tmp_path: Path) -> None:
    names = ["X", *map(str, axes[1:]), "Y"]
    nodes = [node("Flatten", *ends, axis=axis) for axis, ends in zip(axes, pairwise(names), strict=True)]
    model = onnx.load(build(tmp_path / "n.onnx", nodes, {}))
    _output(model, 1, made)
    assert chain(model).n_outputs == 3


@pytest.mark.parametrize(
    ("shape", "left", "made"),
    [((3,), False, (2,)), ((1, 1, 3), False, (1, 1, 2)), ((3,), True, (2,)), ((1, 3, 1), True, (1, 2, 1))],
)
def test_products_by_the_rank_of_the_value(
    shape: tuple[int, ...], left: bool, made: tuple[int, ...], tmp_path: Path
) -> None:
    """A list makes a list, on whichever side it stands."""
    product = node("MatMul", *(("w", "X") if left else ("X", "w")), "Y")
    model = onnx.load(build(tmp_path / "n.onnx", [product], {"w": W if left else W.T}, shape))
    _output(model, 1, made)
    assert chain(model).n_outputs == 2


def test_an_input_of_as_many_axes_as_there_may_be(tmp_path: Path) -> None:
    path = build(tmp_path / "n.onnx", [node("Relu", "X", "Y")], {}, (1,) * 15 + (3,))
    assert read_network(files.read_file(path)).n_inputs == 3


def test_a_clip_is_limited_where_it_has_an_upper_limit(tmp_path: Path) -> None:
    """A value beyond the largest number, which Clip would cut off, must not be taken for what Relu makes of it."""
    clips: dict[str, tuple[Any, dict[str, Any], int, bool]] = {
        "no limit": (node("Clip", "X", "Y", min=0.0, max=np.inf), {}, 10, False),
        "by default, old": (node("Clip", "X", "Y", min=0.0), {}, 10, True),
        "by default": (node("Clip", "X", "z", "Y"), {"z": F32(0)}, 13, True),
    }
    for made, constants, opset, limited in clips.values():
        layers = read_network(files.read_file(build(tmp_path / "n.onnx", [made], constants, (1, 3), opset))).layers
        assert [layer.limited for layer in layers] == [limited, False]


@pytest.mark.parametrize(("op", "alpha"), [("LeakyRelu", float(F32(0.01))), ("Elu", 1.0)])
def test_alpha_where_none_is_given(op: str, alpha: float, tmp_path: Path) -> None:
    layers = read_network(files.read_file(build(tmp_path / "n.onnx", [node(op, "X", "Y")], {}))).layers
    assert [layer.activation and layer.activation.alpha for layer in layers] == [alpha, None]


def test_how_much_a_network_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just allowed, and just not: 3 by 2 weights, then two that stand alone for a diagonal of 2 by 2."""
    model = gemm()
    # entries: 2 * 3, 2 * 2; work: weights 6, bias 6 twice as they are folded, the layer thrice; then the diagonal
    for name, just in (("MAX_ENTRIES", 2 * 3 + 2 * 2), ("MAX_WORK", 6 + 2 * 2 * 3 + 3 * 6 + 4)):
        with monkeypatch.context() as patch:
            patch.setattr(network, name, just)
            assert chain(model).n_outputs == 2
            patch.setattr(network, name, just - 1)
            with pytest.raises(FormatError, match="too large for this checker"):
                chain(model)


def test_clips_of_double_precision_are_refused(tmp_path: Path) -> None:
    """onnxruntime's own fusion of Relu and Clip fails on them."""
    path = build(tmp_path / "n.onnx", [node("Clip", "X", "z", "Y")], {"z": np.float64(0)})
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(model, path)
    with pytest.raises(FormatError, match=r"node 'Y' \(Clip\): this checker reads Clip of float32"):
        read_network(files.read_file(path))


@pytest.mark.thorough
def test_a_wide_diagonal_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = build(tmp_path / "n.onnx", [node("Relu", "X", "Y")], {}, (1, 1 << 18))
    with pytest.raises(FormatError, match="too large for this checker"):
        read_network(files.read_file(path))


def _odd(**change: Any) -> AttributeProto:
    attribute = helper.make_attribute("alpha", 0.5)
    for name, value in change.items():
        setattr(attribute, name, value)
    return attribute


TRUST_07 = {
    "alpha untyped": (node("LeakyRelu", "X", "Y"), _odd(type=0)),
    "alpha by reference": (node("LeakyRelu", "X", "Y"), _odd(ref_attr_name="q")),
    "identity of nothing": (helper.make_node("Identity", [], ["Y"]), None),
    "axis of text": (node("Flatten", "X", "Y"), helper.make_attribute("axis", "one")),
}


@pytest.mark.parametrize("name", TRUST_07)
def test_odd_attributes_are_bad_input(name: str, tmp_path: Path) -> None:
    """trust-07: status 4 with a message that names the node."""
    made, attribute = TRUST_07[name]
    made.name = "it"
    del made.attribute[:]
    made.attribute.extend([] if attribute is None else [attribute])
    net = build(tmp_path / "n.onnx", [made], {}, (1, 1))
    path = write(tmp_path / "c.json.gz", {**HEADER, "network": {"file": "n.onnx", "sha256": sha256(net)}})
    status, said = told(["--net", str(net), "--prop", str(tmp_path / "p.vnnlib"), str(path)])
    assert status == 4
    assert "node 'it'" in said
