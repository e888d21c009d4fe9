"""Answers one instance a line, with the version that ``PYTHONPATH`` names; `benchmarks.attack.compare` asks.

A line of input holds what to do (``verify`` or ``falsify``), a network, a property and seconds, as a list in JSON. The
line of output holds the verdict, the boxes that were examined, about how many evaluations of the network it took (of
which one with a gradient counts as three), and seconds of processor time and wall time, reading left out.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from birdnn.errors import BirdnnError
from birdnn.network import Network
from birdnn.pipeline.load import load_network, load_property
from birdnn.verify import SearchSettings, falsify, verify

WORDS = {"Proved": "unsat", "Violated": "sat"}


def main() -> None:
    """Until the input ends."""
    torch.set_num_threads(1)
    count = [0]

    def counts(module: torch.nn.Module, of: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, Network):
            count[0] += len(of[0]) * (3 if of[0].requires_grad else 1)

    register_module_forward_pre_hook(counts)
    for line in sys.stdin:
        what, net, prop, limit_s = json.loads(line)
        count[0] = 0
        print(json.dumps(answer(what, Path(net), Path(prop), limit_s) | {"evaluations": count[0]}), flush=True)


def answer(what: str, net: Path, prop: Path, limit_s: float) -> dict[str, object]:
    """One instance."""
    try:
        loaded = load_network(net)
        asked = load_property(prop, loaded, "normalised")
        settings = SearchSettings(timeout_s=limit_s)
        processor, wall = time.process_time(), time.perf_counter()
        decide = verify if what == "verify" else falsify
        found = decide(loaded.net, asked, settings=settings, replays=loaded.replays)
    except BirdnnError as error:
        return {"verdict": type(error).__name__, "boxes": "", "processor_s": "", "wall_s": ""}
    return {
        "verdict": WORDS.get(type(found).__name__) or getattr(found, "reason", "unknown"),
        "boxes": found.boxes,
        "processor_s": round(time.process_time() - processor, 3),
        "wall_s": round(time.perf_counter() - wall, 3),
    }


if __name__ == "__main__":
    main()
