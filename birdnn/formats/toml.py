"""TOML files of users: limits before work, decimals exact, errors that name the file and the line or key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from birdnn.decimals import FORM, MAX_DIGITS, parse_number
from birdnn.errors import FormatError
from birdnn.formats.files import read_bytes
from birdnn.reading import guarded_reader

MAX_BYTES = 16 * 2**20
"""Largest file that is read, compressed or not."""

MAX_DEPTH = 20
"""Deepest nest of tables and arrays."""

MAX_PARTS = 20
"""Most parts of a dotted key; the library's time grows with their square."""

# possessive (`*+`): no text makes a search go back over what it has read
_PART = r"""(?:"(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)[ \t]*+"""
# behind the key what is none, and is passed over: texts of several lines, texts, comments. None has to be closed, so
# that nothing is looked through twice
_LONG_KEY = re.compile(
    rf"(?P<key>(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{MAX_PARTS}}})"
    r"""|\"{3}(?:[^"\\]|\\.|"{1,2}(?!"))*+"{0,5}|'{3}(?:[^']|'{1,2}(?!'))*+'{0,5}"""
    r"""|"(?:[^"\\\n]|\\[^\n])*+"?|'[^'\n]*+'?|\#[^\n]*+""",
    re.DOTALL,
)
# a decimal digit has less than four bits
_INTEGER_BITS = 4 * MAX_DIGITS

T = TypeVar("T", bound=BaseModel)


@guarded_reader
def read_validated(path: str | Path, model: type[T]) -> T:
    """The file as a `model`, decimals exact.

    Raises:
        FormatError: it is no TOML within the limits, or not what the model wants.
    """
    raw = read_toml(path)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:MAX_DIGITS]
        told = first["msg"].removeprefix("Value error, ")
        raise FormatError(str(path), f"key {place}" if place else "", told) from error


@guarded_reader
def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a file, decimals as `Decimal`.

    Raises:
        FormatError: it is no TOML, a number is beyond what we read, or it is nested too deeply.
    """
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not UTF-8 text") from error
    # before the library reads it, whose time is what this limits
    for found_at in (match.start() for match in _LONG_KEY.finditer(text) if match["key"]):
        line = text.count("\n", 0, found_at) + 1
        raise FormatError(str(path), f"line {line}", f"a key of more than {MAX_PARTS} parts")
    try:
        found = tomllib.loads(text, parse_float=_parse_decimal)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(str(path), "", f"not TOML: {error}") from error
    except RecursionError:
        raise FormatError(str(path), "", f"not TOML that we read: nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # Python's own limit on the digits of an integer
        raise FormatError(str(path), "", f"an integer is too long; we read {FORM}") from error
    for key, value, depth in _nested_values(found):
        if depth > MAX_DEPTH:
            raise FormatError(str(path), f"key {key}", f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            raise FormatError(str(path), f"key {key}", f"an integer is too long; we read {FORM}")
        if isinstance(value, _Absurd):
            raise FormatError(str(path), f"key {key}", f"{value[:40]!r} is out of range; we read {FORM}")
    return found


class _Absurd(str):
    """A number of a size that we do not read, as it is written: no error yet, since only its key tells where it is."""


def _parse_decimal(text: str) -> Decimal | _Absurd:
    plain = text.replace("_", "")
    # both are TOML: the model that wants a finite number names the key
    if plain.lstrip("+-") not in ("inf", "nan") and parse_number(plain) is None:
        return _Absurd(text)
    return Decimal(plain)


def _nested_values(tables: dict[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Every value, with the first-level key that it is under and how deep it lies there."""
    waiting = [(key, value, 1) for key, value in tables.items()]  # no recursion: depth is what is counted
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        if depth <= MAX_DEPTH and isinstance(value, dict | list):
            inside = value.values() if isinstance(value, dict) else value
            waiting += ((key, part, depth + 1) for part in inside)
