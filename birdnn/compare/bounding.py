"""Proved bounds of the difference of two networks in a place. The boxes are those of the place, rounded outward."""

from __future__ import annotations

import torch
from torch import Tensor

from birdnn.bounds.protocol import MarginBound
from birdnn.boxes import Boxes
from birdnn.compare.pair import Place
from birdnn.pipeline.clock import Clock
from birdnn.printable import counted
from birdnn.records import ARITHMETIC, Progress, ProvedApart
from birdnn.verify.differing import tighten_difference


def proved_apart(
    bound: MarginBound, place: Place, enough: Tensor, batch: int, clock: Clock, seconds: float
) -> ProvedApart | None:
    """Bound the difference of each output over a place, for at most so many seconds.

    None where the time limit ended before there was any bound.

    Args:
        bound: from `bound_of_difference`.
        place: where.
        enough: of each output, what need not be lowered, (outputs,).
        batch: how many boxes are bounded together.
        clock: when everything ends.
        seconds: when this ends; the first bounds are computed as long as not everything ends.
    """
    begun = clock.wall_s()
    boxes = Boxes(*(torch.stack([getattr(region, side) for region in place.regions]) for side in ("lower", "upper")))

    def tell(boxes: int, most: float) -> None:
        news = Progress(
            phase=f"bounding the difference, {place.name}",
            done=min(1.0, (clock.wall_s() - begun) / seconds),
            detail=f"{counted(boxes, 'box', 'boxes')}, at most {most:.3g}",
        )
        clock.watch.update(news)

    found = tighten_difference(
        bound,
        boxes,
        # of B - A, and of A - B
        torch.stack([enough, enough], 1),
        batch=batch,
        over=clock.over,
        enough_time=lambda: clock.wall_s() - begun < seconds,
        news=tell,
    )
    if found is None:
        return None
    return ProvedApart(
        place=place.name,
        upper=tuple(found.most.tolist()),
        method=bound.name,
        arithmetic=ARITHMETIC["real"],
        boxes=found.boxes,
        seconds=clock.wall_s() - begun,
        complete=found.complete,
    )
