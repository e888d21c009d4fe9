"""Advisory maps: what networks decide over two inputs, before and after; where that is unsafe; what a proof covers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D

from birdnn.later import later
from birdnn.printable import counted, readable
from birdnn.records import NO_CELL, AdvisoryMap, Decision, MapPanel, Mark, NamedInput
from birdnn.report.drawing import INK, Drawing, group_thousands, picture_style
from birdnn.report.words import percent

if TYPE_CHECKING:
    from scipy import ndimage
else:
    ndimage = later("scipy.ndimage")

# Each is darker than the one before it: told apart in grey, and by people who see no red or no green.
_FEW = ("#e9ecef", "#a8d0ee", "#e69a3c", "#3c78b4", "#8c3b1f")
_NOWHERE = (1.0, 1.0, 1.0)
_FINE = 5  # pixels of the picture for each cell and direction, so that violations can be hatched
_HATCHES = 100  # lines over a picture
_LABELLED_CELLS = 7.0  # a name is written where this many cells around it decide alike
_ROOM_OF_MARK = 0.06
_ARC = math.radians(6)
_ROUND = 5e-4  # of the picture's side
_AEROPLANE = np.array(
    ((1, 0), (0.55, 0.1), (0.2, 0.12), (-0.35, 0.75), (-0.55, 0.75), (-0.2, 0.12), (-0.65, 0.1), (-0.9, 0.38))
)


def advisory_map_svg(model: AdvisoryMap) -> str:
    """`advisory_map` as an ``<svg>`` element."""
    return advisory_map(model).svg()


def advisory_map(model: AdvisoryMap) -> Drawing:
    """The panels side by side with one legend: decisions by colour, violations hatched, the region and boxes outlined.

    An encounter is seen from above, ownship in the origin and heading to the right.
    """
    with matplotlib.rc_context(picture_style()):
        figure = Figure(figsize=_figure_size(model), layout="constrained")
        all_axes = figure.subplots(1, len(model.panels), squeeze=False, sharex=True, sharey=True)[0]
        colours = _decision_colours(model)
        for axes, panel in zip(all_axes, model.panels, strict=True):
            _draw_panel(axes, model, panel, colours)
            axes.set_title(_panel_title(model, panel), fontsize=9, loc="left")
        for axes in all_axes[1:]:
            axes.set_ylabel("")
        figure.suptitle(f"{_title(model)}\n{_fixed_values_text(model)}", fontsize=9.5, x=0.01, ha="left")
        handles = list(_legend_handles(model, colours))
        columns = len(handles) if len(handles) <= 4 * len(model.panels) else math.ceil(len(handles) / 2)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return Drawing(figure, _title(model), _description(model))


def _figure_size(model: AdvisoryMap) -> tuple[float, float]:
    """Inches: panels as wide as a page holds, as tall as their geometry asks for."""
    width = 5.4 if len(model.panels) == 2 else 6.4
    left, right, bottom, top = model.extent
    ratio = (top - bottom) / (right - left) if model.geometry == "encounter" else 0.8
    words = 1.8 if len(model.panels) == 2 else 1.4
    return width * len(model.panels), (width - 0.8) * min(max(ratio, 0.2), 1.5) + words


def _decision_colours(model: AdvisoryMap) -> dict[int, tuple[float, float, float]]:
    """Output -> colour, for the outputs that decide somewhere; the same for a network's pictures, if they are few."""
    found = sorted({int(v) for panel in model.panels for v in np.unique(panel.decisions.array())} - {NO_CELL})
    # By the output's place, not by what is found: a decision keeps its colour in all pictures of a network.
    if len(model.outputs) <= len(_FEW):
        return {index: to_rgb(_FEW[index]) for index in found if index < len(_FEW)}
    scale = colormaps["cividis"](np.linspace(1.0, 0.0, max(2, len(found))))
    return {index: tuple(scale[place][:3]) for place, index in enumerate(found)}


def _draw_panel(
    axes: Axes, model: AdvisoryMap, panel: MapPanel, colours: dict[int, tuple[float, float, float]]
) -> None:
    decisions = panel.decisions.array()
    left, right, bottom, top = model.extent
    image = _painted_image(decisions, panel.unsafe.array(), colours)
    # An encounter is a place seen from above: the same distance either way.
    aspect: Literal["equal", "auto"] = "equal" if model.geometry == "encounter" else "auto"
    axes.imshow(image, extent=(left, right, bottom, top), origin="lower", aspect=aspect, interpolation="none")
    if panel.boxes is not None:
        lines = [line for box in panel.boxes.array() for line in box_outline(model, box)]
        axes.add_collection(LineCollection(lines, colors=INK, linewidths=0.45, alpha=0.75))
    for box in model.region:
        # White below black: seen on light and on dark decisions.
        lines = list(box_outline(model, box))
        axes.add_collection(LineCollection(lines, colors="white", linewidths=3.2))
        axes.add_collection(LineCollection(lines, colors=INK, linewidths=1.5, linestyles=(0, (4, 2))))
    _draw_names(axes, model, decisions, colours)
    for mark in model.marks:
        _draw_mark(axes, model, mark)
    if _shows_ownship(model):
        axes.plot(0, 0, marker=_aircraft_marker(0.0), ms=14, mfc=INK, mec="white", mew=0.8)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.tick_params(labelsize=7)
    across, up = _axis_labels(model)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    group_thousands(axes)


def _shows_ownship(model: AdvisoryMap) -> bool:
    left, right, bottom, top = model.extent
    return model.geometry == "encounter" and left <= 0 <= right and bottom <= 0 <= top


def _painted_image(
    decisions: npt.NDArray[np.int64], unsafe: npt.NDArray[np.int64], colours: dict[int, tuple[float, float, float]]
) -> npt.NDArray[np.float64]:
    """The picture's pixels (rows, columns, 3): cells by decision, violating ones hatched and outlined in black."""
    painted = np.full((*decisions.shape, 3), _NOWHERE)
    for index, colour in colours.items():
        painted[decisions == index] = colour
    fine = painted.repeat(_FINE, axis=0).repeat(_FINE, axis=1)
    bad = (unsafe > 0).repeat(_FINE, axis=0).repeat(_FINE, axis=1)
    rows, columns = np.indices(bad.shape)
    # In pixels of this picture, so that as many lines cross a coarse grid as a fine one.
    period = max(6, round(max(bad.shape) / _HATCHES))
    hatch = (rows + columns) % period < period // 2
    # Outside of the picture counts as violating: its border is no edge of the violation.
    edge = bad & ~ndimage.binary_erosion(bad, iterations=2, border_value=1)
    fine[bad & (hatch | edge)] = to_rgb(INK)
    return fine


def box_outline(
    model: AdvisoryMap, box: Sequence[float] | npt.NDArray[np.float64]
) -> Iterator[npt.NDArray[np.float64]]:
    """The edges of a box as the picture shows them: lines of points (points, 2)."""
    a, b, c, d = (float(value) for value in box)
    if model.geometry == "plain":
        yield np.array([(a, c), (b, c), (b, d), (a, d), (a, c)])
        return
    off = _ROUND * max(model.extent[1] - model.extent[0], model.extent[3] - model.extent[2])
    # A chord of angle s is b s^2 / 8 from its arc at most; the outer radius b, which may be 0, is where that is most.
    step = min(_ARC, math.sqrt(8 * off / max(b, off)))  # a chord that long stays so close to its arc
    turn = np.linspace(c, d, max(2, math.ceil((d - c) / step) + 1))
    arcs = [np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1) for radius in (a, b)]
    whole = d - c >= 2 * math.pi - 1e-3
    # All around there are no two sides: they would be a line from the inner circle to the outer one, which is no
    # border.
    if whole:
        yield from arcs
    else:
        yield np.concatenate([arcs[0], arcs[1][::-1], arcs[0][:1]])


def _draw_names(
    axes: Axes, model: AdvisoryMap, decisions: npt.NDArray[np.int64], colours: dict[int, tuple[float, float, float]]
) -> None:
    """Each decision's name, where there is most room for it: who sees no colours reads."""
    if model.decision == "none":
        return
    left, right, bottom, top = model.extent
    free = np.ones(decisions.shape, dtype=bool)
    rows, columns = np.indices(decisions.shape)
    for across, up in (_mark_position(model, mark) for mark in model.marks):
        away = (
            rows - (up - bottom) / (top - bottom) * len(free),
            columns - (across - left) / (right - left) * len(free.T),
        )
        free &= np.hypot(*away) > _ROOM_OF_MARK * max(free.shape)
    for index, colour in colours.items():
        # How far each cell is from one that decides otherwise; the padding makes the picture's border one of these.
        room = ndimage.distance_transform_edt(np.pad((decisions == index) & free, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(room.argmax()), room.shape)
        if room[row, column] < _LABELLED_CELLS:
            continue
        x = left + (column + 0.5) / room.shape[1] * (right - left)
        y = bottom + (row + 0.5) / room.shape[0] * (top - bottom)
        # Luminance by the weights of Rec. 709, as eyes see it; the mean would take blue for light.
        dark = np.dot(colour, (0.2126, 0.7152, 0.0722)) < 0.45
        ink, halo = ("white", INK) if dark else (INK, "white")
        text = axes.text(
            x, y, readable(model.outputs[index]), color=ink, size=8, ha="center", va="center", weight="bold"
        )
        text.set_path_effects([withStroke(linewidth=1.6, foreground=halo, alpha=0.7)])


def _aircraft_marker(heading: float) -> MarkerStyle:
    """An aeroplane seen from above, its nose to where ``heading`` (radians, counterclockwise from the right) says."""
    outline = np.concatenate([_AEROPLANE, _AEROPLANE[::-1] * (1, -1), _AEROPLANE[:1]])
    return MarkerStyle(Outline(outline), transform=Affine2D().rotate(heading))


def _mark_position(model: AdvisoryMap, mark: Mark) -> tuple[float, float]:
    """Where in the picture a mark stands: of an encounter downrange and crossrange, else both inputs."""
    if model.geometry == "encounter":
        return mark.x * math.cos(mark.y), mark.x * math.sin(mark.y)
    return mark.x, mark.y


def _draw_mark(axes: Axes, model: AdvisoryMap, mark: Mark) -> None:
    marker, size = ("X", 8) if mark.heading is None else (_aircraft_marker(mark.heading), 14)
    axes.plot(
        *_mark_position(model, mark), marker=marker, ms=size, mfc="white", mec=INK, mew=1.0, clip_on=False, zorder=5
    )


_DECIDES: Mapping[Decision, str] = {
    "argmin": " (the least output decides)",
    "argmax": " (the greatest output decides)",
    "none": "",
}


def _axis_labels(model: AdvisoryMap) -> tuple[str, str]:
    if model.geometry == "encounter":
        unit = f" [{model.x.unit}]" if model.x.unit else ""
        return f"downrange: ahead of ownship{unit}", f"crossrange: to the left of ownship{unit}"
    return _axis_name(model.x), _axis_name(model.y)


def _axis_name(quantity: NamedInput) -> str:
    return readable(f"{quantity.name} [{quantity.unit}]" if quantity.unit else quantity.name)


def _title(model: AdvisoryMap) -> str:
    word = "decisions" if _DECIDES[model.decision] else "violations"
    about = f"{model.property}: {word}" if model.property else word.capitalize()
    return readable(f"{about} over {model.x.name} and {model.y.name}{_DECIDES[model.decision]}")


def value_text(value: float, unit: str) -> str:
    """A value with its unit as people write it: ``1,145 ft/s``."""
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {unit}" if unit else number


def _fixed_values_text(model: AdvisoryMap) -> str:
    shown = [f"{entry.name} = {value_text(entry.value, entry.unit)}" for entry in model.fixed[:6]]
    more = len(model.fixed) - len(shown)
    sources = {
        "counterexample": "through a counterexample",
        "middle": "through the middle of the input region" if model.property else "through the middle of the domain",
        "given": "as given",
    }
    fixed = ", ".join([*shown, *([f"{more} more"] if more else [])])
    return readable(f"{fixed}: {sources[model.at_source]}" if fixed else sources[model.at_source])


def _panel_title(model: AdvisoryMap, panel: MapPanel) -> str:
    label = f"{panel.title}: " if panel.title else ""
    return readable(f"{label}{Path(panel.net).name}\n{_violation_count_text(model, panel)}")


def _violation_count_text(model: AdvisoryMap, panel: MapPanel) -> str:
    """How much of the region is violated in this picture."""
    if model.property is None:
        return ""
    if not panel.region_cells:
        return f"no cell inside {model.property}'s region"
    if not panel.unsafe_cells:
        return f"no cell of {panel.region_cells:,} in {model.property}'s region violates"
    of = f"{panel.unsafe_cells:,} of {panel.region_cells:,} cells in {model.property}'s region"
    return f"{of} violate ({percent(panel.unsafe_cells / panel.region_cells)})"


def _legend_handles(model: AdvisoryMap, colours: dict[int, tuple[float, float, float]]) -> Iterator[Artist]:
    for index, colour in colours.items():
        name = "nothing says how outputs decide" if model.decision == "none" else model.outputs[index]
        yield Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=readable(name))
    if any(panel.unsafe_cells for panel in model.panels):
        yield Patch(facecolor="white", edgecolor=INK, hatch="//////", label=readable(f"violates {model.property}"))
    if model.region:
        yield Line2D([], [], color=INK, lw=1.5, ls=(0, (4, 2)), label=readable(f"input region of {model.property}"))
    if any(panel.boxes is not None for panel in model.panels):
        yield Line2D([], [], color=INK, lw=0.6, label="boxes of the proof")
    if _shows_ownship(model):
        yield Line2D([], [], ls="", marker=_aircraft_marker(0.0), ms=12, mfc=INK, mec="white", label="ownship")
    if model.marks:
        craft = model.marks[0].heading is not None and model.geometry == "encounter"
        marker = _aircraft_marker(0.0) if craft else "X"
        name = "intruder of a counterexample" if craft else "counterexample"
        yield Line2D([], [], ls="", marker=marker, ms=12 if craft else 8, mfc="white", mec=INK, label=name)


def _description(model: AdvisoryMap) -> str:
    panels = []
    for panel in model.panels:
        decisions = panel.decisions.array()
        # All cells may lie outside of the domain; then nothing is shared out, and nothing divided by zero.
        inside = int((decisions != NO_CELL).sum()) or 1
        shares = {index: int((decisions == index).sum()) / inside for index in np.unique(decisions) if index != NO_CELL}
        told = ", ".join(
            f"{model.outputs[i]} {percent(share)}" for i, share in shares.items() if model.decision != "none"
        )
        boxes = f"{counted(panel.boxes.count, 'box', 'boxes')} of a proof" if panel.boxes is not None else ""
        said = [part for part in (told or "nothing decided", _violation_count_text(model, panel), boxes) if part]
        panels.append(f"{panel.title or 'network'}: {'; '.join(said)}.")
    return readable(f"{_fixed_values_text(model)}. {' '.join(panels)}")
