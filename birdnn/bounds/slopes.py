"""Lines as bound propagation uses them: chosen, moved by what arithmetic errs by, packed for one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.bounds.rules import Line, Relaxation


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """One choice of lines for a layer, packed for a single gather, shape (boxes, 4, neurons).

    The channels are: slopes of the lower and the upper line, offsets of the upper and the lower line. The offsets hold
    what the affine map before the activation errs by. An entry A of a row on the activation's output becomes
    ``A * low`` on its input, or ``A * up`` where it is negative. One line is taken, never the other and the distance
    between them: where they are of different sizes these do not add up to it, and nothing pays for that.
    """

    pack: Tensor

    @staticmethod
    def of(
        relaxation: Relaxation,
        slack: Tensor,
        low_weight: Tensor | None,
        up_weight: Tensor | None,
        *,
        storable: bool = False,
    ) -> Slopes:
        """Lines by their weights; `storable`: those that were mixed get slopes that float32 holds."""
        low, low_offset = _mix_lines(relaxation.low, relaxation.start if low_weight is None else low_weight)
        if relaxation.one_upper:
            up, up_offset = relaxation.up[0].slope, relaxation.up[0].offset
        else:
            up, up_offset = _mix_lines(relaxation.up, relaxation.start if up_weight is None else up_weight)
            if storable:
                up, up_offset = _make_storable(up, up_offset, relaxation, 1)
        # a line without a choice is not recorded (`slopes_used`), and need not be one that float32 holds
        if storable and relaxation.low[0] is not relaxation.low[1]:
            low, low_offset = _make_storable(low, low_offset, relaxation, -1)
        # z may be off by `slack`, which a line passes on by its slope: away from the function on either side
        down, above = -low.abs() * slack, up.abs() * slack
        if low_offset is not None:
            down += low_offset
        if up_offset is not None:
            above += up_offset
        return Slopes(torch.stack([low, up, above, down], 1))

    def of_rows(self, box: Tensor) -> Slopes:
        return Slopes(self.pack[box])

    def back(self, rows: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Lower-bounding rows on the pre-activation, from rows on the activation, shape (rows, neurons)."""
        slope, offset = self._taken_lines(rows)
        return rows * slope, constant + torch.linalg.vecdot(rows, offset)

    def forward(self, rows: Tensor, z: Tensor) -> Tensor:
        """The line that `back` took for each entry of ``rows``, at pre-activation ``z``."""
        slope, offset = self._taken_lines(rows)
        return torch.addcmul(offset, z, slope)

    def _taken_lines(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and offset of the line that bounds each entry from below."""
        negative = rows < 0
        slope = torch.where(negative, self.pack[:, 1], self.pack[:, 0])
        return slope, torch.where(negative, self.pack[:, 2], self.pack[:, 3])


def slopes_used(relaxations: list[Relaxation], slopes: list[Slopes], passed: list[Tensor]) -> Tensor:
    """The slope of the line that each row took, (items, neurons) float32; NaN where there was no choice."""
    found = []
    for r, mine, rows in zip(relaxations, slopes, passed, strict=True):
        low, up = mine.pack[:, 0], mine.pack[:, 1]
        nothing = torch.full_like(rows, torch.nan)
        below = nothing if r.low[0] is r.low[1] else low
        above = nothing if r.one_upper else up
        taken = torch.where(rows > 0, below, torch.where(rows < 0, above, nothing))
        # of an active or inactive neuron all lines are one, which its bounds tell
        straight = (r.low[0].slope == r.low[1].slope) & (r.up[0].slope == r.up[1].slope) & (low == up)
        found.append(taken.where(~straight, nothing).float())
    return torch.cat(found, 1)


def _mix_lines(lines: tuple[Line, Line], weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """The convex combination of two lines, as slope and offset."""
    first, second = lines
    if first is second:
        return first.slope, first.offset
    # `lerp` starts from the nearer end: from one end alone, between 1 and 1e20, the sum could leave both behind
    slope = torch.lerp(first.slope, second.slope, weight)
    if first.offset is None and second.offset is None:
        return slope, None
    zero = torch.zeros_like(slope)
    return slope, torch.lerp(
        zero if first.offset is None else first.offset, zero if second.offset is None else second.offset, weight
    )


def _make_storable(slope: Tensor, offset: Tensor | None, r: Relaxation, side: int) -> tuple[Tensor, Tensor | None]:
    """A line with a slope that float32 holds, moved to its side by what that costs.

    One without an offset leaves zero between two slopes that float32 holds, and a rounded slope lies there too.
    """
    rounded = slope.float().double()
    if offset is None or r.size is None:
        return rounded, offset
    return rounded, offset + side * (rounded - slope).abs() * r.size
