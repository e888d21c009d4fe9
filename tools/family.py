"""What a family of controllers needs to write its properties and its suite file: quantities, rows, exact decimals.

The families are `tools/acasxu.py` and `tools/cas.py`. Numbers stay exact rationals until they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Protocol

DECIMALS = 12

Interval = tuple[Fraction, Fraction]
Box = Mapping[str, Interval]  # by input name, raw units
Rows = tuple[tuple[int, int], ...]  # (i, j): output i is not above output j


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of the networks; `lower`, `upper`, `mean`, `range` in `unit`."""

    name: str
    text: str
    unit: str
    lower: Fraction
    upper: Fraction
    mean: Fraction
    range: Fraction

    def normalised(self, raw: Fraction) -> Fraction:
        return (raw - self.mean) / self.range


def given(name: str, text: str, unit: str, lower: str, upper: str, mean: str, size: str) -> Input:
    """An input with its numbers as their source writes them."""
    return Input(
        name=name,
        text=text,
        unit=unit,
        lower=Fraction(lower),
        upper=Fraction(upper),
        mean=Fraction(mean),
        range=Fraction(size),
    )


class Stated(Protocol):
    """A property of a family's table.

    Attributes:
        name: of its file.
        title: what the file's first line calls it.
        text, unsafe_text: the property and what breaks it, in words.
        boxes: input regions, raw units, every input bounded.
        unsafe: what must not happen: one of these conjunctions of rows.
        at_least: or else this output, raw, reaching this value.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def unsafe_text(self) -> str: ...
    @property
    def boxes(self) -> tuple[Box, ...]: ...
    @property
    def unsafe(self) -> tuple[Rows, ...]: ...
    @property
    def at_least(self) -> tuple[int, Fraction] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What holds for all networks of a family.

    Attributes:
        name: of the suite.
        text: what the networks are, for the suite file.
        networks_source, properties_source: where they are from, for comments.
        decision, decision_text: which output decides.
        inputs: in order.
        outputs: name and meaning of each.
        output_word: what an output is: its cost, its score.
        output_mean, output_range: they share one normalisation.
    """

    name: str
    text: str
    networks_source: str
    properties_source: str
    decision: str
    decision_text: str
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, str], ...]
    output_word: str
    output_mean: Fraction
    output_range: Fraction


def decimal(value: Fraction, *, up: bool, decimals: int = DECIMALS) -> str:
    """`value` as a plain decimal of at most `decimals` places, never below it (`up`) or never above it."""
    with localcontext(prec=60):
        scaled = value * 10**decimals
        whole = -(-scaled.numerator // scaled.denominator) if up else scaled.numerator // scaled.denominator
        text = format(Decimal(whole).scaleb(-decimals), "f")
    text = text.rstrip("0")
    return text + "0" if text.endswith(".") else text


def plain(value: Fraction) -> str:
    """A raw number as a finite decimal."""
    with localcontext(prec=60):
        quotient = Decimal(value.numerator) / Decimal(value.denominator)
    if Fraction(quotient) != value:
        raise ValueError(f"{value} is no finite decimal")
    return format(quotient.normalize(), "f")
