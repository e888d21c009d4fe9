"""The two kinds of tables that the summaries are made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from birdnn.printable import readable


def plain_table() -> Table:
    """A table without a frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)


def facts_grid() -> Table:
    """An empty grid of names and values, for `add_fact`."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", max_width=22, overflow="fold")
    grid.add_column(overflow="fold")
    # Sets it off from the table above.
    grid.add_row("", "")
    return grid


def add_fact(grid: Table, name: str, value: str) -> None:
    """A row; none where there is nothing to say."""
    if value:
        grid.add_row(Text(name), Text(readable(value)))


def add_notes(grid: Table, notes: Iterable[str]) -> None:
    """A row for each note."""
    for note in notes:
        add_fact(grid, "note", note)


def duration_text(value: float) -> str:
    """A duration as people read it: ``0.04 s``, ``12.3 s``, ``4 min 05 s``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    # Rounded before it is divided: 179.7 s are 3 min 00 s, not 2 min 60 s.
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size_text(size: float) -> str:
    """A number of bytes as people read it: ``83 kB``, ``0.12 MB``."""
    # What rounds to a hundred of one unit is told in the next, and whole: `.2g` writes 1e+02.
    value, unit = (size / 1e6, "MB") if size >= 99_500 else (size / 1e3, "kB")
    return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.2g} {unit}"


def place_text(path: str) -> str:
    """Where a file is, relative to the folder that the user is in, if it lies there."""
    place = Path(path)
    if place.is_absolute() and place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    return str(place)


def file_line(name: str, path: str, more: str = "") -> Text:
    """Where a file is, on a line that nothing breaks; relative to the folder that the user is in, if it lies there."""
    said = Text.assemble((f"{name:<18}", "dim"), readable(place_text(path)), f" ({more})" if more else "")
    # A path that is broken or cut short cannot be copied from the terminal.
    said.no_wrap, said.overflow = True, "ignore"
    return said
