"""What networks do over a plane or along a line of the input space, as records that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.certify.read import StoredRegion, boxes_on_plane
from birdnn.errors import MismatchError
from birdnn.metrics import decisions
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.planes import (
    Floats,
    Plane,
    Quantity,
    Scene,
    cell_middles,
    float_network,
    meets_plane,
    unsafe_where,
)
from birdnn.records import (
    NO_CELL,
    AdvisoryMap,
    Grid,
    LinePanel,
    MapPanel,
    MarginLine,
    PanelTitle,
    RegionProof,
    Series,
    ShownBoxes,
    Witness,
)
from birdnn.sample import evaluate
from birdnn.spec import Property, Region

Covers = Mapping[str, Sequence[StoredRegion]]
"""sha256 of a network's file -> the trees of a proof about it."""

# odd, so that the middle of the line is one of them
POSITIONS = 401


def covers_of(prop: Property, proofs: Sequence[RegionProof]) -> tuple[StoredRegion, ...]:
    """The trees of a proof that a search has recorded, one for each of the property's regions."""
    parts = zip(prop.regions, proofs, strict=True)
    return tuple(StoredRegion(lower=r.lower.numpy(), upper=r.upper.numpy(), proof=proof) for r, proof in parts)


def advisory_map(
    scene: Scene, plane: Plane, *, marks: Sequence[Witness] = (), covers: Covers | None = None
) -> AdvisoryMap:
    """What the networks of a scene decide over a plane; of ``marks`` those that lie in it."""
    # once for all networks of the scene, which are compared cell by cell
    x, asked = cell_middles(scene, plane)
    varying = {plane.x.quantity.input, plane.y.quantity.input}
    regions = () if scene.prop is None else scene.prop.regions
    return AdvisoryMap(
        property=None if scene.prop is None else scene.prop.name,
        text=scene.text,
        geometry=plane.geometry,
        decision=scene.decision,
        outputs=scene.outputs,
        x=plane.x.range,
        y=plane.y.range,
        extent=plane.extent,
        fixed=plane.fixed_inputs(),
        at=plane.at,
        at_source=plane.source,
        view=plane.view,
        region=tuple(_shown_box(region, plane) for region in regions if meets_plane(region, plane.at, varying)),
        marks=tuple(plane.mark(w.x) for w in marks if _lies_in_plane(w.x, plane.at, varying)),
        panels=tuple(
            _map_panel(scene, loaded, title, plane, (x, asked), covers or {}) for title, loaded in panel_networks(scene)
        ),
    )


def panel_networks(scene: Scene) -> list[tuple[PanelTitle, Loaded]]:
    """The networks with what they are called."""
    if scene.after is None:
        return [("", scene.before)]
    return [("before", scene.before), ("after", scene.after)]


def _lies_in_plane(x: tuple[float, ...], at: tuple[float, ...], varying: set[int]) -> bool:
    return all(a == b for i, (a, b) in enumerate(zip(x, at, strict=True)) if i not in varying)


def _shown_box(region: Region, plane: Plane) -> tuple[float, float, float, float]:
    def shown(quantity: Quantity) -> tuple[float, float]:
        i = quantity.input
        return quantity.shown(float(region.lower[i])), quantity.shown(float(region.upper[i]))

    return (*shown(plane.x.quantity), *shown(plane.y.quantity))


def _map_panel(
    scene: Scene,
    loaded: Loaded,
    title: PanelTitle,
    plane: Plane,
    cells: tuple[Tensor, npt.NDArray[np.bool_]],
    covers: Covers,
) -> MapPanel:
    x, asked = cells
    y = evaluate(float_network(loaded), x)
    chosen = decisions(y, scene.decision)
    decided = np.zeros(len(x), dtype=np.int64) if chosen is None else chosen.numpy().astype(np.int64)
    inside = unsafe = np.zeros(len(x), dtype=bool)
    if scene.prop is not None:
        inside, unsafe = (mask.numpy() & asked for mask in unsafe_where(scene.prop, x, y))
    # by content: the same file under another name has the same proof
    trees = covers.get(loaded.net.sha256)
    return MapPanel(
        title=title,
        net=str(loaded.path),
        net_sha256=loaded.net.sha256,
        decisions=Grid.of(np.where(asked, decided, NO_CELL).reshape(plane.rows, plane.columns)),
        unsafe=Grid.of(unsafe.reshape(plane.rows, plane.columns)),
        unsafe_cells=int(unsafe.sum()),
        region_cells=int(inside.sum()),
        boxes=None if trees is None else ShownBoxes.of(_shown_boxes(trees, plane)),
    )


def _shown_boxes(trees: Sequence[StoredRegion], plane: Plane) -> Floats:
    """Where proved boxes meet the plane, shown units, (boxes, 4)."""
    x, y = plane.x.quantity, plane.y.quantity
    found = [boxes_on_plane(tree, np.array(plane.at), (x.input, y.input)) for tree in trees]
    # the empty one, as there may be no region
    boxes: Floats = np.concatenate([*found, np.empty((0, 4))])
    ranges, means = np.array([x.range, x.range, y.range, y.range]), np.array([x.mean, x.mean, y.mean, y.mean])
    boxes = boxes * ranges + means
    # what lies outside of the picture would only make the record large
    seen = (boxes[:, 0] <= plane.x.upper) & (boxes[:, 1] >= plane.x.lower)
    seen &= (boxes[:, 2] <= plane.y.upper) & (boxes[:, 3] >= plane.y.lower)
    kept: Floats = boxes[seen]
    return kept


def margin_line(
    scene: Scene, prop: Property, start: Floats, end: Floats, *, mark: Witness | None = None, along: int | None = None
) -> MarginLine:
    """The margin along the line from ``start`` to ``end``, network units, (inputs,) each.

    The margin is that of the region that holds the counterexample, else of the first one that the line meets.

    Raises:
        MismatchError: the ends are the same point, or the margin is not finite somewhere.
    """
    if (start == end).all():
        raise MismatchError("the line has no length: its two ends are the same input")
    runs = [_span_in_region(region, start, end) for region in prop.regions]
    holding = [i for i, region in enumerate(prop.regions) if mark is not None and region.contains(mark.x)]
    met = [i for i, run in enumerate(runs) if run is not None]
    # a line may meet no region at all: it is drawn all the same, with the margin of the first one
    number = next(iter(holding + met), 0)
    positions = np.linspace(0.0, 1.0, POSITIONS)
    at = None if mark is None else _position_on_line(np.array(mark.x), start, end)
    if at is not None:
        # a curve through 401 points may miss the dip at the counterexample, which is to be seen
        positions = np.unique(np.append(positions, at))
    # float32, as networks take them
    points = torch.from_numpy(start + positions[:, None] * (end - start)).float()
    if at is not None and mark is not None:
        # the very input: computed from its place on the line it would be a rounding off, and might not violate
        points[int(np.searchsorted(positions, at))] = torch.tensor(mark.x)
    run = runs[number]
    return MarginLine(
        property=prop.name,
        text=scene.text,
        start=tuple(start.tolist()),
        end=tuple(end.tolist()),
        inputs=tuple(quantity.named for quantity in scene.quantities),
        shown_start=_shown_point(scene, start),
        shown_end=_shown_point(scene, end),
        along=along,
        positions=Series.of(positions),
        region=() if run is None else (run,),
        mark=at,
        panels=tuple(
            _line_panel(prop.regions[number], loaded, title, points, prop.name)
            for title, loaded in panel_networks(scene)
        ),
    )


def _shown_point(scene: Scene, x: Floats) -> tuple[float, ...]:
    """An input in shown units."""
    return tuple(q.shown(value) for q, value in zip(scene.quantities, x.tolist(), strict=True))


def _span_in_region(region: Region, start: Floats, end: Floats) -> tuple[float, float] | None:
    """From where to where the line lies in the region's box; None where nowhere."""
    way, first, last = end - start, 0.0, 1.0
    for a, d, low, high in zip(start, way, region.lower.numpy(), region.upper.numpy(), strict=True):
        if d == 0:
            if not low <= a <= high:
                return None
            continue
        # d may be negative
        near, far = sorted(((low - a) / d, (high - a) / d))
        first, last = max(first, near), min(last, far)
    return (float(first), float(last)) if first <= last else None


def _position_on_line(x: Floats, start: Floats, end: Floats) -> float | None:
    """Where ``x`` lies on the line; None where beside it, by more than float32 rounds."""
    way = end - start
    at = float((x - start) @ way / (way @ way))
    # relative to the values, as float32 rounds
    near = np.abs(start + at * way - x) <= 1e-6 * (1 + np.abs(x))
    return at if near.all() and 0 <= at <= 1 else None


def _line_panel(region: Region, loaded: Loaded, title: PanelTitle, x: Tensor, name: str) -> LinePanel:
    # float64 rows on float32 outputs: margins near zero are what such pictures are looked at for
    margins = region.margin(evaluate(float_network(loaded), x).double()).numpy()
    if not np.isfinite(margins).all():
        raise MismatchError(f"the margin of {name} is not a number everywhere on the line: nothing can be drawn")
    return LinePanel(title=title, net=str(loaded.path), net_sha256=loaded.net.sha256, margins=Series.of(margins))


def line_through(scene: Scene, region: Region, at: Floats) -> tuple[Floats, Floats]:
    """From a region's middle through ``at`` and on to either side: a quarter beyond the region, where the domain goes.

    Through the middle itself it runs along the input with the widest range.
    """
    lower, upper = region.lower.numpy(), region.upper.numpy()
    way = at - (lower + (upper - lower) / 2)
    # `not ... >`: of a region that is a point both are zero, and NaN goes this way too
    if not np.abs(way).max() > 1e-9 * np.abs(upper - lower).max():
        way = np.where(np.arange(len(way)) == (upper - lower).argmax(), upper - lower, 0.0)
    if not way.any():
        raise MismatchError("the region is a single point: say the line's ends with --from and --to")
    low, high = _reach_in_box(at, way, lower, upper)
    low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)
    # the quarter beyond ends where inputs mean nothing any more
    if scene.domain is not None:
        within = _reach_in_box(at, way, *(side.numpy() for side in scene.domain))
        low, high = max(low, within[0]), min(high, within[1])
    return at + low * way, at + high * way


def _reach_in_box(at: Floats, way: Floats, lower: Floats, upper: Floats) -> tuple[float, float]:
    """How far ``at + t way`` stays in a box that holds ``at``: the least and the greatest t."""
    moving = way != 0
    ends = np.sort(np.stack([lower[moving] - at[moving], upper[moving] - at[moving]]) / way[moving], axis=0)
    # zero belongs to it whatever rounding says: `at` is held by the box
    return min(0.0, float(ends[0].max())), max(0.0, float(ends[1].min()))
