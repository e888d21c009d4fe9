"""The least change: exact where arithmetic allows, a usable answer where it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from birdnn.repair.least_change import LeastChange


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def solved(metric: Tensor, *, pull: Tensor | None = None, ridge: float = 1e-9) -> Tensor:
    """The change of two parameters whose sum has to grow by 1."""
    solver = LeastChange(metric, vector(0, 0) if pull is None else pull, ridge=ridge)
    return solver.solve(torch.ones(1, 2, dtype=torch.float64), vector(1.0))


def test_the_cheaper_parameter_moves_more() -> None:
    """Minimise d0^2 + 4 d1^2 with d0 + d1 >= 1: d = (0.8, 0.2)."""
    assert torch.allclose(solved(torch.diag(vector(1, 4))), vector(0.8, 0.2), atol=1e-4)


def test_without_constraints_the_pull_decides() -> None:
    solver = LeastChange(torch.diag(vector(1, 4)), vector(1, 4), ridge=1e-12)
    empty = torch.zeros(0, 2, dtype=torch.float64)
    assert torch.allclose(solver.solve(empty, vector()), vector(1, 1), atol=1e-6)


@pytest.mark.parametrize("least", [-1e-9, -1e-3, -1e6])
def test_a_metric_that_is_not_positive_definite_gets_more_ridge(least: float) -> None:
    """Sums in float32 are positive semidefinite up to rounding only."""
    change = solved(torch.diag(vector(1, least)), ridge=0.0)
    assert bool(change.isfinite().all())
    assert float(change.sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_counts_for_nothing(odd: float) -> None:
    assert torch.allclose(solved(torch.diag(vector(1, odd))), vector(0.5, 0.5), atol=1e-3)
    assert torch.allclose(solved(torch.diag(vector(1, 1)), pull=vector(odd, 0)), vector(0.5, 0.5), atol=1e-3)
    rows = torch.tensor([[1.0, 1.0], [odd, 0.0]], dtype=torch.float64)
    solver = LeastChange(torch.diag(vector(1, 1)), vector(0, 0), ridge=1e-9)
    assert torch.allclose(solver.solve(rows, vector(1, 1)), vector(0.5, 0.5), atol=1e-3)


def test_least_squares_that_do_not_settle_are_solved_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    rows, wanted = torch.from_numpy(draw.normal(size=(12, 8))), torch.from_numpy(draw.random(12))
    solver = LeastChange(torch.eye(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64), ridge=1e-9)
    usual = solver.solve(rows, wanted)

    def unsettled(*args: object, **options: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr("scipy.optimize.nnls", unsettled)
    assert torch.allclose(solver.solve(rows, wanted), usual, atol=1e-3 * float(usual.abs().max()))


@pytest.mark.parametrize("seed", range(5))
def test_equations_hold_exactly_beside_inequalities_and_change_is_counted_from_the_reference(seed: int) -> None:
    """Against a general solver."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6))
    metric, start = root @ root.T + np.eye(6), rng.normal(size=6)
    rows, wanted = rng.normal(size=(3, 6)), rng.normal(size=3)
    fixed, values = rng.normal(size=(2, 6)), rng.normal(size=2)
    solver = LeastChange(
        torch.from_numpy(metric),
        torch.zeros(6, dtype=torch.float64),
        ridge=0.0,
        equations=(torch.from_numpy(fixed), torch.from_numpy(values)),
        reference=torch.from_numpy(start),
    )
    change = solver.solve(torch.from_numpy(rows), torch.from_numpy(wanted)).numpy()
    best = minimize(
        lambda d: (d - start) @ metric @ (d - start),
        np.zeros(6),
        constraints=[
            {"type": "eq", "fun": lambda d: fixed @ d - values},
            {"type": "ineq", "fun": lambda d: rows @ d - wanted},
        ],
    ).x
    assert np.allclose(fixed @ change, values, atol=1e-9)
    assert np.allclose(change, best, atol=2e-2)


def test_equations_that_repeat_each_other_are_one() -> None:
    twice = torch.ones(2, 2, dtype=torch.float64)
    solver = LeastChange(torch.eye(2).double(), vector(0, 0), ridge=0.0, equations=(twice, vector(1, 1)))
    assert torch.allclose(solver.solve(torch.zeros(0, 2).double(), vector()), vector(0.5, 0.5), atol=1e-9)
