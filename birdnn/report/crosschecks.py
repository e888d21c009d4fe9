"""The verdict matrix, property by engine, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from birdnn.printable import readable
from birdnn.records import EngineAnswer
from birdnn.report.tables import plain_table

_STYLES = {
    "proved": "bold green",
    "violated": "bold red",
    "not_reproduced": "bold red",
    "crash": "bold yellow",
    "near_miss": "bold yellow",
}


def verdict_matrix(rows: Sequence[tuple[str, Sequence[EngineAnswer]]]) -> RenderableType:
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
