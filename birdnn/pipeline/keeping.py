"""Long proofs on disk: what a search has reached, a file for each question in a folder that the user names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from birdnn.errors import OutputError
from birdnn.formats.files import require_folder, write_bytes
from birdnn.reading import reading
from birdnn.spec import Region
from birdnn.verify.frontier import Frontier, pack_frontier, unpack_frontier

EVERY_S = 60.0
"""Between two files: as much is lost at most when a process is killed."""

_SHARE = 20
_ENDING = ".frontier.npz"


class FolderKeeper:
    """A `birdnn.verify.frontier.Keeper` in a folder, which is made when it is needed.

    A file that cannot be written ends nothing: the search goes on, and `failure` says what happened.

    Args:
        folder: where the files go.
        now: the clock, seconds.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.failure, self._now = folder, "", now
        self._next = now() + EVERY_S

    def read(self, name: str, regions: Sequence[Region]) -> Frontier | None:
        """See `Keeper.read`.

        Raises:
            FormatError: the file cannot be read, or belongs to another question.
        """
        path = self._frontier_path(name)
        if not path.exists():
            return None
        # a file of another question raises here: to go on from it would prove something else
        with reading(path):
            return unpack_frontier(name, path.read_bytes(), regions)

    def due(self) -> bool:
        """A minute after the last file; more where a file takes long to write."""
        return self._now() >= self._next

    def write(self, name: str, frontier: Frontier) -> None:
        """See `Keeper.write`."""
        begun = self._now()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(self._frontier_path(name), pack_frontier(name, frontier))
        # packing takes the memory once more, and a search that has hours behind it must not end for its safety copy
        except (OutputError, OSError, MemoryError) as error:
            self.failure = f"what the search reached could not be kept: {str(error) or 'memory ran out'}"
        ended = self._now()
        # a file that takes long is written more rarely: at most a twentieth of the time goes into keeping
        self._next = ended + max(EVERY_S, _SHARE * (ended - begun))

    def done(self, name: str) -> None:
        """See `Keeper.done`."""
        self._frontier_path(name).unlink(missing_ok=True)

    def _frontier_path(self, name: str) -> Path:
        return self.folder / f"{name}{_ENDING}"


def keeper_in(folder: Path | None, inputs: Sequence[Path]) -> FolderKeeper | None:
    """Who keeps what a search reaches; nobody where no folder was named.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    if folder is None:
        return None
    require_folder(folder, (), inputs)
    return FolderKeeper(folder)
