"""A Ray cluster of several nodes, in processes of this machine, for as long as a test needs it."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from birdnn.errors import MismatchError
from birdnn.machines import run_on_node

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def nodes(number: int = 2, cpus: int = 1) -> Iterator[Any]:
    """The cluster; its nodes find birdnn as this process does."""
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    cluster = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own
            cluster = Cluster(initialize_head=True, head_node_args=_node(cpus))
            for _ in range(number - 1):
                cluster.add_node(**_node(cpus))
        yield cluster
    finally:
        if cluster is not None:
            cluster.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _node(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 200 << 20}


def at_work() -> list[psutil.Process]:
    """Ray's processes that are running one of our calls at this moment."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if line.startswith(f"ray::{run_on_node.__name__}"):
            found.append(process)
    return found


def kill(process: psutil.Process) -> None:
    """As a power cut would."""
    process.send_signal(signal.SIGKILL)


def slowly(name: str, errand: Any, work: Any, times: int) -> Any:
    """What runs on a node, slow enough to be killed at work."""
    from birdnn.verify.remote import explore_task

    time.sleep(0.2)
    return explore_task(name, errand, work, times)


def refusing(*values: object) -> None:
    """What runs on a node, and refuses."""
    raise MismatchError("no such thing")
