"""What pictures are made of: decisions, violations, boxes and margins where the networks have them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.errors import FormatError, MismatchError
from birdnn.formats import read_network
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.plotting import plot_line, plot_map
from birdnn.pipeline.repairing import repair_files
from birdnn.records import NO_CELL, AdvisoryMap, MarginLine, PlotRequest, RepairRequest, VerifySettings
from tests.cli.conftest import box_property
from tests.queries import query_over

DATA = Path(__file__).resolve().parents[2] / "birdnn" / "data"
DEMO, PROP_8 = DATA / "demo.onnx", DATA / "properties" / "prop_8.vnnlib"


def written(path: Path, *layers: tuple[list[list[float]], list[float]]) -> Path:
    path.write_bytes(layers_to_onnx([(np.array(w), np.array(b)) for w, b in layers]))
    return path


@pytest.fixture
def total(tmp_path: Path) -> Path:
    """``x0 + x1`` for positive inputs."""
    return written(tmp_path / "sum.onnx", ([[1, 0], [0, 1]], [0, 0]), ([[1, 1]], [0]))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The sum of the unit square stays below 1.5; it does not."""
    path = tmp_path / "broken.vnnlib"
    path.write_text(box_property(2, "(>= Y_0 1.5)"))
    return path


def mapped(**asked: object) -> AdvisoryMap:
    drawn = plot_map(PlotRequest(**asked)).drawn
    assert isinstance(drawn, AdvisoryMap)
    return drawn


def lined(**asked: object) -> MarginLine:
    drawn = plot_line(PlotRequest(**asked)).drawn
    assert isinstance(drawn, MarginLine)
    return drawn


def middles(low: float, high: float, count: int) -> np.ndarray:
    return low + (np.arange(count) + 0.5) / count * (high - low)


# --- maps


def test_violations_are_where_they_are(total: Path, broken: Path) -> None:
    drawn = mapped(net=total, prop=broken, cells=40, x_range=(-0.5, 1.5), y_range=(0.0, 2.0))
    (panel,) = drawn.panels
    u, v = np.meshgrid(middles(-0.5, 1.5, 40), middles(0.0, 2.0, 40))
    region = (u >= 0) & (u <= 1) & (v <= 1)
    assert (panel.unsafe.array() == (region & (u + v >= 1.5))).all()
    assert panel.region_cells == region.sum()
    assert drawn.region == ((0.0, 1.0, 0.0, 1.0),)
    (mark,) = drawn.marks
    assert mark.x + mark.y >= 1.5


def test_a_strict_bound_is_no_violation(tmp_path: Path, total: Path) -> None:
    """On a network that is 1.5 everywhere."""
    flat = written(tmp_path / "flat.onnx", ([[0, 0]], [1.5]), ([[1]], [0]))
    for sign, bad in ((">=", 100), (">", 0)):
        prop = tmp_path / f"p{bad}.vnnlib"
        prop.write_text(box_property(2, f"({sign} Y_0 1.5)"))
        assert mapped(net=flat, prop=prop, cells=10, at=("middle",)).panels[0].unsafe_cells == bad


def test_the_first_input_runs_to_the_right(tmp_path: Path) -> None:
    net = written(tmp_path / "n.onnx", ([[1, 0], [0, 1]], [0, 0]), ([[1, 0], [0, 0]], [0, 0.5]))
    asked = {"net": net, "decision": "argmax", "cells": 10, "x_range": (0.0, 1.0), "y_range": (0.0, 1.0)}
    decided = mapped(x="0", y="1", **asked).panels[0].decisions.array()
    assert (decided == np.where(middles(0, 1, 10) > 0.5, 0, 1)).all()
    turned = mapped(x="x_1", y="x_0", **asked).panels[0].decisions.array()
    assert (turned == decided.T).all()


def test_an_encounter_is_seen_from_above_with_the_left_above() -> None:
    """Against the scaling of the published table, by hand."""
    drawn = mapped(net=DEMO, at=("psi=0.1", "v_own=900", "v_int=300"), cells=60)
    decided, net = drawn.panels[0].decisions.array(), read_network(DEMO)
    assert decided.shape == (60, 60)
    assert drawn.extent == pytest.approx((-60760, 60760, -60760, 60760))
    names = set()
    for row, ahead_left in enumerate(middles(-60760, 60760, 60)):
        for column, ahead in enumerate(middles(-60760, 60760, 60)):
            rho, theta = math.hypot(ahead, ahead_left), math.atan2(ahead_left, ahead)
            if rho > 60760:
                assert decided[row, column] == NO_CELL
                continue
            raw = (rho - 19791.091) / 60261, theta / 6.28318530718, 0.1 / 6.28318530718, 250 / 1100, -300 / 1200
            with torch.no_grad():
                y = net(torch.tensor([raw]))[0]
            close = y.sort().values
            names.add(int(y.argmin()))
            assert decided[row, column] == int(y.argmin()) or close[1] - close[0] < 1e-5
    assert len(names) > 1


def test_violations_too_small_to_be_seen_are_gone_closer_to(tmp_path: Path) -> None:
    net = written(tmp_path / "n.onnx", ([[1, 0], [0, 1], [1, 1]], [0, 0, -1.998]), ([[0, 0, 1]], [0]))
    prop = tmp_path / "p.vnnlib"
    prop.write_text(box_property(2, "(>= Y_0 0.0001)"))
    far, near = (mapped(net=net, prop=prop, view=view, cells=100) for view in ("region", "violations"))
    assert far.panels[0].unsafe.array().mean() < 1e-3
    assert near.panels[0].unsafe.array().mean() > 0.02
    assert near.x.upper <= 1.0
    assert near.view == "violations"


def test_the_inputs_that_matter_most_are_drawn(tmp_path: Path) -> None:
    net = written(tmp_path / "n.onnx", ([[10, 0.001, 0.1, 1]], [0]), ([[1]], [0]))
    prop = tmp_path / "p.vnnlib"
    prop.write_text(box_property(4, "(>= Y_0 5.0)"))
    outcome = plot_map(PlotRequest(net=net, prop=prop, cells=5))
    assert isinstance(outcome.drawn, AdvisoryMap)
    assert (outcome.drawn.x.name, outcome.drawn.y.name) == ("x_0", "x_3")
    assert any("Drawn over x_0 and x_3" in note for note in outcome.notes)
    assert mapped(net=net, prop=prop, cells=5, y="x_2").x.name == "x_0"


def test_fixed_inputs_have_the_values_asked_for(tmp_path: Path) -> None:
    net = written(tmp_path / "n.onnx", ([[1, 1, 1]], [0]), ([[1]], [0]))
    prop = tmp_path / "p.vnnlib"
    prop.write_text(box_property(3, "(>= Y_0 0.5)"))
    drawn = mapped(net=net, prop=prop, x="0", y="1", at=("middle", "x_2=0.25"), cells=5)
    assert (drawn.at[2], drawn.at_source, drawn.marks) == (0.25, "given", ())
    outside = plot_map(PlotRequest(net=net, prop=prop, x="0", y="1", at=("middle", "x_2=7"), cells=5))
    assert isinstance(outside.drawn, AdvisoryMap)
    assert (outside.drawn.region, outside.drawn.panels[0].region_cells) == ((), 0)
    assert any("does not meet the input region" in note for note in outside.notes)


# --- proofs


def test_boxes_of_a_search_cover_the_region_of_the_network_that_holds(total: Path, tmp_path: Path) -> None:
    low = written(tmp_path / "low.onnx", ([[1, 0], [0, 1]], [0, 0]), ([[0.5, 0.5]], [0]))
    prop = tmp_path / "p.vnnlib"
    prop.write_text(box_property(2, "(>= Y_0 1.5)"))
    outcome = plot_map(PlotRequest(net=total, after=low, prop=prop, prove_s=20.0, cells=10))
    assert isinstance(outcome.drawn, AdvisoryMap)
    before, after = outcome.drawn.panels
    assert (before.title, before.boxes, after.title) == ("before", None, "after")
    assert after.boxes is not None
    boxes = after.boxes.array()
    size = boxes[:, [1, 3]] - boxes[:, [0, 2]]
    assert size.prod(1).sum() == pytest.approx(1.0)
    assert any("violated for sum.onnx: no boxes" in note for note in outcome.notes)


def test_a_query_over_float32_has_no_boxes_of_a_proof_over_the_reals(tmp_path: Path, residual: Path) -> None:
    """Graphs are proved over the reals where nothing else is said, and runs in float32 are no such function."""
    real, executed = tmp_path / "real.vnnlib", tmp_path / "executed.vnnlib"
    for path, element in ((real, "real"), (executed, "float32")):
        path.write_text(query_over(element))
    assert mapped(net=residual, prop=real, prove_s=20.0, cells=10).panels[0].boxes is not None
    outcome = plot_map(PlotRequest(net=residual, prop=executed, prove_s=20.0, cells=10))
    assert isinstance(outcome.drawn, AdvisoryMap)
    assert outcome.drawn.panels[0].boxes is None
    assert "executed is proved without boxes that are recorded" in " ".join(outcome.notes)


def test_a_certificate_is_drawn_beside_its_own_network_alone(total: Path, tmp_path: Path) -> None:
    prop, certificate = tmp_path / "p.vnnlib", tmp_path / "c.certificate.json.gz"
    prop.write_text(box_property(2, "(>= Y_0 3.0)"))
    verify_files(total, [prop], settings=VerifySettings(certificate=certificate))
    other = written(tmp_path / "other.onnx", ([[1, 0], [0, 1]], [0, 0]), ([[1, 1]], [0.25]))
    asked = {"prop": prop, "certificate": certificate, "cells": 5}
    after = mapped(net=other, after=total, **asked).panels
    assert [panel.boxes is not None for panel in after] == [False, True]
    with pytest.raises(FormatError, match=r"another network .* than other\.onnx"):
        mapped(net=other, **asked)


# --- lines


def test_a_margin_along_an_input(total: Path, broken: Path) -> None:
    drawn = lined(net=total, prop=broken, along="x_1", at=("x_0=0.75",), x_range=(0.0, 2.0))
    (panel,) = drawn.panels
    expected = 1.5 - 0.75 - 2 * drawn.positions.array()
    assert panel.margins.array() == pytest.approx(expected, abs=1e-6)
    assert drawn.region == ((0.0, 0.5),)
    assert drawn.along == 1


def test_the_line_by_default_runs_through_a_counterexample(total: Path, broken: Path) -> None:
    drawn = lined(net=total, prop=broken)
    assert drawn.mark is not None
    positions = drawn.positions.array()
    place = int(np.abs(positions - drawn.mark).argmin())
    assert positions[place] == np.float32(drawn.mark)
    assert drawn.panels[0].margins.array()[place] <= 0
    ((low, high),) = drawn.region
    assert 0 < low < drawn.mark <= high < 1
    inside = (positions > low - 1e-7) & (positions < high + 1e-7)
    points = np.array(drawn.start) + positions[:, None] * (np.array(drawn.end) - np.array(drawn.start))
    assert (((points > -1e-6) & (points < 1 + 1e-6)).all(1) == inside).all()


def test_a_line_between_two_inputs_in_raw_units() -> None:
    ends = {"start": (0.0, -3.0, 0.0, 700.0, 700.0), "end": (60000.0, -3.0, 0.0, 700.0, 700.0)}
    drawn = lined(net=DEMO, prop=PROP_8, **ends)
    assert drawn.start[0] == pytest.approx(-19791.091 / 60261, rel=1e-6)
    assert [q.unit for q in drawn.inputs] == ["ft", "rad", "rad", "ft/s", "ft/s"]
    ((low, high),) = drawn.region
    assert (low, high) == pytest.approx((0.0, 1.0), abs=1e-6)


# --- what cannot be drawn


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"x": "height"}, "no such input; it has x_0, x_1"),
        ({"x": "0", "y": "x_0"}, "two different inputs"),
        ({"at": ("nowhere",)}, "say counterexample, middle, or NAME=VALUE"),
        ({"at": ("x_0=far",)}, "a number is expected"),
        ({"at": ("x_0=nan",)}, "a number is expected"),
        ({"view": "domain"}, "domain of this network is not known"),
        ({"geometry": "encounter"}, "needs a network of a suite"),
        ({"prop": None, "x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "prove_s": 1.0}, "name it with --prop"),
        ({"prop": None}, "nothing says how far to draw"),
        ({"prop": None, "view": "region", "at": ("counterexample",)}, "of which property"),
    ],
)
def test_what_cannot_be_drawn_is_said(total: Path, broken: Path, asked: dict[str, object], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        mapped(**{"net": total, "prop": broken, "cells": 5, **asked})


def test_networks_of_other_sizes_are_not_compared(total: Path, broken: Path) -> None:
    with pytest.raises(MismatchError, match="same size"):
        mapped(net=total, after=DEMO, prop=broken)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"prop": None}, "name it with --prop"),
        ({"start": (0.0,), "end": (1.0, 1.0)}, "--from has 1 numbers; the network has 2 inputs"),
        ({"start": (0.5, 0.5), "end": (0.5, 0.5)}, "no length"),
        ({"start": (0.5, 0.5)}, "two ends"),
    ],
)
def test_lines_that_are_none(total: Path, broken: Path, asked: dict[str, object], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        lined(**{"net": total, "prop": broken, **asked})


# --- a repair's own pictures


def test_a_repair_keeps_what_its_pictures_need(total: Path, broken: Path, tmp_path: Path) -> None:
    domain = tmp_path / "domain.toml"
    domain.write_text("lower = [-1.0, -1.0]\nupper = [2.0, 2.0]\n")
    request = RepairRequest(
        net=total, props=(broken,), domain=domain, out=tmp_path / "out", samples=1000, method="finetune"
    )
    outcome = repair_files(request)
    assert outcome.result == "proved"
    first = outcome.maps[0]
    assert (first.view, first.extent) == ("domain", (-1.0, 2.0, -1.0, 2.0))
    before, after = first.panels
    assert before.unsafe_cells > 0 == after.unsafe_cells
    assert (before.net_sha256, after.net_sha256) == (outcome.net_sha256, outcome.out_sha256)
    assert before.boxes is None
    assert after.boxes is not None
    (mark,) = first.marks
    assert (mark.x, mark.y) == outcome.properties[0].counterexamples[0].x
    (line,) = outcome.lines
    was, now = (panel.margins.array() for panel in line.panels)
    assert was.min() <= 0 < now[line.positions.array() <= line.region[0][1]].min()
    assert sum(outcome.initialisers.values()) == 9
    last = outcome.tried[-1]
    assert (dict(last.answers), last.boxes > 0) == ({"broken": "proved"}, True)
