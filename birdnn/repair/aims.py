"""What retraining is after in one input region: its samples, its hard points, the margin it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Pairing, SampleSet
from birdnn.repair.firm import Firmness
from birdnn.repair.protocol import Goal
from birdnn.repair.targets import targets
from birdnn.sample import evaluate, from_region
from birdnn.spec import Region

_CHARACTERISED = 8192
_POOL_LIMIT = 4096
_KEPT_SHARE_OF_MARGIN = 0.5
_NEAR = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """Linear demands on outputs: ``direction @ f(x)`` has to grow by ``missing``.

    Attributes:
        x: inputs, (m, inputs).
        direction: (m, outputs).
        missing: (m,); negative where there is some to spare.
    """

    x: Tensor
    direction: Tensor
    missing: Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class Aim:
    """One region of one goal.

    Attributes:
        goal, region: which.
        margin: signed margin to reach, in the units of the property's left-hand sides.
        scale: median margin of the inputs that satisfied the property.
        samples: uniform points for each step.
        positives: inputs that satisfied the property, with the original's behaviour there.
        negatives: inputs that violated it.
        pool: inputs that were close to unsafe on some candidate, hardest first, (m, inputs).
        firmness: set once a search could not finish: the student is then made easier to prove.
    """

    goal: Goal
    region: Region
    margin: float
    scale: float
    samples: int
    positives: SampleSet
    negatives: Tensor
    pool: Tensor = field(default_factory=lambda: torch.empty(0))
    firmness: Firmness | None = None

    @staticmethod
    def of(goal: Goal, region: Region, net: Network, *, share: float, samples: int, generator: torch.Generator) -> Aim:
        """Characterise the region: the margin to ask for is ``share`` of the median margin of its positive points."""
        x = from_region(region, _CHARACTERISED, generator)
        y = evaluate(net, x)
        everything = SampleSet(x=x, y=y, margin=region.margin(y))
        positives = everything.where(everything.margin > 0)
        scale = positives.margin if len(positives) else everything.margin.abs()
        finite = scale[scale.isfinite()]
        median = float(finite.median()) if len(finite) else 0.0
        negatives = x[everything.margin <= 0]
        aim = Aim(
            goal=goal,
            region=region,
            margin=share * median,
            scale=median,
            samples=samples,
            positives=positives,
            negatives=negatives,
        )
        aim.pool = x[:0]
        return aim

    @property
    def name(self) -> str:
        """Of the property."""
        return self.goal.prop.name

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform points and points of the pool for one step."""
        fresh = from_region(self.region, self.samples, generator)
        if not len(self.pool):
            return fresh, self.pool
        picked = torch.randint(len(self.pool), (min(len(self.pool), self.samples),), generator=generator)
        return fresh, self.pool[picked]

    def targets(self, x: Tensor, y: Tensor, pairing: Pairing) -> Tensor:
        """What the outputs ``y`` of the original at ``x`` ought to be."""
        return targets(self.region, x, y, self.positives, pairing, self.margin) if self.goal.repair else y

    def hardest(self, count: int, generator: torch.Generator) -> Tensor:
        """At most ``count`` points of the pool: the closest to unsafe, and a random half of the others."""
        if len(self.pool) <= count:
            return self.pool
        others = torch.randperm(len(self.pool) - count // 2, generator=generator)[: count - count // 2] + count // 2
        return torch.cat([self.pool[: count // 2], self.pool[others]])

    def demands(self, x: Tensor, student: Network, teacher: Network, pairing: Pairing) -> list[Demand]:
        """What the points ``x`` ask of the student, polytope by polytope; those far from unsafe ask nothing.

        A polytope is left through the half-space that is nearest for the student, and where the original violates the
        property through the one that its model behaviour has chosen.
        """
        if not self.goal.repair or not len(x):
            return []
        now, before = evaluate(student, x), evaluate(teacher, x)
        wrong = self.region.margin(before) <= 0
        model = torch.where(wrong[:, None], self.targets(x, before, pairing), now) if pairing != "projection" else now
        found = []
        for polytope in self.region.unsafe:
            if not polytope.rows:
                continue
            a, b = polytope.a.to(now), polytope.b.to(now)
            row = (model @ a.T - b).argmax(1)
            missing = self.margin - ((a[row] * now).sum(1) - b[row])
            near = missing > -_NEAR * self.margin
            found.append(Demand(x[near], a[row[near]], missing[near]))
        return found

    def shortfall(self, before: Tensor, now: Tensor) -> Tensor:
        """How far outputs ``now`` miss what is asked, as multiples of the margin, (n,); ``before``: the original's."""
        wanted = torch.full_like(now[:, 0], self.margin)
        if not self.goal.repair:
            own = self.region.margin(before)
            wanted = torch.where(
                own > 0, (_KEPT_SHARE_OF_MARGIN * own).clamp(max=self.margin), torch.full_like(own, -torch.inf)
            )
        missing = (wanted - self.region.margin(now)).clamp(min=0)
        return missing / max(self.margin, 1e-30)

    def absorb(self, points: Tensor, student: Network) -> int:
        """Keep the hardest of old and new points; returns how many of them are unsafe for ``student`` now."""
        x = torch.cat([self.pool, points.cpu()])
        if not len(x):
            return 0
        margin = self.region.margin(evaluate(student, x))
        order = margin.argsort()
        order = order[margin[order] < 2 * self.margin][:_POOL_LIMIT]
        self.pool = x[order]
        return int((margin <= 0).sum())
