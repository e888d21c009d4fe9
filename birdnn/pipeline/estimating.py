"""`estimate` on files: how much of a measure violates each property, with what can be stated about it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from birdnn.errors import InputError
from birdnn.formats.measure import read_measure
from birdnn.network import Network
from birdnn.pipeline.case import Subject
from birdnn.pipeline.device import device_for
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.load import Loaded, scaling_of
from birdnn.pipeline.reading import asked_notes, read_case
from birdnn.records import (
    CaseFiles,
    EstimateOutcome,
    EstimateRequest,
    Interval,
    PacBound,
    Progress,
    PropertyEstimate,
    RareEvent,
    Surrogate,
    Unwatched,
    Watch,
    Witness,
)
from birdnn.sample.cut import Cut
from birdnn.sample.draw import BATCH
from birdnn.sample.measures import UNIFORM, Measure, Product
from birdnn.sample.pac import (
    anytime_interval,
    anytime_lower,
    anytime_upper,
    clopper_pearson,
    may_stop,
    shared_delta,
    upper_limit,
    zero_violation_samples,
)
from birdnn.sample.pieces import drawable_count
from birdnn.sample.scenario import closest_affine, program_variables, scenario_epsilon, scenario_samples
from birdnn.sample.splitting import SplittingSettings, violation_probability
from birdnn.sample.tally import KEPT, Tally, evaluate_on_device
from birdnn.spec import Property, Region
from birdnn.verify.attack import AttackSettings, attack_all
from birdnn.verify.effort import hunt_effort
from birdnn.verify.relating import net_for_property
from birdnn.verify.witness import Judge

EPSILON = 1e-5
"""What is asked for where the user says neither epsilon nor a number of samples."""

_ANYTIME_CAP = 20
"""Without a number of samples an anytime run gives up after so many times the zero-violation number."""

_LOOKS = 64


def estimate_files(request: EstimateRequest, *, watch: Watch | None = None) -> EstimateOutcome:
    """Estimate the violation probability of each property as the request says.

    Everything is read before the first draw. An interruption keeps what is finished; a fixed number of draws shows no
    count on the way, so that stopping early cannot depend on it and the statement holds for what was drawn.

    Raises:
        InputError: a file or a number is unusable, a property does not fit, or the measure does not reach it.
    """
    return _Estimation(request, watch or Unwatched()).outcome()


def seeded_generator(seed: int, *stream: int, device: str) -> torch.Generator:
    """A generator on the device for one purpose; streams of one seed are independent of each other."""
    # not the sum of seed and stream, which is the same for seed 1, stream 0 and for seed 0, stream 1
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))


def replayed_witness(loaded: Loaded, prop: Property, points: torch.Tensor) -> Witness | None:
    """Of suspicious inputs (m, inputs) one that violates when run as the file says, rather over the reals too."""
    # draws are judged in float32 in torch: what counts as a counterexample is decided by runs of the file
    net = net_for_property(loaded.net, prop)
    return Judge(net, prop, loaded.replays, source=net).strongest_of(points)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SampleSize:
    """How many draws, and what they shall show: `epsilon` at this bound's `delta`; None: whatever comes out."""

    n: int
    epsilon: float | None
    delta: float
    anytime: bool


class _Estimation:
    """One command."""

    def __init__(self, request: EstimateRequest, watch: Watch) -> None:
        self.started = time.monotonic()
        self.request, self.watch = request, watch
        watch.update(Progress(phase=f"reading {request.net.name}"))
        case = read_case(CaseFiles.of(request), relating=True)
        self.loaded = case.loaded
        self.subjects = case.asked
        self.notes = asked_notes(case, self.subjects)
        self.measure = self._read_measure()
        self.device = device_for(request.device, self.loaded.net)
        self.net: Network = self.loaded.net.copy().float().to(self.device)
        # the union bound: nothing is assumed about how the statements depend on each other
        statements = len(self.subjects) * request.attempts * (2 if request.scenario else 1)
        self.delta = shared_delta(request.delta, statements)
        # of a property's interval: the bound is its upper limit, and errs where that does
        self.one_sided = shared_delta(self.delta, 2)
        for index, subject in enumerate(self.subjects):
            # a measure that does not reach a property is found before the others cost time
            # the generator is made anew below, so that this draw is not missing from the sample
            self.measure.draws(subject.prop, self._generator(index, 0)).take(1)

    def outcome(self) -> EstimateOutcome:
        """All properties in the order given."""
        # streams follow from the place of a property, so that an interruption changes nothing for those before it
        found: list[PropertyEstimate] = []
        for index, subject in enumerate(self.subjects):
            if self.watch.stopped():
                break
            found.append(self._estimate_property(index, subject))
        return EstimateOutcome(
            request=self.request,
            net=str(self.loaded.path),
            net_sha256=self.loaded.net.sha256,
            measure=self.measure.name,
            properties=tuple(found),
            wall_s=time.monotonic() - self.started,
            versions=versions(),
            machine=machine(self.device),
            interrupted=self.watch.stopped(),
            notes=(*self.notes, *self._remarks(found)),
        )

    def _read_measure(self) -> Measure:
        if self.request.measure == "uniform":
            return UNIFORM
        scaling = scaling_of(self.loaded) if self.request.measure_units == "raw" else None
        measure = read_measure(Path(self.request.measure), self.loaded.net.n_inputs, scaling)
        # before any sampling; splitting asks the same once more, for the type
        if self.request.splitting and not isinstance(measure, Product):
            raise InputError(
                f"{self.request.measure}: splitting needs a distribution that it can draw from, and samples are none; "
                "leave --splitting out, or give independent marginals (.toml)"
            )
        return measure

    def _generator(self, *stream: int) -> torch.Generator:
        return seeded_generator(self.request.seed, *stream, device=self.device)

    # --- one property

    def _estimate_property(self, index: int, subject: Subject) -> PropertyEstimate:
        prop = subject.prop
        tally = Tally(self.net, prop, self.measure.draws(prop, self._generator(index, 0)))
        aim = self._sample_size(tally.draws.left)
        self._draw_samples(tally, aim)
        bound = self._pac_bound(tally, aim)
        rare, deep = self._estimate_by_splitting(index, prop) if self.request.splitting else (None, tally.worst[:0])
        surrogates = tuple(self._surrogates(index, prop)) if self.request.scenario else ()
        return PropertyEstimate(
            name=prop.name,
            path=subject.path,
            sha256=prop.sha256,
            text=subject.text,
            n=tally.n,
            violations=tally.violations,
            interval=_confidence_interval(tally, aim),
            bound=bound,
            asked=aim.epsilon,
            reached=None if aim.epsilon is None else bound.epsilon <= aim.epsilon,
            surrogates=surrogates,
            rare=rare,
            # replayed after all counting: the statement is about float32 in torch, whatever a run of the file says
            counterexample=replayed_witness(self.loaded, prop, torch.cat([tally.worst, deep])),
            sample_s=tally.seconds,
        )

    def _sample_size(self, left: int | None) -> _SampleSize:
        """How many draws: as said; else all there are; else as many as epsilon needs."""
        request = self.request
        # where only a number was said, or a file has one, the statement is whatever comes out
        free = request.samples is None and left is None
        epsilon = request.epsilon or (EPSILON if request.anytime or free else None)
        if request.samples is not None:
            n = request.samples
        elif epsilon is not None and left is None:
            # the least number that can show epsilon; with violations it takes more, within reason
            n = zero_violation_samples(epsilon, self.one_sided) * (_ANYTIME_CAP if request.anytime else 1)
        else:
            # all samples that the file has
            n = left or 0
        return _SampleSize(
            n=n if left is None else min(n, left), epsilon=epsilon, delta=self.one_sided, anytime=request.anytime
        )

    def _draw_samples(self, tally: Tally, aim: _SampleSize) -> None:
        batch = drawable_count(BATCH[self.device], self.net.n_inputs)
        if aim.anytime and aim.epsilon is not None:
            # looks of an anytime run are free (`birdnn.sample.pac`), but a batch that is too large overshoots its end
            batch = max(1, min(batch, zero_violation_samples(aim.epsilon, aim.delta) // _LOOKS))
        while tally.n < aim.n and not self.watch.stopped():
            # only there: a fixed number that ended by what it shows would not have the error probability that is stated
            if aim.anytime and tally.n and _is_settled(tally, aim):
                break
            if not tally.add(min(batch, aim.n - tally.n)):
                break
            # of drawing and evaluating alone, without what the screen takes
            rate = tally.n / tally.seconds
            self.watch.update(
                Progress(
                    phase=f"sampling {tally.prop.name}",
                    done=None if aim.anytime else tally.n / aim.n,
                    left_s=None if aim.anytime else (aim.n - tally.n) / rate,
                    # a count on the screen would let a reader stop a fixed number of draws at a moment of his choice
                    detail=f"{tally.n:,} samples" + (f", {tally.violations:,} violate" if aim.anytime else ""),
                )
            )

    def _pac_bound(self, tally: Tally, aim: _SampleSize) -> PacBound:
        if aim.anytime:
            epsilon = anytime_upper(tally.violations, tally.n, aim.delta)
            # `anytime_upper` is solved numerically, and may be a hair above what the run has just reached
            if aim.epsilon is not None and may_stop(tally.violations, tally.n, aim.epsilon, aim.delta):
                epsilon = min(epsilon, aim.epsilon)
        else:
            epsilon = upper_limit(tally.violations, tally.n, aim.delta)
        return PacBound(
            measure=self.measure.name,
            epsilon=epsilon,
            delta=aim.delta,
            n=tally.n,
            violations=tally.violations,
            anytime=aim.anytime,
        )

    def _estimate_by_splitting(self, index: int, prop: Property) -> tuple[RareEvent | None, torch.Tensor]:
        """No estimate where it was interrupted: what had not arrived by then would count as nothing."""
        if not isinstance(self.measure, Product):
            raise InputError("splitting needs a distribution that it can draw from")
        event, points = violation_probability(
            self.net,
            self.measure.cube(prop),
            settings=SplittingSettings(),
            generator=self._generator(index, 1),
            measure=self.measure.name,
            watch=self.watch,
        )
        if not event.estimate:
            points = self._attack_points(index, prop)
        # the points stay: a counterexample is one however it was found
        return (None if self.watch.stopped() else event), points

    def _attack_points(self, index: int, prop: Property) -> torch.Tensor:
        """What an attack finds where splitting found nothing: a part of a region that no repetition met."""
        self.watch.update(Progress(phase=f"attacking {prop.name}"))
        polytopes = sum(len(region.unsafe) for region in prop.regions)
        found = attack_all(
            # margins of draws take inputs beside outputs (`margin_at`), an attack a network that hands them on
            net_for_property(self.net, prop),
            prop.regions,
            settings=hunt_effort(self.net, polytopes, 1, AttackSettings()),
            generator=torch.Generator().manual_seed(self.request.seed + index),
            # nothing is replayed on the way: that is done with all that is found, once
            accepts=lambda region, points: True,
            stopped=self.watch.stopped,
        )
        return torch.cat([each.points[each.margin <= 0][:KEPT] for each in found]).cpu()

    def _surrogates(self, index: int, prop: Property) -> Iterable[Surrogate]:
        rows = [(i, p) for i, region in enumerate(prop.regions) for p in range(len(region.unsafe))]
        # each polytope's surrogate is a statement of its own
        delta = shared_delta(self.delta, max(1, len(rows)))
        for i in dict.fromkeys(i for i, _ in rows):
            if self.watch.stopped():
                return
            self.watch.update(Progress(phase=f"affine surrogate for {prop.name}"))
            yield from self._region_surrogates(prop, i, delta, self._generator(index, 2, i))

    def _region_surrogates(
        self, prop: Property, index: int, delta: float, generator: torch.Generator
    ) -> Iterable[Surrogate]:
        """One for each polytope of a region, all on the same draws."""
        region: Region = prop.regions[index]
        draws = self.measure.draws(replace(prop, regions=(region,)), generator)
        size = program_variables(prop.n_inputs)
        asked = self.request.epsilon or EPSILON
        n = scenario_samples(asked, delta, size)
        # one sample for all polytopes of a region: their statements share delta, and need not be independent
        x = draws.take(n if draws.left is None else min(n, draws.left))
        epsilon = max(asked, scenario_epsilon(len(x), delta, size)) if len(x) < n else asked
        if not epsilon < 1:
            least = scenario_samples(0.5, delta, size)
            raise InputError(
                f"--scenario: {len(x):,} samples in the region of {prop.name} state nothing; give {least:,} for "
                f"epsilon 0.5, {n:,} for {asked:g}"
            )
        # margins are taken from float32 outputs, as the statement is about float32 executions; the fit is in float64
        y = evaluate_on_device(self.net, x)
        points = x.cpu().double().numpy()
        lower, upper = region.lower.numpy(), region.upper.numpy()
        for number, polytope in enumerate(region.unsafe):
            margin = replace(region, unsafe=(polytope,)).margin_at(x, y).cpu().double().numpy()
            if not np.isfinite(margin).all():
                raise InputError(f"--scenario: a margin of {prop.name} is not finite, nothing affine lies below it")
            fit = closest_affine(points, margin, lower, upper)
            yield Surrogate(
                region=index,
                polytope=number,
                coefficients=tuple(float(c) for c in fit.coefficients),
                constant=fit.constant,
                error=fit.error,
                lowest=fit.lowest(lower, upper),
                epsilon=epsilon,
                delta=delta,
                n=len(points),
            )

    def _remarks(self, found: list[PropertyEstimate]) -> Iterable[str]:
        for subject in self.subjects:
            if any(Cut.of(subject.prop, region) is not None for region in subject.prop.regions):
                yield f"{subject.prop.name} relates inputs: of its boxes, what such comparisons leave is drawn from."
        for entry in found:
            if entry.violations and entry.counterexample is None:
                yield (
                    f"{entry.name}: {entry.violations:,} samples violate in torch, none of those tried does so through "
                    "onnxruntime: margins within rounding of zero."
                )
            if entry.rare is not None and not entry.rare.estimate and entry.counterexample is not None:
                yield f"{entry.name}: no repetition of splitting met the violation; its estimate of 0 is too low."
        # they are answered in order, so that those not answered are the last ones
        missing = [s.prop.name for s in self.subjects[len(found) :]]
        if missing:
            yield f"Not sampled, because interrupted: {', '.join(missing)}."


def _is_settled(tally: Tally, aim: _SampleSize) -> bool:
    """Is the bound reached, or known to be missed? Each answer is wrong with probability delta at most."""
    if aim.epsilon is None:
        return False
    if may_stop(tally.violations, tally.n, aim.epsilon, aim.delta):
        return True
    return tally.violations > 0 and anytime_lower(tally.violations, tally.n, aim.delta) > aim.epsilon


def _confidence_interval(tally: Tally, aim: _SampleSize) -> Interval:
    """Two-sided: one statement together with the bound, which is its upper side."""
    limits, delta = anytime_interval if aim.anytime else clopper_pearson, 2 * aim.delta
    lower, upper = limits(tally.violations, tally.n, delta) if tally.n else (0.0, 1.0)
    return Interval(lower=lower, upper=upper, confidence=1 - delta)
