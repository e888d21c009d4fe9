"""How far a repaired network can be from the original: what `repair` found, and what it proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from birdnn.records.published import Said, Written, finite_or_null, publishes
from birdnn.records.stages import Rate


def _null_as_minus_infinity(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in values)


def _null_as_infinity(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.inf if value is None else value for value in values)


@publishes(
    "PreservationModel",
    "where found_lower found_upper x lower upper arithmetic method boxes seconds complete constants decided",
    text="How far the repaired network is from the original, anywhere in the domain. Differences are after - before.",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Preservation:
    """What is known of the change of each output, network units.

    Attributes:
        where: the domain, in words.
        lower, upper: infinite where nothing is known.
        method: whose bounds, or why there are none; `arithmetic`: what they speak about.
        boxes: into how many the domain was cut; `seconds` it took.

    Raises:
        ValueError: its ranges are of different numbers of outputs.
    """

    where: str
    found_lower: Annotated[
        tuple[float, ...], Said("The least change of each output that a search found, run on the files; no bound.")
    ]
    found_upper: Annotated[tuple[float, ...], Said("The greatest.")]
    x: Annotated[tuple[float, ...], Said("The input at which some output changes most, of those found.")]
    lower: Annotated[
        tuple[float, ...],
        Written(list[float | None], finite_or_null, _null_as_minus_infinity),
        Said("Proved: nowhere does an output change by less; null where nothing is known."),
    ]
    upper: Annotated[
        tuple[float, ...],
        Written(list[float | None], finite_or_null, _null_as_infinity),
        Said("Proved: nowhere does it change by more."),
    ]
    arithmetic: str
    method: str
    boxes: int
    seconds: float
    complete: Annotated[bool, Said("The bounds are what was asked for, or close to what was found.")]
    constants: Annotated[
        bool,
        Said(
            "The independent checker read both files and found that outputs differ by constants alone, at every input; "
            "`birdnn-check --before` says it again."
        ),
    ] = False
    decided: Annotated[
        Rate | None,
        Said(
            "Of uniform inputs of the domain, those at which the original decides so clearly that no such change of "
            "outputs makes another decision; null where nothing decides."
        ),
    ] = None

    def __post_init__(self) -> None:
        # Zipped by those who read it; a damaged file must not lose an output silently.
        if len({len(side) for side in (self.found_lower, self.found_upper, self.lower, self.upper)}) > 1:
            raise ValueError("changes of one network's outputs are of different numbers of outputs")

    @property
    def found(self) -> float:
        """The largest absolute change that was found."""
        return max((abs(value) for value in (*self.found_lower, *self.found_upper)), default=0.0)

    @property
    def proved(self) -> float:
        """What no output's absolute change exceeds; infinite where that is not known."""
        # Both sides: an output that only falls has its greatest change on the lower one.
        return max((abs(value) for value in (*self.lower, *self.upper)), default=0.0)
