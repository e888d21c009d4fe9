"""``birdnn check``: first line, exit status, JSON, replay."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import birdnn
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from tests.certify.pairs.cases import drawn, moved, written
from tests.certify.producer import about, certificate, head, write
from tests.cli.conftest import Call
from tests.queries import apart, query, same


def test_accepted_and_rejected(call: Call, net: Path, holds: Path, broken: Path, tmp_path: Path) -> None:
    """The first line says which, the JSON file says the rest."""
    data = certificate(net, [holds], "float32")
    path, report = write(tmp_path / "it.certificate.json.gz", data), tmp_path / "result.json"
    done = call("check", "--net", net, "--prop", holds, path, "--json", report)
    assert (done.status, done.word) == (0, "accepted: float64, all 1 leaves"), done.err
    assert "float32" in done.out
    found = json.loads(report.read_text())
    assert (found["outcome"], found["reason"], found["semantics"]) == ("accepted", None, "float32")
    assert found["properties"][0]["leaves"] == 1
    done = call("check", "--net", net, "--prop", holds, path, "--arithmetic", "exact", "--sample", "4", "--quiet")
    assert (done.status, done.out, done.err) == (0, "accepted: float64, all 1 leaves; exact, 1 of 1\n", "")
    done = call("check", "--net", net, "--prop", holds, "--prop", broken, path, "--json", report, "--quiet")
    assert (done.status, done.err) == (1, "")
    assert done.out.startswith("rejected: 0 proofs speak about the property")
    assert json.loads(report.read_text())["reason"] in done.out


def test_counterexamples_are_replayed(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """In exact arithmetic and by onnxruntime; float32 semantics believes the runtime."""
    for semantics in ("real", "float32"):
        proof = {"property": about(broken), "verdict": "violated", "input": ["1", "1"]}
        path = write(tmp_path / "c.json.gz", head(net, semantics, [proof]))
        done = call("check", "--net", net, "--prop", broken, path, "--quiet")
        assert (done.status, done.out) == (0, "accepted: 1 violated, exact, onnxruntime\n")
        proof["input"] = ["0.25", "0.5"]
        path = write(tmp_path / "c.json.gz", head(net, semantics, [proof]))
        done = call("check", "--net", net, "--prop", broken, path, "--quiet")
        assert done.status == 1
        assert "does not violate the property" in done.out


def test_only_the_runtime_violates(call: Call, net: Path, tmp_path: Path) -> None:
    """1 + 2**-24 - a little is 1 in single precision: accepted with that remark, for float32 only."""
    from tests.cli.conftest import box_property

    prop = tmp_path / "rounding.vnnlib"
    prop.write_text(box_property(2, "(<= Y_0 1.0)"))
    small = float(np.float32(2.0**-25))
    for semantics, status, words in (("float32", 0, "onnxruntime alone"), ("real", 1, "exact arithmetic")):
        proof = {"property": about(prop), "verdict": "violated", "input": ["1", str(Fraction(small))]}
        path = write(tmp_path / "c.json.gz", head(net, semantics, [proof]))
        done = call("check", "--net", net, "--prop", prop, path, "--quiet")
        assert done.status == status, (done.out, done.err)
        assert words in done.out


def test_unreadable_is_bad_input(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.json.gz"
    path.write_bytes(b"\x1f\x8b broken")
    done = call("check", "--net", net, "--prop", holds, path, "--quiet")
    assert (done.status, done.out) == (4, "")
    assert "c.json.gz" in done.err


def test_certificates_of_two_networks(call: Call, tmp_path: Path) -> None:
    """From `verify` to `check`: the file of each network by its name in the query, in the shell and in Python."""
    layers = drawn(0, (2, 6, 2))
    nets = {"f": written(tmp_path, "A", layers), "g": written(tmp_path, "B", moved(layers, 0, 1e-3))}
    prop, path, report = tmp_path / "q.vnnlib", tmp_path / "c.certificate.json.gz", tmp_path / "result.json"
    prop.write_text(query(2, 2, *same(2), apart(2, 0.2)))
    said = [word for name, net in nets.items() for word in ("--net", f"{name}={net}")]
    done = call("verify", *said, "--prop", prop, "--certificate", path, "--json", report)
    assert (done.status, done.word) == (0, "unsat"), done.err
    assert json.loads(report.read_text())["certificate"]["answer"] == "accepted"
    done = call("check", *said, "--prop", prop, path, "--json", report, "--quiet")
    assert (done.status, done.out) == (0, "accepted: float64, all 1 leaves\n"), done.err
    found = json.loads(report.read_text())
    assert found["networks"] == {name: str(net) for name, net in nets.items()}
    assert found["net"] == found["networks"]["f"]
    assert birdnn.check(nets, prop, path, sample=1).said == "float64, all 1 leaves; exact, 1 of 1"
    done = call("check", "--net", nets["f"], "--prop", prop, path, "--quiet")
    assert done.status == 1
    assert done.out == "rejected: the certificate is for networks ['f', 'g']: name the file of each\n"
    done = call("check", *said[:2], "--net", nets["g"], "--prop", prop, path)
    assert done.status == 2
    with pytest.raises(MismatchError, match="a certificate speaks about files"):
        birdnn.verify({"f": network_from_layers(layers), "g": nets["g"]}, prop, certificate=path)
