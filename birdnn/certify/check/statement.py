"""VNN-LIB 1.0, read by the checker itself: a union of (input box, rows of outputs) that describes what is unsafe.

Understood are declarations of ``X_i`` and ``Y_j`` (outputs that nothing is said of need none) and assertions over
``and``, ``or``, ``<= >= < > =`` and linear ``+ - * /``. A comparison of one input with a number bounds it; any other is
a row of outputs, or of outputs and inputs together.
Anything else is refused, never guessed: what two readers of SMT-LIB may take differently (quoted symbols, escapes in
strings, a carriage return alone, white space that is none there, what stands behind ``(exit)``) is no text for a proof.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise, product
from typing import Any

import numpy as np

from birdnn.certify.check.files import File, Uncertain
from birdnn.errors import FormatError

MAX_BYTES = 1 << 26
"""Longest text that is read."""

MAX_PAIRS = 20_000
"""Most branches of a formula that is multiplied out."""

MAX_ATOMS = 4_000_000
"""Most comparisons in all branches together."""

MAX_ENTRIES = 8_000_000
"""Most bounds of inputs and coefficients of outputs in all branches together."""

_TOKEN = re.compile(
    r"""(?:[ \t\n]|\r\n)+
      | (?P<comment>;[^\r\n]*)
      | (?P<token>[()] | "[ !#-\[\]-~]*"(?!") | [0-9A-Za-z~!@$%^&*_+=<>.?/:-]+)
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,3}))?")
_VARIABLE = re.compile(r"[XY]_(0|[1-9][0-9]{0,6})")
_IGNORED = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit", "echo"})
# The formula is read by recursion, which must not exhaust the stack of Python.
_DEEPEST = 100
# More than single precision needs; a longer one is a short text for a number of any length.
_LARGEST_EXPONENT = 400
_LONGEST = 1 << 14
"""Most bits of a numerator or denominator."""

NEAR = Fraction(1, 10**4)
"""How far from its range an input may be run whose range holds no number of single precision."""

Tree = str | list[Any]


@dataclass(frozen=True)
class Row:
    """``coefficients @ y <= bound``, or ``<`` where ``strict``; y may end with the inputs, see `Statement`."""

    coefficients: tuple[Fraction, ...]
    bound: Fraction
    strict: bool

    def normal(self) -> Row:
        """The same half-space with a first coefficient of 1 or -1."""
        scale = next((abs(value) for value in self.coefficients if value), Fraction(1))
        return Row(tuple(value / scale for value in self.coefficients), self.bound / scale, self.strict)

    def scaled(self) -> tuple[Row, int]:
        """The same half-space with a largest coefficient of at least 1 and below 2, and the power of two it took."""
        largest = max(map(abs, self.coefficients), default=Fraction(0))
        if not largest:
            return self, 0
        power = largest.numerator.bit_length() - largest.denominator.bit_length()
        # Bit lengths say it but for one.
        power -= largest < Fraction(2) ** power
        scale = Fraction(2) ** -power
        return Row(tuple(value * scale for value in self.coefficients), self.bound * scale, self.strict), power

    def holds(self, value: Fraction) -> bool:
        """Is ``value`` on the left of this row's relation?"""
        return value < self.bound if self.strict else value <= self.bound

    def implies(self, other: Row) -> bool:
        """Does every point of this half-space lie in ``other``? Both normal; False may only mean unknown."""
        if not any(other.coefficients):
            return other.holds(Fraction(0))
        if self.coefficients != other.coefficients:
            return False
        return self.bound < other.bound or (self.bound == other.bound and (self.strict or not other.strict))


@dataclass(frozen=True)
class Pair:
    """One branch: a box and what makes an output of it unsafe.

    Attributes:
        lower, upper: for each input a bound, and whether it excludes its own value.
        rows: normal rows; an output is unsafe where all of them hold.
    """

    lower: tuple[tuple[Fraction, bool], ...]
    upper: tuple[tuple[Fraction, bool], ...]
    rows: tuple[Row, ...]

    def meant(self, x: Sequence[Fraction]) -> tuple[Fraction, ...] | None:
        """The point of the box that single-precision numbers stand for; None where they stand for none.

        Inputs are run in single precision. Of one whose range holds no such number the nearest is run, where that is at
        most ``NEAR`` away, and it stands for the nearest number of the range, its middle where it excludes a bound.
        """
        point = [self._meant_value(i, value) for i, value in enumerate(x)]
        known = tuple(value for value in point if value is not None)
        return known if len(known) == len(x) and self.contains(known) else None

    def _meant_value(self, index: int, value: Fraction) -> Fraction | None:
        (low, strict_low), (high, strict_high) = self.lower[index], self.upper[index]
        if (low < value or (low == value and not strict_low)) and (value < high or (value == high and not strict_high)):
            return value
        beyond = value >= high  # else below
        away = value - high if beyond else low - value
        # The neighbour of the largest number is infinity, which is no other number.
        with np.errstate(over="ignore"):
            other = float(np.nextafter(np.float32(float(value)), np.float32(-np.inf if beyond else np.inf)))
        excluded = strict_low if beyond else strict_high
        if np.isfinite(other):
            across = low - Fraction(other) if beyond else Fraction(other) - high
            # A range that holds a number of single precision is run there; only where it holds none, its nearest
            # neighbour stands in.
            if across < away or (across == 0 and not excluded):
                return None  # the other number is nearer, or lies within the range
        if away > NEAR:
            return None
        return (low + high) / 2 if strict_low or strict_high else (high if beyond else low)

    def contains(self, x: Sequence[Fraction]) -> bool:
        """Is ``x`` in the box?"""
        above = all(low < v if strict else low <= v for v, (low, strict) in zip(x, self.lower, strict=True))
        return above and all(v < high if strict else v <= high for v, (high, strict) in zip(x, self.upper, strict=True))


@dataclass(frozen=True)
class Statement:
    """What a property file says is unsafe.

    Attributes:
        n_inputs, n_outputs: of the network that it speaks about.
        relational: do comparisons relate inputs, with each other or with outputs? Rows are of the outputs followed by
            the inputs then, else of the outputs.
    """

    pairs: tuple[Pair, ...]
    n_inputs: int
    n_outputs: int
    relational: bool = False

    def of(self, n_outputs: int) -> Statement:
        """The same about a network with so many outputs; of those that the text does not name it says nothing."""
        own, missing = self.n_outputs, n_outputs - self.n_outputs
        if missing <= 0:
            return self
        more = (Fraction(0),) * missing

        def longer(row: Row) -> Row:
            return replace(row, coefficients=(*row.coefficients[:own], *more, *row.coefficients[own:]))

        pairs = tuple(replace(pair, rows=tuple(map(longer, pair.rows))) for pair in self.pairs)
        return replace(self, pairs=pairs, n_outputs=n_outputs)


@dataclass(frozen=True)
class Linear:
    """``sum of factor * variable + constant``."""

    factors: dict[str, Fraction]
    constant: Fraction

    def plus(self, other: Linear, scale: int) -> Linear:
        total = dict(self.factors)
        for name, value in other.factors.items():
            # In every step: a long chain of products could double the digits in each.
            total[name] = _require_short(total.get(name, Fraction(0)) + scale * value)
            if not total[name]:
                del total[name]
        return Linear(total, _require_short(self.constant + scale * other.constant))

    def times(self, scale: Fraction) -> Linear:
        # A variable with factor zero is no variable: it must not make a row of a bound.
        factors = {n: _require_short(scale * v) for n, v in self.factors.items() if scale}
        return Linear(factors, _require_short(scale * self.constant))


class TooLong(Exception):
    """A number whose arithmetic would take our time."""


def _require_short(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _LONGEST:
        raise TooLong
    return value


Atom = tuple[Linear, bool]
"""``linear <= 0``, or ``< 0`` where the flag is set."""


def read_statement(file: File) -> Statement:
    """The property in ``file``.

    Raises:
        FormatError: it says something that this checker does not know, or nothing at all.
        Uncertain: it says something that readers of VNN-LIB may take in two ways.
    """
    reader = Reader(file)
    try:
        return reader.read()
    except TooLong:
        raise reader.fail("numbers that grow so long") from None


class Reader:
    """Reads one file; `query` reads the other version's with the same arithmetic."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.declared: dict[str, None] = {}
        self.entries = 0

    def read(self) -> Statement:
        asserted: list[Tree] = []
        last, closed = "", False
        for command in self._read_commands():
            head = command[0] if command and isinstance(command[0], str) else ""
            # Some readers stop there and others read on, so that both may mean different properties.
            if last == "exit" or (closed and head not in _IGNORED):
                raise self.uncertain("what follows (exit), or is stated after (check-sat)")
            if head in ("declare-const", "declare-fun"):
                self._declare_variable(command)
            elif head == "assert" and len(command) == 2:
                asserted.append(command[1])
            elif head not in _IGNORED or not all(isinstance(part, str) for part in _words_of_command(command)):
                raise self.fail(f"command {first_word(command)}")
            last, closed = head, closed or head == "check-sat"
        n_inputs, n_outputs = (
            max((int(name[2:]) + 1 for name in self.declared if name[0] == kind), default=0) for kind in "XY"
        )
        if not n_inputs or not n_outputs or sum(name[0] == "X" for name in self.declared) != n_inputs:
            raise self.fail("variables that are not X_0, X_1, ... and some of Y_0, Y_1, ...")
        # All assertions hold at once.
        branches = self._formula_branches(["and", *asserted])
        relational = any(relates_inputs(linear) for branch in branches for linear, _ in branch)
        columns = [f"Y_{i}" for i in range(n_outputs)] + [f"X_{i}" for i in range(n_inputs) if relational]
        pairs = [pair for branch in branches if (pair := self._pair_of_branch(branch, n_inputs, columns)) is not None]
        if not pairs:
            raise self.fail("assertions that contradict each other")
        return Statement(tuple(pairs), n_inputs, n_outputs, relational)

    def fail(self, what: str) -> FormatError:
        return FormatError(self.file.path, "", f"this checker does not read {what}")

    def uncertain(self, what: str) -> Uncertain:
        return Uncertain(f"{self.file.path}: this checker does not read {what}: another reader may take it otherwise")

    def _token_pattern(self) -> re.Pattern[str]:
        return _TOKEN

    def _read_commands(self) -> list[list[Tree]]:
        if len(self.file.data) > MAX_BYTES:
            raise self.fail(f"texts of more than {MAX_BYTES} bytes")
        try:
            text = self.file.data.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("text that is not UTF-8") from None
        commands: list[Tree] = []
        stack: list[list[Tree]] = [commands]
        for match in self._token_pattern().finditer(text):
            token, comment = match["token"], match["comment"] or ""
            # A separator that another reader takes for the end of a line would end the comment there, and what follows
            # would be said.
            if match["bad"] or not comment.replace("\t", " ").isprintable():
                what = f"the character {match['bad']!a}" if match["bad"] else "control characters in a comment"
                raise self.uncertain(f"{what} (line {text.count(chr(10), 0, match.start()) + 1})")
            if token == "(":
                inner: list[Tree] = []
                stack[-1].append(inner)
                stack.append(inner)
            elif token == ")":
                stack.pop()
            elif token:
                stack[-1].append(token)
            if not 0 < len(stack) <= _DEEPEST or any(isinstance(part, str) for part in commands[-1:]):
                raise self.fail("parentheses that do not match, lie too deep, or have words between them")
        if len(stack) != 1:
            raise self.fail("a parenthesis that is never closed")
        return [command for command in commands if isinstance(command, list)]

    def _declare_variable(self, command: list[Tree]) -> None:
        name = command[1] if len(command) > 1 else ""
        if command[2:] != (["Real"] if command[0] == "declare-const" else [[], "Real"]):
            raise self.fail("a declaration other than (declare-const NAME Real) and (declare-fun NAME () Real)")
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or name in self.declared:
            raise self.fail(f"a variable {first_word(name)}, or one that is declared twice")
        self.declared[name] = None

    def _formula_branches(self, tree: Tree) -> list[tuple[Atom, ...]]:
        """The branches of a formula, one of which must hold; a branch holds where all its atoms do."""
        if isinstance(tree, str) or not tree:
            if tree in ("true", "false"):
                return [()] if tree == "true" else []
            raise self.fail(f"the formula {first_word(tree)}")
        head, parts = tree[0], tree[1:]
        if head == "or":
            found = [branch for part in parts for branch in self._formula_branches(part)]
            self._limit_branches(len(found), sum(map(len, found)))
            return found
        if head == "and":
            factors = [self._formula_branches(part) for part in parts]
            count = 1
            for factor in factors:
                # Counted before it is multiplied out; the product itself could have any number of digits.
                count = min(count * len(factor), MAX_PAIRS + 1)
            # Each atom of a factor stands in as many branches as the others have choices.
            self._limit_branches(
                count, sum(count // len(factor) * sum(map(len, factor)) for factor in factors if count)
            )
            return [tuple(chain.from_iterable(choice)) for choice in product(*factors)]
        return [self._comparison_atoms(head, [self._linear_term(part) for part in parts])]

    def _limit_branches(self, branches: int, atoms: int) -> None:
        if branches > MAX_PAIRS or atoms > MAX_ATOMS:
            raise self.fail(f"a formula of more than {MAX_PAIRS} branches, or of {MAX_ATOMS} comparisons in them")

    def _comparison_atoms(self, relation: Tree, terms: list[Linear]) -> tuple[Atom, ...]:
        if relation not in ("<=", ">=", "<", ">", "=") or len(terms) < 2:
            raise self.fail(f"{first_word(relation)} with {len(terms)} terms as a formula")
        atoms: list[Atom] = []
        for left, right in pairwise(terms):
            if relation in ("<=", "<", "="):
                atoms.append((left.plus(right, -1), relation == "<"))
            if relation in (">=", ">", "="):
                atoms.append((right.plus(left, -1), relation == ">"))
        return tuple(atoms)

    def _linear_term(self, tree: Tree) -> Linear:
        if isinstance(tree, str):
            if tree in self.declared:
                return Linear({tree: Fraction(1)}, Fraction(0))
            number = _NUMBER.fullmatch(tree)
            # Neither may Python be asked to read a number of a million digits.
            if not number or len(tree) > 1000 or abs(int(number[2] or 0)) > _LARGEST_EXPONENT:
                raise self.fail(f"{first_word(tree)} as a number or variable")
            return Linear({}, Fraction(tree))
        head = tree[0] if tree else ""
        terms = [self._linear_term(part) for part in tree[1:]]
        if head not in ("+", "-", "*", "/") or not terms or (head == "/" and len(terms) < 2):
            raise self.fail(f"{first_word(head)} with {len(terms)} terms as arithmetic")
        if head == "-" and len(terms) == 1:
            return terms[0].times(Fraction(-1))
        total = terms[0]
        for term in terms[1:]:
            total = self._combine_terms(str(head), total, term)
        return total

    def _combine_terms(self, head: str, left: Linear, right: Linear) -> Linear:
        if head in ("+", "-"):
            return left.plus(right, 1 if head == "+" else -1)
        # So that the factor, if there is one, stands at the right.
        if head == "*" and not left.factors:
            left, right = right, left
        if right.factors or (head == "/" and not right.constant):
            raise self.fail("products of variables, or division by zero")
        return left.times(right.constant if head == "*" else 1 / right.constant)

    def _count_entries(self, entries: int) -> None:
        self.entries += entries
        if self.entries > MAX_ENTRIES:
            raise self.fail(f"a formula of more than {MAX_ENTRIES} bounds and coefficients")

    def _pair_of_branch(self, branch: tuple[Atom, ...], n_inputs: int, columns: Sequence[str]) -> Pair | None:
        """The branch as box and rows, of the variables in ``columns``; None where it holds nowhere."""
        lower: dict[int, tuple[Fraction, bool]] = {}
        upper: dict[int, tuple[Fraction, bool]] = {}
        rows: dict[Row, None] = {}
        # Before they are made: what a text may ask for is limited, not only its length.
        self._count_entries(n_inputs)
        for linear, strict in branch:
            factors, constant = linear.factors, linear.constant
            if not factors:
                # No variable is left: a comparison of numbers, which is true everywhere or nowhere.
                if constant > 0 or (strict and constant == 0):
                    return None
            elif relates_inputs(linear) or next(iter(factors))[0] == "Y":
                self._count_entries(len(columns))
                values = tuple(factors.get(name, Fraction(0)) for name in columns)
                rows[Row(values, -constant, strict).normal()] = None
            else:
                ((name, factor),) = factors.items()
                # ``factor x + constant <= 0``: dividing by a negative factor turns the relation round.
                index, value = int(name[2:]), -constant / factor
                if factor > 0:
                    upper[index] = min(upper.get(index, (value, False)), (value, False), key=_bound_value)
                    # Of two equal bounds the strict one counts, in whichever order they come.
                    upper[index] = _tighter_bound(upper[index], value, strict)
                else:
                    lower[index] = max(lower.get(index, (value, False)), (value, False), key=_bound_value)
                    lower[index] = _tighter_bound(lower[index], value, strict)
        sides = [lower.get(i) for i in range(n_inputs)], [upper.get(i) for i in range(n_inputs)]
        pairs = [(low, high) for low, high in zip(*sides, strict=True) if low is not None and high is not None]
        # A branch that holds nowhere needs no proof; first, as it may well leave other inputs without bounds.
        if any(low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])) for low, high in pairs):
            return None
        if len(pairs) < n_inputs:
            raise self.fail("a property that leaves an input unbounded")
        return Pair(tuple(low for low, _ in pairs), tuple(high for _, high in pairs), tuple(rows))


def relates_inputs(linear: Linear) -> bool:
    """Does a comparison speak about several inputs, or about inputs and outputs?"""
    return len(linear.factors) > 1 and any(name[0] == "X" for name in linear.factors)


def _words_of_command(command: list[Tree]) -> list[Tree]:
    """What stands in a command that says nothing; the variables of ``get-value`` stand in parentheses."""
    variables = command[1] if command[0] == "get-value" and len(command) == 2 else []
    return [*command[:1], *variables] if isinstance(variables, list) and variables else command


def first_word(tree: Tree) -> str:
    """For messages: the first word, shortened."""
    while isinstance(tree, list):
        tree = tree[0] if tree else "()"
    return repr(tree[:40])


def _bound_value(bound: tuple[Fraction, bool]) -> Fraction:
    return bound[0]


def _tighter_bound(bound: tuple[Fraction, bool], value: Fraction, strict: bool) -> tuple[Fraction, bool]:
    """The bound, strict too if one of the bounds with its value is."""
    return (bound[0], bound[1] or (strict and bound[0] == value))
