"""One network, several properties: what is refused, what time is left to each, and what stands beside a verdict."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from birdnn.errors import EngineError, MismatchError, OutputError
from birdnn.pipeline import crosschecking, deciding
from birdnn.pipeline.crosschecking import ASK, Reply
from birdnn.pipeline.deciding import VACUOUS, clock_for, falsify_files, search_settings, verify_files
from birdnn.pipeline.keeping import FolderKeeper
from birdnn.records import Progress, Proved, Unknown, Unwatched, VerifyOutcome, VerifySettings, Violated, Witness
from birdnn.verify import SearchSettings
from tests.pipeline.suites import BOX, property_text, write_network


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """``y = x``."""
    return write_network(tmp_path / "n.onnx", ([[1, 0], [0, 1]], [0, 0]))


def prop(folder: Path, unsafe: str, name: str = "p", box: str = BOX) -> Path:
    path = folder / f"{name}.vnnlib"
    path.parent.mkdir(exist_ok=True)
    path.write_text(property_text(unsafe, box))
    return path


def asked(net: Path, *props: Path, watch: Any = None, **settings: Any) -> VerifyOutcome:
    return verify_files(net, props, settings=VerifySettings(**settings), watch=watch)


class Listener:
    """Hears what is done, and stops once that is told."""

    def __init__(self, end: str = "") -> None:
        self.end, self.told = end, list[str]()

    def update(self, news: Progress) -> None:
        self.told.append(news.phase)

    def stopped(self) -> bool:
        return self.end in self.told


# --- limits and settings


@pytest.mark.parametrize(("limit", "kept"), [(100.0, 15.0), (800.0, 120.0), (5000.0, 120.0), (math.inf, 120.0)])
def test_time_is_kept_for_a_certificate(limit: float, kept: float) -> None:
    """Where there is to be one: up to two minutes."""
    with_one = clock_for(VerifySettings(certificate=Path("c")), limit, Unwatched())
    assert (with_one.timeout_s, with_one.reserve_s) == (limit, pytest.approx(kept))
    assert clock_for(VerifySettings(), limit, Unwatched()).reserve_s == 0


def test_what_a_search_is_told() -> None:
    made = search_settings(VerifySettings(seed=7, memory_gib=0.5, certificate=Path("c")), "float32", 3.0, "cuda")
    assert (made.seed, made.memory_bytes, made.record) == (7, 2**29, True)
    assert (made.semantics, made.timeout_s, made.device) == ("float32", 3.0, "cuda")
    plain = search_settings(VerifySettings(), "real", 3.0, "cpu")
    assert (plain.memory_bytes, plain.record) == (SearchSettings().memory_bytes, False)


# --- what is refused


def test_inputs_are_related_over_the_reals_only(net: Path, tmp_path: Path) -> None:
    path = prop(tmp_path, "(>= Y_0 X_1)", box=BOX + "(assert (<= X_0 X_1))")
    plain = prop(tmp_path, "(>= Y_0 2.0)", "plain")
    with pytest.raises(MismatchError, match="relates inputs, as one of these does, is decided over the reals"):
        asked(net, plain, path, semantics="float32")
    with pytest.raises(MismatchError, match="by bounds of our own, only"):
        asked(net, path, bound="auto_lirpa")


def test_bounds_of_others_are_about_the_reals_and_stay_here(net: Path, tmp_path: Path) -> None:
    path = prop(tmp_path, "(>= Y_0 2.0)")
    with pytest.raises(MismatchError, match="bounds of auto_lirpa speak about real numbers: choose semantics real"):
        asked(net, path, bound="auto_lirpa", semantics="float32")
    with pytest.raises(EngineError, match="stay on this machine: choose bounds of our own"):
        asked(net, path, bound="auto_lirpa", ray="somewhere")


def test_a_mistake_in_the_last_file_costs_no_search(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "decided_by", lambda *_: pytest.fail("a search was begun"))
    good, wide = prop(tmp_path, "(>= Y_0 2.0)"), tmp_path / "wide.vnnlib"
    wide.write_text(property_text("(>= Y_0 2.0)", "(assert (>= X_0 0.0))(assert (<= X_0 1.0))"))
    with pytest.raises(Exception, match="X_1 has no lower bound"):
        asked(net, good, wide)
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="is no folder"):
        asked(net, good, resume=tmp_path / "taken")


# --- verdicts


def test_each_property_has_its_verdict_in_the_order_asked(net: Path, tmp_path: Path) -> None:
    """Those of one file are one, under each of its names; the search is counted once."""
    holds, broken = prop(tmp_path, "(>= Y_0 2.0)", "holds"), prop(tmp_path, "(>= Y_0 0.5)", "broken")
    copy = prop(tmp_path / "below", "(>= Y_0 2.0)", "copy")
    watch = Listener()
    found = asked(net, holds, broken, holds, copy, watch=watch)
    searches = [phase for phase in watch.told if phase.startswith("looking for")]
    assert searches == [f"looking for a counterexample to {name}" for name in ("holds", "broken")]
    assert [(v.name, v.outcome, Path(v.path)) for v in found.verdicts] == [
        ("holds", "proved", holds),
        ("broken", "violated", broken),
        ("holds", "proved", holds),
        ("copy", "proved", copy),
    ]
    first, second, *_ = found.verdicts
    assert [v.solve_s for v in found.verdicts] == [first.solve_s, second.solve_s, first.solve_s, first.solve_s]
    assert found.solve_s == first.solve_s + second.solve_s
    assert (found.outcome, found.interrupted, found.disagreement) == ("violated", False, "")
    assert found.settings.semantics == "real"


def test_questions_without_time_are_not_begun(net: Path, tmp_path: Path) -> None:
    path = prop(tmp_path, "(>= Y_0 0.5)")
    for decide in (verify_files, falsify_files):
        late = decide(net, [path], settings=VerifySettings(timeout_s=0.0)).verdicts[0].verdict
        assert isinstance(late, Unknown)
        assert (late.reason, late.boxes) == ("timeout", 0)


def test_what_a_user_stops_is_interrupted_from_there_on(net: Path, tmp_path: Path) -> None:
    watch = Listener("looking for a counterexample to two")
    props = [prop(tmp_path, f"(>= Y_0 {bound})", name) for name, bound in (("one", 0.5), ("two", 3.0), ("three", 4.0))]
    first, _, last = asked(net, *props, watch=watch).verdicts
    assert (first.outcome, last.reason) == ("violated", "interrupted")
    found = asked(net, props[2], watch=watch)
    assert found.verdicts[0].reason == "interrupted"
    assert found.interrupted
    assert "looking for a counterexample to three" not in watch.told


def test_nothing_violates_what_nothing_satisfies(net: Path, tmp_path: Path) -> None:
    """Proved without any arithmetic, found by nobody, and nobody else is asked."""
    path = prop(tmp_path, "(>= Y_0 2.0)", box=BOX + "(assert (>= X_0 2.0))")
    (proved,) = asked(net, path, crosscheck=("onnxruntime",)).verdicts
    assert isinstance(proved.verdict, Proved)
    assert (proved.verdict.boxes, proved.verdict.arithmetic, proved.engines) == (0, VACUOUS, ())
    assert any("vacuous" in note for note in proved.notes)
    (sought,) = falsify_files(net, [path], settings=VerifySettings()).verdicts
    assert isinstance(sought.verdict, Unknown)
    assert (sought.verdict.reason, sought.verdict.tried) == ("not_found", "nothing, as the property is vacuous")


def test_falsifying_proves_nothing(net: Path, tmp_path: Path) -> None:
    holds, broken = prop(tmp_path, "(>= Y_0 2.0)", "holds"), prop(tmp_path, "(>= Y_0 0.5)", "broken")
    found = falsify_files(net, [holds, broken], settings=VerifySettings())
    assert [v.outcome for v in found.verdicts] == ["unknown", "violated"]
    assert found.verdicts[0].reason == "not_found"
    violated = found.verdicts[1].verdict
    assert isinstance(violated, Violated)
    assert violated.witness.y == violated.witness.x


# --- what stands beside it


def test_a_run_that_another_engine_found_stands_beside_a_proof(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that violates by rounding; one over the reals contradicts the proof, and stands beside nothing."""
    path = prop(tmp_path, "(>= Y_0 2.0)")
    for exactly in (False, True, None):
        met = Witness(x=(0.5, 0.5), y=(2.0, 0.5), replayed_by=("onnxruntime",), exactly=exactly)
        planted = {**ASK, "onnxruntime": lambda case, met=met: Reply(answer="violated", arithmetic="", witness=met)}
        monkeypatch.setattr(crosschecking, "ASK", planted)
        found = asked(net, path, crosscheck=("onnxruntime",))
        verdict = found.verdicts[0].verdict
        assert isinstance(verdict, Proved)
        assert verdict.executed == (met if exactly is False else None)
        assert bool(found.disagreement) == (exactly is not False)
        assert found.outcome == ("proved" if exactly is False else "unknown")


def test_what_could_not_be_kept_is_told(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = FolderKeeper(tmp_path / "kept")
    monkeypatch.setattr(deciding, "keeper_in", lambda folder, inputs: keeper)
    path = prop(tmp_path, "(>= Y_0 2.0)")
    before = asked(net, path).notes
    keeper.failure = "what the search reached could not be kept: no room"
    assert asked(net, path).notes == (*before, keeper.failure)
