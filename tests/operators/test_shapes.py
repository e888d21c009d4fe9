"""Shapes by arithmetic: those that torch computes with values, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.operators import Shape, ShapeProblem, apply, shape_of

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
GEMM = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}
CONV = {"strides": (1,), "dilations": (1,), "group": 1, "pads": (0, 0)}
TRANSPOSED = {**CONV, "output_padding": (0,)}


def made(op: str, shapes: list[Shape], attributes: dict[str, Any]) -> Shape:
    return tuple(apply(op, [torch.zeros(shape) for shape in shapes], attributes).shape)


@given(first=SHAPES, second=SHAPES)
def test_what_broadcasts(first: Shape, second: Shape) -> None:
    """As NumPy's, which is ONNX's; whatever NumPy refuses is refused."""
    try:
        wanted = np.broadcast_shapes(first, second)
    except ValueError:
        with pytest.raises(ShapeProblem, match="do not broadcast"):
            shape_of("Add", [first, second], {})
    else:
        assert shape_of("Add", [first, second], {}) == wanted
        assert shape_of("Where", [(1,), second, first], {}) == wanted or wanted == ()


@given(first=SHAPES, second=SHAPES)
def test_products_of_matrices_and_vectors(first: Shape, second: Shape) -> None:
    try:
        wanted = np.matmul(np.zeros(first), np.zeros(second)).shape
    except ValueError:
        with pytest.raises(ShapeProblem):
            shape_of("MatMul", [first, second], {})
    else:
        assert shape_of("MatMul", [first, second], {}) == wanted


@given(
    size=st.integers(1, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_how_many_windows(size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]) -> None:
    at = {"strides": (stride,), "dilations": (dilation,), "pads": pads}
    conv, pool = at | {"group": 2}, at | {"kernel_shape": (kernel,), "overshoot": (0, 1), "count_include_pad": 0}
    shapes = [(2, 4, size), (6, 2, kernel), (6,)]
    reach = (kernel - 1) * dilation + 1
    if size + sum(pads) >= reach:
        assert shape_of("Conv", shapes, conv) == made("Conv", shapes, conv)
    else:
        with pytest.raises(ShapeProblem, match="window is larger"):
            shape_of("Conv", shapes, conv)
    if size + sum(pads) + 1 >= reach:
        assert shape_of("AveragePool", shapes[:1], pool) == made("AveragePool", shapes[:1], pool)
    back = at | {"group": 2, "output_padding": (stride - 1,)}
    shapes = [(2, 4, size), (4, 3, kernel), (6,)]
    whole = (size - 1) * stride + reach + stride - 1
    if whole > sum(pads):
        assert shape_of("ConvTranspose", shapes, back) == made("ConvTranspose", shapes, back)
    else:
        with pytest.raises(ShapeProblem, match="nothing is left of an axis"):
            shape_of("ConvTranspose", shapes, back)


def test_axes_are_told_apart() -> None:
    """Of another window, stride, dilation and pad in each direction."""
    at = {"strides": (1, 2), "dilations": (2, 1), "pads": (0, 1, 2, 0)}
    conv, shapes = at | {"group": 1}, [(1, 3, 7, 9), (4, 3, 2, 3)]
    assert shape_of("Conv", shapes, conv) == made("Conv", shapes, conv) == (1, 4, 7, 4)
    back, shapes = at | {"group": 1, "output_padding": (0, 1)}, [(1, 3, 7, 9), (3, 4, 2, 3)]
    assert shape_of("ConvTranspose", shapes, back) == made("ConvTranspose", shapes, back) == (1, 4, 7, 19)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes"),
    [
        ("Gemm", [(3, 2), (4, 3), (1, 4)], {**GEMM, "transA": 1, "transB": 1}),
        ("Gemm", [(2, 3), (3, 4)], GEMM),
        ("Concat", [(2, 3, 4), (2, 1, 4)], {"axis": 1}),
        ("Slice", [(2, 5)], {"slices": [(1, 4, -1, -2)]}),
        ("Slice", [(2, 5)], {"slices": [(1, 3, 3, 1)]}),
        ("Transpose", [(2, 3, 4)], {"perm": (2, 0, 1)}),
        ("Gather", [(2, 5, 3)], {"axis": 1, "indices": [0, 4], "index_shape": (1, 2)}),
        ("Gather", [(2, 5, 3)], {"axis": 2, "indices": [1], "index_shape": ()}),
        ("ReduceSum", [(2, 5, 3)], {"axes": (0, 2)}),
        ("GlobalAveragePool", [(2, 5, 3, 4)], {}),
        ("BatchNormalization", [(2, 3, 4), (3,), (3,), (3,), (3,)], {"epsilon": 1.0}),
        ("LayerNormalization", [(2, 3, 4), (3, 4), (4,)], {"axis": 1, "epsilon": 1.0}),
        ("Relu", [(2, 3)], {}),
    ],
)
def test_the_shape_is_that_of_the_value(op: str, shapes: list[Shape], attributes: dict[str, Any]) -> None:
    assert shape_of(op, shapes, attributes) == made(op, shapes, attributes)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "told"),
    [
        ("MatMul", [(), (3,)], {}, "a scalar cannot be multiplied"),
        ("MatMul", [(2, 3), (2, 3)], {}, "inner sizes differ"),
        ("Gemm", [(2, 3), (2, 3)], GEMM, "inner sizes differ"),
        ("Gemm", [(1, 2, 3), (3, 2)], GEMM, "matrices are expected"),
        ("Gemm", [(1, 3), (3, 2), (5, 2)], GEMM, "the summand does not fit the product"),
        ("Conv", [(1, 2, 5), (4, 2, 3, 3)], CONV, "ranks do not fit"),
        ("Conv", [(1, 2), (4, 2)], CONV, "ranks do not fit"),
        ("Conv", [(1, 3, 5), (4, 2, 3)], CONV, "channels and groups do not fit"),
        ("Conv", [(1, 4, 5), (3, 2, 3)], {**CONV, "group": 2}, "channels and groups do not fit"),
        ("Conv", [(1, 0, 5), (3, 2, 3)], {**CONV, "group": 0}, "channels and groups do not fit"),
        ("Conv", [(1, 2, 5), (4, 2, 3), (2,)], CONV, "the bias does not fit"),
        ("ConvTranspose", [(1, 2, 5), (3, 2, 3)], TRANSPOSED, "channels and groups do not fit"),
        ("ConvTranspose", [(1, 3, 5), (3, 2, 3)], {**TRANSPOSED, "group": 2}, "channels and groups do not fit"),
        ("ConvTranspose", [(1, 2, 5), (2, 4, 3), (2,)], TRANSPOSED, "the bias does not fit"),
        ("ConvTranspose", [(1, 2, 1), (2, 4, 2)], {**TRANSPOSED, "pads": (1, 1)}, "nothing is left of an axis"),
        ("BatchNormalization", [(2, 3), (3,), (3,), (2,), (3,)], {}, "parameters do not fit the channels"),
        ("LayerNormalization", [(2, 3), (2, 3)], {"axis": 1}, "parameters do not fit the normalised axes"),
        ("Concat", [(2, 3), (2, 3, 1)], {"axis": 1}, "sizes off the axis differ"),
        ("Concat", [(2, 3), (3, 3)], {"axis": 1}, "sizes off the axis differ"),
    ],
)
def test_what_an_operator_does_not_take(op: str, shapes: list[Shape], attributes: dict[str, Any], told: str) -> None:
    with pytest.raises(ShapeProblem, match=told):
        shape_of(op, shapes, attributes)
