"""From a suspicious point to a counterexample: float32, inside the exact box, replayed, evaluated over the reals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Replay, Witness
from birdnn.spec import Property, Region
from birdnn.verify.exactly import OverReals

# points that engines run one by one, and those that torch evaluates in float64 in one pass
_REPLAYS_PER_CALL, _EVALUATED_PER_CALL = 8, 512


class Suspects:
    """Which points deserve a replay; anybody who has the network can tell, without running its file.

    Args:
        net: float32 copy, whose device is used.
        source: the network with the numbers of its file, to look as well for what violates over the reals only; None:
            nobody asks.
    """

    def __init__(self, net: Network, *, source: Network | None = None) -> None:
        self._net = net
        self._double = None if source is None else source.copy().double()

    def unsafe(self, region: Region, x: Tensor) -> Tensor:
        """A few of the worst points of ``x``, snapped: of those that float32 in torch says are unsafe, or float64 of
        those that come closest, shape (m, inputs), float32."""
        points, margin = self._rank_in_float32(region, x)
        found = points[margin <= 0][:_REPLAYS_PER_CALL]
        if self._double is None:
            return found
        close, margin = self._rank_in_float64(region, points)
        return torch.cat([found.cpu(), close[margin <= 0][:_REPLAYS_PER_CALL]])

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
        points, margin = self._rank_in_float32(region, x)
        return points[margin <= 0]

    def _rank_in_float32(self, region: Region, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points of ``x``, snapped, and their margins in float32, worst first."""
        points = self.snap(region, x)
        with torch.no_grad():
            margin = region.margin(self._net(points))
        order = margin.argsort()
        return points[order], margin[order]

    def _rank_in_float64(self, region: Region, points: Tensor) -> tuple[Tensor, Tensor]:
        """The first few of ``points``, ranked anew, and their margins in float64, worst first."""
        if self._double is None:
            raise ValueError("without a source there are no numbers for float64")
        points = points[:_EVALUATED_PER_CALL].cpu()
        with torch.no_grad():
            margin = region.margin(self._double(points.double()))
        order = margin.argsort()
        return points[order], margin[order]


class Judge(Suspects):
    """Decides whether points are counterexamples.

    Args:
        net: float32 copy that suggests which points deserve a replay.
        prop: the property, judged in exact rational arithmetic on the replayed outputs.
        replays: engines that run the network as its file says; a counterexample violates on every one of them.
        source: the network with the numbers of its file, to tell what holds over the reals; None: nobody asks.

    Raises:
        ValueError: there is no engine.
    """

    def __init__(
        self, net: Network, prop: Property, replays: Sequence[Replay], *, source: Network | None = None
    ) -> None:
        if not replays:
            raise ValueError("at least one replay engine is needed: without one nothing can be called violated")
        super().__init__(net, source=source)
        self._prop, self._replays = prop, tuple(replays)
        self._over_reals = None if source is None else OverReals(source)

    def first(self, region: Region, x: Tensor) -> Witness | None:
        """The first of the worst points of ``x`` that violates when replayed."""
        return self.first_of(self.suspicious(region, x)[:_REPLAYS_PER_CALL])

    def first_over_reals(self, region: Region, x: Tensor) -> tuple[Witness | None, tuple[float, ...]]:
        """Where the statement is about the reals: the witness that says most, and a point where only they violate.

        A witness that violates over the reals as well, or of which nobody can tell, is preferred. Runs and reals differ
        by rounding, so that points which violate in one of them only lie where the margin is a hair.

        Returns:
            The witness, None if there is none; the point, empty if there is none or a witness is better.
        """
        points, margin = self._rank_in_float32(region, x)
        witness = self.first_of(points[margin <= 0][:_REPLAYS_PER_CALL])
        if self._over_reals is None or (witness is not None and witness.exactly is not False):
            return witness, ()
        close, margin = self._rank_in_float64(region, points)
        close = close[margin <= 0][:_REPLAYS_PER_CALL]
        better = self.strongest_of(close)
        if better is not None and better.exactly is not False:
            return better, ()
        # the worst one only: exact evaluation takes long, and the others are no better
        exact = (tuple(point.tolist()) for point in close[:1])
        return witness, next((point for point in exact if self._over_reals.violates(self._prop, point)), ())

    def first_of(self, points: Tensor) -> Witness | None:
        """The first of ``points`` (m, inputs), float32, that violates when replayed."""
        return next((witness for point in points if (witness := self.replayed(point)) is not None), None)

    def strongest_of(self, points: Tensor) -> Witness | None:
        """The first of ``points`` that violates when replayed and, as far as can be told, over the reals too; else the
        first that violates when replayed."""
        first = None
        for point in points:
            witness = self.replayed(point)
            if witness is not None and witness.exactly is not False:
                return witness
            first = first or witness
        return first

    def replayed(self, point: Tensor) -> Witness | None:
        """The witness at ``point`` (float32, shape (inputs,)), if it violates there with tolerance zero."""
        x = point.cpu().numpy().astype(np.float32)
        values = tuple(float(v) for v in x)
        outputs = [tuple(float(v) for v in replay(x)) for replay in self._replays]
        # NaN and infinity violate nothing, and one engine that disagrees is a reason for doubt
        if not all(np.isfinite(y).all() and self._prop.violated(values, y) for y in outputs):
            return None
        return Witness(
            x=values,
            y=outputs[0],
            replayed_by=tuple(replay.name for replay in self._replays),
            exactly=None if self._over_reals is None else self._over_reals.violates(self._prop, values),
        )
