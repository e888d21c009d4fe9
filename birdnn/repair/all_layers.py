"""Retraining of all layers on bounds: what is trained on is what a proof will ask.

A least change of the last layers moves single inputs; a proof is about whole boxes, and whether it succeeds depends on
how wide the values in between are on these. So the loss holds bounds: of a small box around the most unsafe input that
a few steps find in a region, the least margin by interval propagation, which is differentiable. The boxes are as wide
as a share of the region, and wider after a proof that was out of reach. Beside it stands what is to be kept, the
outputs of the original on data, domain and regions where it is right. Weights of every layer move, by gradient steps.

Source: interval bound propagation, Gowal et al. 2018, arXiv:1810.12715; small boxes around adversarial inputs, Mueller
et al. 2023 (SABR), arXiv:2210.04871. To imitate the original, the growing boxes and the last affine map, through which
rows are bounded together, are ours.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from birdnn.bounds.interval import propagate_to
from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.records import Progress, Tied, Watch
from birdnn.repair.aims import Aim
from birdnn.repair.hunting import aims_of, learn_evidence, repair_set
from birdnn.repair.imitation import LEAST, Imitation, finite_step, set_rates
from birdnn.repair.jacobian import HELD
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.repair.readout import Readout
from birdnn.sample.pieces import multiplications
from birdnn.spec import Region

# factor on `weight` for each further candidate
_MORE = 3.0
_LOOSE, _NARROW = 2.0, 1 / 256
"""The loss on bounds above which intervals see next to nothing; boxes are narrower at first, at least so wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllLayersSettings:
    """How all layers are retrained.

    Attributes:
        steps: gradient steps for one candidate at most, and `work` multiplications, fewer steps of a large network.
        rate: of Adam, as a share of the root mean square of each initialiser; it falls to nothing along half a cosine.
        boxes: regions of one step, each once or several times.
        kept: inputs of one step whose outputs are to be kept, of each kind.
        share: how wide the small boxes of the first candidate get, as a share of their region; `harder` times as wide
            for each further one.
        search: steps to the most unsafe input of a region.
        weight: what bounds count against what is kept; more for each further candidate.
        margin_share, kept_margin_share: margin asked for, as in `RetrainSettings`.
        region_points, kept_points: uniform inputs in one draw from each region.
    """

    steps: int = 600
    work: float = 3e12
    rate: float = 0.01
    boxes: int = 48
    kept: int = 192
    share: float = 0.1
    harder: float = 1.7
    search: int = 5
    weight: float = 0.03
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    region_points: int = 300
    kept_points: int = 100


class AllLayers:
    """`Repairer` by gradient steps on bounds; goes on from its last candidate."""

    def __init__(self, task: RepairTask, settings: AllLayersSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.teacher()
        shares = settings.margin_share, settings.kept_margin_share
        samples = settings.region_points, settings.kept_points
        self.aims = aims_of(task, self.teacher, shares=shares, samples=samples, generator=self.generator)
        self.asked = [Asked.of(aim) for aim in self.aims if aim.goal.repair and any(p.rows for p in aim.region.unsafe)]
        if not self.asked:
            raise MismatchError("no region asks anything of the outputs")
        self.imitation = Imitation(task, self.teacher, self.aims, self.generator)
        self.trained, self.scale = self.imitation.trained, self.imitation.scale
        self.change = torch.zeros(len(self.trained), dtype=torch.float64)
        self.share, self.weight = settings.share, settings.weight
        self.held, self.made = False, 0

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then step; hands out a copy."""
        begun, student = time.monotonic(), self.trained.at(self.change)
        over = self.task.ends(begun + timeout_s, watch)
        # margins stay: what a proof did not reach is asked for by wider boxes and a greater weight
        learn_evidence(self.aims, evidence, student, self.generator, harder=1.0, over=over)
        steps = self._affordable_steps()
        optimiser = self.imitation.optimiser(student, self.settings.rate)
        rates = [group["lr"] for group in optimiser.param_groups]
        bounds = Bounds(student)
        start, self.weight = self.share, self.weight * (_MORE if self.made else 1)
        self.share = target = min(1.0, self.share * (self.settings.harder if self.made else 1))
        # a loss that large hardly falls by any step: begin where intervals still see something
        while not self.made and start > _NARROW and self._bound_loss(student, bounds, start).item() > _LOOSE:
            start /= 2
        self.made += 1
        for step in range(steps):
            if over():
                break
            watch.update(Progress(phase="training on bounds", done=step / steps, detail=f"step {step + 1} of {steps}"))
            done = max(
                step / steps, (time.monotonic() - begun) / max(timeout_s, LEAST)
            )  # small steps come last in any case
            set_rates(optimiser, rates, done)
            # full width from two thirds of the steps on, so that the last ones train what the proof will ask
            share = start * (target / start) ** min(1.0, 1.5 * done)
            kept = self.imitation.loss(student, self.settings.kept)
            finite_step(optimiser, student, kept + self.weight * self._bound_loss(student, bounds, share))
        self.change, self.held = self.imitation.change_of(student)
        return self.task.net.with_values(self.trained.values(self.change))

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the regions were characterised."""
        return repair_set(self.aims)

    def remarks(self) -> tuple[str, ...]:
        """Whether the change was held back."""
        return (HELD.format(self.task.max_change),) if self.held else ()

    def ties(self) -> tuple[Tied, ...]:
        """None."""
        return ()

    # --- the steps

    def _affordable_steps(self) -> int:
        """As many as the work allows: each evaluates its inputs, and its boxes at two ends, forwards and backwards."""
        s = self.settings
        # thrice: a pass backwards costs about two forwards
        evaluations = 3 * (len(self.imitation.sources) * s.kept + (s.search + 3) * self._boxes_per_step())
        return max(1, min(s.steps, int(s.work / (evaluations * multiplications(self.teacher)))))

    def _boxes_per_step(self) -> int:
        return min(self.settings.boxes, 8 * len(self.asked))

    # --- what is to be proved

    def _bound_loss(self, student: Network, bounds: Bounds, share: float) -> Tensor:
        """The loss on bounds of some regions."""
        count = self._boxes_per_step()
        # one permutation, repeated: no region is drawn twice more often than another
        order = torch.randperm(len(self.asked), generator=self.generator).repeat(-(-count // len(self.asked)))
        together = Together.of([self.asked[i] for i in order[:count].tolist()])
        x = self._most_unsafe_inputs(student, together)
        half = share * (together.upper - together.lower) / 2
        # moved inward, not cut: all boxes are as wide, and none asks for what lies outside its region
        middle = torch.minimum(torch.maximum(x, together.lower + half), together.upper - half)
        lower = bounds.rows(student, middle - half, middle + half, together)
        lacking = softplus((together.margin - together.best(lower)) / self.scale * 3).sum() / count
        return lacking.log1p()  # of a deep network it is a thousand times what a shallow one has, and so is its slope

    def _most_unsafe_inputs(self, student: Network, together: Together) -> Tensor:
        """The most unsafe input that a few steps find in each region, (boxes, inputs)."""
        width = together.upper - together.lower
        x = together.lower + width * torch.rand(width.shape, generator=self.generator)
        known = [(place, pool) for place, pool in enumerate(together.pools) if len(pool)]
        for place, pool in known:
            if float(torch.rand((), generator=self.generator)) < 1 / 2:
                # half of the searches begin where some candidate was unsafe: few steps from anywhere miss it
                x[place] = pool[int(torch.randint(len(pool), (), generator=self.generator))]
        best, least = x, torch.full((len(x),), torch.inf)
        # one evaluation more than steps: where the last step leads is judged too
        for step in range(self.settings.search + 1):
            x = x.detach().requires_grad_(True)
            margin = together.least(together.best(together.values(student(x))))
            with torch.no_grad():
                better = margin < least
                best, least = torch.where(better[:, None], x, best), torch.where(better, margin, least)
            (slope,) = torch.autograd.grad(margin.sum(), x)
            # shares that sum to more than 1: steps that sum to less leave corners out of reach
            moved = x.detach() - width * slope.sign() * (0.5 * 0.6**step)
            x = torch.minimum(torch.maximum(moved, together.lower), together.upper)
        return best.detach()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """One region: rows of all unsafe polytopes, (rows, outputs) and (rows,), and to which polytope each belongs."""

    aim: Aim
    a: Tensor
    b: Tensor
    polytope: Tensor
    polytopes: int

    @staticmethod
    def of(aim: Aim) -> Asked:
        """In float32."""
        unsafe = [p for p in aim.region.unsafe if p.rows]
        sizes = torch.tensor([len(p.rows) for p in unsafe])
        return Asked(
            aim=aim,
            # rounded: what is trained on claims nothing
            a=torch.cat([p.a for p in unsafe]).float(),
            b=torch.cat([p.b for p in unsafe]).float(),
            polytope=torch.arange(len(unsafe)).repeat_interleave(sizes),
            polytopes=len(unsafe),
        )

    @property
    def region(self) -> Region:
        """Which."""
        return self.aim.region


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Together:
    """Several regions side by side.

    Attributes:
        lower, upper: corners, (boxes, inputs) float32.
        a, b: rows of all, (rows, outputs) and (rows,).
        box, polytope: to which each row belongs; `owner`: to which box each polytope does.
        margin: asked for, (polytopes,).
        pools: inputs that were unsafe for some candidate, of each box.
    """

    lower: Tensor
    upper: Tensor
    a: Tensor
    b: Tensor
    box: Tensor
    polytope: Tensor
    owner: Tensor
    margin: Tensor
    pools: Sequence[Tensor]

    @staticmethod
    def of(asked: Sequence[Asked]) -> Together:
        """In their order, the same one perhaps more than once."""
        corners = [one.region.float32_box() for one in asked]
        counts = torch.tensor([one.polytopes for one in asked])
        first = (counts.cumsum(0) - counts).tolist()
        owner = torch.arange(len(asked)).repeat_interleave(counts)
        margins = torch.tensor([one.aim.margin for one in asked])
        return Together(
            lower=torch.stack([low for low, _ in corners]),
            upper=torch.stack([high for _, high in corners]),
            a=torch.cat([one.a for one in asked]),
            b=torch.cat([one.b for one in asked]),
            box=torch.arange(len(asked)).repeat_interleave(torch.tensor([len(one.b) for one in asked])),
            polytope=torch.cat([one.polytope + at for one, at in zip(asked, first, strict=True)]),
            owner=owner,
            margin=margins[owner],
            pools=[one.aim.pool for one in asked],
        )

    def values(self, y: Tensor) -> Tensor:
        """Of all rows at one input of each box, for outputs (boxes, outputs): (rows,)."""
        return (self.a * y[self.box]).sum(1) - self.b

    def best(self, rows: Tensor) -> Tensor:
        """The greatest row of each polytope: (polytopes,)."""
        start = torch.full((len(self.owner),), -torch.inf)
        return start.scatter_reduce(0, self.polytope, rows, "amax")

    def least(self, polytopes: Tensor) -> Tensor:
        """The least polytope of each box: (boxes,)."""
        return torch.full((len(self.lower),), torch.inf).scatter_reduce(0, self.owner, polytopes, "amin")


class Bounds:
    """Differentiable lower bounds of rows on boxes: intervals of what the last affine map reads, then that map itself.

    For training only: nothing is claimed by them.
    """

    def __init__(self, net: Network) -> None:
        try:
            self._readout: Readout | None = Readout(net)
        except MismatchError:
            self._readout = None

    def rows(self, student: Network, lower: Tensor, upper: Tensor, together: Together) -> Tensor:
        """Of all rows of the boxes: (rows,)."""
        names = (student.output_name,) if self._readout is None else self._readout.reads
        ends = propagate_to(student, names, lower, upper)
        low, high = (torch.cat(side, 1)[together.box] for side in zip(*ends, strict=True))
        # the rows pass through the last affine map before absolute values are taken: an interval of each output by
        # itself would let two outputs that move together be apart
        middle, radius = (low + high) / 2, (high - low) / 2
        if self._readout is None:
            return (together.a * middle - together.a.abs() * radius).sum(1) - together.b
        # affine in the features, so that its value in the middle and its slope give the least over the intervals
        # exactly
        value, slope = self._readout.directed(student, middle, together.a)
        return value - (slope.abs() * radius).sum(1) - together.b
