"""Bounds of whole regions, before anything else: most of a property with many regions is decided by them."""

from __future__ import annotations

from dataclasses import replace

import torch

from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.errors import out_of_memory
from birdnn.records.limits import OutOfTime
from birdnn.spec import Property, Region

_TOGETHER = 256  # regions


def left_open(bound: MarginBound, prop: Property) -> tuple[Region, ...]:
    """The regions that bounds leave open, with those of their polytopes; the rest as it is where time is over."""
    found: list[Region] = []
    for begin in range(0, len(prop.regions), _TOGETHER):
        regions = prop.regions[begin : begin + _TOGETHER]
        own = torch.tensor([i for i, region in enumerate(regions) for _ in region.unsafe], device=bound.device)
        opened = own[None] == torch.arange(len(regions), device=bound.device)[:, None]
        question = Question.of(tuple(p for region in regions for p in region.unsafe), prop.n_outputs, bound.device)
        corners = (torch.stack([getattr(r, side) for r in regions]).to(bound.device) for side in ("lower", "upper"))
        try:
            result = bound.bound(question, Boxes(*corners), opened, bound.root(len(regions)))
        except (OutOfTime, MemoryError, RuntimeError) as error:  # who is not sifted out is attacked
            if not (isinstance(error, OutOfTime) or out_of_memory(error)):
                raise
            return (*found, *prop.regions[begin:])
        left = ~question.excluded(result.lower, result.polytope)
        places = set(result.polytope[left].tolist())
        flat = iter(range(len(own)))
        for region in regions:
            unsafe = tuple(p for p, place in zip(region.unsafe, flat, strict=False) if place in places)
            if unsafe:
                found.append(replace(region, unsafe=unsafe))
    return tuple(found)
