"""Where output goes: answers and tables to stdout, progress and complaints to stderr; plain text off a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from birdnn.errors import OutputError
from birdnn.printable import printable

FILE_WIDTH = 100
"""Columns of tables that go to a file or a pipe, where COLUMNS does not say it."""


class _PrintableConsole(Console):
    """Names in files are strangers' text: what would act on the terminal is written out, and nothing is markup."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            # what moves the cursor is rich's own here
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))


def console(*, stderr: bool) -> Console:
    """A console that wraps at the terminal's width, and at `FILE_WIDTH` where there is none. Honours NO_COLOR.

    COLUMNS counts off a screen, too, from 40 on: no table has less room.
    """
    stream = sys.stderr if stderr else sys.stdout
    said = os.environ.get("COLUMNS", "")
    # int() refuses thousands of digits
    told = min(max(int(said[:9]), 40), 1000) if said.isdecimal() else FILE_WIDTH
    width = None if stream.isatty() else told
    return _PrintableConsole(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def print_first_line(text: str, *, more: Sequence[str] = ()) -> None:
    """The line that programs read; it comes at once and before everything else on stdout.

    Args:
        text: the line.
        more: lines that belong to it.
    """
    with _reader_may_leave():
        print("\n".join(map(printable, (text, *more))), flush=True)


def show(build: Callable[[int], RenderableType]) -> None:
    """A result for people: to stdout, be it a screen, a file or a pipe. `build` is given the number of columns.

    Paths are never broken, so that they can be copied.
    """
    where = console(stderr=False)
    with _reader_may_leave():
        where.print(build(where.width), crop=False)
        where.file.flush()


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A reader that closes its end of the pipe changes neither the result nor the exit status.

    Raises:
        OutputError: the text cannot be written for another reason, such as a full disk.
    """
    try:
        yield
    except OSError as error:
        # Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OutputError("standard output", f"cannot be written: {error.strerror or error}") from None
