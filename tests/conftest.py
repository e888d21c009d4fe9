"""What every test may ask for: the ACAS Xu data, a graphics device, and Hypothesis without deadlines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from beartype import BeartypeConf
from beartype.claw import beartype_package

ROOT = Path(__file__).resolve().parent.parent

# Every call inside the package is checked against its annotations while tests run. An int may stand for a float
# (PEP 484); annotated assignments are mypy's business. What Numba compiles is left as it is.
COMPILED = tuple(
    f"birdnn.bounds.compiled.{name}"
    for name in ("state", "lines", "pairs", "rows", "losses", "signs", "branch", "step", "model", "splits")
)
beartype_package(
    "birdnn", conf=BeartypeConf(is_pep484_tower=True, claw_is_pep526=False, claw_skip_package_names=COMPILED)
)

# Two shared cores make time limits per example a source of noise, not of findings.
hypothesis.settings.register_profile(
    "birdnn",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("birdnn")


def pytest_configure() -> None:
    """Memory is kept as in commands, once what is imported for that is checked too."""
    from birdnn.heap import keep_freed_memory

    keep_freed_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    default = Path(os.environ.get("BIRDNN_ACASXU", ROOT.parent / "shared" / "acasxu"))
    parser.addoption("--acasxu", type=Path, default=default, help="folder of the ACAS Xu networks and properties")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = not (config.getoption("--acasxu") / "onnx").is_dir()
    for item in items:
        if missing and item.get_closest_marker("acasxu"):
            item.add_marker(pytest.mark.skip(reason="no ACAS Xu data (--acasxu DIR or BIRDNN_ACASXU)"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: compressed ones hold the second at which they were made, and the processes
    that share the tests refuse to start when they do not find the same names."""
    return argname if isinstance(val, bytes) else None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where several processes run the tests, one compiles the loops before they start: they find them on disk."""
    if getattr(session.config.option, "numprocesses", None) and not hasattr(session.config, "workerinput"):
        ready = "from birdnn.bounds.compiled.bound import prepare; prepare()"
        subprocess.run([sys.executable, "-c", ready], cwd=ROOT, check=False)


@pytest.fixture(scope="session", autouse=True)
def compiled_bounds() -> None:
    """The loops are compiled before the first test: a compiler at work beside them takes their time and, as warnings'
    filters belong to the process, turns theirs off and on."""
    from birdnn.bounds.compiled.bound import available, prepare

    ready, said = prepare()
    # else torch would bound everything, and tests of the loops would test nothing
    assert ready or not available(), said


@pytest.fixture(scope="session")
def acasxu(request: pytest.FixtureRequest) -> Path:
    """Folder with `onnx/`, `nnet/`, `vnnlib/`; a test that asks for it carries the marker `acasxu`."""
    folder: Path = request.config.getoption("--acasxu")
    if not (folder / "onnx").is_dir():
        pytest.skip("no ACAS Xu data (--acasxu DIR)")
    return folder


@pytest.fixture(scope="session")
def properties() -> Path:
    """Folder with `prop_1.vnnlib` .. `prop_10.vnnlib` and `acasxu.toml`."""
    return ROOT / "properties"


@pytest.fixture
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are judged in a few steps, where a test is not about how well."""
    from functools import partial

    from birdnn.localize import SpectrumSettings, TrialSettings
    from birdnn.pipeline import labelled

    trial = TrialSettings(steps=2, counted=(2,), halvings=1)
    monkeypatch.setattr(labelled, "SpectrumSettings", partial(SpectrumSettings, trial=trial))


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, as examples expect it: ``demo.onnx`` and the properties are in it, and nothing else."""
    data = ROOT / "birdnn" / "data"
    for file in (data / "demo.onnx", *(data / "properties").glob("prop_*.vnnlib")):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    """``relu(x0 + x1) + x0``, which is no chain of layers."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from birdnn.formats.export import model_bytes

    values = {"v": [[1.0], [1.0]], "w": [[1.0], [0.0]]}
    nodes = [("MatMul", ["X", "v"], "a"), ("Relu", ["a"], "b"), ("MatMul", ["X", "w"], "c"), ("Add", ["b", "c"], "Y")]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [out], name=out) for op, inputs, out in nodes],
        "residual",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()],
    )
    path = tmp_path / "residual.onnx"
    path.write_bytes(model_bytes(graph))
    return path


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    """They belong to the process: a test that takes two would give them to all that follow."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
