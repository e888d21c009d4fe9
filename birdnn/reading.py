"""The one place that turns whatever a reader of a user's file meets into an error about the file.

Readers say what is wrong in words of their own, with a place in the file, wherever they foresee it. What they do not
foresee, libraries meet: a list of the exceptions that protobuf, NumPy, zipfile, pydantic or torch raise on bytes that
somebody else wrote would never be complete, and each that is missing would call the user's file our defect. Stages
behind the readers have no such guard: what fails there is our fault.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any, TypeVar, cast

from birdnn.errors import BirdnnError, UnreadableError, out_of_memory

Reader = TypeVar("Reader", bound=Callable[..., Any])

_SHOWN = 200


@contextmanager
def reading(path: str | PathLike[str]) -> Iterator[None]:
    """Around code that does nothing but read the file `path`.

    Raises:
        UnreadableError: something else than an error raised on purpose came out; that is its ``__cause__``.
    """
    try:
        yield
    except BirdnnError:
        raise
    except Exception as error:
        raise UnreadableError(fspath(path), "", _unreadable_problem(error)) from error


def guarded_reader(read: Reader) -> Reader:
    """A reader, a function whose first argument is the file's path, in the guard of `reading`."""

    def guarded(path: str | PathLike[str], *args: Any, **options: Any) -> Any:
        with reading(path):
            return read(path, *args, **options)

    return cast(Reader, functools.update_wrapper(guarded, read))


def _unreadable_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "cannot be read: it is nested too deeply"
    if out_of_memory(error):
        return "cannot be read: it asks for more memory than there is"
    told = str(error).strip().partition("\n")[0][:_SHOWN]
    return f"cannot be read: it is damaged or of a kind we do not know ({type(error).__name__}: {told or 'no message'})"
