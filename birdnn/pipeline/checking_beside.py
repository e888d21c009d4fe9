"""The independent checker at work in a process of its own, while this one does something else."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from birdnn.certify.check.parts import environment_of_checker

_LOOK_S = 0.1  # between two looks whether the user has stopped
_END_S = 5.0  # a process has to end by itself and take along those that it started; then it is killed
_ACCEPTED, _SHA256 = "accepted: ", "sha256 of the certificate: "


class CheckBeside:
    """``birdnn-check`` on a certificate; to be used in a ``with`` statement, which it does not outlive.

    Only what it accepts is believed: a process may be killed or lack memory, and of what it does not accept whoever
    asked says why by a check of his own.

    Args:
        net, props, certificate: the files, which lie still meanwhile.
        sha256: of the certificate as it was written.
    """

    def __init__(self, net: Path, props: Sequence[str], certificate: Path, sha256: str) -> None:
        wanted = [f"--net={net}", *(f"--prop={prop}" for prop in props)]
        # behind ``--`` a name that begins with a dash is a file all the same
        self._command = [sys.executable, "-m", "birdnn.certify.check", *wanted, "--", str(certificate)]
        self._sha256 = sha256
        self._said = ""
        self._process: subprocess.Popen[str] | None = None
        self._waiting = threading.Thread()
        self.seconds = math.nan
        """Of its work, known once `accepted_line` has a line."""

    def __enter__(self) -> CheckBeside:
        nothing, begun = subprocess.DEVNULL, time.monotonic()
        try:
            process = subprocess.Popen(
                self._command,
                stdin=nothing,
                stdout=subprocess.PIPE,
                stderr=nothing,
                text=True,
                env=environment_of_checker(),
            )
        except OSError:
            return self  # the system has no room for another process, which then accepts nothing
        # so that its seconds end when it does, not when somebody asks
        self._waiting = threading.Thread(target=self._wait, args=(process, begun), daemon=True)
        self._process = process
        self._waiting.start()
        return self

    def __exit__(self, *how: object) -> None:
        # who is killed ends for certain, however long that takes on a busy machine
        for end, patience_s in ((subprocess.Popen.terminate, _END_S), (subprocess.Popen.kill, None)):
            if self.at_work and self._process is not None:
                end(self._process)
                self._waiting.join(patience_s)

    @property
    def at_work(self) -> bool:
        """Has it not ended yet?"""
        return self._waiting.is_alive()

    def _wait(self, process: subprocess.Popen[str], begun: float) -> None:
        said = process.communicate()[0]
        # the status alone could be that of a Python that failed
        self._said = said if process.returncode == 0 else ""
        self.seconds = time.monotonic() - begun

    def accepted_line(self, over: Callable[[], bool]) -> str | None:
        """What it says of the certificate that it accepts; None where it does not, or ``over`` ends the waiting."""
        while self.at_work:
            if over():
                return None
            self._waiting.join(_LOOK_S)
        lines = self._said.splitlines()
        # the hash is of the bytes that it read itself: another file under this name proves nothing about ours
        if not lines or lines[-1] != _SHA256 + self._sha256:
            return None
        return lines[0].removeprefix(_ACCEPTED) if lines[0].startswith(_ACCEPTED) else None
