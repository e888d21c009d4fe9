"""Hand-computed cases: each fails on one way in which a metric could flatter a repair."""

from __future__ import annotations

import math

import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.metrics import decisions, drawdown, fidelity, healed_rate, initialiser_changes, regressions

BEFORE = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
AFTER = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 0.5]])


def test_fidelity_counts_decisions_and_averages_over_all_outputs() -> None:
    found = fidelity(BEFORE, AFTER, "argmin")
    assert found.decision_agreement == 0.75
    assert found.mae == pytest.approx((2.0 + 0.5) / 8)
    assert found.n == 4


def test_argmax_and_argmin_are_not_the_same() -> None:
    y = torch.tensor([[3.0, 1.0, 2.0]])
    smallest, largest = decisions(y, "argmin"), decisions(y, "argmax")
    assert smallest is not None
    assert largest is not None
    assert (int(smallest), int(largest)) == (1, 0)


def test_without_a_decision_there_is_no_agreement_but_a_difference() -> None:
    found = fidelity(BEFORE, AFTER, "none")
    assert found.decision_agreement is None
    assert found.mae > 0


@pytest.mark.parametrize("rows", [0, 3])
def test_fidelity_refuses_nothing_and_unequal_sets(rows: int) -> None:
    with pytest.raises(MismatchError):
        fidelity(BEFORE[:rows], AFTER[: rows if rows == 0 else 4], "argmin")


def test_drawdown_counts_only_points_that_satisfied_the_property() -> None:
    before = torch.tensor([1.0, 1.0, 0.5, 2.0, -1.0, 0.0])
    after = torch.tensor([1.0, -1.0, 0.0, math.nan, -1.0, 1.0])
    found = drawdown("p", before, after)
    assert found.n == 4  # a margin of 0 violates, and so it was no satisfying point
    assert found.share == 3 / 4  # a margin of 0 and a NaN are losses


def test_of_no_points_there_is_no_share() -> None:
    """0.0 would read as: measured, and nothing lost."""
    found = drawdown("p", torch.tensor([-1.0, 0.0]), torch.tensor([-1.0, 1.0]))
    assert (found.share, found.n) == (None, 0)


def test_healed_speaks_about_violating_points() -> None:
    before = torch.tensor([-1.0] * 100 + [1.0] * 50)
    after = torch.tensor([1.0] * 99 + [-1.0] + [1.0] * 50)
    found = healed_rate(before, after, by_proof=False)
    assert found is not None
    assert (found.hits, found.n, found.share) == (99, 100, 0.99)


def test_no_percentage_under_a_hundred_points() -> None:
    found = healed_rate(torch.full((99,), -1.0), torch.ones(99), by_proof=False)
    assert found is not None
    assert found.share is None
    assert healed_rate(torch.ones(5), torch.ones(5), by_proof=True) is None


def test_a_proof_does_not_outvote_a_sample() -> None:
    found = healed_rate(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, -1.0]), by_proof=True)
    assert found is not None
    assert not found.by_proof


def test_regressions_are_properties_that_were_proved_and_are_not() -> None:
    before = {"a": "proved", "b": "proved", "c": "violated", "d": "proved"}
    after = {"a": "proved", "b": "unknown", "c": "unknown"}  # d was not looked at: that is said, not counted
    assert regressions(before, after) == ("b",)


def test_change_lists_only_what_differs() -> None:
    before = {"w": torch.zeros(2, 2), "b": torch.zeros(3)}
    after = {"w": torch.tensor([[0.0, -3.0], [1.0, 0.0]]), "b": torch.zeros(3)}
    ((name, entry),) = initialiser_changes(before, after).items()
    assert (name, entry.count, entry.size, entry.l1, entry.linf) == ("w", 2, 4, 4.0, 3.0)
