"""``birdnn check``: first line, exit status, JSON, replay."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.certify.producer import about, certificate, head, write
from tests.cli.conftest import Call


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
