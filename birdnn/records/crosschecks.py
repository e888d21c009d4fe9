"""What engines that others wrote answer to the same question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

BoundName = Literal["own", "auto_lirpa"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """One engine's answer about one property.

    Attributes:
        engine: who was asked, ``"birdnn"`` for ourselves.
        version: of the engine.
        answer: ``"violated"`` has a replayed witness. ``"near_miss"``: the engine found a point that does not violate
            when replayed. ``"no_violation"``: none of the points that were replayed violates; no proof.
            ``"not_reproduced"``: our counterexample does not violate there. ``"refused"``: the engine does not take the
            network or the property. ``"crash"``: it died.
        arithmetic: which arithmetic the answer speaks about.
        seconds: wall time.
        detail: one remark, empty where there is none.
        witness: of ``"violated"``.
    """

    engine: str
    version: str
    answer: EngineWord
    arithmetic: str
    seconds: float
    detail: str = ""
    witness: Witness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What ``doctor`` finds out about one engine or package.

    Attributes:
        name: as ``--crosscheck`` spells it, or a package's or device's name.
        role: what it is for.
        version: None where it is not there.
        usable: it answered a small question right; None where it is there, and was not asked.
        note: how it went, and what is special here.
        install: the command that gets it; empty where it is usable, as far as is known.
    """

    name: str
    role: str
    version: str | None
    usable: bool | None
    note: str
    install: str
