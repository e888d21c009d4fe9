"""Which output decides: what comparisons say, and what says nothing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.pipeline.ruling import derived_rule
from birdnn.spec import Polytope, Property, Row
from tests.bounds.builders import half_space, make_property, property_of
from tests.strategies import undisturbed

FLIPPED = {"argmin": "argmax", "argmax": "argmin", "none": "none"}


def says(*unsafe: Polytope) -> Property:
    return make_property([0.0], [1.0], *unsafe)


def all_of(*rows: tuple[list[int], int]) -> Polytope:
    made = tuple(Row(tuple(map(Fraction, coefficients)), Fraction(bound)) for coefficients, bound in rows)
    return Polytope(rows=made, n_outputs=len(rows[0][0]))


FIRST_IS_LEAST = all_of(([1, -1, 0], 0), ([1, 0, -1], 0))


@pytest.mark.parametrize(
    ("rule", "unsafe"),
    [
        ("argmin", [all_of(([2, -2, 0], 5), ([1, 0, -1], -3))]),  # neither a factor nor a constant matters
        ("none", [all_of(([2, -1, 0], 0), ([1, 0, -1], 0))]),  # 2 Y_0 <= Y_1 compares nothing
        ("none", [all_of(([1, -1, 0], 0), ([1, -1, 0], 7))]),  # one comparison, twice
        ("none", [all_of(([1, -1, 0], 0), ([1, 0, -1], 0), ([1, 0, 0], 0))]),  # a threshold beside them
        ("none", [all_of(([1, 1, -2], 0), ([1, 0, -1], 0))]),
        ("argmin", [FIRST_IS_LEAST, all_of(([0, 1, -1], 0))]),  # one comparison by itself says nothing against it
        ("none", [FIRST_IS_LEAST, all_of(([1, -1, 0], 0)), all_of(([1, 0, -1], 0))]),  # one by one: the other rule
        ("none", [all_of(([1, -1, 0], 0), ([1, 0, 0], 0)), all_of(([1, 0, -1], 0))]),  # one of them stands alone
        ("argmin", [FIRST_IS_LEAST, Polytope(rows=(), n_outputs=3)]),
        ("argmax", [half_space([1, -1], 3)]),
        ("argmax", [half_space([1, 0], 3), all_of(([1, 0], 3), ([-1, 1], 0))]),
        ("none", [half_space([1, 1], 0), half_space([1, 0], 0)]),
        ("none", [half_space([1], 0)]),
    ],
)
def test_what_rows_say(rule: str, unsafe: list[Polytope]) -> None:
    assert derived_rule([says(*unsafe)]) == rule


def test_each_region_speaks_for_itself() -> None:
    (least,), (greatest,) = says(FIRST_IS_LEAST).regions, says(all_of(([-1, 1, 0], 0), ([-1, 0, 1], 0))).regions
    assert derived_rule([property_of(least, least)]) == "argmin"
    assert derived_rule([property_of(least, greatest)]) == "none"


def test_comparisons_with_inputs_say_nothing_of_outputs() -> None:
    assert derived_rule([replace(says(FIRST_IS_LEAST), relational=True)]) == "none"


@st.composite
def comparisons(draw: st.DrawFn) -> Property:
    """Polytopes of comparisons between outputs, three or more of them."""
    n = draw(st.integers(3, 4))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda ij: ij[0] != ij[1])
    told = draw(st.lists(st.lists(pair, min_size=1, max_size=3), min_size=1, max_size=3))
    rows = [[([(k == i) - (k == j) for k in range(n)], 0) for i, j in pairs] for pairs in told]
    return undisturbed(lambda: says(*(all_of(*part) for part in rows)))


def changed(prop: Property, sign: int, order: list[int]) -> Property:
    (region,) = prop.regions
    parts = [[([sign * row.coefficients[k] for k in order], 0) for row in p.rows] for p in region.unsafe]
    return says(*(all_of(*part) for part in parts))


@settings(max_examples=50)
@given(comparisons(), st.randoms(use_true_random=False))
def test_signs_turn_the_rule_round_and_names_of_outputs_do_not_matter(prop: Property, shuffler) -> None:
    order = list(range(prop.n_outputs))
    assert derived_rule([changed(prop, -1, order)]) == FLIPPED[derived_rule([prop])]
    shuffler.shuffle(order)
    assert derived_rule([changed(prop, 1, order)]) == derived_rule([prop])
