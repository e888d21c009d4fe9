"""Which numbers an option takes, at the ends of its range. `tests/cli/test_ranges.py` sees that each option has one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.records.ranges import (
    BETWEEN,
    CELLS,
    COUNT,
    NATURAL,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    Range,
    out_of_range,
    range_of,
)

TINY = 5e-324


@pytest.mark.parametrize(
    ("of", "takes", "refuses"),
    [
        (POSITIVE, (TINY, 1.0, 1.7e308), (0.0, -0.0, -TINY)),
        (NOT_NEGATIVE, (0.0, TINY), (-TINY,)),
        (SHARE, (0.0, 0.5, 1.0), (-TINY, math.nextafter(1, 2))),
        (BETWEEN, (TINY, math.nextafter(1, 0)), (0.0, 1.0)),
        (COUNT, (1, 10**30), (0, -1)),
        (NATURAL, (0, 1), (-1,)),
        (SEED, (0, 2**63 - 1), (-1, 2**63)),
        (CELLS, (2, 2000), (1, 2001)),
    ],
    ids=lambda value: value.words if isinstance(value, Range) else "",
)
def test_the_ends_of_a_range(of: Range, takes: tuple[float, ...], refuses: tuple[float, ...]) -> None:
    assert all(of.takes(value) for value in takes)
    assert not any(of.takes(value) for value in (*refuses, math.nan, math.inf, -math.inf))


@given(value=st.floats(), inside=st.booleans(), most=st.floats(0, 10) | st.just(math.inf))
def test_a_range_holds_finite_numbers_between_its_ends(value: float, inside: bool, most: float) -> None:
    took = Range(words="", least=0.0, most=most, inside=inside).takes(value)
    assert took == (math.isfinite(value) and (0 < value < most if inside else 0 <= value <= most))


def test_a_repair_alone_may_draw_no_samples() -> None:
    assert (range_of("repair", "samples"), range_of("estimate", "samples")) == (NATURAL, COUNT)
    assert out_of_range("repair", {"samples": 0}) is None
    assert out_of_range("estimate", {"samples": 0}) == ("samples", "a whole number of at least 1 is expected")


def test_the_first_that_is_refused_is_told() -> None:
    said = {"timeout_s": 1.0, "alpha": 1.5, "delta": 0.0}
    assert out_of_range("repair", said) == ("alpha", "a number from 0 to 1 is expected")
    assert out_of_range("repair", said | {"alpha": 1.0}) == ("delta", f"{BETWEEN.words} is expected")


def test_what_is_no_number_has_no_range() -> None:
    """What was not said, words, switches; and options that nobody knows a range of."""
    assert out_of_range("verify", {"timeout_s": None, "top": "many", "samples": False, "units": 0, "x": -1}) is None
    assert range_of("verify", "units") is None
