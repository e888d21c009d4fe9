"""What `birdnn plot` writes with ``--json``. See `birdnn.report.schema_pictures`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.model import SCHEMA_VERSION, Model, Readable
from birdnn.report.schema import ChangeModel, TriedModel
from birdnn.report.schema_pictures import LineModel, MapModel


class PlotReport(Model):
    """What `birdnn plot map --json` and `birdnn plot line --json` write."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    picture: Literal["map", "line"]
    out: Readable = Field(description="Absolute path of the picture.")
    map: MapModel | None
    line: LineModel | None
    seed: int
    wall_s: float
    notes: list[Readable]
    versions: dict[str, str]


class ProgressReport(Model):
    """What `birdnn plot progress --json` writes: what it took from the report of a repair."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    picture: Literal["progress", "change"]
    out: Readable = Field(description="Absolute path of the picture.")
    report: Readable = Field(description="Absolute path of the report that was read.")
    report_sha256: str
    tried: list[TriedModel]
    change: dict[str, ChangeModel]
    stopped: Readable
    wall_s: float = Field(description="Of the repair.")
