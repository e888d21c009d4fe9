"""Processes that do the work, watched from outside: a limit on time and on memory ends them with all they started.

Each child leads a session of its own, so that Ctrl-C on a terminal reaches the campaign alone, and reads its standard
input, which closes when the campaign dies, however it dies: `birdnn.cli.worker` then ends its whole process group.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Literal, Self

import psutil

PROGRAM = (sys.executable, "-m", "birdnn.cli.worker")
_TICK_S = 0.05
_MEMORY_EVERY_S = 0.2  # each look asks the system about every known descendant
_FAMILY_EVERY_S = 1.0
"""Looking for new descendants reads every process of the machine."""
_TOLD_BYTES = 4000

Reason = Literal["ended", "timeout", "memory", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one command ended.

    Attributes:
        reason: by itself, or what it was killed for.
        status: its exit status, negative for a signal; None where it was killed.
        wall_s: seconds, for a cold one from before its interpreter started.
        told: the end of what it said on stderr.
        peak_gib: the largest resident memory seen, its children's included.
    """

    reason: Reason
    status: int | None
    wall_s: float
    told: str
    peak_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may take before it is killed: seconds, and GiB of resident memory, its children's too; None: any."""

    wall_s: float
    memory_gib: float | None


class Child:
    """A process; leaving its context kills it and its descendants.

    Args:
        program: what to start.
        arguments: of one command for the child to run and end; none for a child that is asked again and again.
        environment: variables to set besides ours.
    """

    def __init__(self, program: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.began = time.monotonic()
        # a file, not a pipe: a pipe that nobody empties would stop the child
        self._told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            [*program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self._serves = not arguments
        self._peak = 0
        self._looked = self._searched = 0.0
        self._known: list[psutil.Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._told.close()

    def ask(self, arguments: Sequence[str]) -> None:
        """Send a command to a child that waits for some."""
        self._told.seek(0)
        self._told.truncate()
        self.began, self._peak = time.monotonic(), 0
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it is gone, which `wait` finds out
                self._process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
                self._process.stdin.flush()

    def wait(self, limits: Limits, stopped: Callable[[], bool]) -> Ending:
        """Until the child answers with a line that holds an exit status, ends, or has to be killed."""
        answer = b""
        # an answer ends with its line feed; without one the child may still be writing it
        while not (self._has_ended() or (self._serves and answer.endswith(b"\n"))):
            reason = self._reason_to_kill(limits, stopped)
            if reason is not None:
                spent = time.monotonic() - self.began
                self.close()
                return self._make_ending(reason, None, spent)
            answer += self._read_output()
        spent = time.monotonic() - self.began
        if self._serves and answer.endswith(b"\n"):
            return self._make_ending("ended", int(answer), spent)
        self.close()
        return self._make_ending("ended", self._process.returncode, spent)

    def serves(self) -> bool:
        """Can it be asked again?"""
        return self._serves and not self._has_ended()

    def _read_output(self) -> bytes:
        """What the child says within a tick; a child that closed its output is looked at every tick."""
        stream = self._process.stdout
        if stream is None or not select.select([stream], [], [], _TICK_S)[0]:
            return b""
        said = os.read(stream.fileno(), 64)
        if not said and not self._has_ended():
            time.sleep(0.002)
        return said

    def _has_ended(self) -> bool:
        """Has it ended? It is left unreaped, so that its process group cannot become somebody else's."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reason_to_kill(self, limits: Limits, stopped: Callable[[], bool]) -> Reason | None:
        now = time.monotonic()
        if stopped():
            return "stopped"
        if now - self.began > limits.wall_s:
            return "timeout"
        if now - self._looked > _MEMORY_EVERY_S:
            self._looked, self._peak = now, max(self._peak, self._resident_bytes())
            if limits.memory_gib is not None and self._peak > limits.memory_gib * 2**30:
                return "memory"
        return None

    def _resident_bytes(self) -> int:
        """Resident bytes of the process and its descendants, added up."""
        now, total = time.monotonic(), 0
        if now - self._searched > _FAMILY_EVERY_S:
            self._searched, self._known = now, self._process_tree()
        for process in self._known:
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def _process_tree(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        return []

    def _make_ending(self, reason: Reason, status: int | None, wall_s: float) -> Ending:
        return Ending(reason=reason, status=status, wall_s=wall_s, told=self.told(), peak_gib=self._peak / 2**30)

    def told(self) -> str:
        """The end of what it said on stderr."""
        size = self._told.seek(0, os.SEEK_END)
        self._told.seek(max(0, size - _TOLD_BYTES))
        return self._told.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Kill it and all it started; those who left its process group as well, as far as they are known."""
        if self._process.returncode is not None:
            return
        # before the kill: afterwards they have another parent, and those outside the group would not be found
        family = self._process_tree()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # unreaped, so the group is still its own
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
