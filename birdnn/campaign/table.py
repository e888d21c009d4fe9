"""A table that survives interruption: rows are appended one by one, whole or not at all."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from birdnn.errors import FormatError, OutputError
from birdnn.formats.files import write_bytes
from birdnn.printable import cell_text, csv_text
from birdnn.reading import reading

MAX_BYTES = 1 << 28
"""Largest table that is read."""

STAMP = "commit", "date"
"""Columns that every table ends with."""

Row = Mapping[str, str]


class Table:
    """A CSV file to which rows are appended one by one; rows that are there are not computed again.

    Several processes may share it. A file of an earlier version, without the columns of today, is completed with empty
    fields; a row that an interruption has cut short is dropped.

    Attributes:
        path: the file.
        columns: its columns, those of `STAMP` last.
        rows: what was in it when it was opened, and what was added through this object since.

    Raises:
        FormatError: the file is no such table; it is left as it is.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], key: tuple[str, ...]) -> None:
        self.path, self.columns, self.key = path, (*columns, *STAMP), key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked_folder():
                data = _stored_bytes(path)
                with reading(path):
                    self.rows = self._parse_rows(data)
                now = csv_text([self.columns, *([row[name] for name in self.columns] for row in self.rows)]).encode()
                # left as it is where nothing has to be completed: the file that others have open stays the table
                if now != data:
                    write_bytes(path, now)
        except OSError as error:
            raise OutputError(str(path), f"cannot be opened as a table: {error.strerror or error}") from None

    def _parse_rows(self, data: bytes) -> list[dict[str, str]]:
        """The whole rows; what follows the last line feed is what an interruption left."""
        try:
            text = data[: data.rfind(b"\n") + 1].decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(str(self.path), f"byte {error.start}", "not text in UTF-8, so no table") from None
        reader = csv.DictReader(io.StringIO(text, newline=""))
        found = tuple(reader.fieldnames or ())
        if data and not found:
            raise FormatError(str(self.path), "line 1", "no line is whole, so it is no table; name another file")
        strange = [name for name in found if name not in self.columns]
        missing = [name for name in self.key if found and name not in found]
        if strange or missing:
            told = [f"unknown: {', '.join(strange)}"] * bool(strange) + [f"missing: {', '.join(missing)}"] * bool(
                missing
            )
            problem = (
                f"a table of other columns ({'; '.join(told)}) is not overwritten; name another file for the results"
            )
            raise FormatError(str(self.path), "line 1", problem)
        # csv gives a row that is too long a key None, and one that is too short values None
        whole = [row for row in reader if None not in row and None not in row.values()]
        return [{name: cell_text(row.get(name, "")) for name in self.columns} for row in whole]

    def has(self, **key: str) -> bool:
        """Is there a row with these values?"""
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows)

    def add(self, row: Mapping[str, object]) -> dict[str, str]:
        """Append one row, on disk before this returns; where that fails, none of it is. The row as text.

        Raises:
            OSError: it cannot be written.
        """
        text = {name: str(row[name]) for name in self.columns}
        data = csv_text([[text[name] for name in self.columns]]).encode()
        # unbuffered: one write, which says how much of the row the disk took
        with self._locked_folder(), self.path.open("a+b", buffering=0) as file:
            file.seek(0)
            end = file.read().rfind(b"\n") + 1
            file.truncate(end)  # what another process began before it was killed
            try:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        self.rows.append(text)
        return text

    @contextmanager
    def _locked_folder(self) -> Iterator[None]:
        """Nobody else is here meanwhile. The folder is locked, as the file may be replaced by another one."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


@contextmanager
def reserved_table(path: Path) -> Iterator[None]:
    """Nobody else runs a campaign into the table `path` meanwhile, so that no instance is run twice.

    Raises:
        OutputError: somebody does, or the file cannot be opened.
    """
    try:
        _require_regular(path)
        file = path.open("ab")
    except OSError as error:
        raise OutputError(str(path), f"cannot be opened as a table: {error.strerror or error}") from None
    with file:
        try:
            # not to be waited for: the other campaign may take days
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = (
                "another campaign is writing to it; wait for it, or name another file (one campaign uses --jobs cores)"
            )
            raise OutputError(str(path), told) from None
        yield


def _stored_bytes(path: Path) -> bytes:
    """What is in the table so far.

    Raises:
        FormatError: it is larger than any table.
        OutputError: it is no regular file.
        OSError: it cannot be read.
    """
    _require_regular(path)
    if not path.exists():
        return b""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(str(path), "", f"larger than {MAX_BYTES} bytes, so it is no table of results")
    return data


def _require_regular(path: Path) -> None:
    """Opening a pipe would wait for somebody else."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(str(path), "is no regular file; name another one")
