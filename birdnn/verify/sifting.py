"""Bounds of whole regions, before anything else: most of a property with many regions is decided by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.errors import out_of_memory
from birdnn.network import Network
from birdnn.records.limits import OutOfTime, Over
from birdnn.rounding import Semantics
from birdnn.spec import Property, Region
from birdnn.verify.effort import AT_ONCE, MANY, backward_box_work
from birdnn.verify.float32 import why_not_float32


@dataclass(frozen=True, slots=True, eq=False)
class Suspect:
    """A region that is worth an attack.

    Attributes:
        place: its number in the property.
        region: with those of its polytopes only that are worth one.
        hints: where to begin for each of them, (polytopes, k, inputs): where a bound is attained, or the middle.
    """

    place: int
    region: Region
    hints: Tensor

    @staticmethod
    def all_of(prop: Property) -> list[Suspect]:
        """Every region, of which nothing is known."""
        return [
            Suspect(i, r, _middle_of(r).expand(len(r.unsafe), 1, -1)) for i, r in enumerate(prop.regions) if r.unsafe
        ]


def _middle_of(region: Region) -> Tensor:
    return region.lower + (region.upper - region.lower) / 2


def find_suspects(
    net: Network,
    prop: Property,
    semantics: Semantics,
    make: Callable[[Semantics], MarginBound],
    device: str,
    together: int,
    stopped: Over,
) -> list[Suspect]:
    """The regions that are worth an attack, with those of their polytopes that bounds of whole regions leave open.

    An input that violates when run only has to be told, too: what is left out is out of reach of any run. Bounds that
    cost more than a moment come after intervals, and only where polytopes are many.

    Args:
        semantics: what the search speaks about.
        make: makes bounds that speak about something; making them may take a while where a network is large.
        device: of the search.
        together, stopped: see `sift_by_bounds`.
    """
    found = Suspect.all_of(prop)
    speaks: Semantics = semantics
    if semantics == "real":
        if not why_not_float32(net):
            speaks = "float32"
        elif sum(len(suspect.region.unsafe) for suspect in found) <= MANY:
            return found
    # intervals cost next to nothing; where they leave little, dearer bounds are not asked for
    if backward_box_work(net) * len(found) > AT_ONCE:
        found = sift_by_bounds(IntervalBound(net, torch.device(device), speaks), found, together, stopped)
        if sum(len(suspect.region.unsafe) for suspect in found) <= MANY:
            return found
    return sift_by_bounds(make(speaks), found, together, stopped)


def sift_by_bounds(bound: MarginBound, suspects: Sequence[Suspect], together: int, stopped: Over) -> list[Suspect]:
    """What bounds of whole regions leave open of them; the rest as it is where time or memory is over.

    Args:
        together: so many regions are bounded at once.
        stopped: looked at before each time.
    """
    found: list[Suspect] = []
    for begin in range(0, len(suspects), together):
        if stopped():
            return [*found, *suspects[begin:]]
        try:
            found += _sift_batch(bound, suspects[begin : begin + together])
        except (OutOfTime, MemoryError, RuntimeError) as error:  # who is not sifted out is attacked
            if not (isinstance(error, OutOfTime) or out_of_memory(error)):
                raise
            return [*found, *suspects[begin:]]
    return found


def _sift_batch(bound: MarginBound, suspects: Sequence[Suspect]) -> list[Suspect]:
    polytopes = tuple(p for suspect in suspects for p in suspect.region.unsafe)
    own = torch.tensor([i for i, suspect in enumerate(suspects) for _ in suspect.region.unsafe])
    # each box is asked about the polytopes of its own region only, though all stand in one question
    opened = (own[None] == torch.arange(len(suspects))[:, None]).to(bound.device)
    question = Question.of(polytopes, polytopes[0].n_outputs, bound.device)
    lower, upper = (
        torch.stack([getattr(suspect.region, side) for suspect in suspects]).to(bound.device)
        for side in ("lower", "upper")
    )
    look = bound.at_a_glance if isinstance(bound, CompiledBound) else bound.bound
    result = look(question, Boxes(lower, upper), opened, bound.root(len(suspects)))
    left = ~question.excluded(result.lower, result.polytope)
    box, plane = result.box[left], result.plane[left, -1]
    # where the last plane is least: an end of each input that it depends on, the middle of the others
    corners = torch.where(plane > 0, lower[box], upper[box]).where(plane != 0, (lower + (upper - lower) / 2)[box])
    kept: list[list[tuple[int, Tensor]]] = [[] for _ in suspects]
    for polytope, place, corner in zip(result.polytope[left].tolist(), box.tolist(), corners.cpu(), strict=True):
        kept[place].append((polytope, corner))
    return [
        Suspect(
            suspect.place,
            replace(suspect.region, unsafe=tuple(polytopes[p] for p, _ in of_region)),
            torch.stack([corner for _, corner in of_region])[:, None],
        )
        for suspect, of_region in zip(suspects, kept, strict=True)
        if of_region
    ]
