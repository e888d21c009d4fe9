"""Results as tables for the terminal: Rich renderables, readable from 60 columns on and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, assert_never

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.printable import counted, readable
from birdnn.records import (
    ApplicableOutcome,
    CertificateFile,
    Drawdowns,
    EngineAnswer,
    Fidelity,
    Guarantee,
    InitialiserChange,
    Neighbours,
    PropertyOutcome,
    PropertyRepair,
    Proved,
    Rate,
    Tone,
    Tried,
    Unknown,
    Verdict,
    VerifyOutcome,
    Violated,
)
from birdnn.report.crosschecks import verdict_matrix
from birdnn.report.headline import (
    behaviour_words,
    change_words,
    decided_words,
    result_in_words,
    right_words,
    tied_words,
    worst_kept_place,
)
from birdnn.report.tables import add_fact, add_notes, duration_text, facts_grid, file_line, plain_table, size_text
from birdnn.report.witnesses import HOLDS, REASONS, replay_text
from birdnn.report.words import at_most_text, percent

NARROW = 72
"""Below this width tables leave out their least needed columns."""

STYLES: Mapping[Guarantee, str] = {
    "proved": "bold green",
    "violated": "bold red",
    "unknown": "bold yellow",
}
_TONES: Mapping[Tone, Guarantee] = {"good": "proved", "warn": "unknown", "bad": "violated"}
_BASIS: Mapping[Guarantee, str] = {
    "proved": "complete search",
    "violated": "counterexample",
    "unknown": "none",
}


def verify_summary(outcome: VerifyOutcome, width: int = 80) -> RenderableType:
    """One row for each property, then what was found out on the way."""
    table = plain_table()
    table.add_column("property", overflow="fold")
    table.add_column("answer")
    table.add_column("VNN-COMP")
    table.add_column("boxes", justify="right")
    table.add_column("time", justify="right")
    if width >= NARROW:
        table.add_column("because", overflow="fold")
    for answer in outcome.verdicts:
        cells: list[RenderableType] = [
            Text(readable(answer.name)),
            Text(answer.outcome, STYLES[answer.outcome]),
            Text(answer.competition_verdict),
            f"{answer.verdict.boxes:,}",
            duration_text(answer.solve_s),
        ]
        table.add_row(*cells, *([Text(_reason_text(answer.verdict))] if width >= NARROW else []))
    grid = facts_grid()
    for answer in outcome.verdicts:
        # Below the table, not in it: inputs are too wide for a column.
        if isinstance(answer.verdict, Violated):
            x = ", ".join(f"{v:.6g}" for v in answer.verdict.witness.x[:8])
            more = f" (of {len(answer.verdict.witness.x)})" if len(answer.verdict.witness.x) > 8 else ""
            add_fact(grid, f"input that breaks {answer.name}", f"{x}{more}")
            add_fact(grid, "where it does", HOLDS[answer.verdict.witness.exactly])
    # Always, also where it is the usual one: without it nobody knows whether a proof speaks about the reals or about
    # runs.
    _add_arithmetic(grid, [(v.name, v.verdict.arithmetic) for v in outcome.verdicts])
    add_fact(grid, "time in all", duration_text(outcome.wall_s))
    add_notes(grid, outcome.notes)
    add_fact(grid, "disagreement", outcome.disagreement)
    engines = _matrix_if_asked([(v.name, v.engines) for v in outcome.verdicts])
    return Group(table, *engines, grid, *certificate_lines(outcome.certificate))


def _matrix_if_asked(rows: Sequence[tuple[str, Sequence[EngineAnswer]]]) -> list[RenderableType]:
    asked = [row for row in rows if row[1]]
    return ["", verdict_matrix(asked)] if asked else []


def repair_summary(outcome: PropertyRepair, width: int = 80, *, verbose: bool = False) -> RenderableType:
    """What a person wants to know after a repair: the properties, what else changed, where the files are.

    It fits a screen of 24 lines where properties and remarks are few: a fact has a line there, and ``verbose`` tells
    the rest of it.
    """
    table = plain_table()
    table.add_column("property", overflow="fold")
    table.add_column("before")
    table.add_column("after")
    table.add_column("guarantee")
    if width >= NARROW:
        table.add_column("boxes", justify="right")
    table.add_column("time", justify="right")
    for prop in outcome.properties:
        boxes = [f"{prop.boxes:,}"] if width >= NARROW else []
        name = Text(readable(prop.name if prop.role == "goal" else f"{prop.name} ({prop.role})"))
        before, after = Text(prop.before, STYLES[prop.before]), Text(prop.after, STYLES[prop.after])
        table.add_row(name, before, after, _guarantee_basis(prop), *boxes, duration_text(prop.verify_s))
    grid = facts_grid()
    if outcome.out is not None:
        _add_measurements(grid, outcome, verbose=verbose)
    _add_fresh_samples(grid, outcome, verbose=verbose)
    _add_time_spent(grid, outcome, verbose=verbose)
    add_notes(grid, outcome.notes)
    _add_suite_facts(grid, outcome)
    engines = _matrix_if_asked([(p.name, p.engines) for p in outcome.properties])
    return Group(repair_headline(outcome), table, *engines, grid, *_file_lines(outcome))


def repair_headline(outcome: PropertyRepair) -> Text:
    """The result, as every report says it."""
    result = result_in_words(outcome)
    return Text.assemble((f"{result.word}: ", STYLES[_TONES[result.tone]]), readable(result.rest))


def _reason_text(verdict: Verdict) -> str:
    match verdict:
        case Proved():
            return _BASIS["proved"] if verdict.boxes else "nothing is unsafe"  # nothing was searched
        case Violated():
            return replay_text(verdict.witness.replayed_by, verdict.witness.exactly)
        case Unknown():
            still = f", {counted(verdict.open_boxes, 'box', 'boxes')} open" if verdict.open_boxes else ""
            tried = f": {verdict.tried}" if verdict.tried else ""
            return REASONS[verdict.reason] + still + tried
        case _:
            assert_never(verdict)


def _guarantee_basis(prop: PropertyOutcome) -> str:
    return _BASIS[prop.after]


def fidelity_text(value: Fidelity, decision: Literal["argmin", "argmax", "none"]) -> str:
    """Agreement, mean absolute difference and number of points."""
    share = value.decision_agreement
    same = "" if share is None else f"{percent(share)} same decision ({decision}), "
    return f"{same}mean absolute difference {value.mae:.2g}, n = {value.n:,}"


def _region_text(value: Fidelity) -> str:
    """Of what is kept in a region what fits a line: the rule stands in the headline, the number of points elsewhere."""
    same = "" if value.decision_agreement is None else f"{percent(value.decision_agreement)} same decision, "
    return f"{same}mean absolute difference {value.mae:.2g}"


def _rate_text(rate: Rate | None) -> str:
    if rate is None:
        return "not measured"
    if rate.by_proof:
        return "100 % by proof"
    if rate.share is None:
        return f"{rate.hits:,} of {rate.n:,}"
    return f"{percent(rate.share)} ({rate.hits:,} of {rate.n:,})"


def _neighbours_text(entry: Neighbours) -> str:
    """How far the answers wished for at points reach."""
    now = f"{percent(entry.after)} have the answer wished for (before {percent(entry.before)})"
    healed = f"{entry.generalisation.hits:,} of {entry.generalisation.n:,} that had not"
    return f"{now}, {healed}; n = {entry.n:,}, at most {entry.radius:g} away in each input"


def _add_measurements(grid: Table, outcome: PropertyRepair, *, verbose: bool) -> None:
    """Efficacy and generalisation, fidelity, drawdown, the change; what goes without saying only where it is asked."""
    add_fact(grid, "disagreement", outcome.disagreement)
    for name, rate in (("efficacy", outcome.efficacy), ("generalisation", outcome.generalisation)):
        # A proof of all is what the first line says already; generalisation over regions means nothing for points.
        certain = rate is not None and rate.by_proof
        elsewhere = name == "generalisation" and rate is None and outcome.neighbours
        if verbose or not (certain or elsewhere):
            add_fact(grid, name, _rate_text(rate))
    for entry in outcome.neighbours:
        add_fact(grid, f"neighbours of {entry.name}", _neighbours_text(entry))
    if outcome.fidelity is None:
        if not outcome.behaviour:
            add_fact(grid, "fidelity", outcome.fidelity_note)
    elif verbose or not outcome.behaviour or worst_kept_place(outcome).ground != "domain":  # else the headline says it
        where = f"; domain: {outcome.domain.source}" if outcome.domain else ""
        add_fact(grid, "fidelity", fidelity_text(outcome.fidelity, outcome.decision) + where)
    _add_behaviour(grid, outcome)
    if outcome.preservation is not None:
        briefly = not verbose and outcome.preservation.where.startswith("the domain")
        name = "change in domain" if briefly else "largest change"
        add_fact(grid, name, change_words(outcome.preservation, outcome, placed=not briefly))
        add_fact(grid, "decisions", decided_words(outcome.preservation) if verbose else "")
    for name, value in outcome.region_fidelity.items():
        told = fidelity_text(value, outcome.decision) if verbose else _region_text(value)
        add_fact(grid, f"  in {name}'s region", told)
    add_fact(grid, "drawdown", _drawdown_text(outcome.drawdown))
    lost = ", ".join(outcome.regressions)
    if lost or verbose:
        add_fact(grid, "regressions", f"{lost}: proved before, not proved now" if lost else "none")
    add_fact(grid, "changed", _change_text(outcome.change, verbose=verbose))


def _add_behaviour(grid: Table, outcome: PropertyRepair) -> None:
    """What is kept elsewhere than on the domain, with the place, and the outputs that were tied."""
    for entry in outcome.behaviour:
        if entry.ground != "domain" or outcome.fidelity is None or entry.argmin_agreement is not None:
            right = right_words(entry)
            add_fact(grid, "kept", f"{behaviour_words(entry, outcome)}, n = {entry.n:,}{f'; {right}' if right else ''}")
    add_fact(grid, "tied", tied_words(outcome))


def _add_fresh_samples(grid: Table, outcome: PropertyRepair, *, verbose: bool) -> None:
    """What fresh samples say beside the proofs."""
    every: tuple[PropertyOutcome | ApplicableOutcome, ...] = (*outcome.properties, *outcome.watched)
    drawn = [prop for prop in every if prop.sampled is not None]
    # A line for each number of draws, not for each property: most have the same, and the screen has 24 lines.
    for number in dict.fromkeys(prop.sampled.n for prop in drawn if prop.sampled):
        mine = [(p.name, p.sampled) for p in drawn if p.sampled and p.sampled.n == number]
        bad = ", ".join(f"{name}: {bound.violations:,}" for name, bound in mine if bound.violations)
        names = ("each of " if len(mine) > 1 else "") + ", ".join(name for name, _ in mine)
        if not verbose and len(mine) > 1 and [name for name, _ in mine] == [prop.name for prop in outcome.properties]:
            names = "each property"
        seen = f"violations: {bad}" if bad else "no violation"
        measure = f", {mine[0][1].measure}" if verbose else ""
        add_fact(grid, "sampled besides", f"{number:,} fresh points of {names}{measure}: {seen}")


def _drawdown_text(lost: Drawdowns) -> str:
    top, entries = lost.top, lost.properties
    measured = [entry for entry in entries if entry.n]
    # Nothing measured is not "none": a property that no point satisfied has nothing to lose.
    if top is None:
        return "n/a: no point satisfied a property before" if entries else "not measured"
    of = counted(len(measured), "property", "properties")
    missing = ", ".join(entry.name for entry in entries if not entry.n)
    rest = f"; n/a for {missing}, which no point satisfied before" if missing else ""
    if not top.share:
        # The fewest points of any, for that is how little the weakest of these statements rests on.
        return f"none seen in {of}, at least {min(entry.n for entry in measured):,} points each{rest}"
    return f"{percent(top.share)} of {top.n:,} points in {top.name}, the worst of {of}{rest}"


def _change_text(change: Mapping[str, InitialiserChange], *, verbose: bool) -> str:
    if not change:
        return "nothing"
    count, size = sum(c.count for c in change.values()), sum(c.size for c in change.values())
    name, largest = max(change.items(), key=lambda pair: pair[1].linf)
    where = f" ({name})" if verbose else ""
    places = counted(len(change), "initialiser")
    return f"{count:,} of {size:,} values in {places}, at most by {at_most_text(largest.linf)}{where}"


def _add_time_spent(grid: Table, outcome: PropertyRepair, *, verbose: bool) -> None:
    # Nothing was tried, so there are no stages to tell apart.
    if not outcome.rounds:
        add_fact(grid, "time", duration_text(outcome.wall_s))
        _add_arithmetic(grid, [(prop.name, prop.arithmetic) for prop in outcome.properties])
        return
    for entry in outcome.tried if verbose else ():
        add_fact(grid, "tried", _tried_text(entry))
    if outcome.request.method == "auto" and (verbose or outcome.result != "proved"):
        add_fact(grid, "stopped", outcome.stopped)
    parts = f"repair {duration_text(outcome.repair_s)}, proof {duration_text(outcome.verify_s)}"
    rounds = counted(outcome.rounds, "round")
    stages = f": {parts}, sampling {duration_text(outcome.sample_s)}; {rounds}" if verbose else ""
    add_fact(grid, "time", f"{duration_text(outcome.wall_s)}{stages}")
    _add_arithmetic(grid, [(prop.name, prop.arithmetic) for prop in outcome.properties])


def _tried_text(entry: Tried) -> str:
    kept = entry.kept
    if not kept.measured:
        return f"{entry.method}: {entry.result}; behaviour not measured; {duration_text(entry.seconds)}"
    same = "" if kept.decision_agreement is None else f"{percent(kept.decision_agreement)} same decision, "
    return (
        f"{entry.method}: {entry.result}; {same}mean absolute difference {kept.mae:.2g}; {duration_text(entry.seconds)}"
    )


def _add_arithmetic(grid: Table, stated: Sequence[tuple[str, str]]) -> None:
    """Which arithmetic the answers speak about; with the properties' names where it is not the same for all."""
    kinds = list(dict.fromkeys(kind for _, kind in stated))
    for kind in kinds:
        names = ", ".join(name for name, own in stated if own == kind)
        add_fact(grid, "arithmetic", kind if len(kinds) == 1 else f"{kind} ({names})")


def _add_suite_facts(grid: Table, outcome: PropertyRepair) -> None:
    suite = outcome.suite
    if suite is None:
        return
    if suite.by == "--as":
        add_fact(grid, "taken as", f"{suite.entry} of suite {suite.name} (--as)")
    names = ", ".join(suite.not_named)
    # A note may name them with a reason; told twice it would look like two findings.
    if names and not any(names in note for note in outcome.notes):
        add_fact(grid, "also applicable", f"{names}: not asked for; --suite {suite.name} repairs and proves them too")


def certificate_lines(found: CertificateFile | None) -> list[RenderableType]:
    """Where it is, how large, and what the checker says."""
    if found is None:
        return []
    checked = Text.assemble((f"{'checker':<18}", "dim"), readable(f"{found.checked}; {duration_text(found.check_s)}"))
    return [file_line("certificate", found.path, size_text(found.size)), checked]


def _file_lines(outcome: PropertyRepair) -> list[RenderableType]:
    found = certificate_lines(outcome.certificate)
    if outcome.out is not None:
        found.append(file_line("best attempt" if outcome.attempt else "repaired network", outcome.out))
    if outcome.report is not None:
        found.append(file_line("outcome", outcome.report))
        if outcome.request.report:
            found.append(file_line("report", str(Path(outcome.report).with_name("report.html"))))
    return found
