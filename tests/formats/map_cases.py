"""Files with maps along axes, see `birdnn.formats.maps`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.formats.models import Array, model, node

RNG = np.random.default_rng(13)
IMAGE = (1, 2, 7, 6)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def cumsum(axis: Array, shape: tuple[int | str, ...], **options: Any) -> bytes:
    return model([node("CumSum", ["x", "axis"], **options)], {"axis": axis}, shape)


def resized(*tensors: Array | None, shape: tuple[int | str, ...] = IMAGE, opset: int = 13, op: str = "Resize",
            **options: Any) -> bytes:  # fmt: skip
    """Region of interest, scales, sizes, whichever are given."""
    names = ["x", *("" if tensor is None else f"t{index}" for index, tensor in enumerate(tensors))]
    named = {f"t{index}": tensor for index, tensor in enumerate(tensors) if tensor is not None}
    return model([node(op, names, **options)], named, shape, opset=opset)


def scales(*values: float) -> Array:
    return np.array(values, np.float32)


def summed(equation: str, shape: tuple[int | str, ...], *tensors: Array, first: bool = False) -> bytes:
    """An Einsum of the input and constants; `first`: the constant comes first."""
    named = {f"t{index}": tensor for index, tensor in enumerate(tensors)}
    inputs = [*named, "x"] if first else ["x", *named]
    return model([node("Einsum", inputs, equation=equation)], named, shape, opset=13)


def attention_by_sums() -> bytes:
    tensors = {name: floats(4, 2, 3) for name in ("q", "k", "v")}
    nodes = [node("Einsum", ["x", name], f"x{name}", equation="bid,dhk->bhik") for name in tensors]
    nodes += [node("Einsum", ["xq", "xk"], "s", equation="bhid,bhjd->bhij"), node("Softmax", ["s"], "p", axis=-1)]
    return model([*nodes, node("Einsum", ["p", "xv"], equation="bhij,bhjd->bihd")], tensors, ("N", 3, 4))


MAPS: Mapping[str, bytes] = {
    "cumsum": cumsum(ints(1)[0], ("N", 5)),
    "cumsum-exclusive": cumsum(np.array(-1, np.int64), (1, 3, 5), exclusive=1),
    "cumsum-reverse": cumsum(ints(1), ("N", 3, 5), reverse=1),
    "cumsum-both": cumsum(np.array(2, np.int32), ("N", 3, 4, 2), reverse=1, exclusive=1),
    "cumsum-batch": cumsum(np.array(0, np.int64), (3, 2)),
    "einsum-product": summed("ij,jk->ik", ("N", 4), floats(4, 3)),
    "einsum-linear": summed("bij,kj->bik", ("N", 3, 4), floats(5, 4)),
    "einsum-first": summed("kj,bj->bk", ("N", 4), floats(5, 4), first=True),
    "einsum-two-summed": summed("bij,kij->bk", ("N", 3, 4), floats(5, 3, 4)),
    "einsum-outer": summed("bi,j->bij", ("N", 3), floats(4)),
    "einsum-implicit": summed("ij,jk", (1, 4), floats(4, 3)),
    "einsum-inner": summed("i,i->", (4,), floats(4)),
    "einsum-rows": summed(" b i d , i d -> b i ", ("N", 3, 4), floats(3, 4)),
    "einsum-moved": summed("bij->bji", ("N", 3, 4)),
    "einsum-summed": summed("bij->bj", ("N", 3, 4)),
    "einsum-summed-moved": summed("bijk->bki", ("N", 3, 4, 2)),
    "einsum-attention": attention_by_sums(),
    "resize-nearest": resized(None, scales(1, 1, 2, 2), shape=("N", *IMAGE[1:])),
    "resize-nearest-odd": resized(None, scales(1, 1, 2.6, 0.7)),
    "resize-nearest-sizes": resized(None, None, ints(1, 2, 5, 13), coordinate_transformation_mode="asymmetric",
                                    nearest_mode="floor"),
    "resize-nearest-ceil": resized(scales(), scales(1, 1, 1.5, 3), nearest_mode="ceil"),
    "resize-nearest-corners": resized(None, None, ints(1, 2, 11, 3), coordinate_transformation_mode="align_corners",
                                      nearest_mode="round_prefer_ceil"),
    "resize-nearest-channels": resized(None, scales(1, 2, 1, 1), shape=(1, 3, 4, 2)),
    "resize-nearest-1d": resized(None, scales(1, 1, 3), shape=("N", 2, 5)),
    "resize-nearest-10": resized(scales(1, 1, 2, 3), opset=10),
    "resize-pytorch": resized(None, scales(1, 1, 2, 0.2), coordinate_transformation_mode="pytorch_half_pixel"),
    "resize-axes": resized(None, scales(2, 0.5), opset=18, axes=[2, 3]),
    "resize-none": resized(None, scales(1, 1, 1, 1)),
    "resize-linear": resized(None, scales(1, 1, 2, 2), shape=("N", *IMAGE[1:]), mode="linear"),
    "resize-linear-4": resized(None, scales(1, 1, 4, 0.5), mode="linear"),
    "resize-linear-sizes": resized(None, None, ints(1, 2, 14, 24), mode="linear",
                                   coordinate_transformation_mode="pytorch_half_pixel"),
    "resize-linear-asymmetric": resized(None, scales(1, 1, 2, 2), mode="linear",
                                        coordinate_transformation_mode="asymmetric"),
    "resize-linear-corners": resized(None, None, ints(1, 2, 13, 11), mode="linear",
                                     coordinate_transformation_mode="align_corners"),
    "resize-linear-one": resized(None, scales(1, 1, 1, 2), mode="linear"),
    "upsample-7": resized(opset=7, op="Upsample", scales=[1.0, 1.0, 2.0, 3.0]),
    "upsample-9": resized(scales(1, 1, 2, 2), opset=9, op="Upsample", shape=("N", *IMAGE[1:])),
    "upsample-9-linear": resized(scales(1, 1, 2, 2), opset=9, op="Upsample", mode="linear"),
}  # fmt: skip
