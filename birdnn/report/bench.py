"""A campaign as a summary for people, and as Markdown or CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.printable import counted, csv_text, printable, readable
from birdnn.records import CONTRADICTION, CampaignOutcome, CampaignRow, Figures
from birdnn.report.tables import add_fact, add_notes, facts_grid, plain_table

SHOWN = 10
"""So many names are listed before the rest is counted."""

MEASURES = {"cold": "wall seconds, one process each", "warm": "seconds of the search, in processes that run on"}


def quiet_line(outcome: CampaignOutcome) -> str:
    """The campaign in a line."""
    found = outcome.figures
    undone = sum(not row.answer for row in outcome.rows)
    parts = [f"{found.solved} of {found.n} solved"]
    # A multiplication by False leaves the part out: zeros of what may go wrong are not told.
    parts += [f"{len(found.wrong)} against the known verdict"] * bool(found.wrong)
    parts += [f"{len(outcome.broken)} without a result"] * bool(outcome.broken)
    parts += [f"{undone} not run"] * bool(undone)
    return ", ".join(parts)


def _seconds_cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


_COLUMNS: Sequence[tuple[str, Callable[[Figures], str]]] = (
    ("", lambda found: found.name),
    ("solved", lambda found: f"{found.solved} of {found.n}"),
    ("wrong", lambda found: str(len(found.wrong)) if found.known else "-"),
    ("PAR-2, s", lambda found: _seconds_cell(found.par2_s)),
    ("median, s", lambda found: _seconds_cell(found.median_s)),
    ("slowest, s", lambda found: _seconds_cell(found.slowest_s)),
    ("total, s", lambda found: _seconds_cell(found.total_s)),
)


def _answers_text(found: Figures) -> str:
    return ", ".join(f"{count} {word}" for word, count in found.answers.items())


def bench_summary(outcome: CampaignOutcome) -> RenderableType:
    """What the terminal shows."""
    parts: list[RenderableType] = [Text(f"{quiet_line(outcome)}.", style="bold")]
    parts.append(_figures_table(outcome))
    facts = facts_grid()
    add_fact(facts, "answers", _answers_text(outcome.figures))
    if outcome.figures.slowest:
        add_fact(facts, "slowest", outcome.figures.slowest)
    for line in outcome.kept_figures:
        add_fact(facts, "kept" if line == outcome.kept_figures[0] else " ", line)
    for name, said in _worth_saying(outcome):
        add_fact(facts, name, said)
    add_fact(facts, "rows", f"{outcome.ran} new, {outcome.kept} kept, in {outcome.table}")
    measure = MEASURES.get(outcome.measure, MEASURES["cold"])
    add_fact(facts, "seconds", f"{measure}; {outcome.jobs} at a time, {counted(outcome.threads, 'thread')} each")
    add_fact(facts, "options", outcome.options)
    add_notes(facts, outcome.notes)
    return Group(*parts, facts)


def _figures_table(outcome: CampaignOutcome) -> Table:
    table = plain_table()
    for index, (name, _) in enumerate(_COLUMNS):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for found in _compared_figures(outcome):
        table.add_row(*(Text(readable(cell(found))) for _, cell in _COLUMNS))
    return table


def _compared_figures(outcome: CampaignOutcome) -> list[Figures]:
    """Ours, then for each other table theirs, with ours on the same instances where these are fewer."""
    shown = [outcome.figures]
    for entry in outcome.against:
        # Sums over different instances cannot be compared: where the other table lacks some, ours is shown without them
        # too.
        shown += [entry.ours] if entry.missing else []
        shown.append(entry.theirs)
    return shown


def _worth_saying(outcome: CampaignOutcome) -> list[tuple[str, str]]:
    """Contradictions, broken rows and comparisons, each a name and a sentence."""
    within = [f"{row.name}: {row.note}" for row in outcome.rows if row.answer == CONTRADICTION]
    said = [("contradictory", _first_names(within)), ("against the known", _first_names(outcome.figures.wrong))]
    said.append(("without a result", _first_names(outcome.broken)))
    for entry in outcome.against:
        name = f"with {entry.theirs.name}"
        missing = f"; it lacks {entry.missing} of our instances" if entry.missing else ""
        ratio = "" if entry.ratio is None else f", its time is {entry.ratio:.2g} times ours (geometric mean)"
        said.append((name, f"{entry.both} solved by both, faster on {entry.faster}{ratio}{missing}"))
        # A blank name continues the row above; an empty text is left out below.
        said.append((" ", _labelled_names("solved by us alone", entry.only_ours)))
        said.append((" ", _labelled_names(f"by {entry.theirs.name} alone", entry.only_theirs)))
        said.append(("contradictions", _first_names(entry.contradictions)))
    return [(name, text) for name, text in said if text]


def _labelled_names(what: str, names: Sequence[str]) -> str:
    return f"{what}: {_first_names(names)}" if names else ""


def _first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more


def bench_markdown(outcome: CampaignOutcome, title: str, made_by: str, name: Callable[[str], str] = str) -> str:
    """The summary as Markdown: figures, then every row; `name` shortens an instance's name."""
    lines = [f"# {title}", "", f"{quiet_line(outcome)}.", "", *figures_markdown(_compared_figures(outcome)), ""]
    lines += [
        f"Answers: {_answers_text(outcome.figures)}. PAR-2: mean of the seconds, of twice the limit where unsolved."
    ]
    lines += [f"Seconds: {MEASURES.get(outcome.measure, MEASURES['cold'])}.", ""]
    lines += [f"- {line}" for line in outcome.kept_figures]
    lines += [f"- {what.strip() or 'and'}: {said}" for what, said in _worth_saying(outcome)]
    lines += [""] * bool(outcome.kept_figures or _worth_saying(outcome))
    return readable("\n".join([*lines, made_by, *rows_markdown(outcome.rows, name), ""]))


def figures_markdown(found: Iterable[Figures]) -> list[str]:
    """A line for each table."""
    return _markdown_table([head for head, _ in _COLUMNS], ([cell(one) for _, cell in _COLUMNS] for one in found))


def rows_markdown(rows: Iterable[CampaignRow], name: Callable[[str], str] = str) -> list[str]:
    """A line for each instance, the longest first; columns of the table that any row fills."""
    rows = sorted(rows, key=lambda row: -(row.seconds or 0.0))
    extra = [column for column in _WORTH_SHOWING if any(row.fields.get(column) for row in rows)]
    # Tables of earlier campaigns lack columns of later ones.
    cells = ([name(r.name), r.answer, _seconds_cell(r.seconds), *(r.fields.get(c, "") for c in extra)] for r in rows)
    return _markdown_table(["instance", "answer", "seconds", *extra], cells)


_WORTH_SHOWING = (
    "expected", "boxes", "rounds", "agreement", "mae", "region_agreement", "drawdown", "efficacy", "generalisation",
    "semantics", "certificate_kb", "check_s", "checked",
)  # fmt: skip


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_markdown_cell, line)) + " |" for line in lines]


def _markdown_cell(text: str) -> str:
    """A cell that ends no table and is neither a link nor HTML; underscores, of which names are full, stay."""
    return re.sub(r"([\\|`<\[])", r"\\\1", printable(text, lines=True)).replace("\n", " ")


def bench_csv(outcome: CampaignOutcome) -> str:
    """The figures as CSV, a row for each table."""
    names = "name", "n", "solved", "wrong", "known", "par2_s", "median_s", "slowest_s", "slowest", "total_s"
    rows: list[Iterable[object]] = [names]
    for found in _compared_figures(outcome):
        # `wrong` holds names, of which a cell tells the number; `|` keeps it in its column.
        values = {name: getattr(found, name) for name in names} | {"wrong": len(found.wrong)}
        rows.append(f"{value:.3f}" if isinstance(value, float) else value for value in values.values())
    return csv_text(rows)
