"""What ``birdnn plot`` asks for and gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.facts import Units
from birdnn.records.maps import AdvisoryMap, Geometry, MarginLine
from birdnn.records.published import CommandLine, Said, publishes
from birdnn.records.results import Tried
from birdnn.records.stages import Decision, InitialiserChange

AskedView = Literal["domain", "region", "violations"]
"""How far a map goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotRequest:
    """Everything that ``plot map`` and ``plot line`` say; names of inputs and values are as typed.

    Attributes:
        after: the repaired network, if it is to be drawn beside `net`.
        x, y: inputs by name or index; None: the suite's encounter, else those that matter most.
        x_range, y_range: of these inputs, shown units; None: what `view` says.
        at: ``"counterexample"``, ``"middle"``, or ``"NAME=VALUE"`` in shown units, which may follow one of the others.
        view: ranges of what is not said; None: the domain where it is known, else the region.
        geometry: None: an encounter where the suite says that it is one and its two inputs are drawn.
        cells: along the longer side.
        certificate: a proof whose boxes are drawn.
        prove_s: search for a proof that long, and draw its boxes; None: do not.
        start, end: of a line, all inputs in shown units; None: through a counterexample.
        along: a line along this input.
        command: the command line, for the record.
    """

    net: Path
    after: Path | None = None
    prop: Path | None = None
    suite: str | None = None
    as_name: str | None = None
    decision: Decision | None = None
    units: Units = "normalised"
    x: str | None = None
    y: str | None = None
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    at: tuple[str, ...] = ()
    view: AskedView | None = None
    geometry: Geometry | None = None
    cells: int = 300
    certificate: Path | None = None
    prove_s: float | None = None
    start: tuple[float, ...] | None = None
    end: tuple[float, ...] | None = None
    along: str | None = None
    seed: int = 0
    command: CommandLine = ()


@publishes(
    "PlotReport",
    "command=request.command picture out map line seed=request.seed wall_s notes versions",
    text="What `birdnn plot map --json` and `birdnn plot line --json` write.",
    told={"out": Annotated[str, Said("Absolute path of the picture.")]},
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PlotOutcome:
    """What is to be drawn: a map or a line.

    Attributes:
        notes: what was inferred and what a user should know, one sentence each.
        interrupted: the user stopped it; something may be missing.
    """

    request: PlotRequest
    drawn: AdvisoryMap | MarginLine
    wall_s: float
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def picture(self) -> Literal["map", "line"]:
        """Which of the two."""
        return "map" if isinstance(self.drawn, AdvisoryMap) else "line"

    @property
    def map(self) -> AdvisoryMap | None:
        """If it is one."""
        return self.drawn if isinstance(self.drawn, AdvisoryMap) else None

    @property
    def line(self) -> MarginLine | None:
        """If it is one."""
        return self.drawn if isinstance(self.drawn, MarginLine) else None


@publishes(
    "ProgressReport",
    "command picture out report report_sha256 tried change stopped wall_s",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressPicture:
    """What `birdnn plot progress --json` writes: what it took from the report of a repair."""

    command: CommandLine
    picture: Literal["progress", "change"]
    out: Annotated[str, Said("Absolute path of the picture.")]
    report: Annotated[str, Said("Absolute path of the report that was read.")]
    report_sha256: str
    tried: tuple[Tried, ...]
    change: Mapping[str, InitialiserChange]
    stopped: str
    wall_s: Annotated[float, Said("Of the repair.")]
