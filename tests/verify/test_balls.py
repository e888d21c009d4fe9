"""Numbers become balls exactly, whatever their type."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.verify.balls import Balls, NotEvaluated

KINDS = {
    np.int64: st.integers(-(2**63), 2**63 - 1),
    np.uint64: st.integers(0, 2**64 - 1),
    np.int8: st.integers(-128, 127),
    np.bool_: st.booleans(),
    np.float64: st.floats(allow_nan=False, allow_infinity=False),
    np.float32: st.floats(allow_nan=False, allow_infinity=False, width=32),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_numbers_of_every_type_are_exact(kind: type, data: Any) -> None:
    values = data.draw(st.lists(KINDS[kind], min_size=1, max_size=5))
    array = np.array(values, dtype=kind)
    forms = (
        [array]
        if kind is np.uint64
        else [torch.from_numpy(array)]
        if kind is np.bool_
        else [array, torch.from_numpy(array)]
    )
    for found in map(Balls.of, forms):
        assert [found.fraction(i) for i in range(len(values))] == [(Fraction(value), 0) for value in values]


def test_an_integer_that_float64_does_not_hold() -> None:
    assert Balls.of(torch.tensor([2**53 + 1])).fraction(0) == (2**53 + 1, 0)
    assert Balls.of(torch.tensor(2**53 + 1)).shape == (1,)


def test_what_is_not_finite_is_no_ball() -> None:
    with pytest.raises(NotEvaluated):
        Balls.of(torch.tensor([1.0, torch.nan]))
