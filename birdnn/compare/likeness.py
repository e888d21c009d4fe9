"""How alike two networks behave on uniform points of a place, and which of the points are furthest apart.

Shares and means are those of `birdnn.metrics`. Each interval holds by itself: Clopper and Pearson's for a share, the
normal approximation for a mean of at least a hundred points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.compare.pair import Pair, Place
from birdnn.compare.settings import CompareSettings
from birdnn.later import later
from birdnn.metrics import decisions, drawdown, fidelity, healed_rate
from birdnn.pipeline.behaviour import violating_inputs
from birdnn.pipeline.clock import Clock
from birdnn.records import Confidence, Decision, Likeness, Transition
from birdnn.sample import draw_from_region, draw_uniform
from birdnn.sample.draw import BATCH, region_shares
from birdnn.sample.pac import clopper_pearson
from birdnn.sample.tally import union_margin

stats = later("scipy.stats")

_KEPT = 32
_ENOUGH = 100


def change_depth(before: Tensor, after: Tensor, decision: Decision) -> tuple[Tensor, Tensor]:
    """How clearly two networks decide differently, (n,), and for what the second would, (n,).

    The lesser of how much A prefers its choice to the other, and B the other to A's choice; at most zero where B
    prefers nothing to A's choice. `before`, `after`: outputs (n, outputs).
    """
    sign = 1.0 if decision == "argmin" else -1.0
    chosen = (sign * before).argmin(1, keepdim=True)
    losing = sign * (before - before.gather(1, chosen))
    winning = sign * (after.gather(1, chosen) - after)
    # to prefer what A prefers is no change
    both = torch.minimum(losing, winning).scatter(1, chosen, -torch.inf)
    best = both.max(1)
    return best.values, best.indices


@dataclass(slots=True, eq=False)
class Sampled:
    """What uniform points of a place show.

    Attributes:
        likeness: the published part.
        apart: the points that are furthest apart, (m, inputs).
        largest: the largest absolute output of both, (outputs,).
        contradicting: points that violate the place's property in A, and in B, (m, inputs) each.
    """

    likeness: Likeness
    apart: Tensor
    largest: Tensor
    contradicting: tuple[Tensor, Tensor]


@dataclass(slots=True, eq=False)
class _Collected:
    """Outputs and margins chunk by chunk; of the inputs only those that are needed later."""

    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)
    fine: list[Tensor] = field(default_factory=list)
    margins: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    apart: list[Tensor] = field(default_factory=list)
    bad: tuple[list[Tensor], list[Tensor]] = field(default_factory=lambda: ([], []))


def sample_place(
    pair: Pair, place: Place, settings: CompareSettings, generator: torch.Generator, clock: Clock
) -> Sampled | None:
    """Draw points of a place until all are drawn or time is up; None where there was time for none."""
    found = _Collected()
    end = clock.wall_s() + clock.left_s() * settings.time_share
    for x in _draw_chunks(pair, place, settings, generator):
        # one chunk at least, while there is time at all: a share of an empty sample says nothing
        if found.before and (clock.over() or clock.wall_s() > end):
            break
        if clock.over():
            return None
        _add_chunk(found, pair, place, x)
    likeness = _measure_likeness(found, pair.case.decision, place, settings.confidence)
    bad = tuple(torch.cat(part)[:_KEPT] if part else torch.empty(0, pair.before.net.n_inputs) for part in found.bad)
    largest = torch.cat([y.abs().amax(0)[None] for y in (*found.before, *found.after)]).amax(0)
    return Sampled(likeness, torch.cat(found.apart), largest, (bad[0], bad[1]))


def _draw_chunks(pair: Pair, place: Place, settings: CompareSettings, generator: torch.Generator) -> Iterator[Tensor]:
    """Uniform points, (n, inputs) at a time."""
    if place.subject is None:
        (domain,) = place.regions
        for count in _chunk_sizes(pair.request.samples):
            yield draw_uniform(domain.lower, domain.upper, count, generator)
        return
    prop = place.subject.prop
    wanted = max(1, round(pair.request.samples * settings.region_share))
    for region, share in zip(prop.regions, region_shares(prop, wanted), strict=True):
        for count in _chunk_sizes(1 if region.is_point else share):
            yield draw_from_region(region, count, generator)


def _chunk_sizes(total: int) -> Iterator[int]:
    for start in range(0, total, BATCH["cpu"]):
        yield min(BATCH["cpu"], total - start)


def _add_chunk(found: _Collected, pair: Pair, place: Place, x: Tensor) -> None:
    before, after = pair.run(x)
    found.before.append(before)
    found.after.append(after)
    found.apart.append(x[_furthest_points(before, after, pair.case.decision)])
    if place.subject is None:
        # where A violates a repair has to change it: such points say nothing about what was kept
        found.fine.append(~violating_inputs(pair.case.subjects, x, before))
        return
    margins = [union_margin(place.subject.prop, x, y) for y in (before, after)]
    found.fine.append(margins[0] > 0)
    found.margins.append((margins[0], margins[1]))
    for part, margin in zip(found.bad, margins, strict=True):
        if sum(map(len, part)) < _KEPT:
            part.append(x[~(margin > 0)][:_KEPT])


def _furthest_points(before: Tensor, after: Tensor, decision: Decision) -> Tensor:
    """Indices of the points with the largest difference of each output, and of the clearest changes of decision."""
    apart = (after - before).abs()
    count = min(_KEPT, len(apart))
    wanted = apart.amax(0).topk(min(_KEPT, apart.shape[1])).indices
    # of each output, and of all: one output may be far apart everywhere, and crowd out the others
    best = [apart[:, wanted].topk(min(4, count), dim=0).indices.flatten(), apart.amax(1).topk(count).indices]
    if decision != "none" and apart.shape[1] > 1:
        best.append(change_depth(before, after, decision)[0].topk(count).indices)
    different: Tensor = torch.unique(torch.cat(best))
    return different


def _measure_likeness(found: _Collected, decision: Decision, place: Place, confidence: float) -> Likeness:
    before, after, fine = (torch.cat(part) for part in (found.before, found.after, found.fine))
    lost = mended = None
    if place.subject is not None:
        old, new = (torch.cat(part) for part in zip(*found.margins, strict=True))
        lost, mended = drawdown(place.subject.prop.name, old, new), healed_rate(old, new, by_proof=False)
    if not bool(fine.any()):
        return Likeness(place=place.name, fidelity=None, drawdown=lost, healed=mended, n=len(fine))
    n, before, after = len(fine), before[fine], after[fine]
    apart = (after - before).abs().double()
    measured = fidelity(before, after, decision)
    share = measured.decision_agreement
    return Likeness(
        place=place.name,
        fidelity=measured,
        # a share of counts, turned back into the count
        agreement=None if share is None else _interval_of_share(round(share * measured.n), measured.n, confidence),
        mae=_interval_of_mean(apart.mean(1), confidence),
        per_output=tuple(apart.mean(0).tolist()),
        transitions=_transitions(before, after, decision),
        drawdown=lost,
        healed=mended,
        n=n,
    )


def _interval_of_share(hits: int, n: int, confidence: float) -> Confidence:
    lower, upper = clopper_pearson(hits, n, 1 - confidence)
    return Confidence(lower=lower, upper=upper, confidence=confidence)


def _interval_of_mean(values: Tensor, confidence: float) -> Confidence | None:
    """By the normal approximation; of a mean of absolute values."""
    if len(values) < _ENOUGH:
        return None
    mean = float(values.mean())
    # the deviation is the sample's: hence only from `_ENOUGH` points on
    reach = float(stats.norm.isf((1 - confidence) / 2)) * float(values.std()) / len(values) ** 0.5
    return Confidence(lower=max(0.0, mean - reach), upper=mean + reach, confidence=confidence)


def _transitions(before: Tensor, after: Tensor, decision: Decision) -> tuple[Transition, ...]:
    old, new = decisions(before, decision), decisions(after, decision)
    if old is None or new is None:
        return ()
    moved = old != new
    counts = Counter(zip(old[moved].tolist(), new[moved].tolist(), strict=True))
    return tuple(Transition(before=a, after=b, count=count) for (a, b), count in counts.most_common())
