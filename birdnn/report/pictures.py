"""Pictures, drawn by Matplotlib from records alone, without a display and without its global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdnn.printable import readable
from birdnn.records import Form, InterventionCheck, LocalizeOutcome, PropertyLocalisation
from birdnn.report.drawing import PLAIN_TEXT, Drawing, Kind

_MAP = "cividis"  # readable for colour-blind people, and in grey
_WIDTH = 11.0
_LABELLED = 64
_UNITS = {"mean": "responsibility, 0 to 1 (no unit)", "sum": "responsibility (output units, summed)"}


@matplotlib.rc_context(PLAIN_TEXT)
def localisation_picture(outcome: LocalizeOutcome, kind: Kind) -> bytes:
    """Layers by neurons for each property, the most responsible marked by rank; beside it the check by interventions.

    Args:
        outcome: a property in which nothing was localised is named and left empty.
        kind: of file.
    """
    heights = [_panel_height(answer) if answer.layers else 1.6 for answer in outcome.answers]
    figure = Figure(figsize=(_WIDTH, sum(heights, 0.4)), layout="constrained")
    title = f"Neurons that behave differently where {Path(readable(outcome.net)).name} is wrong"
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(heights), 2, squeeze=False, width_ratios=(4, 1), height_ratios=heights)
    for (left, right), answer in zip(grid, outcome.answers, strict=True):
        if not answer.layers:
            left.set_title(readable(f"{answer.name}: {answer.note}"), fontsize=9, loc="left")
            left.set_axis_off()
            right.set_axis_off()
        else:
            _draw_heat_map(figure, left, answer, outcome.request.form)
            _draw_interventions(right, answer.checks)
    # One legend for all properties: their marks are the same.
    explained = next((axes.get_legend_handles_labels() for axes in grid[:, 1] if axes.lines), None)
    if explained is not None:
        figure.legend(*explained, loc="outside lower right", ncols=3, fontsize=7, frameon=False)
    return Drawing(figure, title, _description(outcome)).data(kind)


def _description(outcome: LocalizeOutcome) -> str:
    """The most responsible neurons in words."""

    def told(answer: PropertyLocalisation) -> str:
        if not answer.layers:
            return f"{answer.name}: {answer.note}."
        named = ", ".join(f"layer {e.layer} neuron {e.neuron} ({e.responsibility:.3g})" for e in answer.top)
        return f"{answer.name}: {named}."

    return " ".join(map(told, outcome.answers))


def _panel_height(found: PropertyLocalisation) -> float:
    """Inches: enough for each layer's row and for the axes' labels."""
    return max(2.6, 0.36 * len(found.layers) + 1.3)


def _draw_heat_map(figure: Figure, axes: Axes, found: PropertyLocalisation, form: Form) -> None:
    columns = max(len(layer.responsibility) for layer in found.layers)
    values = np.full((len(found.layers), columns), np.nan)  # layers that are narrower end earlier
    for row, layer in enumerate(found.layers):
        values[row, : len(layer.responsibility)] = layer.responsibility
    # A fixed scale where there is one, so that pictures can be compared. All zero would leave no range to colour.
    most = 1.0 if form == "mean" else float(np.nanmax(values)) or 1.0
    image = axes.imshow(values, aspect="auto", cmap=_MAP, vmin=0.0, vmax=most, interpolation="nearest")
    axes.set_facecolor("0.9")
    axes.set_title(readable(f"{found.name}, the top {len(found.top)} numbered by rank"), fontsize=9, loc="left")
    axes.set_xlabel("neuron", fontsize=8)
    axes.set_ylabel("hidden layer (input on top)", fontsize=8)
    axes.set_yticks(_layer_ticks(len(found.layers)))
    axes.tick_params(labelsize=7)
    for entry in found.top:
        # The lower part of cividis is dark.
        dark = entry.responsibility < 0.6 * most
        colour = "white" if dark else "black"
        # In narrower cells a number has no room; a ring has.
        if columns <= _LABELLED:
            axes.text(entry.neuron, entry.layer, str(entry.rank), size=6.5, color=colour, ha="center", va="center")
        else:
            axes.plot(entry.neuron, entry.layer, "o", ms=5, mfc="none", mec=colour)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.set_label(_UNITS[form], fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _layer_ticks(layers: int) -> range:
    # At most twelve labels: more run into each other.
    return range(0, layers, math.ceil(layers / 12))


def _draw_interventions(axes: Axes, checks: Sequence[InterventionCheck]) -> None:
    axes.set_title("violations left when k neurons\nare fixed to their positive mean", fontsize=8)
    if not checks:
        axes.text(0.5, 0.5, "not checked:\nno held-out\nnegative sample", size=8, ha="center", va="center")
        axes.set_axis_off()
        return
    places = np.arange(len(checks))
    for place, check in zip(places, checks, strict=True):
        drawn = 100 * np.sort(np.array(check.random))
        across = place + np.linspace(-0.12, 0.28, len(drawn))  # side by side, or equal ones would hide each other
        axes.plot(across, drawn, ".", color="0.6", ms=3, label="random k, each draw" if not place else None)
    axes.plot(places + 0.08, [100 * c.random_mean for c in checks], "s", color="0.35", ms=5, label="random k, mean")
    axes.plot(places - 0.22, [100 * check.top for check in checks], "o", color="black", ms=5, label="top k")
    axes.set_xticks(places, [str(check.k) for check in checks])
    axes.set_xlim(-0.5, len(checks) - 0.5)
    axes.set_ylim(-4, 104)
    axes.set_xlabel("k", fontsize=8)
    axes.set_ylabel(f"% of {checks[0].n:,} held-out points", fontsize=8)
    axes.tick_params(labelsize=7)
