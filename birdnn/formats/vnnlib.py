"""VNN-LIB properties: version 1.0 by our own parser, 2.0 through the package ``vnnlib``.

The text describes what is *unsafe*. Any nest of ``and`` and ``or`` over linear comparisons is turned into a union of
(input box, polytope of outputs); every comparison speaks either about one input or about outputs only. Constants stay
exact rationals.

Source: the VNN-COMP dialect of VNN-LIB 1.0 (SMT-LIB 2 text); VNN-LIB 2.0 standard, https://www.vnnlib.org.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from birdnn.decimals import parse_number
from birdnn.errors import FormatError
from birdnn.formats.dnf import And, Formula, Or, Term, build_regions, compare
from birdnn.formats.files import decompressed, read_stored, sha256, stem_and_kind
from birdnn.formats.vnnlib2 import Query, read_query
from birdnn.reading import reads
from birdnn.spec import Property

MAX_BYTES = 1 << 26
"""Largest file that is read, compressed or not."""

MAX_DEPTH = 100
"""Deepest nest of parentheses."""

MAX_TOKENS = 1 << 23
"""Most words of a text; a property of 300,000 inputs has a third of it."""

_TOKEN = re.compile(
    r"[ \t\f]+|;[^\r\n]*|(?P<line>\r\n?|\n)|(?P<token>[()]|\"[^\"]*\"|\|[^|]*\||[^\s()\";|]+)|(?P<bad>.)"
)
_VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_IGNORED = frozenset(
    {"set-logic", "set-info", "set-option", "check-sat", "get-model", "get-value", "exit", "echo", "vnnlib-version"}
)


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


@reads
def read_property(path: str | Path) -> Property:
    """Read a VNN-LIB property, plain or ``.gz``, version 1.0 or 2.0.

    Raises:
        FormatError: the file cannot be read, says something that is no union of input boxes with output polytopes, or
            leaves an input unbounded or without values.
    """
    stored = read_stored(path, MAX_BYTES)
    return parse_property(_text(stored, path), path=str(path), digest=sha256(stored))


def _text(stored: bytes, path: str | Path) -> str:
    data = decompressed(stored, path, MAX_BYTES)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not text in UTF-8") from None


@reads
def read_declared(path: str | Path) -> Query | None:
    """What a 2.0 query says about its network and tensors; None of a 1.0 property, which names none.

    Raises:
        FormatError: see `read_property`.
    """
    text, source = _text(read_stored(path, MAX_BYTES), path), Source(str(path))
    if not any(_speaks_version_2(command) for command in read_groups(text, source)):
        return None
    return read_query(text, str(path))


def parse_property(text: str, *, path: str = "", name: str = "", digest: str = "") -> Property:
    """The property that `text` states.

    Args:
        text: VNN-LIB 1.0 or 2.0.
        path: for errors; also gives the property's name where `name` is empty.
        name: the property's name.
        digest: sha256 of the file as stored.

    Raises:
        FormatError: see `read_property`.
    """
    source = Source(path)
    commands = read_groups(text, source)
    if any(_speaks_version_2(command) for command in commands):
        query = read_query(text, path)
        (n_inputs, n_outputs), formula, element = (query.input.size, query.output.size), query.formula, query.element
    else:
        (n_inputs, n_outputs), formula = _read_commands(commands, source)
        element = "real"
    regions = build_regions(formula, n_inputs, n_outputs, path)
    return Property(
        name=name or stem_and_kind(path)[0] or "property",
        regions=regions,
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        text=text,
        sha256=digest or sha256(text.encode()),
        path=path or None,
        element=element,
    )


def _tokens(text: str, source: Source) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["line"]:
            line += 1
        elif match["token"]:
            yield Token(match["token"], line)
            line += match["token"].count("\n")
        elif match["bad"]:
            raise source.fail(line, f"unexpected character {match['bad']!r}")


def read_groups(text: str, source: Source) -> list[Group]:
    """The parenthesised commands of a text.

    Raises:
        FormatError: parentheses do not match, lie deeper than `MAX_DEPTH`, or a word stands outside.
    """
    commands: list[Group] = []
    stack: list[Group] = []
    for count, token in enumerate(_tokens(text, source)):
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


def _head(group: Group) -> str:
    return group.parts[0].text if group.parts and isinstance(group.parts[0], Token) else ""


def _speaks_version_2(command: Group) -> bool:
    head, rest = _head(command), command.parts[1:]
    versioned = head == "vnnlib-version" and rest and isinstance(rest[0], Token) and rest[0].text.startswith("<2")
    return head == "declare-network" or bool(versioned)


def _read_commands(commands: Iterable[Group], source: Source) -> tuple[tuple[int, int], Formula]:
    declared: dict[tuple[str, int], int] = {}
    asserted: list[Formula] = []
    pending: list[Group] = []
    last, asked = "", False
    for command in commands:
        head = _head(command)
        if last == "exit" or (asked and head not in _IGNORED):
            raise source.fail(command.line, f"{head[:40]!r} comes after ({'exit' if last == 'exit' else 'check-sat'})")
        last, asked = head, asked or head == "check-sat"
        if head in ("declare-const", "declare-fun"):
            _declare(command, declared, source)
        elif head == "assert":
            if len(command.parts) != 2:
                raise source.fail(command.line, "assert takes one formula")
            pending.append(command)
        elif head not in _IGNORED:
            raise source.fail(command.line, f"command {head[:40]!r} is not known")
    sizes = _sizes(declared, source)
    reader = _Reader(source, frozenset(declared))
    asserted.extend(reader.formula(command.parts[1]) for command in pending)
    return sizes, And(tuple(asserted))


def _declare(command: Group, declared: dict[tuple[str, int], int], source: Source) -> None:
    parts = command.parts
    if _head(command) == "declare-fun":
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
    key = match[1], int(match[2])
    if key in declared:
        raise source.fail(command.line, f"variable {words[1]!r} is declared twice")
    declared[key] = command.line


def _sizes(declared: dict[tuple[str, int], int], source: Source) -> tuple[int, int]:
    counts = {"X": 0, "Y": 0}
    for kind, _ in declared:
        counts[kind] += 1
    for (kind, index), line in declared.items():
        if index >= counts[kind]:
            raise source.fail(line, f"{kind}_{index} is declared, but only {counts[kind]} variables {kind}_i are")
    for kind, what in (("X", "input"), ("Y", "output")):
        if not counts[kind]:
            raise source.fail(0, f"no {what} variable {kind}_0 is declared")
    return counts["X"], counts["Y"]


@dataclass
class _Reader:
    """Turns groups of a 1.0 file into formulas and linear terms."""

    source: Source
    declared: frozenset[tuple[str, int]]

    def formula(self, part: Token | Group) -> Formula:
        if isinstance(part, Token):
            if part.text in ("true", "false"):
                return And(()) if part.text == "true" else Or(())
            raise self.source.fail(part.line, f"{part.text[:40]!r} is no formula")
        head, rest = _head(part), part.parts[1:]
        if head in ("and", "or"):
            parts = tuple(self.formula(inner) for inner in rest)
            return And(parts) if head == "and" else Or(parts)
        if head not in ("<=", ">=", "<", ">", "="):
            raise self.source.fail(part.line, f"{head[:40]!r} is neither and, or nor a comparison")
        if len(rest) < 2:
            raise self.source.fail(part.line, f"{head!r} takes at least two terms")
        terms = [self.term(inner) for inner in rest]
        return And(tuple(compare(head, left, right, part.line) for left, right in pairwise(terms)))

    def term(self, part: Token | Group) -> Term:
        if isinstance(part, Token):
            return self._word(part)
        head, line = _head(part), part.line
        terms = [self.term(inner) for inner in part.parts[1:]]
        if head not in ("+", "-", "*", "/") or not terms or (head == "/" and len(terms) < 2):
            raise self.source.fail(line, f"{head[:40]!r} with {len(terms)} terms is no arithmetic we know")
        if head == "-" and len(terms) == 1:
            return terms[0].times(Fraction(-1))
        total = terms[0]
        for term in terms[1:]:
            total = self._combine(head, total, term, line)
            if total.is_absurd():
                raise self.source.fail(line, "its numbers grow too long")
        return total

    def _combine(self, head: str, left: Term, right: Term, line: int) -> Term:
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

    def _word(self, token: Token) -> Term:
        match = _VARIABLE.fullmatch(token.text)
        if match:
            key = match[1], int(match[2])
            if key not in self.declared:
                raise self.source.fail(token.line, f"variable {token.text!r} is not declared")
            return Term({key: Fraction(1)}, Fraction(0))
        number = parse_number(token.text)
        if number is None:
            raise self.source.fail(token.line, f"{token.text[:40]!r} is neither a variable nor a number we can read")
        return Term({}, number)
