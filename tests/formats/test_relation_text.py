"""Common relations as queries: what they forbid is what their name says."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from birdnn.errors import SpecError
from birdnn.formats.relation import Relation, relation_of_query
from birdnn.formats.relation_text import (
    decision_query,
    equivalence_query,
    monotone_query,
    steepness_query,
    symmetry_query,
)
from birdnn.formats.vnnlib2 import read_query

BOX = ((-1.0, 0.5), (0.1, 2.0))


def read(text: str) -> Relation:
    return relation_of_query(read_query(text, "q"), text=text)


def violated(found: Relation, f: tuple[float, float], g: tuple[float, float], y: tuple[float, ...]) -> bool:
    """By inputs of both networks, whose equality the variables take for granted."""
    x: dict[int, float] = {}
    for reads, values in zip(found.reads, (f, g), strict=True):
        for variable, value in zip(reads, values, strict=True):
            if x.setdefault(variable, value) != value:
                return False
    return found.prop.violated([x[i] for i in range(len(x))], list(y))


def test_numbers_are_exact() -> None:
    """Fractions all their digits, floats as they are written."""
    found = read(equivalence_query(((Fraction(-(2.0**-60)), 1e20), (0, 0.1)), 1, 0.05))
    (region,) = found.prop.regions
    assert (region.exact_lower, region.exact_upper) == ((Fraction(-(2.0**-60)), 0), (Fraction(1e20), Fraction(1, 10)))
    assert region.unsafe[0].rows[0].bound == Fraction(-1, 20)


def test_equivalence() -> None:
    found = read(equivalence_query(BOX, 2, 0.25))
    assert not found.prop.relational
    for far, bad in ((0.25, True), (0.2, False), (-0.25, True), (-0.2, False)):
        assert violated(found, (0, 1), (0, 1), (1, 2, 1, 2 + far)) == bad
    assert not violated(found, (0, 3), (0, 3), (1, 2, 9, 9)), "outside"


def test_the_same_decision() -> None:
    least, greatest = (read(decision_query(BOX, 3, which)) for which in ("least", "greatest"))  # type: ignore[arg-type]
    for f, g in itertools.product(itertools.product((0.0, 1.0), repeat=3), repeat=2):
        for found, best in ((least, min), (greatest, max)):
            ours = any(y == best(f) and g[i] != best(g) for i, y in enumerate(f))
            assert violated(found, (0, 1), (0, 1), (*f, *g)) == ours


@pytest.mark.parametrize("rising", [True, False])
def test_monotone(rising: bool) -> None:
    found = read(monotone_query(BOX, 2, 0, 1, rising=rising))
    assert [(net.name, net.equal) for net in found.networks] == [("f", ""), ("g", "f")]
    for high, low, y_high, y_low in itertools.product((-0.5, 0.0, 0.5), (-1.0, 0.0), (0.0, 1.0, 2.0), (0.0, 1.0, 2.0)):
        bad = low <= high and (y_high < y_low if rising else y_high > y_low)
        assert violated(found, (high, 1), (low, 1), (0, y_high, 0, y_low)) == bad


def test_steepness() -> None:
    found = read(steepness_query(BOX, 1, 0, 0, 2.0))
    for y, bad in ((1.0, False), (1.25, True), (-1.0, False), (-1.25, True)):
        assert violated(found, (0.5, 1), (0.0, 1), (y, 0.0)) == bad


def test_symmetry() -> None:
    box = ((-1.0, 1.0), (-1.0, 1.0))
    found = read(symmetry_query(box, 2, {0: 1, 1: 0}, {0: 1, 1: 0}, 0.5))
    assert violated(found, (0.25, 0.75), (0.75, 0.25), (1, 2, 2, 1.5))
    assert not violated(found, (0.25, 0.75), (0.75, 0.25), (1, 2, 2, 1.25))
    assert not violated(found, (0.25, 0.75), (0.25, 0.75), (1, 2, 1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: equivalence_query(BOX, 2, 0.0), "must be positive"),
        (lambda: equivalence_query(((1.0, 0.0),), 2, 0.1), "input 0 has lower bound 1 above upper bound 0"),
        (lambda: equivalence_query(BOX, 2, math.inf), "inf is no finite number"),
        (lambda: equivalence_query(((0.0, math.inf),), 2, 0.1), "inf is no finite number"),
        (lambda: equivalence_query(((0, Fraction(1, 3)),), 2, 0.1), "1/3 is no decimal number"),
        (lambda: decision_query(BOX, 1, "least"), "at least two outputs"),
        (lambda: monotone_query(BOX, 2, 2, 0), "there is no input 2: there are 2"),
        (lambda: steepness_query(BOX, 2, 0, 0, -1.0), "is not negative"),
        (lambda: symmetry_query(BOX, 2, {0: 1}, {}, 0.1), "an input is taken twice"),
    ],
)
def test_what_makes_no_sense(text: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        text()  # type: ignore[operator]
