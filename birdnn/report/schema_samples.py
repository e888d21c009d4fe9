"""The published models of `localize`. See `birdnn.report.schema`."""

from __future__ import annotations

from typing import Literal

from birdnn.report.schema import (
    SCHEMA_VERSION,
    MachineModel,
    Model,
    Readable,
    SuiteModel,
)
from birdnn.report.schema_blocks import BlockLocalisationModel, ExamplesModel
from birdnn.report.schema_evidence import LocalisationModel


class LocalizeReport(Model):
    """What `birdnn localize --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["localised", "nothing_to_localise"]
    interrupted: bool
    form: Literal["mean", "sum"]
    net: Readable
    net_sha256: str
    properties: list[LocalisationModel]
    suite: SuiteModel | None
    units: Literal["normalised", "raw"]
    seed: int
    wall_s: float
    notes: list[Readable]
    versions: dict[str, str]
    machine: MachineModel


class BlockLocalizeReport(Model):
    """What `birdnn localize --blocks --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    outcome: Literal["localised"] = "localised"
    interrupted: bool
    net: Readable
    net_sha256: str
    examples: ExamplesModel
    localisation: BlockLocalisationModel
    seed: int
    wall_s: float
    versions: dict[str, str]
    machine: MachineModel
