"""``birdnn doctor``: what is there, what is missing, how to get it."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from birdnn.crosscheck import engines
from birdnn.pipeline import crosschecking
from birdnn.pipeline.crosschecking import ASK, Found
from tests.cli.conftest import Call

NAMES = ["birdnn", "onnxruntime", "auto_lirpa", "marabou", "numba", "python-flint", "CUDA"]


def states(call: Call, tmp_path: Path) -> dict[str, dict]:
    """Name -> what the report says."""
    target = tmp_path / "doctor.json"
    result = call("doctor", "--json", target)
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert [entry["name"] for entry in report["engines"]] == NAMES
    assert {"python", "torch"} <= set(report["versions"])
    for entry in report["engines"]:
        assert entry["name"] in result.out
        assert (entry["install"] is None) == entry["usable"]
    return {entry["name"]: entry for entry in report["engines"]}


def test_it_asks_each_engine_and_says_what_is_there(call: Call, tmp_path: Path) -> None:
    found = states(call, tmp_path)
    assert found["onnxruntime"]["usable"]
    for name in ("onnxruntime", "auto_lirpa", "marabou"):
        if found[name]["version"] is not None:
            assert found[name]["usable"], found[name]
            assert "small question right" in found[name]["note"]
    if found["auto_lirpa"]["version"] == "0.3":
        assert "additions" in found["auto_lirpa"]["note"]


def test_an_engine_that_is_missing(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name in ("auto_LiRPA", "maraboupy", "numba", "python-flint"):
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(engines.metadata, "version", version)
    found = states(call, tmp_path)
    for name in ("auto_lirpa", "marabou", "numba", "python-flint"):
        assert (found[name]["version"], found[name]["usable"]) == (None, False)
        assert "pip install" in found[name]["install"]
    assert found["onnxruntime"]["usable"]


def test_an_engine_that_answers_wrongly_is_not_usable(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**ASK, "onnxruntime": lambda case: Found(answer="proved", arithmetic="")}
    monkeypatch.setattr(crosschecking, "ASK", wrong)
    found = states(call, tmp_path)
    assert not found["onnxruntime"]["usable"]
    assert "proved" in found["onnxruntime"]["note"]


def test_one_line_for_scripts(call: Call) -> None:
    result = call("doctor", "--quiet")
    assert result.status == 0
    assert result.out.startswith("birdnn, onnxruntime")
