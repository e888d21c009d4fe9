"""Operators on constant integers and truth values, computed while a file is read: exporters compute shapes with them.

Arithmetic is NumPy's in the integers' own type, which wraps around as the runtime's does.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from birdnn.formats.lowering import MAX_VALUES, Site, flag_attribute, integer_attribute
from birdnn.formats.tensors import Array, require_few_axes

Rule = Callable[[Site, Sequence[Any]], Any]
"""From a node and the arrays that it reads to the one that it makes."""


def _divided(site: Site, arrays: Sequence[Array]) -> Any:
    """Quotients, rounded towards zero as in C."""
    a, b = _divisible_arrays(site, arrays)
    # less the remainder, so that nothing is rounded; quotients of sizes would be wrong of the least integer, whose size
    # its type does not hold
    return ((a - np.fmod(a, b)) // b).astype(a.dtype)


def _remainder(site: Site, arrays: Sequence[Array]) -> Any:
    rule = np.fmod if flag_attribute(site, "fmod", 0) else np.mod
    return rule(*_divisible_arrays(site, arrays))


def _divisible_arrays(site: Site, arrays: Sequence[Array]) -> tuple[Any, Any]:
    a, b = _two_arrays(site, _require_broadcast(site, arrays))
    if not b.all():
        raise site.fail("divides by zero")
    if a.dtype.kind == "i" and ((a == np.iinfo(a.dtype).min) & (b == -1)).any():
        raise site.fail("divides the least integer by -1, at which onnxruntime crashes")
    return a, b


def _two_arrays(site: Site, arrays: Sequence[Any]) -> tuple[Any, Any]:
    if len(arrays) != 2:
        raise site.fail(f"takes two inputs, not {len(arrays)}")
    return arrays[0], arrays[1]


def _require_broadcast(site: Site, arrays: Sequence[Array]) -> Sequence[Array]:
    """Arrays that broadcast to no more than `MAX_VALUES` entries."""
    _checked_shape(site, np.broadcast_shapes(*(array.shape for array in arrays)))
    return arrays


def _unary_rule(function: Callable[[Any], Any]) -> Rule:
    def rule(site: Site, arrays: Sequence[Any]) -> Any:
        if len(arrays) != 1:
            raise site.fail(f"takes one input, not {len(arrays)}")
        return function(arrays[0])

    return rule


def _binary_rule(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda site, arrays: function(*_two_arrays(site, _require_broadcast(site, arrays)))


def _variadic_rule(function: Callable[[Any, Any], Any]) -> Rule:
    return lambda site, arrays: reduce(function, _require_broadcast(site, arrays))


def _reduction_rule(function: Callable[..., Any]) -> Rule:
    """Over some axes, which an attribute holds in older files and an input in newer ones."""

    def rule(site: Site, arrays: Sequence[Any]) -> Any:
        # axes became an input of ReduceSum first, of the others with opset 18
        axes = site.integers("axes", 1, since=13 if site.op == "ReduceSum" else 18)
        if not axes and flag_attribute(site, "noop_with_empty_axes", 0):
            return arrays[0]
        over = tuple(site.axis(axis) for axis in axes) if axes else None
        # what has no entries may still have some once the axis that has none is summed
        _checked_shape(site, [size for axis, size in enumerate(arrays[0].shape) if over and axis not in over])
        keepdims = flag_attribute(site, "keepdims", 1)
        # NumPy sums narrow integers in wider ones; the runtime wraps around in their own type
        return function(arrays[0], axis=over, keepdims=keepdims).astype(arrays[0].dtype)

    return rule


def _where(site: Site, arrays: Sequence[Any]) -> Any:
    if len(arrays) != 3 or arrays[0].dtype != np.bool_:
        raise site.fail("takes a condition and two values")
    return np.where(*_require_broadcast(site, arrays))


def _range(site: Site, arrays: Sequence[Any]) -> Any:
    if len(arrays) != 3 or any(array.size != 1 for array in arrays):
        raise site.fail("takes three numbers")
    start, limit, step = (int(array.reshape(())) for array in arrays)
    # Python's range knows its length without making anything
    if step == 0 or len(range(start, limit, step)) > MAX_VALUES:
        raise site.fail(f"of step {step} is empty or too long")
    return np.arange(start, limit, step, dtype=arrays[0].dtype)


def _constant_of_shape(site: Site, arrays: Sequence[Any]) -> Any:
    value = site.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise site.fail("its value must be a tensor of one number")
    return np.full(_listed_shape(site, arrays[0]), value.reshape(()))


def _expand(site: Site, arrays: Sequence[Any]) -> Any:
    value, target = _two_arrays(site, arrays)
    return np.broadcast_to(value, _checked_shape(site, np.broadcast_shapes(value.shape, _listed_shape(site, target))))


def _tile(site: Site, arrays: Sequence[Any]) -> Any:
    value, repeats = _two_arrays(site, arrays)
    counts = [int(count) for count in repeats.ravel()] if repeats.size == value.ndim else []
    # NumPy repeats axis by axis: none of one would leave nothing of what another has filled the memory with
    if len(counts) != value.ndim or min(counts, default=1) < 1:
        raise site.fail(f"its repeats do not fit a value of shape {list(value.shape)}")
    _checked_shape(site, [size * count for size, count in zip(value.shape, counts, strict=True)])
    return np.tile(value, counts)


def _listed_shape(site: Site, target: Array) -> tuple[int, ...]:
    """What a list of sizes says, where it is not too large."""
    require_few_axes(target.ravel(), site.path, f"node {site.name!r} ({site.op})")
    return _checked_shape(site, [int(size) for size in target.ravel()])


def _checked_shape(site: Site, sizes: Sequence[int]) -> tuple[int, ...]:
    """A shape that is not too large."""
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_VALUES:
        raise site.fail(f"its shape {list(sizes)} makes no sense, or is too large")
    return tuple(sizes)


def _gather(site: Site, arrays: Sequence[Any]) -> Any:
    value, indices = _two_arrays(site, arrays)
    axis = site.axis(integer_attribute(site, "axis", 0))
    _checked_shape(site, (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]))
    return np.take(value, indices.astype(np.int64), axis=axis)


INTEGERS: Mapping[str, Rule] = {
    "Abs": _unary_rule(np.abs),
    "And": _binary_rule(np.logical_and),
    "ConstantOfShape": _constant_of_shape,
    "Div": _divided,
    "Equal": _binary_rule(np.equal),
    "Expand": _expand,
    "Gather": _gather,
    "Greater": _binary_rule(np.greater),
    "GreaterOrEqual": _binary_rule(np.greater_equal),
    "Less": _binary_rule(np.less),
    "LessOrEqual": _binary_rule(np.less_equal),
    "Max": _variadic_rule(np.maximum),
    "Min": _variadic_rule(np.minimum),
    "Mod": _remainder,
    "Neg": _unary_rule(np.negative),
    "Not": _unary_rule(np.logical_not),
    "Or": _binary_rule(np.logical_or),
    "Range": _range,
    "ReduceMax": _reduction_rule(np.max),
    "ReduceMin": _reduction_rule(np.min),
    "ReduceProd": _reduction_rule(np.prod),
    "ReduceSum": _reduction_rule(np.sum),
    "Tile": _tile,
    "Where": _where,
}
"""Operator -> rule; others are computed as their row in `birdnn.operators` says, where it says `on_integers`."""


def compute_integers(site: Site, arrays: Sequence[Array]) -> Array:
    """What a node makes of constant integers.

    Raises:
        FormatError: they do not fit it.
    """
    try:
        with np.errstate(all="ignore"):
            return np.asarray(INTEGERS[site.op](site, arrays))
    except (ValueError, IndexError, TypeError) as error:
        raise site.fail(f"cannot be computed on its integers: {error}") from None
