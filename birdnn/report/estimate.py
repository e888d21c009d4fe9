"""What ``estimate`` found, as a table for the terminal."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.printable import readable
from birdnn.records import EstimateOutcome, Interval, PropertyEstimate, RareEvent, Surrogate
from birdnn.report.tables import add_fact, duration_text, facts_grid, plain_table
from birdnn.report.text import NARROW
from birdnn.report.witnesses import replay_text
from birdnn.report.words import at_least_text, at_most_text, confidence_text

_SHOWN_INPUTS = 8


def estimate_summary(outcome: EstimateOutcome, width: int = 80) -> RenderableType:
    """One row for each property, then what may be stated, each statement with its measure."""
    wide = width >= NARROW
    table = plain_table()
    table.add_column("property", overflow="fold")
    table.add_column("samples", justify="right")
    table.add_column("violations", justify="right")
    table.add_column("rate", justify="right")
    # of its decimal: of the float 1 - 0.999 is a little more than 0.001, and rounded down to 99.899 %
    lost = [float(1 - Decimal(repr(entry.interval.confidence))) for entry in outcome.properties[:1]]
    title = [confidence_text(delta) for delta in lost]
    table.add_column(" ".join([*title, "interval"]))
    if wide:
        table.add_column("samples/s", justify="right")
    for entry in outcome.properties:
        speed = "-" if entry.samples_per_s is None else f"{entry.samples_per_s:,.0f}"
        style = "bold red" if entry.violations else ""
        table.add_row(
            Text(readable(entry.name)),
            f"{entry.n:,}",
            Text(f"{entry.violations:,}", style),
            probability_text(entry.rate or 0.0),
            _interval_text(entry.interval),
            *([speed] if wide else []),
        )
    grid = facts_grid()
    add_fact(grid, "measure", outcome.measure)
    for entry in outcome.properties:
        _add_statements(grid, entry)
    _add_shared_confidence(grid, outcome)
    for execution in dict.fromkeys(entry.bound.execution for entry in outcome.properties):
        add_fact(grid, "sampled", f"{execution}; seed {outcome.request.seed}")
    add_fact(grid, "time", duration_text(outcome.wall_s))
    for note in outcome.notes:
        add_fact(grid, "note", note)
    return Group(table, grid)


def probability_text(value: float) -> str:
    """A probability as people read it: ``0``, ``0.012``, ``9.1e-07``."""
    return f"{value:.2g}"


def quiet_line(outcome: EstimateOutcome) -> str:
    """For programs that read one line: each property with violations, samples and the bound stated."""
    return "; ".join(f"{e.name} {e.violations}/{e.n} <={at_most_text(e.bound.epsilon)}" for e in outcome.properties)


def _interval_text(interval: Interval) -> str:
    return f"{at_least_text(interval.lower)} .. {at_most_text(interval.upper)}"


def _add_statements(grid: Table, entry: PropertyEstimate) -> None:
    bound = entry.bound
    asked = ""
    if entry.asked is not None:
        asked = f"; {entry.asked:g} was asked for" + (" and is reached" if entry.reached else " and not reached")
    stop = ", whenever one stops" if bound.anytime else ""
    share = f"at most {at_most_text(bound.epsilon)} of the measure ({bound.measure}) violates it"
    add_fact(grid, entry.name, f"{share}, confidence {confidence_text(bound.delta)}{stop}{asked}")
    if entry.rare is not None:
        add_fact(grid, "  by splitting", _rare_text(entry.rare))
    for surrogate in entry.surrogates:
        add_fact(grid, "  affine below", _surrogate_text(surrogate, entry))
    if entry.counterexample is not None:
        x = ", ".join(f"{v:.6g}" for v in entry.counterexample.x[:_SHOWN_INPUTS])
        more = f" (of {len(entry.counterexample.x)})" if len(entry.counterexample.x) > _SHOWN_INPUTS else ""
        by = replay_text(entry.counterexample.replayed_by, entry.counterexample.exactly)
        by_splitting = entry.rare is not None and entry.rare.estimate
        # Draws that violate speak about the measure. Where none did, it has to be said that this point was hunted for.
        found = "" if entry.violations else "found by splitting, " if by_splitting else "found by an attack, "
        add_fact(grid, "  violated at", f"{x}{more}; {found}{by}")


def _rare_text(event: RareEvent) -> str:
    arrived = sum(p > 0 for p in event.repetitions)
    runs = f"{len(event.repetitions)} repetitions"
    # A repetition that met no violation bounds nothing, and the mean of such is 0, which must not be read as a rate.
    if not arrived:
        return f"no violation found in {runs} ({event.measure}); that bounds nothing"
    spread = "" if event.log10_se is None else f", give or take a factor of {10**event.log10_se:.2f}"
    some = runs if arrived == len(event.repetitions) else f"{arrived} of {runs} found a violation"
    share = f"about {probability_text(event.estimate)} of the measure ({event.measure}) violates it"
    return f"{share}{spread} ({some}); an estimate, no bound"


def _surrogate_text(surrogate: Surrogate, entry: PropertyEstimate) -> str:
    several = len(entry.surrogates) > 1
    where = f"region {surrogate.region + 1}, forbidden set {surrogate.polytope + 1}: " if several else ""
    # Positive: then the margin is so on all but epsilon of the measure. Otherwise nothing follows.
    sign = "positive all over the region" if surrogate.lowest > 0 else "not positive all over the region"
    return (
        f"{where}least value {at_least_text(surrogate.lowest)}, {sign}; below the margin on all but "
        f"{at_most_text(surrogate.epsilon)} of the measure ({entry.bound.measure}), "
        f"confidence {confidence_text(surrogate.delta)}, "
        f"n = {surrogate.n:,}, error {surrogate.error:.3g}"
    )


def _add_shared_confidence(grid: Table, outcome: EstimateOutcome) -> None:
    """How the error probability is shared."""
    request, count = outcome.request, len(outcome.properties)
    parts = [f"{count} properties"] if count > 1 else []
    parts += [f"{request.attempts} attempts"] if request.attempts > 1 else []
    parts += ["bound and surrogate"] if request.scenario else []
    if parts:
        add_fact(
            grid, "confidence", f"{confidence_text(request.delta)} for all statements, shared by {', '.join(parts)}"
        )
