"""Retraining of all layers until slopes are what they have to be: that an output never falls as an input grows.

No change of the last layer makes a network monotone: where two neurons of it rise and fall by themselves, no weights
but zeros do. Gradient steps over all layers find such networks, and one loss holds all that counts. It asks for slopes
with a margin, at random inputs and at the worst that a search finds; for quotients of differences, which feel where a
neuron's kink lies; for the ends of intervals on small boxes (`birdnn.repair.tangents`), without which no proof ends;
and for the original's outputs and decisions elsewhere. What a proof leaves open is where a sliver of wrong slopes
hides that no search meets: a few steps there, from the weights as they are, are the next candidate.

The loss, the intervals by samples and the loop with a proof are ours. Certified monotonicity by training and a proof in
turns goes back to Liu et al. 2020, arXiv:2011.10219.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.records import Progress, Tied, Watch
from birdnn.records.limits import Over
from birdnn.repair.hunting import aims_of, hunt_hard_inputs, learn_evidence, repair_set, some_of
from birdnn.repair.imitation import LEAST, Imitation, finite_step, set_rates
from birdnn.repair.jacobian import HELD
from birdnn.repair.protocol import Evidence, RepairTask, SlopeGoal
from birdnn.repair.tangents import Tangents
from birdnn.sample import draw_uniform
from birdnn.sample.pieces import multiplications
from birdnn.spec import Region

_CHARACTERISED = 1 << 13
_POOL = 1 << 12
_SEARCHED, _KEPT_WORST, _COPIES, _ROUNDS = 10_000, 200, 15, 4
_REACH, _CLOSER = 0.1, 0.3
"""Of a region's width: how far a search looks around its worst inputs at first, and the factor on it in each round."""
_ROUNDED = 1e-6  # of an input's size: what rounding to float32 may move one that is fixed
_FREE = 3  # inputs of a box whose corners are all looked at; of more a random choice
_NEAR = 1e-4, 1e-2  # of a region's width: how far around the middle of an open box
_WARM = 0.1  # share of the steps in which rates grow
_NEAREST, _WIDEST = 1e-3, 1.0
"""Of a region's width in the input along which outputs change: distances of two inputs that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeTrainingSettings:
    """How slopes are trained.

    Attributes:
        steps: gradient steps for the first candidate at most, `work` multiplications; `polish` for each further one.
        rate: of Adam, as a share of the root mean square of each initialiser, at most; a later candidate's is `gentler`
            of it. Steps begin with the share `calm` of it, and grow by `bolder` while searches meet wrong slopes: where
            little has to change, small steps keep decisions that large ones do not find again.
        points: inputs of one step at which slopes are asked for, half of them the worst known.
        boxes: small boxes of one step, half of them around the worst known.
        widths: of boxes, as shares of their region: the least and the greatest.
        kept: inputs of one step whose outputs are to be kept, of each kind.
        moved, decided: what changes of outputs and of decisions count.
        point_weight, box_weight: what slopes at inputs and on boxes count against what is kept.
        grows, falls: factors on both weights after a search, where it met a wrong slope and where it met none: as much
            is kept as slopes allow. `harder`: factor on them for each further candidate.
        margin_share: margin asked for, as a share of the mean size of the slopes in the region.
        kept_margin_share: of other properties, as in `RetrainSettings`.
        search: steps between two searches for inputs whose slopes are worst.
        hunts: searches for inputs that are close to violating another property, along the way.
        region_points, kept_points: uniform inputs in one draw from each region of another property.
    """

    steps: int = 2500
    polish: int = 400
    work: float = 1e13
    rate: float = 1e-3
    gentler: float = 0.3
    calm: float = 0.05
    bolder: float = 1.08
    points: int = 300
    boxes: int = 96
    widths: tuple[float, float] = (0.01, 0.05)
    kept: int = 800
    moved: float = 10.0
    decided: float = 100.0
    point_weight: float = 2.0
    box_weight: float = 0.3
    grows: float = 1.1
    falls: float = 0.97
    harder: float = 2.0
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    search: int = 25
    hunts: int = 4
    region_points: int = 100
    kept_points: int = 100


class SlopeTraining:
    """`Repairer` by gradient steps on slopes; goes on from its last candidate.

    Raises:
        MismatchError: nothing is known of slopes behind some node of the network.
    """

    def __init__(self, task: RepairTask, settings: SlopeTrainingSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.teacher()
        shares = settings.kept_margin_share, settings.kept_margin_share
        samples = settings.region_points, settings.kept_points
        self.aims = aims_of(task, self.teacher, shares=shares, samples=samples, generator=self.generator)
        self.kept = [aim for aim in self.aims if aim.goal.repair and any(p.rows for p in aim.region.unsafe)]
        self.slopes = slope_aims(task, self.teacher, settings.margin_share, self.generator)
        if not self.slopes:
            raise MismatchError("nothing is asked of slopes")
        around = [aim.region for aim in self.slopes]
        self.imitation = Imitation(task, self.teacher, self.aims, self.generator, around=around, fresh=True)
        self.change = torch.zeros(len(self.imitation.trained), dtype=torch.float64)
        self.held, self.made, self.weight = False, 0, 1.0

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then step; hands out a copy."""
        s, begun = self.settings, time.monotonic()
        over = self.task.ends(begun + timeout_s, watch)
        student = self.imitation.trained.at(self.change)
        self._learn(evidence, student, over)
        first = not self.made
        # searches that met nothing wrong have let it fall, and a proof that stays open says that something is
        self.weight = self.weight if first else s.harder * max(1.0, self.weight)
        self.made += 1
        steps = self._affordable_steps(s.steps if first else s.polish)
        optimiser = self.imitation.optimiser(student, s.rate if first else s.gentler * s.rate)
        rates = [group["lr"] for group in optimiser.param_groups]
        pace = s.calm if first else 1.0
        hunts = {steps * (i + 1) // (s.hunts + 1) for i in range(s.hunts)} if first else {0}
        for step in range(steps):
            if over():
                break
            news = f"step {step + 1} of {steps}"
            watch.update(Progress(phase="training slopes", done=step / steps, detail=news))
            if step in hunts:
                hunt_hard_inputs(self.kept, student, self.task.resample, self.generator, over)
            if step % s.search == 0:
                wrong = [aim.search(student, self.generator) for aim in self.slopes]
                self.weight *= s.grows if any(wrong) else s.falls
                pace = min(1.0, pace * s.bolder) if any(wrong) else pace
            # small steps come last in any case
            done = max(step / steps, (time.monotonic() - begun) / max(timeout_s, LEAST))
            warm = min(1.0, (step + 1) / (_WARM * steps))
            set_rates(optimiser, [warm * pace * rate for rate in rates], done)
            finite_step(optimiser, student, self._loss(student))
        self.change, self.held = self.imitation.change_of(student)
        return self.task.net.with_values(self.imitation.trained.values(self.change))

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the regions were characterised."""
        return repair_set(self.aims)

    def remarks(self) -> tuple[str, ...]:
        """Whether the change was held back."""
        return (HELD.format(self.task.max_change),) if self.held else ()

    def ties(self) -> tuple[Tied, ...]:
        """None."""
        return ()

    def _learn(self, evidence: Evidence, student: Network, over: Over) -> None:
        learn_evidence(self.aims, evidence, student, self.generator, harder=1.0, over=over)
        for aim in self.slopes:
            aim.learn(evidence, self.generator)

    def _affordable_steps(self, wished: int) -> int:
        s = self.settings
        # of points two runs and a tangent, of boxes all samples; thrice, as a pass backwards costs about two forwards
        each = 4 * s.points + (s.boxes * (1 << _FREE)) * 2
        evaluations = 3 * (len(self.imitation.sources) * s.kept + len(self.slopes) * each)
        return max(1, min(wished, int(s.work / (evaluations * multiplications(self.teacher)))))

    def _loss(self, student: Network) -> Tensor:
        s = self.settings
        total = self.imitation.loss(student, s.kept, moved=s.moved, decided=s.decided)
        for aim in self.slopes:
            x = aim.draw(s.points, self.generator)
            lacking = aim.lacking(aim.slopes_at(student, x)) + aim.lacking(aim.quotients(student, x, self.generator))
            # the mean square's root beside the mean: what is rare and far from enough must not drown
            points = lacking.mean() + (lacking.square().mean() + LEAST).sqrt()
            corners = aim.boxes_around(aim.draw(s.boxes, self.generator), s.widths, self.generator)
            boxes = aim.lacking(aim.least_slopes(student, corners)).log1p().mean()
            total = total + self.weight * (s.point_weight * points + s.box_weight * boxes) / len(self.slopes)
        # no less than slopes: both have to hold in the end
        return total + max(1.0, self.weight) * s.point_weight * self._lost_margin(student)

    def _lost_margin(self, student: Network) -> Tensor:
        """What other properties lack, relative to their margins, at known hard inputs and at random ones."""
        if not self.kept:
            return torch.zeros(())
        xs = []
        for aim in self.kept:
            hard = some_of(aim.pool, self.settings.kept_points, self.generator)
            xs.append(torch.cat([hard, aim.draw(self.generator)]))
        # all regions in one evaluation, which is faster than many small ones
        ys = torch.split(student(torch.cat(xs)), [len(x) for x in xs])
        lost = [
            (aim.margin - aim.region.margin(y)).clamp(min=0).mean() / max(aim.typical, LEAST)
            for aim, y in zip(self.kept, ys, strict=True)
        ]
        return torch.stack(lost).mean()


@dataclass(slots=True, kw_only=True, eq=False)
class SlopeAim:
    """What is asked of slopes in one region.

    Attributes:
        goal: whose region it is.
        lower, upper: its corners, (inputs,) float32.
        rows, bounds: ``rows @ slopes`` has to exceed ``bounds``, (rows, outputs) and (rows,).
        scale: the mean size of the left sides on the original, (rows,).
        margin: asked for, as a share of `scale`.
        tangents: how slopes are computed.
        pool: inputs at which slopes are worst, or a proof was left open; (m, inputs).
    """

    goal: SlopeGoal
    region: Region
    lower: Tensor
    upper: Tensor
    rows: Tensor
    bounds: Tensor
    scale: Tensor
    margin: float
    tangents: Tangents
    pool: Tensor = field(default_factory=lambda: torch.empty(0))

    @staticmethod
    def of(goal: SlopeGoal, region: Region, teacher: Network, margin: float, generator: torch.Generator) -> SlopeAim:
        """Of the original, whose slopes say what counts as large."""
        outputs = teacher.n_outputs
        lower, upper = region.float32_box()
        # outputs stand first in a row, and count nothing in what is about slopes (`birdnn.pipeline.slopes`)
        rows = torch.cat([polytope.a[:, outputs:] for polytope in region.unsafe]).float()
        aim = SlopeAim(
            goal=goal,
            region=region,
            lower=lower,
            upper=upper,
            rows=rows,
            bounds=torch.cat([polytope.b for polytope in region.unsafe]).float(),
            scale=torch.ones(len(rows)),
            margin=margin,
            tangents=Tangents(teacher, goal.direction),
        )
        x = draw_uniform(region.lower, region.upper, _CHARACTERISED, generator)
        aim.pool = x[:_KEPT_WORST]
        with torch.no_grad():
            aim.scale = aim.slopes_at(teacher, x).abs().mean(0).clamp(min=LEAST)
        return aim

    def lacking(self, found: Tensor) -> Tensor:
        """What values of the rows, (n, rows), lack, relative to their size."""
        return self.lacking_or_spare(found).clamp(min=0)

    def lacking_or_spare(self, found: Tensor) -> Tensor:
        """`lacking`, negative where there is some to spare."""
        return (self.bounds - found) / self.scale + self.margin

    def slopes_at(self, student: Network, x: Tensor) -> Tensor:
        """The rows at inputs, (n, rows)."""
        found: Tensor = self.tangents.at(student, x) @ self.rows.T
        return found

    def least_slopes(self, student: Network, samples: Tensor) -> Tensor:
        """The least of each row that intervals leave on boxes, given by inputs of each; (boxes, rows)."""
        middle, radius = self.tangents.on_boxes(student, samples)
        least: Tensor = middle @ self.rows.T - radius @ self.rows.abs().T
        return least

    def quotients(self, student: Network, x: Tensor, generator: torch.Generator) -> Tensor:
        """The rows at quotients of differences around inputs, (n, rows): slopes that feel where kinks lie."""
        along, width = self.goal.direction, float(self.upper[self.goal.direction] - self.lower[self.goal.direction])
        share = torch.rand(len(x), generator=generator)
        reach = width * _NEAREST * (_WIDEST / _NEAREST) ** share
        far, near = x.clone(), x.clone()
        far[:, along] = torch.minimum(x[:, along] + reach / 2, self.upper[along])
        near[:, along] = torch.maximum(far[:, along] - reach, self.lower[along])
        apart = (far[:, along] - near[:, along]).clamp(min=LEAST)
        found: Tensor = ((student(far) - student(near)) / apart[:, None]) @ self.rows.T
        return found

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Inputs, half of them from the pool."""
        worst = torch.randint(len(self.pool), (count // 2,), generator=generator)
        uniform = draw_uniform(self.region.lower, self.region.upper, count - len(worst), generator)
        return torch.cat([self.pool[worst], uniform])

    def boxes_around(self, x: Tensor, widths: tuple[float, float], generator: torch.Generator) -> Tensor:
        """Inputs of small boxes around others, (boxes, samples, inputs): corners, and the middle."""
        varying = (self.upper > self.lower).nonzero()[:, 0].tolist()
        if len(varying) <= _FREE:
            signs = torch.zeros(1 << len(varying), len(self.lower))
            signs[:, varying] = torch.tensor(list(product((-0.5, 0.5), repeat=len(varying))))
            signs = signs.expand(len(x), *signs.shape)
        else:
            shape = (len(x), 1 << _FREE, len(self.lower))
            signs = torch.randint(2, shape, generator=generator) - 0.5
        inside = torch.rand(len(x), 4, len(self.lower), generator=generator) - 0.5
        offsets = torch.cat([signs, inside, torch.zeros(len(x), 1, len(self.lower))], 1)
        share = widths[0] * (widths[1] / widths[0]) ** torch.rand(len(x), 1, 1, generator=generator)
        return self._inside(x[:, None] + offsets * share * (self.upper - self.lower))

    def search(self, student: Network, generator: torch.Generator) -> bool:
        """Look for inputs whose slopes are worst, near random ones and the worst before; is one wrong?"""
        with torch.no_grad():
            uniform = draw_uniform(self.region.lower, self.region.upper, _SEARCHED, generator)
            x = torch.cat([uniform, self.pool[-_SEARCHED:]])
            x = x[self._worst_row(student, x).argsort(descending=True)[:_KEPT_WORST]]
            reach = _REACH * (self.upper - self.lower)
            for _ in range(_ROUNDS):
                offsets = 2 * torch.rand(len(x), _COPIES, x.shape[1], generator=generator) - 1
                near = torch.cat([x[:, None], self._inside(x[:, None] + offsets * reach)], 1)
                worst, found = self._worst_row(student, near.flatten(0, 1)).reshape(len(x), -1).max(1)
                x, reach = near[torch.arange(len(x)), found], _CLOSER * reach
        self.add(x)
        return bool((worst > self.margin).any())

    def learn(self, evidence: Evidence, generator: torch.Generator) -> None:
        """Learn from what a proof met."""
        if self.goal.name in evidence.points:
            # inputs of both runs, which differ in one: the wrong slope lies between them
            both = evidence.points[self.goal.name]
            self.add(both.reshape(len(both), 2, -1).mean(1))
        if self.goal.name in evidence.undecided:
            self.meet(evidence.undecided[self.goal.name], generator)

    def meet(self, boxes: Boxes, generator: torch.Generator) -> None:
        """Learn from boxes that a proof left open: their middles, a random choice of many."""
        middle = ((boxes.lower + boxes.upper) / 2).float()
        middle = middle[torch.randperm(len(middle), generator=generator)[: _POOL // 4]]
        # a box that was cut down to nothing lies where kinks cross: all slopes around it count, not the one there
        share = _NEAR[0] * (_NEAR[1] / _NEAR[0]) ** torch.rand(len(middle), 1, generator=generator)
        offsets = torch.rand(middle.shape, generator=generator) - 0.5
        self.add(torch.cat([middle, middle + offsets * share * (self.upper - self.lower)]))

    def add(self, x: Tensor) -> None:
        """Further hard inputs, those that are near the region; the oldest go first."""
        # a goal may have several regions, and what was found in another one is no input of this
        room = _NEAR[1] * (self.upper - self.lower) + _ROUNDED * torch.maximum(self.lower.abs(), self.upper.abs())
        near = ((x >= self.lower - room) & (x <= self.upper + room)).all(1)
        self.pool = torch.cat([self.pool, self._inside(x[near])])[-_POOL:]

    def _worst_row(self, student: Network, x: Tensor) -> Tensor:
        return self.lacking_or_spare(self.slopes_at(student, x)).amax(1)

    def _inside(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.lower), self.upper)


def slope_aims(task: RepairTask, net: Network, margin: float, generator: torch.Generator) -> list[SlopeAim]:
    """What a task asks of slopes, region by region, as a network's own slopes measure it."""
    return [SlopeAim.of(goal, region, net, margin, generator) for goal in task.slopes for region in goal.regions]
