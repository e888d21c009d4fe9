"""`compare`'s tables for the terminal, from the published model."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.report.model import readable
from birdnn.report.schema_comparison import (
    ApartModel,
    CompareReport,
    LikenessModel,
    ProvedApartModel,
    StructureModel,
)
from birdnn.report.tables import add_fact, add_notes, facts_grid, plain_table, seconds
from birdnn.report.text import NARROW, STYLES
from birdnn.report.words import Side, percent, plain

_SHOWN = 8
_CHANGES = 24
_BECAME = {
    "kept": "green",
    "gained": "bold green",
    "lost": "bold red",
    "violated in both": "red",
    "undecided": "bold yellow",
}


def compare_summary(report: CompareReport, width: int = 80) -> RenderableType:
    """The result in a sentence, then behaviour, outputs, where, parameters, properties, and what else there is."""
    style = _style(report)
    parts: list[RenderableType] = [Text(report.headline, style)]
    files = facts_grid()
    add_fact(files, "A", report.net_before)
    add_fact(files, "B", report.net_after)
    parts.append(files)
    for table in (_likeness(report, width), _outputs(report, width), _properties(report, width), _changes(report)):
        if table is not None and table.row_count:
            parts += [Text(), table]
    facts = facts_grid()
    _where(facts, report)
    _measured(facts, report)
    _structure(facts, report.structure)
    _bound(facts, report)
    for kind, whose in _arithmetic(report).items():
        add_fact(facts, "arithmetic", f"{kind} ({', '.join(whose)})")
    add_fact(facts, "regressions", ", ".join(f"{name}: proved for A, not for B" for name in report.regressions))
    add_fact(facts, "disagreement", report.disagreement or "")
    add_notes(facts, report.notes)
    add_fact(facts, "time", seconds(report.wall_s) + ("; the time limit cut it short" if report.timed_out else ""))
    return Group(*parts, facts)


def found_in(report: CompareReport, place: str) -> list[ApartModel]:
    """The largest difference of each output that was found there, the largest first."""
    mine = [entry for entry in report.apart if entry.place == place and entry.output is not None]
    return sorted(mine, key=lambda entry: -entry.size)


def proved_in(report: CompareReport, place: str) -> ProvedApartModel | None:
    """The bounds of a place."""
    return next((entry for entry in report.proved_apart if entry.place == place), None)


def at_most(bound: ProvedApartModel | None) -> float | None:
    """What no output's difference exceeds; None where that is not known."""
    if bound is None or any(value is None for value in bound.upper):
        return None
    return max(value for value in bound.upper if value is not None)


def _style(report: CompareReport) -> str:
    if report.disagreement or report.lost:
        return STYLES["violated"]
    return STYLES["unknown"] if report.regressions else "bold"


def _likeness(report: CompareReport, width: int) -> Table:
    table = plain_table()
    table.add_column("where", overflow="fold")
    decides = report.decision != "none"
    if decides:
        table.add_column("same decision", justify="right")
    for name in ("mean |B - A|", "largest found", "proved at most"):
        table.add_column(name, justify="right")
    if width >= NARROW:
        table.add_column("newly violating", justify="right")
        table.add_column("points", justify="right")
    for entry in report.likeness:
        fidelity = entry.fidelity
        found, bound = found_in(report, entry.place), at_most(proved_in(report, entry.place))
        share = None if fidelity is None else fidelity.decision_agreement
        cells = [readable(entry.place)]
        cells += ["-" if share is None else percent(share)] if decides else []
        cells += ["-" if fidelity is None else f"{fidelity.mae:.2g}"]
        cells += [f"{found[0].size:.3g}" if found else "0", "-" if bound is None else f"{bound:.3g}"]
        if width >= NARROW:
            cells += [_lost(entry), f"{0 if fidelity is None else fidelity.n:,}"]
        table.add_row(*map(Text, cells))
    return table


def _lost(entry: LikenessModel) -> str:
    if entry.drawdown is None or entry.drawdown.share is None:
        return "-"
    return percent(entry.drawdown.share)


def _outputs(report: CompareReport, width: int) -> Table | None:
    """Output by output, in the first place."""
    if not report.likeness or not report.likeness[0].per_output:
        return None
    first, side = report.likeness[0], Side("Y", report.outputs)
    bound = proved_in(report, first.place)
    found = {entry.output: entry for entry in found_in(report, first.place)}
    table = plain_table()
    rest = f", the {_SHOWN} furthest apart" if len(first.per_output) > _SHOWN else ""
    table.add_column(f"output, {first.place}{rest}", overflow="fold")
    for name in ("mean |B - A|", "largest found", "proved at most"):
        table.add_column(name, justify="right")
    if report.outputs and width >= NARROW:
        table.add_column("found, raw", justify="right")
    order = sorted(range(len(first.per_output)), key=lambda i: -(found[i].size if i in found else 0.0))
    for place in sorted(order[:_SHOWN]):
        upper = None if bound is None else bound.upper[place]
        entry = found.get(place)
        cells = [side.name(place), f"{first.per_output[place]:.2g}", "0" if entry is None else f"{entry.size:.3g}"]
        cells.append("-" if upper is None else f"{upper:.3g}")
        if report.outputs and width >= NARROW:
            cells.append("0" if entry is None or entry.size_raw is None else f"{entry.size_raw:.4g}")
        table.add_row(*(Text(readable(cell)) for cell in cells))
    return table


def _properties(report: CompareReport, width: int) -> Table:
    table = plain_table()
    table.add_column("property", overflow="fold")
    for name in ("A", "B", ""):
        table.add_column(name)
    if width >= NARROW:
        table.add_column("boxes, A and B", justify="right")
    table.add_column("time, A and B", justify="right")
    for prop in report.properties:
        name = prop.name if prop.role == "goal" else f"{prop.name} ({prop.role})"
        boxes = [f"{prop.before_boxes:,} {prop.after_boxes:,}"] if width >= NARROW else []
        table.add_row(
            Text(readable(name)),
            Text(prop.before, STYLES[prop.before]),
            Text(prop.after, STYLES[prop.after]),
            Text(prop.became, _BECAME[prop.became]),
            *boxes,
            f"{seconds(prop.before_s)}, {seconds(prop.after_s)}",
        )
    return table


def _changes(report: CompareReport) -> Table:
    table = plain_table()
    table.add_column("layer", justify="right")
    table.add_column("parameters", overflow="fold")
    for name in ("changed", "of", "share", "sum |change|", "largest"):
        table.add_column(name, justify="right")
    for entry in report.structure.changes[:_CHANGES]:
        numbers = (f"{entry.count:,}", f"{entry.size:,}", percent(entry.share), f"{entry.L1:.3g}", f"{entry.Linf:.3g}")
        table.add_row(str(entry.layer), Text(readable(entry.name)), *numbers)
    if (more := len(report.structure.changes) - _CHANGES) > 0:
        table.add_row("", f"{more:,} more, in the JSON")
    if len(report.structure.changes) > 1:
        s = report.structure
        share = percent((s.changed or 0) / max(1, s.compared))
        table.add_row("", "all", f"{s.changed or 0:,}", f"{s.compared:,}", share, f"{s.L1:.3g}", f"{s.Linf:.3g}")
    return table


def point_text(report: CompareReport, entry: ApartModel) -> str:
    """An input in raw units where they are known, else in network units."""
    side, values = Side("X", report.inputs), entry.x_raw or entry.x
    shown = (
        f"{side.name(place)} {plain(value)}" + (f" {side.unit(place)}" if side.unit(place) else "")
        for place, value in enumerate(values[:_SHOWN])
    )
    more = f", ... ({len(values)} inputs)" if len(values) > _SHOWN else ""
    return ", ".join(shown) + more


def _arithmetic(report: CompareReport) -> dict[str, list[str]]:
    """What answers speak about -> which: ``prop_2 in A``, or ``prop_2`` where both do."""
    found: dict[str, list[str]] = {}
    for prop in report.properties:
        if prop.before_arithmetic == prop.after_arithmetic:
            found.setdefault(prop.before_arithmetic, []).append(prop.name)
            continue
        found.setdefault(prop.before_arithmetic, []).append(f"{prop.name} in A")
        found.setdefault(prop.after_arithmetic, []).append(f"{prop.name} in B")
    return found


def _where(facts: Table, report: CompareReport) -> None:
    """The furthest point and the clearest change of decision, in the first place where there is one."""
    side, places = Side("Y", report.outputs), list(dict.fromkeys(entry.place for entry in report.apart))
    for place in places[:1]:
        for top in found_in(report, place)[:1]:
            name, i = side.name(top.output or 0), top.output or 0
            told = f"{name} is {top.before[i]:.6g} in A, {top.after[i]:.6g} in B at {point_text(report, top)}"
            add_fact(facts, f"furthest, {place}", told)
        for entry in report.apart:
            if entry.place == place and entry.output is None:
                add_fact(facts, f"decision, {place}", f"{flip_text(report, entry)} at {point_text(report, entry)}")


def flip_text(report: CompareReport, entry: ApartModel) -> str:
    """A change of decision in words."""
    side = Side("Y", report.outputs)
    names = [side.name(i) for i in (entry.decided_before or 0, entry.decided_after or 0)]
    return f"{names[0]} in A, {names[1]} in B, each by at least {entry.size:.3g}"


def _measured(facts: Table, report: CompareReport) -> None:
    """The intervals of the first place, and how decisions changed there."""
    add_fact(facts, "domain", report.domain.source if report.domain else report.likeness_note)
    if not report.likeness:
        return
    first, side = report.likeness[0], Side("Y", report.outputs)
    if (share := first.agreement) is not None:
        told = f"{percent(share.lower)} to {percent(share.upper)} ({share.confidence * 100:g} % confidence)"
        add_fact(facts, "same decision", f"{told}, {report.decision}")
    if (mean := first.mae) is not None and mean.upper > 0:
        add_fact(
            facts, "mean |B - A|", f"{mean.lower:.3g} to {mean.upper:.3g} ({mean.confidence * 100:g} % confidence)"
        )
    moved = [f"{side.name(t.before)} to {side.name(t.after)} {t.count:,}" for t in first.transitions[:_SHOWN]]
    more = f" and {len(first.transitions) - _SHOWN} more kinds" if len(first.transitions) > _SHOWN else ""
    add_fact(facts, "decisions changed", ", ".join(moved) + more)


def _structure(facts: Table, found: StructureModel) -> None:
    if found.same_file:
        add_fact(facts, "files", "both hold the same bytes")
    words = {
        "graph": "the same graph: parameters are compared by name",
        "layers": "other graphs, the same layers: compared after folding",
        "none": "different structures: no parameter of one corresponds to one of the other",
    }
    add_fact(facts, "structure", words[found.matching])
    for statement in found.statements:
        add_fact(facts, "", statement)
    if found.changed == 0:
        add_fact(facts, "parameters", f"none of {found.compared:,} differs")


def _bound(facts: Table, report: CompareReport) -> None:
    if report.likeness:
        engines = ", ".join(dict.fromkeys(name for entry in report.apart for name in entry.replayed_by))
        told = f"by search, run on the files by {engines}; a larger one may exist"
        add_fact(facts, "found", told if report.apart else "no point at which they differ")
    for entry in report.proved_apart[:1]:
        boxes = sum(each.boxes for each in report.proved_apart)
        spent = seconds(sum(each.seconds for each in report.proved_apart))
        add_fact(facts, "proved at most", f"{entry.method}, {boxes:,} boxes, {spent}; {entry.arithmetic}")
        if not entry.complete:
            add_fact(facts, "", "not tight yet: --bound S gives it more time")
    if report.bound_note:
        add_fact(facts, "proved at most", f"nothing: {report.bound_note}")
