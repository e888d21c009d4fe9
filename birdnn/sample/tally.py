"""Counting violations among fresh draws, in batches that fit whatever memory there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.sample.draw import BATCH, evaluate_batch
from birdnn.sample.measures import Draws
from birdnn.spec import Property

KEPT = 64


def union_margin(prop: Property, x: Tensor, y: Tensor) -> Tensor:
    """Signed margins (n,) at inputs (n, inputs) with outputs (n, outputs): the least over the regions that hold each.

    At most 0, or NaN: a violation, up to the boundary of strict constraints, which counts as one. Infinity outside.
    """
    if len(prop.regions) == 1:
        return prop.regions[0].margin_at(x, y).to(y)
    margin = torch.full_like(y[:, 0], torch.inf)
    for region in prop.regions:
        lower, upper = (side.to(x.device) for side in region.float32_box())
        inside = ((x >= lower) & (x <= upper)).all(1)
        margin = torch.where(inside, torch.minimum(margin, region.margin_at(x, y).to(y)), margin)
    return margin


def evaluate_on_device(net: Network, x: Tensor) -> Tensor:
    """Outputs without gradients, where `x` lies, in batches that fit its memory."""
    with torch.no_grad():
        return torch.cat([evaluate_batch(net, part) for part in torch.split(x, BATCH[x.device.type])])


@dataclass(slots=True, eq=False)
class Tally:
    """How many of a property's draws violate it.

    Attributes:
        net: float32, on the device of the draws.
        n, violations: so far.
        seconds: spent on drawing and evaluating.
        worst: up to `KEPT` violating inputs, (m, inputs), the deepest violations first.
    """

    net: Network
    prop: Property
    draws: Draws
    n: int = 0
    violations: int = 0
    seconds: float = 0.0
    worst: Tensor = field(init=False)
    _depth: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.worst, self._depth = torch.empty(0, self.prop.n_inputs), torch.empty(0)

    def add(self, count: int) -> int:
        """Draw ``count`` more points, or as many as are left; returns how many were drawn."""
        begun = time.perf_counter()
        x = self.draws.take(count)
        margin = union_margin(self.prop, x, evaluate_on_device(self.net, x))
        # not `margin <= 0`: NaN counts as a violation
        bad = ~(margin > 0)
        found = int(bad.sum())
        if found:
            self._keep_worst(x[bad].cpu(), margin[bad].cpu())
        self.n += len(x)
        self.violations += found
        self.seconds += time.perf_counter() - begun
        return len(x)

    def _keep_worst(self, x: Tensor, margin: Tensor) -> None:
        points, depth = torch.cat([self.worst, x]), torch.cat([self._depth, margin])
        order = depth.argsort()[:KEPT]
        self.worst, self._depth = points[order], depth[order]
