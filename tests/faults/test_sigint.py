"""Ctrl-C once keeps what there is and says where; twice leaves at once. In every phase."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.classifiers import hard, quarters, stored, trained
from tests.cli.conftest import endless  # noqa: F401 - a fixture
from tests.faults.processes import (
    DEMO,
    PROPERTIES,
    repair,
    require_whole,
    seconds_to_end,
    start,
    temporaries,
    wait_for,
)

pytestmark = pytest.mark.faults

AT_ONCE_S = 2.0
SUITE = ["--suite", PROPERTIES / "acasxu.toml"]
PHASES = {
    "repair": "solving|proving|measuring",
    "sampling": "sampling prop_2 after its proof",
    "verify": "proving endless",
    "repair of a stubborn one": "imitating",
    "falsification": "reading big.onnx",
}


@pytest.fixture
def command(request: pytest.FixtureRequest, endless: tuple[Path, Path], tmp_path: Path) -> list[object]:  # noqa: F811
    """A command that takes long in the phase."""
    stubborn = ["repair", "--net", endless[0], "--prop", tmp_path / "stubborn.vnnlib", "--out", tmp_path / "out"]
    stubborn += ["--method", "retrain"]  # the default would first prove for minutes what others made of it
    return {
        "repair": repair(tmp_path / "out"),
        "sampling": [*repair(tmp_path / "out"), "--samples", 10**9],
        "verify": ["verify", "--net", endless[0], "--prop", endless[1]],
        "repair of a stubborn one": stubborn,
        "falsification": ["falsify", "--net", endless[0], "--prop", endless[1], "--timeout", 100],
    }[request.param]


@pytest.mark.parametrize(("command", "words"), PHASES.items(), ids=PHASES, indirect=["command"])
def test_once_keeps_the_best_and_says_where(command: list[object], words: str, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    process = start(*command, "--json", target)
    wait_for(process, words)
    process.send_signal(signal.SIGINT)
    seconds, _, err = seconds_to_end(process)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    assert seconds < 30
    report = json.loads(target.read_text())
    assert report["interrupted"] is True
    if command[0] == "repair":
        kept = report["out"]
        assert ("no network was written" if kept is None else f"the best attempt so far is {kept}") in err
        require_whole(tmp_path / "out")
        assert not temporaries(tmp_path / "out")


@pytest.mark.parametrize(("command", "words"), PHASES.items(), ids=PHASES, indirect=["command"])
def test_twice_leaves_at_once(command: list[object], words: str, tmp_path: Path) -> None:
    process = start(*command, "--json", tmp_path / "result.json")
    wait_for(process, words)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    seconds, _, err = seconds_to_end(process)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert seconds < AT_ONCE_S
    require_whole(tmp_path / "out")
    assert not temporaries(tmp_path)
    assert not temporaries(tmp_path / "out")


@pytest.fixture
def by_blocks(tmp_path: Path) -> list[object]:
    """A repair by blocks with work for minutes."""
    (tmp_path / "net.onnx").write_bytes(trained())
    for name, seed in (("repair", 1), ("val", 2)):
        bad, good = hard(2000, seed), quarters(1000, seed)
        stored(tmp_path / f"{name}.npz", torch.cat([bad.x, good.x]), torch.cat([bad.y, good.y]))
    files = ["--net", tmp_path / "net.onnx", "--data", tmp_path / "repair.npz", "--val", tmp_path / "val.npz"]
    return ["repair", "--method", "blocks", *files, "--compare", "--epochs", 10**6, "--out", tmp_path / "out"]


def test_a_repair_by_blocks_keeps_the_best_so_far(by_blocks: list[object], tmp_path: Path) -> None:
    inputs = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = tmp_path / "out" / "net.repaired.onnx"
    process = start(*by_blocks, "--json", tmp_path / "result.json")
    while process.poll() is None and not out.with_name("net.attempt.onnx").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    seconds, _, err = seconds_to_end(process)
    assert process.returncode == 130, err
    assert f"interrupted; the best network so far is {out}" in err
    assert "Traceback" not in err
    assert seconds < 30
    require_whole(tmp_path / "out")
    assert not temporaries(tmp_path / "out")
    report = json.loads((tmp_path / "result.json").read_text())
    told = report["blocks"]["methods"][0]
    assert (report["interrupted"], told["name"], told["finished"]) == (True, "blocks", False)
    with np.load(tmp_path / "val.npz") as val:
        y = onnxruntime.InferenceSession(out).run(None, {"X": val["x"]})[0].argmax(1)
        assert int((y == val["y"]).sum()) == told["accuracy"]["validation"]["right"]
    assert told["accuracy"]["validation"]["right"] > report["blocks"]["before"]["validation"]["right"]
    assert {path: path.read_bytes() for path in inputs} == inputs


def test_a_repair_by_blocks_before_there_is_anything(by_blocks: list[object], tmp_path: Path) -> None:
    process = start(*by_blocks, "--json", tmp_path / "result.json")
    wait_for(process, "judging blocks")
    process.send_signal(signal.SIGINT)
    _, _, err = seconds_to_end(process)
    assert process.returncode == 130, err
    assert "interrupted; no network was written" in err
    assert json.loads((tmp_path / "result.json").read_text())["out"] is None
    assert not (tmp_path / "out").exists()


def test_while_modules_are_loaded(tmp_path: Path) -> None:
    process = start("verify", "--net", DEMO, "--prop", PROPERTIES / "prop_2.vnnlib")
    wait_for(process, "starting")
    process.send_signal(signal.SIGINT)
    _, _, err = seconds_to_end(process)
    assert process.returncode == 130
    assert "Traceback" not in err
