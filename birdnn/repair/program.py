"""The linear program of `birdnn.repair.linear`: the change of parameters that moves outputs least.

Minimising a sum of absolute values needs a variable and two rows for each of them; the dual program needs one column,
and has as many rows as there are weights and biases, some fifty for one output of a network of ACAS Xu. It is the dual
that is solved, and the change is read from its multipliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from birdnn.later import later

optimize, sparse = later("scipy.optimize"), later("scipy.sparse")

Matrix: TypeAlias = npt.NDArray[np.float64]

HOLD = 1e-4
# of a unit that is missing, in multiples of what moving every output by one costs
_PRICE = 100.0
# of an unknown that moves nothing at any point
_LEAST_SIZE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """How one output moves at some points: by ``features @ d[columns]``.

    Attributes:
        columns: (k,), which of the unknowns move it.
        features: (points, k).
        weights: (points,), positive: what its change costs.
    """

    columns: npt.NDArray[np.int64]
    features: Matrix
    weights: Matrix

    def finite(self) -> Output:
        """Without the points of which something is not."""
        seen = np.isfinite(self.features).all(1) & np.isfinite(self.weights)
        return replace(self, features=self.features[seen], weights=self.weights[seen])


def least_absolute(
    outputs: Sequence[Output],
    rows: Matrix,
    wanted: Matrix,
    *,
    hold: float = HOLD,
    even: bool = False,
    spread: float = 0.0,
    seconds: float = np.inf,
) -> Matrix | None:
    """The change ``d``, (unknowns,), that costs least.

    The cost is the sum of ``weights * |features @ d[columns]|`` over all points of all outputs, with ``_PRICE`` times
    the weights' sum for each unit by which ``rows @ d >= wanted`` is missed, so that there always is an answer.

    Args:
        outputs: those that move.
        rows: (constraints, unknowns).
        wanted: (constraints,).
        hold: price of a change as such, as a share of what it costs at the mean of all points: the higher, the smaller
            the change, and the less it keeps.
        even: a change as such costs the same for all unknowns, so that those are taken that move outputs most; else as
            much as it moves outputs at the mean of all points.
        spread: price of how far the share of an unknown in an output ranges over all points, in multiples of the mean
            change: of what is the same everywhere, as that of a bias, nothing.
        seconds: for the solver.

    Returns:
        None where the solver ends without a solution. What is not finite counts for nothing.
    """
    outputs = [found for each in outputs if len((found := each.finite()).weights)]
    asked = np.isfinite(rows).all(1) & np.isfinite(wanted)
    rows, wanted, unknowns = rows[asked], wanted[asked], rows.shape[1]
    if not outputs or not len(rows):
        return None
    total = sum(float(each.weights.sum()) for each in outputs)
    size = np.full(unknowns, _LEAST_SIZE)
    for each in outputs:
        size[each.columns] = np.maximum(size[each.columns], np.abs(each.features).mean(0))
    # a change that no point sees costs a little as well, or nothing would bound it
    held = hold * total / len(outputs) * (np.full(unknowns, size.mean()) if even else size)
    for each in outputs:
        held[each.columns] += spread * total * np.ptp(each.features, axis=0)
    moved = [_as_columns(each, unknowns) for each in outputs]
    # a column for each constraint, bounded by the price of missing it, and one for each absolute value, bounded by its
    # weight on both sides; the multipliers of these equations are the change, up to its sign
    equations = sparse.hstack([sparse.csr_matrix(rows.T), *moved, sparse.identity(unknowns)], format="csc")
    limits = np.concatenate([*(each.weights for each in outputs), held])
    prices = np.stack([np.zeros(len(rows)), np.full(len(rows), _PRICE * total)], 1)
    found = optimize.linprog(
        np.concatenate([-wanted, np.zeros(len(limits))]),
        A_eq=equations,
        b_eq=np.zeros(unknowns),
        bounds=np.concatenate([prices, np.stack([-limits, limits], 1)]),
        method="highs",
        options={} if np.isinf(seconds) else {"time_limit": max(0.0, seconds)},
    )
    # a program that its time limit ended is not solved, and its multipliers would be the change of nothing
    if found.status != 0 or not np.isfinite(found.eqlin.marginals).all():
        return None
    change: Matrix = -found.eqlin.marginals
    return change


def _as_columns(output: Output, unknowns: int) -> Any:
    """Its features as columns, each row at its unknown."""
    own = sparse.coo_matrix(output.features.T)
    return sparse.coo_matrix((own.data, (output.columns[own.row], own.col)), shape=(unknowns, len(output.features)))
