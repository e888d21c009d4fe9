"""What a property says, for people and files."""

from __future__ import annotations

from fractions import Fraction

import pytest

from birdnn.records import StatedRegion
from birdnn.spec import Polytope, Region, Row

ONE = Fraction(1)
ROWS = (Row((ONE, -ONE), Fraction(1, 3)), Row((ONE, ONE), ONE, strict=True))


def test_a_region_is_stated_exactly() -> None:
    """Not by the float64 corners, which are rounded outward."""
    lower, upper = (Fraction(1, 3),), (Fraction(2, 3),)
    unsafe = (Polytope(rows=ROWS, n_outputs=2), Polytope(rows=(), n_outputs=2))
    made = StatedRegion.of(Region(exact_lower=lower, exact_upper=upper, unsafe=unsafe))
    assert made == StatedRegion(lower=lower, upper=upper, unsafe=(ROWS, ()))


def test_names_stand_beside_corners_and_coefficients_by_their_place() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        StatedRegion(lower=(ONE,), upper=(), unsafe=())
    for unsafe in (((ROWS[0], Row((ONE,), ONE)),), ((ROWS[0],), (Row((ONE,), ONE),))):
        with pytest.raises(ValueError, match="different lengths"):
            StatedRegion(lower=(ONE,), upper=(ONE,), unsafe=unsafe)
