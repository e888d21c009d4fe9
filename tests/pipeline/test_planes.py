"""Planes through the input space: which inputs, how far, and what of them is unsafe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import MismatchError
from birdnn.pipeline.planes import (
    Framing,
    Plane,
    Quantity,
    Scene,
    cell_middles,
    input_called,
    meets_plane,
    most_influential,
    plane_of,
    shown_quantities,
    unsafe_where,
)
from birdnn.spec import Polytope, Region
from tests.bounds.builders import half_space, make_property, property_of
from tests.pipeline.scenes import linear, loaded, scene

ABOVE = half_space([-1.0], -1.5)
"""An output of at least 1.5 is unsafe."""


def plane(picture: Scene, at: Sequence[float], x: int = 0, y: int = 1, **framing: object) -> Plane:
    axes = picture.quantities[x], picture.quantities[y]
    return plane_of(picture, axes, tuple(map(float, at)), "given", Framing(**framing))  # type: ignore[arg-type]


# --- units and names


def test_shown_units_are_scaled_and_moved() -> None:
    raw = Quantity(input=1, name="v", unit="ft", mean=10.0, range=4.0)
    assert (raw.shown(0.5), raw.network(12.0)) == (12.0, 0.5)
    assert (raw.named.input, raw.named.name, raw.named.unit) == (1, "v", "ft")


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(0.01, 1e3))
def test_shown_units_lead_back(value: float, mean: float, extent: float) -> None:
    raw = Quantity(input=0, name="v", mean=mean, range=extent)
    assert raw.network(raw.shown(value)) == pytest.approx(value, rel=1e-9, abs=1e-6)


def test_nobody_names_or_scales_the_inputs() -> None:
    found = shown_quantities(linear([1.0, 1.0]), None)
    assert [(q.input, q.name, q.mean, q.range, q.lower) for q in found] == [
        (0, "x_0", 0.0, 1.0, None),
        (1, "x_1", 0.0, 1.0, None),
    ]


def test_a_declared_range_goes_before_the_domain() -> None:
    """Both ends of it, or none; the domain is in network units, and is shown."""
    picture = scene(linear([1.0]), domain=([-1.0], [1.0]))
    raw = Quantity(input=0, name="v", mean=10.0, range=4.0)
    assert picture.shown_domain(replace(raw, lower=0.0, upper=5.0)) == (0.0, 5.0)
    assert picture.shown_domain(replace(raw, lower=0.0)) == (6.0, 14.0)
    assert picture.shown_domain(raw) == (6.0, 14.0)
    assert scene(linear([1.0])).shown_domain(raw) is None


def test_inputs_are_called_by_name_or_number() -> None:
    quantities = tuple(Quantity(input=i, name=name) for i, name in enumerate(("rho", "theta")))
    assert [input_called(text, quantities, "--x").input for text in ("theta", " 0 ", "1")] == [1, 0, 1]
    with pytest.raises(MismatchError, match=r"--x psi: .* it has rho, theta \(or 0 to 1\)"):
        input_called("psi", quantities, "--x")
    many = tuple(Quantity(input=i, name=f"x_{i}") for i in range(13))
    with pytest.raises(MismatchError, match=r"x_11, \.\.\. \(or 0 to 12\)"):
        input_called("13", many, "--y")


# --- which inputs matter


@pytest.mark.parametrize(
    ("weights", "upper", "chosen"),
    [
        ([0.1, 5.0, 1.0], [1, 1, 1], (1, 2)),
        # in the order of the inputs, whichever matters more
        ([1.0, 0.1, 5.0], [1, 1, 1], (0, 2)),
        # a steep input of a narrow range matters little
        ([9.0, 1.0, 1.0], [0.01, 1, 1], (1, 2)),
        ([-5.0, 0.1, 1.0], [1, 1, 1], (0, 2)),
        # where two change nothing the wider one
        ([1.0, 0.0, 0.0], [1, 2, 3], (0, 2)),
        # an input that is fixed is no axis
        ([9.0, 1.0, 0.0], [0, 1, 1], (1, 2)),
    ],
)
def test_the_margin_says_which_inputs_matter(weights: list[float], upper: list[float], chosen: tuple[int, int]) -> None:
    prop = make_property([0.0] * 3, upper, ABOVE)
    found = most_influential(scene(linear(weights), prop), prop.regions[0])
    assert found is not None
    assert (found[0].input, found[1].input) == chosen


def test_one_input_that_varies_makes_no_plane() -> None:
    prop = make_property([0.0, 1.0], [1.0, 1.0], ABOVE)
    assert most_influential(scene(linear([1.0, 1.0]), prop), prop.regions[0]) is None


@pytest.mark.parametrize("unsafe", [(), (Polytope(rows=(), n_outputs=1),)])
def test_without_rows_on_outputs_the_widest_inputs_are_drawn(unsafe: tuple[Polytope, ...]) -> None:
    """Every output is unsafe, or none: the margin depends on no input. It was an internal error."""
    region = Region(exact_lower=(Fraction(0),) * 3, exact_upper=(Fraction(2), Fraction(1), Fraction(3)), unsafe=unsafe)
    found = most_influential(scene(linear([1.0, 9.0, 1.0])), region)
    assert found is not None
    assert (found[0].input, found[1].input) == (0, 2)


# --- what is unsafe


def test_strict_rows_and_strict_ends() -> None:
    x = torch.tensor([[0.0], [0.5], [1.0], [1.5]])
    y = torch.tensor([[1.5], [1.5], [2.0], [2.0]])
    closed = make_property([0.0], [1.0], ABOVE)
    inside, unsafe = unsafe_where(closed, x, y)
    assert (inside.tolist(), unsafe.tolist()) == ([True, True, True, False], [True, True, True, False])
    strict = make_property([0.0], [1.0], half_space([-1.0], -1.5, strict=True))
    assert unsafe_where(strict, x, y)[1].tolist() == [False, False, True, False]
    opened = property_of(replace(closed.regions[0], strict_lower=(True,), strict_upper=(True,)))
    inside, unsafe = unsafe_where(opened, x, y)
    assert (inside.tolist(), unsafe.tolist()) == ([False, True, False, False], [False, True, False, False])


def test_a_point_is_unsafe_by_the_region_that_it_lies_in() -> None:
    """All rows of one polytope, any of its polytopes; another region's say nothing of it. NaN is no violation."""
    between = Polytope(rows=(*half_space([1.0], 2.0).rows, *half_space([-1.0], -1.0).rows), n_outputs=1)
    first = make_property([0.0], [1.0], between, half_space([-1.0], -9.0)).regions[0]
    second = make_property([2.0], [3.0], half_space([1.0], 0.0)).regions[0]
    x = torch.tensor([[0.5], [0.5], [0.5], [0.5], [2.5], [2.5], [1.5]])
    y = torch.tensor([[1.5], [3.0], [9.0], [math.nan], [1.5], [-1.0], [1.5]])
    inside, unsafe = unsafe_where(property_of(first, second), x, y)
    assert inside.tolist() == [True] * 6 + [False]
    assert unsafe.tolist() == [True, False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("at", "varying", "meets"),
    [
        ((0.5, 0.5, 1.0), {0, 1}, True),
        ((9.0, 9.0, 0.0), {0, 1}, True),
        ((0.5, 0.5, 1.5), {0, 1}, False),
        ((0.5, -0.5, 0.5), {0, 1}, True),
        ((0.5, -0.5, 0.5), {0, 2}, False),
        ((math.nan, 0.5, 0.5), {1, 2}, False),
    ],
)
def test_a_box_meets_a_plane_where_the_other_inputs_lie_in_it(
    at: tuple[float, ...], varying: set[int], meets: bool
) -> None:
    assert meets_plane(make_property([0.0] * 3, [1.0] * 3, ABOVE).regions[0], at, varying) == meets


# --- cells


def test_cells_stand_for_their_middles() -> None:
    """Row by row from the bottom, shown values made into those of the network; other inputs stay."""
    raw = Quantity(input=2, name="v", mean=10.0, range=2.0)
    picture = scene(linear([1.0] * 3))
    picture = replace(picture, quantities=(*picture.quantities[:2], raw))
    cut = plane_of(
        picture,
        (raw, picture.quantities[0]),
        (7.0, 8.0, 9.0),
        "given",
        Framing(x_range=(10, 14), y_range=(0, 1), cells=2),
    )
    x, asked = cell_middles(picture, cut)
    assert x.dtype == torch.float32
    assert x.tolist() == [[0.25, 8.0, 0.5], [0.25, 8.0, 1.5], [0.75, 8.0, 0.5], [0.75, 8.0, 1.5]]
    assert asked.all()


def sector(distance: tuple[float, float], bearing: tuple[float, float], **framing: object) -> tuple[Scene, Plane]:
    """A picture from above of inputs rho, theta, psi."""
    rho, theta, psi = (Quantity(input=i, name=name) for i, name in enumerate(("rho", "theta", "psi")))
    picture = replace(scene(linear([1.0] * 3)), quantities=(rho, theta, psi), encounter=(rho, theta, psi))
    return picture, plane(picture, (0.0, 0.0, 0.25), x_range=distance, y_range=bearing, **framing)


def test_cells_of_an_encounter_have_a_distance_and_a_bearing() -> None:
    picture, cut = sector((0.0, 2.0), (-math.pi, math.pi), cells=2)
    x, asked = cell_middles(picture, cut)
    turns = [-0.75, -0.25, 0.75, 0.25]
    assert np.allclose(x.numpy(), [[math.sqrt(2), turn * math.pi, 0.25] for turn in turns])
    assert asked.all()
    corners = cell_middles(*sector((0.0, 2.0), (-math.pi, math.pi), cells=100))[1].reshape(100, 100)
    assert not corners[0, 0]
    assert corners[50, 99]
    assert corners.mean() == pytest.approx(math.pi / 4, abs=0.01)


def test_what_the_domain_excludes_is_not_asked() -> None:
    """Though the picture shows it: the declared range counts, not what was drawn."""
    picture, cut = sector((0.0, 2.0), (-math.pi, math.pi), cells=4)
    near = replace(picture.quantities[0], upper=1.0, lower=0.0)
    cut = replace(cut, x=replace(cut.x, quantity=near))
    asked = cell_middles(picture, cut)[1].reshape(4, 4)
    assert asked.tolist() == [[False] * 4, [False, True, True, False], [False, True, True, False], [False] * 4]


# --- how far


@pytest.mark.parametrize(
    ("distance", "bearing", "extent"),
    [
        ((0.0, 2.0), (-math.pi, math.pi), (-2.0, 2.0, -2.0, 2.0)),
        ((1.0, 2.0), (0.0, math.pi / 2), (0.0, 2.0, 0.0, 2.0)),
        # straight ahead, no end of the range: the sector is farthest there
        ((0.0, 2.0), (-math.pi / 4, math.pi / 4), (0.0, 2.0, -math.sqrt(2), math.sqrt(2))),
        # a distance below zero is none
        ((-1.0, 2.0), (0.0, math.pi / 2), (0.0, 2.0, 0.0, 2.0)),
        # a narrow sector has half of its length around it
        ((0.0, 2.0), (-0.1, 0.1), (0.0, 2.0, -0.5, 0.5)),
    ],
)
def test_the_picture_of_an_encounter_is_the_box_around_its_sector(
    distance: tuple[float, float], bearing: tuple[float, float], extent: tuple[float, ...]
) -> None:
    _, cut = sector(distance, bearing)
    assert cut.extent == pytest.approx(extent, abs=1e-12)


def test_cells_of_an_encounter_are_squares() -> None:
    _, flat = sector((0.0, 2.0), (-0.1, 0.1), cells=100)
    assert (flat.rows, flat.columns) == (50, 100)
    _, tall = sector((1.0, 2.0), (-math.pi / 2, math.pi / 2), cells=100)
    assert (tall.rows, tall.columns) == (100, 50)
    _, plain = sector((0.0, 2.0), (-0.1, 0.1), cells=100, geometry="plain")
    assert (plain.rows, plain.columns, plain.extent) == (100, 100, (0.0, 2.0, -0.1, 0.1))


def test_an_encounter_is_one_by_distance_and_bearing_in_that_order() -> None:
    picture, cut = sector((0.0, 1.0), (0.0, 1.0))
    assert (cut.geometry, cut.heading) == ("encounter", picture.quantities[2])
    assert cut.mark((0.5, 0.25, 0.75)).heading == 0.75
    turned = plane(picture, (0.0, 0.0, 0.5), 1, 0, x_range=(0, 1), y_range=(0, 1))
    assert (turned.geometry, turned.heading) == ("plain", None)
    mark = turned.mark((0.5, 0.25, 0.75))
    assert (mark.x, mark.y, mark.heading) == (0.25, 0.5, None)
    with pytest.raises(MismatchError, match="--geometry encounter needs --x rho --y theta"):
        plane(picture, (0.0, 0.0, 0.5), 1, 0, geometry="encounter")
    with pytest.raises(MismatchError, match="needs a network of a suite that names an encounter"):
        plane(scene(linear([1.0, 1.0])), (0.0, 0.0), geometry="encounter")


def test_the_domain_is_drawn_where_it_is_known_else_the_region() -> None:
    prop = make_property([0.0] * 3, [1.0, 2.0, 3.0], ABOVE)
    known = plane(scene(linear([1.0] * 3), prop, domain=([-1.0] * 3, [5.0] * 3)), (0.5, 0.5, 0.5))
    assert (known.view, known.extent) == ("domain", (-1.0, 5.0, -1.0, 5.0))
    unknown = plane(scene(linear([1.0] * 3), prop), (0.5, 0.5, 0.5))
    assert (unknown.view, unknown.extent) == ("region", (0.0, 1.0, 0.0, 2.0))
    (fixed,) = unknown.fixed_inputs()
    assert (fixed.input, fixed.name, fixed.value) == (2, "x_2", 0.5)
    one = plane(scene(linear([1.0] * 3), prop), (0.5, 0.5, 0.5), y_range=(7.0, 8.0))
    assert (one.view, one.extent) == ("given", (0.0, 1.0, 7.0, 8.0))


def test_regions_that_the_plane_misses_do_not_widen_it() -> None:
    """Where it misses all of them the picture is around all."""
    near = make_property([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], ABOVE).regions[0]
    far = make_property([5.0, 5.0, 5.0], [6.0, 7.0, 6.0], ABOVE).regions[0]
    picture = scene(linear([1.0] * 3), property_of(near, far))
    assert plane(picture, (0.0, 0.0, 0.5)).extent == (0.0, 1.0, 0.0, 1.0)
    assert plane(picture, (0.0, 0.0, 5.5)).extent == (5.0, 6.0, 5.0, 7.0)
    assert plane(picture, (0.0, 0.0, 3.0)).extent == (0.0, 6.0, 0.0, 7.0)


def test_what_a_picture_cannot_be() -> None:
    prop = make_property([0.0, 1.0], [1.0, 1.0], ABOVE)
    bare, asked = scene(linear([1.0, 1.0])), scene(linear([1.0, 1.0]), prop)
    with pytest.raises(MismatchError, match="are both x_1: a map needs two different inputs"):
        plane(asked, (0.5, 1.0), 1, 1)
    with pytest.raises(MismatchError, match="give --prop, or --x-range and --y-range"):
        plane(bare, (0.5, 1.0))
    with pytest.raises(MismatchError, match="the domain of this network is not known"):
        plane(asked, (0.5, 1.0), view="domain")
    with pytest.raises(MismatchError, match="x_1 would go from 1 to 1: say its range with --y-range"):
        plane(asked, (0.5, 1.0))
    with pytest.raises(MismatchError, match="x_0 would go from 1 to 0: say its range with --x-range"):
        plane(asked, (0.5, 1.0), x_range=(1.0, 0.0), y_range=(0.0, 1.0))
    with pytest.raises(MismatchError, match="x_0 would go from 0 to nan"):
        plane(asked, (0.5, 1.0), x_range=(0.0, math.nan), y_range=(0.0, 1.0))


def test_violations_are_gone_closer_to() -> None:
    """Those of the plane, whatever other inputs could be; where there are none the region is shown."""
    prop = make_property([0.0] * 3, [1.0] * 3, half_space([-1.0], -1.99))
    picture = scene(linear([1.0, 1.0, 0.0]), prop)
    left, right, bottom, top = plane(picture, (1.0, 1.0, 0.5), view="violations").extent
    assert 0.9 < left < 0.99
    assert 0.9 < bottom < 0.99
    assert right == top == 1.0
    low = scene(linear([1.0, 1.0, 0.0]), make_property([0.0] * 3, [1.0] * 3, half_space([1.0], 0.01)))
    left, right, bottom, top = plane(low, (0.0, 0.0, 0.5), view="violations").extent
    assert left == bottom == 0.0
    assert 0.01 < right < 0.1
    safe = scene(linear([1.0, 1.0, -1.0]), prop)
    assert plane(safe, (1.0, 1.0, 0.0), view="violations").extent[0] > 0.9
    assert plane(safe, (1.0, 1.0, 1.0), view="violations").extent == (0.0, 1.0, 0.0, 1.0)


def test_a_counterexample_between_the_points_of_the_grid_stays_in_sight() -> None:
    spot = half_space([-1.0], 0.0)
    prop = make_property([0.0, 0.0], [1.0, 1.0], spot)
    # 1e-6 minus the distance from (0.3, 0.7), which no point of a grid of 121 hits
    net = loaded(([[1, 0], [-1, 0], [0, 1], [0, -1]], [-0.3001, 0.3001, -0.7002, 0.7002]), ([[-1, -1, -1, -1]], [1e-6]))
    at = float(np.float32(0.3001)), float(np.float32(0.7002))
    left, right, bottom, top = plane(scene(net, prop), at, view="violations").extent
    assert left < at[0] < right
    assert bottom < at[1] < top
    assert max(right - left, top - bottom) < 1e-3
