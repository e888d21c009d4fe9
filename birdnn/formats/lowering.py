"""From the nodes of an ONNX graph, whatever their opset, to the lowered ones of `birdnn.operators`.

One rule for each operator: it reads the node as the file states it and returns the node's tensor inputs and attributes
in one form for all opsets, with everything that shapes decide (automatic padding, target shapes, slices) resolved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from birdnn.errors import FormatError
from birdnn.formats.tensors import Array
from birdnn.operators import operator
from birdnn.rounding import LARGEST_FLOAT32

MAX_VALUES = 1 << 22
"""Most entries that one value of a graph may have for one sample."""

_LONGEST_LIST = 1 << 12
"""Most integers that an input of a node may list: axes, sizes, or the parts of a split."""

Lowered = tuple[tuple[str, ...], dict[str, Any]]


@dataclass
class Site:
    """One node while it is being lowered: what is known about its inputs.

    Attributes:
        path: file, for errors.
        op, name: operator and name of the node.
        inputs: names of its inputs, empty where an optional one is left out.
        attributes: as in the file.
        opset: version of the operator set.
        shapes: value name -> shape for a batch of one.
        known: value name -> array, for initialisers and constants.
        double: does its first input hold float64?
    """

    path: str
    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    shapes: Mapping[str, tuple[int, ...]]
    known: Mapping[str, Array]
    double: bool = False

    def fail(self, problem: str) -> FormatError:
        """An error at this node, to be raised."""
        return FormatError(self.path, f"node {self.name!r} ({self.op})", problem)

    def has(self, index: int) -> bool:
        """Is the input number `index` given?"""
        return index < len(self.inputs) and bool(self.inputs[index])

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Shape of the input number `index`."""
        return self.shapes[self._input_name(index)]

    def array(self, index: int) -> Array:
        """Value of an input that must be a constant."""
        name = self._input_name(index)
        if name not in self.known:
            raise self.fail(f"input {name!r} must be a constant")
        return self.known[name]

    def _input_name(self, index: int) -> str:
        if not self.has(index):
            raise self.fail(f"has no input number {index + 1}")
        return self.inputs[index]

    def integers(self, key: str, index: int, since: int) -> list[int] | None:
        """A list of integers: the attribute `key` before opset `since`, input number `index` from there on."""
        if self.opset < since:
            return integers_attribute(self, key, None)
        if not self.has(index):
            return None
        array = self.array(index)
        # before any of them is multiplied or written into a message: a node may make millions
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > _LONGEST_LIST:
            raise self.fail(f"input {self.inputs[index]!r} must be a list of at most {_LONGEST_LIST} integers")
        return [int(value) for value in array.ravel()]

    def axis(self, value: int, rank: int | None = None) -> int:
        """`value` as an axis counted from the front."""
        rank = len(self.shape()) if rank is None else rank
        if not -rank <= value < rank:
            raise self.fail(f"axis {value} is outside a value of rank {rank}")
        return value % rank


def integers_attribute(site: Site, key: str, default: list[int] | None) -> list[int] | None:
    value = site.attributes.get(key, default)
    if value is not None and (not isinstance(value, list) or not all(isinstance(v, int) for v in value)):
        raise site.fail(f"attribute {key!r} must be a list of integers")
    return value


def integer_attribute(site: Site, key: str, default: int) -> int:
    """The attribute `key`, which must be an integer."""
    value = site.attributes.get(key, default)
    if not isinstance(value, int):
        raise site.fail(f"attribute {key!r} must be an integer")
    return value


def flag_attribute(site: Site, key: str, default: int) -> bool:
    """The attribute `key`, which must be 0 or 1: of other numbers runtimes take some for false."""
    value = integer_attribute(site, key, default)
    if value not in (0, 1):
        raise site.fail(f"attribute {key!r} must be 0 or 1, not {value}")
    return bool(value)


def real_attribute(site: Site, key: str, default: float, *, infinite: bool = False) -> float:
    """The attribute `key`, which must be a number, and finite unless it may be `infinite`."""
    value = site.attributes.get(key, default)
    if not isinstance(value, int | float) or math.isnan(value) or not (infinite or math.isfinite(value)):
        raise site.fail(f"attribute {key!r} must be a {'' if infinite else 'finite '}number, not {value!r}")
    return float(value)


def lower_node(site: Site) -> Lowered:
    """The names of a node's tensor inputs and its lowered attributes.

    Raises:
        FormatError: its inputs or attributes make no sense.
    """
    rule = LOWER.get(site.op)
    if rule is not None:
        return rule(site)
    row = operator(site.op, site.name)
    return operand_names(site, row.operands), {
        key: real_attribute(site, key, default) for key, default in row.numbers.items()
    }


def operand_names(site: Site, least: int, most: int | None = None) -> tuple[str, ...]:
    names = site.inputs
    while names and not names[-1]:
        names = names[:-1]
    most = least if most is None else most
    if not least <= len(names) <= most or not all(names):
        raise site.fail(f"takes {least} to {most} inputs, not {len(site.inputs)}")
    return names


def variadic_names(site: Site) -> tuple[str, ...]:
    """The names of one or more inputs, all given: without a name in their list onnxruntime crashes."""
    if not site.inputs or not all(site.inputs):
        raise site.fail("has an input without a name")
    return site.inputs


def _gemm(site: Site) -> Lowered:
    flags = {key: flag_attribute(site, key, 0) for key in ("transA", "transB")}
    names = operand_names(site, 2, 3)
    if any(len(site.shapes[name]) != 2 for name in names[:2]):
        raise site.fail("takes matrices")
    return names, {**flags, "alpha": real_attribute(site, "alpha", 1.0), "beta": real_attribute(site, "beta", 1.0)}


def _clip(site: Site) -> Lowered:
    """A limit that is left out is the largest number of the type: of an attribute's, or of the value's own."""
    # before opset 11 limits are attributes, which are float32 whatever the value is
    largest = math.inf if site.opset >= 11 and site.double else LARGEST_FLOAT32
    bounds = {"min": -largest, "max": largest}
    for index, key in enumerate(("min", "max"), start=1):
        if site.opset < 11:
            bounds[key] = real_attribute(site, key, bounds[key], infinite=True)
        elif site.has(index):
            array = site.array(index)
            if array.size != 1:
                raise site.fail(f"input {site.inputs[index]!r} must be a single number")
            bounds[key] = float(array.reshape(()))
    if bounds["min"] > bounds["max"]:
        raise site.fail(f"lower limit {bounds['min']:g} is above upper limit {bounds['max']:g}")
    if bounds["min"] == math.inf or bounds["max"] == -math.inf:
        raise site.fail("its limits leave infinity alone")
    return site.inputs[:1], bounds


def _flatten(site: Site) -> Lowered:
    shape, axis = site.shape(), integer_attribute(site, "axis", 1)
    # this operator alone may divide a shape behind its last axis
    axis = axis if axis == len(shape) else site.axis(axis)
    return operand_names(site, 1), {"shape": (math.prod(shape[:axis]), math.prod(shape[axis:]))}


def _reshape(site: Site) -> Lowered:
    target, shape = site.integers("shape", 1, since=5), site.shape()
    if target is None:
        raise site.fail("has no target shape")
    if not flag_attribute(site, "allowzero", 0):
        if any(size == 0 and index >= len(shape) for index, size in enumerate(target)):
            raise site.fail(f"target shape {target} copies an axis that its input lacks")
        # before -1 is resolved, which takes what the copied axes leave
        target = [shape[index] if size == 0 else size for index, size in enumerate(target)]
    if target.count(-1) > 1 or any(size < -1 for size in target):
        raise site.fail(f"target shape {target} makes no sense")
    if -1 in target:
        rest = math.prod(size for size in target if size != -1)
        if not rest or math.prod(shape) % rest:
            raise site.fail(f"a value of shape {list(shape)} cannot become {target}")
        target[target.index(-1)] = math.prod(shape) // rest
    if math.prod(target) != math.prod(shape):
        raise site.fail(f"a value of shape {list(shape)} cannot become {target}")
    return site.inputs[:1], {"shape": tuple(target)}


def _squeeze(site: Site) -> Lowered:
    shape, axes = site.shape(), site.integers("axes", 1, since=13)
    if axes == []:
        raise site.fail("has no axes in its list of axes, which is none of them or all")
    gone = {i for i, size in enumerate(shape) if size == 1} if axes is None else {site.axis(a) for a in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise site.fail(f"cannot squeeze axes {sorted(gone)} of shape {list(shape)}")
    return site.inputs[:1], {"shape": tuple(size for axis, size in enumerate(shape) if axis not in gone)}


def _unsqueeze(site: Site) -> Lowered:
    axes = site.integers("axes", 1, since=13)
    if not axes:
        raise site.fail("has no axes")
    rank = len(site.shape()) + len(axes)
    new = {site.axis(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise site.fail(f"axes {axes} repeat")
    old = iter(site.shape())
    return site.inputs[:1], {"shape": tuple(1 if axis in new else next(old) for axis in range(rank))}


def _transpose(site: Site) -> Lowered:
    rank = len(site.shape())
    perm = integers_attribute(site, "perm", list(reversed(range(rank)))) or []
    if sorted(perm) != list(range(rank)):
        raise site.fail(f"perm {perm} does not permute {rank} axes")
    return operand_names(site, 1), {"perm": tuple(perm)}


def _concat(site: Site) -> Lowered:
    if "axis" not in site.attributes:
        raise site.fail("has no axis")
    return variadic_names(site), {"axis": site.axis(integer_attribute(site, "axis", 0))}


def _slice(site: Site) -> Lowered:
    starts, ends, shape = site.integers("starts", 1, since=10), site.integers("ends", 2, since=10), site.shape()
    if starts is None or ends is None:
        raise site.fail("has no starts or no ends")
    axes = site.integers("axes", 3, since=10) or list(range(len(starts)))
    steps = (site.integers("steps", 4, since=10) if site.opset >= 10 else None) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise site.fail("starts, ends, axes and steps do not fit each other")
    slices = []
    for start, end, axis, step in zip(starts, ends, map(site.axis, axes), steps, strict=True):
        # backwards to before the first entry: Python counts a negative end from the back and has only None for it
        stop = None if step < 0 and end < -shape[axis] else end
        resolved = slice(start, stop, step).indices(shape[axis])
        if len(range(*resolved)) == 0:
            raise site.fail(f"leaves nothing of axis {axis}")
        if resolved != (0, shape[axis], 1):
            slices.append((axis, *resolved))
    return site.inputs[:1], {"slices": tuple(slices)}


def _batch_normalization(site: Site) -> Lowered:
    if flag_attribute(site, "training_mode", 0) or not flag_attribute(site, "spatial", 1):
        told = "training_mode=0 and spatial=1 are expected: inference, with one mean and variance for each channel"
        raise site.fail(told)
    if len(site.shape()) < 2:
        raise site.fail("takes values with a channel axis")
    # attributes are float32, and so is the default: where a variance is zero the difference shows
    return operand_names(site, 5), {"epsilon": real_attribute(site, "epsilon", float(np.float32(1e-5)))}


def _window_attributes(site: Site, kernel: Sequence[int]) -> dict[str, Any]:
    """Strides, dilations and explicit pads of a convolution or pooling; ``overshoot`` is what ``ceil_mode`` adds."""
    spatial = site.shape()[2:]
    rank = len(spatial)
    strides, dilations = (integers_attribute(site, key, [1] * rank) or [] for key in ("strides", "dilations"))
    pads, mode = integers_attribute(site, "pads", [0] * 2 * rank) or [], site.attributes.get("auto_pad", b"NOTSET")
    if not 1 <= rank <= 3 or {len(kernel), len(strides), len(dilations)} != {rank} or len(pads) != 2 * rank:
        raise site.fail(f"kernel, strides, dilations or pads do not fit {rank} spatial axes")
    steps = [*kernel, *strides, *dilations]
    if min(steps) < 1 or min(pads) < 0 or max(*steps, *pads) > MAX_VALUES:
        raise site.fail("kernel, strides, dilations or pads out of range")
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        # the output has size / stride entries, rounded up; pads make up what that takes
        counts = [-(-size // stride) for size, stride in zip(spatial, strides, strict=True)]
        total = [max((n - 1) * s + r - x, 0) for n, s, r, x in zip(counts, strides, reach, spatial, strict=True)]
        # of an odd number of pads the names say where the one more goes
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = [*small, *large] if mode == b"SAME_UPPER" else [*large, *small]
    elif mode == b"VALID":
        pads = [0] * 2 * rank
    elif mode != b"NOTSET":
        raise site.fail(f"auto_pad {mode!r} is unknown")
    overshoot = [0] * 2 * rank
    # overshoot stays apart from pads: an average that counts its pads does not count these
    if flag_attribute(site, "ceil_mode", 0) and mode == b"NOTSET":
        for axis in range(rank):
            padded = spatial[axis] + pads[axis] + pads[axis + rank]
            last = -(-(padded - reach[axis]) // strides[axis]) * strides[axis]
            if last >= spatial[axis] + pads[axis]:  # a window that starts beyond the input is dropped
                last -= strides[axis]
            overshoot[axis + rank] = max(last + reach[axis] - padded, 0)
    padded_sizes = [size + sum((*pads[i::rank], *overshoot[i::rank])) for i, size in enumerate(spatial)]
    if max(math.prod(padded_sizes) * site.shape()[1], math.prod(kernel)) > MAX_VALUES * 4:
        raise site.fail("its padded input or its window is too large")
    lists = {"strides": strides, "dilations": dilations, "pads": pads, "overshoot": overshoot}
    return {key: tuple(value) for key, value in lists.items()}


def _conv(site: Site) -> Lowered:
    names = operand_names(site, 2, 3)
    weight = site.shape(1)
    kernel = integers_attribute(site, "kernel_shape", list(weight[2:])) or []
    if tuple(kernel) != weight[2:] or len(weight) != len(site.shape()):
        raise site.fail(f"weight of shape {list(weight)} does not fit kernel {kernel}")
    window = _window_attributes(site, kernel)
    del window["overshoot"]  # convolutions have no ceil_mode
    return names, {**window, "group": integer_attribute(site, "group", 1)}


def _conv_transpose(site: Site) -> Lowered:
    """Pads cut here; automatic ones, and those that make a wanted ``output_shape``, are worked out."""
    names, weight, spatial = operand_names(site, 2, 3), site.shape(1), site.shape()[2:]
    rank = len(spatial)
    kernel = integers_attribute(site, "kernel_shape", list(weight[2:])) or []
    if tuple(kernel) != weight[2:] or len(weight) != rank + 2 or not 1 <= rank <= 3:
        raise site.fail(f"weight of shape {list(weight)} does not fit kernel {kernel}")
    lists = {key: integers_attribute(site, key, [1] * rank) or [] for key in ("strides", "dilations")}
    more, mode = (
        integers_attribute(site, "output_padding", [0] * rank) or [],
        site.attributes.get("auto_pad", b"NOTSET"),
    )
    pads, wanted = (
        integers_attribute(site, "pads", [0] * 2 * rank) or [],
        integers_attribute(site, "output_shape", None),
    )
    if {len(lists["strides"]), len(lists["dilations"]), len(more)} != {rank} or len(pads) != 2 * rank:
        raise site.fail(f"strides, dilations, pads or output_padding do not fit {rank} spatial axes")
    steps = lists["strides"] + lists["dilations"]
    if min(steps) < 1 or min(*pads, *more) < 0 or max(*steps, *pads, *more) > MAX_VALUES:
        raise site.fail("strides, dilations, pads or output_padding out of range")
    # sizes before pads cut them
    whole = [
        (size - 1) * stride + (k - 1) * dilation + 1 + extra
        for size, stride, k, dilation, extra in zip(
            spatial, lists["strides"], kernel, lists["dilations"], more, strict=True
        )
    ]
    if math.prod(whole) * weight[1] > MAX_VALUES * 4:
        raise site.fail("its value before it is cut is too large")
    if mode not in (b"NOTSET", b"VALID", b"SAME_UPPER", b"SAME_LOWER"):
        raise site.fail(f"auto_pad {mode!r} is unknown")
    if mode == b"VALID":
        pads = [0] * 2 * rank
    if mode in (b"SAME_UPPER", b"SAME_LOWER") and wanted is None:
        sizes = zip(spatial, lists["strides"], whole, strict=True)
        wanted = [min(size * stride, most) for size, stride, most in sizes]
    # an output_shape wins over pads, see the specification; only the last axes of it are spatial
    if wanted is not None:
        if len(wanted) not in (rank, rank + 2):
            raise site.fail(f"output_shape {wanted} does not fit {rank} spatial axes")
        cut = [have - want for have, want in zip(whole, wanted[-rank:], strict=True)]
        if min(cut) < 0:
            raise site.fail(f"output_shape {wanted} is more than the {whole} that it has")
        small, large = [c // 2 for c in cut], [c - c // 2 for c in cut]
        pads = [*small, *large] if mode == b"SAME_UPPER" else [*large, *small]
    found = {**lists, "pads": pads, "output_padding": more}
    return names, {**{key: tuple(value) for key, value in found.items()}, "group": integer_attribute(site, "group", 1)}


def _gelu(site: Site) -> Lowered:
    kind = site.attributes.get("approximate", b"none")
    if kind not in (b"none", b"tanh"):
        raise site.fail(f"approximation {kind!r} is unknown")
    return operand_names(site, 1), {"approximate": kind.decode()}


def _layer_normalization(site: Site) -> Lowered:
    names, epsilon = operand_names(site, 2, 3), real_attribute(site, "epsilon", float(np.float32(1e-5)))
    if len(site.inputs) > 2 and not site.inputs[2]:
        raise site.fail("has a shift without a name, at which onnxruntime crashes; leave it out")
    if not epsilon > 0 or integer_attribute(site, "stash_type", 1) != 1:
        raise site.fail("takes a positive epsilon, and computes in float32")
    return names, {"axis": site.axis(integer_attribute(site, "axis", -1)), "epsilon": epsilon}


def _pool(site: Site) -> Lowered:
    kernel = integers_attribute(site, "kernel_shape", None)
    if not kernel:
        raise site.fail("has no kernel_shape")
    window = {"kernel_shape": tuple(kernel), **_window_attributes(site, kernel)}
    if site.op == "AveragePool":
        window["count_include_pad"] = flag_attribute(site, "count_include_pad", 0)
    elif flag_attribute(site, "storage_order", 0):
        raise site.fail("only storage_order 0 is supported")
    return operand_names(site, 1), window


def _global_pool(site: Site) -> Lowered:
    if len(site.shape()) < 3:
        raise site.fail("takes values with spatial axes")
    return operand_names(site, 1), {}


def _gather(site: Site) -> Lowered:
    axis = site.axis(integer_attribute(site, "axis", 0))
    indices: Any = site.array(1)
    size = site.shape()[axis]
    if indices.dtype.kind not in "iu" or not ((indices >= -size) & (indices < size)).all():
        raise site.fail(f"input {site.inputs[1]!r} must be integers within axis {axis}, of size {size}")
    flat = tuple(int(index) % size for index in indices.ravel())
    return operand_names(site, 2)[:1], {"axis": axis, "indices": flat, "index_shape": indices.shape}


def dequantize_constants(site: Site) -> Array:
    """The numbers that quantised constants stand for, rounded as the runtime rounds them: one product in float32.

    Raises:
        FormatError: it is not constant, or quantised in blocks.
    """
    operand_names(site, 2, 3)
    value: Any = site.array(0)
    scale: Any = site.array(1)
    zero = site.array(2) if site.has(2) else np.zeros_like(scale, dtype=value.dtype)
    if scale.dtype != np.float32 or value.dtype not in (np.int8, np.uint8, np.int32) or zero.dtype != value.dtype:
        raise site.fail("takes integers of 8 or 32 bits, a zero point of their type, and a scale in float32")
    if integer_attribute(site, "block_size", 0) or scale.ndim > 1 or zero.shape != scale.shape or not scale.size:
        raise site.fail("takes one scale for all entries, or for each of an axis")
    if scale.size > 1:
        axis = site.axis(integer_attribute(site, "axis", 1))
        if scale.size != value.shape[axis]:
            raise site.fail(f"{scale.size} scales do not fit axis {axis}")
        # along their axis, whatever axes come behind it
        column = (-1, *(1,) * (value.ndim - axis - 1))
        scale, zero = scale.reshape(column), zero.reshape(column)
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    # wider first: the difference of two bytes is no byte
    found: Array = (value.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
    if not np.isfinite(found).all():
        raise site.fail("makes numbers that are not finite")
    return found


LOWER: Mapping[str, Callable[[Site], Lowered]] = {
    "AveragePool": _pool,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "LayerNormalization": _layer_normalization,
    "MaxPool": _pool,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Operator -> rule that turns a node of the file into the names of its tensor inputs and its lowered attributes.

Those without one are read as their row in `birdnn.operators` says: so many operands, and attributes that are numbers.
"""

FOLDED = frozenset({"Cast", "CastLike", "DequantizeLinear", "Shape"})
"""Read where they can be computed at once, from constants."""
