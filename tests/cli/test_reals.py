"""What holds over the reals and what holds when a network is run: 1 + x is 1 in single precision."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from birdnn.campaign.kinds import VERIFY
from birdnn.certify.check.__main__ import main as checker
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.deciding import verify_files
from birdnn.records import Proved, VerifySettings
from birdnn.records.stages import Witness
from tests.cli.conftest import Call, box_property
from tests.cli.test_vnnlib import ask


@pytest.fixture
def plus_one(tmp_path: Path) -> Path:
    path = tmp_path / "plus_one.onnx"
    path.write_bytes(layers_to_onnx([(np.array([[1.0]]), np.array([1.0]))]))
    return path


def prop(folder: Path, unsafe: str, lower: str = "1e-9", upper: str = "2e-9") -> Path:
    path = folder / "hair.vnnlib"
    path.write_text(box_property(1, unsafe, lower, upper))
    return path


@pytest.fixture
def rounded(tmp_path: Path) -> Path:
    """Y is at least 1 + 1e-9 over the reals, and 1 when run."""
    return prop(tmp_path, "(<= Y_0 1.0)")


def test_a_proof_over_the_reals_names_the_run_that_violates(
    call: Call, plus_one: Path, rounded: Path, tmp_path: Path
) -> None:
    """birdnn 0.1.0 said `sat` without a word."""
    target, certificate = tmp_path / "r.json", tmp_path / "c.json.gz"
    asked = ("verify", "--net", plus_one, "--prop", rounded)
    done = call(*asked, "--json", target, "--certificate", certificate)
    assert (done.status, done.word) == (0, "unsat")
    assert "proved over the reals, and yet onnxruntime rounds" in " ".join(done.out.split())
    report = json.loads(target.read_text())
    (entry,) = report["properties"]
    assert (entry["outcome"], entry["counterexample"]) == ("proved", None)
    assert entry["executed"]["exactly"] is False
    assert entry["executed"]["y"] == [1.0]
    assert VERIFY.found(report)["note"] == "violated when run, not over the reals"
    done = call(*asked, "--quiet")
    assert (done.status, done.word) == (0, "unsat")
    assert "violates it" in done.err
    proof = json.loads(gzip.decompress(certificate.read_bytes()))["proofs"][0]
    assert (proof["verdict"], len(proof["executed"])) == ("proved", 1)


def test_check_confirms_proof_and_run(
    call: Call, plus_one: Path, rounded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, report = tmp_path / "c.json.gz", tmp_path / "r.json"
    call("verify", "--net", plus_one, "--prop", rounded, "--certificate", certificate)
    asked = ("check", "--net", plus_one, "--prop", rounded, certificate, "--json", report)
    done = call(*asked)
    assert (done.status, done.out.startswith("accepted: float64, all 1 leaves; over the reals alone")) == (0, True)
    found = json.loads(report.read_text())["properties"][0]
    assert (found["verdict"], found["exactly"], found["replayed"]) == ("proved", False, True)
    assert checker(["--net", str(plus_one), "--prop", str(rounded), str(certificate)]) == 0
    assert "what is said of an execution is not checked here" in capsys.readouterr().out
    data = json.loads(gzip.decompress(certificate.read_bytes()))
    for wrong, reason in ((["1"], "none of the property's boxes"), ([str(1 / 3)], "single precision"), (1, "a list")):
        data["proofs"][0]["executed"] = wrong
        certificate.write_bytes(gzip.compress(json.dumps(data).encode()))
        done = call(*asked)
        assert (done.status, reason in done.out) == (1, True), done.out


def test_a_run_that_does_not_violate_is_rejected(call: Call, tmp_path: Path, plus_one: Path) -> None:
    """A proof beside an input that violates nothing, nowhere."""
    fine, certificate = prop(tmp_path, "(<= Y_0 0.5)"), tmp_path / "c.json.gz"
    call("verify", "--net", plus_one, "--prop", fine, "--certificate", certificate)
    data = json.loads(gzip.decompress(certificate.read_bytes()))
    assert "executed" not in data["proofs"][0]
    data["proofs"][0]["executed"] = [str(Fraction(float(np.float32(1.5e-9))))]
    certificate.write_bytes(gzip.compress(json.dumps(data).encode()))
    done = call("check", "--net", plus_one, "--prop", fine, certificate, "--quiet")
    assert (done.status, "does not violate the property when onnxruntime runs it" in done.out) == (1, True)


def test_semantics_float32_asks_about_runs(call: Call, plus_one: Path, rounded: Path, tmp_path: Path) -> None:
    target, certificate = tmp_path / "r.json", tmp_path / "c.json.gz"
    asked = ("verify", "--net", plus_one, "--prop", rounded, "--semantics", "float32")
    done = call(*asked, "--json", target, "--certificate", certificate)
    assert (done.status, done.word) == (1, "sat")
    assert "over the reals this input does not violate" in " ".join(done.out.split())
    assert json.loads(target.read_text())["counterexample"]["exactly"] is False
    proof = json.loads(gzip.decompress(certificate.read_bytes()))["proofs"][0]
    assert (proof["verdict"], proof["exactly"]) == ("violated", False)
    done = call("check", "--net", plus_one, "--prop", rounded, certificate, "--quiet")
    assert (done.status, "onnxruntime alone" in done.out) == (0, True)
    assert checker(["--net", str(plus_one), "--prop", str(rounded), str(certificate)]) == 1
    data = json.loads(gzip.decompress(certificate.read_bytes()))
    data["proofs"][0]["exactly"] = True  # which is not so
    certificate.write_bytes(gzip.compress(json.dumps(data).encode()))
    done = call("check", "--net", plus_one, "--prop", rounded, certificate, "--quiet")
    assert (done.status, "exact arithmetic" in done.out) == (1, True)
    data["proofs"][0]["exactly"] = "yes"
    certificate.write_bytes(gzip.compress(json.dumps(data).encode()))
    done = call("check", "--net", plus_one, "--prop", rounded, certificate, "--quiet")
    assert (done.status, "true or false" in done.out) == (1, True)


def test_a_violation_of_both_is_preferred(call: Call, plus_one: Path, tmp_path: Path) -> None:
    """Between 0 and 2e-9 only the inputs up to 1e-10 violate over the reals; when run all do."""
    both, target, certificate = (
        prop(tmp_path, "(<= Y_0 1.0000000001)", "0.0"),
        tmp_path / "r.json",
        tmp_path / "c.json.gz",
    )
    done = call("verify", "--net", plus_one, "--prop", both, "--json", target, "--certificate", certificate)
    assert (done.status, done.word) == (1, "sat")
    found = json.loads(target.read_text())["counterexample"]
    assert found["exactly"] is True
    assert found["x"][0] <= 1e-10
    assert "over the reals and when run" in " ".join(done.out.split())
    data = json.loads(gzip.decompress(certificate.read_bytes()))
    assert data["proofs"][0].pop("exactly") is True
    old = tmp_path / "old.json.gz"  # as birdnn 0.1.0 wrote them
    old.write_bytes(gzip.compress(json.dumps(data).encode()))
    for path in (certificate, old):
        assert call("check", "--net", plus_one, "--prop", both, path, "--quiet").status == 0
        assert checker(["--net", str(plus_one), "--prop", str(both), str(path)]) == 0


def test_what_only_the_reals_violate_is_no_sat(call: Call, plus_one: Path, tmp_path: Path) -> None:
    """No run tells 1 + 5e-10 from 1. It ends, by itself, and says so."""
    reals, target = prop(tmp_path, "(>= Y_0 1.0000000005)", "0.0", "1e-9"), tmp_path / "r.json"
    done = call("verify", "--net", plus_one, "--prop", reals, "--json", target)
    assert (done.status, done.word) == (3, "unknown")
    assert "Over the reals the input" in " ".join(done.out.split())
    (entry,) = json.loads(target.read_text())["properties"]
    assert entry["reason"] == "not_executed"
    assert 5e-10 <= entry["over_reals"][0] <= 1e-9


def test_an_engine_that_runs_does_not_contradict_the_reals(call: Call, plus_one: Path, rounded: Path) -> None:
    done = call("verify", "--net", plus_one, "--prop", rounded, "--crosscheck", "onnxruntime")
    assert (done.status, done.word) == (0, "unsat")
    assert "when run, not over the reals" in " ".join(done.out.split())


def test_falsify_says_what_it_found(call: Call, plus_one: Path, rounded: Path) -> None:
    done = call("falsify", "--net", plus_one, "--prop", rounded)
    assert (done.status, done.word) == (1, "sat")
    assert "over the reals this input does not violate" in " ".join(done.out.split())


@pytest.mark.parametrize(("more", "word"), [((), "unsat"), (("--as-executed",), "sat")])
def test_the_standards_command(plus_one: Path, rounded: Path, more: tuple[str, ...], word: str) -> None:
    """A query over real asks about the reals; what is executed is asked for by a word of its own."""
    status, lines = ask("verify", rounded, "--network", plus_one, *more)
    assert (status, lines[0]) == (0, word)


def test_the_standards_command_knows_no_assignment_that_only_runs(
    plus_one: Path, rounded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing is decided over the reals, an input that violates when run is no answer to a query over real."""
    from birdnn.verify import search

    monkeypatch.setattr(search.Search, "_search_region", lambda self, bound, part: self._unknown_verdict("boxes", []))
    monkeypatch.setattr(search.Boxes, "concatenate", lambda parts: search.Boxes(*[search.torch.zeros(0, 1)] * 2))
    status, lines = ask("verify", rounded, "--network", plus_one)
    assert (status, lines) == (0, ["unknown"])
    assert "over the reals this input does not violate" in capsys.readouterr().err
    outcome = verify_files(plus_one, [rounded], settings=VerifySettings())
    assert outcome.verdicts[0].verdict.undecided == "boxes"


def test_a_witness_contradicts_what_it_can() -> None:
    def witness(exactly: bool | None) -> Witness:
        return Witness(x=(0.0,), y=(0.0,), replayed_by=("onnxruntime",), exactly=exactly)

    assert all(witness(exactly).contradicts("float32") for exactly in (True, False, None))
    assert [witness(exactly).contradicts("real") for exactly in (True, False, None)] == [True, False, True]
    assert Proved(boxes=1) == Proved(boxes=1, executed=None)
