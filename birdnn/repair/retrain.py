"""Retraining by behaviour imitation.

Violating inputs imitate the closest behaviour that the property allows; all other inputs, inside the property's regions
and in the whole domain, imitate the original network itself. Inputs on which the original's decision is close count
more. Every now and then inputs close to unsafe are looked for on the current student and join its lessons.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365: targets and the two-sided loss. The weights by decision, the
projection, the hard points and the optimiser are ours.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Pairing, Progress, Watch
from birdnn.repair.aims import Aim
from birdnn.repair.firm import Firmness
from birdnn.repair.protocol import Evidence, Goal, RepairTask
from birdnn.repair.soap import Soap
from birdnn.sample import evaluate, from_boxes, from_region, uniform

_EVIDENCE_POINTS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainSettings:
    """How a network is retrained.

    Attributes:
        pairing: whose behaviour a violating input imitates.
        steps, polish_steps: optimiser steps for the first candidate, and after each piece of evidence.
        learning_rate, polish_rate: peak of the cosine schedule in each.
        domain_batch, region_batch, kept_batch: points for each step from the domain, from each region of a violated
            property, and of each other one.
        margin_share: margin to reach in a violated property's regions, as a share of the median margin of its
            satisfying points; `kept_margin_share` for properties that hold.
        harder: factor on the margin after a search that could not finish.
        firm_weight, firm_boxes, firm_steps: after such a search, weight and number of the boxes whose interval bounds
            are trained in each step, and optimiser steps; zero weight switches it off.
        resample_every: steps between two hunts for hard points.
        sweeps: at most so many rounds of thorough hunting and polishing before a candidate is handed out.
        decision_floor: weight of an input is 1 / (gap between the two best outputs / its median + this).
        constraint_weight: weight of missing margins against imitation.
    """

    pairing: Pairing = "projection"
    steps: int = 600
    polish_steps: int = 200
    learning_rate: float = 5e-4
    polish_rate: float = 2e-4
    domain_batch: int = 4096
    region_batch: int = 1024
    kept_batch: int = 128
    margin_share: float = 0.1
    kept_margin_share: float = 0.05
    harder: float = 1.5
    firm_weight: float = 0.3
    firm_boxes: int = 512
    firm_steps: int = 400
    resample_every: int = 100
    sweeps: int = 4
    decision_floor: float = 0.3
    constraint_weight: float = 1.0


class Retrain:
    """`Repairer` by behaviour imitation; keeps its student, optimiser and hard points between candidates."""

    def __init__(self, task: RepairTask, settings: RetrainSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.net.with_values({}).float().requires_grad_(False)
        self.student = task.net.with_values({}).float()
        self.device = next(iter(self.teacher.values().values())).device
        repairable = [self.student.value(name) for name in sorted(self.student.repairable)]
        self.optimiser = Soap(repairable)
        self.aims = [aim for goal in task.goals for aim in self._aims(goal)]
        self.scale, self.proposed = self._scale(), False

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Train (first call) or learn from `evidence`, hunt for what is still unsafe, and hand out a copy."""
        s, until = self.settings, time.monotonic() + timeout_s
        if self.proposed:
            self._learn(evidence)
            steps, rate = (s.firm_steps, s.learning_rate) if evidence.undecided else (s.polish_steps, s.polish_rate)
            self._train(steps, rate, until, watch)
        else:
            self._hunt(thorough=True)
            self._train(s.steps, s.learning_rate, until, watch)
        self.proposed = True
        for _ in range(s.sweeps):
            if watch.stopped() or time.monotonic() > until or not self._hunt(thorough=True):
                break
            self._train(s.polish_steps, s.polish_rate, until, watch)
        return self.snapshot()

    def snapshot(self) -> Network:
        """The student as it is, in the data types of the original."""
        values = self.student.initialisers()
        return self.task.net.with_values({name: values[name].detach().clone() for name in self.student.repairable})

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
        samples = s.region_batch if goal.violated else s.kept_batch
        each = max(1, samples // len(goal.prop.regions))
        return [
            Aim.of(goal, region, self.teacher, share=share, samples=each, generator=self.generator)
            for region in goal.prop.regions
        ]

    def _scale(self) -> float:
        """Differences of outputs count relative to this: the median gap of the two best, else the outputs' spread."""
        x = self._domain_points(1 << 15)
        y = evaluate(self.teacher, x if len(x) else torch.cat([aim.positives.x for aim in self.aims]))
        gap = self._gap(y)
        scale = float(gap.median()) if gap is not None else 0.0
        return scale if scale > 0 else max(float((y - y.mean(0)).abs().mean()), 1e-12)

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

    def _learn(self, evidence: Evidence) -> None:
        for aim in self.aims:
            if aim.name in evidence.points:
                aim.absorb(evidence.points[aim.name], self.student)
            if aim.name in evidence.undecided:
                aim.margin *= self.settings.harder
                if self.settings.firm_weight and self.student.graph.batched and aim.firmness is None:
                    aim.firmness = Firmness()
                aim.absorb(from_boxes(evidence.undecided[aim.name], _EVIDENCE_POINTS, self.generator), self.student)

    def _hunt(self, *, thorough: bool) -> int:
        """Look for inputs close to unsafe; returns how many are unsafe now, over goals that must hold."""
        student, unsafe = self.snapshot(), 0
        for aim in self.aims:
            if aim.goal.repair and (thorough or aim.goal.violated):
                points = self.task.resample(student, aim.region, self.generator, thorough)
                unsafe += aim.absorb(points, student)
        return unsafe

    def _train(self, steps: int, peak: float, until: float, watch: Watch) -> None:
        begun = time.monotonic()
        for step in range(steps):
            if watch.stopped() or time.monotonic() > until:
                return
            if step and step % self.settings.resample_every == 0:
                self._hunt(thorough=False)
            loss = self._loss()
            torch.autograd.backward(loss)
            warm, cosine = min(1.0, (step + 1) / 20), 0.5 * (1 + math.cos(math.pi * step / steps))
            self.optimiser.step(peak * warm * cosine)
            if step % 10 == 0:
                left = (time.monotonic() - begun) / (step + 1) * (steps - step - 1)
                news = f"step {step + 1} of {steps}, loss {float(loss.detach()):.3g}"
                watch.update(Progress(phase="imitating", done=(step + 1) / steps, left_s=left, detail=news))

    def _loss(self) -> Tensor:
        """Imitation on the domain and in each region, and missing margins there, in one pass of each network."""
        drawn = [aim.draw(self.generator) for aim in self.aims]
        parts = [self._domain_points(self.settings.domain_batch)]
        parts += [part for pair in drawn for part in pair]
        x, sizes = torch.cat(parts).to(self.device), [len(part) for part in parts]
        before, now = self.teacher(x).split(sizes), self.student(x).split(sizes)
        loss = self._imitation(now[0], before[0], before[0]) if sizes[0] else x.new_zeros(())
        for i, aim in enumerate(self.aims):
            weight = 1.0 if aim.goal.violated else 0.3
            for k, (points, old, new) in enumerate(zip(drawn[i], before[2 * i + 1 :], now[2 * i + 1 :], strict=False)):
                if not len(points):
                    continue
                if k == 0:
                    wanted = aim.targets(points.to(old.device), old, self.settings.pairing)
                    loss = loss + weight * self._imitation(new, wanted, old)
                loss = loss + self.settings.constraint_weight * aim.shortfall(old, new).mean()
            if aim.firmness is not None:
                centres = from_region(aim.region, self.settings.firm_boxes, self.generator).to(self.device)
                firm = aim.firmness.loss(self.student, aim.region, centres, aim.scale)
                loss = loss + self.settings.firm_weight * firm
        return loss

    def _imitation(self, now: Tensor, wanted: Tensor, before: Tensor) -> Tensor:
        """Mean squared difference in units of `scale`, inputs with a close decision weighing more."""
        square = ((now - wanted) / self.scale).square().mean(1)
        gap = self._gap(before)
        if gap is not None:
            square = square / (gap / self.scale + self.settings.decision_floor)
        return square.mean()
