"""What networks do over a plane and along a line: cells, marks, boxes of a proof, margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from birdnn.certify.read import StoredRegion
from birdnn.errors import MismatchError
from birdnn.pipeline.mapping import POSITIONS, advisory_map, covers_of, line_through, margin_line, panel_networks
from birdnn.pipeline.planes import Framing, Plane, Quantity, Scene, plane_of
from birdnn.records import LEAF, NO_CELL, MarginLine, RegionProof, Witness
from birdnn.sample import evaluate
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property, property_of
from tests.pipeline.scenes import linear, loaded, scene

ABOVE = half_space([-1.0], -1.5)
"""An output of at least 1.5 is unsafe."""

UNIT = make_property([0.0, 0.0], [1.0, 1.0], ABOVE)


def witness(*x: float) -> Witness:
    return Witness(x=x, y=(2.0,), replayed_by=("same",))


def cut(picture: Scene, at: Sequence[float] = (0.0, 0.0), **framing: object) -> Plane:
    asked = {"x_range": (0.0, 2.0), "y_range": (0.0, 2.0), "cells": 4, **framing}
    return plane_of(picture, (picture.quantities[0], picture.quantities[1]), tuple(at), "given", Framing(**asked))  # type: ignore[arg-type]


def tree(lower: Sequence[float], upper: Sequence[float], at: float | None = None) -> StoredRegion:
    """A proof of a box in one leaf, or in two that meet where the first input is ``at``."""
    none, axes = np.zeros(0), [LEAF] if at is None else [0, LEAF, LEAF]
    proof = RegionProof(
        axis=np.array(axes, np.uint32),
        cut=np.array([] if at is None else [at]),
        face_node=none.astype(np.uint32),
        face=none.astype(np.uint32),
        face_at=none,
        item_node=none.astype(np.uint32),
        item_polytope=none.astype(np.uint16),
        multiplier=none.astype(np.float32),
        slopes=none.astype(np.uint32),
        neuron=none.astype(np.uint32),
        slope=none.astype(np.float32),
        beta=none.astype(np.float32),
    )
    return StoredRegion(lower=np.array(lower), upper=np.array(upper), proof=proof)


# --- maps


def test_cells_say_who_decides_and_what_is_unsafe() -> None:
    drawn = advisory_map(scene(linear([1.0, 1.0]), UNIT), cut(scene(linear([1.0, 1.0]), UNIT)))
    (panel,) = drawn.panels
    unsafe = np.zeros((4, 4), int)
    unsafe[1, 1] = 1  # middles are 0.25 and 0.75: of those in the unit square one sum reaches 1.5
    assert (panel.unsafe.array() == unsafe).all()
    assert (panel.unsafe_cells, panel.region_cells) == (1, 4)
    assert (drawn.property, drawn.text, drawn.region) == ("made up", "what is asked", ((0.0, 1.0, 0.0, 1.0),))
    two = linear([1.0, 0.0], [0.0, 1.0])
    decided = advisory_map(scene(two), cut(scene(two))).panels[0]
    across, up = np.meshgrid(range(4), range(4))
    assert (decided.decisions.array() == (up > across)).all()
    assert (decided.unsafe_cells, decided.region_cells) == (0, 0)


def test_without_a_rule_no_output_decides() -> None:
    picture = replace(scene(linear([1.0, 0.0], [0.0, 1.0])), decision="none")
    assert not advisory_map(picture, cut(picture)).panels[0].decisions.array().any()


def test_two_networks_have_a_panel_each() -> None:
    before, after = linear([1.0, 1.0], name="before"), linear([0.0, 0.0], name="after")
    picture = scene(before, UNIT, after=after)
    assert panel_networks(picture) == [("before", before), ("after", after)]
    assert panel_networks(scene(before)) == [("", before)]
    panels = advisory_map(picture, cut(picture)).panels
    assert [(p.title, p.net, p.net_sha256, p.unsafe_cells) for p in panels] == [
        ("before", "/before.onnx", "digest of before", 1),
        ("after", "/after.onnx", "digest of after", 0),
    ]


def test_outside_of_the_domain_nothing_is_asked() -> None:
    rho, theta = (Quantity(input=i, name=name) for i, name in enumerate(("rho", "theta")))
    prop = make_property([0.0, -4.0], [3.0, 4.0], half_space([0.0], 0.0))
    picture = replace(scene(linear([1.0, 0.0]), prop), quantities=(rho, theta), encounter=(rho, theta, None))
    (panel,) = advisory_map(picture, cut(picture, x_range=(0.0, 1.0), y_range=(-3.2, 3.2))).panels
    corners = np.zeros((4, 4), bool)
    corners[[0, 0, 3, 3], [0, 3, 0, 3]] = True
    assert ((panel.decisions.array() == NO_CELL) == corners).all()
    assert (panel.unsafe_cells, panel.region_cells) == (12, 12)


def test_marks_and_regions_are_those_of_the_plane() -> None:
    near = make_property([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], ABOVE).regions[0]
    far = make_property([5.0, 5.0, 5.0], [6.0, 6.0, 6.0], ABOVE).regions[0]
    raw = Quantity(input=0, name="v", mean=10.0, range=2.0)
    picture = scene(linear([1.0, 1.0, 1.0]), property_of(near, far))
    picture = replace(picture, quantities=(raw, *picture.quantities[1:]))
    marks = [witness(0.5, 0.25, 0.5), witness(0.5, 0.25, 0.75)]
    drawn = advisory_map(picture, cut(picture, (9.0, 9.0, 0.5)), marks=marks)
    assert [(mark.x, mark.y) for mark in drawn.marks] == [(11.0, 0.25)]
    assert drawn.region == ((10.0, 12.0, 0.0, 1.0),)


def test_boxes_of_a_proof_belong_to_the_network_that_it_is_about() -> None:
    before, after = linear([1.0, 1.0], name="before"), linear([0.0, 0.0], name="after")
    picture = scene(before, UNIT, after=after)
    covers = {"digest of after": [tree([0.0, 0.0], [1.0, 1.0], at=0.25)]}
    first, second = advisory_map(picture, cut(picture), covers=covers).panels
    assert first.boxes is None
    assert second.boxes is not None
    assert sorted(second.boxes.array().tolist()) == [[0.0, 0.25, 0.0, 1.0], [0.25, 1.0, 0.0, 1.0]]


def test_boxes_that_are_not_seen_are_left_out() -> None:
    """In shown units; one that touches the picture's edge is seen."""
    raw = Quantity(input=0, name="v", mean=10.0, range=2.0)
    picture = scene(linear([1.0, 1.0]), UNIT)
    picture = replace(picture, quantities=(raw, picture.quantities[1]))
    trees = [
        tree([0.0, 0.0], [0.5, 1.0]),
        tree([1.0, 0.0], [2.0, 1.0]),
        tree([1.5, 0.0], [2.0, 1.0]),
        tree([-1.0, 0.0], [-0.5, 1.0]),
        tree([0.0, 3.0], [1.0, 4.0]),
        tree([0.0, -4.0], [1.0, -3.0]),
    ]
    plane = cut(picture, x_range=(10.0, 12.0))
    (panel,) = advisory_map(picture, plane, covers={"digest of n": trees}).panels
    assert panel.boxes is not None
    assert panel.boxes.array().tolist() == [[10.0, 11.0, 0.0, 1.0], [12.0, 14.0, 0.0, 1.0]]
    (none,) = advisory_map(picture, plane, covers={"digest of n": []}).panels
    assert none.boxes is not None
    assert none.boxes.count == 0


def test_each_region_has_its_own_tree() -> None:
    first, second = (make_property([low], [low + 1.0], ABOVE).regions[0] for low in (0.0, 5.0))
    proofs = [tree([0.0], [1.0]).proof, tree([0.0], [1.0], at=5.5).proof]
    found = covers_of(property_of(first, second), proofs)
    assert [(each.lower.tolist(), each.upper.tolist()) for each in found] == [([0.0], [1.0]), ([5.0], [6.0])]
    assert [each.proof for each in found] == proofs
    with pytest.raises(ValueError, match="shorter"):
        covers_of(property_of(first, second), proofs[:1])


# --- lines


def lined(
    prop: Property, start: Sequence[float], end: Sequence[float], mark: Witness | None = None, **more: object
) -> MarginLine:
    picture = scene(linear([1.0] * prop.n_inputs), prop, **more)
    return margin_line(picture, prop, np.array(start, float), np.array(end, float), mark=mark)


def test_the_margin_along_a_line() -> None:
    drawn = lined(UNIT, (0.0, 0.0), (2.0, 1.0))
    positions, (panel,) = drawn.positions.array(), drawn.panels
    assert (len(positions), positions[0], positions[200], positions[-1]) == (POSITIONS, 0.0, 0.5, 1.0)
    assert panel.margins.array() == pytest.approx(1.5 - 3 * positions, abs=1e-6)
    assert (drawn.start, drawn.end, drawn.mark) == ((0.0, 0.0), (2.0, 1.0), None)


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        ((-1.0, 0.5), (3.0, 0.5), ((0.25, 0.5),)),
        ((3.0, 0.5), (-1.0, 0.5), ((0.5, 0.75),)),
        ((0.25, 0.5), (0.75, 0.5), ((0.0, 1.0),)),
        ((-1.0, -1.5), (3.0, 1.0), ()),
        ((-1.0, 1.5), (3.0, 1.5), ()),
        ((-1.0, 1.0), (3.0, 1.0), ((0.25, 0.5),)),
        # through a corner alone
        ((-1.0, 1.0), (1.0, -1.0), ((0.5, 0.5),)),
        # it ends before it gets there
        ((-3.0, 0.5), (-1.0, 0.5), ()),
    ],
)
def test_where_a_line_meets_the_region(
    start: tuple[float, float], end: tuple[float, float], span: tuple[tuple[float, float], ...]
) -> None:
    assert lined(UNIT, start, end).region == span


def test_whose_margin_it_is() -> None:
    """That of the region with the counterexample, else of the first that the line meets, else of the first."""
    one = make_property([0.0], [1.0], half_space([-1.0], -1.0)).regions[0]
    two = make_property([2.0], [3.0], half_space([-1.0], -10.0)).regions[0]
    prop = property_of(one, two)

    def first_margin(start: float, end: float, mark: Witness | None = None) -> float:
        return float(lined(prop, (start,), (end,), mark).panels[0].margins.array()[0])

    assert first_margin(0.0, 4.0) == 1.0
    assert first_margin(0.0, 4.0, witness(2.5)) == 10.0
    assert first_margin(1.5, 4.0) == 8.5
    assert first_margin(4.0, 5.0) == -3.0


def test_the_counterexample_is_one_of_the_points() -> None:
    """The very input: the place on the line, rounded, might not violate."""
    x = float(np.float32(0.1)), float(np.float32(0.7000005))
    net = loaded(([[1e6, 1e6], [-1e6, -1e6]], [-1e6 * sum(x), 1e6 * sum(x)]), ([[1, 1]], [0]))
    start, end = np.array([0.0, 0.6]), np.array([0.3, 0.9])
    drawn = margin_line(scene(net, UNIT), UNIT, start, end, mark=witness(*x))
    assert drawn.mark == pytest.approx(1 / 3, abs=1e-6)
    positions = drawn.positions.array()
    assert len(positions) == POSITIONS + 1
    place = int(np.abs(positions - drawn.mark).argmin())
    exact = evaluate(net.net, torch.tensor([x]))[0, 0]
    assert drawn.panels[0].margins.array()[place] == pytest.approx(1.5 - float(exact))


@pytest.mark.parametrize("x", [(0.5, 0.6), (-0.5, -0.5), (1.5, 1.5)])
def test_a_counterexample_beside_the_line_is_no_place_on_it(x: tuple[float, float]) -> None:
    drawn = lined(UNIT, (0.0, 0.0), (1.0, 1.0), witness(*x))
    assert drawn.mark is None
    assert drawn.positions.count == POSITIONS


@pytest.mark.parametrize("place", [0.0, 1.0])
def test_a_counterexample_at_an_end_is_one(place: float) -> None:
    drawn = lined(UNIT, (0.0, 0.0), (1.0, 1.0), witness(place, place))
    assert drawn.mark == place
    assert drawn.positions.count == POSITIONS


def test_lines_that_cannot_be_drawn() -> None:
    with pytest.raises(MismatchError, match="its two ends are the same input"):
        lined(UNIT, (0.5, 0.5), (0.5, 0.5))
    huge = linear([3e38, 3e38])
    with pytest.raises(MismatchError, match="the margin of made up is not a number everywhere on the line"):
        margin_line(scene(huge, UNIT), UNIT, np.array([0.0, 0.0]), np.array([1.0, 1.0]))


def test_shown_ends_are_in_shown_units() -> None:
    raw = Quantity(input=0, name="v", mean=10.0, range=2.0)
    picture = scene(linear([1.0, 1.0]), UNIT)
    picture = replace(picture, quantities=(raw, picture.quantities[1]))
    drawn = margin_line(picture, UNIT, np.array([0.0, 0.5]), np.array([1.0, 0.5]), along=0)
    assert (drawn.shown_start, drawn.shown_end, drawn.along) == ((10.0, 0.5), (12.0, 0.5), 0)


# --- the line that is drawn where nobody says which


def through(lower: Sequence[float], upper: Sequence[float], at: Sequence[float], **more: object) -> list[list[float]]:
    prop = make_property(lower, upper, ABOVE)
    picture = scene(linear([1.0] * len(lower)), prop, **more)
    return [end.tolist() for end in line_through(picture, prop.regions[0], np.array(at, float))]


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        # from the middle through the point, and a quarter of the way beyond either side
        ([1.5, 0.75], ([-0.5, -0.25], [2.5, 1.25])),
        # the middle itself: along the widest input
        ([1.0, 0.5], ([-0.5, 0.5], [2.5, 0.5])),
        # a corner
        ([2.0, 1.0], ([-0.5, -0.25], [2.5, 1.25])),
        ([1.0, 1.0], ([1.0, -0.25], [1.0, 1.25])),
        # it leaves the region where the first of its inputs does
        ([1.25, 1.0], ([0.625, -0.25], [1.375, 1.25])),
    ],
)
def test_the_line_through_a_point(at: list[float], ends: tuple[list[float], list[float]]) -> None:
    assert np.array(sorted(through([0.0, 0.0], [2.0, 1.0], at))) == pytest.approx(np.array(ends))


def test_it_ends_where_the_domain_does() -> None:
    domain = ([-0.25, -1.0], [9.0, 9.0])
    assert through([0.0, 0.0], [2.0, 1.0], [1.5, 0.5], domain=domain) == [[-0.25, 0.5], [2.5, 0.5]]


def test_a_single_point_has_no_line() -> None:
    with pytest.raises(MismatchError, match="a single point: say the line's ends with --from and --to"):
        through([0.5, 0.5], [0.5, 0.5], [0.5, 0.5])
