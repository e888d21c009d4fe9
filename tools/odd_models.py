"""ONNX models from a grammar: small chains, and every oddity on which two readers, or onnxruntime, may part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper


class Draft:
    """A chain in the making: ``value`` is the last one made, of ``shape``."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw.getrandbits(32))
        self.dtype: Any = np.float64 if draw.random() < 0.1 else np.float32
        self.opset = draw.choice((7, 8, 9, 10, 11, 12, 13, 13, 14, 17, 18, 21, 22, 25))
        self.size = draw.randint(1, 3)
        self.shape: tuple[int, ...] = draw.choice(
            ((1, self.size), (1, self.size), (1, 1, self.size), (1, 1, 1, self.size), (self.size,))
        )
        self.input_shape = self.shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.value = "X"

    def node(self, op: str, *constants: Any, first: Any = True, **attributes: Any) -> None:
        """Append a node that reads the last value and constants."""
        names = [self.constant(value) for value in constants]
        inputs = [self.value, *names] if first else [*names, self.value]
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [self.value], **attributes))

    def constant(self, value: Any) -> str:
        """An initialiser or a ``Constant``; an empty name for None."""
        if value is None:
            return ""
        name, array = f"c{len(self.constants) + len(self.nodes)}", np.asarray(value)
        if self.draw.random() < 0.2:
            tensor = numpy_helper.from_array(array)
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants[name] = array
        return name

    def normal(self, *shape: int) -> Any:
        """Numbers of the draft's type, rarely odd ones."""
        out = self.rng.normal(size=shape).astype(self.dtype)
        if self.draw.random() < 0.03:
            out.reshape(-1)[:1] = self.draw.choice((np.nan, np.inf, 1e-42, 0.0, -0.0, 1e30))
        return out


def _gemm(draft: Draft) -> None:
    if len(draft.shape) != 2:
        return draft.node("Flatten")
    out, transposed = draft.draw.randint(1, 3), draft.draw.randint(0, 1)
    weight = draft.normal(out, draft.shape[1]) if transposed else draft.normal(draft.shape[1], out)
    bias = draft.draw.choice(
        (draft.normal(out), draft.normal(1, out), draft.normal(1), draft.normal(), draft.normal(2))
    )
    extra = {"alpha": 2.0} if draft.draw.random() < 0.05 else {}
    terms = (weight,) if draft.opset >= 11 and draft.draw.random() < 0.2 else (weight, bias)
    draft.node("Gemm", *terms, transB=transposed, **extra)
    draft.shape = (1, out)
    return None


def _matmul(draft: Draft) -> None:
    out, n = draft.draw.randint(1, 3), draft.shape[-1]
    draft.node("MatMul", draft.normal(n, out))
    draft.shape = (*draft.shape[:-1], out)


def _elementwise(draft: Draft) -> None:
    n = draft.shape[-1]
    shapes: tuple[tuple[int, ...], ...] = ((n,), (1, n), (), (1,), draft.shape, (1, 1, 1, n), (n, 1))
    op, first = draft.draw.choice(("Add", "Sub", "Mul", "Div", "Add")), draft.draw.random() < 0.7
    draft.node(op, draft.normal(*draft.draw.choice(shapes[:5] if draft.draw.random() < 0.9 else shapes)), first=first)


def _activation(draft: Draft) -> None:
    kind = draft.draw.choice(("Relu", "Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Clip"))
    if kind in ("LeakyRelu", "Elu"):
        alpha = draft.draw.choice((None, 0.5, 0.1, 0.0, 1.0, -0.5, 2.0))
        return draft.node(kind, **({} if alpha is None else {"alpha": alpha}))
    if kind != "Clip":
        return draft.node(kind)
    if draft.opset < 11:
        return draft.node(
            kind, **draft.draw.choice(({"min": 0.0}, {"min": 0.0, "max": 3.5e38}, {"min": -1.0, "max": 1.0}))
        )
    zero = np.asarray(draft.draw.choice((0, 0, 0, -1)), dtype=draft.dtype).reshape(
        draft.draw.choice(((), (), (1,), (1, 1)))
    )
    one = np.asarray(1, dtype=draft.dtype)
    return draft.node(
        kind, *draft.draw.choice(((zero,), (zero,), (zero, None), (zero, one), (None, one), (np.int64(0),)))
    )


def _layout(draft: Draft) -> None:
    shape, rank = draft.shape, len(draft.shape)
    kind = draft.draw.choice(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity"))
    if kind == "Identity":
        return draft.node(kind)
    if kind == "Flatten":
        axis = draft.draw.choice((1, 1, 0, -1, rank, 2))
        draft.node(kind, axis=axis)
        draft.shape = (int(np.prod(shape[:axis])), int(np.prod(shape[axis:])))
        return None
    if kind == "Reshape":
        total = int(np.prod(shape))
        target = draft.draw.choice(
            ((1, -1), (0, -1), (-1, total), (1, 1, total), (total,), (-1,), (1, 0), (-1, -1), (), (7,))
        )
        attributes = {"allowzero": draft.draw.randint(0, 1)} if draft.draw.random() < 0.1 else {}
        draft.node(kind, np.array(target, dtype=np.int64), **attributes)
        sizes = [shape[i] if size == 0 and i < rank else size for i, size in enumerate(target)]
        rest = abs(int(np.prod(sizes))) or 1  # an axis of 0 entries may have come before
        draft.shape = tuple(total // rest or 1 if size == -1 else size for size in sizes)
        return None
    ones = [i for i, size in enumerate(shape[:-1]) if size == 1]
    axes = draft.draw.choice(([0], [0, 1], [-1], [1], [1, 0], [0, 0], [], ones, ones[:1]))
    if kind == "Squeeze":
        draft.shape = tuple(size for i, size in enumerate(shape) if i not in {axis % rank for axis in axes})
    else:
        draft.shape = (1,) * len(axes) + shape
    if draft.opset < 13:
        return draft.node(kind, **({"axes": axes} if axes else {}))
    return draft.node(kind, np.array(axes, dtype=draft.draw.choice((np.int64,) * 9 + (np.int32,))))


_STEPS: tuple[Callable[[Draft], None], ...] = (_gemm, _gemm, _matmul, _elementwise, _activation, _activation, _layout)


def model(draw: Random) -> bytes:
    """A file; about a third of all are read by both readers."""
    draft = Draft(draw)
    for _ in range(draw.randint(1, 5)):
        if draft.shape:
            draw.choice(_STEPS)(draft)
    if not draft.nodes:
        draft.node("Identity")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(draft.dtype))
    tensors = [numpy_helper.from_array(value, name) for name, value in draft.constants.items()]
    batch = [draw.choice(("N", 1)), *draft.input_shape[1:]] if len(draft.input_shape) > 1 else list(draft.input_shape)
    inputs = [helper.make_tensor_value_info("X", kind, batch)]
    outputs = [helper.make_tensor_value_info(draft.value, kind, None)]
    graph = helper.make_graph(draft.nodes, "g", inputs, outputs, tensors)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", draft.opset)], ir_version=draw.choice((3, 4, 7, 8, 10))
    )
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        with suppress(IndexError, ValueError, TypeError, onnx.checker.ValidationError):  # what the first one leaves
            draw.choice(ODDITIES)(made, draw)
    data: bytes = made.SerializeToString()
    return data + b"\xfa\x7f\x01a" if draw.random() < 0.02 else data


def _some(values: Any, draw: Random) -> Any:
    """One of them, or None."""
    return draw.choice(list(values)) if len(values) else None


def _attribute(made: onnx.ModelProto, draw: Random) -> None:
    """Repeats, changes the type of, or adds to an attribute."""
    node = _some([n for n in made.graph.node if n.attribute], draw)
    if node is None:
        node = draw.choice(list(made.graph.node))
        node.attribute.append(
            helper.make_attribute(draw.choice(("alpha", "axis", "transB", "axes")), draw.choice((1, 0.5, [0])))
        )
        return
    attribute = _some(node.attribute, draw)
    what = draw.randint(0, 8)
    if what <= 2:
        again = node.attribute.add()
        again.CopyFrom(attribute)
        again.f, again.i = (attribute.f + 0.5, 0) if attribute.type == AttributeProto.FLOAT else (0.0, 1 - attribute.i)
        again.ClearField("i" if attribute.type == AttributeProto.FLOAT else "f")
        if attribute.type == AttributeProto.TENSOR:
            again.ClearField("i")
            again.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t) + 1))
    elif what == 3:
        attribute.ref_attr_name = "another"
    elif what == 4:
        attribute.ClearField("type")
    elif what == 5:
        attribute.type = draw.choice(
            (AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.FLOATS)
        )
    elif what == 6:
        attribute.f, attribute.i, attribute.s = 0.25, 3, b"text"
    elif what == 7:
        attribute.name = draw.choice(("Alpha", "value_float", "value_int", "strange", ""))
    else:
        attribute.ClearField(draw.choice(("f", "i", "t", "ints")))


def _operands(made: onnx.ModelProto, draw: Random) -> None:
    node = draw.choice(list(made.graph.node))
    what = draw.randint(0, 4)
    if what == 0:
        node.input.append("")
    elif what == 1:
        node.input.append(draw.choice((made.graph.node[0].output[0], "X", "nowhere")))
    elif what == 2 and node.input:
        del node.input[-1]
    elif what == 3 and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(("", "X", "nowhere", node.output[0]))
    else:
        node.output.append(draw.choice(("", "more", "X")))


def _names(made: onnx.ModelProto, draw: Random) -> None:
    """Two things of one name."""
    graph, what = made.graph, draw.randint(0, 6)
    tensor = _some(graph.initializer, draw)
    if what == 0 and tensor is not None:
        again = graph.initializer.add()
        again.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    elif what == 1 and tensor is not None:
        value = numpy_helper.from_array(numpy_helper.to_array(tensor) + 1)
        graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=value))
    elif what == 2:
        constant = _some([n for n in graph.node if n.op_type == "Constant" and n.attribute and n.output], draw)
        if constant is not None and constant.attribute[0].HasField("t"):
            value = numpy_helper.from_array(numpy_helper.to_array(constant.attribute[0].t) + 1)
            graph.node.insert(
                draw.randint(0, len(graph.node)), helper.make_node("Constant", [], constant.output, value=value)
            )
    elif what == 3:
        graph.node.add().CopyFrom(draw.choice(list(graph.node)))
    elif what == 4:
        graph.input.add().CopyFrom(graph.input[0])
    elif what == 5:
        graph.node.insert(
            0, helper.make_node("Constant", [], ["X"], value=numpy_helper.from_array(np.array([[1]], np.float32)))
        )
    else:
        for node in graph.node:
            node.name = "same"


def _tensor(made: onnx.ModelProto, draw: Random) -> None:
    tensor = _some(made.graph.initializer, draw)
    if tensor is None:
        return
    what = draw.randint(0, 11)
    if what == 0:
        tensor.float_data.extend([1.0] * int(np.prod(tensor.dims)))
    elif what == 1:
        tensor.double_data.append(2.0)
    elif what == 2:
        tensor.segment.begin, tensor.segment.end = 0, 1
    elif what == 3:
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "elsewhere"
    elif what == 4:
        tensor.data_location = draw.choice((TensorProto.EXTERNAL, TensorProto.DEFAULT))
    elif what == 5:
        tensor.dims[:] = draw.choice(([2], [1, *tensor.dims], [-1], [0], [], [1 << 40]))
    elif what == 6:
        tensor.raw_data = tensor.raw_data + b"\0" * draw.choice((1, 4))
    elif what == 7:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    elif what == 8:
        with np.errstate(invalid="ignore"):  # numbers beyond all integers become any
            whole = np.nan_to_num(numpy_helper.to_array(tensor)).astype(np.int64)
        tensor.CopyFrom(numpy_helper.from_array(whole, tensor.name))
    elif what == 9:
        made.graph.initializer.append(helper.make_tensor("unmentioned", TensorProto.FLOAT, [1], [1.0]))
    elif what == 10 and tensor.data_type == TensorProto.FLOAT:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, values.shape, values.reshape(-1).tolist()))
    else:
        tensor.doc_string = "harmless"


def _declarations(made: onnx.ModelProto, draw: Random) -> None:
    graph, what = made.graph, draw.randint(0, 6)
    tensor = _some(graph.initializer, draw)
    if what == 0 and tensor is not None:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    elif what == 1 and tensor is not None:
        graph.input.append(helper.make_tensor_value_info(tensor.name, draw.choice((1, 11)), [7]))
    elif what == 2:
        shape = draw.choice(([1, 7], [1, 1], ["N", "M"], [1], [-1, 2]))
        graph.output[0].CopyFrom(helper.make_tensor_value_info(graph.output[0].name, draw.choice((1, 1, 11)), shape))
    elif what == 3:
        graph.output.append(graph.output[0])
    elif what == 4:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[0].dim_value = draw.choice((0, -1, 1, 2, 1 << 30))
    elif what == 5:
        node = draw.choice(list(graph.node))
        graph.value_info.append(
            helper.make_tensor_value_info(node.output[0], draw.choice((1, 1, 11)), draw.choice(([1, 1], [7])))
        )
    else:
        graph.output[0].name = draw.choice(("X", draw.choice(list(graph.node)).output[0], ""))


def _model(made: onnx.ModelProto, draw: Random) -> None:
    what = draw.randint(0, 11)
    if what == 0:
        made.opset_import.append(helper.make_opsetid(draw.choice(("", "ai.onnx")), draw.choice((9, 13))))
    elif what == 1:
        made.opset_import.append(helper.make_opsetid("foreign", 1))
    elif what == 2:
        made.opset_import[0].domain = "ai.onnx"
    elif what == 3:
        made.ir_version = draw.choice((0, 1, 2, 3, 11, 14, 99))
    elif what == 4:
        body = [helper.make_node("Neg", ["a"], ["b"])]
        domain, op = draw.choice(("", "ai.onnx", "own")), draw.choice(("Relu", "Add", "Gemm"))
        made.functions.append(helper.make_function(domain, op, ["a"], ["b"], body, [helper.make_opsetid("", 13)]))
    elif what == 5:
        made.training_info.add()
    elif what == 6:
        made.graph.sparse_initializer.add()
    elif what == 7:
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made.graph.node]
        draw.shuffle(nodes)
        del made.graph.node[:]
        made.graph.node.extend(nodes)
    elif what == 8:
        dead = draw.choice((helper.make_node("Relu", ["X"], ["dead"]), helper.make_node("Strange", ["X"], ["dead"])))
        made.graph.node.insert(draw.randint(0, len(made.graph.node)), dead)
    elif what == 9:
        draw.choice(list(made.graph.node)).overload = "another"
    elif what == 10:
        draw.choice(list(made.graph.node)).domain = draw.choice(("ai.onnx", "ai.onnx.ml", "own"))
    else:
        made.graph.quantization_annotation.add().tensor_name = "X"
        made.metadata_props.add().key = "harmless"


def _ports(made: onnx.ModelProto, draw: Random) -> None:
    """More inputs, more outputs, and values that nodes make of constants or of what they are already."""
    graph, what = made.graph, draw.randint(0, 4)
    tensor = _some(graph.initializer, draw)
    if what == 0:
        name = draw.choice(list(graph.node)).output[0]
        graph.output.insert(0, helper.make_tensor_value_info(name, draw.choice((0, 1, 1)), None))
    elif what == 1:
        shapes: tuple[list[int | str | None], ...] = [1], [1, 2], ["N", 1]
        more = helper.make_tensor_value_info("Z", draw.choice((1, 1, 11)), draw.choice(shapes))
        graph.input.insert(draw.randint(0, 1), more)
        if draw.random() < 0.7:
            graph.node.append(helper.make_node("Mul", [graph.output[0].name, "Z"], ["scaled"]))
            graph.output[0].name = "scaled"
    elif what == 2 and tensor is not None:
        read = [(node, place) for node in graph.node for place, name in enumerate(node.input) if name == tensor.name]
        made_of = helper.make_node(draw.choice(("Identity", "Transpose", "Cast")), [tensor.name], ["made"])
        if made_of.op_type == "Cast":
            made_of.attribute.append(helper.make_attribute("to", draw.choice((1, 1, 10, 11))))
        graph.node.append(made_of)
        for node, place in read:
            node.input[place] = "made"
    elif what == 3:
        graph.node.append(helper.make_node("Cast", [graph.output[0].name], ["cast"], to=draw.choice((1, 1, 10, 11))))
        graph.output[0].name = "cast"
    else:
        entry = draw.choice(list(graph.node))
        body = onnx.NodeProto.FromString(entry.SerializeToString())
        function = helper.make_function("own", "F", list(body.input), list(body.output), [body], made.opset_import)
        made.functions.append(function)
        made.opset_import.append(helper.make_opsetid("own", 1))
        entry.op_type, entry.domain = "F", "own"
        del entry.attribute[:]


def _operator(made: onnx.ModelProto, draw: Random) -> None:
    draw.choice(list(made.graph.node)).op_type = draw.choice(
        ("Relu", "Identity", "Tanh", "Flatten", "Add", "MatMul", "Gemm", "Clip", "Dropout", "Cast", "Shape", "relu", "")
    )


ODDITIES: tuple[Callable[[onnx.ModelProto, Random], None], ...] = (
    _attribute,
    _attribute,
    _operands,
    _names,
    _tensor,
    _declarations,
    _model,
    _operator,
    _ports,
    _ports,
)
