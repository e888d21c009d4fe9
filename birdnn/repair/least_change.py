"""The change of parameters that moves a network's behaviour least and satisfies linear constraints.

Behaviour is measured where it matters: ``H = sum_j w_j J_j^T J_j`` over sample points j makes ``d^T H d`` the weighted
mean square by which the outputs move, to first order, when the parameters move by ``d``. A ridge keeps ``d`` inside the
range where first order means something. With ``H = L L^T`` and ``z = L^T d`` the problem

    minimise |z - z_pull|^2  subject to  A d >= r

is a least-distance problem, which one call of non-negative least squares solves (Lawson and Hanson 1974, chapter 23).
Constraints may be missed at a price, so that there always is an answer. Where arithmetic fails, the answer is a cruder
one, never an exception: a later step measures what it is worth.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.later import later

optimize = later("scipy.optimize")

# what it weighs beside z, see `_least_distance`
_SLACK = 1e-3
# singular values below this share of the largest belong to equations that repeat others
_INDEPENDENT = 1e-9
_FIRMER = 10.0
_MOST_TRIES = 30

Matrix: TypeAlias = npt.NDArray[np.float64]


class LeastChange:
    """Solves the problem above for one metric and many sets of constraints.

    Args:
        metric: ``H`` without ridge, (parameters, parameters) float64, positive semidefinite.
        pull: gradient of the imitation of new targets, (parameters,): where ``d`` would like to go without constraints.
        ridge: added to the diagonal, as a share of its mean; more of it where the sum is not positive definite. A
            metric that is not finite is replaced by the identity, a pull that is not by none.
        equations: ``rows @ d == values``, (equations, parameters) and (equations,) float64; of equations that
            contradict each other the least squares solution.
        reference: where change is counted from, (parameters,); default the original network.
    """

    def __init__(
        self,
        metric: Tensor,
        pull: Tensor,
        *,
        ridge: float,
        equations: tuple[Tensor, Tensor] | None = None,
        reference: Tensor | None = None,
    ) -> None:
        self._factor = _cholesky_factor(metric, ridge)
        self._fixed = torch.zeros(len(metric), 0, dtype=torch.float64)  # orthonormal columns, in whitened coordinates
        start = self._whitened(torch.where(pull.isfinite().all(), pull, 0.0)[:, None])[:, 0]
        if reference is not None:
            # z = L^T d, of the reference
            start = start + self._factor.T @ reference
        particular = torch.zeros_like(start)
        if equations is not None and len(equations[0]):
            left, size, right = torch.linalg.svd(self._whitened(equations[0].T).T, full_matrices=False)
            kept = size > _INDEPENDENT * size.amax()
            self._fixed = right[kept].T
            # the shortest solution of the equations; whatever is added has to be orthogonal to `_fixed`
            particular = self._fixed @ ((left.T @ equations[1])[kept] / size[kept])
        self._start = particular + self._free_part(start[None])[0]

    def solve(self, rows: Tensor, wanted: Tensor) -> Tensor:
        """The best ``d``, (parameters,), with ``rows @ d >= wanted``; rows (constraints, parameters) float64.

        Constraints that are not finite are left out.
        """
        finite = rows.isfinite().all(1) & wanted.isfinite()
        rows, wanted = rows[finite], wanted[finite]
        z = self._start.clone()
        if len(rows):
            # only the free part can answer; what the equations have fixed counts with its share
            whole = self._whitened(rows.T).T
            g = self._free_part(whole)
            z = z + torch.from_numpy(_least_distance(g.numpy(), (wanted - whole @ z).numpy()))
        change: Tensor = torch.linalg.solve_triangular(self._factor.T, z[:, None], upper=True)[:, 0]
        return change

    def _whitened(self, columns: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self._factor, columns, upper=False)
        return white

    def _free_part(self, rows: Tensor) -> Tensor:
        """The part of each row that the equations leave free."""
        return rows - (rows @ self._fixed) @ self._fixed.T


def _cholesky_factor(metric: Tensor, ridge: float) -> Tensor:
    """Lower Cholesky factor of the metric with as much ridge as it takes."""
    eye = torch.eye(len(metric), dtype=metric.dtype)
    if not bool(metric.isfinite().all()):
        return eye
    share = max(ridge * float(metric.diagonal().mean()), 1e-12)
    for _ in range(_MOST_TRIES):
        found = torch.linalg.cholesky_ex(metric + share * eye)
        if not int(found.info):
            factor: Tensor = found.L
            return factor
        # sums in float32 are positive semidefinite up to rounding only
        share *= _FIRMER
    return eye


def _nonnegative_weights(everything: Matrix, target: Matrix) -> Matrix:
    """Non-negative weights w for which ``|everything @ w - target|`` is least, or nearly so."""
    try:
        weights: Matrix = optimize.nnls(everything, target, maxiter=30 * everything.shape[1])[0]
    except RuntimeError:  # the active set did not settle; an interior method has none
        weights = optimize.lsq_linear(everything, target, bounds=(0.0, np.inf)).x
    return weights


def _least_distance(g: Matrix, h: Matrix) -> Matrix:
    """The shortest z with ``g @ z >= h``, each row up to a slack that costs ``1 / _SLACK`` times as much as z."""
    # rows and right-hand sides are brought to order one: small outputs would drown in the solver's tolerance
    scale = float(np.sqrt((g * g).sum(1).mean()))
    if not (h > 0).any() or scale == 0:
        return np.zeros(g.shape[1])
    reach = np.abs(h).max()
    everything = np.concatenate([g.T / scale, _SLACK * np.eye(len(g)), h[None] / reach])
    target = np.zeros(len(everything))
    target[-1] = 1.0
    # the last entry is 0 only where nothing satisfies the rows, and with slack something always does
    residual = everything @ _nonnegative_weights(everything, target) - target
    z: Matrix = -reach / scale * residual[: g.shape[1]] / residual[-1]
    return z
