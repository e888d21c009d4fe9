"""Queries about two networks: what the checker's reader accepts means what the project's does; all else is refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from random import Random

import pytest

from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.pairs import query as query_reader
from birdnn.certify.check.pairs.query import Query, read_query
from birdnn.errors import FormatError
from birdnn.formats.relation import read_relation
from tests.queries import apart, query, same


def read(text: str) -> Query:
    return read_query(File("q.vnnlib", text.encode(), ""))


def unsafe(found: Query, x: list[Fraction], y: list[Fraction]) -> bool:
    """Is this point of variables and outputs a violation?"""
    for pair in found.statement.pairs:
        at = [*y, *x] if found.statement.relational else y
        sums = [sum((c * v for c, v in zip(row.coefficients, at, strict=True)), Fraction(0)) for row in pair.rows]
        if pair.contains(x) and all(row.holds(value) for row, value in zip(pair.rows, sums, strict=True)):
            return True
    return False


def test_variables_are_numbered_as_their_first_inputs_come() -> None:
    text = query(
        3, 1, "(== X_g[0] X_f[2])", "(and (<= X_f[1] X_g[2]) (<= X_g[2] X_f[1]))", "(>= X_g[1] 0.0)", "(<= X_g[1] 2.0)"
    )
    found = read(text + "(assert (>= Y_f[0] Y_g[0]))")
    assert found.reads == ((0, 1, 2), (2, 3, 1))
    assert [net.name for net in found.networks] == ["f", "g"]
    assert found.statement.n_inputs == 4
    (pair,) = found.statement.pairs
    assert pair.lower[3] == (0, False)
    assert pair.upper[3] == (2, False)
    x = tuple(Fraction(n) for n in (1, 2, 3, 3, 9, 2))
    assert found.variables(x) == (1, 2, 3, 9)
    assert found.variables((*x[:3], Fraction(4), *x[4:])) is None


def test_what_may_hold_makes_no_variable() -> None:
    """An equality of one branch, one that is strict, or one with a constant, relates inputs as other comparisons do."""
    for relation in (
        "(or (== X_f[0] X_g[0]) (>= Y_f[0] 1.0))",
        "(== X_f[0] (+ X_g[0] 0.1))",
        "(== X_f[0] (* 2.0 X_g[0]))",
        "(<= X_f[0] X_g[0])",
        "(== X_f[0] Y_g[0])",
    ):
        text = query(1, 1, relation, "(>= X_g[0] -1.0)", "(<= X_g[0] 1.0)", "(>= Y_g[0] Y_f[0])")
        found = read(text)
        assert found.statement.relational
        assert found.reads == ((0,), (1,))
        assert len(found.statement.pairs[0].rows[0].coefficients) == 4
    assert not read(query(1, 1, *same(1), "(>= Y_g[0] Y_f[0])")).statement.relational


def test_what_bounds_a_related_input_may_be_a_comparison() -> None:
    """Then it is any number of single precision; where nothing is related, that is refused."""
    found = read(query(1, 1, "(<= X_g[0] X_f[0])", "(>= X_g[0] 0.5)", "(>= Y_g[0] Y_f[0])"))
    (pair,) = found.statement.pairs
    assert (pair.lower[1], pair.upper[1]) == ((Fraction(1, 2), False), (Fraction(2) ** 128, False))
    with pytest.raises(FormatError, match="unbounded"):
        read(query(1, 1, "(>= X_g[0] 0.5)", "(>= Y_g[0] Y_f[0])"))


def _random(draw: Random) -> str:
    """A query with odd arithmetic, over two inputs of each network and two outputs."""

    def number() -> str:
        return draw.choice(
            ["0.0", "1.0", "-0.5", "2.25", "(- 1.5)", "(* 2.0 0.5)", "(+ 1.0 -0.25)", "(- 1.0 0.5 0.25)"]
        )

    def output() -> str:
        return draw.choice(["Y_f[0]", "Y_f[1]", "Y_g[0]", "Y_g[1]"])

    def term(depth: int = 2) -> str:
        kind = draw.randrange(6) if depth else 0
        if kind < 2:
            return output()
        if kind == 2:
            return number()
        if kind == 3:
            return f"(- {term(depth - 1)})"
        if kind == 4:
            return f"(* {number()} {term(depth - 1)})"
        return f"({draw.choice('+-')} {' '.join(term(depth - 1) for _ in range(draw.randrange(2, 4)))})"

    def formula(depth: int = 2) -> str:
        if depth and draw.random() < 0.5:
            return f"({draw.choice(('and', 'or'))} {' '.join(formula(depth - 1) for _ in range(draw.randrange(1, 4)))})"
        if draw.random() < 0.2:
            other = draw.choice(("0.25", "-0.5", "X_g[0]", "(+ X_f[1] 0.25)", "Y_f[0]"))
            return f"({draw.choice(('<=', '>='))} {draw.choice(('X_f[0]', 'X_g[1]'))} {other})"
        return f"({draw.choice(('<=', '>=', '<', '>', '=='))} {term()} {term()})"

    ways = draw.choice([["(== X_f[0] X_g[0])", "(== X_f[1] X_g[1])"], ["(== X_f[0] X_g[1])", "(== X_g[0] X_f[1])"]])
    if draw.random() < 0.4:
        ways = [ways[0], "(>= X_g[0] -1.0)", "(<= X_g[0] 1.0)", "(>= X_g[1] -1.0)", "(<= X_g[1] 1.0)"]
    return query(2, 2, *ways, *(formula() for _ in range(draw.randrange(1, 3))))


@pytest.mark.thorough
def test_both_readers_mean_the_same(tmp_path: Path) -> None:
    """On random texts: the same variables, and the same points are violations."""
    points = [Fraction(n, 4) for n in (-4, -2, 0, 1, 4)]
    path, both, violations, related = tmp_path / "q.vnnlib", 0, 0, 0
    for seed in range(150):
        draw = Random(seed)
        path.write_text(_random(draw))
        try:
            mine = read(path.read_text())
        except FormatError:
            continue
        theirs = read_relation(path)
        assert theirs is not None
        both += 1
        assert mine.reads == theirs.reads
        n = mine.statement.n_inputs
        for _ in range(60):
            x, y = ([draw.choice(points) for _ in range(size)] for size in (n, 4))
            found = unsafe(mine, x, y)
            assert found == theirs.prop.violated(list(map(float, x)), list(map(float, y))), (seed, x, y)
            related += mine.statement.relational and found
            violations += found
    assert both > 60
    assert violations > 500
    assert related > 50


GOOD = query(1, 1, *same(1), apart(1, 0.5))
BAD = {
    "1.0": ("(declare-const X_0 Real)", "does not begin with"),
    "another version": (GOOD.replace("<2.0>", "<2.1>"), "does not begin with"),
    "exponents": (GOOD.replace("0.500000000", "5e-1"), None),
    "a number without digits": (GOOD.replace("0.500000000", ".5"), None),
    "plus": (GOOD.replace("0.500000000", "+0.5"), None),
    "division": (GOOD.replace("0.500000000", "(/ 1.0 2.0)"), None),
    "not equal": (GOOD + "(assert (!= Y_f[0] 1.0))", None),
    "equal as of 1.0": (GOOD + "(assert (= Y_f[0] 1.0))", None),
    "true": (GOOD + "(assert true)", "does not read the formula"),
    "nothing": (GOOD + "(assert (and))", "does not read the formula"),
    "three terms": (GOOD + "(assert (<= 1.0 Y_f[0] 2.0))", "with 3 terms"),
    "not": (GOOD + "(assert (not (<= 1.0 Y_f[0])))", "as arithmetic"),
    "an implication": (GOOD + "(assert (=> (<= 1.0 Y_f[0]) (<= 1.0 Y_f[0])))", None),
    "a name alone": (GOOD + "(assert (<= 1.0 Y_f))", "number or variable"),
    "an index too large": (GOOD + "(assert (<= 1.0 Y_f[1]))", "no entry of an input or an output"),
    "a negative index": (GOOD + "(assert (<= 1.0 Y_f[-1]))", None),
    "an index with zeros": (GOOD + "(assert (<= 1.0 Y_f[00]))", None),
    "an index apart": (GOOD + "(assert (<= 1.0 Y_f [0]))", None),
    "too many indices": (GOOD + "(assert (<= 1.0 Y_f[0,0]))", "no entry of an input or an output"),
    "an unknown name": (GOOD + "(assert (<= 1.0 Y_h[0]))", "no entry of an input or an output"),
    "the unsafe set in a product": (GOOD + "(assert (<= 1.0 (* Y_f[0] Y_g[0])))", "products of variables"),
    "float32": (GOOD.replace("real", "float32"), "another type than real"),
    "a name in the file": (GOOD.replace("real [1])", 'real [1] "x")', 1), None),
    "hidden": (
        GOOD.replace("(declare-output Y_f", "(declare-hidden H real [1])(declare-output Y_f"),
        "one input and one output",
    ),
    "two inputs": (
        GOOD.replace("(declare-output Y_f", "(declare-input Z real [1])(declare-output Y_f"),
        "one input and one output",
    ),
    "no shape": (GOOD.replace("real [1]", "real", 1), None),
    "an empty shape": (GOOD.replace("real [1]", "real []", 1), None),
    "a shape of nothing": (GOOD.replace("X_f real [1]", "X_f real [0]"), "an input of shape"),
    "output before input": (GOOD.replace("declare-input X_f", "declare-output X_f"), "another form than"),
    "a name twice": (GOOD.replace("Y_g real", "Y_f real"), "a name that is given twice"),
    "a network twice": (GOOD.replace("declare-network g", "declare-network f"), "a name that is given twice"),
    "a name of the language": (GOOD.replace("X_f", "and"), "the name 'and'"),
    "like nothing": (GOOD.replace("isomorphic-to f", "isomorphic-to h"), "no network before"),
    "like itself": (GOOD.replace("isomorphic-to f", "equal-to g"), "no network before"),
    "like two": (GOOD.replace("(isomorphic-to f)", "(isomorphic-to f)(equal-to f)"), "one input and one output"),
    "one network": (GOOD[: GOOD.index("(declare-network g")], "about 1 networks"),
    "three networks": (
        GOOD.replace(
            "(assert", "(declare-network h (declare-input X_h real [1])(declare-output Y_h real [1]))(assert", 1
        ),
        "about 3 networks",
    ),
    "declared too late": (
        GOOD + "(declare-network h (declare-input X_h real [1])(declare-output Y_h real [1]))",
        "there",
    ),
    "check-sat": (GOOD + "(check-sat)", "there"),
    "no bounds": (GOOD.replace("(assert (<= X_f[0] 1.0))", ""), "unbounded"),
    "contradictions": (GOOD + "(assert (< Y_f[0] Y_f[0]))", "contradict"),
    "a lone return": (GOOD.replace("\n", "\r"), None),
    "a form feed": (GOOD.replace(" ", "\f"), None),
    "another space": (GOOD.replace(" ", "\u00a0", 1), None),
    "a comment with an end": (GOOD + "; c\r(assert (<= Y_f[0] 9.0))", None),
    "no end": (GOOD[:-2], "never closed"),
    "too many ends": (GOOD + ")", "do not match"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    """By a sentence; what readers take in two ways, and what is no token, is rejected."""
    text, reason = BAD[name]
    read(GOOD)
    if reason is None:
        with pytest.raises((FormatError, Rejected), match="this checker does not read"):
            read(text)
    else:
        with pytest.raises(FormatError, match=reason):
            read(text)


def test_tensors_of_as_many_entries_as_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = query(2, 2, *same(2), apart(2, 0.5))
    monkeypatch.setattr(query_reader, "_MAX_ENTRIES", 2)
    assert read(text).statement.n_inputs == 2
    monkeypatch.setattr(query_reader, "_MAX_ENTRIES", 1)
    with pytest.raises(FormatError, match="an input of shape"):
        read(text)


def test_shapes_are_read_in_the_order_of_c() -> None:
    text = query(6, 1, *same(6), "(>= Y_f[0] 1.0)").replace("real [6]", "real [1,2,3]")
    for network, i in product("fg", range(6)):
        text = text.replace(f"X_{network}[{i}]", f"X_{network}[0,{i // 3},{i % 3}]")
    found = read(text.replace("X_f[0,1,0] 1.0", "X_f[0,1,0] 0.5"))
    assert found.reads == (tuple(range(6)), tuple(range(6)))
    assert [float(high) for high, _ in found.statement.pairs[0].upper] == [1, 1, 1, 0.5, 1, 1]
