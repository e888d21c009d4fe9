"""Campaigns whose processes are `fake_worker.py`: they start in milliseconds and end as they are told to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from birdnn.campaign import VERIFY, Campaign, Instance, read_instances
from birdnn.records import Progress

PROGRAM = (sys.executable, "-S", "-W", "ignore", str(Path(__file__).with_name("fake_worker.py")))


def instances(folder: Path, nets: Sequence[str], limit_s: float = 60.0) -> tuple[Instance, ...]:
    """An instance for each name, of one property."""
    path = folder / "instances.csv"
    path.write_text("".join(f"{net}.onnx,p.vnnlib,{limit_s:g}\n" for net in nets))
    return tuple(read_instances(path))


def campaign(folder: Path, nets: Sequence[str], limit_s: float = 60.0, **more: Any) -> Campaign:
    """Of these networks, with a table beside them."""
    found = instances(folder, nets, limit_s)
    return Campaign(**{"kind": VERIFY, "instances": found, "table": folder / "t.csv", "program": PROGRAM, **more})


def noted(folder: Path, what: str) -> list[list[str]]:
    """What the workers noted of one kind, each as words."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1:] for line in lines if line.split()[0] == what]


class Stopping:
    """A user who stops after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def update(self, news: Progress) -> None:
        """Ignore the news."""

    def stopped(self) -> bool:
        self.looks -= 1
        return self.looks < 0
