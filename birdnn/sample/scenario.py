"""The scenario approach: an affine function below a margin on all but epsilon of a measure.

Calafiore and Campi, IEEE TAC 51 (2006): the solution of a convex program with d variables under
``N >= (2 / epsilon) (ln(1 / delta) + d)`` independently drawn constraints violates, with confidence 1 - delta, at most
epsilon of all constraints. Used for networks by DeepPAC (Li et al., ICSE 2022). The program here is linear: the affine
function whose largest distance from the sampled margins is least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext

import numpy as np
import numpy.typing as npt

from birdnn.errors import BirdnnError
from birdnn.later import later
from birdnn.sample.pac import least_epsilon, require_share

optimize = later("scipy.optimize")

Array = npt.NDArray[np.float64]

_FIRST, _MORE, _TOLERANCE = 1000, 100, 1e-7


def program_variables(n_inputs: int) -> int:
    """What the program decides: a coefficient for each input, the constant, the error."""
    return n_inputs + 2


def scenario_samples(epsilon: float, delta: float, n_variables: int) -> int:
    """The least N with ``N >= (2 / epsilon) (ln(1 / delta) + n_variables)``.

    Raises:
        InputError: epsilon or delta is not in (0, 1).
    """
    require_share("epsilon", epsilon)
    require_share("delta", delta)
    with localcontext(prec=60):
        needed = 2 / Decimal(epsilon) * (n_variables - Decimal(delta).ln())
        return int(needed.to_integral_value(ROUND_CEILING))


def scenario_epsilon(n: int, delta: float, n_variables: int) -> float:
    """The least float64 epsilon for which n samples suffice; 1.0 where none does."""
    near = 2 / max(1, n) * (n_variables - math.log(delta))
    return least_epsilon(near, lambda epsilon: scenario_samples(epsilon, delta, n_variables) <= n)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """``coefficients . x + constant``, at most `error` away from every sampled margin."""

    coefficients: Array
    constant: float
    error: float

    def lowest(self, lower: Array, upper: Array) -> float:
        """Minimum of ``coefficients . x + constant - error`` over a box."""
        ends = np.minimum(self.coefficients * lower, self.coefficients * upper)
        return float(ends.sum() + self.constant - self.error)


def closest_affine(x: Array, margin: Array, lower: Array, upper: Array) -> Affine:
    """The affine function with the least largest distance from margins (n,) at inputs (n, inputs) of a box.

    Solved with few constraints at a time: those that a solution violates most are added until it violates none by more
    than 1e-7 of the margins' range, which is HiGHS's own tolerance. The error is then the largest distance measured, so
    that no constraint is violated at all.

    Raises:
        BirdnnError: HiGHS finds no solution.
    """
    # inputs and margins in 0 .. 1, as HiGHS has tolerances that are absolute
    width = upper - lower
    z = np.divide(x - lower, width, out=np.zeros_like(x), where=width > 0)
    scale = max(float(np.ptp(margin)), np.finfo(np.float64).tiny)
    target = (margin - margin.min()) / scale
    active = np.unique(np.linspace(0, len(z) - 1, min(_FIRST, len(z))).astype(int))
    while True:
        solution = _solve_program(z[active], target[active])
        distance = target - z @ solution[:-2] - solution[-2]
        worst = np.concatenate([distance.argsort()[:_MORE], distance.argsort()[-_MORE:]])
        beyond = worst[np.abs(distance[worst]) > solution[-1] + _TOLERANCE]
        # one that is there and still violated is so within the solver's tolerance: added again, it would be so for ever
        if not len(fresh := np.setdiff1d(beyond, active)):
            break
        active = np.union1d(active, fresh)
    # back to the units of inputs and margins; the error is then measured, not taken from the solver
    slope = np.divide(solution[:-2], width, out=np.zeros_like(width), where=width > 0) * scale
    constant = float(solution[-2] * scale + margin.min() - slope @ lower)
    return Affine(coefficients=slope, constant=constant, error=float(np.abs(margin - x @ slope - constant).max()))


def _solve_program(z: Array, target: Array) -> Array:
    """Coefficients, constant and error of the program on these constraints."""
    ones = np.ones((len(z), 1))
    rows = np.block([[z, ones, -ones], [-z, -ones, -ones]])
    cost = np.zeros(rows.shape[1])
    cost[-1] = 1.0
    free: list[tuple[float | None, float | None]] = [(None, None)] * (len(cost) - 1)
    # an input that does not vary carries no coefficient
    free[:-1] = [(None, None) if varies else (0.0, 0.0) for varies in (np.ptp(z, axis=0) > 0)]
    found = optimize.linprog(
        cost, A_ub=rows, b_ub=np.concatenate([target, -target]), bounds=[*free, (0, None)], method="highs"
    )
    if found.x is None:
        raise BirdnnError(f"HiGHS did not solve the scenario program: {found.message}")
    return np.asarray(found.x, dtype=np.float64)
