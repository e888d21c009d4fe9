"""``--ray``: addresses at which nobody is, options that make no sense with it, and a proof and a campaign on nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from birdnn.records import RepairRequest, VerifySettings
from tests import cluster as clusters
from tests.cli.conftest import Call, birdnn

pytest.importorskip("ray", reason="Ray is not installed: make engines")

NOBODY = "127.0.0.1:1"


def test_nobody_at_the_address_is_one_sentence_and_status_4(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    certificate, instances = tmp_path / "c.certificate.json.gz", tmp_path / "i.csv"
    instances.write_text(f"{net.name},{holds.name},60\n")
    before = sorted(tmp_path.rglob("*"))
    for arguments in (
        ["verify", "--net", net, "--prop", holds, "--certificate", certificate],
        ["repair", "--net", net, "--prop", holds, "--out", tmp_path / "out"],
        ["bench", instances, "--out", tmp_path / "t.csv"],
    ):
        result = call(*arguments, "--ray", NOBODY, "--quiet")
        assert result.status == 4
        assert result.out == ""
        (line,) = result.err.splitlines()
        assert line.startswith(f"birdnn: error: engine 'ray': {NOBODY}: ")
        assert line.endswith(
            "; expected is the address of a running cluster, HOST:PORT as 'ray start --head' prints it, or auto"
        )
        assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_options_that_make_no_sense_with_it(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    instances = tmp_path / "i.csv"
    instances.write_text(f"{net.name},{holds.name},60\n")
    for arguments, told in (
        (["verify", "--net", net, "--prop", holds, "--ray", "auto", "--bound", "auto_lirpa"], "our own bounds only"),
        (["repair", "--net", net, "--method", "blocks", "--ray", "auto"], "is no option of --method blocks"),
        (["bench", instances, "--ray", "auto", "--warm"], "is for other machines, not for --warm"),
        (["bench", instances, "--", "--ray", "auto"], "is decided by bench"),
    ):
        result = call(*arguments)
        assert result.status == 2
        assert told in " ".join(result.err.replace("│", " ").split())


def test_the_records_say_it() -> None:
    assert VerifySettings(ray="auto").ray == RepairRequest(net=Path("n.onnx"), ray="auto").ray == "auto"


@pytest.mark.thorough
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore")
def test_commands_on_a_cluster(net: Path, holds: Path, broken: Path, tmp_path: Path) -> None:
    """In processes of their own; what is small is proved here, and instances run there."""
    instances, certificate = tmp_path / "i.csv", tmp_path / "c.certificate.json.gz"
    instances.write_text(f"{net.name},{holds.name},60\n{net.name},{broken.name},60\nabsent.onnx,{holds.name},60\n")
    nodes: Any
    with clusters.nodes(2) as nodes:
        proof = ["--net", net, "--prop", holds, "--certificate", certificate, "--ray", nodes.address]
        verified = birdnn("verify", *proof, "--quiet")
        assert verified.status == 0, verified.err
        assert verified.out.startswith("unsat")
        campaign = birdnn("bench", instances, "--out", tmp_path / "t.csv", "--ray", nodes.address, "--quiet")
        assert campaign.status == 4, campaign.err
        assert "2 of 3 solved" in campaign.out
    assert certificate.exists()
    table = (tmp_path / "t.csv").read_text()
    assert "absent.onnx: no such file" in table
    assert "2 at a time" in table
