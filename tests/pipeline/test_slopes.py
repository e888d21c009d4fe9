"""Queries about two runs of one network as statements about its slopes: none is lost, and others are left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.formats.relation import Relation, relation_of_query
from birdnn.formats.relation_text import monotone_query, steepness_query
from birdnn.formats.vnnlib import query_in_text
from birdnn.joint import Part
from birdnn.pipeline.slopes import Slope, slope_of
from birdnn.spec import Property, Row
from tests.bounds.builders import random_net
from tests.queries import query, same
from tests.strategies import undisturbed

UNIT = (0.0, 1.0)
SIZES = {(n, m): random_net(0, (n, 3, m)) for n in (1, 2, 3) for m in (1, 2)}


def read(text: str) -> Relation:
    found = query_in_text(text, "")
    assert found is not None
    return relation_of_query(found, text=text)


def parts_of(relation: Relation) -> list[Part]:
    m = relation.networks[0].output.size
    return [Part(net=SIZES[len(reads), m], reads=reads) for reads in relation.reads]


def slope(text: str) -> Slope | None:
    relation = read(text)
    return slope_of(parts_of(relation), relation.prop, same=True)


def two_runs(*assertions: str, n: int = 1, m: int = 1) -> str:
    """A query about two runs on inputs between -1 and 1; those of g are bounded, and equal but for the first."""
    bounds = ["(>= X_g[0] -1.0)", "(<= X_g[0] 1.0)", *(f"(== X_f[{i}] X_g[{i}])" for i in range(1, n))]
    return query(n, m, *bounds, *assertions, like="equal-to f")


ORDER, FALLS = "(<= X_g[0] X_f[0])", "(< Y_f[0] Y_g[0])"


def rows_of(found: Slope | None) -> list[list[Row]]:
    assert found is not None
    return [[row for polytope in region.unsafe for row in polytope.rows] for region in found.regions]


# --- which statement it is


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        # slopes stand behind the outputs: unsafe is a slope below 0, above 0
        (monotone_query([UNIT] * 2, 2, 1, 0), [((0, 0, 1, 0), 0, True)]),
        (monotone_query([UNIT] * 2, 2, 1, 1), [((0, 0, 0, 1), 0, True)]),
        (monotone_query([UNIT] * 2, 2, 1, 0, rising=False), [((0, 0, -1, 0), 0, True)]),
        # to fall by a half over a range of two takes a slope of at most -1/4
        (monotone_query([(-1.0, 1.0)], 1, 0, 0, tolerance=0.5), [((0, 1), -0.25, False)]),
        (steepness_query([UNIT], 1, 0, 0, 3.0), [((0, -1), -3, True), ((0, 1), -3, True)]),
        # the order the other way round turns the sign
        (two_runs("(>= X_g[0] X_f[0])", FALLS), [((0, -1), 0, True)]),
        # two of one kind are one statement
        (two_runs(ORDER, f"(or {FALLS} (< (* 2.0 Y_f[0]) (* 2.0 Y_g[0])))"), [((0, 1), 0, True)]),
    ],
)
def test_unsafe_slopes(text: str, rows: Sequence[tuple[Sequence[int], float, bool]]) -> None:
    (found,) = rows_of(slope(text))
    assert sorted((row.coefficients, row.bound, row.strict) for row in found) == sorted(rows)


def test_the_box_holds_both_runs_and_what_lies_between() -> None:
    """And the longest step is from end to end of both: with a tolerance of 1 a slope of -1/4 is met over 4."""
    text = query(
        2, 1, "(>= X_g[1] 2.0)", "(<= X_g[1] 3.0)", "(== X_f[0] X_g[0])", "(<= X_f[1] X_g[1])",
        "(<= Y_g[0] (- Y_f[0] 1.0))", like="equal-to f",
    )  # fmt: skip
    found = slope(text)
    assert found is not None
    (region,) = found.regions
    assert (found.direction, region.exact_lower, region.exact_upper) == (1, (-1, -1), (1, 3))
    assert rows_of(found) == [[Row((Fraction(0), Fraction(1)), Fraction(-1, 4))]]


@given(data=st.data())
@settings(max_examples=40)
def test_no_violation_is_lost(data: st.DataObject) -> None:
    """Of any two runs: what violates the query has an unsafe slope, in a region that holds both inputs."""
    n, m = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    place, output = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, m - 1))
    grid = st.integers(-4, 4).map(lambda value: Fraction(value, 4))
    box = [tuple(sorted(data.draw(st.tuples(grid, grid)))) for _ in range(n)]
    kind = data.draw(st.sampled_from(["rising", "falling", "steep"]))
    size = float(data.draw(st.integers(0, 3)))
    text = (
        steepness_query(box, m, place, output, size)
        if kind == "steep"
        else monotone_query(box, m, place, output, rising=kind == "rising", tolerance=size / 4)
    )
    relation = undisturbed(lambda: read(text))
    found = undisturbed(lambda: slope_of(parts_of(relation), relation.prop, same=True))
    if box[place][0] == box[place][1]:
        assert found is None
        return
    assert found is not None
    drawn = [data.draw(st.sampled_from([low, (low + high) / 2, high])) for low, high in box]
    f = [data.draw(st.sampled_from(box[i])) if i == place else x for i, x in enumerate(drawn)]
    slopes = data.draw(st.lists(st.integers(-4, 4).map(Fraction), min_size=m, max_size=m))
    rise = [(f[place] - drawn[place]) * each for each in slopes]
    variables = dict(zip(relation.reads[0] + relation.reads[1], (*f, *drawn), strict=True))
    values = [*rise, *[Fraction(0)] * m, *(variables[i] for i in range(len(variables)))]
    violated = any(part.holds(values) for region in relation.prop.regions for part in region.unsafe)
    caught = [
        region for region in found.regions if any(part.holds([*[Fraction(9)] * m, *slopes]) for part in region.unsafe)
    ]
    if violated:
        assert caught
        for x in (f, drawn):
            ends = zip(caught[0].exact_lower, x, caught[0].exact_upper, strict=True)
            assert all(low <= value <= high for low, value, high in ends)


# --- where there is none


@pytest.mark.parametrize(
    "assertions",
    [
        pytest.param((FALLS,), id="neither input is the greater"),
        pytest.param(("(<= X_g[0] (+ X_f[0] 0.125))", FALLS), id="an order with room the wrong way"),
        pytest.param((ORDER, "(<= Y_f[0] Y_g[0])"), id="equal inputs are unsafe"),
        pytest.param((ORDER, "(<= Y_f[0] (+ Y_g[0] 0.5))"), id="equal inputs are unsafe, by far"),
        pytest.param((ORDER, "(< Y_f[0] (* 2.0 Y_g[0]))"), id="no difference of outputs"),
        pytest.param((ORDER, "(< (* 0.1 Y_f[0]) (* 0.1 Y_g[0]))"), id="a tenth is no float64"),
        pytest.param((ORDER, "(< (+ Y_f[0] X_f[0]) Y_g[0])"), id="one input alone beside the difference"),
        pytest.param((ORDER, f"(or {FALLS} (>= Y_f[0] 5.0))"), id="one case is about something else"),
    ],
)
def test_what_slopes_do_not_say(assertions: Sequence[str]) -> None:
    assert slope(two_runs(*assertions)) is None


def test_an_order_with_a_distance_is_one() -> None:
    (rows,) = rows_of(slope(two_runs("(<= X_g[0] (- X_f[0] 0.125))", FALLS)))
    assert rows == [Row((Fraction(0), Fraction(1)), Fraction(0), True)]


def test_two_inputs_that_differ_have_no_one_slope() -> None:
    bounds = [f"({sign} X_g[{i}] {end})" for i in (0, 1) for sign, end in ((">=", -1.0), ("<=", 1.0))]
    assert slope(query(2, 1, *bounds, ORDER, FALLS, like="equal-to f")) is None


@pytest.mark.parametrize("run", ["f", "g"])
def test_one_variable_for_two_inputs_is_no_step(run: str) -> None:
    """Both would move: in one run its two inputs are equal, in the other they need not be."""
    equal = ["(== X_f[1] X_g[1])", f"(== X_{run}[0] X_{run}[1])", "(>= X_g[0] -1.0)", "(<= X_g[0] 1.0)"]
    assert slope(query(2, 1, *equal, ORDER, FALLS, like="equal-to f")) is None


def test_about_one_network_at_two_inputs_only() -> None:
    relation = read(monotone_query([UNIT], 1, 0, 0))
    parts, prop = parts_of(relation), relation.prop
    assert slope_of(parts, prop, same=True) is not None
    assert slope_of(parts, prop, same=False) is None
    assert slope_of(parts[:1], prop, same=True) is None
    assert slope_of([*parts, parts[0]], prop, same=True) is None
    nowhere = Property(
        name="p", regions=(), n_inputs=prop.n_inputs, n_outputs=prop.n_outputs, relational=True, vacuous="0 is 1"
    )
    assert slope_of(parts, nowhere, same=True) is None
    plain = read(query(1, 1, *same(1), FALLS))
    assert slope_of(parts_of(plain), plain.prop, same=True) is None
    assert slope_of(parts, replace(prop, relational=False), same=True) is None
