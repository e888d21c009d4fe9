"""Retraining by behaviour imitation.

Violating inputs imitate the closest behaviour that the property allows; all other inputs, inside the property's regions
and in the whole domain, imitate the original network itself. Inputs on which the original's decision is close count
more. What is sought is the least change of behaviour that gives every known hard input the margin it needs, by
Gauss-Newton steps: linearise, solve exactly, look for inputs that are still close to unsafe, add them, repeat. On the
networks of ACAS Xu two or three rounds of a second each replace the hundreds of gradient steps of the paper's loop, and
keep an order of magnitude more of the decisions.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365: targets and the two-sided objective. Hard constraints, the
projection, the weights by decision and the solver are ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.records import Pairing, Progress, Watch
from birdnn.repair.aims import Aim
from birdnn.repair.jacobian import Trained
from birdnn.repair.least_change import LeastChange
from birdnn.repair.protocol import Evidence, Goal, RepairTask
from birdnn.sample import evaluate, from_boxes, uniform

_EVIDENCE_POINTS = 2048
_SCALE_POINTS = 1 << 14
_LENGTHS = (1.0, 0.5, 0.25, 0.1)
_FIRMER = 4.0
_PART = 256
_COMPARED_POINTS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainSettings:
    """How a network is retrained.

    Attributes:
        pairing: whose behaviour a violating input imitates.
        parameters: train the last initialisers of the network, up to this many values.
        domain_points, region_points, kept_points: inputs on which behaviour is measured: from the domain, from each
            region of a violated property, and of each other one.
        ridges: how strongly parameters are held, as shares of the metric's mean diagonal; all are tried at first.
        decision_floor: weight of an input is 1 / (gap between the two best outputs / its median + this).
        margin_share: margin to reach in a violated property's regions, as a share of the median margin of its
            satisfying points; `kept_margin_share` for properties that hold.
        harder: factor on the margin after a search that could not finish.
        constraints: inputs of each region that constrain one step, the closest to unsafe and a random choice.
        steps: Gauss-Newton steps for one candidate at most.
    """

    pairing: Pairing = "projection"
    parameters: int = 3000
    domain_points: int = 3000
    region_points: int = 1500
    kept_points: int = 375
    ridges: tuple[float, ...] = (0.3, 0.02)
    decision_floor: float = 0.1
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    harder: float = 2.0
    constraints: int = 800
    steps: int = 10


class Retrain:
    """`Repairer` by behaviour imitation; keeps its metric and its hard inputs between candidates."""

    def __init__(self, task: RepairTask, settings: RetrainSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.net.with_values({}).float().cpu().requires_grad_(False)
        self.trained = Trained(self.teacher, settings.parameters)
        self.aims = [aim for goal in task.goals for aim in self._aims(goal)]
        self.change = torch.zeros(len(self.trained), dtype=torch.float64)
        self.scale = self._scale()
        self.ridge = settings.ridges[0]
        self._untried = settings.ridges
        self._metric: tuple[Tensor, Tensor] | None = None
        self._solver: LeastChange | None = None

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then step until no hunt finds an unsafe input; hands out a copy."""
        until = time.monotonic() + timeout_s
        self._learn(evidence)
        if self._untried:
            # how far first order reaches differs from network to network: try both, keep what changes least
            tried = []
            for ridge in self._untried:
                self.ridge, self.change, self._solver = ridge, torch.zeros_like(self.change), None
                tried.append((*self._improve(until, watch), ridge))
            self._untried = ()
            _, _, self.change, self.ridge = min(tried, key=lambda found: found[:2])
            self._solver = None
        else:
            _, _, self.change = self._improve(until, watch)
        return self.snapshot()

    def _improve(self, until: float, watch: Watch) -> tuple[bool, float, Tensor]:
        """Step until nothing lacks: does something lack still, how much behaviour changed, the change."""
        self._hunt()
        lack, best = self._lack(self.change), self.change
        for step in range(self.settings.steps):
            if lack <= 0 or watch.stopped() or time.monotonic() > until:
                break
            news = f"step {step + 1}, worst input lacks {lack:.2g} of its margin"
            watch.update(Progress(phase="imitating", done=step / self.settings.steps, detail=news))
            self._step()
            self._hunt()
            now = self._lack(self.change)
            if now < lack:
                lack, best = now, self.change
        return lack > 0, self._difference(best), best

    def _difference(self, change: Tensor) -> float:
        """Share of decisions that changed on fresh inputs; where nothing is decided, mean difference of outputs."""
        generator = torch.Generator().manual_seed(self.task.seed + 1)
        x = torch.empty(0, self.task.net.n_inputs)
        if self.task.domain is not None:
            x = uniform(*self.task.domain, _COMPARED_POINTS, generator)
        x = x if len(x) else torch.cat([aim.draw(generator) for aim in self.aims])
        before, now = evaluate(self.teacher, x), evaluate(self.trained.at(change), x)
        was, is_now = decisions(before, self.task.decision), decisions(now, self.task.decision)
        if was is None or is_now is None:
            return float((before - now).abs().mean())
        return float((was != is_now).double().mean())

    def snapshot(self) -> Network:
        """The network as it is now, in the data types of the original."""
        return self.task.net.with_values(self.trained.values(self.change))

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the region was characterised."""
        found: dict[str, list[Tensor]] = {}
        for aim in self.aims:
            if aim.goal.repair:
                found.setdefault(aim.name, []).append(aim.negatives)
        return {name: torch.cat(parts) for name, parts in found.items()}

    def _aims(self, goal: Goal) -> list[Aim]:
        s = self.settings
        share = s.margin_share if goal.violated and goal.repair else s.kept_margin_share
        samples = s.region_points if goal.violated else s.kept_points
        each = max(1, samples // len(goal.prop.regions))
        return [
            Aim.of(goal, region, self.teacher, share=share, samples=each, generator=self.generator)
            for region in goal.prop.regions
        ]

    # --- what counts as behaviour

    def _scale(self) -> float:
        """Differences of outputs count relative to this: the median gap of the two best, else the outputs' spread."""
        x = self._domain_points(_SCALE_POINTS)
        y = evaluate(self.teacher, x if len(x) else torch.cat([aim.positives.x for aim in self.aims]))
        gap = self._gap(y)
        scale = float(gap.median()) if gap is not None and len(gap) else 0.0
        return scale if scale > 0 else max(float((y - y.mean(0)).abs().mean()) if len(y) else 1.0, 1e-12)

    def _gap(self, y: Tensor) -> Tensor | None:
        """How clear the decision is, (n,); None where there is none."""
        if self.task.decision == "none" or y.shape[1] < 2:
            return None
        best = y.topk(2, dim=1, largest=self.task.decision == "argmax").values
        return (best[:, 0] - best[:, 1]).abs()

    def _domain_points(self, count: int) -> Tensor:
        if self.task.domain is None:
            return torch.empty(0, self.task.net.n_inputs)
        return uniform(*self.task.domain, count, self.generator)

    def _build(self) -> tuple[Tensor, Tensor]:
        """The metric over domain and regions, and the pull of the corrected negatives."""
        size = len(self.trained)
        metric, pull = torch.zeros(size, size), torch.zeros(size, dtype=torch.float64)
        lessons: list[tuple[Tensor, Aim | None, float]] = [
            (self._domain_points(self.settings.domain_points), None, 1.0)
        ]
        lessons += [(aim.draw(self.generator), aim, 1.0 if aim.goal.violated else 0.3) for aim in self.aims]
        for x, owner, weight in lessons:
            for part in torch.split(x, _PART):
                self._add(metric, pull, part, owner, weight / max(1, len(x)))
        return metric.double(), pull

    def _add(self, metric: Tensor, pull: Tensor, x: Tensor, aim: Aim | None, weight: float) -> None:
        """Account for the inputs ``x``, each with ``weight``, in place."""
        y = evaluate(self.teacher, x)
        wanted = y if aim is None else aim.targets(x, y, self.settings.pairing)
        gap = self._gap(y)
        share = torch.full_like(y[:, 0], weight / y.shape[1])
        if gap is not None:
            share = share / (gap / self.scale + self.settings.decision_floor)
        root = share.sqrt() / self.scale
        rows = self.trained.rows(
            torch.zeros_like(self.change), x, torch.eye(y.shape[1]).expand(len(x), -1, -1) * root[:, None, None]
        )
        metric.addmm_(rows.T, rows)
        pull += (rows.T @ ((wanted - y) * root[:, None]).flatten()).double()

    # --- what is demanded

    def _learn(self, evidence: Evidence) -> None:
        """Give each region what was found inside it; another region of the property has another unsafe set."""
        student = self.snapshot().float()
        for aim in self.aims:
            if aim.name in evidence.points:
                points = evidence.points[aim.name]
                lower, upper = aim.region.float32_box()
                here = points[((points >= lower) & (points <= upper)).all(1)]
                aim.absorb(here, student, self.generator)
            if aim.name in evidence.undecided:
                boxes = evidence.undecided[aim.name]
                boxes = boxes[((boxes.lower >= aim.region.lower) & (boxes.upper <= aim.region.upper)).all(1)]
                if len(boxes):
                    aim.margin *= self.settings.harder
                    aim.absorb(from_boxes(boxes, _EVIDENCE_POINTS, self.generator), student, self.generator)

    def _hunt(self) -> None:
        """Look for inputs that are close to unsafe now."""
        student = self.snapshot().float()
        for aim in self.aims:
            if aim.goal.repair:
                hard = self.task.resample(student, aim.region, self.generator, aim.goal.violated)
                aim.absorb(torch.cat([hard, aim.draw(self.generator)]), student, self.generator)

    def _lack(self, change: Tensor) -> float:
        student = self.trained.at(change)
        return max((aim.lack(student) for aim in self.aims), default=-1.0)

    def _step(self) -> None:
        """One Gauss-Newton step: constraints linearised at the network as it is, change counted from the original.

        The step is shortened to where the known hard inputs lack least; where no length helps, parameters are held
        more firmly from now on (Levenberg and Marquardt).
        """
        if self._metric is None:
            self._metric = self._build()
        if self._solver is None:
            self._solver = LeastChange(*self._metric, ridge=self.ridge)
        student = self.trained.at(self.change)
        rows, wanted = [], []
        for aim in self.aims:
            points = aim.hardest(self.settings.constraints, student, self.generator)
            for demand in aim.demands(points, student, self.teacher, self.settings.pairing):
                jacobian = self.trained.rows(self.change, demand.x, demand.direction[:, None]).double()
                rows.append(jacobian)
                wanted.append(demand.missing.double() + jacobian @ self.change)
        if not rows:
            return
        towards = self._solver.solve(torch.cat(rows), torch.cat(wanted)) - self.change
        tried = [(self._lack(self.change + length * towards), length) for length in _LENGTHS]
        lack, length = min(tried, key=lambda pair: (pair[0], -pair[1]))
        if lack >= self._lack(self.change):
            self.ridge *= _FIRMER
            self._solver = None
        self.change = self.change + length * towards
