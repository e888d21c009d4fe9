"""Inputs at which two networks are furthest apart: searched for, then run on the files. Found, not proved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from birdnn.boxes import Boxes
from birdnn.compare.likeness import change_depth
from birdnn.compare.pair import Pair, Place
from birdnn.compare.settings import CompareSettings
from birdnn.metrics import decisions
from birdnn.pipeline.clock import Clock
from birdnn.records import Apart
from birdnn.sample.draw import BATCH
from birdnn.spec import Polytope, Region, Row
from birdnn.verify import AttackSettings, attack
from birdnn.verify.differing import polytopes_apart

_KEPT = 32
_STARTS, _NEARBY = 8, 64  # points that are seen best, and others near each


class Both(nn.Module):
    """Two networks as one: (n, inputs) -> (n, 2 outputs), A's first."""

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of A, then of B."""
        return torch.cat([self.before(x), self.after(x)], 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Search:
    """What is searched with."""

    both: Both
    region: Region
    effort: AttackSettings
    near: float
    generator: torch.Generator
    over: Callable[[], bool]

    def best(self, aim: Polytope, x: Tensor, count: int) -> Tensor:
        """The points (m, inputs) that come furthest."""
        with torch.no_grad():
            margin = torch.cat([aim.margin(self.both(part)) for part in torch.split(x, BATCH["cpu"])])
        return x[margin.argsort()[:count]]

    def hunt(self, aim: Polytope, seen: Tensor) -> Tensor:
        """The best of the points that an attack finds, begun everywhere and close to the best that were seen."""
        # what is sought as the only unsafe set: an attack looks for the least margin, which is the largest difference
        region = replace(self.region, unsafe=(aim,))
        hints = self.best(aim, seen, _STARTS).double()
        reach = self.near * (region.upper - region.lower)
        around = Boxes(torch.maximum(hints - reach, region.lower), torch.minimum(hints + reach, region.upper))
        points = attack(
            self.both,
            region,
            settings=self.effort,
            generator=self.generator,
            hints=torch.cat([hints, around.uniform(_NEARBY, self.generator).flatten(0, 1)]),
            thorough=True,
            stopped=self.over,
        )
        return self.best(aim, points, _KEPT)


def furthest_apart(
    pair: Pair, place: Place, seen: Tensor, settings: CompareSettings, clock: Clock, *, thorough: bool
) -> tuple[Apart, ...]:
    """The largest difference of each output and the clearest change of decision that a search of a place finds.

    Args:
        pair, place: what is compared, and where.
        seen: points to begin with, (m, inputs).
        settings: effort.
        clock: when to end.
        thorough: search hard.

    Returns:
        One entry for each output that differs at all, and one for decisions where any changes.
    """
    generator = torch.Generator().manual_seed(pair.request.seed)
    over = clock.search.part(settings.time_share).over
    candidates = [seen[:0]]
    for region in place.regions:
        lower, upper = region.float32_box()
        mine = seen[((seen >= lower) & (seen <= upper)).all(1)]
        # kept beside what is found: the search may find nothing better than the samples have
        candidates.append(mine)
        if region.is_point or over():
            continue
        search = _Search(
            both=Both(*pair.nets),
            region=region,
            effort=settings.search if thorough else settings.light_search,
            near=settings.near,
            generator=generator,
            over=over,
        )
        for aim in _search_aims(pair, mine, settings.searched):
            if search.over():
                break
            found = search.hunt(aim, mine)
            # the corners of a region are rounded outward, and files are run at its float32 points only
            candidates.append(torch.minimum(torch.maximum(found, lower), upper))
    points = torch.cat(candidates)
    return tuple(_replay_best(pair, place, points, settings.replayed)) if len(points) else ()


def _search_aims(pair: Pair, seen: Tensor, most: int) -> Iterator[Polytope]:
    """For each output, B above A and below; for changes of decision, those that the points come closest to."""
    m = pair.before.net.n_outputs
    before, after = pair.run(seen)
    outputs = (after - before).abs().amax(0).topk(min(m, most)).indices.tolist() if len(seen) else range(min(m, most))
    yield from polytopes_apart(outputs, m)
    if pair.case.decision == "none" or not len(seen) or m < 2:
        return
    sign = 1 if pair.case.decision == "argmin" else -1
    clear, new = change_depth(before, after, pair.case.decision)
    old = (sign * before).argmin(1)
    order = clear.argsort(descending=True).tolist()
    # the clearest changes of decision first, each pair once
    for p, q in list(dict.fromkeys((int(old[i]), int(new[i])) for i in order))[:most]:
        # A prefers p to all others, B prefers q
        rows = [{p: sign, i: -sign} for i in range(m) if i != p]
        rows += [{m + q: sign, m + i: -sign} for i in range(m) if i != q]
        yield _polytope_of_rows(rows, 2 * m)


def _polytope_of_rows(rows: list[dict[int, int]], size: int) -> Polytope:
    """Half-spaces ``coefficients . y <= 0``, given the coefficients that are not zero."""
    dense = (tuple(Fraction(row.get(i, 0)) for i in range(size)) for row in rows)
    return Polytope(rows=tuple(Row(row, Fraction(0)) for row in dense), n_outputs=size)


def _replay_best(pair: Pair, place: Place, x: Tensor, replayed: int) -> Iterator[Apart]:
    """What the files themselves give at the most promising points."""
    before, after = pair.run(x)
    apart = (after - before).abs()
    for output in range(apart.shape[1]):
        # several: a file may differ by rounding from the batch that ordered them
        best = apart[:, output].argsort(descending=True)[:replayed]
        found = [_replay_point(pair, place, point, output) for point in x[best]]
        yield from _largest_difference(found)
    if pair.case.decision != "none" and apart.shape[1] > 1:
        best = change_depth(before, after, pair.case.decision)[0].argsort(descending=True)[:replayed]
        yield from _largest_difference([_replay_point(pair, place, point, None) for point in x[best]])


def _largest_difference(found: list[Apart]) -> Iterator[Apart]:
    top = max(found, key=lambda entry: entry.size)
    if top.size > 0:
        yield top


def _replay_point(pair: Pair, place: Place, point: Tensor, output: int | None) -> Apart:
    """The outputs that the files give at a point, by the first engine that runs each."""
    x = point.cpu().numpy().astype(np.float32)
    engines = pair.before.replays[0], pair.after.replays[0]
    before, after = (tuple(float(v) for v in engine(x)) for engine in engines)
    decision = pair.case.decision
    old, new = (decisions(torch.tensor([y], dtype=torch.float64), decision) for y in (before, after))
    decided = None if old is None or new is None else (int(old[0]), int(new[0]))
    if not all(map(math.isfinite, (*before, *after))):
        # an engine that gives no number says nothing; NaN would be neither above nor below another point's size
        size = 0.0
    elif output is not None:
        size = abs(after[output] - before[output])
    elif decided is None or decided[0] == decided[1]:
        size = 0.0
    else:
        p, q = decided
        size = min(abs(before[q] - before[p]), abs(after[p] - after[q]))
    # as the file was given it: float32 numbers, exactly
    return Apart(
        place=place.name,
        x=tuple(float(v) for v in x),
        before=before,
        after=after,
        size=size,
        output=output,
        decided=decided,
        replayed_by=(engines[0].name, engines[1].name),
    )
