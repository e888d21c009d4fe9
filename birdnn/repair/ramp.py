"""The same ramp added to all outputs, so that slopes become right and no decision changes.

Where outputs are compared, what is added to all of them decides nothing. So a function that grows along an input by
``rise`` in each unit, within the regions that are asked about, turns slopes that are wrong by less into right ones, and
every difference of two outputs stays what it was. Neurons that nobody needs (`birdnn.repair.spare_neurons`) make it.
They hand inputs on, begin the ramp where the regions begin, end its growth where they end, and carry it to the outputs.
Further ones keep it near the regions along other inputs, as long as that costs few decisions.

How steep it has to be says a search for the worst slopes. A proof that stays open makes it steeper.

That a change is kept local by a bump in other inputs goes back to Fu and Li 2022 (REASSURE), arXiv:2110.07039; to spend
it on what no decision depends on, and to make it of neurons that are there, is ours.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.records import Progress, Tied, Watch
from birdnn.records.limits import Over
from birdnn.repair.jacobian import Trained
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.repair.slope_training import slope_aims
from birdnn.repair.spare_neurons import SpareNeurons
from birdnn.sample import draw_from_property, draw_uniform, evaluate
from birdnn.sample.tally import union_margin
from birdnn.spec import Property, regions_hull

MOVED = (
    "A ramp of height {:.3g} is added to all outputs alike: which of them is least or greatest does not depend on it. "
    "Outputs also change by what the neurons that make it did before, where others cannot do it."
)
"""What a user is told of the ramp."""
_ROOM = 0.01  # of the regions' width: how far beyond their ends the ramp goes, for rounding and what is read there
_LEAST_WIDTH = 1e-4  # of the regions along the input, beside its size: float32 has to tell where the ramp is
_FEWER = 4  # there may be ten properties, each with as few inputs as this leaves
_EXACT = 1e-3  # of the ramp: what it may be off by where it is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class RampSettings:
    """How a ramp is made.

    Attributes:
        points: inputs at which neurons are looked at, in the domain, and as many in the regions.
        spare: what may be lost for the neurons that the ramp cannot do without: shares of the decisions in the domain,
            in the regions and at the data, and the largest of inputs that newly violate a property, added up;
            `narrower` for more neurons, which keep it near the regions along further inputs, as long as outputs are
            raised by more than the share `raised` of their size in the mean over the domain.
        fades: share of the domain's width in which it fades out beside the regions; the next one where weights would
            move too far, and infinity where it need not fade out.
        searches: for the worst slopes, before each candidate.
        steeper: than the search says, as a factor; `growth` from one candidate to the next.
        margin_share: margin asked for, as in `SlopeTrainingSettings`.
    """

    points: int = 10_000
    spare: float = 0.04
    narrower: float = 3e-3
    raised: float = 0.01
    fades: tuple[float, ...] = (0.05, 0.2, math.inf)
    searches: int = 6
    steeper: float = 1.05
    growth: float = 1.3
    margin_share: float = 0.02


class CommonRamp:
    """`Repairer` by a ramp; of several candidates each is steeper.

    Raises:
        MismatchError: nothing decides, a ramp cannot help, or the network has no neurons for it.
    """

    def __init__(self, task: RepairTask, settings: RampSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.teacher()
        self.direction = _require_ramp_may_help(task)
        regions = [region for goal in task.slopes for region in goal.regions]
        self.hull = regions_hull(regions)
        width = (self.hull[1] - self.hull[0]).clamp(min=torch.finfo(torch.float32).eps)
        self.domain = task.domain or (self.hull[0] - width, self.hull[1] + width)
        inputs = [draw_uniform(*corners, settings.points, self.generator) for corners in (self.domain, self.hull)]
        inputs += [] if task.data is None else [task.data[: settings.points]]
        self.looked_at, self.parts = torch.cat(inputs), [len(x) for x in inputs]
        self.decided = self._decide(self.teacher)
        self.satisfying = self._satisfying_inputs()
        (lower, upper), d = self.hull, self.direction
        room = float(_ROOM * (upper[d] - lower[d]))
        self.begin, self.width = float(lower[d]) - room, float(upper[d] - lower[d]) + 2 * room
        if not self.width > _LEAST_WIDTH * float(torch.maximum(lower[d].abs(), upper[d].abs())):
            raise MismatchError("along the input the regions are a point, or hardly more")
        self.made, self.steeper = 0, settings.steeper
        self.aims = slope_aims(task, self.teacher, settings.margin_share, self.generator)
        self.needed = self._rise_needed(self.teacher, task.over, first=True)
        if not self.needed:
            raise MismatchError("no wrong slope was found, which a ramp would make right")
        self._make_within_limit()
        if abs(self.rise) * self.width > task.max_difference:
            raise MismatchError("the ramp that slopes take is higher than outputs may be from the original's")

    def _make_within_limit(self) -> None:
        """The ramp that fades out most quickly, of those that can be made and move no layer too far.

        Raises:
            MismatchError: there is none; why the last one is none.
        """
        refused = MismatchError("nothing was tried")
        for fades in self.settings.fades:
            try:
                self._make(fades)
            except MismatchError as error:
                refused = error
            else:
                if self._is_within_limit():
                    return
                refused = MismatchError("the ramp moves weights farther than they may be moved")
        raise refused

    def _make(self, fades: float) -> None:
        """Put the ramp into a copy of the network; beside the regions it fades out over this share of the domain."""
        self.spare = SpareNeurons(self.teacher, self.looked_at, self._share_lost, self.task.over)
        # the layer whose neurons are lines along inputs: where there are three, the first one hands inputs on to it
        self.lines, self.carriers = int(self.spare.layers > 2), dict[int, int]()
        self.rise = self.needed
        self.columns = self._build(fades)
        self.spare.balance(abs(self.rise) * self.width)
        self.base = self.spare.network()
        self.raises = self._unit_column()
        self._require_ramp()
        self.aims = slope_aims(self.task, self.base, self.settings.margin_share, self.generator)
        self.rise = self._rise_needed(self.base, self.task.over, first=True)

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn where slopes are wrong, then make the ramp as steep as that takes; hands out a copy."""
        over = self.task.ends(time.monotonic() + timeout_s, watch)
        watch.update(Progress(phase="looking for the worst slopes"))
        for aim in self.aims:
            aim.learn(evidence, self.generator)
        if not evidence.too_far:
            self.steeper *= self.settings.growth if self.made else 1.0
            self.rise = self._rise_needed(self.base, over, first=False)
        self.made += 1
        self._write(self.rise * self.width)
        return self.task.net.with_values(self.spare.changed())

    def negatives(self) -> dict[str, Tensor]:
        """None: a slope is no input's."""
        return {}

    def remarks(self) -> tuple[str, ...]:
        """What outputs are moved by, which decisions do not tell."""
        return (MOVED.format(abs(self.rise) * self.width),)

    def ties(self) -> tuple[Tied, ...]:
        """None."""
        return ()

    def _decide(self, net: Network) -> Tensor:
        """Which output decides, (n,)."""
        found = decisions(evaluate(net, self.looked_at), self.task.decision)
        if found is None:
            raise MismatchError("nothing decides between outputs, so that what they are has to be kept")
        return found

    def _share_lost(self, net: Network) -> float:
        """Of decisions in the domain, in the regions and at the data, and of inputs that satisfied a property."""
        wrong = (self._decide(net) != self.decided).double()
        shares = [float(part.mean()) for part in torch.split(wrong, self.parts)]
        # a new violation is a loss as well
        newly = [float((union_margin(prop, x, evaluate(net, x)) <= 0).double().mean()) for prop, x in self.satisfying]
        return sum(shares) + max(newly, default=0.0)

    def _satisfying_inputs(self) -> list[tuple[Property, Tensor]]:
        """Of each other property inputs of its regions at which the original is right."""
        found = []
        for goal in self.task.goals:
            x = torch.cat(draw_from_property(goal.prop, self.settings.points // _FEWER, self.generator))
            x = x[union_margin(goal.prop, x, evaluate(self.teacher, x)) > 0]
            found += [(goal.prop, x)] if len(x) else []
        return found

    # --- how steep

    def _rise_needed(self, net: Network, over: Over, *, first: bool) -> float:
        """The least rise, by size, with which no slope of a network that was found is wrong.

        Args:
            net: the network.
            over: ends the search early.
            first: nothing was learnt from proofs yet, so that a rise which helps one slope only is a reason to refuse.

        Raises:
            MismatchError: there is none.
        """
        low, high = -math.inf, math.inf
        for aim in self.aims:
            # of many regions each is searched once
            for _ in range(max(1, self.settings.searches // len(self.aims))):
                if not over():
                    aim.search(net, self.generator)
            found = aim.slopes_at(net, aim.pool)
            lacking = (aim.bounds - found + aim.margin * aim.scale).amax(0).double()
            total = aim.rows.sum(1).double()
            for need, each in zip((lacking / total).tolist(), total.tolist(), strict=True):
                low, high = (max(low, need), high) if each > 0 else (low, min(high, need))
        low, high = (self.steeper * low if low > 0 else low), (self.steeper * high if high < 0 else high)
        if low > high and first:
            raise MismatchError("what one slope lacks another one has too much of: no ramp helps both")
        return max(low, min(high, 0.0))

    # --- how it is made

    def _build(self, fades: float) -> dict[int, float]:
        """Neurons of the last hidden layer of which a weighted sum is the ramp, from 0 to 1 in the regions."""
        layers, d = self.spare.layers, self.direction
        begin, end = -self.begin / self.width, -self.begin / self.width - 1
        if layers == 1:
            return {self._along(d, 1 / self.width, begin): 1.0, self._along(d, 1 / self.width, end): -1.0}
        start = self._along(d, 1 / self.width, begin)
        # all that it cannot do without first: what is left keeps it near the regions
        grown, ended = self._needed(self.lines + 1), self._needed(self.lines + 1)
        carried = [self._needed(layer) for layer in range(self.lines + 2, layers)]
        # where it has faded out, also what has grown since the end has to be zero
        most = max(1.0, (float(self.domain[1][d]) - self.begin) / self.width)
        read = {start: 1.0, **dict.fromkeys(self._narrow(most, fades), -most)}
        self.spare.read(self.lines + 1, grown, read, 0.0)
        self.spare.read(self.lines + 1, ended, read, -1.0)
        made = {grown: 1.0, ended: -1.0}
        for layer, neuron in enumerate(carried, self.lines + 2):
            self.spare.read(layer, neuron, made, 0.0)
            made = {neuron: 1.0}
        return made

    def _needed(self, layer: int, limit: float | None = None) -> int:
        neuron = self.spare.take(layer, self.settings.spare if limit is None else limit)
        if neuron is None:
            raise MismatchError(f"no neuron of hidden layer {layer + 1} can be spared")
        return neuron

    def _narrow(self, most: float, fades: float) -> list[int]:
        """Neurons that are active beside the regions, 1 where the ramp has faded out; as many as it takes.

        Args:
            most: of the ramp, if nothing ended it.
            fades: see `RampSettings`.
        """
        if math.isinf(fades):
            return []
        (lower, upper), (least, greatest) = self.hull, self.domain
        wide, made = greatest - least, list[int]()
        x = draw_uniform(*self.domain, self.settings.points, self.generator).double()
        y = evaluate(self.teacher, x.float())
        free = (x[:, self.direction] - self.begin) / self.width
        limit = self.spare.lost + self.settings.narrower
        room, beside = _EXACT * wide, fades * wide
        share = (upper - lower + 2 * room + beside) / wide.clamp(min=torch.finfo(wide.dtype).tiny)
        # where regions are narrowest most is gained
        for i in share.argsort().tolist():
            raised = abs(self.rise) * self.width * float(free.clamp(0, 1).mean())
            ends = [(-1.0, lower[i] - room[i])] if lower[i] - room[i] > least[i] else []
            ends += [(1.0, upper[i] + room[i])] if upper[i] + room[i] < greatest[i] else []
            if i == self.direction or not ends or raised <= self.settings.raised * float(y.abs().mean()):
                continue
            before = self.spare, dict(self.carriers)
            self.spare = self.spare.copied()
            lines = [(sign / float(beside[i]), -sign * float(end / beside[i])) for sign, end in ends]
            try:
                made += [self._along(i, factor, offset, limit) for factor, offset in lines]
            except MismatchError:
                self.spare, self.carriers = before
                break
            free = free - most * sum((factor * x[:, i] + offset).clamp(min=0) for factor, offset in lines)
        return made

    def _along(self, i: int, factor: float, offset: float, limit: float | None = None) -> int:
        """A neuron that is ``factor * x_i + offset``, where that is positive: its number in the layer of lines.

        Raises:
            MismatchError: none can be spared, or the first layer does not read the input by itself.
        """
        entry, steep, shift = self._entry_of(i)
        if self.lines:
            # an input, less its least value, is positive: a neuron of the first layer hands it on
            least = min(float(self.domain[0][i]), float(self.hull[0][i])) - _ROOM * float(
                self.domain[1][i] - self.domain[0][i]
            )
            if i not in self.carriers:
                self.carriers[i] = self._needed(0, limit)
                self.spare.read(0, self.carriers[i], {entry: 1 / steep}, -shift / steep - least)
            entry, steep, shift = self.carriers[i], 1.0, -least
        neuron = self._needed(self.lines, limit)
        self.spare.read(self.lines, neuron, {entry: factor / steep}, offset - factor * shift / steep)
        return neuron

    def _entry_of(self, i: int) -> tuple[int, float, float]:
        """The entry that the first map has for an input, which is ``steep * x_i + shift``.

        Raises:
            MismatchError: it is something else.
        """
        least, most = self.domain
        x = ((least + most) / 2).repeat(3, 1)
        x[0, i], x[1, i] = least[i], most[i]
        read = self.spare.first_reads(x)
        moved = (read[0] != read[1]).nonzero()[:, 0].tolist()
        if len(moved) != 1:
            raise MismatchError(f"the first layer does not read input {i} by itself")
        low, high, middle = (float(value) for value in read[:, moved[0]])
        steep = (high - low) / float(most[i] - least[i])
        shift = low - steep * float(least[i])
        if abs(middle - (low + high) / 2) > _EXACT * abs(high - low):
            raise MismatchError(f"what the first layer reads of input {i} does not grow steadily with it")
        return moved[0], steep, shift

    def _is_within_limit(self) -> bool:
        """Does the first candidate move no layer farther than it may?"""
        self._write(self.rise * self.width)
        changed = self.spare.changed()
        trained = Trained(self.teacher, names=tuple(changed))
        change = torch.cat([value.flatten() for value in changed.values()]).double() - trained.original
        return trained.reach(torch.zeros_like(change), change, self.task.max_change) == 1

    def _write(self, height: float) -> None:
        for neuron, share in self.columns.items():
            self.spare.write(neuron, share * height * self.raises)

    def _unit_column(self) -> Tensor:
        """The last layer's column that raises every output by as much as its neuron makes.

        Raises:
            MismatchError: there is none.
        """
        x = torch.stack([(self.hull[0] + self.hull[1]) / 2])
        x[0, self.direction] = self.hull[1][self.direction]
        effect = self.spare.output_effect(next(iter(self.columns)), x)
        wanted = torch.ones(len(effect), 1, dtype=effect.dtype)
        found: Tensor = torch.linalg.lstsq(effect, wanted, driver="gelsd").solution
        if not bool(((effect @ found - wanted).abs() <= _EXACT).all()):
            raise MismatchError("the last layer cannot raise all outputs alike")
        return found[:, 0]

    def _require_ramp(self) -> None:
        """See that a ramp of height one raises all outputs by what it should, at inputs of the regions.

        Raises:
            MismatchError: it does not.
        """
        self._write(1.0)
        x = draw_uniform(*self.hull, self.settings.points, self.generator)
        before = evaluate(self.base, x)
        raised = evaluate(self.spare.network(), x) - before
        wanted = (x[:, self.direction].double() - self.begin) / self.width
        self._write(0.0)
        room = _EXACT * (1 + float(before.abs().max()))
        if not bool(((raised - wanted[:, None]).abs() <= room).all()):
            raise MismatchError("the ramp does not come out as it should")


def _require_ramp_may_help(task: RepairTask) -> int:
    """The input along which slopes are asked for.

    Raises:
        MismatchError: see `CommonRamp`.
    """
    directions = {goal.direction for goal in task.slopes}
    if task.net.n_outputs < 2:
        raise MismatchError("one output decides nothing, so that what it is has to be kept")
    if len(directions) != 1:
        raise MismatchError("slopes are asked for along several inputs")
    if any(goal.repair and goal.violated for goal in task.goals):
        raise MismatchError("a property of one input is violated as well, which a ramp does not repair")
    n = task.net.n_outputs
    rows = torch.cat([p.a[:, n:] for goal in task.slopes for region in goal.regions for p in region.unsafe])
    if bool((rows.sum(1) == 0).any()):
        raise MismatchError("slopes of differences of outputs are asked for, which a ramp does not change")
    (direction,) = directions
    return direction
