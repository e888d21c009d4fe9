"""Local robustness of a classifier as VNN-LIB: around an image, nothing else than its class."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

PLACES = Decimal("1e-9")
"""Bounds are written with so many decimals, rounded outward. A pixel of 1/16 takes four."""


def robustness(pixels: Sequence[float], true: int, eps: str, classes: int = 10) -> str:
    """A VNN-LIB property: within `eps` of each pixel, and within 0..1, class `true` has the greatest output.

    It is violated where any other class reaches at least as much, so a tie is a violation.

    Args:
        pixels: of the image, from 0 to 1.
        true: the class.
        eps: radius, as a decimal.
        classes: number of outputs.
    """
    radius = Decimal(eps)
    lines = [f"; class {true} everywhere within {eps} of the image, pixel by pixel"]
    lines += [f"(declare-const X_{i} Real)" for i in range(len(pixels))]
    lines += [f"(declare-const Y_{j} Real)" for j in range(classes)]
    for i, pixel in enumerate(pixels):
        value = Decimal(pixel)
        lower = max(value - radius, Decimal(0)).quantize(PLACES, rounding=ROUND_FLOOR)
        upper = min(value + radius, Decimal(1)).quantize(PLACES, rounding=ROUND_CEILING)
        lines += [f"(assert (>= X_{i} {lower:f}))", f"(assert (<= X_{i} {upper:f}))"]
    others = " ".join(f"(and (>= Y_{j} Y_{true}))" for j in range(classes) if j != true)
    lines.append(f"(assert (or {others}))")
    return "\n".join([*lines, ""])
