"""Prover and checker, one command: where the checker rejects what was decided, nobody hears a verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import birdnn
from birdnn.campaign.kinds import REPAIR, VERIFY
from birdnn.certify.check import Rejected
from birdnn.errors import DisagreementError, FormatError, MismatchError
from birdnn.pipeline import certifying
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.repairing import repair_files
from birdnn.records import CONTRADICTION, CertificateFile, VerifySettings
from birdnn.report.publish import json_document, record_from
from birdnn.report.text import repair_headline
from tests.cli.conftest import Call
from tests.pipeline.test_repairing import FAST, build


@pytest.fixture
def rejecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that takes no certificate."""

    def check(*args: object, **options: object) -> None:
        raise Rejected("proof of holds.vnnlib, float64, region 0: node 7: a polytope is left open")

    monkeypatch.setattr(certifying, "check", check)


@pytest.mark.usefixtures("rejecting")
@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("which", ["holds", "broken"])
def test_verify(call: Call, net: Path, tmp_path: Path, which: str, quiet: bool, request: pytest.FixtureRequest) -> None:
    """`unsat` and status 0 beside "rejected" is what birdnn 0.1.0 said."""
    target, prop = tmp_path / "r.json", request.getfixturevalue(which)
    extra = ["--quiet"] if quiet else []
    done = call(
        "verify", "--net", net, "--prop", prop, "--certificate", tmp_path / "c.json.gz", "--json", target, *extra
    )
    assert (done.status, done.word) == (6, "unknown")
    assert "node 7: a polytope is left open" in done.err
    report = json.loads(target.read_text())
    assert (report["outcome"], report["verdict"]) == ("unknown", "unknown")
    assert "the independent checker rejects" in report["disagreement"]
    assert (report["certificate"]["answer"], report["certificate"]["checked"][:9]) == ("rejected", "rejected:")
    (entry,) = report["properties"]
    if which == "holds":  # the proof is none; a run stays what it is
        assert (entry["outcome"], entry["verdict"], entry["reason"]) == ("unknown", "unknown", "rejected")
    else:
        assert entry["outcome"] == "violated"
    if not quiet:
        assert "unsat" not in done.err


@pytest.mark.usefixtures("rejecting")
def test_python(net: Path, holds: Path, tmp_path: Path) -> None:
    with pytest.raises(DisagreementError, match="left open"):
        birdnn.verify(net, holds, certificate=tmp_path / "c.json.gz")
    outcome = verify_files(net, [holds], settings=VerifySettings(certificate=tmp_path / "c.json.gz"))
    assert outcome.certificate is not None
    assert (outcome.certificate.answer, outcome.disagreement != "") == ("rejected", True)


@pytest.mark.usefixtures("rejecting")
def test_repair(tmp_path: Path) -> None:
    """Nothing is called proved, healed by proof or a success, and the file says why."""
    outcome = repair_files(build(tmp_path, "Relu").request(), settings=FAST)
    assert outcome.certificate is not None
    assert outcome.result == "violated"  # an attempt that nobody may rely on
    assert [entry.after for entry in outcome.properties] == ["unknown"]
    assert outcome.properties[0].reason == "rejected"
    assert "left open" in outcome.disagreement
    assert "proved" not in repair_headline(outcome).plain
    assert repair_headline(outcome).plain.startswith("Contradictory evidence")
    for rate in (outcome.efficacy, outcome.generalisation):
        assert rate is None or not rate.by_proof
    stored = json.loads(Path(str(outcome.report)).read_text())
    assert (stored["outcome"], stored["disagreement"]) == ("violated", outcome.disagreement)
    assert REPAIR.found(json_document(outcome))["outcome"] == CONTRADICTION


@pytest.mark.usefixtures("rejecting")
def test_a_row_of_a_campaign(net: Path, holds: Path, tmp_path: Path) -> None:
    outcome = verify_files(net, [holds], settings=VerifySettings(certificate=tmp_path / "c.json.gz"))
    row = VERIFY.found(json_document(outcome))
    assert row["verdict"] == CONTRADICTION
    assert "left open" in str(row["note"])
    assert CONTRADICTION not in VERIFY.solved | REPAIR.solved


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (MismatchError("5 inputs, not 3"), "rejected"),  # the prover read other sizes
        (FormatError("{certificate}", "", "not a certificate"), "rejected"),  # our own file
        (FormatError("net.onnx", "node 'a'", "this checker does not read Conv"), "not checked"),
    ],
)
def test_what_a_rejection_is(
    net: Path, holds: Path, tmp_path: Path, error: Exception, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the checker does not read of the user's files is unchecked; what prover and checker read apart is not."""
    out = tmp_path / "c.json.gz"
    if isinstance(error, FormatError):
        error = FormatError(error.path.format(certificate=out), error.place, error.problem)

    def check(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(certifying, "check", check)
    outcome = verify_files(net, [holds], settings=VerifySettings(certificate=out))
    assert outcome.certificate is not None
    assert outcome.certificate.answer == answer
    assert bool(outcome.disagreement) == (answer == "rejected")


def test_reports_of_the_first_version_are_read() -> None:
    """They have the sentence only."""
    old = {"file": "c", "sha256": "", "size": 1, "properties": [], "write_s": 0.0, "check_s": 0.0}
    found = record_from(CertificateFile, {**old, "checked": "not checked: the time limit: 5 s"})
    assert (found.answer, found.detail) == ("not checked", "the time limit: 5 s")
