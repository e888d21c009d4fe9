"""Adaptive multilevel splitting: violation probabilities far below what counting can see.

Webb, Rainforth, Teh and Kumar, "A statistical approach to assessing neural network robustness", ICLR 2019,
arXiv:1811.07209. Particles of a unit cube climb towards a violation: those that are nearest to one survive a level, are
multiplied, and moved by Metropolis-Hastings steps that stay above the level. The product of the surviving shares
estimates the probability. Its spread over independent repetitions is seen; a mode that none of them found is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Progress, RareEvent, Watch
from birdnn.sample.measures import Cube
from birdnn.sample.tally import KEPT, run, union_margin

Height = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplittingSettings:
    """Effort.

    Attributes:
        particles: of each repetition.
        repetitions: independent ones.
        survivors: share of the particles that a level keeps.
        moves: Metropolis-Hastings steps of every particle on each level.
        widest, narrowest: standard deviations of a step, in edges of the cube; each step draws its own, log-uniformly
            between them, so that nothing is tuned on the way and the steps keep their stationary measure.
        levels: at most; a repetition that has not arrived by then found nothing.
    """

    particles: int = 1000
    repetitions: int = 10
    survivors: float = 0.1
    moves: int = 40
    widest: float = 0.5
    narrowest: float = 1e-4
    levels: int = 60


def violation_probability(
    net: Network, cube: Cube, *, settings: SplittingSettings, generator: torch.Generator, measure: str, watch: Watch
) -> tuple[RareEvent, Tensor]:
    """The probability that a draw of the cube's measure violates its property, and some violating inputs (m, inputs).

    Args:
        net: float32, on the generator's device.
        measure: the measure's printable name.
    """
    swarm = _Swarm(lambda u: _height(net, cube, u), cube.dimensions, settings, generator)
    counted = swarm.counting_share(lambda u: cube.points(u)[1])
    while swarm.climb() and not watch.stopped():
        watch.update(Progress(phase=f"splitting for {cube.prop.name}", detail=f"level {swarm.level}"))
    found = [float(p) / counted for p in swarm.probabilities()]
    logs = torch.tensor([math.log10(p) for p in found if p > 0], dtype=torch.float64)
    event = RareEvent(
        measure=measure,
        estimate=sum(found) / len(found),
        repetitions=tuple(found),
        log10_se=float(logs.std() / math.sqrt(len(logs))) if len(logs) > 1 else None,
        particles=settings.particles,
        evaluations=swarm.evaluations,
    )
    u, height = swarm.u.flatten(0, 1), swarm.height.flatten()
    return event, cube.points(u[height >= 0][:KEPT])[0].cpu()


def _height(net: Network, cube: Cube, u: Tensor) -> Tensor:
    """0 and above: a violation (NaN is one); minus infinity for a point that does not count."""
    x, counts = cube.points(u)
    margin = union_margin(cube.prop, x, run(net, x))
    return torch.where(counts, (-margin).nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf), -math.inf)


class _Swarm:
    """All repetitions side by side: positions (repetitions, particles, dimensions) and heights."""

    def __init__(self, height_of: Height, dimensions: int, settings: SplittingSettings, generator: torch.Generator):
        self.height_of, self.settings, self.generator = height_of, settings, generator
        shape = (settings.repetitions, settings.particles, dimensions)
        self.u = self._random(*shape)
        self.height = self._heights(self.u)
        self.log_p = torch.zeros(settings.repetitions, dtype=torch.float64)
        self.arrived = torch.zeros(settings.repetitions, dtype=torch.bool)
        self.lost = torch.zeros_like(self.arrived)
        self.level, self.evaluations = 0, settings.repetitions * settings.particles

    def counting_share(self, counts: Callable[[Tensor], Tensor]) -> float:
        """Share of the first, uniform particles that count."""
        return float(counts(self.u.flatten(0, 1)).double().mean())

    def probabilities(self) -> list[float]:
        """One for each repetition; 0 where it did not arrive."""
        return torch.where(self.arrived, self.log_p.exp(), 0.0).tolist()

    def climb(self) -> bool:
        """One level for those on their way; False once there are none."""
        on_way = (~(self.arrived | self.lost)).nonzero().flatten()
        if not len(on_way) or self.level >= self.settings.levels:
            return False
        self.level += 1
        ranked, order = self.height[on_way.to(self.height.device)].sort(dim=1, descending=True)
        threshold = self._thresholds(ranked)
        above = (ranked >= threshold[:, None]).sum(1)
        top = torch.isinf(threshold) & (threshold > 0)
        self.lost[on_way[top.cpu()]] = True
        share = above.double().cpu() / self.settings.particles
        self.log_p[on_way] += share.log()
        self.arrived[on_way[(threshold >= 0).cpu() & ~top.cpu()]] = True
        going = (threshold < 0) & ~top
        if bool(going.any()):
            self._multiply(on_way.to(going.device)[going], order[going], above[going], threshold[going])
        return True

    def _thresholds(self, ranked: Tensor) -> Tensor:
        """The next level of each repetition, at most 0; infinity for one whose particles are all equally high.

        Where half of the particles share the quantile's height the level is the next one above it, so that a plateau
        cannot hold the climb up.
        """
        kept = max(1, round(self.settings.survivors * self.settings.particles))
        quantile = ranked[:, kept - 1].clamp(max=0.0)
        higher = torch.where(ranked > quantile[:, None], ranked, math.inf).amin(1).clamp(max=0.0)
        stuck = ranked[:, 0] <= quantile
        crowded = ((ranked >= quantile[:, None]).double().mean(1) > 0.5) & (quantile < 0)
        return torch.where(crowded, torch.where(stuck, math.inf, higher), quantile)

    def _multiply(self, which: Tensor, order: Tensor, above: Tensor, threshold: Tensor) -> None:
        """Draw every particle anew from the survivors, then move all."""
        chosen = (self._random(*order.shape) * above[:, None]).long()
        parents = order.gather(1, chosen)
        u = self.u[which].gather(1, parents[..., None].expand(-1, -1, self.u.shape[2]))
        height = self.height[which].gather(1, parents)
        for _ in range(self.settings.moves):
            proposed = self._proposal(u)
            there = self._heights(proposed)
            accepted = there >= threshold[:, None]
            u, height = torch.where(accepted[..., None], proposed, u), torch.where(accepted, there, height)
            self.evaluations += accepted.numel()
        self.u[which], self.height[which] = u, height

    def _proposal(self, u: Tensor) -> Tensor:
        """A symmetric step on about half of the coordinates, reflected at the cube's faces."""
        s = self.settings
        spread = self._random(*u.shape[:2], 1) * math.log(s.narrowest / s.widest)
        normal = torch.randn(u.shape, generator=self.generator, dtype=u.dtype, device=u.device)
        step = s.widest * spread.exp() * normal * (self._random(*u.shape) < 0.5)
        folded = (u + step).remainder(2.0)
        return torch.where(folded > 1.0, 2.0 - folded, folded)

    def _heights(self, u: Tensor) -> Tensor:
        return self.height_of(u.flatten(0, 1)).reshape(u.shape[:2])

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, dtype=torch.float64, device=self.generator.device)
