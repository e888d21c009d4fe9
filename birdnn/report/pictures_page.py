"""The pictures of the safety report: ``<svg>`` elements with a title, a description and identifiers of their own."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from birdnn.records import AnyRepair, ExampleRepair, PropertyLocalisation, PropertyRepair
from birdnn.report.drawing import Drawing, picture_style
from birdnn.report.pictures import draw_heat_map, draw_interventions
from birdnn.report.pictures_lines import margin_line_svg
from birdnn.report.pictures_maps import advisory_map_svg
from birdnn.report.pictures_repair import change_svg, progress_svg
from birdnn.report.words import percent


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
        # Reports rank by the mean alone (`birdnn.pipeline.localising`).
        draw_heat_map(figure, left, model, "mean")
        draw_interventions(right, model.checks)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=7, frameon=False)
        title = f"Responsible neurons of {model.name}"
        return Drawing(figure=figure, title=title, description=_description(model)).svg()


def _description(model: PropertyLocalisation) -> str:
    names = ", ".join(f"neuron {e.neuron} of layer {e.layer} ({e.responsibility:.3f})" for e in model.top[:3])
    said = f"Heat map of the responsibility of every hidden neuron. Most responsible: {names}."
    for check in model.checks[:1]:
        said += (
            f" With the most responsible {check.k} fixed, {percent(check.top)} of held-out violating points still "
            f"violate; with {check.k} random ones {percent(check.random_mean)}."
        )
    return said
