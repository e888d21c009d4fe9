"""Several files that appear all at once or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from birdnn.errors import OutputError
from birdnn.formats.files import UNFINISHED, locked, staged, unwritable_error


class Together:
    """Files of one folder that belong together: each is written under a temporary name, then all are moved into place.

    Until `commit` nothing is visible and whatever lay there before is untouched; where `commit` fails, so it is again.
    Moving is not one step for the system. Name the file that tells of the others last: it goes first and comes last, so
    that whoever is killed in between leaves no such file beside others that it does not tell of.

    Attributes:
        asked: the places of what was written.
    """

    def __init__(self) -> None:
        self._new: dict[Path, Path] = {}
        self._written: dict[Path, int] = {}
        self._gone: list[Path] = []
        self._held: list[int] = []
        self.asked: list[Path] = []

    def add(self, target: Path, data: bytes) -> Path:
        """Write a file; where it lies until `commit`. ``.gz`` compresses. What was written for this place before goes.

        Raises:
            OutputError: it cannot be written.
        """
        self.asked.append(target)
        if (earlier := self._new.pop(target, None)) is not None and earlier in self._written:
            with suppress(OSError):
                earlier.unlink(missing_ok=True)
            os.close(self._written.pop(earlier))
        temporary, handle = staged(target, data)
        self._written[temporary] = handle
        self._new[target] = temporary
        return temporary

    def take(self, target: Path, source: Path) -> None:
        """Let a file that is there already, in the same folder, become `target`."""
        self._new[target] = source

    def drop(self, *targets: Path) -> None:
        """Let files go that lie there, where there are any: those that would tell of something else."""
        self._gone += targets

    def commit(self) -> None:
        """Move everything into place.

        Raises:
            OutputError: it cannot be done; everything lies where it lay, and what was written is removed.
        """
        aside: list[tuple[Path, Path]] = []
        moved: list[tuple[Path, Path]] = []
        taken, at = set(self._new.values()), Path()
        try:
            # away first, the file that tells of the others before all: while some are old and some new none tells of
            # them
            for at in dict.fromkeys((*reversed(self._new), *self._gone)):
                if os.path.lexists(at) and at not in taken:
                    # named as an unfinished file is: where a kill leaves it, the next to write `at` removes it; locked
                    # until then, since it may have to come back
                    self._held += locked(at)
                    hidden = at.with_name(f".{at.name}.{uuid.uuid4().hex[:8]}{UNFINISHED}")
                    at.rename(hidden)
                    aside.append((at, hidden))
            for at, source in self._new.items():
                source.rename(at)
                moved.append((at, source))
        except BaseException as error:
            # back in the opposite order, since one may lie where another came from
            for was, now in ((source, path) for path, source in reversed(moved)):
                with suppress(OSError):
                    now.rename(was)
            for was, now in reversed(aside):
                with suppress(OSError):
                    now.rename(was)
            self.discard()
            if isinstance(error, OSError):
                raise unwritable_error(at, error) from None
            raise
        # the new names first have to be on the disk, then what they replace may go
        for folder in {path.parent for path in self._new}:
            _sync_folder(folder)
        for _, hidden in aside:
            with suppress(OSError):
                hidden.unlink()
        self._close_handles()

    def discard(self) -> None:
        """Remove what was written and not committed."""
        for temporary in self._written:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._close_handles()

    def _close_handles(self) -> None:
        for handle in (*self._written.values(), *self._held):
            os.close(handle)
        self._written, self._new, self._gone, self._held = {}, {}, [], []


@contextmanager
def all_or_none() -> Iterator[Together]:
    """Files that are added while this is entered appear together at its end, or none does.

    Raises:
        OutputError: one of them cannot be written; what lay there still does.
    """
    together = Together()
    try:
        yield together
        together.commit()
    except OutputError as error:
        others = [path.name for path in together.asked if str(path) != error.path]
        more = f"; {', '.join(others)} was not written either" if others else ""
        raise OutputError(error.path, f"{error.problem}{more}") from None
    finally:
        together.discard()


def _sync_folder(folder: Path) -> None:
    """Put the names of a folder's files onto the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
