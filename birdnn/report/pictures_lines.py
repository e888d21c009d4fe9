"""The margin of a property along a line between two inputs, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdnn.printable import readable
from birdnn.records import LinePanel, MarginLine, PanelTitle
from birdnn.report.drawing import FAINT, INK, Drawing, group_thousands, picture_style, plain_axes
from birdnn.report.pictures_maps import value_text

Floats = npt.NDArray[np.float64]

# dark and solid after, lighter and dashed before: told apart without colours
_LOOKS: Mapping[PanelTitle, tuple[str, str | tuple[int, tuple[int, int]]]] = {
    "before": ("#b5651d", (0, (5, 2))),
    "after": ("#1f4e79", "solid"),
    "": ("#1f4e79", "solid"),
}
_NAMED = 5


def margin_line_svg(model: MarginLine) -> str:
    """`margin_line` as an ``<svg>`` element."""
    return margin_line(model).svg()


def margin_line(model: MarginLine) -> Drawing:
    """The margin over the position, zero marked, what is unsafe hatched, the input region shaded."""
    title = readable(f"Margin of {model.property} along a line{_title_end(model)}")
    with matplotlib.rc_context(picture_style()):
        figure = Figure(figsize=(7.2, 3.7), layout="constrained")
        axes = figure.subplots()
        places = _places_on_axis(model)
        for panel in model.panels:
            colour, dashes = _LOOKS[panel.title]
            label = readable(f"{panel.title}: {Path(panel.net).name}" if panel.title else Path(panel.net).name)
            axes.plot(places, panel.margins.array(), color=colour, ls=dashes, lw=1.8, label=label)
        for number, (low, high) in enumerate(model.region):
            # Positions ascend, which interpolation needs; places descend where the line runs towards smaller values.
            start, end = np.interp([low, high], model.positions.array(), places)
            named = readable(f"input region of {model.property}") if not number else None
            axes.axvspan(start, end, color="#f3ead7", lw=0, zorder=0, label=named)
        _draw_unsafe_side(axes, model)
        if model.mark is not None:
            _draw_mark(axes, model, model.mark, places)
        axes.set_xlim(places[0], places[-1])
        axes.set_ylabel("margin, network units\n(at most 0: unsafe)")
        axes.set_xlabel(_axis_label(model))
        plain_axes(axes)
        group_thousands(axes)
        axes.set_title(title, fontsize=9.5, loc="left")
        figure.legend(loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return Drawing(figure, title, _description(model))


def _draw_unsafe_side(axes: Axes, model: MarginLine) -> None:
    """Where the property begins to be violated, and everything below."""
    bottom, top = _margin_range(model)
    axes.axhspan(bottom, 0, facecolor="none", edgecolor=FAINT, hatch="////", lw=0, zorder=0.5, label="unsafe")
    axes.axhline(0, color=INK, lw=1.1)
    axes.set_ylim(bottom, top)


def _draw_mark(axes: Axes, model: MarginLine, position: float, places: Floats) -> None:
    """The counterexample, on the curve of the first network."""
    at = np.interp(position, model.positions.array(), places)
    height = np.interp(position, model.positions.array(), model.panels[0].margins.array())
    (drawn,) = axes.plot(at, height, "X", ms=9, mfc="white", mec=INK, mew=1.2, zorder=5, label="counterexample")
    # A mark at either end is drawn whole.
    drawn.set_clip_on(False)


def _places_on_axis(model: MarginLine) -> Floats:
    """Where each position stands: in units of the one input that varies, if it is one."""
    if model.along is None:
        return model.positions.array()
    low, high = model.shown_start[model.along], model.shown_end[model.along]
    return low + (high - low) * model.positions.array()


def _title_end(model: MarginLine) -> str:
    return " through a counterexample" if model.mark is not None else ""


def _margin_range(model: MarginLine) -> tuple[float, float]:
    """Of the margins shown, with room on either side; zero lies inside."""
    # With zero: a picture without the threshold would not show how far from it the margins are.
    values = np.concatenate([panel.margins.array() for panel in model.panels] + [np.zeros(1)])
    low, high = float(values.min()), float(values.max())
    # Margins that are all zero have no range of their own.
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def _axis_label(model: MarginLine) -> str:
    if model.along is not None:
        quantity = model.inputs[model.along]
        fixed = [
            f"{q.name} = {value_text(value, q.unit)}"
            for q, value in zip(model.inputs, model.shown_start, strict=True)
            if q.input != quantity.input
        ]
        more = [f"{len(fixed) - _NAMED} more"] if len(fixed) > _NAMED else []
        name = f"{quantity.name} [{quantity.unit}]" if quantity.unit else quantity.name
        return readable("\n".join([name, ", ".join(fixed[:_NAMED] + more)]).strip())
    ends = (("0", model.shown_start), ("1", model.shown_end))
    return "position on the line\n" + "\n".join(f"{name}: {_point_text(model, values)}" for name, values in ends)


def _point_text(model: MarginLine, values: Sequence[float]) -> str:
    told = [f"{q.name} = {value_text(v, q.unit)}" for q, v in zip(model.inputs, values, strict=True)]
    more = [f"{len(told) - _NAMED} more"] if len(told) > _NAMED else []
    return readable(", ".join(told[:_NAMED] + more))


def _description(model: MarginLine) -> str:
    def told(panel: LinePanel) -> str:
        margins = panel.margins.array()
        at = model.positions.array()[margins.argmin()]
        return f"{panel.title or 'network'}: least margin {margins.min():.3g} at position {at:.3g}"

    return readable(f"{_axis_label(model)}. {'; '.join(map(told, model.panels))}.".replace("\n", "; "))
