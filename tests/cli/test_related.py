"""Queries about several networks, by the command, by Python and by the standard's command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import birdnn
from birdnn.cli.vnnlib import run
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from tests.bounds.builders import half_space, make_property
from tests.cli.conftest import Call
from tests.pipeline.test_relating import layers, noisy, written
from tests.queries import apart, query, same


def test_both_front_doors(call: Call, tmp_path: Path) -> None:
    """The same answer by the command, by Python and by the standard's command line."""
    made = layers(3, (2, 5, 2))
    f = written(tmp_path / "a.onnx", network_from_layers(made))
    g = written(tmp_path / "b.onnx", network_from_layers(noisy(made, 0, 0.1)))
    prop = tmp_path / "q.vnnlib"
    for epsilon, word in ((0.001, "sat"), (5.0, "unsat")):
        prop.write_text(query(2, 2, *same(2), apart(2, epsilon)))
        out = tmp_path / "o.json"
        said = call("verify", "--net", f"f={f}", "--net", f"g={g}", "--prop", prop, "--json", out, "-q")
        assert said.word == word, said.err
        stored = json.loads(out.read_text())
        assert [entry["name"] for entry in stored["networks"]] == ["f", "g"]
        outcome = birdnn.verify({"f": f, "g": g}, prop, timeout_s=60)
        assert outcome.verdicts[0].competition_verdict == word
    assert call("verify", "--net", f, "--net", g, "--prop", prop).status == 2
    assert call("verify", "--net", f"f={f}", "--net", f"f={g}", "--prop", prop).status == 2
    said = call("verify", "--net", f, "--prop", prop)
    assert (said.status, "--net f=FILE --net g=FILE" in said.err) == (4, True)
    assert call("verify", "--net", f"f={tmp_path / 'none.onnx'}", "--net", f"g={g}", "--prop", prop).status == 4
    with pytest.raises(MismatchError, match="given as a file"):
        birdnn.verify({"f": f, "g": g}, make_property([0.0], [1.0], half_space([1.0], 0.0)))


def test_the_standards_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Tensors of both networks; a network that is equal to another need not be named; a list as in VNN-COMP."""
    made = layers(3, (2, 5, 2))
    f = written(tmp_path / "a.onnx", network_from_layers(made))
    g = written(tmp_path / "b.onnx", network_from_layers(noisy(made, 0, 0.1)))
    prop = tmp_path / "q.vnnlib"
    prop.write_text(query(2, 2, *same(2), apart(2, 0.001)))
    for said in ([f"f={f}", f"g={g}"], [f"[('f', '{f}'), ('g', '{g}')]"]):
        assert run(["verify", str(prop), *(part for each in said for part in ("--network", each))]) == 0
        lines = capsys.readouterr().out.split("\n")
        assert lines[0] == "sat"
        assert [line for line in lines if "real" in line] == [
            f"{name} real [2]" for name in ("X_f", "X_g", "Y_f", "Y_g")
        ]
        assert lines[2:4] == lines[5:7]
    prop.write_text(query(2, 2, *same(2), apart(2, 0.001), like="equal-to f"))
    assert run(["verify", str(prop), "--network", f"f={f}"]) == 0
    assert capsys.readouterr().out.startswith("unsat")
    with pytest.raises(MismatchError, match=r"about 2 networks, and 3 are given: say --network f=FILE"):
        run(["verify", str(prop), *["--network", f"f={f}"] * 3])
    with pytest.raises(MismatchError, match=r"--network h: the query declares f, g"):
        run(["verify", str(prop), "--network", f"h={f}"])
    for theory in ("SNET", "MENET", "MINET", "MNET"):
        assert run(["supports", "--multiple-network-theories"]) == 0
        assert theory in capsys.readouterr().out.split()


@pytest.mark.thorough
def test_a_campaign_of_queries_about_two_networks(call: Call, tmp_path: Path) -> None:
    """Rows as VNN-COMP writes them, beside one about a single network."""
    made = layers(3, (2, 5, 2))
    for name, found in (("a", made), ("b", noisy(made, 0, 0.1))):
        written(tmp_path / f"{name}.onnx", network_from_layers(found))
    (tmp_path / "q.vnnlib").write_text(query(2, 2, *same(2), apart(2, 0.001)))
    (tmp_path / "r.vnnlib").write_text(query(2, 2, *same(2), apart(2, 5)))
    pair = "\"[('f', 'a.onnx'), ('g', 'b.onnx')]\""
    (tmp_path / "i.csv").write_text(f"{pair},q.vnnlib,60\n{pair},r.vnnlib,60\n")
    result = call("bench", tmp_path / "i.csv", "--out", tmp_path / "t.csv")
    assert result.status == 0, result.err
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["onnx"], row["verdict"]) for row in rows] == [("a.onnx+b.onnx", "sat"), ("a.onnx+b.onnx", "unsat")]
    assert call("bench", tmp_path / "i.csv", "--out", tmp_path / "t.csv").out.count("2 of 2 solved") == 1
    refused = call("bench", tmp_path / "i.csv", "--repair", "--out", tmp_path / "r.csv")
    assert refused.status == 4
    assert "2 networks; a repair is of one network" in refused.err


@pytest.mark.thorough
def test_relations_are_written(call: Call, tmp_path: Path) -> None:
    """Each by its option, for the network's sizes; what is asked for is what is decided."""
    made = layers(3, (2, 5, 2))
    f = written(tmp_path / "a.onnx", network_from_layers(made, "LeakyRelu", alpha=0.1))
    g = written(tmp_path / "b.onnx", network_from_layers(noisy(made, 0, 0.1), "LeakyRelu", alpha=0.1))
    box = "x0 in [-1, 1], x1 in [0, 1]"
    cases = [
        (["--within", 0.001], 2, "sat"),
        (["--within", 5], 2, "unsat"),
        (["--same-decision", "least"], 2, "sat"),
        (["--rising", "x0:y1", "--within", 50], 1, "unsat"),
        (["--falling", "x0:y1", "--within", 50], 1, "unsat"),
        (["--steepness", "x1:y0:100"], 1, "unsat"),
        (["--steepness", "x1:y0:0.001"], 1, "sat"),
        (["--symmetric", "x0:x1,y0:y1", "--within", 0.001], 1, "sat"),
    ]
    for number, (options, networks, word) in enumerate(cases):
        out = tmp_path / f"{number}.vnnlib"
        said = call("property", "relate", "--net", f, *options, "--domain", box, "-o", out)
        assert said.status == 0, said.err
        assert ("--net g=FILE" in said.err) == (networks == 2)
        nets = ["--net", f"f={f}", *(["--net", f"g={g}"] if networks == 2 else [])]
        assert call("verify", *nets, "--prop", out, "--timeout", 30, "-q").word == word, options
    for options, message in (
        ([], "say one relation"),
        (["--within", 1, "--same-decision", "least"], "say one relation"),
        (["--rising", "x0"], "an input and an output are expected, as in x0:y3"),
        (["--rising", "x7:y0"], "there is no input 7: there are 2"),
        (["--steepness", "x0:y0:steep"], "'steep' is no number"),
        (["--symmetric", "x0:y1", "--within", 1], "two inputs or two outputs are expected"),
        (["--symmetric", "x0:x1"], "symmetric needs within"),
    ):
        said = call("property", "relate", "--net", f, *options, "--domain", box, "-o", tmp_path / "no.vnnlib")
        assert (said.status, message in " ".join(said.err.split())) == (4, True), (options, said.err)
    assert call("property", "relate", "--net", f, "--within", 1, "--domain", box, "-o", out).status == 4
