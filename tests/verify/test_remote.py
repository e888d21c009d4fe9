"""One proof on several nodes, of which some die; campaigns on them; and addresses at which nobody is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from birdnn import machines
from birdnn.errors import EngineError, MismatchError
from birdnn.machines import Cluster, Lost, cluster_at, fingerprint
from birdnn.records import Proved, Unknown
from birdnn.verify import remote, spread, verify
from birdnn.verify.remote import RayHelpers, helpers_at
from tests import cluster as clusters
from tests.verify.cases import SHORT_ATTACK, Engine, Impatient, effort
from tests.verify.test_frontier import Kept, case, same

pytest.importorskip("ray", reason="Ray is not installed: make engines")
# warnings are Ray's own; two clusters on one machine would kill each other's workers, and one takes seconds to begin
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray"), pytest.mark.thorough]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with clusters.nodes(2) as found:
        yield found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_MOST", 16)
    monkeypatch.setattr(spread, "_LEAST", 16)
    monkeypatch.setattr(spread, "PARTS", 4)


def asked(helpers: RayHelpers | None, margin: float = 0.02, **changes):
    net, prop = case(margin)
    watch, keeper = changes.pop("watch", None), changes.pop("keeper", None)
    limits = effort(**{"record": True, "batch": 4, "attack": SHORT_ATTACK, "timeout_s": 600.0, **changes})
    return verify(net, prop, settings=limits, replays=[Engine(net)], keeper=keeper, watch=watch, helpers=helpers)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_the_proof_is_that_of_one_process(nodes: Any, semantics: str) -> None:
    alone = asked(None, semantics=semantics)
    with helpers_at(nodes.address) as helpers:
        assert helpers is not None
        assert helpers.count() == 2
        same(asked(helpers, semantics=semantics), alone)
        same(asked(helpers, semantics=semantics), alone)  # errands do not get mixed up


class Killer(threading.Thread):
    """Kills processes that are at work, one after the other, until so many tasks are lost or it is told to end.

    A worker of an earlier proof may not have ended yet, and costs none: kills alone are not counted.
    """

    def __init__(self, lost: list[Lost], enough: int) -> None:
        super().__init__(daemon=True)
        self.lost, self.enough, self.ended = lost, enough, threading.Event()

    def run(self) -> None:
        while len(self.lost) < self.enough and not self.ended.wait(0.01):
            before = len(self.lost)
            for process in clusters.at_work()[:1]:
                clusters.kill(process)
                until = time.monotonic() + 0.5
                while len(self.lost) == before and time.monotonic() < until and not self.ended.wait(0.01):
                    pass


@pytest.mark.usefixtures("soon")
def test_a_worker_killed_at_work_costs_a_task(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, nothing counts twice."""
    monkeypatch.setattr(remote, "explore_task", clusters.slowly)
    lost: list[Lost] = []
    right = Cluster.ended

    def ended(self: Cluster, timeout_s: float) -> Any:
        found = right(self, timeout_s)
        lost.extend(result for _, result in found if isinstance(result, Lost))
        return found

    monkeypatch.setattr(Cluster, "ended", ended)
    with helpers_at(nodes.address) as helpers:
        killer = Killer(lost, 2)
        killer.start()
        try:
            same(asked(helpers), asked(None))
        finally:
            killer.ended.set()
            killer.join()
    assert len(lost) >= 2


@pytest.mark.usefixtures("soon")
def test_a_node_lost_and_a_node_that_joins(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof goes on with whoever is there."""
    monkeypatch.setattr(remote, "explore_task", clusters.slowly)
    third = nodes.add_node(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    with helpers_at(nodes.address) as helpers:
        assert helpers is not None
        assert helpers.count() == 4
        leaving = threading.Timer(3.0, lambda: nodes.remove_node(third, allow_graceful=False))
        leaving.start()
        same(asked(helpers), asked(None))
        leaving.join()


def test_a_process_that_dies_at_its_start_is_started_again(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own processes do so on a busy machine; only a node that starts none in several attempts is refused."""
    right, lost = Cluster._fetch_result, Lost("the worker died")
    deaths = [lost, lost]
    monkeypatch.setattr(Cluster, "_fetch_result", lambda self, call: deaths.pop() if deaths else right(self, call))
    with cluster_at(nodes.address) as cluster:
        assert cluster.cpus() == 2
    assert not deaths
    monkeypatch.setattr(Cluster, "_fetch_result", lambda self, call: lost)
    with pytest.raises(EngineError, match="runs nothing of birdnn: the worker died"), cluster_at(nodes.address):
        pass


def test_a_node_that_has_just_died_is_none(nodes: Any) -> None:
    """The cluster takes it for alive for some seconds still."""
    third = nodes.add_node(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    with helpers_at(nodes.address) as helpers:
        assert helpers is not None
        assert helpers.count() == 4
    nodes.remove_node(third, allow_graceful=False)
    with helpers_at(nodes.address) as helpers:
        assert helpers is not None
        assert helpers.count() == 2


@pytest.mark.usefixtures("soon")
def test_limits_end_it_and_it_goes_on_from_there(nodes: Any) -> None:
    keeper = Kept(always=False)
    with helpers_at(nodes.address) as helpers:
        found = asked(helpers, keeper=keeper, max_boxes=120)
        assert isinstance(found, Unknown)
        assert found.reason == "boxes"
        found = asked(helpers, keeper=keeper, watch=Impatient(12))
        assert isinstance(found, Unknown | Proved)
        same(asked(helpers, keeper=keeper), asked(None))
        assert not keeper.data


@pytest.mark.usefixtures("soon")
def test_whatever_a_helper_raises_is_told(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "explore_task", clusters.refusing)
    with helpers_at(nodes.address) as helpers, pytest.raises(MismatchError, match="no such thing"):
        asked(helpers)


def test_another_birdnn_is_told_in_one_sentence(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "fingerprint", lambda: "0.0.9 (abc)")
    with pytest.raises(EngineError) as told, cluster_at(nodes.address):
        pass
    assert "and here 0.0.9 (abc): install the same on every node" in str(told.value)
    assert fingerprint() in str(told.value)


def test_nobody_at_an_address() -> None:
    begun = time.monotonic()
    for address in ("127.0.0.1:1", "nonsense", "127.0.0.1:99999", "no-such-host.invalid:6379"):
        with (
            pytest.raises(EngineError, match=r"expected is the address of a running cluster") as told,
            cluster_at(address),
        ):
            pass
        assert address in str(told.value)
        assert "\n" not in str(told.value)
    assert time.monotonic() - begun < 60.0


def test_somebody_else_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listens and says nothing is not waited for."""
    monkeypatch.setattr(machines, "_ANSWER_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineError, match="no cluster answered within 3 s"), cluster_at(address):
            pass


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'birdnn\[ray\]'"), cluster_at("auto"):
        pass
