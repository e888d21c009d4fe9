"""Which behaviour a violating input is to imitate.

Source of the idea: Liang et al. 2023, arXiv:2305.03365, where each negative sample takes over the behaviour of its
closest positive one. Closest by input or by output are their reading; the projection moves the outputs only as far as
the property asks, which keeps most of what the network says there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdnn.records import Pairing, SampleSet
from birdnn.spec import Region

_SWEEPS = 8
_OVERSHOOT = 1.02
_PAIRS_PER_PASS = 1 << 24


def projected(region: Region, y: Tensor, margin: float) -> Tensor:
    """Outputs (n, outputs) moved until the region's margin is at least ``margin``, by cyclic projection.

    Each unsafe polytope is left through its nearest half-space. Rows that already have the margin stay as they are.
    """
    moved = y.clone()
    for _ in range(_SWEEPS):
        for polytope in region.unsafe:
            if not polytope.rows:
                continue
            a = polytope.a.to(moved)
            value, row = (moved @ a.T - polytope.b.to(moved)).max(1)
            normal = a[row]
            missing = (_OVERSHOOT * margin - value).clamp(min=0)
            missing = torch.where(value < margin, missing, torch.zeros_like(missing))
            moved = moved + normal * (missing / normal.square().sum(1).clamp(min=1e-12))[:, None]
    return moved


def nearest(of: Tensor, among: Tensor) -> Tensor:
    """For each row of ``of`` (n, k) the index of the closest row of ``among`` (m, k): (n,)."""
    step = max(1, _PAIRS_PER_PASS // max(1, len(among)))
    return torch.cat([torch.cdist(part, among).argmin(1) for part in torch.split(of, step)])


def targets(region: Region, x: Tensor, y: Tensor, positives: SampleSet, pairing: Pairing, margin: float) -> Tensor:
    """What the outputs at ``x`` (n, inputs), now ``y`` (n, outputs), ought to be: (n, outputs).

    Points that have the margin keep their outputs. Without any positive sample only the projection is possible.
    """
    goal = projected(region, y, margin)
    negative = region.margin(y) <= 0
    if pairing == "projection" or not len(positives) or not bool(negative.any()):
        return goal
    if pairing == "input":
        width = (region.upper - region.lower).to(x).clamp(min=1e-12)
        partner = nearest(x[negative] / width, positives.x.to(x) / width)
    else:
        partner = nearest(y[negative], positives.y.to(y))
    goal[negative] = projected(region, positives.y.to(y)[partner], margin)
    return goal
