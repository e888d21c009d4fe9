"""What the rows of the table claim, tried on what the operators compute: bounds rest on these claims."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from birdnn.errors import UnsupportedOpError
from birdnn.operators import OPERATORS, activation_function, apply, operator, operators_where
from tests.operators.test_linear import AFFINE

POOL = {"kernel_shape": (2,), "strides": (1,), "pads": (1, 0), "overshoot": (0, 1), "dilations": (1,)}
BENT: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "Clip": ([(2, 3)], {"min": -0.5, "max": 1.0}),
    "Elu": ([(2, 3)], {"alpha": 0.5}),
    "Gelu": ([(2, 3)], {"approximate": "none"}),
    "Greater": ([(2, 3), (2, 3)], {}),
    "GreaterOrEqual": ([(2, 3), (2, 3)], {}),
    "LayerNormalization": ([(2, 3, 4), (3, 4)], {"axis": 1, "epsilon": 1e-3}),
    "LeakyRelu": ([(2, 3)], {"alpha": 0.25}),
    "LogSoftmax": ([(2, 3)], {"axis": 1}),
    "Max": ([(2, 3), (2, 3)], {}),
    "MaxPool": ([(2, 2, 4)], POOL),
    "Min": ([(2, 3), (2, 3)], {}),
    "Pow": ([(2, 3)], {"exponent": 2.0}),
    "Softmax": ([(2, 3)], {"axis": 1}),
    "Where": ([(2, 3), (2, 3), (2, 3)], {}),
}
CASES = AFFINE | BENT | {name: ([(2, 3)], {}) for name in OPERATORS if name not in AFFINE and name not in BENT}
"""Operator -> shapes of what it reads, and attributes; of no entry: a function of one number."""

POSITIVE = {"Log", "Sqrt"}
SEEDS = st.integers(0, 999)


def rows(claim: str) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(name for name, row in OPERATORS.items() if getattr(row, claim)))


def drawn(op: str, seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    found = [3 * torch.randn(shape, generator=draw, dtype=torch.float64) for shape in CASES[op][0]]
    return [value.abs() + 0.1 for value in found] if op in POSITIVE else found


@given(op=rows("monotone"), seed=SEEDS)
def test_what_is_called_monotone_grows_with_each_input(op: str, seed: int) -> None:
    below = drawn(op, seed)
    draw = torch.Generator().manual_seed(seed)
    above = [value + 2 * torch.randint(2, value.shape, generator=draw) for value in below]
    assert bool((apply(op, below, CASES[op][1]) <= apply(op, above, CASES[op][1]) + 1e-12).all())


@given(op=rows("elementwise"), seed=SEEDS, place=st.integers(0, 5))
def test_what_is_called_elementwise_depends_on_one_entry(op: str, seed: int, place: int) -> None:
    inputs, attributes = drawn(op, seed), CASES[op][1]
    before = apply(op, inputs, attributes)
    inputs[0].view(-1)[place] += 0.7
    moved = (apply(op, inputs, attributes) != before).flatten().nonzero().flatten().tolist()
    assert moved in ([], [place])


@given(op=rows("joint"), seed=SEEDS)
def test_what_is_called_joint_depends_on_its_whole_axis_and_on_no_other_sample(op: str, seed: int) -> None:
    inputs, attributes = drawn(op, seed), CASES[op][1]
    before = apply(op, inputs, attributes)
    inputs[0][0].view(-1)[0] += 0.7
    moved = (apply(op, inputs, attributes) - before).abs() > 1e-15
    assert bool(moved[0].all())
    assert not bool(moved[1].any())


@given(op=rows("moves"), seed=SEEDS)
def test_what_moves_entries_makes_none(op: str, seed: int) -> None:
    """All of them in their order, all in some order, or some."""
    inputs, row = drawn(op, seed), operator(op)
    given_entries = torch.cat([value.flatten() for value in inputs])
    found = apply(op, inputs, CASES[op][1]).flatten()
    assert set(found.tolist()) <= set(given_entries.tolist())
    if row.is_layout:
        assert torch.equal(found.sort().values, given_entries.sort().values)
    if row.moves == "shape":
        assert torch.equal(found, given_entries)


@given(op=rows("compares"), seed=SEEDS)
def test_what_compares_computes_no_new_number(op: str, seed: int) -> None:
    inputs, attributes = drawn(op, seed), CASES[op][1]
    found = apply(op, inputs, attributes).flatten().tolist()
    numbers = {value for part in inputs for value in part.flatten().tolist()} | set(
        attributes.values() if op == "Clip" else ()
    )
    assert all(value in numbers or value == round(value) for value in found)


@pytest.mark.parametrize("op", [name for name, row in OPERATORS.items() if row.function])
def test_where_a_graph_is_straight(op: str) -> None:
    """Through zero on that side, at any scale; and on a side that is not called so it bends."""
    function = operator(op).function
    assert function is not None
    attributes = CASES[op][1]

    def bends(sign: float) -> bool:
        at = [apply(op, [torch.tensor([[sign * size]]).double()], attributes).item() for size in (1.0, 2.0, 64.0)]
        return at != [at[0], 2 * at[0], 64 * at[0]]

    straight = {"nowhere": (False, False), "right": (False, True), "both sides": (True, True)}[function.straight]
    assert (not bends(-1), not bends(1)) == straight
    assert activation_function(function.kind) == (op, function)


def test_a_runtime_has_functions_that_err_unless_they_only_compare_and_multiply() -> None:
    without = {row.function.kind for row in OPERATORS.values() if row.function and row.function.float32_error is None}
    assert without == {"relu", "leaky_relu"}


@pytest.mark.parametrize("op", sorted(operators_where(lambda row: row.divides)))
def test_what_divides_says_so(op: str) -> None:
    """By an operand: zero of it, or of the variance less epsilon, gives no finite number."""
    inputs, attributes = drawn(op, 0), dict(CASES[op][1])
    inputs[-1] = torch.zeros_like(inputs[-1])
    attributes |= {"epsilon": 0.0} if "epsilon" in attributes else {}
    assert not bool(apply(op, inputs, attributes).isfinite().any())


def test_each_row_says_what_its_arithmetic_errs_by_or_that_it_is_unknown() -> None:
    """A row without any of these would be refused; one with two would be answered by the first that is asked."""
    for name, row in OPERATORS.items():
        claims = [row.sums is not None, row.function is not None or row.compares, bool(row.moves), row.unmeasured]
        assert sum(claims) == 1, name
        assert row.linear_part is None or not (row.elementwise or row.joint), name


def test_an_unknown_operator_is_named_with_its_node() -> None:
    with pytest.raises(
        UnsupportedOpError, match=r"node 'n7': operator 'Det' is not supported; supported: Add"
    ) as caught:
        operator("Det", "n7")
    assert (caught.value.op, caught.value.node) == ("Det", "n7")
    with pytest.raises(UnsupportedOpError, match="'Det'"):
        apply("Det", [], {})
    with pytest.raises(KeyError, match="'softsign' is unknown"):
        activation_function("softsign")


def as_inputs(op: str, **attributes: Any) -> dict[str, Any]:
    """What a file has as inputs, as lists and numbers."""
    write = operator(op).as_inputs
    assert write is not None
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in write(attributes).items()
    }


def test_attributes_that_files_have_as_inputs() -> None:
    assert as_inputs("Clip", min=-math.inf, max=6.0) == {"min": None, "max": 6.0}
    assert as_inputs("Clip", min=0, max=math.inf) == {"min": 0.0, "max": None}
    assert as_inputs("Reshape", shape=(-1, 6)) == {"shape": [-1, 6]}
    assert as_inputs("Pow", exponent=2) == {"exponent": 2.0}
    assert as_inputs("ReduceSum", axes=(1, 2)) == {"axes": [1, 2]}
    assert as_inputs("Gather", indices=[3], index_shape=()) == {"indices": 3}
    assert as_inputs("Gather", indices=[3, 1], index_shape=(2, 1)) == {"indices": [[3], [1]]}


def test_a_slice_to_before_the_first_entry_does_not_count_from_the_end() -> None:
    """-1 in a file is the last entry."""
    least = int(np.iinfo(np.int64).min)
    found = as_inputs("Slice", slices=[(1, 4, -1, -2), (2, 0, 3, 1)])
    assert found == {"starts": [4, 0], "ends": [least, 3], "axes": [1, 2], "steps": [-2, 1]}
    assert as_inputs("Slice", slices=[]) == {"starts": [], "ends": [], "axes": [], "steps": []}
