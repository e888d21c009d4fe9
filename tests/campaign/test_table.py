"""Tables: shared by processes, readable across versions, never overwritten where they are something else."""

from __future__ import annotations

import csv
import multiprocessing
import subprocess
from pathlib import Path

import pytest

from birdnn.campaign import stamp
from birdnn.campaign.table import Table
from birdnn.errors import FormatError

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
        part.join(600)
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"network,time\r\na,1\r\n", "unknown: network, time; missing: net"),
        (b"net,seconds,extra\r\na,1,2\r\n", r"other columns \(unknown: extra\) is not overwritten"),
        (b"seconds,commit\r\n1,abc\r\n", "missing: net"),
        (b"no line feed at all", "no line is whole"),
        (b"\x89PNG\r\n\xff\xfe\n", "not text in UTF-8"),
    ],
)
def test_what_is_no_such_table_is_left_alone(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        table(path)
    assert path.read_bytes() == data


def test_a_stamp_tells_a_changed_tree_and_looks_past_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "benchmarks" / "some" / "results"
    results.mkdir(parents=True)
    monkeypatch.setattr("birdnn.campaign.made_by.SOURCE", tmp_path)
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


def test_a_repository_around_the_package_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed in a virtual environment inside somebody's working copy, we know no commit."""
    (tmp_path / "inside").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.setattr("birdnn.campaign.made_by.SOURCE", tmp_path / "inside")
    assert stamp()["commit"] == ""
