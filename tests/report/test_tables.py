"""Numbers of bytes and files in summaries; durations: `test_text.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.report.tables import add_fact, facts_grid, file_line, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 kB"),
        (512, "0.51 kB"),
        (82_944, "83 kB"),
        (99_999, "0.1 MB"),
        (120_000, "0.12 MB"),
        (99_600_000, "100 MB"),
        (151_300_000, "151 MB"),
        (3_000_000_000, "3,000 MB"),
    ],
)
def test_a_size_is_read_without_powers_of_ten(size: int, text: str) -> None:
    """150 MB were `1.5e+02 MB`, and 99,600 bytes `1e+02 kB`."""
    assert size_text(size) == text


@given(st.integers(1, 10**12))
def test_a_size_is_told_to_two_digits(size: int) -> None:
    number, unit = size_text(size).split()
    assert float(number.replace(",", "")) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(size, rel=0.051)


def test_a_file_below_the_folder_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a line that nothing breaks, so that it can be copied."""
    monkeypatch.chdir(tmp_path)
    said = file_line("report", str(tmp_path / "a" / "b.json"), "3 kB")
    assert said.plain.split() == ["report", "a/b.json", "(3", "kB)"]
    assert said.no_wrap
    assert file_line("report", str(tmp_path.parent / "b.json")).plain.split()[1] == str(tmp_path.parent / "b.json")


def test_what_says_nothing_is_no_row() -> None:
    grid = facts_grid()
    before = grid.row_count
    add_fact(grid, "name", "")
    assert grid.row_count == before
    add_fact(grid, "name", "0")
    assert grid.row_count == before + 1
