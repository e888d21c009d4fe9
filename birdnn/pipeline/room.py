"""How much a proof about executions at a point loses to rounding: a smaller margin cannot be proved."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch

from birdnn.bounds.protocol import Question
from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.spec import Polytope, Region
from birdnn.verify.bounding import make_bound
from birdnn.verify.settings import SearchSettings


def rounding_room(net: Network, settings: SearchSettings) -> Callable[[Region], float]:
    """Region -> by how much bounds of its unsafe rows lie below their values, at most, where it is a point.

    Over the reals bounds lose next to nothing at a point. In a box they lose more to its width, which the search makes
    smaller: it is 0 there as well.

    Args:
        net: the network, in its file's type.
        settings: of the proofs.
    """
    if settings.semantics == "real":
        return lambda region: 0.0
    made = cache(lambda: (make_bound(net, settings), net.copy().double()))  # where there is a point

    def room(region: Region) -> float:
        rows = tuple(Polytope(rows=(row,), n_outputs=p.n_outputs) for p in region.unsafe for row in p.rows)
        if not rows or not region.is_point:
            return 0.0
        (bound, exact), point = made(), region.lower[None]
        question = Question.of(rows, net.n_outputs, bound.device)
        boxes = Boxes(point.to(bound.device), point.to(bound.device))
        opened = torch.ones(1, len(rows), dtype=torch.bool, device=bound.device)
        found = bound.bound(question, boxes, opened, bound.root(1))
        with torch.no_grad():
            y = exact(point)[0]
        margins = torch.stack([row.a[0] @ y - row.b[0] for row in rows])
        lost = float((margins[found.polytope.cpu()] - found.lower.cpu()).amax())
        # where bounds say nothing no margin is enough, and none is asked for
        return max(lost, 0.0) if math.isfinite(lost) else 0.0

    return room
