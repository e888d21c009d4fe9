"""What a repair keeps of the original's behaviour, where that was measured, and which outputs it tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from birdnn.records.published import Said, publishes

Ground = Literal["domain", "data", "surroundings", "hull", "regions", "beyond", "test"]
"""What behaviour is measured on: the declared domain, a file of the user's, what is at hand without either, or just
beyond the regions where these are all that is known."""

RuleBy = Literal["option", "suite", "property", "nobody"]
"""Who says which output decides: the user, the suite, or the rows of the properties."""

KeptWord = Literal["kept", "badly kept", "not measured"]
"""Is behaviour kept, at each place where it was measured, as well as asked for?"""


@publishes(
    "BehaviourModel",
    "where ground n decision_agreement argmin_agreement argmax_agreement mae size labelled right_before right_after",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAt:
    """How alike both networks are on inputs that need not change: points that must, and what is violated, left out.

    Attributes:
        where: e.g. ``"the domain (suite acasxu)"``.
        ground: what kind of inputs.
        n: how many.
        decision_agreement: None where nothing decides: a single output, or the user says so.
        argmin_agreement, argmax_agreement: the same if the least, and if the greatest output decided.
        labelled, right_before, right_after: of a file with labels: how many inputs have one, and at how many of them
            the networks decide so. Then the figures above speak about those that the original decides right.
    """

    where: Annotated[str, Said("What the figures speak about, in words.")]
    ground: Ground
    n: int
    decision_agreement: Annotated[
        float | None,
        Said(
            "Share with the same decision; where neither user nor suite says which output decides, the lesser "
            "of the next two; null where nothing decides."
        ),
    ]
    argmin_agreement: Annotated[float | None, Said("Null where user or suite say which output decides.")] = None
    argmax_agreement: float | None = None
    mae: Annotated[float, Said("Mean absolute difference of the outputs, network units.")]
    size: Annotated[float, Said("Mean absolute output of the original there.")]
    labelled: Annotated[int, Said("Inputs of the file whose right decision is known; 0 for other places.")] = 0
    right_before: int = 0
    right_after: int = 0


@publishes("TiedModel", "output follows property")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tied:
    """An output that follows others up to a constant: what it told by itself is lost."""

    output: int
    follows: Annotated[tuple[int, ...], Said("Empty: it is constant.")]
    property: Annotated[str, Said("What is proved by that.")]
