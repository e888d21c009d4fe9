"""What sums err by: how often a term is rounded, how large terms are, and where float32 may lose one altogether."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from birdnn.errors import UnsupportedOpError
from birdnn.operators import OPERATORS, apply, magnitude, peak, roundings
from birdnn.rounding import SMALLEST
from tests.operators.test_linear import AFFINE, values

GEMM = AFFINE["Gemm"][1]
BELOW = SMALLEST / 2


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "wanted"),
    [
        ("Add", [(1, 9), (1, 9)], {}, 1),
        ("Mul", [(1, 9), (1, 9)], {}, 1),
        ("Div", [(1, 9), (1, 9)], {}, 2),
        ("MatMul", [(1, 9), (9, 2)], {}, 9),
        ("Gemm", [(1, 9), (9, 2), (2,)], GEMM, 9 + 3),
        ("Gemm", [(9, 1), (9, 2), (2,)], {**GEMM, "transA": 1}, 9 + 3),
        ("Conv", [(1, 4, 9, 9), (6, 2, 3, 5), (6,)], {"group": 2}, 2 * 3 * 5 + 1),
        ("ConvTranspose", [(1, 4, 9, 9), (4, 2, 3, 5), (4,)], {"group": 2}, 4 // 2 * 3 * 5 + 1),
        ("AveragePool", [(1, 4, 9, 9)], {"kernel_shape": (2, 3)}, 2 * 3 + 1),
        ("GlobalAveragePool", [(1, 4, 9, 8)], {}, 9 * 8 + 2),
        ("ReduceSum", [(1, 4, 9, 8)], {"axes": (1, 3)}, 4 * 8),
        ("Transpose", [(1, 9)], {}, 0),
        ("Relu", [(1, 9)], {}, 0),
    ],
)
def test_how_often_a_term_is_rounded(op: str, shapes: list[tuple[int, ...]], attributes: Any, wanted: int) -> None:
    assert roundings(op, shapes, attributes) == wanted


@given(op=st.sampled_from(sorted(AFFINE)), seed=st.integers(0, 999))
def test_no_value_exceeds_its_terms_nor_these_what_is_on_the_way(op: str, seed: int) -> None:
    """Whatever the signs; so that errors proportional to the magnitude cover every cancellation."""
    shapes, attributes = AFFINE[op]
    draw = torch.Generator().manual_seed(seed)
    sizes = [value * 4.0 ** torch.randint(-2, 3, (), generator=draw) for value in values(shapes, seed)]
    signs = [torch.randint(2, shape, generator=draw).double() * 2 - 1 for shape in shapes]
    if op == "BatchNormalization":
        signs[-1] = torch.ones(shapes[-1])  # a variance
    if op == "Gemm":
        attributes = attributes | {"alpha": [2.0, -0.5][seed % 2], "beta": [-3.0, 0.25][seed // 2 % 2]}
    signed = [a * b for a, b in zip(signs, sizes, strict=True)]
    value, terms, way = apply(op, signed, attributes), magnitude(op, sizes, attributes), peak(op, sizes, attributes)
    assert bool((value.abs() <= terms * (1 + 1e-12)).all())
    assert bool((terms <= way * (1 + 1e-12)).all())


def one(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def test_the_terms_of_a_difference_and_of_a_normalisation_add_up() -> None:
    assert magnitude("Sub", [one(2), one(3)], {}).item() == 5
    parameters = [torch.tensor([v]).double() for v in (6.0, 1.0, 5.0, 3.0)]  # scale, shift, mean, variance
    assert magnitude("BatchNormalization", [one(2), *parameters], {"epsilon": 1.0}).item() == (2 + 5) * 3 + 1
    # |x| + |mean| + 1 times the scale, and a divisor of two that may come later
    assert peak("BatchNormalization", [one(2), *parameters], {"epsilon": 1.0}).item() == (2 + 5 + 1) * 6 + 1
    # a scale below one may come later, a small divisor first
    parameters = [torch.tensor([v]).double() for v in (0.5, 1.0, 5.0, 0.25)]
    assert peak("BatchNormalization", [one(2), *parameters], {"epsilon": 0.0}).item() == (2 + 5 + 1) * 2 + 1


def test_means_and_scaled_products_are_as_large_on_the_way_as_their_sums() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    pool = {"kernel_shape": (2,), "strides": (2,), "pads": (0, 0), "overshoot": (0, 0), "dilations": (1,)}
    assert peak("AveragePool", [x], {**pool, "count_include_pad": 0}).tolist() == [[[3.0, 7.0]]]
    assert peak("GlobalAveragePool", [x], {}).item() == 10
    shrunk = {**GEMM, "alpha": -0.5, "beta": 0.25}
    assert magnitude("Gemm", [one(2), one(3), one(8)], shrunk).item() == 0.5 * 6 + 0.25 * 8
    assert peak("Gemm", [one(2), one(3), one(8)], shrunk).item() == 6 + 8
    grown = {**GEMM, "alpha": -2.0, "beta": 4.0}
    assert peak("Gemm", [one(2), one(3), one(8)], grown).item() == 2 * 6 + 4 * 8


@pytest.mark.parametrize(("size", "lost"), [(SMALLEST, False), (BELOW, True), (0.0, False)])
@pytest.mark.parametrize("factor", ["alpha", "beta"])
def test_a_factor_that_may_be_flushed_to_zero_bounds_nothing(factor: str, size: float, lost: bool) -> None:
    """At the smallest normal number and at zero itself nothing is lost."""
    found = peak("Gemm", [one(2), one(3), one(8)], {**GEMM, factor: size}).item()
    assert math.isinf(found) is lost


def test_a_factor_that_may_be_flushed_spoils_products_of_zero_too() -> None:
    """Infinity times zero would be NaN, which is not above anything."""
    assert peak("Gemm", [one(0), one(3), one(8)], {**GEMM, "alpha": BELOW}).item() == math.inf


@pytest.mark.parametrize(("divisor", "lost"), [(SMALLEST, False), (BELOW, True), (0.0, True), (-1.0, False)])
def test_a_divisor_that_may_be_flushed_to_zero_bounds_nothing(divisor: float, lost: bool) -> None:
    assert math.isinf(peak("Div", [one(2.0**-30), one(divisor)], {}).item()) is lost


@pytest.mark.parametrize(("spread", "lost"), [(2.0**-100, False), (2.0**-101, True)])
def test_a_variance_that_may_be_flushed_to_zero_bounds_nothing(spread: float, lost: bool) -> None:
    parameters = [torch.tensor([v]).double() for v in (1.0, 1.0, 1.0, spread)]
    assert math.isinf(peak("BatchNormalization", [one(2), *parameters], {"epsilon": 0.0}).item()) is lost


@pytest.mark.parametrize("op", sorted(name for name, row in OPERATORS.items() if row.function and not row.compares))
def test_what_a_row_does_not_say_is_refused(op: str) -> None:
    """A row that says nothing must not pass for one that computes nothing."""
    for asked in (magnitude, peak):
        with pytest.raises(UnsupportedOpError, match=op):
            asked(op, [one(1)], {"alpha": 1.0})
    with pytest.raises(UnsupportedOpError, match=op):
        roundings(op, [(1, 1)], {})


def test_what_only_compares_rounds_nothing_and_has_no_terms() -> None:
    assert roundings("MaxPool", [(1, 1, 4)], {}) == 0
    with pytest.raises(UnsupportedOpError, match="MaxPool"):
        magnitude("MaxPool", [one(1)], {})
