"""Answers of several engines side by side; one that lies ends in status 6, with all answers kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from birdnn.crosscheck.engines import NAMES
from birdnn.pipeline import crosschecking, repairing
from birdnn.pipeline.crosschecking import ASK, Reply, contradicting_witness, disagreement
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.repairing import repair_files
from birdnn.records import EngineAnswer, EngineWord, RepairRequest, VerifySettings, Witness
from tests.cli.conftest import Call, box_property
from tests.crosscheck.engines import needs

WITNESS = Witness(x=(0.5, 0.25), y=(4.0,), replayed_by=("onnxruntime",))


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Callable[[EngineWord], None]:
    """Make onnxruntime, which is always there, answer something else."""

    def plant(word: EngineWord) -> None:
        witness = WITNESS if word == "violated" else None
        asked = {**ASK, "onnxruntime": lambda case: Reply(answer=word, arithmetic="a lie", witness=witness)}
        monkeypatch.setattr(crosschecking, "ASK", asked)

    return plant


def answered(word: EngineWord, engine: str = "birdnn") -> EngineAnswer:
    witness = WITNESS if word == "violated" else None
    return EngineAnswer(engine=engine, version="1", answer=word, arithmetic="some", seconds=0.0, witness=witness)


@pytest.mark.parametrize(
    ("ours", "theirs", "contradicts"),
    [
        ("proved", "violated", True),
        ("violated", "proved", True),
        ("violated", "not_reproduced", True),
        ("proved", "proved", False),
        ("proved", "near_miss", False),
        ("proved", "no_violation", False),
        ("proved", "timeout", False),
        ("proved", "crash", False),
        ("violated", "near_miss", False),
        ("unknown", "violated", False),
        ("unknown", "proved", False),
    ],
)
def test_who_contradicts_whom(ours: EngineWord, theirs: EngineWord, contradicts: bool) -> None:
    pair = answered(ours), answered(theirs, "other")
    assert bool(disagreement("p", pair)) == contradicts
    assert bool(disagreement("p", (answered("unknown"), answered(ours, "a"), answered(theirs, "b")))) == contradicts
    assert (contradicting_witness(pair) is not None) == ((ours, theirs) == ("proved", "violated"))


def test_every_engine_has_a_way_to_be_asked() -> None:
    assert tuple(ASK) == NAMES


# --- verify --------------------------------------------------------------------------------------------------------


def test_a_replay_beside_a_proof_and_beside_a_counterexample(net: Path, holds: Path, broken: Path) -> None:
    outcome = verify_files(net, [holds, broken], settings=VerifySettings(crosscheck=("onnxruntime",)))
    words = [[(a.engine, a.answer) for a in v.engines] for v in outcome.verdicts]
    assert words == [
        [("birdnn", "proved"), ("onnxruntime", "no_violation")],
        [("birdnn", "violated"), ("onnxruntime", "violated")],
    ]
    assert "10,000" in outcome.verdicts[0].engines[1].detail
    assert outcome.disagreement == ""


@pytest.mark.parametrize("name", ["auto_lirpa", "marabou"])
def test_engines_agree(name: str, net: Path, holds: Path, broken: Path, request: pytest.FixtureRequest) -> None:
    mark = needs(name)
    if mark.args[0]:
        pytest.skip(mark.kwargs["reason"])
    outcome = verify_files(net, [holds, broken], settings=VerifySettings(crosscheck=(name,)))
    assert [v.engines[1].answer for v in outcome.verdicts] == ["proved", "violated"]
    assert name.partition("_")[0] in outcome.verdicts[0].engines[1].arithmetic.lower().replace("-", "_")
    assert outcome.verdicts[1].engines[1].witness is not None


@needs("marabou")
def test_a_point_within_marabous_tolerance_is_a_near_miss(net: Path, tmp_path: Path) -> None:
    """The sum reaches 2 and no more; Marabou is content with 2.0000005."""
    close = tmp_path / "close.vnnlib"
    close.write_text(box_property(2, "(>= Y_0 2.0000005)"))
    outcome = verify_files(net, [close], settings=VerifySettings(crosscheck=("marabou",)))
    assert [a.answer for a in outcome.verdicts[0].engines] in (["proved", "near_miss"], ["proved", "proved"])
    assert outcome.disagreement == ""


def test_an_engine_that_fails_is_a_crash_and_contradicts_nobody(
    net: Path,
    holds: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(case):
        raise RuntimeError("segmentation violation")

    monkeypatch.setattr(crosschecking, "ASK", {**ASK, "onnxruntime": fail})
    outcome = verify_files(net, [holds], settings=VerifySettings(crosscheck=("onnxruntime",)))
    found = outcome.verdicts[0].engines[1]
    assert (found.answer, found.detail) == ("crash", "RuntimeError: segmentation violation")
    assert outcome.disagreement == ""


@pytest.mark.parametrize(("word", "which"), [("violated", "holds"), ("proved", "broken"), ("not_reproduced", "broken")])
def test_a_lie_ends_in_status_6_with_both_answers(
    call: Call,
    net: Path,
    lying: Callable[[EngineWord], None],
    tmp_path: Path,
    word: EngineWord,
    which: str,
    request: pytest.FixtureRequest,
) -> None:
    lying(word)
    target, prop = tmp_path / "result.json", request.getfixturevalue(which)
    result = call("verify", "--net", net, "--prop", prop, "--crosscheck", "onnxruntime", "--json", target)
    assert (result.status, result.word) == (6, "unknown")
    report = json.loads(target.read_text())
    assert (report["outcome"], report["verdict"]) == ("unknown", "unknown")
    assert "a lie" in report["disagreement"]
    ours, theirs = report["properties"][0]["engines"]
    assert ours["answer"] == {"holds": "proved", "broken": "violated"}[which]
    assert theirs["answer"] == word
    assert (theirs["counterexample"] is not None) == (word == "violated")
    said = " ".join((result.out + result.err).split())
    assert "onnxruntime" in said
    assert word.replace("_", " ") in said


def test_the_matrix_is_printed(call: Call, net: Path, holds: Path) -> None:
    result = call("verify", "--net", net, "--prop", holds, "--crosscheck", "onnxruntime", "--crosscheck-timeout", 5)
    assert (result.status, result.word) == (0, "unsat")
    assert "no violation" in result.out
    assert "float32 in onnxruntime" in (result.out + result.err)


def test_an_unknown_engine_is_wrong_use(call: Call, net: Path, holds: Path) -> None:
    for command in ("verify", "repair"):
        result = call(command, "--net", net, "--prop", holds, "--crosscheck", "z3")
        assert (result.status, result.out) == (2, "")
        assert "auto_lirpa" in result.err


def test_a_missing_engine_is_told_before_any_work(
    call: Call,
    net: Path,
    holds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("birdnn.crosscheck.engines.version_of", lambda engine: None)
    asked = [("verify", "--crosscheck", "marabou"), ("repair", "--crosscheck", "marabou", "--out", tmp_path / "out")]
    for command, *options in [*asked, ("verify", "--bound", "auto_lirpa")]:
        result = call(command, "--net", net, "--prop", holds, *options)
        assert (result.status, result.out) == (4, ""), result.err
        assert "pip install" in result.err
    assert not (tmp_path / "out").exists()


@needs("auto_lirpa")
def test_the_bounds_of_auto_lirpa_may_prove(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    result = call("verify", "--net", net, "--prop", holds, "--bound", "auto_lirpa", "--json", target)
    assert (result.status, result.word) == (0, "unsat")
    report = json.loads(target.read_text())
    assert report["bound"] == "auto_lirpa"
    assert "auto_LiRPA" in report["arithmetic"]


# --- repair --------------------------------------------------------------------------------------------------------


def repaired(net: Path, prop: Path, out: Path, **more):
    request = RepairRequest(net=net, props=(prop,), out=out, samples=100, crosscheck=("onnxruntime",), **more)
    return repair_files(request)


@pytest.mark.thorough
def test_a_repair_is_cross_checked(net: Path, broken: Path, tmp_path: Path) -> None:
    outcome = repaired(net, broken, tmp_path / "out")
    assert outcome.result == "proved"
    assert [a.answer for a in outcome.properties[0].engines] == ["proved", "no_violation"]
    report = json.loads(Path(outcome.report).read_text())
    assert [e["engine"] for e in report["properties"][0]["engines"]] == ["birdnn", "onnxruntime"]


@pytest.mark.thorough
def test_a_contradicted_repair_is_no_repair(
    call: Call,
    net: Path,
    broken: Path,
    holds: Path,
    tmp_path: Path,
    lying: Callable[[EngineWord], None],
) -> None:
    lying("violated")
    for name, prop in (("repaired", broken), ("untouched", holds)):
        asked = ("--prop", prop, "--out", tmp_path / name, "--json", tmp_path / "r.json", "--samples", 100)
        result = call("repair", "--net", net, *asked, "--crosscheck", "onnxruntime")
        assert result.status == 6, result.err
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["outcome"] == "violated"
        assert "a lie" in report["disagreement"]
        assert [e["answer"] for e in report["properties"][0]["engines"]] == ["proved", "violated"]


@pytest.mark.thorough
def test_a_disputed_repair_is_no_repair_without_a_witness_either(
    call: Call, net: Path, broken: Path, holds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said `proved`, wrote a file called `.repaired`, and ended with status 6."""
    monkeypatch.setattr(repairing, "disagreement", lambda *args: "a says yes, b says no")
    for name, prop, word in (("repaired", broken, "violated"), ("untouched", holds, "sampled")):
        asked = ("--prop", prop, "--out", tmp_path / name, "--json", tmp_path / "r.json", "--samples", 100)
        result = call("repair", "--net", net, *asked, "--crosscheck", "onnxruntime", "--quiet")
        assert (result.status, result.out.split()[0]) == (6, word)
        assert "a says yes, b says no" in result.err
        assert "proved" not in result.out
        report = json.loads((tmp_path / "r.json").read_text())
        assert (report["outcome"], report["properties"][0]["after"]) == (word, "unknown")
        assert not list(tmp_path.rglob("*.repaired.*"))
