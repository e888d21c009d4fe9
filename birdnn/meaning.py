"""What a property says, free of how its file is called and how its text is written: two that say the same are equal.

The order of regions, polytopes and rows does not count, nor what is stated twice, nor by what positive number a row is
multiplied; rows that always or never hold are resolved, and of parallel rows the tightest counts. Everything is exact.
Properties whose numbers were rounded when they were written (raw units restated, decimals cut) say almost the same:
`rounding_between` finds by how much they differ.

Both are compared in network units: restate a property in raw units first (`Property.scaled`). Equal meanings are equal
statements; the converse is not decided in full: one box cut into two is another meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.spec import Polytope, Property

ROUNDING = 1e-6
"""Properties whose numbers differ by no more, network units, say the same up to the rounding of decimals."""

Corner: TypeAlias = tuple[Fraction, ...]
Box: TypeAlias = tuple[Corner, Corner, tuple[bool, ...], tuple[bool, ...]]


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """``coefficients . y[outputs] <= bound`` (``<`` where `strict`); the largest coefficient is 1 or -1, none is 0."""

    outputs: tuple[int, ...]
    coefficients: tuple[Fraction, ...]
    bound: Fraction
    strict: bool


Unsafe: TypeAlias = frozenset[HalfSpace]


@dataclass(frozen=True, slots=True)
class Meaning:
    """A property's statement in normal form; equal and hashable by what it says.

    Attributes:
        n_inputs, n_outputs: of the networks that it speaks about.
        element: what its variables are, see `Property`.
        unsafe: box of inputs -> the sets of outputs that must not occur there.
    """

    n_inputs: int
    n_outputs: int
    element: str
    unsafe: frozenset[tuple[Box, frozenset[Unsafe]]]


def meaning_of(prop: Property) -> Meaning:
    """The normal form of what a property says."""
    found: dict[Box, set[Unsafe]] = {}
    for region in prop.regions:
        box = (region.exact_lower, region.exact_upper, region.strict_lower, region.strict_upper)
        if polytopes := {space for each in region.unsafe if (space := _half_spaces(each)) is not None}:
            found.setdefault(box, set()).update(polytopes)
    unsafe = frozenset((box, _without_contained(polytopes)) for box, polytopes in found.items())
    return Meaning(prop.n_inputs, prop.n_outputs, prop.element, unsafe)


def _half_spaces(polytope: Polytope) -> Unsafe | None:
    """Its half-spaces, the tightest of each direction; None where no output lies in all of them."""
    tightest: dict[tuple[tuple[int, ...], tuple[Fraction, ...]], tuple[Fraction, bool]] = {}
    for row in polytope.rows:
        outputs = tuple(index for index, value in enumerate(row.coefficients) if value)
        if outputs:
            largest = max(abs(row.coefficients[index]) for index in outputs)
            direction = outputs, tuple(row.coefficients[index] / largest for index in outputs)
            limit = row.bound / largest, not row.strict  # of equal bounds the strict one is tighter, and less
            tightest[direction] = min(limit, tightest.get(direction, limit))
        elif not row.holds((Fraction(0),) * len(row.coefficients)):
            return None
    for (outputs, coefficients), (bound, closed) in tightest.items():
        # two rows in opposite directions leave a strip between them, or nothing
        opposite = tightest.get((outputs, tuple(-value for value in coefficients)))
        if opposite is not None:
            width = bound + opposite[0]
            if width < 0 or (width == 0 and not (closed and opposite[1])):
                return None
    return frozenset(HalfSpace(*direction, bound, not closed) for direction, (bound, closed) in tightest.items())


_COMPARED = 256  # polytopes; each is compared with each


def _without_contained(polytopes: set[Unsafe]) -> frozenset[Unsafe]:
    """Without those that lie in another one because they have all of its half-spaces and more; not of a great many."""
    if len(polytopes) > _COMPARED:
        return frozenset(polytopes)
    return frozenset(one for one in polytopes if not any(other < one for other in polytopes))


def rounding_between(first: Meaning, second: Meaning) -> float | None:
    """The largest difference of two numbers where both say the same up to `ROUNDING`, 0.0 if exactly the same.

    None where they say different things.
    """
    if first == second:
        return 0.0
    if (first.n_inputs, first.n_outputs, first.element) != (second.n_inputs, second.n_outputs, second.element):
        return None
    if len(first.unsafe) != len(second.unsafe):
        return None
    # both ways: two regions may lie near the same one of the other property, and leave another without a partner
    gaps = [_meaning_gap(*pair) for pair in ((first, second), (second, first))]
    if any(gap is None for gap in gaps):
        return None
    # they differ, so that 0.0, exactly the same, would be wrong even where float64 rounds the difference to it
    return max(math.ulp(0.0), *(float(gap) for gap in gaps if gap is not None))


def _meaning_gap(one: Meaning, other: Meaning) -> Fraction | None:
    """The largest distance of a region from the nearest one of the other that says almost the same; None without."""
    theirs = list(other.unsafe)
    corners = (
        torch.stack([_corner_tensor(box) for box, _ in theirs])
        if theirs
        else torch.zeros(0, 2 * other.n_inputs, dtype=torch.float64)
    )
    largest = Fraction(0)
    for box, unsafe in one.unsafe:
        # a first look in float64, twice as wide as what counts: exact arithmetic is for the few that pass
        near = ((corners - _corner_tensor(box)).abs() <= 2 * ROUNDING).all(1).nonzero().flatten().tolist()
        gaps = [_region_gap(box, unsafe, *theirs[index]) for index in near]
        found = min((gap for gap in gaps if gap is not None), default=None)
        if found is None:
            return None
        largest = max(largest, found)
    return largest


def _corner_tensor(box: Box) -> Tensor:
    return torch.tensor([float(value) for value in (*box[0], *box[1])], dtype=torch.float64)


def _region_gap(box: Box, unsafe: frozenset[Unsafe], other: Box, theirs: frozenset[Unsafe]) -> Fraction | None:
    if box[2:] != other[2:] or len(unsafe) != len(theirs):
        return None
    gaps = [_largest_difference((*box[0], *box[1]), (*other[0], *other[1]))]
    # both ways, as in `rounding_between`; by kind first, or n polytopes would make n * n exact comparisons
    for one, many in ((unsafe, theirs), (theirs, unsafe)):
        kinds: dict[frozenset[tuple[tuple[int, ...], bool]], list[Unsafe]] = {}
        for polytope in many:
            kinds.setdefault(_polytope_kind(polytope), []).append(polytope)
        gaps += [
            _smallest_gap(_polytope_gap(each, twin) for twin in kinds.get(_polytope_kind(each), ())) for each in one
        ]
    return _largest_gap(gaps)


def _polytope_kind(polytope: Unsafe) -> frozenset[tuple[tuple[int, ...], bool]]:
    """What rounding leaves alone."""
    return frozenset((half.outputs, half.strict) for half in polytope)


def _polytope_gap(one: Unsafe, other: Unsafe) -> Fraction | None:
    if len(one) != len(other):
        return None
    return _largest_gap([_smallest_gap(_row_gap(half, twin) for twin in other) for half in one])


def _row_gap(one: HalfSpace, other: HalfSpace) -> Fraction | None:
    if (one.outputs, one.strict) != (other.outputs, other.strict):
        return None
    return _largest_difference((*one.coefficients, one.bound), (*other.coefficients, other.bound))


def _largest_difference(one: Sequence[Fraction], other: Sequence[Fraction]) -> Fraction | None:
    """The largest difference; None beyond `ROUNDING`."""
    largest = max(abs(a - b) for a, b in zip(one, other, strict=True))
    return largest if largest <= Fraction(ROUNDING) else None


def _smallest_gap(gaps: Iterable[Fraction | None]) -> Fraction | None:
    return min((gap for gap in gaps if gap is not None), default=None)


def _largest_gap(gaps: Sequence[Fraction | None]) -> Fraction | None:
    """The largest; None where one is."""
    known = [gap for gap in gaps if gap is not None]
    return max(known, default=Fraction(0)) if len(known) == len(gaps) else None
