"""Falsification: a population search that needs no gradient, then projected signed-gradient descent.

Both minimise the margin of one unsafe polytope at a time, in float32, in batches. The population search keeps the best
points and scatters new ones around them with shrinking spread; it sees over the flat and jagged margins of small
control networks, on which gradients get stuck (N1,9 with phi-7: found in 10 of 10 runs, by gradients in 0 or 1 of 10).
Gradients win where inputs are many. What comes out are suspicious points; only a replay makes one a counterexample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from birdnn.boxes import Boxes
from birdnn.records.limits import Over, never
from birdnn.sample.pieces import drawable, evaluated, in_memory, piece_of
from birdnn.spec import Polytope, Region

_FEW = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSettings:
    """How hard to look, for each polytope of a region.

    Attributes:
        samples: uniform points to begin with.
        generations, population, elite: rounds of the population search, new points in each, points kept.
        first_spread, last_spread: standard deviation of new points as a share of the box's width; geometric between.
        starts: gradient descents, from the best uniform points and as many random ones.
        steps: gradient steps of each descent.
        first_step, last_step: step sizes as a share of the box's width; geometric in between.
    """

    samples: int = 8192
    generations: int = 40
    population: int = 2048
    elite: int = 400
    first_spread: float = 0.4
    last_spread: float = 0.01
    starts: int = 48
    steps: int = 20
    first_step: float = 0.1
    last_step: float = 1e-3

    @property
    def evaluations(self) -> int:
        """About how many evaluations of the network it takes; a gradient costs about two more."""
        return self.samples + self.generations * self.population + 3 * self.starts * self.steps

    def scaled(self, shares: Mapping[str, float]) -> AttackSettings:
        """The same with shares of some numbers, rounded up."""
        return replace(self, **{name: math.ceil(share * getattr(self, name)) for name, share in shares.items()})

    def within(self, evaluations: float) -> AttackSettings:
        """The same with at most about so many evaluations of the network in either search, but a few in any case."""
        drawn = self.samples + self.generations * self.population
        descended = 3 * self.starts * self.steps  # a gradient costs about two evaluations more
        points, descents = (min(1.0, evaluations / max(1, all_)) for all_ in (drawn, descended))
        population = min(self.population, max(_FEW, int(points * self.population)))
        return replace(
            self,
            samples=min(self.samples, max(_FEW, int(points * self.samples))),
            generations=min(self.generations, int(points * self.generations * self.population / population)),
            population=population,
            elite=min(self.elite, max(_FEW // 4, int(points * self.elite))),
            starts=min(self.starts, max(2, int(descents * self.starts))),
        )


def attack(
    net: nn.Module,
    region: Region,
    *,
    settings: AttackSettings,
    generator: torch.Generator,
    inside: Boxes | None = None,
    thorough: bool = False,
    stopped: Over = never,
) -> Tensor:
    """Points at which some unsafe polytope comes closest, shape (m, inputs), float32; not all of them are unsafe.

    Args:
        net: float32 network, (n, inputs) -> (n, outputs); its device is used.
        region: where to look and for what.
        settings: effort.
        generator: on the CPU.
        inside: boxes of the region to draw the first points from; default the whole region.
        thorough: go on after the first unsafe point, to return as many as the effort finds.
        stopped: looked at in every generation and step, and between pieces of a large network's work; True ends the
            attack with what it has found.
    """
    device = _device(net)
    if region.is_point:  # nothing to search
        return region.lower[None].to(device, torch.float32)
    boxes = Boxes(region.lower[None], region.upper[None]) if inside is None else inside
    samples = drawable(settings.samples, len(region.lower))
    points = boxes.uniform(-(-samples // len(boxes)), generator).flatten(0, 1).to(device, torch.float32)
    found = [points[:0]]
    outputs = evaluated(net, points, stopped)
    points = points[: len(outputs)]
    for polytope in region.unsafe:
        margin = polytope.margin(outputs)
        hunt = _Hunt(net, polytope, region, settings, generator, thorough, stopped)
        found.append(hunt.by_population(points, margin))
        if polytope.rows and (thorough or not hunt.successful):  # without rows the margin has no gradient
            found.append(hunt.by_gradient(points, margin))
        if stopped() or (hunt.successful and not thorough):
            break
    return torch.cat(found)


def _device(net: nn.Module) -> torch.device:
    return next((value.device for value in (*net.parameters(), *net.buffers())), torch.device("cpu"))


class _Hunt:
    """The search for one polytope."""

    def __init__(
        self,
        net: nn.Module,
        polytope: Polytope,
        region: Region,
        settings: AttackSettings,
        generator: torch.Generator,
        thorough: bool,
        stopped: Over,
    ) -> None:
        self.net, self.polytope, self.settings, self.generator = net, polytope, settings, generator
        self.thorough, self.stopped = thorough, stopped
        device = _device(net)
        self.lower, self.upper = (side.to(device, torch.float32) for side in (region.lower, region.upper))
        self.width = self.upper - self.lower
        self.successful = False

    def by_population(self, points: Tensor, margin: Tensor) -> Tensor:
        """The last elite; with `thorough` also every unsafe point on the way."""
        s = self.settings
        ratio = (s.last_spread / s.first_spread) ** (1 / max(1, s.generations - 1))
        spread, unsafe = s.first_spread, [points[margin <= 0]]
        for _ in range(s.generations):
            order = margin.argsort()[: s.elite]
            points, margin = points[order], margin[order]
            self.successful |= bool((margin <= 0).any())
            if self.stopped() or (self.successful and not self.thorough):
                break
            parents = points[torch.randint(len(points), (s.population,), generator=self.generator).to(points.device)]
            children = self._clamp(parents + spread * self.width * self._mutation(parents))
            child_margin = self.polytope.margin(evaluated(self.net, children, self.stopped))
            children = children[: len(child_margin)]
            unsafe.append(children[child_margin <= 0])
            points, margin = torch.cat([points, children]), torch.cat([margin, child_margin])
            spread *= ratio
        best = points[margin.argsort()[: s.elite]]
        return torch.cat([best, *unsafe]) if self.thorough else best

    def by_gradient(self, points: Tensor, margin: Tensor) -> Tensor:
        """The best and the last point of each descent."""
        s = self.settings
        best_of = margin.argsort()[: s.starts // 2]
        others = torch.randperm(len(points), generator=self.generator)[: s.starts // 2].to(points.device)
        x = points[torch.cat([best_of, others])]
        best, best_margin = x, torch.full_like(x[:, 0], torch.inf)
        ratio, step = (s.last_step / s.first_step) ** (1 / max(1, s.steps - 1)), s.first_step
        for _ in range(s.steps):
            if self.stopped():
                break
            now, gradient = self._slope(x)
            if len(now) < len(x):  # time was up
                x = x[: len(now)]
                best, best_margin = best[: len(now)], best_margin[: len(now)]
            better = now < best_margin
            best, best_margin = torch.where(better[:, None], x, best), torch.where(better, now, best_margin)
            x = self._clamp(x - step * self.width * gradient.sign())
            step *= ratio
        self.successful |= bool((best_margin <= 0).any())
        return torch.cat([best, x])

    def _slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Margins and gradients at the points, or at the first ones of them."""
        found: list[tuple[Tensor, Tensor]] = []
        for part in torch.split(x, max(1, piece_of(self.net) // 3)):  # a gradient costs two evaluations more
            if found and self.stopped():
                break
            found += in_memory(self._slope_of, part)
        margins, gradients = (torch.cat(column) for column in zip(*found, strict=True))
        return margins, gradients

    def _slope_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        here = x.detach().requires_grad_(True)
        with torch.enable_grad():
            margin = self.polytope.margin(self.net(here))
            (gradient,) = torch.autograd.grad(margin.sum(), here)
        return margin.detach(), gradient

    def _mutation(self, parents: Tensor) -> Tensor:
        """Normal draws on about half of the inputs of each point."""
        normal = torch.randn(parents.shape, generator=self.generator)
        chosen = torch.rand(parents.shape, generator=self.generator) < 0.5
        return (normal * chosen).to(parents.device)

    def _clamp(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.lower), self.upper)
