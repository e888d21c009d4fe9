"""``birdnn repair``: what reaches the pipeline, what is printed, exit status, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from birdnn.records import PropertyRepair, RepairRequest, Watch
from tests.cli.conftest import ROOT, Call, box_property
from tests.report.outcomes import prop, repair_outcome


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[RepairRequest]:
    """The requests that a stand-in for the pipeline got; it answers with a proved repair."""
    seen: list[RepairRequest] = []

    def stand_in(request: RepairRequest, *, watch: Watch, began: float | None = None) -> PropertyRepair:
        seen.append(request)
        return repair_outcome(request=request)

    monkeypatch.setattr("birdnn.pipeline.repairing.repair_files", stand_in)
    return seen


def test_everything_said_reaches_the_pipeline(
    call: Call, requests: list[RepairRequest], net: Path, holds: Path, broken: Path, tmp_path: Path
) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("x_0,x_1,decision\n")
    options = [("--points", str(fixes)), ("--points-tolerance", "0.5"), ("--points-radius", "0.125")]
    options += [("--suite", "acasxu"), ("--as", "N2,9"), ("--decision", "argmax")]
    options += [("--domain", str(holds)), ("--out", str(tmp_path / "o")), ("--timeout", "9"), ("--seed", "4")]
    data = tmp_path / "data.csv"
    data.write_text("x_0,x_1\n")
    options += [("--data", str(data)), ("--test", str(data)), ("--max-change", "0.5")]
    options += [("--samples", "7"), ("--optimiser", "pso"), ("--top", "3"), ("--alpha", "0.75")]
    flat = [word for pair in [*options, ("--units", "raw"), ("--method", "finetune")] for word in pair]
    assert (
        call(
            "repair", "--net", net, "--prop", broken, "--keep", holds, "--as-many-as-possible", "--no-ties", *flat
        ).status
        == 0
    )
    (request,) = requests
    expected = RepairRequest(
        net=net,
        props=(broken,),
        keep=(holds,),
        points=(fixes,),
        points_tolerance=0.5,
        points_radius=0.125,
        suite="acasxu",
        as_name="N2,9",
        domain=holds,
        decision="argmax",
        method="finetune",
        optimiser="pso",
        top=3,
        alpha=0.75,
        out=tmp_path / "o",
        timeout_s=9.0,
        units="raw",
        seed=4,
        data=data,
        test=data,
        max_change=0.5,
        no_ties=True,
        samples=7,
        as_many=True,
        command=request.command,
    )
    assert request == expected


def test_what_auto_is_to_be_content_with_reaches_the_pipeline(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path
) -> None:
    said = ("--min-agreement", "0.5", "--max-mae", "0.25", "--prefer", "outputs")
    assert call("repair", "--net", net, "--prop", broken, *said).status == 0
    assert call("repair", "--net", net, "--prop", broken).status == 0
    told = [(r.method, r.min_agreement, r.max_mae, r.prefer) for r in requests]
    assert told == [("auto", 0.5, 0.25, "outputs"), ("auto", None, None, "decisions")]


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({}, 0, "Repaired and proved: "),
        ({"regressions": ("prop_3",)}, 3, "Proved, but with regressions: "),
        ({"behaviour_kept": "badly kept"}, 3, "Proved, but behaviour is badly kept: "),
        ({"behaviour": (), "behaviour_kept": "not measured"}, 3, "Proved, but behaviour is not measured: "),
        ({"result": "nothing_to_repair", "out": None, "behaviour_kept": "not measured"}, 0, "Nothing to repair: "),
    ],
)
def test_a_proof_alone_is_no_success(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    net: Path,
    broken: Path,
    changes: dict[str, Any],
    status: int,
    word: str,
) -> None:
    """The old command ended with status 0, and green, whatever a proved repair had done to the network."""

    def stand_in(request: RepairRequest, *, watch: Watch, began: float | None = None) -> PropertyRepair:
        return repair_outcome(request=request, **changes)

    monkeypatch.setattr("birdnn.pipeline.repairing.repair_files", stand_in)
    result = call("repair", "--net", net, "--prop", broken)
    assert (result.status, result.out.startswith(word)) == (status, True), result.out
    quiet = call("repair", "--net", net, "--prop", broken, "--quiet")
    assert (quiet.status, quiet.out.count("\n")) == (status, 1)
    assert (f"birdnn: {word}" in quiet.err) == (status != 0)  # "proved" alone sounds like a success


def test_a_domain_is_a_file_or_the_word_property(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path
) -> None:
    for domain in ("property", "./property", broken):
        assert call("repair", "--net", net, "--prop", broken, "--domain", domain).status == 0
    assert [request.domain for request in requests] == ["property", Path("property"), broken]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--method", "anneal"), "'--method': 'anneal' is not one of"),
        (("--method", "finetun"), "did you mean finetune?"),
        (("--semantics", "flot32"), "did you mean float32?"),
        (("--method", "finetune", "--optimiser", "adam"), "'adam' is not one of"),
        (("--optimiser", "lp"), "--method finetune"),
        (("--method", "blocks", "--min-agreement", "0.9"), "--method blocks"),
        (("--method", "blocks", "--max-mae", "0.1"), "--method blocks"),
        (("--max-change", "0"), "--max-change"),
        (("--method", "finetune", "--prefer", "outputs"), "--method auto"),
        (("--min-agreement", "2"), "--min-agreement"),
        (("--method", "finetune", "--pairing", "input"), "--method retrain"),
        (("--top", "5"), "--optimiser pso or --optimiser cmaes"),
        (("--method", "finetune", "--top", "5"), "--optimiser pso or --optimiser cmaes"),
        (("--method", "finetune", "--optimiser", "lp", "--alpha", "0.5"), "--optimiser pso or --optimiser cmaes"),
        (("--method", "finetune", "--optimiser", "pso", "--top", "0"), "--top"),
        (("--method", "finetune", "--optimiser", "pso", "--alpha", "1.5"), "--alpha"),
        (("--method", "finetune", "--optimiser", "pso", "--alpha", "nan"), "--alpha"),
    ],
)
def test_options_of_a_method_that_make_no_sense_are_wrong_use(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path, words: tuple[str, ...], told: str
) -> None:
    result = call("repair", "--net", net, "--prop", broken, *words)
    assert (result.status, result.out, requests) == (2, "", [])
    assert told in " ".join(result.err.replace("│", " ").split())


def test_more_neurons_than_the_network_has_are_bad_input(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    words = ("--method", "finetune", "--optimiser", "cmaes", "--top", "3", "--out", tmp_path / "o", "--quiet")
    result = call("repair", "--net", net, "--prop", broken, *words)
    assert (result.status, result.out) == (4, "")
    assert "--top 3" in result.err
    assert "give a number from 1 to 2" in result.err
    assert sorted(tmp_path.iterdir()) == before


def test_no_neuron_is_responsible_where_everything_violates(call: Call, net: Path, tmp_path: Path) -> None:
    prop = tmp_path / "nothing.vnnlib"
    prop.write_text(box_property(2, "(>= Y_0 -1.0)"))
    words = ("--method", "finetune", "--optimiser", "pso", "--top", "2", "--out", tmp_path / "o", "--quiet")
    result = call("repair", "--net", net, "--prop", prop, *words)
    assert (result.status, result.out) == (4, "")
    assert "every sample violates nothing: no positive one to compare with" in result.err
    assert "use --optimiser lp, or --method retrain" in result.err


@pytest.mark.parametrize("optimiser", ["lp", "pso", "cmaes"])
def test_finetune_repairs_and_says_how(call: Call, net: Path, broken: Path, tmp_path: Path, optimiser: str) -> None:
    top = ("--top", "2") if optimiser == "pso" else ()  # cmaes: all of a network with fewer than ten
    words = ("--method", "finetune", "--optimiser", optimiser, *top, "--samples", "1000", "--timeout", "60")
    words = (*words, "--max-mae", "9")
    result = call("repair", "--net", net, "--prop", broken, *words, "--out", tmp_path / "o", "--quiet")
    assert result.status == 0, result.err
    report = json.loads((tmp_path / "o" / "repair.json").read_text())
    assert (report["outcome"], report["method"]) == ("proved", f"finetune:{optimiser}")
    assert (report["top"], report["alpha"]) == ((None, None) if optimiser == "lp" else (2, 0.5))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"result": "nothing_to_repair", "out": None, "report": None}, 0),
        ({"result": "violated", "properties": (prop(after="violated"),)}, 1),
        ({"result": "sampled", "properties": (prop(after="unknown"),)}, 3),
        ({"result": "violated", "interrupted": True}, 130),
    ],
)
def test_exit_status(
    call: Call, net: Path, broken: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], status: int
) -> None:
    monkeypatch.setattr(
        "birdnn.pipeline.repairing.repair_files", lambda request, **_: replace(repair_outcome(), **changes)
    )
    result = call("repair", "--net", net, "--prop", broken, "--quiet")
    assert result.status == status
    assert result.out.split()[0] == repair_outcome(**changes).result


def test_a_disagreement_ends_in_6_with_everything_written(
    call: Call, net: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "prop_8 was proved, and yet the input [0.5] violates it"
    outcome = repair_outcome(result="violated", disagreement=said, properties=(prop(after="violated"),))
    monkeypatch.setattr("birdnn.pipeline.repairing.repair_files", lambda request, **_: outcome)
    target = tmp_path / "j.json"
    result = call("repair", "--net", net, "--prop", broken, "--json", target)
    assert result.status == 6
    assert f"birdnn: error: {said}" in result.err
    assert "Contradictory evidence" in result.out
    assert json.loads(target.read_text())["disagreement"] == said


def test_the_table_goes_to_stdout_and_progress_does_not(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path
) -> None:
    result = call("repair", "--net", net, "--prop", broken)
    assert result.out.startswith("Repaired and proved: ")
    assert "starting" in result.err


def test_a_file_where_the_folder_should_be(call: Call, net: Path, broken: Path) -> None:
    result = call("repair", "--net", net, "--prop", broken, "--out", broken, "--quiet")
    assert (result.status, result.out) == (4, "")
    assert str(broken) in result.err


def test_bad_input_leaves_no_folder(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    broken.write_text("nonsense")
    out = tmp_path / "out"
    result = call("repair", "--net", net, "--prop", broken, "--out", out, "--json", tmp_path / "j.json", "--quiet")
    assert (result.status, result.out) == (4, "")
    assert not out.exists()
    assert not (tmp_path / "j.json").exists()


def inputs(tmp_path: Path, net: Path, broken: Path, holds: Path) -> dict[str, Path]:
    """One file for every option that reads one."""
    domain, suite = tmp_path / "domain.toml", tmp_path / "own.toml"
    domain.write_text("lower = [0.0, 0.0]\nupper = [1.0, 1.0]\n")
    suite.write_text("never read")
    return {"--net": net, "--prop": broken, "--keep": holds, "--domain": domain, "--suite": suite}


@pytest.mark.parametrize("option", ["--net", "--prop", "--keep", "--domain", "--suite"])
@pytest.mark.parametrize("link", ["", "hard", "symbolic"])
def test_the_report_never_overwrites_an_input(
    call: Call, net: Path, broken: Path, holds: Path, tmp_path: Path, option: str, link: str
) -> None:
    files = inputs(tmp_path, net, broken, holds)
    target = tmp_path / "j.json" if link else files[option]
    if link == "hard":
        target.hardlink_to(files[option])
    elif link:
        target.symlink_to(files[option])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    flat = [word for pair in files.items() for word in pair]
    result = call("repair", *flat, "--out", tmp_path / "out", "--json", target, "--quiet")
    assert (result.status, result.out) == (4, "")
    assert str(target) in result.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_report_is_not_written_where_the_network_goes(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path, tmp_path: Path
) -> None:
    """Nor over any other network, property or suite, named on the command line or not."""
    out = tmp_path / "out"
    out.mkdir()
    places = [out / "sum.repaired.onnx", tmp_path / "o.nnet.gz", tmp_path / "p.vnnlib", tmp_path / "s.TOML", out]
    for target in [*places, tmp_path / "missing" / "j.json", net / "j.json", tmp_path / ("j" * 250)]:
        result = call("repair", "--net", net, "--prop", broken, "--out", out, "--json", target, "--quiet")
        assert (result.status, result.out) == (4, ""), target
    assert requests == []


def test_an_unusable_folder_is_found_before_work_starts(
    call: Call, monkeypatch: pytest.MonkeyPatch, net: Path, broken: Path, tmp_path: Path
) -> None:
    def too_late(*args: object, **options: object) -> None:
        raise AssertionError("the network was read before the folder was looked at")

    monkeypatch.setattr("birdnn.pipeline.repairing.read_case", too_late)
    occupied = tmp_path / "occupied"
    (occupied / "sum.repaired.onnx").mkdir(parents=True)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "sum.repaired.onnx").hardlink_to(net)
    places = [net, net / "under" / "a-file", occupied, linked, tmp_path / ("x" * 256), Path("/proc/birdnn")]
    before = sorted(tmp_path.rglob("*"))
    for out in places:
        result = call("repair", "--net", net, "--prop", broken, "--out", out, "--quiet")
        assert (result.status, result.out) == (4, ""), (out, result.err)
        assert str(out) in result.err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_to_repair_leaves_no_folder(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    result = call("repair", "--net", net, "--prop", holds, "--out", tmp_path / "a" / "b", "--quiet")
    assert (result.status, result.out) == (0, "nothing_to_repair\n")
    assert not (tmp_path / "a").exists()


def test_nothing_to_repair_writes_no_network(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    target = tmp_path / "j.json"
    result = call("repair", "--net", net, "--prop", holds, "--out", tmp_path / "out", "--json", target, "--quiet")
    assert (result.status, result.out) == (0, "nothing_to_repair\n")
    assert not list(tmp_path.glob("out/*.onnx"))
    assert json.loads(target.read_text())["out"] is None


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("", (), "empty"),
        ("x_0,x_1,decision\n", (), "line 1: no points"),
        ("x_0,x_1,y_0\n1,nan,2\n", (), "line 2: x_1: nan"),
        ("x_0,x_1,x_2,decision\n1,1,2,0\n", (), "line 1: column 'x_2' is unknown"),
        ("x_0,x_1,decision\n1,1,coc\n", ("--decision", "argmin"), "line 2: decision 'coc' is unknown"),
        ("x_0,x_1,decision\n1,1,0\n", (), "--decision argmin"),
        ("x_0,x_1,y_0\n1,1,2\n", (), "line 2: says outputs without a tolerance"),
        ("x_0,x_1,y_0\n1,1,2\n1,1,3\n", ("--points-tolerance", "1"), "line 3: asks for another answer than line 2"),
    ],
)
def test_unusable_points(call: Call, net: Path, tmp_path: Path, text: str, more: tuple[str, ...], words: str) -> None:
    path, out = tmp_path / "fixes.csv", tmp_path / "out"
    path.write_text(text)
    result = call("repair", "--net", net, "--points", path, *more, "--out", out, "--quiet")
    assert (result.status, result.out) == (4, "")
    assert str(path) in result.err
    assert words in result.err
    assert not out.exists()


@pytest.mark.parametrize("option", ["--points-tolerance", "--points-radius"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_tolerance_and_radius_are_positive(call: Call, net: Path, tmp_path: Path, option: str, value: str) -> None:
    assert call("repair", "--net", net, "--points", tmp_path / "p.csv", option, value).status == 2


def test_points_are_put_right(call: Call, net: Path, tmp_path: Path) -> None:
    path, out, target = tmp_path / "fixes.csv", tmp_path / "out", tmp_path / "r.json"
    path.write_text("x_0,x_1,y_0\n0.5,0.5,1.25\n1,0.25,1.25\n")
    result = call(
        "repair", "--net", net, "--points", path, "--points-tolerance", "0.125", "--out", out, "--json", target
    )
    assert result.status == 3, result.err  # the outputs around the points move as well, and that is told
    assert "badly kept" in result.out
    assert "neighbours of fixes" in " ".join(result.out.split())
    report = json.loads(target.read_text())
    (around,) = report["neighbours"]
    assert (report["outcome"], around["points"], around["n"], around["radius"]) == ("proved", 2, 200, 0.01)
    session = onnxruntime.InferenceSession(report["out"], providers=["CPUExecutionProvider"])
    y = session.run(None, {session.get_inputs()[0].name: np.array([[0.5, 0.5], [1, 0.25]], np.float32)})[0]
    assert np.abs(y - 1.25).max() <= 0.125


@pytest.mark.thorough
def test_interrupted_once_keeps_what_there_is(endless: tuple[Path, Path], tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "j.json"
    command = [sys.executable, "-m", "birdnn", "repair", "--net", endless[0], "--out", out, "--json", target]
    command += ["--method", "retrain"]  # it says "imitating" from the start
    process = subprocess.Popen(
        [*map(str, command), "--prop", str(tmp_path / "stubborn.vnnlib")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "imitating" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    report = json.loads(target.read_text())
    assert report["interrupted"] is True
    assert not list(out.glob(".*"))
    if report["out"] is not None:
        session = onnxruntime.InferenceSession(report["out"], providers=["CPUExecutionProvider"])
        first = session.get_inputs()[0]
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in first.shape]
        assert np.isfinite(session.run(None, {first.name: np.zeros(shape, np.float32)})[0]).all()


def test_paths_are_whole_and_relative(
    call: Call, requests: list[RepairRequest], net: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were broken at column 100, where nobody reads them from a pipe."""
    long = tmp_path / ("folder" * 20) / "net.repaired.onnx"
    found = repair_outcome(out=str(long), report=str(long.with_name("repair.json")))
    monkeypatch.setattr("birdnn.pipeline.repairing.repair_files", lambda request, **_: found)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, shown in ((tmp_path, long.relative_to(tmp_path)), (elsewhere, long)):
        monkeypatch.chdir(folder)
        done = call("repair", "--net", net, "--prop", broken)
        assert f"repaired network  {shown}\n" in done.out
        assert f"outcome           {shown.with_name('repair.json')}\n" in done.out
