"""Which numbers an option takes: what the command line refuses, the Python calls refuse, in the same words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Finite numbers from `least` to `most`.

    Attributes:
        words: what is expected.
        inside: do the ends themselves not count?
    """

    words: str
    least: float
    most: float = math.inf
    inside: bool = False

    def takes(self, value: float) -> bool:
        """Is the value one of them?"""
        # Where there is no greatest, `most` is infinity, which it must not let pass: limits are finite numbers.
        if not math.isfinite(value):
            return False
        return self.least < value < self.most if self.inside else self.least <= value <= self.most


POSITIVE = Range(words="a positive finite number", least=0.0, inside=True)
NOT_NEGATIVE = Range(words="a finite number of at least 0", least=0.0)
SHARE = Range(words="a number from 0 to 1", least=0.0, most=1.0)
BETWEEN = Range(words="a number greater than 0 and less than 1", least=0.0, most=1.0, inside=True)
COUNT = Range(words="a whole number of at least 1", least=1)
NATURAL = Range(words="a whole number of at least 0", least=0)
SEED = Range(words="a whole number from 0 to 2**63 - 1", least=0, most=2**63 - 1)
CELLS = Range(words="a whole number from 2 to 2000", least=2, most=2000)

_RANGES: Mapping[str, Range] = MappingProxyType(
    {
        **dict.fromkeys(
            ("timeout_s", "crosscheck_timeout_s", "memory_gib", "memory_limit", "grace", "prove_s"), POSITIVE
        ),
        **dict.fromkeys(
            ("max_mae", "max_change", "max_difference", "points_tolerance", "points_radius", "within"), POSITIVE
        ),
        **dict.fromkeys(("radius", "bound_s"), NOT_NEGATIVE),
        **dict.fromkeys(("min_agreement", "alpha"), SHARE),
        **dict.fromkeys(("epsilon", "delta"), BETWEEN),
        **dict.fromkeys(("top", "samples", "sample", "attempts", "examples", "epochs", "jobs", "threads"), COUNT),
        "seed": SEED,
        "cells": CELLS,
    }
)
"""Option, as records name it -> its range."""

_OF_COMMANDS: Mapping[tuple[str, str], Range] = MappingProxyType({("repair", "samples"): NATURAL})
"""Command, option -> its range, where it is another than that of all other commands."""


def range_of(command: str, option: str) -> Range | None:
    """The range of a command's option; None where its values are no numbers."""
    return _OF_COMMANDS.get((command, option), _RANGES.get(option))


def out_of_range(command: str, said: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first option whose value it does not take, and what is expected; None where there is none.

    Args:
        command: which command.
        said: option -> value; what was not said is None.
    """
    for option, value in said.items():
        known = range_of(command, option)
        # True is an int to Python; a switch has no range.
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if known is not None and number and not known.takes(value):
            return option, f"{known.words} is expected"
    return None
