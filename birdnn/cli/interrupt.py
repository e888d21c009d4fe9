"""Ctrl-C: once stops cleanly at the next chance, twice leaves at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, the first SIGINT only sets a flag; the second raises KeyboardInterrupt; the third kills.

    Files appear all at once (a temporary file is moved into place), so that leaving at any moment corrupts nothing.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: Any = None

    def stopped(self) -> bool:
        """Did the user ask to stop?"""
        return self._asked.is_set()

    def __enter__(self) -> Self:
        # elsewhere Python lets nobody set a handler
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            # should anything hold KeyboardInterrupt back, the next one ends the process
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        self._asked.set()  # nothing is printed here: the signal may have come in the middle of a print
