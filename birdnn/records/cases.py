"""What is asked about: a network, its properties, the inputs where behaviour counts. Every command reads it alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from birdnn.records.facts import Units
from birdnn.records.stages import Decision
from birdnn.rounding import Semantics


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFiles:
    """The files of a case and how they are to be understood; see `RepairRequest` for each field."""

    net: Path
    props: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    points: tuple[Path, ...] = ()
    points_tolerance: float | None = None
    points_radius: float = 0.01
    suite: str | None = None
    as_name: str | None = None
    domain: Path | Literal["property"] | None = None
    decision: Decision | None = None
    data: Path | None = None
    test: Path | None = None
    units: Units = "normalised"
    semantics: Semantics | None = None

    @classmethod
    def of(cls, request: Any, **said: Any) -> CaseFiles:
        """What a command's request says of them: it calls each by the same name, and has those that it may say."""
        # By name, so that a field that a request gains is read by all commands that have it, and forgotten by none.
        named = {entry.name: getattr(request, entry.name) for entry in fields(cls) if hasattr(request, entry.name)}
        return cls(**named | said)
