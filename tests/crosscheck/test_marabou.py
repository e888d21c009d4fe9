"""Marabou in its own process: known answers, and what becomes of a worker that dies, hangs or babbles."""

from __future__ import annotations

import importlib.util
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from birdnn.crosscheck.marabou import ask_marabou
from birdnn.formats.onnx import layers_to_onnx
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property, property_of
from tests.crosscheck.engines import needs

WORKER = Path(__file__).parents[2] / "birdnn" / "crosscheck" / "marabou_worker.py"
SUM = layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))])
"""``relu(x0) + relu(x1)``."""


def at_least(bound: float, *, lower: float = 0.0, strict: bool = False) -> Property:
    """The sum must stay below `bound` on the square."""
    return make_property([lower, lower], [1, 1], half_space([-1], -bound, strict=strict))


@needs("marabou")
class TestMarabou:
    """The engine itself."""

    @pytest.mark.parametrize(("bound", "known"), [(2.5, "unsat"), (2.001, "unsat"), (1.5, "sat"), (0.5, "sat")])
    def test_known_answers(self, bound: float, known: str) -> None:
        found = ask_marabou(SUM, at_least(bound, lower=-1.0), timeout_s=20)
        assert found.answer == known
        if known == "sat":
            assert sum(max(0.0, v) for v in found.x) >= bound - 1e-5

    def test_every_polytope_and_region_is_asked(self) -> None:
        """The violation is in the last polytope of the last region."""
        never, there = half_space([-1], -9), half_space([-1], -1.5)
        first = make_property([0, 0], [0.1, 0.1], never, there).regions[0]
        second = make_property([0, 0], [1, 1], never, there).regions[0]
        assert ask_marabou(SUM, property_of(first), timeout_s=20).answer == "unsat"
        assert ask_marabou(SUM, property_of(first, second), timeout_s=20).answer == "sat"

    def test_a_row_without_outputs_is_true_or_false(self) -> None:
        assert ask_marabou(SUM, make_property([0, 0], [1, 1], half_space([0], -1)), timeout_s=20).answer == "unsat"
        assert ask_marabou(SUM, make_property([0, 0], [1, 1], half_space([0], 1)), timeout_s=20).answer == "sat"

    def test_a_file_that_it_cannot_read_is_a_crash(self) -> None:
        found = ask_marabou(b"no model", at_least(1.5), timeout_s=20)
        assert found.answer == "crash"
        assert found.detail

    @pytest.mark.thorough
    def test_the_limit_holds(self) -> None:
        """A network and a limit that it cannot decide in time."""
        draw = np.random.default_rng(0)
        sizes = (6, 50, 50, 50, 1)
        layers = [(draw.normal(size=(o, i)) * (2 / i) ** 0.5, draw.normal(size=o) * 0.1) for i, o in pairwise(sizes)]
        begun = time.monotonic()
        found = ask_marabou(
            layers_to_onnx(layers), make_property([-2] * 6, [2] * 6, half_space([-1], -12)), timeout_s=2
        )
        assert found.answer == "timeout"
        assert time.monotonic() - begun < 60


def script(folder: Path, text: str) -> Path:
    """A worker that goes wrong."""
    path = folder / "worker.py"
    path.write_text(text)
    return path


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed: the worker is another one anyway."""
    monkeypatch.setattr("birdnn.crosscheck.marabou.require", lambda name: "0")


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("raise SystemExit(3)", "status 3"),
        ("raise ValueError('out of columns')", "out of columns"),
        ("print('unsat')", "status 0"),
        ("print('{}')", "status 0"),
        ("pass", "status 0"),
    ],
)
def test_a_worker_that_dies_or_babbles_is_a_crash(tmp_path: Path, text: str, told: str) -> None:
    """Never a traceback, and never a proof."""
    found = ask_marabou(SUM, at_least(2.5), timeout_s=20, worker=script(tmp_path, text))
    assert found.answer == "crash"
    assert told in found.detail


@pytest.mark.usefixtures("there")
def test_a_worker_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birdnn.crosscheck.marabou._GRACE_S", 0.2)
    hang = script(
        tmp_path, f"import time, os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    begun = time.monotonic()
    found = ask_marabou(SUM, at_least(2.5), timeout_s=0.5, worker=hang)
    assert found.answer == "timeout"
    assert time.monotonic() - begun < 40  # it would sleep for sixty
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


@pytest.mark.usefixtures("there")
def test_an_interruption_ends_it(tmp_path: Path) -> None:
    hang = script(tmp_path, "import time; time.sleep(60)")
    assert ask_marabou(SUM, at_least(2.5), timeout_s=60, worker=hang, stopped=lambda: True).answer == "interrupted"


# --- the worker's own search -----------------------------------------------------------------------------------------


@pytest.fixture
def worker():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("marabou_worker_under_test", WORKER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def question(timeout_s: float = 10.0) -> dict:
    """A square and one polytope."""
    region = {"lower": [0.0, 0.0], "upper": [4.0, 1.0], "unsafe": [{"a": [[1.0]], "b": [0.0]}]}
    return {"model": "", "timeout_s": timeout_s, "slice_s": 1.0, "regions": [region]}


def test_boxes_that_take_too_long_are_cut_until_they_do_not(worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """And together cover the region: a piece that is left out is a proof that is none."""
    closed = []

    def ask(model, query, seconds):
        if query.upper[0] - query.lower[0] > 1:
            return "timeout", []
        closed.append((query.lower, query.upper))
        return "unsat", []

    monkeypatch.setattr(worker, "ask", ask)
    assert worker.answer(question())["answer"] == "unsat"
    area = sum((u[0] - low[0]) * (u[1] - low[1]) for low, u in closed)
    assert area == 4.0
    assert len(set(map(str, closed))) == len(closed)


@pytest.mark.parametrize(("word", "known"), [("unknown", "unknown"), ("sat", "sat")])
def test_one_answer_of_many_decides(worker, monkeypatch: pytest.MonkeyPatch, word: str, known: str) -> None:
    def ask(model, query, seconds):
        if query.upper[0] - query.lower[0] > 1:
            return "timeout", []
        return (word, [3.5, 0.5]) if query.lower[0] >= 3 else ("unsat", [])

    monkeypatch.setattr(worker, "ask", ask)
    assert worker.answer(question())["answer"] == known


def test_time_that_is_up_is_no_proof(worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ask", lambda *_: ("timeout", []))
    found = worker.answer(question(timeout_s=0.05))
    assert found["answer"] == "timeout"
    assert found["open"] > 0
