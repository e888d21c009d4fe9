"""What is just allowed, and what just is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from birdnn.certify.check import Rejected, check, files, statement
from birdnn.certify.check.certificate import (
    LEAF,
    Region,
    _is_sorted,
    _read_numbers,
    _rescale_multipliers,
    read_certificate,
    read_input,
    read_regions,
)
from birdnn.certify.check.files import File
from birdnn.certify.check.judge import Settings, _Engines, _Task
from birdnn.certify.check.network import read_network
from birdnn.certify.check.rounding import round_towards, round_towards_zero, round_up
from birdnn.certify.check.statement import Row, Statement, read_statement
from birdnn.certify.check.tree import _stays_below
from birdnn.errors import FormatError
from tests.certify.cases import network, property_text
from tests.certify.producer import certificate, column, uncolumn, write
from tests.certify.test_statement import BOX, HEAD
from tests.certify.test_tampering import make

LARGEST = Fraction(float(np.finfo(np.float32).max))


@pytest.mark.parametrize("exact", [Fraction(1, 10), Fraction(-1, 10), Fraction(1, 3)])
def test_a_root_box_is_rounded_outward(exact: Fraction) -> None:
    (low,), (high,) = Region.root(cast(Region, SimpleNamespace(lower=(exact,), upper=(exact,))))
    assert Fraction(float(low)) <= exact <= Fraction(float(high))
    assert high == np.nextafter(low, np.inf)


def test_inputs_of_single_precision() -> None:
    for value in (LARGEST, -LARGEST, Fraction(1, 2**149)):
        assert read_input({"input": [str(value)]}, "input", 1, "p") == (value,)
    for value in (
        LARGEST + 1,
        Fraction(2**128),
        -Fraction(2**128),
        Fraction(2**2000),
        Fraction(1, 10),
        Fraction(1, 2**150),
    ):
        with pytest.raises(Rejected, match="not of single precision"):
            read_input({"input": [str(value)]}, "input", 1, "p")


def test_numbers_are_no_longer_than_this() -> None:
    """A decimal of 1000 characters and its exponent are a quotient of twice as many digits, which is read."""
    quotient = "1" * 4200 + "/" + "3" * 4200
    assert _read_numbers([quotient], 1, "here") == (Fraction(int("1" * 4200), int("3" * 4200)),)
    with pytest.raises(Rejected, match="no exact number"):
        _read_numbers(["1" * 8600], 1, "here")


def test_what_sorted_means() -> None:
    def pairs(first: list[int], second: list[int], twice: bool = False) -> bool:
        return _is_sorted(np.array(first), np.array(second), twice=twice)

    assert pairs([0, 0, 1], [0, 1, 0])
    assert not pairs([0, 0], [1, 1])
    assert pairs([0, 0], [1, 1], twice=True)
    assert not pairs([0, 0], [1, 0])
    assert not pairs([0, 0], [1, 0], twice=True)
    assert not pairs([1, 0], [0, 1], twice=True)


def test_multipliers_of_rows_that_were_scaled() -> None:
    """The largest of each item becomes about 1; a zero says nothing about how large the others are."""
    items = (
        ([1.0, 4.0], [0, 0]),
        ([1.0, 0.0], [0, 5000]),
        ([2.0, 2.0], [-1000, 900]),
        ([1.5 * 2.0**120, 2.0**-980], [-1100, 0]),
    )
    multiplier = np.array([value for item, _ in items for value in item])
    power = np.array([value for _, powers in items for value in powers])
    found, scale = _rescale_multipliers(multiplier, power, np.arange(0, 9, 2))
    assert scale.tolist() == [3, 1, 902, -979], "what multipliers of sides are divided by as well"
    assert found.tolist() == [0.125, 0.5, 0.5, 0.0, 0.0, 0.5, 0.75, 0.5]  # 2**-1900 is nothing beside 1
    nothing = np.empty(0)
    assert _rescale_multipliers(nothing, np.empty(0, np.int64), np.zeros(1, np.intp))[0] is nothing


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_slopes_at_the_ends_of_their_range(slope: float, tmp_path: Path) -> None:
    case = make(tmp_path)
    items: dict[str, Any] = copy.deepcopy(case.region["items"])
    items["slope"] = column(np.full(len(uncolumn(items["slope"])), slope), "<f4")
    proof = {"regions": [{**case.region, "items": items}]}
    (region,) = read_regions(proof, 1, read_network(files.read_file(case.net)), "p")
    assert len(region.slope) > 0
    assert (region.slope == slope).all()


def test_a_sample_is_of_whole_ways_down(tmp_path: Path) -> None:
    """Sampled leaves would not be visited if a node on the way to them were missing."""
    axis = np.array([0, 1, LEAF, 0, LEAF, LEAF, 1, LEAF, LEAF])  # cuts 0, 1, 3, 6: children 1 2, 3 4, 5 6, 7 8
    parent = {1: 0, 2: 0, 3: 1, 4: 1, 5: 3, 6: 3, 7: 6, 8: 6}
    case = make(tmp_path)
    chain, stored = (
        read_network(files.read_file(case.net)),
        read_certificate(files.read_file(write(case.path, case.data))),
    )
    (made,) = read_regions(stored.proofs[0], 1, chain, "p")
    region = replace(made, axis=axis)
    engines = _Engines(chain, False)
    for seed in range(20):
        task = _Task(engines, stored, stored.proofs[0], "p", Settings(seed=seed), lambda phase, done, total: None)
        (wanted,), count = task._sample_leaves([region], 2)
        assert count == 2
        assert wanted is not None
        chosen = set(np.nonzero(wanted)[0].tolist())
        leaves = {node for node in chosen if axis[node] == LEAF}
        assert len(leaves) == 2
        way = set(leaves)
        for node in leaves:
            while node:
                node = parent[node]
                way.add(node)
        assert chosen == way


@pytest.mark.parametrize(
    "value",
    [
        Fraction(1),
        Fraction(1, 3),
        Fraction(-1, 3),
        Fraction(0),
        Fraction(10**400),
        Fraction(-(10**400)),
        Fraction(1, 10**400),
    ],
)
def test_rounding_to_a_side(value: Fraction) -> None:
    """To the nearest number on that side, which is the number itself where it is one."""
    low, high = round_towards(value, -np.inf), round_towards(value, np.inf)
    assert low == -np.inf or Fraction(low) <= value
    assert high == np.inf or value <= Fraction(high)
    with np.errstate(over="ignore"):
        assert high in (low, np.nextafter(low, np.inf))
    assert (low == high) == (value in (0, 1))


def test_rounding_towards_zero() -> None:
    values = np.array([Fraction(1, 3), Fraction(-1, 3), Fraction(1, 2), Fraction(0)], dtype=object)
    third = float(round_towards_zero(values)[0])
    assert Fraction(third) < Fraction(1, 3) < Fraction(float(np.nextafter(third, 1)))
    assert round_towards_zero(values).tolist() == [third, -third, 0.5, 0]


def test_beyond_the_largest_nothing_is_known() -> None:
    """A weight that large is infinite, whichever side it lies on; the largest itself is a number."""
    most = float(np.finfo(np.float64).max)
    values = [sign * value for value in (Fraction(most), Fraction(most) + 1, Fraction(10**400)) for sign in (1, -1)]
    assert round_towards_zero(np.array(values, dtype=object)).tolist() == [
        most,
        -most,
        np.inf,
        -np.inf,
        np.inf,
        -np.inf,
    ]


def test_rounding_up_is_never_zero() -> None:
    values = np.array([Fraction(0), Fraction(1, 3), Fraction(1), Fraction(1, 10**400)], dtype=object)
    found = round_up(values)
    assert (found > 0).all()
    assert all(
        value <= Fraction(float(got)) <= value * (1 + Fraction(1, 2**48)) + Fraction(1, 2**899)
        for value, got in zip(values, found, strict=True)
    )


def test_numbers_of_properties() -> None:
    def bound(number: str) -> Fraction:
        text = f"{HEAD}{BOX}(assert (<= Y_0 {number}))"
        return read_statement(File("p", text.encode(), "")).pairs[0].rows[0].bound

    assert bound("1" * 1000) == int("1" * 1000)
    assert bound("1e400") == 10**400
    assert bound("1e-400") == Fraction(1, 10**400)
    for number in ("1" * 1001, "1e401", "1e-401"):
        with pytest.raises(FormatError, match="number or variable"):
            bound(number)
    assert (bound("(/ 6 3)"), bound("(/ 12 3 2)"), bound("(- 5)"), bound("(- 5 2 1)"), bound("(* 2 3)")) == (
        2,
        2,
        -5,
        2,
        6,
    )
    for arithmetic in ("(/ 3)", "(/)", "(+)"):
        with pytest.raises(FormatError, match="as arithmetic"):
            bound(arithmetic)


@pytest.mark.parametrize(
    "size", [1, 2, 3, Fraction(1, 2), Fraction(1, 3), Fraction(7, 5), Fraction(1, 10**400), 10**400]
)
def test_rows_are_scaled_by_a_power_of_two(size: Fraction) -> None:
    """To a largest coefficient of at least 1 and below 2, and by the power that is told."""
    row = Row((Fraction(0), Fraction(size) / 7, -Fraction(size)), Fraction(5, 3), True)
    scaled, power = row.scaled()
    assert 1 <= abs(scaled.coefficients[2]) < 2
    back = Fraction(2) ** power
    assert Row(tuple(value * back for value in scaled.coefficients), scaled.bound * back, True) == row
    nothing = Row((Fraction(0),), Fraction(3), False)
    assert nothing.scaled() == (nothing, 0)


def test_inputs_and_outputs_are_counted_apart() -> None:
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (<= 0 X_0 1))"
    found = read_statement(File("p", text.encode(), ""))
    assert (found.n_inputs, found.n_outputs) == (1, 2)


def test_formulas_of_as_many_branches_as_are_multiplied_out() -> None:
    both, one = "(or (<= Y_0 1) (<= Y_1 1))", "(<= Y_0 1)"

    def read(formula: str) -> Statement:
        return read_statement(File("p", f"{HEAD}{BOX}(assert {formula})".encode(), ""))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statement, "MAX_PAIRS", 4)
        assert len(read(f"(and {both} {both})").pairs) == 4
        assert len(read(f"(or {both} {both})").pairs) == 4
        for formula in (f"(and {both} (or {both} {one}))", f"(or {both} {both} {one})"):
            with pytest.raises(FormatError, match="more than"):
                read(formula)


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_polytopes_of_different_sizes(semantics: str, tmp_path: Path) -> None:
    """The last item is of the smaller one."""
    net, prop = network(tmp_path / "net.onnx", [2, 8, 8, 2], seed=5), tmp_path / "prop.vnnlib"
    prop.write_text(property_text(2, 2, "(or (and (>= Y_0 5) (<= Y_1 50)) (>= Y_0 -0.02))"))
    data = certificate(net, [prop], semantics)
    assert data is not None
    (region,) = data["proofs"][0]["regions"]
    assert [len(rows) for rows in region["unsafe"]] == [2, 1]
    assert uncolumn(region["items"]["polytope"])[-1] == 1
    for arithmetic in ("float64", "exact"):
        check(net, [prop], write(tmp_path / "c.json.gz", data), Settings(arithmetic=arithmetic))


def test_what_could_overflow() -> None:
    """Peaks grow with inputs above one, and stay below the largest number."""
    assert _stays_below(Fraction(7), 1.0, 8)
    assert not _stays_below(Fraction(8), 1.0, 8)
    assert not _stays_below(Fraction(8), 0.5, 8)
    assert not _stays_below(Fraction(4), 2.0, 8)
    assert _stays_below(Fraction(3), 2.0, 8)
    assert not _stays_below(Fraction(0), np.inf, 8)
