"""Rules in a line: they mean what they say, and what cannot be read is refused where it stands."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import SpecError
from birdnn.formats.dnf import And, Atom, Formula, Or
from birdnn.formats.rules import MAX_DEPTH, MAX_LENGTH, Names, negated, parse_rule, ranges_formula, rule_property

NAMES = Names(n_inputs=2, n_outputs=3, inputs=("rho", "v_own"), outputs=("COC", "WL", "WR"))

Point = dict[tuple[str, int], F]
Meaning = Callable[[Point], bool]


def holds(formula: Formula, point: Point) -> bool:
    """What a formula says of a point, by itself."""
    match formula:
        case Atom(term=term, strict=strict):
            value = sum((factor * point[key] for key, factor in term.factors.items()), term.constant)
            return value < 0 if strict else value <= 0
        case And(parts=parts):
            return all(holds(part, point) for part in parts)
        case Or(parts=parts):
            return any(holds(part, point) for part in parts)


# --- rules and what they mean, made together

SIGNS: dict[str, Callable[[F, F], bool]] = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
}
SPELLINGS = {
    ("X", 0): ("x0", "X_0", "rho"),
    ("X", 1): ("x1", "x_1", "V_OWN"),
    ("Y", 0): ("y0", "Y_0", "coc"),
    ("Y", 1): ("y1", "WL"),
    ("Y", 2): ("y2", "wr"),
}
NUMBERS = st.sampled_from(["0", "1", "2", "0.5", ".25", "1e-1", "3.", "12"])


@st.composite
def sums(draw: st.DrawFn) -> tuple[str, Callable[[Point], F]]:
    texts, parts = [], []
    for place in range(draw(st.integers(1, 3))):
        sign = draw(st.sampled_from(["+", "-"]))
        kind = draw(st.sampled_from(["number", "variable", "scaled", "behind", "close"]))
        number, key = draw(NUMBERS), draw(st.sampled_from(list(SPELLINGS)))
        name = draw(st.sampled_from(SPELLINGS[key]))
        factor = F(number) if kind != "variable" else F(1)
        text = {
            "number": number,
            "variable": name,
            "scaled": f"{number} * {name}",
            "behind": f"{name}*{number}",
            "close": f"{number}{name}",
        }[kind]
        texts.append(text if not place and sign == "+" else f"{sign} {text}")
        turned = factor if sign == "+" else -factor
        parts.append((turned, None if kind == "number" else key))
    return " ".join(texts), lambda point: sum((f * (point[k] if k else 1) for f, k in parts), F(0))


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Meaning]:
    kind = draw(st.sampled_from(["chain", "range", "extremum"]))
    if kind == "extremum":
        place = draw(st.integers(0, 2))
        name = draw(st.sampled_from(SPELLINGS["Y", place]))
        inverted, most = draw(st.booleans()), draw(st.booleans())
        word = draw(st.sampled_from(["max", "Maximal", "the largest"] if most else ["min", "minimal", "the least"]))
        text = f"{name} is {'not ' * inverted}{word}"

        def meaning(point: Point) -> bool:
            values = [point["Y", j] for j in range(3)]
            return (values[place] == (max if most else min)(values)) != inverted

        return text, meaning
    if kind == "range":
        (text, value), (low, least), (high, most) = draw(sums()), draw(sums()), draw(sums())
        return f"{text} in [{low}, {high}]", lambda point: least(point) <= value(point) <= most(point)
    terms = [draw(sums()) for _ in range(draw(st.integers(2, 3)))]
    signs = [draw(st.sampled_from(list(SIGNS))) for _ in terms[1:]]
    text = terms[0][0] + "".join(f" {sign} {term[0]}" for sign, term in zip(signs, terms[1:], strict=True))
    return text, lambda point: all(
        SIGNS[sign](terms[k][1](point), terms[k + 1][1](point)) for k, sign in enumerate(signs)
    )


def joined(parts: st.SearchStrategy[tuple[str, Meaning]]) -> st.SearchStrategy[tuple[str, Meaning]]:
    def together(word: str, decide: Callable[..., bool], found: list[tuple[str, Meaning]]) -> tuple[str, Meaning]:
        text = word.join(f"({each})" for each, _ in found)
        return text, lambda point: decide(meaning(point) for _, meaning in found)

    several = st.lists(parts, min_size=2, max_size=3)
    return st.one_of(
        several.map(lambda found: together(" and ", all, found)),
        several.map(lambda found: together(", ", all, found)),
        several.map(lambda found: together(" OR ", any, found)),
        parts.map(lambda one: (f"not ({one[0]})", lambda point: not one[1](point))),
    )


@given(rule=st.recursive(comparisons(), joined, max_leaves=6), seed=st.integers(0, 2**32 - 1))
def test_a_rule_means_what_it_says(rule: tuple[str, Meaning], seed: int) -> None:
    """And its negation the contrary; on points of few values, so that boundaries and ties are met."""
    text, meaning = rule
    try:
        formula = parse_rule(text, NAMES)
    except SpecError as error:  # it says nothing about the network, or is a hexadecimal number to others
        refusals = ("numbers alone", "this range is empty", "expected an operator behind 0")
        if not any(told in str(error) for told in refusals):
            raise
        return
    rng = np.random.default_rng(seed)
    for _ in range(30):
        point = {key: F(int(rng.integers(-4, 5)), 2) for key in SPELLINGS}
        assert holds(formula, point) == meaning(point), text
        assert holds(negated(formula), point) != meaning(point), text


def test_and_binds_before_or() -> None:
    point = {key: F(0) for key in SPELLINGS}
    assert holds(parse_rule("y0 = 0 or y1 = 1 and y2 = 1", NAMES), point)
    assert not holds(parse_rule("(y0 = 0 or y1 = 1) and y2 = 1", NAMES), point)
    assert holds(parse_rule("not y0 = 1 and y1 = 0", NAMES), point)


# --- what is refused

WRONG = [
    ("", "at the end: expected a number or the name"),
    ("y0", "at the end: expected a comparison"),
    ("y0 >", "at the end: expected a number or the name"),
    ("y0 > 1 y1 < 2", r"at 'y1' \(character 8\): expected and, or, or the end"),
    ("y0 > 1)", r"at '\)' \(character 7\)"),
    ("(y0 > 1", r"at the end: expected '\)'"),
    ("y3 > 1", r"at 'y3' \(character 1\): unknown name; known are inputs rho, v_own; outputs COC, WL, WR"),
    ("z > 1", "unknown name"),
    ("y0 is big", r"at 'big' \(character 7\): expected max or min"),
    ("2*y0 is max", r"at '2' \(character 1\): one output is expected"),
    ("x0 is max", "one output is expected"),
    ("y0 + 1 is max", "one output is expected"),
    ("y0 * y1 > 0", "a product of two variables is not linear"),
    ("y0 in [0 1]", r"expected ','"),
    ("y0 > 1e999", "this number is too long"),
    ("y0 > 1 & y1 < 2", r"at '&' \(character 8\)"),
    ("y0 > nan", r"at 'nan' \(character 6\): unknown name"),
    ("y0 > 1 |", "character 8"),
    ("y99999999999 > 1", "unknown name"),
    ("y0 > 1,5 > y1", "a number has a point, 1.5"),
    ("y0 > 1,000 < y1", "a number has a point, 1.5"),
    ("y0 > 0x1", "expected an operator behind 0"),
    ("y0 in [1, 0.5]", "this range is empty"),
    ("1 < 2", "numbers alone are compared"),
    ("y0 > y1" + "*1e300" * 20, "the numbers of this product grow too long"),
    ("y\u0660 > 1", "unknown name"),
    ("(" * (MAX_DEPTH + 1) + "y0 > 1", "more than 50 parentheses"),
    ("not " * 3000 + "y0 > 1", "more than 50 parentheses"),
    ("y0 > 1 " + " " * MAX_LENGTH, "too long"),
]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[text[:20] for text, _ in WRONG])
def test_what_cannot_be_read_is_refused_where_it_stands(text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_rule(text, NAMES)


@given(text=st.text(alphabet="xy01 <>=()[],.*+-nota&é\0", max_size=40))
def test_no_text_escapes(text: str) -> None:
    """Read or refused, nothing else."""
    try:
        parse_rule(text, NAMES)
    except SpecError:
        return


def test_one_output_has_no_extremum() -> None:
    with pytest.raises(SpecError, match="one output only"):
        parse_rule("y0 is max", Names(n_inputs=1, n_outputs=1))


# --- as a property


def stated(when: str, never: str, domain: str = "x0 in [0, 1], x1 in [0, 1]"):
    made = [parse_rule(text, NAMES) if text else And(()) for text in (when, domain, never)]
    return rule_property("r", when=made[0], domain=made[1], unsafe=made[2], names=NAMES, text=never)


def test_a_rule_is_a_property() -> None:
    """If input 0 is above 0.8 then output 0 must not be the largest."""
    prop = stated("x0 > 0.8", "y0 is max")
    (region,) = prop.regions
    assert (region.exact_lower, region.exact_upper) == ((F(4, 5), F(0)), (F(1), F(1)))
    assert region.strict_lower == (True, False)
    assert prop.violated([0.9, 0.5], [2.0, 1.0, 2.0])
    assert not prop.violated([0.9, 0.5], [2.0, 1.0, 2.5])
    assert not prop.violated([0.5, 0.5], [2.0, 1.0, 1.0])
    assert prop.text == "; y0 is max"


def test_several_ranges_are_several_regions() -> None:
    assert len(stated("x0 < 0.1 or x0 > 0.9", "y0 > 1").regions) == 2


@pytest.mark.parametrize(
    ("when", "never", "domain", "told"),
    [
        ("y0 > 1", "y1 > 2", "x0 in [0,1], x1 in [0,1]", "when speaks about inputs; y0 belongs"),
        ("", "y0 > x0", "x0 in [0,1], x1 in [0,1]", "relates X_0, Y_0"),
        ("x0 > 2", "y0 > 1", "x0 in [0,1], x1 in [0,1]", "lower bound 2 above upper bound 1"),
        ("", "y0 > 1", "x0 in [0,1]", "input X_1 has no lower bound"),
        ("x0 + x1 > 1", "y0 > 1", "x0 in [0,1], x1 in [0,1]", "the inputs must form boxes"),
        ("", "y0 > 1", "x0 in [0,1], x1 in [0,1], y1 >= 0", "domain speaks about inputs; y1 belongs"),
        (
            "x0 > 2 or x0 < 0.5",
            "y0 > 1",
            "x0 in [0,1], x1 in [0,1]",
            "no inputs in the domain: .* say another domain",
        ),
        ("x0 > 2", "y0 > 1", "", "nobody says between which values inputs lie"),
    ],
)
def test_what_is_no_property_is_refused(when: str, never: str, domain: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        stated(when, never, domain)


def test_ranges_are_given_by_name() -> None:
    """A float stands for what is written."""
    formula = ranges_formula({"x0": (0.1, np.float64(0.2)), "V_OWN": "1e-3"}, NAMES, "when")
    inside = {("X", 0): F(1, 10), ("X", 1): F(1, 1000)}
    assert holds(formula, inside)
    assert holds(ranges_formula({"x0": np.array([0.1, 0.2])}, NAMES, "when"), inside)
    assert not holds(formula, {**inside, ("X", 0): F(1, 10) - F(1, 10**30)})
    long = "0.1000000000000000000000000000001"
    assert holds(ranges_formula({"x0": Decimal(long)}, NAMES, "when"), {("X", 0): F(long)})


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"y0": 1}, "'y0' is no input"),
        ({"x7": 1}, "'x7' is no input"),
        ({"x0": "soon"}, "no finite number"),
        ({"x0": float("nan")}, "no finite number"),
        ({"x0": Decimal("nan")}, "no finite number"),
        ({"x0": Decimal("1e-999999")}, "no finite number"),
        ({"x0": None}, "no number"),
        ({"x0": True}, "no number"),
        ({"x0": (1, 2, 3)}, "no number"),
    ],
)
def test_ranges_that_are_none_are_refused(given_: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        ranges_formula(given_, NAMES, "when")
