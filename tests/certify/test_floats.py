"""Errors in the checker's float64 pass, by hand: with a gamma of a sixty-fourth no sign of theirs goes unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from birdnn.certify.check import files
from birdnn.certify.check.floats import FloatEngine, FloatPass
from birdnn.certify.check.network import read_network
from birdnn.certify.check.rounding import HUGE, UNDERFLOW
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Items, Sides
from birdnn.formats.onnx import layers_to_onnx
from tests.certify.producer import padded_rows

G = 2.0**-6
LAYERS = [([[1.0, -2.0], [0.5, 3.0]], [1.0, -1.0]), ([[2.0, -1.0]], [-4.0])]

Layers = Sequence[tuple[list[list[float]], list[float]]]


def engine(folder: Path, layers: Layers, gamma: float = G) -> FloatEngine:
    """Of these layers, with ReLU between them, and another gamma."""
    path = folder / "net.onnx"
    path.write_bytes(layers_to_onnx([(np.array(w), np.array(b)) for w, b in layers]))
    made = FloatEngine(read_network(files.read_file(path)), False)
    made.gamma = gamma
    made.layers = [
        replace(layer, slack_weight=gamma * np.abs(layer.weight), slack_bias=gamma * np.abs(layer.bias))
        for layer in made.layers
    ]
    return made


def start(made: FloatEngine, rows: Sequence[tuple[list[float], float]] = ()) -> FloatPass:
    exact = tuple(Row(tuple(map(Fraction, a)), Fraction(b), False) for a, b in rows)
    return made.start(padded_rows((exact,) if exact else (), made.layers[-1].weight.shape[0]), 1)


def one_item(multiplier: float, *slopes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Items:
    zero = np.zeros(1, dtype=np.intp)
    return Items(box=zero, polytope=zero, multipliers=np.array([[multiplier]]), slopes=slopes)


def barely_above(got: float, exact: Fraction, times: int = 1) -> bool:
    """By the room of 2**-40 that covers a sum's own rounding, so many times."""
    room = (Fraction(float(got)) / exact - 1) * 2**40
    return times - Fraction(1, 10) < room < times + Fraction(1, 10)


def test_a_bias_of_zero_may_be_flushed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]))
    for layer in FloatEngine(read_network(files.read_file(path)), False).layers:
        assert (layer.slack_bias > 0).all()


def test_slack_and_height(tmp_path: Path) -> None:
    pass_ = start(engine(tmp_path, LAYERS))
    pass_.enter(0, np.array([[1.0, 0.5]]))
    pass_.enter(1, np.array([[3.0, 2.0]]))
    g = Fraction(G)
    for got, exact in zip(pass_.slack[0][0], (3 * g, 3 * g), strict=True):
        assert barely_above(got, exact)
    assert barely_above(pass_.slack[1][0, 0], 12 * g)
    assert barely_above(pass_.height[1][0, 0], 12 + Fraction(float(pass_.slack[1][0, 0])))


def test_what_is_huge_is_not_known(tmp_path: Path) -> None:
    """Neither an input of a layer may be, nor what it makes of it: a sigmoid of it would be small again."""
    cases = [(HUGE, 0.25, True), (2 * HUGE, 0.25, False), (np.nan, 0.25, False)]
    cases += [(HUGE / 2, 1.0, True), (HUGE / 2, 4.0, False)]
    for height, weight, finite in cases:
        pass_ = start(engine(tmp_path, [([[weight]], [0.0]), ([[1.0]], [0.0])]))
        pass_.enter(0, np.array([[height]]))
        assert np.isfinite(pass_.slack[0]).all() == finite
        assert not np.isnan(pass_.slack[0]).any()
    exactly = start(engine(tmp_path, [([[1.0]], [0.0]), ([[1.0]], [0.0])], 0.0))
    exactly.enter(0, np.array([[HUGE * (1 - 2.0**-40)]]))  # and a sum's own rounding
    assert exactly.height == [HUGE]
    assert exactly.slack[0] == 0


def test_what_is_stored_leaves_room_for_underflow(tmp_path: Path) -> None:
    """A weight, a corner or an offset may have been rounded to zero; rows of any size may meet it."""
    path = tmp_path / "net.onnx"
    path.write_bytes(layers_to_onnx([([[0.0]], [0.0]), ([[0.0]], [0.0])]))
    pass_, zero = start(FloatEngine(read_network(files.read_file(path)), False)), np.zeros(1, dtype=np.intp)
    pass_.enter(0, np.array([[2.0**300]]))
    assert pass_.slack[0][0, 0] > 2.0**300 * 2.0**-1022
    pass_.relax(0, np.array([[-1.0]]), np.array([[-0.5]]), np.zeros((1, 1)))
    (lines,) = pass_.lines
    assert lines.low_offset[0, 0] < 0 < lines.up_offset[0, 0]
    corner, steep = np.zeros((1, 1)), (np.array([[2.0**900]]), np.array([0.25]))
    assert pass_.minimum(steep, zero, (corner, corner))[0] < 0.25 - 2.0**900 * 2.0**-1022


def test_corners_leave_room_for_underflow_in_the_first_layer(tmp_path: Path) -> None:
    """As above: corners of zero may have been rounded, and a weight of any size may meet them."""
    made, corner, zero = engine(tmp_path, LAYERS, 0.0), np.zeros((1, 2)), np.zeros(1, dtype=np.intp)
    made.layers[0] = replace(made.layers[0], weight=np.array([[2.0**900, -(2.0**900)]] * 2), bias=np.zeros(2))
    pass_ = start(made)
    pass_.enter(0, corner)
    low, high = pass_.neurons(0, zero, zero, (corner, corner))
    assert (low[0], high[0]) == (-2, 2)


def test_bounds_of_the_first_layer(tmp_path: Path) -> None:
    made = engine(tmp_path, LAYERS)
    pass_, box = start(made), (np.array([[-1.0, 2.0]]), np.array([[3.0, 4.0]]))
    pass_.enter(0, np.array([[3.0, 4.0]]))
    low, high = pass_.neurons(0, np.zeros(2, dtype=np.intp), np.arange(2), box)
    wide, slack = (3 * G, 4 * G), (12 * G, 14.5 * G)
    assert low[0] == pytest.approx((-1 - wide[0]) - 2 * (4 + wide[1]) + 1 - slack[0], abs=1e-9)
    assert high[0] == pytest.approx((3 + wide[0]) - 2 * (2 - wide[1]) + 1 + slack[0], abs=1e-9)
    assert low[1] == pytest.approx(0.5 * (-1 - wide[0]) + 3 * (2 - wide[1]) - 1 - slack[1], abs=1e-9)
    assert high[1] == pytest.approx(0.5 * (3 + wide[0]) + 3 * (4 + wide[1]) - 1 + slack[1], abs=1e-9)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_what_a_side_takes_from_a_plane(tmp_path: Path, side: float, count: int) -> None:
    """Its multiplier times the distance from its place, the layer's slack, and gamma of all that it is made of."""
    pass_ = start(engine(tmp_path, LAYERS), [([1.0], 0.0)])
    pass_.enter(0, np.array([[1.0, 0.5]]))
    pass_.slack[0], pass_.height[0] = np.array([[0.25, 0.5]]), np.array([[8.0, 16.0]])
    one = np.ones(1)
    sides = Sides(np.zeros(1, int), np.ones(1, int), side * one, -3 * one, 2 * one, np.array([count]))
    none = Sides(*(np.zeros(0, int) for _ in range(2)), *(np.zeros(0) for _ in range(3)), np.zeros(0, int))
    items = replace(one_item(1.0), sides=(sides,))
    rows, constant = pass_._side_terms(0, items) or (None, None)
    assert rows is not None
    assert constant is not None
    assert rows.tolist() == [[0.0, -side * 2]]
    assert constant[0] == -side * 2 * (-1 + 3) - 2 * (0.5 + G * (1 + count) * (16 + 3))
    assert pass_._side_terms(0, replace(items, sides=(none,))) is None


def test_minimum_of_a_plane(tmp_path: Path) -> None:
    pass_, zero = start(engine(tmp_path, LAYERS)), np.zeros(1, dtype=np.intp)
    box = np.array([[-1.0, 2.0]]), np.array([[3.0, 4.0]])
    (least,) = pass_.minimum((np.array([[0.5, -2.0]]), np.array([1.0])), zero, box)
    assert least == pytest.approx(0.5 * (-1 - 3 * G) - 2 * (4 + 4 * G) + 1, abs=1e-9)


def test_what_underflows_counts_and_what_overflows_is_not_known(tmp_path: Path) -> None:
    made, zero = engine(tmp_path, [([[10.0]], [0.0]), ([[1.0]], [0.0])], 0.0), np.zeros(1, dtype=np.intp)
    pass_, nothing = start(made), np.zeros((1, 1))
    pass_.enter(0, nothing)
    low, high = pass_.neurons(0, zero, zero, (nothing, nothing))
    assert (low[0], high[0]) == (-UNDERFLOW, UNDERFLOW)
    assert pass_.minimum((nothing, np.zeros(1)), zero, (nothing, nothing))[0] == -UNDERFLOW
    for side in (1e308, np.nan):
        far = np.array([[-side]]), np.array([[side]])
        with np.errstate(all="ignore"):
            low, high = pass_.neurons(0, zero, zero, far)
            least = pass_.minimum((np.array([[10.0]]), np.zeros(1)), zero, far)
        assert (low[0], high[0], least[0]) == (-np.inf, np.inf, -np.inf)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("own", [False, True])
def test_a_plane_carries_every_error_to_the_safe_side(sign: float, own: bool, tmp_path: Path) -> None:
    """One neuron, between -2 and 2, with the lines of slope 1/4 that the item asks for, or the default ones."""
    pass_ = start(engine(tmp_path, [([[1.0]], [0.5]), ([[sign]], [0.25])]), [([1.0], 0.75)])
    ends, error = (np.array([[-2.0]]), np.array([[2.0]])), 0.125
    pass_.enter(0, np.array([[2.0]]))
    pass_.relax(0, *ends, np.array([[error]]))
    pass_.enter(1, np.array([[3.0]]))
    at = np.zeros(int(own), dtype=np.intp)
    (rows,), (constant,) = pass_.planes(one_item(2.0, (at, at, np.full(int(own), 0.25))))
    slack = 2.5 * G, 3.25 * G
    low_slope, up_slope = (0.25, 0.25) if own else (pass_.lines[0].low[0, 0], pass_.lines[0].up[0, 0])
    above = 2 - up_slope * 2  # at the upper end; below zero the line goes through the origin
    low = low_slope * 0.5 - (low_slope * slack[0] + error)
    up = above + up_slope * 0.5 + (up_slope * slack[0] + error + G * above)
    expected = 2 * 0.25 - 2 * 0.75 - 2 * (slack[1] + G * (3.25 + slack[1])) - 2 * G * 0.75
    expected += 2 * low if sign > 0 else -2 * up
    assert constant == pytest.approx(expected, abs=1e-9)
    assert rows == pytest.approx(2 * sign * (low_slope if sign > 0 else up_slope), abs=1e-9)


def test_an_item_is_as_wide_as_its_rows(tmp_path: Path) -> None:
    """And covers the rounding of its own sums."""
    made = engine(tmp_path, [([[0.0], [0.0]], [0.0, 0.0])], 0.0)
    third = [1 / 3, -1 / 7]
    pass_ = start(made, [(third, 0.0)])
    pass_.enter(0, np.array([[1.0]]))
    pass_.slack[-1] = np.array([[0.1, 0.7]])
    width = sum(3 * abs(Fraction(a)) * Fraction(s) for a, s in zip(third, (0.1, 0.7), strict=True))
    assert barely_above(-pass_.planes(one_item(3.0))[1][0], width)
    pass_.slack[-1] = np.zeros((1, 2))
    made.last_error = np.array([[0.3], [0.9]]), np.array([0.2, 0.6])
    rows, constant = pass_.planes(one_item(3.0))
    for got, errors in ((rows[0, 0], (0.3, 0.9)), (constant[0], (0.2, 0.6))):
        exact = sum(3 * abs(Fraction(a)) * Fraction(e) for a, e in zip(third, errors, strict=True))
        assert barely_above(-got, exact, 2)


@pytest.mark.parametrize("rows", [64, 1024, 4096])
def test_adding_up_rows_is_paid_for(rows: int, tmp_path: Path) -> None:
    """Each of ``rows`` roundings errs by 2**-53 of outputs of at most 8 and of a bound of 1/2; twice that is taken."""
    pass_ = start(engine(tmp_path, [([[1.0]], [0.0])], 0.0), [([1.0], 0.5)] * rows)
    pass_.enter(0, np.array([[8.0]]))
    zero = np.zeros(1, dtype=np.intp)
    items = Items(box=zero, polytope=zero, multipliers=np.full((1, rows), 1 / rows), slopes=())
    (row,), (constant,) = pass_.planes(items)
    assert row == [1.0]
    assert -0.5 - constant == pytest.approx(2 * rows * 2.0**-53 * 8.5, rel=1e-2)
