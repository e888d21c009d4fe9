"""Errors that birdnn raises on purpose, and the exit status of each.

::

    BirdnnError                      5   our own fault
    ├── InputError                   4   something the user handed over is unusable
    │   ├── FormatError                  a file cannot be read: path, place, problem
    │   │   ├── UnsupportedOpError       a network holds an operator we do not know
    │   │   └── UnreadableError          its reader met what it did not foresee
    │   ├── SpecError                    a property that makes no sense
    │   ├── MismatchError                property and network do not fit each other
    │   ├── FetchError                   public data cannot be had, or is not what it should be
    │   └── EngineError                  an engine that others wrote: unknown, not installed, or cannot take the network
    ├── OutputError                  4   a result cannot be written where it was asked for
    ├── NotProvedError               3   a proof was asked for, and there is none
    └── DisagreementError            6   two engines that must agree do not, or a sample violates what was proved

Every error keeps its raw arguments in ``args``, so that it survives pickling between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

_MEMORY = ("can't allocate memory", "out of memory", "Failed to allocate memory", "bad_alloc")


def out_of_memory(error: BaseException) -> bool:
    """Did memory run out? Python and torch on a GPU say so by type; torch on a CPU, onnxruntime and C++ by words."""
    by_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return by_type or any(words in str(error) for words in _MEMORY)


class BirdnnError(Exception):
    """Base of every error that birdnn raises on purpose.

    Attributes:
        exit_status: what the command line returns when this error ends it.
    """

    exit_status: ClassVar[int] = 5


class InputError(BirdnnError):
    """Something the user handed over is unusable."""

    exit_status: ClassVar[int] = 4


class FormatError(InputError):
    """A file cannot be read as what it is meant to be.

    Args:
        path: the file, as the user wrote it.
        place: where in the file: ``"line 12"``, ``"node 'X'"``, ``"byte 0"``; empty where no place can be named.
        problem: what is wrong, in one sentence without a full stop.
    """

    def __init__(self, path: str, place: str, problem: str) -> None:
        super().__init__(path, place, problem)
        self.path, self.place, self.problem = path, place, problem

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.path, self.place) if part)
        return f"{where}: {self.problem}" if where else self.problem


_WITHOUT = {
    "ArgMax": " (but where it makes the one label that is all that a network gives; elsewhere export the network "
    "without it, and compare the outputs that it reads: the label is 3 where Y_3 is above all others)"
}
"""Operator -> how to do without it."""


class UnsupportedOpError(FormatError):
    """A network holds an operator that we have no rule for.

    Args:
        path: the file; empty where the network did not come from one.
        op: the operator, as ONNX spells it.
        node: name of the node that uses it.
        supported: the operators that would have been accepted.
    """

    def __init__(self, path: str, op: str, node: str, supported: Sequence[str]) -> None:
        names = tuple(sorted(supported))
        problem = f"operator {op!r} is not supported{_WITHOUT.get(op, '')}; supported: {', '.join(names)}"
        super().__init__(path, f"node {node!r}", problem)
        # pickle calls the class with its args, and those that `FormatError` has set are not of this signature
        self.args = (path, op, node, names)
        self.op, self.node, self.supported = op, node, names


class UnreadableError(FormatError):
    """A file that made its reader stumble, see `birdnn.reading`; what it stumbled over is the ``__cause__``."""


class SpecError(InputError):
    """A property that makes no sense: an empty box, NaN, an unbounded input."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class MismatchError(InputError):
    """A property, a network or a set of weights do not fit each other."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class FetchError(InputError):
    """Public data cannot be had, or is not what it should be.

    Args:
        place: the address, package, folder or file.
        problem: what is wrong, and what to do.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place, self.problem = place, problem

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class EngineError(InputError):
    """An engine that others wrote is unknown, not installed, or cannot take what it is asked.

    Args:
        engine: its name, as ``--crosscheck`` spells it.
        problem: what is wrong, and where it helps what to do.
        install: the command that brings it, where that is what helps.
    """

    def __init__(self, engine: str, problem: str, install: str = "") -> None:
        super().__init__(engine, problem, install)
        self.engine, self.problem, self.install = engine, problem, install

    def __str__(self) -> str:
        return f"engine {self.engine!r}: {self.problem}" + (f"; to get it: {self.install}" if self.install else "")


class OutputError(BirdnnError):
    """A result cannot be written where it was asked for.

    Args:
        path: the place that was asked for.
        problem: why nothing was written there.
    """

    exit_status: ClassVar[int] = 4

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class NotProvedError(BirdnnError):
    """A proof was asked for, and there is none; raised by ``raise_unless_proved`` of a result.

    Args:
        problem: what is not proved, and why: a counterexample, or what ended the search.
        exit_status: what the command line returns for such a result: 1 where something is violated, 3 where nothing
            is known, 6 where engines contradict each other.
    """

    def __init__(self, problem: str, exit_status: int = 3) -> None:
        super().__init__(problem)
        self.problem = problem
        self.exit_status = exit_status  # type: ignore[misc]


class DisagreementError(BirdnnError):
    """Two engines that must agree do not: stop and look."""

    exit_status: ClassVar[int] = 6

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
