"""Uniform draws from boxes, regions and properties, in float32, and a network's outputs on them.

Generators live on the CPU, so that a seed gives the same points on every device; the points come back on the CPU and
`evaluate` takes them to the network in batches.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.errors import SpecError
from birdnn.network import UNTOUCHED, Interventions, Network
from birdnn.records.limits import Over, never, require_time
from birdnn.sample.cut import TRIED, Cut, draw_by_rejection
from birdnn.sample.pieces import apply_in_memory, drawable_count, multiplications
from birdnn.sample.threads import one_thread_each
from birdnn.spec import Property, Region

BATCH = {"cpu": 1 << 11, "cuda": 1 << 20}
"""Points at a time: what stays in a core's cache, what fills a graphics device."""

SMALL = 1 << 20
"""Multiplications: a network of fewer evaluates a batch in less time than threads may have to wait for each other."""

_NARROW = 16  # columns: sorting by one after the other takes less than comparing rows


def draw_uniform(lower: Tensor, upper: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` uniform float32 points between two corners of shape (inputs,): (count, inputs)."""
    # float64: draws in float32 are multiples of 2**-24, far apart beside zero, where float32 has many numbers
    draw = torch.rand(count, len(lower), generator=generator, dtype=torch.float64)
    return (lower.cpu() + draw * (upper - lower).cpu()).float()


def draw_from_region(region: Region, count: int, generator: torch.Generator, cut: Cut | None = None) -> Tensor:
    """``count`` uniform float32 points of a region's exact box, or of what a cut leaves of it: (count, inputs).

    A region that is a single point is given once, whatever the count: it says no more for being repeated.

    Raises:
        SpecError: the box holds no float32 point.
        InputError: the cut leaves next to nothing of it.
    """
    lower, upper = region.float32_box()
    if bool((lower > upper).any()):
        raise SpecError("an input region holds no float32 point to sample")
    if region.is_point:
        return lower[None] if cut is None else lower[None][cut.holds(lower[None])]

    def drawn(size: int) -> Tensor:
        # rounding to float32 may have left the exact box
        x = torch.minimum(torch.maximum(draw_uniform(region.lower, region.upper, size, generator), lower), upper)
        return x if cut is None else x[cut.holds(x)]

    return (
        drawn(count)
        if cut is None
        else draw_by_rejection(drawn, count, drawable_count(TRIED, region.n_inputs), "a region that relates inputs")
    )


def draw_from_boxes(boxes: Boxes, count: int, generator: torch.Generator) -> Tensor:
    """About ``count`` float32 points spread evenly over the boxes, uniform in each: (m, inputs)."""
    each = max(1, math.ceil(count / max(1, len(boxes))))
    points = boxes.uniform(each, generator).flatten(0, 1).float().cpu()
    if len(points) <= count:
        return points
    return points[torch.randperm(len(points), generator=generator)[:count]]


def region_shares(prop: Property, count: int) -> list[int]:
    """How many of ``count`` points go to each region: in proportion to volume over the inputs that vary, at least 1."""
    widths = torch.stack([region.upper - region.lower for region in prop.regions])
    # an input that is fixed everywhere would make each volume zero
    varying = widths.amax(0) > 0
    volumes = widths[:, varying].prod(1)
    if not bool(volumes.sum() > 0):
        volumes = torch.ones(len(prop.regions), dtype=torch.float64)
    return [max(1, round(count * float(v))) for v in volumes / volumes.sum()]


def draw_from_property(prop: Property, count: int, generator: torch.Generator) -> list[Tensor]:
    """Uniform points of a property's input set, one tensor for each region, about ``count`` in all."""
    parts = zip(prop.regions, region_shares(prop, count), strict=True)
    return [draw_from_region(region, n, generator, Cut.of(prop, region)) for region, n in parts]


def evaluate(net: Network, x: Tensor, *, interventions: Interventions = UNTOUCHED, over: Over = never) -> Tensor:
    """Outputs (n, outputs) for float32 inputs (n, inputs), in batches, without gradients; the result is on the CPU.

    Raises:
        OutOfTime: it was ``over`` between two batches.
    """
    device = next(iter(net.values().values())).device
    outputs = partial(_evaluate_in_time, net, interventions, over, device)
    batches = torch.split(x, BATCH[device.type])
    small = device.type == "cpu" and multiplications(net) < SMALL
    parts = one_thread_each(outputs, batches) if small else [outputs(part) for part in batches]
    return torch.cat(parts) if parts else x.new_zeros(0, net.n_outputs)


def _evaluate_in_time(
    net: Network, interventions: Interventions, over: Over, device: torch.device, batch: Tensor
) -> Tensor:
    require_time(over)
    with torch.no_grad():  # which is said to each thread by itself
        return evaluate_batch(net, batch.to(device), interventions).cpu()


def evaluate_batch(net: Network, x: Tensor, interventions: Interventions = UNTOUCHED) -> Tensor:
    """Outputs for one batch; one that exceeds the device's memory is halved."""
    parts = apply_in_memory(lambda part: net(part, interventions), x)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def distinct_rows(x: Tensor) -> Tensor:
    """The rows of ``x`` without duplicates, shape (m, inputs), sorted."""
    if len(x) and x.shape[1] <= _NARROW and x.device.type == "cpu":
        rows = x.numpy()
        # by columns: torch compares row with row, which takes four times as long
        rows = rows[np.lexsort(rows.T[::-1])]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (rows[1:] != rows[:-1]).any(1)
        return torch.from_numpy(rows[first])
    return torch.unique(x, dim=0) if len(x) else x
