"""Pictures, drawn by Matplotlib from records alone, without a display and without its global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdnn.printable import readable
from birdnn.records import Form, InterventionCheck, LocalizeOutcome, PropertyLocalisation
from birdnn.report.drawing import INK, SOFT, Drawing, Kind, picture_style, plain_axes

_MAP = "cividis"  # readable for colour-blind people, and in grey
_WIDTH = 11.0
_LABELLED = 64
_UNITS: Mapping[Form, str] = {
    "mean": "responsibility, 0 to 1 (no unit)",
    "sum": "responsibility (output units, summed)",
}


def localisation_picture(outcome: LocalizeOutcome, kind: Kind) -> bytes:
    """Layers by neurons for each property, the most responsible marked by rank; beside it the check by interventions.

    Args:
        outcome: a property in which nothing was localised is named and left empty.
        kind: of file.
    """
    heights = [_panel_height(answer) if answer.layers else 1.6 for answer in outcome.answers]
    title = f"Neurons that behave differently where {Path(readable(outcome.net)).name} is wrong"
    with matplotlib.rc_context(picture_style()):
        figure = Figure(figsize=(_WIDTH, sum(heights, 0.4)), layout="constrained")
        figure.suptitle(title, fontsize=11)
        grid = figure.subplots(len(heights), 2, squeeze=False, width_ratios=(4, 1), height_ratios=heights)
        for (left, right), answer in zip(grid, outcome.answers, strict=True):
            if not answer.layers:
                left.set_title(readable(f"{answer.name}: {answer.note}"), fontsize=9, loc="left")
                left.set_axis_off()
                right.set_axis_off()
                continue
            draw_heat_map(figure, left, answer, outcome.request.form)
            left.set_title(
                readable(f"{answer.name}, the top {len(answer.top)} numbered by rank"), fontsize=9, loc="left"
            )
            draw_interventions(right, answer.checks)
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


def draw_heat_map(figure: Figure, axes: Axes, found: PropertyLocalisation, form: Form) -> None:
    """Hidden layers by neurons, shaded by responsibility, the most responsible numbered by rank."""
    columns = max(len(layer.responsibility) for layer in found.layers)
    values = np.full((len(found.layers), columns), np.nan)  # layers that are narrower end earlier
    for row, layer in enumerate(found.layers):
        values[row, : len(layer.responsibility)] = layer.responsibility
    # A fixed scale where there is one, so that pictures can be compared. All zero would leave no range to colour.
    most = 1.0 if form == "mean" else float(np.nanmax(values)) or 1.0
    image = axes.imshow(values, aspect="auto", cmap=_MAP, vmin=0.0, vmax=most, interpolation="nearest")
    axes.set_facecolor("0.9")
    axes.set_xlabel("neuron")
    axes.set_ylabel("hidden layer (input on top)")
    # At most twelve labels: more run into each other.
    axes.set_yticks(range(0, len(found.layers), math.ceil(len(found.layers) / 12)))
    axes.tick_params(labelsize=7)
    for entry in found.top:
        # The lower part of cividis is dark.
        colour = "white" if entry.responsibility < 0.6 * most else "black"
        # In narrower cells a number has no room; a ring has.
        if columns <= _LABELLED:
            axes.text(entry.neuron, entry.layer, str(entry.rank), size=6.5, color=colour, ha="center", va="center")
        else:
            axes.plot(entry.neuron, entry.layer, "o", ms=5, mfc="none", mec=colour)
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    bar.set_label(_UNITS[form], fontsize=7)
    bar.ax.tick_params(labelsize=7)


def draw_interventions(axes: Axes, checks: Sequence[InterventionCheck]) -> None:
    """The check of a ranking, for each number k of neurons that were fixed; its marks are labelled for a legend."""
    axes.set_title("still violating\nwith k neurons fixed", fontsize=8, loc="left")
    if not checks:
        axes.text(0.5, 0.5, "not checked:\nno held-out\nviolating sample", ha="center", va="center", color=SOFT)
        axes.set_axis_off()
        return
    places = np.arange(len(checks))
    means, spreads = [100 * c.random_mean for c in checks], [100 * c.random_spread for c in checks]
    # Shares lie between 0 and 100: what a spread says beyond them is not drawn.
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
