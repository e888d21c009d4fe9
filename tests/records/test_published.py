"""How records are declared, and how numbers and commands are written that JSON has no form for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from birdnn.records.published import EXACTLY, CommandLine, OrNull, Written, exact_text, finite_or_null, publishes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(7), "7"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(10**30), "1" + "0" * 30),
        (Fraction(1, 3), "1/3"),
        (Fraction(1, 10**37), "0." + "0" * 36 + "1"),
        # One digit more than 40 characters: the quotient, though a decimal would say it.
        (Fraction(1, 10**39), f"1/{10**39}"),
        (Fraction(10**40), str(10**40)),
        (Fraction(10**41 + 1), str(10**41 + 1)),
        (Fraction(1, 2**60), f"1/{2**60}"),
    ],
)
def test_an_exact_number_is_a_short_decimal_or_a_quotient(value: Fraction, text: str) -> None:
    assert exact_text(value) == text


@given(st.fractions() | st.floats(allow_nan=False, allow_infinity=False).map(Fraction))
@example(Fraction(5e-324))
@example(Fraction(1.7976931348623157e308))
def test_an_exact_number_reads_back(value: Fraction) -> None:
    """Every float64 among them; it never becomes another number on its way."""
    assert EXACTLY.back is not None
    assert EXACTLY.back(EXACTLY.to(value)) == value


@pytest.mark.parametrize("text", ["", "x", "1/0", "1e999", "1" * 1001, "1/3/5"])
def test_what_is_no_exact_number_is_refused(text: str) -> None:
    assert EXACTLY.back is not None
    with pytest.raises(ValueError, match="a number of at most 1000 digits, or a quotient of two, is expected"):
        EXACTLY.back(text)


def test_numbers_that_json_has_not_are_null() -> None:
    values = [0.0, -1.5, math.inf, -math.inf, math.nan, 5e-324]
    assert finite_or_null(values) == [0.0, -1.5, None, None, None, 5e-324]
    assert finite_or_null([]) == []


def written(hint: Any) -> Written:
    """How a type says it is written."""
    return next(part for part in get_args(hint) if isinstance(part, Written))


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5).map(tuple))
@example(("birdnn", "verify", "--net", "my net's.onnx", ""))
def test_a_command_reads_back_word_for_word(words: tuple[str, ...]) -> None:
    """As a shell reads it: words with blanks and quotes, and empty ones."""
    form = written(CommandLine)
    assert form.back is not None
    assert form.back(form.to(words)) == words


def test_empty_text_is_null() -> None:
    form = written(OrNull)
    assert form.back is not None
    assert [form.to(""), form.to("x"), form.back(None), form.back("x")] == [None, "x", "", "x"]


@publishes("FirstModel", "count file=path seed=request.seed", report=True)
@dataclass(frozen=True)
class First:
    """What it is.

    In two paragraphs.

    Attributes:
        count: nobody sees it in a schema.

    Raises:
        ValueError: nor this.
    """

    count: int


class Second(First):
    """Of another name."""


@publishes("ThirdModel", "", text="Said elsewhere.", told={"line": str})
class Third:
    """Not this."""


def test_a_record_declares_where_its_fields_are() -> None:
    form = First.__published__  # type: ignore[attr-defined]
    assert list(form.fields.items()) == [("count", "count"), ("file", "path"), ("seed", "request.seed")]
    assert (form.name, form.report, form.kinds, form.told, form.earlier) == ("FirstModel", True, (), {}, None)


def test_a_record_is_described_by_the_head_of_its_docstring() -> None:
    assert First.__published__.text == "What it is.\n\nIn two paragraphs."  # type: ignore[attr-defined]
    third = Third.__published__  # type: ignore[attr-defined]
    assert (third.text, third.fields, third.told) == ("Said elsewhere.", {}, {"line": str})


def test_kinds_of_a_record_inherit_its_form() -> None:
    assert Second.__published__ is First.__published__  # type: ignore[attr-defined]
