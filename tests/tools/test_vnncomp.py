"""The competition's three scripts, run as its harness runs them; counterexamples by its rule of 2026.

The harness: `prepare_instance.sh` with a limit, then ``no_result_in_file`` is written to the results file and
`run_instance.sh` is started under ``timeout`` in a folder of its own. The rule: inputs are read as decimal numbers into
float32, the network is run by onnxruntime on the CPU, and the property has to hold of inputs and outputs with tolerance
zero; the outputs that the tool prints do not count.
"""

# ruff: noqa: F811 - arguments are named as fixtures

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.cli.conftest import ROOT, broken, endless, holds, net  # noqa: F401 - fixtures

TOOL = ROOT / "tools" / "vnncomp"
ENVIRONMENT = {**os.environ, "BIRDNN_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
KILL_AFTER_S = 60


def script(name: str, *words: object, cwd: Path, limit_s: float = 600.0) -> subprocess.CompletedProcess[str]:
    command = ["timeout", str(limit_s), str(TOOL / name), "v1", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def instance(onnx: object, vnnlib: object, limit_s: float, cwd: Path) -> tuple[str, list[str]]:
    """What the harness takes from an instance: the result, and the lines of the counterexample."""
    prepared = script("prepare_instance.sh", "category", onnx, vnnlib, cwd=cwd)
    if prepared.returncode:
        return f"prepare_instance_error_{prepared.returncode}", []
    (cwd / "out.txt").write_text("no_result_in_file\n")
    done = script(
        "run_instance.sh", "category", onnx, vnnlib, "out.txt", limit_s, cwd=cwd, limit_s=limit_s + KILL_AFTER_S
    )
    if done.returncode:
        return f"error_exit_code_{done.returncode}", []
    assert [path.name for path in cwd.iterdir() if path.name.startswith("out.txt")] == ["out.txt"]
    lines = (cwd / "out.txt").read_text().splitlines()
    return lines[0], lines[1:]


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """The harness runs where the tool is not."""
    folder = tmp_path / "harness"
    folder.mkdir()
    return folder


def read_assignment(lines: list[str]) -> tuple[list[float], list[float]]:
    """The values of X and of Y, as the scorer reads them: in order, each a decimal number."""
    content = " ".join(lines)
    assert content[0] == "("
    assert content[-1] == ")"
    values: dict[str, list[float]] = {"X": [], "Y": []}
    for name, index, number in re.findall(r"\(([XY])_(\d+) ([^ ()]+)\)", content[1:-1]):
        assert int(index) == len(values[name])
        values[name].append(float(number))
    return values["X"], values["Y"]


def replayed(net: Path, x: list[float]) -> list[float]:
    session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    shape = [size if isinstance(size, int) and size else 1 for size in entry.shape]
    return session.run(None, {entry.name: np.array(x, dtype=np.float32).reshape(shape)})[0].ravel().tolist()


@pytest.mark.thorough
def test_unsat_and_sat(net: Path, holds: Path, broken: Path, away: Path) -> None:
    assert instance(net, holds, 60, away) == ("unsat", [])
    word, lines = instance(net, broken, 60, away)
    assert word == "sat"
    x, y = read_assignment(lines)
    assert np.array(x, dtype=np.float32).tolist() == x, "the decimals are not the float32 point itself"
    assert all(0.0 <= value <= 1.0 for value in x)
    assert replayed(net, x)[0] >= 1.5
    assert replayed(net, x) == y


@pytest.mark.thorough
def test_compressed_files(net: Path, holds: Path, away: Path) -> None:
    for path in (net, holds):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert instance(f"{net}.gz", f"{holds}.gz", 60, away)[0] == "unsat"


@pytest.mark.thorough
def test_the_limit(endless: tuple[Path, Path], away: Path) -> None:
    assert instance(*endless, 8, away) == ("timeout", [])


@pytest.mark.thorough
def test_files_that_cannot_be_used(net: Path, holds: Path, tmp_path: Path, away: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    assert instance(tmp_path / "bad.onnx", holds, 60, away) == ("error", [])
    assert instance(tmp_path / "absent.onnx", holds, 60, away)[0] == "prepare_instance_error_1"
    assert instance(net, tmp_path / "absent.vnnlib", 60, away)[0] == "prepare_instance_error_1"


@pytest.mark.thorough
def test_queries_of_version_2(net: Path, tmp_path: Path, away: Path) -> None:
    """The network comes by name, the assignment is the standard's."""
    path = tmp_path / "q.vnnlib"
    path.write_text(
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input X float32 [2]) (declare-output Y float32 [1]))\n"
        "(assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] 0.0) (<= X[1] 1.0) (>= Y[0] 1.5)))\n"
    )
    word, lines = instance(f"[('f', '{net}')]", path, 60, away)
    assert (word, lines[0], lines[3]) == ("sat", "X float32 [2]", "Y float32 [1]")
    assert replayed(net, [float(line) for line in lines[1:3]]) == [float(lines[4])]


@pytest.mark.thorough
def test_queries_about_several_networks(net: Path, tmp_path: Path, away: Path) -> None:
    path = tmp_path / "q.vnnlib"
    path.write_text(
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [2]) (declare-output Y real [1]))\n"
        "(declare-network g (isomorphic-to f) (declare-input U real [2]) (declare-output V real [1]))\n"
        "(assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] 0.0) (<= X[1] 1.0) (== X[0] U[0])))\n"
        "(assert (and (>= U[1] 0.0) (<= U[1] 1.0) (>= (- Y[0] V[0]) 1.5)))\n"
    )
    assert instance(f"[('f', '{net}'), ('g', '{net}')]", path, 60, away) == ("unsat", [])
    path.write_text(path.read_text().replace("1.5", "0.5"))
    word, lines = instance(f"[('f', '{net}'), ('g', '{net}')]", path, 60, away)
    assert (word, len(lines)) == ("sat", 10)
    gone = f"[('f', '{net}'), ('g', '{tmp_path / 'absent.onnx'}')]"
    assert instance(gone, path, 60, away)[0] == "prepare_instance_error_1"
    assert instance("[('f', ", path, 60, away)[0] == "prepare_instance_error_1"


@pytest.mark.parametrize("name", ["install_tool.sh", "prepare_instance.sh", "run_instance.sh"])
def test_another_version_of_the_interface_is_refused(name: str, away: Path) -> None:
    words = {
        "install_tool.sh": [],
        "prepare_instance.sh": ["c", "o", "v"],
        "run_instance.sh": ["c", "o", "v", "r", "1"],
    }[name]
    done = subprocess.run(
        [TOOL / name, "v2", *words], cwd=away, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the interface's version, v1, not 'v2'" in done.stderr
    short = subprocess.run([TOOL / name], cwd=away, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert short.returncode == 1
    assert "arguments" in short.stderr
    assert not any(away.iterdir())


@pytest.mark.thorough
@pytest.mark.acasxu
@pytest.mark.parametrize(
    ("net", "prop", "known"), [("1_1", 3, "unsat"), ("1_9", 7, "sat"), ("2_2", 2, "sat"), ("5_8", 3, "unsat")]
)
def test_instances_of_the_competition(acasxu: Path, away: Path, net: str, prop: int, known: str) -> None:
    """Violations are judged by a reading of the property of its own: bounds of inputs, then its one disjunction."""
    path, text = (
        acasxu / f"onnx/ACASXU_run2a_{net}_batch_2000.onnx",
        (acasxu / f"vnnlib/prop_{prop}.vnnlib").read_text(),
    )
    word, lines = instance(path, acasxu / f"vnnlib/prop_{prop}.vnnlib", 116, away)
    assert word == known
    if known == "sat":
        x, _ = read_assignment(lines)
        assert np.array(x, dtype=np.float32).tolist() == x
        for relation, index, bound in re.findall(r"\(assert \((<=|>=) X_(\d) (\S+)\)\)", text):
            value = x[int(index)]
            assert value <= float(bound) if relation == "<=" else value >= float(bound)
        y = replayed(path, x)
        if prop == 2:  # clear of conflict is the greatest
            assert y[0] == max(y)
        else:  # one of the strong advisories is the least
            assert min(y[3:]) <= min(y[:3])
