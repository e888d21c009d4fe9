"""What a repair changed, by the definitions of the field's words that this project uses.

Efficacy and generalisation speak about points that violated before; fidelity about points that did not; drawdown about
points that satisfied a property and violate it now. Nothing here is called accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.records import Decision, Drawdown, Fidelity, Guarantee, InitialiserChange, Rate, ValueChange

_LARGEST = 20
"""Changed values that are named for each initialiser."""


def decisions(y: Tensor, decision: Decision) -> Tensor | None:
    """Index of the deciding output for outputs (n, outputs): (n,); None without a decision rule."""
    if decision == "none":
        return None
    return y.argmin(1) if decision == "argmin" else y.argmax(1)


def fidelity(before: Tensor, after: Tensor, decision: Decision) -> Fidelity:
    """How alike two networks behave on points at which the original violates nothing; outputs (n, outputs) each.

    Raises:
        MismatchError: no points, or different shapes.
    """
    if before.shape != after.shape or not len(before):
        raise MismatchError(f"fidelity compares outputs point by point: {tuple(before.shape)}, {tuple(after.shape)}")
    # means in float64: counts of millions have more digits than a float32
    old, new = decisions(before, decision), decisions(after, decision)
    agreement = None if old is None or new is None else float((old == new).double().mean())
    return Fidelity(decision_agreement=agreement, mae=float((before - after).abs().double().mean()), n=len(before))


def drawdown(name: str, before: Tensor, after: Tensor) -> Drawdown:
    """Share of points that satisfied a property and violate it now; signed margins (n,) before and after.

    A margin of exactly zero counts as a violation, and a NaN too. Of no points there is no share.
    """
    satisfied = before > 0
    n = int(satisfied.sum())
    # not `after <= 0`, which is false for NaN
    lost = int((satisfied & ~(after > 0)).sum())
    return Drawdown(name=name, share=lost / n if n else None, n=n)


def healed_rate(before: Tensor, after: Tensor, *, by_proof: bool) -> Rate | None:
    """Of the points that violated, how many no longer do; signed margins (n,). None where none violated."""
    # not `before <= 0`, which is false for NaN
    violating = ~(before > 0)
    n = int(violating.sum())
    if not n:
        return None
    hits = int((violating & (after > 0)).sum())
    return Rate(hits=hits, n=n, by_proof=by_proof and hits == n)


def regressions(before: Mapping[str, Guarantee], after: Mapping[str, Guarantee]) -> tuple[str, ...]:
    """Names of the properties in ``after`` that were proved before and are not now."""
    return tuple(name for name, now in after.items() if before[name] == "proved" and now != "proved")


def initialiser_changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, InitialiserChange]:
    """For each initialiser that differs: how many values, by how much in sum and at most, and which moved most."""
    found = {}
    for name, old in before.items():
        difference = (after[name].detach().cpu().double() - old.detach().cpu().double()).abs()
        if (count := int(torch.count_nonzero(difference))) == 0:
            continue
        l1, linf = float(difference.sum()), float(difference.max())
        most = difference.flatten().topk(min(count, _LARGEST)).indices.tolist()
        moved = tuple(_value_change(old, after[name], place) for place in most)
        found[name] = InitialiserChange(count=count, size=old.numel(), l1=l1, linf=linf, largest=moved)
    return found


def _value_change(old: Tensor, new: Tensor, place: int) -> ValueChange:
    """The value at a place of the flattened tensors."""
    before, after = (float(side.detach().flatten()[place]) for side in (old, new))
    return ValueChange(
        index=tuple(int(part) for part in np.unravel_index(place, old.shape)), before=before, after=after
    )
