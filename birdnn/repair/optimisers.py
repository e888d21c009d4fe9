"""Minimising a function of a few numbers without its gradient: particle swarm and CMA-ES behind one interface.

Both are rank-based: only comparisons of fitness count, not its size. The packages are imported when they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

SearchKind = Literal["pso", "cmaes"]

Fitness: TypeAlias = Callable[[Tensor], Tensor]
"""Fitness, the smaller the better, of a batch of candidates: (particles, k) float32 -> (particles,)."""

_POPULATION = 20
_INERTIA, _OWN, _SWARM = 0.6, 2.5, 0.8
# of half of the box's mean width
_SIGMA = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """Where to look, and for how long.

    Attributes:
        lower, upper: corners of the box, (k,) float32, on the device of the computation.
        start: a point of the box that is among the first candidates, (k,).
        seed: of every draw; neither optimiser touches torch's global generators.
        evaluations: candidates at most.
        stopped: asked after every batch; the search then ends with the best found.
    """

    lower: Tensor
    upper: Tensor
    start: Tensor
    seed: int
    evaluations: int
    stopped: Callable[[], bool]


@runtime_checkable
class Optimiser(Protocol):
    """Finds a small value of a fitness in a box."""

    def __call__(self, fitness: Fitness, search: Search) -> Tensor:
        """The best candidate that was evaluated, (k,); the start is always among them."""


@dataclass(slots=True, eq=False)
class _Ranked:
    """The fitness, with what is no number counting as worst, and the best candidate so far."""

    fitness: Fitness
    best: Tensor
    least: float = math.inf
    used: int = field(default=0)

    def __call__(self, candidates: Tensor) -> Tensor:
        values = torch.nan_to_num(self.fitness(candidates), nan=math.inf, posinf=math.inf)
        place = int(values.argmin())
        if float(values[place]) < self.least:
            self.best, self.least = candidates[place].clone(), float(values[place])
        self.used += len(candidates)
        return values


def pso(fitness: Fitness, search: Search) -> Tensor:
    """Particle swarm by EvoX, on the device of the corners.

    20 particles, as in BIRDNN's release (Liang et al. 2023, arXiv:2305.03365), the first of which begins at the start.
    The coefficients are EvoX's own, w = 0.6, c1 = 2.5, c2 = 0.8. With the release's, w = 0.8, c1 = c2 = 0.41, 1,000
    candidates for phi-2 on N2,1 of ACAS Xu end, as a mean of two seeds, at a fitness of 0.0073 in place of 0.0052 for
    10 neurons and of 0.028 in place of 0.016 for 30; CMA-ES reaches 0.0024 and 0.0092.
    """
    from evox.algorithms import PSO
    from evox.core import Problem
    from evox.workflows import StdWorkflow

    ranked = _Ranked(fitness, search.start)

    class Ranking(Problem):  # type: ignore[misc]  # evox is not typed
        def evaluate(self, candidates: Tensor) -> Tensor:
            return ranked(candidates)

    device = search.lower.device
    # EvoX draws from torch's global generators, which others use as well
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        torch.manual_seed(search.seed)
        swarm = PSO(_POPULATION, search.lower, search.upper, w=_INERTIA, phi_p=_OWN, phi_g=_SWARM, device=device)
        # before the first step, which evaluates the population as it stands
        swarm.pop[0] = search.start
        workflow = StdWorkflow(swarm, Ranking(), device=device)
        workflow.init_step()
        while ranked.used + _POPULATION <= search.evaluations and not search.stopped():
            workflow.step()
    return ranked.best


def cmaes(fitness: Fitness, search: Search) -> Tensor:
    """Covariance matrix adaptation (Hansen and Ostermeier 2001) by the package ``cmaes``, begun at the start."""
    from cmaes import CMA

    ranked = _Ranked(fitness, search.start)
    # the strategy draws around its mean, and need never ask for the mean itself
    ranked(search.start[None])
    # the package wants two dimensions at least; one that nothing reads harms nobody
    spare = max(0, 2 - len(search.start))
    width = (search.upper - search.lower).double().cpu().numpy()
    corners = torch.stack([search.lower, search.upper], 1).double().cpu().numpy()
    strategy = CMA(
        mean=np.append(search.start.double().cpu().numpy(), np.zeros(spare)),
        sigma=_SIGMA * float(width.mean()) / 2,
        bounds=np.concatenate([corners, np.tile([[-1.0, 1.0]], (spare, 1))]),
        seed=search.seed,
        population_size=_POPULATION,
    )
    while ranked.used + _POPULATION <= search.evaluations and not search.stopped() and not strategy.should_stop():
        asked = [strategy.ask() for _ in range(_POPULATION)]
        candidates = torch.from_numpy(np.stack(asked)).to(search.start)
        values = ranked(candidates[:, : len(search.start)]).double().cpu().tolist()
        strategy.tell(list(zip(asked, values, strict=True)))
    return ranked.best


OPTIMISERS: Mapping[SearchKind, Optimiser] = {"pso": pso, "cmaes": cmaes}
