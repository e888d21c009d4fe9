"""Progress on stderr: a live line on a terminal, a plain line now and then in a file, nothing with --quiet."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from birdnn.cli.failures import complain
from birdnn.cli.interrupt import Interrupt
from birdnn.cli.terminal import console
from birdnn.printable import printable

PLAIN_EVERY_S = 10.0
PLAIN_PHASE_EVERY_S = 1.0
WORTH_A_LINE_S = 0.5
BAR_COLUMNS = 16
MIN_COLUMNS = 8


@runtime_checkable
class _News(Protocol):
    """What a screen reads of `birdnn.records.Progress`, which costs seconds to import."""

    @property
    def phase(self) -> str: ...
    @property
    def done(self) -> float | None: ...
    @property
    def left_s(self) -> float | None: ...
    @property
    def detail(self) -> str: ...


class _OneLine(NamedTuple):
    phase: str = "starting"
    done: float | None = None
    left_s: float | None = None
    detail: str = ""


@runtime_checkable
class _Screen(Protocol):
    def update(self, news: _News) -> None: ...
    def close(self) -> None: ...


_LONGEST_S = 240 * 3600.0
"""Longer estimates are none: the first boxes of a hard proof say nothing but that it is out of reach."""


def _time_left(seconds: float) -> str:
    return "more than 10 days left" if seconds > _LONGEST_S else f"about {_clock_time(seconds)} left"


def _clock_time(seconds: float) -> str:
    """``7 s``, ``3:05``, ``1:02:03``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class LiveScreen:
    """The running phase as one line that moves; phases that took their time stay above it."""

    def __init__(self, where: Console) -> None:
        self._console = where
        # the dots are no ASCII
        self._spinner = Spinner("dots" if where.encoding.lower().startswith("utf") else "line")
        self._news: _News | None = None
        self._begun = time.monotonic()
        self._live = Live(get_renderable=self._render_line, console=where, refresh_per_second=8, transient=True)
        self._live.start()

    def update(self, news: _News) -> None:
        """Show the news; a new phase sends the last one into the scroll-back."""
        if self._news is None or news.phase != self._news.phase:
            self._leave_behind()
            self._begun = time.monotonic()
        self._news = news

    def close(self) -> None:
        """Remove the line."""
        self._leave_behind()
        self._news = None
        self._live.stop()

    def _leave_behind(self) -> None:
        spent = time.monotonic() - self._begun
        if self._news is None or spent < WORTH_A_LINE_S:
            return
        detail = f"  {self._news.detail}" if self._news.detail else ""
        line = Text.assemble(("- ", "green"), self._news.phase, (f"  {spent:.1f} s{detail}", "dim"))
        line.truncate(self._console.width, overflow="ellipsis")
        self._live.console.print(line)

    def _render_line(self) -> Table | Text:
        if self._news is None:
            return Text("")
        return live_line(self._news, self._spinner, time.monotonic() - self._begun, self._console.width)


def live_line(news: _News, spinner: Spinner, spent_s: float, width: int) -> Table:
    """One line of at most `width` columns; the phase has precedence, then the clock, the bar, the detail."""
    left = "" if news.left_s is None else f", {_time_left(news.left_s)}"
    share = "" if news.done is None else f"{min(100, int(news.done * 100))} %, "
    clock = f"{share}{_clock_time(spent_s)}{left}"
    grid = Table.grid(padding=(0, 1, 0, 0))
    cells: list[RenderableType] = []
    room = width - 1  # a full last column would wrap on some terminals

    def add(cell: RenderableType, columns: int) -> None:
        nonlocal room
        grid.add_column(width=columns, no_wrap=True, overflow="ellipsis")
        cells.append(cell)
        room -= columns + 1

    add(spinner, 1)
    add(Text(news.phase), min(len(news.phase), room - 1))
    with_bar = room > BAR_COLUMNS + 1 + len(clock)
    if with_bar:
        total = None if news.done is None else 1.0
        bar = ProgressBar(total=total, completed=news.done or 0.0, width=BAR_COLUMNS, pulse=total is None)
        add(bar, BAR_COLUMNS)
    if room > MIN_COLUMNS:
        add(Text(clock), min(len(clock), room - 1))
    if news.detail and room > MIN_COLUMNS:
        add(Text(news.detail, style="dim"), min(len(news.detail), room - 1))
    grid.add_row(*cells)
    return grid


class PlainScreen:
    """Lines without any control characters: one for a new phase, then one every ten seconds."""

    def __init__(self, where: Console) -> None:
        self._console = where
        self._start = time.monotonic()
        # the first news are printed at once
        self._last = -PLAIN_EVERY_S
        self._phase = ""

    def update(self, news: _News) -> None:
        """Print the news, if it is time."""
        now = time.monotonic() - self._start
        wait = PLAIN_EVERY_S if news.phase == self._phase else PLAIN_PHASE_EVERY_S
        if now - self._last < wait:
            return
        parts = [news.detail] if news.detail else []
        if news.done is not None:
            parts.insert(0, f"{min(100, int(news.done * 100))} %")
        if news.left_s is not None:
            parts.append(_time_left(news.left_s))
        rest = f": {', '.join(parts)}" if parts else ""
        self._console.print(Text(f"[{now:6.1f} s] {news.phase}{rest}"), soft_wrap=True)
        self._last, self._phase = now, news.phase

    def close(self) -> None:
        """Nothing to remove."""


class SilentScreen:
    """Shows nothing."""

    def update(self, news: _News) -> None:
        """Ignore the news."""

    def close(self) -> None:
        """Nothing to remove."""


class TerminalWatch(AbstractContextManager["TerminalWatch"]):
    """`birdnn.records.Watch` of someone in front of a terminal, or behind a pipe."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._interrupt = Interrupt()
        self._screen: _Screen = SilentScreen()
        self._broken = False
        self._told = False

    def update(self, news: _News) -> None:
        """Take the news. A terminal that has gone away must not end the work."""
        if self._broken:
            return
        try:
            # phases and details quote names of files, which are strangers' text
            self._screen.update(_OneLine(printable(news.phase), news.done, news.left_s, printable(news.detail)))
        except OSError:
            self._broken = True

    def stopped(self) -> bool:
        """Did the user press Ctrl-C?"""
        # told here: the signal may have come in the middle of a print
        if self._interrupt.stopped() and not self._told:
            self._told = True
            complain("stopping at the next chance, keeping the best so far; Ctrl-C again leaves at once")
        return self._told

    def __enter__(self) -> Self:
        self._interrupt.__enter__()
        if not self._quiet:
            where = console(stderr=True)
            self._screen = (
                LiveScreen(where) if sys.stderr.isatty() and not where.is_dumb_terminal else PlainScreen(where)
            )
        self.update(_OneLine())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._screen.close()
        except OSError:
            self._broken = True
        finally:
            self._interrupt.__exit__(kind, error, trace)
