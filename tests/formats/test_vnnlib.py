"""VNN-LIB: formulas against a reading of our own in exact arithmetic, errors with line numbers, version 2.0."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import FormatError, MismatchError
from birdnn.formats import dnf
from birdnn.formats.dnf import Contradiction
from birdnn.formats.vnnlib import parse_property, read_property
from birdnn.spec import Property

F = Fraction


def declared(n_inputs: int = 1, n_outputs: int = 2) -> str:
    names = [f"X_{i}" for i in range(n_inputs)] + [f"Y_{j}" for j in range(n_outputs)]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


def bounded(n_inputs: int = 1, low: str = "-1", high: str = "1") -> str:
    return "".join(f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))\n" for i in range(n_inputs))


def prop(formula: str, n_inputs: int = 1, n_outputs: int = 2) -> Property:
    return parse_property(f"{declared(n_inputs, n_outputs)}{bounded(n_inputs)}(assert {formula})", name="p")


def rows(made: Property) -> list[list[tuple[list[Fraction], Fraction, bool]]]:
    return [
        [(list(row.coefficients), row.bound, row.strict) for row in polytope.rows]
        for region in made.regions
        for polytope in region.unsafe
    ]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("(<= Y_0 Y_1)", ([1, -1], 0, False)),
        ("(>= Y_0 Y_1)", ([-1, 1], 0, False)),
        ("(< Y_0 1.5)", ([1, 0], F(3, 2), True)),
        ("(> Y_0 -2)", ([-1, 0], 2, True)),
        ("(<= (+ Y_0 Y_1 1) (- Y_0 3))", ([0, 1], -4, False)),
        ("(<= (* 2 Y_0) (- Y_1))", ([2, 1], 0, False)),
        ("(<= (- Y_0 Y_1 1) 0)", ([1, -1], 1, False)),
        ("(<= (* Y_0 2 (- 3)) (/ Y_1 4 2))", ([-6, F(-1, 8)], 0, False)),
        ("(<= (+ Y_0 (* -1.0 Y_1)) 1e-3)", ([1, -1], F(1, 1000), False)),
        ("(>= 2.5E+1 Y_0)", ([1, 0], 25, False)),
        ("(<= (* 0.1 (+ Y_0 (* 3 (- Y_1 1)))) .5)", ([F(1, 10), F(3, 10)], F(4, 5), False)),
        ("(<= Y_0 5.)", ([1, 0], 5, False)),
    ],
)
def test_linear_arithmetic(formula: str, expected: tuple[list[Fraction], Fraction, bool]) -> None:
    """Constants are exact: one tenth is one tenth."""
    assert rows(prop(formula)) == [[expected]]


def test_equality_is_two_rows() -> None:
    """And a chain of comparisons is each of its links."""
    assert rows(prop("(= Y_0 Y_1)")) == [[([1, -1], 0, False), ([-1, 1], 0, False)]]
    assert rows(prop("(<= Y_0 Y_1 3)")) == [[([1, -1], 0, False), ([0, 1], 3, False)]]


def test_boxes_and_polytopes_are_multiplied_out() -> None:
    """Branches with the same box share a region, as in phi-6."""
    text = (
        declared(1)
        + """
    (assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))
    (assert (or (<= Y_0 0) (and (<= Y_1 0) (or (<= Y_0 1) (<= Y_0 2))) (<= Y_0 0)))"""
    )
    made = parse_property(text)
    assert [(r.exact_lower, r.exact_upper) for r in made.regions] == [((0,), (1,)), ((2,), (3,))]
    assert [len(region.unsafe) for region in made.regions] == [3, 3]
    assert (made.n_inputs, made.n_outputs, made.outputs()) == (1, 2, {0, 1})


def test_bounds_are_intersected_and_scaled() -> None:
    """The tightest counts; a factor may stand before the input, also a negative one; strictness is kept."""
    made = parse_property(
        declared(2) + bounded(2) + "(assert (and (<= (* -2 X_0) 1) (< (+ X_0 1) 1.5) (<= X_1 1.0) (= X_1 0.25)))"
    )
    (region,) = made.regions
    assert (region.exact_lower, region.exact_upper) == ((F(-1, 2), F(1, 4)), (F(1, 2), F(1, 4)))
    assert (region.strict_lower, region.strict_upper) == ((False, False), (True, False))
    assert not made.violated([0.5, 0.25], [0.0, 0.0])
    assert made.violated([0.4, 0.25], [0.0, 0.0])


def test_bounds_are_rounded_outward() -> None:
    """679857769e-9 is no float64."""
    made = parse_property(declared() + bounded(1, "-0.328422877", "0.679857769"))
    (region,) = made.regions
    assert F(float(region.lower[0])) < region.exact_lower[0] == F(-328422877, 10**9)
    assert F(float(region.upper[0])) > region.exact_upper[0] == F(679857769, 10**9)


def test_no_constraint_on_outputs_is_everything() -> None:
    """Then any input of the box is a violation."""
    made = parse_property(declared() + bounded() + "(assert (or (<= Y_0 0) true))")
    assert [len(p.rows) for p in made.regions[0].unsafe] == [1, 0]
    assert made.regions[0].margin(torch.ones(1, 2)).tolist() == [-float("inf")]


def test_contradictory_branches_are_dropped() -> None:
    """As long as another remains."""
    made = parse_property(declared() + bounded() + "(assert (or (and (>= X_0 5) (<= Y_0 0)) (<= Y_1 0) (<= 1 0)))")
    assert rows(made) == [[([0, 1], 0, False)]]


NUMBERS = st.sampled_from(["0", "1", "-2", "0.5", "1e-1", "3.25"])


def terms() -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["Y_0", "Y_1"]) | NUMBERS
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(lambda a, b: f"(+ {a} {b})", inner, inner),
            st.builds(lambda a, b: f"(- {a} {b})", inner, inner),
            st.builds(lambda a: f"(- {a})", inner),
            st.builds(lambda c, a: f"(* {c} {a})", NUMBERS, inner),
        ),
        max_leaves=4,
    )


def formulas(more: bool = True) -> st.SearchStrategy[str]:
    """Nests of comparisons; `more` than and and or, which is all that the checker reads."""
    relation = st.sampled_from(["<=", "<", ">=", ">", "="])
    outputs = st.builds(lambda r, a, b: f"({r} {a} {b})", relation, terms(), terms())
    inputs = st.builds(lambda r, c: f"({r} X_0 {c})", relation, st.sampled_from(["0", "-0.5", "0.5", "0.75"]))
    return st.recursive(
        outputs | inputs,
        lambda inner: st.one_of(*nests(inner)[: 3 if more else 1]),
        max_leaves=8,
    )


def nests(inner: st.SearchStrategy[str]) -> list[st.SearchStrategy[str]]:
    several = st.lists(inner, min_size=1, max_size=3)
    return [
        st.builds(lambda op, parts: f"({op} {' '.join(parts)})", st.sampled_from(["and", "or"]), several),
        st.builds(lambda op, part: f"({op} {part})", st.sampled_from(["not", "assert"]), inner),
        st.builds(lambda first, parts: f"(=> {first} {' '.join(parts)})", inner, several),
    ]


def truth(text: str, values: dict[str, Fraction]) -> bool:
    """The meaning of a formula, by a reader that shares nothing with ours."""
    words = text.replace("(", " ( ").replace(")", " ) ").split()

    def read(position: int) -> tuple[object, int]:
        if words[position] != "(":
            word = words[position]
            return values.get(word) if word in values else F(word), position + 1
        op, position, parts = words[position + 1], position + 2, []
        while words[position] != ")":
            part, position = read(position)
            parts.append(part)
        return combine(op, parts), position + 1

    def combine(op: str, parts: Sequence[object]) -> object:
        if op == "and":
            return all(parts)
        if op == "or":
            return any(parts)
        if op in ("not", "assert"):
            return bool(parts[0]) == (op == "assert")
        if op == "=>":
            return bool(parts[-1]) or not all(parts[:-1])
        numbers = [part for part in parts if isinstance(part, Fraction)]
        if op == "-":
            return -numbers[0] if len(numbers) == 1 else numbers[0] - sum(numbers[1:], F(0))
        if op in "+*":
            total = numbers[0]
            for number in numbers[1:]:
                total = total + number if op == "+" else total * number
            return total
        relations: dict[str, Callable[[Fraction, Fraction], bool]] = {
            "<=": lambda a, b: a <= b, "<": lambda a, b: a < b, ">=": lambda a, b: a >= b,
            ">": lambda a, b: a > b, "=": lambda a, b: a == b,
        }  # fmt: skip
        return relations[op](numbers[0], numbers[1])

    return bool(read(0)[0])


@given(formula=formulas(), seed=st.integers(0, 2**32 - 1))
def test_any_nest_means_what_it_says(formula: str, seed: int) -> None:
    """A point is a violation iff the formula is true there; grid points hit the boundaries."""
    try:
        made = prop(formula)
    except FormatError as error:
        made, problem = None, error.problem
        no_input = any(word in problem for word in ("bound", "contradict", "no value"))
        if not no_input:
            raise
    rng = np.random.default_rng(seed)
    for _ in range(12):
        x, y0, y1 = (float(v) for v in rng.integers(-4, 5, 3) / 4)
        expected = abs(x) <= 1 and truth(formula, {"X_0": F(x), "Y_0": F(y0), "Y_1": F(y1)})
        assert (made is not None and made.violated([x], [y0, y1])) == expected


ERRORS = {
    "above": ("(assert (>= X_0 2))(assert (<= X_0\n 1))", "line 4", "X_0 has lower bound 2 above upper bound 1"),
    "unbounded": ("(assert (<= X_0 1))", "", "input X_0 has no lower bound"),
    "strict point": ("(assert (< X_0 1))(assert (>= X_0 1))", "line 4", "X_0 has no value"),
    "two inputs": ("(assert (<= X_0 Y_0))", "line 4", "relates X_0, Y_0"),
    "product": ("(assert (<= (* Y_0 Y_1) 1))", "line 4", "not linear"),
    "quotient": ("(assert (<= (/ 1 Y_1) 1))", "line 4", "not linear"),
    "zero": ("(assert (<= (/ Y_1 0) 1))", "line 4", "division by zero"),
    "undeclared": ("\n(assert (<= Y_7 1))", "line 5", "'Y_7' is not declared"),
    "number": ("(assert (<= Y_0 1.2.3))", "line 4", "neither a variable nor a number"),
    "nan": ("(assert (<= Y_0 nan))", "line 4", "neither a variable nor a number"),
    "hugely written": ("(assert (<= Y_0 1e999999999))", "line 4", "nor a number we can read"),
    "other digits": ("(assert (<= Y_0 ١))", "line 4", "nor a number we can read"),
    "choice": ("(assert (ite true true false))", "line 4", "'ite' is neither and, or, not, => nor"),
    "not": ("(assert (not (<= Y_0 1) (<= Y_1 1)))", "line 4", "'not' with 2 formulas is no formula"),
    "implication": ("(assert (=> (<= Y_0 1)))", "line 4", "'=>' with 1 formulas"),
    "too long": (f"(assert (<= Y_0 (* {'1e4000 ' * 3})))", "line 4", "its numbers grow too long"),
    "unclosed": ("(assert (<= Y_0 1)", "line 4", "never closed"),
    "outside": ("assert", "line 4", "stands outside"),
    "too many": (")", "line 4", "stands outside"),
    "command": ("(define-fun f () Real 1)", "line 4", "'define-fun' is not known"),
    "twice": ("(declare-const Y_0 Real)", "line 4", "declared twice"),
    "gap": ("(declare-const X_5 Real)", "line 4", "X_5 is declared, but only 2 variables X_i are"),
    "beside indices": ("(declare-const Y_0_0 Real)", "line 4", "which variable Y_0_0 is cannot be told"),
    "name": ("(declare-const Z Real)", "line 4", "neither X_i nor Y_j"),
    "type": ("(declare-const Y_2 Int)", "line 4", "only Real is supported"),
    "function": ("(declare-fun Y_2 (Real) Real)", "line 4", "declare-fun takes"),
    "arity": ("(assert (<= Y_0))", "line 4", "at least two terms"),
    "empty group": ("(assert ())", "line 4", "neither and, or"),
    "empty assert": ("(assert)", "line 4", "assert takes one formula"),
    "bare word": ("(assert Y_0)", "line 4", "'Y_0' is no formula"),
    "after exit": ("(exit)\n(assert (<= Y_0 1))", "line 5", "'assert' comes after (exit)"),
    "question after exit": ("(exit)(check-sat)", "line 4", "'check-sat' comes after (exit)"),
    "after check-sat": ("(check-sat)\r(get-model)\r\n(assert true)", "line 6", "'assert' comes after (check-sat)"),
    "hidden by a carriage return": ("; one\r(assert Y_0)", "line 5", "'Y_0' is no formula"),
    "deep": ("(assert " + "(and " * 200 + ")" * 201, "line 4", "nested deeper than 100"),
    "false": (bounded() + "(assert false)", "", "contradict each other"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_line(name: str) -> None:
    """One clear message with file and line."""
    text, place, message = ERRORS[name]
    with pytest.raises(FormatError) as caught:
        parse_property(declared() + text, path="a.vnnlib")
    assert (caught.value.path, caught.value.place) == ("a.vnnlib", place)
    assert message in caught.value.problem


def test_a_byte_order_mark_says_nothing(tmp_path: Path) -> None:
    """Some editors put one in front of a text."""
    path = tmp_path / "p.vnnlib"
    path.write_bytes(b"\xef\xbb\xbf" + (declared() + bounded() + "(assert (<= Y_0 1))").encode())
    assert rows(read_property(path)) == [[([1, 0], 1, False)]]


def named(*names: str, formula: str) -> str:
    boxes = "".join(f"(assert (<= -1 {name} 1))" for name in names if name[0] == "X")
    return "".join(f"(declare-const {name} Real)\n" for name in names) + boxes + f"(assert {formula})"


def test_names_with_several_indices_count_in_their_order() -> None:
    """As the dimensions of a tensor, or the entries of several."""
    made = parse_property(named("X_0_0", "X_0_1", "X_1_0", "Y_0_0", "Y_0_1", formula="(<= Y_0_1 2)"), name="p")
    assert (made.n_inputs, made.n_outputs, made.partial) == (3, 2, True)
    assert rows(made) == [[([0, 1], 2, False)]]
    assert not parse_property(named("X_0_0", "Y_0_0", "Y_1_0", formula="(<= Y_1_0 2)"), name="p").partial
    # how inputs are counted says nothing of outputs
    assert parse_property(named("X_0_0", "X_1_0", "Y_0", formula="(<= Y_0 2)"), name="p").partial


@pytest.mark.parametrize(
    "names",
    [
        ("X_0_1", "X_0_0", "Y_0"),
        ("X_0_0", "X_0_2", "Y_0"),
        ("X_0_0", "X_1_1", "Y_0"),
        ("X_0_0", "X_1", "Y_0"),
        ("X_1_0", "X_1_1", "Y_0"),
        ("X_0", "Y_0_4"),
        ("X_0", "Y_0_0", "Y_0_0_1"),
    ],
)
def test_names_that_may_be_counted_otherwise_are_refused(names: tuple[str, ...]) -> None:
    """By declaration and by index another variable would be meant."""
    with pytest.raises(FormatError, match="cannot be told"):
        parse_property(named(*names, formula="true"), name="p")


def test_outputs_that_nothing_is_said_of_need_no_declaration() -> None:
    """The index in the name counts, and a network may have more."""
    made = parse_property(named("X_0", "Y_2", formula="(<= Y_2 1)"), name="p").fitted(1, 5)
    assert rows(made) == [[([0, 0, 1, 0, 0], 1, False)]]
    assert made.notes == ("p speaks about 3 of the network's 5 outputs, the first ones.",)
    assert made.violated([0.0], [9.0, 9.0, 1.0, 9.0, 9.0])
    assert not made.violated([0.0], [0.0, 0.0, 1.5, 0.0, 0.0])
    for sizes in ((2, 5), (1, 4)):
        with pytest.raises(MismatchError, match="speaks about 1 input and 5 outputs"):
            made.fitted(*sizes)
    with pytest.raises(MismatchError, match="speaks about 1 input and 3 outputs"):
        replace(made, regions=prop("(<= Y_0 1)", n_outputs=3).regions, n_outputs=3, partial=False).fitted(1, 5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bounded() + "(assert (<= 1 0))", "the assertions contradict each other"),
        (bounded() + "(assert (>= X_0 2))", "line 5, input X_0 has lower bound 2 above upper bound 1"),
        ("(assert (<= Y_0 1))(assert false)", "the assertions contradict each other"),
    ],
)
def test_what_nothing_satisfies_is_vacuous(text: str, why: str) -> None:
    """Who can use such a property says so; for all others there is nothing to do."""
    made = parse_property(declared() + text, name="p", deciding=True, relating=True)
    assert (made.regions, made.vacuous) == ((), why)
    assert made.notes == (f"p is vacuous: {why}, so nothing is unsafe and every network has the property.",)
    assert not made.violated([0.0], [0.0, 0.0])
    with pytest.raises(Contradiction, match="there is nothing to do"):
        parse_property(declared() + text, name="p")


def test_numbers_that_no_output_reaches() -> None:
    """They are exact all the same."""
    assert rows(prop("(>= Y_0 1e401)")) == [[([-1, 0], -(F(10) ** 401), False)]]
    assert rows(prop("(<= Y_0 1e-4000)")) == [[([1, 0], F(10) ** -4000, False)]]


def test_nothing_declared() -> None:
    """A property needs inputs and outputs."""
    with pytest.raises(FormatError, match="no input variable X_0"):
        parse_property("(declare-const Y_0 Real)(assert (<= Y_0 1))")
    with pytest.raises(FormatError, match="no output variable Y_0"):
        parse_property("(declare-const X_0 Real)(assert (<= X_0 1))")
    with pytest.raises(FormatError, match="no command"):
        parse_property("; only a comment\n")


def test_other_spellings() -> None:
    """declare-fun, commands that do not matter, comments anywhere, windows line ends."""
    made = parse_property(
        "(set-logic LRA) ; c (\r\n(set-info :source |a ( b|)(declare-fun X_0 () Real)\r\n(declare-fun Y_0 () Real)\n"
        "(assert (and (<= 0 X_0) ; (\n (<= X_0 1)))(check-sat)(exit)"
    )
    assert (made.n_inputs, made.n_outputs, made.name) == (1, 1, "property")


def test_branches_are_limited() -> None:
    """Ten million branches are refused before they are made, not built until memory ends."""
    factor = "(assert (or (<= Y_0 0) (<= Y_1 0)))\n"
    start = time.process_time()
    with pytest.raises(FormatError, match=f"more than {dnf.MAX_DISJUNCTS} branches"):
        parse_property(declared() + bounded() + factor * 60)
    assert time.process_time() - start < 5


def robustness(n_inputs: int, n_classes: int) -> str:
    lines = [declared(n_inputs, n_classes)]
    rng = np.random.default_rng(0)
    for index, centre in enumerate(rng.random(n_inputs)):
        lines.append(f"(assert (<= X_{index} {centre + 0.03:.9f}))\n(assert (>= X_{index} {centre - 0.03:.9f}))\n")
    parts = " ".join(f"(and (>= Y_{j} Y_0))" for j in range(1, n_classes))
    lines.append(f"(assert (or {parts}))\n")
    return "".join(lines)


def test_images_are_read_fast() -> None:
    """784 inputs and nine alternatives, as robustness benchmarks have them."""
    text = robustness(784, 10)
    start = time.process_time()
    made = parse_property(text)
    assert time.process_time() - start < 5  # a second without the checks of annotations
    assert (made.n_inputs, len(made.regions), len(made.regions[0].unsafe)) == (784, 1, 9)


def test_files(tmp_path: Path) -> None:
    """Name, text and digest; .gz; what is no text."""
    text = declared() + bounded() + "(assert (<= Y_0 Y_1))"
    plain, packed = tmp_path / "prop_8.vnnlib", tmp_path / "prop_9.vnnlib.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    first, second = read_property(plain), read_property(packed)
    assert (first.name, second.name) == ("prop_8", "prop_9")
    assert (first.path, first.text, second.text) == (str(plain), text, text)
    assert len(first.sha256) == 64
    assert first.sha256 != second.sha256
    plain.write_bytes(b"\xff\xfe(assert)")
    with pytest.raises(FormatError, match="byte 0: not text"):
        read_property(plain)
    with pytest.raises(FormatError, match="no such file"):
        read_property(tmp_path / "absent.vnnlib")


@pytest.mark.acasxu
def test_the_acasxu_properties(acasxu: Path) -> None:
    """Regions and polytopes of phi-1 to phi-10."""
    shapes = {
        path.stem: [[len(polytope.rows) for polytope in region.unsafe] for region in read_property(path).regions]
        for path in (acasxu / "vnnlib").glob("*.vnnlib")
    }
    four = [[1, 1, 1, 1]]
    assert shapes == {
        "prop_1": [[1]], "prop_2": [[4]], "prop_3": [[4]], "prop_4": [[4]], "prop_5": four, "prop_6": four * 2,
        "prop_7": [[3, 3]], "prop_8": [[2, 2, 2]], "prop_9": four, "prop_10": four,
    }  # fmt: skip
    phi8 = read_property(acasxu / "vnnlib" / "prop_8.vnnlib")
    assert phi8.regions[0].exact_upper == (
        F(679857769, 10**9),
        F(-374999922, 10**9),
        F(15915494, 10**9),
        F(1, 2),
        F(1, 2),
    )
    assert phi8.violated([0.0, -0.4, 0.0, 0.0, 0.25], [1.0, 1.0, 0.5, 1.0, 1.0])
    assert not phi8.violated([0.0, -0.4, 0.0, 0.0, 0.25], [0.4, 1.0, 0.5, 1.0, 1.0])
