"""Since when a time limit counts: loading modules takes seconds, on a busy machine many."""

from __future__ import annotations

from contextvars import ContextVar

BEGAN: ContextVar[float | None] = ContextVar("began", default=None)
"""When the process began, on the monotonic clock; None where a command is one of several: it counts from now."""
