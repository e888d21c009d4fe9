"""``python -m birdnn.cli.worker``: the command line as a process of a campaign.

With arguments it is ``birdnn ARGUMENTS``. Without, it reads commands from standard input, a JSON array of arguments on
each line, and answers each with its exit status on a line of standard output; the first line says that it is ready.
Either way, when standard input closes, whoever wanted the answer is gone: the process and all it started end.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading

from birdnn.heap import keep_freed_memory

_BY_ITSELF = "--config", os.devnull
"""A campaign says all that holds for its processes: a `birdnn.toml` that lies there is not for them."""


def _kill_process_group() -> None:
    if os.getpgrp() == os.getpid():  # else the group is somebody else's
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _read_commands(commands: queue.SimpleQueue[list[str]]) -> None:
    """Pass commands on until the other side is gone. Reads the descriptor: a buffer's lock would hinder the exit."""
    left = b""
    while said := os.read(0, 1 << 16):
        *lines, left = (left + said).split(b"\n")
        for line in lines:
            commands.put([str(word) for word in json.loads(line)])
    _kill_process_group()


def _run_command(arguments: list[str]) -> int:
    """One command in this process; its exit status."""
    from birdnn.cli.app import app

    sys.argv = ["birdnn", *arguments]  # the report says how it was made
    try:
        app(args=[*_BY_ITSELF, *arguments], prog_name="birdnn")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main() -> None:
    """Run one command, or one after the other."""
    keep_freed_memory()
    commands: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    # also beside a single command, which has to end with whoever started it, even in the middle of a computation
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    if len(sys.argv) > 1:
        from birdnn import cli

        cli.main([*_BY_ITSELF, *sys.argv[1:]])
        return
    # descriptors, not sys.stdout: what libraries in C print would stand among the answers
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what commands print is for people
    importlib.import_module("birdnn.pipeline")  # seconds that are no command's

    os.write(answers, b"0\n")
    while True:
        os.write(answers, f"{_run_command(commands.get())}\n".encode())


if __name__ == "__main__":
    main()
