"""The metrics of a finished repair, on points that were drawn after its weights were frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.metrics import drawdown, fidelity, healed_rate
from birdnn.network import Network
from birdnn.pipeline.behaviour import Yardstick, input_sources, outputs_of_both, worst_kept
from birdnn.pipeline.case import Case, Points
from birdnn.pipeline.clock import Deadline, no_deadline
from birdnn.pipeline.reading import UNKNOWN_DOMAIN
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Decision, Drawdowns, Fidelity, Kept, KeptAt, Neighbours, Rate, Replay, Witness
from birdnn.records.limits import Over, never
from birdnn.repair import Resample
from birdnn.sample import distinct_rows, draw_from_property, evaluate
from birdnn.sample.draw import BATCH
from birdnn.sample.pieces import drawable_count, points_per_piece
from birdnn.sample.tally import union_margin
from birdnn.spec import Property
from birdnn.verify.witness import Judge

_FRESH = 0x5EED
_RARE = 1e-4
_SELECTED_PART = 5
_REPLAYED = 64
_COSTS = 3.0  # of one evaluation: two networks, drawing, comparing


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """See `birdnn.records.PropertyRepair`.

    Attributes:
        contradicted: property that is proved now -> a replayed point that violates it all the same.
    """

    fidelity: Fidelity | None
    fidelity_note: str
    region_fidelity: dict[str, Fidelity]
    drawdown: Drawdowns
    efficacy: Rate | None
    generalisation: Rate | None
    contradicted: dict[str, Witness]
    neighbours: tuple[Neighbours, ...]
    behaviour: tuple[KeptAt, ...]

    @classmethod
    def nothing(cls) -> Measured:
        """Where no network was written."""
        return cls(
            fidelity=None,
            fidelity_note="no network was written",
            region_fidelity={},
            drawdown=Drawdowns(),
            efficacy=None,
            generalisation=None,
            contradicted={},
            neighbours=(),
            behaviour=(),
        )

    def without_proof(self) -> Measured:
        """The same, as counted on points: where the proof that made a rate certain is not believed."""
        # the counts stay: points were run, whatever becomes of the proof
        rates = {name: getattr(self, name) for name in ("efficacy", "generalisation")}
        return replace(self, **{name: rate and replace(rate, by_proof=False) for name, rate in rates.items()})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The original and the repaired network, as read from disk, in float32.

    Every number of points is what was looked at: at most what the settings say, fewer where inputs are so many that
    they would not fit into memory, or where the deadline comes first. `source` is the repaired network in its file's
    type, to tell what holds over the reals.
    """

    before: Network
    after: Network
    case: Case
    settings: RepairSettings
    resample: Resample
    seed: int
    replays: tuple[Replay, ...]
    deadline: Deadline = field(default_factory=no_deadline)
    source: Network | None = None

    def measure(self, repair_set: dict[str, Tensor], proved: frozenset[str], violated: frozenset[str]) -> Measured:
        """All metrics, and whether a point that was looked at violates, also when replayed, what is proved.

        Args:
            repair_set: property name -> inputs that violated it and were repaired.
            proved: properties that are proved now.
            violated: properties that were violated before and were to be repaired.
        """
        # another stream than any that training draws from with the same seed
        generator = torch.Generator().manual_seed((self.seed + 1) * _FRESH)
        regions, drawn, held_out, healing = {}, [], [], []
        contradicted: dict[str, Witness] = {}
        shares = len(self.case.subjects) + 1
        for number, subject in enumerate(self.case.subjects):
            prop, part = subject.prop, self.deadline.part(1 / (shares - number))
            # less than half of the time: the held-out points of the same property come after
            points = self._compare_region(prop, generator, part.part(0.4))
            drawn.append(drawdown(prop.name, points.margin_before, points.margin_after))
            # of drawdown and fidelity alike: what violated before is to change
            kept = points.margin_before > 0
            repaired = distinct_rows(repair_set.get(prop.name, points.x[:0]))
            repaired_margin = union_margin(prop, repaired, evaluate(self.after, repaired))
            # points have no region to hold inputs out of: their neighbours are what a repair generalises to
            if prop.name in violated and not isinstance(subject, Points):
                if bool(kept.any()):
                    regions[prop.name] = fidelity(points.before[kept], points.after[kept], self.case.decision)
                points = self._held_out(prop, points, generator, part)
                held_out.append(healed_rate(points.margin_before, points.margin_after, by_proof=prop.name in proved))
            if prop.name in violated and prop.name in repair_set:
                healing.append(_all_healed(repaired_margin, by_proof=prop.name in proved))
            # of proved properties alone: only there is a violating point more than a figure
            if prop.name in proved:
                x, margin = torch.cat([points.x, repaired]), torch.cat([points.margin_after, repaired_margin])
                # all points that were looked at anyway, repaired ones too: each of them could contradict the proof
                witness = self._counterexample(prop, x, margin)
                if witness is not None:
                    contradicted[prop.name] = witness
        behaviour = self._compare_behaviour(self.settings.domain_points, generator, final=True)
        whole = _fidelity_on_domain(behaviour, self.case.decision)
        return Measured(
            fidelity=whole,
            fidelity_note=self._why_no_fidelity() if whole is None else "",
            behaviour=behaviour,
            region_fidelity=regions,
            drawdown=Drawdowns(properties=tuple(drawn)),
            efficacy=_sum_rates(healing),
            generalisation=_sum_rates([rate for rate in held_out if rate is not None]),
            neighbours=tuple(self._compare_neighbours(s.prop, s.radius) for s in self.case.points),
            contradicted=contradicted,
        )

    def _counterexample(self, prop: Property, x: Tensor, margin: Tensor) -> Witness | None:
        """The first of the worst points that violates when replayed on the repaired file."""
        # NaN too: it is no satisfied property
        suspicious = ~(margin > 0)
        if not bool(suspicious.any()):
            return None
        # each replay is a run of the file: the worst ones are those that rounding explains least
        worst = margin[suspicious].nan_to_num(nan=-torch.inf).argsort()[:_REPLAYED]
        judge = Judge(self.after, prop, self.replays, source=self.source)
        return judge.strongest_of(x[suspicious][worst])

    def kept(self, count: int, *, seed: int) -> Kept:
        """What the choice between candidates goes by, on ``count`` inputs of each place and a part in each region."""
        # a seed of its own: with that of the metrics the choice would look at what they are measured on
        generator = torch.Generator().manual_seed(seed)
        each, subjects = max(1, count // _SELECTED_PART), self.case.subjects
        parts = [self.deadline.part(1 / (len(subjects) + 1 - number)) for number in range(len(subjects))]
        regions = [self._compare_drawn(s.prop, each, generator, part) for s, part in zip(subjects, parts, strict=True)]
        names = [s.prop.name for s in self.case.subjects]
        drawn = [drawdown(n, p.margin_before, p.margin_after) for n, p in zip(names, regions, strict=True)]
        # None: no point satisfied the property before, so that none can be lost
        worst = max((d.share for d in drawn if d.share is not None), default=0.0)
        return worst_kept(self._compare_behaviour(count, generator, final=False), worst)

    def _why_no_fidelity(self) -> str:
        """Why nothing is said about the domain."""
        if self.case.corners is None:
            return UNKNOWN_DOMAIN
        count = self.settings.domain_points
        return f"not measured: the original violates a property at each of {count:,} points of the domain"

    def _compare_behaviour(self, count: int, generator: torch.Generator, *, final: bool) -> tuple[KeptAt, ...]:
        """At each place where something can be compared."""
        # anew for each candidate: cheap, as it evaluates the listed points only
        yardstick = Yardstick.of(self.case, self.before)
        less = min(count, self.settings.selection_points)  # more says little where nobody declared a domain
        found, here = [], input_sources(self.case, self.before, final=final)
        for number, place in enumerate(here):
            part = self.deadline.part(1 / (len(here) - number))
            most = self._affordable_points(count if place.ground == "domain" else less, part)
            found.append(yardstick.compared(place, self.after, most, generator, part.over))
        return tuple(one for one in found if one is not None)

    def _compare_region(self, prop: Property, generator: torch.Generator, deadline: Deadline) -> Compared:
        return self._compare_drawn(prop, self.settings.region_points, generator, deadline)

    def _compare_drawn(self, prop: Property, count: int, generator: torch.Generator, deadline: Deadline) -> Compared:
        """About ``count`` uniform points of the property's regions."""
        xs = draw_from_property(prop, self._affordable_points(count, deadline), generator)
        return self._compare_at(prop, xs, deadline.over)

    def _compare_at(self, prop: Property, xs: Sequence[Tensor], over: Over = never) -> Compared:
        return compared_at(self.before, self.after, prop, xs, over)

    def _affordable_points(self, count: int, deadline: Deadline) -> int:
        """How many points both networks can be evaluated at in time."""
        # as many as are evaluated between two looks at a clock anyway
        few = min(count, BATCH["cpu"], points_per_piece(self.before))

        def once() -> int:
            evaluate(self.before, torch.zeros(few, self.before.n_inputs))
            return few

        # not fewer than were evaluated to find out
        return max(few, deadline.affordable(drawable_count(count, self.before.n_inputs), once, times=_COSTS))

    def _held_out(self, prop: Property, points: Compared, generator: torch.Generator, deadline: Deadline) -> Compared:
        """Fresh points: uniform ones, and where violations are rare also what an attack of another seed finds."""
        # points of the region count as held out too: nothing was trained or chosen by them
        missing = self.settings.held_out_points - len(points.x)
        if missing > 0 and not deadline.over():
            points = points.and_more(self._compare_drawn(prop, missing, generator, deadline.part(0.5)))
        # uniform points alone would say nothing about healing where hardly one of them violates
        if float((points.margin_before <= 0).double().mean()) < _RARE:
            xs = [prop.regions[0].lower[None, :].float()[:0]] * len(prop.regions)
            for i, region in enumerate(prop.regions):
                if deadline.over():
                    break
                # alike ones would count one violation many times
                xs[i] = distinct_rows(self.resample(self.before, region, generator, True))
            points = points.and_more(self._compare_at(prop, xs, deadline.over))
        return points

    def _compare_neighbours(self, prop: Property, radius: float) -> Neighbours:
        """Fresh inputs around points: a proof about the points says nothing about them."""
        # the same stream for each file of points: its figures do not depend on which others were named
        generator = torch.Generator().manual_seed((self.seed + 1) * _FRESH)
        centres = torch.stack([region.lower for region in prop.regions])
        lower, upper = centres - radius, centres + radius
        if self.case.corners is not None:  # a point beyond the domain keeps itself as a neighbour
            lower = torch.minimum(torch.maximum(lower, self.case.corners[0]), centres)
            upper = torch.maximum(torch.minimum(upper, self.case.corners[1]), centres)
        count = self._affordable_points(self.settings.region_points, self.deadline)
        each = min(self.settings.neighbours, max(1, count // len(centres)))
        found = self._compare_at(prop, list(Boxes(lower, upper).uniform(each, generator).float()))
        return Neighbours(
            name=prop.name,
            points=len(centres),
            radius=radius,
            n=len(found.x),
            before=float((found.margin_before > 0).double().mean()),
            after=float((found.margin_after > 0).double().mean()),
            generalisation=healed_rate(found.margin_before, found.margin_after, by_proof=False) or Rate(hits=0, n=0),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Inputs, what two networks answer there, and a property's margins of the answers."""

    x: Tensor
    before: Tensor
    after: Tensor
    margin_before: Tensor
    margin_after: Tensor

    def and_more(self, other: Compared) -> Compared:
        """Both."""
        pairs = ((getattr(self, part.name), getattr(other, part.name)) for part in fields(self))
        return Compared(*(torch.cat(pair) for pair in pairs))


def compared_at(before: Network, after: Network, prop: Property, xs: Sequence[Tensor], over: Over = never) -> Compared:
    """How both networks compare at points of a property's regions; at the first ones where time is over.

    Args:
        before, after: the networks.
        prop: the property.
        xs: (n, inputs) for each region.
        over: is the time over?
    """
    # all regions in one evaluation, which is faster than many small ones; taken apart below
    x = torch.cat(list(xs))
    ys = outputs_of_both(before, after, x, over)
    x, sizes, n = x[: len(ys[0])], [], len(ys[0])
    for part in xs:
        sizes.append(min(len(part), n))
        n -= sizes[-1]
    margins = [
        torch.cat([region.margin(y) for region, y in zip(prop.regions, torch.split(each, sizes), strict=True)])
        for each in ys
    ]
    return Compared(x, *ys, *margins)


def _all_healed(margin: Tensor, *, by_proof: bool) -> Rate:
    """Of points that all violated, how many no longer do."""
    hits = int((margin > 0).sum())
    # where a point contradicts the proof its rate is a count, not a certainty
    return Rate(hits=hits, n=len(margin), by_proof=by_proof and hits == len(margin))


def _fidelity_on_domain(behaviour: Sequence[KeptAt], decision: Decision) -> Fidelity | None:
    """The figures of the declared domain."""
    for one in behaviour:
        if one.ground == "domain":
            # a figure by both rules is no fidelity: nobody said that outputs decide at all
            agreement = None if decision == "none" else one.decision_agreement
            return Fidelity(decision_agreement=agreement, mae=one.mae, n=one.n)
    return None


def _sum_rates(rates: Sequence[Rate]) -> Rate | None:
    """All points of several properties together; by proof only if each is."""
    if not rates or not (n := sum(rate.n for rate in rates)):
        return None
    # a rate of no points is by no proof, and must not make that of the others uncertain
    counted = [rate for rate in rates if rate.n]
    return Rate(hits=sum(r.hits for r in rates), n=n, by_proof=all(r.by_proof for r in counted))
