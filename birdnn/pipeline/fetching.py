"""`fetch`: a public data set to a folder, each file checked before it takes its place."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from birdnn.errors import FetchError, FormatError, OutputError
from birdnn.fetch import DATASETS, Dataset, Folder, Source, Wheel
from birdnn.formats.files import read_stored, require_folder, sha256, write_bytes
from birdnn.pipeline.facts import versions
from birdnn.records import FetchedFile, FetchOutcome, FetchRequest, Progress, Unwatched, Watch

_LIMIT = 1 << 26


def fetch_files(
    request: FetchRequest, *, watch: Watch | None = None, datasets: Mapping[str, Dataset] = DATASETS
) -> FetchOutcome:
    """Bring the files of a data set that are not there yet; a file on disk is complete and has the right checksum.

    Raises:
        FetchError: a file cannot be had, or is another one than it should be. Those brought before stay.
        OutputError: the folder cannot be written to, or holds another file of such a name, which is left alone.
    """
    started, watch = time.monotonic(), watch or Unwatched()
    dataset = datasets[request.dataset]
    checksums = dataset.checksums()
    # hashes of everything first: a file of the user's under such a name ends the command before anything is fetched
    there = {
        name: size
        for name, known in checksums.items()
        if (size := _size_if_present(request.to / name, known)) is not None
    }
    missing = {name: known for name, known in checksums.items() if name not in there}
    # also before the source is opened, which may be a download of many megabytes
    for folder in dict.fromkeys((request.to / name).parent for name in missing):
        require_folder(folder, [Path(name).name for name in missing if (request.to / name).parent == folder], ())
    brought = dict(_bring_files(_chosen_source(dataset, request), missing, request.to, watch)) if missing else {}
    sizes = there | brought
    return FetchOutcome(
        request=request,
        to=str(request.to.resolve()),
        text=dataset.text,
        origin=dataset.origin if request.source is None else str(request.source),
        terms=dataset.terms,
        example=dataset.example.format(to=shlex.quote(str(request.to))),
        expected=len(checksums),
        files=tuple(
            FetchedFile(
                name=name,
                sha256=known,
                size=sizes[name],
                state="present" if name in there else "fetched",
            )
            for name, known in checksums.items()
            # an interrupted command tells of what it has brought, and exits without an error
            if name in sizes
        ),
        wall_s=time.monotonic() - started,
        interrupted=watch.stopped() and len(brought) < len(missing),
        versions=versions(),
    )


def _chosen_source(dataset: Dataset, request: FetchRequest) -> Source:
    if request.source is None:
        return dataset.source
    # a folder may hold the wheel instead of what is in it
    return Folder(request.source, dataset.source if isinstance(dataset.source, Wheel) else None)


def _size_if_present(path: Path, known: str) -> int | None:
    """Size of the file, if it is there.

    Raises:
        OutputError: another file is there.
    """
    if not path.exists():
        return None
    try:
        data = read_stored(path, _LIMIT)
    except FormatError as error:
        found = error.problem
    else:
        if sha256(data) == known:
            return len(data)
        found = f"sha256 {sha256(data)}"
    raise OutputError(
        str(path), f"another file is there: expected sha256 {known}, found {found}; move it away, or say --to elsewhere"
    )


def _bring_files(source: Source, missing: Mapping[str, str], to: Path, watch: Watch) -> Iterator[tuple[str, int]]:
    """Name and size of each file, once it has its place."""
    watch.update(Progress(phase="opening the source"))
    # opened once for all files: a wheel is downloaded once
    with source.opened(missing) as read:
        for count, (name, known) in enumerate(missing.items()):
            if watch.stopped():
                return
            watch.update(Progress(phase="fetching", done=count / len(missing), detail=name))
            data, place = read(name)
            # before it takes its place, so that no wrong file is ever found there as present
            if (found := sha256(data)) != known:
                raise FetchError(
                    place, f"is another file than {name} of this data set: expected sha256 {known}, found {found}"
                )
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(to / name, data)
            yield name, len(data)
