"""Linear parts: what is left of an affine operator without its offset, and where it is not affine."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from birdnn.operators import OPERATORS, apply

WINDOW = {"strides": (1,), "dilations": (1,), "pads": (1, 0)}
AFFINE: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "Add": ([(2, 3), (1, 3)], {}),
    "AveragePool": ([(2, 2, 4)], WINDOW | {"kernel_shape": (2,), "overshoot": (0, 0), "count_include_pad": 0}),
    "BatchNormalization": ([(2, 3), (3,), (3,), (3,), (3,)], {"epsilon": 1.0}),
    "Concat": ([(2, 3), (2, 1)], {"axis": 1}),
    "Conv": ([(2, 2, 4), (3, 2, 2), (3,)], WINDOW | {"group": 1}),
    "ConvTranspose": ([(2, 2, 4), (2, 3, 2), (3,)], WINDOW | {"group": 1, "output_padding": (0,)}),
    "Div": ([(2, 3), (2, 3)], {}),
    "Flatten": ([(2, 3, 4)], {"shape": (-1, 12)}),
    "Gather": ([(2, 3)], {"axis": 1, "indices": [2, 2], "index_shape": (2,)}),
    "Gemm": ([(2, 3), (3, 2), (2,)], {"transA": 0, "transB": 0, "alpha": 2.0, "beta": 3.0}),
    "GlobalAveragePool": ([(2, 3, 4)], {}),
    "Identity": ([(2, 3)], {}),
    "MatMul": ([(2, 3), (3, 2)], {}),
    "Mul": ([(2, 3), (2, 3)], {}),
    "ReduceSum": ([(2, 3)], {"axes": (1,)}),
    "Reshape": ([(2, 3, 4)], {"shape": (-1, 12)}),
    "Slice": ([(2, 3)], {"slices": [(1, 2, 0, -1)]}),
    "Squeeze": ([(2, 1, 3)], {"shape": (-1, 3)}),
    "Sub": ([(2, 3), (1, 3)], {}),
    "Transpose": ([(2, 3, 4)], {"perm": (0, 2, 1)}),
    "Unsqueeze": ([(2, 3)], {"shape": (-1, 1, 3)}),
}
"""Operator -> shapes of what it reads, and attributes."""


def values(shapes: list[tuple[int, ...]], seed: int) -> list[Tensor]:
    """Random positive values: they serve as divisors and variances as well."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=draw, dtype=torch.float64) + 0.5 for shape in shapes]


def mixed(depends: tuple[bool, ...], moving: list[Tensor], still: list[Tensor]) -> list[Tensor]:
    return [a if on_input else b for on_input, a, b in zip(depends, moving, still, strict=True)]


def test_every_affine_operator_is_here() -> None:
    assert AFFINE.keys() == {name for name, row in OPERATORS.items() if row.linear_part is not None}


@pytest.mark.parametrize("op", AFFINE)
def test_a_linear_part_is_the_operator_without_its_offset(op: str) -> None:
    """``f(v) - f(u)`` is the linear part at ``v - u``, whichever operands depend."""
    shapes, attributes = AFFINE[op]
    rule = OPERATORS[op].linear_part
    assert rule is not None
    constants, first, second = (values(shapes, seed) for seed in range(3))
    answered = 0
    for depends in product([False, True], repeat=len(shapes)):
        if not any(depends):
            continue
        u, v = mixed(depends, first, constants), mixed(depends, second, constants)
        step = mixed(depends, [b - a for a, b in zip(first, second, strict=True)], constants)
        moved = apply(op, v, attributes) - apply(op, u, attributes)
        part = rule(step, depends)
        if part is not None:
            answered += 1
            assert torch.allclose(apply(op, part, attributes), moved, rtol=1e-12, atol=1e-12), depends
    assert answered


@pytest.mark.parametrize(
    ("op", "depends"),
    [
        ("Div", (False, True)),
        ("Div", (True, True)),
        ("Mul", (True, True)),
        ("MatMul", (True, True)),
        ("Gemm", (True, True, False)),
        ("Gemm", (True, True, True)),
        ("Conv", (True, True, False)),
        ("Conv", (False, True, False)),
        ("ConvTranspose", (True, True, False)),
        ("BatchNormalization", (True, True, False, False, False)),
        ("BatchNormalization", (False, False, True, False, False)),
    ],
)
def test_products_and_quotients_of_what_depends_have_none(op: str, depends: tuple[bool, ...]) -> None:
    rule = OPERATORS[op].linear_part
    assert rule is not None
    assert rule(values(AFFINE[op][0], 0), depends) is None


@pytest.mark.parametrize(
    ("op", "depends"),
    [
        ("Add", (True, True)),
        ("Sub", (False, True)),
        ("Concat", (True, True)),
        ("Mul", (False, True)),
        ("MatMul", (False, True)),
        ("Gemm", (True, False, True)),
        ("Gemm", (False, True, False)),
        ("Div", (True, False)),
    ],
)
def test_what_is_affine_is_not_given_up(op: str, depends: tuple[bool, ...]) -> None:
    rule = OPERATORS[op].linear_part
    assert rule is not None
    assert rule(values(AFFINE[op][0], 0), depends) is not None
