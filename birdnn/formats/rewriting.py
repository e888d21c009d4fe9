"""Operators of ONNX that are read as others, which all the rest of the package knows.

A rule gets a node of the file and a draft. It puts the nodes and constants there that compute the same over the reals
and return the names of the values that are the node's outputs. What a rule puts costs at least as many roundings as
what it stands for, so that statements about float32 executions hold of the node of the file.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from birdnn.formats.draft import Draft, Rule
from birdnn.formats.lowering import (
    MAX_VALUES,
    Site,
    flag_attribute,
    integer_attribute,
    operand_names,
    real_attribute,
    variadic_names,
)
from birdnn.formats.maps import cumsum, einsum, resize
from birdnn.operators import OPERATORS, Shape, ShapeProblem
from birdnn.operators.shapes import broadcast

_ONE_DIMENSIONAL = {"strides": (1,), "pads": (0, 0), "dilations": (1,), "overshoot": (0, 0)}


def _broadcast_shape(site: Site, *shapes: Shape) -> Shape:
    try:
        shape = reduce(broadcast, shapes)
    except ShapeProblem:
        raise site.fail(f"shapes {', '.join(str(list(shape)) for shape in shapes)} do not broadcast") from None
    if math.prod(shape) > MAX_VALUES:
        raise site.fail(f"its value of shape {list(shape)} is larger than {MAX_VALUES} entries")
    return shape


def _dropout(site: Site, draft: Draft) -> Sequence[str]:
    if site.has(2) and site.array(2).any():
        raise site.fail("only inference mode is supported")
    return (draft.put("Identity", site.inputs[0]),)


def _put_negative(draft: Draft, name: str) -> str:
    return draft.put("Mul", name, draft.constant(-1))


def _neg(site: Site, draft: Draft) -> Sequence[str]:
    return (_put_negative(draft, operand_names(site, 1)[0]),)


def _sum(site: Site, draft: Draft) -> Sequence[str]:
    return (reduce(lambda a, b: draft.put("Add", a, b), variadic_names(site)),)


def _abs(site: Site, draft: Draft) -> Sequence[str]:
    # exact: below zero its slope is -1. A chain with it is still a chain
    return (draft.put("LeakyRelu", operand_names(site, 1)[0], alpha=-1.0),)


def _extreme(site: Site, draft: Draft) -> Sequence[str]:
    """Max or Min of any number of values; with one constant number they are a ReLU or a Clip."""

    def of_two(a: str, b: str) -> str:
        value, limit = (b, a) if a in site.known else (a, b)
        single = limit in site.known and value not in site.known and site.known[limit].size == 1
        # a limit of more axes would give the value more axes, which a Clip does not
        if not single or len(draft.shape(limit)) > len(draft.shape(value)):
            return draft.put(site.op, a, b)
        number = float(site.known[limit].reshape(()))
        # a ReLU rather than a Clip from zero: chains of ReLUs have the fastest bounds
        if number == 0:
            turned = value if site.op == "Max" else _put_negative(draft, value)
            active = draft.put("Relu", turned)
            return active if site.op == "Max" else _put_negative(draft, active)
        limits = {"min": number, "max": math.inf} if site.op == "Max" else {"min": -math.inf, "max": number}
        return draft.put("Clip", value, **limits)

    return (reduce(of_two, variadic_names(site)),)


def _prelu(site: Site, draft: Draft) -> Sequence[str]:
    """``relu(x) - slope * relu(-x)``, both of one activation, so that a chain stays one."""
    (x, slope), slopes = operand_names(site, 2), site.array(1)
    shape = draft.shape(x)
    if _broadcast_shape(site, shape, slopes.shape) != shape:
        raise site.fail(f"a slope of shape {list(slopes.shape)} does not fit a value of shape {list(shape)}")
    if (slopes == slopes.flat[0]).all():
        return (draft.put("LeakyRelu", x, alpha=float(slopes.flat[0])),)
    axis, size = len(shape) - 1, shape[-1]
    both = draft.put("Relu", draft.put("Concat", x, _put_negative(draft, x), axis=axis))
    above, below = (draft.put("Slice", both, slices=((axis, start, start + size, 1),)) for start in (0, size))
    return (draft.put("Sub", above, draft.put("Mul", below, slope)),)


def _hard_sigmoid(site: Site, draft: Draft) -> Sequence[str]:
    alpha, beta = real_attribute(site, "alpha", float(np.float32(0.2))), real_attribute(site, "beta", 0.5)
    scaled = draft.put("Mul", operand_names(site, 1)[0], draft.constant(alpha))
    return (draft.put("Clip", draft.put("Add", scaled, draft.constant(beta)), min=0.0, max=1.0),)


def _selu(site: Site, draft: Draft) -> Sequence[str]:
    alpha, gamma = (real_attribute(site, key, default) for key, default in _SELU.items())
    return (draft.put("Mul", draft.put("Elu", operand_names(site, 1)[0], alpha=alpha), draft.constant(gamma)),)


# the float32 numbers of the specification, to the last digit
_SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}


def _reciprocal(site: Site, draft: Draft) -> Sequence[str]:
    return (draft.put("Div", draft.constant(1), operand_names(site, 1)[0]),)


def _pow(site: Site, draft: Draft) -> Sequence[str]:
    """With one constant exponent: a small whole number, or plus or minus a half or one."""
    x, exponents = operand_names(site, 2)[0], site.array(1)
    if not exponents.size or (exponents != exponents.flat[0]).any():
        raise site.fail("takes one exponent for all entries")
    if _broadcast_shape(site, site.shape(), exponents.shape) != site.shape():
        raise site.fail(f"an exponent of shape {list(exponents.shape)} does not fit its base")
    exponent = float(exponents.flat[0])
    if exponent == 1:
        return (x,)
    if exponent.is_integer() and 2 <= exponent <= _MOST_EXPONENT:
        return (draft.put("Pow", x, exponent=int(exponent)),)
    if abs(exponent) not in (0.5, 1):
        raise site.fail(f"exponent {exponent:g} is not supported; 1 to {_MOST_EXPONENT}, 0.5, -0.5 and -1 are")
    base = draft.put("Sqrt", x) if abs(exponent) == 0.5 else x
    return (base if exponent > 0 else draft.put("Div", draft.constant(1), base),)


_MOST_EXPONENT = 8


def _softmax(site: Site, draft: Draft) -> Sequence[str]:
    """Softmax or LogSoftmax; before opset 13 over all axes from ``axis`` on together."""
    shape, names = site.shape(), operand_names(site, 1)
    if site.opset >= 13:
        return (draft.put(site.op, *names, axis=site.axis(integer_attribute(site, "axis", -1))),)
    axis = site.axis(integer_attribute(site, "axis", 1))
    flat = draft.reshaped(names[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return (draft.reshaped(draft.put(site.op, flat, axis=1), shape),)


def _pad(site: Site, draft: Draft) -> Sequence[str]:
    x, rank = site.inputs[0], len(site.shape())
    pads, mode = site.integers("pads", 1, since=11) or [], site.attributes.get("mode", b"constant")
    axes = site.integers("axes", 3, since=11) if site.opset >= 18 else None
    axes = list(range(rank)) if axes is None else [site.axis(axis) for axis in axes]
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise site.fail(f"{len(pads)} pads do not fit {len(axes)} axes")
    if mode not in (b"constant", b"reflect", b"edge", b"wrap"):
        raise site.fail(f"mode {mode!r} is unknown")
    value = _padding_value(site)
    # axis by axis: the corners of a reflection are reflections of what was reflected before
    for axis, begin, end in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        size = draft.shape(x)[axis]
        # negative pads cut; what they leave is padded
        kept = (-min(begin, 0), size + min(end, 0))
        if kept[0] >= kept[1]:
            raise site.fail(f"leaves nothing of axis {axis}")
        if kept != (0, size):
            x = draft.put("Slice", x, slices=((axis, *kept, 1),))
        begin, end = max(begin, 0), max(end, 0)
        if begin + end > MAX_VALUES or (mode == b"reflect" and max(begin, end) >= max(draft.shape(x)[axis], 2)):
            raise site.fail(f"pads axis {axis} by more than it has")
        if not begin + end:
            continue
        if mode == b"constant":
            sides = [_filled_side(site, draft, draft.shape(x), axis, width, value) for width in (begin, end)]
            parts = [part for part in (sides[0], x, sides[1]) if part]
            x = draft.put("Concat", *parts, axis=axis)
        else:
            told: Any = mode.decode()
            indices = np.pad(np.arange(draft.shape(x)[axis]), (begin, end), mode=told)
            x = draft.put("Gather", x, axis=axis, indices=tuple(map(int, indices)), index_shape=indices.shape)
    return (x,)


def _padding_value(site: Site) -> float:
    if site.opset < 11:
        return real_attribute(site, "value", 0.0)
    if not site.has(2):
        return 0.0
    array = site.array(2)
    if array.size != 1:
        raise site.fail(f"input {site.inputs[2]!r} must be a single number")
    return float(array.reshape(()))


def _filled_side(site: Site, draft: Draft, shape: Shape, axis: int, width: int, value: float) -> str:
    if not width:
        return ""
    shape = (*shape[:axis], width, *shape[axis + 1 :])
    return draft.filled(value, shape)


def _split(site: Site, draft: Draft) -> Sequence[str]:
    axis, count = site.axis(integer_attribute(site, "axis", 0)), draft.count
    size, sizes = site.shape()[axis], site.integers("split", 1, since=13)
    if not draft.all_named:
        raise site.fail("leaves an output without a name, at which onnxruntime crashes; name it")
    if sizes is None:
        if integer_attribute(site, "num_outputs", count) != count:
            raise site.fail(f"has {count} outputs")
        # rounded up: the last part may be smaller
        part = -(-size // count)
        sizes = [part] * (count - 1) + [size - part * (count - 1)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise site.fail(f"parts {sizes} do not make up axis {axis}, of size {size}, in {count} outputs")
    ends = np.cumsum(sizes).tolist()
    return [
        draft.put("Slice", site.inputs[0], slices=((axis, end - part, end, 1),))
        for part, end in zip(sizes, ends, strict=True)
    ]


def _expand(site: Site, draft: Draft) -> Sequence[str]:
    target = site.integers("shape", 1, since=8)
    if target is None or min(target, default=1) < 1:
        raise site.fail(f"target shape {target} makes no sense")
    return (draft.expanded(site.inputs[0], _broadcast_shape(site, site.shape(), tuple(target))),)


def _tile(site: Site, draft: Draft) -> Sequence[str]:
    shape, repeats = site.shape(), site.integers("repeats", 1, since=6) or []
    if len(repeats) != len(shape) or min(repeats, default=1) < 1:
        raise site.fail(f"repeats {repeats} do not fit a value of shape {list(shape)}")
    x, before = site.inputs[0], shape
    for axis, count in enumerate(repeats):
        if count > 1:
            # the whole axis is repeated and not its entries, so the new axis stands in front of it
            x = draft.reshaped(x, (*before[:axis], 1, *before[axis:]))
            x = draft.expanded(x, (*before[:axis], count, *before[axis:]))
            before = (*before[:axis], count * before[axis], *before[axis + 1 :])
            x = draft.reshaped(x, before)
    return (x,)


def _where(site: Site, draft: Draft) -> Sequence[str]:
    """``a * mask + b * (1 - mask)`` of a constant mask, so that a chain stays one."""
    asked, *names = operand_names(site, 3)
    if asked not in site.known:
        return (draft.put("Where", asked, *names),)
    condition: Any = site.array(0)
    if condition.dtype != np.bool_:
        raise site.fail("its condition must be truth values")
    parts = []
    for name, mask in zip(names, (condition, ~condition), strict=True):
        if name in site.known:
            _broadcast_shape(site, mask.shape, site.known[name].shape)
            parts.append(draft.constant(np.where(mask, site.known[name], 0)))  # masked once, here
        else:
            parts.append(draft.put("Mul", name, draft.constant(mask)))
    return (draft.put("Add", *parts),)


def _reduced_axes(site: Site, since: int) -> tuple[int, ...]:
    """Over which axes a node reduces, in order; none where it leaves its input as it is."""
    operand_names(site, 1, 1 if site.opset < since else 2)
    axes = site.integers("axes", 1, since)
    if not axes:
        nothing = axes is not None or site.opset >= since
        axes = [] if nothing and flag_attribute(site, "noop_with_empty_axes", 0) else list(range(len(site.shape())))
    # the same axis may be named from the front and from the back
    found = tuple(sorted({site.axis(axis) for axis in axes}))
    if len(found) != len(axes):
        raise site.fail(f"axes {axes} repeat")
    return found


def _kept_shape(site: Site, axes: tuple[int, ...]) -> Shape:
    """The shape of the value of a node that reduces over these axes."""
    kept = flag_attribute(site, "keepdims", 1)
    return tuple(1 if i in axes else size for i, size in enumerate(site.shape()) if kept or i not in axes)


def _reduce_sum(site: Site, draft: Draft) -> Sequence[str]:
    axes = _reduced_axes(site, 13)
    return (
        draft.reshaped(draft.put("ReduceSum", site.inputs[0], axes=axes), _kept_shape(site, axes))
        if axes
        else site.inputs[0],
    )


def _reduce_mean(site: Site, draft: Draft) -> Sequence[str]:
    """A mean; over all spatial axes it is a pooling."""
    axes, shape, x = _reduced_axes(site, 18), site.shape(), site.inputs[0]
    if not axes:
        return (x,)
    # newer exporters write this where older ones wrote the pooling
    if len(shape) > 2 and axes == tuple(range(2, len(shape))):
        pooled = draft.put("GlobalAveragePool", x)
        return (pooled if flag_attribute(site, "keepdims", 1) else draft.put("Flatten", pooled, shape=shape[:2]),)
    count = math.prod(shape[axis] for axis in axes)
    mean = draft.put("Div", draft.put("ReduceSum", x, axes=axes), draft.constant(count))
    return (draft.reshaped(mean, _kept_shape(site, axes)),)


def _reduce_extreme(site: Site, draft: Draft) -> Sequence[str]:
    """A pooling over what is reduced, laid out along the last axis."""
    axes, shape = _reduced_axes(site, 18), site.shape()
    if not axes:
        return (site.inputs[0],)
    x = site.inputs[0] if site.op == "ReduceMax" else _put_negative(draft, site.inputs[0])
    # the reduced axes go last, where they become one, under one window of a pooling
    perm = (*(axis for axis in range(len(shape)) if axis not in axes), *axes)
    if perm != tuple(range(len(shape))):
        x = draft.put("Transpose", x, perm=perm)
    size = math.prod(shape[axis] for axis in axes)
    x = draft.reshaped(x, (1, math.prod(shape) // size, size))
    x = draft.put("MaxPool", x, kernel_shape=(size,), **_ONE_DIMENSIONAL)
    x = x if site.op == "ReduceMax" else _put_negative(draft, x)
    return (draft.reshaped(x, _kept_shape(site, axes)),)


def _norm(site: Site, draft: Draft) -> Sequence[str]:
    """Sums of absolute values, squares or exponentials, and what is made of them."""
    axes, x = _reduced_axes(site, 18), site.inputs[0]
    if not axes:
        raise site.fail("over no axes is not supported")
    if site.op == "ReduceL1":
        x = draft.put("LeakyRelu", x, alpha=-1.0)
    elif site.op in ("ReduceL2", "ReduceSumSquare"):
        x = draft.put("Pow", x, exponent=2)
    elif site.op == "ReduceLogSumExp":
        x = draft.put("Exp", x)
    x = draft.put("ReduceSum", x, axes=axes)
    if site.op == "ReduceL2":
        x = draft.put("Sqrt", x)
    elif site.op in ("ReduceLogSum", "ReduceLogSumExp"):
        x = draft.put("Log", x)
    return (draft.reshaped(x, _kept_shape(site, axes)),)


def _mean(site: Site, draft: Draft) -> Sequence[str]:
    return (draft.put("Div", *_sum(site, draft), draft.constant(len(site.inputs))),)


def _celu(site: Site, draft: Draft) -> Sequence[str]:
    """``alpha * elu(x / alpha)``."""
    alpha = real_attribute(site, "alpha", 1.0)
    if not alpha > 0:
        raise site.fail("takes a positive alpha")
    scale = draft.constant(alpha)
    return (draft.put("Mul", draft.put("Elu", draft.put("Div", operand_names(site, 1)[0], scale), alpha=1.0), scale),)


def _mish(site: Site, draft: Draft) -> Sequence[str]:
    x = operand_names(site, 1)[0]
    return (draft.put("Mul", x, draft.put("Tanh", draft.put("Softplus", x))),)


def _less(site: Site, draft: Draft) -> Sequence[str]:
    first, second = operand_names(site, 2)
    return (draft.put(site.op.replace("Less", "Greater"), second, first),)


def _gather_nd(site: Site, draft: Draft) -> Sequence[str]:
    """Constant indices into the first axes, as one axis."""
    shape, indices = site.shape(), site.array(1)
    if indices.dtype.kind != "i" or not indices.ndim or integer_attribute(site, "batch_dims", 0):
        raise site.fail("takes a table of integers, and batch_dims 0")
    depth = indices.shape[-1]
    if not 1 <= depth <= len(shape):
        raise site.fail(f"indices of {depth} axes do not fit a value of rank {len(shape)}")
    rows: Any = indices.reshape(-1, depth)
    sizes = np.array(shape[:depth])
    if ((rows < -sizes) | (rows >= sizes)).any():
        raise site.fail("gathers outside its input")
    # negative indices count from the back
    flat = np.ravel_multi_index(tuple((rows % sizes).T), shape[:depth])
    whole = draft.reshaped(site.inputs[0], (math.prod(shape[:depth]), *shape[depth:]))
    picked = tuple(int(index) for index in flat)
    return (draft.put("Gather", whole, axis=0, indices=picked, index_shape=indices.shape[:-1]),)


def _depth_to_space(site: Site, draft: Draft) -> Sequence[str]:
    shape, size, mode = site.shape(), integer_attribute(site, "blocksize", 0), site.attributes.get("mode", b"DCR")
    if len(shape) != 4 or size < 1 or shape[1] % size**2 or mode not in (b"DCR", b"CRD"):
        raise site.fail(f"block size {size} and mode {mode!r} do not fit a value of shape {list(shape)}")
    n, channels, height, width = shape
    inner = channels // size**2
    parts, perm = (
        ((size, size, inner), (0, 3, 4, 1, 5, 2)) if mode == b"DCR" else ((inner, size, size), (0, 1, 4, 2, 5, 3))
    )
    x = draft.reshaped(operand_names(site, 1)[0], (n, *parts, height, width))
    return (draft.reshaped(draft.put("Transpose", x, perm=perm), (n, inner, height * size, width * size)),)


def _space_to_depth(site: Site, draft: Draft) -> Sequence[str]:
    shape, size = site.shape(), integer_attribute(site, "blocksize", 0)
    if len(shape) != 4 or size < 1 or shape[2] % size or shape[3] % size:
        raise site.fail(f"block size {size} does not fit a value of shape {list(shape)}")
    n, channels, height, width = shape
    x = draft.reshaped(operand_names(site, 1)[0], (n, channels, height // size, size, width // size, size))
    x = draft.put("Transpose", x, perm=(0, 3, 5, 1, 2, 4))
    return (draft.reshaped(x, (n, channels * size**2, height // size, width // size)),)


def _group_normalization(site: Site, draft: Draft) -> Sequence[str]:
    """Of each channel, or of each of several groups of channels, over all places."""
    # until opset 21 GroupNormalization had a scale for each group: the shape of the scale below refuses those
    (x, scale, shift), shape = operand_names(site, 3), site.shape()
    groups = integer_attribute(site, "num_groups", 0) if site.op == "GroupNormalization" else shape[1]
    epsilon = real_attribute(site, "epsilon", float(np.float32(1e-5)))
    if len(shape) < 3 or groups < 1 or shape[1] % groups or not epsilon > 0 or site.shape(1) != shape[1:2]:
        raise site.fail(f"its groups, scales or epsilon do not fit a value of shape {list(shape)}")
    flat = draft.reshaped(x, (shape[0], groups, math.prod(shape[1:]) // groups))
    one = draft.constant(1)
    # scaled by one: the file's scale is one number for a channel, which has many entries along the normalised axis
    even = draft.reshaped(draft.put("LayerNormalization", flat, one, axis=2, epsilon=epsilon), shape)
    column = (shape[1], *(1,) * (len(shape) - 2))
    scaled = draft.put("Mul", even, draft.reshaped(scale, column))
    return (draft.put("Add", scaled, draft.reshaped(shift, column)),)


REWRITTEN: Mapping[str, Rule] = {
    "Abs": _abs,
    "Celu": _celu,
    "CumSum": cumsum,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Einsum": einsum,
    "Expand": _expand,
    "GatherND": _gather_nd,
    "GroupNormalization": _group_normalization,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _group_normalization,
    "Less": _less,
    "LessOrEqual": _less,
    "LogSoftmax": _softmax,
    "Max": _extreme,
    "Mean": _mean,
    "Min": _extreme,
    "Mish": _mish,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "ReduceL1": _norm,
    "ReduceL2": _norm,
    "ReduceLogSum": _norm,
    "ReduceLogSumExp": _norm,
    "ReduceMax": _reduce_extreme,
    "ReduceMean": _reduce_mean,
    "ReduceMin": _reduce_extreme,
    "ReduceSum": _reduce_sum,
    "ReduceSumSquare": _norm,
    "Resize": resize,
    "Selu": _selu,
    "Softmax": _softmax,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sum": _sum,
    "Tile": _tile,
    "Upsample": resize,
    "Where": _where,
}
"""Operator that is read as others -> rule that says which. Some put their own row for what is left of them."""

SEVERAL = frozenset({"Split"})
"""Those with several outputs."""

READ: tuple[str, ...] = tuple(sorted({*OPERATORS, *REWRITTEN, "Constant", "DequantizeLinear"}))
"""What an error message lists."""
