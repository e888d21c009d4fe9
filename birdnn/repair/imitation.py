"""What gradient steps over all layers share: whom they imitate, how far weights may move, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.repair.aims import Aim
from birdnn.repair.hunting import some_of
from birdnn.repair.importance import decision_gap
from birdnn.repair.jacobian import Trained
from birdnn.repair.protocol import RepairTask
from birdnn.sample import draw_uniform, evaluate
from birdnn.spec import Region

LEAST = 1e-12
"""Beside what is divided by and may be nothing."""
_SHARP = 6.0
"""Logits that one typical gap makes in the loss on decisions."""
_MANY, _AROUND, _SCALE_POINTS = 1 << 13, 1 << 10, 1 << 13

Draw: TypeAlias = Callable[[int], Tensor]
"""So many inputs, (n, inputs) float32; another choice each time."""


class Imitation:
    """The loss on what is to be kept, and the weights that move.

    Args:
        task: what is to be repaired.
        teacher: the original, float32.
        aims: regions whose satisfying inputs are to be kept.
        around: regions that are no aims; behaviour near them is to be kept where nobody knows more.
        generator: of all draws.
        fresh: inputs of the domain are drawn anew for each step; else a few thousand serve for all.

    Attributes:
        scale: margins and changes of outputs count relative to this: the median gap of the two best outputs, else the
            regions' median margin.
    """

    def __init__(
        self,
        task: RepairTask,
        teacher: Network,
        aims: Sequence[Aim],
        generator: torch.Generator,
        *,
        around: Sequence[Region] = (),
        fresh: bool = False,
    ) -> None:
        self.task, self.teacher, self.generator = task, teacher, generator
        names = tuple(name for name in teacher.initialisers() if name in teacher.repairable)
        self.trained = Trained(teacher, names=names)
        self.sources = self._kept_sources(aims, around, fresh)
        self.scale = self._margin_scale(aims)

    def loss(self, student: Network, count: int, *, moved: float = 1.0, decided: float = 1.0) -> Tensor:
        """How far outputs moved from the original's, relative to their size; and decisions, where something decides.

        Args:
            student: the network as it is.
            count: inputs of each kind.
            moved, decided: what changes of outputs and of decisions count.
        """
        total = torch.zeros(())
        for draw in self.sources:
            inputs = draw(count)
            with torch.no_grad():
                before = self.teacher(inputs)
            now = student(inputs)
            total = total + moved * (now - before).square().mean() / before.square().mean().clamp(min=LEAST)
            if decisions(before, self.task.decision) is not None:
                sign = -1.0 if self.task.decision == "argmin" else 1.0
                # sharpened logits: a change counts where the decision is close, and hardly where it is clear
                old, new = ((sign * _SHARP / self.scale * z).log_softmax(1) for z in (before, now))
                total = total + decided * kl_div(new, old, reduction="batchmean", log_target=True)
        return total / len(self.sources)

    def optimiser(self, student: Network, rate: float) -> torch.optim.Optimizer:
        """Adam on all weights, at a rate that is a share of the root mean square of each initialiser."""
        groups = []
        for name in self.trained.names:
            value = student.value(name)
            value.requires_grad_(True)
            # a step of Adam is as large as its rate, whatever the gradient: a rate for all would rewrite layers of
            # small values
            size = float(value.detach().square().mean().sqrt())
            # biases may all be zero
            groups.append({"params": [value], "lr": rate * max(size, self.trained.least)})
        return torch.optim.Adam(groups)

    def change_of(self, student: Network) -> tuple[Tensor, bool]:
        """The change from the original, (parameters,), cut off where a layer moved farther than it may; was it?"""
        values = [student.value(name).detach().flatten() for name in self.trained.names]
        change = torch.cat(values).double().nan_to_num() - self.trained.original
        # from the original: a limit on each candidate's own change would let several of them go anywhere
        reach = self.trained.reach(torch.zeros_like(change), change, self.task.max_change)
        return reach * change, reach < 1

    # --- what is kept

    def _kept_sources(self, aims: Sequence[Aim], around: Sequence[Region], fresh: bool) -> list[Draw]:
        """Inputs at which the original is right, of each kind; where none is known, surroundings of the regions."""
        domain, inside = self.task.domain, [aim.positives.x for aim in aims if len(aim.positives)]
        found: list[Draw] = [] if self.task.data is None else [self._draw_between(self.task.data)]
        if domain is not None:
            generator = self.generator
            found.append(
                (lambda count: draw_uniform(*domain, count, generator))
                if fresh
                else self._draw_between(draw_uniform(*domain, _MANY, generator))
            )
        if inside:
            found.append(self._draw_between(some_of(torch.cat(inside), _MANY, self.generator)))
        regions = [*(aim.region for aim in aims), *around]
        return found or [self._draw_between(torch.cat([self._draw_around(region) for region in regions]))]

    def _draw_between(self, x: Tensor) -> Draw:
        """Of known inputs, and between two of them: where there are a thousand, much else fits all of them."""

        def draw(count: int) -> Tensor:
            first, second = torch.randint(len(x), (2, count), generator=self.generator)
            # 0 in half of the cases: then it is the kept input itself
            between = (2 * torch.rand(len(first), 1, generator=self.generator) - 1).clamp(min=0)
            return x[first] + between * (x[second] - x[first])

        return draw

    def _draw_around(self, region: Region) -> Tensor:
        """Inputs as far beyond a region as it is wide: inside, all is to change."""
        width = region.upper - region.lower
        return draw_uniform(region.lower - width, region.upper + width, _AROUND, self.generator)

    def _margin_scale(self, aims: Sequence[Aim]) -> float:
        x = torch.cat([draw(_SCALE_POINTS) for draw in self.sources])
        y = evaluate(self.teacher, x)
        clear = decision_gap(y, self.task.decision)
        found = float(clear.median()) if clear is not None else 0.0
        typical = sorted(aim.typical for aim in aims)[len(aims) // 2] if aims else float(y.abs().mean())
        return max(found if found > 0 else typical, LEAST)


def finite_step(optimiser: torch.optim.Optimizer, student: Network, loss: Tensor) -> None:
    """One step down the loss, where its gradient is finite: an overflow in one box would put NaN into all weights."""
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    # else none: the next step draws other boxes
    if all(p.grad is None or bool(p.grad.isfinite().all()) for p in student.parameters()):
        optimiser.step()


def set_rates(optimiser: torch.optim.Optimizer, rates: Sequence[float], done: float) -> None:
    """The rates of a step, falling to nothing along half a cosine: ``done`` is the share of the steps behind it."""
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate * (1 + math.cos(math.pi * min(1.0, done))) / 2
