"""Other machines, by Ray (docs.ray.io): functions that run somewhere on a cluster, whatever becomes of single nodes.

A function that runs there is one of ours, found by its name: birdnn has to be installed there, the very same. What it
takes and gives travels by value. Ray is loaded when somebody asks for a cluster, and only then.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from birdnn.errors import BirdnnError, EngineError, out_of_memory

_CONNECT_S = 3.0  # of a socket
_ANSWER_S = 15.0  # of a cluster, to a process that loads Ray first
_START_S = 60.0  # of a process on each node, which loads Python and nothing much
_STARTS = 3  # of a process on a node, before it counts as unable to run anything
_COUNT_S = 2.0  # so long a count of processors is believed
_LOOK_S = 0.2  # between two looks whether the user has stopped
_EXPECTED = "expected is the address of a running cluster, HOST:PORT as 'ray start --head' prints it, or auto"
_PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"


@cache
def fingerprint() -> str:
    """The version of birdnn in this process, and the beginning of a hash of its source."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        # names too, and NUL between: no other division into files gives the same bytes
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{metadata.version('birdnn')} ({digest.hexdigest()[:12]})"


@contextmanager
def cluster_at(address: str) -> Iterator[Cluster]:
    """The cluster at an address, whose nodes all have this very birdnn; connected meanwhile.

    Raises:
        EngineError: Ray is not installed, nothing answers there within seconds, or birdnn is another one somewhere.
    """
    _require_answer(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # noqa: BLE001 - whatever Ray says about an address
        raise _unusable_address(address, str(error)) from None
    try:
        cluster = Cluster()
        cluster.require_same()
        yield cluster
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """See that a cluster answers, from a process of its own: Ray tries for minutes, and cannot be stopped.

    Raises:
        EngineError: none does.
    """
    if find_spec("ray") is None:
        raise EngineError("ray", "it is not installed: pip install 'birdnn[ray]', here and on every node")
    host, _, port = address.rpartition(":")
    if "/" not in address and host and port.isdecimal():
        try:
            # in seconds where nobody listens; the probe below would wait for its whole limit
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise _unusable_address(address, str(error)) from None
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise _unusable_address(address, f"no cluster answered within {_ANSWER_S:.0f} s") from None
    if done.returncode != 0:
        raise _unusable_address(address, done.stderr.decode("utf-8", "replace"))


def _unusable_address(address: str, said: str) -> EngineError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = lines[-1].partition("Error: ")[2] or lines[-1] if lines else "it does not say why"
    return EngineError("ray", f"{address}: {told.rstrip('.')[:200]}; {_EXPECTED}")


class Lost(str):
    """Why nothing came of a call that was under way."""


class Cluster:
    """Calls of functions on a Ray cluster, by keys of the caller's; use `cluster_at`."""

    def __init__(self) -> None:
        import ray

        self._ray: Any = ray
        # who calls decides whether a call that was lost runs again, and counts how often
        self._called = ray.remote(max_retries=0)(run_on_node)
        self._running: dict[Any, Any] = {}  # reference -> key
        self._counted = -_COUNT_S
        self._cpus = 0

    def require_same(self) -> None:
        """See that birdnn is this very one on every node. A node that leaves meanwhile is none: that one has died is
        known in the cluster only after some seconds.

        Raises:
            EngineError: it is not, or no node is left.
        """
        until, asked, heard = time.monotonic() + _START_S, self._hosts_by_node(), False
        silent: dict[str, str] = {}
        # a process of Ray's may die at its start, on a busy machine above all; the next one does well
        for _ in range(_STARTS):
            if not asked:
                break
            silent = self._find_silent(asked, until)
            heard = heard or len(silent) < len(asked)
            there = self._hosts_by_node()
            asked = {node: host for node, host in asked.items() if node in silent and node in there}
        for node, host in asked.items():
            raise EngineError("ray", f"{host} {silent[node]}")
        if not heard:
            raise EngineError("ray", "no node of the cluster is left")

    def _find_silent(self, nodes: Iterable[str], until: float) -> dict[str, str]:
        """The nodes on which nothing says that birdnn is this very one, each with the reason.

        Raises:
            EngineError: birdnn is another one on a node.
        """
        by_node = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        # on this node and no other, also where all its processors are busy
        nodes_by_call = {
            self._called.options(num_cpus=0, scheduling_strategy=by_node(node_id=node, soft=False)).remote(
                fingerprint(), fingerprint, ()
            ): node
            for node in nodes
        }
        left_s = max(0.0, until - time.monotonic())
        ready, late = self._ray.wait([*nodes_by_call], num_returns=len(nodes_by_call), timeout=left_s)
        silent = {nodes_by_call[call]: f"started no process within {_START_S:.0f} s" for call in late}
        for call in ready:
            found = self._fetch_result(call)
            if isinstance(found, Lost):
                silent[nodes_by_call[call]] = f"runs nothing of birdnn: {found}"
        return silent

    def _hosts_by_node(self) -> dict[str, str]:
        """The host of each node that is there, as far as the cluster knows."""
        return {node["NodeID"]: node["NodeManagerHostname"] for node in self._ray.nodes() if node["Alive"]}

    def cpus(self) -> int:
        """Processors of the nodes that are there now."""
        if time.monotonic() - self._counted >= _COUNT_S:
            self._counted, self._cpus = time.monotonic(), int(self._ray.cluster_resources().get("CPU", 0))
        return self._cpus

    def put(self, value: object) -> Any:
        """A reference to a value that several calls take; see `fetch_value`."""
        return self._ray.put(value)

    def submit(self, key: object, function: Callable[..., Any], *values: object, cpus: int = 1) -> None:
        """Have ``function(*values)`` run on some node, with so many processors to itself."""
        call = self._called.options(num_cpus=cpus)
        self._running[call.remote(fingerprint(), function, values)] = key

    def result(self, function: Callable[..., Any], *values: object, cpus: int, stopped: Callable[[], bool]) -> Any:
        """What one call gives, `Lost` where its process or node died, None once ``stopped``; any thread may ask."""
        reference = self._called.options(num_cpus=cpus).remote(fingerprint(), function, values)
        while not self._ray.wait([reference], timeout=_LOOK_S)[0]:
            if stopped():
                self._ray.cancel(reference)
                return None
        return self._fetch_result(reference)

    def ended(self, timeout_s: float) -> Sequence[tuple[Any, Any]]:
        """Key and result of calls that ended, at least one unless none ends within so long; `Lost` where a process or
        node died on the way.

        Raises:
            BirdnnError, Exception: what the function raised.
        """
        if not self._running:
            time.sleep(timeout_s)
            return []
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=timeout_s)
        if ready:  # and whatever else is there
            ready, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        return [(self._running.pop(reference), self._fetch_result(reference)) for reference in ready]

    def cancel(self) -> None:
        """End all calls; nobody wants their results."""
        for reference in self._running:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(reference)
        self._running.clear()

    def _fetch_result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ImportError):
                raise EngineError("ray", f"birdnn is not installed on a node of the cluster ({cause})") from None
            if isinstance(cause, BirdnnError):
                raise cause from None
            if out_of_memory(cause):
                return Lost("memory ran out there")
            raise
        # ahead of RayError, which it is too: without it nothing more can be asked, while a lost node is one of several
        except errors.LocalRayletDiedError:
            raise EngineError("ray", "the cluster's process on this machine has died; start it again") from None
        except errors.RayError as error:
            return Lost(next((line for line in str(error).splitlines() if line), type(error).__name__).rstrip("."))


def run_on_node(wanted: str, function: Callable[..., Any], values: Sequence[object]) -> Any:
    """What runs on a node.

    Raises:
        EngineError: birdnn is another one here than where the call comes from.
    """
    if fingerprint() != wanted:
        told = f"birdnn on {socket.gethostname()} is {fingerprint()}, and here {wanted}: install the same on every node"
        raise EngineError("ray", told)
    return function(*values)


def fetch_value(reference: Any) -> Any:
    """The value that `Cluster.put` was given; within a function that runs on a node."""
    import ray

    return ray.get(reference)
