"""What a picture shows, in words for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.printable import readable
from birdnn.records import PlotOutcome
from birdnn.report.drawing import Drawing
from birdnn.report.tables import add_fact, add_notes, duration_text, facts_grid, file_line


def plot_summary(outcome: PlotOutcome, out: Path, drawing: Drawing) -> RenderableType:
    """The title, what is seen, where it lies."""
    grid = facts_grid()
    drawn = outcome.drawn
    # A map may be about no property.
    if drawn.text:
        add_fact(grid, drawn.property or "property", drawn.text)
    add_fact(grid, "seen", drawing.description)
    add_fact(grid, "time", duration_text(outcome.wall_s))
    add_notes(grid, outcome.notes)
    return Group(Text(readable(drawing.title), "bold"), grid, file_line("picture", str(out)))


def drawn_summary(out: Path, drawing: Drawing) -> RenderableType:
    """The title of a picture of a repair, what is seen, where it lies."""
    grid = facts_grid()
    add_fact(grid, "seen", drawing.description)
    return Group(Text(readable(drawing.title), "bold"), grid, file_line("picture", str(out)))
