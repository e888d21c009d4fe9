"""`fetch`'s outcome: the published model of it, and the summary for the terminal."""

from __future__ import annotations

import shlex

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.records import FetchOutcome
from birdnn.report.schema_fetch import FetchedFileModel, FetchReport
from birdnn.report.tables import add_fact, facts_grid, seconds


def fetch_report(outcome: FetchOutcome) -> FetchReport:
    """The published model."""
    request = outcome.request
    return FetchReport(
        command=shlex.join(request.command),
        dataset=request.dataset,
        to=outcome.to,
        origin=outcome.origin,
        terms=outcome.terms,
        complete=len(outcome.files) == outcome.expected,
        interrupted=outcome.interrupted,
        files=[FetchedFileModel(name=f.name, sha256=f.sha256, size=f.size, state=f.state) for f in outcome.files],
        wall_s=outcome.wall_s,
        versions=dict(outcome.versions),
    )


def fetch_summary(outcome: FetchOutcome) -> RenderableType:
    """What is there now, whose it is, and what can be done with it."""
    fetched = sum(file.state == "fetched" for file in outcome.files)
    size = sum(file.size for file in outcome.files) / 1e6
    facts = facts_grid()
    add_fact(facts, "folder", str(outcome.request.to))
    add_fact(
        facts,
        "files",
        f"{len(outcome.files)} of {outcome.expected}, {size:.1f} MB, every sha256 as expected: {fetched} fetched, "
        f"{len(outcome.files) - fetched} there before",
    )
    add_fact(facts, "from", outcome.origin if fetched else "")
    add_fact(facts, "whose", outcome.terms)
    add_fact(facts, "time", seconds(outcome.wall_s))
    add_fact(facts, "next", outcome.example if len(outcome.files) == outcome.expected else "the same command again")
    return Group(Text(_headline(outcome, fetched)), facts)


def _headline(outcome: FetchOutcome, fetched: int) -> str:
    if len(outcome.files) < outcome.expected:
        return f"Stopped before everything was there: {outcome.text}."
    return f"{'Fetched' if fetched else 'Everything is there'}: {outcome.text}."
