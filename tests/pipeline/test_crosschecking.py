"""What becomes of other engines' answers; `tests/cli/test_crosscheck.py` asks real ones by whole commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from birdnn.crosscheck.marabou import MarabouAnswer
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import EngineError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline import crosschecking
from birdnn.pipeline.crosschecking import (
    ASK,
    POINTS,
    Inquiry,
    Reply,
    contradicting_witness,
    cross_checked,
    disagreement,
    require_engines,
)
from birdnn.pipeline.load import Loaded
from birdnn.records import EngineAnswer, EngineWord, Progress, Proved, Unknown, Unwatched, Verdict, Violated, Witness
from birdnn.rounding import Semantics
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property, property_of
from tests.pipeline.scenes import Layer, loaded

SUM: tuple[Layer, ...] = (([[1, 0], [0, 1]], [0, 0]), ([[1, 1]], [0]))
"""``relu(x0) + relu(x1)``."""

ABOVE = half_space([-1.0], -1.5)
"""An output of at least 1.5 is unsafe."""

SQUARE = make_property([0.0, 0.0], [1.0, 1.0], ABOVE)
SAFE = make_property([0.0, 0.0], [0.5, 0.5], ABOVE)
NOTHING = Unknown(reason="not_found", boxes=0)


def runnable(*layers: Layer) -> Loaded:
    data = layers_to_onnx([(np.array(w, float), np.array(b, float)) for w, b in layers])
    return replace(loaded(*layers), replays=(OnnxReplay(data),))


def inquiry(prop: Property = SQUARE, verdict: Verdict = NOTHING, **more: object) -> Inquiry:
    asked = {"loaded": runnable(*SUM), "timeout_s": 60.0, "seed": 0, "watch": Unwatched(), **more}
    return Inquiry(prop=prop, verdict=verdict, **asked)  # type: ignore[arg-type]


def found(*x: float, exactly: bool | None = True) -> Violated:
    return Violated(witness=Witness(x=x, y=(2.0,), replayed_by=("someone",), exactly=exactly), boxes=3)


def answer(asked: Inquiry, name: str = "onnxruntime") -> EngineAnswer:
    return cross_checked(asked, [name], 0.0)[1]


def planted(monkeypatch: pytest.MonkeyPatch, **asked: Callable[[Inquiry], Reply]) -> None:
    monkeypatch.setattr(crosschecking, "ASK", {**ASK, **asked})


# --- our own answer


@pytest.mark.parametrize(
    ("verdict", "word", "detail"),
    [
        (Proved(boxes=1234), "proved", "1,234 boxes"),
        (found(1.0, 1.0), "violated", ""),
        (Unknown(reason="timeout", boxes=5678), "timeout", "5,678 boxes"),
        (Unknown(reason="interrupted", boxes=1), "interrupted", ""),
        (Unknown(reason="precision", boxes=1), "unknown", "precision"),
        (Unknown(reason="rejected", boxes=1), "unknown", "rejected"),
    ],
)
def test_ours_comes_first_in_the_words_of_engines(verdict: Verdict, word: str, detail: str) -> None:
    (ours,) = cross_checked(inquiry(verdict=verdict), [], 2.5)
    assert (ours.engine, ours.answer, ours.detail, ours.seconds) == ("birdnn", word, detail, 2.5)
    assert ours.arithmetic == verdict.arithmetic
    assert (ours.witness is not None) == (word == "violated")


# --- whatever becomes of an engine


def test_engines_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Listener(Unwatched):
        def update(self, news: Progress) -> None:
            told.append(news.phase)

    planted(
        monkeypatch,
        marabou=lambda case: Reply(answer="proved", arithmetic="theirs", detail="quick"),
        onnxruntime=lambda case: Reply(answer="no_violation", arithmetic="runs"),
    )
    answers = cross_checked(inquiry(watch=Listener()), ["marabou", "onnxruntime"], 0.0)
    assert [(a.engine, a.answer, a.arithmetic, a.detail) for a in answers[1:]] == [
        ("marabou", "proved", "theirs", "quick"),
        ("onnxruntime", "no_violation", "runs", ""),
    ]
    assert told == ["asking marabou about made up", "asking onnxruntime about made up"]
    assert answers[2].version


def test_an_engine_may_refuse_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(case: Inquiry) -> Reply:
        raise EngineError("marabou", "takes no such thing")

    def fails(case: Inquiry) -> Reply:
        raise ZeroDivisionError("x" * 1000)

    planted(monkeypatch, marabou=refuses, onnxruntime=fails)
    refused, crashed = (answer(inquiry(), name) for name in ("marabou", "onnxruntime"))
    assert (refused.answer, refused.detail, refused.arithmetic) == ("refused", "takes no such thing", "")
    assert (crashed.answer, crashed.detail) == ("crash", "ZeroDivisionError: " + "x" * 200)


@pytest.mark.parametrize("left", [0.0, -1.0])
def test_without_time_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, left: float) -> None:
    planted(monkeypatch, onnxruntime=lambda case: Reply(answer="proved", arithmetic=""))
    late = answer(inquiry(timeout_s=left))
    assert (late.answer, late.detail) == ("timeout", "not begun: no time was left")


def test_who_has_stopped_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(Unwatched):
        def stopped(self) -> bool:
            return True

    planted(monkeypatch, onnxruntime=lambda case: Reply(answer="proved", arithmetic=""))
    assert answer(inquiry(watch=Ended())).answer == "interrupted"


def test_engines_that_there_are_not_are_told_before_any_work() -> None:
    require_engines([])
    require_engines(["onnxruntime"])
    with pytest.raises(EngineError, match="no such engine; known: onnxruntime, auto_lirpa, marabou"):
        require_engines(["onnxruntime", "z3"])


# --- onnxruntime


def test_our_counterexample_is_run_on_the_file() -> None:
    again = answer(inquiry(verdict=found(1.0, 0.75)))
    assert (again.answer, again.detail) == ("violated", "")
    assert again.witness == Witness(x=(1.0, 0.75), y=(1.75,), replayed_by=("onnxruntime",), exactly=True)
    for x in ((0.5, 0.75), (1.0, 2.0)):
        not_there = answer(inquiry(verdict=found(*x)))
        assert (not_there.answer, not_there.witness) == ("not_reproduced", None)


def test_a_counterexample_of_runs_alone_is_called_one() -> None:
    """1 + 2**-25 is 1 when it is run."""
    prop = make_property([0.0, 0.0], [1.0, 1.0], half_space([1.0], 1.0))
    run = answer(inquiry(prop, found(1.0, 2.0**-25)))
    assert (run.answer, run.detail) == ("violated", "when run, not over the reals")
    assert run.witness is not None
    assert run.witness.exactly is False


def test_points_are_run_where_we_found_none() -> None:
    """In every region, by that region's own rows, also where we call the property proved."""
    safe = answer(inquiry(SAFE, Proved(boxes=1)))
    assert (safe.answer, safe.detail) == ("no_violation", f"{POINTS:,} uniform points")
    other = make_property([2.0, 2.0], [3.0, 3.0], half_space([-1.0], -5.75)).regions[0]
    hit = answer(inquiry(property_of(SAFE.regions[0], other), Proved(boxes=1)))
    assert hit.answer == "violated"
    assert hit.witness is not None
    assert min(hit.witness.x) >= 2.0
    assert sum(hit.witness.x) >= 5.75


def test_points_are_run_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Slow:
        name = "slow"

        def __call__(self, x: np.ndarray) -> np.ndarray:
            now[0] += 0.01
            return x[:1]

    monkeypatch.setattr(crosschecking.time, "monotonic", lambda: now[0])
    late = answer(inquiry(SAFE, loaded=replace(runnable(*SUM), replays=(Slow(),)), timeout_s=7.0))
    # 500 points take five seconds
    assert (late.answer, late.detail) == ("no_violation", "1,000 points, then time was up")


# --- marabou


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes Marabou say something."""

    def plant(answer: str, *x: float, detail: str = "") -> None:
        made = MarabouAnswer(answer=answer, x=x, detail=detail)  # type: ignore[arg-type]
        monkeypatch.setattr(crosschecking, "ask_marabou", lambda *_, **__: made)
        monkeypatch.setattr(crosschecking, "model_bytes", lambda _: b"")

    return plant


@pytest.mark.parametrize(
    ("word", "ours"),
    [("unsat", "proved"), ("timeout", "timeout"), ("unknown", "unknown"), ("crash", "crash"), ("interrupted",) * 2],
)
def test_words_of_marabou(said: Callable[..., None], word: str, ours: EngineWord) -> None:
    said(word, detail="in 3 s")
    reply = answer(inquiry(), "marabou")
    assert (reply.answer, reply.detail, reply.witness) == (ours, "in 3 s", None)


def test_what_marabou_finds_is_run(said: Callable[..., None]) -> None:
    """In float32 and within the region; a point that then does not violate is a near miss."""
    said("sat", 0.75 + 1e-12, 1.0 + 1e-6)
    hit = answer(inquiry(), "marabou")
    assert hit.answer == "violated"
    assert hit.witness is not None
    assert hit.witness.x == (0.75, 1.0)
    said("sat", 0.5 - 1e-6, 1.0)
    assert answer(inquiry(), "marabou").answer == "near_miss"


def test_the_point_is_sought_in_the_region_that_it_lies_in(said: Callable[..., None]) -> None:
    """Both regions hold a point that violates; the first one's is a corner far away."""
    far = make_property([5.0, 5.0], [6.0, 6.0], ABOVE).regions[0]
    said("sat", 1.0, 0.75)
    for regions in ((far, SQUARE.regions[0]), (SQUARE.regions[0], far)):
        hit = answer(inquiry(property_of(*regions)), "marabou")
        assert hit.witness is not None
        assert hit.witness.x == (1.0, 0.75)


# --- who contradicts whom


def said_by(engine: str, word: EngineWord, exactly: bool | None = True) -> EngineAnswer:
    witness = Witness(x=(0.5,), y=(4.0,), replayed_by=("r",), exactly=exactly) if word == "violated" else None
    return EngineAnswer(engine=engine, version="1", answer=word, arithmetic="some", seconds=0.0, witness=witness)


@pytest.mark.parametrize(
    ("answers", "semantics", "clash"),
    [
        # by rounding alone: no proof over the reals is denied, ours about runs is
        ([("birdnn", "proved"), ("a", "violated")], "real", False),
        ([("birdnn", "proved"), ("a", "violated")], "float32", True),
        # other engines speak about the reals, whatever we do
        ([("birdnn", "unknown"), ("a", "violated"), ("b", "proved")], "float32", False),
        ([("birdnn", "violated"), ("a", "proved")], "float32", False),
        ([("birdnn", "violated"), ("a", "not_reproduced")], "real", True),
    ],
)
def test_a_run_that_rounds_contradicts_what_speaks_about_runs(
    answers: Sequence[tuple[str, EngineWord]], semantics: Semantics, clash: bool
) -> None:
    told = disagreement("p", [said_by(*each, exactly=False) for each in answers], semantics)
    assert bool(told) == clash
    # where nobody can tell how it is over the reals, a proof is not believed
    violated_and_proved = {"violated", "proved"} <= {word for _, word in answers}
    told = disagreement("p", [said_by(*each, exactly=None) for each in answers], semantics)
    assert bool(told) == (violated_and_proved or clash)


def test_a_contradiction_has_all_answers_and_points() -> None:
    told = disagreement("p", [said_by("birdnn", "proved"), said_by("a", "violated"), said_by("b", "unknown")])
    assert told == (
        "p: birdnn 1 says proved (some), a 1 says violated (some), b 1 says unknown (some); a at [0.5] -> [4.0]"
    )


def test_a_violation_without_a_point_contradicts_no_proof() -> None:
    """Nobody can tell whether it is one."""
    bare = replace(said_by("a", "violated"), witness=None)
    assert disagreement("p", [said_by("birdnn", "proved"), bare]) == ""
    assert contradicting_witness([said_by("birdnn", "proved"), bare]) is None


def test_whose_counterexample_stands_beside_our_proof() -> None:
    """Rather one that violates over the reals too; of nothing that we did not prove."""
    ours, rounds, real = said_by("birdnn", "proved"), said_by("a", "violated", False), said_by("b", "violated", True)
    unsure = said_by("c", "violated", None)
    assert contradicting_witness([ours, rounds, real]) is real.witness
    assert contradicting_witness([ours, rounds, unsure]) is unsure.witness
    assert contradicting_witness([ours, rounds]) is rounds.witness
    assert contradicting_witness([ours, said_by("a", "near_miss")]) is None
    assert contradicting_witness([said_by("birdnn", "unknown"), ours, real]) is None
    assert contradicting_witness([]) is None
