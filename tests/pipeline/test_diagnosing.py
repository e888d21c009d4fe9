"""What is there and what is not, looked at without loading any of it; `birdnn doctor` prints it."""

from __future__ import annotations

import ctypes
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from birdnn.crosscheck.engines import GET_CUDA
from birdnn.pipeline import diagnosing, trying
from birdnn.pipeline.diagnosing import UNTRIED, examine_engines
from birdnn.records import EngineState, Progress

ORDER = ["birdnn", "onnxruntime", "auto_lirpa", "marabou", "numba", "python-flint", "CUDA"]


def examined(**asked: Any) -> dict[str, EngineState]:
    found = examine_engines(**asked).states
    assert [state.name for state in found] == ORDER
    return {state.name: state for state in found}


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Only these packages are installed, and ours, which need not be."""

    def version(name: str) -> str:
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(diagnosing.metadata, "version", version)


def test_what_is_installed_is_there_and_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime="9.8")
    found = examined()
    state = found["onnxruntime"]
    assert (state.version, state.usable, state.note, state.install) == ("9.8", None, UNTRIED, "")
    own = found["birdnn"]
    assert (own.version, own.usable, own.install) == ("not installed", True, "")


def test_what_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    found = examined()
    for name, hint in (
        ("onnxruntime", "pip install onnxruntime"),
        ("auto_lirpa", "--no-deps auto_LiRPA"),
        ("marabou", "maraboupy>=2.0"),
        ("numba", "pip install numba"),
        ("python-flint", "pip install python-flint"),
    ):
        state = found[name]
        assert (state.version, state.usable, state.note) == (None, False, "")
        assert hint in state.install


def test_a_record_without_a_module_is_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, **{"python-flint": "0.6"})
    monkeypatch.setattr(diagnosing, "find_spec", lambda name: None)
    state = examined()["python-flint"]
    assert (state.version, state.usable) == ("0.6", False)
    assert state.note == "version 0.6 is installed, and Python finds no module flint"
    assert state.install == "pip install python-flint"


@pytest.mark.parametrize(("version", "special"), [("0.3", True), ("0.3.1", True), ("0.4", False), ("1.0.3", False)])
def test_what_is_special_about_a_version_is_said(monkeypatch: pytest.MonkeyPatch, version: str, special: bool) -> None:
    """Of that engine alone: another one of the same version needs nothing."""
    installed(monkeypatch, auto_LiRPA=version, onnxruntime=version)
    monkeypatch.setattr(diagnosing, "find_spec", lambda name: ModuleSpec(name, None))
    found = examined()
    assert ("additions for torch 2" in found["auto_lirpa"].note) == special
    assert found["auto_lirpa"].note.startswith(UNTRIED)
    assert found["onnxruntime"].note == UNTRIED


def test_only_what_may_work_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, with a word before each; what is known to be missing would only fail a second time."""
    installed(monkeypatch, onnxruntime="9.8", numba="0.1")
    monkeypatch.setattr(diagnosing, "find_spec", lambda name: ModuleSpec(name, None))
    told: list[str] = []

    class Listener:
        def update(self, news: Progress) -> None:
            told.append(news.phase)

        def stopped(self) -> bool:
            return False

    def answer(state: EngineState) -> EngineState:
        told.append(state.name)
        return EngineState(
            name=state.name, role=state.role, version=state.version, usable=True, note="tried", install=""
        )

    monkeypatch.setattr(trying, "try_engine", answer)
    found = examined(watch=Listener(), tried=True)
    assert told == ["asking onnxruntime", "onnxruntime", "asking numba", "numba"]
    assert [state.name for state in found.values() if state.note == "tried"] == ["onnxruntime", "numba"]


# --- the graphics device


class Driver:
    """Answers as libcuda does where there are devices of these names."""

    def __init__(self, *names: bytes, status: int = 0, counts: int = 0) -> None:
        self.names, self.status, self.counts = names, status, counts

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return self.counts

    def cuDeviceGet(self, device: Any, place: int) -> int:
        device._obj.value = place
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = self.names[device.value]
        return 0


def torch_says(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str | None) -> None:
    """A torch whose file of versions has this text; None: there is none."""
    spec = None
    if text is not None:
        (folder / "version.py").write_text(text)
        spec = ModuleSpec("torch", None, origin=str(folder / "__init__.py"))
    there = diagnosing.find_spec
    monkeypatch.setattr(diagnosing, "find_spec", lambda name: spec if name == "torch" else there(name))


BUILT = "__version__ = '2.9'\ncuda: Optional[str] = '12.8'\nhip = None\n"


def test_devices_are_those_that_the_driver_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_says(monkeypatch, tmp_path, BUILT)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(b"H100", b"A10"))
    state = examined()["CUDA"]
    assert (state.version, state.usable, state.install) == ("12.8", None, "")
    assert state.note == f"H100, A10; {UNTRIED}"


@pytest.mark.parametrize(
    "driver",
    [Driver(), Driver(b"H100", status=100), Driver(b"H100", counts=1), None],
    ids=["no device", "not started", "not counted", "no driver"],
)
def test_without_a_device_of_the_driver_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver | None
) -> None:
    def library(name: str) -> Driver:
        if driver is None:
            raise OSError(name)
        return driver

    torch_says(monkeypatch, tmp_path, BUILT)
    monkeypatch.setattr(ctypes, "CDLL", library)
    state = examined()["CUDA"]
    assert (state.version, state.usable, state.note) == ("12.8", False, "no device that its driver knows")
    assert state.install == GET_CUDA


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("__version__ = '2.9'\ncuda: Optional[str] = None\n", "this build of torch has no CUDA"),
        ("cudart = '12.8'\n", "this build of torch has no CUDA"),
        (None, "there is no torch"),
    ],
)
def test_a_torch_without_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, note: str) -> None:
    """Whatever devices there are."""
    torch_says(monkeypatch, tmp_path, text)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(b"H100"))
    state = examined()["CUDA"]
    assert (state.version, state.usable, state.note, state.install) == (None, False, note, GET_CUDA)
