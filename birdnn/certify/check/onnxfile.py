"""What both readers of ONNX do: everything in the file is looked at, and what is not known is refused.

Fields, attributes and operands that the checker does not know, that are given twice or that contradict each other are
refused, though a runtime may have its way with them. `network` reads chains, `graphs.reader` graphs.
"""

from __future__ import annotations

from collections.abc import Collection
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
from birdnn.certify.check.layers import Activation
from birdnn.errors import FormatError

ACTIVATIONS = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Elu": "elu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
LAYOUT = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity")
LARGEST = float(np.finfo(np.float32).max)
MAX_RANK = 16

_FORMATS = range(3, 14)
"""Versions of the file's own format: the first that names operator sets, to the last that onnxruntime reads."""

_MAX_INPUTS = 1 << 18

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
_FLAGS = frozenset(
    {"allowzero", "ceil_mode", "count_include_pad", "keepdims", "noop_with_empty_axes", "spatial", "storage_order"}
    | {"training_mode", "transA", "transB"}
)
_VALUES = {
    onnx.defs.OpSchema.AttrType.FLOAT: (onnx.AttributeProto.FLOAT, "f"),
    onnx.defs.OpSchema.AttrType.INT: (onnx.AttributeProto.INT, "i"),
    onnx.defs.OpSchema.AttrType.INTS: (onnx.AttributeProto.INTS, "ints"),
    onnx.defs.OpSchema.AttrType.STRING: (onnx.AttributeProto.STRING, "s"),
    onnx.defs.OpSchema.AttrType.TENSOR: (onnx.AttributeProto.TENSOR, "t"),
}


def model_in(file: File) -> onnx.ModelProto:
    """The model in ``file``.

    Raises:
        FormatError: it is none, or holds fields that ONNX does not define.
    """
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(file.data)
        size = model.ByteSize()
    except (DecodeError, EncodeError, ValueError) as error:
        raise FormatError(file.path, "", f"not an ONNX file: {error}") from None
    # Protobuf keeps fields that it does not know, and a newer runtime may know them: whether any were there shows in
    # the size.
    model.DiscardUnknownFields()
    if model.ByteSize() != size:
        raise FormatError(file.path, "", "this checker does not read fields that ONNX does not define")
    return model


class FileReader:
    """The file's head, its constants and what is common to all nodes.

    Attributes:
        constants: by name.
        dtype: of all values that depend on the input.
        given: names that no node may give to its value.
    """

    def __init__(self, path: str, model: onnx.ModelProto) -> None:
        self.path, self.graph = path, model.graph
        self.require_known(model, "the model")
        self.require_known(model.graph, "the graph")
        # Two names of one domain.
        sets = {("" if entry.domain == "ai.onnx" else entry.domain, entry.version) for entry in model.opset_import}
        versions = sorted(version for domain, version in sets if not domain)
        twice = len({domain for domain, _ in sets}) != len(sets)
        if twice or len(versions) != 1 or not 7 <= versions[0] <= onnx.defs.onnx_opset_version():
            what = f"opset {short(versions)} is not known, or a domain has two versions"
            raise FormatError(path, "opset_import", what)
        if model.ir_version not in _FORMATS:
            raise FormatError(path, "ir_version", f"version {model.ir_version} of the format is not known")
        self.opset, self.format = versions[0], model.ir_version
        self.constants: dict[str, NDArray[Any]] = {}
        self.given: set[str] = set()
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.declared: dict[str, list[onnx.ValueInfoProto]] = {}
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            self.declared.setdefault(value.name, []).append(value)

    def begin(self) -> tuple[str, tuple[int, ...]]:
        """Read what stands before the nodes: the input's name and shape, for a batch of one."""
        graph = self.graph
        # Before anything is looked up by name: of two with the same name readers take the first or the last.
        self._require_names("initialiser", [tensor.name for tensor in graph.initializer])
        self._require_names("input", [value.name for value in graph.input])
        self._require_names("value", [name for node in graph.node for name in node.output])
        self._require_names("node", [node.name for node in graph.node if node.name])
        for tensor in graph.initializer:
            self.constants[tensor.name] = self._read_tensor(tensor, f"initialiser {short(tensor.name)}")
        # Later formats need not list initialisers among the inputs.
        if self.format == 3:
            self.require_runnable()
        # What is listed as an input and has an initialiser is a default, taken for a constant here.
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise FormatError(self.path, "", "this checker reads networks with one input and one output")
        name, shape = inputs[0].name, self._input_shape(inputs[0])
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        self.require_declared(name, self.dtype, shape)
        for constant, array in self.constants.items():
            self.require_declared(constant, array.dtype, array.shape)
        self.given = {value.name for value in graph.input} | set(self.constants)
        return name, shape

    def known_node(self, node: onnx.NodeProto, supported: Collection[str], outputs: int = 1) -> dict[str, Any]:
        """The attributes of a node that is read: of a supported operator, with that many outputs, all of them new."""
        if len(node.output) != outputs or not self.given.isdisjoint(node.output):
            what = "one output" if outputs == 1 else f"{outputs} outputs"
            raise self.fail(node, f"has other than {what}, or one that exists already")
        self.require_known(node, f"node {short(node.name)}")
        if node.op_type not in supported or node.domain not in ("", "ai.onnx"):
            problem = f"this checker does not read operator {short(node.op_type)}; it reads {', '.join(supported)}"
            raise self.fail(node, problem)
        return self._read_attributes(node)

    def require_known(self, message: Any, place: str, *more: str) -> None:
        """Refuse a message with fields other than those the checker reads, and ``more``."""
        known = _ABOUT | _KNOWN[message.DESCRIPTOR.name]
        strange = [field.name for field, _ in message.ListFields() if field.name not in {*known, *more}]
        if strange:
            raise FormatError(self.path, place, f"this checker does not read the field {strange[0]!r}")

    def require_runnable(self) -> None:
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

    def require_declared(self, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        """Refuse a value that the graph declares as something else."""
        place = f"value {short(name)}"
        for value in self.declared.get(name, ()):
            self.require_known(value, place)
            self.require_known(value.type, place)
            tensor = value.type.tensor_type
            said = [dim.dim_value if dim.HasField("dim_value") else size for dim, size in zip(tensor.shape.dim, shape)]  # noqa: B905
            if said[:1] == [-1] and name not in self.constants:
                said[0] = shape[0]  # the batch
            fits = len(tensor.shape.dim) == len(shape) and tuple(said) == shape
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            if tensor.elem_type != kind or (tensor.HasField("shape") and not fits):
                raise FormatError(self.path, place, f"is declared as other than {np.dtype(dtype)} of shape {shape}")

    def fail(self, node: onnx.NodeProto, problem: str) -> FormatError:
        """An error that names the node."""
        name = node.name or next(iter(node.output), "")
        return FormatError(self.path, f"node {short(name)} ({short(node.op_type)[1:-1]})", problem)

    def _read_tensor(self, tensor: onnx.TensorProto, place: str) -> NDArray[Any]:
        field = _DATA.get(tensor.data_type)
        if field is None or tensor.data_location != onnx.TensorProto.DEFAULT or min(tensor.dims, default=0) < 0:
            raise FormatError(self.path, place, "this checker reads float32, float64 and int64 inside the file only")
        if len(tensor.dims) > MAX_RANK:
            raise FormatError(self.path, place, f"this checker reads constants of at most {MAX_RANK} axes")
        self.require_known(tensor, place, field, "raw_data")
        # Both would be values twice, of which readers take one; none is a tensor without entries, or one left out.
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
        if not shape or len(shape) < len(sizes) or len(shape) > MAX_RANK or prod(shape) > _MAX_INPUTS:
            raise FormatError(self.path, f"input {short(value.name)}", f"shape {short(sizes)} is not known")
        if kind.elem_type not in known:
            raise FormatError(self.path, f"input {short(value.name)}", "this checker reads float32 and float64 only")
        return shape

    def _read_attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """The attributes of a node, which has what the operator's schema asks for and nothing else."""
        # The schema in this version of the operator set, as another one may know other attributes and defaults.
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        if not schema.min_input <= len(node.input) <= schema.max_input:
            raise self.fail(node, f"takes {schema.min_input} to {schema.max_input} inputs, not {len(node.input)}")
        if not all(node.input[: schema.min_input]):
            raise self.fail(node, "leaves an input out that must be there")
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            name = attribute.name
            if name in found or name not in schema.attributes:
                raise self.fail(node, f"attribute {short(name)} is unknown in opset {self.opset}, or given twice")
            kind, field = _VALUES.get(schema.attributes[name].type, (None, ""))
            if attribute.type != kind:
                raise self.fail(node, f"attribute {name!r} is of another type than the operator's")
            self.require_known(attribute, f"node {short(node.name)}, attribute {name!r}", field)
            value = found[name] = onnx.helper.get_attribute_value(attribute)
            # Some runtimes ask whether a flag is 1, others whether it is not 0.
            if name in _FLAGS and value not in (0, 1):
                raise self.fail(node, f"attribute {name!r} is {value}, which runtimes take differently: 0 or 1")
            # A Clip may end at infinity.
            if isinstance(value, float) and not np.isfinite(value) and (node.op_type != "Clip" or np.isnan(value)):
                raise self.fail(node, f"attribute {name!r} is no number")
        return found

    def name_constant(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """Take up what a Constant holds, or another name of a constant."""
        if node.op_type == "Identity":
            array = self.constants[node.input[0]]
        elif list(attributes) == ["value"]:
            array = self._read_tensor(attributes["value"], f"node {short(node.name)}")
        else:
            raise self.fail(node, "a constant that is no tensor")
        self.constants[node.output[0]] = array
        self.require_declared(node.output[0], array.dtype, array.shape)

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        """The operand at a place, which must be known."""
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise self.fail(node, f"input {index} must be a constant")
        return self.constants[name]

    def integers(self, node: onnx.NodeProto, attributes: dict[str, Any], key: str, since: int) -> list[int] | None:
        """A list of integers: an attribute before opset ``since``, the second input from there on."""
        if self.opset < since:
            found = list(attributes[key]) if key in attributes else None
        elif len(node.input) < 2:
            found = None
        else:
            array = self.constant(node, 1)
            if array.dtype != np.int64 or array.ndim != 1:
                raise self.fail(node, "its second input must be a list of integers")
            found = array.tolist()
        if found is not None and len(found) > MAX_RANK:
            raise self.fail(node, f"{len(found)} integers for the axes of a value")
        return found

    def layout(self, node: onnx.NodeProto, attributes: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape after an operation that moves nothing, of a value of ``shape``."""
        if node.op_type == "Identity":
            return shape
        if node.op_type == "Flatten":
            axis = attributes.get("axis", 1)
            if not (-len(shape) if self.opset >= 11 else 0) <= axis <= len(shape):
                raise self.fail(node, f"axis {axis} is outside shape {shape}")
            # Not modulo: an axis may also be the rank, where all is flattened into the first.
            axis = axis + len(shape) if axis < 0 else axis
            return prod(shape[:axis]), prod(shape[axis:])
        if node.op_type == "Reshape":
            return self._reshaped_shape(node, attributes, shape)
        axes = self.integers(node, attributes, "axes", 13)
        rank = len(shape) + (len(axes or ()) if node.op_type == "Unsqueeze" else 0)
        if node.op_type == "Squeeze" and axes is None:
            axes = [index for index, size in enumerate(shape) if size == 1]
        first = -rank if self.opset >= 11 else 0
        if not axes or any(not first <= axis < rank for axis in axes):
            raise self.fail(node, f"axes {short(axes)} do not fit shape {shape}")
        chosen = [axis % rank for axis in axes]
        if any(a >= b for a, b in pairwise(chosen)):
            raise self.fail(node, f"axes {short(axes)} repeat or are not sorted, which runtimes take differently")
        if node.op_type == "Unsqueeze":
            rest = iter(shape)
            return tuple(1 if index in chosen else next(rest) for index in range(rank))
        if any(shape[index] != 1 for index in chosen):
            raise self.fail(node, f"axes {short(axes)} do not fit shape {shape}")
        return tuple(size for index, size in enumerate(shape) if index not in chosen)

    def _reshaped_shape(
        self, node: onnx.NodeProto, attributes: dict[str, Any], shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        target, total = self.integers(node, attributes, "shape", 5) or [], prod(shape)
        fits = target.count(-1) <= 1 and all(
            size > 0 or size == -1 or (size == 0 and i < len(shape)) for i, size in enumerate(target)
        )
        if not fits or attributes.get("allowzero", 0):
            raise self.fail(node, f"target shape {short(target)} does not fit {shape}")
        # Zero copies the size of the value, unless `allowzero` says otherwise, which is refused above.
        sizes = [shape[i] if size == 0 else size for i, size in enumerate(target)]
        if -1 in sizes:
            sizes[sizes.index(-1)] = total // prod(size for size in sizes if size != -1)
        if prod(sizes) != total:
            raise self.fail(node, f"target shape {short(target)} does not fit {shape}")
        return tuple(sizes)

    def floats(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        """The operand at a place, a constant of the type that the network computes in."""
        array = self.constant(node, index)
        if array.dtype != self.dtype:
            raise self.fail(node, f"input {index} must hold {self.dtype}, as the network's input does")
        return array

    def activation(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> Activation:
        """Of a node with an operator of `ACTIVATIONS`, or a Clip that is a ReLU but for the largest number."""
        alpha, kind = 0.0, ACTIVATIONS.get(node.op_type, "relu")
        if node.op_type == "Clip":
            low, high = self.limits(node, attributes)
            if low != 0 or high < LARGEST or self.dtype != np.float32:  # onnxruntime fails on some of float64
                what = "Clip of float32 from 0 to infinity, or to the largest number"
                raise self.fail(node, f"this checker reads {what} only, not {(low, high)}")
        elif kind in ("leaky_relu", "elu"):
            # Attributes are of single precision, the default too: 0.01 is not what is executed.
            alpha = float(attributes.get("alpha", np.float32(0.01) if kind == "leaky_relu" else 1.0))
        # ELU is convex for these alone, which its lines rest on.
        if not np.isfinite(alpha) or (kind == "elu" and not 0 <= alpha <= 1):
            raise self.fail(node, f"this checker does not read alpha {alpha}")
        return Activation(kind, alpha)

    def limits(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[float, float]:
        """Between which numbers a Clip leaves its value as it is."""
        if self.opset < 11:
            # The defaults of the operator before opset 11; later ones say the same by leaving an input out.
            return float(attributes.get("min", -LARGEST)), float(attributes.get("max", LARGEST))
        given = [index < len(node.input) and bool(node.input[index]) for index in (1, 2)]
        sides = [self.floats(node, i + 1) if there else None for i, there in enumerate(given)]
        if any(side is not None and side.shape not in ((), (1,)) for side in sides):
            raise self.fail(node, "its limits must be single numbers")
        return (
            -LARGEST if sides[0] is None else float(sides[0].reshape(())),
            LARGEST if sides[1] is None else float(sides[1].reshape(())),
        )
