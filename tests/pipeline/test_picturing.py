"""Which pictures belong to a repair: one of each property that was violated, closer where nothing is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from birdnn.pipeline.case import Asked, Case, Points
from birdnn.pipeline.judging import Answer, Attempt
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.picturing import repair_pictures
from birdnn.records import AdvisoryMap, CaseFiles, MarginLine, Proved, Unknown, Verdict, Witness
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property, property_of
from tests.pipeline.scenes import linear
from tests.pipeline.test_mapping import tree

ABOVE = half_space([-1.0], -1.5)
"""An output of at least 1.5 is unsafe."""

SQUARE = make_property([0.0, 0.0], [1.0, 1.0], ABOVE)

Pictures = tuple[tuple[AdvisoryMap, ...], tuple[MarginLine, ...]]


def case(net: Loaded, *subjects: Asked, domain: tuple[list[float], list[float]] | None = None) -> Case:
    corners = None if domain is None else tuple(torch.tensor(side, dtype=torch.float64) for side in domain)
    return Case(
        files=CaseFiles(net=net.path), loaded=net, subjects=subjects, corners=corners, domain=None, decision="none",
        rule_by="nobody", data=None, test=None, semantics="real", suite=None, notes=(), of_suite=(), remarks=(),
    )  # type: ignore[arg-type]  # fmt: skip


def asked(prop: Property = SQUARE) -> Asked:
    return Asked(prop=prop, path="", text="it", role="goal")


def witness(*x: float) -> Witness:
    return Witness(x=x, y=(2.0,), replayed_by=("same",))


def pictures(
    *subjects: Asked,
    at: tuple[float, ...] = (1.0, 0.75),
    verdict: Verdict | None = None,
    over: Callable[[], bool] = lambda: False,
    domain: tuple[list[float], list[float]] | None = None,
) -> Pictures:
    best = Attempt(loaded=linear([0.0] * len(at), name="after"))
    if verdict is not None:
        best.answers["made up"] = Answer(verdict=verdict, verify_s=0.0)
    whole = case(linear([1.0] * len(at)), *subjects, domain=domain)
    return repair_pictures(whole, best, {"made up": [witness(*at)]}, over)


def test_a_property_that_was_violated_has_a_map_and_a_line_of_both_networks() -> None:
    (drawn,), (line,) = pictures(asked())
    assert [panel.title for panel in drawn.panels] == ["before", "after"]
    assert [panel.unsafe_cells > 0 for panel in drawn.panels] == [True, False]
    assert [(mark.x, mark.y) for mark in drawn.marks] == [(1.0, 0.75)]
    assert (drawn.view, drawn.at_source, drawn.text) == ("region", "counterexample", "it")
    assert line.mark is not None
    assert [panel.title for panel in line.panels] == ["before", "after"]


def test_what_was_not_violated_has_none() -> None:
    """Nor has a counterexample that lies in none of its regions."""
    assert pictures(asked(replace(SQUARE, name="other"))) == ((), ())
    assert pictures(asked(), at=(5.0, 5.0)) == ((), ())


def test_points_have_no_picture() -> None:
    assert pictures(Points(prop=SQUARE, path="", text="it", role="goal", radius=0.1)) == ((), ())


@pytest.mark.parametrize(("size", "drawn"), [(32, True), (33, False)])
def test_a_plane_through_a_great_many_inputs_tells_nothing(size: int, drawn: bool) -> None:
    prop = make_property([0.0] * size, [1.0] * size, ABOVE)
    maps, lines = pictures(asked(prop), at=(1.0,) * size)
    assert (bool(maps), bool(lines)) == (drawn, drawn)


def test_violations_too_small_to_be_seen_have_a_second_map() -> None:
    wide = [-50.0, -50.0], [50.0, 50.0]
    maps, _ = pictures(asked(), domain=wide)
    assert [drawn.view for drawn in maps] == ["domain", "violations"]
    assert maps[0].extent == (-50.0, 50.0, -50.0, 50.0)
    near, _ = pictures(asked(), domain=([0.0, 0.0], [1.0, 1.0]))
    assert [drawn.view for drawn in near] == ["domain"]


def test_the_box_of_the_proof_is_drawn_of_the_repaired_network() -> None:
    proof = tree([0.0, 0.0], [1.0, 1.0], at=0.5).proof
    (drawn,), _ = pictures(asked(), verdict=Proved(boxes=3, proofs=(proof,)))
    before, after = (panel.boxes for panel in drawn.panels)
    assert before is None
    assert after is not None
    assert after.count == 2
    for other in (Proved(boxes=3), Unknown(reason="timeout", boxes=3), None):
        (drawn,), _ = pictures(asked(), verdict=other)
        assert all(panel.boxes is None for panel in drawn.panels)


def test_a_flat_region_has_a_line_alone_and_a_point_nothing() -> None:
    """A map needs two inputs that vary; a line one."""
    flat = make_property([0.0, 0.75], [1.0, 0.75], ABOVE)
    maps, lines = pictures(asked(flat))
    assert (len(maps), len(lines)) == (0, 1)
    point = make_property([1.0, 0.75], [1.0, 0.75], ABOVE)
    assert pictures(asked(point)) == ((), ())


def test_each_region_has_its_own_picture() -> None:
    """That of the counterexample."""
    far = make_property([5.0, 5.0], [6.0, 6.0], ABOVE).regions[0]
    (drawn,), (line,) = pictures(asked(property_of(far, SQUARE.regions[0])))
    assert drawn.x.upper <= 6.0
    assert all(abs(end) < 2.0 for end in (*line.start, *line.end))


@pytest.mark.parametrize(("looks", "maps", "lines"), [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 2, 0), (4, 2, 1)])
def test_no_more_pictures_once_the_time_is_over(looks: int, maps: int, lines: int) -> None:
    """It is asked between them: what has been drawn by then is kept."""
    left = [looks]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    drawn, across = pictures(asked(), domain=([-50.0, -50.0], [50.0, 50.0]), over=over)
    assert (len(drawn), len(across)) == (maps, lines)
