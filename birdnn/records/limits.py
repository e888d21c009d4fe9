"""How a limit of time reaches the innermost loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Over: TypeAlias = Callable[[], bool]
"""Has the work to end now? Asked between pieces of a second or less; what has been done by then is kept."""


# Not of `birdnn.errors`: it never reaches a user, whoever set the limit catches it.
class OutOfTime(Exception):
    """Raised where there is nothing to keep: whoever gave the time knows what to do without the result."""


def never() -> bool:
    """No limit."""
    return False


def require_time(over: Over) -> None:
    """Go on only where there is time left.

    Raises:
        OutOfTime: there is none.
    """
    if over():
        raise OutOfTime
