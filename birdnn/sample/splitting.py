"""Adaptive multilevel splitting: violation probabilities far below what counting can see.

Webb, Rainforth, Teh and Kumar, "A statistical approach to assessing neural network robustness", ICLR 2019,
arXiv:1811.07209. Particles of a unit cube climb towards a violation: those that are nearest to one survive a level, are
multiplied, and moved by Metropolis-Hastings steps that stay above the level. The product of the surviving shares
estimates the probability. Its spread over independent repetitions is seen; a mode that none of them found is not.

The first level is reached by plain counting, with many more draws than there are particles. A network's margin is often
flat nearly everywhere, and where it then falls to zero is a small part of where it begins to fall: a swarm of a
thousand that begins on the plateau has no particle there (N1,9 with phi-7: a part of 1.6e-5; without this stage 27
million evaluations found 2e-11, with it 4 million find the 4e-7 that is there).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Progress, RareEvent, Watch
from birdnn.sample.measures import Cube
from birdnn.sample.pieces import drawable_count
from birdnn.sample.tally import KEPT, evaluate_on_device, union_margin

Height = Callable[[Tensor], Tensor]

_CHUNK = 1 << 12
_SHARED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SplittingSettings:
    """Effort.

    Attributes:
        first, seeds: draws of each repetition's first level, and how many of them it keeps.
        particles: of each repetition from then on.
        repetitions: independent ones.
        survivors: share of the particles that a later level keeps.
        moves: Metropolis-Hastings steps of every particle on each level.
        widest, narrowest: standard deviations of a step, in edges of the cube; each step draws its own, log-uniformly
            between them, so that nothing is tuned on the way and the steps keep their stationary measure.
        levels: at most; a repetition that has not arrived by then found nothing.
    """

    first: int = 250_000
    seeds: int = 250
    particles: int = 1000
    repetitions: int = 10
    survivors: float = 0.1
    moves: int = 40
    widest: float = 0.5
    narrowest: float = 1e-3
    levels: int = 60


def violation_probability(
    net: Network, cube: Cube, *, settings: SplittingSettings, generator: torch.Generator, measure: str, watch: Watch
) -> tuple[RareEvent, Tensor]:
    """The probability that a draw of the cube's measure violates its property, and some violating inputs (m, inputs).

    Args:
        net: float32, on the generator's device.
        measure: the measure's printable name.
    """
    swarm = _Swarm(lambda u: _violation_height(net, cube, u), cube.dimensions, settings, generator)
    phase = f"splitting for {cube.prop.name}"
    for repetition in range(settings.repetitions):
        if not watch.stopped():
            watch.update(Progress(phase=phase, detail=f"first level, {repetition + 1} of {settings.repetitions}"))
            swarm.begin(repetition)
    while swarm.on_way().any() and swarm.level < settings.levels and not watch.stopped():
        watch.update(Progress(phase=phase, detail=f"level {swarm.level + 1}"))
        swarm.climb()
    counted = _counting_share(cube, generator)
    # given that the point counts: the cube holds more than the input set
    found = [float(p) / counted for p in torch.where(swarm.arrived, swarm.log_p.exp(), 0.0)]
    mean = sum(found) / len(found)
    event = RareEvent(
        measure=measure,
        estimate=mean,
        repetitions=tuple(found),
        # the delta method: an error of p by dp is one of log10 p by dp / (p ln 10)
        log10_se=_relative_error(found) / math.log(10) if mean > 0 and len(found) > 1 else None,
        particles=settings.particles,
        evaluations=swarm.evaluations,
    )
    return event, cube.points(swarm.violating[:KEPT])[0].cpu()


def _relative_error(found: Sequence[float]) -> float:
    """Standard error of the mean over the mean."""
    return statistics.stdev(found) / math.sqrt(len(found)) / statistics.mean(found)


def _violation_height(net: Network, cube: Cube, u: Tensor) -> Tensor:
    """How near points (n, dimensions) are to a violation: from 0 on one (NaN, too); -inf for what does not count."""
    x, counts = cube.points(u)
    margin = union_margin(cube.prop, x, evaluate_on_device(net, x))
    return torch.where(counts, (-margin).nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf), -math.inf)


def _counting_share(cube: Cube, generator: torch.Generator) -> float:
    """Share of the cube whose points count; 1 but for overlapping regions and such as half-spaces cut."""
    if len(cube.boxes) == 1 and not cube.cut:
        return 1.0
    drawn, counted = 0, 0
    while drawn < _SHARED * (10 if cube.cut else 1):  # a small share takes more points to be known as well
        shape = (drawable_count(_SHARED, cube.dimensions), cube.dimensions)
        u = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
        drawn, counted = drawn + len(u), counted + int(cube.points(u)[1].sum())
    return counted / drawn


class _Swarm:
    """All repetitions side by side: positions (repetitions, particles, dimensions) and heights."""

    def __init__(self, height_of: Height, dimensions: int, settings: SplittingSettings, generator: torch.Generator):
        self.height_of, self.settings, self.generator = height_of, settings, generator
        self.u = self._draw_unit(settings.repetitions, settings.particles, dimensions)
        self.height = torch.full(self.u.shape[:2], -math.inf, device=self.u.device)
        self.log_p = torch.zeros(settings.repetitions, dtype=torch.float64)
        self.begun = torch.zeros(settings.repetitions, dtype=torch.bool)
        self.arrived, self.lost = self.begun.clone(), self.begun.clone()
        self.violating = self.u[0, :0]
        self.level, self.evaluations = 1, 0

    def on_way(self) -> Tensor:
        """Which repetitions are under way: begun, and neither at the last level nor given up, (repetitions,) bool."""
        return self.begun & ~(self.arrived | self.lost)

    def begin(self, repetition: int) -> None:
        """A repetition's first level."""
        # all heights, for the level; of the points only those that may be kept, as memory would not hold all
        heights, pool, pool_heights = [], self.u[0, :0], self.height[0, :0]
        for begin in range(0, self.settings.first, _CHUNK):
            u = self._draw_unit(min(_CHUNK, self.settings.first - begin), self.u.shape[2])
            heights.append(self.height_of(u))
            pool, pool_heights = torch.cat([pool, u]), torch.cat([pool_heights, heights[-1]])
            best = pool_heights.topk(min(self.settings.seeds, len(pool))).indices
            pool, pool_heights = pool[best], pool_heights[best]
        self.evaluations += self.settings.first
        self.begun[repetition] = True
        which = torch.tensor([repetition])
        self._rise_to_level(which, torch.cat(heights)[None], pool[None], pool_heights[None])

    def climb(self) -> None:
        """One level for those on their way."""
        self.level += 1
        which = self.on_way().nonzero().flatten()
        there = which.to(self.u.device)
        self._rise_to_level(which, self.height[there], self.u[there], self.height[there])

    def _rise_to_level(self, which: Tensor, heights: Tensor, pool: Tensor, pool_heights: Tensor) -> None:
        """Find the next level of some repetitions, account for it, and refill them from their pools' survivors.

        Args:
            which: the repetitions (r,).
            heights: of all points that the level is judged by, (r, n).
            pool, pool_heights: those to go on from, the highest ones at least: (r, k, dimensions), (r, k).
        """
        share = self.settings.survivors if self.level > 1 else self.settings.seeds / self.settings.first
        level = _next_levels(heights, max(1, round(share * heights.shape[1])))
        self.lost[which] = (level == math.inf).cpu()
        # the share that is there, which is more than was asked for where many are equally high
        self.log_p[which] += (heights >= level[:, None]).double().mean(1).log().cpu()
        self.arrived[which] = (level == 0).cpu()
        self.violating = torch.cat([self.violating, pool[pool_heights >= 0]])
        going = level < 0
        if bool(going.any()):
            self._refill_from_pool(which.to(going.device)[going], pool[going], pool_heights[going], level[going])

    def _refill_from_pool(self, which: Tensor, pool: Tensor, pool_heights: Tensor, level: Tensor) -> None:
        """Draw every particle anew from the survivors, then move all."""
        ranked, order = pool_heights.sort(dim=1, descending=True)
        # fewer than the pool holds where the level is above a plateau
        survivors = (ranked >= level[:, None]).sum(1)
        chosen = (self._draw_unit(len(which), self.settings.particles) * survivors[:, None]).long()
        parents = order.gather(1, chosen)
        u = pool.gather(1, parents[..., None].expand(-1, -1, pool.shape[2]))
        height = pool_heights.gather(1, parents)
        for _ in range(self.settings.moves):
            proposed = self._propose_step(u)
            there = self.height_of(proposed.flatten(0, 1)).reshape(height.shape)
            # the target is uniform above the level and steps are symmetric, so that Metropolis-Hastings asks no more
            accepted = there >= level[:, None]
            u, height = torch.where(accepted[..., None], proposed, u), torch.where(accepted, there, height)
            self.evaluations += accepted.numel()
        self.u[which], self.height[which] = u, height

    def _propose_step(self, u: Tensor) -> Tensor:
        """A symmetric step on about half of the coordinates, reflected at the cube's faces."""
        s = self.settings
        spread = self._draw_unit(*u.shape[:2], 1) * math.log(s.narrowest / s.widest)
        normal = torch.randn(u.shape, generator=self.generator, dtype=u.dtype, device=u.device)
        step = s.widest * spread.exp() * normal * (self._draw_unit(*u.shape) < 0.5)
        # reflected: clamped, particles would pile up on the faces, and be no uniform sample any more
        folded = (u + step).remainder(2.0)
        return torch.where(folded > 1.0, 2.0 - folded, folded)

    def _draw_unit(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, dtype=torch.float64, device=self.generator.device)


def _next_levels(heights: Tensor, kept: int) -> Tensor:
    """For heights (r, n) the ``kept``-th highest of each row, at most 0: (r,); infinity where a row is one plateau.

    Where more than half of a row reaches that height the level is the next one above it, so that a plateau cannot hold
    the climb up.
    """
    # at most 0, where violations begin: nobody asks for higher levels
    quantile = heights.topk(kept, dim=1).values[:, -1].clamp(max=0.0)
    higher = torch.where(heights > quantile[:, None], heights, math.inf).amin(1)
    crowded = ((heights >= quantile[:, None]).double().mean(1) > 0.5) & (quantile < 0)
    above = torch.where(higher == math.inf, higher, higher.clamp(max=0.0))
    return torch.where(crowded, above, quantile)
