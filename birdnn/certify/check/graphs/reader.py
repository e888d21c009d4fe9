"""ONNX, read by the checker itself as a graph: see `nodes`.

An operator that only gives entries another place, or adds some up, is done to an array that holds the places of its
operand's entries: what comes out says which entry stands where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import isqrt, prod
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from birdnn.certify.check.files import File
from birdnn.certify.check.graphs.nodes import Affine, Bend, Graph, Node, Pool, selection_map, sums_map
from birdnn.certify.check.layers import Exact, exact_array
from birdnn.certify.check.onnxfile import ACTIVATIONS, LAYOUT, MAX_RANK, FileReader, model_in
from birdnn.certify.check.tree import Index
from birdnn.errors import FormatError

SUPPORTED = (
    *("Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv", "Div", "Dropout", "Gather"),
    *("Gemm", "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Neg", "Pad", "ReduceMean", "ReduceSum", "Slice"),
    *("Split", "Sub", "Sum", "Transpose", *LAYOUT, *ACTIVATIONS),
)

MAX_ENTRIES = 1 << 24
"""Most entries of all maps together, and of all values."""

MAX_NUMBERS = 1 << 21
"""Most constants, which are kept as exact numbers."""

_SMALLEST = Fraction(1, 1 << 900)
_ROOT_BITS = 400


def read_graph(file: File) -> Graph:
    """The network in ``file``.

    Raises:
        FormatError: it is no graph of operations that this checker knows.
    """
    return _Reader(file.path, model_in(file)).read()


class _Value(NamedTuple):
    """What a name of the file stands for: a value by its number, in a shape for a batch of one."""

    number: int
    shape: tuple[int, ...]

    @property
    def places(self) -> Index:
        """Where its entries stand, in its shape."""
        return np.arange(prod(self.shape)).reshape(self.shape)


class _Reader(FileReader):
    """Walks through the nodes.

    Attributes:
        values: by name.
        nodes, sizes: see `Graph`, without what nothing reads.
        entries, numbers: see `MAX_ENTRIES` and `MAX_NUMBERS`.
    """

    def __init__(self, path: str, model: onnx.ModelProto) -> None:
        super().__init__(path, model)
        self.values: dict[str, _Value] = {}
        self.nodes: list[Node] = []
        self.sizes: list[int] = []
        self.entries = self.numbers = 0

    def read(self) -> Graph:
        """The graph, as far as its output depends on it."""
        name, shape = self.begin()
        self.values[name] = _Value(0, shape)
        self.sizes.append(prod(shape))
        for node in self.graph.node:
            self._read_node(node)
        output = self.values.get(self.graph.output[0].name)
        if output is None:
            raise FormatError(self.path, "", "the output depends on nothing, or no node makes it")
        return _prune_graph(self.nodes, self.sizes, output.number, self.dtype == np.float32)

    def _read_node(self, node: onnx.NodeProto) -> None:
        attributes = self.known_node(node, SUPPORTED, len(node.output) if node.op_type == "Split" else 1)
        op, inputs = node.op_type, [name for name in node.input if name]
        if op == "Constant" or (op == "Identity" and inputs[0] in self.constants):
            self.name_constant(node, attributes)
            return
        unknown = [name for name in inputs if name not in self.values and name not in self.constants]
        # Nodes stand in order; what only a later one makes is not there yet.
        if unknown:
            raise self.fail(node, f"reads {short(unknown[0])}, which no node before it makes")
        made = self._values_of_node(node, attributes)
        for name, value in zip(node.output, made, strict=True):
            if len(value.shape) > MAX_RANK:
                raise self.fail(node, f"this checker reads values of at most {MAX_RANK} axes")
            self.values[name] = value
            self.require_declared(name, self.dtype, value.shape)

    def _values_of_node(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> list[_Value]:
        """What a node makes."""
        op = node.op_type
        if op in ("Add", "Sub", "Sum", "Neg"):
            return [self._sum(node)]
        if op in ("Mul", "Div"):
            return [self._scaled(node)]
        if op == "Concat":
            return [self._concat(node, attributes)]
        if op == "MatMul":
            return [self._matmul(node)]
        value = self._operand_value(node, 0)
        if op in LAYOUT:
            return [_Value(value.number, self.layout(node, attributes, value.shape))]
        if op in ACTIVATIONS or op == "Clip":
            limited = op == "Clip" and self.limits(node, attributes)[1] < np.inf
            bend = Bend(value.number, self._monotone_activation(node, attributes), limited)
            return [self._add_node(node, bend, value.shape)]
        if op == "Split":
            return self._split(node, attributes, value)
        return [_MAKERS[op](self, node, attributes, value)]

    def _monotone_activation(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> Any:
        activation = self.activation(node, attributes)
        if activation.alpha < 0:
            # Intervals are taken from both ends, which only a monotone activation allows.
            raise self.fail(node, f"this checker does not read alpha {activation.alpha} in a graph")
        return activation

    def _operand_value(self, node: onnx.NodeProto, index: int) -> _Value:
        """The operand at a place, which depends on the input."""
        value = self.values.get(node.input[index]) if index < len(node.input) else None
        if value is None:
            raise self.fail(node, f"input {index} must depend on the network's input, and the others be constants")
        return value

    def _require_one_value(self, node: onnx.NodeProto, kept: int = 0) -> None:
        """Refuse other operands that depend on the input."""
        if any(name in self.values for i, name in enumerate(node.input) if i != kept):
            raise self.fail(node, "this checker reads this operator with one operand that is no constant")

    def _add_node(self, node: onnx.NodeProto, made: Node, shape: tuple[int, ...]) -> _Value:
        maps = [each for _, each in made.sources] if isinstance(made, Affine) else []
        windows = made.windows.size if isinstance(made, Pool) else 0
        self.entries += prod(shape) + windows + sum(len(each.row) + sum(each.shape) for each in maps)
        self._require_small(node, self.entries, MAX_ENTRIES)
        # Float64 keeps all others to a relative error, and nothing else is paid for constants of graphs.
        tiny = any(0 < abs(value) < _SMALLEST for each in maps for value in each.table)
        if tiny:
            raise self.fail(node, "this checker does not read constants that small")
        self.nodes.append(made)
        self.sizes.append(prod(shape))
        return _Value(len(self.nodes), shape)

    def _require_small(self, node: onnx.NodeProto, count: int, limit: int) -> None:
        if count > limit:
            raise self.fail(node, "the network is too large for this checker, which computes with exact numbers")

    def _exact_constants(self, node: onnx.NodeProto, array: NDArray[Any]) -> Exact:
        self.numbers += array.size
        self._require_small(node, self.numbers, MAX_NUMBERS)
        return exact_array(array)

    def _move_entries(self, node: onnx.NodeProto, value: _Value, places: Index, fill: Exact | None = None) -> _Value:
        """Entries of a value at other places; what ``fill`` holds, or zero, where a place is -1."""
        flat = places.reshape(-1)
        self._require_small(node, flat.size, MAX_ENTRIES)
        offset = exact_array(np.zeros(flat.size)) if fill is None else fill
        made = Affine(((value.number, selection_map(flat, prod(value.shape))),), offset)
        return self._add_node(node, made, places.shape)

    def _sum(self, node: onnx.NodeProto) -> _Value:
        """Of operands, each repeated to the shape of all."""
        op = node.op_type
        signs = [1, -1] if op == "Sub" else [-1] if op == "Neg" else [1] * len(node.input)
        shapes = self._operand_shapes(node)
        shape = self._broadcast_shape(node, shapes)
        if op == "Sum" and self.opset < 8 and any(other != shape for other in shapes):
            raise self.fail(node, f"operands of shapes {short(shapes)}, which this operator set does not repeat")
        # Before arrays of that size are made, here and elsewhere.
        self._require_small(node, prod(shape) * len(shapes), MAX_ENTRIES)
        offset = exact_array(np.zeros(prod(shape)))
        sources = []
        for index, (name, sign) in enumerate(zip(node.input, signs, strict=True)):
            if name in self.values:
                value = self.values[name]
                each = selection_map(np.broadcast_to(value.places, shape).reshape(-1), prod(value.shape))
                sources.append((value.number, replace(each, table=sign * each.table)))
            else:
                constant = self._exact_constants(node, self.floats(node, index))
                offset = offset + sign * np.broadcast_to(constant, shape).reshape(-1)
        if not sources:
            raise self.fail(node, "this checker does not compute what depends on constants alone")
        return self._add_node(node, Affine(tuple(sources), offset), shape)

    def _operand_shapes(self, node: onnx.NodeProto) -> list[tuple[int, ...]]:
        if not all(node.input):
            raise self.fail(node, "leaves an input out that must be there")
        return [self.values[n].shape if n in self.values else self.constants[n].shape for n in node.input]

    def _broadcast_shape(self, node: onnx.NodeProto, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise self.fail(node, f"operands of shapes {short(shapes)}, which do not fit each other") from None
        self._require_small(node, prod(shape), MAX_ENTRIES)
        return shape

    def _scaled(self, node: onnx.NodeProto) -> _Value:
        """A value times constants, or divided by them."""
        first = node.input[0] in self.values
        value = self._operand_value(node, 0 if first else 1)
        self._require_one_value(node, 0 if first else 1)
        constant = self.floats(node, 1 if first else 0)
        table = self._exact_constants(node, constant.reshape(-1))
        if node.op_type == "Div":
            if not first or not constant.all():
                raise self.fail(node, "this checker reads division by constants other than zero only")
            table = 1 / table
        shape = self._broadcast_shape(node, [value.shape, constant.shape])
        terms = np.broadcast_to(value.places, shape).reshape(-1, 1)
        which = np.broadcast_to(np.arange(constant.size).reshape(constant.shape), shape).reshape(-1, 1)
        return self._add_affine(node, value, terms, which, table, shape)

    def _add_affine(
        self,
        node: onnx.NodeProto,
        value: _Value,
        terms: Index,
        which: Index,
        table: Exact,
        shape: tuple[int, ...],
        offset: Exact | None = None,
        unsure: bool = False,
    ) -> _Value:
        """Sums of entries of a value, each times a number of a table: ``terms`` and ``which``, (entries, terms)."""
        # A zero is no term: it would count in the length of sums, and fill maps.
        terms = np.where((table != 0)[which], terms, -1) if len(table) else terms
        offset = exact_array(np.zeros(len(terms))) if offset is None else offset
        each = sums_map(terms, which, table, prod(value.shape))
        return self._add_node(node, Affine(((value.number, each),), offset, unsure), shape)

    def _concat(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> _Value:
        known = [name in self.constants for name in node.input]
        shapes = [
            self.constants[n].shape if k else self.values[n].shape for n, k in zip(node.input, known, strict=True)
        ]
        axis = self._axis_from_zero(node, attributes.get("axis", 1), len(shapes[0]))
        if any(len(s) != len(shapes[0]) or _without_axis(s, axis) != _without_axis(shapes[0], axis) for s in shapes):
            raise self.fail(node, f"values of shapes {short(shapes)} do not fit each other")
        self._require_small(node, sum(map(prod, shapes)) * len(shapes), MAX_ENTRIES)
        owner = np.concatenate([np.full(s, i) for i, s in enumerate(shapes)], axis)
        place = np.concatenate([np.arange(prod(s)).reshape(s) for s in shapes], axis).reshape(-1)
        flat, offset = owner.reshape(-1), exact_array(np.zeros(owner.size))
        sources = []
        for i, name in enumerate(node.input):
            if known[i]:
                constant = self._exact_constants(node, self.floats(node, i)).reshape(-1)
                offset[flat == i] = constant[place[flat == i]]
            else:
                value = self.values[name]
                sources.append((value.number, selection_map(np.where(flat == i, place, -1), prod(value.shape))))
        if not sources:
            raise self.fail(node, "this checker does not compute what depends on constants alone")
        return self._add_node(node, Affine(tuple(sources), offset), owner.shape)

    def _axis_from_zero(self, node: onnx.NodeProto, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise self.fail(node, f"axis {axis} of a value of {rank} axes")
        return axis % rank

    def _matmul(self, node: onnx.NodeProto) -> _Value:
        left = node.input[0] in self.values
        self._require_one_value(node, 0 if left else 1)
        value, weight = self._operand_value(node, 0 if left else 1), self.floats(node, 1 if left else 0)
        single = weight.ndim == 1
        if single:
            weight = weight[:, None] if left else weight[None, :]
        axis = len(value.shape) - 1 if left else max(0, len(value.shape) - 2)  # of the value, that is summed over
        if weight.ndim != 2 or weight.shape[0 if left else 1] != value.shape[axis]:
            raise self.fail(node, f"weights of shape {weight.shape} do not fit a value of shape {value.shape}")
        place = np.arange(weight.size).reshape(weight.shape)
        place = place.T if left else place  # (out, terms)
        rows = np.moveaxis(value.places, axis, -1)[..., None, :]
        shape = (*rows.shape[:-2], len(place), rows.shape[-1])
        self._require_small(node, prod(shape), MAX_ENTRIES)
        terms, which = np.broadcast_to(rows, shape), np.broadcast_to(place, shape)
        if not left and len(value.shape) > 1:  # what is made stands where it was summed over
            terms, which = np.moveaxis(terms, -2, axis), np.moveaxis(which, -2, axis)
        out, table = terms.shape[:-1], self._exact_constants(node, weight.reshape(-1))
        flat = [part.reshape(prod(out), -1) for part in (terms, which)]
        if single:  # the axis that a row or column of its own would leave
            out = _without_axis(out, len(out) - 1 if left else axis)
        return self._add_affine(node, value, flat[0], flat[1], table, out)

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        self._require_one_value(node)
        weight = self.floats(node, 1)
        if attributes.get("transA", 0) or weight.ndim != 2:
            raise self.fail(node, "this checker reads Gemm of a value, not transposed, with a constant")
        place: Index = np.arange(weight.size).reshape(weight.shape)
        place = place if attributes.get("transB", 0) else place.T
        if len(value.shape) != 2 or value.shape[1] != place.shape[1]:
            raise self.fail(node, f"weights {weight.shape} do not fit a value of shape {value.shape}")
        shape = (value.shape[0], place.shape[0])
        self._require_small(node, prod(shape) * place.shape[1], MAX_ENTRIES)
        table = self._exact_constants(node, weight.reshape(-1)) * Fraction(attributes.get("alpha", 1.0))
        offset = None
        if len(node.input) > 2 and node.input[2]:
            offset = self._broadcast_constant(node, 2, shape) * Fraction(attributes.get("beta", 1.0))
        terms = np.broadcast_to(value.places[:, None], (*shape, place.shape[1])).reshape(prod(shape), -1)
        which = np.broadcast_to(place, (*shape, place.shape[1])).reshape(prod(shape), -1)
        return self._add_affine(node, value, terms, which, table, shape, offset)

    def _broadcast_constant(self, node: onnx.NodeProto, index: int, shape: tuple[int, ...]) -> Exact:
        """A constant operand, repeated to a shape."""
        array = self.floats(node, index)
        if self._broadcast_shape(node, [array.shape, shape]) != shape:
            raise self.fail(node, f"an operand of shape {array.shape} for a value of shape {shape}")
        out: Exact = np.broadcast_to(self._exact_constants(node, array), shape).reshape(-1)
        return out

    def _conv(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        self._require_one_value(node)
        weight, shape, groups = self.floats(node, 1), value.shape, attributes.get("group", 1)
        if weight.ndim < 3 or weight.ndim != len(shape) or shape[0] != 1 or groups < 1 or len(weight) % groups:
            raise self.fail(node, f"weights of shape {weight.shape} do not fit a value of shape {shape}")
        inside = weight.shape[1]
        if inside * groups != shape[1] or list(attributes.get("kernel_shape", weight.shape[2:])) != [*weight.shape[2:]]:
            raise self.fail(node, f"weights of shape {weight.shape} do not fit a value of shape {shape}")
        windows, out = self._window_places(node, attributes, shape[2:], weight.shape[2:])
        size, positions, each = prod(shape[2:]), len(windows), inside * windows.shape[1]
        self._require_small(node, len(weight) * positions * each, MAX_ENTRIES)
        channel = np.arange(shape[1]).reshape(groups, 1, inside, 1) * size
        terms = np.where(windows[:, None] >= 0, windows[:, None] + channel, -1).reshape(groups, 1, positions, each)
        whole = (groups, len(weight) // groups, positions, each)
        which = np.arange(weight.size).reshape(groups, -1, 1, each)
        flat = [np.broadcast_to(part, whole).reshape(-1, each) for part in (terms, which)]
        table = self._exact_constants(node, weight.reshape(-1))
        offset = None
        if len(node.input) > 2 and node.input[2]:
            offset = self._by_channel(node, 2, len(weight), positions)
        return self._add_affine(node, value, flat[0], flat[1], table, (1, len(weight), *out), offset)

    def _by_channel(self, node: onnx.NodeProto, index: int, channels: int, positions: int) -> Exact:
        array = self.floats(node, index)
        if array.shape != (channels,):
            raise self.fail(node, f"an operand of shape {array.shape} for {channels} channels")
        out: Exact = np.repeat(self._exact_constants(node, array), positions)
        return out

    def _window_places(
        self, node: onnx.NodeProto, attributes: dict[str, Any], sizes: tuple[int, ...], kernel: tuple[int, ...]
    ) -> tuple[Index, tuple[int, ...]]:
        """The places of each window in a channel, (positions, places), -1 outside; and how many along each axis."""
        rank = len(sizes)
        strides, dilations = (list(attributes.get(key, [1] * rank)) for key in ("strides", "dilations"))
        pads, auto = list(attributes.get("pads", [0] * (2 * rank))), attributes.get("auto_pad", b"NOTSET")
        fits = len(strides) == len(dilations) == len(kernel) == rank and len(pads) == 2 * rank and rank > 0
        if not fits or min(*strides, *dilations, *kernel) < 1 or min(pads) < 0 or attributes.get("storage_order", 0):
            raise self.fail(node, "its kernel, pads, strides or dilations do not fit its value")
        if auto not in (b"NOTSET", b"VALID") or (auto == b"VALID" and any(pads)):
            raise self.fail(node, f"this checker does not read auto_pad {short(auto.decode('ascii', 'replace'))}")
        pads = pads if auto == b"NOTSET" else [0] * (2 * rank)
        places, counts = np.zeros((1, 1), np.intp), []
        for axis, size in enumerate(sizes):
            over = size + pads[axis] + pads[rank + axis] - dilations[axis] * (kernel[axis] - 1) - 1
            if over < 0 or (attributes.get("ceil_mode", 0) and over % strides[axis]):
                raise self.fail(node, "a window that does not fit its value")
            counts.append(over // strides[axis] + 1)
            self._require_small(node, places.size * counts[-1] * kernel[axis], MAX_ENTRIES)
            at = np.arange(counts[-1])[:, None] * strides[axis] - pads[axis] + np.arange(kernel[axis]) * dilations[axis]
            at = np.where((at >= 0) & (at < size), at, -1)
            outer, inner = places[:, None, :, None], at[None, :, None, :]
            whole = np.where((outer >= 0) & (inner >= 0), outer * size + inner, -1)
            places = whole.reshape(len(places) * counts[-1], -1)
        if (places < 0).all(1).any():
            raise self.fail(node, "a window that lies outside of its value")
        return places, tuple(counts)

    def _pooling_windows(
        self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value
    ) -> tuple[Index, tuple[int, ...]]:
        """The places of each window of a value, and the shape of what is made of them."""
        shape, kernel = value.shape, tuple(attributes.get("kernel_shape", ()))
        if len(shape) < 3 or shape[0] != 1:
            raise self.fail(node, f"a value of shape {shape} has no windows")
        # Without dilations a window would lie in the padding alone, which has no largest entry and no mean.
        if any(pad >= size for pad, size in zip(attributes.get("pads", ()), (*kernel, *kernel), strict=False)):
            raise self.fail(node, "pads that are as large as its windows")
        windows, out = self._window_places(node, attributes, shape[2:], kernel)
        self._require_small(node, shape[1] * windows.size, MAX_ENTRIES)
        channel = np.arange(shape[1])[:, None, None] * prod(shape[2:])
        return np.where(windows >= 0, windows + channel, -1).reshape(-1, windows.shape[1]), (1, shape[1], *out)

    def _max_pool(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        windows, shape = self._pooling_windows(node, attributes, value)
        return self._add_node(node, Pool(value.number, windows), shape)

    def _average_pool(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        windows, shape = self._pooling_windows(node, attributes, value)
        if attributes.get("count_include_pad", 0):
            count = np.full(len(windows), windows.shape[1])
        else:
            count = (windows >= 0).sum(1)
        return self._add_affine(node, value, windows, *_mean_factors(count, windows.shape), shape)

    def _global_average(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        del attributes
        shape = value.shape
        if len(shape) < 3:
            raise self.fail(node, f"a value of shape {shape} has no channels")
        terms = value.places.reshape(shape[0] * shape[1], -1)
        count = np.full(len(terms), terms.shape[1])
        return self._add_affine(
            node, value, terms, *_mean_factors(count, terms.shape), (*shape[:2], *(1,) * (len(shape) - 2))
        )

    def _reduced(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        since, rank = 13 if node.op_type == "ReduceSum" else 18, len(value.shape)
        axes = self.integers(node, attributes, "axes", since)
        if not axes:
            raise self.fail(node, "this checker reads sums and means over named axes only")
        chosen = sorted({self._axis_from_zero(node, axis, rank) for axis in axes})
        if len(chosen) != len(axes):
            raise self.fail(node, f"axes {short(axes)} repeat")
        rest = [axis for axis in range(rank) if axis not in chosen]
        terms = value.places.transpose([*rest, *chosen]).reshape(prod(value.shape[a] for a in rest), -1)
        kept = attributes.get("keepdims", 1)
        shape = tuple(1 if a in chosen else size for a, size in enumerate(value.shape) if kept or a not in chosen)
        count = np.full(len(terms), terms.shape[1] if node.op_type == "ReduceMean" else 1)
        return self._add_affine(node, value, terms, *_mean_factors(count, terms.shape), shape)

    def _normalised(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        """``scale (x - mean) / sqrt(variance + epsilon) + bias``, each of its own for a channel."""
        self._require_one_value(node)
        shape = value.shape
        if len(shape) < 2 or attributes.get("training_mode", 0) or attributes.get("spatial", 1) != 1:
            raise self.fail(node, "this checker reads normalisation by given numbers, one for each channel, only")
        channels, positions = shape[1], prod(shape[2:])
        scale, bias, mean, variance = (self._by_channel(node, i, channels, 1) for i in range(1, 5))
        # The default of the operator, in single precision as attributes are.
        under = variance + Fraction(attributes.get("epsilon", float(np.float32(1e-5))))
        if min(under) <= 0:
            raise self.fail(node, "a variance that is not positive")
        flat = value.places.reshape(shape[0], channels, positions)
        which = np.broadcast_to(np.arange(channels)[:, None], flat.shape).reshape(-1)
        one = np.array([Fraction(1)], dtype=object)
        terms = np.arange(flat.size)[:, None]
        # Two nodes: the mean is exact, and only the factor is unsure.
        around = self._add_affine(node, value, terms, np.zeros_like(terms), one, shape, -mean[which])
        table = scale * np.array([_inverse_root(v) for v in under], dtype=object)
        return self._add_affine(node, around, terms, which[:, None], table, shape, bias[which], unsure=True)

    def _transposed(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        order = list(attributes.get("perm", range(len(value.shape))[::-1]))
        if sorted(order) != list(range(len(value.shape))):
            raise self.fail(node, f"perm {short(order)} for a value of shape {value.shape}")
        return self._move_entries(node, value, value.places.transpose(order))

    def _gathered(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        index, axis = self.constant(node, 1), self._axis_from_zero(node, attributes.get("axis", 0), len(value.shape))
        size = value.shape[axis]
        if index.dtype != np.int64 or not ((-size <= index) & (index < size)).all() or not index.size:
            raise self.fail(node, f"indices that are not whole numbers within {size} entries")
        if index.ndim + len(value.shape) - 1 > MAX_RANK:
            raise self.fail(node, f"this checker reads values of at most {MAX_RANK} axes")
        self._require_small(node, prod(value.shape) // size * index.size, MAX_ENTRIES)
        return self._move_entries(node, value, value.places.take(index % size, axis))

    def _sliced(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        lists: list[list[int] | None] = []
        for i, key in enumerate(("starts", "ends", "axes", "steps"), 1):
            if self.opset < 10:
                lists.append(list(attributes[key]) if key in attributes else None)
            else:
                given = i < len(node.input) and node.input[i]
                array = self.constant(node, i) if given else None
                if array is not None and (array.dtype != np.int64 or array.ndim != 1):
                    raise self.fail(node, f"input {i} must be a list of integers")
                lists.append(None if array is None else array.tolist())
        starts, ends, axes, steps = lists
        count = len(starts or ())
        axes, steps = list(range(count)) if axes is None else axes, [1] * count if steps is None else steps
        if not count or not len(ends or ()) == len(axes) == len(steps) == count or min(steps) < 1:
            raise self.fail(node, "starts, ends, axes and steps that do not fit each other, or backwards")
        chosen = [self._axis_from_zero(node, axis, len(value.shape)) for axis in axes]
        if len(set(chosen)) != count:
            raise self.fail(node, f"axes {short(axes)} repeat")
        cut = [slice(None)] * len(value.shape)
        for axis, start, end, step in zip(chosen, starts or (), ends or (), steps, strict=True):
            cut[axis] = slice(start, end, step)
        places = value.places[tuple(cut)]
        if not places.size:
            raise self.fail(node, "a slice of nothing")
        return self._move_entries(node, value, places)

    def _split(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> list[_Value]:
        axis, count = self._axis_from_zero(node, attributes.get("axis", 0), len(value.shape)), len(node.output)
        size, given = value.shape[axis], self.integers(node, attributes, "split", 13)
        said = attributes.get("num_outputs", count if self.opset < 18 else None)
        if given is None and (size % count or said != count):
            raise self.fail(node, f"{size} entries in {count} parts")
        parts = [size // count] * count if given is None else given
        if len(parts) != count or min(parts) < 1 or sum(parts) != size:
            raise self.fail(node, f"parts {short(parts)} of {size} entries")
        ends = np.cumsum(parts)[:-1]
        return [self._move_entries(node, value, places) for places in np.split(value.places, ends, axis)]

    def _padded(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        rank = len(value.shape)
        if attributes.get("mode", b"constant") != b"constant" or len(node.input) > 3:
            raise self.fail(node, "this checker reads Pad of constants along all axes only")
        pads = self.integers(node, attributes, "pads", 11) or []
        if len(pads) != 2 * rank or min(pads) < 0:
            raise self.fail(node, f"pads {short(pads)} for a value of shape {value.shape}")
        filler = Fraction(attributes.get("value", 0.0))
        if self.opset >= 11 and len(node.input) > 2 and node.input[2]:
            array = self.floats(node, 2)
            if array.size != 1:
                raise self.fail(node, "what is padded with must be one number")
            filler = Fraction(float(array.reshape(())))
        self._require_small(
            node, prod(a + b + c for a, b, c in zip(value.shape, pads, pads[rank:], strict=False)), MAX_ENTRIES
        )
        around = list(zip(pads[:rank], pads[rank:], strict=True))
        places = np.pad(value.places, around, constant_values=-1)
        fill = np.array([filler if place < 0 else Fraction(0) for place in places.reshape(-1)], dtype=object)
        return self._move_entries(node, value, places, fill)

    def _dropped(self, node: onnx.NodeProto, attributes: dict[str, Any], value: _Value) -> _Value:
        """Nothing, outside of training."""
        del attributes
        if len(node.input) > 2 and node.input[2]:
            raise self.fail(node, "this checker does not read Dropout that may be training")
        return value


_MAKERS = {
    "AveragePool": _Reader._average_pool,
    "BatchNormalization": _Reader._normalised,
    "Conv": _Reader._conv,
    "Dropout": _Reader._dropped,
    "Gather": _Reader._gathered,
    "Gemm": _Reader._gemm,
    "GlobalAveragePool": _Reader._global_average,
    "MaxPool": _Reader._max_pool,
    "Pad": _Reader._padded,
    "ReduceMean": _Reader._reduced,
    "ReduceSum": _Reader._reduced,
    "Slice": _Reader._sliced,
    "Transpose": _Reader._transposed,
}
"""Operators of one operand that depends on the input, and what makes their values."""


def _prune_graph(nodes: Sequence[Node], sizes: Sequence[int], output: int, single: bool) -> Graph:
    """The graph up to a value, without what this does not depend on."""
    wanted, waiting = {0}, [output]
    while waiting:
        value = waiting.pop()
        if value not in wanted:
            wanted.add(value)
            node = nodes[value - 1]
            waiting += [source for source, _ in node.sources] if isinstance(node, Affine) else [node.source]
    kept = sorted(wanted)
    number = {value: place for place, value in enumerate(kept)}
    made: list[Node] = []
    for value in kept[1:]:
        node = nodes[value - 1]
        if isinstance(node, Affine):
            made.append(replace(node, sources=tuple((number[source], each) for source, each in node.sources)))
        else:
            made.append(replace(node, source=number[node.source]))
    return Graph(tuple(made), tuple(sizes[value] for value in kept), single)


def _without_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _mean_factors(count: NDArray[Any], shape: tuple[int, ...]) -> tuple[Index, Exact]:
    """For sums of (rows, terms), what divides each row by its count: entries of a table, and this."""
    known, which = np.unique(count, return_inverse=True)
    table = np.array([Fraction(1, int(n)) for n in known], dtype=object)
    return np.broadcast_to(which.reshape(-1, 1), shape), table


def _inverse_root(value: Fraction) -> Fraction:
    """One over the root of a positive number, off by less than `UNSURE` of itself."""
    bits = _ROOT_BITS + 2 * max(0, value.numerator.bit_length() - value.denominator.bit_length())
    return Fraction(isqrt((value.denominator << (2 * bits)) // value.numerator), 1 << bits)
