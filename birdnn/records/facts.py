"""Facts that several outcomes state: the machine, the suite, what inputs and outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Units = Literal["normalised", "raw"]

Device = Literal["cpu", "cuda"]

AskedDevice = Literal["auto", "cpu", "cuda"]
"""Where to compute, as the user says it: ``"auto"`` is the CPU unless a graphics device is there and pays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the command ran on; ``memory_gib`` is None where the system does not say."""

    system: str
    cpu: str
    cores: int
    threads: int
    memory_gib: float | None
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMatch:
    """A suite that knows the network.

    Attributes:
        name: the suite, e.g. ``"acasxu"``.
        entry: the network there, e.g. ``"N2,9"``.
        by: how it was found: ``"content"`` (sha256 of the weights) or ``"--as"``.
        applicable: names of all properties that are meant to hold.
        not_named: those of them that the user did not ask for.
    """

    name: str
    entry: str
    by: Literal["content", "--as"]
    applicable: tuple[str, ...]
    not_named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledQuantity:
    """An input or output: what it means, and ``network value = (raw - mean) / range``."""

    name: str
    text: str
    unit: str
    mean: Fraction
    range: Fraction
