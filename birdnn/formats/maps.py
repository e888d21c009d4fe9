"""Operators of ONNX that are linear maps along axes, or products of two values, in another notation.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/; what onnxruntime makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from birdnn.formats.draft import Draft
from birdnn.formats.lowering import MAX_VALUES, Site, flag_attribute, integers_attribute, operand_names

# --- sums so far


def cumsum(site: Site, draft: Draft) -> Sequence[str]:
    """Sums of the entries up to each, along an axis: a triangular matrix."""
    axes: Any = site.array(1)
    if axes.dtype.kind != "i" or axes.size != 1:
        raise site.fail("takes one axis")
    axis = site.axis(int(axes.reshape(())))
    size = site.shape()[axis]
    if size**2 > MAX_VALUES:
        raise site.fail(f"sums {size} entries, more than are supported")
    # row: an entry before, column: a sum; on and above the diagonal stand the entries up to each
    matrix = np.triu(np.ones((size, size)), int(flag_attribute(site, "exclusive", 0)))
    return (draft.along(site.inputs[0], axis, matrix.T if flag_attribute(site, "reverse", 0) else matrix),)


# --- sums of products


def einsum(site: Site, draft: Draft) -> Sequence[str]:
    """Of one value: axes summed and moved. Of two: a product of matrices, between moves."""
    names = operand_names(site, 1, 2)
    parts, wanted = _parse_equation(site, len(names))
    sizes: dict[str, int] = {}
    for part, name in zip(parts, names, strict=True):
        for letter, size in zip(part, draft.shape(name), strict=True):
            if sizes.setdefault(letter, size) != size:
                raise site.fail(f"axis {letter!r} has sizes {sizes[letter]} and {size}")
    if len(names) == 1:
        return (_sum_axes(draft, names[0], parts[0], wanted),)
    first, second = parts
    alone = [c for c in first + second if c not in wanted and (c in first) != (c in second)]
    if alone:
        raise site.fail(f"sums axis {alone[0]!r} of one value alone; sum it before")
    shared = [c for c in wanted if c in first and c in second]
    left, right = ([c for c in wanted if c in part and c not in shared] for part in parts)
    summed = [c for c in first if c not in wanted]

    def size_of(letters: Sequence[str]) -> int:
        return math.prod(sizes[c] for c in letters)

    outer = [sizes[c] for c in shared]
    # where the second factor is a plain matrix the axes of the first stay apart, so that the foremost may be the
    # batch
    rows = [sizes[c] for c in left] if not shared and left else [size_of(left)]
    a = _move_axes(draft, names[0], first, [*shared, *left, *summed], (*outer, *rows, size_of(summed)))
    b = _move_axes(draft, names[1], second, [*shared, *summed, *right], (*outer, size_of(summed), size_of(right)))
    made = [*shared, *left, *right]
    value = draft.reshaped(draft.put("MatMul", a, b), tuple(sizes[c] for c in made))
    return (_move_axes(draft, value, made, list(wanted)),)


def _parse_equation(site: Site, count: int) -> tuple[list[str], str]:
    """The letters of each value that is read, and those of what is made."""
    text = site.attributes.get("equation", b"")
    said = text.decode(errors="replace").replace(" ", "") if isinstance(text, bytes) else ""
    read, arrow, made = said.partition("->")
    parts = read.split(",")
    if not arrow:
        # left out: letters that occur once, in alphabetical order
        made = "".join(sorted(c for c in set(read) - {","} if read.count(c) == 1))
    letters = [*parts, made]
    # the letter in front is for texts of no letters, which Python does not call alphabetic; ellipses end here
    if len(parts) != count or any(set(part) - set(read) or not f"a{part}".isalpha() for part in letters):
        raise site.fail(f"equation {said!r} is not one of letters, for each of {count} values")
    if any(len(set(part)) < len(part) for part in letters):
        raise site.fail(f"equation {said!r} names an axis twice; diagonals are not supported")
    ranks = [len(site.shape(index)) for index in range(count)]
    if ranks != [len(part) for part in parts]:
        raise site.fail(f"equation {said!r} does not fit values of {' and '.join(map(str, ranks))} axes")
    return parts, made


def _sum_axes(draft: Draft, name: str, letters: str, wanted: str) -> str:
    axes = tuple(axis for axis, letter in enumerate(letters) if letter not in wanted)
    kept = [letter for letter in letters if letter in wanted]
    if axes:
        shape = tuple(size for axis, size in enumerate(draft.shape(name)) if axis not in axes)
        name = draft.reshaped(draft.put("ReduceSum", name, axes=axes), shape)
    return _move_axes(draft, name, kept, list(wanted))


def _move_axes(
    draft: Draft, name: str, letters: Sequence[str], wanted: Sequence[str], shape: Sequence[int] | None = None
) -> str:
    """A value whose axes are in another order, then in another shape."""
    perm = tuple(list(letters).index(letter) for letter in wanted)
    moved = name if perm == tuple(range(len(perm))) else draft.put("Transpose", name, perm=perm)
    return moved if shape is None else draft.reshaped(moved, tuple(shape))


# --- other sizes

_FINEST = 1 << 11
"""Weights of an interpolation are whole numbers of such parts: then they are exact, however they are computed."""

_LONGEST = 1 << 13
"""Entries that an axis is interpolated to, at most."""

_LEAST = 6
"""Entries along the axes that are interpolated: of so many, sums cost no fewer roundings than the runtime's."""


def resize(site: Site, draft: Draft) -> Sequence[str]:
    """Nearest entries are gathered; interpolations are matrices along the axes, where their weights are exact."""
    shape, mode = site.shape(), _word_attribute(site, "mode", "nearest")
    scales, sizes = _read_scales(site)
    if mode not in ("nearest", "linear") or flag_attribute(site, "antialias", 0):
        raise site.fail(f"mode {mode!r}, or antialiasing, is not supported; nearest and linear are")
    kept = [(Fraction(1), size) for size in shape]
    changed = [axis for axis, pair in enumerate(zip(scales, sizes, strict=True)) if pair != kept[axis]]
    few = sum(shape[axis] for axis in changed) < _LEAST
    if mode == "linear" and changed and (few or len(shape) != 4 or min(changed) < 2):
        told = f"the last two of four are supported, of {_LEAST} entries or more"
        raise site.fail(f"interpolates axes {changed} of a value of shape {list(shape)}; {told}")
    x = site.inputs[0]
    for axis in changed:
        before, after = shape[axis], sizes[axis]
        if mode == "linear":
            if before * after > MAX_VALUES or after > _LONGEST:
                raise site.fail(f"interpolates {before} entries to {after}, more than are supported")
            # exactly: a weight that float32 might round is refused, see `_interpolation_matrix`
            exact = [_source_places(site, Fraction(i), before, after, scales[axis]) for i in range(after)]
            x = draft.along(x, axis, _interpolation_matrix(site, exact, before))
        else:
            # in float32, as the runtime counts: between two entries its rounding decides which one is the nearest
            rounded = np.arange(after, dtype=np.float32)
            indices = _nearest_entries(
                site, _source_places(site, rounded, before, after, np.float32(scales[axis])), before
            )
            x = draft.put("Gather", x, axis=axis, indices=indices, index_shape=(after,))
    return (x if changed else draft.put("Identity", x),)


def _word_attribute(site: Site, key: str, default: str) -> str:
    value = site.attributes.get(key, default.encode())
    if not isinstance(value, bytes):
        raise site.fail(f"attribute {key!r} must be a word")
    return value.decode(errors="replace")


def _is_before_opset_11(site: Site) -> bool:
    """Before opset 11 places are asymmetric, and the entry before one is the nearest."""
    return site.opset < 11


def _read_scales(site: Site) -> tuple[list[Fraction], list[int]]:
    """For each axis by how much it grows, and to which size."""
    shape = site.shape()
    given: list[Any] = [None, None]
    if site.op == "Upsample" and site.opset < 9:
        given[0] = np.array(site.attributes.get("scales", []), np.float32)
    elif _is_before_opset_11(site):
        given[0] = site.array(1)
    else:
        arrays = [site.array(index) if site.has(index) else np.zeros(0) for index in (2, 3)]
        given = [array if array.size else None for array in arrays]
    axes = integers_attribute(site, "axes", None) or list(range(len(shape)))
    if (
        sum(array is not None for array in given) != 1
        or _word_attribute(site, "keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        raise site.fail("takes either scales or sizes, and no policy about the ratio of axes")
    told = given[0] if given[0] is not None else given[1]
    if told.shape != (len(axes),) or not ((told > 0) & (told <= MAX_VALUES)).all():
        raise site.fail(f"its scales or sizes do not fit {len(axes)} axes")
    scales, sizes = [Fraction(1)] * len(shape), list(shape)
    for axis, number in zip(map(site.axis, axes), told.tolist(), strict=True):
        if given[0] is not None:
            # the size is a product in float32, which may round up to the next whole number
            scales[axis], sizes[axis] = Fraction(number), math.floor(np.float32(number) * np.float32(shape[axis]))
        else:
            # the scale that the runtime derives is rounded to float32
            scales[axis], sizes[axis] = Fraction(float(np.float32(number) / np.float32(shape[axis]))), int(number)
    if min(sizes) < 1 or math.prod(sizes) > MAX_VALUES:
        raise site.fail(f"makes a value of shape {sizes}, which is empty or larger than {MAX_VALUES} entries")
    if _is_before_opset_11(site) and min(scales) < 1:
        raise site.fail("makes a value smaller, in a way that opset 11 no longer has")
    return scales, sizes


def _source_places(site: Site, index: Any, before: int, after: int, scale: Any) -> Any:
    """Where entries lie among those before: one, exactly, or an array of float32, rounded as the runtime rounds it."""
    kind = (
        "asymmetric"
        if _is_before_opset_11(site)
        else _word_attribute(site, "coordinate_transformation_mode", "half_pixel")
    )
    half = type(scale)(0.5)  # of a scale's own kind: exact, or float32
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and after > 1):
        return (index + half) / scale - half
    if kind == "pytorch_half_pixel" or (kind == "align_corners" and after == 1):
        return 0 * index
    if kind == "align_corners":
        return index * (before - 1) / (after - 1)
    if kind == "asymmetric":
        return index / scale
    raise site.fail(f"coordinate_transformation_mode {kind!r} is not supported")


def _nearest_entries(site: Site, places: npt.NDArray[np.float32], before: int) -> tuple[int, ...]:
    """The entries that are the nearest to some places."""
    kind = "floor" if _is_before_opset_11(site) else _word_attribute(site, "nearest_mode", "round_prefer_floor")
    half = np.float32(0.5)
    if kind == "floor":
        found = np.floor(places)
    elif kind == "ceil":
        found = np.ceil(places)
    elif kind == "round_prefer_floor":
        found = np.ceil(places - half)
    elif kind == "round_prefer_ceil":
        found = np.floor(places + half)
    else:
        raise site.fail(f"nearest_mode {kind!r} is unknown")
    return tuple(int(place) for place in found.clip(0, before - 1))


def _interpolation_matrix(site: Site, places: Sequence[Fraction], before: int) -> npt.NDArray[np.float64]:
    matrix = np.zeros((before, len(places)))
    for column, place in enumerate(places):
        place = min(max(place, Fraction(0)), Fraction(before - 1))  # beyond an end the end counts
        low = math.floor(place)
        share = place - low
        if _FINEST % share.denominator:
            told = "in float32 it is another one; scales such as 2 or 4 with half pixels have weights that are exact"
            raise site.fail(f"interpolates with the weight {share}: {told}")
        # both are multiples of a 2,048th, so that neither is rounded here
        matrix[low, column] += float(1 - share)
        if share:
            matrix[low + 1, column] += float(share)
    return matrix
