"""The published shape of what `fetch` leaves; see `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.model import SCHEMA_VERSION, Model, Readable


class FetchedFileModel(Model):
    """A file that is there now; its checksum was compared with the one that birdnn knows."""

    name: Readable = Field(description="Below `to`.")
    sha256: str
    size: int = Field(description="Bytes.")
    state: Literal["fetched", "present"] = Field(description="present: it was there before.")


class FetchReport(Model):
    """What `birdnn fetch --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    dataset: str
    to: Readable = Field(description="The folder, absolute.")
    origin: Readable = Field(description="Where the files were taken from.")
    terms: Readable = Field(description="Whose they are and how to cite them.")
    complete: bool = Field(description="Every file of the data set is there.")
    interrupted: bool
    files: list[FetchedFileModel]
    wall_s: float
    versions: dict[str, str]
