"""What a repair hands out, and under which name: examined, all of it or nothing, and called what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from birdnn.errors import OutputError
from birdnn.formats import together as together_module
from birdnn.formats.files import remove_abandoned, write_bytes
from birdnn.formats.together import Together, all_or_none
from birdnn.pipeline import judging, measuring
from birdnn.pipeline.measuring import Comparison
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import repair_files
from birdnn.records import CaseFiles, Progress, PropertyRepair, Rate, Unknown, Verdict
from birdnn.repair import LastLayer, Retrain
from birdnn.verify import verify
from tests.pipeline.test_repairing import FAST, Case, build


class Stopping:
    """A user who wants an end once `now` is set."""

    def __init__(self) -> None:
        self.now = False
        self.heard: list[str] = []

    def update(self, progress: Progress) -> None:
        self.heard.append(progress.phase)

    def stopped(self) -> bool:
        return self.now


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Planted: repairs that change nothing, a search that never comes to an end, samples that see nothing."""

    def plant(then: Callable[[], None] = lambda: None) -> None:
        asked: list[object] = []

        def endless(*args: object, **options: object) -> Verdict:
            asked.append(args)
            if len(asked) == 1:  # the original
                return verify(*args, **options)  # type: ignore[arg-type]
            then()
            return Unknown(reason="boxes", boxes=7)

        monkeypatch.setattr(judging, "verify", endless)
        monkeypatch.setattr(judging, "falsify", lambda *args, **options: Unknown(reason="boxes", boxes=0))
        for method in (Retrain, LastLayer):
            monkeypatch.setattr(method, "propose", lambda self, *args, **options: self.task.net)
        monkeypatch.setattr(measuring, "healed_rate", lambda *args, **options: None)
        monkeypatch.setattr(measuring, "_all_healed", lambda margin, **options: Rate(hits=len(margin), n=len(margin)))

    return plant


def require_refuted(outcome: PropertyRepair, case: Case) -> None:
    """Handed out as a failure, with a counterexample of the very file, and called an attempt."""
    assert outcome.result == "violated"
    (entry,) = outcome.properties
    assert entry.after == "violated"
    assert entry.remaining is not None
    assert outcome.attempt
    assert outcome.out == str(case.net.parent / "out" / "small.attempt.onnx")
    assert not list(case.net.parent.rglob("*.repaired.*"))


BRIEF = replace(FAST, rounds=1, early_rounds=1)


@pytest.mark.parametrize(
    "more", [{"method": "retrain"}, {"method": "finetune"}, {"method": "retrain", "as_many": True}]
)
def test_what_is_not_proved_is_attacked_before_it_is_handed_out(tmp_path: Path, blind, more: dict[str, object]) -> None:
    """It ended "as far as sampling sees", and `verify` found a counterexample in its file within 0.09 s."""
    blind()
    case = build(tmp_path, "Relu")
    require_refuted(repair_files(case.request(**more), settings=BRIEF), case)


def test_so_it_is_after_an_interruption(tmp_path: Path, blind) -> None:
    watch, case = Stopping(), build(tmp_path, "Relu")
    blind(lambda: setattr(watch, "now", True))
    outcome = repair_files(case.request(method="retrain"), settings=BRIEF, watch=watch)
    assert outcome.interrupted
    require_refuted(outcome, case)


def test_so_it_is_when_the_time_limit_ends_the_search(tmp_path: Path, blind, monkeypatch) -> None:
    """The reserve has to do for it."""
    case, honest, late = build(tmp_path, "Relu"), judging.Clock.left_s, []
    monkeypatch.setattr(judging.Clock, "left_s", lambda self: 0.0 if late else honest(self))
    blind(lambda: late.append(True))
    outcome = repair_files(case.request(method="retrain", timeout_s=600.0), settings=BRIEF)
    assert outcome.timed_out
    require_refuted(outcome, case)


def test_what_nobody_could_attack_is_not_called_repaired(tmp_path: Path, blind, monkeypatch) -> None:
    """No time at all: neither a success nor a counterexample."""
    case = build(tmp_path, "Relu")
    blind()
    late = Unknown(reason="timeout", boxes=0)
    monkeypatch.setattr("birdnn.pipeline.surviving.falsify", lambda *args, **options: late)
    outcome = repair_files(case.request(method="retrain"), settings=BRIEF)
    assert (outcome.result, outcome.properties[0].after, outcome.attempt) == ("violated", "unknown", True)
    assert any("Neither proved nor attacked in full" in note for note in outcome.notes)


@pytest.mark.thorough
def test_what_survives_is_handed_out_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A true repair whose proof does not come to an end."""
    case = build(tmp_path, "Relu")
    first = repair_files(case.request(out=tmp_path / "first"), settings=FAST)
    assert first.result == "proved"
    calls: list[object] = []

    def endless(*args: object, **options: object) -> Verdict:
        calls.append(args)
        return verify(*args, **options) if len(calls) == 1 else Unknown(reason="boxes", boxes=7)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "verify", endless)
    watch = Stopping()
    outcome = repair_files(case.request(method="finetune"), settings=BRIEF, watch=watch)
    assert (outcome.result, outcome.properties[0].after, outcome.attempt) == ("sampled", "unknown", False)
    assert outcome.out is not None
    assert outcome.out.endswith("small.repaired.onnx")
    assert any("no counterexample was found by the whole falsifier: low" in note for note in outcome.notes)
    assert "attacking low, which is not proved" in watch.heard


def test_points_are_attacked_too(tmp_path: Path, blind) -> None:
    case = build(tmp_path, "Relu")
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(3))
    plan = read_case(CaseFiles.of(case.request()))
    wrong = 1 - plan.loaded.net.float()(x).argmax(1).clamp(max=1)
    rows = "".join(f"{a},{b},{int(k)}\n" for (a, b), k in zip(x.tolist(), wrong, strict=True))
    points = tmp_path / "points.csv"
    points.write_text("x_0,x_1,decision\n" + rows)
    blind()
    outcome = repair_files(case.request(props=(), points=(points,), method="retrain"), settings=BRIEF)
    assert (outcome.result, outcome.properties[0].after, outcome.attempt) == ("violated", "violated", True)


# --- names, and what an earlier run left


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PROVED = ["repair.json", "small.certificate.json.gz", "small.repaired.onnx"]


@pytest.mark.thorough
def test_a_failed_repair_takes_the_place_of_an_earlier_success(tmp_path: Path, blind) -> None:
    """A network called repaired beside a report that says otherwise misleads whoever picks up the file."""
    case = build(tmp_path, "Relu")
    assert repair_files(case.request(), settings=FAST).result == "proved"
    assert names(tmp_path / "out") == PROVED
    blind()
    outcome = repair_files(case.request(method="retrain"), settings=BRIEF)
    assert outcome.result == "violated"
    assert names(tmp_path / "out") == ["repair.json", "small.attempt.onnx"]
    report = json.loads((tmp_path / "out" / "repair.json").read_text())
    assert (report["out"], report["attempt"]) == (outcome.out, True)


@pytest.mark.thorough
def test_a_success_takes_the_place_of_a_failed_attempt(tmp_path: Path, blind, monkeypatch) -> None:
    case = build(tmp_path, "Relu")
    with monkeypatch.context():
        blind()
        repair_files(case.request(method="retrain"), settings=BRIEF)
    monkeypatch.undo()
    assert "small.attempt.onnx" in names(tmp_path / "out")
    assert repair_files(case.request(), settings=FAST).result == "proved"
    assert names(tmp_path / "out") == PROVED


@pytest.mark.thorough
def test_what_an_earlier_repair_left_is_named_where_it_goes(tmp_path: Path) -> None:
    """It went without a word; and where nothing is written nothing goes, nor is that said."""
    case = build(tmp_path, "Relu")
    first = repair_files(case.request(), settings=BRIEF)
    assert first.out is not None
    assert not [note for note in first.notes if "earlier repair" in note]
    (told,) = [note for note in repair_files(case.request(), settings=BRIEF).notes if "earlier repair" in note]
    assert told.startswith("What an earlier repair had left in the folder is gone: small.repaired.onnx")
    again = replace(case, net=tmp_path / "small.onnx")
    again.net.write_bytes(Path(first.out).read_bytes())
    before = Path(first.out).read_bytes()
    third = repair_files(again.request(), settings=BRIEF)
    assert (third.result, third.report) == ("nothing_to_repair", None)
    assert not [note for note in third.notes if "earlier repair" in note]
    assert Path(first.out).read_bytes() == before


@pytest.mark.thorough
def test_nothing_to_repair_leaves_no_repaired_network_beside_its_report(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    repair_files(case.request(), settings=FAST)
    fine = build(tmp_path, "Relu", quantile=1.0)
    silent = repair_files(fine.request(), settings=FAST)
    assert silent.report is None
    assert names(tmp_path / "out") == PROVED, "without a report of its own it touches nothing"
    told = repair_files(fine.request(report=True), settings=FAST)
    assert told.result == "nothing_to_repair"
    assert names(tmp_path / "out") == ["repair.json"]


@pytest.mark.thorough
def test_the_certificate_names_the_network_as_it_is_called_in_the_end(tmp_path: Path) -> None:
    import gzip

    outcome = repair_files(build(tmp_path, "Relu").request(), settings=FAST)
    assert outcome.certificate is not None
    stored = json.loads(gzip.decompress(Path(outcome.certificate.path).read_bytes()))
    assert stored["network"]["file"] == "small.repaired.onnx"
    assert outcome.certificate.checked.startswith("accepted")


@pytest.mark.thorough
def test_what_the_checker_rejects_is_not_called_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birdnn.pipeline.certifying._checker_answer", lambda *args, **more: ("rejected", "planted"))
    # a process beside this one knows nothing of what is planted here
    monkeypatch.setattr("birdnn.pipeline.checking_beside.CheckBeside.accepted_line", lambda *args: None)
    outcome = repair_files(build(tmp_path, "Relu").request(), settings=FAST)
    assert outcome.attempt
    assert names(tmp_path / "out") == ["repair.json", "small.attempt.onnx", "small.certificate.json.gz"]


@pytest.mark.thorough
@pytest.mark.parametrize("failing", ["small.certificate.json.gz", "repair.json"])
@pytest.mark.parametrize("older", [False, True])
def test_all_or_none_where_something_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, older: bool
) -> None:
    case = build(tmp_path, "Relu")
    out = tmp_path / "out"
    if older:
        repair_files(case.request(), settings=FAST)
    before = {path.name: path.read_bytes() for path in out.iterdir()} if older else {}
    honest = together_module.staged

    def full(target: Path, data: bytes) -> tuple[Path, int]:
        if target.name == failing:
            raise OutputError(str(target), "cannot be written: No space left on device")
        return honest(target, data)

    monkeypatch.setattr(together_module, "staged", full)
    with pytest.raises(OutputError) as caught:
        repair_files(case.request(seed=1), settings=FAST)
    assert failing in caught.value.path
    assert "no network, report or certificate of this repair is there" in caught.value.problem
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before if older else not out.exists()
    assert ("small.repaired.onnx" in caught.value.problem) == older


# --- files that appear together


def test_nothing_is_seen_before_all_is_there(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "stale").write_text("stale")
    (tmp_path / "draft").write_text("network")
    files = Together()
    files.take(tmp_path / "net", tmp_path / "draft")
    files.add(tmp_path / "old.json", b"new")
    files.drop(tmp_path / "stale")
    assert (tmp_path / "old.json").read_text() == "old"
    assert not (tmp_path / "net").exists()
    files.commit()
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"old.json": "new", "net": "network"}


@pytest.mark.parametrize("moment", range(5))
def test_a_move_that_fails_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Five moves: two files aside, one that goes, then two into place."""
    before = {"a.onnx": "old net", "b.json": "old report", "stale": "stale", "draft": "new net"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    files, honest, left = Together(), Path.rename, moment

    def rename(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == -1:
            raise OSError(28, "No space left on device")
        return honest(self, target)

    files.take(tmp_path / "a.onnx", tmp_path / "draft")
    files.add(tmp_path / "b.json", b"new report")
    files.drop(tmp_path / "stale")
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputError, match="No space left"):
        files.commit()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_what_is_set_aside_is_not_taken_for_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that writes the same file meanwhile must not remove what may have to come back."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("old")
    files, honest = Together(), Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == tmp_path / "b":
            remove_abandoned(tmp_path / "a")
            remove_abandoned(tmp_path / "b")
            if self.read_text() == "new":
                raise OSError(28, "No space left on device")
        return honest(self, target)

    for name in ("a", "b"):
        files.add(tmp_path / name, b"new")
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputError, match="No space left"):
        files.commit()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def test_several_files_of_a_command_are_written_or_none(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")

    def several() -> None:
        with all_or_none() as files:
            files.add(tmp_path / "a", b"new")
            files.add(tmp_path / "no folder" / "b", b"new")

    with pytest.raises(OutputError, match="a was not written either"):
        several()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


# --- messages


def test_a_domain_that_is_known_is_not_called_unknown(tmp_path: Path) -> None:
    """Everywhere in it the original violates the property: nothing to compare, and another reason than was given."""
    case = build(tmp_path, "Relu", quantile=0.0)
    case.prop.write_text("\n".join(line for line in case.prop.read_text().splitlines() if "assert (>= Y" not in line))
    with case.prop.open("a") as file:
        file.write("\n(assert (>= Y_0 -1000.0))\n")
    plan = read_case(CaseFiles.of(case.request(domain="property")))
    net = plan.loaded.net.copy().float()
    compared = Comparison(
        before=net, after=net, case=plan, settings=FAST, seed=0, resample=lambda *args: torch.zeros(0, 2), replays=()
    ).measure({}, frozenset(), frozenset())
    assert compared.fidelity is None
    assert "unknown" not in compared.fidelity_note
    assert "the original violates a property at each of 5,000 points of the domain" in compared.fidelity_note
