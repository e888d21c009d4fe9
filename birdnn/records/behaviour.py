"""What a repair keeps of the original's behaviour, where that was measured, and which outputs it tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ground = Literal["domain", "data", "surroundings", "hull", "regions", "beyond", "test"]
"""What behaviour is measured on: the declared domain, a file of the user's, what is at hand without either, or just
beyond the regions where these are all that is known."""

RuleBy = Literal["option", "suite", "property", "nobody"]
"""Who says which output decides: the user, the suite, or the rows of the properties."""

KeptWord = Literal["kept", "badly kept", "not measured"]
"""Is behaviour kept, at each place where it was measured, as well as asked for?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAt:
    """How alike original and repaired network are on inputs that need not change.

    Attributes:
        where: in words, e.g. ``"the domain (suite acasxu)"``.
        ground: what kind of inputs.
        n: how many.
        agreement: share of them with the same decision; where nobody says which output decides the lesser of `either`;
            None where nothing decides: a single output, or the user says so.
        either: the same if the least, and if the greatest output decided; None where user or suite say which one.
        mae: mean absolute difference of the outputs.
        size: mean absolute output of the original.
        labelled, right_before, right_after: of a file with labels: how many inputs have one, and at how many of them
            the networks decide so. Then the figures above speak about those that the original decides right.
    """

    where: str
    ground: Ground
    n: int
    agreement: float | None
    either: tuple[float, float] | None
    mae: float
    size: float
    labelled: int = 0
    right_before: int = 0
    right_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tied:
    """An output that follows others, up to a constant: what it told by itself is lost.

    Attributes:
        output: index of the output that gave way.
        follows: the outputs that it follows; empty: it is constant.
        property: what is proved by that.
    """

    output: int
    follows: tuple[int, ...]
    property: str
