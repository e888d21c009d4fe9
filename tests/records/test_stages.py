"""Verdicts together, counterexamples beside proofs, shares that say no more than was seen."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.records import (
    Drawdown,
    Drawdowns,
    Proved,
    Rate,
    SampleSet,
    Unknown,
    Unwatched,
    Verdict,
    Violated,
    Watch,
    Witness,
    competition_word,
    outcome_word,
    worst_verdict,
)

WITNESS = Witness(x=(0.5,), y=(1.0,), replayed_by=("onnxruntime",))
PROVED = Proved(boxes=1)
VIOLATED = Violated(witness=WITNESS, boxes=1)
REASONS = "timeout", "memory", "boxes", "interrupted", "precision", "not_found", "not_executed", "rejected"
UNKNOWN = [Unknown(reason=reason, boxes=1) for reason in REASONS]


def test_every_verdict_has_its_words() -> None:
    """``unsat``: the unsafe set is empty, so the property holds."""
    assert (outcome_word(PROVED), competition_word(PROVED)) == ("proved", "unsat")
    assert (outcome_word(VIOLATED), competition_word(VIOLATED)) == ("violated", "sat")
    for verdict in UNKNOWN:
        assert outcome_word(verdict) == "unknown"
        assert competition_word(verdict) == ("timeout" if verdict.reason == "timeout" else "unknown")


@given(st.lists(st.sampled_from([PROVED, VIOLATED, *UNKNOWN]), min_size=1, max_size=6))
def test_all_are_proved_only_if_every_one_is(verdicts: list[Verdict]) -> None:
    words = [outcome_word(verdict) for verdict in verdicts]
    worst = worst_verdict(verdicts)
    assert any(worst is verdict for verdict in verdicts)
    assert (outcome_word(worst) == "proved") == (set(words) == {"proved"})
    assert (outcome_word(worst) == "violated") == ("violated" in words)
    # A timeout speaks for all only where nothing else is open.
    others = {competition_word(verdict) for verdict in verdicts} - {"unsat"}
    assert (competition_word(worst) == "timeout") == (others == {"timeout"})


def test_of_two_that_are_alike_the_first_speaks() -> None:
    first, second = (Violated(witness=WITNESS, boxes=boxes) for boxes in (1, 2))
    assert worst_verdict([PROVED, first, second]) is first


@pytest.mark.parametrize(("exactly", "real", "float32"), [(True, True, True), (None, True, True), (False, False, True)])
def test_a_counterexample_contradicts_a_proof_of_what_it_violates(
    exactly: bool | None, real: bool, float32: bool
) -> None:
    """Where nobody could tell what holds over the reals, the proof is not believed."""
    witness = Witness(x=(0.5,), y=(1.0,), replayed_by=("onnxruntime",), exactly=exactly)
    assert (witness.contradicts("real"), witness.contradicts("float32")) == (real, float32)


def loss(name: str, share: float | None, n: int = 1000) -> Drawdown:
    return Drawdown(name=name, share=share, n=n)


def test_the_property_that_lost_most_is_named_whatever_the_order() -> None:
    entries = loss("none", None, 0), loss("little", 0.1), loss("much", 0.3, 7), loss("nothing", 0.0)
    for order in itertools.permutations(entries):
        found = Drawdowns(properties=order)
        assert (found.worst, found.share, found.n) == ("much", 0.3, 7)


def test_of_no_points_nothing_is_the_worst() -> None:
    for found in (Drawdowns(), Drawdowns(properties=(loss("none", None, 0),))):
        assert (found.top, found.worst, found.share, found.n) == (None, None, None, None)
    alone = Drawdowns(properties=(loss("none", None, 0), loss("first", 0.0, 5), loss("second", 0.0, 6)))
    assert (alone.worst, alone.share, alone.n) == ("first", 0.0, 5)


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ({"hits": 50, "n": 100}, 0.5),
        ({"hits": 0, "n": 100}, 0.0),
        ({"hits": 99, "n": 99}, None),
        ({"hits": 0, "n": 0}, None),
        ({"hits": 3, "n": 3, "by_proof": True}, 1.0),
        ({"hits": 0, "n": 0, "by_proof": True}, 1.0),
    ],
)
def test_a_share_of_few_points_is_not_told(said: dict[str, Any], share: float | None) -> None:
    assert Rate(**said).share == share


def test_points_are_chosen_with_their_outputs_and_margins() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    found = SampleSet(x=x, y=x + 10, margin=torch.tensor([0.5, -1.0, 0.0]))
    unsafe = found.where(found.margin <= 0)
    assert (len(found), len(unsafe), len(found.where(found.margin > 9))) == (3, 2, 0)
    assert unsafe.x.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert unsafe.y.tolist() == [[12.0, 13.0], [14.0, 15.0]]
    assert unsafe.margin.tolist() == [-1.0, 0.0]


def test_who_waits_in_silence_never_stops() -> None:
    assert isinstance(Unwatched(), Watch)
    assert Unwatched().stopped() is False
