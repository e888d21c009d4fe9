"""Decimals in text, read exactly and never at a cost that the text does not show.

``1e-999999999`` is eleven characters, and as an exact rational a number of a billion digits. Every decimal of a user's
file or command line that becomes exact is read here; a number of more digits, or beyond `MAX_EXPONENT`, which no
float64 reaches, is refused.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_DIGITS = 1000
"""Longest text of a number."""

MAX_EXPONENT = 400
"""Largest exponent, either way: float64 ends at 308 and -324."""

FORM = f"a decimal of at most {MAX_DIGITS} characters with an exponent from -{MAX_EXPONENT} to {MAX_EXPONENT}"
"""What is read, in words."""

_NUMBER = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_QUOTIENT = re.compile(r"([^/]+)/([0-9]*[1-9][0-9]*)")  # a denominator other than 0


def parse_number(text: str, largest: int = MAX_EXPONENT) -> Fraction | None:
    """An exact number, or None where `text` is none, or one that is too long or whose exponent is beyond `largest`."""
    return Fraction(text) if _is_read(text, largest) else None


def parse_float(text: str) -> float | None:
    """The float64 nearest to a number, infinite beyond the largest, or None where `parse_number` gives None."""
    return float(text) if _is_read(text, MAX_EXPONENT) else None


def _is_read(text: str, largest: int) -> bool:
    # before anything is matched or converted: int() refuses, or takes long over, an exponent of many digits
    if len(text) > MAX_DIGITS:
        return False
    match = _NUMBER.fullmatch(text)
    return match is not None and abs(int(match[3] or 0)) <= largest


def parse_exact(text: str) -> Fraction | None:
    """The same, or a quotient such as ``-1/3``, as our own files write what no decimal says."""
    match = _QUOTIENT.fullmatch(text)
    if not match:
        return parse_number(text)
    above = parse_number(match[1])
    return None if above is None or len(match[2]) > MAX_DIGITS else above / int(match[2])


def exact_number(text: object) -> Fraction:
    """The same, of what a file holds where such a text belongs.

    Raises:
        ValueError: it is none.
    """
    found = parse_exact(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(text)[:40]!r} is no number that we read, which is {FORM}, or a quotient of two")
    return found
