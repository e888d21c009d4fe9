"""What a result says of itself: it is neither true nor false, and is shown in a line."""

from __future__ import annotations

from collections.abc import Iterable


class Result:
    """A result. ``if result:`` would be true of a violation as well, and is refused: say what is asked.

    Raises:
        TypeError: it is asked whether it is true.
    """

    # Without it instances of the records, which have slots, would have a `__dict__` all the same.
    __slots__ = ()

    def __bool__(self) -> bool:
        kind = type(self).__name__
        raise TypeError(f"{kind} is neither true nor false: {_INSTEAD.get(kind, 'ask for what it holds')}")


_INSTEAD = {
    **dict.fromkeys(
        ("VerifyOutcome", "PropertyRepair", "ExampleRepair"), "ask .proved, or call .raise_unless_proved()"
    ),
    "PropertyVerdict": "ask .proved",
    "CheckOutcome": "ask .accepted",
    **dict.fromkeys(("Proved", "Violated", "Unknown"), "ask isinstance(verdict, birdnn.Proved)"),
}


def in_a_line(kind: str, parts: Iterable[str], seconds: float) -> str:
    """How a result is shown: ``<VerifyOutcome prop_1: proved; prop_8: violated; 0.3 s>``."""
    return f"<{kind} {'; '.join([*parts, f'{seconds:.3g} s'])}>"
