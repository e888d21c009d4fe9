"""A property that did not come from a file, as VNN-LIB 1.0 text with exact numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

from birdnn.errors import SpecError
from birdnn.spec import Polytope, Property, Region, Row


def property_text(prop: Property) -> str:
    """The text whose reading says what `prop` says: the same boxes and unsafe polytopes, strictness included.

    Raises:
        SpecError: nothing is unsafe, so that there is nothing to say.
    """
    if not any(region.unsafe for region in prop.regions):
        raise SpecError(f"property {prop.name!r} holds for every network: none of its regions has unsafe outputs")
    variables = [*(f"X_{i}" for i in range(prop.n_inputs)), *(f"Y_{j}" for j in range(prop.n_outputs))]
    lines = [
        *_heading(prop),
        *(f"(declare-const {name} Real)" for name in variables),
        "(assert (or",
        *(line for region in prop.regions if region.unsafe for line in _region(region)),
        "))",
    ]
    return "\n".join(lines) + "\n"


def _heading(prop: Property) -> Iterator[str]:
    """The comments that its text begins with, unless it was read from a file, which may have said something else."""
    if prop.path is None:
        yield from itertools.takewhile(lambda line: line.startswith(";"), prop.text.splitlines())


def _region(region: Region) -> Iterator[str]:
    yield "  (and"
    yield from (f"    {bounds}" for bounds in _box(region))
    yield "    (or"
    yield from (f"      (and {' '.join(_rows(polytope))})" for polytope in region.unsafe)
    yield "    ))"


def _box(region: Region) -> Iterator[str]:
    for i in range(region.n_inputs):
        low = f"({'>' if region.strict_lower[i] else '>='} X_{i} {_number(region.exact_lower[i])})"
        yield f"{low} ({'<' if region.strict_upper[i] else '<='} X_{i} {_number(region.exact_upper[i])})"


def _rows(polytope: Polytope) -> Iterator[str]:
    if not polytope.rows:
        yield "(<= 0 0)"  # everything is unsafe
    for row in polytope.rows:
        yield f"({'<' if row.strict else '<='} {_sum(row)} {_number(row.bound)})"


def _sum(row: Row) -> str:
    terms = [f"Y_{j}" if c == 1 else f"(* {_number(c)} Y_{j})" for j, c in enumerate(row.coefficients) if c]
    return f"(+ {' '.join(terms)})" if len(terms) > 1 else (terms or ["0"])[0]


def _number(value: Fraction) -> str:
    """A decimal where there is a short one, else a quotient."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size.denominator == 1:
        return f"{sign}{size.numerator}"
    for digits in range(1, 60):
        scaled = size * 10**digits
        if scaled.denominator == 1:
            whole, part = divmod(scaled.numerator, 10**digits)
            return f"{sign}{whole}.{part:0{digits}d}"
    return f"(/ {sign}{size.numerator} {size.denominator})"
