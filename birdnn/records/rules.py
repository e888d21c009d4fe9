"""Rules in words: what states a property, and what is said about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from birdnn.records.facts import ScaledQuantity, Units
from birdnn.spec import Property

ConditionsLike: TypeAlias = str | Mapping[str, object]
"""Conditions on inputs: a rule, or name -> value or (low, high)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRequest:
    """A rule about a network.

    Attributes:
        net: the network's file.
        never, always: what must not, or must, come out; one of them.
        when: for which inputs; empty: for all of the domain.
        domain: between which values inputs lie that `when` leaves free: conditions, or a file; None: as the suite or
            the NNet header says.
        units: of all numbers; ``"raw"`` needs a network that brings its scaling.
        suite, as_name: whose names and domain, see ``repair``.
        name: of the property.
    """

    net: Path
    never: str | None = None
    always: str | None = None
    when: ConditionsLike = ""
    domain: ConditionsLike | Path | None = None
    units: Units = "normalised"
    suite: str | None = None
    as_name: str | None = None
    name: str = "rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRequest:
    """A relation between two networks, or between two runs of one; one of them is said.

    Attributes:
        net: the first network's file.
        within: no output differs by so much; beside `symmetric`, `rising` and `falling` what is a difference there.
        same_decision: which output is in front in both.
        rising, falling: ``x0:y3``, an input and the output that does not fall, or rise, with it.
        steepness: ``x0:y3:2.5``, at most so many times as much.
        symmetric: ``x1:x2,y1:y2``, what is exchanged.
        domain, suite, as_name: see `RuleRequest`.
    """

    net: Path
    within: float | None = None
    same_decision: Literal["least", "greatest"] | None = None
    rising: str | None = None
    falling: str | None = None
    steepness: str | None = None
    symmetric: str | None = None
    domain: ConditionsLike | Path | None = None
    suite: str | None = None
    as_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldProperty:
    """A property, and what is known about what it speaks about.

    Attributes:
        prop: in the network's units.
        statement: one line that says what it is about.
        inputs, outputs: what they mean; empty where nobody says it.
        recognised: what a suite calls it; empty where none states it.
        notes: what a user should know, one sentence each.
    """

    prop: Property
    statement: str
    inputs: tuple[ScaledQuantity, ...] = ()
    outputs: tuple[ScaledQuantity, ...] = ()
    recognised: str = ""
    notes: tuple[str, ...] = ()
