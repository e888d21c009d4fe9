"""What a repair is asked for, and when behaviour counts as kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.records import LEAST, Domain, Kept, RepairRequest, behaves_as_asked

BELOW = math.nextafter


def behaves(agreement: float | None = 1.0, mae: float = 0.0, size: float = 1.0, **said: Any) -> bool:
    return behaves_as_asked(agreement, mae, size, **({"min_agreement": None, "max_mae": None} | said))


def test_behaviour_is_kept_at_the_limits_themselves() -> None:
    assert behaves(LEAST[0], LEAST[1] * 3.0, 3.0)
    assert not behaves(BELOW(LEAST[0], 0), 0.0)
    assert not behaves(1.0, BELOW(LEAST[1] * 3.0, 9), 3.0)


def test_what_the_user_says_takes_the_place_of_the_default() -> None:
    """Also where it asks for less; each by itself."""
    assert behaves(0.5, min_agreement=0.5)
    assert not behaves(0.995, min_agreement=0.999)
    assert behaves(mae=7.0, max_mae=7.0)
    assert not behaves(mae=0.04, max_mae=0.03)
    assert behaves(0.0, min_agreement=0.0)
    assert not behaves(0.5, min_agreement=0.5, mae=0.06)
    assert not behaves(0.5, max_mae=7.0, mae=7.0)


def test_another_least_may_be_asked_for() -> None:
    assert behaves(0.9, 0.1, least=(0.9, 0.1))
    assert not behaves(0.9, 0.2, least=(0.9, 0.1))
    assert not behaves(0.8, 0.1, least=(0.9, 0.1))


@pytest.mark.parametrize(
    ("agreement", "mae", "size"),
    [(math.nan, 0.0, 1.0), (1.0, math.nan, 1.0), (1.0, 0.0, math.nan), (1.0, math.inf, math.inf)],
)
def test_what_is_no_number_is_not_kept(agreement: float, mae: float, size: float) -> None:
    """Of infinite outputs 5 % are infinite, below which any difference would be."""
    assert not behaves(agreement, mae, size)


def test_where_nothing_decides_outputs_alone_count() -> None:
    assert behaves(None, 0.05)
    assert not behaves(None, 0.06)
    assert not behaves(None, math.inf, max_mae=1e300)
    assert behaves(None, 0.0, 0.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 10), st.floats(0, 1), st.floats(0, 10))
def test_better_behaviour_is_never_worse(share: float, more: float, mae: float, less: float, size: float) -> None:
    if behaves(share, mae, size):
        assert behaves(max(share, more), mae * less, size)


@pytest.mark.parametrize(
    ("said", "name", "ranks"),
    [
        ({}, "auto", False),
        ({"method": "retrain", "optimiser": "pso"}, "retrain", False),
        ({"method": "finetune"}, "finetune:lp", False),
        ({"method": "finetune", "optimiser": "bias"}, "finetune:bias", False),
        ({"method": "finetune", "optimiser": "pso"}, "finetune:pso", True),
        ({"method": "finetune", "optimiser": "cmaes"}, "finetune:cmaes", True),
    ],
)
def test_a_method_is_named_with_its_optimiser(said: dict[str, Any], name: str, ranks: bool) -> None:
    request = RepairRequest(net=Path("n.onnx"), **said)
    assert (request.method_name, request.ranks_neurons) == (name, ranks)


def test_a_domain_has_two_corners_of_one_length() -> None:
    Domain(lower=(), upper=(), source="x")
    with pytest.raises(ValueError, match="the corners of the domain have different lengths"):
        Domain(lower=(0.0,), upper=(1.0, 2.0), source="x")


def test_a_candidate_of_which_nothing_was_compared_says_nothing() -> None:
    """-1: an earlier version did not say how many there were."""
    kept = {n: Kept(decision_agreement=None, mae=0.0, drawdown=0.0, n=n) for n in (-1, 0, 1)}
    assert [kept[n].measured for n in (-1, 0, 1)] == [True, False, True]
