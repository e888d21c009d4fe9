"""What a repair keeps of the original's behaviour, measured on the best inputs at hand.

The declared domain, and files of inputs (``--data``, ``--test``), say where behaviour counts. Without them there are
places at hand: the surroundings of points to be repaired, what lies between the points, and the hull of the properties'
regions. Each figure names its place; behaviour is as well kept as at the worst of them.

Inputs that have to change are left out: those that violate a property on the original, points whose answer is to be
another one, their close neighbours, and labelled inputs that the original decides wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.formats.inputs import Inputs
from birdnn.metrics import decisions, fidelity
from birdnn.network import Network
from birdnn.pipeline.case import Case, Subject
from birdnn.records import (
    LEAST,
    LEAST_BEYOND,
    Decision,
    Ground,
    Kept,
    KeptAt,
    KeptWord,
    RepairRequest,
    behaves_as_asked,
)
from birdnn.records.limits import Over, never
from birdnn.sample import draw_uniform, evaluate
from birdnn.sample.draw import BATCH
from birdnn.sample.pieces import evaluate_in_time
from birdnn.spec import regions_hull

# farther than neighbours: those of points that have to change are left out (`_has_to_change`)
_AWAY = 3.0, 10.0, 30.0
"""Surroundings of points reach so many times as far as their neighbours."""

_MOST_VALUES = 1 << 26
"""Of all inputs that are drawn at once."""

_PAIRS = 10_000
_MOST_DISTANCES = 1 << 31

Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputSource:
    """Inputs to compare behaviour on: ``draw(count, generator)`` gives (m, inputs); `right` (m,), where it is known."""

    where: str
    ground: Ground
    draw: Draw
    right: Tensor | None = None


def input_sources(case: Case, before: Network, *, final: bool) -> list[InputSource]:
    """Where behaviour is compared; `final`: on what is held out as well, which no choice may look at."""
    found = []
    if case.corners is not None and case.domain is not None:
        lower, upper = case.corners
        where = f"the domain ({case.domain.source})"
        found.append(
            InputSource(where=where, ground="domain", draw=lambda count, g: draw_uniform(lower, upper, count, g))
        )
        # such a domain is only where the regions are: nobody said that the network is not used beyond them
        if case.files.domain == "property" and case.data is None:
            found += _source_beyond(case)
    if case.data is not None:
        found.append(_inputs_of_file(case.data, "data"))
    # a guess at where behaviour counts is made only where neither domain nor data says it
    found = found or list(_sources_at_hand(case, before))
    return [*found, _inputs_of_file(case.test, "test")] if final and case.test is not None else found


def right_inputs(case: Case) -> Tensor | None:
    """The user's inputs, those that the original decides rightly where they say what is right; None of none."""
    data = case.data
    if data is None:
        return None
    decided = decisions(evaluate(case.loaded.net.copy().float(), data.x), case.decision)
    x = data.x if data.y is None or decided is None else data.x[decided == data.y]
    return x if len(x) else None


def _inputs_of_file(file: Inputs, ground: Ground) -> InputSource:
    where = f"the inputs of --{ground} {file.path}"
    return InputSource(where=where, ground=ground, draw=lambda count, generator: file.x, right=file.y)


def _sources_at_hand(case: Case, before: Network) -> Iterator[InputSource]:
    """Without a domain or data: around the points, between them, in the hull of the regions."""
    listed = case.points
    if listed:
        x = torch.cat([_listed_points(subject) for subject in listed])
        radius = max(subject.radius for subject in listed)
        told = f"the {len(x):,} points" if len(x) > 1 else "the point"
        names = ", ".join(subject.prop.name for subject in listed)
        reach = f"up to {_AWAY[-1] * radius:g} away in each input"
        where = f"surroundings of {told} of {names}, {reach}"
        yield InputSource(where=where, ground="surroundings", draw=lambda count, g: _draw_around(x, radius, count, g))
        pairs = _pairs_apart(listed, before)
        # none between a single point and itself, nor where all points change to one answer
        if len(pairs):
            where = f"the hull of {told} of {names}, between two"
            yield InputSource(where=where, ground="hull", draw=lambda count, g: _draw_between(x, pairs, count, g))
    if corners := _hull_of_regions(case):
        where = f"the hull of the regions of {_stated_names(case)}"
        yield InputSource(where=where, ground="regions", draw=lambda count, g: draw_uniform(*corners, count, g))
        yield from _source_beyond(case)


def _source_beyond(case: Case) -> Iterator[InputSource]:
    """Where regions are all that is known: a network may obey in them and be a constant everywhere else."""
    if corners := _hull_of_regions(case):
        lower, upper = corners
        wide = lower - (upper - lower), upper + (upper - lower)
        where = f"surroundings of the regions of {_stated_names(case)}, as far beyond as these are wide"
        yield InputSource(where=where, ground="beyond", draw=lambda count, g: draw_uniform(*wide, count, g))


def _hull_of_regions(case: Case) -> tuple[Tensor, Tensor] | None:
    # of points there is another hull, on lines between two of them
    regions = [region for _, found in case.regions for region in found]
    return regions_hull(regions) if regions else None


def _stated_names(case: Case) -> str:
    return ", ".join(name for name, _ in case.regions)


def _listed_points(subject: Subject) -> Tensor:
    return torch.stack([region.lower for region in subject.prop.regions]).float()


def _draw_around(x: Tensor, radius: float, count: int, generator: torch.Generator) -> Tensor:
    """Uniform around random points; farther where inputs are larger than 1."""
    # float64 until the end, so that a radius near float32's steps at the centre is rounded once
    centre = x[torch.randint(len(x), (count,), generator=generator)].double()
    away = radius * torch.tensor(_AWAY, dtype=torch.float64)[torch.randint(len(_AWAY), (count,), generator=generator)]
    scale = x.double().abs().amax(0).clamp(min=1.0)
    unit = 2 * torch.rand(centre.shape, generator=generator, dtype=torch.float64) - 1
    return (centre + unit * away[:, None] * scale).float()


def _pairs_apart(listed: Sequence[Subject], before: Network) -> Tensor:
    """Pairs of points, (m, 2), between which something is to be kept: not those that both change to the same answer."""
    groups: list[object] = []
    for subject in listed:
        wrong = _wrong_points(subject, before).tolist()
        regions = zip(subject.prop.regions, wrong, strict=True)
        # points of one wish share their unsafe sets; one that stays is apart from any
        groups += [id(region.unsafe) if changes else object() for region, changes in regions]
    # the pairs are the place, not a sample of it: every candidate, whatever the seed, is compared on the same lines
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(len(groups), (2, _PAIRS), generator=generator)
    apart = torch.tensor([groups[i] != groups[j] for i, j in zip(first.tolist(), second.tolist(), strict=True)])
    return torch.stack([first, second], 1)[apart]


def _draw_between(x: Tensor, pairs: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """On lines between pairs of points."""
    first, second = pairs[torch.randint(len(pairs), (count,), generator=generator)].unbind(1)
    share = torch.rand(count, 1, generator=generator)
    return x[first] + share * (x[second] - x[first])


def _wrong_points(subject: Subject, before: Network) -> Tensor:
    """Which points of a file have another answer than the one wished for, (points,) bool."""
    y = evaluate(before, _listed_points(subject))
    # one by one: each point has unsafe sets of its own
    margins = [region.margin(y[i : i + 1]) for i, region in enumerate(subject.prop.regions)]
    # not `<= 0`: an output that is NaN is no right answer
    return ~(torch.cat(margins) > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """Compares candidates with the original at the same inputs, those that have to change left out.

    Attributes:
        before: the original, float32.
        changing: points whose answer is to be another one, (m, inputs), and how far their neighbours lie, (m,).
    """

    case: Case
    before: Network
    changing: tuple[Tensor, Tensor]

    @staticmethod
    def of(case: Case, before: Network) -> Yardstick:
        """For the original of the case, in float32."""
        points, radii = [torch.empty(0, before.n_inputs)], [torch.empty(0)]
        for subject in case.points:
            wrong = _listed_points(subject)[_wrong_points(subject, before)]
            points.append(wrong)
            radii.append(torch.full((len(wrong),), subject.radius))
        return Yardstick(case=case, before=before, changing=(torch.cat(points), torch.cat(radii)))

    def compared(
        self, place: InputSource, after: Network, count: int, generator: torch.Generator, over: Over = never
    ) -> KeptAt | None:
        """What is kept at a place, on `count` inputs at most where they are drawn; None where none is left.

        On the first ones only, where `over` says that time is.
        """
        # fewer where inputs have many values; a file gives all of its inputs, whatever the number
        x = place.draw(max(1, min(count, _MOST_VALUES // self.before.n_inputs)), generator)
        y, z = outputs_of_both(self.before, after, x, over)
        # where time ran out, outputs are those of the first inputs only
        x = x[: len(y)]
        fine = ~violating_inputs(self.case.subjects, x, y) & ~self._has_to_change(x)
        right = None if place.right is None else place.right[: len(y)]
        decided, now = decisions(y, self.case.decision), decisions(z, self.case.decision)
        labels = {}
        if right is not None and decided is not None and now is not None:
            labels = {
                "labelled": len(right),
                "right_before": int((decided == right).sum()),
                "right_after": int((now == right).sum()),
            }
            # what the original gets wrong may change: to keep it is no virtue
            fine &= decided == right
        if not bool(fine.any()):
            return None
        y, z = y[fine], z[fine]
        # from here on of what is to be kept alone; the labels above count all inputs of the file
        agreement, either = self._agreement_by_rules(y, z)
        same = fidelity(y, z, "none")
        return KeptAt(
            where=place.where,
            ground=place.ground,
            n=same.n,
            decision_agreement=agreement,
            argmin_agreement=either[0] if either else None,
            argmax_agreement=either[1] if either else None,
            mae=same.mae,
            size=float(y.abs().double().mean()),
            **labels,
        )

    def _agreement_by_rules(self, before: Tensor, after: Tensor) -> tuple[float | None, tuple[float, float] | None]:
        """Share with the same decision, the lesser by both rules where nobody said which one holds; and both shares."""
        case = self.case
        if before.shape[1] < 2 or (case.decision == "none" and case.rule_by == "option"):
            return None, None

        def by(rule: Decision) -> float:
            # `or` for the type only: neither rule is "none" here
            return fidelity(before, after, rule).decision_agreement or 0.0

        # somebody vouches for the rule: the other one's figure would count changes that nobody cares about
        if case.rule_by in ("option", "suite"):
            return by(case.decision), None
        either = by("argmin"), by("argmax")  # a rule that was read from properties may be the wrong one
        return min(either), either

    def _has_to_change(self, x: Tensor) -> Tensor:
        """Which inputs are, or are close to, points whose answer is to be another one, (n,) bool."""
        points, radii = self.changing
        near = torch.zeros(len(x), dtype=torch.bool)
        if not len(points):
            return near
        if len(points) * x.numel() > _MOST_DISTANCES:  # too many to measure: only the points themselves
            listed = {point.tobytes() for point in points.numpy()}
            return torch.tensor([one.tobytes() in listed for one in x.contiguous().numpy()])
        each = max(1, _MOST_VALUES // len(points))
        # in pieces: all distances at once are what does not fit into memory
        for start in range(0, len(x), each):
            distance = torch.cdist(x[start : start + each], points, p=float("inf"))
            near[start : start + each] = (distance <= radii).any(1)
        return near


def worst_kept(found: Sequence[KeptAt], drawdown: float) -> Kept:
    """What the choice between candidates goes by: the worst of what was found."""
    # what lies beyond the regions is no place to choose by; `n=0` says that nothing was measured
    if all(one.ground == "beyond" for one in found):
        return Kept(decision_agreement=None, mae=0.0, size=0.0, drawdown=drawdown, n=0)
    # as a share of the outputs' size, which differs between places and is what limits are given in
    moved = max((one for one in found if one.ground != "beyond"), key=lambda one: one.mae / max(one.size, 1e-30))
    shares = [
        # enough is enough there: no candidate is to win by it that keeps less where behaviour counts
        1.0 if _good_beyond(one) else one.decision_agreement
        for one in found
        if one.decision_agreement is not None
    ]
    return Kept(
        decision_agreement=min(shares, default=None),
        mae=moved.mae,
        size=moved.size,
        drawdown=drawdown,
        n=min(one.n for one in found),
    )


def kept_word(found: Sequence[KeptAt], request: RepairRequest) -> KeptWord:
    """Of the whole repair."""
    if all(one.ground == "beyond" for one in found):
        return "not measured"
    good = all(keeps_enough(one, request, LEAST) for one in found if one.ground != "beyond")
    # of decisions alone: how far outputs move there is not judged, as nobody said that it matters
    beyond = all(_good_beyond(one) for one in found if one.ground == "beyond" and one.decision_agreement is not None)
    return "kept" if good and beyond else "badly kept"


def _good_beyond(entry: KeptAt) -> bool:
    """Is it beyond the regions, and kept as well as can be asked where nobody said that it matters?"""
    return (
        entry.ground == "beyond" and entry.decision_agreement is not None and entry.decision_agreement >= LEAST_BEYOND
    )


def keeps_enough(kept: KeptAt | Kept, request: RepairRequest, least: tuple[float, float]) -> bool:
    """Is as much kept as the request says, or else as `least` does: decisions, and difference as a share of the size?

    Never, where nothing was measured.
    """
    asked, most = request.min_agreement, request.max_mae
    good = behaves_as_asked(
        kept.decision_agreement, kept.mae, kept.size, min_agreement=asked, max_mae=most, least=least
    )
    return kept.n > 0 and good


def violating_inputs(subjects: Sequence[Subject], x: Tensor, y: Tensor) -> Tensor:
    """Which inputs violate some applicable property, (n,) bool; of points nothing is said."""
    bad = torch.zeros(len(x), dtype=torch.bool)
    for subject in subjects:
        for region in subject.prop.regions:
            if region.is_point:  # which no draw hits
                continue
            inside = ((x >= region.lower.float()) & (x <= region.upper.float())).all(1)
            bad[inside] |= region.margin(y[inside]) <= 0
    return bad


def outputs_of_both(before: Network, after: Network, x: Tensor, over: Over = never) -> tuple[Tensor, Tensor]:
    """Outputs of two networks at points (n, inputs), or at the first ones of them: (m, outputs) each."""
    # batches of the processor's size on any device: `over` is asked between two of them
    first = evaluate_in_time(before, x, over, most=BATCH["cpu"])
    second = evaluate_in_time(after, x[: len(first)], over, most=BATCH["cpu"])
    # the time may be over earlier in the second network than in the first
    return first[: len(second)], second
