"""What ``check`` says of a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.published import CommandLine, Said, publishes
from birdnn.records.result import Result
from birdnn.rounding import Semantics


@publishes("CheckedModel", "file=path verdict leaves sampled exactly replayed")
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedProperty:
    """One property's proof, checked."""

    path: str
    verdict: Annotated[Literal["proved", "violated"], Said("What the certificate says, and was found true.")]
    leaves: Annotated[int, Said("Of the proof's trees; all of them were checked. 0 where violated.")]
    sampled: Annotated[int, Said("How many leaves were checked in exact arithmetic.")]
    exactly: Annotated[
        bool | None,
        Said(
            "Does the counterexample, or the input beside a proof over the reals, violate in exact arithmetic? "
            "Null without one."
        ),
    ]
    replayed: Annotated[bool | None, Said("Does it violate when onnxruntime runs it? Null without one.")]


@publishes(
    "CheckReport",
    "command outcome reason checked net networks certificate semantics assumptions arithmetic sample seed properties "
    "wall_s",
    text="What `birdnn check --json` writes.",
    told={"command": CommandLine, "wall_s": float},
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckOutcome(Result):
    """What the checker said of a certificate.

    Attributes:
        accepted: was every statement in it proved again, or its counterexample found true?
        said: what was checked, or why it was rejected, in one line.
        arithmetic, sample, seed: how it was checked, see `birdnn.check`.
        properties: empty where it was rejected.
        networks: the files of a query's networks by their names, empty where there is one network only.
    """

    net: Path
    certificate: Path
    accepted: bool
    said: str
    semantics: Annotated[Semantics | None, Said("Which execution it speaks about.")] = None
    assumptions: Annotated[Mapping[str, float], Said("Assumed absolute errors of the runtime's functions.")]
    arithmetic: Literal["float64", "exact"]
    sample: int | None
    seed: int
    properties: tuple[CheckedProperty, ...] = ()
    networks: Annotated[
        Mapping[str, str], Said("Files of a query's networks by their names; net is the first.", absent=dict)
    ] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<CheckOutcome {self.outcome}: {self.said}>"

    @property
    def outcome(self) -> Literal["accepted", "rejected"]:
        """In one word."""
        return "accepted" if self.accepted else "rejected"

    @property
    def reason(self) -> Annotated[str | None, Said("Why it was rejected.")]:
        """See `said`."""
        return None if self.accepted else self.said

    @property
    def checked(self) -> Annotated[str | None, Said("What was accepted, as the first line of output says it.")]:
        """See `said`."""
        return self.said if self.accepted else None
