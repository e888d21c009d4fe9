"""Instances of a campaign on the nodes of a cluster: what a command reads and writes travels by value.

The files that a command's options name are sent along; what the command leaves in its folder comes back. On the node it
runs as it would here, in a process that is watched from outside, with a time limit and a memory limit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from birdnn.campaign.children import PROGRAM, Child, Ending, Limits
from birdnn.formats.suite import BUNDLED
from birdnn.machines import Cluster, Lost
from birdnn.patterns import named_network, network_word
from birdnn.pipeline.facts import machine

_LOSSES = 3  # of one instance, before its row says so

READ: Mapping[str, Collection[str]] = {
    **dict.fromkeys(("--net", "--prop", "--keep", "--points", "--data", "--val", "--test", "--block"), ()),
    "--suite": BUNDLED,
    "--domain": ("property",),
}
"""Options of `verify` and `repair` whose values may be files to read -> values that are none, whatever lies here."""

WRITTEN = "--json", "--out"
"""Those by which a campaign says where a command writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A command that somebody else runs.

    Attributes:
        words: of the command; `files`: contents of those that name a file, by their places; `folder`: where it writes.
        limits: where they name no memory it is the node's, shared by as many as it runs at a time.
        threads: of the process.
        program: what runs commands; None: the node's own.
    """

    words: Sequence[str]
    files: Mapping[int, bytes]
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
    words = _with_separate_values(words)
    errand = Errand(
        words=words,
        files=_named_files(words),
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
        words = [
            word.replace(errand.folder, str(out)) if option in WRITTEN else word
            for option, word in pairwise(("", *errand.words))
        ]
        for at, data in errand.files.items():
            name, path = _split_word(words[at - 1], words[at])
            place = Path(scratch) / "in" / str(at) / path.name  # a property is told by the name of its file
            place.parent.mkdir(parents=True)
            place.write_bytes(data)
            words[at] = network_word(name, place)
        # in a process of its own here, too: a limit can kill that, and Ray's worker goes on
        with Child(errand.program or PROGRAM, words, {"OMP_NUM_THREADS": str(errand.threads)}) as child:
            ending = child.wait(limits, lambda: False)  # who stops it raises KeyboardInterrupt here
        files = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    return Result(ending=ending, files=files, machine=f"{here.cpu}, {here.cores} cores")


def _with_separate_values(words: Sequence[str]) -> list[str]:
    """The same command, in which a file is a word of its own: ``--data=x.npz`` becomes ``--data``, ``x.npz``."""
    found = []
    for word in words:
        option, equals, value = word.partition("=")
        found += [option, value] if equals and option in READ else [word]
    return found


def _named_files(words: Sequence[str]) -> dict[int, bytes]:
    """Contents of the files that are here and that a command is to read, by the places of their names among its words.

    By what a word means: files here may well be called ``verify``, ``0`` or ``30``.
    """
    named = [(place, *pair) for place, pair in enumerate(pairwise(words), 1) if pair[0] in READ]
    paths = {place: _split_word(option, word)[1] for place, option, word in named if word not in READ[option]}
    return {place: path.read_bytes() for place, path in paths.items() if path.is_file()}


def _split_word(option: str, word: str) -> tuple[str, Path]:
    """The name before a path, and the path: ``--net`` may say ``NAME=FILE``."""
    return named_network(word) if option == "--net" else ("", Path(word))
