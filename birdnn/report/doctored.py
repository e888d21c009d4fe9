"""What ``doctor`` found, as a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.records import DoctorOutcome, EngineState
from birdnn.report.tables import add_fact, facts_grid, plain_table


def doctor_summary(outcome: DoctorOutcome, width: int = 80) -> RenderableType:
    """What is there, then how to get what is not."""
    table = plain_table()
    for title in ("engine", "version", "state"):
        table.add_column(title)
    table.add_column("for", overflow="fold", max_width=max(20, width // 2))
    grid = facts_grid()
    for state in outcome.states:
        table.add_row(Text(state.name), Text(state.version or "-"), _state_text(state), Text(state.role))
        add_fact(grid, state.name, "; ".join(part for part in (state.note, _install_hint(state)) if part))
    return Group(table, grid)


def _state_text(state: EngineState) -> Text:
    # Not asked, which is neither usable nor broken: engines are run with --try only, as loading them takes seconds.
    if state.usable is None:
        return Text("there", "green")
    if state.usable:
        return Text("usable", "bold green")
    return Text("missing", "bold yellow") if state.version is None else Text("not usable", "bold red")


def _install_hint(state: EngineState) -> str:
    return f"to get it: {state.install}" if state.install else ""
