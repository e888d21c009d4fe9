"""Shapes of lowered operators' values, by arithmetic alone: nothing is allocated for what a file merely declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TypeAlias

from birdnn.operators.forward import Attributes

Shape: TypeAlias = tuple[int, ...]
ShapeRule: TypeAlias = Callable[[Sequence[Shape], Attributes], Shape]


class ShapeProblem(ValueError):
    """Shapes that an operator does not take."""


def _require_fit(condition: bool, problem: str) -> None:
    if not condition:
        raise ShapeProblem(problem)


def broadcast(first: Shape, second: Shape) -> Shape:
    """The shape of an elementwise operation on two values.

    Raises:
        ShapeProblem: they do not broadcast.
    """
    out = []
    # from the last axis on; missing ones count as 1
    for a, b in zip_longest(reversed(first), reversed(second), fillvalue=1):
        _require_fit(a == b or 1 in (a, b), "they do not broadcast")
        out.append(b if a == 1 else a)
    return tuple(reversed(out))


def binary(shapes: Sequence[Shape], _: Attributes) -> Shape:
    return broadcast(shapes[0], shapes[1])


def ternary(shapes: Sequence[Shape], _: Attributes) -> Shape:
    return broadcast(broadcast(shapes[0], shapes[1]), shapes[2])


def same(shapes: Sequence[Shape], _: Attributes) -> Shape:
    return shapes[0]


def given(_: Sequence[Shape], attributes: Attributes) -> Shape:
    shape: Shape = attributes["shape"]
    return shape


def matmul(shapes: Sequence[Shape], _: Attributes) -> Shape:
    a, b = shapes
    _require_fit(len(a) > 0 and len(b) > 0, "a scalar cannot be multiplied as a matrix")
    # a vector counts as one row, or one column, and the result lacks that axis
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    _require_fit(left[-1] == right[-2], "inner sizes differ")
    rows = left[-2:-1] if len(a) > 1 else ()
    columns = right[-1:] if len(b) > 1 else ()
    return (*broadcast(left[:-2], right[:-2]), *rows, *columns)


def gemm(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    _require_fit(len(shapes[0]) == len(shapes[1]) == 2, "matrices are expected")
    a = shapes[0][::-1] if attributes["transA"] else shapes[0]
    b = shapes[1][::-1] if attributes["transB"] else shapes[1]
    _require_fit(a[1] == b[0], "inner sizes differ")
    out = (a[0], b[1])
    if len(shapes) > 2:
        # the summand may be repeated, the product never: that would be another shape
        _require_fit(broadcast(out, shapes[2]) == out, "the summand does not fit the product")
    return out


def _window_counts(spatial: Shape, kernel: Sequence[int], attributes: Attributes) -> Shape:
    rank = len(spatial)
    # what `ceil_mode` adds; convolutions have none
    extra = attributes.get("overshoot", (0,) * 2 * rank)
    out = []
    for axis, size in enumerate(spatial):
        padded = size + sum(part[axis] + part[axis + rank] for part in (attributes["pads"], extra))
        reach = (kernel[axis] - 1) * attributes["dilations"][axis] + 1
        _require_fit(padded >= reach, "the window is larger than its input")
        out.append((padded - reach) // attributes["strides"][axis] + 1)
    return tuple(out)


def conv(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    x, weight, group = shapes[0], shapes[1], attributes["group"]
    _require_fit(len(x) == len(weight) and 3 <= len(x) <= 5, "ranks do not fit")
    _require_fit(group >= 1 and x[1] == weight[1] * group and weight[0] % group == 0, "channels and groups do not fit")
    _require_fit(len(shapes) < 3 or shapes[2] == weight[:1], "the bias does not fit the weight")
    return (x[0], weight[0], *_window_counts(x[2:], weight[2:], attributes))


def conv_transpose(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    x, weight, group = shapes[0], shapes[1], attributes["group"]
    _require_fit(len(x) == len(weight) and 3 <= len(x) <= 5, "ranks do not fit")
    _require_fit(group >= 1 and x[1] == weight[0] and x[1] % group == 0, "channels and groups do not fit")
    _require_fit(len(shapes) < 3 or shapes[2] == (weight[1] * group,), "the bias does not fit the weight")
    rank, out = len(x) - 2, []
    for axis, (size, kernel) in enumerate(zip(x[2:], weight[2:], strict=True)):
        # the spread of all places of the kernel, before the cut
        whole = (size - 1) * attributes["strides"][axis] + (kernel - 1) * attributes["dilations"][axis] + 1
        cut = attributes["pads"][axis] + attributes["pads"][axis + rank]
        out.append(whole + attributes["output_padding"][axis] - cut)
        _require_fit(out[-1] > 0, "nothing is left of an axis")
    return (x[0], weight[1] * group, *out)


def layer_normalization(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    own = shapes[0][attributes["axis"] :]
    _require_fit(all(broadcast(own, shape) == own for shape in shapes[1:]), "parameters do not fit the normalised axes")
    return shapes[0]


def pool(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    x = shapes[0]
    return (*x[:2], *_window_counts(x[2:], attributes["kernel_shape"], attributes))


def global_pool(shapes: Sequence[Shape], _: Attributes) -> Shape:
    return (*shapes[0][:2], *(1 for _ in shapes[0][2:]))


def normalization(shapes: Sequence[Shape], _: Attributes) -> Shape:
    _require_fit(all(shape == shapes[0][1:2] for shape in shapes[1:]), "parameters do not fit the channels")
    return shapes[0]


def concat(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    axis, first = attributes["axis"], shapes[0]
    for shape in shapes:
        same = len(shape) == len(first) and all(i == axis or a == b for i, (a, b) in enumerate(zip(shape, first)))  # noqa: B905
        _require_fit(same, "sizes off the axis differ")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def slice_(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    out = list(shapes[0])
    for axis, start, stop, step in attributes["slices"]:
        out[axis] = len(range(start, stop, step))
    return tuple(out)


def transpose(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    return tuple(shapes[0][axis] for axis in attributes["perm"])


def gather(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    x, axis = shapes[0], attributes["axis"]
    return (*x[:axis], *attributes["index_shape"], *x[axis + 1 :])


def reduced(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    return tuple(1 if axis in attributes["axes"] else size for axis, size in enumerate(shapes[0]))
