"""A property as VNN-LIB text, version 1.0 or 2.0, with exact numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Literal

from birdnn.errors import SpecError
from birdnn.spec import Polytope, Property, Region, Row

Version = Literal["1.0", "2.0"]
_Name = Callable[[str, int], str]


def property_text(
    prop: Property, version: Version = "1.0", *, shapes: tuple[Sequence[int], Sequence[int]] | None = None
) -> str:
    """The text whose reading says what `prop` says: the same boxes and unsafe polytopes, strictness included.

    Args:
        prop: any property; a query over float32 can be said in version 2.0 only.
        version: of VNN-LIB.
        shapes: of the network's input and output, which version 2.0 declares; None: flat.

    Raises:
        SpecError: nothing is unsafe, so that there is nothing to say; or version 1.0 cannot say it.
    """
    if not any(region.unsafe for region in prop.regions):
        raise SpecError(f"property {prop.name!r} holds for every network: none of its regions has unsafe outputs")
    if version == "1.0":
        if prop.element == "float32":
            raise SpecError(f"property {prop.name!r} is a query over float32, which VNN-LIB 1.0 has no words for")
        variables = [*(f"X_{i}" for i in range(prop.n_inputs)), *(f"Y_{j}" for j in range(prop.n_outputs))]
        return _whole_text(
            prop, [f"(declare-const {name} Real)" for name in variables], _Writer(lambda v, i: f"{v}_{i}")
        )
    inputs, outputs = shapes or ((prop.n_inputs,), (prop.n_outputs,))
    declared = [
        "(vnnlib-version <2.0>)",
        "(declare-network N",
        f"  (declare-input X {prop.element} {_shape_text(inputs)})",
        f"  (declare-output Y {prop.element} {_shape_text(outputs)}))",
    ]
    places = {"X": _index_texts(inputs), "Y": _index_texts(outputs)}
    return _whole_text(prop, declared, _Writer(lambda v, i: f"{v}{places[v][i]}", typed=True))


def _shape_text(sizes: Sequence[int]) -> str:
    return f"[{','.join(map(str, sizes))}]"


def _index_texts(sizes: Sequence[int]) -> list[str]:
    """The places of a tensor in C order, as version 2.0 writes them."""
    return [_shape_text(place) for place in itertools.product(*map(range, sizes))]


def _whole_text(prop: Property, declared: Sequence[str], writer: _Writer) -> str:
    lines = [
        *_heading_comments(prop),
        *declared,
        "(assert (or",
        *(line for region in prop.regions if region.unsafe for line in writer.region(region)),
        "))",
    ]
    return "\n".join(lines) + "\n"


def _heading_comments(prop: Property) -> Iterator[str]:
    """The comments that its text begins with, unless it was read from a file, which may have said something else."""
    if prop.path is None:
        yield from itertools.takewhile(lambda line: line.startswith(";"), prop.text.splitlines())


_TURNED = {"<=": ">=", "<": ">"}


class _Writer:
    """Writes regions.

    Args:
        name: of a variable, from ``X`` or ``Y`` and its number.
        typed: numbers are those of a type, so that each has a point, and none is a quotient: both sides are multiplied.
    """

    def __init__(self, name: _Name, *, typed: bool = False) -> None:
        self.name, self.typed = name, typed

    def region(self, region: Region) -> Iterator[str]:
        """Its box, and what is unsafe there."""
        yield "  (and"
        for i in range(region.n_inputs):
            low = ">" if region.strict_lower[i] else ">=", region.exact_lower[i]
            high = "<" if region.strict_upper[i] else "<=", region.exact_upper[i]
            pair = (self.compared(sign, {("X", i): Fraction(1)}, bound) for sign, bound in (low, high))
            yield f"    {' '.join(pair)}"
        yield "    (or"
        yield from (f"      (and {' '.join(self.rows(polytope))})" for polytope in region.unsafe)
        yield "    ))"

    def rows(self, polytope: Polytope) -> Iterator[str]:
        """The half-spaces of a polytope."""
        if not polytope.rows:
            first = self.name("Y", 0)
            yield f"(<= {first} {first})"  # everything is unsafe
        for row in polytope.rows:
            yield self.compared("<" if row.strict else "<=", _row_terms(row), row.bound)

    def compared(self, sign: str, terms: dict[tuple[str, int], Fraction], bound: Fraction) -> str:
        """``terms sign bound``; a plain comparison where it is one, which solvers without arithmetic read as well."""
        factors = list(terms.values())
        if bound == 0 and sorted(factors) == [-1, 1]:
            return f"({sign} {' '.join(self.name(*key) for key in sorted(terms, key=lambda key: -terms[key]))})"
        # -y <= b as y >= -b
        if factors == [-1]:
            return f"({_TURNED[sign]} {self.name(*next(iter(terms)))} {self.number(-bound)})"
        if self.typed:
            numbers = [*terms.values(), bound]
            # times a positive number, so that the comparison keeps its direction
            scale = 1 if all(map(decimal_text, numbers)) else math.lcm(*(number.denominator for number in numbers))
            terms, bound = {key: factor * scale for key, factor in terms.items()}, bound * scale
        return f"({sign} {self.sum(terms)} {self.number(bound)})"

    def sum(self, terms: dict[tuple[str, int], Fraction]) -> str:
        """A sum of variables with factors."""
        parts = [
            self.name(*key) if factor == 1 else f"(* {self.number(factor)} {self.name(*key)})"
            for key, factor in terms.items()
        ]
        if not parts:
            # a row of no outputs, said of one of them times zero
            return f"(* 0.0 {self.name('Y', 0)})" if self.typed else "0"
        return f"(+ {' '.join(parts)})" if len(parts) > 1 else parts[0]

    def number(self, value: Fraction) -> str:
        """A decimal where there is a short one, else a quotient."""
        text = decimal_text(value)
        if not text:
            return f"(/ {'-' if value < 0 else ''}{abs(value.numerator)} {value.denominator})"
        return f"{text}.0" if self.typed and "." not in text else text


def _row_terms(row: Row) -> dict[tuple[str, int], Fraction]:
    return {("Y", index): factor for index, factor in enumerate(row.coefficients) if factor}


def decimal_text(value: Fraction, most: int = 59) -> str:
    """A decimal of so many places at most; empty where none says the number."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size.denominator == 1:
        return f"{sign}{size.numerator}"
    for digits in range(1, most + 1):
        scaled = size * 10**digits
        if scaled.denominator == 1:
            whole, part = divmod(scaled.numerator, 10**digits)
            return f"{sign}{whole}.{part:0{digits}d}"
    return ""
