"""A campaign from its files to its outcome, and who made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from birdnn.campaign import campaign_files, provenance
from birdnn.errors import FormatError
from tests.campaign.fakes import campaign, noted


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))


def table(path: Path, answer: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"onnx,vnnlib,verdict,seconds\nunsat-1.onnx,p.vnnlib,{answer},2.0\n")
    return path


def test_other_tables_are_named_by_their_stems_and_where_alike_by_their_folders(tmp_path: Path) -> None:
    others = [table(tmp_path / name, "unsat") for name in ("a/t.csv", "b/t.csv", "c/u.csv")]
    asked = campaign(tmp_path, ["unsat-1", "broken-1"], jobs=0, options=("--memory", "1 2"))
    found = campaign_files(asked, source=tmp_path / "instances.csv", against=others, command=("x",), notes=("n",))
    assert [beside.theirs.name for beside in found.against] == ["a/t", "b/t", "u"]
    assert [beside.both for beside in found.against] == [1, 1, 1]
    assert (found.jobs, found.ran, found.kept, found.measure) == (1, 2, 0, "cold")
    assert (found.command, found.notes, found.options) == (("x",), ("n",), "--memory '1 2'")
    assert [row.answer for row in found.rows] == ["unsat", "crash"]
    assert found.broken == ("broken-1 p: crash, status 5: internal error: KeyError: x",)
    assert (found.result, found.kept_figures, found.interrupted) == ("incomplete", (), False)


def test_a_table_that_cannot_be_read_is_told_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("one,two\n1,2\n")
    with pytest.raises(FormatError, match="no column verdict"):
        campaign_files(campaign(tmp_path, ["unsat-1"]), source=tmp_path / "instances.csv", against=[path])
    assert noted(tmp_path, "command") == []


def test_results_say_how_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    made = provenance("birdnn bench x", "Seeds 0 to 4")
    assert "OMP_NUM_THREADS=3; " in made
    assert "Seeds 0 to 4.\n\nCommand: `birdnn bench x` (resumable" in made
    assert "OMP_NUM_THREADS=2; " in provenance("x", threads=2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "OMP_NUM_THREADS=default; " in provenance("x")
    assert provenance("x", resumable=False).endswith("Command: `x`.\n")
