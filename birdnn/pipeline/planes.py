"""Planes through the input space: which two inputs, through which point, how far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.suite import Entry, Suite, property_hull
from birdnn.network import Network
from birdnn.pipeline.load import Loaded, known_scaling
from birdnn.records import AxisRange, Decision, FixedInput, Geometry, Mark, NamedInput, Source, View
from birdnn.sample import draw_from_region, evaluate
from birdnn.spec import Property, Region

_PROBES = 256
_ZOOMS = 14
_FLATTEST = 0.5  # of an encounter's sides
_ENOUGH = 0.2  # of a side: violations that wide need no closer look

Range = tuple[float, float]
Floats = npt.NDArray[np.float64]


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

    @property
    def named(self) -> NamedInput:
        """As it is published."""
        return NamedInput(input=self.input, name=self.name, unit=self.unit)

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

    @property
    def range(self) -> AxisRange:
        """As it is published."""
        q = self.quantity
        return AxisRange(input=q.input, name=q.name, unit=q.unit, lower=self.lower, upper=self.upper)


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

    def fixed_inputs(self) -> tuple[FixedInput, ...]:
        """The inputs that do not vary, as they are published."""
        return tuple(
            FixedInput(input=q.input, name=q.name, unit=q.unit, value=q.shown(self.at[q.input])) for q in self.fixed
        )

    def mark(self, x: tuple[float, ...]) -> Mark:
        """An input of the plane, network units, as it is published."""
        across, up = self.x.quantity, self.y.quantity
        return Mark(
            x=across.shown(x[across.input]),
            y=up.shown(x[up.input]),
            heading=None if self.heading is None else self.heading.shown(x[self.heading.input]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What pictures are made of.

    Attributes:
        before, after: the networks in float32; `after` is None where one is drawn alone.
        prop: None where decisions alone are drawn.
        quantities: the inputs, in order.
        outputs: their names.
        domain: corners, network units; None where nobody knows them.
        encounter: distance, bearing and, where there is one, heading; None where it is none.
    """

    before: Loaded
    after: Loaded | None
    prop: Property | None
    text: str
    decision: Decision
    quantities: tuple[Quantity, ...]
    outputs: tuple[str, ...]
    domain: tuple[Tensor, Tensor] | None
    encounter: tuple[Quantity, Quantity, Quantity | None] | None

    def shown_domain(self, quantity: Quantity) -> Range | None:
        """The declared range of an input in shown units."""
        if quantity.lower is not None and quantity.upper is not None:
            return quantity.lower, quantity.upper
        if self.domain is None:
            return None
        low, high = (quantity.shown(float(side[quantity.input])) for side in self.domain)
        return low, high


def shown_quantities(loaded: Loaded, known: tuple[Suite, Entry] | None) -> tuple[Quantity, ...]:
    """The network's inputs: named by the suite, scaled by the suite or the NNet header."""
    if known is not None:
        return tuple(
            Quantity(
                input=i,
                name=q.name,
                unit=q.unit,
                mean=float(q.mean),
                range=float(q.range),
                lower=None if q.lower is None else float(q.lower),
                upper=None if q.upper is None else float(q.upper),
            )
            for i, q in enumerate(known[0].inputs)
        )
    plain = tuple(Quantity(input=i, name=f"x_{i}") for i in range(loaded.net.n_inputs))
    scaling = known_scaling(loaded)
    if scaling is None:
        return plain
    both = zip(plain, scaling.input_means, scaling.input_ranges, strict=True)
    return tuple(replace(q, mean=float(m), range=float(r)) for q, m, r in both)


def input_called(text: str, quantities: tuple[Quantity, ...], option: str) -> Quantity:
    """The input with this name or index.

    Raises:
        MismatchError: there is none.
    """
    for quantity in quantities:
        if text.strip() in (quantity.name, str(quantity.input)):
            return quantity
    names = ", ".join(q.name for q in quantities[:12]) + (", ..." if len(quantities) > 12 else "")
    last = len(quantities) - 1
    raise MismatchError(f"{option} {text}: the network has no such input; it has {names} (or 0 to {last})")


def most_influential(scene: Scene, region: Region) -> tuple[Quantity, Quantity] | None:
    """The two inputs along which a property's margin changes most within its region; None where fewer than two vary.

    By the mean over random points of the absolute derivative, times the region's width.
    """
    widths = (region.upper - region.lower).float()
    varying = int((widths > 0).sum())
    if varying < 2:
        return None
    # one seed for all: the axes of a picture are no random choice
    x = draw_from_region(region, _PROBES, torch.Generator().manual_seed(0)).requires_grad_()
    margin = region.margin(float_network(scene.before)(x))
    # where the margin does not depend on the inputs at all, as without rows on outputs, the widest inputs are taken
    slope = torch.autograd.grad(margin.sum(), x, allow_unused=True)[0] if margin.requires_grad else None
    effect = (slope.abs().mean(0) if slope is not None else torch.zeros_like(widths)) * widths
    # NaN would make the order depend on where it stands
    ranked = sorted(range(len(widths)), key=lambda i: (-float(effect[i].nan_to_num()), -float(widths[i])))
    # in the order of the inputs: which one matters more may change from network to network, axes should not
    first, second = sorted([i for i in ranked if widths[i] > 0][:2])
    return scene.quantities[first], scene.quantities[second]


def float_network(loaded: Loaded) -> Network:
    """The network in float32, its own copy."""
    return loaded.net.copy().float()


def unsafe_where(prop: Property, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which inputs (n, inputs), float32, lie in the property's region, and which of them violate with outputs y.

    Strictness is honoured on both sides; outputs are taken as they are, without a replay.
    """
    inside, unsafe = (torch.zeros(len(x), dtype=torch.bool) for _ in range(2))
    for region in prop.regions:
        # not its exact corners: cells are float32, and strict ends are outside
        lower, upper = region.float32_box()
        here = ((x >= lower) & (x <= upper)).all(1)
        bad = torch.zeros_like(here)
        for polytope in region.unsafe:
            # row by row, not by a margin, which does not know strict rows from others
            gap = y.double() @ polytope.a.T - polytope.b
            bad |= torch.where(polytope.strict, gap < 0, gap <= 0).all(1)
        inside |= here
        unsafe |= here & bad
    return inside, unsafe


def cell_middles(scene: Scene, plane: Plane) -> tuple[Tensor, npt.NDArray[np.bool_]]:
    """The middles of the plane's cells, (rows * columns, inputs) float32, and which of them can be asked about.

    These are all but in an encounter, where the corners of the picture lie outside of the domain.
    """
    left, right, bottom, top = plane.extent
    # middles: a cell stands for what is around its point, and the corners of a domain would be half outside
    across = left + (np.arange(plane.columns) + 0.5) / plane.columns * (right - left)
    up = bottom + (np.arange(plane.rows) + 0.5) / plane.rows * (top - bottom)
    u, v = (side.ravel() for side in np.meshgrid(across, up))
    asked = np.ones(len(u), dtype=bool)
    if plane.geometry == "encounter":
        # a picture from above, the ownship at the origin: distance and bearing of each cell
        u, v = np.hypot(u, v), np.arctan2(v, u)
        for axis, values in ((plane.x, u), (plane.y, v)):
            low, high = scene.shown_domain(axis.quantity) or (axis.lower, axis.upper)
            asked &= (low <= values) & (values <= high)
    return _plane_points(plane.at, (plane.x.quantity, plane.y.quantity), u, v), asked


def _plane_points(at: tuple[float, ...], axes: tuple[Quantity, Quantity], u: Floats, v: Floats) -> Tensor:
    """Points of the plane through ``at`` with shown values ``u`` and ``v``, (n, inputs) float32."""
    # float64 until it is complete: shown units are made into network units before float32 rounds
    x = np.tile(np.array(at), (len(u), 1))
    for quantity, values in zip(axes, (u, v), strict=True):
        x[:, quantity.input] = (values - quantity.mean) / quantity.range
    return torch.from_numpy(x).float()


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How a plane is cut out: see `birdnn.records.PlotRequest`."""

    x_range: Range | None = None
    y_range: Range | None = None
    view: View | None = None
    geometry: Geometry | None = None
    cells: int = 200


def plane_of(
    scene: Scene, axes: tuple[Quantity, Quantity], at: tuple[float, ...], source: Source, framing: Framing
) -> Plane:
    """The plane through ``at``, with the ranges that the framing asks for.

    Raises:
        MismatchError: nothing says the ranges, or the geometry does not fit the inputs.
    """
    x, y = axes
    if x == y:
        raise MismatchError(f"--x and --y are both {x.name}: a map needs two different inputs")
    # before the ranges: what does not fit the inputs is refused, whatever they are
    geometry = _choose_geometry(scene, axes, framing.geometry)
    view = framing.view or ("domain" if scene.domain is not None else "region")
    x_range, y_range = framing.x_range, framing.y_range
    if x_range is None or y_range is None:
        chosen = _choose_ranges(scene, axes, at, view)
        x_range, y_range = x_range or chosen[0], y_range or chosen[1]
    # one given range is enough to say so: the other one is only what was left open
    if framing.x_range or framing.y_range:
        view = "given"
    for quantity, (low, high), option in ((x, x_range, "--x-range"), (y, y_range, "--y-range")):
        if not low < high:
            raise MismatchError(f"{quantity.name} would go from {low:g} to {high:g}: say its range with {option}")
    extent = _picture_extent(geometry, x_range, y_range)
    rows, columns = _cell_counts(geometry, extent, framing.cells)
    heading = scene.encounter[2] if geometry == "encounter" and scene.encounter is not None else None
    return Plane(
        geometry=geometry,
        x=Axis(quantity=x, lower=x_range[0], upper=x_range[1]),
        y=Axis(quantity=y, lower=y_range[0], upper=y_range[1]),
        extent=extent,
        rows=rows,
        columns=columns,
        fixed=tuple(q for q in scene.quantities if q not in axes),
        at=at,
        source=source,
        view=view,
        heading=heading,
    )


def _choose_geometry(scene: Scene, axes: tuple[Quantity, Quantity], asked: Geometry | None) -> Geometry:
    # in this order: a bearing against a distance is no view from above
    fits = scene.encounter is not None and scene.encounter[:2] == axes
    if asked == "encounter" and not fits:
        needed = "a network of a suite that names an encounter"
        if scene.encounter is not None:
            needed = f"--x {scene.encounter[0].name} --y {scene.encounter[1].name}"
        raise MismatchError(f"--geometry encounter needs {needed}")
    return asked or ("encounter" if fits else "plain")


def _choose_ranges(
    scene: Scene, axes: tuple[Quantity, Quantity], at: tuple[float, ...], view: View
) -> tuple[Range, Range]:
    domain = [scene.shown_domain(quantity) for quantity in axes]
    if view == "domain":
        if domain[0] is None or domain[1] is None:
            raise MismatchError(
                "the domain of this network is not known: give --x-range and --y-range, or --view region with --prop"
            )
        return domain[0], domain[1]
    if scene.prop is None:
        raise MismatchError("nothing says how far to draw: give --prop, or --x-range and --y-range")
    region = _region_ranges(scene.prop, axes, at)
    return _violation_ranges(scene, scene.prop, axes, at, region) if view == "violations" else region


def _region_ranges(prop: Property, axes: tuple[Quantity, Quantity], at: tuple[float, ...]) -> tuple[Range, Range]:
    """Around the regions that the plane meets, else around all of them."""
    varying = {quantity.input for quantity in axes}
    # regions that the plane misses would make what is in it small
    met = [region for region in prop.regions if meets_plane(region, at, varying)]
    corners = property_hull(replace(prop, regions=tuple(met)) if met else prop)
    first, second = ((q.shown(float(corners[0][q.input])), q.shown(float(corners[1][q.input]))) for q in axes)
    return first, second


def meets_plane(region: Region, at: tuple[float, ...], varying: set[int]) -> bool:
    """Does the region's box hold a point that differs from ``at`` in the varying inputs alone?"""
    lower, upper = region.float32_box()
    return all(
        float(low) <= value <= float(high)
        for i, (low, value, high) in enumerate(zip(lower, at, upper, strict=True))
        if i not in varying
    )


def _violation_ranges(
    scene: Scene, prop: Property, axes: tuple[Quantity, Quantity], at: tuple[float, ...], around: tuple[Range, Range]
) -> tuple[Range, Range]:
    """Ranges around what violates in the plane: closer and closer, until it fills the picture."""
    net, limits = float_network(scene.before), around
    middle = torch.tensor([at], dtype=torch.float32)
    # a counterexample that the grid is too coarse to hit is kept in sight
    here = bool(unsafe_where(prop, middle, evaluate(net, middle))[1])
    # a range of no width has nothing to zoom into, and is refused by `plane_of`
    for _ in range(_ZOOMS if all(low < high for low, high in around) else 0):
        steps = [np.linspace(low, high, 121) for low, high in around]
        u, v = (side.ravel() for side in np.meshgrid(*steps))
        points = _plane_points(at, axes, u, v)
        bad = unsafe_where(prop, points, evaluate(net, points))[1].numpy()
        if not here and not bad.any():
            break
        narrow = []
        for quantity, values, (low, high), (least, most) in zip(axes, (u, v), around, limits, strict=True):
            seen = np.append(values[bad], [quantity.shown(at[quantity.input])] if here else [])
            # some room, at least two cells of the grid, as the violations may end anywhere between two points
            room = max(0.6 * (seen.max() - seen.min()), (high - low) / 60)
            narrow.append((max(least, seen.min() - room), min(most, seen.max() + room)))
        wide = [(b - a) / (high - low) for (a, b), (low, high) in zip(narrow, around, strict=True)]
        around = narrow[0], narrow[1]
        if min(wide) > _ENOUGH:
            break
    return around


def _picture_extent(geometry: Geometry, x: Range, y: Range) -> tuple[float, float, float, float]:
    """The picture's corners; in an encounter the box around the sector that the ranges span."""
    if geometry == "plain":
        return (*x, *y)
    # the sector is farthest to a side where it crosses an axis, else at its corners
    turns = [*y, *(k * math.pi / 2 for k in range(-4, 5) if y[0] < k * math.pi / 2 < y[1])]
    points = [(r * math.cos(turn), r * math.sin(turn)) for r in (max(0.0, x[0]), x[1]) for turn in turns]
    across, up = ((min(side), max(side)) for side in zip(*points, strict=True))
    # a narrow sector would be a strip in which nothing is seen
    least = _FLATTEST * max(across[1] - across[0], up[1] - up[0])
    return (*_widened(across, least), *_widened(up, least))


def _widened(side: Range, least: float) -> Range:
    """At least that wide, around the same middle."""
    room = max(0.0, least - (side[1] - side[0])) / 2
    return side[0] - room, side[1] + room


def _cell_counts(geometry: Geometry, extent: tuple[float, float, float, float], cells: int) -> tuple[int, int]:
    """Rows and columns; the cells of an encounter are squares."""
    if geometry == "plain":
        return cells, cells
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    return round(cells * height / max(width, height)), round(cells * width / max(width, height))
