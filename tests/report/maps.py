"""Made-up maps and lines to draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from birdnn.records import (
    NO_CELL,
    AdvisoryMap,
    AxisRange,
    FixedInput,
    Grid,
    LinePanel,
    MapPanel,
    MarginLine,
    Mark,
    NamedInput,
    Series,
    ShownBoxes,
)

ADVISORIES = ("COC", "WL", "WR", "SL", "SR")
Cells = npt.NDArray[np.int64]


def stripes(outputs: int, rows: int = 20, columns: int = 30) -> Cells:
    """Each output decides in a stripe of its own, (rows, columns)."""
    return np.tile(np.arange(columns) * outputs // columns, (rows, 1))


def corner(cells: Cells, size: int) -> Cells:
    """Ones in the lower left."""
    made = np.zeros_like(cells)
    made[:size, :size] = 1
    return made


def panel(title: str, cells: Cells, unsafe: Cells, boxes: npt.NDArray[np.float64] | None = None) -> MapPanel:
    return MapPanel(
        title=title,
        net=f"/n/{title or 'alone'}.onnx",
        net_sha256="ab",
        decisions=Grid.of(cells),
        unsafe=Grid.of(unsafe),
        unsafe_cells=int(unsafe.sum()),
        region_cells=int((cells != NO_CELL).sum()),
        boxes=None if boxes is None else ShownBoxes.of(boxes),
    )


def plain(*panels: MapPanel, **changes: Any) -> AdvisoryMap:
    """Over two inputs in units of the network."""
    cells = stripes(5)
    made = AdvisoryMap(
        property="prop_8",
        text="what must hold",
        geometry="plain",
        decision="argmin",
        outputs=changes.pop("outputs", ADVISORIES),  # cells decide for outputs that have names
        x=AxisRange(input=0, name="x_0", unit="", lower=0.0, upper=3.0),
        y=AxisRange(input=1, name="x_1", unit="rad", lower=-1.0, upper=1.0),
        extent=(0.0, 3.0, -1.0, 1.0),
        fixed=(FixedInput(input=2, name="x_2", unit="ft", value=1145.0),),
        at=(0.5, 0.5, 0.5),
        at_source="counterexample",
        view="region",
        region=((0.0, 3.0, -1.0, 1.0),),
        marks=(Mark(x=0.1, y=-0.9, heading=None),),
        panels=panels or (panel("before", cells, corner(cells, 4)), panel("after", cells, np.zeros_like(cells))),
    )
    return replace(made, **changes)


def encounter(**changes: Any) -> AdvisoryMap:
    """Seen from above."""
    cells = stripes(5, 40, 40)
    across = np.linspace(-1, 1, 40)
    cells[np.hypot(*np.meshgrid(across, across)) > 1] = NO_CELL
    boxes = np.array([[1000.0, 2000.0, 0.0, 1.0], [2000.0, 60000.0, -3.141593, 3.141593]])
    made = plain(
        panel("", cells, np.zeros_like(cells), boxes),
        geometry="encounter",
        x=AxisRange(input=0, name="rho", unit="ft", lower=0.0, upper=60000.0),
        y=AxisRange(input=1, name="theta", unit="rad", lower=-3.14, upper=3.14),
        extent=(-60000.0, 60000.0, -60000.0, 60000.0),
        region=((55000.0, 60000.0, -3.141593, 3.141593), (100.0, 200.0, 0.5, 1.0)),
        marks=(Mark(x=30000.0, y=1.0, heading=2.0),),
    )
    return replace(made, **changes)


def line(**changes: Any) -> MarginLine:
    """Through a counterexample, healed."""
    positions = np.linspace(0, 1, 5)
    made = MarginLine(
        property="prop_8",
        text="what must hold",
        start=(0.0, 0.0),
        end=(1.0, 2.0),
        inputs=tuple(NamedInput(input=i, name=f"x_{i}", unit="") for i in range(2)),
        shown_start=(0.0, 0.0),
        shown_end=(1000.0, 2.0),
        along=None,
        positions=Series.of(positions),
        region=((0.25, 1.0),),
        mark=0.75,
        panels=(
            LinePanel(title="before", net="/n/a.onnx", net_sha256="ab", margins=Series.of(0.5 - positions)),
            LinePanel(title="after", net="/n/b.onnx", net_sha256="cd", margins=Series.of(1.5 - positions)),
        ),
    )
    return replace(made, **changes)
