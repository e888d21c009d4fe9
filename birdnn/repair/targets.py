"""Which behaviour a violating input is to imitate.

Source of the idea: Liang et al. 2023, arXiv:2305.03365, where each negative sample takes over the behaviour of its
closest positive one. Closest by input or by output are their reading; the projection moves the outputs only as far as
the property asks, which keeps most of what the network says there.
"""

from __future__ import annotations

from itertools import islice, product

import torch
from torch import Tensor

from birdnn.records import Pairing, SampleSet
from birdnn.spec import Region

_SWEEPS = 8
# finitely many sweeps end a little short of where they go
_OVERSHOOT = 1.02
_MAX_CHOICES = 64
# relative, of outputs in float32
_ROUNDING = 1e-6
_PAIRS_PER_PASS = 1 << 24


def project_outputs(region: Region, y: Tensor, margin: float) -> Tensor:
    """Outputs (n, outputs) moved until the region's margin is at least ``margin``, by about the shortest way.

    To be safe is to be outside one half-space of each unsafe polytope. Each choice of half-spaces (at most
    `_MAX_CHOICES` of them) is a convex set and is reached by cyclic projection; the closest one is taken. Which row to
    leave by cannot be decided polytope by polytope: two of them may send a point to and fro for ever. Rows that already
    have the margin stay as they are.
    """
    low = region.margin(y) < margin
    polytopes = [polytope for polytope in region.unsafe if polytope.rows]
    if not polytopes or not bool(low.any()):
        return y
    start = y[low]
    # where no choice leads out the outputs stay what they are
    best, distance = start, torch.full_like(start[:, 0], torch.inf)
    for choice in islice(product(*(range(len(p.rows)) for p in polytopes)), _MAX_CHOICES):
        a = torch.stack([p.a[row] for p, row in zip(polytopes, choice, strict=True)]).to(start)
        b = torch.stack([p.b[row] for p, row in zip(polytopes, choice, strict=True)]).to(start)
        moved = _project_cyclically(start, a, b + _OVERSHOOT * margin)
        square = (moved - start).square().sum(1)
        # a choice that contradicts itself is no way out
        reached = region.margin(moved) >= margin - _ROUNDING * moved.abs().amax(1)
        square = torch.where(reached, square, torch.full_like(square, torch.inf))
        closer = square < distance
        best, distance = torch.where(closer[:, None], moved, best), torch.where(closer, square, distance)
    result = y.clone()
    result[low] = best
    return result


def _project_cyclically(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Project onto ``a[i] @ y >= b[i]``, one half-space after the other, several times."""
    sizes = a.square().sum(1).clamp(min=1e-12)
    for _ in range(_SWEEPS):
        for normal, bound, size in zip(a, b, sizes, strict=True):
            y = y + normal * ((bound - y @ normal).clamp(min=0) / size)[:, None]
    return y


def nearest_rows(of: Tensor, among: Tensor) -> Tensor:
    """For each row of ``of`` (n, k) the index of the closest row of ``among`` (m, k): (n,)."""
    step = max(1, _PAIRS_PER_PASS // max(1, len(among)))
    return torch.cat([torch.cdist(part, among).argmin(1) for part in torch.split(of, step)])


def imitation_targets(
    region: Region, x: Tensor, y: Tensor, positives: SampleSet, pairing: Pairing, margin: float
) -> Tensor:
    """What the outputs at ``x`` (n, inputs), now ``y`` (n, outputs), ought to be: (n, outputs).

    Points that have the margin keep their outputs. Without any positive sample only the projection is possible.
    """
    goal = project_outputs(region, y, margin)
    # written to below, and `y` is the caller's
    goal = goal.clone() if goal is y else goal
    negative = region.margin(y) <= 0
    if pairing == "projection" or not len(positives) or not bool(negative.any()):
        return goal
    if pairing == "input":
        # inputs count relative to how far they range; fixed ones differ by nothing and do not count
        width = (region.upper - region.lower).to(x).clamp(min=1e-12)
        partner = nearest_rows(x[negative] / width, positives.x.to(x) / width)
    else:
        partner = nearest_rows(y[negative], positives.y.to(y))
    # the partner satisfies the property, but need not have the margin
    goal[negative] = project_outputs(region, positives.y.to(y)[partner], margin)
    return goal
