"""The guard of readers, the parser of decimals, and text that must not act."""

from __future__ import annotations

import csv
import io
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.decimals import exact_number, parse_exact, parse_number
from birdnn.errors import FormatError, InputError, OutputError, UnreadableError
from birdnn.printable import cell_text, csv_text, printable
from birdnn.reading import guarded_reader, reading

UNFORESEEN = [
    ValueError("no"), TypeError("no"), KeyError("no"), IndexError("no"), OverflowError("no"), EOFError(), MemoryError(),
    RecursionError("deep"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), zipfile.BadZipFile("no"),
    OSError(5, "no"), AssertionError(), NotImplementedError("no"), RuntimeError("no\nand more"),
    ZeroDivisionError("no"),
]  # fmt: skip


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_whatever_a_reader_meets_is_about_the_file(error: Exception) -> None:
    """Status 4, one line, the file's name; what it was stays at hand for --debug."""

    @guarded_reader
    def read(path: str | Path, more: int, *, again: int) -> int:
        """Read."""
        if more:
            raise error
        return again

    assert read.__doc__ == "Read."
    assert read("a.bin", 0, again=2) == 2
    with pytest.raises(UnreadableError) as caught:
        read(Path("a.bin"), 1, again=2)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_status == 4
    assert str(caught.value).startswith("a.bin: cannot be read: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [FormatError("b", "line 1", "no"), OutputError("b", "no"), KeyboardInterrupt()])
def test_errors_on_purpose_and_interruptions_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, reading("a.bin"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)), ("-0.50", Fraction(-1, 2)), ("+.5e1", Fraction(5)), ("5.", Fraction(5)),
        ("1E-400", Fraction(1, 10**400)), ("1e400", Fraction(10**400)), ("9" * 1000, Fraction(10**1000 - 1)),
        ("1e401", None), ("1e-401", None), ("1e-999999999", None), ("0e-999999999", None), ("1e" + "9" * 500, None),
        ("9" * 1001, None), ("0." + "0" * 1000, None), ("", None), (".", None), ("1_0", None), ("٣", None),
        (" 1", None), ("1\n", None), ("nan", None), ("inf", None), ("0x10", None), ("1/3", None), ("--1", None),
    ],
)  # fmt: skip
def test_decimals(text: str, value: Fraction | None) -> None:
    assert parse_number(text) == value


def test_quotients() -> None:
    """As our own files write what no decimal says."""
    assert parse_exact("-1/3") == Fraction(-1, 3)
    assert parse_exact("0.5") == exact_number("0.5") == Fraction(1, 2)
    for text in ("1/0", "1/-3", "1/2/3", "1/", "/2", "1e-999999999/3", "1/" + "9" * 1001):
        assert parse_exact(text) is None
        with pytest.raises(ValueError, match="no number that we read"):
            exact_number(text)


def test_text_that_would_act_is_written_out() -> None:
    assert printable("a\x1b[2Jb\x07\x9b\x7f\tc\rd\ne") == "a\\x1b[2Jb\\x07\\x9b\\x7f\\tc\\rd\\ne"
    assert printable("a\nb", lines=True) == "a\nb"
    assert printable("\u202ecod\u2066\u2028\udcff") == "\\u202ecod\\u2066\\u2028\\udcff"
    assert printable("Größe = 3 µm, 名前, \U0001f600") == "Größe = 3 µm, 名前, \U0001f600"


@given(st.text())
def test_printable_text_stays_as_it_is(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert once.isprintable() or not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in once)


@pytest.mark.parametrize(
    "name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "'=1", "''@x", "-", "=1\n"]
)
def test_names_are_no_formulas(name: str) -> None:
    """A spreadsheet computes what a cell begins with; an apostrophe keeps it text."""
    text = csv_text([["name", "value"], [name, "1"]])
    cell = next(row for row in list(csv.reader(io.StringIO(text, newline="")))[1:])[0]
    assert cell == f"'{name}"
    assert cell_text(cell) == name


@pytest.mark.parametrize(
    "value", ["-1.5", "+2", "1e-3", "-1E+5", "-inf", "nan", -3, 0.5, None, "", "'quoted'", "a=b", "x-1"]
)
def test_numbers_and_plain_names_stay(value: object) -> None:
    (row,) = csv.reader(io.StringIO(csv_text([[value, "x"]]), newline=""))
    assert row[0] == ("" if value is None else str(value))
    assert cell_text(row[0]) == row[0]


@given(st.lists(st.text(alphabet="='+-@\t\r\n,\"ab1"), min_size=2, max_size=4))
def test_cells_come_back(cells: list[str]) -> None:
    (row,) = csv.reader(io.StringIO(csv_text([cells]), newline=""))
    assert [cell_text(cell) for cell in row] == cells
