"""What repair methods share: the aims of a task, and how they learn which inputs are hard."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.metrics import fidelity
from birdnn.network import Network
from birdnn.records import Decision
from birdnn.records.limits import Over, never, require_time
from birdnn.repair.aims import Aim
from birdnn.repair.protocol import Evidence, Goal, RepairTask, Resample
from birdnn.sample import draw_from_boxes, draw_uniform, evaluate
from birdnn.spec import Region

_EVIDENCE_POINTS = 2048
_COMPARED_POINTS = 1 << 16
_ROOM = 4.0  # of the margin that a proof needs at least
_FULL = 16  # goals
_NEAR = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Of a region's widths: boxes around counterexamples."""


def aims_of(
    task: RepairTask,
    teacher: Network,
    *,
    shares: tuple[float, float],
    samples: tuple[int, int],
    generator: torch.Generator,
) -> list[Aim]:
    """One aim for each region of each goal.

    Args:
        task: whose goals.
        teacher: the original, float32.
        shares: margin to reach, as a share of the median margin of satisfying points: for a violated property that is
            to be repaired, and for any other.
        samples: uniform points in one draw from a property's regions: for a violated property, and for any other;
            fewer where there are many properties.
        generator: of the draws, on the CPU.

    Raises:
        OutOfTime: the task is over.
    """

    # from `_FULL` goals on all together get what so many would: effort does not grow with their number
    crowd = max(1.0, len(task.goals) / _FULL)

    def of(goal: Goal) -> list[Aim]:
        share = shares[0] if goal.violated and goal.repair else shares[1]
        each = max(1, int(samples[0 if goal.violated else 1] / (crowd * len(goal.prop.regions))))
        found = []
        for region in goal.prop.regions:
            require_time(task.over)
            aim = Aim.of(goal, region, teacher, share=share, samples=each, generator=generator)
            # what is asked for has to be provable, and half of it is handed out
            aim.margin = max(aim.margin, _ROOM * task.room(region))
            found.append(aim)
        return found

    return [aim for goal in task.goals for aim in of(goal)]


def learn_evidence(
    aims: Sequence[Aim],
    evidence: Evidence,
    student: Network,
    generator: torch.Generator,
    *,
    harder: float,
    over: Over = never,
) -> None:
    """Give each region what was found inside it; another region of the property has another unsafe set.

    Where a search could not finish, the margin asked for grows by the factor ``harder``.
    """
    for aim in aims:
        if over():
            return
        if aim.name in evidence.points:
            points = evidence.points[aim.name]
            lower, upper = aim.region.float32_box()
            here = points[((points >= lower) & (points <= upper)).all(1)]
            aim.absorb(torch.cat([here, _draw_near(here, aim.region, generator)]), student, generator)
        if aim.name in evidence.undecided:
            boxes = evidence.undecided[aim.name]
            boxes = boxes[((boxes.lower >= aim.region.lower) & (boxes.upper <= aim.region.upper)).all(1)]
            if len(boxes):
                # more margin often makes the next proof a tenth as long
                aim.margin *= harder
                aim.absorb(draw_from_boxes(boxes, _EVIDENCE_POINTS, generator), student, generator)


def _draw_near(points: Tensor, region: Region, generator: torch.Generator) -> Tensor:
    """Inputs near some that nobody had found: a hunt that missed one has missed its neighbours."""
    if not len(points):
        return points
    # several sizes: nobody knows how wide the unsafe set around a counterexample is
    reach = torch.tensor(_NEAR, dtype=torch.float64)[:, None] * (region.upper - region.lower) / 2
    middle = points.double()[:, None]
    boxes = Boxes(torch.maximum(middle - reach, region.lower), torch.minimum(middle + reach, region.upper))
    return draw_from_boxes(Boxes(boxes.lower.flatten(0, 1), boxes.upper.flatten(0, 1)), _EVIDENCE_POINTS, generator)


def hunt_hard_inputs(
    aims: Sequence[Aim], student: Network, resample: Resample, generator: torch.Generator, over: Over = never
) -> None:
    """Look for inputs that are close to unsafe for the student, thoroughly only where a light look finds none.

    Each method asks again after every step, and most steps leave something that is easily found.
    """
    asked = [aim for aim in aims if aim.goal.repair]
    _search_regions(asked, student, resample, generator, over, thorough=False)
    if worst_lack(asked, student) <= 0:
        # what held before gets a light look only: the proof finds out what that misses
        _search_regions([a for a in asked if a.goal.violated], student, resample, generator, over, thorough=True)


def _search_regions(
    aims: Sequence[Aim], student: Network, resample: Resample, generator: torch.Generator, over: Over, *, thorough: bool
) -> None:
    for aim in aims:
        if not over():
            hard = resample(student, aim.region, generator, thorough)
            aim.absorb(torch.cat([hard, aim.draw(generator)]), student, generator)


def worst_lack(aims: Sequence[Aim], student: Network) -> float:
    """How much the worst known input lacks, as a multiple of the margin asked for; not positive: nothing."""
    return max((aim.lack(student) for aim in aims), default=-1.0)


def compared_outputs(
    task: RepairTask, aims: Sequence[Aim], teacher: Network, student: Network
) -> tuple[Tensor, Tensor]:
    """Outputs of both, (n, outputs) each, on fresh inputs, the same each time.

    Of the user's data; else of the domain; of the regions where nobody knows the domain.
    """
    # not the stream that a repair draws from: on inputs that it learnt from it looks better than it is
    generator = torch.Generator().manual_seed(task.seed + 1)
    if task.data is not None:
        x = some_of(task.data, _COMPARED_POINTS, generator)
    elif task.domain is not None:
        x = draw_uniform(*task.domain, _COMPARED_POINTS, generator)
    else:
        x = torch.cat([aim.draw(generator) for aim in aims])
    return evaluate(teacher, x), evaluate(student, x)


def behaviour_difference(before: Tensor, after: Tensor, decision: Decision) -> float:
    """Share of decisions that differ; where nothing is decided, the mean difference of outputs; 0 of no inputs."""
    if not len(before):
        return 0.0
    found = fidelity(before, after, decision)
    moved = found.mae if found.decision_agreement is None else 1 - found.decision_agreement
    # candidates are ranked by it, and NaN is not more than anything
    return math.inf if math.isnan(moved) else moved


def some_of(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most so many inputs, (m, inputs), a random choice where there are more."""
    return x if len(x) <= most else x[torch.randperm(len(x), generator=generator)[:most]]


def repair_set(aims: Sequence[Aim]) -> dict[str, Tensor]:
    """Property name -> inputs that violated it when its regions were characterised, (m, inputs) float32."""
    found: dict[str, list[Tensor]] = {}
    for aim in aims:
        if aim.goal.repair:
            found.setdefault(aim.name, []).append(aim.negatives)
    return {name: torch.cat(parts) for name, parts in found.items()}
