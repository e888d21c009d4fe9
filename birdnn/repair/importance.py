"""How much an output counts: the more, the closer it is to changing the decision."""

from __future__ import annotations

import torch
from torch import Tensor

from birdnn.records import Decision


def decision_gap(y: Tensor, decision: Decision) -> Tensor | None:
    """How clear the decision is, for outputs (n, outputs): (n,); None where there is none."""
    if decision == "none" or y.shape[1] < 2:
        return None
    best = y.topk(2, dim=1, largest=decision == "argmax").values
    return (best[:, 0] - best[:, 1]).abs()


def output_importance(y: Tensor, decision: Decision, *, scale: float, floor: float, power: float) -> Tensor:
    """``(distance / scale + floor) ** -power`` for each output, (n, outputs); 1 where nothing is decided.

    The distance is how far the output is from changing the decision: from the best one, at least the `decision_gap`.
    """
    clear = decision_gap(y, decision)
    if clear is None:
        return torch.ones_like(y)
    best = y.amin(1, keepdim=True) if decision == "argmin" else y.amax(1, keepdim=True)
    # the best output itself is as far from losing as the second is from winning
    distance = (y - best).abs().maximum(clear[:, None])
    counts: Tensor = (distance / scale + floor) ** -power
    return counts
