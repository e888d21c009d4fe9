"""Thresholds a few roundings from the true greatest output: nothing is said that is not so."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.verify.hair import decide, hair, word


def answers(count: int, first: int) -> Counter[str]:
    return Counter(word(case, decide(case)) for case in map(hair, range(first, first + count)))


@pytest.mark.thorough
def test_hair_margins() -> None:
    """Proofs beside runs that violate, counterexamples of both, and no `sat` by rounding without a word."""
    found = answers(60, 0)
    assert not [kind for kind in found if kind.startswith("wrong")], found
    assert min(found["unsat"], found["sat, both"], found["unsat, a run violates"]) >= 3


@pytest.mark.slow
def test_hair_margins_at_length() -> None:
    found = answers(2300, 1000)
    assert not [kind for kind in found if kind.startswith("wrong")], found
