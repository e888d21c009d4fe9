"""What engines that others wrote answer to the same question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from birdnn.records.published import OrNull, Said, publishes
from birdnn.records.stages import Witness

EngineWord = Literal[
    "proved",
    "violated",
    "near_miss",
    "no_violation",
    "not_reproduced",
    "timeout",
    "interrupted",
    "unknown",
    "refused",
    "crash",
]

# Of `--bound`: whose bounds a proof of ours rests on. `EngineWord` is about engines that are asked beside it.
BoundName = Literal["own", "auto_lirpa"]


@publishes("EngineModel", "engine version answer arithmetic seconds detail counterexample=witness")
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """What one engine answers about a property; `birdnn` is our own answer.

    Attributes:
        answer: ``"crash"``: it died.
        seconds: wall time.
        detail: one remark, empty where there is none.
    """

    engine: str
    version: str
    answer: Annotated[
        EngineWord,
        Said(
            "near_miss: its point does not violate when replayed. no_violation: of points replayed, no proof. "
            "not_reproduced: our counterexample does not violate there. refused: the engine does not take the question."
        ),
    ]
    arithmetic: Annotated[str, Said("Which arithmetic the answer speaks about.")]
    seconds: float
    detail: str = ""
    witness: Annotated[Witness | None, Said("Of violated, replayed.")] = None


@publishes("EngineStateModel", "name role version usable note install")
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """One engine, package or device.

    Attributes:
        name: as ``--crosscheck`` spells it, or a package's or device's name.
        role: what it is for.
        version: None where it is not there.
        note: how it went, and what is special here.
        install: the command that gets it; empty where it is usable, as far as is known.
    """

    name: str
    role: str
    version: str | None
    usable: Annotated[
        bool | None,
        Said("Did it answer a small question right? Null where it is there and was not asked: --try asks."),
    ]
    note: str
    install: OrNull
