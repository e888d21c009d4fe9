"""Planes and lines as published models: what the pictures are drawn from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from birdnn.records import AdvisoryMap, Axis, MapPanel, MarginLine, Plane, PlotOutcome, Quantity
from birdnn.report.schema_pictures import (
    AxisModel,
    BoxesModel,
    FixedModel,
    GridModel,
    LineModel,
    LinePanelModel,
    MapModel,
    MapPanelModel,
    MarkModel,
    QuantityModel,
    SeriesModel,
)
from birdnn.report.schema_plot import PlotReport


def map_model(drawn: AdvisoryMap) -> MapModel:
    """The published model of a map."""
    plane = drawn.plane
    return MapModel(
        property=drawn.prop,
        text=drawn.text,
        geometry=plane.geometry,
        decision=drawn.decision,
        outputs=list(drawn.outputs),
        x=_axis(plane.x),
        y=_axis(plane.y),
        extent=list(plane.extent),
        fixed=[FixedModel(**_said(q), value=q.shown(plane.at[q.input])) for q in plane.fixed],
        at=list(plane.at),
        at_source=plane.source,
        view=plane.view,
        region=[list(box) for box in drawn.region],
        marks=[_mark(plane, x) for x in drawn.marks],
        panels=[_map_panel(panel) for panel in drawn.panels],
    )


def line_model(drawn: MarginLine) -> LineModel:
    """The published model of a line."""
    return LineModel(
        property=drawn.prop,
        text=drawn.text,
        start=list(drawn.start),
        end=list(drawn.end),
        inputs=[QuantityModel(**_said(q)) for q in drawn.quantities],
        shown_start=[q.shown(value) for q, value in zip(drawn.quantities, drawn.start, strict=True)],
        shown_end=[q.shown(value) for q, value in zip(drawn.quantities, drawn.end, strict=True)],
        along=drawn.along,
        positions=SeriesModel.of(drawn.positions),
        region=[list(part) for part in drawn.region],
        mark=drawn.mark,
        panels=[
            LinePanelModel(
                title=panel.title,
                net=panel.net,
                net_sha256=panel.net_sha256,
                margins=SeriesModel.of(panel.margins),
            )
            for panel in drawn.panels
        ],
    )


def plot_report(outcome: PlotOutcome, out: Path) -> PlotReport:
    """The published model of ``plot map`` and ``plot line``."""
    drawn = outcome.drawn
    return PlotReport(
        command=shlex.join(outcome.request.command),
        picture="map" if isinstance(drawn, AdvisoryMap) else "line",
        out=str(out.resolve()),
        map=map_model(drawn) if isinstance(drawn, AdvisoryMap) else None,
        line=line_model(drawn) if isinstance(drawn, MarginLine) else None,
        seed=outcome.request.seed,
        wall_s=outcome.wall_s,
        notes=list(outcome.notes),
        versions=dict(outcome.versions),
    )


def _said(quantity: Quantity) -> dict[str, Any]:
    return {"input": quantity.input, "name": quantity.name, "unit": quantity.unit}


def _axis(axis: Axis) -> AxisModel:
    return AxisModel(**_said(axis.quantity), lower=axis.lower, upper=axis.upper)


def _mark(plane: Plane, x: tuple[float, ...]) -> MarkModel:
    across, up, heading = plane.x.quantity, plane.y.quantity, plane.heading
    return MarkModel(
        x=across.shown(x[across.input]),
        y=up.shown(x[up.input]),
        heading=None if heading is None else heading.shown(x[heading.input]),
    )


def _map_panel(panel: MapPanel) -> MapPanelModel:
    return MapPanelModel(
        title=panel.title,
        net=panel.net,
        net_sha256=panel.net_sha256,
        decisions=GridModel.of(panel.decisions),
        unsafe=GridModel.of(panel.unsafe),
        unsafe_cells=int(panel.unsafe.sum()),
        region_cells=panel.region_cells,
        boxes=None if panel.boxes is None else BoxesModel.of(panel.boxes),
    )
