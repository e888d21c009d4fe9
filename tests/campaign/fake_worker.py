"""A worker that does as the network's name says, and imports nothing: `birdnn.cli.worker` without the command line.

``sat-1.onnx`` is answered sat; ``hang``, ``eat`` (memory), ``die`` and ``bad`` misbehave, ``meet4`` waits for three
others. Each start and each command is noted in the file ``FAKE_LOG``.
"""

# ruff: noqa: T201

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def note(*words: object) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def value(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def obey(words: list[str]) -> int:
    what = Path(value(words, "--net")).stem.split("-")[0]
    note("command", os.getpid(), Path(value(words, "--net")).name, *words[words.index("--timeout") + 2 :])
    if what == "hang":
        child = "import time; time.sleep(600)"
        grandchild = subprocess.Popen([sys.executable, "-S", "-c", child], start_new_session=True)
        note("grandchild", grandchild.pid)
        time.sleep(600)
    if what == "eat":
        held = bytearray(200 << 20)
        held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
        time.sleep(600)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "meet4":
        while Path(os.environ["FAKE_LOG"]).read_text().count("command") < 4:
            time.sleep(0.01)
    if what == "slow":
        time.sleep(0.3)
    if what == "bad":
        print("birdnn: error: bad.onnx: no such file", file=sys.stderr, flush=True)
        return 4
    if what == "broken":
        print("birdnn: internal error: KeyError: x\nbirdnn: This is a defect", file=sys.stderr, flush=True)
        return 5
    report = {
        "verdict": {"slow": "unsat", "meet4": "unsat"}.get(what, what),
        "boxes": 3,
        "solve_s": 0.25,
        "semantics": "real",
        "disagreement": None,
        "properties": [{"reason": "precision" if what == "unknown" else None}],
        "interrupted": False,
    }
    Path(value(words, "--json")).write_text(json.dumps(report))
    return 0


def main() -> None:
    note("start", os.getpid(), os.environ["OMP_NUM_THREADS"])
    if len(sys.argv) > 1:
        print("unsat", flush=True)
        sys.exit(obey(sys.argv[1:]))
    print(0, flush=True)
    for line in sys.stdin:
        print(obey(json.loads(line)), flush=True)


main()
