"""Points with the desired answer, from CSV: ``x_0,x_1,decision`` or ``x_0,x_1,y_0,y_1,tolerance``, one row a point.

The header names the columns, in any order and in either case. ``decision`` is the index of the output that ought to
decide, or its name where a suite gives it one; ``y_0`` and so on are the outputs wished for, each up to ``tolerance``,
which may be left out where the command line says it. Empty lines are skipped. Numbers are decimals, kept exactly.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from birdnn.decimals import FORM, parse_number
from birdnn.errors import FormatError
from birdnn.formats.files import read_bytes, sha256, stem_and_kind
from birdnn.reading import guarded_reader

MAX_POINTS = 10_000
_MAX_BYTES = 1 << 26
LARGEST = Fraction(2**128 - 2**104)
"""Of float32."""
_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One row.

    Attributes:
        line: where it ends in the file, counted from 1.
        x: the input.
        decision: index of the output that ought to decide; None where `y` says what is wished.
        y: the outputs wished for; empty where `decision` says it.
        tolerance: how far each output may be from `y`; None where the row does not say it.
    """

    line: int
    x: tuple[Fraction, ...]
    decision: int | None
    y: tuple[Fraction, ...]
    tolerance: Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """A file of points; `name` is the file's stem, `sha256` of its content, unpacked where it is gzip."""

    name: str
    path: str
    sha256: str
    points: tuple[Point, ...]

    @property
    def decided(self) -> bool:
        """Are decisions wished for, rather than outputs?"""
        return self.points[0].decision is not None


@guarded_reader
def read_points(path: str | Path, n_inputs: int, n_outputs: int, names: Sequence[str] = ()) -> Points:
    """Read a file of points for a network of these sizes, compressed or not.

    Args:
        path: the file.
        n_inputs, n_outputs: of the network.
        names: of the outputs, where they have any.

    Raises:
        FormatError: the file is no such table; names the line, what was expected and what was found.
    """
    data = read_bytes(path, _MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next((row for row in rows if row), [])
        table = _Table(str(path), header, rows.line_num, n_inputs, n_outputs, names)
        points = []
        for row in rows:
            if row:
                points.append(table.point(row, rows.line_num))
            if len(points) > MAX_POINTS:  # while reading: no more are made than are allowed
                raise FormatError(str(path), f"line {rows.line_num}", f"more than {MAX_POINTS:,} points")
    except csv.Error as error:
        raise FormatError(str(path), f"line {rows.line_num}", f"not CSV: {error}") from None
    if not points:
        raise FormatError(str(path), f"line {rows.line_num}", "no points: a header and at least one row are expected")
    return Points(
        name=stem_and_kind(path)[0], path=str(Path(path).resolve()), sha256=sha256(data), points=tuple(points)
    )


class _Table:
    """The header, and how rows are read by it."""

    def __init__(
        self, path: str, header: Sequence[str], line: int, n_inputs: int, n_outputs: int, names: Sequence[str]
    ) -> None:
        self.path, self.n_outputs, self.names = path, n_outputs, [name.casefold() for name in names]
        self.columns = [cell.strip().casefold() for cell in header]
        self.inputs = [f"x_{i}" for i in range(n_inputs)]
        outputs = [f"y_{i}" for i in range(n_outputs)]
        self.outputs = outputs if "decision" not in self.columns else []
        wished = self.outputs or ["decision"]
        allowed = {*self.inputs, *wished, *(["tolerance"] if self.outputs else [])}
        found = set(self.columns)
        form = f"x_0 .. x_{n_inputs - 1} and either decision or y_0 .. y_{n_outputs - 1}"
        if missing := [name for name in (*self.inputs, *wished) if name not in found]:
            raise FormatError(path, f"line {line}", f"column {missing[0]!r} is missing; the network wants {form}")
        if strange := [name for name in self.columns if name not in allowed]:
            raise FormatError(path, f"line {line}", f"column {strange[0]!r} is unknown here; the network wants {form}")
        if len(found) < len(self.columns):
            raise FormatError(path, f"line {line}", "a column is named twice")

    def point(self, row: Sequence[str], line: int) -> Point:
        """One row as a point."""
        if len(row) != len(self.columns):
            expected = f"{len(self.columns)} values are expected, as in the header"
            raise FormatError(self.path, f"line {line}", f"{expected}; found {len(row)}")
        cells = dict(zip(self.columns, (cell.strip() for cell in row), strict=True))
        tolerance = self.number(cells, "tolerance", line) if "tolerance" in cells else None
        if tolerance is not None and tolerance <= 0:
            raise FormatError(self.path, f"line {line}", f"tolerance {cells['tolerance']} is not positive")
        return Point(
            line=line,
            x=tuple(self.number(cells, name, line) for name in self.inputs),
            decision=None if self.outputs else self.decision(cells["decision"], line),
            y=tuple(self.number(cells, name, line) for name in self.outputs),
            tolerance=tolerance,
        )

    def number(self, cells: dict[str, str], name: str, line: int) -> Fraction:
        """A finite decimal that float32 can hold."""
        exact = parse_number(cells[name])
        if exact is None or abs(exact) > LARGEST:
            raise FormatError(self.path, f"line {line}", f"{name}: {_number_problem(cells[name])}")
        return exact

    def decision(self, cell: str, line: int) -> int:
        """The index of an output, given as such or by name."""
        # first, since a suite may call an output by a number
        if cell.casefold() in self.names:
            return self.names.index(cell.casefold())
        # `isdigit` alone lets superscripts pass, which `int` does not read
        if cell.isascii() and cell.isdigit() and len(cell) < 10 and int(cell) < self.n_outputs:
            return int(cell)
        known = f" or one of {', '.join(self.names)}" if self.names else ""
        known = f"expected is an output's index, 0 to {self.n_outputs - 1}{known}"
        raise FormatError(self.path, f"line {line}", f"decision {cell!r} is unknown; {known}")


def _number_problem(cell: str) -> str:
    """Why a cell is no number that float32 holds."""
    shown = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}..."
    try:
        value = float(cell)
    except ValueError:
        return f"{shown!r} is not a number"
    if not math.isfinite(value) and not any(sign.isdigit() for sign in cell):
        return f"{shown} is not a finite number"
    if abs(value) > LARGEST:
        return f"{shown} is beyond the range of float32"
    return f"{shown!r} is no number that we read, which is {FORM}"
