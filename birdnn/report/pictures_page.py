"""The pictures of the safety report: ``<svg>`` elements with a title, a description and identifiers of their own."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdnn.records import AnyRepair, ExampleRepair, PropertyLocalisation, PropertyRepair
from birdnn.report.drawing import INK, SOFT, Drawing, picture_style, plain_axes
from birdnn.report.pictures_lines import margin_line_svg
from birdnn.report.pictures_maps import advisory_map_svg
from birdnn.report.pictures_repair import change_svg, progress_svg
from birdnn.report.words import percent

_MAP = "cividis"  # readable for colour-blind people, and in grey
_LABELLED = 64


def pictures(outcome: AnyRepair) -> dict[str, str]:
    """Name -> ``<svg>`` of ``localisation/0``, ``map/0``, ``line/0``, ``progress``, ``change``; only what there is."""
    match outcome:
        case PropertyRepair():
            found, comparable = _property_pictures(outcome), True
        case ExampleRepair():  # an initialiser that is gone has no distance from what stands in its place
            graph = outcome.blocks.graph
            found, comparable = {}, graph is not None and not graph.initialisers_gone
    if outcome.change and comparable:
        found["change"] = change_svg(outcome)
    return found


def _property_pictures(outcome: PropertyRepair) -> dict[str, str]:
    found = {
        f"localisation/{place}": localisation_svg(entry)
        for place, entry in enumerate(outcome.localisation)
        if any(layer.responsibility for layer in entry.layers)
    }
    found |= {f"map/{place}": advisory_map_svg(entry) for place, entry in enumerate(outcome.maps)}
    found |= {f"line/{place}": margin_line_svg(entry) for place, entry in enumerate(outcome.lines)}
    # The course of a single candidate is a row of dots.
    if len(outcome.tried) > 1:
        found["progress"] = progress_svg(outcome)
    return found


def localisation_svg(model: PropertyLocalisation) -> str:
    """Hidden layers by neurons, shaded by responsibility, the most responsible numbered by rank."""
    with matplotlib.rc_context(picture_style()):
        height = max(2.0, 0.34 * len(model.layers) + 1.0)
        figure = Figure(figsize=(9.0, height), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(4, 1.25))
        _draw_heat_map(figure, left, model)
        _draw_interventions(right, model)
        title = f"Responsible neurons of {model.name}"
        return Drawing(figure=figure, title=title, description=_description(model)).svg()


def _draw_heat_map(figure: Figure, axes: Axes, model: PropertyLocalisation) -> None:
    columns = max(len(layer.responsibility) for layer in model.layers)
    values = np.full((len(model.layers), columns), np.nan)  # layers that are narrower end earlier
    for row, layer in enumerate(model.layers):
        values[row, : len(layer.responsibility)] = layer.responsibility
    image = axes.imshow(values, aspect="auto", cmap=_MAP, vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_facecolor("0.9")
    axes.set_xlabel("neuron")
    axes.set_ylabel("hidden layer (input on top)")
    axes.set_yticks(range(0, len(model.layers), math.ceil(len(model.layers) / 12)))
    axes.tick_params(labelsize=7)
    for entry in model.top:
        colour = "white" if entry.responsibility < 0.6 else "black"
        if columns <= _LABELLED:
            axes.text(entry.neuron, entry.layer, str(entry.rank), size=6.5, color=colour, ha="center", va="center")
        else:
            axes.plot(entry.neuron, entry.layer, "o", ms=5, mfc="none", mec=colour)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.set_label("responsibility, 0 to 1", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _draw_interventions(axes: Axes, model: PropertyLocalisation) -> None:
    axes.set_title("still violating\nwith k neurons fixed", fontsize=8, loc="left")
    checks = model.checks
    if not checks:
        axes.text(0.5, 0.5, "not checked:\nno held-out\nviolating sample", ha="center", va="center", color=SOFT)
        axes.set_axis_off()
        return
    places = np.arange(len(checks))
    means, spreads = [100 * c.random_mean for c in checks], [100 * c.random_spread for c in checks]
    # shares lie between 0 and 100: what a spread says beyond them is not drawn
    below = [min(spread, mean) for spread, mean in zip(spreads, means, strict=True)]
    above = [min(spread, 100 - mean) for spread, mean in zip(spreads, means, strict=True)]
    axes.errorbar(
        places + 0.1, means, yerr=(below, above), fmt="s", color=SOFT, ms=4, capsize=2, label="random k, mean ± sd"
    )
    axes.plot(places - 0.1, [100 * c.top for c in checks], "o", color=INK, ms=5, label="most responsible k")
    plain_axes(axes)
    axes.set_xticks(places, [str(c.k) for c in checks])
    axes.set_xlim(-0.5, len(checks) - 0.5)
    axes.set_ylim(-4, 104)
    axes.set_xlabel("k")
    axes.set_ylabel(f"% of {checks[0].n:,} held-out points")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=7, frameon=False)


def _description(model: PropertyLocalisation) -> str:
    names = ", ".join(f"neuron {e.neuron} of layer {e.layer} ({e.responsibility:.3f})" for e in model.top[:3])
    said = f"Heat map of the responsibility of every hidden neuron. Most responsible: {names}."
    for check in model.checks[:1]:
        said += (
            f" With the most responsible {check.k} fixed, {percent(check.top)} of held-out violating points still "
            f"violate; with {check.k} random ones {percent(check.random_mean)}."
        )
    return said
