"""Limits and effort of a verification."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from birdnn.bounds.crown import CrownSettings, SplitSettings
from birdnn.rounding import Semantics
from birdnn.verify.attack import AttackSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Limits and effort of a verification.

    Attributes:
        timeout_s: wall time in seconds, falsification included.
        memory_bytes: what the open boxes and a recorded proof may take; a batch at work needs some hundred MB besides.
        max_boxes: how many boxes may be examined.
        max_work: about how many multiplications their bounds may take: fewer boxes of a large network, and as many
            on a busy machine as on an idle one.
        batch: boxes examined together; None picks by device.
        smallest_width: a box whose every edge is below this share of its region's edge is given up as undecidable, as
            is one of which no edge has a midpoint in float64.
        semantics: what a proof is to speak about.
        record: keep what a certificate needs, some hundred bytes for each box.
        give_up: end early where an estimate of what is left says that the limits will not do; where it says that they
            about will, there may be half as many boxes again.
        many_inputs: do so many inputs vary that boxes are better divided by the signs of neurons than by inputs? A
            search finds that out itself.
        seed: of every random draw.
        device: torch device of the search.
        attack, crown: effort of falsification and of the bounds; of the attack before a search on a CPU, less where
            the network is so large that it would take minutes.
    """

    timeout_s: float = float("inf")
    memory_bytes: int = 4 * 2**30
    max_boxes: float = float("inf")
    max_work: float = float("inf")
    batch: int | None = None
    smallest_width: float = 1e-12
    semantics: Semantics = "real"
    record: bool = False
    give_up: bool = False
    many_inputs: bool = False
    seed: int = 0
    device: str = "cpu"
    attack: AttackSettings = field(default_factory=AttackSettings)
    crown: CrownSettings = field(default_factory=lambda: CrownSettings(splits=SplitSettings()))

    def __post_init__(self) -> None:
        """Refuse a limit that is no number: nothing is ever beyond it.

        Raises:
            ValueError: there is one.
        """
        for name in ("timeout_s", "max_boxes", "max_work"):
            if math.isnan(getattr(self, name)):
                raise ValueError(f"{name} is no number")
