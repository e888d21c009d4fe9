"""VNN-LIB properties: version 1.0 by our own parser, 2.0 through the package ``vnnlib``.

The text describes what is *unsafe*. Any nest of ``and``, ``or``, ``not`` and ``=>`` over linear comparisons is turned
into a union of (input box, polytope of outputs); every comparison speaks either about one input or about outputs only.
Others, such as ``Y_0 <= X_0``, are rows of outputs and inputs, for those who decide properties or draw from them.
Constants stay exact rationals.

Variables of version 1.0 are called ``X_0``, ``X_1``, .. and ``Y_0``, ``Y_1``, ..; outputs that nothing is said of need
no declaration. Names with several indices, ``X_0_0``, ``X_0_1``, .., count in the order of their declaration, which has
to be that of their indices.

Source: the VNN-COMP dialect of VNN-LIB 1.0 (SMT-LIB 2 text); VNN-LIB 2.0 standard, https://www.vnnlib.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from birdnn.decimals import parse_number
from birdnn.errors import FormatError
from birdnn.formats.dnf import (
    MAX_EXPONENT,
    And,
    Contradiction,
    Formula,
    Or,
    Term,
    Variable,
    build_regions,
    compare_terms,
    negated,
    relates_inputs,
)
from birdnn.formats.files import read_stored, sha256, stem_and_kind, unpack_gzip
from birdnn.formats.vnnlib2 import Query, read_query
from birdnn.reading import guarded_reader
from birdnn.spec import Property, Region

MAX_BYTES = 1 << 26
"""Largest file that is read, compressed or not."""

MAX_DEPTH = 100
"""Deepest nest of parentheses."""

MAX_TOKENS = 1 << 23
"""Most words of a text; a property of 300,000 inputs has a third of it."""

# a carriage return alone ends a line, and with it a comment: readers that differ here read other assertions
_TOKEN = re.compile(
    r"[ \t\f]+|;[^\r\n]*|(?P<line>\r\n?|\n)|(?P<token>[()]|\"[^\"]*\"|\|[^|]*\||[^\s()\";|]+)|(?P<bad>.)"
)
# no leading zeros: X_00 would be a second name of X_0; nine digits, so that `int` is cheap
_VARIABLE = re.compile(r"([XY])((?:_(?:0|[1-9][0-9]{0,8})){1,8})")
_IGNORED = frozenset(
    {"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit", "echo", "vnnlib-version"}
)


_CONNECTIVES = frozenset({"and", "or", "not", "=>", "assert"})
"""What joins formulas; some writers put ``assert`` in front of each part of an ``or``."""


class Token(NamedTuple):
    """A word of the text and its line."""

    text: str
    line: int


class Group(NamedTuple):
    """A pair of parentheses: what lies between them, and the line of the opening one."""

    parts: list[Token | Group]
    line: int


@dataclass
class Source:
    """Where a text comes from, for errors."""

    path: str

    def fail(self, line: int, problem: str) -> FormatError:
        """An error in this line, to be raised."""
        return FormatError(self.path, f"line {line}" if line else "", problem)


@guarded_reader
def read_property(path: str | Path, *, deciding: bool = False, relating: bool = False) -> Property:
    """Read a VNN-LIB property, plain or ``.gz``, version 1.0 or 2.0.

    Args:
        path: the file.
        deciding: give back also one that nothing satisfies, for which only those who decide properties have a use.
        relating: give back also one that relates inputs with each other or with outputs, see `Property`.

    Raises:
        FormatError: the file cannot be read, says something that is no union of input boxes with output polytopes (and
            `relating` is not set), or leaves an input unbounded.
        Contradiction: its assertions contradict each other, and `deciding` is not set.
    """
    text, digest = read_property_bytes(path)
    return parse_property(text, path=str(path), digest=digest, deciding=deciding, relating=relating)


def read_property_bytes(path: str | Path) -> tuple[str, str]:
    """A property's text, and the sha256 of its file as stored."""
    stored = read_stored(path, MAX_BYTES)
    return _decode_text(stored, path), sha256(stored)


def _decode_text(stored: bytes, path: str | Path) -> str:
    data = unpack_gzip(stored, path, MAX_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not text in UTF-8") from None


@guarded_reader
def read_declared(path: str | Path) -> Query | None:
    """What a 2.0 query says about its network and tensors; None of a 1.0 property, which names none.

    Raises:
        FormatError: see `read_property`.
    """
    return query_in_text(read_property_bytes(path)[0], str(path))


def query_in_text(text: str, path: str) -> Query | None:
    """See `read_declared`, of a file's text."""
    if not any(_speaks_version_2(command) for command in read_groups(text, Source(path))):
        return None
    return read_query(text, path)


def parse_property(
    text: str,
    *,
    path: str = "",
    name: str = "",
    digest: str = "",
    deciding: bool = False,
    relating: bool = False,
) -> Property:
    """The property that `text` states.

    Args:
        text: VNN-LIB 1.0 or 2.0.
        path: for errors; also gives the property's name where `name` is empty.
        name: the property's name.
        digest: sha256 of the file as stored.
        deciding, relating: see `read_property`.

    Raises:
        FormatError: see `read_property`.
    """
    source = Source(path)
    commands = read_groups(text, source)
    if any(_speaks_version_2(command) for command in commands):
        query = read_query(text, path)
        if len(query.networks) > 1:
            names = " ".join(f"--net {net.name}=FILE" for net in query.networks)
            problem = f"it is about {len(query.networks)} networks; birdnn verify {names} --prop {path} decides it"
            raise FormatError(path, "", problem)
        formula, element = query.formula, query.element
        declared = _Sizes(query.n_inputs, query.n_outputs, partial=False)
    else:
        declared, formula = _read_commands(commands, source)
        element = "real"
    n_inputs, n_outputs = declared.n_inputs, declared.n_outputs
    relational = relating and relates_inputs(formula)
    name, why = name or stem_and_kind(path)[0] or "property", ""
    regions: tuple[Region, ...] = ()
    try:
        regions = build_regions(formula, n_inputs, n_outputs, path, relational=relational)
    except Contradiction as error:
        if not deciding:
            told = "nothing is unsafe then, every network has the property, and there is nothing to do"
            raise Contradiction(error.path, error.place, f"{error.problem}: {told}") from None
        why = ", ".join(part for part in (error.place, error.problem) if part)
    return Property(
        name=name,
        regions=regions,
        n_inputs=n_inputs,
        n_outputs=n_outputs + (n_inputs if relational else 0),
        text=text,
        sha256=digest or sha256(text.encode()),
        path=path or None,
        element=element,
        partial=declared.partial,
        relational=relational,
        vacuous=why,
        notes=(f"{name} is vacuous: {why}, so nothing is unsafe and every network has the property.",) if why else (),
    )


def _split_tokens(text: str, source: Source) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["line"]:
            line += 1
        elif match["token"]:
            yield Token(match["token"], line)
            line += match["token"].count("\n")  # a quoted text may go over lines
        elif match["bad"]:
            raise source.fail(line, f"unexpected character {match['bad']!r}")


def read_groups(text: str, source: Source) -> list[Group]:
    """The parenthesised commands of a text.

    Raises:
        FormatError: parentheses do not match, lie deeper than `MAX_DEPTH`, or a word stands outside.
    """
    commands: list[Group] = []
    stack: list[Group] = []
    for count, token in enumerate(_split_tokens(text, source)):
        if count >= MAX_TOKENS:
            raise source.fail(token.line, f"the text has more than {MAX_TOKENS:,} words")
        if token.text == "(":
            if len(stack) >= MAX_DEPTH:
                raise source.fail(token.line, f"nested deeper than {MAX_DEPTH} parentheses")
            stack.append(Group([], token.line))
        elif not stack:
            raise source.fail(token.line, f"{token.text[:40]!r} stands outside parentheses")
        elif token.text == ")":
            closed = stack.pop()
            (stack[-1].parts if stack else commands).append(closed)
        else:
            stack[-1].parts.append(token)
    if stack:
        raise source.fail(stack[0].line, "this parenthesis is never closed")
    if not commands:
        raise source.fail(1, "the file holds no command")
    return commands


def _head_word(group: Group) -> str:
    return group.parts[0].text if group.parts and isinstance(group.parts[0], Token) else ""


def _speaks_version_2(command: Group) -> bool:
    head, rest = _head_word(command), command.parts[1:]
    versioned = head == "vnnlib-version" and rest and isinstance(rest[0], Token) and rest[0].text.startswith("<2")
    return head == "declare-network" or bool(versioned)


class _Sizes(NamedTuple):
    """How many inputs and outputs are spoken of; `partial`: a network may have more outputs than are named."""

    n_inputs: int
    n_outputs: int
    partial: bool


def _read_commands(commands: Iterable[Group], source: Source) -> tuple[_Sizes, Formula]:
    declared: dict[str, int] = {}
    pending: list[Group] = []
    last, asked = "", False
    for command in commands:
        head = _head_word(command)
        # what stands behind would belong to another question
        if last == "exit" or (asked and head not in _IGNORED):
            raise source.fail(command.line, f"{head[:40]!r} comes after ({'exit' if last == 'exit' else 'check-sat'})")
        last, asked = head, asked or head == "check-sat"
        if head in ("declare-const", "declare-fun"):
            _read_declaration(command, declared, source)
        elif head == "assert":
            if len(command.parts) != 2:
                raise source.fail(command.line, "assert takes one formula")
            pending.append(command)
        elif head not in _IGNORED:
            raise source.fail(command.line, f"command {head[:40]!r} is not known")
    # assertions wait until here: which input a name with several indices is depends on all declarations
    numbered, sizes = _number_variables(declared, source)
    reader = _Reader(source, numbered)
    return sizes, And(tuple(reader.formula(command.parts[1]) for command in pending))


def _read_declaration(command: Group, declared: dict[str, int], source: Source) -> None:
    parts = command.parts
    if _head_word(command) == "declare-fun":
        if len(parts) != 4 or not isinstance(parts[2], Group) or parts[2].parts:
            raise source.fail(command.line, "declare-fun takes a name, () and Real")
        parts = [*parts[:2], parts[3]]
    words = [part.text for part in parts if isinstance(part, Token)]
    if len(parts) != 3 or len(words) != 3:
        raise source.fail(command.line, "a declaration takes a name and a type")
    match = _VARIABLE.fullmatch(words[1])
    if not match:
        raise source.fail(command.line, f"variable {words[1][:40]!r} is neither X_i nor Y_j")
    if words[2] != "Real":
        raise source.fail(command.line, f"variable {words[1]!r} has type {words[2][:40]!r}; only Real is supported")
    if words[1] in declared:
        raise source.fail(command.line, f"variable {words[1]!r} is declared twice")
    declared[words[1]] = command.line


def _number_variables(declared: Mapping[str, int], source: Source) -> tuple[dict[str, Variable], _Sizes]:
    """Which input or output each name stands for, and how many there are."""
    numbered: dict[str, Variable] = {}
    counts, open_ended = {"X": 0, "Y": 0}, False
    for kind, what in (("X", "input"), ("Y", "output")):
        names = [name for name in declared if name[0] == kind]
        if not names:
            raise source.fail(0, f"no {what} variable {kind}_0 is declared")
        indices = [tuple(map(int, name.split("_")[1:])) for name in names]
        # outputs come last, and of them alone some may be left out: behind the last, where it is known which that is
        open_ended = not any(any(index[:-1]) for index in indices)
        if any(len(index) > 1 for index in indices):
            _require_in_order(names, indices, declared, source)
            places = list(range(len(names)))
        else:
            places = [index for (index,) in indices]
            for name, place in zip(names, places, strict=True):
                # no gap among inputs: one that is not declared has no bounds. Of outputs some may be left out
                if kind == "X" and place >= len(names):
                    problem = f"{name} is declared, but only {len(names)} variables {kind}_i are"
                    raise source.fail(declared[name], problem)
        numbered |= {name: (kind, place) for name, place in zip(names, places, strict=True)}
        counts[kind] = max(places) + 1
    return numbered, _Sizes(counts["X"], counts["Y"], partial=open_ended)


def _require_in_order(
    names: list[str], indices: list[tuple[int, ...]], declared: Mapping[str, int], source: Source
) -> None:
    """See that names with several indices are declared as they count: the last index first, none left out."""
    expected = {(0,) * len(indices[0])}
    for name, index in zip(names, indices, strict=True):
        if index not in expected:
            told = "names with several indices must be declared in their order, from 0 on and none left out"
            raise source.fail(declared[name], f"which variable {name} is cannot be told: {told}")
        # one more at any axis, with zeros behind it: nobody declares how long axes are
        expected = {(*index[:i], index[i] + 1, *(0,) * (len(index) - i - 1)) for i in range(len(index))}


@dataclass
class _Reader:
    """Turns groups of a 1.0 file into formulas and linear terms."""

    source: Source
    declared: Mapping[str, Variable]

    def formula(self, part: Token | Group) -> Formula:
        if isinstance(part, Token):
            if part.text in ("true", "false"):
                return And(()) if part.text == "true" else Or(())
            raise self.source.fail(part.line, f"{part.text[:40]!r} is no formula")
        head, rest = _head_word(part), part.parts[1:]
        if head in _CONNECTIVES:
            return self._join_formulas(head, [self.formula(inner) for inner in rest], part.line)
        if head not in ("<=", ">=", "<", ">", "="):
            raise self.source.fail(part.line, f"{head[:40]!r} is neither and, or, not, => nor a comparison")
        if len(rest) < 2:
            raise self.source.fail(part.line, f"{head!r} takes at least two terms")
        terms = [self.term(inner) for inner in rest]
        # a chain is each of its links
        return And(tuple(compare_terms(head, left, right, part.line) for left, right in pairwise(terms)))

    def _join_formulas(self, head: str, parts: list[Formula], line: int) -> Formula:
        if head in ("and", "or"):
            return And(tuple(parts)) if head == "and" else Or(tuple(parts))
        if (head == "=>" and len(parts) < 2) or (head in ("not", "assert") and len(parts) != 1):
            raise self.source.fail(line, f"{head!r} with {len(parts)} formulas is no formula")
        if head == "=>":  # a chain of them binds to the right
            return Or((*map(negated, parts[:-1]), parts[-1]))
        return negated(parts[0]) if head == "not" else parts[0]

    def term(self, part: Token | Group) -> Term:
        if isinstance(part, Token):
            return self._read_word(part)
        head, line = _head_word(part), part.line
        terms = [self.term(inner) for inner in part.parts[1:]]
        if head not in ("+", "-", "*", "/") or not terms or (head == "/" and len(terms) < 2):
            raise self.source.fail(line, f"{head[:40]!r} with {len(terms)} terms is no arithmetic we know")
        if head == "-" and len(terms) == 1:
            return terms[0].times(Fraction(-1))
        total = terms[0]
        for term in terms[1:]:
            total = self._combine_terms(head, total, term, line)
            # after each step: every product adds the digits of both of its factors
            if total.is_absurd():
                raise self.source.fail(line, "its numbers grow too long")
        return total

    def _combine_terms(self, head: str, left: Term, right: Term, line: int) -> Term:
        if head in ("+", "-"):
            return left.plus(right, Fraction(1 if head == "+" else -1))
        if head == "*" and not left.factors:
            left, right = right, left
        if right.factors:
            raise self.source.fail(line, "a product or quotient of variables is not linear")
        if head == "*":
            return left.times(right.constant)
        if not right.constant:
            raise self.source.fail(line, "division by zero")
        return left.times(1 / right.constant)

    def _read_word(self, token: Token) -> Term:
        if key := self.declared.get(token.text):
            return Term({key: Fraction(1)}, Fraction(0))
        if _VARIABLE.fullmatch(token.text):
            raise self.source.fail(token.line, f"variable {token.text!r} is not declared")
        number = parse_number(token.text, MAX_EXPONENT)
        if number is None:
            raise self.source.fail(token.line, f"{token.text[:40]!r} is neither a variable nor a number we can read")
        return Term({}, number)
