"""`localize`'s outcome: the published model of it, and the tables for the terminal."""

from __future__ import annotations

import shlex

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.records import LocalizeOutcome, PropertyLocalisation
from birdnn.report.evidence import localisation_model
from birdnn.report.json import suite_model
from birdnn.report.machine import machine_model
from birdnn.report.schema import readable
from birdnn.report.schema_samples import LocalizeReport
from birdnn.report.tables import add_fact, add_notes, facts_grid, plain_table, seconds
from birdnn.report.text import NARROW
from birdnn.report.words import percent

FORMS = {
    "mean": "difference of means over spread: 0 behaves alike on both kinds of samples, 1 tells them apart",
    "sum": "difference of summed outputs, as in the paper: biased by unequal numbers of samples",
}


def localize_report(outcome: LocalizeOutcome) -> LocalizeReport:
    """The published model of a ``localize``."""
    request = outcome.request
    properties = [localisation_model(answer, request.top) for answer in outcome.answers]
    localised = any(prop.outcome == "localised" for prop in properties)
    return LocalizeReport(
        command=shlex.join(request.command),
        outcome="localised" if localised else "nothing_to_localise",
        interrupted=outcome.interrupted,
        form=request.form,
        net=outcome.net,
        net_sha256=outcome.net_sha256,
        properties=properties,
        suite=None if outcome.suite is None else suite_model(outcome.suite),
        units=request.units,
        seed=request.seed,
        wall_s=outcome.wall_s,
        notes=list(outcome.notes),
        versions=dict(outcome.versions),
        machine=machine_model(outcome.machine),
    )


def localize_summary(outcome: LocalizeOutcome, width: int = 80) -> RenderableType:
    """For each property the most responsible neurons and the check by interventions, then what was found on the way."""
    parts: list[RenderableType] = []
    for answer in outcome.answers:
        parts += [*_answer(answer, outcome, width), Text()]
    facts = facts_grid()
    if any(answer.localisation for answer in outcome.answers):
        add_fact(facts, "responsibility", FORMS[outcome.request.form])
        add_fact(facts, "counted", "layers and neurons from 0, from the input to the output")
    add_fact(facts, "time", seconds(outcome.wall_s))
    add_notes(facts, outcome.notes)
    return Group(*parts[:-1], facts)


def _answer(answer: PropertyLocalisation, outcome: LocalizeOutcome, width: int) -> list[RenderableType]:
    found = answer.localisation
    if found is None:
        return [Text(f"{readable(answer.name)}: {readable(answer.note)}.", "bold yellow")]
    title = Text(
        f"{readable(answer.name)}: the {outcome.request.top} most responsible of {found.size:,} neurons", "bold"
    )
    table = plain_table()
    for name in ("rank", "layer", "neuron", "responsibility", "mean, positive", "mean, negative"):
        table.add_column(name, justify="right")
    if width >= NARROW:
        table.add_column("activation", overflow="fold")
    for rank, entry in enumerate(found.ranking()[: outcome.request.top], 1):
        node = [Text(readable(found.layers[entry.layer].node))] if width >= NARROW else []
        numbers = (f"{entry.value:.4g}", f"{entry.positive:.4g}", f"{entry.negative:.4g}")
        table.add_row(str(rank), str(entry.layer), str(entry.neuron.index), *numbers, *node)
    facts = facts_grid()
    add_fact(facts, "samples", _samples(answer, found.positives))
    return [title, table, facts, *_checks(answer)]


def _samples(answer: PropertyLocalisation, positives: int) -> str:
    if answer.found_by == "sampling":
        return f"{positives:,} positive, {answer.distinct:,} negative, uniform"
    hunted = f"{answer.distinct:,} different negative ones by sampling and attack"
    return f"{positives:,} positive, uniform; {answer.uniform:,} of {answer.samples:,} uniform ones negative, {hunted}"


def _checks(answer: PropertyLocalisation) -> list[RenderableType]:
    """Violations that remain when neurons are fixed."""
    if not answer.checks:
        return [Text("No held-out negative sample was found to check the ranking by interventions.", "yellow")]
    n, draws = answer.checks[0].n, len(answer.checks[0].random)
    table = plain_table()
    table.add_column("k fixed", justify="right")
    table.add_column("top k: still violate", justify="right")
    table.add_column(f"random k, {draws} draws", justify="right")
    table.add_column("top k: newly violate", justify="right")
    for check in answer.checks:
        chance = f"{percent(check.random_mean)} ± {check.random_spread * 100:.1f}"
        table.add_row(str(check.k), percent(check.top), chance, percent(check.broken))
    return [Text(), Text(f"Neurons fixed to their positive mean, on {n:,} held-out negative samples:"), table]
