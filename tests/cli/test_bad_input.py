"""Unusable files: status 4, one message that names file and place, no traceback, nothing written."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import Call, birdnn, box_property

Spoil = Callable[[Path, Path], tuple[str, ...]]


def _net(change: Callable[[bytes], bytes], *place: str) -> Spoil:
    def spoil(net: Path, prop: Path) -> tuple[str, ...]:
        net.write_bytes(change(net.read_bytes()))
        return (net.name, *place)

    return spoil


def _prop(change: Callable[[str], str], *place: str) -> Spoil:
    def spoil(net: Path, prop: Path) -> tuple[str, ...]:
        prop.write_text(change(prop.read_text()))
        return (prop.name, *place)

    return spoil


def _missing(which: int) -> Spoil:
    def spoil(*files: Path) -> tuple[str, ...]:
        files[which].unlink()
        return (files[which].name, "no such file")

    return spoil


def _gigantic(data: bytes) -> bytes:
    model = onnx.ModelProto.FromString(data)
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**40, 2**20])
    return model.SerializeToString()


def _nan(data: bytes) -> bytes:
    return layers_to_onnx([(np.array([[1.0, np.nan]]), np.array([0.0]))])


def _inverse_sine(data: bytes) -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("X", "Y")]
    graph = helper.make_graph([helper.make_node("Asin", ["X"], ["Y"], name="wave")], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def _outside(data: bytes) -> bytes:
    model = onnx.ModelProto.FromString(data)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    return model.SerializeToString()


NOISE = np.random.default_rng(5).bytes(4000)

CASES: dict[str, Spoil] = {
    "net missing": _missing(0),
    "net empty": _net(lambda data: b"", "empty"),
    "net truncated": _net(lambda data: data[: len(data) // 2]),
    "net random": _net(lambda data: NOISE),
    "net gigantic": _net(_gigantic, "W0"),
    "net holds NaN": _net(_nan, "W0", "NaN"),
    "net with an unsupported operator": _net(_inverse_sine, "'wave'", "Asin", "supported:"),
    "net with data outside": _net(_outside, "secret.bin"),
    "net truncated gzip": _net(lambda data: gzip.compress(data)[:-9], "gzip"),
    "property missing": _missing(1),
    "property empty": _prop(lambda text: "", "empty"),
    "property truncated": _prop(lambda text: text[: len(text) // 2], "line"),
    "property random": _prop(lambda text: NOISE.decode("latin-1")),
    "property gigantic": _prop(lambda text: text + "(declare-const X_99999999999 Real)\n"),
    "property for three inputs": _prop(lambda text: box_property(3, "(>= Y_0 3.0)"), "3 inputs"),
    "property unbounded": _prop(lambda text: text.replace("(assert (<= X_1 1.0))", ""), "X_1"),
    "property is a verse": _prop(lambda text: "the owl and the pussycat\nwent to sea\n", "line 1"),
}


@pytest.mark.parametrize("command", ["verify", "falsify"])
@pytest.mark.parametrize("case", CASES)
def test_bad_input(call: Call, net: Path, holds: Path, tmp_path: Path, case: str, command: str) -> None:
    pieces = CASES[case](net, holds)
    before = sorted(tmp_path.iterdir())
    target = tmp_path / "result.json"
    result = call(command, "--net", net, "--prop", holds, "--json", target, "--quiet")
    assert result.status == 4, (result.out, result.err)
    assert result.out == ""
    assert result.err.startswith("birdnn: error: ")
    assert result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    for piece in pieces:
        assert piece in result.err
    assert sorted(tmp_path.iterdir()) == before


def test_an_nnet_file_that_ends_early(call: Call, holds: Path, tmp_path: Path) -> None:
    net = tmp_path / "short.nnet"
    net.write_text("// nothing\n2,2,1,2,\n2,2,1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n1,0,\n")
    result = call("verify", "--net", net, "--prop", holds, "--quiet")
    assert result.status == 4
    assert "short.nnet, line" in result.err


def test_a_real_process_shows_no_traceback(tmp_path: Path) -> None:
    result = birdnn("verify", "--net", tmp_path / "none.onnx", "--prop", tmp_path / "none.vnnlib")
    assert (result.status, result.out) == (4, "")
    assert result.err.splitlines()[-1] == f"birdnn: error: {tmp_path / 'none.onnx'}: no such file"
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("low", "words"),
    [
        ("9" * 5000, "an integer is too long"),
        ("[" * 3000 + "0" + "]" * 3000, "nested deeper than 20"),
        ("1e-999999999", "lower: '1e-999999999' is out of range"),
    ],
    ids=["digits", "deep", "tiny"],
)
def test_an_absurd_domain(call: Call, net: Path, broken: Path, tmp_path: Path, low: str, words: str) -> None:
    """Neither our fault nor a night's work."""
    domain = tmp_path / "domain.toml"
    domain.write_text(f"lower=[{low}, 0]\nupper=[1, 1]\n")
    options = "--net", net, "--prop", broken, "--domain", domain, "--decision", "none", "--out", tmp_path / "out"
    start = time.process_time()
    result = call("repair", *options)
    assert time.process_time() - start < 20
    assert result.status == 4, (result.out, result.err)
    assert "domain.toml" in result.err
    assert words in result.err
    assert not (tmp_path / "out").exists()


ESCAPE = "\x1b[2J\x1b]0;owned\x07\u202e"


def _named(data: bytes, name: str) -> bytes:
    """The network with names of nodes and values that begin so."""
    model = onnx.ModelProto.FromString(data)
    for node in model.graph.node:
        node.name = name + node.name
        node.input[:] = [name + part for part in node.input]
        node.output[:] = [name + part for part in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = name + value.name
    return model.SerializeToString()


def test_names_do_not_act_on_the_terminal(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """A file from a stranger clears no screen, whether it is good or bad, and whatever quotes its names."""
    odd = tmp_path / f"net{ESCAPE}.onnx"
    odd.write_bytes(_named(net.read_bytes(), ESCAPE))
    prop = tmp_path / f"prop{ESCAPE}.vnnlib"
    prop.write_text(f"; stay {ESCAPE} below\n" + broken.read_text())
    wrong = tmp_path / f"wrong{ESCAPE}.onnx"
    wrong.write_bytes(_named(_inverse_sine(b""), ESCAPE))
    answers = [
        call("verify", "--net", odd, "--prop", prop),
        call("verify", "--net", wrong, "--prop", prop),
        call("localize", "--net", odd, "--prop", prop, "--top", "2"),
        call("compare", odd, net, "--samples", "100", "--bound", "0"),
        call("estimate", "--net", odd, "--prop", prop, "--samples", "100"),
        call("verify", "--net", tmp_path / f"none{ESCAPE}", "--prop", prop),
    ]
    assert [answer.status for answer in answers] == [1, 4, 0, 0, 0, 4], [answer.err for answer in answers]
    for answer in answers:
        assert not set("\x1b\x07\u202e") & set(answer.out + answer.err), answer.out + answer.err
    assert "\\x1b[2J" in answers[0].out
    assert "\\x1b[2J" in answers[1].err


@pytest.mark.thorough
def test_names_are_no_formulas_in_pictures(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """Matplotlib takes what stands between two dollars for a formula, and refuses one that is none."""
    odd, prop = tmp_path / "$\\frac$.onnx", tmp_path / "$\\nothing{$ [red].vnnlib"
    net.rename(odd)
    broken.rename(prop)
    picture, instances = tmp_path / "neurons.svg", tmp_path / "$_{$.csv"
    result = call("localize", "--net", odd, "--prop", prop, "--top", "2", "--picture", picture)
    assert result.status == 0, result.err
    assert "$\\nothing{$ [red]" in picture.read_text()
    assert "$\\nothing{$ [red]" in result.out
    instances.write_text(f"{odd.name},{prop.name},20\n")
    cactus = tmp_path / "cactus.svg"
    result = call("bench", instances, "--out", tmp_path / "table.csv", "--plot", cactus)
    assert result.status == 0, result.err
    assert "$_{$.csv" in cactus.read_text()


@pytest.mark.thorough
def test_a_table_of_names_that_are_formulas(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """What a spreadsheet would compute stands behind an apostrophe, and is the same instance when the run goes on."""
    net.rename(tmp_path / "=1+1.onnx")
    broken.rename(tmp_path / "@SUM(A1).vnnlib")
    instances, table = tmp_path / "instances.csv", tmp_path / "table.csv"
    instances.write_text("=1+1.onnx,@SUM(A1).vnnlib,20\n")
    for _ in range(2):
        summary = tmp_path / "summary.csv"
        result = call("bench", instances, "--out", table, "--summary", summary, "--quiet")
        assert result.status == 0, result.err
        rows = list(csv.reader(table.read_text().splitlines()))
        assert [row[:2] for row in rows[1:]] == [["'=1+1.onnx", "'@SUM(A1).vnnlib"]]
        assert "\n=" not in summary.read_text()


def test_a_file_name_that_is_no_text(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    """Linux allows any bytes in names; that is no reason to fail."""
    odd = tmp_path / "odd\udcff.onnx"
    net.rename(odd)
    result = call("verify", "--net", odd, "--prop", holds, "--json", tmp_path / "result.json")
    assert (result.status, result.word) == (0, "unsat"), result.err
    assert "odd\\\\udcff.onnx" in (tmp_path / "result.json").read_text()
    odd.write_bytes(b"")
    assert call("verify", "--net", odd, "--prop", holds).status == 4
