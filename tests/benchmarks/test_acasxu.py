"""Tables of the campaigns: shared by processes, readable across versions, each row with what it was made by."""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import subprocess
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.acasxu import repair
from benchmarks.acasxu.common import RESULTS
from benchmarks.common import Table, stamp

COLUMNS = "net", "seconds"
MARK = {"commit": "abc1234", "date": "2001-02-03"}


def table(path: Path) -> Table:
    return Table(path, COLUMNS, ("net",))


def fill(path: Path, part: int, start: object) -> None:
    """One part of a campaign."""
    start.wait()
    own = table(path)
    for i in range(20):
        own.add({"net": f"{part}-{i}", "seconds": 1.5, **MARK})


def test_rows_survive_and_are_not_computed_again(tmp_path: Path) -> None:
    first = table(tmp_path / "t.csv")
    assert not first.has(net="N1,1")
    first.add({"net": "N1,1", "seconds": 2.0, **MARK})
    before = (tmp_path / "t.csv").stat().st_ino
    again = table(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").stat().st_ino == before, "written again although nothing was missing"
    assert again.has(net="N1,1")
    assert again.rows == [{"net": "N1,1", "seconds": "2.0", **MARK}]


def test_processes_share_one_header(tmp_path: Path) -> None:
    """Both parts find no file and write their header over the other's rows."""
    path, spawn = tmp_path / "t.csv", multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    parts = [spawn.Process(target=fill, args=(path, part, start)) for part in range(3)]
    for part in parts:
        part.start()
    for part in parts:
        part.join(60)
        assert part.exitcode == 0
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [*COLUMNS, "commit", "date"]
    assert lines.count(lines[0]) == 1
    assert len({line[0] for line in lines[1:]}) == 60
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_table_of_an_earlier_version_is_read_and_completed(tmp_path: Path) -> None:
    """And a row that an interruption has cut short is computed again, not glued to the next one."""
    path = tmp_path / "t.csv"
    path.write_text('net,seconds\r\n"N1,1",3.0\r\n"N1,2",4.0\r\n"N1')
    old = table(path)
    assert [row["net"] for row in old.rows] == ["N1,1", "N1,2"]
    assert old.rows[0]["commit"] == ""
    old.add({"net": "N1,3", "seconds": 5.0, **MARK})
    assert [(row["net"], row["commit"]) for row in table(path).rows] == [
        ("N1,1", ""),
        ("N1,2", ""),
        ("N1,3", "abc1234"),
    ]


@pytest.mark.parametrize("name", ["repair.csv", "verify_warm.csv"])
def test_the_stored_tables_are_read(tmp_path: Path, name: str) -> None:
    stored = (RESULTS / name).read_text()
    (tmp_path / name).write_text(stored)
    columns = tuple(stored.splitlines()[0].split(","))
    rows = Table(tmp_path / name, tuple(c for c in columns if c not in common.STAMP), ("vnnlib",)).rows
    assert len(rows) == len(stored.splitlines()) - 1
    assert all(row["commit"] is not None for row in rows)


def test_a_stamp_tells_a_changed_tree_and_looks_past_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "benchmarks" / "some" / "results"
    results.mkdir(parents=True)
    monkeypatch.setattr(common, "ROOT", tmp_path)
    assert stamp()["commit"] == ""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    (results.parent / "code.py").write_text("1")
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (results / "t.csv").write_text("rows")
    clean = stamp()["commit"]
    assert clean
    assert "dirty" not in clean
    (results.parent / "code.py").write_text("2")
    assert stamp()["commit"] == f"{clean}+dirty"


def test_an_old_report_is_not_read_as_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--keep folders outlive a run, and a run may fail."""
    out = tmp_path / "N1,1-prop_2"
    out.mkdir()
    (out / "repair.json").write_text("{}")
    monkeypatch.setattr(repair.subprocess, "run", lambda *args, **options: subprocess.CompletedProcess([], 4, "", "no"))
    options = argparse.Namespace(method="finetune:lp", timeout=1.0, keep=tmp_path)
    found = repair.run(Path("ACASXU_run2a_1_1_batch_2000.onnx"), (Path("prop_2.vnnlib"),), options)
    assert (found["outcome"], found["note"]) == ("exit 4", "no")
