"""``birdnn report`` and ``birdnn repair --report``: real repairs of a small network, moved files, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from birdnn.certify.check.__main__ import main as check_alone
from birdnn.cli.reporting import NAMES
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call, box_property
from tests.report.pages import Seen

QUICK = ("--method", "finetune", "--samples", "1000", "--timeout", "100", "--quiet")


@pytest.fixture
def repaired(call: Call, net: Path, broken: Path, tmp_path: Path) -> Path:
    """The result folder of a repair with its report."""
    folder = tmp_path / "result"
    keep = ("--max-mae", "0.5")  # a quarter of the range of the sum: less is not to be had
    done = call("repair", "--net", net, "--prop", broken, *QUICK, *keep, "--report", "--out", folder)
    assert done.status == 0, done.err
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_repair_writes_the_report(repaired: Path, net: Path) -> None:
    page = (repaired / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    seen = Seen.of(page)
    assert "Repaired and proved" in seen.text
    outcome = json.loads((repaired / "repair.json").read_text())
    (located,) = outcome["localisation"]
    assert (located["name"], located["outcome"]) == ("broken", "localised")
    assert any("Responsible neurons of broken" in line for line in page.splitlines())
    (prop,) = outcome["properties"]
    assert prop["regions"] == [
        {
            "lower": ["0", "0"],
            "upper": ["1", "1"],
            "unsafe": [[{"coefficients": ["-1"], "bound": "-1.5", "strict": False}]],
        }
    ]
    for name, entry in outcome["change"].items():
        moved = [abs(value["after"] - value["before"]) for value in entry["largest"]]
        assert moved == sorted(moved, reverse=True), name
        assert moved[0] == pytest.approx(entry["Linf"])
        assert len(moved) == min(entry["count"], 20)
    assert digest(net) in seen.text
    assert digest(repaired / "sum.repaired.onnx") in seen.text


@pytest.mark.thorough
def test_every_format(call: Call, repaired: Path, tmp_path: Path) -> None:
    before = {path: digest(path) for path in repaired.iterdir()}
    out = tmp_path / "for" / "the assessor"
    done = call("report", repaired, "--format", "html,md,json,sarif,intoto", "--out", out, "--quiet")
    assert done.status == 0, done.err
    assert done.out.splitlines() == [str(out / name) for name in NAMES.values()]
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES.values())
    assert {path: digest(path) for path in repaired.iterdir()} == before
    report = json.loads((out / "report.json").read_text())
    assert set(json.loads(schemas()["report.schema.json"])["required"]) <= set(report)
    assert report["outcome"] == json.loads((repaired / "repair.json").read_text())
    assert report["summary"]["verdict"] == "proved"
    assert [entry["state"] for entry in report["files"]] == ["as recorded"] * len(report["files"])
    stored = report["outcome"]["certificate"]
    assert f"all {sum(p['leaves'] for p in report['certificate']['proofs'])} leaves" in stored["checked"]
    (proof,) = report["certificate"]["proofs"]
    assert (proof["property"], proof["regions"]) == ("broken", 1)
    statement = json.loads((out / "report.intoto.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == digest(repaired / "sum.repaired.onnx")
    run = json.loads((out / "report.sarif").read_text())["runs"][0]
    assert [result["kind"] for result in run["results"]] == ["fail", "pass"]
    assert "# Safety report: sum.onnx" in (out / "report.md").read_text()


def test_the_commands_of_the_report_do_what_they_say(call: Call, repaired: Path, tmp_path: Path) -> None:
    assert call("report", repaired, "--format", "json", "--quiet").status == 0
    commands = json.loads((repaired / "report.json").read_text())["commands"]
    replay = commands[0]
    assert replay["purpose"].startswith("Replay")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as in an environment that is activated
    done = subprocess.run(
        ["bash", "-c", replay["command"]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads((repaired / "repair.json").read_text())["properties"][0]["counterexamples"]
    assert len(done.stdout.splitlines()) == len(expected) > 0
    assert all(line.startswith("broken [") and line.endswith("as recorded") for line in done.stdout.splitlines())
    statuses = {}
    for entry in commands:
        words = shlex.split(entry["command"])
        if words[0] == "birdnn" and not entry["purpose"].startswith("Repeat"):
            statuses[words[1]] = call(*words[1:]).status
        elif words[0] == "birdnn-check":
            statuses[words[0]] = check_alone(words[1:])
    assert statuses == {"falsify": 1, "birdnn-check": 0, "verify": 0}


@pytest.mark.thorough
def test_a_folder_that_moved_is_found_and_what_changed_is_named(
    call: Call, repaired: Path, broken: Path, net: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(repaired, moved)
    net.unlink()
    broken.write_text(broken.read_text() + "; another file now\n")
    done = call("report", moved, "--format", "json,html")
    assert done.status == 0
    report = json.loads((moved / "report.json").read_text())
    states = {entry["role"]: entry["state"] for entry in report["files"]}
    assert states == {
        "network before": "missing",
        "network after": "as recorded",
        "property": "differs",
        "certificate": "as recorded",
        "outcome": "as recorded",
    }
    assert report["summary"]["verdict"] == "files differ"
    assert f"warning: property {broken}: differs" in done.err
    assert "Not about these files" in (moved / "report.html").read_text()


@pytest.mark.thorough
def test_what_an_earlier_version_did_not_write_is_read_from_the_files(call: Call, repaired: Path) -> None:
    record = repaired / "repair.json"
    full = json.loads(record.read_text())
    old = json.loads(record.read_text())
    for prop in old["properties"]:
        del prop["regions"], prop["reason"], prop["open_boxes"]
    for entry in old["change"].values():
        del entry["largest"]
    for name in ("watched", "inputs", "outputs", "localisation"):
        del old[name]
    record.write_text(json.dumps(old))
    assert call("report", repaired, "--format", "json,html,md", "--quiet").status == 0
    report = json.loads((repaired / "report.json").read_text())
    assert report["outcome"]["properties"][0]["regions"] == full["properties"][0]["regions"]
    assert report["outcome"]["change"] == full["change"]
    assert len(report["added"]) == 2
    assert "No localisation was computed" in (repaired / "report.html").read_text()


def test_nothing_to_repair_is_reported_without_a_network(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    done = call("repair", "--net", net, "--prop", holds, *QUICK, "--report", "--out", folder)
    assert (done.status, done.out) == (0, "nothing_to_repair\n")
    assert sorted(path.name for path in folder.iterdir()) == ["repair.json", "report.html"]
    page = Seen.of((folder / "report.html").read_text()).text
    assert "Nothing to repair" in page
    assert "1 of 1 property that was asked about is proved on the network as it is" in page


@pytest.mark.thorough
def test_a_repair_that_failed_is_reported_as_such(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.vnnlib"
    other.write_text(box_property(2, "(<= Y_0 1.6)"))  # together they forbid every output
    folder = tmp_path / "o"
    soon = (*QUICK, "--timeout", "15")  # it would try for as long as it may
    done = call("repair", "--net", net, "--prop", broken, "--prop", other, *soon, "--report", "--out", folder)
    assert done.status == 1, done.err
    page = Seen.of((folder / "report.html").read_text()).text
    assert "Not repaired" in page
    assert "Repaired and proved" not in page
    assert "is violated" in page


def damaged(text: str, how: str) -> str:
    content: dict[str, Any] = json.loads(text)
    match how:
        case "truncated":
            return text[: len(text) // 2]
        case "version":
            return json.dumps(content | {"schema_version": 7})
        case "verify":
            return json.dumps(
                {"schema_version": 1, "tool": "birdnn", "command": "birdnn verify --net x", "outcome": "proved"}
            )
        case "stranger":
            return json.dumps({"tool": "eslint"})
        case "key":
            return json.dumps({key: value for key, value in content.items() if key != "net_sha256"})
        case "kind":
            return json.dumps(content | {"wall_s": "soon"})
        case "list":
            return "[1, 2]"
        case _:
            return ""


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated", "not JSON, or cut off: repeat the repair that wrote it"),
        ("version", "schema version 7, this birdnn"),
        ("verify", "the result of birdnn verify; a report needs the repair.json that birdnn repair writes"),
        ("stranger", "not a result of birdnn"),
        ("list", "not a result of birdnn"),
        ("key", "key net_sha256: field required"),
        ("kind", "key wall_s: "),
        ("empty", "the file is empty"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(call: Call, good: str, tmp_path: Path, how: str, told: str) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "repair.json").write_text(damaged(good, how))
    done = call("report", folder, "--format", "html,json")
    assert (done.status, done.out) == (4, "")
    assert "repair.json" in done.err
    assert told in done.err
    assert [path.name for path in folder.iterdir()] == ["repair.json"]


@pytest.fixture
def good() -> str:
    """A repair.json whose files are nowhere."""
    from birdnn.report.publish import dumps
    from tests.report.pages import outcome

    return dumps(outcome())


def test_where_there_is_no_result(call: Call, tmp_path: Path) -> None:
    done = call("report", tmp_path)
    assert (done.status, done.out) == (4, "")
    assert f"{tmp_path / 'repair.json'}: no such file" in done.err
    assert call("report", tmp_path / "nowhere").status == 4
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8 text" in call("report", tmp_path / "binary.json").err


def test_an_input_is_never_overwritten(call: Call, good: str, tmp_path: Path) -> None:
    mine = tmp_path / "report.json"
    mine.write_text(good)
    done = call("report", mine, "--format", "json")
    assert done.status == 4
    assert "the input is never overwritten" in done.err
    assert mine.read_text() == good
    assert call("report", mine, "--format", "html", "--quiet").status == 0  # other names are free
    assert call("report", mine, "--out", mine).status == 4


@pytest.mark.thorough
def test_the_first_page_says_when_who_and_what_is_not_proved(
    call: Call, repaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689600")
    signed = ("--author", "A. Turing", "--reviewer", "G. <Hopper>")
    assert call("report", repaired, "--format", "html,md,json", "--out", tmp_path, *signed).status == 0
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["made"], told["author"], told["reviewer"]) == ("2025-01-01", "A. Turing", "G. <Hopper>")
    page, text = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    for shown in (page, text):
        front = shown[: shown.index("Scope and hashes" if shown is text else 'id="s1"')]
        assert "2025-01-01" in front
        assert "A. Turing" in front
        assert "Nothing is proved about inputs outside the regions of these properties" in front
        assert "The certificate covers the proof of broken." in front
    assert "G. &lt;Hopper&gt;" in page
    plain = call("report", repaired, "--format", "json", "--out", tmp_path / "plain")
    assert plain.status == 0
    assert json.loads((tmp_path / "plain" / "report.json").read_text())["author"] is None


def test_a_day_that_is_none(call: Call, repaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    done = call("report", repaired, "--format", "md", "--out", tmp_path)
    assert (done.status, "seconds since 1970" in done.err) == (4, True)


def test_formats_are_spelled_out(call: Call, tmp_path: Path) -> None:
    done = call("report", tmp_path, "--format", "html,pdf")
    assert done.status == 2
    assert "there is no format 'pdf'" in done.err
