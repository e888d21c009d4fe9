"""Campaigns: limits from outside, rows that are not run again, answers that are none."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from birdnn.campaign import REPAIR, Campaign, Table, run_campaign
from birdnn.campaign.children import Ending
from birdnn.campaign.kinds import result_columns
from birdnn.campaign.run import kept_folders, row_matches_key, rows_of
from birdnn.campaign.table import reserved_table
from birdnn.errors import FormatError, OutputError
from birdnn.records import Unwatched
from tests.campaign.fakes import Stopping, campaign, noted


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))


def run(asked: Campaign) -> tuple[list[dict[str, str]], int]:
    rows, ran = run_campaign(asked, Unwatched())
    assert all(row is not None for row in rows)
    return [dict(row) for row in rows if row is not None], ran


def test_a_row_says_how_it_was_made(tmp_path: Path) -> None:
    (row,), ran = run(campaign(tmp_path, ["unsat-1"], threads=3, seed=7, options=("--semantics", "float32")))
    assert ran == 1
    assert row["onnx"] == "unsat-1.onnx"
    assert (row["verdict"], row["boxes"], row["semantics"], row["seed"]) == ("unsat", "3", "real", "7")
    assert (row["options"], row["measure"], row["timeout_s"]) == ("--semantics float32 --seed 7", "cold", "60")
    assert 0 < float(row["seconds"]) < 60
    assert row["seconds"] != row["solve_s"] == "0.250"
    assert row["version"]
    assert "torch=" in row["software"]
    assert "3 threads each" in row["machine"]
    ((_, threads),) = noted(tmp_path, "start")
    assert threads == "3"
    assert noted(tmp_path, "command")[0][2:] == [
        *_written(tmp_path),
        "--quiet",
        "--semantics",
        "float32",
        "--seed",
        "7",
    ]


def _written(folder: Path) -> list[str]:
    """What stands between the limit and our options: the report's place, which is nobody's business."""
    words = noted(folder, "command")[0][2:]
    return words[: words.index("--quiet")]


def test_rows_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    nets = ["sat-1", "unsat-1", "unknown-1", "timeout-1"]
    first, ran = run(campaign(tmp_path, nets[:2], jobs=2))
    assert ran == 2
    second, ran = run(campaign(tmp_path, nets, jobs=2))
    assert ran == 2
    assert second[:2] == first
    assert [row["verdict"] for row in second] == ["sat", "unsat", "unknown", "timeout"]
    assert second[2]["note"] == "precision"
    assert len(noted(tmp_path, "command")) == 4
    with (tmp_path / "t.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 5


@pytest.mark.parametrize("change", [{"options": ("--bound", "own")}, {"seed": 1}, {"warm": True}, {"limit_s": 61.0}])
def test_another_question_is_another_row(tmp_path: Path, change: dict[str, object]) -> None:
    run(campaign(tmp_path, ["sat-1"]))
    assert run(campaign(tmp_path, ["sat-1"], **change))[1] == 1
    assert run(campaign(tmp_path, ["sat-1"], **change))[1] == 0
    assert run(campaign(tmp_path, ["sat-1"]))[1] == 0
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3


def test_another_version_is_another_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(campaign(tmp_path, ["sat-1"]))
    monkeypatch.setattr("birdnn.campaign.run.birdnn_version", lambda: "9.9")
    (row,), ran = run(campaign(tmp_path, ["sat-1"]))
    assert (row["version"], ran) == ("9.9", 1)


def test_a_row_of_an_older_table_counts_where_it_says_nothing_else() -> None:
    key = {"onnx": "a", "timeout_s": "116", "measure": "warm", "options": "", "version": "0.1.0"}
    old = {"onnx": "a", "timeout_s": "", "measure": "", "options": "", "version": ""}
    assert row_matches_key(old, key)
    assert row_matches_key({**old, "timeout_s": "116.0"}, key)
    assert not row_matches_key({**old, "timeout_s": "90"}, key)
    assert not row_matches_key({**old, "onnx": "b"}, key)
    assert not row_matches_key(old, {**key, "options": "--seed 1"})
    assert not row_matches_key({**old, "version": "0.1.0"}, key)


@pytest.mark.thorough
def test_a_process_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    (row,), _ = run(campaign(tmp_path, ["hang-1"], limit_s=1.0, grace_s=5.0))
    assert time.monotonic() - begun < 60
    assert row["verdict"] == "timeout"
    assert row["note"].startswith("killed from outside after")
    assert float(row["seconds"]) >= 6
    ((grandchild,),) = noted(tmp_path, "grandchild")
    assert not alive(int(grandchild)), "it left the process group, and lives on"
    assert not any(alive(int(pid)) for pid, _ in noted(tmp_path, "start"))


def alive(pid: int) -> bool:
    """Is it there and no zombie?"""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("warm", [False, True])
def test_a_process_that_eats_memory_is_killed(tmp_path: Path, warm: bool) -> None:
    (row, other), _ = run(campaign(tmp_path, ["eat-1", "sat-1"], memory_gib=0.15, warm=warm))
    assert (row["verdict"], other["verdict"]) == ("memory", "sat")
    assert "GiB" in row["note"]
    assert not any(alive(int(pid)) for pid, _ in noted(tmp_path, "start"))


@pytest.mark.parametrize("warm", [False, True])
def test_what_breaks_is_told_and_the_campaign_goes_on(tmp_path: Path, warm: bool) -> None:
    rows, ran = run(campaign(tmp_path, ["bad-1", "die-1", "broken-1", "unsat-1"], warm=warm))
    assert ran == 4
    assert [(row["verdict"], row["note"]) for row in rows] == [
        ("error", "status 4: bad.onnx: no such file"),
        ("crash", "signal 9: it said nothing"),
        ("crash", "status 5: internal error: KeyError: x"),
        ("unsat", ""),
    ]
    again = campaign(tmp_path, ["bad-1", "die-1", "broken-1", "unsat-1"], warm=warm)
    assert run(again)[1] == 0
    assert run(replace(again, retry=True))[1] == 3


def test_warm_processes_are_used_again(tmp_path: Path) -> None:
    rows, _ = run(campaign(tmp_path, [f"slow-{i}" for i in range(6)], warm=True, jobs=2))
    assert len(noted(tmp_path, "start")) == 2
    assert len({pid for pid, *_ in noted(tmp_path, "command")}) == 2
    assert {(row["seconds"], row["measure"]) for row in rows} == {("0.250", "warm")}
    assert not any(alive(int(pid)) for pid, _ in noted(tmp_path, "start"))


def test_several_at_a_time(tmp_path: Path) -> None:
    """Each answers when all four are there."""
    rows, _ = run(campaign(tmp_path, [f"meet4-{i}" for i in range(4)], jobs=4))
    assert [row["verdict"] for row in rows] == ["unsat"] * 4


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_user_who_stops_loses_nothing(tmp_path: Path, jobs: int) -> None:
    nets = ["sat-1", "hang-1", "sat-2"]
    rows, ran = run_campaign(campaign(tmp_path, nets, jobs=jobs), Stopping(12))
    assert [row["verdict"] if row else "" for row in rows] in (["sat", "", ""], ["sat", "", "sat"], ["", "", ""])
    assert ran == sum(row is not None for row in rows)
    assert not any(alive(int(pid)) for pid, _ in noted(tmp_path, "start"))
    again, _ = run_campaign(campaign(tmp_path, ["sat-1", "sat-2"]), Unwatched())
    assert [row["verdict"] for row in again if row] == ["sat", "sat"]


def test_two_campaigns_into_one_table(tmp_path: Path) -> None:
    run(campaign(tmp_path, ["sat-1"]))
    with reserved_table(tmp_path / "t.csv"), pytest.raises(OutputError, match="another campaign is writing to it"):
        run(campaign(tmp_path, ["sat-2"]))
    assert run(campaign(tmp_path, ["sat-2"]))[1] == 1


def test_a_table_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    run(campaign(tmp_path, ["sat-1"]))
    before = (tmp_path / "t.csv").read_bytes()
    with pytest.raises(FormatError, match=r"t.csv, line 1: a table of other columns .*unknown: onnx"):
        run(campaign(tmp_path, ["sat-1"], kind=REPAIR))
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_full_disk_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Table, "add", full)
    with pytest.raises(OutputError, match="a row cannot be written: No space left"):
        run(campaign(tmp_path, ["sat-1", "sat-2", "sat-3"]))
    assert len(noted(tmp_path, "command")) == 1


def test_a_killed_repair_is_a_row(tmp_path: Path) -> None:
    ending = Ending(reason="timeout", status=None, wall_s=12.0, told="", peak_gib=0.1)
    assert result_columns(REPAIR, ending, tmp_path) == {
        "outcome": "timeout",
        "note": "killed from outside after 12.0 s",
    }


def test_the_last_row_counts(tmp_path: Path) -> None:
    asked = campaign(tmp_path, ["sat-1"])
    run(asked)
    table = Table(asked.table, asked.kind.columns, ("onnx",))
    table.add({**table.rows[0], "verdict": "unknown"})
    (row,) = rows_of(asked, table.rows)
    assert row is not None
    assert row["verdict"] == "unknown"


def test_no_two_repairs_are_kept_in_one_folder(tmp_path: Path) -> None:
    made = campaign(tmp_path, ["a/b", "a_b", "c"], keep=tmp_path / "kept", kind=REPAIR)
    folders = list(kept_folders(made).values())
    assert len(set(folders)) == 3
    assert folders[2] == "c-p"
