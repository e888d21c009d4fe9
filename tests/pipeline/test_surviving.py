"""Nothing is handed out unproved that an attack refutes, and nothing is said to have survived that was not attacked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from birdnn.pipeline.case import Subject
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.judging import Attempt, Effort
from birdnn.pipeline.surviving import survival_notes, survivors
from birdnn.records import Progress, Unknown, Unwatched, Verdict, Watch
from birdnn.verify.effort import FALSIFIER_ROUNDS
from tests.pipeline.subjects import PROVED, UNKNOWN, VIOLATED, above, answers, asked, identity, loaded_from
from tests.verify.cases import SHORT_ATTACK

EFFORT = Effort(boxes=1, seed=0, semantics="real", attack=SHORT_ATTACK)
SUBJECTS = asked(above(2.0, "held"), above(0.5, "broken"))


def attacked(
    attempt: Attempt,
    subjects: tuple[Subject, ...] = SUBJECTS,
    *,
    watch: Watch | None = None,
    limit_s: float = math.inf,
) -> set[str]:
    clock = Clock(timeout_s=limit_s, watch=watch or Unwatched())
    return survivors(attempt, subjects, clock, EFFORT, limit_s)


def attempt(folder: Path, **verdicts: Verdict) -> Attempt:
    return Attempt(loaded=identity(folder, 0.0), answers=answers(**verdicts))


def test_what_an_attack_refutes_becomes_violated_and_what_withstands_keeps_its_reason(tmp_path: Path) -> None:
    one = attempt(tmp_path, held=UNKNOWN, broken=UNKNOWN)
    assert attacked(one) == {"held"}
    assert one.guarantee("broken") == "violated"
    assert one.answers["held"].verdict is UNKNOWN
    # a second for the proof, and the attack
    assert all(1.0 < answer.verify_s < 60.0 for answer in one.answers.values())


def test_what_nobody_had_looked_at_gets_an_answer(tmp_path: Path) -> None:
    one = attempt(tmp_path)
    assert attacked(one) == {"held"}
    verdict = one.answers["held"].verdict
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "not_found"
    assert one.guarantee("broken") == "violated"


@pytest.mark.parametrize("verdict", [PROVED, VIOLATED])
def test_what_is_decided_is_not_attacked(tmp_path: Path, verdict: Verdict) -> None:
    one = attempt(tmp_path, held=verdict, broken=verdict)
    before = dict(one.answers)
    assert attacked(one) == set()
    assert one.answers == before


class Listening:
    """A user who wants an end, and hears what is done."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def update(self, progress: Progress) -> None:
        self.heard.append(progress.phase)

    def stopped(self) -> bool:
        return True


def test_a_user_who_wants_an_end_still_gets_a_word_that_can_be_trusted(tmp_path: Path) -> None:
    one, watch = attempt(tmp_path, held=UNKNOWN), Listening()
    assert attacked(one, watch=watch) == {"held"}
    assert one.guarantee("broken") == "violated"
    told = [phase for phase in watch.heard if phase.startswith("attacking")]
    assert told == ["attacking held, which is not proved", "attacking broken, which is not proved"]


def test_without_time_nothing_survives(tmp_path: Path) -> None:
    subjects = asked(above(2.0, "held"))
    kept, new = attempt(tmp_path, held=UNKNOWN), attempt(tmp_path)
    for one in (kept, new):
        assert attacked(one, subjects, limit_s=0.0) == set()
        assert one.guarantee("held") == "unknown"
    assert kept.answers["held"].verdict is UNKNOWN
    assert new.answers["held"].verdict.reason == "timeout"  # type: ignore[union-attr]


@pytest.mark.parametrize(("known", "words"), [(UNKNOWN, f"{FALSIFIER_ROUNDS} rounds of"), (VIOLATED, "1 round of")])
def test_a_short_look_will_do_where_something_is_violated_anyway(tmp_path: Path, known: Verdict, words: str) -> None:
    """``relu(x) - relu(x)`` is 0, which bounds do not see."""
    loaded = loaded_from(tmp_path, ([[1], [1]], [0, 0]), ([[1, -1]], [0]))
    one = Attempt(loaded=loaded, answers=answers(other=known))
    subjects = asked(above(0.125, "zero", -1.0, 1.0), above(2.0, "other"))
    assert "zero" in attacked(one, subjects)
    verdict = one.answers["zero"].verdict
    assert isinstance(verdict, Unknown)
    assert verdict.tried.startswith(words)


def test_notes_tell_those_that_withstood_from_those_that_nobody_attacked(tmp_path: Path) -> None:
    one = attempt(tmp_path, a=PROVED, b=VIOLATED, c=UNKNOWN)
    subjects = asked(*(above(1.0, name) for name in "abcd"))
    withstood, unseen = survival_notes({"a", "b", "c"}, one, subjects)
    assert withstood.endswith("by the whole falsifier: c.")
    assert "for lack of time, so not called repaired: d; birdnn falsify" in unseen
    assert len(survival_notes({"c", "d"}, one, subjects)) == len(survival_notes(set(), one, subjects)) == 1
    assert survival_notes(set(), one, subjects[:2]) == ()
