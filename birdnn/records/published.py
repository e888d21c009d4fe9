"""How a record is published: its name, the order of its fields, what they say. A record is its own JSON and schema.

A record that is published names its fields in the order of the JSON, under other names where they have one there
(``"file=path"``), and those that it takes from parts of itself (``"seed=request.seed"``); a property is a field like
others. What a field means stands beside its type, as `Said`; a type that JSON does not have says how it is written, as
`Written`. `birdnn.report.publish` does the rest, both ways: what was written is read back into records. A property is
not read back, for the record makes it again; a record that cannot be put together from its fields alone has a static
method ``read_back``, which is given them by their published names.

Records of several kinds may share one form, as the outcomes of a repair do: each has some of its fields, and what a
kind does not have is published as empty, or as null where its type has nothing that is empty.
"""

from __future__ import annotations

import inspect
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Annotated, Any, NewType, TypeAlias, TypeVar

from birdnn.decimals import MAX_DIGITS, parse_exact

C = TypeVar("C", bound=type)

_SECTION = re.compile(r"\n\n(?:Attributes|Raises):")

ExactText = NewType("ExactText", str)
"""A number as text that says it exactly: a decimal or a fraction."""

REQUIRED: Any = object()
"""No value stands for a field that is absent."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a field means.

    Attributes:
        text: for the schema.
        absent: what it is where a file does not have it, as those of an earlier version; a function makes it anew.
        least, most: limits of a number, or of how many there are of several.
    """

    text: str = ""
    absent: Any = REQUIRED
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """How a value is written that JSON has no form for.

    Attributes:
        type: of what is written.
        to: makes it.
        back: makes the value from it again; raises `ValueError` where it does not say one. None: it is never read.
    """

    type: Any
    to: Callable[[Any], Any]
    back: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The published form of a record.

    Attributes:
        name: in schemas.
        text: what it is.
        fields: published name -> where it is in the record.
        told: of these, which the record does not have, as somebody puts them in words -> their types.
        report: is it a whole file, which says the version of its schema and the tool?
        earlier: turns what an earlier version wrote into what this one does.
        kinds: the records that share the form, with slots; empty: it is of one record alone.
    """

    name: str
    text: str
    fields: Mapping[str, str]
    told: Mapping[str, Any] = field(default_factory=dict)
    report: bool = False
    earlier: Callable[[Any], Any] | None = None
    kinds: tuple[type, ...] = ()


def publishes(
    name: str,
    fields: str,
    *,
    text: str = "",
    told: Mapping[str, Any] | None = None,
    report: bool = False,
    earlier: Callable[[Any], Any] | None = None,
    kinds: tuple[type, ...] = (),
) -> Callable[[C], C]:
    """Declare the published form of a record.

    Args:
        name: in schemas.
        fields: published names in order, separated by spaces, each with ``=PATH`` where the record has it elsewhere.
        text: what it is; the head of the record's docstring where nothing is given.
        told, report, earlier, kinds: see `Published`.
    """
    pairs = [token.partition("=") for token in fields.split()]

    def declare(record: C) -> C:
        # What a schema says of a record is what its docstring says to readers of code, without attributes: these stand
        # at the fields.
        head = text or _SECTION.split(inspect.cleandoc(record.__doc__ or ""))[0]
        paths = {key: path or key for key, _, path in pairs}
        # On the class, so that kinds of a record inherit its form.
        record.__published__ = Published(  # type: ignore[attr-defined]
            name, head, paths, told or {}, report, earlier, kinds
        )
        return record

    return declare


def finite_or_null(values: Sequence[float]) -> list[float | None]:
    """Numbers that JSON has; None for the others."""
    return [value if math.isfinite(value) else None for value in values]


_DIGITS = 40


def exact_text(value: Fraction) -> str:
    """A number as text that says it exactly: a decimal where a short one does, else a fraction.

    >>> exact_text(Fraction(-1, 8)), exact_text(Fraction(1, 3))
    ('-0.125', '1/3')
    """
    # The division rounds where no short decimal does; whether it did is what the comparison below tells.
    with localcontext(prec=_DIGITS):
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
        text = f"{decimal.normalize():f}"
    # The length, too: `f` writes 1e-300 with three hundred zeros.
    return text if Fraction(decimal) == value and len(text) <= _DIGITS else str(value)


def _read_exact(text: str) -> Fraction:
    """The number that `exact_text` wrote."""
    found = parse_exact(text)
    if found is None:
        raise ValueError(f"a number of at most {MAX_DIGITS} digits, or a quotient of two, is expected")
    return found


EXACTLY = Written(ExactText, exact_text, _read_exact)
"""How every `Fraction` is written."""

# Quoted, to be copied into a shell as it stands.
CommandLine: TypeAlias = Annotated[tuple[str, ...], Written(str, shlex.join, lambda line: tuple(shlex.split(line)))]
"""A command as typed, published as one line."""

OrNull: TypeAlias = Annotated[str, Written(str | None, lambda text: text or None, lambda text: text or "")]
"""Text, published as null where it is empty."""
