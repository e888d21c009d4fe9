"""What properties say: however it is written, and never by their names."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from birdnn.formats import read_property
from birdnn.formats.suite import Suite
from birdnn.meaning import ROUNDING, HalfSpace, meaning_of, rounding_between
from birdnn.spec import Polytope, Property, Region, Row


def polytope(*made: Row) -> Polytope:
    return Polytope(rows=made, n_outputs=2)


def region(*polytopes: Polytope, lower: tuple[int, int] = (0, 0)) -> Region:
    return Region(
        exact_lower=tuple(map(Fraction, lower)), exact_upper=(Fraction(5), Fraction(5)), unsafe=tuple(polytopes)
    )


def prop(*regions: Region, name: str = "p") -> Property:
    return Property(name=name, regions=regions, n_inputs=2, n_outputs=2)


def row(a: int, b: int, bound: int, *, strict: bool = False) -> Row:
    return Row((Fraction(a), Fraction(b)), Fraction(bound), strict)


class Draw:
    """Small random properties."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self) -> Fraction:
        return Fraction(self.random.randint(-4, 4), self.random.randint(1, 3))

    def row(self) -> Row:
        return Row((self.number(), self.number()), self.number(), self.random.random() < 0.3)

    def polytope(self) -> Polytope:
        return polytope(*(self.row() for _ in range(self.random.randint(1, 3))))

    def region(self) -> Region:
        polytopes = [self.polytope() for _ in range(self.random.randint(1, 3))]
        return region(*polytopes, lower=(self.random.randint(0, 2), self.random.randint(0, 2)))

    def regions(self) -> list[Region]:
        return [self.region() for _ in range(self.random.randint(1, 3))]

    def again(self, things: Sequence[Any]) -> list[Any]:
        """In another order, one of them twice."""
        many = [*things, self.random.choice(things)]
        self.random.shuffle(many)
        return many


@pytest.mark.parametrize("seed", range(50))
def test_order_repetition_and_scale_do_not_count(seed: int) -> None:
    draw = Draw(seed)

    def scaled(one: Row) -> Row:
        factor = abs(draw.number()) or Fraction(3)
        return Row(tuple(factor * value for value in one.coefficients), factor * one.bound, one.strict)

    def rewritten(one: Region) -> Region:
        mixed = [polytope(*(scaled(each) for each in draw.again(one.rows))) for one in draw.again(one.unsafe)]
        return replace(one, unsafe=tuple(mixed))

    regions = draw.regions()
    one = meaning_of(prop(*regions))
    other = meaning_of(prop(*map(rewritten, draw.again(regions)), name="called otherwise"))
    assert one == other
    assert rounding_between(one, other) == 0.0


def test_what_means_the_same_forbids_the_same() -> None:
    """Soundness of the normal form: the half-spaces and polytopes that it leaves out change nothing."""
    for seed in range(200):
        draw = Draw(seed)
        one = draw.region()
        ((_, kept),) = meaning_of(prop(one)).unsafe or {(None, frozenset())}
        for _ in range(20):
            y = (draw.number(), draw.number())
            normal = any(all(_holds(half, y) for half in space) for space in kept)
            assert normal == any(each.holds(y) for each in one.unsafe)


def _holds(half: HalfSpace, y: tuple[Fraction, Fraction]) -> bool:
    value = sum(c * y[i] for i, c in zip(half.outputs, half.coefficients, strict=True))
    return value < half.bound if half.strict else value <= half.bound


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([polytope(row(0, 0, 1), row(1, 0, 2))], [polytope(row(1, 0, 2))]),  # a row that always holds
        ([polytope(row(0, 0, -1)), polytope(row(1, 0, 2))], [polytope(row(1, 0, 2))]),  # one that never does
        ([polytope(row(1, 0, 2), row(2, 0, 2))], [polytope(row(1, 0, 1))]),  # the tighter of two
        ([polytope(row(1, 0, 2), row(1, 0, 2, strict=True))], [polytope(row(1, 0, 2, strict=True))]),
        ([polytope(row(1, 0, 2)), polytope(row(1, 0, 2), row(0, 1, 0))], [polytope(row(1, 0, 2))]),  # inside of it
        ([polytope(row(1, 0, 0, strict=True), row(-1, 0, 0)), polytope(row(1, 1, 1))], [polytope(row(1, 1, 1))]),
        ([polytope()], [polytope(), polytope(row(1, 0, 2))]),  # everything is unsafe anyway
    ],
)
def test_what_adds_nothing_is_not_counted(one: list[Polytope], other: list[Polytope]) -> None:
    assert meaning_of(prop(region(*one))) == meaning_of(prop(region(*other)))


def test_two_regions_of_one_box_are_one() -> None:
    a, b = polytope(row(1, 0, 2)), polytope(row(0, 1, 2))
    assert meaning_of(prop(region(a), region(b))) == meaning_of(prop(region(b, a)))


BASE = region(polytope(row(1, -1, 0), row(0, 1, 3)))


@pytest.mark.parametrize(
    "other",
    [
        region(polytope(row(1, -1, 0), row(0, 1, 3)), lower=(1, 0)),
        region(polytope(row(1, -1, 0), row(0, 1, 4))),
        region(polytope(row(1, -1, 0, strict=True), row(0, 1, 3))),
        region(polytope(row(-1, 1, 0), row(0, 1, 3))),
        region(polytope(row(1, -1, 0))),
        region(polytope(row(1, -1, 0)), polytope(row(0, 1, 3))),  # either instead of both
        replace(BASE, strict_upper=(True, False)),
    ],
)
def test_what_says_something_else_is_told_apart(other: Region) -> None:
    one, two = meaning_of(prop(BASE)), meaning_of(prop(other))
    assert one != two
    assert rounding_between(one, two) is None


def test_a_property_over_float32_is_another_one() -> None:
    assert meaning_of(prop(BASE)) != meaning_of(replace(prop(BASE), element="float32"))


@pytest.mark.parametrize(("shift", "alike"), [(ROUNDING / 2, True), (ROUNDING * 2, False), (-ROUNDING / 3, True)])
@pytest.mark.parametrize("where", ["corner", "bound"])
def test_rounded_numbers_are_recognised_and_measured(shift: float, alike: bool, where: str) -> None:
    moved = Fraction(shift)
    if where == "corner":
        other = replace(BASE, exact_upper=(Fraction(5) + moved, Fraction(5)))
    else:
        bound = Row((Fraction(0), Fraction(1)), Fraction(3) + moved)
        other = region(polytope(BASE.unsafe[0].rows[0], bound))
    found = rounding_between(meaning_of(prop(BASE)), meaning_of(prop(other)))
    assert found == (pytest.approx(abs(shift)) if alike else None)
    assert found != 0.0


@pytest.mark.acasxu
def test_the_competitions_files_are_the_suites_up_to_rounding(acasxu: Path) -> None:
    suite = Suite.load("acasxu")
    theirs = {name: meaning_of(read_property(acasxu / "vnnlib" / f"{name}.vnnlib")) for name in suite.texts}
    for name in suite.texts:
        own = meaning_of(suite.property(name))
        found = {other for other, meaning in theirs.items() if rounding_between(own, meaning) is not None}
        assert found == {name}
        assert 0 < (rounding_between(own, theirs[name]) or 0) < 1e-9
