"""Bytes of the three files: read once, hashed as stored, unpacked under a limit."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from birdnn.errors import FormatError

MAX_BYTES = 1 << 30
"""Largest file that is read, compressed or not."""


class Rejected(Exception):
    """The certificate can be read but proves nothing.

    Args:
        reason: what is wrong, and where: proof, region, node.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Uncertain(Rejected):
    """A file that its readers may take in two ways: nothing is proved about it."""


@dataclass(frozen=True)
class File:
    """A file's bytes, unpacked, and the sha256 of the bytes as stored."""

    path: str
    data: bytes
    sha256: str


def read_file(path: str | Path, limit: int | None = None) -> File:
    """Read a file, plain or gzip.

    Raises:
        FormatError: it is missing, unreadable, empty, damaged, or larger than ``limit`` bytes (`MAX_BYTES`).
    """
    limit = MAX_BYTES if limit is None else limit
    try:
        place = Path(path)
        if place.exists() and not place.is_file():  # to open a pipe would wait for somebody who writes to it
            raise FormatError(str(path), "", "cannot be read: not a regular file")
        with place.open("rb") as file:
            # One byte more tells that there is more.
            stored = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise FormatError(str(path), "", f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    data = unpack_gzip(stored, str(path), limit) if stored.startswith(b"\x1f\x8b") else stored
    if not data:
        raise FormatError(str(path), "", "the file is empty")
    if max(len(stored), len(data)) > limit:
        raise FormatError(str(path), "", f"is larger than {limit} bytes")
    return File(str(path), data, hashlib.sha256(stored).hexdigest())


def unpack_gzip(stored: bytes, path: str, limit: int) -> bytes:
    """One gzip member, never more than one byte beyond the limit: what unpacks to more is no certificate."""
    # 31: gzip with its header and checksum, and nothing else that zlib could read.
    machine = zlib.decompressobj(wbits=31)
    try:
        data = machine.decompress(stored, limit + 1)
    except zlib.error as error:
        raise FormatError(path, "", f"damaged gzip archive: {error}") from None
    if len(data) > limit:
        raise FormatError(path, "", f"unpacks to more than {limit} bytes")
    # Readers differ on what follows the first member: some add it, some leave it out.
    if not machine.eof or machine.unused_data:
        raise FormatError(path, "", "damaged gzip archive: truncated, or something follows it")
    return data
