"""``python -m tests.faults.dies N FOLDER COMMAND...``: kill -9 before the N-th file operation below FOLDER.

Python announces every opening, renaming and removing to audit hooks, so that N reaches the moments between two of them,
which a stopwatch hardly ever meets.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "tempfile.mkstemp"}


def main() -> None:
    """See the module."""
    left, folder = int(sys.argv[1]), os.path.realpath(sys.argv[2])
    sys.argv = ["birdnn", *sys.argv[3:]]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _WATCHED and any(folder in str(argument) for argument in arguments):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    runpy.run_module("birdnn", run_name="__main__")


if __name__ == "__main__":
    main()
