"""Queries about several networks: which inputs are one variable, what bounds them, and that nothing is lost."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from birdnn.errors import FormatError
from birdnn.formats.relation import Relation, relation_of_query
from birdnn.formats.vnnlib import parse_property
from birdnn.formats.vnnlib2 import read_query

HEAD = """(vnnlib-version <2.0>)
(declare-network f (declare-input X_f real [2]) (declare-output Y_f real [2]))
(declare-network g (isomorphic-to f) (declare-input X_g real [2]) (declare-output Y_g real [2]))
"""
BOX = "".join(f"(assert (>= X_f[{i}] -1.0))(assert (<= X_f[{i}] 2.0))" for i in range(2))
SAME = "".join(f"(assert (== X_f[{i}] X_g[{i}]))" for i in range(2))


def read(*assertions: str, head: str = HEAD) -> Relation:
    text = head + "\n".join(f"(assert {each})" if not each.startswith("(assert") else each for each in assertions)
    return relation_of_query(read_query(text, "q"), text=text)


def test_equal_inputs_are_one_variable() -> None:
    found = read(BOX, SAME, "(or (>= Y_g[0] (+ Y_f[0] 0.5)) (<= Y_g[1] (- Y_f[1] 0.5)))")
    assert found.reads == ((0, 1), (0, 1))
    assert (found.prop.n_inputs, found.prop.n_outputs, found.prop.relational) == (2, 4, False)
    (region,) = found.prop.regions
    assert (region.exact_lower, region.exact_upper) == ((-1, -1), (2, 2))
    rows = [polytope.rows[0] for polytope in region.unsafe]
    assert [(row.coefficients, row.bound) for row in rows] == [
        ((1, 0, -1, 0), Fraction(-1, 2)),
        ((0, -1, 0, 1), Fraction(-1, 2)),
    ]
    assert [(net.name, net.alike, net.equal) for net in found.networks] == [("f", "", ""), ("g", "f", "")]


@pytest.mark.parametrize("way", ["(== X_g[0] X_f[1])", "(and (<= X_g[0] X_f[1]) (>= X_g[0] X_f[1]))"])
def test_equality_goes_round_corners(way: str) -> None:
    """By one comparison or two, and by way of a third input."""
    found = read(BOX, way, "(== X_g[1] X_g[0])", "(<= Y_g[0] 0.0)")
    assert found.reads == ((0, 1), (1, 1))
    assert not found.prop.relational


def test_orders_imply_bounds() -> None:
    """Of an input that lies between a number and another input, and of a chain of such inputs."""
    found = read(BOX, "(== X_f[1] X_g[1])", "(>= X_g[0] -1.0)", "(<= X_g[0] X_f[0])", "(< Y_f[0] Y_g[0])")
    assert found.reads == ((0, 1), (2, 1))
    (region,) = found.prop.regions
    assert (region.exact_lower, region.exact_upper) == ((-1, -1, -1), (2, 2, 2))
    assert found.prop.relational
    rows = [row.coefficients for row in region.unsafe[0].rows]
    assert rows == [(0, 0, 0, 0, -1, 0, 1), (1, 0, -1, 0, 0, 0, 0)]
    distance = read(BOX, "(<= (- X_g[0] X_f[0]) 0.25)", "(<= (- X_f[0] X_g[0]) 0.25)", "(== X_f[1] X_g[1])",
                    "(>= Y_g[0] 1.0)")  # fmt: skip
    (region,) = distance.prop.regions
    assert (region.exact_lower[2], region.exact_upper[2]) == (Fraction(-5, 4), Fraction(9, 4))


def test_a_choice_of_equalities_is_none() -> None:
    """Inputs that are equal in one branch of two are two variables."""
    bounds = "".join(f"(assert (>= X_g[{i}] -1.0))(assert (<= X_g[{i}] 2.0))" for i in range(2))
    found = read(BOX, bounds, "(or (== X_f[0] X_g[0]) (>= Y_f[0] 3.0))", "(>= Y_g[0] 0.0)")
    assert found.reads == ((0, 1), (2, 3))


def test_what_is_meant_stays() -> None:
    """At points of a grid the property says what the text does."""
    found = read(BOX, "(== X_f[1] X_g[1])", "(>= X_g[0] -1.0)", "(<= X_g[0] X_f[0])",
                 "(or (< Y_f[0] Y_g[0]) (>= (+ Y_f[1] Y_g[1] X_g[0]) 2.0))")  # fmt: skip
    for f0, g0, x1, y in itertools.product((-1.5, -1.0, 0.5, 2.0), (-1.5, -0.5, 2.0), (0.0, 2.5), range(16)):
        outputs = [float(y >> bit & 1) for bit in range(4)]
        inside = -1 <= f0 <= 2 and -1 <= x1 <= 2 and -1 <= g0 <= f0
        bad = inside and (outputs[0] < outputs[2] or outputs[1] + outputs[3] + g0 >= 2)
        assert found.prop.violated([f0, x1, g0], outputs) == bad, (f0, g0, x1, outputs)


def test_contradictions_and_unbounded_inputs() -> None:
    assert "has lower bound" in read(BOX, SAME, "(>= X_g[0] 3.0)", "(>= Y_g[0] 0.0)").prop.vacuous
    with pytest.raises(FormatError, match=r"X_2 has no lower bound.*numbered over all networks"):
        read(BOX, "(== X_f[1] X_g[1])", "(<= X_g[0] X_f[0])", "(>= Y_g[0] 0.0)")


def test_one_network_readers_say_what_to_do() -> None:
    with pytest.raises(FormatError, match=r"it is about 2 networks; birdnn verify --net f=FILE --net g=FILE"):
        parse_property(HEAD + BOX + SAME + "(assert (>= Y_g[0] 0.0))", path="q.vnnlib")
