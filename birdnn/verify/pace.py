"""How long a box takes, so that the last step of a search still fits into its time limit."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Measured; decides nothing before the time runs short, so that until then a seed repeats a search.

    Attributes:
        per_box_s: seconds for one box in the last step; None before the first.
    """

    per_box_s: float | None = None

    def took(self, boxes: int, seconds: float) -> None:
        """A step of so many boxes has taken so long."""
        self.per_box_s = seconds / max(1, boxes)

    def fitting(self, batch: int, left_s: float) -> int:
        """How many boxes of a batch can be examined in the time that is left; at least one."""
        if not self.per_box_s or math.isinf(left_s):
            return batch
        return max(1, min(batch, int(left_s / self.per_box_s)))
