"""Tensors of an ONNX file: checked before anything is allocated, and put back."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from birdnn.errors import FormatError, MismatchError

Array = NDArray[np.generic]

_WRITTEN: Mapping[int, str] = {TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data"}
# where ONNX keeps values that are no raw bytes: half, narrow and truth values share a list of int32
_FIELDS: Mapping[int, str] = {
    **_WRITTEN,
    TensorProto.FLOAT16: "int32_data",
    TensorProto.INT64: "int64_data",
    TensorProto.INT32: "int32_data",
    TensorProto.BOOL: "int32_data",
    TensorProto.INT8: "int32_data",
    TensorProto.UINT8: "int32_data",
}

_LISTED_UNTIL = 4
"""Before this version of the file format initialisers have to be listed among the inputs."""

MAX_AXES = 64
"""Most axes of a value, as NumPy has it; a product of many more sizes would take our time."""

_SIZES = ("offset", "0"), ("length", "-1")
_SHOWN = 60


def read_tensor(tensor: TensorProto, path: str, kind: str = "initialiser") -> Array:
    """The values of a tensor.

    Its declared size is compared with the bytes that are there before an array is made.

    Raises:
        FormatError: a data type we do not read, sizes that do not fit, NaN or infinity.
    """
    place = f"{kind} {tensor.name!r}"
    if tensor.data_type not in _FIELDS:
        raise FormatError(path, place, f"data type {_type_name(tensor.data_type)} is not supported")
    require_few_axes(tensor.dims, path, place)
    if any(size < 0 for size in tensor.dims):
        raise FormatError(path, place, f"negative dimension in {list(tensor.dims)}")
    if tensor.data_location == TensorProto.EXTERNAL:
        raise FormatError(path, place, "its data lies outside the file and was not loaded")
    count = math.prod(tensor.dims)
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    stored = len(getattr(tensor, _FIELDS[tensor.data_type]))
    if tensor.HasField("raw_data"):
        stored, odd = divmod(len(tensor.raw_data), itemsize)
        stored += odd > 0
    if stored != count:
        raise FormatError(path, place, f"dimensions {list(tensor.dims)} need {count} values; the file holds {stored}")
    try:
        # a copy: what `to_array` gives shares read-only memory with the message
        array: Array = np.array(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(path, place, f"cannot be read: {error}") from None
    # NaN compares false with everything, so that it would prove anything
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FormatError(path, place, "holds NaN or infinity")
    return array


def require_few_axes(axes: Sized, path: str, place: str) -> None:
    """See that a shape has no more than `MAX_AXES` axes, before their sizes are multiplied.

    Raises:
        FormatError: it has.
    """
    if len(axes) > MAX_AXES:
        raise FormatError(path, place, f"its shape has {len(axes)} axes; at most {MAX_AXES} are expected")


def read_attribute(attribute: onnx.AttributeProto) -> int | float | bytes | list[Any] | None:
    """The value of a node's attribute: a number, a text or a list of them; None for any other kind."""
    kind, types = attribute.type, onnx.AttributeProto
    single: dict[int, int | float | bytes] = {
        types.FLOAT: attribute.f,
        types.INT: attribute.i,
        types.STRING: attribute.s,
    }
    if kind in single:
        return single[kind]
    lists: dict[int, list[Any]] = {
        types.FLOATS: list(attribute.floats),
        types.INTS: list(attribute.ints),
        types.STRINGS: list(attribute.strings),
    }
    return lists.get(kind)


def read_attributes(node: onnx.NodeProto, path: str, place: str) -> dict[str, Any]:
    """The attributes of a node by name: numbers, texts, lists of them, and arrays.

    Raises:
        FormatError: one stands twice, of which a runtime takes which it likes, refers to that of a function, or is of
            a kind we do not read.
    """
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        name = attribute.name
        tensor = attribute.type == onnx.AttributeProto.TENSOR
        value = read_tensor(attribute.t, path, f"{place}, attribute") if tensor else read_attribute(attribute)
        if name in found:
            raise FormatError(path, place, f"attribute {name!r} is given twice")
        # one that refers to a function's argument has no value outside of the function
        if value is None or attribute.ref_attr_name:
            raise FormatError(path, place, f"attribute {name!r} is of a kind we do not know")
        found[name] = value
    return found


def put_tensor(tensor: TensorProto, values: Array) -> bool:
    """Replace the values of a tensor that `read_tensor` accepts, in place; data type and kind of storage stay.

    A tensor whose bits would not change is left alone; returns whether it changed.

    Raises:
        MismatchError: another shape, NaN or infinity, or a value beyond the range of the tensor's data type.
    """
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if tuple(tensor.dims) != values.shape:
        raise MismatchError(f"initialiser {tensor.name!r} has shape {tuple(tensor.dims)}, not {values.shape}")
    # what is beyond the range becomes infinite here and is refused below
    with np.errstate(over="ignore"):
        # `ascontiguousarray` gives an axis to what has none
        new = np.ascontiguousarray(values, dtype=dtype).reshape(values.shape)
    if not np.isfinite(new).all():
        raise MismatchError(f"initialiser {tensor.name!r} would hold NaN or infinity")
    # bits and not values, for -0.0 equals 0.0: what did not change has to keep its bytes
    if new.tobytes() == np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes():
        return False
    if tensor.HasField("raw_data"):
        # little-endian in the file whatever the machine is
        tensor.raw_data = new.astype(dtype.newbyteorder("<")).tobytes()
        return True
    field = getattr(tensor, _WRITTEN[tensor.data_type])
    del field[:]
    field.extend(new.ravel().tolist())
    return True


def lift_constants(model: onnx.ModelProto, names: Container[str]) -> None:
    """Turn the ``Constant`` nodes that make some values into initialisers of the same names, in place."""
    graph = model.graph
    # from the end, so that a deletion moves no place that is still to come
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or node.output[0] not in names:
            continue
        attribute, name = node.attribute[0], node.output[0]
        if attribute.name == "value":
            graph.initializer.append(attribute.t)
            graph.initializer[-1].name = name
        else:
            value = np.array(read_attribute(attribute), np.float32)
            graph.initializer.append(numpy_helper.from_array(value, name))
        if model.ir_version < _LISTED_UNTIL:
            tensor = graph.initializer[-1]
            graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
        del graph.node[place]


def embed_external(model: onnx.ModelProto, path: str | Path, limit: int) -> bool:
    """Read tensors that lie in files beside `path` into the model; returns whether there were any.

    Raises:
        FormatError: such a file lies outside the folder of `path`, is missing, or is too short.
    """
    found = False
    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            found = True
            data = _external_bytes(tensor, path, limit)
            # the limit is on all tensors together: each might be a piece of the same large file
            limit -= len(data)
            tensor.raw_data = data
            del tensor.external_data[:]
            tensor.data_location = TensorProto.DEFAULT
    return found


def _external_bytes(tensor: TensorProto, path: str | Path, limit: int) -> bytes:
    place = f"initialiser {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder, shown = Path(path).parent.resolve(), repr(location[:_SHOWN])
    offset, length = (_parse_size(entries.get(key, default), key, path, place) for key, default in _SIZES)
    try:
        # links are followed before the comparison: one inside the folder may lead out of it
        target = (folder / location).resolve()
        if not location or not target.is_relative_to(folder):
            raise FormatError(str(path), place, f"external data {shown} lies outside the folder of the file")
        if not target.is_file():
            raise FormatError(str(path), place, f"external data file {shown} is missing, or no regular file")
        available = target.stat().st_size - offset
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL byte in it, a loop of links
        raise FormatError(str(path), place, f"external data file {shown} cannot be read: {error}"[:300]) from None
    length = available if length < 0 else length
    if length > available or available < 0:
        raise FormatError(str(path), place, f"external data file {shown} is too short")
    if length > limit:
        raise FormatError(str(path), place, f"external data of {length} bytes is beyond the limit")
    try:
        with target.open("rb") as file:
            file.seek(offset)
            return bytes(file.read(length))
    except OSError as error:
        raise FormatError(str(path), place, f"external data cannot be read: {error.strerror}") from None


def _parse_size(text: str, key: str, path: str | Path, place: str) -> int:
    """An entry of external data that counts bytes; -1 where a length means the rest of the file."""
    # digits are counted before `int`, whose time grows with the square of their number
    if not (text == "-1" and key == "length") and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise FormatError(str(path), place, f"external data: {key} {text[:_SHOWN]!r} is no number of bytes")
    return int(text)


def _type_name(data_type: int) -> str:
    return TensorProto.DataType.Name(data_type) if data_type in TensorProto.DataType.values() else str(data_type)
