"""What a candidate is worth, in which order its properties are decided, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.pipeline import judging
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.judging import Answer, Attempt, Effort, decide, decide_all, make_hunter, shown_counterexamples
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Guarantee, Proved, Unknown, Unwatched, Verdict, Violated, Witness
from birdnn.verify import AttackSettings
from tests.pipeline.subjects import PROVED, UNKNOWN, VIOLATED, above, answers, asked, identity
from tests.pipeline.test_clock import Hand
from tests.verify.cases import SHORT_ATTACK

EFFORT = Effort(boxes=100, seed=0, semantics="real", attack=SHORT_ATTACK)


def clock(timeout_s: float = math.inf, now: Hand | None = None) -> Clock:
    return Clock(timeout_s=timeout_s, watch=Unwatched(), now=now or Hand())


def words(found: Attempt) -> dict[str, Guarantee]:
    return {name: answer.guarantee for name, answer in found.answers.items()}


# --- what it is worth


def attempt(tmp_path, **verdicts: Verdict) -> Attempt:
    return Attempt(loaded=identity(tmp_path, 0.0), answers=answers(**verdicts))


@pytest.mark.parametrize(("verdict", "word"), [(PROVED, "proved"), (VIOLATED, "violated"), (UNKNOWN, "unknown")])
def test_an_answer_in_a_word(tmp_path, verdict: Verdict, word: Guarantee) -> None:
    assert Answer(verdict=verdict, verify_s=0.0).guarantee == word
    assert attempt(tmp_path, a=verdict).guarantee("a") == word
    assert attempt(tmp_path, a=verdict).guarantee("b") == "unknown"


def test_few_violations_come_before_many_proofs(tmp_path) -> None:
    tried = [
        attempt(tmp_path),
        attempt(tmp_path, a=VIOLATED),
        attempt(tmp_path, a=PROVED, b=VIOLATED),
        attempt(tmp_path, a=UNKNOWN, b=UNKNOWN, c=VIOLATED),
        attempt(tmp_path, a=UNKNOWN, b=UNKNOWN, c=UNKNOWN),
        attempt(tmp_path, a=PROVED, b=UNKNOWN, c=UNKNOWN),
        attempt(tmp_path, a=PROVED, b=PROVED, c=PROVED),
    ]
    ranks = [one.rank(["a", "b", "c"]) for one in tried]
    assert ranks == sorted(ranks)
    assert ranks[0] == ranks[1], "what was not looked at counts as badly as what is violated"
    assert [rank[0] for rank in ranks] == [False] * 6 + [True]


def test_the_next_candidate_learns_of_what_was_run_and_of_what_is_open(tmp_path) -> None:
    boxes = Boxes(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    open_ = Unknown(reason="boxes", boxes=3, undecided=boxes)
    violated = Violated(witness=Witness(x=(0.5, 0.25), y=(9.0,), replayed_by=("run",)), boxes=0)
    found = attempt(tmp_path, a=PROVED, b=violated, c=UNKNOWN, d=open_).evidence()
    assert {name: x.tolist() for name, x in found.points.items()} == {"b": [[0.5, 0.25]]}
    assert found.undecided == {"d": boxes}
    assert not found.too_far
    assert Attempt(loaded=identity(tmp_path, 0.0), too_far=True).evidence().too_far


# --- deciding


def test_a_proof_is_booked_and_a_look_is_none(tmp_path) -> None:
    loaded, now = identity(tmp_path, 0.0), Hand()
    (subject,), watch = asked(above(2.0)), clock(now=now)
    proof = decide(loaded, subject, watch, EFFORT)
    assert isinstance(proof.verdict, Proved)
    glance = decide(loaded, subject, watch, EFFORT, cheap=True)
    assert (glance.guarantee, glance.verdict.boxes) == ("unknown", 0)
    assert watch.spent["verify"] == proof.verify_s + glance.verify_s


@pytest.mark.parametrize(("limit", "seconds"), [(0.0, math.inf), (math.inf, 0.0)])
def test_a_proof_ends_with_its_seconds_and_with_the_search(tmp_path, limit: float, seconds: float) -> None:
    (subject,) = asked(above(2.0))
    effort = Effort(boxes=100, seed=0, semantics="real", attack=SHORT_ATTACK, seconds=seconds)
    verdict = decide(identity(tmp_path, 0.0), subject, clock(limit), effort).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "timeout"


def test_a_candidate_that_an_attack_refutes_costs_no_proof(tmp_path) -> None:
    props = asked(above(2.0, "held"), above(0.5, "broken"), above(3.0, "later"))
    found = decide_all(identity(tmp_path, 0.0), props, clock(), EFFORT)
    assert words(found) == {
        "held": "unknown",
        "broken": "violated",
    }
    assert found.answers["held"].verdict.boxes == 0


def test_all_are_proved_where_none_is_refuted(tmp_path) -> None:
    found = decide_all(identity(tmp_path, 0.0), asked(above(2.0, "one"), above(3.0, "two")), clock(), EFFORT)
    assert words(found) == {"one": "proved", "two": "proved"}


def test_of_as_many_as_possible_a_violated_one_loses_nothing(tmp_path) -> None:
    props = asked(above(0.5, "broken"), above(2.0, "held"))
    found = decide_all(identity(tmp_path, 0.0), props, clock(), EFFORT, as_many=True)
    assert words(found) == {
        "broken": "violated",
        "held": "proved",
    }


@pytest.mark.parametrize("as_many", [False, True])
def test_without_time_nothing_is_looked_at(tmp_path, as_many: bool) -> None:
    found = decide_all(identity(tmp_path, 0.0), asked(above(2.0)), clock(0.0), EFFORT, as_many=as_many)
    assert found.answers == {}


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """What each property may cost, where none but those that are named is ever decided."""

    def deciding(tmp_path, count: int, seconds: float, *, proved: str = "", takes: float = 0.0, limit: float = 1e6):
        now, asked_for = Hand(), []

        def decided(loaded, subject, watch, effort) -> Answer:
            asked_for.append((subject.prop.name, effort.boxes, effort.work, effort.seconds))
            now.seconds += takes
            return Answer(verdict=PROVED if subject.prop.name == proved else UNKNOWN, verify_s=takes)

        monkeypatch.setattr(judging, "decide", decided)
        effort = Effort(boxes=100, work=200, seconds=seconds, seed=0, semantics="real")
        props = asked(*(above(2.0, str(number)) for number in range(count)))
        decide_all(identity(tmp_path, 0.0), props, clock(limit, now), effort, as_many=True)
        return asked_for

    return deciding


def test_a_glance_at_each_comes_before_any_gets_more(tmp_path, costs) -> None:
    found = costs(tmp_path, 16, 160.0, proved="3")
    first, rest = found[:16], found[16:]
    assert [name for name, *_ in first] == [str(number) for number in range(16)]
    assert [name for name, *_ in rest] == [str(number) for number in range(16) if number != 3]
    # a tenth, and sixteen together what eight may cost
    assert {(boxes, work) for _, boxes, work, _ in first} == {(5.0, 10.0)}
    assert [(boxes, work) for _, boxes, work, _ in rest] == [pytest.approx((800 / 15, 1600 / 15))] * 15
    assert [seconds for *_, seconds in first][::15] == [2.0, pytest.approx(16.0)]
    assert [seconds for *_, seconds in rest][::14] == [pytest.approx(160 / 15), pytest.approx(160.0)]


def test_up_to_eight_have_the_whole_effort_each(tmp_path, costs) -> None:
    found = costs(tmp_path, 8, math.inf)
    assert [boxes for _, boxes, *_ in found] == [10.0] * 8 + [100.0] * 8


def test_none_stays_without_a_look_and_none_gets_more_than_there_is(tmp_path, costs) -> None:
    assert [seconds for *_, seconds in costs(tmp_path, 4, 10.0, takes=20.0)] == [2.0] * 4
    assert len(costs(tmp_path, 4, math.inf, takes=20.0, limit=50.0)) == 3, "the limit of the command"


# --- counterexamples and hunts


def test_a_few_different_counterexamples_are_shown_the_worst_first(tmp_path) -> None:
    loaded, prop = identity(tmp_path, 0.0), above(0.5)
    first = Witness(x=(1.0,), y=(1.0,), replayed_by=("run",))
    points = torch.tensor([[0.25], [0.625], [1.0], [0.75], [0.875], [0.75], [0.875]])
    shown = shown_counterexamples(loaded, prop, first, points)
    assert [witness.x for witness in shown] == [(1.0,), (0.875,), (0.75,)]
    assert [w.x for w in shown_counterexamples(loaded, prop, first, points[:3])] == [(1.0,), (0.625,)]
    assert shown_counterexamples(loaded, prop, first, points[:0]) == (first,)


def test_a_hunt_is_as_hard_as_the_moment_needs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, (region,) = identity(tmp_path, 0.0).net, above(0.5).regions
    seen, honest = [], judging.attack

    def watched(*args: object, settings: AttackSettings, **more: object) -> torch.Tensor:
        seen.append(settings.evaluations)
        return honest(*args, settings=settings, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "attack", watched)
    settings = RepairSettings(hunt=AttackSettings(evaluations=2000), light_hunt=AttackSettings(evaluations=500))
    for regions in (1, 10**9):
        hunt = make_hunter(settings, lambda: False, regions)
        for thorough in (True, False):
            x = hunt(net, region, torch.Generator().manual_seed(0), thorough)
            assert ((x >= 0) & (x <= 1)).all()
    assert seen[:2] == [2000, 500]
    assert max(seen[2:]) < 500
