"""Repair tasks on small networks, with the hunt that the pipeline uses in place of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.records import Decision
from birdnn.repair import Goal, RepairTask
from birdnn.sample import draw_from_region, evaluate
from birdnn.spec import Property, Region


def closest(net: Network, region: Region, generator: torch.Generator, thorough: bool) -> Tensor:
    """The most unsafe of many uniform points."""
    x = draw_from_region(region, 20_000 if thorough else 4_000, generator)
    return x[region.margin(evaluate(net, x)).argsort()[:500]]


def task_of(net: Network, prop: Property, *, decision: Decision = "argmax", seed: int = 0) -> RepairTask:
    """Repair the property; the domain is that of its first region."""
    region = prop.regions[0]
    return RepairTask(
        net=net,
        goals=(Goal(prop=prop, repair=True, violated=True),),
        domain=(region.lower, region.upper),
        decision=decision,
        resample=closest,
        seed=seed,
    )


def violating(net: Network, region: Region, *, seed: int = 99, count: int = 20_000) -> float:
    """Share of fresh uniform points that violate."""
    x = draw_from_region(region, count, torch.Generator().manual_seed(seed))
    return float((region.margin(evaluate(net, x)) <= 0).double().mean())


def mean_change(before: Network, after: Network, region: Region) -> float:
    """Mean absolute difference of outputs on fresh uniform points."""
    x = draw_from_region(region, 20_000, torch.Generator().manual_seed(98))
    return float((evaluate(before, x) - evaluate(after, x)).abs().mean())
