"""Both VNN-LIB readers, on the same texts: wherever the checker's accepts one, it means what the project's does."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.statement import Pair, Statement, read_statement
from birdnn.errors import FormatError
from birdnn.formats.vnnlib import parse_property
from birdnn.spec import Property
from tests.formats.test_vnnlib import formulas

HEAD = "; a comment (with ( in it\n(set-logic QF_LRA)\n(declare-const X_0 Real)\n(declare-fun X_1 () Real)\n"
HEAD += "(declare-const Y_0 Real) (declare-const Y_1 Real)\n"
BOX = "(assert (and (>= X_0 -1) (<= X_0 1)))\n(assert (<= X_1 0.5))(assert (>= X_1 (- 0.5)))\n"
NUMBERS = [Fraction(n, 4) for n in (-9, -4, -2, -1, 0, 1, 2, 3, 4, 13)]
POINTS = [
    (x, y)
    for x in product([*NUMBERS[1:9:2], Fraction(1, 2)], [Fraction(0), Fraction(3, 4)])
    for y in product(NUMBERS, NUMBERS)
]


def read(text: str) -> Statement:
    return read_statement(File("it.vnnlib", text.encode(), ""))


def ours(statement: Statement, x: tuple[Fraction, ...], y: tuple[Fraction, ...]) -> bool:
    """Is this point a violation, by the checker's reader?"""
    for pair in statement.pairs:
        at = (*y, *x) if statement.relational else y
        sums = [sum((c * v for c, v in zip(row.coefficients, at, strict=True)), Fraction(0)) for row in pair.rows]
        if pair.contains(x) and all(row.holds(value) for row, value in zip(pair.rows, sums, strict=True)):
            return True
    return False


def both(text: str) -> tuple[Statement | None, Property | None]:
    """What each reader makes of it; None where it refuses."""
    try:
        mine = read(text)
    except (FormatError, Rejected):
        mine = None
    try:
        theirs = parse_property(text, relating=True)
    except FormatError:
        theirs = None
    return mine, theirs


@pytest.mark.thorough
@given(st.lists(formulas(more=False), min_size=1, max_size=3))
@settings(max_examples=120)
def test_both_readers_mean_the_same(parts: list[str]) -> None:
    """Compared at points, strictly and exactly, after reading each by its own code."""
    text = HEAD + BOX + "".join(f"(assert {part})\n" for part in parts)
    mine, theirs = both(text)
    assert (mine is None) == (theirs is None), text
    if mine is not None and theirs is not None:
        for x, y in POINTS[::3]:
            assert ours(mine, x, y) == theirs.violated([float(v) for v in x], [float(v) for v in y]), (text, x, y)


PIECES = [
    "(",
    ")",
    "and",
    "or",
    "<=",
    ">=",
    "<",
    ">",
    "=",
    "+",
    "-",
    "*",
    "/",
    "X_0",
    "X_1",
    "Y_0",
    "Y_1",
    "Y_2",
    "0.5",
    "-1",
    "1e-1",
]
PIECES += [
    "assert",
    "true",
    "false",
    ";",
    "\n",
    "|",
    '"',
    "X_01",
    "1e999",
    ".5",
    "5.",
    "+3",
    "--1",
    "0x1",
    "check-sat",
    "1/2",
    "é",
    "Real",
]


@pytest.mark.thorough
@given(
    formulas(more=False),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3),
)
@settings(max_examples=200)
def test_damaged_texts_are_never_read_differently(formula: str, damage: list[tuple[int, int, str]]) -> None:
    """Tokens are put in, taken out or replaced; the checker may refuse, and where both read it they agree."""
    words = (BOX + f"(assert {formula})").replace("(", " ( ").replace(")", " ) ").split()
    for place, gone, piece in damage:
        words[place : place + gone] = [piece]
    text = HEAD + " ".join(words)
    mine, theirs = both(text)
    if mine is None:
        return
    assert theirs is not None, text
    for x, y in POINTS[::7]:
        assert ours(mine, x, y) == theirs.violated([float(v) for v in x], [float(v) for v in y]), (text, x, y)


REFUSED = {
    "product": "(assert (<= (* Y_0 Y_1) 1))",
    "division by zero": "(assert (<= (/ Y_0 0) 1))",
    "unknown command": "(define-fun f () Real 1)",
    "version 2": "(vnnlib-version <2.0>)",
    "undeclared": "(assert (<= Y_7 1))",
    "no formula": "(assert 5)",
    "not": "(assert (not (<= Y_0 1)))",
    "unclosed": "(assert (<= Y_0 1)",
    "closed twice": "(assert (<= Y_0 1)))",
    "word outside": "hello",
    "closed twice, then more": ") (check-sat)",
    "declared twice": "(declare-const Y_0 Real)",
    "gap in the variables": "(declare-const X_5 Real)",
    "other type": "(declare-const Y_2 Int)",
    "contradiction": "(assert (<= X_0 -2))",
    "too many branches": "(assert (and " + " ".join(["(or (<= Y_0 1) (<= Y_1 1))"] * 16) + "))",
    "too deep": "(assert " + "(and " * 150 + ")" * 151,
    "one term": "(assert (<= Y_0))",
    "no terms": "(assert (<= (+) 1))",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_know_is_refused(name: str) -> None:
    """Status 4, never a guess."""
    read(HEAD + BOX)
    with pytest.raises(FormatError, match=r"does not read"):
        read(HEAD + BOX + REFUSED[name])


def test_an_unbounded_input_is_refused() -> None:
    with pytest.raises(FormatError, match="unbounded"):
        read(HEAD + "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1)))")


def test_rows_imply_rows() -> None:
    """A certificate may speak about more than the property; never about less."""
    from birdnn.certify.check.statement import Row

    one, two = (Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))
    assert Row(one, Fraction(1), False).implies(Row(one, Fraction(2), True))
    assert not Row(one, Fraction(2), False).implies(Row(one, Fraction(1), False))
    assert not Row(one, Fraction(1), False).implies(Row(one, Fraction(1), True))
    assert Row(one, Fraction(1), True).implies(Row(one, Fraction(1), True))
    assert Row(one, Fraction(1), True).implies(Row(one, Fraction(1), False))
    assert not Row(one, Fraction(1), True).implies(Row(two, Fraction(1), False))
    zero = (Fraction(0), Fraction(0))
    assert Row(one, Fraction(1), False).implies(Row(zero, Fraction(0), False))
    assert not Row(one, Fraction(1), False).implies(Row(zero, Fraction(0), True))
    assert Row((Fraction(-2), Fraction(4)), Fraction(6), True).normal() == Row(
        (Fraction(-1), Fraction(2)), Fraction(3), True
    )


def test_outputs_without_a_name_are_of_no_consequence() -> None:
    """A network may have more outputs than are named, and by both readers the index says which one is meant."""
    text = HEAD + "(declare-const Y_3 Real)" + BOX + "(assert (<= (+ Y_1 Y_3) 1))"
    mine, theirs = read(text).of(6), parse_property(text).fitted(2, 6)
    assert (mine.n_outputs, [row.coefficients for row in mine.pairs[0].rows]) == (6, [(0, 1, 0, 1, 0, 0)])
    x = (Fraction(0), Fraction(0))
    for y in product((Fraction(0), Fraction(1)), repeat=6):
        assert ours(mine, x, y) == theirs.violated([0.0, 0.0], [float(v) for v in y])
    assert read(text).of(2).n_outputs == 4  # which does not fit, as its reader is told


def test_words_come_in_commands_only() -> None:
    for text in ("hello " + HEAD, HEAD + " hello", "(check-sat) hello " + HEAD):
        with pytest.raises(FormatError, match="words between"):
            read(text + BOX)


def test_how_deep_a_formula_may_lie() -> None:
    def deep(ands: int) -> str:
        return HEAD + BOX + "(assert " + "(and " * ands + "(<= Y_0 1)" + ")" * ands + ")"

    assert len(read(deep(97)).pairs) == 1
    with pytest.raises(FormatError, match="too deep"):
        read(deep(98))


def test_constants_among_formulas() -> None:
    for formula, rows in (("true", [0]), ("(or false (<= Y_0 1))", [1]), ("(or true (<= Y_0 1))", [0, 1])):
        assert [len(pair.rows) for pair in read(f"{HEAD}{BOX}(assert {formula})").pairs] == rows
    for formula in ("false", "(and true false)"):
        with pytest.raises(FormatError, match="contradict"):
            read(f"{HEAD}{BOX}(assert {formula})")


def sums(coefficients: list[int]) -> str:
    """A linear expression of all four variables."""
    return f"(+ {' '.join(f'(* {c} {v})' for c, v in zip(coefficients, ('X_0', 'X_1', 'Y_0', 'Y_1'), strict=True))})"


@st.composite
def relations(draw: st.DrawFn) -> str:
    """Nests of comparisons of inputs and outputs with each other."""
    inner = st.builds(
        lambda op, a, b, c: f"({op} {sums(a)} {sums(b)} {c})",
        st.sampled_from(["<=", "<", ">=", ">", "="]),
        *[st.lists(st.sampled_from([-1, 0, 0, 1, 2]), min_size=4, max_size=4)] * 2,
        st.sampled_from(["0", "-0.25", "1"]),
    )
    nest = st.builds(lambda op, parts: f"({op} {' '.join(parts)})", st.sampled_from(["and", "or"]),
                     st.lists(inner, min_size=1, max_size=3))  # fmt: skip
    return draw(nest)


@pytest.mark.thorough
@given(st.lists(relations(), min_size=1, max_size=2))
@settings(max_examples=150)
def test_both_readers_relate_inputs_alike(parts: list[str]) -> None:
    """Rows of outputs and inputs, of the same dimension, that mean the same at every point."""
    text = HEAD + BOX + "".join(f"(assert {part})\n" for part in parts)
    mine, theirs = both(text)
    assert (mine is None) == (theirs is None), text
    if mine is None or theirs is None:
        return
    sizes = {len(row.coefficients) for pair in mine.pairs for row in pair.rows}
    assert sizes <= {mine.n_outputs + mine.n_inputs * mine.relational}
    assert mine.relational == theirs.relational
    wider = mine.of(3)
    for x, y in POINTS[::7]:
        violated = theirs.violated([float(v) for v in x], [float(v) for v in y])
        assert ours(mine, x, y) == ours(wider, x, (*y, Fraction(9))) == violated, (text, x, y)


def _meant(value: Fraction, low: Fraction, high: Fraction, *, strict: bool = False) -> Fraction | None:
    """Which number of the range the input stands for; ``strict``: the range excludes its upper bound."""
    point = Pair(lower=((low, False),), upper=((high, strict),), rows=()).meant([value])
    return None if point is None else point[0]


def test_a_bound_that_is_excluded_stands_for_nothing_where_single_precision_has_a_number_within() -> None:
    half = Fraction(1, 2)
    assert _meant(half, Fraction(0), half) == half
    assert _meant(half, Fraction(0), half, strict=True) is None


def test_how_far_from_its_range_an_input_is_run() -> None:
    """Behind 2048 single precision has its next number after more than twice the distance."""
    value, near = Fraction(2048), Fraction(1, 10**4)
    assert _meant(value, value + near, value + near) == value + near
    assert _meant(value, value + near + Fraction(1, 10**6), value + near + Fraction(1, 10**6)) is None
