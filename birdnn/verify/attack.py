"""Falsification: a sample, a population search that needs no gradient, and descents along signed gradients.

All three minimise the margin of an unsafe polytope, in float32, for each pair of a region and a polytope, and for all
pairs together: the network is evaluated on their points in one batch. What comes out are suspicious points; only a
replay makes one a counterexample, and whoever can replay is asked as soon as there is one.

* The sample holds the middle of a region, points that the caller proposes (corners at which a bound is attained,
  middles of boxes that a search left open), uniform points and some random corners.
* The population search keeps the best points and scatters new ones around them with shrinking spread. It sees over the
  flat and jagged margins of small control networks, on which gradients get stuck (N1,9 with phi-7), and is left out
  where many inputs vary.
* Descents begin at the best points so far, at those proposed and at random ones. Their first step is the width of the
  box, so that every corner is within reach, their last one a hundredth of it. Most follow the sign of the gradient,
  with momentum as Dong et al. 2018 (arXiv:1710.06081), some the gradient itself; most the row of a polytope that
  lacks most, some the sum of all rows that lack something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from birdnn.records.limits import Over, never
from birdnn.sample.pieces import apply_in_memory, drawable_count, evaluate_in_time, points_per_piece
from birdnn.spec import Polytope, Region

Accepts = Callable[[int, Tensor], bool]
"""Is one of these points, (m, inputs), of the region of that number what is looked for? True ends the attack."""

_LEAST = 64  # evaluations
_GRADIENT = 3  # evaluations that one costs
_FEW_INPUTS = 20  # that vary
_SAMPLED, _SCATTERED = 0.35, 0.55  # of all evaluations, where inputs are few
_SAMPLES_OF_MANY = 256  # at most: where inputs are many, random points are much alike
_CORNERS = 0.1  # of the sample
_GENERATIONS, _ELITE = 40, 0.1  # in an attack of the default effort; share of the population
_FIRST_SPREAD, _LAST_SPREAD = 0.4, 0.01
_FIRST_STARTS, _MOST_STARTS, _MOST_STEPS = 4, 64, 40
_FIRST_STEP, _LAST_STEP, _MOMENTUM = 1.0, 1e-2, 0.75
_ENTRIES = 1 << 22  # of the largest tensor of pairs that are attacked together
_KEPT = 256  # points of each target that came closest
_SHOWN = 8  # regions, and points of each, that are shown at once to whoever can replay


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSettings:
    """How hard to look.

    Attributes:
        evaluations: of the network, about, for each polytope of a region; a gradient counts as three. One is a look at
            the middle of the region.
    """

    evaluations: int = 100_000

    def scaled(self, share: float) -> AttackSettings:
        """The same with a share of the evaluations, rounded up."""
        return replace(self, evaluations=math.ceil(share * self.evaluations))

    def within(self, evaluations: float) -> AttackSettings:
        """The same with at most about so many evaluations, but a few in any case."""
        return replace(self, evaluations=min(self.evaluations, max(_LEAST, int(min(evaluations, 1e18)))))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What an attack reached in one region.

    Attributes:
        points: shape (m, inputs), float32.
        margin: of each by the polytope that it was found for, shape (m,), float64; infinite where an output is NaN.
    """

    points: Tensor
    margin: Tensor

    @property
    def least(self) -> float:
        """The least margin; infinite without points."""
        return float(self.margin.amin()) if len(self.margin) else math.inf

    def best(self, count: int) -> Tensor:
        """So many of the points, the best first."""
        return self.points[self.margin.argsort()[:count]]


def attack(
    net: nn.Module,
    region: Region,
    *,
    settings: AttackSettings,
    generator: torch.Generator,
    hints: Tensor | None = None,
    thorough: bool = False,
    stopped: Over = never,
) -> Tensor:
    """Points at which some unsafe polytope comes closest, shape (m, inputs), float32; not all of them are unsafe.

    Args:
        net: float32 network, (n, inputs) -> (n, outputs); its device is used.
        region: where to look and for what.
        settings: effort.
        generator: on the CPU.
        hints: points to begin with, (k, inputs).
        thorough: go on after the first unsafe point, to return as many as the effort finds.
        stopped: looked at between pieces of the work; True ends the attack with what it has found.
    """
    if region.is_point:  # whatever its polytopes are
        return region.lower[None].to(_device_of(net), torch.float32)
    (found,) = attack_all(
        net,
        [region],
        settings=settings,
        generator=generator,
        hints=None if hints is None else [hints.expand(len(region.unsafe), *hints.shape)],
        # whatever torch calls unsafe ends it: who calls this judges the points himself
        accepts=None if thorough else lambda region, points: True,
        stopped=stopped,
    )
    return found.points


def attack_all(
    net: nn.Module,
    regions: Sequence[Region],
    *,
    settings: AttackSettings,
    generator: torch.Generator,
    hints: Sequence[Tensor] | None = None,
    accepts: Accepts | None = None,
    stopped: Over = never,
) -> list[Found]:
    """`attack` on several regions and all of their polytopes together: what it reached in each region.

    Args:
        hints: for each region, points to begin with for each of its polytopes, (polytopes, k, inputs).
        accepts: asked as soon as a point is unsafe, and again once one is twice as far inside; None: every unsafe point
            is returned, and only the effort ends the attack.
    """
    device = _device_of(net)
    found: list[list[Found]] = [[] for _ in regions]
    for targets in _target_groups(regions, hints, settings, device):
        hunt = _Hunt(net, targets, generator, accepts, stopped)
        hunt.run()
        for place, part in hunt.found():
            found[place].append(part)
        if hunt.accepted or stopped():
            break
    return [
        _join_found(region.lower.to(device, torch.float32)[None][:0], parts)
        for region, parts in zip(regions, found, strict=True)
    ]


def _device_of(net: nn.Module) -> torch.device:
    return next((value.device for value in (*net.parameters(), *net.buffers())), torch.device("cpu"))


def _join_found(none: Tensor, parts: Sequence[Found]) -> Found:
    """All parts as one; without any, no point. ``none``: an empty (0, inputs) tensor in the right place and type."""
    points, margin = ([getattr(part, name) for part in parts] for name in ("points", "margin"))
    return Found(torch.cat([none, *points]), torch.cat([none[:, 0].double(), *margin]))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an attack's evaluations are spent on, for one target: numbers of points, generations, descents and steps."""

    samples: int
    generations: int
    population: int
    starts: int
    steps: int

    @property
    def widest(self) -> int:
        """About how many points of a target there are at the same time."""
        return max(self.samples, 2 * self.population, min(self.starts, _MOST_STARTS), _KEPT)


def _plan_attack(evaluations: int, free: int, n_inputs: int) -> _Plan:
    """How an effort is spent on a box of which ``free`` edges have a width."""
    if not free:
        return _Plan(1, 0, 0, 0, 0)
    # one at least, for the middle
    samples, scattered = max(1, int(_SAMPLED * evaluations)), int(_SCATTERED * evaluations)
    if free > _FEW_INPUTS:
        samples, scattered = min(samples, _SAMPLES_OF_MANY), 0
    # generations and their size grow alike with the effort: by its root
    generations = min(scattered, round(_GENERATIONS * math.sqrt(evaluations / AttackSettings().evaluations)))
    population = scattered // max(1, generations)
    gradients = (evaluations - samples - generations * population) // _GRADIENT
    # and so do, with what is left, the steps of a descent and the number of descents
    steps = min(_MOST_STEPS, math.ceil(0.75 * math.sqrt(max(0, gradients))))
    return _Plan(drawable_count(samples, n_inputs), generations, population, gradients // max(1, steps), steps)


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """Pairs of a region and one of its polytopes, t of them, whose boxes allow for the same plan.

    Attributes:
        place: numbers of the regions, (t,).
        lower, upper: the outermost float32 points of the boxes, (t, inputs); where there is none, the nearest one.
        a, b: rows of the polytopes, padded by their last ones, (t, rows, outputs) and (t, rows), float64.
        hints: points to begin with, (t, k, inputs).
    """

    place: Tensor
    lower: Tensor
    upper: Tensor
    a: Tensor
    b: Tensor
    hints: Tensor
    plan: _Plan

    def __len__(self) -> int:
        return len(self.place)

    def margin(self, y: Tensor) -> Tensor:
        """The largest ``a @ y - b`` of outputs (t, k, outputs): (t, k), float64; infinite where one is NaN."""
        # in float64, so that nothing but the network itself has rounded
        return _nan_as_infinite(torch.baddbmm(-self.b[:, None], y.double(), self.a.mT).amax(2))

    def clamp(self, x: Tensor) -> Tensor:
        """Points (t, k, inputs) in the boxes."""
        # a box may be wider than any float32: steps of an infinite width are NaN
        return torch.minimum(torch.maximum(x.nan_to_num(), self.lower[:, None]), self.upper[:, None])


def _target_groups(
    regions: Sequence[Region], hints: Sequence[Tensor] | None, settings: AttackSettings, device: torch.device
) -> Iterator[_Targets]:
    """All pairs, in groups that fit into memory; those first that take least."""
    boxes = [_float32_box(region) for region in regions]
    plans = [_plan_attack(settings.evaluations, int((upper > lower).sum()), len(upper)) for lower, upper in boxes]
    pairs = [(place, p) for place, region in enumerate(regions) for p in range(len(region.unsafe))]
    for plan in sorted(set(plans), key=lambda plan: plan.widest):
        # pairs of one plan have points alike in number: the network evaluates them in one batch
        of_plan = [pair for pair in pairs if plans[pair[0]] == plan]
        rows = max([1, *(regions[place].unsafe[p].a.numel() for place, p in of_plan)])
        size = max(1, _ENTRIES // (plan.widest * (regions[0].n_inputs + rows)))
        for begin in range(0, len(of_plan), size):
            some = of_plan[begin : begin + size]
            places = [place for place, _ in some]
            a, b = _stack_rows([regions[place].unsafe[p] for place, p in some])
            lower, upper = (torch.stack([boxes[place][side] for place in places]) for side in (0, 1))
            proposed = lower[:, None][:, :0] if hints is None else torch.stack([hints[place][p] for place, p in some])
            lower, upper, a, b, proposed = (value.to(device) for value in (lower, upper, a, b, proposed.to(lower)))
            yield _Targets(torch.tensor(places), lower, upper, a, b, proposed, plan)


def _float32_box(region: Region) -> tuple[Tensor, Tensor]:
    """The outermost float32 points of its box, (inputs,) each; where a range holds none, the nearest one."""
    lower, upper = region.float32_box()
    middle = (region.lower + (region.upper - region.lower) / 2).to(torch.float32).nan_to_num()
    return lower.where(lower <= upper, middle), upper.where(lower <= upper, middle)


def _stack_rows(polytopes: Sequence[Polytope]) -> tuple[Tensor, Tensor]:
    """Rows as in `_Targets`; what is to be below a bound may not reach it, and without rows all is unsafe."""
    most = max([1, *(len(polytope.rows) for polytope in polytopes)])
    a = torch.zeros(len(polytopes), most, polytopes[0].n_outputs, dtype=torch.float64)
    b = torch.zeros(len(polytopes), most, dtype=torch.float64)
    for i, polytope in enumerate(polytopes):
        if polytope.rows:
            pick = torch.arange(most).clamp(max=len(polytope.rows) - 1)
            # at its bound a strict row is not violated: one float64 lower, and the margin is above zero there
            below = polytope.b.where(~polytope.strict, polytope.b.nextafter(torch.tensor(-torch.inf).double()))
            a[i], b[i] = polytope.a[pick], below[pick]
    return a, b


class _Hunt:
    """The search for all targets of a group; t of them, k points of each at a time."""

    def __init__(
        self,
        net: nn.Module,
        targets: _Targets,
        generator: torch.Generator,
        accepts: Accepts | None,
        stopped: Over,
    ) -> None:
        self.net, self.targets, self.plan, self.generator = net, targets, targets.plan, generator
        self.accepts, self.stopped = accepts, stopped
        self.width = targets.upper - targets.lower
        # 5e-324 is the least float64 above zero: what is exactly at the bound of a closed row is shown, too
        self.asked = torch.full_like(targets.b[:, 0], 5e-324)  # a margin has to be below it
        self.accepted = False
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []  # numbers of targets, their points, margins

    def run(self) -> None:
        """All three searches, as far as there is need."""
        points = self._draw_sample()
        margin = self._margins_at(points)
        if not self._offer_unsafe(points, margin):
            points, margin = self._search_population(points, margin)
        # as many as descents may begin at, not only as many as are handed out
        points, margin = _best_of_targets(points, margin, max(_KEPT, self.plan.starts))
        self._keep_points(points[:, :_KEPT], margin[:, :_KEPT])
        if not (self.accepted or self.stopped()):
            self._descend_all(points)

    def found(self) -> Iterator[tuple[int, Found]]:
        """The number of each region that has targets here, and what was reached in it."""
        which, points, margin = (torch.cat(column) for column in zip(*self.parts, strict=True))
        place = self.targets.place.to(which.device)[which]
        # one pass over the points of all regions, of which there may be thousands
        order = place.argsort(stable=True)
        counts = place.bincount().tolist()
        parts = zip(torch.split(points[order], counts), torch.split(margin[order], counts), strict=True)
        for number, part in enumerate(parts):
            if counts[number]:
                yield number, Found(*part)

    # --- points to begin with

    def _draw_sample(self) -> Tensor:
        """The middles, what was proposed, uniform points and some corners."""
        middle = self.targets.lower + self.width / 2
        corners = int(_CORNERS * (self.plan.samples - 1))
        drawn = [self._uniform_points(self.plan.samples - 1 - corners), self._random_corners(corners)]
        return self.targets.clamp(torch.cat([middle[:, None], self.targets.hints, *drawn], 1))

    def _uniform_points(self, count: int) -> Tensor:
        return self.targets.lower[:, None] + self._draw_unit(count) * self.width[:, None]

    def _random_corners(self, count: int) -> Tensor:
        return torch.where(self._draw_unit(count) < 0.5, self.targets.lower[:, None], self.targets.upper[:, None])

    def _draw_unit(self, count: int) -> Tensor:
        """Uniform numbers in 0..1, (t, count, inputs)."""
        # on the CPU, so that a seed gives the same points on every device
        return torch.rand(len(self.width), count, self.width.shape[1], generator=self.generator).to(self.width.device)

    # --- population

    def _search_population(self, points: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
        """The best points of all generations."""
        plan = self.plan
        elite = max(1, math.ceil(_ELITE * plan.population))
        for spread in _geometric_steps(_FIRST_SPREAD, _LAST_SPREAD, plan.generations):
            points, margin = _best_of_targets(points, margin, elite)
            parent = torch.randint(points.shape[1], (len(points), plan.population), generator=self.generator)
            parents = points.take_along_dim(parent.to(points.device)[..., None], 1)
            children = self.targets.clamp(parents + spread * self.width[:, None] * self._draw_mutation(parents))
            of_children = self._margins_at(children)
            # parents stay in the contest, so that what came closest is never lost
            points, margin = torch.cat([points, children], 1), torch.cat([margin, of_children], 1)
            if self._offer_unsafe(children, of_children):
                break
        return points, margin

    def _draw_mutation(self, parents: Tensor) -> Tensor:
        """Normal draws on about half of the inputs of each point."""
        normal = torch.randn(parents.shape, generator=self.generator)
        chosen = torch.rand(parents.shape, generator=self.generator) < 0.5
        return (normal * chosen).to(parents.device)

    # --- descents

    def _descend_all(self, points: Tensor) -> None:
        """Descents from points of their own: few first, then more at a time; after a population many at once."""
        left, count, used = self.plan.starts, _MOST_STARTS if self.plan.population else _FIRST_STARTS, 0
        hints = self.targets.hints
        while left > 0 and not self.accepted and not self.stopped():
            count = min(count, left, _MOST_STARTS)
            # half from what came closest, the rest elsewhere: the former may all lie in one valley with no way out
            best = points[:, used : used + math.ceil(count / 2)]
            proposed = hints[:, : count - best.shape[1]]
            drawn = count - best.shape[1] - proposed.shape[1]
            others = [self._random_corners(drawn - drawn // 2), self._uniform_points(drawn // 2)]
            self._descend(self.targets.clamp(torch.cat([best, proposed, *others], 1)))
            hints, used = hints[:, proposed.shape[1] :], used + best.shape[1]
            left, count = left - count, 2 * count

    def _descend(self, x: Tensor) -> None:
        """Descents from (t, k, inputs), of all kinds; their best and last points are kept."""
        # of each four two take the sign along the worst row, one along all that lack something, one the gradient
        kind = torch.arange(x.shape[1], device=x.device) % 4
        summed, by_sign = kind == 1, (kind != 3)[:, None]
        best, best_margin, momentum = x, torch.full_like(x[..., 0], torch.inf).double(), torch.zeros_like(x)
        for step in _geometric_steps(_FIRST_STEP, _LAST_STEP, self.plan.steps):
            margin, gradient = self._margin_gradients(x, summed)
            better = margin < best_margin
            best, best_margin = torch.where(better[..., None], x, best), torch.where(better, margin, best_margin)
            if self._offer_unsafe(x, margin):
                break
            # divided by its size, as in the paper, or one steep place would outweigh all steps before and after it
            momentum = _MOMENTUM * momentum + gradient / gradient.abs().mean(-1, keepdim=True).clamp(min=1e-30)
            # the gradient in units of the box, its largest entry 1: that input moves by the whole step
            scaled = momentum * self.width[:, None]
            scaled = scaled / scaled.abs().amax(-1, keepdim=True).clamp(min=1e-30)
            x = self.targets.clamp(x - step * self.width[:, None] * torch.where(by_sign, momentum.sign(), scaled))
        else:
            # where the last step led nobody has looked yet
            margin = self._margins_at(x)
            self._offer_unsafe(x, margin)
            best, best_margin = torch.cat([best, x], 1), torch.cat([best_margin, margin], 1)
        self._keep_points(best, best_margin)

    def _margin_gradients(self, x: Tensor, summed: Tensor) -> tuple[Tensor, Tensor]:
        """Margins, and gradients of the worst row or of all rows that lack something, of (t, k, inputs)."""
        which, summed = self._targets_of(x), summed.expand(x.shape[:2]).flatten()
        every = torch.arange(len(which), device=x.device)
        flat = x.flatten(0, 1)
        margins: list[Tensor] = []
        gradients: list[Tensor] = []
        # smaller pieces than of evaluations: the clock is looked at as often
        for part in torch.split(every, max(1, points_per_piece(self.net) // _GRADIENT)):
            if margins and self.stopped():
                break
            for margin, gradient in apply_in_memory(
                lambda i: self._gradients_of_piece(flat[i], which[i], summed[i]), part
            ):
                margins.append(margin)
                gradients.append(gradient)
        # where nobody looked the margin is infinite, and never among the best
        margin, gradient = _pad_to_length(margins, len(flat), torch.inf), _pad_to_length(gradients, len(flat), 0.0)
        return margin.reshape(x.shape[:2]), gradient.reshape(x.shape)

    def _gradients_of_piece(self, x: Tensor, which: Tensor, summed: Tensor) -> tuple[Tensor, Tensor]:
        here = x.detach().requires_grad_(True)
        with torch.enable_grad():
            y = self.net(here)
        a = self.targets.a[which]
        rows = torch.linalg.vecdot(a, y.detach().double()[:, None]) - self.targets.b[which]
        worst = nn.functional.one_hot(rows.nan_to_num(nan=torch.inf).argmax(1), rows.shape[1])
        # where no row lacks anything any more the worst one leads further inside
        weights = torch.where(summed[:, None] & (rows > 0), 1.0, worst.to(rows))
        pull = torch.linalg.vecdot(weights[:, None], a.mT).to(y)
        if not y.requires_grad:  # the outputs do not depend on the inputs
            return _nan_as_infinite(rows.amax(1)), torch.zeros_like(x)
        with torch.enable_grad():  # a sum, as gradients of several numbers load half a second of symbolic algebra
            total = torch.linalg.vecdot(y, pull).sum()
        (gradient,) = torch.autograd.grad(total, here, allow_unused=True)
        return _nan_as_infinite(rows.amax(1)), torch.zeros_like(x) if gradient is None else gradient.nan_to_num()

    # --- what all of them need

    def _targets_of(self, x: Tensor) -> Tensor:
        """The target of each of the points (t, k, inputs), flat."""
        return torch.arange(len(x), device=x.device).repeat_interleave(x.shape[1])

    def _margins_at(self, x: Tensor) -> Tensor:
        """Margins of points (t, k, inputs), (t, k); infinite where nobody looked, because time was up."""
        y = evaluate_in_time(self.net, x.flatten(0, 1), self.stopped)
        y = _pad_to_length([y], x.shape[0] * x.shape[1], torch.nan)
        return self.targets.margin(y.reshape(*x.shape[:2], -1))

    def _offer_unsafe(self, x: Tensor, margin: Tensor) -> bool:
        """Keep what is unsafe of points (t, k, inputs), or show it to whoever can replay. Is there reason to end?"""
        if self.accepts is None:
            unsafe = margin <= 0
            which, points = self._targets_of(x)[unsafe.flatten()], x[unsafe]
            self.parts.append((which, points, margin[unsafe]))
        elif bool((margin.amin(1) < self.asked).any()):
            self._show_worst(self.accepts, x, margin)
        return self.accepted or self.stopped()

    def _show_worst(self, accepts: Accepts, x: Tensor, margin: Tensor) -> None:
        """The worst points of the worst targets that are much worse than what was shown before."""
        worst = margin.amin(1)
        for target in worst.where(worst < self.asked, torch.inf).argsort()[:_SHOWN].tolist():
            if worst[target] < self.asked[target] and not self.accepted:
                # a replay that disagrees would disagree a hair further, too, and each one is a run of the file
                self.asked[target] = 2 * worst[target]
                order = margin[target].argsort()[:_SHOWN]
                points = x[target][order[margin[target][order] <= 0]]
                self.accepted = accepts(int(self.targets.place[target]), points)

    def _keep_points(self, x: Tensor, margin: Tensor) -> None:
        self.parts.append((self._targets_of(x), x.flatten(0, 1), margin.flatten()))


def _geometric_steps(first: float, last: float, count: int) -> list[float]:
    """So many numbers from the first to the last, each the same multiple of the one before."""
    ratio = (last / first) ** (1 / max(1, count - 1))
    return [first * ratio**i for i in range(count)]


def _best_of_targets(points: Tensor, margin: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best points of each target, best first."""
    order = margin.argsort(1)[:, :count]
    return points.take_along_dim(order[..., None], 1), margin.take_along_dim(order, 1)


def _nan_as_infinite(margin: Tensor) -> Tensor:
    """Infinite where an output is no number: no run there is a violation."""
    return margin.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _pad_to_length(parts: Sequence[Tensor], length: int, value: float) -> Tensor:
    """The parts one behind the other, and behind them entries of one value, (length, ...) in all."""
    known = torch.cat([*parts])
    return torch.cat([known, known.new_full((length - len(known), *known.shape[1:]), value)])
