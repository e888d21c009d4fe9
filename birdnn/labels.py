"""Networks whose file gives a label, the place of the greatest of some values, and what is asked of it.

ArgMax rounds nothing. That the label is one of some classes says that one of these has a value which comes before those
of all other classes: it is greater, or equal and of a class that the operator takes first. So a property of the label
is one of what the operator reads, exactly, over the reals and in any execution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from birdnn.errors import MismatchError
from birdnn.graph import Taken
from birdnn.spec import Polytope, Property, Region, Row

MAX_ENTRIES = 1 << 22
"""Most coefficients of the rows that are made of one region."""


def label_of_values(y: Sequence[float], taken: Taken) -> int:
    """The place of the greatest value."""
    places = range(len(y)) if taken == "first" else range(len(y) - 1, -1, -1)
    # max() keeps the first of equal values that it meets
    return max(places, key=lambda place: y[place])


def property_of_values(prop: Property, size: int, taken: Taken) -> Property:
    """A property of a label, its one output, as one of the `size` values whose greatest gives it.

    Raises:
        MismatchError: a row of it relates the label with inputs, or the rows would be too many.
    """
    regions = tuple(_region_of_values(region, prop, size, taken) for region in prop.regions)
    return replace(prop, regions=regions, n_outputs=prop.n_outputs - 1 + size)


def _region_of_values(region: Region, prop: Property, size: int, taken: Taken) -> Region:
    unsafe: dict[tuple[Row, ...], set[int]] = {}  # rows of inputs -> labels that are unsafe where they hold
    for polytope in region.unsafe:
        own = [row for row in polytope.rows if row.coefficients[0]]
        others = tuple(row for row in polytope.rows if not row.coefficients[0])
        if any(any(row.coefficients[1:]) for row in own):
            raise MismatchError(f"property {prop.name!r} relates the label that the network gives with inputs")
        rest = _zero_coefficients(prop.n_outputs - 1)
        # no row of `own` has another coefficient, so that the zeros behind the label do not matter
        labels = (k for k in range(size) if all(row.holds((Fraction(k), *rest)) for row in own))
        # together: a bad label is then compared with labels that are good everywhere, and with no other bad one
        unsafe.setdefault(others, set()).update(labels)
    width, polytopes = size + prop.n_outputs - 1, []
    for others, bad in unsafe.items():
        good = [k for k in range(size) if k not in bad]
        if len(bad) * len(good) * width > MAX_ENTRIES:
            told = f"{len(bad)} of {size} labels are unsafe: more comparisons than are taken"
            raise MismatchError(f"property {prop.name!r}: {told}")
        more = tuple(replace(row, coefficients=(*_zero_coefficients(size), *row.coefficients[1:])) for row in others)
        chosen = sorted(bad) if good else sorted(bad)[:1]  # where none is good, nothing depends on which it is
        polytopes += [(*(_ordering_row(k, j, width, taken) for j in good), *more) for k in chosen]
    none = (Row(_zero_coefficients(width), Fraction(-1)),)  # no label is unsafe: nothing holds
    made = tuple(Polytope(rows=rows, n_outputs=width) for rows in polytopes or [none])
    return replace(region, unsafe=made)


def _ordering_row(k: int, j: int, width: int, taken: Taken) -> Row:
    """The value of class `k` comes before that of class `j`: ``y_j - y_k <= 0``, or below it."""
    coefficients = [Fraction(0)] * width
    coefficients[j], coefficients[k] = Fraction(1), Fraction(-1)
    # against a class that wins where both are equal the value has to be greater, not only as great
    return Row(tuple(coefficients), Fraction(0), strict=(j < k) == (taken == "first"))


def _zero_coefficients(count: int) -> tuple[Fraction, ...]:
    return (Fraction(0),) * count
