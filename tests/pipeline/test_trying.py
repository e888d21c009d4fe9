"""Engines are asked a small question: who answers it right, who does not, and what then helps."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from birdnn.crosscheck.engines import GET_CUDA
from birdnn.errors import EngineError, InputError
from birdnn.pipeline import crosschecking, trying
from birdnn.pipeline.crosschecking import ASK, Inquiry, Reply
from birdnn.pipeline.trying import try_engine
from birdnn.records import EngineState, EngineWord, Proved, Unknown, Verdict


def state(name: str) -> EngineState:
    return EngineState(name=name, role="", version="1.2", usable=None, note="untried", install="")


def asked(monkeypatch: pytest.MonkeyPatch, name: str, word: EngineWord, detail: str = "") -> EngineState:
    """The state of an engine that is there and answers so."""
    monkeypatch.setattr(trying, "require_engines", lambda names: None)
    monkeypatch.setattr(
        crosschecking, "ASK", {**ASK, name: lambda case: Reply(answer=word, arithmetic="", detail=detail)}
    )
    return try_engine(state(name))


@pytest.mark.parametrize(("name", "right"), [("onnxruntime", "no_violation"), ("marabou", "proved")])
def test_who_answers_right_is_usable(monkeypatch: pytest.MonkeyPatch, name: str, right: EngineWord) -> None:
    """Runs prove nothing: an engine that only runs points and says `proved` is as wrong as one that proves nothing."""
    found = asked(monkeypatch, name, right)
    assert (found.usable, found.install, found.version) == (True, "", "1.2")
    assert found.note.startswith("answers a small question right, in ")
    for wrong in {"proved", "no_violation", "violated", "unknown"} - {right}:
        found = asked(monkeypatch, name, wrong, "whatever")
        assert not found.usable
        assert found.note == f"answers a small question with {wrong!r}: whatever"
        assert "pip install" in found.install


def test_the_question_has_a_known_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """``relu(x)`` on 0..1 stays below 2: no input violates, and no verdict of ours says so."""
    seen: list[Inquiry] = []

    def look(case: Inquiry) -> Reply:
        seen.append(case)
        assert case.loaded.path.is_file()
        y = case.loaded.net(torch.tensor([[-1.0], [0.25], [1.0]]))
        assert y.flatten().tolist() == [0.0, 0.25, 1.0]
        return Reply(answer="no_violation", arithmetic="")

    monkeypatch.setattr(crosschecking, "ASK", {**ASK, "onnxruntime": look})
    assert try_engine(state("onnxruntime")).usable
    (case,) = seen
    assert [case.prop.violated([x], [y]) for x, y in ((0.0, 2.0), (1.0, 1.9), (1.5, 2.0))] == [True, False, False]
    assert isinstance(case.verdict, Unknown)
    assert not case.loaded.path.exists()


def test_an_engine_that_cannot_be_loaded_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to get it is said once, where it belongs."""

    def missing(names: Any) -> None:
        raise EngineError("marabou", "cannot be imported: no library", "pip install x")

    monkeypatch.setattr(trying, "require_engines", missing)
    found = try_engine(state("marabou"))
    assert (found.usable, found.note) == (False, "cannot be imported: no library")
    assert "maraboupy" in found.install


@pytest.mark.parametrize("usable", [True, False])
def test_the_compiler_is_asked_to_compile(monkeypatch: pytest.MonkeyPatch, usable: bool) -> None:
    monkeypatch.setattr(trying, "prepare", lambda: (usable, "what happened"))
    found = try_engine(state("numba"))
    assert (found.usable, found.note) == (usable, "what happened")
    assert bool(found.install) != usable


def test_exact_rationals_are_added_not_only_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, usable, note in ((1 / 3, True, "adds three thirds right"), (0.3, False, "three thirds are not one")):
        monkeypatch.setitem(sys.modules, "flint", SimpleNamespace(fmpq=lambda p, q, value=value: value))
        found = try_engine(state("python-flint"))
        assert (found.usable, found.note) == (usable, note)
        assert bool(found.install) != usable


def test_a_library_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)
    found = try_engine(state("python-flint"))
    assert not found.usable
    assert found.note.startswith("cannot be imported here: ")
    assert found.install == "pip install --force-reinstall python-flint"


def test_a_device_has_to_prove_something(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def verdict_of(made: Verdict) -> Any:
        def verify(net: Any, prop: Any, *, settings: Any, replays: Any) -> Verdict:
            devices.append(settings.device)
            return made

        return verify

    monkeypatch.setattr(trying, "device_for", lambda asked: asked)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Imagined H100")
    for made, usable, note in (
        (Proved(boxes=1), True, "Imagined H100: proves a small property"),
        (Unknown(reason="timeout", boxes=0), False, "Imagined H100: does not prove a small property"),
    ):
        monkeypatch.setattr(trying, "verify", verdict_of(made))
        found = try_engine(state("CUDA"))
        assert (found.usable, found.note, found.install) == (usable, note, "" if usable else GET_CUDA)
    assert devices == ["cuda", "cuda"]


def test_a_device_that_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: str) -> str:
        raise InputError(f"no {asked} here")

    monkeypatch.setattr(trying, "device_for", refuse)
    found = try_engine(state("CUDA"))
    assert (found.usable, found.note, found.install) == (False, "no cuda here", GET_CUDA)
