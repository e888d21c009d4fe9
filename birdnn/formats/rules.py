"""Rules in a line: ``y0 is max``, ``y0 > 1.5 and y1 <= y2``, ``0.8 <= x0 <= 1``, as formulas over inputs and outputs.

The grammar, smallest first; words in any case, numbers exact:

- a *sum*: numbers and names with ``+``, ``-`` and factors: ``2*y0 - 3y1 + 0.5``;
- a *comparison* of sums, also a chain: ``0.8 <= x0 < 1``; or ``x0 in [0.8, 1]``;
- an *extremum*: ``y0 is max``, ``y0 is min`` (or maximal, largest, minimal, smallest; ``is not``): at least, or at
  most, every other output;
- a *rule*: these with ``not``, ``and`` (or a comma), ``or`` and parentheses, binding in this order.

Inputs are called ``x0``, ``x_0`` or ``X_0``, outputs ``y0``, or as a suite names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn, SupportsFloat

from birdnn.decimals import parse_number
from birdnn.errors import FormatError, SpecError
from birdnn.formats.dnf import UNBOUNDED, And, Atom, Formula, Or, Term, Variable, build_regions, compare_terms, negated
from birdnn.spec import Property

MAX_LENGTH = 20_000
"""Characters of a rule; who needs more writes VNN-LIB."""

MAX_DEPTH = 50
"""Deepest nest of parentheses."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign><=|>=|==|[<>=(),\[\]*+-])|(?P<bad>\S))"
)
_VARIABLE = re.compile(r"([xy])_?([0-9]{1,9})", re.IGNORECASE)
_RELATIONS = ("<=", ">=", "<", ">", "=", "==")
_EXTREMA = {
    **dict.fromkeys(("max", "maximal", "maximum", "largest", "greatest", "highest"), ">="),
    **dict.fromkeys(("min", "minimal", "minimum", "smallest", "least", "lowest"), "<="),
}
_WORDS = frozenset({"and", "or", "not", "is", "in", "the", *_EXTREMA})


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a rule may speak about.

    Attributes:
        n_inputs, n_outputs: sizes of the network.
        inputs, outputs: names beside ``x0`` and ``y0``, as a suite gives them; may be empty.
    """

    n_inputs: int
    n_outputs: int
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()

    def find(self, word: str) -> Variable | None:
        """The variable of that name; None where there is none."""
        for kind, names in (("X", self.inputs), ("Y", self.outputs)):
            lowered = [name.lower() for name in names]
            if word.lower() in lowered:
                return kind, lowered.index(word.lower())
        if (found := _VARIABLE.fullmatch(word)) is None:
            return None
        kind, index = found[1].upper(), int(found[2])
        return (kind, index) if index < (self.n_inputs if kind == "X" else self.n_outputs) else None

    def listed(self) -> str:
        """All of them, for an error."""
        inputs = [*self.inputs] or [f"x0 to x{self.n_inputs - 1}" if self.n_inputs > 1 else "x0"]
        outputs = [*self.outputs] or [f"y0 to y{self.n_outputs - 1}" if self.n_outputs > 1 else "y0"]
        return f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}"


def parse_rule(text: str, names: Names) -> Formula:
    """The formula that a rule states.

    Raises:
        SpecError: it cannot be read; the message says where, and what was expected.
    """
    return _Rule(text, names).whole()


def variables_of(formula: Formula) -> frozenset[Variable]:
    """Those that a formula speaks about."""
    if isinstance(formula, Atom):
        return frozenset(formula.term.factors)
    return frozenset().union(*(variables_of(part) for part in formula.parts))


@dataclass(slots=True)
class _Rule:
    """Reads a rule from left to right; `place` is the token that comes next."""

    text: str
    names: Names
    tokens: list[tuple[str, str, int]] = field(init=False)
    place: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        if len(self.text) > MAX_LENGTH:
            raise SpecError(f"a rule of {len(self.text):,} characters is too long: at most {MAX_LENGTH:,}")
        found = list(_TOKEN.finditer(self.text))
        self.tokens = [(kind, each[kind], each.start(kind)) for each in found if (kind := each.lastgroup)]
        self.tokens.append(("end", "", len(self.text)))  # so that the next token can always be looked at

    def whole(self) -> Formula:
        formula = self.either()
        if self.kind != "end":
            self.fail("expected and, or, or the end")
        return formula

    # --- tokens

    @property
    def kind(self) -> str:
        return self.tokens[self.place][0]

    @property
    def word(self) -> str:
        return self.tokens[self.place][1].lower()

    def take(self, *words: str) -> bool:
        """Go past one of these words, if it comes next."""
        if self.kind != "end" and self.word in words:
            self.place += 1
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            self.fail(f"expected {word!r}")

    def fail(self, expected: str) -> NoReturn:
        kind, found, column = self.tokens[self.place]
        there = "at the end" if kind == "end" else f"at {found!r} (character {column + 1})"
        raise SpecError(f"rule {self.text!r}: {there}: {expected}")

    # --- formulas

    def either(self) -> Formula:
        return self.several(self.all, Or, "or")

    def all(self) -> Formula:
        return self.several(self.one, And, "and", ",")

    def several(self, part: Callable[[], Formula], joined: type[And | Or], *words: str) -> Formula:
        parts = [part()]
        while self.joins(*words):
            parts.append(part())
        return parts[0] if len(parts) == 1 else joined(tuple(parts))

    def joins(self, *words: str) -> bool:
        """Go past a word that joins two rules. A comma within a number joins nothing."""
        _, found, begin = self.tokens[self.place]
        around = self.text[begin - 1 : begin], self.text[begin + 1 : begin + 2]
        if found == "," and "," in words and all(map(str.isdigit, around)):
            self.fail("a number has a point, 1.5, and no comma; between two rules a space stands behind it")
        return self.take(*words)

    def one(self) -> Formula:
        # counted here, since Python's own limit on recursion would not say where in the text it was met
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} parentheses or nots in each other")
        try:
            if self.take("not"):
                return negated(self.one())
            if self.take("("):
                formula = self.either()
                self.need(")")
                return formula
            return self.comparison()
        finally:
            self.depth -= 1

    def comparison(self) -> Formula:
        begin = self.place
        left = self.sum()
        if self.take("is"):
            return self.extremum(left, begin)
        if self.take("in"):
            return self.range(left)
        parts: list[Formula] = []
        while self.kind == "sign" and self.word in _RELATIONS:
            relation = "=" if self.word == "==" else self.word
            self.place += 1
            right = self.sum()
            parts.append(compare_terms(relation, left, right, 1))
            left = right
        if not parts:
            self.fail("expected a comparison such as <= or >, is max, is min, or in [a, b]")
        for part in parts:
            if not variables_of(part):
                self.place = begin
                self.fail("numbers alone are compared here")
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def extremum(self, term: Term, begin: int) -> Formula:
        kinds = list(term.factors.items())
        if len(kinds) != 1 or kinds[0][0][0] != "Y" or kinds[0][1] != 1 or term.constant:
            self.place = begin
            self.fail("one output is expected before is")
        inverted = self.take("not")
        self.take("the")
        relation = _EXTREMA.get(self.word) if self.kind == "name" else None
        if relation is None:
            self.fail("expected max or min")
        self.place += 1
        mine = kinds[0][0]
        others = [("Y", index) for index in range(self.names.n_outputs) if ("Y", index) != mine]
        if not others:
            self.place = begin
            self.fail("the network has one output only, which is always the largest and the smallest")
        # at least every other output, so that a tie makes both the largest
        formula = And(
            tuple(compare_terms(relation, term, Term({other: Fraction(1)}, Fraction(0)), 1) for other in others)
        )
        return negated(formula) if inverted else formula

    def range(self, term: Term) -> Formula:
        self.need("[")
        low = self.sum()
        self.need(",")
        high = self.sum()
        self.need("]")
        if not low.factors and not high.factors and low.constant > high.constant:
            self.fail("this range is empty: its first end is above its second")
        return And((compare_terms(">=", term, low, 1), compare_terms("<=", term, high, 1)))

    # --- sums

    def sum(self) -> Term:
        sign = Fraction(-1) if self.take("-") else Fraction(1)
        if sign == 1:
            self.take("+")
        total = self.product().times(sign)
        while self.kind == "sign" and self.word in ("+", "-"):
            sign = Fraction(1 if self.word == "+" else -1)
            self.place += 1
            total = total.plus(self.product(), sign)
        return total

    def product(self) -> Term:
        factors = [self.factor()]
        while self.take("*"):
            factors.append(self.factor())
        if self.kind == "name" and self.adjoins():
            factors.append(self.factor())  # 2y0; apart, as in y0 > 1 y1 < 2, an and was forgotten
        named = [factor for factor in factors if factor.factors]
        if len(named) > 1:
            self.fail("a product of two variables is not linear")
        result = named[0] if named else Term({}, Fraction(1))
        for factor in factors:
            if not factor.factors:
                result = result.times(factor.constant)
        if result.is_absurd():
            self.fail("the numbers of this product grow too long")
        return result

    def adjoins(self) -> bool:
        """Does the next token stand right behind a number?"""
        kind, text, begin = self.tokens[self.place - 1]
        if kind != "number" or begin + len(text) != self.tokens[self.place][2]:
            return False
        # 0x1 is a hexadecimal number to others, and nobody writes 0 times x1
        if text == "0":
            self.fail("expected an operator behind 0")
        return True

    def factor(self) -> Term:
        kind, found, _ = self.tokens[self.place]
        if kind == "number":
            value = parse_number(found)
            if value is None:
                self.fail("this number is too long, or beyond the range of float64")
            self.place += 1
            return Term({}, value)
        if kind == "name" and found.lower() not in _WORDS:
            variable = self.names.find(found)
            if variable is None:
                self.fail(f"unknown name; known are {self.names.listed()}")
            self.place += 1
            return Term({variable: Fraction(1)}, Fraction(0))
        return self.fail("expected a number or the name of an input or output")


def ranges_formula(given: Mapping[str, object], names: Names, what: str) -> Formula:
    """The formula of ``{"x0": (0.8, 1), "x1": 0.5}``: ranges of inputs, or single values.

    Raises:
        SpecError: a name is unknown or no input, or a value is neither a number nor a pair of them.
    """
    parts: list[Formula] = []
    for name, value in given.items():
        variable = names.find(name)
        if variable is None or variable[0] != "X":
            raise SpecError(f"{what}: {name!r} is no input; known are {names.listed()}")
        value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy or torch
        low, high = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
        term = Term({variable: Fraction(1)}, Fraction(0))
        for relation, end in ((">=", low), ("<=", high)):
            parts.append(compare_terms(relation, term, Term({}, _exact_number(f"{what}: {name}", end)), 1))
    return And(tuple(parts))


def _exact_number(what: str, value: object) -> Fraction:
    """A float stands for its shortest decimal, as people write it: 0.1 is a tenth."""
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, str | Decimal):
        found = parse_number(str(value).strip())
    elif isinstance(value, SupportsFloat) and not isinstance(value, bool):
        found = parse_number(repr(float(value)))
    else:
        raise SpecError(f"{what}: {value!r} is no number, and no pair of numbers")
    if found is None:
        raise SpecError(f"{what}: {value!r} is no finite number")
    return found


def _require_inside(when: Formula, domain: Formula, names: Names, within: str) -> None:
    """See that every case of a condition has inputs in the domain: one that has none was meant in other units.

    Raises:
        SpecError: one has none.
    """
    # one by one: among others an empty case would be dropped without a word
    for part in when.parts if isinstance(when, Or) else (when,):
        try:
            build_regions(And((domain, part)), names.n_inputs, names.n_outputs, "")
        except FormatError as error:
            if isinstance(domain, And) and not domain.parts:
                if not error.problem.endswith(UNBOUNDED):
                    raise SpecError(f"when: {error.problem}") from None
                told = f"{error.problem}; nobody says between which values inputs lie: say a domain"
                raise SpecError(f"the rule does not say which inputs it is about: {told}") from None
            whose = f" ({within})" if within else ""
            told = f"{error.problem}; say another domain, or in which units the rule speaks"
            raise SpecError(f"when, or a case of it, has no inputs in the domain{whose}: {told}") from None


def rule_property(
    name: str, *, when: Formula, domain: Formula, unsafe: Formula, names: Names, text: str, within: str = ""
) -> Property:
    """The property that a rule states: in the domain, `when` it speaks about, nothing `unsafe` comes out.

    ``within`` says whose domain that is.

    Raises:
        SpecError: `when` speaks about outputs, `unsafe` relates an input with something else, or no input is left.
    """
    for what, said in (("when", when), ("domain", domain)):
        # a condition of outputs would ask less of the network than the words say
        if outputs := sorted(f"y{index}" for kind, index in variables_of(said) if kind == "Y"):
            told = f"{what} speaks about inputs; {', '.join(outputs)} belongs to what must never or always come out"
            raise SpecError(told)
    _require_inside(when, domain, names, within)
    try:
        regions = build_regions(And((domain, when, unsafe)), names.n_inputs, names.n_outputs, "")
    except FormatError as error:
        raise SpecError(f"rule: {error.problem}") from None
    return Property(
        name=name,
        regions=regions,
        n_inputs=names.n_inputs,
        n_outputs=names.n_outputs,
        text=f"; {' '.join(text.split())}",
    )
