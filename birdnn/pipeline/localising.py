"""`localize` on files: violating and satisfying points, the neurons that tell them apart, the interventions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.localize import check_interventions, localize
from birdnn.network import Network
from birdnn.neurons import Neuron, neurons
from birdnn.pipeline.case import Case, Points, Subject
from birdnn.pipeline.clock import Deadline
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.reading import asked_notes, read_case
from birdnn.pipeline.settings import LocalizeSettings
from birdnn.records import (
    CaseFiles,
    FoundBy,
    InterventionCheck,
    Localisation,
    LocalizeOutcome,
    LocalizeRequest,
    Progress,
    PropertyLocalisation,
    SampleSet,
    Unwatched,
    Watch,
)
from birdnn.records.limits import OutOfTime, Over, never, require_time
from birdnn.sample import distinct_rows, draw_from_property, evaluate
from birdnn.sample.pieces import drawable_count
from birdnn.spec import Property, Region
from birdnn.verify import attack
from birdnn.verify.effort import hunt_effort
from birdnn.verify.relating import net_for_property

_HELD_OUT = 0x5EED
_NAMED = 10


def localize_files(
    request: LocalizeRequest, *, watch: Watch | None = None, settings: LocalizeSettings | None = None
) -> LocalizeOutcome:
    """Say which hidden neurons behave differently where properties are violated.

    Raises:
        InputError: a file is unusable, a property does not fit, or `top` is no number of neurons of the network.
    """
    started, watch, settings = time.monotonic(), watch or Unwatched(), settings or LocalizeSettings()
    watch.update(Progress(phase=f"reading {request.net.name}"))
    case = read_case(CaseFiles.of(request), relating=True)
    # asked for the exception: a number that is too large is refused before the first sample is drawn
    _neurons_to_name(request, case.loaded.net)
    return LocalizeOutcome(
        request=request,
        net=str(case.loaded.path),
        net_sha256=case.loaded.net.sha256,
        answers=tuple(_localise_each(case, request, settings, watch)),
        suite=case.suite,
        wall_s=time.monotonic() - started,
        versions=versions(),
        machine=machine(),
        interrupted=watch.stopped(),
        notes=asked_notes(case, case.asked),
    )


def _neurons_to_name(request: LocalizeRequest, net: Network) -> int:
    """How many neurons are named: as many as were asked for, by default ten, or all of a smaller network.

    Raises:
        MismatchError: the network has not so many.
    """
    size = len(neurons(net))
    if not size:
        raise MismatchError("the network has no hidden neurons, so that none can be held responsible")
    top = min(_NAMED, size) if request.top is None else request.top
    if not 1 <= top <= size:
        raise MismatchError(f"--top {top}: the network has {size} hidden neurons; give a number from 1 to {size}")
    return top


def _localise_each(
    case: Case, request: LocalizeRequest, settings: LocalizeSettings, watch: Watch
) -> Iterator[PropertyLocalisation]:
    net = case.loaded.net.copy().float()
    for subject in case.asked:
        if watch.stopped():
            return
        watch.update(Progress(phase=f"localising {subject.prop.name}"))
        yield _PropertyLocaliser(net, subject, request, settings).answer()


def localise_violated(
    case: Case, subjects: Sequence[Subject], seed: int, settings: LocalizeSettings, watch: Watch, deadline: Deadline
) -> Iterator[PropertyLocalisation]:
    """The same for the violated properties of a repair, as far as the time goes."""
    net = case.loaded.net.copy().float()
    request = LocalizeRequest(net=case.loaded.path, seed=seed)
    for left, subject in zip(range(len(subjects), 0, -1), subjects, strict=True):
        # each part of the time is counted anew, so that what one property leaves the later ones have
        if not isinstance(subject, Points):  # of single points there is no region to draw others from
            watch.update(Progress(phase=f"localising {subject.prop.name}"))
            try:
                yield _PropertyLocaliser(net, subject, request, settings, deadline.part(1 / left).over).answer()
            # the next one may be cheap, and its part of the time is its own
            except OutOfTime:
                continue


def responsible_neurons(
    case: Case, subjects: Iterable[Subject], *, seed: int, settings: LocalizeSettings, over: Over = never
) -> list[Neuron]:
    """All hidden neurons, those first that are most responsible for a violation of any of the properties.

    Raises:
        MismatchError: nothing can be localised, for the reasons given.
        OutOfTime: it was ``over`` before.
    """
    net = case.loaded.net.copy().float()
    request = LocalizeRequest(net=case.loaded.path, seed=seed)
    value: dict[Neuron, float] = {}
    notes = []
    for subject in subjects:
        question = _PropertyLocaliser(net, subject, request, settings, over)
        found = question.look(torch.Generator().manual_seed(seed))
        if note := question.objection(found):
            notes.append(note)
            continue
        sets = question.sample_set(found.positives), question.sample_set(found.negatives)
        for entry in localize(net, *sets, over=over).ranking():
            # not a sum: a neuron behind one violation is as responsible as one that is a little behind each
            value[entry.neuron] = max(value.get(entry.neuron, 0.0), entry.value)
    if not value:
        told = "; ".join(notes)
        raise MismatchError(f"no neuron can be held responsible ({told}): use --optimiser lp, or --method retrain")
    return sorted(value, key=lambda neuron: -value[neuron])


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Points of a property's regions, region by region; of the violating ones no two are alike.

    Attributes:
        positives, negatives: (n, inputs) for each region.
        uniform: how many violating points were found by uniform sampling.
        by: how violating points were looked for.
    """

    positives: list[Tensor]
    negatives: list[Tensor]
    uniform: int
    by: FoundBy


class _PropertyLocaliser:
    """One property."""

    def __init__(
        self, net: Network, subject: Subject, request: LocalizeRequest, settings: LocalizeSettings, over: Over = never
    ) -> None:
        self.net, self.subject, self.request, self.settings = net, subject, request, settings
        self.over = over
        self.prop: Property = subject.prop

    @cached_property
    def top(self) -> int:
        """How many neurons are named."""
        return _neurons_to_name(self.request, self.net)

    def answer(self) -> PropertyLocalisation:
        """Localise, and check on points of another seed."""
        found = self.look(torch.Generator().manual_seed(self.request.seed))
        negatives = sum(map(len, found.negatives))
        note = self.objection(found)
        location = None
        if not note:
            sets = self.sample_set(found.positives), self.sample_set(found.negatives)
            location = localize(self.net, *sets, form=self.request.form, over=self.over)
        return PropertyLocalisation(
            name=self.prop.name,
            path=self.subject.path,
            sha256=self.prop.sha256,
            text=self.subject.text,
            samples=self.settings.samples,
            uniform=found.uniform,
            found_by=found.by,
            distinct=negatives,
            positives=0 if location is None else location.positives,
            layers=() if location is None else location.told(),
            top=() if location is None else location.most(self.top),
            checks=() if location is None else self.checked(location, found),
            note=note,
        )

    def checked(self, location: Localisation, seen: _Samples) -> tuple[InterventionCheck, ...]:
        """The ranking stands without its check, where there is no time for one."""
        try:
            return self.checks(location, seen)
        except OutOfTime:
            return ()

    def checks(self, location: Localisation, seen: _Samples) -> tuple[InterventionCheck, ...]:
        """Interventions on points of another seed; none where that finds no violating point but those already seen."""
        # another stream than the one that was ranked by, also for the next seed
        generator = torch.Generator().manual_seed((self.request.seed + 1) * _HELD_OUT)
        fresh = self.look(generator)
        # a ranking that is checked on what it was made of is always right
        unseen = [_rows_not_in(new, old) for new, old in zip(fresh.negatives, seen.negatives, strict=True)]
        if not any(map(len, unseen)) or not any(map(len, fresh.positives)):
            return ()
        return check_interventions(
            self.net,
            location,
            positives=self.some(fresh.positives, generator),
            negatives=self.some(unseen, generator),
            counts=sorted({*self.settings.counts, self.top}),
            generator=generator,
            over=self.over,
        )

    def look(self, generator: torch.Generator) -> _Samples:
        """Uniform points; where too few of them violate, what an attack finds as well."""
        positives, negatives = [], []
        points = draw_from_property(self.prop, drawable_count(self.settings.samples, self.prop.n_inputs), generator)
        for region, x in zip(self.prop.regions, points, strict=True):
            margin = region.margin_at(x, evaluate(self.net, x, over=self.over))
            # NaN is in neither set: such an input satisfies nothing and says nothing about why
            positives.append(x[margin > 0])
            # an attack ends often at one corner: alike points would count as so many violations
            negatives.append(distinct_rows(x[margin <= 0]))
        uniform = sum(map(len, negatives))
        # uniform points are preferred: what an attack finds is not spread as violations are
        if uniform >= self.settings.enough:
            return _Samples(positives, negatives, uniform, "sampling")
        more = [self.hunted(region, generator) for region in self.prop.regions]
        together = [distinct_rows(torch.cat(pair)) for pair in zip(negatives, more, strict=True)]
        return _Samples(positives, together, uniform, "sampling and attack")

    def hunted(self, region: Region, generator: torch.Generator) -> Tensor:
        """Violating points of one region that an attack finds, (m, inputs)."""
        effort = hunt_effort(self.net, len(region.unsafe), len(self.prop.regions), self.settings.hunt)
        net = net_for_property(self.net, self.prop)
        points = attack(net, region, settings=effort, generator=generator, thorough=True, stopped=self.over).cpu()
        # an attack that was stopped has found less than it would: nothing is localised by half of it
        require_time(self.over)
        return points[region.margin_at(points, evaluate(self.net, points)) <= 0]

    def objection(self, found: _Samples) -> str:
        """Why there is nothing to localise; empty where there is."""
        if not any(map(len, found.negatives)):
            looked = f"{self.settings.samples:,} uniform samples and an attack"
            return f"no negative sample of {self.prop.name} found by {looked}: nothing to localise"
        if not any(map(len, found.positives)):
            return f"every sample violates {self.prop.name}: no positive one to compare with"
        return ""

    def sample_set(self, xs: list[Tensor]) -> SampleSet:
        """Points with what the network does there."""
        ys = [evaluate(self.net, x, over=self.over) for x in xs]
        margins = [region.margin_at(x, y) for region, x, y in zip(self.prop.regions, xs, ys, strict=True)]
        return SampleSet(x=torch.cat(xs), y=torch.cat(ys), margin=torch.cat(margins))

    def some(self, xs: list[Tensor], generator: torch.Generator) -> list[tuple[Region, Tensor]]:
        """At most `held_out` of the points, each with its region."""
        # the same share of each region, so that the check weighs regions as the sample does
        share = min(1.0, self.settings.held_out / max(1, sum(map(len, xs))))
        chosen = [x[torch.randperm(len(x), generator=generator)[: -int(-len(x) * share // 1)]] for x in xs]
        return [(region, x) for region, x in zip(self.prop.regions, chosen, strict=True) if len(x)]


def _rows_not_in(new: Tensor, old: Tensor) -> Tensor:
    """The rows of ``new`` that are not among those of ``old``."""
    if not len(new) or not len(old):
        return new
    # rows compared as wholes: equal rows get one number
    label = torch.unique(torch.cat([new, old]), dim=0, return_inverse=True)[1]
    return new[~torch.isin(label[: len(new)], label[len(new) :])]
