"""Boxes that half-spaces of inputs cut: which of their points a property speaks about.

A property that relates inputs (`Property.relational`) speaks about those points of a box at which all rows of inputs
alone hold of one of its polytopes at least. Independent uniform points of that part are independent uniform points of
the box, without those outside: nothing else keeps what is stated of them true. Where next to none is inside, that is
refused, whatever a chain of dependent points could reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import InputError
from birdnn.spec import Property, Region

LEAST_SHARE = 1e-3
"""Of the points of a box, that have to lie inside: each that is given takes a thousand draws at most, on average."""

TRIED = 1 << 14
"""Points of a box that is cut are drawn so many at a time, and the share is judged by eight times as many."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What half-spaces leave of one region's box: of each polytope ``a @ x <= b``, or ``<`` where `strict`.

    Attributes:
        sides: ``a`` (rows, inputs) and ``b`` (rows,) in float64, rounded as in `Polytope`, and ``strict`` (rows,); for
            each polytope.
    """

    sides: tuple[tuple[Tensor, Tensor, Tensor], ...]

    @classmethod
    def of(cls, prop: Property, region: Region) -> Cut | None:
        """None of a region whose box is whole: one of its polytopes speaks about all of it."""
        if not (prop.relational and region.unsafe):
            return None
        sides = []
        for polytope in region.unsafe:
            # a polytope without rows of inputs alone speaks about the whole box
            alone = (polytope.a[:, : prop.named_outputs] == 0).all(1)
            if not bool(alone.any()):
                return None
            sides.append((polytope.a[alone, prop.named_outputs :], polytope.b[alone], polytope.strict[alone]))
        return cls(tuple(sides))

    def holds(self, x: Tensor) -> Tensor:
        """Which points (n, inputs) lie inside: (n,) bool."""
        inside = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for side in self.sides:
            a, b, strict = (part.to(x.device) for part in side)
            value = x.double() @ a.T
            inside |= ((value < b) | ((value == b) & ~strict)).all(1)
        return inside


def draw_by_rejection(draw: Callable[[int], Tensor], count: int, at_once: int, name: str) -> Tensor:
    """``count`` points of those that draws leave, in the order in which they were drawn.

    Args:
        draw: draws so many points, and gives back those that count, (m, inputs).
        count: how many are wanted.
        at_once: at least so many are drawn each time.
        name: of the property, for the error.

    Raises:
        InputError: less than `LEAST_SHARE` of them count.
    """
    # a draw of nothing has the shape and place of the result, also where no point is wanted
    parts, tried, kept = [draw(0)], 0, 0
    while kept < count:
        size = max(count - kept, at_once)
        parts.append(draw(size))
        tried, kept = tried + size, kept + len(parts[-1])
        # judged late enough that a thousandth is more than a hundred points, and no accident
        if tried >= 8 * TRIED and kept < LEAST_SHARE * tried:
            raise InputError(
                f"{name}: of {tried:,} points of its boxes {kept:,} lie in the half-spaces that its inputs have to be "
                "in, too few to draw independent points there; state narrower bounds of the inputs"
            )
    return torch.cat(parts)[:count]
