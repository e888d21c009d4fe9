"""The written properties against the benchmark's, and against the table they come from."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.formats.vnnlib import read_property
from tools import acasxu as table
from tools import make_properties

NAMES = [phi.name for phi in table.TABLE]


@pytest.fixture(params=table.TABLE, ids=NAMES)
def phi(request):
    return request.param


def test_the_committed_files_are_what_the_table_gives(phi, properties):
    assert (properties / f"{phi.name}.vnnlib").read_text(encoding="utf-8") == make_properties.vnnlib(phi)


@pytest.mark.acasxu
def test_same_boxes_as_the_benchmark(phi, properties, acasxu):
    ours = read_property(properties / f"{phi.name}.vnnlib")
    theirs = read_property(acasxu / "vnnlib" / f"{phi.name}.vnnlib")
    assert len(ours.regions) == len(theirs.regions) == len(phi.boxes)
    for mine, other in zip(ours.regions, theirs.regions, strict=True):
        for bound in ("exact_lower", "exact_upper"):
            for a, b in zip(getattr(mine, bound), getattr(other, bound), strict=True):
                assert abs(a - b) <= Fraction(1, 10**7)


@pytest.mark.acasxu
def test_same_output_formula_as_the_benchmark(phi, properties, acasxu):
    ours = read_property(properties / f"{phi.name}.vnnlib")
    theirs = read_property(acasxu / "vnnlib" / f"{phi.name}.vnnlib")
    for mine, other in zip(ours.regions, theirs.regions, strict=True):
        assert [[(r.coefficients, r.strict) for r in p.rows] for p in mine.unsafe] == [
            [(r.coefficients, r.strict) for r in p.rows] for p in other.unsafe
        ]
        for p, q in zip(mine.unsafe, other.unsafe, strict=True):
            for r, s in zip(p.rows, q.rows, strict=True):
                assert abs(r.bound - s.bound) <= Fraction(1, 10**11)


def test_boxes_contain_the_stated_ones(phi, properties):
    """A bound rounded inward would leave part of what is stated unproved."""
    ours = read_property(properties / f"{phi.name}.vnnlib")
    grain = Fraction(1, 10**table.DECIMALS)
    for region, box in zip(ours.regions, phi.boxes, strict=True):
        for i, quantity in enumerate(table.INPUTS):
            low, high = (quantity.normalised(raw) for raw in box[quantity.name])
            assert low - grain < region.exact_lower[i] <= low
            assert high <= region.exact_upper[i] < high + grain


@pytest.mark.acasxu
def test_ours_contains_what_the_benchmark_cut_off(phi, properties, acasxu):
    """Where nine decimals fell inside the stated box, ours reaches at least as far."""
    ours = read_property(properties / f"{phi.name}.vnnlib")
    theirs = read_property(acasxu / "vnnlib" / f"{phi.name}.vnnlib")
    for mine, other, box in zip(ours.regions, theirs.regions, phi.boxes, strict=True):
        for i, quantity in enumerate(table.INPUTS):
            low, high = (quantity.normalised(raw) for raw in box[quantity.name])
            if other.exact_lower[i] >= low:
                assert mine.exact_lower[i] <= other.exact_lower[i]
            if other.exact_upper[i] <= high:
                assert mine.exact_upper[i] >= other.exact_upper[i]


@given(st.fractions(min_value=-10, max_value=10), st.integers(1, 15))
def test_decimals_are_rounded_to_the_side_asked_for(value, decimals):
    up = Fraction(table.decimal(value, up=True, decimals=decimals))
    down = Fraction(table.decimal(value, up=False, decimals=decimals))
    assert down <= value <= up
    assert up - down <= Fraction(1, 10**decimals)


def test_the_table_names_each_propertys_networks():
    """The 36 repair instances: phi-2 on a >= 2 but for N3,3 and N4,2, phi-7 on N1,9, phi-8 on N2,9."""
    assert {phi.name: sum(phi.holds_for(a, t) for a, t in table.NETWORKS) for phi in table.TABLE} == {
        "prop_1": 45,
        "prop_2": 36,
        "prop_3": 42,
        "prop_4": 42,
        **dict.fromkeys(("prop_5", "prop_6", "prop_7", "prop_8", "prop_9", "prop_10"), 1),
    }
    assert table.applicable(2, 9) == ("prop_1", "prop_2", "prop_3", "prop_4", "prop_8")
    assert table.applicable(1, 9) == ("prop_1", "prop_7")
