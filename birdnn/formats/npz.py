"""Arrays of an ``.npz`` file: what it declares is compared with what it holds before anything is allocated."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from birdnn.errors import FormatError

MAX_BYTES = 1 << 32
"""Largest array that is read, unpacked."""

# NumPy reads a header as a Python literal, at a cost that grows with its length
_MAX_HEADER = 1 << 16
# version 3 is for names of fields beyond Latin-1, and arrays of numbers have no fields
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True, eq=False)
class Npz:
    """An archive of arrays.

    Attributes:
        place: the file, for errors.
        wanted: what the file should be, in words, for errors.
        names: of its arrays.
    """

    place: str
    wanted: str
    names: tuple[str, ...]
    _archive: zipfile.ZipFile

    @classmethod
    def of(cls, stored: bytes, place: str, wanted: str) -> Npz:
        """The archive in these bytes.

        Raises:
            FormatError: they are none.
        """
        try:
            archive = zipfile.ZipFile(io.BytesIO(stored))
            names = tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
        except Exception as error:
            raise FormatError(place, "", f"no .npz file, or one cut short ({error}); wanted is {wanted}") from error
        # of two members of one name zipfile takes the last; another reader may not
        if len(set(names)) < len(names):
            raise FormatError(place, "", f"holds two arrays of one name; wanted is {wanted}")
        return cls(place, wanted, names, archive)

    def array(self, name: str) -> NDArray[Any]:
        """One array.

        Raises:
            FormatError: it is damaged, larger than `MAX_BYTES`, holds Python objects, or declares a shape that it has
                no values for.
        """
        try:
            info = self._archive.getinfo(f"{name}.npy")
            # what the archive declares holds: zipfile unpacks no more than that
            if info.file_size > MAX_BYTES:
                raise self._fail(f"array {name!r} has more than {MAX_BYTES:,} bytes")
            with self._archive.open(info) as file:
                return self._read_array(name, cast(zipfile.ZipExtFile, file), info.file_size)
        except FormatError:
            raise
        except Exception as error:
            raise self._fail(f"is damaged ({error}); wanted is {self.wanted}") from error

    def _read_array(self, name: str, file: zipfile.ZipExtFile, size: int) -> NDArray[Any]:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise self._fail(f"array {name!r} is of an unknown version, {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy wonders who wrote such a header; so do we, below
            shape, in_columns, dtype = _HEADERS[version](file, max_header_size=_MAX_HEADER)
        # unpickling runs what the file says
        if dtype.hasobject:
            raise self._fail(f"holds Python objects, which are never loaded; wanted is {self.wanted}")
        left, count = size - file.tell(), math.prod(shape)
        # entries of no size would let a few bytes declare any shape
        if dtype.itemsize * count != left or not dtype.itemsize:
            told = f"shape {shape} of {dtype} needs {dtype.itemsize * count:,} bytes; the file holds {left:,}"
            raise self._fail(f"array {name!r} is damaged: its {told}")
        # memory that may be written to, which torch wants of what it shares
        values = np.frombuffer(bytearray(file.read(left)), dtype=dtype)
        return values.reshape(shape, order="F" if in_columns else "C")

    def _fail(self, problem: str) -> FormatError:
        return FormatError(self.place, "", problem)
