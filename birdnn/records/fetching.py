"""What ``fetch`` is asked for and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FileState = Literal["fetched", "present"]


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
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A file that is there now, with the right checksum.

    Attributes:
        name: below the folder.
        sha256: hexadecimal.
        size: bytes.
        state: brought by this command, or there before.
    """

    name: str
    sha256: str
    size: int
    state: FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOutcome:
    """What ``fetch`` did.

    Attributes:
        to: the folder, absolute.
        text, origin, terms, example: of the data set; the example names the folder as the user did.
        expected: number of files of the data set.
        files: those that are there now.
        interrupted: the user stopped it; what is missing comes with the next run.
    """

    request: FetchRequest
    to: str
    text: str
    origin: str
    terms: str
    example: str
    expected: int
    files: tuple[FetchedFile, ...]
    wall_s: float
    interrupted: bool
    versions: Mapping[str, str]
