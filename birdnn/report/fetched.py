"""What ``fetch`` left, as a summary for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.records import FetchOutcome
from birdnn.report.tables import add_fact, duration_text, facts_grid


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
    add_fact(facts, "time", duration_text(outcome.wall_s))
    # What is there already is kept, so the same command goes on where it stopped.
    add_fact(facts, "next", outcome.example if outcome.complete else "the same command again")
    return Group(Text(_headline(outcome, fetched)), facts)


def _headline(outcome: FetchOutcome, fetched: int) -> str:
    if not outcome.complete:
        return f"Stopped before everything was there: {outcome.text}."
    return f"{'Fetched' if fetched else 'Everything is there'}: {outcome.text}."
