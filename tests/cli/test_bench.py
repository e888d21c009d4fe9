"""``birdnn bench``: real processes on small networks; table, summaries, plot, exit status, bad input."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from birdnn.printable import cell_text
from birdnn.records import CONTRADICTION
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def instances(net: Path, holds: Path, broken: Path, tmp_path: Path) -> Path:
    """One that holds, one that does not, one whose network is missing."""
    path = tmp_path / "instances.csv"
    path.write_text(
        f"onnx,vnnlib,timeout,expected\n{net.name},{holds.name},60,unsat\n{net.name},{broken.name},60,\n"
        f"absent.onnx,{holds.name},60,sat\n"
    )
    return path


@pytest.mark.thorough
def test_a_campaign(call: Call, instances: Path, tmp_path: Path) -> None:
    """Cold, then resumed, then compared with itself."""
    table, out = tmp_path / "t.csv", tmp_path / "o.json"
    files = ["--json", out, "--summary", tmp_path / "s.md", "--plot", tmp_path / "p.svg"]
    result = call("bench", instances, "--out", table, *files, "--jobs", 2)
    assert result.status == 4, result.err
    assert result.out.startswith("2 of 3 solved, 1 without a result.\n")
    assert "absent holds: error, status 4: " in " ".join(result.out.split())
    assert "\x1b" not in result.out
    found = {(row["onnx"], row["vnnlib"]): row for row in rows(table)}
    assert [row["verdict"] for row in found.values()].count("error") == 1
    row = found["sum.onnx", "holds.vnnlib"]
    assert (row["verdict"], row["expected"], row["measure"], row["seed"]) == ("unsat", "unsat", "cold", "0")
    assert found["absent.onnx", "holds.vnnlib"]["note"].endswith("absent.onnx: no such file")
    report = json.loads(out.read_text())
    assert set(json.loads(schemas()["bench.schema.json"])["required"]) <= set(report)
    assert (report["outcome"], report["ran"], report["kept"]) == ("incomplete", 3, 0)
    assert [entry["answer"] for entry in report["rows"]] == ["unsat", "sat", "error"]
    assert "| birdnn | 2 of 3 | 0 |" in (tmp_path / "s.md").read_text()
    assert "<svg" in (tmp_path / "p.svg").read_text()

    other = shutil.copy(table, tmp_path / "other.csv")
    before = table.read_bytes()
    again = call("bench", instances, "--out", table, "--against", other, "--json", out, "--quiet")
    assert (again.status, again.out) == (4, "2 of 3 solved, 1 without a result\n")
    assert table.read_bytes() == before
    report = json.loads(out.read_text())
    assert (report["ran"], report["kept"]) == (0, 3)
    (beside,) = report["against"]
    assert (beside["both"], beside["missing"], beside["ratio"]) == (2, 0, 1.0)
    assert beside["theirs"]["name"] == "other"


@pytest.mark.thorough
def test_a_warm_campaign_with_options_of_verify(call: Call, instances: Path, tmp_path: Path) -> None:
    lines = instances.read_text().splitlines()[:3]
    instances.write_text("\n".join(lines) + "\n")
    table = tmp_path / "t.csv"
    words = [instances, "--out", table, "--warm", "--semantics", "float32", "--seed", 3, "--", "--memory", "1"]
    result = call("bench", *words)
    assert result.status == 0, result.err
    found = rows(table)
    assert [row["verdict"] for row in found] == ["unsat", "sat"]
    assert {cell_text(row["options"]) for row in found} == {"--semantics float32 --memory 1 --seed 3"}
    assert {row["semantics"] for row in found} == {"float32"}
    assert all(float(row["seconds"]) < 5 for row in found), "the start of the process was counted"


@pytest.mark.thorough
def test_a_contradiction_ends_in_status_6(call: Call, instances: Path, tmp_path: Path) -> None:
    """With everything on disk."""
    instances.write_text(instances.read_text().splitlines()[1].rpartition(",")[0] + ",sat\n")
    instances.write_text("onnx,vnnlib,timeout,expected\n" + instances.read_text())
    table = tmp_path / "t.csv"
    result = call("bench", instances, "--out", table, "--summary", tmp_path / "s.csv", "--warm")
    assert result.status == 6
    assert "error: sum holds: unsat, known sat" in result.err
    (figures,) = rows(tmp_path / "s.csv")
    assert (figures["solved"], figures["wrong"]) == ("0", "1")


@pytest.mark.thorough
def test_a_row_that_contradicts_itself_ends_in_status_6(
    call: Call, instances: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines, or prover and checker, that disagree on an instance: no answer, and nobody overlooks it."""
    from birdnn.campaign import kinds

    told = {"verdict": CONTRADICTION, "note": "the independent checker rejects its certificate"}
    liar = replace(kinds.VERIFY, found=lambda report: {**kinds._verify_row(report), **told})
    monkeypatch.setattr("birdnn.campaign.VERIFY", liar)
    target = tmp_path / "j.json"
    result = call("bench", instances, "--out", tmp_path / "t.csv", "--warm", "--json", target)
    assert (result.status, "the independent checker rejects" in result.err) == (6, True)
    found = json.loads(target.read_text())
    assert (found["outcome"], found["figures"]["solved"]) == ("contradicted", 0)


@pytest.mark.thorough
def test_a_repair_campaign(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    instances, table = tmp_path / "r.csv", tmp_path / "t.csv"
    instances.write_text(f"onnx,vnnlib\n{net.name},{broken.name}\n")
    words = ["--repair", "--out", table, "--timeout", 120, "--keep", tmp_path / "kept", "--method", "finetune:lp"]
    result = call("bench", instances, *words, "--", "--samples", "1000", "--decision", "none")
    (row,) = rows(table)
    assert (row["method"], row["net"], row["props"], row["timeout_s"]) == ("finetune:lp", "sum", "broken", "120")
    assert result.status == 0, (row, result.err)
    assert row["outcome"] in ("proved", "sampled", "violated")
    assert (tmp_path / "kept" / "sum-broken" / "repair.json").is_file()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["absent.csv"], 4, "absent.csv: no such file"),
        (["{csv}", "--against", "absent.csv"], 4, "absent.csv: no such file"),
        (["{csv}", "--verdicts", "absent.csv"], 4, "absent.csv: no such file"),
        (["{csv}", "--out", "{csv}"], 4, "never overwritten"),
        (["{csv}", "--out", "{net}"], 4, "never overwritten|not written to a .onnx"),
        (["{csv}", "--out", "{other}"], 4, "a table of other columns"),
        (["{csv}", "--plot", "p.pdf"], 4, "is written as .svg or .png"),
        (["{csv}", "--summary", "s.txt"], 4, "is written as .md or .csv"),
        (["{csv}", "--jobs", "0"], 2, "--jobs"),
        (["{csv}", "--timeout", "-1"], 2, "positive"),
        (["{csv}", "--method", "magic", "--repair"], 2, "one of auto"),
        (["{csv}", "--keep", "k"], 2, "is an option of --repair"),
        (["{csv}", "--warm", "--repair"], 2, "repairs run in a process each"),
        (["{csv}", "{csv}"], 2, "one file of instances is expected"),
        (["{csv}", "--", "--net", "x"], 2, "is decided by bench"),
        (["{csv}", "--", "--timeout=5"], 2, "is decided by bench"),
        (["{csv}", "--", "--no-such-option"], 2, "No such option"),
        (["{csv}", "--", "--bound", "magic"], 2, "magic"),
    ],
)
def test_bad_input(
    call: Call,
    instances: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    said: str,
) -> None:
    """Refused before anything runs, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("what,ever\n1,2\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    result = call("bench", *(word.format(csv=instances, net=tmp_path / "sum.onnx", other=other) for word in words))
    assert result.status == status, result.err
    assert re.search(said, " ".join(result.err.split())), result.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_malformed_row_is_named(call: Call, instances: Path, tmp_path: Path) -> None:
    instances.write_text(instances.read_text() + "a.onnx,b.vnnlib\n")
    result = call("bench", instances, "--out", tmp_path / "t.csv")
    assert result.status == 4
    assert "instances.csv, line 5: 4 fields are expected" in result.err
    assert not (tmp_path / "t.csv").exists()
