"""One property's answer and that of a command: what each verdict has to say, and what contradicts it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from birdnn.errors import NotProvedError
from birdnn.records import PropertyVerdict, Proved, Unknown, Verdict, VerifySettings, Violated
from tests.report.outcomes import LATE, PROVED, VIOLATED, WITNESS, verify_outcome

RUN_ONLY = replace(WITNESS, exactly=False)


def answer(verdict: Verdict) -> PropertyVerdict:
    return PropertyVerdict(name="p", path="/p.vnnlib", sha256="ab", text="t", verdict=verdict, solve_s=1.0)


def test_a_proof_may_stand_beside_a_run_that_violates() -> None:
    found = answer(Proved(boxes=3, executed=RUN_ONLY))
    assert found.proved
    assert (found.outcome, found.executed, found.counterexample) == ("proved", RUN_ONLY, None)
    assert (found.reason, found.tried, found.open_boxes, found.over_reals, found.boxes) == (None, None, 0, None, 3)
    assert found.told() == "p: proved"


def test_a_violation_says_why_nothing_is_decided_over_the_reals() -> None:
    found = answer(Violated(witness=RUN_ONLY, boxes=2, undecided="memory"))
    assert not found.proved
    assert (found.counterexample, found.reason, found.executed) == (RUN_ONLY, "memory", None)
    assert (found.tried, found.open_boxes, found.over_reals) == (None, 0, None)
    assert answer(VIOLATED).reason is None
    assert found.told() == "p: violated at [0.5, -0.25]"


def test_what_is_open_says_what_was_tried() -> None:
    found = answer(Unknown(reason="not_found", boxes=0, tried="10 rounds of attack", open_boxes=4, over_reals=(0.5,)))
    assert not found.proved
    assert (found.reason, found.tried, found.open_boxes, found.over_reals) == (
        "not_found",
        "10 rounds of attack",
        4,
        (0.5,),
    )
    assert (found.counterexample, found.executed) == (None, None)
    assert found.told() == "p: unknown (not_found)"


def test_what_was_not_found_is_null_and_not_empty() -> None:
    found = answer(LATE)
    assert (found.tried, found.over_reals, found.competition_verdict) == (None, None, "timeout")


def test_the_sums_and_the_one_that_speaks_for_all() -> None:
    second = replace(VIOLATED, witness=RUN_ONLY, arithmetic="another")
    found = verify_outcome(PROVED, VIOLATED, second, LATE)
    assert (found.boxes, found.counterexample, found.arithmetic) == (118, WITNESS, VIOLATED.arithmetic)
    assert found.property_sha256 is None
    alone = verify_outcome(PROVED)
    assert (alone.property_sha256, alone.counterexample, alone.arithmetic) == ("ab", None, PROVED.arithmetic)


def test_a_contradiction_leaves_nothing_decided() -> None:
    """Whatever ours says, proved or violated."""
    for verdict in (PROVED, VIOLATED):
        found = replace(verify_outcome(verdict), disagreement="A says yes, B no")
        assert (found.outcome, found.verdict, found.proved) == ("unknown", "unknown", False)
        assert "; engines disagree; " in repr(found)
    assert "disagree" not in repr(verify_outcome(PROVED))


@pytest.mark.parametrize(
    ("verdicts", "disagreement", "status", "told"),
    [
        ((PROVED, LATE), "", 3, "prop_1: unknown (timeout)"),
        ((LATE, VIOLATED), "", 1, "prop_0: unknown (timeout); prop_1: violated at [0.5, -0.25]"),
        (
            (VIOLATED, PROVED),
            "A against B",
            6,
            "A against B; prop_0: violated at [0.5, -0.25]",
        ),
        ((PROVED,), "A against B", 6, "A against B"),
    ],
)
def test_the_weightiest_of_what_is_wrong_is_the_status(
    verdicts: tuple[Verdict, ...], disagreement: str, status: int, told: str
) -> None:
    """A contradiction before a violation before what is open; what is proved is not named."""
    found = replace(verify_outcome(*verdicts), disagreement=disagreement)
    with pytest.raises(NotProvedError) as caught:
        found.raise_unless_proved()
    assert (caught.value.exit_status, str(caught.value)) == (status, told)


def test_proofs_speak_about_the_reals_where_nobody_says_otherwise() -> None:
    found = verify_outcome(PROVED)
    assert found.semantics == "real"
    assert replace(found, settings=VerifySettings(semantics="float32")).semantics == "float32"


def test_of_no_property_nothing_is_proved() -> None:
    """`all` of nothing is true, and an empty list of properties would pass in continuous integration."""
    found = replace(verify_outcome(), verdicts=())
    assert not found.proved
    with pytest.raises(NotProvedError, match="nothing was asked"):
        found.raise_unless_proved()
