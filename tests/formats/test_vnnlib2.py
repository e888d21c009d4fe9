"""VNN-LIB 2.0 queries: over real exactly, over float32 as the standard rounds, anything else refused."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

from birdnn.errors import FormatError
from birdnn.formats.vnnlib import parse_property, read_declared
from birdnn.spec import Property


def rows(made: Property) -> list[list[tuple[list[F], F, bool]]]:
    return [
        [(list(row.coefficients), row.bound, row.strict) for row in polytope.rows]
        for region in made.regions
        for polytope in region.unsafe
    ]


VERSION_2 = """(vnnlib-version <2.0>) ; comment
(declare-network f
  (declare-input X {kind} [1,2,2])
  (declare-output Y {kind} [3]))
(assert (and (>= X[0,0,0] 0.0) (<= X[0,0,0] 0.1) (>= X[0,0,1] 1.0) (<= X[0,0,1] 1.1)))
(assert (and (>= X[0,1,0] 2.0) (<= X[0,1,0] 2.1) (>= X[0,1,1] 3.0) (<= X[0,1,1] 3.1)))
(assert (or (<= (+ Y[0] (* -2.50 Y[2])) (- 3.0)) (and (== Y[1] 1.0) (> (- Y[0] Y[1] 0.1) 0.0))))
{more}
"""


def test_version_2() -> None:
    """Tensors are flattened in C order; constants are exact."""
    made = parse_property(VERSION_2.format(kind="real", more=""), name="p")
    (region,) = made.regions
    assert region.exact_lower == (0, 1, 2, 3)
    assert region.exact_upper == (F(1, 10), F(11, 10), F(21, 10), F(31, 10))
    assert rows(made) == [
        [([1, 0, F(-5, 2)], -3, False)],
        [([0, 1, 0], 1, False), ([0, -1, 0], -1, False), ([-1, 1, 0], F(-1, 10), True)],
    ]


def test_version_2_unequal_is_either_side() -> None:
    """Two strict branches."""
    made = parse_property(VERSION_2.format(kind="real", more="(assert (!= Y[0] 1.0))"))
    assert len(rows(made)) == 4


FLOAT32 = """(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1]) (declare-output Y float32 [2]))
(assert (and (>= X[0] 0.1) (<= X[0] 0.3)))
(assert (or (<= Y[0] 0.1) (>= Y[1] (- Y[0])) (< Y[0] -0.1)))
{more}
"""


def test_numbers_of_a_query_over_float32_are_float32() -> None:
    """0.1 becomes the nearest float32, which is above it: a point that exact numbers exclude belongs to the box."""
    made = parse_property(FLOAT32.format(more=""), name="p")
    (region,) = made.regions
    tenth, third = F(float(np.float32(0.1))), F(float(np.float32(0.3)))
    assert made.element == "float32"
    assert parse_property(VERSION_2.format(kind="real", more="")).element == "real"
    assert (region.exact_lower, region.exact_upper) == ((tenth,), (third,))
    assert third > F(3, 10)
    assert rows(made) == [[([1, 0], tenth, False)], [([-1, -1], 0, False)], [([1, 0], -tenth, True)]]


@pytest.mark.parametrize(
    ("number", "nearest"),
    [
        ("1.0000000596046448", 1 + 2.0**-23),  # above the tie by less than float64 can see
        ("1.000000059604644775390625000000001", 1 + 2.0**-23),
        ("1.000000059604644775390624999999999", 1.0),
        ("0." + "0" * 60 + "1", 0.0),
    ],
)
def test_a_number_is_rounded_once(number: str, nearest: float) -> None:
    made = parse_property(FLOAT32.format(more=f"(assert (<= Y[1] {number}))"), name="p")
    bounds = {row.bound for polytope in made.regions[0].unsafe for row in polytope.rows}
    assert F(nearest) in bounds
    assert F(number) not in bounds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VERSION_2.format(kind="float64", more=""), "Type mismatch|element type F64; only real and"),
        (VERSION_2.format(kind="float32", more=""), "arithmetic on float32 rounds"),
        (FLOAT32.format(more=f"(assert (<= Y[0] 1{'0' * 39}.0))"), "line 5: a number is beyond the range of float32"),
        (VERSION_2.format(kind="nonsense", more=""), "Type mismatch"),
        (VERSION_2.format(kind="real", more="(assert (<= X[0,0,0] Y[0]))"), "relates X_0, Y_0"),
        (VERSION_2.format(kind="real", more="(assert (<= (* Y[0] Y[1]) 1.0))"), "line 8: .*not linear"),
        (VERSION_2.format(kind="real", more="(assert (<= Y[7] 1.0))"), "line 8: Index out of bounds"),
        (VERSION_2.format(kind="real", more="(assert (<= Z[0] 1.0))"), "line 8: Undeclared"),
        (VERSION_2.format(kind="real", more="(assert (>= X[0,0,0] 0.2))"), "X_0 has lower bound 0.2 above"),
        (VERSION_2.format(kind="real", more="(frobnicate)"), "no VNN-LIB 2.0 query: .*line 8"),
        ("(declare-network f (declare-input X real [1]) (declare-output Y real [1]))", "no VNN-LIB 2.0 query"),
        (VERSION_2.format(kind="real", more="(assert (<= Y[-1] 1.0))"), r"line 8: Y\[-1\] lies outside of shape \[3\]"),
        (VERSION_2.format(kind="real", more="(assert (<= Y[-11] 1.0))"), "outside of shape"),
        (VERSION_2.format(kind="real", more="(assert (<= X[0,0,-1] 1.0))"), r"X\[0,0,-1\] lies outside"),
        (
            ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [99999,99999,99999])"
             "(declare-output Y real [1]))(assert (<= Y[0] 1.0))"),
            "empty or too large",
        ),
        (
            ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [1])(declare-input Z real [1])"
             "(declare-output Y real [1]))(assert (<= Y[0] 1.0))"),
            "one input, one output",
        ),
        (
            ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]) (declare-output Y real [1]))"
             "(declare-network g (declare-input U real [1]) (declare-output V real [1]))(assert (<= Y[0] 1.0))"),
            "it is about 2 networks; birdnn verify",
        ),
    ],
)  # fmt: skip
def test_version_2_errors(text: str, message: str) -> None:
    """A query whose semantics we do not decide gets an error and never a verdict."""
    with pytest.raises(FormatError, match=message):
        parse_property(text, path="q.vnnlib")


def test_elements_of_two_kinds_are_refused(tmp_path: Path) -> None:
    """A network over the reals must not be proved with numbers that were rounded for another one."""
    path = tmp_path / "q.vnnlib"
    path.write_text(
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [1]) (declare-output Y real [1]))\n"
        "(declare-network g (declare-input U float32 [1]) (declare-output V float32 [1]))\n"
        "(assert (and (>= X[0] 0.1) (<= X[0] 0.7) (>= U[0] 0.0) (<= U[0] 1.0) (> Y[0] 0.69999999)))\n"
    )
    with pytest.raises(FormatError, match="tensors of real and of float32"):
        read_declared(path)
