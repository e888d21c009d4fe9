"""The affine surrogate: how many samples, the best fit, and what lies below the margin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from birdnn.errors import InputError
from birdnn.sample.scenario import closest_affine, program_variables, scenario_epsilon, scenario_samples


def test_known_number_of_samples() -> None:
    """2 / 0.01 (ln 1000 + 7) = 2781.55"""
    assert program_variables(5) == 7
    assert scenario_samples(0.01, 1e-3, 7) == 2782


@given(epsilon=st.floats(1e-6, 0.9), delta=st.floats(1e-9, 0.9), d=st.integers(3, 800))
def test_there_and_back(epsilon: float, delta: float, d: int) -> None:
    n = scenario_samples(epsilon, delta, d)
    assert n >= 2 / epsilon * (math.log(1 / delta) + d) * (1 - 1e-12) > n - 1 - 1e-6
    least = scenario_epsilon(n, delta, d)
    assert least <= epsilon
    assert scenario_samples(least, delta, d) <= n < scenario_samples(math.nextafter(least, 0), delta, d)


def test_no_epsilon_suffices_for_few_samples() -> None:
    assert [scenario_epsilon(n, 1e-3, 7) for n in (0, 1, 27)] == [1.0, 1.0, 1.0]
    assert scenario_epsilon(28, 1e-3, 7) < 1


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"delta": 1.0}, {"epsilon": math.nan}])
def test_what_is_no_share_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="greater than 0 and less than 1"):
        scenario_samples(**{"epsilon": 0.1, "delta": 0.1, **bad}, n_variables=3)


def test_a_parabola() -> None:
    """The line that is closest to x**2 on [0, 1] is x - 1/8, off by 1/8."""
    x = np.linspace(0, 1, 4001)[:, None]
    fit = closest_affine(x, x[:, 0] ** 2, np.zeros(1), np.ones(1))
    assert fit.error == pytest.approx(0.125, abs=1e-5)
    assert fit.coefficients == pytest.approx([1.0], abs=1e-4)
    assert fit.lowest(np.zeros(1), np.ones(1)) == pytest.approx(-0.25, abs=1e-4)


@pytest.mark.thorough
@given(seed=st.integers(0, 2**32 - 1), n_inputs=st.integers(1, 4))
def test_few_constraints_at_a_time_solve_the_whole_program(seed: int, n_inputs: int) -> None:
    draw = np.random.default_rng(seed)
    lower, upper = -draw.random(n_inputs), draw.random(n_inputs)
    x = lower + draw.random((3000, n_inputs)) * (upper - lower)
    margin = 1e-3 * np.sin(3 * x.sum(1)) + 1e-3 * draw.random(len(x))
    fit = closest_affine(x, margin, lower, upper)
    ones = np.ones((len(x), 1))
    rows = np.block([[x, ones, -ones], [-x, -ones, -ones]])
    cost = np.eye(n_inputs + 2)[-1]
    whole = linprog(cost, rows, 1e3 * np.concatenate([margin, -margin]), bounds=[(None, None)] * len(cost))
    assert fit.error == pytest.approx(whole.fun * 1e-3, rel=1e-4)
    assert (x @ fit.coefficients + fit.constant - fit.error <= margin + 1e-15).all()


def test_an_input_that_does_not_vary_and_a_constant_margin() -> None:
    x = np.column_stack([np.linspace(0, 1, 50), np.full(50, 0.3)])
    fit = closest_affine(x, np.full(50, 2.0), np.array([0.0, 0.3]), np.array([1.0, 0.3]))
    assert fit.error == pytest.approx(0, abs=1e-12)
    assert fit.coefficients.tolist() == pytest.approx([0.0, 0.0])
    assert fit.lowest(np.array([0.0, 0.3]), np.array([1.0, 0.3])) == pytest.approx(2.0)


def test_most_of_the_measure_lies_above() -> None:
    """The statement itself, many times over: at most epsilon lies below, but for a share of delta of the runs."""
    epsilon, delta, draw = 0.05, 0.1, np.random.default_rng(3)
    n = scenario_samples(epsilon, delta, program_variables(2))
    lower, upper = np.zeros(2), np.ones(2)
    fresh = draw.random((20_000, 2))

    def margin(x: np.ndarray) -> np.ndarray:
        return np.exp(-3 * x[:, 0]) * np.cos(4 * x[:, 1])

    misses = 0
    for _ in range(40):
        x = draw.random((n, 2))
        fit = closest_affine(x, margin(x), lower, upper)
        below = (fresh @ fit.coefficients + fit.constant - fit.error > margin(fresh)).mean()
        misses += below > epsilon
    assert misses <= 40 * delta
