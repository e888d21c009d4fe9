"""``birdnn doctor``: what is there, what is missing, how to get it."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from birdnn.crosscheck import engines
from birdnn.pipeline import crosschecking, diagnosing
from birdnn.pipeline.crosschecking import ASK, Reply
from tests.cli.conftest import Call

NAMES = ["birdnn", "onnxruntime", "auto_lirpa", "marabou", "numba", "python-flint", "CUDA"]


def states(call: Call, tmp_path: Path, *options: str) -> dict[str, dict]:
    """Name -> what the report says."""
    target = tmp_path / "doctor.json"
    result = call("doctor", *options, "--json", target)
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert [entry["name"] for entry in report["engines"]] == NAMES
    assert {"python", "torch"} <= set(report["versions"])
    for entry in report["engines"]:
        assert entry["name"] in result.out
        assert (entry["install"] is None) == (entry["usable"] is not False)
    return {entry["name"]: entry for entry in report["engines"]}


def test_it_asks_each_engine_and_says_what_is_there(call: Call, tmp_path: Path) -> None:
    found = states(call, tmp_path, "--try")
    assert found["onnxruntime"]["usable"]
    assert found["numba"]["usable"]
    assert found["python-flint"]["usable"]
    for name in ("onnxruntime", "auto_lirpa", "marabou"):
        if found[name]["version"] is not None:
            assert found[name]["usable"], found[name]
            assert "small question right" in found[name]["note"]
    if found["auto_lirpa"]["version"] == "0.3":
        assert "additions" in found["auto_lirpa"]["note"]


def test_what_was_not_tried_is_not_said_to_work(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it would answer wrongly: nobody asked it."""
    wrong = {**ASK, "onnxruntime": lambda case: Reply(answer="proved", arithmetic="")}
    monkeypatch.setattr(crosschecking, "ASK", wrong)
    found = states(call, tmp_path)
    for name in ("onnxruntime", "numba", "python-flint"):
        assert found[name]["version"] is not None
        assert found[name]["usable"] is None
        assert "--try" in found[name]["note"]


def test_an_engine_that_is_missing(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name in ("auto_LiRPA", "maraboupy", "numba", "python-flint"):
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(engines.metadata, "version", version)
    for options in ((), ("--try",)):
        found = states(call, tmp_path, *options)
        for name in ("auto_lirpa", "marabou", "numba", "python-flint"):
            assert (found[name]["version"], found[name]["usable"]) == (None, False)
            assert "pip install" in found[name]["install"]
        assert found["onnxruntime"]["usable"] is not False


def test_a_package_without_its_module_is_not_there(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken installation leaves behind: the package's record, and nothing to import."""
    there = diagnosing.find_spec
    monkeypatch.setattr(diagnosing, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    found = states(call, tmp_path)
    assert found["onnxruntime"]["usable"] is False
    assert "no module onnxruntime" in found["onnxruntime"]["note"]


def test_an_engine_that_answers_wrongly_is_not_usable(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**ASK, "onnxruntime": lambda case: Reply(answer="proved", arithmetic="")}
    monkeypatch.setattr(crosschecking, "ASK", wrong)
    found = states(call, tmp_path, "--try")
    assert not found["onnxruntime"]["usable"]
    assert "proved" in found["onnxruntime"]["note"]


def test_the_device_is_found_as_torch_finds_it(call: Call, tmp_path: Path) -> None:
    """Untried by the driver and a file of torch's, tried by torch: they agree."""
    untried, tried = (states(call, tmp_path, *options)["CUDA"] for options in ((), ("--try",)))
    assert (untried["usable"] is None) == torch.cuda.is_available() == tried["usable"]
    assert untried["version"] == torch.version.cuda


def test_a_device_that_the_driver_knows(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch for CUDA, and a driver, make a device that is there; only torch's word makes it usable."""
    monkeypatch.setattr(diagnosing, "_built_for", lambda: "12.8")
    monkeypatch.setattr(diagnosing.ctypes, "CDLL", Driver)
    found = states(call, tmp_path)["CUDA"]
    assert (found["version"], found["usable"]) == ("12.8", None)
    assert "Imagined H100" in found["note"]
    if not torch.cuda.is_available():
        assert states(call, tmp_path, "--try")["CUDA"]["usable"] is False


class Driver:
    """Answers as libcuda does on a machine with one device."""

    def __init__(self, name: str) -> None:
        assert name.startswith("libcuda")

    def cuInit(self, flags: int) -> int:
        return flags

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, device: Any, place: int) -> int:
        device._obj.value = place
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        assert (size, device.value) == (256, 0)
        name.value = b"Imagined H100"
        return 0


def test_one_line_for_scripts(call: Call) -> None:
    result = call("doctor", "--quiet")
    assert result.status == 0
    assert result.out.startswith("birdnn, onnxruntime")
