"""How much a proof about executions at a point loses to rounding: a smaller margin cannot be proved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch

from birdnn.bounds.protocol import Question
from birdnn.network import Network
from birdnn.spec import Polytope, Region
from birdnn.verify.bounding import make_bound, root_of
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
        bound, exact = made()
        # row by row: of several together a bound combines as it likes
        work = root_of(bound, replace(region, unsafe=rows))
        question = Question.of(rows, net.n_outputs, bound.device)
        found = bound.bound(question, work.boxes, work.opened, work.inherited)
        with torch.no_grad():
            y = exact(region.lower[None])
        margins = torch.cat([row.margin(y) for row in rows])
        lost = float((margins[found.polytope.cpu()] - found.lower.cpu()).amax())
        # where bounds say nothing no margin is enough, and none is asked for
        return max(lost, 0.0) if math.isfinite(lost) else 0.0

    return room
