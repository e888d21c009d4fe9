"""Files of points: what is read, and what is refused with file and line."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import pytest

from birdnn.errors import FormatError
from birdnn.formats.points import MAX_POINTS, read_points

HEADER = "x_0,x_1,decision\n"


def test_decisions_by_index_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "fixes.csv"
    path.write_text("\ufeffdecision, X_1 ,x_0\r\n\r\n2,0.1,-1e-3\r\nwr,2,3\r\n")
    points = read_points(path, 2, 3, ("COC", "WL", "WR"))
    assert (points.name, points.decided, len(points.sha256)) == ("fixes", True, 64)
    first, second = points.points
    assert (first.line, first.x, first.decision) == (3, (Fraction(-1, 1000), Fraction(1, 10)), 2)
    assert (second.line, second.x, second.decision, second.y) == (4, (Fraction(3), Fraction(2)), 2, ())


def test_outputs_with_and_without_a_tolerance(tmp_path: Path) -> None:
    path = tmp_path / "fixes.csv.gz"
    path.write_bytes(gzip.compress(b'x_0,y_0,y_1,tolerance\n"0.5",1,-2,0.125\n'))
    (point,) = read_points(path, 1, 2).points
    assert (point.decision, point.y, point.tolerance) == (None, (Fraction(1), Fraction(-2)), Fraction(1, 8))
    path.write_bytes(b"x_0,y_0,y_1\n0.5,1,-2\n")
    points = read_points(path, 1, 2)
    assert points.points[0].tolerance is None
    assert not points.decided


def test_a_number_too_small_for_any_float_is_kept_where_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "fixes.csv"
    path.write_text(HEADER + "1e-400,-0,1\n")
    assert read_points(path, 2, 2).points[0].x == (Fraction(1, 10**400), 0)


BAD = {
    "": "empty",
    "\n\n": "column 'x_0' is missing",
    HEADER: "line 1: no points",
    "x_0,decision\n1,0\n": "line 1: column 'x_1' is missing; the network wants x_0 .. x_1",
    "x_0,x_1,x_2,decision\n1,2,3,0\n": "line 1: column 'x_2' is unknown",
    "x_0,x_1\n1,2\n": "column 'y_0' is missing; the network wants x_0 .. x_1 and either decision or y_0 .. y_1",
    "x_0,x_1,y_0\n1,2,3\n": "column 'y_1' is missing",
    "x_0,x_1,y_0,y_1,decision\n1,2,3,4,0\n": "column 'y_0' is unknown here",
    "x_0,x_1,decision,tolerance\n1,2,0,1\n": "column 'tolerance' is unknown here",
    "x_0,x_0,x_1,decision\n1,1,2,0\n": "named twice",
    "1,2,0\n": "column 'x_0' is missing",
    HEADER + "1,2,0\n1,2\n": "line 3: 3 values are expected, as in the header; found 2",
    HEADER + "1,2,0,4\n": "line 2: 3 values are expected, as in the header; found 4",
    HEADER + "1,,0\n": "line 2: x_1: '' is not a number",
    HEADER + "1,two,0\n": "line 2: x_1: 'two' is not a number",
    HEADER + "1,nan,0\n": "line 2: x_1: nan is not a finite number",
    HEADER + "1,2,0\n1,-inf,0\n": "line 3: x_1: -inf is not a finite number",
    HEADER + "1,1e39,0\n": "line 2: x_1: 1e39 is beyond the range of float32",
    HEADER + "1,1e999999999,0\n": "line 2: x_1: 1e999999999 is beyond the range",
    HEADER + "1,1e-999999999,0\n": "line 2: x_1: '1e-999999999' is no number that we read",
    HEADER + f"1,{'1' * 1001},0\n": "x_1: 1111",
    HEADER + f"1,0.{'0' * 1001},0\n": "no number that we read, which is a decimal of at most 1000 characters",
    HEADER + "1,2,2\n": "line 2: decision '2' is unknown; expected is an output's index, 0 to 1 or one of coc, wl",
    HEADER + "1,2,-1\n": "decision '-1' is unknown",
    HEADER + "1,2,1.0\n": "decision '1.0' is unknown",
    HEADER + "1,2,wr\n": "decision 'wr' is unknown",
    HEADER + "1,2,\n": "decision '' is unknown",
    "x_0,x_1,y_0,y_1,tolerance\n1,2,3,4,0\n": "line 2: tolerance 0 is not positive",
    "x_0,x_1,y_0,y_1,tolerance\n1,2,3,4,\n": "line 2: tolerance: '' is not a number",
    HEADER + '1,2,"0\n': "not CSV",
    "\x00\x01": "column 'x_0' is missing",
    HEADER + "1,2,0\n" * (MAX_POINTS + 1): f"line {MAX_POINTS + 2}: more than 10,000 points",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:40]))
def test_what_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fixes.csv"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_points(path, 2, 2, ("COC", "WL"))
    assert BAD[text] in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "fixes.csv"
    path.write_bytes(b"x_0,\xff\n")
    with pytest.raises(FormatError, match="byte 4: not UTF-8"):
        read_points(path, 2, 2)
