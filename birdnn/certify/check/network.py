"""ONNX, read by the checker itself: a chain of affine maps and activations, with exact rational constants.

`layers` folds the operations between two activations. Everything in the file is looked at: fields, attributes and
operands that the checker does not know, that are given twice or that contradict each other are refused, though a
runtime may have its way with them.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from reprlib import repr as short
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from birdnn.certify.check.files import File
from birdnn.certify.check.layers import TINY, Activation, Chain, Exact, Fold, Layer, exact
from birdnn.errors import FormatError

ACTIVATIONS = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Elu": "elu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
_LAYOUT = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity")
SUPPORTED = ("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Clip", "Constant", *_LAYOUT, *ACTIVATIONS)

MAX_ENTRIES = 1 << 21
"""Most weights of all layers together, after folding."""

MAX_WORK = 1 << 27
"""Most operations on exact numbers, each counted as often as operations have been folded into the numbers."""

_FORMATS = range(3, 14)
"""Versions of the file's own format: the first that names operator sets, to the last that onnxruntime reads."""

_LARGEST = float(np.finfo(np.float32).max)
_MAX_INPUTS = 1 << 18
_MAX_RANK = 16
_ABOUT = frozenset({"name", "doc_string", "metadata_props"})
_KNOWN = {
    "ModelProto": {
        "ir_version",
        "producer_name",
        "producer_version",
        "domain",
        "model_version",
        "graph",
        "opset_import",
    },
    "GraphProto": {"node", "initializer", "input", "output", "value_info"},
    "NodeProto": {"input", "output", "op_type", "domain", "attribute"},
    "TensorProto": {"dims", "data_type", "data_location"},
    "AttributeProto": {"type"},
    "ValueInfoProto": {"type"},
    "TypeProto": {"tensor_type"},
}
"""Message -> its fields that are read, or that say nothing."""

_DATA: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
    onnx.TensorProto.INT64: "int64_data",
}
_VALUES = {
    onnx.defs.OpSchema.AttrType.FLOAT: (onnx.AttributeProto.FLOAT, "f"),
    onnx.defs.OpSchema.AttrType.INT: (onnx.AttributeProto.INT, "i"),
    onnx.defs.OpSchema.AttrType.INTS: (onnx.AttributeProto.INTS, "ints"),
    onnx.defs.OpSchema.AttrType.TENSOR: (onnx.AttributeProto.TENSOR, "t"),
}


def read_network(file: File) -> Chain:
    """The network in ``file``.

    Raises:
        FormatError: it is no chain of operations that this checker knows.
    """
    try:
        model = onnx.ModelProto.FromString(file.data)
        size = model.ByteSize()
    except (DecodeError, EncodeError, ValueError) as error:
        raise FormatError(file.path, "", f"not an ONNX file: {error}") from None
    model.DiscardUnknownFields()
    if model.ByteSize() != size:
        raise FormatError(file.path, "", "this checker does not read fields that ONNX does not define")
    return _Reader(file.path, model).read()


class _Reader:
    """Walks along the chain; ``current`` names the value that has been reached, of ``shape`` for a batch of one.

    Attributes:
        entries, work: see `MAX_ENTRIES` and `MAX_WORK`.
        depth: how many operations have been folded since the last activation.
    """

    def __init__(self, path: str, model: onnx.ModelProto) -> None:
        self.path, self.graph = path, model.graph
        self._require_known(model, "the model")
        self._require_known(model.graph, "the graph")
        domains = ["" if entry.domain == "ai.onnx" else entry.domain for entry in model.opset_import]
        versions = [entry.version for entry, domain in zip(model.opset_import, domains, strict=True) if not domain]
        twice = len(set(domains)) != len(domains)
        if twice or len(versions) != 1 or not 7 <= versions[0] <= onnx.defs.onnx_opset_version():
            raise FormatError(path, "opset_import", f"opset {short(versions)} is not known, or a domain stands twice")
        if model.ir_version not in _FORMATS:
            raise FormatError(path, "ir_version", f"version {model.ir_version} of the format is not known")
        self.opset, self.format = versions[0], model.ir_version
        self.constants: dict[str, NDArray[Any]] = {}
        self.layers: list[Layer] = []
        self.entries = self.work = self.depth = 0
        self.declared: dict[str, list[onnx.ValueInfoProto]] = {}
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            self.declared.setdefault(value.name, []).append(value)

    def read(self) -> Chain:
        graph = self.graph
        self._require_names("initialiser", [tensor.name for tensor in graph.initializer])
        self._require_names("input", [value.name for value in graph.input])
        self._require_names("value", [name for node in graph.node for name in node.output])
        self._require_names("node", [node.name for node in graph.node if node.name])
        for tensor in graph.initializer:
            self.constants[tensor.name] = self._array(tensor, f"initialiser {short(tensor.name)}")
        if self.format == 3:
            self._require_runnable()
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise FormatError(self.path, "", "this checker reads networks with one input and one output")
        self.current, self.shape = inputs[0].name, self._input_shape(inputs[0])
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        self._require_declared(self.current, self.dtype, self.shape)
        n_inputs = prod(self.shape)
        self.fold = Fold(n_inputs)
        for name, array in self.constants.items():
            self._require_declared(name, array.dtype, array.shape)
        given = {value.name for value in graph.input} | set(self.constants)
        for node in graph.node:
            if len(node.output) != 1 or node.output[0] in given:
                raise self._fail(node, "has other than one output, or one that exists already")
            self._node(node)
        if self.current != graph.output[0].name:
            raise FormatError(self.path, "", "the last value of the chain is not the output")
        self._add_layer(None)
        return Chain(tuple(self.layers), n_inputs, prod(self.shape), self.dtype == np.float32)

    def _require_known(self, message: Any, place: str, *more: str) -> None:
        """Refuse a message with fields other than those the checker reads, and ``more``."""
        known = _ABOUT | _KNOWN[message.DESCRIPTOR.name]
        strange = [field.name for field, _ in message.ListFields() if field.name not in {*known, *more}]
        if strange:
            raise FormatError(self.path, place, f"this checker does not read the field {strange[0]!r}")

    def _require_runnable(self) -> None:
        """Refuse an initialiser that nothing mentions: format 3 lists it among the inputs, or nobody loads it."""
        named = {value.name for value in self.graph.input} | {name for node in self.graph.node for name in node.input}
        for name in self.constants:
            if name not in named:
                raise FormatError(self.path, f"initialiser {short(name)}", "is neither used nor listed as an input")

    def _require_names(self, kind: str, names: list[Any]) -> None:
        """Refuse names that are missing, given twice, or bytes as they are no text."""
        seen: set[str] = set()
        for name in names:
            if not name or not isinstance(name, str) or name in seen:
                raise FormatError(self.path, f"{kind} {short(name)}", "its name is missing, no text, or given twice")
            seen.add(name)

    def _require_declared(self, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        """Refuse a value that the graph declares as something else."""
        place = f"value {short(name)}"
        for value in self.declared.get(name, ()):
            self._require_known(value, place)
            self._require_known(value.type, place)
            tensor = value.type.tensor_type
            said = [dim.dim_value if dim.HasField("dim_value") else size for dim, size in zip(tensor.shape.dim, shape)]  # noqa: B905
            if said[:1] == [-1] and name not in self.constants:
                said[0] = shape[0]  # the batch
            fits = len(tensor.shape.dim) == len(shape) and tuple(said) == shape
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            if tensor.elem_type != kind or (tensor.HasField("shape") and not fits):
                raise FormatError(self.path, place, f"is declared as other than {np.dtype(dtype)} of shape {shape}")

    def _spend(self, entries: int, work: int) -> None:
        """Count what would be computed, before it is."""
        self.depth += 1
        self.entries, self.work = self.entries + entries, self.work + work * self.depth
        if self.entries > MAX_ENTRIES or self.work > MAX_WORK:
            raise FormatError(self.path, "", "is too large for this checker, which computes with exact numbers")

    def _fail(self, node: onnx.NodeProto, problem: str) -> FormatError:
        name = node.name or next(iter(node.output), "")
        return FormatError(self.path, f"node {short(name)} ({short(node.op_type)[1:-1]})", problem)

    def _array(self, tensor: onnx.TensorProto, place: str) -> NDArray[Any]:
        field = _DATA.get(tensor.data_type)
        if field is None or tensor.data_location != onnx.TensorProto.DEFAULT or min(tensor.dims, default=0) < 0:
            raise FormatError(self.path, place, "this checker reads float32, float64 and int64 inside the file only")
        self._require_known(tensor, place, field, "raw_data")
        if bool(getattr(tensor, field)) == bool(tensor.raw_data):
            raise FormatError(self.path, place, "holds nothing, or its values twice")
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise FormatError(self.path, place, f"cannot be read: {error}") from None
        if not np.isfinite(array).all():
            raise FormatError(self.path, place, "holds NaN or infinity")
        return array

    def _input_shape(self, value: onnx.ValueInfoProto) -> tuple[int, ...]:
        kind = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        if sizes[:1] in ([None], [-1]):
            sizes[0] = 1  # the batch
        shape = tuple(size for size in sizes if size is not None and size > 0)
        known = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
        if not shape or len(shape) < len(sizes) or len(shape) > _MAX_RANK or prod(shape) > _MAX_INPUTS:
            raise FormatError(self.path, f"input {short(value.name)}", f"shape {short(sizes)} is not known")
        if kind.elem_type not in known:
            raise FormatError(self.path, f"input {short(value.name)}", "this checker reads float32 and float64 only")
        return shape

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """The attributes of a node, which has what the operator's schema asks for and nothing else."""
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        if not schema.min_input <= len(node.input) <= schema.max_input:
            raise self._fail(node, f"takes {schema.min_input} to {schema.max_input} inputs, not {len(node.input)}")
        if not all(node.input[: schema.min_input]):
            raise self._fail(node, "leaves an input out that must be there")
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            name = attribute.name
            if name in found or name not in schema.attributes:
                raise self._fail(node, f"attribute {short(name)} is unknown in opset {self.opset}, or given twice")
            kind, field = _VALUES.get(schema.attributes[name].type, (None, ""))
            if attribute.type != kind:
                raise self._fail(node, f"attribute {name!r} is of another type than the operator's")
            self._require_known(attribute, f"node {short(node.name)}, attribute {name!r}", field)
            found[name] = onnx.helper.get_attribute_value(attribute)
        return found

    def _node(self, node: onnx.NodeProto) -> None:
        self._require_known(node, f"node {short(node.name)}")
        op = node.op_type
        if op not in SUPPORTED or node.domain not in ("", "ai.onnx"):
            problem = f"this checker does not read operator {short(op)}; it reads {', '.join(SUPPORTED)}"
            raise self._fail(node, problem)
        attributes = self._attributes(node)
        inputs = list(node.input)
        if op == "Constant" or (op == "Identity" and inputs[0] in self.constants):
            self._name_constant(node, attributes)
            return
        others = inputs[:1] + [name for name in inputs[1:] if name]  # only what follows the first may be left out
        if inputs.count(self.current) != 1 or any(n != self.current and n not in self.constants for n in others):
            raise self._fail(node, "the network is no chain: one input must be the value before, the others constant")
        if op in _LAYOUT:
            self.shape = self._layout(node, attributes)
        elif op in ACTIVATIONS or op == "Clip":
            self._activate(node, attributes)
        elif op == "Gemm":
            self._gemm(node, attributes)
        elif op == "MatMul":
            self._matmul(node)
        else:
            self._elementwise(node)
        if len(self.shape) > _MAX_RANK:
            raise self._fail(node, f"this checker reads values of at most {_MAX_RANK} axes")
        self.current = node.output[0]
        self._require_declared(self.current, self.dtype, self.shape)

    def _name_constant(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        if node.op_type == "Identity":
            array = self.constants[node.input[0]]
        elif list(attributes) == ["value"]:
            array = self._array(attributes["value"], f"node {short(node.name)}")
        else:
            raise self._fail(node, "a constant that is no tensor")
        self.constants[node.output[0]] = array
        self._require_declared(node.output[0], array.dtype, array.shape)

    def _constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise self._fail(node, f"input {index} must be a constant")
        return self.constants[name]

    def _integers(self, node: onnx.NodeProto, attributes: dict[str, Any], key: str, since: int) -> list[int] | None:
        """A list of integers: an attribute before opset ``since``, the second input from there on."""
        if self.opset < since:
            found = list(attributes[key]) if key in attributes else None
        elif len(node.input) < 2:
            found = None
        else:
            array = self._constant(node, 1)
            if array.dtype != np.int64 or array.ndim != 1:
                raise self._fail(node, "its second input must be a list of integers")
            found = array.tolist()
        if found is not None and len(found) > _MAX_RANK:
            raise self._fail(node, f"{len(found)} integers for the axes of a value")
        return found

    def _layout(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[int, ...]:
        """The shape after an operation that moves nothing."""
        shape = self.shape
        if node.input[0] != self.current:
            raise self._fail(node, "its first input must be the value before")
        if node.op_type == "Identity":
            return shape
        if node.op_type == "Flatten":
            axis = attributes.get("axis", 1)
            if not (-len(shape) if self.opset >= 11 else 0) <= axis <= len(shape):
                raise self._fail(node, f"axis {axis} is outside shape {shape}")
            axis = axis + len(shape) if axis < 0 else axis
            return prod(shape[:axis]), prod(shape[axis:])
        if node.op_type == "Reshape":
            return self._reshaped(node, attributes)
        axes = self._integers(node, attributes, "axes", 13)
        rank = len(shape) + (len(axes or ()) if node.op_type == "Unsqueeze" else 0)
        if node.op_type == "Squeeze" and axes is None:
            axes = [index for index, size in enumerate(shape) if size == 1]
        first = -rank if self.opset >= 11 else 0
        if not axes or any(not first <= axis < rank for axis in axes):
            raise self._fail(node, f"axes {short(axes)} do not fit shape {shape}")
        chosen = [axis % rank for axis in axes]
        if any(a >= b for a, b in pairwise(chosen)):
            raise self._fail(node, f"axes {short(axes)} repeat or are not sorted, which runtimes take differently")
        if node.op_type == "Unsqueeze":
            rest = iter(shape)
            return tuple(1 if index in chosen else next(rest) for index in range(rank))
        if any(shape[index] != 1 for index in chosen):
            raise self._fail(node, f"axes {short(axes)} do not fit shape {shape}")
        return tuple(size for index, size in enumerate(shape) if index not in chosen)

    def _reshaped(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[int, ...]:
        target, total = self._integers(node, attributes, "shape", 5) or [], prod(self.shape)
        fits = target.count(-1) <= 1 and all(
            size > 0 or size == -1 or (size == 0 and i < len(self.shape)) for i, size in enumerate(target)
        )
        if not fits or attributes.get("allowzero", 0):
            raise self._fail(node, f"target shape {short(target)} does not fit {self.shape}")
        sizes = [self.shape[i] if size == 0 else size for i, size in enumerate(target)]
        if -1 in sizes:
            sizes[sizes.index(-1)] = total // prod(size for size in sizes if size != -1)
        if prod(sizes) != total:
            raise self._fail(node, f"target shape {short(target)} does not fit {self.shape}")
        return tuple(sizes)

    def _activate(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        if node.input[0] != self.current:
            raise self._fail(node, "its first input must be the value before")
        alpha, kind, limited = 0.0, ACTIVATIONS.get(node.op_type, "relu"), False
        if node.op_type == "Clip":
            low, high = self._limits(node, attributes)
            if low != 0 or high < _LARGEST or self.dtype != np.float32:  # onnxruntime fails on some of float64
                what = "Clip of float32 from 0 to infinity, or to the largest number"
                raise self._fail(node, f"this checker reads {what} only, not {(low, high)}")
            limited = high < np.inf
        elif kind in ("leaky_relu", "elu"):
            alpha = float(attributes.get("alpha", np.float32(0.01) if kind == "leaky_relu" else 1.0))
        if not np.isfinite(alpha) or (kind == "elu" and not 0 <= alpha <= 1):
            raise self._fail(node, f"this checker does not read alpha {alpha}")
        self._add_layer(Activation(kind, alpha), limited=limited)

    def _columns(self) -> int:
        """Of the folded map; one where it is diagonal."""
        return self.fold.a.shape[1] if self.fold.a.ndim == 2 else 1

    def _add_layer(self, activation: Activation | None, *, limited: bool = False) -> None:
        size = prod(self.shape)
        entries = size * (self._columns() if self.fold.a.ndim == 2 else size)
        self._spend(entries, entries)
        self.layers.append(self.fold.layer(activation, limited=limited))
        self.fold, self.depth = Fold(size), 0

    def _limits(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[float, float]:
        if self.opset < 11:
            return float(attributes.get("min", -_LARGEST)), float(attributes.get("max", _LARGEST))
        given = [index < len(node.input) and bool(node.input[index]) for index in (1, 2)]
        sides = [self._float(node, i + 1) if there else None for i, there in enumerate(given)]
        if any(side is not None and side.shape not in ((), (1,)) for side in sides):
            raise self._fail(node, "its limits must be single numbers")
        return (
            -_LARGEST if sides[0] is None else float(sides[0].reshape(())),
            _LARGEST if sides[1] is None else float(sides[1].reshape(())),
        )

    def _float(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        array = self._constant(node, index)
        if array.dtype != self.dtype:
            raise self._fail(node, f"input {index} must hold {self.dtype}, as the network's input does")
        return array

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        weight = self._float(node, 1)
        if node.input[0] != self.current or attributes.get("transA", 0) or weight.ndim != 2:
            raise self._fail(node, "this checker reads Gemm of the value before, not transposed, with a constant")
        weight = weight if attributes.get("transB", 0) else weight.T
        if self.shape != (1, weight.shape[1]):
            raise self._fail(node, f"weights {weight.shape} do not fit a value of shape {self.shape}")
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise self._fail(node, "this checker reads Gemm with alpha and beta of 1 only")
        self._matrix(weight)
        self.shape = (1, weight.shape[0])
        if len(node.input) > 2 and node.input[2]:
            self.fold.shift(self._like_value(node, 2))

    def _matmul(self, node: onnx.NodeProto) -> None:
        left = node.input[0] == self.current
        weight = self._float(node, int(left))
        shape, terms = self.shape, weight.shape[0 if left else 1] if weight.ndim == 2 else -1
        fits = shape[-1:] == (terms,) if left else shape[-2:] == (terms, 1) or shape == (terms,)
        if not fits or prod(shape) != terms:
            raise self._fail(node, f"weights of shape {weight.shape} do not fit a value of shape {shape}")
        self._matrix(weight.T if left else weight)
        out = weight.shape[1] if left else weight.shape[0]
        self.shape = (*shape[:-1], out) if left else (*shape[:-2], out, 1) if len(shape) > 1 else (out,)

    def _matrix(self, weight: NDArray[Any]) -> None:
        self._spend(0, weight.size * self._columns())
        self.fold.matrix(exact(weight))

    def _like_value(self, node: onnx.NodeProto, index: int) -> Exact:
        """A constant operand, repeated to the value's shape."""
        array = self._float(node, index)
        try:
            full = np.broadcast_to(array, self.shape)
        except ValueError:
            raise self._fail(node, f"an operand of shape {array.shape} for a value of shape {self.shape}") from None
        self._spend(0, full.size * self._columns())
        return exact(full.reshape(-1))

    def _elementwise(self, node: onnx.NodeProto) -> None:
        first = node.input[0] == self.current
        other = self._like_value(node, int(first))
        op = node.op_type
        if op == "Add":
            self.fold.shift(other)
        elif op == "Sub":
            if not first:
                self.fold.scale(exact(-np.ones(len(other))), 0)
            self.fold.shift(-other if first else other)
        elif op == "Mul":
            self.fold.scale(other, 1)
        elif first and all(abs(value) >= TINY for value in other):  # a smaller one may be flushed to zero
            self.fold.scale(1 / other, 2)
        else:
            raise self._fail(node, "division by the value, or by less than 2**-126")
