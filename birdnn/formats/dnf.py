"""From a formula over inputs and outputs to regions: a union of (input box, unsafe polytopes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product

from birdnn.errors import FormatError, SpecError
from birdnn.spec import Polytope, Region, Row

MAX_DISJUNCTS = 20_000
"""Most branches that a formula may have once it is multiplied out."""

MAX_BOX_ENTRIES = 4_000_000
"""Most bounds of inputs over all boxes of a property."""

MAX_ROW_ENTRIES = 4_000_000
"""Most coefficients of outputs over all polytopes of a property."""

MAX_EXPONENT = 4000
"""Largest exponent of a number in a formula, either way: what no output reaches may still be asked about."""

# room for a number of exponent `MAX_EXPONENT`, which has some 13,300 bits
UNBOUNDED = "every input must be bounded"
"""How the refusal of an input without one of its bounds ends, for those who can say what to do about it."""

_MAX_BITS = 1 << 14
_ZERO = Fraction(0)

Variable = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Term:
    """A linear expression: ``sum of factor * variable, + constant``; a variable is ``("X", i)`` or ``("Y", j)``."""

    factors: Mapping[Variable, Fraction]
    constant: Fraction

    def plus(self, other: Term, scale: Fraction) -> Term:
        """``self + scale * other``."""
        factors = dict(self.factors)
        for key, value in other.factors.items():
            factors[key] = factors.get(key, Fraction(0)) + scale * value
        # a variable that cancels out has to go: with a factor of zero a comparison would relate what it does not
        kept = {key: value for key, value in factors.items() if value}
        return Term(kept, self.constant + scale * other.constant)

    def is_absurd(self) -> bool:
        """Does it hold a number so long that arithmetic on it would take our time?"""
        numbers = (self.constant, *self.factors.values())
        return any(max(n.numerator.bit_length(), n.denominator.bit_length()) > _MAX_BITS for n in numbers)

    def times(self, scale: Fraction) -> Term:
        """``scale * self``."""
        factors = {key: scale * value for key, value in self.factors.items()} if scale else {}
        return Term(factors, scale * self.constant)


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """The comparison ``term <= 0``, or ``< 0`` where `strict`, written in `line`."""

    term: Term
    strict: bool
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class And:
    """All of `parts`; true without any."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Or:
    """One of `parts`; false without any."""

    parts: tuple[Formula, ...]


Formula = Atom | And | Or


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on one input: its value, whether it excludes the value itself, and the line that says so."""

    value: Fraction
    strict: bool
    line: int

    def __hash__(self) -> int:
        """Of whole numbers: a fraction's own hash is a power modulo a prime, and images have thousands of bounds."""
        return hash((self.value.numerator, self.value.denominator, self.strict, self.line))


class Contradiction(FormatError):
    """A formula that nothing satisfies: as a description of what is unsafe, no network violates it."""


def compare_terms(relation: str, left: Term, right: Term, line: int) -> Formula:
    """The formula ``left relation right``."""
    below, above = left.plus(right, Fraction(-1)), right.plus(left, Fraction(-1))
    if relation == "=":
        return And((Atom(below, False, line), Atom(above, False, line)))
    return Atom(below if relation in ("<=", "<") else above, relation in ("<", ">"), line)


def negated(formula: Formula) -> Formula:
    """What holds where a formula does not."""
    match formula:
        case Atom(term=term, strict=strict, line=line):
            # not (t <= 0) is -t < 0: strictness turns as well
            return Atom(term.times(Fraction(-1)), not strict, line)
        case And(parts=parts):
            return Or(tuple(map(negated, parts)))
        case Or(parts=parts):
            return And(tuple(map(negated, parts)))


Branch = tuple[tuple["Limit", ...], tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class Limit:
    """One comparison that speaks about one input: an upper bound on it where `upper`, else a lower one."""

    index: int
    upper: bool
    bound: Bound


class _Empty(Exception):
    """A branch whose box holds no point."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(line, problem)
        self.line, self.problem = line, problem


Box = dict[tuple[int, bool], Bound]

Corners = tuple[tuple[Fraction, bool], ...]


def relates_inputs(formula: Formula) -> bool:
    """Does a comparison speak about several inputs, or about inputs and outputs?"""
    if isinstance(formula, Atom):
        return len(formula.term.factors) > 1 and any(kind == "X" for kind, _ in formula.term.factors)
    return any(map(relates_inputs, formula.parts))


def build_regions(
    formula: Formula, n_inputs: int, n_outputs: int, path: str, *, relational: bool = False
) -> tuple[Region, ...]:
    """The regions of a formula that describes the unsafe set.

    Branches with the same box become one region; a branch whose box is empty is dropped if another remains. Where it is
    `relational`, rows are of the outputs and, behind them, the inputs, and may relate any of these.

    Raises:
        FormatError: a comparison relates two inputs or an input with an output, an input is unbounded, or there are too
            many branches.
        Contradiction: every branch contradicts itself: an input has no values, or a comparison of numbers is false.
    """
    branches = _Multiplier(n_outputs, path, n_inputs if relational else 0).branches(formula)
    n_outputs += n_inputs if relational else 0
    # the box that all branches of a robustness property share, of thousands of bounds, is made once and copied
    common = _common_limits(branches)
    boxes: dict[frozenset[Limit], list[tuple[Row, ...]]] = {}
    for limits, rows in branches:
        boxes.setdefault(frozenset(limits) - common, []).append(rows)
    if len(boxes) * n_inputs > MAX_BOX_ENTRIES:
        raise FormatError(path, "", f"{len(boxes)} input boxes of {n_inputs} inputs are too many")
    # counted before any region takes memory
    entries = sum(len(rows) for _, rows in branches) * n_outputs
    if entries > MAX_ROW_ENTRIES:
        raise FormatError(path, "", f"constraints on outputs with {entries} coefficients are too many")
    return _merge_regions(common, boxes, (n_inputs, n_outputs), path)


def _common_limits(branches: list[Branch]) -> frozenset[Limit]:
    if not branches:
        return frozenset()
    return reduce(lambda a, b: a & b, (frozenset(limits) for limits, _ in branches))


def _merge_regions(
    common: frozenset[Limit], boxes: dict[frozenset[Limit], list[tuple[Row, ...]]], sizes: tuple[int, int], path: str
) -> tuple[Region, ...]:
    n_inputs, n_outputs = sizes
    merged: dict[tuple[tuple[int, int, bool], ...], tuple[Corners, dict[tuple[Row, ...], None]]] = {}
    empty: _Empty | None = None
    try:
        start = _tighten_box({}, common)
        for limits, alternatives in boxes.items():
            try:
                box = _tighten_box(start, limits)
            except _Empty as error:
                empty = empty or error  # the first one, told where no branch is left
                continue
            corners = _box_corners(box, n_inputs, path)
            key = tuple((value.numerator, value.denominator, strict) for value, strict in corners)
            # a dict as an ordered set: the same polytope may come from several branches
            merged.setdefault(key, (corners, {}))[1].update(dict.fromkeys(alternatives))
    except _Empty as error:
        empty = error
    if not merged:
        line, problem = (empty.line, empty.problem) if empty else (0, "the assertions contradict each other")
        raise Contradiction(path, f"line {line}" if line else "", problem)
    try:
        return tuple(_make_region(corners, rows, n_inputs, n_outputs) for corners, rows in merged.values())
    except SpecError as error:
        raise FormatError(path, "", error.problem) from None


def _make_region(corners: Corners, polytopes: Iterable[tuple[Row, ...]], n_inputs: int, n_outputs: int) -> Region:
    lower, upper = corners[:n_inputs], corners[n_inputs:]
    return Region(
        exact_lower=tuple(value for value, _ in lower),
        exact_upper=tuple(value for value, _ in upper),
        strict_lower=tuple(strict for _, strict in lower),
        strict_upper=tuple(strict for _, strict in upper),
        unsafe=tuple(Polytope(rows=rows, n_outputs=n_outputs) for rows in polytopes),
    )


def _box_corners(box: Box, n_inputs: int, path: str) -> Corners:
    for upper, word in ((False, "lower"), (True, "upper")):
        for index in range(n_inputs):
            if (index, upper) not in box:
                raise FormatError(path, "", f"input X_{index} has no {word} bound; {UNBOUNDED}")
    bounds = (box[index, upper] for upper in (False, True) for index in range(n_inputs))
    return tuple((bound.value, bound.strict) for bound in bounds)


def _tighten_box(box: Box, limits: Iterable[Limit]) -> Box:
    box = dict(box)
    # as in the text, so that an error names the line at which the box became empty
    for limit in sorted(limits, key=lambda limit: limit.bound.line):
        key, new = (limit.index, limit.upper), limit.bound
        old = box.get(key)
        if old is None or _is_tighter(new, old, limit.upper):
            box[key] = new
        _check_not_empty(box, limit.index)
    return box


def _is_tighter(new: Bound, old: Bound, upper: bool) -> bool:
    if new.value == old.value:
        return new.strict
    return new.value < old.value if upper else new.value > old.value


def _check_not_empty(box: Box, index: int) -> None:
    low, high = box.get((index, False)), box.get((index, True))
    if low is None or high is None:
        return
    line = max(low.line, high.line)
    if low.value > high.value:
        problem = (
            f"input X_{index} has lower bound {_short_number(low.value)} above upper bound {_short_number(high.value)}"
        )
        raise _Empty(line, problem)
    if low.value == high.value and (low.strict or high.strict):
        raise _Empty(
            line, f"input X_{index} has no value: a strict bound at {_short_number(low.value)} from both sides"
        )


def _short_number(value: Fraction) -> str:
    try:
        return f"{float(value):.9g}"
    except OverflowError:
        return "a number beyond float64"


class _Multiplier:
    """Multiplies a formula out into branches."""

    def __init__(self, n_outputs: int, path: str, n_inputs: int = 0) -> None:
        self.n_outputs, self.n_inputs, self.path = n_outputs, n_inputs, path
        self.entries = 0

    def branches(self, formula: Formula) -> list[Branch]:
        if isinstance(formula, Atom):
            return self._atom_branches(formula)
        if isinstance(formula, Or):
            found = [branch for part in formula.parts for branch in self.branches(part)]
            self._require_few_branches(len(found))
            return found
        return self._multiply_branches([self.branches(part) for part in formula.parts])

    def _multiply_branches(self, factors: list[list[Branch]]) -> list[Branch]:
        single = [factor[0] for factor in factors if len(factor) == 1]
        # a part without branches is false; it stands here, where it leaves the product without any choice
        several = [factor for factor in factors if len(factor) != 1]
        count = 1
        for factor in several:
            count *= len(factor)
            # before the product is made: twenty alternatives of two are a million branches
            self._require_few_branches(count)
        # parts without alternatives are joined once and not for each choice
        limits = tuple(limit for branch in single for limit in branch[0])
        rows = tuple(row for branch in single for row in branch[1])
        found = []
        for choice in product(*several):
            more = tuple(limit for branch in choice for limit in branch[0])
            found.append((limits + more, rows + tuple(row for branch in choice for row in branch[1])))
        return found

    def _require_few_branches(self, count: int) -> None:
        if count > MAX_DISJUNCTS:
            raise FormatError(self.path, "", f"the formula has more than {MAX_DISJUNCTS} branches")

    def _atom_branches(self, atom: Atom) -> list[Branch]:
        kinds = {kind for kind, _ in atom.term.factors}
        constant = atom.term.constant
        if not kinds:
            holds = constant < 0 if atom.strict else constant <= 0
            return [((), ())] if holds else []
        # a comparison of one input stays a bound where inputs are related, too: boxes are what is searched
        if kinds == {"Y"} or (self.n_inputs and len(atom.term.factors) > 1):
            factors, width = atom.term.factors, self.n_outputs + self.n_inputs
            self.entries += width
            if self.entries > MAX_ROW_ENTRIES:
                raise FormatError(
                    self.path, f"line {atom.line}", "the constraints on outputs have too many coefficients"
                )
            coefficients = [_ZERO] * width
            for (kind, index), factor in factors.items():
                coefficients[index + (self.n_outputs if kind == "X" else 0)] = factor
            return [((), (Row(tuple(coefficients), -constant, atom.strict),))]
        if len(atom.term.factors) > 1:
            names = ", ".join(f"{kind}_{index}" for kind, index in sorted(atom.term.factors)[:4])
            told = "verify, falsify, estimate and localize take it, of a file; elsewhere the inputs must form boxes"
            problem = f"a comparison that relates {names}: {told}"
            raise FormatError(self.path, f"line {atom.line}", problem)
        ((_, index), factor) = next(iter(atom.term.factors.items()))
        return [((Limit(index, factor > 0, Bound(-constant / factor, atom.strict, atom.line)),), ())]
