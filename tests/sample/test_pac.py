"""Limits cover what they say, exactly; the anytime statement under simulation; each check sees a planted mistake."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest

from birdnn.errors import InputError
from birdnn.sample.pac import (
    anytime_interval,
    anytime_upper,
    clopper_pearson,
    log_evidence,
    lower_limit,
    may_stop,
    shared_delta,
    upper_limit,
    zero_violation_epsilon,
    zero_violation_samples,
)

Interval = Callable[[int, int, float], tuple[float, float]]
Rule = Callable[[int, int, float, float], bool]

COUNTS = (1, 2, 5, 10, 30, 100, 300)
PROBABILITIES = np.unique(np.concatenate([np.geomspace(1e-6, 0.5, 60), 1 - np.geomspace(1e-6, 0.5, 60)]))


def least_coverage(interval: Interval, delta: float) -> float:
    """The worst probability, over numbers of draws and true values, that the interval holds the true value."""
    worst = 1.0
    for n in COUNTS:
        k = np.arange(n + 1)
        limits = np.array([interval(int(i), n, delta) for i in k])
        for p in PROBABILITIES:
            holds = (limits[:, 0] <= p) & (p <= limits[:, 1])
            worst = min(worst, float(binom.pmf(k, n, p)[holds].sum()))
    return worst


@pytest.mark.parametrize("delta", [0.05, 0.001])
def test_clopper_pearson_covers_exactly(delta: float) -> None:
    assert least_coverage(clopper_pearson, delta) >= 1 - delta


def test_one_sided_limits_cover_exactly() -> None:
    assert least_coverage(lambda k, n, d: (0.0, upper_limit(k, n, d)), 0.05) >= 0.95
    assert least_coverage(lambda k, n, d: (lower_limit(k, n, d), 1.0), 0.05) >= 0.95


@pytest.mark.parametrize(
    "mistaken",
    [
        lambda k, n, d: clopper_pearson(max(k - 1, 0), n, d),
        lambda k, n, d: clopper_pearson(min(k + 1, n), n, d),
        lambda k, n, d: (lower_limit(k, n, d / 2), float(beta.isf(d / 2, max(k, 1e-9), n - k + 1))),
        lambda k, n, d: clopper_pearson(k, n, 2 * d),
    ],
    ids=["one violation overlooked", "one too many", "k for k + 1", "delta not halved"],
)
def test_the_check_of_coverage_sees_a_mistake(mistaken: Interval) -> None:
    assert least_coverage(mistaken, 0.05) < 0.95


SHARES = st.floats(1e-3, 0.999)


def is_least(n: int, epsilon: float, delta: float) -> bool:
    """By exact rational arithmetic."""
    keep = 1 - Fraction(epsilon)
    return keep**n <= Fraction(delta) and (n == 1 or keep ** (n - 1) > Fraction(delta))


@given(epsilon=SHARES, delta=SHARES)
def test_the_number_of_draws_is_the_least_one(epsilon: float, delta: float) -> None:
    n = zero_violation_samples(epsilon, delta)
    assert is_least(n, epsilon, delta)
    assert not is_least(n + 1, epsilon, delta)
    assert n == 1 or not is_least(n - 1, epsilon, delta)


@pytest.mark.parametrize(
    ("epsilon", "delta", "n"),
    [
        (0.5, 0.25, 2),
        (0.5, math.nextafter(0.25, 0), 3),
        (0.5, math.nextafter(0.25, 1), 2),
        (0.5, 2.0**-1000, 1000),
        (0.05, 0.05, 59),
        (1e-5, 1e-3, 690_773),
        (0.999999, 0.5, 1),
    ],
)
def test_known_numbers_of_draws(epsilon: float, delta: float, n: int) -> None:
    assert zero_violation_samples(epsilon, delta) == n


@given(n=st.integers(1, 10**9), delta=SHARES)
def test_there_and_back(n: int, delta: float) -> None:
    """The least epsilon that n draws show needs no more than n draws; the next smaller one does."""
    epsilon = zero_violation_epsilon(n, delta)
    assert zero_violation_samples(epsilon, delta) <= n
    assert zero_violation_samples(math.nextafter(epsilon, 0), delta) > n


@given(n=st.integers(1, 10**7), k=st.integers(0, 50), delta=SHARES)
def test_limits_are_ordered(n: int, k: int, delta: float) -> None:
    k = min(k, n)
    lower, upper = clopper_pearson(k, n, delta)
    assert 0 <= lower <= k / n <= upper <= 1
    assert upper_limit(k, n, delta) <= upper_limit(min(k + 1, n), n, delta)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["epsilon", "delta"])
def test_what_is_no_share_is_refused(name: str, value: float) -> None:
    both = {"epsilon": 0.1, "delta": 0.1, name: value}
    with pytest.raises(InputError, match=rf"{name} is .*: give a number greater than 0 and less than 1"):
        zero_violation_samples(**both)


def test_statements_share_delta() -> None:
    """The union bound: the errors of all together are at most delta."""
    assert 12 * shared_delta(1e-3, 12) == pytest.approx(1e-3)


# --- stopping when one likes

EPSILON, DELTA, HORIZON, RUNS = 0.05, 0.1, 1500, 2000


def allowances(rule: Rule) -> list[int]:
    """For each number of draws from 1 the most violations with which the rule stops; -1 where it never does."""
    most, found = -1, []
    for n in range(1, HORIZON + 1):
        while most + 1 <= n and rule(most + 1, n, EPSILON, DELTA):
            most += 1
        found.append(most)
    return found


def false_statements(rule: Rule, seed: int) -> int:
    """How many of `RUNS` runs stop with the statement although a little more than epsilon violates."""
    draws = np.random.default_rng(seed).random((RUNS, HORIZON)) < EPSILON * 1.0001
    return int((draws.cumsum(1) <= np.array(allowances(rule))).any(1).sum())


def ever_stops(rule: Rule) -> float:
    """The same probability without chance: the distribution of the count is carried along until a run stops."""
    alive, stopped = np.zeros(HORIZON + 2), 0.0
    alive[0] = 1.0
    p = EPSILON * 1.0001
    for most in allowances(rule):
        alive[1:] = alive[1:] * (1 - p) + alive[:-1] * p
        alive[0] *= 1 - p
        stopped += alive[: most + 1].sum()
        alive[: most + 1] = 0
    return float(stopped)


def overlooks_one(k: int, n: int, epsilon: float, delta: float) -> bool:
    return may_stop(max(k - 1, 0), n, epsilon, delta)


def peeks(k: int, n: int, epsilon: float, delta: float) -> bool:
    """Takes the limit for a fixed number at every number."""
    return upper_limit(k, n, delta) <= epsilon


def is_plausible(errors: int) -> bool:
    """Binomial test at the 0.1 % level of "at most delta of the runs err"."""
    return binomtest(errors, RUNS, DELTA, alternative="greater").pvalue > 0.001


def test_2000_simulated_runs_err_no_more_often_than_stated() -> None:
    assert is_plausible(false_statements(may_stop, seed=1))


def test_the_probability_of_ever_erring_is_at_most_delta() -> None:
    assert 0.5 * DELTA < ever_stops(may_stop) <= DELTA


@pytest.mark.parametrize("mistaken", [overlooks_one, peeks])
def test_the_checks_of_stopping_see_a_mistake(mistaken: Rule) -> None:
    assert not is_plausible(false_statements(mistaken, seed=1))
    assert ever_stops(mistaken) > DELTA


def test_without_violations_looking_costs_a_factor_of_two_in_delta() -> None:
    n = zero_violation_samples(1e-4, 1e-3 / 2)
    assert may_stop(0, n, 1e-4, 1e-3)
    assert not may_stop(0, zero_violation_samples(1e-4, 1e-3) - 1, 1e-4, 1e-3)


@given(n=st.integers(1, 10**6), k=st.integers(0, 100), delta=st.floats(1e-6, 0.5))
def test_anytime_limits_belong_to_the_rule(n: int, k: int, delta: float) -> None:
    k = min(k, n)
    upper = anytime_upper(k, n, delta)
    assert upper >= upper_limit(k, n, delta) * (1 - 1e-9)  # what holds at all times is no tighter than at one
    if upper < 1:
        assert may_stop(k, n, upper, delta)
        assert not may_stop(k, n, upper * (1 - 1e-6), delta)
    low, high = anytime_interval(k, n, delta)
    assert 0 <= low <= k / n <= high <= 1


@given(n=st.integers(1, 10**6), k=st.integers(0, 50), epsilon=st.floats(1e-6, 0.5))
def test_evidence_grows_with_the_bound_and_falls_with_violations(n: int, k: int, epsilon: float) -> None:
    k = min(k, n - 1)
    assert log_evidence(k, n, epsilon) <= log_evidence(k, n, epsilon * 1.01) + 1e-6
    assert log_evidence(k + 1, n, epsilon) <= log_evidence(k, n, epsilon) + 1e-6
