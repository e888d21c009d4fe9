"""Instances of a campaign on the nodes of a cluster: what a command reads and writes travels by value.

Every word of a command that names a file here has it sent along; what the command leaves in its folder comes back. On
the node it runs as it would here, in a process that is watched from outside, with a time limit and a memory limit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from birdnn.campaign.children import PROGRAM, Child, Ending, Limits
from birdnn.machines import Cluster, Lost
from birdnn.pipeline.facts import machine

_LOSSES = 3  # of one instance, before its row says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A command that somebody else runs.

    Attributes:
        words: of the command; `files`: contents of those words that name a file; `folder`: where it writes.
        limits: where they name no memory it is the node's, shared by as many as it runs at a time.
        threads: of the process.
        program: what runs commands; None: the node's own.
    """

    words: Sequence[str]
    files: Mapping[str, bytes]
    folder: str
    limits: Limits
    threads: int
    program: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it ended, what it wrote (names below its folder), and on which machine."""

    ending: Ending
    files: Mapping[str, bytes]
    machine: str


def run_elsewhere(
    cluster: Cluster,
    words: Sequence[str],
    folder: Path,
    limits: Limits,
    threads: int,
    program: tuple[str, ...],
    stopped: Callable[[], bool],
) -> tuple[Ending, str]:
    """Run a command on some node: how it ended, and on which machine; what it wrote is in the folder then.

    A command that was lost with its node is run again.
    """
    errand = Errand(
        words=words,
        files={word: Path(word).read_bytes() for word in words if Path(word).is_file()},
        folder=str(folder),
        limits=limits,
        threads=threads,
        # that begins with the path of this machine's interpreter, which a node may have elsewhere
        program=None if program == PROGRAM else program,
    )
    found: object = None
    for _ in range(_LOSSES):
        found = cluster.result(run_errand, errand, cpus=threads, stopped=stopped)
        if not isinstance(found, Lost):
            break
    if isinstance(found, Result):
        for name, data in found.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return found.ending, found.machine
    told = f"lost {_LOSSES} times with its node: {found}"
    ending = Ending(reason="ended", status=None, wall_s=0.0, told=told, peak_gib=0.0)
    return replace(ending, reason="stopped") if found is None else ending, "a Ray cluster"


def run_errand(errand: Errand) -> Result:
    """Run a command on this machine, on copies of its files."""
    here = machine()
    limits = errand.limits
    # who called does not know this node: its share of the memory is as large as its share of the processors
    if limits.memory_gib is None and here.memory_gib is not None:
        limits = replace(limits, memory_gib=0.9 * here.memory_gib * min(1.0, errand.threads / here.cores))
    with tempfile.TemporaryDirectory(prefix="birdnn-") as scratch:
        out = Path(scratch) / "out"
        out.mkdir()
        places: dict[str, str] = {}
        for number, (word, data) in enumerate(errand.files.items()):
            place = Path(scratch) / "in" / str(number) / Path(word).name  # a property is told by the name of its file
            place.parent.mkdir(parents=True)
            place.write_bytes(data)
            places[word] = str(place)
        words = [places.get(word, word.replace(errand.folder, str(out))) for word in errand.words]
        # in a process of its own here, too: a limit can kill that, and Ray's worker goes on
        with Child(errand.program or PROGRAM, words, {"OMP_NUM_THREADS": str(errand.threads)}) as child:
            ending = child.wait(limits, lambda: False)  # who stops it raises KeyboardInterrupt here
        files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    return Result(ending=ending, files=files, machine=f"{here.cpu}, {here.cores} cores")
