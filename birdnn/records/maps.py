"""What pictures show: planes and lines through the input space, and what networks do there.

*Shown units* are raw ones where somebody says how raw values become network values, else those of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from birdnn.later import later
from birdnn.records.stages import Decision

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np, npt = later("numpy"), later("numpy.typing")

Geometry = Literal["plain", "encounter"]
Source = Literal["counterexample", "middle", "given"]
View = Literal["domain", "region", "violations", "given"]
PanelTitle = Literal["before", "after", ""]

NO_CELL = 65535
"""In a grid of decisions: outside of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """An input in shown units: ``shown = network value * range + mean``.

    `lower` and `upper` are its declared range in shown units; None where nobody says it.
    """

    input: int
    name: str
    unit: str = ""
    mean: float = 0.0
    range: float = 1.0
    lower: float | None = None
    upper: float | None = None

    def shown(self, value: float) -> float:
        """A network value in shown units."""
        return value * self.range + self.mean

    def network(self, value: float) -> float:
        """A shown value in network units."""
        return (value - self.mean) / self.range


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An input that varies, from `lower` to `upper` in shown units."""

    quantity: Quantity
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A plane through the input space along two inputs.

    Attributes:
        x, y: the inputs that vary; in the geometry ``"encounter"`` a distance and a bearing.
        extent: left, right, bottom, top of the picture.
        rows, columns: cells.
        fixed: the other inputs.
        at: a point of it, network units.
        source: where that comes from.
        view: what chose the ranges.
        heading: the input that is the intruder's heading, in an encounter.
    """

    geometry: Geometry
    x: Axis
    y: Axis
    extent: tuple[float, float, float, float]
    rows: int
    columns: int
    fixed: tuple[Quantity, ...]
    at: tuple[float, ...]
    source: Source
    view: View
    heading: Quantity | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPanel:
    """One network over the plane.

    Attributes:
        decisions: index of the deciding output, `NO_CELL` outside of the domain, (rows, columns) from the bottom left.
        unsafe: where the property is violated, float32 in torch, (rows, columns) bool.
        region_cells: how many cells lie inside the property's region.
        boxes: of a proof, where they meet the plane, shown units, (boxes, 4); None where no proof is known.
    """

    title: PanelTitle
    net: str
    net_sha256: str
    decisions: npt.NDArray[np.int64]
    unsafe: npt.NDArray[np.bool_]
    region_cells: int
    boxes: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdvisoryMap:
    """What networks decide over a plane.

    Attributes:
        prop, text: the property and what it is about; None and empty where none was asked for.
        outputs: their names.
        region: the property's boxes where they meet the plane, shown units.
        marks: counterexamples in the plane, network units.
    """

    prop: str | None
    text: str
    decision: Decision
    outputs: tuple[str, ...]
    plane: Plane
    region: tuple[tuple[float, float, float, float], ...]
    marks: tuple[tuple[float, ...], ...]
    panels: tuple[MapPanel, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinePanel:
    """The margin of one network along a line, (positions,)."""

    title: PanelTitle
    net: str
    net_sha256: str
    margins: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarginLine:
    """A property's margin along the line from `start` (position 0) to `end` (position 1), network units.

    Attributes:
        along: the one input that varies, if it is one.
        region: where the line runs inside the property's region.
        mark: the position of a counterexample on it.
    """

    prop: str
    text: str
    quantities: tuple[Quantity, ...]
    start: tuple[float, ...]
    end: tuple[float, ...]
    along: int | None
    positions: npt.NDArray[np.float64]
    region: tuple[tuple[float, float], ...]
    mark: float | None
    panels: tuple[LinePanel, ...]
