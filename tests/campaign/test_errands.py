"""What an instance's command takes to a node and brings home, without a cluster: the node is this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from birdnn.campaign.children import Limits
from birdnn.campaign.elsewhere import READ, WRITTEN, run_elsewhere
from birdnn.campaign.kinds import VERIFY, result_columns
from birdnn.cli.app import app
from birdnn.machines import Cluster, Lost

ECHO = (
    "import json, pathlib, sys\n"
    "words = sys.argv[1:]\n"
    "files = {w: pathlib.Path(w).read_text() for w in words if pathlib.Path(w).is_file()}\n"
    "pathlib.Path(words[words.index('--json') + 1]).write_text(repr((words, files)))"
)


class Here(Cluster):
    """A cluster of one node, this process."""

    def __init__(self) -> None:
        """Load no Ray."""

    def result(self, function: Callable[..., Any], *values: Any, cpus: int, stopped: Callable[[], bool]) -> Any:
        return function(*values)


class Nowhere(Here):
    """A cluster whose nodes die."""

    def result(self, *_: Any, **__: Any) -> Any:
        return Lost("the node died")


def ran(words: list[str], folder: Path, cluster: Any, echo: str = ECHO) -> Any:
    out = folder / "out"
    out.mkdir()
    command = [*words, "--json", str(out / "verify.json")]
    limits, program = Limits(wall_s=60, memory_gib=None), (sys.executable, "-S", "-c", echo)
    return run_elsewhere(cluster, command, out, limits, 1, program, lambda: False)[0]


def test_only_files_by_their_meaning_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is called as a word of the command: itself, a limit, a seed, a suite or a domain of that name."""
    monkeypatch.chdir(tmp_path)
    for name in ("verify", "0", "30", "acasxu", "property", "n.onnx", "x.npz", "d.toml"):
        Path(name).write_text(f"content of {name}")
    other = ["--domain", "property", "--suite", "acasxu", "--quiet", "--timeout", "30", "--seed", "0"]
    files = ["--net", "n.onnx", "--data=x.npz", "--domain", "d.toml"]
    assert ran(["verify", *other, *files], tmp_path, Here()).status == 0
    words, contents = eval((tmp_path / "out" / "verify.json").read_text())
    assert words[: len(other) + 1] == ["verify", *other]
    sent = [words[words.index(option) + 1] for option in ("--net", "--data")]
    assert [Path(word).name for word in sent] == ["n.onnx", "x.npz"]
    assert [contents[word] for word in sent] == ["content of n.onnx", "content of x.npz"]
    assert Path(words[-3]).name == "d.toml"
    assert words[-3] not in files


def test_networks_go_along_under_the_names_that_a_query_has_for_them(tmp_path: Path) -> None:
    for name in ("a.onnx", "f=b.onnx"):
        (tmp_path / name).write_text(f"content of {name}")
    nets = [f"f={tmp_path}/a.onnx", f"{tmp_path}/f=b.onnx"]
    echo = ECHO.replace("pathlib.Path(w)", "pathlib.Path(w.removeprefix('f='))")
    assert ran(["verify", "--net", nets[0], f"--net={nets[1]}"], tmp_path, Here(), echo).status == 0
    words, contents = eval((tmp_path / "out" / "verify.json").read_text())
    first, second = words[2], words[4]
    assert (first[:3], Path(first).name, Path(second).name) == ("f=/", "a.onnx", "f=b.onnx")
    assert str(tmp_path / "a.onnx") not in first
    assert [contents[first], contents[second]] == ["content of a.onnx", "content of f=b.onnx"]


def test_every_option_that_takes_a_file_is_known() -> None:
    """An option of a file that is new either goes along or is one by which something is written."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    written = {*WRITTEN, "--certificate", "--counterexample"}
    for name in ("verify", "repair"):
        taking = {
            option.opts[0]
            for option in commands[name].params
            if any(word in str(option.metavar) for word in ("FILE", "CSV", "NPZ", "TOML"))
        }
        assert taking <= {*READ, *written}
        assert "--prop" in taking


def test_an_instance_that_was_lost_has_no_status(tmp_path: Path) -> None:
    found = result_columns(VERIFY, ran(["verify"], tmp_path, Nowhere()), tmp_path / "out")
    assert found == {"verdict": "crash", "note": "lost 3 times with its node: the node died"}
