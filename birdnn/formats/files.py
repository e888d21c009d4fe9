"""Bytes of files: sizes checked before reading, ``.gz`` opened on the way, writing all or nothing."""

from __future__ import annotations

import fcntl
import glob
import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from birdnn.errors import FormatError, OutputError
from birdnn.records.limits import Over, never, require_time

NETWORK_BYTES = 1 << 30
"""Of the largest network that is read, compressed or not."""

_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 22  # compressed between two looks at the clock
UNFINISHED = ".part"
_INPUT_KINDS = ("onnx", "nnet", "vnnlib", "toml", "npz")


def stem_and_kind(path: str | Path) -> tuple[str, str]:
    """Name without extensions and the extension that says the format: ``a/prop_8.vnnlib.gz`` -> ``prop_8, vnnlib``."""
    name = Path(path).name
    if name.lower().endswith(".gz"):
        name = name[:-3]
    stem, dot, kind = name.rpartition(".")
    return (stem, kind.lower()) if dot and stem else (name, "")


def sha256(data: bytes) -> str:
    """The sha256 of these bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_stored(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file as stored, at most `limit` of them.

    Raises:
        FormatError: the file is missing, no regular file, unreadable, empty or larger than `limit` bytes.
    """
    place, source = str(path), Path(path)
    try:
        if not source.exists():
            raise FormatError(place, "", "no such file")
        # a pipe or a device might be waited for, or read without end
        if not source.is_file():
            raise FormatError(place, "", "not a regular file")
        with source.open("rb") as file:
            # one byte more than allowed shows that there are more: a size that is asked for beforehand may have
            # changed since
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise FormatError(place, "", f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data:
        raise FormatError(place, "byte 0", "the file is empty")
    if len(data) > limit:
        raise FormatError(place, "", f"the file is larger than {limit} bytes")
    return data


def unpack_gzip(data: bytes, path: str | Path, limit: int) -> bytes:
    """`data`, unpacked where it is gzip.

    Raises:
        FormatError: a truncated or damaged archive, an empty one, or one of more than `limit` bytes.
    """
    # by content and not by name: who renames a file changes nothing of what it is
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as archive:
            # never all of it at once: some kilobytes may unpack to gigabytes
            unpacked = archive.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(str(path), "", f"damaged gzip archive: {error}") from None
    if not unpacked:
        raise FormatError(str(path), "byte 0", "the gzip archive holds nothing")
    if len(unpacked) > limit:
        raise FormatError(str(path), "", f"the gzip archive unpacks to more than {limit} bytes")
    return unpacked


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The content of a file, unpacked where it is gzip; stored and unpacked size at most `limit` bytes.

    Raises:
        FormatError: the file is missing, unreadable, empty, too large, or a damaged archive.
    """
    return unpack_gzip(read_stored(path, limit), path, limit)


def pack_gzip(data: bytes, over: Over = never) -> bytes:
    """`data` as gzip, the same bytes whenever it is written.

    Raises:
        OutOfTime: it was ``over`` between two pieces.
    """
    # wbits asks for a gzip header without time and name: Python's own `gzip` would write the time into it, and the
    # same certificate would have another sha256 tomorrow
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits=16 + zlib.MAX_WBITS)
    parts = []
    for begin in range(0, len(data), _PIECE):
        require_time(over)
        parts.append(packer.compress(memoryview(data)[begin : begin + _PIECE]))
    return b"".join([*parts, packer.flush()])


def write_bytes(path: str | Path, data: bytes, *, keep: str | Path | None = None) -> None:
    """Write a file all at once: a temporary one beside it is moved into place. ``.gz`` compresses what is not yet.

    A process that is killed meanwhile leaves ``.NAME.????????.part``, which the next one to write the file removes.

    Args:
        path: where to.
        data: the content.
        keep: a file that must not be overwritten (the input).

    Raises:
        OutputError: `path` is `keep`, or cannot be written.
    """
    target = Path(path)
    if keep is not None and same_file(target, Path(keep)):
        raise OutputError(str(path), "the input is never overwritten; name another file")
    temporary, handle = staged(target, data)
    try:
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable_error(target, error) from None
        raise
    finally:
        os.close(handle)


def unwritable_error(path: str | Path, error: OSError | ValueError) -> OutputError:
    """The error to raise where the system refuses to write a file."""
    return OutputError(str(path), f"cannot be written: {getattr(error, 'strerror', None) or error}")


def staged(target: Path, data: bytes) -> tuple[Path, int]:
    """Write what belongs to `target` under a temporary name beside it, as `write_bytes` does, and onto the disk.

    Returns:
        The temporary file, and a descriptor to close once it has been moved or removed: as long as it is open nobody
        takes the file for abandoned.

    Raises:
        OutputError: it cannot be written; nothing is left of it.
    """
    if target.name.lower().endswith(".gz"):
        # who has a time limit to keep has compressed before, in pieces
        data = data if data.startswith(_GZIP_MAGIC) else pack_gzip(data)
    try:
        remove_abandoned(target)
        handle, temporary = _open_temporary(target)
    except (OSError, ValueError) as error:
        raise unwritable_error(target, error) from None
    try:
        # a second descriptor, since `fdopen` closes the one it is given: the lock lives as long as any of them
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(data)
            file.flush()
            # before the file is moved: else the machine may go down with the new name on an empty file
            os.fsync(file.fileno())
        # `mkstemp` lets nobody else read; results get what any new file has. The mask can be asked for only by
        # setting it
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        os.close(handle)
        if isinstance(error, OSError):
            raise unwritable_error(target, error) from None
        raise
    return Path(temporary), handle


def _open_temporary(target: Path) -> tuple[int, str]:
    """A new temporary file for `target`, locked as long as its descriptor is open, and its name."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=UNFINISHED, dir=target.parent)
        with suppress(OSError):  # a file system without locks: nobody will take the file for abandoned
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # between making and locking it, another process took it for abandoned


def locked(path: Path) -> list[int]:
    """A descriptor that, as long as it is open, keeps others from taking a file for abandoned, whatever its name.

    None where the file cannot be read, or the file system has no locks.
    """
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        # shared: several may hold it, and who removes it wants it alone
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return [handle]
    return []


def remove_abandoned(target: Path) -> None:
    """Remove temporary files of `target` whose writer is gone: a living one holds a lock."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.????????{UNFINISHED}"):
        with suppress(OSError):
            # whatever else bears such a name: a link is not followed, a pipe not waited for
            handle = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                # raises while a writer lives, so that its file stays
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(handle)


def require_writable(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """See that results can be written to files, before work is spent on them. Leaves nothing behind.

    A name that ends as those of networks, properties and suites do is refused: what lies there is somebody's input or a
    repaired network, known to the command or not.

    Args:
        outputs: where results will go; None for one that nobody asked for.
        inputs: files that are read.

    Raises:
        OutputError: a folder is missing or not writable, a place is no regular file, is named like an input, is one,
            or is asked for twice.
    """
    taken = list(inputs)
    for path in outputs:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise OutputError(str(path), f"there is no folder {path.parent}")
        if path.is_dir():
            raise OutputError(str(path), "is a folder; name a file")
        if os.path.lexists(path) and not path.is_file():
            raise OutputError(str(path), "is no regular file; name another one")
        if any(same_file(path, other) for other in taken):
            raise OutputError(str(path), "an input, or another result, is never overwritten; name another file")
        if (kind := stem_and_kind(path)[1]) in _INPUT_KINDS:
            raise OutputError(
                str(path), f"a result is not written to a .{kind} file, which is an input's name; say .json"
            )
        # only making a file tells: permissions say nothing of a file system that is read-only or full
        _probe_writing(path)
        taken.append(path)


def require_folder(folder: Path, names: Iterable[str], inputs: Iterable[Path]) -> None:
    """See that files can be written to a folder that need not exist yet. Leaves nothing behind, not even the folder.

    Raises:
        OutputError: the folder cannot be made or written to, or one of the files is an input or no regular file.
    """
    kept = list(inputs)
    if os.path.lexists(folder) and not folder.is_dir():
        raise OutputError(str(folder), "exists and is no folder")
    for path in (folder / name for name in names):
        if any(same_file(path, other) for other in kept):
            raise OutputError(str(path), "the input is never overwritten; name another folder")
        if os.path.lexists(path) and not path.is_file():
            raise OutputError(str(path), "is no regular file; name another folder")
    # the nearest place that exists: a folder has to be makeable there
    above = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not above.is_dir():
        raise OutputError(str(folder), f"cannot be made: {above} is no folder")
    try:
        if above == folder:  # what a kill leaves of these, the next to write such a file removes
            for name in names:
                _probe_writing(folder / name)
            return
        # what would be made is made inside a folder of another name, so that two commands do not disturb each other
        with tempfile.TemporaryDirectory(prefix=".probe.", dir=above) as scratch:
            inside = Path(scratch) / folder.relative_to(above)
            inside.mkdir(parents=True, exist_ok=True)
            for name in names:
                _probe_writing(inside / name)
    except (OSError, OutputError, ValueError) as error:
        said = getattr(error, "strerror", None) or getattr(error, "problem", None) or error
        raise OutputError(str(folder), f"cannot be written to: {said}") from None


def _probe_writing(path: Path) -> None:
    """Make the temporary file that `write_bytes` would make, and remove it."""
    try:
        handle, temporary = _open_temporary(path)
        Path(temporary).unlink(missing_ok=True)
        os.close(handle)
    except (OSError, ValueError) as error:
        raise unwritable_error(path, error) from None


def same_file(first: Path, second: Path) -> bool:
    try:
        # by path first, since one of them need not exist yet; then by inode, since hard links have several paths
        return first.resolve() == second.resolve() or first.samefile(second)
    except (OSError, ValueError, RuntimeError):  # one of them does not exist, or cannot; a loop of links
        return False
