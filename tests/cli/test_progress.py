"""Progress lines: what they show, where, and how often."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.spinner import Spinner

from birdnn.cli import progress
from birdnn.cli.progress import LiveScreen, PlainScreen, TerminalWatch, live_line
from birdnn.records import Progress, Watch

NEWS = Progress(phase="proving prop_8", done=0.345, left_s=3725.0, detail="12,000 boxes, 340 open")


def _plain(width: int = 100) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=width, highlight=False), stream


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_the_live_line_is_one_line_and_names_the_phase(width: int) -> None:
    console, stream = _plain(width)
    console.print(live_line(NEWS, Spinner("dots"), 65.0, width))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert len(lines[0].rstrip()) < width
    assert "proving prop_8" in lines[0]
    assert ("34 %, 1:05, about 1:02:05 left" in lines[0]) == (width >= 60)
    assert ("12,000 boxes, 340 open" in lines[0]) == (width >= 120)


def test_an_estimate_beyond_all_reason_is_none() -> None:
    console, stream = _plain()
    PlainScreen(console).update(Progress(phase="proving", left_s=1e40))
    assert stream.getvalue() == "[   0.0 s] proving: more than 10 days left\n"


def test_plain_lines_are_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console, stream = _plain()
    screen = PlainScreen(console)
    for tick in range(1000):
        now[0] = tick * 0.05
        screen.update(Progress(phase=f"phase {tick // 500}", detail=f"tick {tick}"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[   0.0 s] phase 0: tick 0"
    assert lines[-1].startswith("[")
    assert len(lines) == 6
    assert "\x1b" not in stream.getvalue()


def test_phases_that_took_their_time_stay_in_the_scroll_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, highlight=False, no_color=True)
    screen = LiveScreen(console)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    screen._begun = 0.0
    for at, phase in ((0.0, "long"), (5.0, "short"), (5.1, "last"), (9.0, "last")):
        now[0] = at
        screen.update(Progress(phase=phase))
    screen.close()
    assert "- long" in stream.getvalue()
    assert "- short" not in stream.getvalue()
    assert "- last" in stream.getvalue()


def test_the_terminal_is_a_watch_and_survives_its_own_end() -> None:
    with TerminalWatch(quiet=True) as watch:
        assert isinstance(watch, Watch)
        assert not watch.stopped()

        class Gone:
            def update(self, news: object) -> None:
                raise BrokenPipeError

            def close(self) -> None:
                raise BrokenPipeError

        watch._screen = Gone()
        watch.update(NEWS)
        watch.update(NEWS)
