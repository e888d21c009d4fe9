"""A large tree in parts, each checked by a process of its own.

A part is made of whole subtrees and of all nodes above them, so that it is checked as the whole is. Every process reads
the files itself and says whose certificate it accepted; what nobody has judged the first process judges itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdnn.certify.check.certificate import LEAF
from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.lines import Flags

# For each part: enough that dealing them out by size makes parts that take about equally long.
_SUBTREES = 64
_WORTHWHILE = {"float64": 250_000, "exact": 50_000}
"""Bytes of a certificate whose check in one process takes so long that others are worth their start."""


Net = str | Path | Mapping[str, str | Path]
"""A network's file, or the files of several by the names that queries have for them."""


class Part(NamedTuple):
    """The ``number``-th (from 0) of so many parts."""

    number: int = 0
    of: int = 1


def nodes_of_part(axis: NDArray[Any], part: Part) -> Flags:
    """Which nodes of a tree belong to a part: subtrees of one level, dealt out by size, and everything above them.

    Args:
        axis: of each node, level by level; `LEAF` where there is no cut (docs/certificate.md).
        part: which.
    """
    tree, trees = np.full(len(axis), -1), 0
    begin, end = 0, 1
    while begin < end:
        cuts = begin + np.nonzero(axis[begin:end] != LEAF)[0]
        # The first level that is wide enough; what is above is checked by everybody, and is little.
        if not trees and end - begin >= _SUBTREES * part.of:
            trees = end - begin
            tree[begin:end] = np.arange(trees)
        tree[end : end + 2 * len(cuts)] = np.repeat(tree[cuts], 2)
        begin, end = end, end + 2 * len(cuts)
    owner = np.empty(trees + 1, dtype=np.intp)
    # The largest first, in turn. Stable, as every process must deal them out in the same way.
    owner[np.argsort(-np.bincount(tree[tree >= 0], minlength=trees), kind="stable")] = np.arange(trees) % part.of
    owner[-1] = part.number  # what is above the trees, or a tree too narrow to be shared, is everybody's
    mine: Flags = owner[tree] == part.number
    return mine


def process_count(certificate: File, arithmetic: str) -> int:
    """How many are worth it: one for each core that may be used, of a large certificate."""
    if len(certificate.data) < _WORTHWHILE[arithmetic]:
        return 1
    # Whoever limits the threads of this process means its cores.
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment_of_checker() -> dict[str, str]:
    """That of a process which is to run this very checker, wherever it was imported from."""
    package = str(Path(__file__).parents[3])
    places = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": places}


class Others:
    """The processes that check all parts but the first, to be used in a ``with`` statement: none of them outlives it.

    Args:
        net, props, certificate: the files; the last one as this process read it.
        options: of the checker's command line.
        count: parts in all.
    """

    def __init__(
        self, net: Net, props: Sequence[str | Path], certificate: File, options: Sequence[str], count: int
    ) -> None:
        self.certificate = certificate
        self._running: list[subprocess.Popen[str]] = []
        nets = [f"{name}={path}" for name, path in net.items()] if isinstance(net, Mapping) else [str(net)]
        wanted = [*(f"--net={each}" for each in nets), *(f"--prop={prop}" for prop in props), *options]
        self._commands = [
            # Behind ``--`` a name that begins with a dash is a file all the same.
            [sys.executable, "-m", "birdnn.certify.check", *wanted, f"--part={number}/{count}", "--", certificate.path]
            for number in range(1, count)
        ]

    def __enter__(self) -> Others:
        # Their products are small, and the cores are shared out already.
        environment = {**environment_of_checker(), "OMP_NUM_THREADS": "1"}
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        for command in self._commands:
            try:
                self._running.append(
                    subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=nothing, text=True, env=environment)
                )
            # The system has no room for another process: what it would have judged is left.
            except OSError:
                break
        return self

    def __exit__(self, *how: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def left(self) -> list[Part]:
        """Wait for them: the parts that nobody has judged, because a process could not do its work.

        Raises:
            Rejected: one of them rejected its part.
        """
        count = len(self._commands) + 1
        # Those that no process was started for.
        found = [Part(number, count) for number in range(len(self._running) + 1, count)]
        for number, process in enumerate(self._running, 1):
            said = process.communicate()[0].strip()
            # The status alone could be that of a Python that failed.
            if process.returncode == 1 and said.startswith("rejected: "):
                raise Rejected(said.removeprefix("rejected: "))
            # The hash is of the bytes that it read itself: another file under this name proves nothing about ours.
            if process.returncode != 0 or said != accepted_message(self.certificate.sha256):
                found.append(Part(number, count))
        return found


def accepted_message(sha256: str) -> str:
    """What a process says that has accepted its part of this certificate."""
    return f"accepted: a part of {sha256}"
