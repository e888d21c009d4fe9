"""``birdnn-vnnlib``: the VNN-LIB standard's command line, by hand and by the suite ``vnnlib-satisfactory``."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from birdnn.cli import vnnlib
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import BirdnnError, MismatchError, OutputError
from birdnn.formats.export import model_bytes
from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import ROOT

QUERY = """(vnnlib-version <2.0>)
(declare-network adder
  (declare-input Left {kind} [1,2])
  (declare-output Right {kind} [1,1]))
(assert (and (>= Left[0,0] 0.1) (<= Left[0,0] 0.9) (>= Left[0,1] 0.0) (<= Left[0,1] 0.9)))
(assert (>= Right[0,0] {bound}))
"""


def ask(*words: object, began: float | None = None) -> tuple[int, list[str]]:
    """The command in this process: its status and the lines of its output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = vnnlib.run([str(word) for word in words], time.monotonic() if began is None else began)
    return status, out.getvalue().splitlines()


def query(folder: Path, kind: str = "float32", bound: str = "1.5") -> Path:
    path = folder / f"{kind}_{bound}.vnnlib"
    path.write_text(QUERY.format(kind=kind, bound=bound))
    return path


@pytest.mark.parametrize("kind", ["float32", "real"])
def test_an_assignment_is_printed_as_the_standard_says(net: Path, tmp_path: Path, kind: str) -> None:
    status, lines = ask("verify", query(tmp_path, kind), "--network", f"adder={net}")
    assert status == 0
    assert lines[:2] == ["sat", f"Left {kind} [1,2]"]
    assert lines[4] == f"Right {kind} [1,1]"
    assert len(lines) == 6
    x = [float(line) for line in lines[2:4]]
    assert np.array(x, dtype=np.float32).tolist() == x, "the text is not the float32 point"
    assert 0.1 <= x[0] <= float(np.float32(0.9))
    assert OnnxReplay(net.read_bytes())(np.array(x, dtype=np.float32)).tolist() == [float(lines[5])]
    assert float(lines[5]) >= 1.5


@pytest.mark.parametrize("kind", ["float32", "real"])
def test_unsat(net: Path, tmp_path: Path, kind: str) -> None:
    assert ask("verify", query(tmp_path, kind, "1.9"), "--network", f"adder={net}") == (0, ["unsat"])


def test_a_query_over_float32_is_about_execution(net: Path, tmp_path: Path) -> None:
    """0.9 + 0.9 in float32 is 1.79999995..., and the nearest float32 to 1.8 is the same: over float32 it is reached."""
    assert ask("verify", query(tmp_path, "float32", "1.8"), "--network", net)[1][0] == "sat"
    beyond = f"{float(np.nextafter(np.float32(1.8), np.float32(2))):.17g}"
    assert ask("verify", query(tmp_path, "real", beyond), "--network", net)[1] == ["unsat"]


def test_assignments_as_tensors(net: Path, tmp_path: Path) -> None:
    status, lines = ask("verify", query(tmp_path), "--network", net, "--serialise-assignments", tmp_path / "out")
    assert (status, lines) == (0, ["sat"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Left.pb", "Right.pb"]
    x, y = (
        numpy_helper.to_array(onnx.TensorProto.FromString((tmp_path / "out" / f"{name}.pb").read_bytes()))
        for name in ("Left", "Right")
    )
    assert (x.shape, y.shape, x.dtype) == ((1, 2), (1, 1), np.float32)
    assert OnnxReplay(net.read_bytes())(x.ravel()).tolist() == y.ravel().tolist()


def test_tensors_are_written_all_or_none(net: Path, tmp_path: Path) -> None:
    """A folder stands where the second would go."""
    out = tmp_path / "out"
    (out / "Right.pb" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"Right\.pb"):
        ask("verify", query(tmp_path), "--network", net, "--serialise-assignments", out)
    assert [path.name for path in out.iterdir()] == ["Right.pb"]


@pytest.mark.parametrize("limit", ["abc", "0", "nan"])
def test_a_limit_says_what_it_takes(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ask("verify", "q.vnnlib", "--timeout", limit)
    assert f"--timeout: a positive number of seconds is expected, not '{limit}'" in capsys.readouterr().err


def test_a_query_of_version_1(net: Path, broken: Path, holds: Path) -> None:
    status, lines = ask("verify", broken, "--network", f"any={net}")
    assert (status, lines[0], lines[1][:6]) == (0, "sat", "((X_0 ")
    assert lines[-1].startswith("(Y_0 ")
    assert lines[-1].endswith("))")
    assert ask("verify", holds, "--network", net, "--as-executed") == (0, ["unsat"])


def test_the_limit_counts_from_the_start_of_the_process(endless: tuple[Path, Path]) -> None:
    begun = time.monotonic()
    assert ask("verify", endless[1], "--network", endless[0], "--timeout", 1e3, began=begun - 999)[1] == ["timed-out"]


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ([], "about one network, and 0 are given: say --network adder=FILE"),
        (["adder={net}", "other={net}"], "and 2 are given"),
        (["[('adder','{net}'),('g','{net}')]"], "and 2 are given"),
        (["other={net}"], "--network other: the query declares the network 'adder' and no other"),
        (["[oops"], "no list of pairs"),
        (["adder=/absent.onnx"], "no such file"),
    ],
)
def test_networks_that_do_not_fit(net: Path, tmp_path: Path, networks: list[str], said: str) -> None:
    words = [word for text in networks for word in ("--network", text.format(net=net))]
    with pytest.raises(BirdnnError, match=said):
        ask("verify", query(tmp_path), *words)


def test_the_competitions_list_of_networks(net: Path, tmp_path: Path) -> None:
    assert ask("verify", query(tmp_path, "real", "1.9"), "--network", f"[('adder', '{net}')]")[1] == ["unsat"]


def test_errors_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        vnnlib.main(["verify", str(tmp_path / "absent.vnnlib"), "--network", "N=x.onnx"])
    said = capsys.readouterr()
    assert (ending.value.code, said.out) == (4, "")
    assert "absent.vnnlib: no such file" in said.err


def test_a_defect_is_status_5_and_out_of_memory_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that nobody foresaw must not leave with status 1, nor as an answer."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endings = []
    for error in (RuntimeError("a defect"), MemoryError()):

        def fail(*_: object, error: Exception = error) -> int:
            raise error

        monkeypatch.setattr("birdnn.cli.answering.answer_query", fail)
        with pytest.raises(SystemExit) as ending:
            vnnlib.main(["verify", "q.vnnlib"])
        endings.append((ending.value.code, *capsys.readouterr()))
    (defect, memory) = endings
    assert defect[:2] == (5, "")
    assert "internal error: RuntimeError: a defect" in defect[2]
    assert "Traceback" not in defect[2]
    (saved,) = tmp_path.glob("*.traceback.txt")
    assert "a defect" in saved.read_text()
    assert memory[:2] == (0, "unknown\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_answer_that_cannot_be_written(solver: Path, net: Path, holds: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [solver, "verify", holds, "--network", net],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 4, done.stderr
    assert "standard output: cannot be written" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["supports"], ["supports", "--magic"], ["verify"], ["verify", "q", "--timeout", "0"]]
)
def test_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        vnnlib.main(words)
    assert ending.value.code == 2
    assert capsys.readouterr().out == ""


PERMITTED = {
    "--hidden-node-theories": {"NH", "H"},
    "--multiple-input-output-theories": {"SIO", "MIO"},
    "--multiple-network-theories": {"SNET", "MENET", "MINET", "MNET"},
    "--multiple-node-comparison-theories": {"SNC", "MNC"},
    "--arithmetic-complexity-theories": {"BND", "OUTC", "LIN", "POLY"},
    "--optimised-disjunctive-reasoning": {"true", "false"},
    "--serialise-assignments": {"true", "false"},
}


def test_every_capability_of_the_standard_is_told() -> None:
    for capability, words in PERMITTED.items():
        assert set(ask("supports", capability)[1]) <= words, capability
    low, high = map(int, ask("supports", "--onnx-opset-versions")[1])
    assert 1 <= low <= high
    assert ask("supports", "--onnx-element-types")[1] == ["real", "float32"]
    assert {"Gemm", "Relu", "Conv"} <= set(ask("supports", "--onnx-operators")[1])
    assert ask("--name")[1] == ["birdnn"]
    assert len(ask("--version")[1]) == 1


def test_asking_for_the_name_loads_nothing() -> None:
    code = "import sys; sys.argv = ['x', '--version']\nfrom birdnn.cli import vnnlib\ntry:\n    vnnlib.main()\n"
    code += "except SystemExit:\n    print([n for n in sys.modules if n in ('torch', 'numpy', 'typer')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def solver(tmp_path: Path) -> Path:
    """The command as an executable file."""
    path = tmp_path / "birdnn-vnnlib"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m birdnn.cli.vnnlib "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_suites_own_checks_of_the_interface(solver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compliance = pytest.importorskip("vnntest.core.compliance", reason="vnnlib-satisfactory comes with the extra dev")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for check in ("check_opset_versions", "check_vnnlib_versions", "check_serialise_assignments"):
        passed, told = getattr(compliance, check)(str(solver), timeout=120)
        assert passed, told


LOOSE = {"pow/pow01", "softmax/softmax01", "softmax/softmax05"}
"""Queries of the suite that intervals alone bound too loosely to decide."""


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # of onnxscript, which builds the suite's networks
def test_the_suites_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every query that we say we support is answered right; what we do not support, we say before or refuse."""
    generator = pytest.importorskip("vnntest.core.generator", reason="vnnlib-satisfactory comes with the extra dev")
    from vnntest.core.evaluator import partition_by_support
    from vnntest.models.test_case import TestCase, Verdict

    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        entries = generator.generate_all_tests()
    cases = [TestCase.from_manifest_entry(e, Path(".vnnlib-satisfactory/tests") / e["category"]) for e in entries]
    told = [set(ask("supports", f"--{name}")[1]) for name in (
        "onnx-operators", "multiple-network-theories", "hidden-node-theories", "multiple-input-output-theories",
        "arithmetic-complexity-theories",
    )]  # fmt: skip
    runnable, _ = partition_by_support(cases, *told)
    wrong, refused, undecided = [], {}, set()
    for case in runnable:
        words = [word for name, path in case.onnx_paths.items() for word in ("--network", f"{name}={path}")]
        try:
            _, lines = ask("verify", case.vnnlib_path, *words, "--timeout", 5 if case.id in LOOSE else 60)
        except BirdnnError as error:
            refused[case.id] = str(error)
            continue
        if lines[0] in ("timed-out", "unknown"):
            undecided.add(case.id)
        elif Verdict.from_str(lines[0]) != case.expected:
            wrong.append((case.id, lines[0], case.expected))
    assert not wrong, (wrong, refused)
    assert undecided <= LOOSE
    assert len(runnable) - len(refused) > 70, (len(runnable), refused)


def test_what_unsat_is_about(net: Path, holds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with what was assumed; a network that has no execution in float32 says so."""
    assert ask("verify", holds, "--network", net) == (0, ["unsat"])
    assert "birdnn-vnnlib: unsat of the network over the reals\n" in capsys.readouterr().err
    assert ask("verify", holds, "--network", net, "--as-executed") == (0, ["unsat"])
    assert "unsat of the network as executed in float32, sums in any order\n" in capsys.readouterr().err
    tanh = tmp_path / "tanh.onnx"
    tanh.write_bytes(layers_to_onnx([([[1.0, 1.0]], [0.0]), ([[1.0]], [0.0])], "Tanh"))
    assert ask("verify", query(tmp_path, "float32", "1.5"), "--network", tanh) == (0, ["unsat"])
    assert "Assumed of the runtime: its tanh errs by at most" in capsys.readouterr().err


def test_weights_that_are_integers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows how they are run."""
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["X", "w"], ["Y"])]
    tensors = [numpy_helper.from_array(np.array([[1], [1]], np.int32), "q")]
    tensors.append(numpy_helper.from_array(np.array(1.0, np.float32), "s"))
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, size]) for n, size in (("X", 2), ("Y", 1))]
    quantised = tmp_path / "quantised.onnx"
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    quantised.write_bytes(model_bytes(graph))
    with pytest.raises(MismatchError, match=r"the query is over float32: .* DequantizeLinear makes of integers"):
        ask("verify", query(tmp_path, "float32", "1.9"), "--network", quantised)
    assert ask("verify", query(tmp_path, "real", "1.9"), "--network", quantised, "--as-executed") == (0, ["unsat"])
    told = capsys.readouterr().err
    assert "not --as-executed: semantics float32 speaks about products in float32, and of 'w'" in told
    assert "unsat of the network over the reals" in told
