"""Campaigns on the nodes of a cluster: the same rows as here, whatever becomes of nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from birdnn.campaign import campaign_files
from birdnn.errors import EngineError
from birdnn.records import CampaignOutcome
from tests import cluster as clusters
from tests.campaign.fakes import Stopping, campaign, noted

pytest.importorskip("ray", reason="Ray is not installed: make engines")
# warnings are Ray's own; two clusters on one machine would kill each other's workers
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where workers note what they do."""
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def nodes(log: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_LOG", str(log / "log"))  # of the nodes' processes too
        with clusters.nodes(2) as found:
            yield found


@pytest.fixture(autouse=True)
def fresh(log: Path) -> None:
    (log / "log").unlink(missing_ok=True)


def ran(folder: Path, names: list[str], nodes: Any, watch: Any = None, **more: Any) -> CampaignOutcome:
    for name in (*(f"{name}.onnx" for name in names), "p.vnnlib"):
        (folder / name).write_text(name)
    wanted = campaign(folder, names, **{"ray": nodes.address, "jobs": 0, **more})
    return campaign_files(wanted, source=folder / "instances.csv", watch=watch)


@pytest.mark.thorough
def test_instances_run_on_nodes_and_rows_come_home(nodes: Any, log: Path, tmp_path: Path) -> None:
    found = ran(tmp_path, ["sat-1", "unsat-2", "slow-3", "bad-4", "unsat-5"], nodes)
    assert [row.answer for row in found.rows] == ["sat", "unsat", "unsat", "error", "unsat"]
    assert found.jobs == 2
    commands = noted(log, "command")
    assert len(commands) == 5
    assert {words[1] for words in commands} == {
        "sat-1.onnx",
        "unsat-2.onnx",
        "slow-3.onnx",
        "bad-4.onnx",
        "unsat-5.onnx",
    }
    text = (tmp_path / "t.csv").read_text()
    assert "2 at a time, 1 thread each" in text
    again = ran(tmp_path, ["sat-1", "unsat-2", "slow-3", "bad-4", "unsat-5"], nodes)
    assert again.ran == 0
    assert again.kept == 5


@pytest.mark.thorough
def test_a_process_that_hangs_is_killed_on_its_node(nodes: Any, log: Path, tmp_path: Path) -> None:
    found = ran(tmp_path, ["hang-1", "unsat-2"], nodes, limit_s=8.0, grace_s=1.0)
    assert [row.answer for row in found.rows] == ["timeout", "unsat"]
    grandchild, *_ = noted(log, "grandchild")[-1]  # of the last run: a command that is lost with its node runs again
    deadline = time.monotonic() + 60
    while Path(f"/proc/{grandchild}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{grandchild}").exists()


@pytest.mark.thorough
def test_an_instance_whose_worker_is_killed_runs_again(nodes: Any, log: Path, tmp_path: Path) -> None:
    victims: list[int] = []

    def kill() -> None:
        while not victims:
            if noted(log, "command"):
                for process in clusters.at_work():
                    victims.append(process.pid)
                    clusters.kill(process)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = ran(tmp_path, ["slow-1", "slow-2", "slow-3"], nodes)
    killer.join(60)
    assert victims
    assert [row.answer for row in found.rows] == ["unsat"] * 3
    assert len(list((tmp_path / "t.csv").read_text().splitlines())) == 4


@pytest.mark.thorough
def test_a_user_who_stops_stops_the_nodes_too(nodes: Any, log: Path, tmp_path: Path) -> None:
    found = ran(tmp_path, ["hang-1", "hang-2"], nodes, watch=Stopping(12))
    assert found.interrupted
    assert [row.answer for row in found.rows] == ["", ""]
    deadline = time.monotonic() + 60
    started = [words[0] for words in noted(log, "command")]
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_nobody_at_the_address_leaves_the_table_alone(tmp_path: Path) -> None:
    class Nobody:
        address = "127.0.0.1:1"

    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1"):
        ran(tmp_path, ["sat-1"], Nobody())
    assert not (tmp_path / "t.csv").exists()
