"""Facts that several outcomes state: the machine, the suite, what inputs and outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from birdnn.records.published import Exact, Said, publishes
from birdnn.rounding import Semantics

Units = Literal["normalised", "raw"]

Device = Literal["cpu", "cuda"]

AskedDevice = Literal["auto", "cpu", "cuda"]
"""Where to compute, as the user says it: ``"auto"`` is the CPU unless a graphics device is there and pays."""


@publishes("MachineModel", "system cpu cores threads memory_gib device")
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the command ran on."""

    system: str
    cpu: str
    cores: Annotated[int, Said("Cores that this process may use.")]
    threads: int
    memory_gib: float | None
    device: str = "cpu"


@publishes("SuiteModel", "name entry by applicable not_named")
@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMatch:
    """A suite that knows the network.

    Attributes:
        name: the suite, e.g. ``"acasxu"``.
        entry: the network there, e.g. ``"N2,9"``.
        by: how it was found: ``"content"`` (sha256 of the weights) or ``"--as"``.
        applicable: names of all properties that are meant to hold.
    """

    name: str
    entry: str
    by: Literal["content", "--as"]
    applicable: tuple[str, ...]
    not_named: Annotated[tuple[str, ...], Said("Applicable properties that the user did not ask for.")] = ()


@publishes("ScaledQuantityModel", "name text unit mean range")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledQuantity:
    """An input or output: ``network value = (raw - mean) / range``; exact numbers as text."""

    name: str
    text: str
    unit: str
    mean: Exact
    range: Exact


ProofSemantics: TypeAlias = Annotated[
    Semantics,
    Said("A proof speaks about the function over the reals, or about any execution in float32."),
]
