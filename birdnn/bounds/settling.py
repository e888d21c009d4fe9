"""Boxes on which the sign of every neuron is known: a linear program finds the multipliers that close them.

There the network is affine, and a box is divided by half-spaces of its inputs. The program's dual values are the best
multipliers of rows and of splits; whatever it errs by, the bound that is made with them holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from birdnn.later import later

if TYPE_CHECKING:
    from scipy import optimize
else:
    optimize = later("scipy.optimize")

Floats = npt.NDArray[np.float64]


def best_multipliers(
    rows: tuple[Floats, Floats], sides: tuple[Floats, Floats], lower: Floats, upper: Floats
) -> tuple[Floats, Floats] | None:
    """Multipliers of rows, which sum to one, and of half-spaces, for the greatest lower bound over a box.

    Args:
        rows: planes, (rows, inputs), and constants, (rows,), of which the largest is bounded.
        sides: planes and constants that are not negative where the box is looked at.
        lower, upper: corners of the box.

    Returns:
        None where a number is infinite, or the solver gave up.
    """
    (a, b), (sign, level) = rows, sides
    # SciPy refuses these with an exception
    if not all(np.isfinite(numbers).all() for numbers in (*rows, *sides, lower, upper)):
        return None
    box = [*zip(lower, upper, strict=True)]
    # variables x and t: t is to be least, and no row above it
    dual = _solve_duals(
        np.vstack([np.hstack([a, -np.ones((len(b), 1))]), np.hstack([-sign, np.zeros((len(level), 1))])]),
        np.concatenate([-b, level]),
        [*box, (None, None)],
    )
    if dual is not None:
        return dual[: len(b)], dual[len(b) :]
    # nothing of the box lies on all sides: by how much they miss each other, times enough, lifts any row
    dual = _solve_duals(np.hstack([-sign, -np.ones((len(level), 1))]), level, [*box, (0.0, None)])
    if dual is None:
        return None
    plane = dual @ sign
    missed = -float(dual @ level + np.maximum(plane * lower, plane * upper).sum())
    if not missed > 0:
        return None
    # more than any row can miss, so that the sum is positive
    needed = float(np.abs(a).sum() * max(np.abs(lower).max(), np.abs(upper).max()) + np.abs(b).sum() + 1.0)
    return np.full(len(b), 1.0 / len(b)), dual * (needed / missed)


def _solve_duals(matrix: Floats, limits: Floats, box: Sequence[tuple[float | None, float | None]]) -> Floats | None:
    """Of ``matrix @ v <= limits``, where the last variable is to be least; they sum to one over what it bounds."""
    cost = np.zeros(matrix.shape[1])
    cost[-1] = 1.0
    found = optimize.linprog(cost, A_ub=matrix, b_ub=limits, bounds=box)
    if found.status != 0:
        return None
    # SciPy gives the minimum's derivatives in the limits: none is positive, but for what the solver errs by
    dual = np.maximum(-found.ineqlin.marginals, 0.0)
    total = -(dual @ matrix)[-1]
    # the last variable's column; one in exact arithmetic, and of next to nothing a quotient would be noise
    return dual / total if total > 1e-9 else None
