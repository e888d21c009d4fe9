"""A repair's course over its candidates, and how far each initialiser moved, drawn from the published report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from birdnn.printable import counted, readable
from birdnn.records import Guarantee, PropertyRepair, RepairOutcome, Tried, TriedResult
from birdnn.report.drawing import INK, SOFT, Drawing, picture_style, plain_axes
from birdnn.report.words import at_most_text, percent

_Word: TypeAlias = Literal[TriedResult, Guarantee, "not looked at"]

# shape and fill say the result as well as colour does
_MARKS: Mapping[_Word, tuple[str, str, str]] = {
    "proved": ("o", "#1f4e79", "#1f4e79"),
    "violated": ("X", "#b5651d", "#b5651d"),
    "unknown": ("D", "white", "#5c5c5c"),
    "too far": (">", "white", "#b5651d"),
    "passed over": ("o", "white", "#9a9a9a"),
    "not looked at": ("_", "#b0b0b0", "#b0b0b0"),
}
_BAR, _BAR_LIGHT = "#1f4e79", "#a8d0ee"
_MOST_BARS = 40


def progress_svg(report: PropertyRepair) -> str:
    """`progress_picture` as an ``<svg>`` element."""
    return progress_picture(report).svg()


def change_svg(report: RepairOutcome) -> str:
    """`change_picture` as an ``<svg>`` element."""
    return change_picture(report).svg()


def progress_picture(report: PropertyRepair) -> Drawing:
    """One column for each candidate, in order: what was found of each property, what it keeps, what it cost."""
    tried = report.tried
    title = f"The course of the repair: {counted(len(tried), 'candidate')}, {report.wall_s:.4g} s in all"
    names = [entry.name for entry in report.properties]
    with matplotlib.rc_context(picture_style()):
        matrix = 0.42 + 0.2 * max(1, len(names))
        width = min(max(4.2, 1.9 + 0.62 * len(tried)), 14)
        figure = Figure(figsize=(width, matrix + 4.6), layout="constrained")
        panels = figure.subplots(4, 1, sharex=True, height_ratios=(matrix, 1.1, 1.1, 1.1))
        _draw_answers(panels[0], tried, names)
        _draw_changed_decisions(panels[1], tried)
        _draw_output_difference(panels[2], tried)
        _draw_cost(panels[3], tried)
        panels[3].set_xticks(
            range(len(tried)), [readable(f"{i}  {entry.method}") for i, entry in enumerate(tried, 1)], rotation=30
        )
        for label in panels[3].get_xticklabels():
            label.set_ha("right")
            # Otherwise a turned label is aligned by its box, and ends beside its tick.
            label.set_rotation_mode("anchor")
        panels[3].set_xlim(-0.6, max(len(tried), 1) - 0.4)
        figure.suptitle(title, fontsize=9.5, x=0.01, ha="left")
        # In the order of `_MARKS`, and only what is drawn.
        used = [word for word in _MARKS if word in _words_in_use(tried, names)]
        handles = [_legend_handle(word) for word in used]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) or 1, fontsize=7.5, frameon=False)
    return Drawing(figure, title, _progress_description(report))


def _candidate_word(entry: Tried, name: str) -> _Word:
    """What became of a property on a candidate; the result of all where the report does not tell them apart."""
    # Of one that was passed over, or is too far, no property was looked at, and a report need not have answers.
    if not entry.answers:
        return entry.result
    return entry.answers.get(name, "not looked at")


def _words_in_use(tried: Sequence[Tried], names: list[str]) -> set[_Word]:
    return {_candidate_word(entry, name) for entry in tried for name in names} | {entry.result for entry in tried}


def _legend_handle(word: _Word) -> Line2D:
    marker, fill, edge = _MARKS[word]
    return Line2D([], [], ls="", marker=marker, mfc=fill, mec=edge, ms=7, label=word)


def _draw_answers(axes: Axes, tried: Sequence[Tried], names: list[str]) -> None:
    for row, name in enumerate(names):
        for place, entry in enumerate(tried):
            marker, fill, edge = _MARKS[_candidate_word(entry, name)]
            axes.plot(place, row, marker=marker, mfc=fill, mec=edge, ms=7)
    axes.set_yticks(range(len(names)), [readable(name) for name in names])
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(labelsize=7, length=0)
    axes.spines[:].set_visible(False)


def _draw_changed_decisions(axes: Axes, tried: Sequence[Tried]) -> None:
    """For each candidate the share of decisions that it changes."""
    axes.set_ylabel("decisions\nchanged", fontsize=7.5)
    lost = [None if entry.kept.decision_agreement is None else 1 - entry.kept.decision_agreement for entry in tried]
    _draw_logarithmic(axes, tried, lost, lambda value: f"{100 * value:g} %")


def _draw_output_difference(axes: Axes, tried: Sequence[Tried]) -> None:
    axes.set_ylabel("mean absolute\ndifference", fontsize=7.5)
    _draw_logarithmic(
        axes, tried, [entry.kept.mae if entry.kept.measured else None for entry in tried], lambda value: f"{value:g}"
    )


def _draw_logarithmic(
    axes: Axes, tried: Sequence[Tried], values: list[float | None], text: Callable[[float], str]
) -> None:
    """One mark for each candidate with a value, by orders of magnitude; a zero stands at the bottom and says so."""
    plain_axes(axes)
    known = [value for value in values if value is not None]
    above = [value for value in known if value > 0]
    if not above:
        absent = "no decision rule" if any(entry.kept.measured for entry in tried) else "not measured"
        said = "0 for each" if known else absent
        axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", color=SOFT)
        axes.set_yticks([])
        return
    # Below the least value also where that is a power of ten: a zero, drawn at the bottom, must not look like it.
    bottom = 10.0 ** math.floor(math.log10(min(above)) - 0.1)
    for place, (entry, value) in enumerate(zip(tried, values, strict=True)):
        if value is None:
            continue
        marker, fill, edge = _MARKS[entry.result]
        axes.plot(place, max(value, bottom), marker=marker, mfc=fill, mec=edge, ms=6.5, clip_on=False)
        if not value > 0:
            axes.annotate("0", (place, bottom), xytext=(6, 2), textcoords="offset points", fontsize=7)
    _set_decades(axes.yaxis, text)


def _set_decades(axis: Axis, text: Callable[[float], str]) -> None:
    """A logarithmic axis of whole decades around what is drawn, their ends written as ``text`` says."""
    low, high = axis.get_data_interval()
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high) + 0.1)
    scale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    scale("log")
    # After the scale was set, which chooses limits of its own.
    axis.set_view_interval(10.0**first, 10.0**last, ignore=True)
    axis.set_major_locator(LogLocator(numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def _draw_cost(axes: Axes, tried: Sequence[Tried]) -> None:
    seconds = [entry.seconds for entry in tried]
    axes.bar(range(len(tried)), seconds, width=0.55, color=_BAR_LIGHT, edgecolor=_BAR, lw=0.7)
    for place, entry in enumerate(tried):
        if entry.boxes:
            axes.annotate(f"{entry.boxes:,}", (place, entry.seconds), ha="center", va="bottom", fontsize=6.5)
    boxed = any(entry.boxes for entry in tried)
    axes.set_ylabel("seconds\n(above: boxes)" if boxed else "seconds", fontsize=7.5)
    axes.set_ylim(0, 1.25 * max(seconds, default=1.0) or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    plain_axes(axes)
    axes.grid(visible=False, axis="x")


def _progress_description(report: PropertyRepair) -> str:
    def told(number: int, entry: Tried) -> str:
        share = entry.kept.decision_agreement
        same = "" if share is None else f"{percent(share)} same decision, "
        kept = f"{same}mean difference {entry.kept.mae:.2g}" if entry.kept.measured else "behaviour not measured"
        boxes = f", {counted(entry.boxes, 'box', 'boxes')}" if entry.boxes else ""
        return f"{number}. {entry.method}: {entry.result}, {kept}{boxes}, "

    parts = [f"{told(i, entry)}{entry.seconds:.3g} s." for i, entry in enumerate(report.tried, 1)]
    return readable(" ".join([*parts, f"Stopped: {report.stopped}." if report.stopped else ""]).strip())


def change_picture(report: RepairOutcome) -> Drawing:
    """For each initialiser that a repair may change, from input to output: how many values differ, and how far."""
    # A report of an earlier version names only those that changed.
    sizes = dict(report.initialisers) or {name: entry.size for name, entry in report.change.items()}
    names = list(sizes)
    # Those that changed are what the picture is about; the title tells how many there are.
    if len(names) > _MOST_BARS:
        names = [name for name in names if name in report.change][:_MOST_BARS]
    moved = [name for name in names if name in report.change]
    title = f"What the repair changed: {counted(len(report.change), 'initialiser')} of {len(sizes)}"
    with matplotlib.rc_context(picture_style()):
        figure = Figure(figsize=(7.6, 1.5 + 0.24 * max(2, len(names))), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(names))
        counts = [report.change[n].count if n in report.change else 0 for n in names]
        shares = [100 * count / (sizes[n] or 1) for count, n in zip(counts, names, strict=True)]
        left.barh(places, shares, height=0.6, color=_BAR_LIGHT, edgecolor=_BAR, lw=0.7)
        for place, count, share in zip(places, counts, shares, strict=True):
            left.annotate(f" {count:,} of {sizes[names[place]]:,}", (share, place), va="center", fontsize=6.5)
        left.set_xlim(0, 140)
        left.set_xticks([0, 25, 50, 75, 100])
        left.set_xlabel("% of its values changed")
        left.set_yticks(places, [readable(name) for name in names])
        left.set_ylim(len(names) - 0.4, -0.6)
        _draw_distances(right, report, names)
        for axes in (left, right):
            plain_axes(axes)
            axes.grid(visible=False, axis="y")
        figure.suptitle(title, fontsize=9.5, x=0.01, ha="left")
    told = [
        f"{n}: {report.change[n].count:,} of {report.change[n].size:,}, at most {at_most_text(report.change[n].linf)}"
        for n in moved
    ]
    return Drawing(figure, title, readable("; ".join(told) or "nothing changed"))


def _draw_distances(axes: Axes, report: RepairOutcome, names: list[str]) -> None:
    """Mean over the changed values, and the greatest: a logarithm, for they differ by orders of magnitude."""
    drawn = False
    for place, name in enumerate(names):
        entry = report.change.get(name)
        if entry is None or not entry.count or not entry.linf:
            continue
        mean = entry.l1 / entry.count
        axes.plot([mean, entry.linf], [place, place], color=SOFT, lw=0.9, zorder=1)
        axes.plot(mean, place, "o", ms=5.5, mfc="white", mec=_BAR, label=None if drawn else "mean of those changed")
        axes.plot(entry.linf, place, "D", ms=5.5, mfc=_BAR, mec=INK, mew=0.5, label=None if drawn else "greatest")
        drawn = True
    axes.set_xlabel("absolute difference")
    axes.tick_params(labelleft=False)
    if drawn:
        _set_decades(axes.xaxis, lambda value: f"{value:g}")
        axes.legend(fontsize=6.5, frameon=False, loc="best")
