"""What ``birdnn doctor`` publishes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.machine import MachineModel
from birdnn.report.model import SCHEMA_VERSION, Model, Readable


class EngineStateModel(Model):
    """One engine, package or device."""

    name: str
    role: str
    version: str | None
    usable: bool | None = Field(
        description="Did it answer a small question right? Null where it is there and was not asked: --try asks."
    )
    note: Readable
    install: str | None


class DoctorReport(Model):
    """What `birdnn doctor --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    engines: list[EngineStateModel]
    versions: dict[str, str]
    machine: MachineModel
