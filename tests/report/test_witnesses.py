"""Where an input violates: when the network is run, over the reals, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from birdnn.records import Proved, Unknown, UnknownReason, Verdict, Violated
from birdnn.report.witnesses import REASONS, counterexample_text, input_text, replay_text, verdict_remark
from tests.report.outcomes import LATE, PROVED, VIOLATED, WITNESS

RUN_ONLY = replace(WITNESS, exactly=False, replayed_by=("onnxruntime", "torch"))


@pytest.mark.parametrize(
    "verdict",
    [
        PROVED,
        VIOLATED,
        LATE,
        Violated(witness=replace(WITNESS, exactly=True), boxes=1),
        Unknown(reason="memory", boxes=3, open_boxes=2),
        Unknown(reason="timeout", boxes=3),
    ],
)
def test_where_runs_and_reals_agree_nothing_is_said(verdict: Verdict) -> None:
    assert verdict_remark("p", verdict) == ""


@pytest.mark.parametrize(
    ("verdict", "parts"),
    [
        (Proved(boxes=1, executed=RUN_ONLY), ["p is proved over the reals", "onnxruntime and torch", "[0.5, -0.25]"]),
        (Proved(boxes=1, touched=1), ["1 box was closed in exact arithmetic"]),
        (Proved(boxes=1, touched=1200), ["1,200 boxes were closed"]),
        (Violated(witness=RUN_ONLY, boxes=1), ["onnxruntime and torch", "does not violate."]),
        (Violated(witness=RUN_ONLY, boxes=1, undecided="not_found"), ["does not violate."]),
        (
            Violated(witness=RUN_ONLY, boxes=1, undecided="timeout"),
            ["does not violate, where nothing is decided (time is up)."],
        ),
        (
            Violated(witness=RUN_ONLY, boxes=1, undecided="not_executed"),
            ["does not violate; another input violates there."],
        ),
        (Unknown(reason="memory", boxes=0), ["p: memory ran out"]),
        (Unknown(reason="not_executed", boxes=1, over_reals=(0.5, 2.0)), ["Over the reals the input [0.5, 2.0]"]),
    ],
)
def test_where_they_differ_both_are_told(verdict: Verdict, parts: list[str]) -> None:
    told = verdict_remark("p", verdict)
    assert [part for part in parts if part not in told] == []


def test_a_run_goes_before_boxes_that_were_touched() -> None:
    """A certificate that cannot be written is the lesser news."""
    assert "yet" in verdict_remark("p", Proved(boxes=1, executed=RUN_ONLY, touched=3))


def test_every_reason_has_its_words() -> None:
    assert set(REASONS) == set(get_args(UnknownReason))
    assert len(set(REASONS.values())) == len(REASONS)


def test_of_many_values_the_first_are_told() -> None:
    assert input_text([float(place) for place in range(8)]) == "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]"
    assert input_text([0.0] * 9).endswith("0.0, ... 9 values]")
    assert input_text([]) == "[]"


@pytest.mark.parametrize(
    ("exactly", "rest"), [(True, ""), (False, "; not over the reals"), (None, "; over the reals it could not be told")]
)
def test_who_ran_it_and_what_the_reals_say(exactly: bool | None, rest: str) -> None:
    assert replay_text(["onnxruntime", "torch"], exactly) == f"replayed by onnxruntime and torch{rest}"


def test_a_counterexample_reads_back_to_the_last_bit() -> None:
    x = (0.1, 1e-45, -3.4028234663852886e38)
    lines = counterexample_text(replace(WITNESS, x=x, y=(0.2,))).strip("()\n").split("\n")
    assert [float(line.strip("()").split()[1]) for line in lines] == [*x, 0.2]
    assert [line.strip("()").split()[0] for line in lines] == ["X_0", "X_1", "X_2", "Y_0"]
