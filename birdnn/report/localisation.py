"""`localize`'s outcome as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.printable import readable
from birdnn.records import Form, LocalizeOutcome, PropertyLocalisation
from birdnn.report.tables import add_fact, add_notes, duration_text, facts_grid, plain_table
from birdnn.report.text import NARROW
from birdnn.report.words import percent

FORMS: Mapping[Form, str] = {
    "mean": "difference of means over spread: 0 behaves alike on both kinds of samples, 1 tells them apart",
    "sum": "difference of summed outputs, as in the paper: biased by unequal numbers of samples",
}


def localize_summary(outcome: LocalizeOutcome, width: int = 80) -> RenderableType:
    """For each property the most responsible neurons and the check by interventions, then what was found on the way."""
    parts: list[RenderableType] = []
    for answer in outcome.answers:
        parts += [*_answer_parts(answer, outcome, width), Text()]
    facts = facts_grid()
    if any(answer.layers for answer in outcome.answers):
        add_fact(facts, "responsibility", FORMS[outcome.request.form])
        add_fact(facts, "counted", "layers and neurons from 0, from the input to the output")
    add_fact(facts, "time", duration_text(outcome.wall_s))
    add_notes(facts, outcome.notes)
    return Group(*parts[:-1], facts)


def _answer_parts(answer: PropertyLocalisation, outcome: LocalizeOutcome, width: int) -> list[RenderableType]:
    if not answer.layers:
        # Why there is nothing to localise is the answer, and no error.
        return [Text(f"{readable(answer.name)}: {readable(answer.note)}.", "bold yellow")]
    title = Text(f"{readable(answer.name)}: the {len(answer.top)} most responsible of {answer.size:,} neurons", "bold")
    table = plain_table()
    for name in ("rank", "layer", "neuron", "responsibility", "mean, positive", "mean, negative"):
        # the names of the means have two words, and break between them; a single word would be cut
        table.add_column(name, justify="right", no_wrap=" " not in name)
    if width >= NARROW:
        table.add_column("activation", overflow="fold")
    for entry in answer.top:
        node = [Text(readable(entry.node))] if width >= NARROW else []
        numbers = (f"{entry.responsibility:.4g}", f"{entry.positive_mean:.4g}", f"{entry.negative_mean:.4g}")
        table.add_row(str(entry.rank), str(entry.layer), str(entry.neuron), *numbers, *node)
    facts = facts_grid()
    add_fact(facts, "samples", _samples_text(answer))
    return [title, table, facts, *_check_parts(answer)]


def _samples_text(answer: PropertyLocalisation) -> str:
    # Points of an attack are no sample of the region: their number says nothing of how often it is violated.
    if answer.found_by == "sampling":
        return f"{answer.positives:,} positive, {answer.distinct:,} negative, uniform"
    uniform = f"{answer.uniform:,} of {answer.samples:,} uniform ones negative"
    hunted = f"{answer.distinct:,} different negative ones by sampling and attack"
    return f"{answer.positives:,} positive, uniform; {uniform}, {hunted}"


def _check_parts(answer: PropertyLocalisation) -> list[RenderableType]:
    """Violations that remain when neurons are fixed."""
    if not answer.checks:
        return [Text("No held-out negative sample was found to check the ranking by interventions.", "yellow")]
    n, draws = answer.checks[0].n, answer.checks[0].draws
    table = plain_table()
    table.add_column("k fixed", justify="right")
    table.add_column("top k: still violate", justify="right")
    table.add_column(f"random k, {draws} draws", justify="right")
    table.add_column("top k: newly violate", justify="right")
    for check in answer.checks:
        chance = f"{percent(check.random_mean)} ± {check.random_spread * 100:.1f}"
        table.add_row(str(check.k), percent(check.top), chance, percent(check.broken))
    return [Text(), Text(f"Neurons fixed to their positive mean, on {n:,} held-out negative samples:"), table]
