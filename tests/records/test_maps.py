"""Numbers of pictures as text: what is written reads back, and what is damaged is refused when it is read."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.records import NO_CELL, Grid, Series, ShownBoxes
from birdnn.records.maps import pack_numbers, unpack_numbers
from tests.report.maps import corner, line, panel, plain, stripes

CELLS = st.lists(st.integers(0, NO_CELL), min_size=6, max_size=6)


@given(CELLS, st.sampled_from([(1, 6), (2, 3), (3, 2)]))
def test_a_grid_reads_back(cells: list[int], shape: tuple[int, int]) -> None:
    """Row by row, up to the number that stands for no cell."""
    values = np.array(cells).reshape(shape)
    made = Grid.of(values)
    assert (made.rows, made.columns) == shape
    assert made.array().tolist() == values.tolist()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_a_series_reads_back(values: list[float]) -> None:
    made = Series.of(np.array(values))
    assert made.count == len(values)
    assert made.array().tolist() == values


def test_boxes_read_back_and_may_be_none() -> None:
    boxes = np.array([[0.0, 1.0, -2.0, 0.5], [3.0, 4.0, 5.0, 6.0]])
    assert ShownBoxes.of(boxes).array().tolist() == boxes.tolist()
    assert ShownBoxes.of(np.zeros((0, 4))).array().shape == (0, 4)


def test_numbers_have_one_byte_order_on_every_machine() -> None:
    assert zlib.decompress(base64.b64decode(Grid.of(np.array([[258]])).data)) == b"\x02\x01"


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no base64!", "no base64 of zlib"),
        # Characters that are none of base64's are no part of what is packed, though a lenient reader skips them.
        ("!" + pack_numbers(np.zeros(4, "<u2")), "no base64 of zlib"),
        (text_of(b"no zlib"), "no base64 of zlib"),
        (pack_numbers(np.zeros(3, "<u2")), "holds less than 4 numbers"),
        (pack_numbers(np.zeros(5, "<u2")), "holds more than 4 numbers"),
        (text_of(zlib.compress(b"\0" * 9)), "holds more than 4 numbers"),
        (text_of(zlib.compress(b"\0" * 8)[:4]), "holds less than 4 numbers"),
        ("", "holds less than 4 numbers"),
    ],
)
def test_text_that_holds_something_else_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack_numbers(text, "<u2", 4)
    with pytest.raises(ValueError, match=problem):
        Grid(rows=2, columns=2, data=text)


def test_a_few_kilobytes_do_not_unpack_to_gigabytes() -> None:
    """Unpacking ends one byte after what was asked for."""
    bomb = text_of(zlib.compress(b"\0" * (1 << 24)))
    assert len(bomb) < 1 << 16
    with pytest.raises(ValueError, match="holds more than 1 numbers"):
        unpack_numbers(bomb, "<u2", 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_drawn(bad: float) -> None:
    with pytest.raises(ValueError, match="one of the numbers is none"):
        Series.of(np.array([0.0, bad]))
    with pytest.raises(ValueError, match="a bound that is no number"):
        ShownBoxes.of(np.array([[0.0, 1.0, 0.0, bad]]))


def test_the_share_of_a_picture_that_is_violated() -> None:
    cells = stripes(5)  # 20 rows, 30 columns
    assert panel("", cells, corner(cells, 3)).unsafe_share == 9 / 600


@pytest.mark.parametrize(
    "changes",
    [
        {"start": (0.0,)},
        {"end": (0.0, 0.0, 0.0)},
        {"shown_start": ()},
        {"shown_end": (1.0,)},
        {"inputs": ()},
        {"along": 2},
        {"along": -1},
    ],
)
def test_the_ends_of_a_line_are_inputs_of_one_network(changes: dict[str, Any]) -> None:
    """A negative place would name another input."""
    with pytest.raises(ValueError, match="the ends of a line do not fit its inputs"):
        line(**changes)


def test_a_line_may_run_along_each_of_its_inputs() -> None:
    assert [line(along=place).along for place in (None, 0, 1)] == [None, 0, 1]
    assert replace(line(), mark=None).mark is None


def test_each_position_of_a_line_has_a_margin() -> None:
    """A file with more or fewer was read, and failed when it was drawn."""
    made = line()
    for count in (1, 4, 6):
        other = replace(made.panels[1], margins=Series.of(np.zeros(count)))
        with pytest.raises(ValueError, match="not one margin for each position"):
            line(panels=(made.panels[0], other))


@pytest.mark.parametrize("shape", [(30, 20), (20, 29), (1, 1)])
def test_both_grids_of_a_panel_are_of_one_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of different numbers of cells"):
        panel("", stripes(5), np.zeros(shape, dtype=np.int64))


def test_each_cell_decides_for_an_output_that_has_a_name() -> None:
    """Or for none, outside of the domain."""
    cells = stripes(5)
    cells[0, 0] = NO_CELL
    plain(panel("", cells, np.zeros_like(cells)))
    cells[1, 1] = 5
    with pytest.raises(ValueError, match="an output beyond the 5 that have names"):
        plain(panel("before", stripes(5), np.zeros_like(cells)), panel("after", cells, np.zeros_like(cells)))
    nowhere = np.full_like(cells, NO_CELL)
    plain(panel("", nowhere, np.zeros_like(cells)))
