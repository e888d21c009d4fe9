"""Helpers of a spread search on a Ray cluster: a process for each processor, which keeps what tasks have in common."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from birdnn.boxes import Boxes
from birdnn.heap import keep_freed_memory
from birdnn.machines import Cluster, Lost, cluster_at, fetch_value
from birdnn.verify.bounding import make_bound
from birdnn.verify.frontier import work_from_arrays, work_to_arrays
from birdnn.verify.recording import Recorder
from birdnn.verify.spread import Errand, Explorer, Piece, Task
from birdnn.verify.work import Work

Arrays = Mapping[str, npt.NDArray[Any]]

_EXPLORERS: dict[str, Explorer] = {}
"""Of this process, by the name of their errand: one, for an errand is over when the next one begins."""


class RayHelpers:
    """`birdnn.verify.spread.Helpers` on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._name, self._errand = "", None
        self._region: Any = None

    def begin(self, errand: Errand) -> None:
        """See `Helpers.begin`."""
        # a new name each time: processes keep the explorer of the last errand that they saw
        self._name, self._region = uuid.uuid4().hex, errand.region
        self._errand = self._cluster.put(errand)

    def count(self) -> int:
        """See `Helpers.count`."""
        return self._cluster.cpus()

    def submit(self, key: int, task: Task) -> None:
        """See `Helpers.submit`."""
        # in a list, so that Ray hands over the reference and not, again and again, the network
        self._cluster.submit(key, explore_task, self._name, [self._errand], work_to_arrays(task.work), task.round)

    def ended(self, timeout_s: float) -> Sequence[tuple[int, Piece | str]]:
        """See `Helpers.ended`."""
        return [
            (key, str(found) if isinstance(found, Lost) else self._piece_from_arrays(found))
            for key, found in self._cluster.ended(timeout_s)
        ]

    def end(self) -> None:
        """See `Helpers.end`."""
        self._cluster.cancel()
        self._errand = None

    def _piece_from_arrays(self, found: Mapping[str, Any]) -> Piece:
        nodes = found["nodes"]
        return Piece(
            boxes=found["boxes"],
            left=[work_from_arrays(_own_copies(part)) for part in found["left"]],
            small=[Boxes(*(torch.from_numpy(np.array(side)) for side in sides)) for sides in found["small"]],
            points=torch.from_numpy(np.array(found["points"])),
            recorder=None if nodes is None else Recorder.of(self._region, nodes, _own_copies(found["recorded"])),
            seconds=found["seconds"],
        )


def explore_task(name: str, errand: Sequence[Any], work: Arrays, times: int) -> dict[str, Any]:
    """What becomes of a task, as arrays; runs on a node.

    Args:
        name: of the errand, and `errand` the reference to it.
        work: the boxes, and `times` how often they were dealt out before.
    """
    if name not in _EXPLORERS:
        _EXPLORERS.clear()
        torch.set_num_threads(1)  # a process for each processor
        keep_freed_memory()
        common: Errand = fetch_value(errand[0])
        _EXPLORERS[name] = Explorer(common, make_bound(common.net, common.settings))
    piece = _EXPLORERS[name].explore(Task(work_from_arrays(_own_copies(work)), times))
    return {
        "boxes": piece.boxes,
        # one array of each kind instead of hundreds of small ones to send
        "left": [work_to_arrays(Work.concatenate([*piece.left]))] if piece.left else [],
        "small": [(boxes.lower.numpy(), boxes.upper.numpy()) for boxes in piece.small],
        "points": piece.points.numpy(),
        "nodes": None if piece.recorder is None else piece.recorder.nodes,
        "recorded": {} if piece.recorder is None else piece.recorder.arrays(),
        "seconds": piece.seconds,
    }


def _own_copies(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Copies: Ray's arrays cannot be written to, and keep the memory that machines share from being used again."""
    return {name: np.array(array) for name, array in arrays.items()}


@contextmanager
def helpers_at(address: str | None) -> Iterator[RayHelpers | None]:
    """Helpers on the cluster at an address, connected meanwhile; nobody where there is none.

    Raises:
        EngineError: see `birdnn.machines.cluster_at`.
    """
    if address is None:
        yield None
        return
    with cluster_at(address) as cluster:
        yield RayHelpers(cluster)
