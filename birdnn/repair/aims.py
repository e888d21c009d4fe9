"""What retraining is after in one input region: its samples, its hard points, the margin it asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Pairing, SampleSet
from birdnn.repair.protocol import Goal
from birdnn.repair.targets import imitation_targets
from birdnn.sample import draw_from_region, evaluate
from birdnn.sample.pieces import drawable_count
from birdnn.spec import Polytope, Region

# points that characterise one region; where regions share the effort, `_FEW` at least
_CHARACTERISED = 8192
_REGIONS = 16  # of one property; where they are more, each gets fewer points
_FEW = 256
_POOL_LIMIT = 1 << 13
# of one call of `absorb`: so many at random, and half as many of the worst
_LEARNT = 200
_REACHED = 0.5


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
        typical: the median margin of the positives.
        samples: how many uniform points one draw has.
        positives: inputs that satisfied the property, with the original's behaviour there.
        negatives: inputs that violated it.
        pool: inputs that were close to unsafe on some candidate, oldest first, (m, inputs).
    """

    goal: Goal
    region: Region
    margin: float
    typical: float
    samples: int
    positives: SampleSet
    negatives: Tensor
    pool: Tensor = field(default_factory=lambda: torch.empty(0))

    @staticmethod
    def of(goal: Goal, region: Region, net: Network, *, share: float, samples: int, generator: torch.Generator) -> Aim:
        """Characterise the region: the margin to ask for is ``share`` of the median margin of its positive points."""
        few = max(_FEW, _CHARACTERISED // max(1, len(goal.prop.regions) // _REGIONS))
        x = draw_from_region(region, drawable_count(few, region.n_inputs), generator)
        y = evaluate(net, x)
        everything = SampleSet(x=x, y=y, margin=region.margin(y))
        positives = everything.where(everything.margin > 0)
        # where everything violates, how far it does is the only scale at hand
        scale = positives.margin if len(positives) else everything.margin.abs()
        # margins are infinite without polytopes, and outputs may overflow: neither says how large margins are here
        finite = scale[scale.isfinite()]
        median = float(finite.median()) if len(finite) else 0.0
        # an output that is no number is in neither set: there is nothing to imitate, and no finite margin to reach
        negatives = x[everything.margin <= 0]
        aim = Aim(
            goal=goal,
            region=region,
            margin=share * median,
            typical=median,
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

    def draw(self, generator: torch.Generator) -> Tensor:
        """Uniform points of the region, as many as `samples` says."""
        return draw_from_region(self.region, self.samples, generator)

    def targets(self, x: Tensor, y: Tensor, pairing: Pairing) -> Tensor:
        """What the outputs ``y`` of the original at ``x`` ought to be."""
        return imitation_targets(self.region, x, y, self.positives, pairing, self.margin) if self.goal.repair else y

    def hardest(self, count: int, student: Network, generator: torch.Generator) -> Tensor:
        """At most ``count`` points of the pool: those closest to unsafe now, and a random half of the others."""
        if len(self.pool) <= count:
            return self.pool
        # not the worst alone: a step that forgets what is mastered undoes what the last one did
        order = self.region.margin(evaluate(student, self.pool)).argsort()
        rest = order[count // 2 :]
        others = rest[torch.randperm(len(rest), generator=generator)[: count - count // 2]]
        return self.pool[torch.cat([order[: count // 2], others])]

    def demands(self, x: Tensor, student: Network, teacher: Network, pairing: Pairing) -> list[Demand]:
        """What the points ``x`` ask of the student, polytope by polytope.

        A polytope is left through the half-space that is nearest for the student, and where the original violates the
        property through the one that its model behaviour has chosen.
        """
        if not self.goal.repair or not len(x):
            return []
        now, before = evaluate(student, x), evaluate(teacher, x)
        # the projection is the nearest way out for any outputs, so that the student's own choose the row; the other
        # pairings have chosen a model, but only for what was wrong
        wrong = self.region.margin(before) <= 0
        model = torch.where(wrong[:, None], self.targets(x, before, pairing), now) if pairing != "projection" else now
        found = []
        for polytope in self.region.unsafe:
            if not polytope.rows:
                continue
            a, b = polytope.a.to(now), polytope.b.to(now)
            row = (model @ a.T - b).argmax(1)
            missing = self.margin - ((a[row] * now).sum(1) - b[row])
            found.append(Demand(x, a[row], missing))
        return found

    def absorb(self, points: Tensor, student: Network, generator: torch.Generator) -> None:
        """Learn from inputs that are close to unsafe: some of the worst and a random choice.

        An input that the student has mastered stays, or the next step would undo what this one did.
        """
        if self.region.is_point:  # other points of the goal have other answers, and twice the same constrains no more
            points = points[:0] if len(self.pool) else self.region.lower[None].float()
        margin = self.region.margin(evaluate(student, points.cpu()))
        order = margin.argsort()
        # with twice the margin there is nothing to learn; NaN compares false, and no row can be asked of it
        order = order[margin[order] < 2 * self.margin]
        some = torch.randperm(len(order), generator=generator)[:_LEARNT]
        # of indices: an input that is among the worst and drawn as well is learnt once
        chosen = torch.unique(torch.cat([order[: _LEARNT // 2], order[some]]))
        # the oldest go first: they were hard for candidates that are long gone
        self.pool = torch.cat([self.pool, points.cpu()[chosen]])[-_POOL_LIMIT:]

    def close(self, student: Network) -> list[Polytope]:
        """The unsafe polytopes to which some known input comes closer than the property's margin typically is."""
        known = torch.cat([self.pool, self.positives.x])
        if not len(known):
            return []
        y = evaluate(student, known)
        return [p for p in self.region.unsafe if p.rows and float(p.margin(y).amin()) < self.typical]

    @property
    def least(self) -> float:
        """What a hard input has to exceed: half of the margin where the property was violated, elsewhere nothing."""
        return _REACHED * self.margin if self.goal.violated else 0.0

    def lack(self, student: Network) -> float:
        """How much the worst point of the pool lacks, as a multiple of the margin asked for; not positive: nothing."""
        if not self.goal.repair or not len(self.pool):
            return -1.0
        worst = float(self.region.margin(evaluate(student, self.pool)).amin())
        # NaN exceeds nothing, and so it lacks, and lacks everything
        if worst > self.least:
            return -1.0
        return (self.least - worst) / max(self.margin, 1e-30) if math.isfinite(worst) else math.inf
