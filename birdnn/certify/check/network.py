"""ONNX, read by the checker itself: a chain of affine maps and activations, with exact rational constants.

`layers` folds the operations between two activations.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from birdnn.certify.check.files import File
from birdnn.certify.check.layers import Activation, Chain, Exact, Fold, Layer, exact
from birdnn.errors import FormatError

ACTIVATIONS = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Elu": "elu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
_LAYOUT = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity")
SUPPORTED = ("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Clip", "Constant", *_LAYOUT, *ACTIVATIONS)


def read_network(file: File) -> Chain:
    """The network in ``file``.

    Raises:
        FormatError: it is no chain of operations that this checker knows.
    """
    try:
        model = onnx.ModelProto.FromString(file.data)
    except (DecodeError, ValueError) as error:
        raise FormatError(file.path, "", f"not an ONNX file: {error}") from None
    return _Reader(file.path, model).read()


class _Reader:
    """Walks along the chain; ``current`` names the value that has been reached, of ``shape`` for a batch of one."""

    def __init__(self, path: str, model: onnx.ModelProto) -> None:
        self.path, self.graph = path, model.graph
        versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
        if len(versions) != 1 or not 7 <= versions[0] <= onnx.defs.onnx_opset_version():
            raise FormatError(path, "opset_import", f"opset {versions} is not known")
        self.opset = versions[0]
        self.constants: dict[str, NDArray[Any]] = {}
        self.layers: list[Layer] = []

    def read(self) -> Chain:
        graph = self.graph
        for tensor in graph.initializer:
            if tensor.name in self.constants or not tensor.name:
                raise FormatError(self.path, f"initialiser {tensor.name!r}", "its name is missing or given twice")
            self.constants[tensor.name] = self._array(tensor, f"initialiser {tensor.name!r}")
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1 or graph.sparse_initializer:
            raise FormatError(self.path, "", "one input, one output and no sparse initialiser are expected")
        self.current, self.shape = inputs[0].name, self._input_shape(inputs[0])
        n_inputs = prod(self.shape)
        self.fold = Fold(n_inputs)
        made = {self.current, *self.constants}
        for node in self._needed(graph.output[0].name):
            if len(node.output) != 1 or node.output[0] in made:
                raise self._fail(node, "has other than one output, or one that exists already")
            made.add(node.output[0])
            self._node(node)
        if self.current != graph.output[0].name:
            raise FormatError(self.path, "", "the output does not depend on the input")
        self.layers.append(self.fold.layer(None))
        single = inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        return Chain(tuple(self.layers), n_inputs, prod(self.shape), single)

    def _needed(self, output: str) -> list[onnx.NodeProto]:
        wanted, needed = {output}, []
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                needed.append(node)
        return needed[::-1]

    def _fail(self, node: onnx.NodeProto, problem: str) -> FormatError:
        return FormatError(self.path, f"node {node.name or ''.join(node.output)!r} ({node.op_type})", problem)

    def _array(self, tensor: onnx.TensorProto, place: str) -> NDArray[Any]:
        kinds = onnx.TensorProto
        known = (kinds.FLOAT, kinds.DOUBLE, kinds.INT64)
        if tensor.data_location == kinds.EXTERNAL or tensor.data_type not in known or min(tensor.dims, default=0) < 0:
            raise FormatError(self.path, place, "this checker reads float32, float64 and int64 inside the file only")
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise FormatError(self.path, place, f"cannot be read: {error}") from None
        if not np.isfinite(array).all():
            raise FormatError(self.path, place, "holds NaN or infinity")
        return array

    def _input_shape(self, value: onnx.ValueInfoProto) -> tuple[int, ...]:
        kind = value.type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim]
        if sizes and sizes[0] <= 0:
            sizes[0] = 1  # the batch
        known = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
        if not sizes or min(sizes) <= 0 or prod(sizes) > 1 << 20 or kind.elem_type not in known:
            raise FormatError(self.path, f"input {value.name!r}", f"shape {sizes} or its type is not known")
        return tuple(sizes)

    def _node(self, node: onnx.NodeProto) -> None:
        op = node.op_type
        if op not in SUPPORTED or node.domain not in ("", "ai.onnx"):
            problem = f"this checker does not read operator {op!r}; it reads {', '.join(SUPPORTED)}"
            raise self._fail(node, problem)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if op == "Constant":
            if list(attributes) != ["value"] or not isinstance(attributes["value"], onnx.TensorProto):
                raise self._fail(node, "a constant that is no tensor")
            self.constants[node.output[0]] = self._array(attributes["value"], f"node {node.name!r}")
            return
        inputs = list(node.input)
        if op == "Identity" and inputs[0] in self.constants:
            self.constants[node.output[0]] = self.constants[inputs[0]]
            return
        if inputs.count(self.current) != 1 or any(
            name and name not in self.constants for name in inputs[1:] if name != self.current
        ):
            raise self._fail(node, "the network is no chain: one input must be the value before, the others constant")
        if inputs[0] not in (self.current, *self.constants):
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
        self.current = node.output[0]

    def _constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise self._fail(node, f"input {index} must be a constant")
        return self.constants[name]

    def _integers(self, node: onnx.NodeProto, attributes: dict[str, Any], key: str, since: int) -> list[int] | None:
        """A list of integers: an attribute before opset ``since``, the second input from there on."""
        if self.opset < since:
            return list(attributes[key]) if key in attributes else None
        if len(node.input) < 2 or not node.input[1]:
            return None
        array = self._constant(node, 1)
        if array.dtype != np.int64 or array.ndim > 1:
            raise self._fail(node, "its second input must be a list of integers")
        return [int(value) for value in array.reshape(-1)]

    def _layout(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[int, ...]:
        """The shape after an operation that moves nothing."""
        shape = self.shape
        if node.input[0] != self.current:
            raise self._fail(node, "its first input must be the value before")
        if node.op_type == "Identity":
            return shape
        if node.op_type == "Flatten":
            axis = attributes.get("axis", 1)
            if not -len(shape) <= axis <= len(shape):
                raise self._fail(node, f"axis {axis} is outside shape {shape}")
            axis = axis + len(shape) if axis < 0 else axis
            return prod(shape[:axis]), prod(shape[axis:])
        if node.op_type == "Reshape":
            return self._reshaped(node, attributes)
        axes = self._integers(node, attributes, "axes", 13)
        rank = len(shape) + (len(axes or ()) if node.op_type == "Unsqueeze" else 0)
        if node.op_type == "Squeeze" and axes is None:
            axes = [index for index, size in enumerate(shape) if size == 1]
        if axes is None or any(not -rank <= axis < rank for axis in axes) or len({a % rank for a in axes}) < len(axes):
            raise self._fail(node, f"axes {axes} do not fit shape {shape}")
        chosen = {axis % rank for axis in axes}
        if node.op_type == "Unsqueeze":
            rest = iter(shape)
            return tuple(1 if index in chosen else next(rest) for index in range(rank))
        if any(shape[index] != 1 for index in chosen):
            raise self._fail(node, f"axes {axes} do not fit shape {shape}")
        return tuple(size for index, size in enumerate(shape) if index not in chosen)

    def _reshaped(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[int, ...]:
        target, total = self._integers(node, attributes, "shape", 5) or [], prod(self.shape)
        fits = target.count(-1) <= 1 and all(
            size > 0 or size == -1 or (size == 0 and i < len(self.shape)) for i, size in enumerate(target)
        )
        if not fits or attributes.get("allowzero", 0):
            raise self._fail(node, f"target shape {target} does not fit {self.shape}")
        sizes = [self.shape[i] if size == 0 else size for i, size in enumerate(target)]
        if -1 in sizes:
            sizes[sizes.index(-1)] = total // prod(size for size in sizes if size != -1)
        if prod(sizes) != total:
            raise self._fail(node, f"target shape {target} does not fit {self.shape}")
        return tuple(sizes)

    def _activate(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        if node.input[0] != self.current:
            raise self._fail(node, "its first input must be the value before")
        alpha, kind = 0.0, ACTIVATIONS.get(node.op_type, "relu")
        if node.op_type == "Clip":
            limits = self._limits(node, attributes)
            if limits != (0.0, np.inf):
                raise self._fail(node, f"this checker reads Clip from 0 to infinity only, not {limits}")
        elif kind in ("leaky_relu", "elu"):
            alpha = float(attributes.get("alpha", np.float32(0.01) if kind == "leaky_relu" else 1.0))
        if not np.isfinite(alpha) or (kind == "elu" and not 0 <= alpha <= 1):
            raise self._fail(node, f"this checker does not read alpha {alpha}")
        self.layers.append(self.fold.layer(Activation(kind, alpha)))
        self.fold = Fold(prod(self.shape))

    def _limits(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[float, float]:
        if self.opset < 11:
            largest = float(np.finfo(np.float32).max)
            low, high = float(attributes.get("min", -np.inf)), float(attributes.get("max", np.inf))
            return low, np.inf if high >= largest else high
        given = [index < len(node.input) and bool(node.input[index]) for index in (1, 2)]
        sides = [self._constant(node, i + 1).reshape(-1) if there else None for i, there in enumerate(given)]
        if any(side is not None and side.size != 1 for side in sides):
            raise self._fail(node, "its limits must be single numbers")
        return (
            -np.inf if sides[0] is None else float(sides[0][0]),
            np.inf if sides[1] is None else float(sides[1][0]),
        )

    def _float(self, node: onnx.NodeProto, index: int) -> NDArray[Any]:
        array = self._constant(node, index)
        if array.dtype.kind != "f":
            raise self._fail(node, f"input {index} must hold floating-point numbers")
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
        self.fold.matrix(exact(weight))
        self.shape = (1, weight.shape[0])
        if len(node.input) > 2 and node.input[2]:
            self.fold.shift(self._like_value(node, 2))

    def _matmul(self, node: onnx.NodeProto) -> None:
        left = node.input[0] == self.current
        weight = self._float(node, int(left))
        shape, terms = self.shape, weight.shape[-2 if left else -1] if weight.ndim == 2 else -1
        fits = shape[-1] == terms if left else shape[-2:] == (terms, 1) or shape == (terms,)
        if not fits or prod(shape) != terms:
            raise self._fail(node, f"weights of shape {weight.shape} do not fit a value of shape {shape}")
        self.fold.matrix(exact(weight.T if left else weight))
        out = weight.shape[1] if left else weight.shape[0]
        self.shape = (*shape[:-1], out) if left else (*shape[:-2], out, 1) if len(shape) > 1 else (out,)

    def _like_value(self, node: onnx.NodeProto, index: int) -> Exact:
        """A constant operand, repeated to the value's shape."""
        array = self._float(node, index)
        try:
            full = np.broadcast_to(array, self.shape)
        except ValueError:
            raise self._fail(node, f"an operand of shape {array.shape} for a value of shape {self.shape}") from None
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
        elif first and all(other):
            self.fold.scale(1 / other, 2)
        else:
            raise self._fail(node, "division by the value, or by zero")
