"""The verdict matrix, property by engine, and what ``doctor`` found, as tables and as published."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.records import DoctorOutcome, EngineAnswer, EngineState
from birdnn.report.json import machine_model
from birdnn.report.schema import DoctorReport, EngineStateModel, readable
from birdnn.report.tables import add_fact, facts_grid, plain_table

_STYLES = {
    "proved": "bold green",
    "violated": "bold red",
    "not_reproduced": "bold red",
    "crash": "bold yellow",
    "near_miss": "bold yellow",
}


def doctor_report(outcome: DoctorOutcome) -> DoctorReport:
    """The published model."""
    return DoctorReport(
        engines=[
            EngineStateModel(
                name=s.name, role=s.role, version=s.version, usable=s.usable, note=s.note, install=s.install or None
            )
            for s in outcome.states
        ],
        versions=dict(outcome.versions),
        machine=machine_model(outcome.machine),
    )


def doctor_summary(outcome: DoctorOutcome, width: int = 80) -> RenderableType:
    """What is there, then how to get what is not."""
    table = plain_table()
    for title in ("engine", "version", "state"):
        table.add_column(title)
    table.add_column("for", overflow="fold", max_width=max(20, width // 2))
    grid = facts_grid()
    for state in outcome.states:
        table.add_row(Text(state.name), Text(state.version or "-"), _state(state), Text(state.role))
        add_fact(grid, state.name, "; ".join(part for part in (state.note, _get(state)) if part))
    return Group(table, grid)


def _state(state: EngineState) -> Text:
    if state.usable:
        return Text("usable", "bold green")
    return Text("missing", "bold yellow") if state.version is None else Text("not usable", "bold red")


def _get(state: EngineState) -> str:
    return f"to get it: {state.install}" if state.install else ""


def matrix(rows: Sequence[tuple[str, Sequence[EngineAnswer]]]) -> RenderableType:
    """Property by engine: answer, arithmetic, time, remark."""
    table = plain_table()
    for title in ("property", "engine", "answer"):
        table.add_column(title, overflow="fold")
    table.add_column("time", justify="right")
    table.add_column("arithmetic; remark", overflow="fold")
    for name, answers in rows:
        for index, answer in enumerate(answers):
            said = "; ".join(part for part in (answer.arithmetic, answer.detail) if part)
            table.add_row(
                Text(readable(name) if index == 0 else ""),
                Text(f"{answer.engine} {answer.version}".strip()),
                Text(answer.answer.replace("_", " "), _STYLES.get(answer.answer, "")),
                f"{answer.seconds:.1f} s",
                Text(readable(said)),
            )
    return table
