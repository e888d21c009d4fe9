"""What all campaigns share: a table that survives interruption, and who ran it."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from birdnn.formats.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]


STAMP = "commit", "date"
"""Columns that every table ends with."""


def stamp() -> dict[str, str]:
    """What the code is at this moment: short hash with ``+dirty`` where files differ, results left out; and the day."""
    commit = _git("rev-parse", "--short", "HEAD")
    dirty = commit and _git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/*/results/*")
    return {"commit": f"{commit}+dirty" if dirty else commit, "date": datetime.now(UTC).date().isoformat()}


def _git(*words: str) -> str:
    """What git says about this repository; nothing where there is none."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


class Table:
    """A CSV file to which rows are appended one by one; rows that are there are not computed again.

    Several processes may share it. A file of an earlier version, without the columns of today, is completed with empty
    fields; a row that an interruption has cut short is dropped.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], key: tuple[str, ...]) -> None:
        self.path, self.columns, self.key = path, (*columns, *STAMP), key
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            text = path.read_bytes().decode("utf-8") if path.exists() else ""
            reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
            whole = [row for row in reader if None not in row and None not in row.values()]
            self.rows = [{name: row.get(name, "") for name in self.columns} for row in whole]
            now = _lines([self.columns, *([row[name] for name in self.columns] for row in self.rows)])
            if now != text:
                write_bytes(path, now.encode())

    def has(self, **key: str) -> bool:
        """Is there a row with these values?"""
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows)

    def add(self, row: Mapping[str, object]) -> None:
        """Append one row, on disk before this returns; where that fails, none of it is.

        Raises:
            OSError: it cannot be written.
        """
        text = {name: str(row[name]) for name in self.columns}
        data = _lines([[text[name] for name in self.columns]]).encode()
        with self._alone(), self.path.open("a+b", buffering=0) as file:
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

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process is here meanwhile. The folder is locked, as the file may be replaced by another one."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(list(row) for row in rows)
    return text.getvalue()


def provenance(command: str, seeds: str = "Seed 0") -> str:
    """Machine, versions, seeds and command, as Markdown."""
    from birdnn.pipeline.facts import machine, versions

    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    here = machine()
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    return (
        f"Machine: {here.cpu}, {here.cores} cores; OMP_NUM_THREADS={threads}; {listed}. {seeds}.\n\n"
        f"Command: `{command}` (resumable: rows that are in the CSV are kept).\n"
    )
