"""From a suspicious point to a counterexample: float32, inside the exact box, replayed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Replay, Witness
from birdnn.spec import Property, Region

_REPLAYS_PER_CALL = 8


class Judge:
    """Decides whether points are counterexamples.

    Args:
        net: float32 copy that suggests which points deserve a replay.
        prop: the property, judged in exact rational arithmetic on the replayed outputs.
        replays: engines that run the network as its file says; a counterexample violates on every one of them.

    Raises:
        ValueError: there is no engine.
    """

    def __init__(self, net: Network, prop: Property, replays: Sequence[Replay]) -> None:
        if not replays:
            raise ValueError("at least one replay engine is needed: without one nothing can be called violated")
        self._net, self._prop, self._replays = net, prop, tuple(replays)

    def snap(self, region: Region, x: Tensor) -> Tensor:
        """The float32 points of the region's exact box that are nearest to ``x``, shape (points, inputs).

        No row comes back where the box holds no float32 point.
        """
        lower, upper = (side.to(x.device) for side in region.float32_box())
        if bool((lower > upper).any()):
            return x.new_zeros((0, x.shape[1]), dtype=torch.float32)
        return torch.minimum(torch.maximum(x.to(torch.float32), lower), upper)

    def suspicious(self, region: Region, x: Tensor) -> Tensor:
        """Points of ``x``, snapped, at which the float32 network in torch is unsafe, worst first."""
        points = self.snap(region, x)
        with torch.no_grad():
            margin = region.margin(self._net(points))
        order = margin.argsort()
        return points[order[margin[order] <= 0]]

    def first(self, region: Region, x: Tensor) -> Witness | None:
        """The first of the worst points of ``x`` that violates when replayed."""
        return self.first_of(self.suspicious(region, x)[:_REPLAYS_PER_CALL])

    def first_of(self, points: Tensor) -> Witness | None:
        """The first of ``points`` (m, inputs), float32, that violates when replayed."""
        return next((witness for point in points if (witness := self.replayed(point)) is not None), None)

    def replayed(self, point: Tensor) -> Witness | None:
        """The witness at ``point`` (float32, shape (inputs,)), if it violates there with tolerance zero."""
        x = point.cpu().numpy().astype(np.float32)
        values = tuple(float(v) for v in x)
        outputs = [tuple(float(v) for v in replay(x)) for replay in self._replays]
        if not all(np.isfinite(y).all() and self._prop.violated(values, y) for y in outputs):
            return None
        return Witness(x=values, y=outputs[0], replayed_by=tuple(replay.name for replay in self._replays))
