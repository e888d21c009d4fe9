"""The metrics of a finished repair, on points that were drawn after its weights were frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.errors import DisagreementError
from birdnn.metrics import drawdown, fidelity, healed
from birdnn.network import Network
from birdnn.pipeline.plan import UNKNOWN_DOMAIN, Plan, Subject
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Drawdown, Fidelity, Neighbours, Rate, Replay
from birdnn.repair import Resample
from birdnn.sample import distinct, evaluate, from_property, uniform
from birdnn.spec import Property
from birdnn.verify.witness import Judge

_FRESH = 0x5EED
_RARE = 1e-4
_REPLAYED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """See `birdnn.records.RepairOutcome`."""

    fidelity: Fidelity | None
    fidelity_note: str
    region_fidelity: dict[str, Fidelity]
    drawdown: tuple[Drawdown, ...]
    efficacy: Rate | None
    generalisation: Rate | None
    neighbours: tuple[Neighbours, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The original and the repaired network, as read from disk."""

    before: Network
    after: Network
    plan: Plan
    settings: RepairSettings
    resample: Resample
    replays: tuple[Replay, ...]

    def measure(self, repair_set: dict[str, Tensor], proved: frozenset[str], violated: frozenset[str]) -> Measured:
        """All metrics.

        Args:
            repair_set: property name -> inputs that violated it and were repaired.
            proved: properties that are proved now.
            violated: properties that were violated before and were to be repaired.

        Raises:
            DisagreementError: a point violates, also when replayed, what is proved.
        """
        # another stream than any that training draws from with the same seed
        generator = torch.Generator().manual_seed((self.plan.request.seed + 1) * _FRESH)
        regions, drawn, held_out = {}, [], []
        for subject in self.plan.subjects:
            points = self._region(subject.prop, generator)
            if subject.prop.name in proved:
                self._contradict(subject.prop, points)
            drawn.append(drawdown(subject.prop.name, points.margin_before, points.margin_after))
            if subject.prop.name not in violated or subject.radius is not None:
                continue
            kept = points.margin_before > 0
            if bool(kept.any()):
                regions[subject.prop.name] = fidelity(points.before[kept], points.after[kept], self.plan.decision)
            held_out.append(self._held_out(subject.prop, points, generator, proved))
        known = [s.prop for s in self.plan.subjects if s.prop.name in repair_set and s.prop.name in violated]
        return Measured(
            fidelity=self._domain(generator),
            fidelity_note=UNKNOWN_DOMAIN if self.plan.corners is None else "",
            region_fidelity=regions,
            drawdown=tuple(drawn),
            efficacy=_sum([self._healed(p, repair_set[p.name], p.name in proved) for p in known]),
            generalisation=_sum(held_out),
            neighbours=tuple(self._neighbours(s.prop, s.radius) for s in self.plan.subjects if s.radius is not None),
        )

    def _contradict(self, prop: Property, points: _Points) -> None:
        """Look among the points for one that violates although the property is proved."""
        judge = Judge(self.after, prop, self.replays)
        for x in points.x[~(points.margin_after > 0)][:_REPLAYED]:
            if judge.replayed(x) is not None:
                raise DisagreementError(f"{prop.name} is proved, and yet the input {x.tolist()} violates it")

    def agreement(self, count: int, generator: torch.Generator) -> float:
        """What the choice between proved candidates goes by: agreement on the domain, else closeness of outputs."""
        if self.plan.corners is None:
            points = [self._region(s.prop, generator) for s in self.plan.subjects]
            return -float(torch.cat([(p.before - p.after).abs().mean(1) for p in points]).mean())
        x = uniform(*self.plan.corners, count, generator)
        same = fidelity(evaluate(self.before, x), evaluate(self.after, x), self.plan.decision)
        return -same.mae if same.decision_agreement is None else same.decision_agreement

    def _domain(self, generator: torch.Generator) -> Fidelity | None:
        """Over points of the domain at which the original violates none of the applicable properties."""
        if self.plan.corners is None:
            return None
        x = uniform(*self.plan.corners, self.settings.domain_points, generator)
        y = evaluate(self.before, x)
        fine = ~_violating(self.plan.subjects, x, y)
        if not bool(fine.any()):
            return None
        return fidelity(y[fine], evaluate(self.after, x[fine]), self.plan.decision)

    def _region(self, prop: Property, generator: torch.Generator) -> _Points:
        xs = from_property(prop, self.settings.region_points, generator)
        return self._points(prop, xs)

    def _points(self, prop: Property, xs: Sequence[Tensor]) -> _Points:
        x, sizes = torch.cat(list(xs)), [len(part) for part in xs]
        before, after = (evaluate(net, x) for net in (self.before, self.after))
        margins = [
            torch.cat([region.margin(y) for region, y in zip(prop.regions, torch.split(ys, sizes), strict=True)])
            for ys in (before, after)
        ]
        return _Points(x, before, after, *margins)

    def _held_out(self, prop: Property, points: _Points, generator: torch.Generator, proved: frozenset[str]) -> Rate:
        """Fresh violating points: uniform ones, and where these are rare also what an attack of another seed finds."""
        margins = [(points.margin_before, points.margin_after)]
        missing = self.settings.held_out_points - len(points.margin_before)
        if missing > 0:
            more = self._points(prop, from_property(prop, missing, generator))
            margins.append((more.margin_before, more.margin_after))
        before, after = (torch.cat(side) for side in zip(*margins, strict=True))
        if float((before <= 0).double().mean()) < _RARE:
            xs = [distinct(self.resample(self.before, region, generator, True)) for region in prop.regions]
            found = self._points(prop, xs)
            before, after = torch.cat([before, found.margin_before]), torch.cat([after, found.margin_after])
        return healed(before, after, by_proof=prop.name in proved) or Rate(hits=0, n=0)

    def _neighbours(self, prop: Property, radius: float) -> Neighbours:
        """Fresh inputs around points: a proof about the points says nothing about them."""
        generator = torch.Generator().manual_seed((self.plan.request.seed + 1) * _FRESH)
        centres = torch.stack([region.lower for region in prop.regions])
        lower, upper = centres - radius, centres + radius
        if self.plan.corners is not None:  # a point beyond the domain keeps itself as a neighbour
            lower = torch.minimum(torch.maximum(lower, self.plan.corners[0]), centres)
            upper = torch.maximum(torch.minimum(upper, self.plan.corners[1]), centres)
        each = min(self.settings.neighbours, max(1, self.settings.region_points // len(centres)))
        found = self._points(prop, list(Boxes(lower, upper).uniform(each, generator).float()))
        return Neighbours(
            name=prop.name,
            points=len(centres),
            radius=radius,
            n=len(found.x),
            before=float((found.margin_before > 0).double().mean()),
            after=float((found.margin_after > 0).double().mean()),
            generalisation=healed(found.margin_before, found.margin_after, by_proof=False) or Rate(hits=0, n=0),
        )

    def _healed(self, prop: Property, x: Tensor, proved: bool) -> Rate:
        """How many of the repair set no longer violate; each point is judged by the regions that hold it."""
        x = distinct(x)
        y = evaluate(self.after, x)
        inside = [((x >= r.lower.float()) & (x <= r.upper.float())).all(1) for r in prop.regions]
        bad = torch.stack(
            [held & ~(region.margin(y) > 0) for held, region in zip(inside, prop.regions, strict=True)]
        ).any(0)
        hits = int((~bad).sum())
        return Rate(hits=hits, n=len(x), by_proof=proved and hits == len(x))


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    x: Tensor
    before: Tensor
    after: Tensor
    margin_before: Tensor
    margin_after: Tensor


def _violating(subjects: Sequence[Subject], x: Tensor, y: Tensor) -> Tensor:
    """Which points of the domain violate some applicable property, (n,) bool."""
    bad = torch.zeros(len(x), dtype=torch.bool)
    for subject in subjects:
        for region in subject.prop.regions:
            if region.is_point:  # which no draw hits
                continue
            inside = ((x >= region.lower.float()) & (x <= region.upper.float())).all(1)
            bad[inside] |= region.margin(y[inside]) <= 0
    return bad


def _sum(rates: Sequence[Rate]) -> Rate | None:
    """All points of several properties together; by proof only if each is."""
    if not rates or not (n := sum(rate.n for rate in rates)):
        return None
    counted = [rate for rate in rates if rate.n]
    return Rate(hits=sum(r.hits for r in rates), n=n, by_proof=all(r.by_proof for r in counted))
