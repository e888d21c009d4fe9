"""Batches of axis-parallel boxes: the pieces into which a search cuts an input region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from birdnn.later import later
from birdnn.rounding import CLIP_ROOM, CORNER_ROOM

if TYPE_CHECKING:
    import torch
else:
    torch = later("torch")


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """A batch of boxes ``lower <= x <= upper``.

    Attributes:
        lower, upper: corners, shape (boxes, inputs), network units, float64 in the search.
    """

    lower: torch.Tensor
    upper: torch.Tensor

    def __len__(self) -> int:
        return self.lower.shape[0]

    def __getitem__(self, which: slice | torch.Tensor) -> Boxes:
        return Boxes(self.lower[which], self.upper[which])

    def to(self, device: torch.device | str) -> Boxes:
        """These boxes on a device."""
        return Boxes(self.lower.to(device), self.upper.to(device))

    def centres(self) -> torch.Tensor:
        """Midpoints, shape (boxes, inputs)."""
        return self.lower + (self.upper - self.lower) / 2

    def widths(self) -> torch.Tensor:
        """Edge lengths, shape (boxes, inputs)."""
        return self.upper - self.lower

    def empty(self) -> torch.Tensor:
        """Which boxes hold no point, shape (boxes,)."""
        return (self.lower > self.upper).any(1)

    def where(self, mask: torch.Tensor, other: Boxes) -> Boxes:
        """These boxes where ``mask`` (boxes,) says so, elsewhere those of ``other``."""
        chosen = mask[:, None]
        return Boxes(self.lower.where(chosen, other.lower), self.upper.where(chosen, other.upper))

    def bisect(self, dimension: torch.Tensor) -> Boxes:
        """Cut box i in the middle of edge ``dimension[i]``; all first halves come before all second halves.

        The two halves share the cut, so that together they cover the box whatever the rounding of the midpoint.
        """
        column = dimension[:, None]
        middle = self.centres().gather(1, column)
        return Boxes(
            torch.cat([self.lower, self.lower.scatter(1, column, middle)]),
            torch.cat([self.upper.scatter(1, column, middle), self.upper]),
        )

    def divisible(self) -> torch.Tensor:
        """Which edges have a midpoint strictly between their ends, shape (boxes, inputs)."""
        middle = self.centres()
        # strictly: with a midpoint that is an end, `bisect` would give the same box again, for ever
        return (middle > self.lower) & (middle < self.upper)

    def uniform(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``count`` uniform points of each box, shape (boxes, count, inputs); the generator lives on the CPU."""
        # drawn on the CPU and moved, so that a seed means the same points on every device
        draw = torch.rand(len(self), count, self.lower.shape[1], generator=generator, dtype=self.lower.dtype)
        return self.lower[:, None] + draw.to(self.lower.device) * self.widths()[:, None]

    def clip(self, plane: torch.Tensor, minimum: torch.Tensor) -> Boxes:
        """Cut from box i what ``plane[i, p] @ x + c <= 0`` rules out, for every plane p.

        Domain clipping (Zhou et al. 2025, Clip-and-Verify): moving from the plane's minimum over the box along input d
        alone, the plane turns positive after ``-minimum / |coefficient|``. Edges keep more than rounding asks for: a
        millionth of the plane's size, because the checker of a certificate computes the plane anew from neurons' bounds
        that are not quite ours, and a few units in the last place of the corners; a minimum of NaN cuts nothing. A box
        that loses all its points comes back `empty`.

        Args:
            plane: coefficients, shape (boxes, planes, inputs).
            minimum: minimum of each plane over its box, shape (boxes, planes).
        """
        lower, upper = self.cuts(plane, minimum)
        return Boxes(torch.maximum(self.lower, lower.amax(1)), torch.minimum(self.upper, upper.amin(1)))

    def cuts(self, plane: torch.Tensor, minimum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `clip` has each plane say: new lower and upper corners, shape (boxes, planes, inputs) each."""
        slack = CORNER_ROOM * torch.maximum(self.lower.abs(), self.upper.abs())
        known = minimum.where(minimum.isfinite(), -torch.inf)[..., None]  # an overflow says nothing, whatever its sign
        # rounding asks for far less; but the bounds that are inherited differ a little between prover and checker, and
        # one face of a certificate of 289,829 nodes was rejected for 1e-12 (ACAS Xu N2,6, phi-2)
        room = CLIP_ROOM * (known.abs() + torch.linalg.vecdot(plane.abs(), self.widths()[:, None])[..., None])
        # NaN, of 0 / 0 or of a plane that is no number, cuts nothing, as infinity does
        reach = ((room - known) / plane.abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)
        away = torch.full_like(reach, torch.inf)
        # a rising plane is above zero far up, so that it lowers the upper face; a falling one raises the lower
        upper = self.lower[:, None] + reach.where(plane > 0, away) + slack[:, None]
        lower = self.upper[:, None] - reach.where(plane < 0, away) - slack[:, None]
        return lower, upper

    @staticmethod
    def concatenate(parts: list[Boxes]) -> Boxes:
        """All boxes of ``parts`` in their order."""
        return Boxes(torch.cat([p.lower for p in parts]), torch.cat([p.upper for p in parts]))
