"""What ``fetch`` is asked for and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.published import CommandLine, Said, publishes


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """Everything that ``fetch``'s command line says.

    Attributes:
        dataset: its name.
        to: the folder to put it into.
        source: a folder that has the files; None: where the data set comes from.
        command: as typed.
    """

    dataset: str
    to: Path
    source: Path | None = None
    command: CommandLine = ()


@publishes("FetchedFileModel", "name sha256 size state")
@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A file that is there now; its checksum was compared with the one that birdnn knows."""

    name: Annotated[str, Said("Below `to`.")]
    sha256: str
    size: Annotated[int, Said("Bytes.")]
    state: Annotated[Literal["fetched", "present"], Said("present: it was there before.")]


@publishes(
    "FetchReport",
    "command=request.command dataset=request.dataset to origin terms complete interrupted files wall_s versions",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOutcome:
    """What `birdnn fetch --json` writes.

    Attributes:
        text: what the data set is.
        example: a command to try next, with the folder as the user names it.
        expected: number of files of the data set.
        files: those that are there now.
        interrupted: the user stopped it; what is missing comes with the next run.
    """

    request: FetchRequest
    to: Annotated[str, Said("The folder, absolute.")]
    text: str
    origin: Annotated[str, Said("Where the files were taken from.")]
    terms: Annotated[str, Said("Whose they are and how to cite them.")]
    example: str
    expected: int
    files: tuple[FetchedFile, ...]
    wall_s: float
    interrupted: bool
    versions: Mapping[str, str]

    @property
    def complete(self) -> Annotated[bool, Said("Every file of the data set is there.")]:
        return len(self.files) == self.expected
