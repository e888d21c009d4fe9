"""Ways of writing a property that people use, from the file to the answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import Call

OUTPUTS = "(declare-const Y_0 Real)(declare-const Y_1 Real)"
BOX = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(2))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """``y0 = relu(x0) + relu(x1)``, ``y1 = relu(x0 - x1)``."""
    hidden, last = np.array([[1, 0], [0, 1], [1, -1.0]]), np.array([[1, 1, 0], [0, 0, 1.0]])
    (tmp_path / "tri.onnx").write_bytes(layers_to_onnx([(hidden, np.zeros(3)), (last, np.zeros(2))]))
    return tmp_path / "tri.onnx"


def stated(tmp_path: Path, formula: str, declared: str = OUTPUTS) -> Path:
    path = tmp_path / "p.vnnlib"
    path.write_text(f"{BOX}{declared}(assert {formula})")
    return path


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("(not (<= Y_0 1.9))", "sat"),
        ("(not (<= Y_0 2.1))", "unsat"),
        ("(or (assert (>= Y_0 2.1)))", "unsat"),
        ("(=> (<= Y_0 2.1) (>= Y_1 2.1))", "unsat"),
        ("(>= Y_0 1e401)", "unsat"),
        ("(<= Y_0 -1e401)", "unsat"),
    ],
)
def test_formulas(call: Call, net: Path, tmp_path: Path, formula: str, word: str) -> None:
    """Told by what the network is: y0 takes all values from 0 to 2."""
    assert call("verify", net, "--prop", stated(tmp_path, formula), "--timeout", 20).word == word


def test_the_last_output_needs_no_declaration(call: Call, net: Path, tmp_path: Path) -> None:
    """The verdict is about the right output, the user is told, and the checker agrees."""
    for bound, word in (("2.1", "unsat"), ("1.9", "sat")):
        prop, out = stated(tmp_path, f"(>= Y_0 {bound})", "(declare-const Y_0 Real)"), tmp_path / "c.json"
        said = call("verify", net, "--prop", prop, "--certificate", out, "--timeout", 20, "-q")
        assert (said.word, said.err) == (word, "birdnn: p speaks about 1 of the network's 2 outputs, the first ones.\n")
        checked = call("check", "--net", net, "--prop", prop, out)
        assert checked.status == 0, checked.err


def test_a_vacuous_property(call: Call, net: Path, tmp_path: Path) -> None:
    """No network violates it: that is a verdict with a remark, without a certificate, and nothing to do elsewhere."""
    prop, out, record = stated(tmp_path, "(<= 1 0)"), tmp_path / "c.json", tmp_path / "v.json"
    said = call("verify", net, "--prop", prop, "--certificate", out, "--json", record, "-q")
    assert (said.status, said.word) == (0, "unsat")
    assert "p is vacuous: the assertions contradict each other" in said.err
    assert "No certificate speaks about p" in said.err
    assert not out.exists()
    said = call("verify", net, "--prop", prop)
    table = said.out + said.err
    assert "nothing is unsafe" in table
    assert "complete search" not in table
    told = json.loads(record.read_text())
    assert (told["outcome"], told["certificate"], told["properties"][0]["boxes"]) == ("proved", None, 0)
    assert call("falsify", net, "--prop", prop).status == 3
    for command in ("estimate", "localize", "repair"):
        said = call(command, "--net", net, "--prop", prop)
        assert said.status == 4
        assert "there is nothing to do" in said.err


def test_a_vacuous_property_among_others(call: Call, net: Path, tmp_path: Path) -> None:
    """The certificate speaks about the others."""
    stated(tmp_path, "false").rename(tmp_path / "nothing.vnnlib")
    prop, out = stated(tmp_path, "(>= Y_0 2.1)"), tmp_path / "c.json"
    said = call("verify", net, "--prop", prop, "--prop", tmp_path / "nothing.vnnlib", "--certificate", out, "-q")
    assert (said.status, said.word) == (0, "unsat")
    assert call("check", "--net", net, "--prop", prop, out).status == 0


def test_a_query_over_float32_chooses_its_semantics(call: Call, net: Path, tmp_path: Path) -> None:
    """It is said; who asks for the reals is refused."""
    prop, record = tmp_path / "q.vnnlib", tmp_path / "v.json"
    prop.write_text(
        "(vnnlib-version <2.0>)(declare-network N (declare-input X float32 [1,2])(declare-output Y float32 [1,2]))"
        "(assert (and (>= X[0,0] -1.0)(<= X[0,0] 1.0)(>= X[0,1] -1.0)(<= X[0,1] 1.0)))(assert (>= Y[0,0] 2.1))"
    )
    said = call("verify", net, "--prop", prop, "--json", record, "-q")
    assert (said.status, said.word) == (0, "unsat")
    assert "q is a query over float32: the answer is about runs in float32" in said.err
    assert json.loads(record.read_text())["semantics"] == "float32"
    assert call("verify", net, "--prop", prop, "--semantics", "real").status == 4


def test_an_odd_nnet_header_matters_to_raw_units_only(call: Call, tmp_path: Path) -> None:
    """As the header of a file of zeros holds no normalisation, whoever needs it is told where it should be."""
    net, prop = tmp_path / "odd.nnet", stated(tmp_path, "(>= Y_0 2.1)", "(declare-const Y_0 Real)")
    net.write_text("made by hand\n2\n2,2,1\n0\n0\n0\n0\n0\n1,0\n0,1\n0\n0\n1,1\n0\n")
    assert call("verify", net, "--prop", prop).word == "unsat"
    said = call("verify", net, "--prop", prop, "--units", "raw")
    assert said.status == 4
    assert "odd.nnet, line 7: the header's normalisation cannot be used: means: 3 numbers are expected" in said.err


FIXED = "(declare-const X_0 Real)(declare-const X_1 Real)(assert (= X_0 0.1))(assert (>= X_1 -1))(assert (<= X_1 1))"


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_an_input_fixed_at_a_decimal(call: Call, net: Path, tmp_path: Path, semantics: str) -> None:
    """0.1 is no float32: what violates is run beside it, which is said, and proofs and certificates cover both."""
    prop, out, found = tmp_path / "p.vnnlib", tmp_path / "c.json", tmp_path / "x.txt"
    for bound, word in (("1.0", "sat"), ("1.2", "unsat")):
        prop.write_text(f"{FIXED}{OUTPUTS}(assert (>= Y_0 {bound}))")
        options = ("--certificate", out, "--counterexample", found, "--semantics", semantics, "-q")
        said = call("verify", net, "--prop", prop, *options)
        assert said.word == word
        assert "p: input 0 is fixed at 0.1, where no float32 is: it is run at 0.100000001." in said.err
        checked = call("check", "--net", net, "--prop", prop, out)
        assert checked.status == 0, checked.err
        if word == "sat":
            assert f"((X_0 {float(np.float32(0.1))!r})" in found.read_text()


@pytest.mark.thorough
def test_a_violation_at_a_decimal_is_estimated_and_repaired(call: Call, net: Path, tmp_path: Path) -> None:
    """Draws and the proof of the repair speak about the same points."""
    prop = tmp_path / "p.vnnlib"
    prop.write_text(f"{FIXED}{OUTPUTS}(assert (>= Y_0 1.0))")
    assert call("falsify", net, "--prop", prop).word == "sat"
    said = call("estimate", net, "--prop", prop, "--samples", 2000, "--json", tmp_path / "e.json")
    assert said.status == 0, said.err
    share = json.loads((tmp_path / "e.json").read_text())["properties"][0]["violations"] / 2000
    assert 0.02 < share < 0.09  # x1 from 0.9 to 1 of -1 to 1
    options = ("--domain", "property", "--decision", "none", "--out", tmp_path / "out", "-q")
    assert call("repair", net, "--prop", prop, *options).word.startswith("proved")


def test_a_threshold_that_is_touched(call: Call, net: Path, tmp_path: Path) -> None:
    """Proved at once, without a certificate, and both is said; one that is not touched keeps its certificate."""
    out = tmp_path / "c.json"
    said = call("verify", net, "--prop", stated(tmp_path, "(> Y_0 2)"), "--certificate", out, "-q")
    assert (said.status, said.word) == (0, "unsat")
    assert "p holds by nothing to spare" in said.err
    assert not out.exists()
    said = call("verify", net, "--prop", stated(tmp_path, "(> Y_0 2.001)"), "--certificate", out, "-q")
    assert (said.status, said.word, out.exists()) == (0, "unsat", True)


def test_inputs_and_outputs_that_are_related(call: Call, net: Path, tmp_path: Path) -> None:
    """Decided over the reals, with certificates, and drawn from; commands that need boxes of inputs say so."""
    out = tmp_path / "c.json"
    for formula, word in (
        ("(<= Y_0 (- X_0 0.1))", "unsat"),
        ("(<= Y_0 (+ X_0 0.1))", "sat"),
        ("(and (<= (+ X_0 X_1) 1) (>= Y_0 1.6))", "unsat"),
        ("(and (<= (+ X_0 X_1) 1) (>= Y_0 0.9))", "sat"),
    ):
        prop = stated(tmp_path, formula)
        said = call("verify", net, "--prop", prop, "--certificate", out, "--timeout", 60, "-q")
        assert said.word == word
        assert json.loads(out.read_text())["version"] == 3
        said = call("check", out, "--net", net, "--prop", prop)
        assert (said.status, "accepted" in said.out + said.err) == (0, True)
        out.unlink()
        assert call("falsify", net, "--prop", prop).word == ("sat" if word == "sat" else "unknown")
    for command in (("repair", "--net", net), ("compare", net, net)):
        said = call(*command, "--prop", prop)
        assert said.status == 4
        assert "verify, falsify, estimate and localize take it" in said.err
    assert call("verify", net, "--prop", prop, "--semantics", "float32").status == 4
    said = call("verify", net, "--prop", stated(tmp_path, "(>= (+ X_0 Y_0) 9)", "(declare-const Y_0 Real)"))
    assert (said.word, "1 of the network's 2 outputs" in " ".join(said.err.split() + said.out.split())) == (
        "unsat",
        True,
    )


def test_what_half_spaces_leave_is_drawn_from(call: Call, net: Path, tmp_path: Path) -> None:
    """Of the triangle x0 + x1 <= 1 in the positive square, where y0 is the sum; over all of it every second unit."""
    out = tmp_path / "e.json"
    prop = stated(tmp_path, "(and (>= X_0 0) (>= X_1 0) (<= (+ X_0 X_1) 1) (>= Y_0 0.8))")
    said = call("estimate", "--net", net, "--prop", prop, "--samples", 20_000, "--scenario", "--epsilon", 0.01,
                "--json", out)  # fmt: skip
    assert said.status == 0, said.err
    assert "p relates inputs: of its boxes" in " ".join((said.out + said.err).split())
    (entry,) = json.loads(out.read_text())["properties"]
    assert entry["interval"]["lower"] < 0.36 < entry["interval"]["upper"]
    x = entry["counterexample"]["x"]
    assert x[0] + x[1] <= 1
    assert x[0] + x[1] >= 0.8
    assert entry["surrogates"][0]["lowest"] < 0
    said = call("localize", "--net", net, "--prop", prop, "--json", out)
    assert said.status == 0, said.err
    report = json.loads(out.read_text())
    assert (report["outcome"], report["properties"][0]["found_by"]) == ("localised", "sampling")
    said = call("estimate", "--net", net, "--prop", stated(tmp_path, "(and (= X_0 X_1) (>= Y_0 0.8))"))
    assert (said.status, "too few to draw independent points" in " ".join(said.err.split())) == (4, True)
