"""The published models of pictures: everything that is drawn, so that anyone may draw it again.

A picture shows a plane through the input space over two inputs, its axes in *shown units*: raw ones where somebody says
how raw values become network values (a suite, an NNet header), else those of the network.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from birdnn.report.model import Model, Readable

OUTSIDE = 65535
"""In a grid of decisions: a cell outside of the domain, where nothing was asked."""

_MOST_CELLS = 4096


def packed(values: npt.NDArray[Any]) -> str:
    """Numbers as text: compressed by zlib, base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9)).decode("ascii")


def unpacked(text: str, dtype: str, count: int) -> npt.NDArray[Any]:
    """What `packed` made of ``count`` numbers.

    Raises:
        ValueError: the text holds something else.
    """
    size = count * np.dtype(dtype).itemsize
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"no base64 of zlib: {error}") from None
    if len(data) != size:
        raise ValueError(f"holds {'more' if len(data) > size else 'less'} than {count} numbers")
    return np.frombuffer(data, dtype=dtype)


class GridModel(Model):
    """A number for each cell of a picture, row by row from the bottom, each from the left."""

    rows: Annotated[int, Field(ge=1, le=_MOST_CELLS)]
    columns: Annotated[int, Field(ge=1, le=_MOST_CELLS)]
    data: str = Field(description="Unsigned 16-bit little-endian, compressed by zlib, base64.")

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """A grid of whole numbers (rows, columns)."""
        return cls(rows=values.shape[0], columns=values.shape[1], data=packed(values.astype("<u2")))

    def array(self) -> npt.NDArray[np.int64]:
        """The numbers, (rows, columns)."""
        return unpacked(self.data, "<u2", self.rows * self.columns).reshape(self.rows, self.columns).astype(np.int64)

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> Self:
        self.array()
        return self


class SeriesModel(Model):
    """Numbers in order."""

    count: Annotated[int, Field(ge=1, le=1 << 20)]
    data: str = Field(description="Floats of 32 bits, little-endian, compressed by zlib, base64.")

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """Numbers (count,)."""
        return cls(count=len(values), data=packed(values.astype("<f4")))

    def array(self) -> npt.NDArray[np.float64]:
        """The numbers, (count,)."""
        return unpacked(self.data, "<f4", self.count).astype(np.float64)

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> Self:
        if not np.isfinite(self.array()).all():
            raise ValueError("one of the numbers is none")
        return self


class BoxesModel(Model):
    """Boxes of a proof where they meet the plane: bounds of the first input, then of the second, shown units."""

    count: Annotated[int, Field(ge=0, le=1 << 22)]
    data: str = Field(description="count times 4 floats of 32 bits, little-endian, compressed by zlib, base64.")

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """Boxes (count, 4)."""
        return cls(count=len(values), data=packed(values.astype("<f4")))

    def array(self) -> npt.NDArray[np.float64]:
        """Lower and upper bound of the first input, the same of the second: (count, 4)."""
        return unpacked(self.data, "<f4", 4 * self.count).reshape(-1, 4).astype(np.float64)

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> Self:
        if not np.isfinite(self.array()).all():
            raise ValueError("a box has a bound that is no number")
        return self


class QuantityModel(Model):
    """An input: its place, its name, its unit; empty where nobody says it."""

    input: int
    name: Readable
    unit: Readable


class AxisModel(QuantityModel):
    """An input that varies in a picture, and between which values, shown units."""

    lower: float
    upper: float


class FixedModel(QuantityModel):
    """An input that keeps its value in a picture, shown units."""

    value: float


class MarkModel(Model):
    """A replayed counterexample that lies in the picture, shown units."""

    x: float
    y: float
    heading: float | None = Field(description="Of the intruder, radians, counterclockwise from ownship's; else null.")


class MapPanelModel(Model):
    """One network over the plane."""

    title: Literal["before", "after", ""]
    net: Readable
    net_sha256: str
    decisions: GridModel = Field(description="Index of the output that decides; 65535 outside of the domain.")
    unsafe: GridModel = Field(description="1 where the property is violated, else 0: evaluated in float32, unreplayed.")
    unsafe_cells: int
    region_cells: int = Field(description="Cells inside the property's input region.")
    boxes: BoxesModel | None = Field(description="Of a recorded proof about this network; null where there is none.")


class MapModel(Model):
    """What networks decide over two inputs, the others fixed; where a property is violated; what a proof covers.

    In the geometry `encounter` the first input is a distance, the second a bearing (radians, counterclockwise from
    ownship's heading); cells are squares of downrange ``x cos y`` by crossrange ``x sin y``.
    """

    property: Readable | None
    text: Readable = Field(description="What the property is about.")
    geometry: Literal["plain", "encounter"]
    decision: Literal["argmin", "argmax", "none"]
    outputs: list[Readable] = Field(description="Names of the outputs.")
    x: AxisModel
    y: AxisModel
    extent: Annotated[list[float], Field(min_length=4, max_length=4)] = Field(
        description="Left, right, bottom, top of the picture: shown units, in the geometry encounter those of x."
    )
    fixed: list[FixedModel]
    at: list[float] = Field(description="A point of the plane, network units.")
    at_source: Literal["counterexample", "middle", "given"] = Field(description="Where the fixed values come from.")
    view: Literal["domain", "region", "violations", "given"] = Field(description="What chose the axes' ranges.")
    region: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        description="The property's input boxes where they meet the plane: bounds of x, then of y."
    )
    marks: list[MarkModel]
    panels: Annotated[list[MapPanelModel], Field(min_length=1, max_length=2)]


class LinePanelModel(Model):
    """The margin of one network along the line."""

    title: Literal["before", "after", ""]
    net: Readable
    net_sha256: str
    margins: SeriesModel = Field(description="At each of `positions`, network units; at most 0 is unsafe.")


class LineModel(Model):
    """A property's margin along a straight line between two inputs."""

    property: Readable
    text: Readable
    start: list[float] = Field(description="At position 0, network units.")
    end: list[float] = Field(description="At position 1.")
    inputs: list[QuantityModel]
    shown_start: list[float] = Field(description="The same in shown units.")
    shown_end: list[float]
    along: int | None = Field(description="The one input that varies, if it is one.")
    positions: SeriesModel
    region: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="From where to where the line runs inside the property's input region."
    )
    mark: float | None = Field(description="Position of a replayed counterexample on the line.")
    panels: Annotated[list[LinePanelModel], Field(min_length=1, max_length=2)]
