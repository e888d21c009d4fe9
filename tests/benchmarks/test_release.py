"""The released set: what is in it is accepted by the checker alone, and what was changed afterwards is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.acasxu.release import __main__ as release
from benchmarks.acasxu.release import checking, making, telling
from birdnn.formats.onnx import bytes_with_values
from birdnn.pipeline.load import load_network

pytestmark = [pytest.mark.acasxu, pytest.mark.thorough]
TWO = "N1,2", "N2,4"  # one that violates nothing, one that is repaired


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two networks."""
    out: Path = tmp_path_factory.mktemp("set")
    data: Path = request.config.getoption("--acasxu")
    assert release.make(data, out, 300.0, TWO) == []
    return out


@pytest.fixture
def found(made: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(made, tmp_path / "set"))


def entries(out: Path) -> list[dict[str, Any]]:
    return list(json.loads((out / checking.MANIFEST).read_text())["networks"])


def test_the_checker_alone_accepts_it(found: Path, acasxu: Path) -> None:
    as_it_is, repaired = entries(found)
    assert (as_it_is["name"], as_it_is["repaired"], repaired["name"], repaired["repaired"]) == (
        *TWO[:1],
        False,
        TWO[1],
        True,
    )
    assert [Path(prop["file"]).stem for prop in as_it_is["properties"]] == ["prop_1", "prop_3", "prop_4"]
    assert [Path(prop["file"]).stem for prop in repaired["properties"]] == ["prop_1", "prop_2", "prop_3", "prop_4"]
    assert [broken["property"] for broken in repaired["violated"]] == ["prop_2"]
    assert repaired["constants"]
    assert repaired["largest_proved"] <= repaired["demanded"] == making.DEMANDS[0]
    assert str(acasxu) not in json.dumps([as_it_is, repaired]), "no folder of this machine"
    assert checking.damaged(found) == []
    checked = list(checking.check(found, acasxu / "onnx"))
    assert [(one.name, one.proofs, one.constants, one.told) for one in checked] == [
        (TWO[0], True, None, ""),
        (TWO[1], True, True, ""),
    ]
    release.finish(found, [as_it_is, repaired], checked)
    assert "accepted" in (found / "index.html").read_text()
    assert checking.damaged(found) == []
    assert f"| {TWO[1]} | prop_2 | constants |" in telling.table([as_it_is, repaired], checked, "by a test")


def test_the_script_checks_it_for_whoever_has_the_checker_only(found: Path, acasxu: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "birdnn-check"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m birdnn.certify.check "$@"\n')
    command.chmod(0o755)
    there = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}

    def run() -> subprocess.CompletedProcess[str]:
        words = [str(found / checking.SCRIPT), str(acasxu / "onnx")]
        return subprocess.run(words, check=False, capture_output=True, text=True, env=there)

    whole = run()
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "everything is as the manifest says")
    assert whole.stdout.count("accepted: ") == 3
    prop = found / entries(found)[1]["properties"][0]["file"]
    prop.write_text(prop.read_text() + "\n; a line more\n")
    assert run().returncode != 0


def test_what_was_changed_afterwards_is_not_accepted(found: Path, acasxu: Path) -> None:
    _, repaired = entries(found)
    net = found / repaired["network"]["file"]
    loaded = load_network(net).net
    name, value = next(pair for pair in loaded.initialisers().items() if pair[0].endswith("MatMul_W"))
    net.write_bytes(bytes_with_values(loaded.with_values({name: value * 1.25}), net))
    assert checking.damaged(found) == [repaired["network"]["file"]]
    checked = {one.name: one for one in checking.check(found, acasxu / "onnx")}
    assert checked[TWO[0]].accepted
    assert not checked[TWO[1]].proofs
    assert checked[TWO[1]].constants is False
    assert "rejected" in checked[TWO[1]].told


def test_another_original_is_not_the_one(found: Path, acasxu: Path, tmp_path: Path) -> None:
    for name in (acasxu / "onnx").iterdir():
        shutil.copy(acasxu / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx", tmp_path / name.name)
    assert not any(one.accepted for one in checking.check(found, tmp_path))


def test_what_is_there_is_not_made_again(found: Path, acasxu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "make", lambda *_: pytest.fail("made again"))
    assert release.make(acasxu, found, 300.0, TWO) == []


def test_what_no_command_repairs_is_told(acasxu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.make(acasxu, tmp_path, 0.5, TWO[1:]) == [TWO[1]]
    assert TWO[1] in capsys.readouterr().err
