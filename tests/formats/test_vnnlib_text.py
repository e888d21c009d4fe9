"""A property as text: reading it gives the same property, for the prover's reader and for the checker's."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.certify.check import files
from birdnn.certify.check.statement import read_statement
from birdnn.errors import SpecError
from birdnn.formats.vnnlib import parse_property
from birdnn.formats.vnnlib_text import property_text
from birdnn.spec import Polytope, Property, Region, Row
from tests.strategies import properties

THIRD = Fraction(1, 3)
AWKWARD = Region(
    exact_lower=(-THIRD, Fraction(1, 2**70)),
    exact_upper=(Fraction(5), Fraction(10**30)),
    strict_lower=(True, False),
    strict_upper=(False, True),
    unsafe=(
        Polytope(rows=(Row((THIRD, Fraction(-1)), Fraction(-1, 7), strict=True),), n_outputs=2),
        Polytope(rows=(), n_outputs=2),
    ),
)


def branches(prop: Property) -> set[tuple[object, ...]]:
    """Each pair of a box with a polytope, strictness included; what no output can be in is left out."""
    return {
        (r.exact_lower, r.exact_upper, r.strict_lower, r.strict_upper, frozenset(p.rows))
        for r in prop.regions
        for p in r.unsafe
    }


def informative(prop: Property) -> set[tuple[object, ...]]:
    """`branches` without rows that say nothing: a reader may drop ``0 <= 1`` and what contradicts itself."""
    return {
        (*box, frozenset(row for row in rows if any(row.coefficients)))
        for *box, rows in branches(prop)
        if all(any(row.coefficients) or row.holds((Fraction(0),) * prop.n_outputs) for row in rows)
    }


@given(st.integers(1, 3).flatmap(lambda n: properties(n, n)))
@settings(max_examples=60)
def test_reading_gives_it_back(prop: Property) -> None:
    """A sign or a strictness lost on the way would prove another property than the one in memory."""
    if informative(prop):
        assert informative(parse_property(property_text(prop))) == informative(prop)


@pytest.mark.parametrize(
    ("coefficients", "bound", "strict", "said"),
    [
        ((1, -1), 0, False, "(<= {0} {1})"),
        ((-1, 1), 0, True, "(< {1} {0})"),
        ((-1, 0), -3, False, "(>= {0} 3"),
        ((0, 1), 3, True, "(< {1} 3"),
        ((2, -2), 0, False, "(+ (* 2"),
        ((1, -1), 1, False, "(+ {0} (* -1"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_comparisons_stay_comparisons(version: str, coefficients: tuple, bound: int, strict: bool, said: str) -> None:
    """Solvers that compare outputs only read a file that was converted."""
    row = Row(tuple(map(Fraction, coefficients)), Fraction(bound), strict=strict)
    one = (Fraction(0),), (Fraction(1),)
    region = Region(exact_lower=one[0], exact_upper=one[1], unsafe=(Polytope(rows=(row,), n_outputs=2),))
    text = property_text(Property(name="p", regions=(region,), n_inputs=1, n_outputs=2), version)
    assert said.format(*(("Y_0", "Y_1") if version == "1.0" else ("Y[0]", "Y[1]"))) in text


def test_numbers_without_a_short_decimal_stay_exact(tmp_path: Path) -> None:
    prop = Property(name="awkward", regions=(AWKWARD,), n_inputs=2, n_outputs=2)
    assert branches(parse_property(property_text(prop))) == branches(prop)
    file = tmp_path / "awkward.vnnlib"
    file.write_text(property_text(prop))
    pairs = read_statement(files.read_file(file)).pairs
    assert {tuple(low for low, _ in pair.lower) for pair in pairs} == {AWKWARD.exact_lower}
    assert {tuple(strict for _, strict in pair.upper) for pair in pairs} == {AWKWARD.strict_upper}
    scaled = {row.bound / row.coefficients[0] for pair in pairs for row in pair.rows}
    assert scaled == {Fraction(-1, 7) / THIRD}


def test_a_property_that_says_nothing_has_no_text() -> None:
    empty = Region(exact_lower=(THIRD,), exact_upper=(THIRD,), unsafe=())
    with pytest.raises(SpecError, match="holds for every network"):
        property_text(Property(name="empty", regions=(empty,), n_inputs=1, n_outputs=1))
