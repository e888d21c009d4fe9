"""What pictures show: planes and lines through the input space, and what networks do there.

Everything that is drawn is published, so that anyone may draw it again. *Shown units* are raw ones where somebody says
how raw values become network values (a suite, an NNet header), else those of the network.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from birdnn.later import later
from birdnn.records.published import Said, publishes
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

# The largest number of the 16 bits that a cell has.
NO_CELL = 65535
"""In a grid of decisions: outside of the domain, where nothing was asked."""

# Either way: a damaged file may ask for no more than 32 MiB for a grid.
MOST_CELLS = 4096


def pack_numbers(values: npt.NDArray[Any]) -> str:
    """Numbers as text: compressed by zlib, base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9)).decode("ascii")


def unpack_numbers(text: str, dtype: str, count: int) -> npt.NDArray[Any]:
    """What `pack_numbers` made of ``count`` numbers.

    Raises:
        ValueError: the text holds something else.
    """
    # The limit is what stops text of a few kilobytes that unpacks to gigabytes; one byte more tells too long from
    # right.
    size = count * np.dtype(dtype).itemsize
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"no base64 of zlib: {error}") from None
    if len(data) != size:
        raise ValueError(f"holds {'more' if len(data) > size else 'less'} than {count} numbers")
    return np.frombuffer(data, dtype=dtype)


@publishes("GridModel", "rows columns data")
@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A number for each cell of a picture, row by row from the bottom, each from the left.

    Raises:
        ValueError: `data` holds something else.
    """

    rows: Annotated[int, Said(least=1, most=MOST_CELLS)]
    columns: Annotated[int, Said(least=1, most=MOST_CELLS)]
    # A byte order of its own: the same text on every machine.
    data: Annotated[str, Said("Unsigned 16-bit little-endian, compressed by zlib, base64.")]

    def __post_init__(self) -> None:
        # Read once for its errors: what a file holds is told when it is read, not when it is drawn.
        self.array()

    @staticmethod
    def of(values: npt.NDArray[Any]) -> Grid:
        """A grid of whole numbers (rows, columns)."""
        return Grid(rows=values.shape[0], columns=values.shape[1], data=pack_numbers(values.astype("<u2")))

    def array(self) -> npt.NDArray[np.int64]:
        """The numbers, (rows, columns)."""
        return (
            unpack_numbers(self.data, "<u2", self.rows * self.columns).reshape(self.rows, self.columns).astype(np.int64)
        )


@publishes("SeriesModel", "count data")
@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Numbers in order.

    Raises:
        ValueError: `data` holds something else, or what is no number.
    """

    count: Annotated[int, Said(least=1, most=1 << 20)]
    data: Annotated[str, Said("Floats of 32 bits, little-endian, compressed by zlib, base64.")]

    def __post_init__(self) -> None:
        if not np.isfinite(self.array()).all():
            raise ValueError("one of the numbers is none")

    @staticmethod
    def of(values: npt.NDArray[Any]) -> Series:
        """Numbers (count,)."""
        return Series(count=len(values), data=pack_numbers(values.astype("<f4")))

    def array(self) -> npt.NDArray[np.float64]:
        """The numbers, (count,)."""
        return unpack_numbers(self.data, "<f4", self.count).astype(np.float64)


@publishes("BoxesModel", "count data")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBoxes:
    """Boxes of a proof where they meet the plane: bounds of the first input, then of the second, shown units.

    Raises:
        ValueError: `data` holds something else, or what is no number.
    """

    count: Annotated[int, Said(least=0, most=1 << 22)]
    data: Annotated[str, Said("count times 4 floats of 32 bits, little-endian, compressed by zlib, base64.")]

    def __post_init__(self) -> None:
        if not np.isfinite(self.array()).all():
            raise ValueError("a box has a bound that is no number")

    @staticmethod
    def of(values: npt.NDArray[Any]) -> ShownBoxes:
        """Boxes (count, 4)."""
        return ShownBoxes(count=len(values), data=pack_numbers(values.astype("<f4")))

    def array(self) -> npt.NDArray[np.float64]:
        """Lower and upper bound of the first input, the same of the second: (count, 4)."""
        return unpack_numbers(self.data, "<f4", 4 * self.count).reshape(-1, 4).astype(np.float64)


@publishes("QuantityModel", "input name unit")
@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInput:
    """An input: its place, its name, its unit; empty where nobody says it."""

    input: int
    name: str
    unit: str


@publishes("AxisModel", "input name unit lower upper")
@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRange(NamedInput):
    """An input that varies in a picture, and between which values, shown units."""

    lower: float
    upper: float


@publishes("FixedModel", "input name unit value")
@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInput(NamedInput):
    """An input that keeps its value in a picture, shown units."""

    value: float


@publishes("MarkModel", "x y heading")
@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A replayed counterexample that lies in the picture, shown units."""

    x: float
    y: float
    heading: Annotated[float | None, Said("Of the intruder, radians, counterclockwise from ownship's; else null.")]


@publishes("MapPanelModel", "title net net_sha256 decisions unsafe unsafe_cells region_cells boxes")
@dataclass(frozen=True, slots=True, kw_only=True)
class MapPanel:
    """One network over the plane.

    Raises:
        ValueError: its two grids are of different shapes.
    """

    title: PanelTitle
    net: str
    net_sha256: str
    decisions: Annotated[Grid, Said("Index of the output that decides; 65535 outside of the domain.")]
    unsafe: Annotated[Grid, Said("1 where the property is violated, else 0: evaluated in float32, unreplayed.")]
    unsafe_cells: int
    region_cells: Annotated[int, Said("Cells inside the property's input region.")]
    boxes: Annotated[ShownBoxes | None, Said("Of a recorded proof about this network; null where there is none.")] = (
        None
    )

    def __post_init__(self) -> None:
        if (self.decisions.rows, self.decisions.columns) != (self.unsafe.rows, self.unsafe.columns):
            raise ValueError("decisions and violations are of different numbers of cells")

    @property
    def unsafe_share(self) -> float:
        """How much of the picture is violated."""
        return self.unsafe_cells / (self.unsafe.rows * self.unsafe.columns)


Box = tuple[float, float, float, float]


@publishes(
    "MapModel",
    "property text geometry decision outputs x y extent fixed at at_source view region marks panels",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AdvisoryMap:
    """What networks decide over two inputs, the others fixed; where a property is violated; what a proof covers.

    In the geometry `encounter` the first input is a distance, the second a bearing (radians, counterclockwise from
    ownship's heading); cells are squares of downrange ``x cos y`` by crossrange ``x sin y``.

    Raises:
        ValueError: a cell decides for an output that has no name.
    """

    property: str | None
    text: Annotated[str, Said("What the property is about.")]
    geometry: Geometry
    decision: Decision
    outputs: Annotated[tuple[str, ...], Said("Names of the outputs.")]
    x: AxisRange
    y: AxisRange
    extent: Annotated[
        Box, Said("Left, right, bottom, top of the picture: shown units, in the geometry encounter those of x.")
    ]
    fixed: tuple[FixedInput, ...]
    at: Annotated[tuple[float, ...], Said("A point of the plane, network units.")]
    at_source: Annotated[Source, Said("Where the fixed values come from.")]
    view: Annotated[View, Said("What chose the axes' ranges.")]
    region: Annotated[
        tuple[Box, ...],
        Said("The property's input boxes where they meet the plane: bounds of x, then of y."),
    ]
    marks: tuple[Mark, ...]
    panels: Annotated[tuple[MapPanel, ...], Said(least=1, most=2)]

    def __post_init__(self) -> None:
        for panel in self.panels:
            cells = panel.decisions.array()
            if cells[cells != NO_CELL].max(initial=-1) >= len(self.outputs):
                raise ValueError(f"a cell decides for an output beyond the {len(self.outputs)} that have names")


@publishes("LinePanelModel", "title net net_sha256 margins")
@dataclass(frozen=True, slots=True, kw_only=True)
class LinePanel:
    """The margin of one network along the line."""

    title: PanelTitle
    net: str
    net_sha256: str
    margins: Annotated[Series, Said("At each of `positions`, network units; at most 0 is unsafe.")]


@publishes(
    "LineModel",
    "property text start end inputs shown_start shown_end along positions region mark panels",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MarginLine:
    """A property's margin along a straight line between two inputs.

    Raises:
        ValueError: its ends are those of different networks, the input along which it runs is none of theirs, or there
            is not one margin for each position.
    """

    property: str
    text: str
    start: Annotated[tuple[float, ...], Said("At position 0, network units.")]
    end: Annotated[tuple[float, ...], Said("At position 1.")]
    inputs: tuple[NamedInput, ...]
    shown_start: Annotated[tuple[float, ...], Said("The same in shown units.")]
    shown_end: tuple[float, ...]
    along: Annotated[int | None, Said("The one input that varies, if it is one.")]
    positions: Series
    region: Annotated[
        tuple[tuple[float, float], ...],
        Said("From where to where the line runs inside the property's input region."),
    ]
    mark: Annotated[float | None, Said("Position of a replayed counterexample on the line.")]
    panels: Annotated[tuple[LinePanel, ...], Said(least=1, most=2)]

    def __post_init__(self) -> None:
        sizes = {len(side) for side in (self.start, self.end, self.inputs, self.shown_start, self.shown_end)}
        # A negative index would name another input without an error.
        if len(sizes) > 1 or not (self.along is None or 0 <= self.along < len(self.inputs)):
            raise ValueError("the ends of a line do not fit its inputs")
        if any(panel.margins.count != self.positions.count for panel in self.panels):
            raise ValueError("there is not one margin for each position of a line")
