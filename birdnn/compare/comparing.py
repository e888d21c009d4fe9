"""`compare` on files: sample, search, bound, decide; everything is read before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from birdnn.bounds.protocol import MarginBound
from birdnn.compare.apart import furthest_apart
from birdnn.compare.bounding import proved_apart
from birdnn.compare.deciding import compared_properties
from birdnn.compare.likeness import Sampled, sample_place
from birdnn.compare.pair import Pair, Place, read_pair
from birdnn.compare.settings import CompareSettings
from birdnn.compare.structure import compare_structure
from birdnn.errors import UnsupportedOpError, out_of_memory
from birdnn.metrics import regressions
from birdnn.pipeline.clock import Clock, remaining_limit
from birdnn.pipeline.describing import scaled_quantities
from birdnn.pipeline.facts import machine, versions
from birdnn.records import (
    Apart,
    CompareOutcome,
    CompareRequest,
    Progress,
    PropertyComparison,
    ProvedApart,
    Unwatched,
    Watch,
)
from birdnn.verify.differing import bound_of_difference
from birdnn.verify.effort import batch_for
from birdnn.verify.witness import Judge

_ROUNDING = 1e-9  # of our own evaluation in float64, beside a proved bound over the reals


def compare_files(
    request: CompareRequest,
    *,
    watch: Watch | None = None,
    settings: CompareSettings | None = None,
    began: float | None = None,
) -> CompareOutcome:
    """Compare two networks with the same numbers of inputs and outputs; the limit counts as for `verify_files`.

    Raises:
        InputError: a file is unusable, the interfaces differ, a property does not fit, or the suite knows neither.
    """
    watch = watch or Unwatched()
    clock = Clock(timeout_s=remaining_limit(request.timeout_s, began), watch=watch)
    watch.update(Progress(phase=f"reading {request.before.name} and {request.after.name}"))
    return _Comparison(read_pair(request), clock, settings or CompareSettings()).outcome()


def tightened_by_whole(part: ProvedApart, whole: ProvedApart) -> ProvedApart:
    """What is proved of the whole holds in its part."""
    return replace(part, upper=tuple(map(min, part.upper, whole.upper)))


class _Comparison:
    """One command."""

    def __init__(self, pair: Pair, clock: Clock, settings: CompareSettings) -> None:
        self.pair, self.clock, self.settings = pair, clock, settings
        self.places = pair.places()
        self.samples: dict[str, Sampled] = {}
        self.apart: list[Apart] = []
        self.notes = list(pair.notes)
        self.bound_note = ""

    def outcome(self) -> CompareOutcome:
        """Every stage, in the order of what it costs."""
        pair, case = self.pair, self.pair.case
        self.look()
        bounds = tuple(self.bounds())
        if not bounds and not self.bound_note and self.clock.over():
            self.bound_note = "the time limit ended before the first bound"
        properties = compared_properties(pair, self.clock)
        inputs, outputs = scaled_quantities(case.loaded)
        before, after = ({p.name: getattr(p, side) for p in properties} for side in ("before", "after"))
        return CompareOutcome(
            request=pair.request,
            before=str(pair.before.path),
            after=str(pair.after.path),
            before_sha256=pair.before.net.sha256,
            after_sha256=pair.after.net.sha256,
            structure=compare_structure(pair.before.net, pair.after.net),
            likeness=tuple(entry.likeness for entry in self.samples.values()),
            apart=tuple(entry.scaled(inputs, outputs) for entry in self.apart),
            proved_apart=bounds,
            bound_note=self.bound_note,
            properties=properties,
            regressions=regressions(before, after),
            semantics=pair.semantics,
            domain=case.domain,
            decision=case.decision,
            suite=case.suite,
            inputs=inputs,
            outputs=outputs,
            wall_s=self.clock.wall_s(),
            versions=versions(),
            machine=machine(),
            interrupted=self.clock.watch.stopped(),
            timed_out=self.clock.left_s() <= 0,
            notes=tuple(self.notes),
            disagreement=" | ".join((*self.beyond(bounds), *self.unproved(properties))),
        )

    def look(self) -> None:
        """Sample every place, then search it."""
        # another stream than any that a repair drew from with the same seed
        generator = torch.Generator().manual_seed(self.pair.request.seed + 0xC0)
        for place in self.places:
            self.clock.watch.update(Progress(phase=f"sampling {place.name}"))
            found = sample_place(self.pair, place, self.settings, generator, self.clock)
            if found is not None:
                self.samples[place.name] = found
        # only when all are sampled: that is quick, and all figures rest on it
        for place in self.places:
            if place.name not in self.samples:
                continue
            self.clock.watch.update(Progress(phase=f"looking for the largest differences, {place.name}"))
            seen = self.samples[place.name].apart
            thorough = place is self.places[0]
            self.apart += furthest_apart(self.pair, place, seen, self.settings, self.clock, thorough=thorough)

    def bounds(self) -> Iterator[ProvedApart]:
        """A proved bound of each place, the first one for half of the time."""
        if not self.places:
            self.bound_note = "no domain and no property says where"
        elif self.pair.request.bound_s == 0:
            self.bound_note = "not asked for (--bound 0)"
        elif not self.clock.over():
            try:
                bound, remark = bound_of_difference(self.pair.before.net, self.pair.after.net)
                self.notes += [remark] if remark else []
                whole = None
                for place in self.places:
                    if place.name not in self.samples or self.clock.over():
                        continue
                    entry = self.bounded(bound, place)
                    if entry is None:
                        continue
                    # the domain comes first, and has more time: its bound may be the tighter one in a region, and holds
                    # there
                    whole = entry if place.subject is None else whole
                    yield entry if whole is None or not self.inside(place) else tightened_by_whole(entry, whole)
            except UnsupportedOpError as error:
                self.bound_note = str(error)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self.bound_note = "memory ran out"

    def bounded(self, bound: MarginBound, place: Place) -> ProvedApart | None:
        """One place's bound; None where there was no time for it."""
        found = torch.zeros(self.pair.before.net.n_outputs, dtype=torch.float64)
        for entry in self.apart:
            if entry.place == place.name and entry.output is not None:
                found[entry.output] = entry.size
        # a proved bound cannot be below what was found: time spent on less than that is wasted
        enough = found * (1 + self.settings.complete) + self.settings.nothing * self.samples[place.name].largest
        seconds = self.pair.request.bound_s
        if len(self.places) > 1:
            seconds *= 0.5 if place is self.places[0] else 0.5 / (len(self.places) - 1)
        # of a time limit only a share, so that properties are left time to be decided
        seconds = min(seconds, self.clock.left_s() * self.settings.time_share)
        batch = min(batch_for(net, "cpu") for net in self.pair.nets)
        return proved_apart(bound, place, enough, batch, self.clock, seconds)

    def inside(self, place: Place) -> bool:
        """Does the domain, the first of the places, hold all of a place?"""
        (domain,) = self.places[0].regions
        return all(bool(((r.lower >= domain.lower) & (r.upper <= domain.upper)).all()) for r in place.regions)

    def beyond(self, bounds: tuple[ProvedApart, ...]) -> Iterator[str]:
        """Points found at which the difference, in float64, exceeds what was proved."""
        # a bound holds over the reals: float32 outputs may exceed it by their rounding alone
        nets = [loaded.net.copy().double() for loaded in (self.pair.before, self.pair.after)]
        upper = {bound.place: bound.upper for bound in bounds}
        for entry in self.apart:
            if entry.output is None or entry.place not in upper:
                continue
            x = torch.tensor([entry.x], dtype=torch.float64)
            with torch.no_grad():
                before, after = (float(net(x)[0, entry.output]) for net in nets)
            if abs(after - before) > upper[entry.place][entry.output] + _ROUNDING * (abs(before) + abs(after)):
                yield (
                    f"output {entry.output} differs by {abs(after - before)!r} at {list(entry.x)}, and it was proved "
                    f"that nowhere in {entry.place} it differs by more than {upper[entry.place][entry.output]!r}"
                )

    def unproved(self, properties: tuple[PropertyComparison, ...]) -> Iterator[str]:
        """Samples that violate, when replayed, what was proved."""
        subjects = {place.name: place.subject.prop for place in self.places if place.subject is not None}
        for prop in properties:
            if prop.name not in self.samples:
                continue
            sides = zip((prop.before, prop.after), (self.pair.before, self.pair.after), self.pair.nets, strict=True)
            points = self.samples[prop.name].contradicting
            for (answer, loaded, net), bad, name in zip(sides, points, "AB", strict=True):
                if answer != "proved" or not len(bad):
                    continue
                # replayed on the file: a sample alone may violate by rounding
                judge = Judge(net, subjects[prop.name], loaded.replays, source=loaded.net)
                witness = judge.strongest_of(bad)
                if witness is not None and witness.contradicts(self.pair.semantics):
                    yield f"{prop.name} is proved for {name}, and the input {list(witness.x)} violates it"
