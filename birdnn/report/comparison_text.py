"""`compare`'s result in a sentence, and its tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.printable import counted, readable
from birdnn.records import Apart, Became, CompareOutcome, Likeness, Matching, ProvedApart, Structure
from birdnn.report.tables import add_fact, add_notes, duration_text, facts_grid, plain_table
from birdnn.report.text import NARROW, STYLES
from birdnn.report.words import Side, at_least_text, at_most_text, percent, plain_number

_SHOWN = 8
_CHANGES = 24
_BECAME: Mapping[Became, str] = {
    "kept": "green",
    "gained": "bold green",
    "lost": "bold red",
    "violated in both": "red",
    "undecided": "bold yellow",
}
_MATCHED: Mapping[Matching, str] = {
    "graph": "the same graph: parameters are compared by name",
    "layers": "other graphs, the same layers: compared after folding",
    "none": "different structures: no parameter of one corresponds to one of the other",
}


def compare_headline(outcome: CompareOutcome) -> str:
    """The result in one sentence or two."""
    # A difference found beyond a proved bound, or a point that violates what was proved: no figure below can be
    # believed.
    if outcome.disagreement:
        return "What was found contradicts what was proved: trust neither, look."
    parts = []
    if outcome.structure.same:
        parts.append("The same network: no parameter differs.")
    elif outcome.likeness and (first := outcome.likeness[0]).fidelity is not None:
        share = first.fidelity.decision_agreement
        where = "the domain" if outcome.domain is not None else f"the region of {first.place}"
        if share is None:
            parts.append(f"Mean absolute difference {first.fidelity.mae:.2g} over {where}.")
        else:
            parts.append(f"Same decision on {percent(share)} of {where}.")
    words = [entry.became for entry in outcome.properties]
    if words:
        counts = [(words.count("lost"), "lost"), (words.count("gained"), "gained"), (words.count("kept"), "kept")]
        # "none lost" is told, for that is what is asked; other zeros are not.
        said = [f"{count or 'none'} {word}" for count, word in counts if count or word == "lost"]
        open_ones = [entry.name for entry in outcome.properties if entry.became == "undecided"]
        said += [f"{len(open_ones)} undecided"] if open_ones else []
        said += [f"{n} violated in both"] if (n := words.count("violated in both")) else []
        parts.append(f"Of {len(words)} {'property' if len(words) == 1 else 'properties'} {', '.join(said)}.")
    return " ".join(parts) or "Compared by structure alone: nothing says where to sample."


def compare_summary(outcome: CompareOutcome, width: int = 80) -> RenderableType:
    """The result in a sentence, then behaviour, outputs, where, parameters, properties, and what else there is."""
    style = _headline_style(outcome)
    parts: list[RenderableType] = [Text(compare_headline(outcome), style)]
    files = facts_grid()
    add_fact(files, "A", outcome.before)
    add_fact(files, "B", outcome.after)
    parts.append(files)
    for table in (
        _likeness_table(outcome, width),
        _outputs_table(outcome, width),
        _properties_table(outcome, width),
        _changes_table(outcome),
    ):
        if table is not None and table.row_count:
            parts += [Text(), table]
    facts = facts_grid()
    _add_furthest_points(facts, outcome)
    _add_measured(facts, outcome)
    _add_structure(facts, outcome.structure)
    _add_bounds(facts, outcome)
    for kind, whose in _names_by_arithmetic(outcome).items():
        add_fact(facts, "arithmetic", f"{kind} ({', '.join(whose)})")
    add_fact(facts, "regressions", ", ".join(f"{name}: proved for A, not for B" for name in outcome.regressions))
    add_fact(facts, "disagreement", outcome.disagreement or "")
    add_notes(facts, outcome.notes)
    add_fact(
        facts, "time", duration_text(outcome.wall_s) + ("; the time limit cut it short" if outcome.timed_out else "")
    )
    return Group(*parts, facts)


def found_in(outcome: CompareOutcome, place: str) -> list[Apart]:
    """The largest difference of each output that was found there, the largest first."""
    mine = [entry for entry in outcome.apart if entry.place == place and entry.output is not None]
    return sorted(mine, key=lambda entry: -entry.size)


def proved_in(outcome: CompareOutcome, place: str) -> ProvedApart | None:
    """The bounds of a place."""
    return next((entry for entry in outcome.proved_apart if entry.place == place), None)


def at_most(bound: ProvedApart | None) -> float | None:
    """What no output's difference exceeds; None where that is not known."""
    if bound is None or not all(map(math.isfinite, bound.upper)):
        return None
    return max(bound.upper)


def _headline_style(outcome: CompareOutcome) -> str:
    if outcome.disagreement or outcome.lost:
        return STYLES["violated"]
    return STYLES["unknown"] if outcome.regressions else "bold"


def _likeness_table(outcome: CompareOutcome, width: int) -> Table:
    table = plain_table()
    table.add_column("where", overflow="fold")
    decides = outcome.decision != "none"
    if decides:
        table.add_column("same decision", justify="right")
    for name in ("mean |B - A|", "largest found", "proved at most"):
        table.add_column(name, justify="right")
    if width >= NARROW:
        table.add_column("newly violating", justify="right")
        table.add_column("points", justify="right")
    for entry in outcome.likeness:
        fidelity = entry.fidelity
        found, bound = found_in(outcome, entry.place), at_most(proved_in(outcome, entry.place))
        share = None if fidelity is None else fidelity.decision_agreement
        cells = [readable(entry.place)]
        cells += ["-" if share is None else percent(share)] if decides else []
        cells += ["-" if fidelity is None else f"{fidelity.mae:.2g}"]
        cells += [at_least_text(found[0].size) if found else "0", "-" if bound is None else at_most_text(bound)]
        if width >= NARROW:
            cells += [_newly_violating_cell(entry), f"{0 if fidelity is None else fidelity.n:,}"]
        table.add_row(*map(Text, cells))
    return table


def _newly_violating_cell(entry: Likeness) -> str:
    if entry.drawdown is None or entry.drawdown.share is None:
        return "-"
    return percent(entry.drawdown.share)


def _outputs_table(outcome: CompareOutcome, width: int) -> Table | None:
    """Output by output, in the first place."""
    if not outcome.likeness or not outcome.likeness[0].per_output:
        return None
    first, side = outcome.likeness[0], Side("Y", outcome.outputs)
    # Only there: bounds of other places are about other inputs.
    bound = proved_in(outcome, first.place)
    found = {entry.output: entry for entry in found_in(outcome, first.place)}
    table = plain_table()
    rest = f", the {_SHOWN} furthest apart" if len(first.per_output) > _SHOWN else ""
    table.add_column(f"output, {first.place}{rest}", overflow="fold")
    for name in ("mean |B - A|", "largest found", "proved at most"):
        table.add_column(name, justify="right")
    if outcome.outputs and width >= NARROW:
        table.add_column("found, raw", justify="right")
    # Chosen by size, shown in the network's order: a row is looked for by its output's place.
    order = sorted(range(len(first.per_output)), key=lambda i: -(found[i].size if i in found else 0.0))
    for place in sorted(order[:_SHOWN]):
        upper = math.inf if bound is None else bound.upper[place]
        entry = found.get(place)
        cells = [
            side.name(place),
            f"{first.per_output[place]:.2g}",
            "0" if entry is None else at_least_text(entry.size),
        ]
        cells.append(at_most_text(upper) if math.isfinite(upper) else "-")
        if outcome.outputs and width >= NARROW:
            cells.append("0" if entry is None or entry.size_raw is None else f"{entry.size_raw:.4g}")
        table.add_row(*(Text(readable(cell)) for cell in cells))
    return table


def _properties_table(outcome: CompareOutcome, width: int) -> Table:
    table = plain_table()
    table.add_column("property", overflow="fold")
    for name in ("A", "B", ""):
        table.add_column(name)
    if width >= NARROW:
        table.add_column("boxes, A and B", justify="right")
    table.add_column("time, A and B", justify="right")
    for prop in outcome.properties:
        name = prop.name if prop.role == "goal" else f"{prop.name} ({prop.role})"
        boxes = [f"{prop.before_boxes:,} {prop.after_boxes:,}"] if width >= NARROW else []
        table.add_row(
            Text(readable(name)),
            Text(prop.before, STYLES[prop.before]),
            Text(prop.after, STYLES[prop.after]),
            Text(prop.became, _BECAME[prop.became]),
            *boxes,
            f"{duration_text(prop.before_s)}, {duration_text(prop.after_s)}",
        )
    return table


def _changes_table(outcome: CompareOutcome) -> Table:
    table = plain_table()
    table.add_column("layer", justify="right")
    table.add_column("parameters", overflow="fold")
    for name in ("changed", "of", "share", "sum |change|", "largest"):
        table.add_column(name, justify="right")
    for entry in outcome.structure.changes[:_CHANGES]:
        change = entry.change
        sizes = f"{change.count:,}", f"{change.size:,}", percent(entry.share), f"{change.l1:.3g}", f"{change.linf:.3g}"
        table.add_row(str(entry.layer), Text(readable(entry.name)), *sizes)
    if (more := len(outcome.structure.changes) - _CHANGES) > 0:
        table.add_row("", f"{more:,} more, in the JSON")
    # The sum is over all changes, those that the table leaves out among them.
    if len(outcome.structure.changes) > 1:
        s = outcome.structure
        share = percent((s.changed or 0) / max(1, s.compared))
        table.add_row("", "all", f"{s.changed or 0:,}", f"{s.compared:,}", share, f"{s.l1:.3g}", f"{s.linf:.3g}")
    return table


def point_text(outcome: CompareOutcome, entry: Apart) -> str:
    """An input in raw units where they are known, else in network units."""
    side, values = Side("X", outcome.inputs), entry.x_raw or entry.x
    shown = (
        f"{side.name(place)} {plain_number(value)}" + (f" {side.unit(place)}" if side.unit(place) else "")
        for place, value in enumerate(values[:_SHOWN])
    )
    more = f", ... ({len(values)} inputs)" if len(values) > _SHOWN else ""
    return ", ".join(shown) + more


def _names_by_arithmetic(outcome: CompareOutcome) -> dict[str, list[str]]:
    """What answers speak about -> which: ``prop_2 in A``, or ``prop_2`` where both do."""
    found: dict[str, list[str]] = {}
    for prop in outcome.properties:
        # The two networks may be of different kinds, one a chain that is proved for float32, the other a graph.
        if prop.before_arithmetic == prop.after_arithmetic:
            found.setdefault(prop.before_arithmetic, []).append(prop.name)
            continue
        found.setdefault(prop.before_arithmetic, []).append(f"{prop.name} in A")
        found.setdefault(prop.after_arithmetic, []).append(f"{prop.name} in B")
    return found


def _add_furthest_points(facts: Table, outcome: CompareOutcome) -> None:
    """The furthest point and the clearest change of decision, in the first place where there is one."""
    side, places = Side("Y", outcome.outputs), list(dict.fromkeys(entry.place for entry in outcome.apart))
    for place in places[:1]:
        for top in found_in(outcome, place)[:1]:
            name, i = side.name(top.output or 0), top.output or 0
            told = f"{name} is {top.before[i]:.6g} in A, {top.after[i]:.6g} in B at {point_text(outcome, top)}"
            add_fact(facts, f"furthest, {place}", told)
        for entry in outcome.apart:
            if entry.place == place and entry.output is None:
                add_fact(facts, f"decision, {place}", f"{flip_text(outcome, entry)} at {point_text(outcome, entry)}")


def flip_text(outcome: CompareOutcome, entry: Apart) -> str:
    """A change of decision in words."""
    side = Side("Y", outcome.outputs)
    names = [side.name(i) for i in (entry.decided_before or 0, entry.decided_after or 0)]
    return f"{names[0]} in A, {names[1]} in B, each by at least {at_least_text(entry.size)}"


def _add_measured(facts: Table, outcome: CompareOutcome) -> None:
    """The intervals of the first place, and how decisions changed there."""
    add_fact(facts, "domain", outcome.domain.source if outcome.domain else outcome.likeness_note)
    if not outcome.likeness:
        return
    first, side = outcome.likeness[0], Side("Y", outcome.outputs)
    if (share := first.agreement) is not None:
        told = f"{percent(share.lower)} to {percent(share.upper)} ({share.confidence * 100:g} % confidence)"
        add_fact(facts, "same decision", f"{told}, {outcome.decision}")
    # 0 to 0 where no point differed: no news beside the share of decisions.
    if (mean := first.mae) is not None and mean.upper > 0:
        add_fact(
            facts, "mean |B - A|", f"{mean.lower:.3g} to {mean.upper:.3g} ({mean.confidence * 100:g} % confidence)"
        )
    moved = [f"{side.name(t.before)} to {side.name(t.after)} {t.count:,}" for t in first.transitions[:_SHOWN]]
    more = f" and {len(first.transitions) - _SHOWN} more kinds" if len(first.transitions) > _SHOWN else ""
    add_fact(facts, "decisions changed", ", ".join(moved) + more)


def _add_structure(facts: Table, found: Structure) -> None:
    if found.same_file:
        add_fact(facts, "files", "both hold the same bytes")
    add_fact(facts, "structure", _MATCHED[found.matching])
    for statement in found.statements:
        add_fact(facts, "", statement)
    if found.changed == 0:
        add_fact(facts, "parameters", f"none of {found.compared:,} differs")


def _add_bounds(facts: Table, outcome: CompareOutcome) -> None:
    if outcome.likeness:
        engines = ", ".join(dict.fromkeys(name for entry in outcome.apart for name in entry.replayed_by))
        told = f"by search, run on the files by {engines}; a larger one may exist"
        add_fact(facts, "found", told if outcome.apart else "no point at which they differ")
    # One method and one arithmetic for all places; what is spent is summed over them.
    for entry in outcome.proved_apart[:1]:
        boxes = counted(sum(each.boxes for each in outcome.proved_apart), "box", "boxes")
        spent = duration_text(sum(each.seconds for each in outcome.proved_apart))
        add_fact(facts, "proved at most", f"{entry.method}, {boxes}, {spent}; {entry.arithmetic}")
        if not entry.complete:
            add_fact(facts, "", "not tight yet: --bound S gives it more time")
    if outcome.bound_note:
        add_fact(facts, "proved at most", f"nothing: {outcome.bound_note}")
