"""What n independent draws say about a probability, and how many are needed.

Clopper and Pearson (Biometrika 26, 1934) for a number of draws fixed beforehand. For a number that depends on what the
draws show, a test martingale: a mixture of likelihood ratios, half of its weight on probability 0 and half spread
evenly below the bound, and Ville's inequality (Robbins, Ann. Math. Statist. 41, 1970; Howard et al., Ann. Statist. 49,
2021, arXiv:1810.08240). Without violations it needs ln(2 / delta) where the fixed number needs ln(1 / delta), however
often one looks.

Several statements share an error probability by the union bound: `shared_delta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal, localcontext
from fractions import Fraction

import numpy as np

from birdnn.errors import InputError
from birdnn.later import later

special, stats = later("scipy.special"), later("scipy.stats")

_DIGITS = 60
_EXACT_UP_TO = 1100
"""Powers of a float64 below 1 that are float64 themselves have exponents below this (2**-1074 is the least one)."""


def require_share(name: str, value: float) -> None:
    """Refuse what is no probability strictly between 0 and 1.

    Raises:
        InputError: so, or NaN.
    """
    if not 0 < value < 1:
        example = "0.00001" if name == "epsilon" else "0.001"
        raise InputError(f"{name} is {value:g}: give a number greater than 0 and less than 1, e.g. {example}")


def shared_delta(delta: float, statements: int) -> float:
    """The error probability of each of several statements that are all true with confidence ``1 - delta``."""
    return delta / statements


def zero_violation_samples(epsilon: float, delta: float) -> int:
    """The least n with ``(1 - epsilon) ** n <= delta``: n draws without violation show that at most epsilon violates.

    Exact for the float64 values as given.

    Raises:
        InputError: one of them is not in (0, 1).
    """
    require_share("epsilon", epsilon)
    require_share("delta", delta)
    with localcontext(prec=_DIGITS):
        ratio = Decimal(delta).ln() / (1 - Decimal(epsilon)).ln()
        n = max(1, int(ratio.to_integral_value(ROUND_CEILING)))
    # sixty digits decide unless the ratio is an integer, which it can only be where a power is exact
    if n <= _EXACT_UP_TO:
        keep, target = 1 - Fraction(epsilon), Fraction(delta)
        while n > 1 and keep ** (n - 1) <= target:
            n -= 1
        while keep**n > target:
            n += 1
    return n


def zero_violation_epsilon(n: int, delta: float) -> float:
    """The least float64 epsilon for which n draws without violation suffice; 1.0 for no draws."""
    require_share("delta", delta)
    if n < 1:
        return 1.0
    return least_epsilon(-math.expm1(math.log(delta) / n), lambda epsilon: zero_violation_samples(epsilon, delta) <= n)


def least_epsilon(near: float, suffices: Callable[[float], bool]) -> float:
    """The least float64 between 0 and 1 that suffices, by exact steps from one that rounding left near it; else 1.0.

    Args:
        near: of the order of the least one.
        suffices: exactly; true of all that are greater than one of which it is true. It is asked of shares only.
    """
    epsilon = min(near, math.nextafter(1.0, 0.0))
    while epsilon < 1 and not suffices(epsilon):
        epsilon = math.nextafter(epsilon, 1.0)
    while (less := math.nextafter(epsilon, 0.0)) > 0 and suffices(less):
        epsilon = less
    return epsilon


def upper_limit(violations: int, n: int, delta: float) -> float:
    """Clopper-Pearson's upper limit of the probability, one-sided, confidence ``1 - delta``."""
    if violations == 0:
        return zero_violation_epsilon(n, delta)
    # isf, for 1 - delta would round a small delta away
    return 1.0 if violations == n else float(stats.beta.isf(delta, violations + 1, n - violations))


def lower_limit(violations: int, n: int, delta: float) -> float:
    """The same from below."""
    return 0.0 if violations == 0 else float(stats.beta.ppf(delta, violations, n - violations + 1))


def clopper_pearson(violations: int, n: int, delta: float) -> tuple[float, float]:
    """The two-sided interval of confidence ``1 - delta``, half of delta on each side."""
    return lower_limit(violations, n, delta / 2), upper_limit(violations, n, delta / 2)


def log_evidence(violations: int, n: int, epsilon: float) -> float:
    """Logarithm of the evidence against "at least epsilon violates" after n draws.

    Under each probability of at least epsilon its exponential is a nonnegative supermartingale that starts at 1, so
    that it ever reaches ``1 / delta`` with probability at most delta. It grows with epsilon and falls with violations.

    With ``u`` uniform on (0, 1) it is half of ``E u**k ((1 - epsilon u) / (1 - epsilon))**(n - k)`` and half of the
    same at ``u = 0``.
    """
    k, rest = violations, n - violations
    # logarithms: with many draws the evidence is beyond float64
    survived = -rest * math.log1p(-epsilon)
    with np.errstate(divide="ignore"):  # far above the bound the integral underflows: no evidence at all
        spread = (
            special.betaln(k + 1, rest + 1)
            + np.log(special.betainc(k + 1, rest + 1, epsilon))
            - (k + 1) * math.log(epsilon)
        )
    none = survived if k == 0 else -math.inf
    return float(np.logaddexp(none, spread + survived)) - math.log(2)


def may_stop(violations: int, n: int, epsilon: float, delta: float) -> bool:
    """May one stop here, having decided so by looking at the draws, and state the bound epsilon?"""
    return log_evidence(violations, n, epsilon) >= -math.log(delta)


def anytime_upper(violations: int, n: int, delta: float) -> float:
    """An upper limit that holds for all n at once with confidence ``1 - delta``."""
    below, above = -100.0, -1e-12  # logarithms of epsilon; evidence grows with it
    if n == 0 or not may_stop(violations, n, math.exp(above), delta):
        return 1.0
    for _ in range(70):
        middle = (below + above) / 2
        if may_stop(violations, n, math.exp(middle), delta):
            above = middle
        else:
            below = middle
    # the end that was reached, not the middle: a limit must not be too low
    return math.exp(above)


def anytime_lower(violations: int, n: int, delta: float) -> float:
    """The same from below: the share that does not violate has an upper limit."""
    return 1.0 - anytime_upper(n - violations, n, delta)


def anytime_interval(violations: int, n: int, delta: float) -> tuple[float, float]:
    """Two-sided, valid for all n at once with confidence ``1 - delta``."""
    return anytime_lower(violations, n, delta / 2), anytime_upper(violations, n, delta / 2)
