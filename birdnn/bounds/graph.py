"""Backward bound propagation with optimised planes through any graph that the importer reads.

As on chains (`birdnn.bounds.crown`): whatever is not affine is replaced by planes around it (`birdnn.bounds.planes`),
and a linear function of the outputs is pushed back to the inputs, where its minimum over a box is exact (CROWN, Zhang
et al. 2018, arXiv:1811.00866; alpha-CROWN, Xu et al. 2021, arXiv:2011.13824; graphs as in auto_LiRPA, Xu et al. 2020,
arXiv:2002.12920). An affine operator needs no rule for it: its transpose is its vector-Jacobian product, which torch
knows (`birdnn.bounds.steps`). Values start from intervals; where planes depend on them they are bounded backwards too.

All arithmetic is float64, and its rounding is accounted for at each node: the rows that it hands back are wrong by less
than a small share of the absolute terms that they stand for, so that what a row loses there is at most ``|row| @
slack``. Nothing is claimed where a value may exceed `RANGE64`. The bounds speak about the function over the reals;
`docs/soundness.md` has the argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.interval import Interval, least_rows, reach_of
from birdnn.bounds.minima import combined, minimum_of, outward, step_multipliers
from birdnn.bounds.planes import Plane
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.bounds.settling import best_multipliers
from birdnn.bounds.steps import Bent, Step, Straight, sample, steps_of
from birdnn.boxes import Boxes
from birdnn.chain import as_activation
from birdnn.network import Network
from birdnn.operators import activation_function, operator
from birdnn.records.limits import Over, never, require_time
from birdnn.rounding import FLOAT64, SUM_ROUNDINGS

_ENTRIES = 1 << 23
"""Of the rows that are propagated together, on the largest value of the graph: 64 MiB."""
_WORTH = 2e11
"""Multiplications that the bounds of one value of a batch may cost; of what costs more the intervals stay."""
_PASS = 2e9  # between two looks at the clock, a fraction of a second
FEW_INPUTS = 24
"""That vary, at most, where boxes are cut by their inputs; where more do, by the signs of neurons."""
_SIDE = 0.2
"""What a neuron with a positive coefficient counts beside one with a negative coefficient: its lower line may tilt."""


class GraphBound:
    """`MarginBound` for any graph, over the reals.

    Args:
        net: any network.
        device: where the tensors live.
        settings: effort for each box; what they say of neuron splits is not for graphs.

    Attributes:
        over: asked between passes and between steps on planes; `bound` raises `OutOfTime` once it is so.

    Raises:
        UnsupportedOpError: an operator has no sound rule.
    """

    name = "graph"
    record = False

    def __init__(self, net: Network, device: torch.device, settings: CrownSettings | None = None) -> None:
        self.device, self.settings = device, settings or CrownSettings()
        self.over: Over = never
        net = net.with_values({}).to(device=device, dtype=torch.float64)
        self.graph, self.steps = net.graph, steps_of(net, device)
        self.places = {step.output: place for place, step in enumerate(self.steps)}
        self.readers = _readers(self.steps)
        self.spans = _spans(self.readers, net)
        self.neurons = sum(span.stop - span.start for span in self.spans.values())
        self.kinked = [step for step in self.steps if _is_kinked(step) and step.reads[0][1] in self.spans]
        self.piecewise = all(step.affine or step in self.kinked for step in self.steps)
        self.well_known = _well_known(self.steps, net.input_name)
        self.n_inputs = net.n_inputs
        self._cost = torch.tensor([step.multiplications for step in self.steps]).cumsum(0).tolist()
        widest = max(math.prod(step.shape) for step in self.steps)
        self.rows = max(1, int(min(_ENTRIES / widest, _PASS / max(1.0, self._cost[-1]))))

    def root(self, boxes: int) -> Tensor:
        """Nothing known, (boxes, 3 * neurons + inputs): ends of all values that planes depend on, splits, and flow.

        A split is its side, -1 or 1, times one more than its multiplier; where there is none it is zero.
        """
        side = torch.full((boxes, self.neurons), torch.inf, dtype=torch.float64, device=self.device)
        return torch.cat([-side, side, torch.zeros_like(side), side.new_ones(boxes, self.n_inputs)], 1)

    def split(self, inherited: Tensor, neuron: Tensor) -> Tensor:
        """See `SplitsNeurons.split`."""
        n, both = self.neurons, inherited.repeat(2, 1)
        for side, half in ((-1, both[: len(inherited)]), (1, both[len(inherited) :])):
            box = (neuron >= 0).nonzero()[:, 0]
            place = neuron[box]
            if side < 0:
                half[box, n + place] = half[box, n + place].clamp(max=0)
            else:
                half[box, place] = half[box, place].clamp(min=0)
            half[box, 2 * n + place] = float(side)
        return both

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        # cuDNN may convolve by Fourier transforms, also in float64: `roundings` says nothing about these
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
            batch = _Batch(self, boxes, inherited)
            box, polytope = opened.nonzero(as_tuple=True)
            rows = _FinalRows(batch, question, box, polytope)
            lower, plane, minimum = rows.optimise()
            left = ~question.excluded(lower, polytope)
            still = torch.zeros_like(opened).index_put((box, polytope), left)
            flow = batch.flow(still.to(torch.float64) @ question.a.abs().sum(1))
            hardest = _hardest(box[left], lower[left])
            batch.splits[box[left][hardest]] = rows.splits[left][hardest]
            neuron = torch.full_like(still[:, 0], -1, dtype=torch.int64)
            neuron[box[left][hardest]] = batch.neuron(rows.single[left][hardest], box[left][hardest])
            known = torch.cat([batch.lower, batch.upper, batch.splits, flow], 1)
            return BoundResult(box, polytope, lower, plane, minimum, known, neuron=neuron)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """Absolute weights multiplied through the upper planes, for the rows of the polytopes that were left open."""
        del question, opened
        return inherited[:, 3 * self.neurons :]

    def worth(self, rows: int, name: str) -> bool:
        """May so many rows on a value be propagated?"""
        return bool(rows * self._cost[self.places[name]] <= _WORTH)


def _is_kinked(step: Step) -> bool:
    """Is it an activation of two straight sides?"""
    activation = as_activation(step.node)
    return activation is not None and activation_function(activation.kind)[1].straight == "both sides"


def _hardest(box: Tensor, lower: Tensor) -> Tensor:
    """Of each box the item with the least bound: indices."""
    order = lower.argsort()
    _, first = np.unique(box[order].cpu().numpy(), return_index=True)
    return order[torch.from_numpy(first).to(order.device)]


def _readers(steps: Sequence[Step]) -> dict[str, list[tuple[Step, int]]]:
    """The nodes that are not affine in a value, and its places among their operands."""
    found = dict[str, list[tuple[Step, int]]]()
    for step in steps:
        for place, name in () if step.affine else step.reads:
            found.setdefault(name, []).append((step, place))
    return found


def _spans(names: Iterable[str], net: Network) -> dict[str, slice]:
    """Places of the values on which planes depend, among all their entries; the input itself is known."""
    spans, end = dict[str, slice](), 0
    for name in names:
        if name != net.input_name:
            spans[name] = slice(end, end + net.size_of(name))
            end = spans[name].stop
    return spans


def _well_known(steps: Sequence[Step], input_name: str) -> frozenset[str]:
    """Values of which intervals are about as good as backward propagation.

    These are functions of single entries of one value, whose ends are as good as its own, and affine functions of
    independent intervals: of the input, and of what only gives its entries another place.
    """
    boxes, found = {input_name}, set[str]()
    for step in steps:
        single = len(step.reads) == 1 and (step.reads[0][1] in boxes if step.affine else step.node.op != "MaxPool")
        if single:
            found.add(step.output)
        if single and step.affine and operator(step.node.op).is_layout:
            boxes.add(step.output)
    return frozenset(found)


class _Batch:
    """Intervals of all values on some boxes, and what stands for each node there.

    Attributes:
        bent: the nodes that are not affine, by the names of their values.
        lower, upper: ends of the values that planes depend on, (boxes, neurons).
        splits: see `GraphBound.root`.
        by_neurons: which boxes come with signs of neurons that are not known, and are divided by these, (boxes,).
        decided: on which of those with many inputs the network is affine now, so that multipliers alone close them.
    """

    def __init__(self, bound: GraphBound, boxes: Boxes, inherited: Tensor) -> None:
        self.bound, self._centre, self._radius = bound, boxes.centres(), outward(boxes)
        known = inherited[:, : 3 * bound.neurons].reshape(len(boxes), 3, bound.neurons)
        self.lower, self.upper, self.splits = (known[:, k].clone() for k in range(3))
        many = (boxes.widths() > 0).sum(1) > FEW_INPUTS
        self.by_neurons = many & self._undecided()
        whole = (-1, *sample(bound.graph, bound.graph.input_name))
        self.intervals: dict[str, Interval] = {
            bound.graph.input_name: (boxes.lower.reshape(whole), boxes.upper.reshape(whole))
        }
        self.bent = dict[str, Bent]()
        self._straight = dict[str, Straight]()
        for step in bound.steps:
            self._through(step)
        self.decided = many & ~self._undecided() & bound.piecewise

    def _undecided(self) -> Tensor:
        """On which boxes the sign of a neuron is not known."""
        found = torch.zeros(len(self.lower), dtype=torch.bool, device=self.lower.device)
        for step in self.bound.kinked:
            span = self.bound.spans[step.reads[0][1]]
            found = found | ((self.lower[:, span] < 0) & (self.upper[:, span] > 0)).any(1)
        return found

    def _through(self, step: Step) -> None:
        """The interval of a node's value, and what stands for the node."""
        values = [self.intervals[name] for _, name in step.reads]
        low, up = own = step.interval(values, self.bound.graph.dependent)
        span = self.bound.spans.get(step.output)
        if span is not None:
            low = torch.maximum(low, self.lower[:, span].reshape(low.shape))
            up = torch.minimum(up, self.upper[:, span].reshape(up.shape))
        count = 2 * math.prod(step.shape) + sum(map(math.prod, step.shapes)) + len(self.bound.steps) + SUM_ROUNDINGS
        if step.affine:
            self._straight[step.output] = Straight(step, values, count)
        else:
            self.bent[step.output] = Bent(step, values, own, (low, up), count)
        if span is not None:
            if step.output not in self.bound.well_known:
                low, up = self._tightened(step, low, up)
            self.lower[:, span], self.upper[:, span] = low.flatten(1), up.flatten(1)
        self.intervals[step.output] = low, up

    def _tightened(self, step: Step, low: Tensor, up: Tensor) -> Interval:
        """Ends of a value, (boxes, *value), by backward propagation wherever planes depend on them."""
        readers = self.bound.readers[step.output]
        needed = torch.stack([reader.needs(place, low, up) for reader, place in readers]).any(0).flatten(1)
        # what a split of neurons tells of others is left to intervals: there are too many of them
        needed &= ~self.by_neurons[:, None] | self.lower[:, self.bound.spans[step.output]].isinf()
        box, entry = needed.nonzero(as_tuple=True)
        if not len(box) or not self.bound.worth(2 * len(box), step.output):
            return low, up
        ends, some = (low.flatten(1).clone(), up.flatten(1).clone()), max(1, self.bound.rows // 2)
        for part in range(0, len(box), some):
            i, j = box[part : part + some], entry[part : part + some]
            rows = torch.nn.functional.one_hot(j, ends[0].shape[1]).to(low.dtype)
            both = torch.cat([rows, -rows]).reshape(-1, *step.shape)
            _, minimum = self.back(step.output, both, low.new_zeros(2 * len(i)), torch.cat([i, i]))
            ends[0][i, j] = torch.maximum(ends[0][i, j], minimum[: len(i)])
            ends[1][i, j] = torch.minimum(ends[1][i, j], -minimum[len(i) :])
        return ends[0].reshape(low.shape), ends[1].reshape(up.shape)

    def back(
        self,
        name: str,
        rows: Tensor,
        constant: Tensor,
        box: Tensor,
        lines: Mapping[str, tuple[Plane, Plane]] | None = None,
        splits: Mapping[str, Tensor] | None = None,
        seen: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rows on a value, (n, *value), and constants, (n,), to planes of the inputs and their minima over the boxes.

        Args:
            name: of the value.
            rows, constant: see above.
            box: whose each row is, (n,).
            lines: planes for each row; by default those that nobody improved.
            splits: of values that some box is divided by, the side of each entry times its multiplier, (n, *value):
                what it is multiplied with is not negative on the box's side.
            seen: takes the rows on each value that is not affine.
        """
        require_time(self.bound.over)
        waiting, size = {name: rows}, constant.abs()
        for step in reversed(self.bound.steps[: self.bound.places.get(name, -1) + 1]):
            here = waiting.pop(step.output, None)
            if splits and step.output in splits:
                here = -splits[step.output] if here is None else here - splits[step.output]
            if here is None:
                continue
            if seen is not None and not step.affine:
                seen[step.output] = here
            if step.affine:
                parts, moved, terms = self._straight[step.output].back(here, box)
            else:
                parts, moved, terms = self.bent[step.output].back(here, box, lines[step.output] if lines else None)
            _hand_over(step, parts, waiting)
            constant, size = constant + moved, size + terms
        plane = waiting.get(self.bound.graph.input_name)
        flat = rows.new_zeros(len(rows), self.bound.n_inputs) if plane is None else plane.flatten(1)
        room = FLOAT64 * (16 * len(self.bound.steps) + SUM_ROUNDINGS) * size
        return flat, minimum_of(flat, constant - room, self._centre[box], self._radius[box])

    def flow(self, rows: Tensor) -> Tensor:
        """How much widths of inputs matter, (boxes, inputs), for absolute rows on the outputs of each box."""
        graph = self.bound.graph
        waiting = {graph.output_name: rows.reshape(-1, *sample(graph, graph.output_name))}
        for step in reversed(self.bound.steps):
            here = waiting.pop(step.output, None)
            if here is not None:
                kind = self._straight if step.affine else self.bent
                _hand_over(step, kind[step.output].flow(here), waiting)
        found = waiting.get(graph.input_name)
        return torch.zeros_like(self._centre) if found is None else found.flatten(1)

    def multipliers(self, box: Tensor) -> dict[str, Tensor]:
        """The splits of boxes, by the names of values that any of these is divided by, (n, *value) each."""
        found = dict[str, Tensor]()
        for step in self.bound.kinked:
            name = step.reads[0][1]
            splits = self.splits[:, self.bound.spans[name]]
            if bool(splits.any()):
                found[name] = splits[box].reshape(-1, *step.shapes[0])
        return found

    def half_spaces(self, box: Tensor) -> tuple[list[str], list[int], Tensor, Tensor]:
        """What a box, (1,), on which every sign is known, is divided by: values, entries, planes and constants.

        A plane, (inputs,), with its constant is how far a value lies on the box's side, up to rounding.
        """
        names, places = list[str](), list[int]()
        planes, levels = [self._centre.new_zeros(0, self.bound.n_inputs)], [self._centre.new_zeros(0)]
        for name, splits in self.multipliers(box).items():
            side = _side(splits).flatten()
            entries = side.nonzero()[:, 0]
            rows = torch.diag(side)[entries].reshape(-1, *splits.shape[1:])
            plane, minimum = self.back(name, rows, side.new_zeros(len(entries)), box.expand(len(entries)))
            names, places = [*names, *[name] * len(entries)], [*places, *entries.tolist()]
            planes.append(plane)
            levels.append(self.constants(plane, minimum, box))
        return names, places, torch.cat(planes), torch.cat(levels)

    def constants(self, plane: Tensor, minimum: Tensor, box: Tensor) -> Tensor:
        """Of planes, (n, inputs), whose minima over a box, (1,), are known; up to rounding."""
        return minimum - (plane * self._centre[box]).sum(1) + (plane.abs() * self._radius[box]).sum(1)

    @property
    def middle(self) -> tuple[Tensor, Tensor]:
        """Centres and half widths of the boxes, (boxes, inputs), as `minimum_of` takes them."""
        return self._centre, self._radius

    def neuron(self, rows: Tensor, box: Tensor) -> Tensor:
        """By which neuron to divide each box, (n,); -1 where an edge is to be halved.

        The one that costs the bound of a row on the outputs, (n, outputs), most: by the upper line of a ReLU, which its
        sides need not (BaBSR, Bunel et al. 2020, Journal of Machine Learning Research 21).
        """
        found, scores = torch.full_like(box, -1), rows.new_zeros(len(box), self.bound.neurons)
        if not len(box) or not bool(self.by_neurons[box].any()) or not self.bound.neurons:
            return found
        seen, graph = dict[str, Tensor](), self.bound.graph
        row = rows.reshape(-1, *sample(graph, graph.output_name))
        self.back(graph.output_name, row, rows.new_zeros(len(box)), box, seen=seen)
        for step in self.bound.kinked:
            if step.output in seen:
                low, up = (side[:, self.bound.spans[step.reads[0][1]]][box] for side in (self.lower, self.upper))
                here, open_ = seen[step.output].flatten(1), (low < 0) & (up > 0)
                gap = (-low * up / (up - low)).where(open_, torch.zeros_like(up))
                worth = (-here).clamp(min=0) * gap + _SIDE * here.clamp(min=0) * gap
                scores[:, self.bound.spans[step.reads[0][1]]] += worth.nan_to_num(nan=0.0)
        best, place = scores.max(1)
        return torch.where(self.by_neurons[box] & (best > 0), place, found)


def _hand_over(step: Step, parts: Sequence[Tensor], waiting: dict[str, Tensor]) -> None:
    """Add rows on what a node reads to those that wait there; of a node that lies between constants there are none."""
    for (_, name), part in zip(step.reads, parts, strict=False):
        waiting[name] = waiting[name] + part if name in waiting else part


class _FinalRows:
    """The items of a batch: their rows, multipliers and planes, improved together."""

    def __init__(self, batch: _Batch, question: Question, box: Tensor, polytope: Tensor) -> None:
        self.batch, self.question, self.box, self.polytope = batch, question, box, polytope
        self.settings, self.a, self.b = batch.bound.settings, question.a[polytope], question.b[polytope]
        self.splits, self.single = batch.splits[box], self.a[:, 0]

    def optimise(self) -> tuple[Tensor, Tensor, Tensor]:
        """Best lower bound of each item, and the planes of all single rows and of the best combination."""
        items, n_rows = self.b.shape
        owner, some = self.box.repeat_interleave(n_rows), self.batch.bound.rows
        plane = self.a.new_zeros(items * n_rows, self.batch.bound.n_inputs)
        minimum = self.b.new_zeros(items * n_rows)
        for part in range(0, len(owner), some):
            here = slice(part, part + some)
            a, b, box = self.a.flatten(0, 1)[here], self.b.flatten()[here], owner[here]
            found = self.batch.multipliers(box)
            splits = {name: _side(each) * _multiplier(each) for name, each in found.items()}
            plane[here], minimum[here] = self._back((a, b), (a.abs(), b.abs()), box, splits=splits)
        plane, minimum = plane.view(items, n_rows, -1), minimum.view(items, n_rows)
        low, up = self.batch.intervals[self.batch.bound.graph.output_name]
        level = least_rows(self.a, self.b, (low.flatten(1)[self.box], up.flatten(1)[self.box]))
        plane = plane.where((minimum >= level)[..., None], 0.0)  # a constant is a plane
        minimum = torch.maximum(minimum, level)
        best, row = minimum.max(1)
        self.single = self.a[torch.arange(items, device=row.device), row]
        best_plane = plane[torch.arange(items, device=row.device), row]
        weights = torch.nn.functional.one_hot(row, n_rows).to(best.dtype)
        todo, some = (~self.question.excluded(best, self.polytope)).nonzero()[:, 0], max(1, some // 4)
        for part in range(0, len(todo) if self.settings.steps else 0, some):
            which = todo[part : part + some]
            self._ascend(which, weights[which], best, best_plane)
        for item in (~self.question.excluded(best, self.polytope) & self.batch.decided[self.box]).nonzero()[:, 0]:
            self._settle(item[None], best, best_plane)
        if n_rows == 1:
            return best, best_plane[:, None], best[:, None]
        return best, torch.cat([plane, best_plane[:, None]], 1), torch.cat([minimum, best[:, None]], 1)

    def _back(
        self,
        side: tuple[Tensor, Tensor],
        size: tuple[Tensor, Tensor],
        box: Tensor,
        lines: Mapping[str, tuple[Plane, Plane]] | None = None,
        splits: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Planes and minima of ``a @ y - b``; sizes are those of the terms that a and b were combined of."""
        output = self.batch.bound.graph.output_name
        reach = reach_of(self.batch.intervals[output]).flatten(1)[box]
        room = FLOAT64 * (SUM_ROUNDINGS + 8 * self.b.shape[1]) * (torch.linalg.vecdot(size[0], reach) + size[1])
        rows = side[0].reshape(-1, *sample(self.batch.bound.graph, output))
        return self.batch.back(output, rows, -side[1] - room, box, lines, splits)

    def _settle(self, item: Tensor, best: Tensor, best_plane: Tensor) -> None:
        """The best multipliers of an item, (1,), on whose box every sign is known; betters `best` in place."""
        box = self.box[item]
        names, places, planes, levels = self.batch.half_spaces(box)
        if not names:
            return
        a, b = self.a[item[0]], self.b[item[0]]
        rows = self._back((a, b), (a.abs(), b.abs()), box.expand(len(b)))
        centre, radius = (side[box] for side in self.batch.middle)
        found = best_multipliers(
            (rows[0].numpy(force=True), self.batch.constants(*rows, box).numpy(force=True)),
            (planes.numpy(force=True), levels.numpy(force=True)),
            (centre - radius)[0].numpy(force=True),
            (centre + radius)[0].numpy(force=True),
        )
        if found is None:
            return
        weights, multipliers = (torch.from_numpy(each).to(planes)[None] for each in found)
        splits = self.batch.multipliers(box)
        signed = {name: torch.zeros_like(each) for name, each in splits.items()}
        for k, (name, place) in enumerate(zip(names, places, strict=True)):
            signed[name].view(-1)[place] = _side(splits[name]).view(-1)[place] * multipliers[0, k]
        sides, sizes = self._combined(weights, item)
        bettered, value = self._back(sides, sizes, box, splits=signed)
        if float(value) > float(best[item]):
            best[item], best_plane[item] = value, bettered

    def _combined(self, weights: Tensor, which: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The rows of items, weighed, and the sizes of their terms, each (items, outputs) and (items,)."""
        a, b = self.a[which], self.b[which]
        return combined(weights, a, b), combined(weights, a.abs(), b.abs())

    def _ascend(self, which: Tensor, weights: Tensor, best: Tensor, best_plane: Tensor) -> None:
        """Gradient ascent on planes and multipliers of the items ``which``; betters `best` in place."""
        settings, before = self.settings, [best[which]]
        free = _Free(self.batch, self.box[which], weights)
        size = settings.step_size
        for step in range(settings.steps + 1):
            last = step == settings.steps
            with torch.enable_grad():
                sides, sizes = self._combined(free.weights.requires_grad_(not last), which)
                plane, minimum = self._back(sides, sizes, self.box[which], *free.chosen(fixed=last))
            better = minimum > best[which]
            best[which] = torch.where(better, minimum.detach(), best[which])
            best_plane[which] = torch.where(better[:, None], plane.detach(), best_plane[which])
            self.splits[which[better]] = free.splits()[better]
            before.append(best[which])
            hopeful = ~self.question.excluded(best[which], self.polytope[which])
            if step > 2:
                hopeful &= ~(best[which] + settings.hope * (best[which] - before[step - 2]) < 0)
            if last or not bool(hopeful.any()) or not free.moved(minimum, size):
                return
            size *= settings.decay


class _Free:
    """What may be chosen freely for some items: planes, multipliers of rows, multipliers of splits.

    Attributes:
        weights: of the rows of each item, (items, rows).
    """

    def __init__(self, batch: _Batch, box: Tensor, weights: Tensor) -> None:
        self._batch, self._box, self.weights = batch, box, weights
        self._planes = {name: bent.planes.take(box) for name, bent in batch.bent.items()}
        self._lines = {name: [start.clone() for start in each.start] for name, each in self._planes.items()}
        splits = batch.multipliers(box)
        self._sides = {name: _side(each) for name, each in splits.items()}
        self._multipliers = {name: _multiplier(each) for name, each in splits.items()}

    def chosen(self, *, fixed: bool) -> tuple[dict[str, tuple[Plane, Plane]], dict[str, Tensor]]:
        """Planes for each row, and splits, as `_Batch.back` takes them; derivatives can be asked for unless `fixed`."""
        for leaf in (*(leaf for pair in self._lines.values() for leaf in pair), *self._multipliers.values()):
            leaf.requires_grad_(not fixed)
        lines = {name: self._planes[name].mixed(*pair) for name, pair in self._lines.items()}
        return lines, {name: side * self._multipliers[name] for name, side in self._sides.items()}

    def splits(self) -> Tensor:
        """As they are handed on, (items, neurons)."""
        found = self._batch.splits[self._box]
        for name, side in self._sides.items():
            found[:, self._batch.bound.spans[name]] = (side * (1 + self._multipliers[name].detach())).flatten(1)
        return found

    def moved(self, minimum: Tensor, size: float) -> bool:
        """One step from where the minima are, (items,); false where nothing depends on anything.

        Planes and rows take a signed step, multipliers of splits one of Polyak's towards zero.
        """
        known = minimum.detach().isfinite()
        if not minimum.requires_grad or not bool(known.any()):
            return False
        lines = [leaf for pair in self._lines.values() for leaf in pair]
        leaves = [*lines, *self._multipliers.values(), self.weights]
        found = torch.autograd.grad(minimum, leaves, known.to(minimum.dtype), allow_unused=True)
        slopes = [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(leaves, found, strict=True)]
        for leaf, slope in zip(lines, slopes, strict=False):
            leaf.requires_grad_(False).add_(size * slope.sign()).clamp_(0, 1)
        betas = slopes[len(lines) : -1]
        if betas:
            lengths = torch.stack([slope.flatten(1).square().sum(1) for slope in betas]).sum(0)
            step = (-minimum.detach()).clamp(min=0).nan_to_num(nan=0.0, posinf=0.0) / lengths.clamp(min=1e-30)
            for leaf, slope in zip(self._multipliers.values(), betas, strict=True):
                leaf.requires_grad_(False).add_(step.reshape(-1, *(1,) * (leaf.dim() - 1)) * slope).clamp_(min=0)
        self.weights = self.weights.detach()
        if self.weights.shape[1] > 1:
            self.weights = step_multipliers(self.weights, slopes[-1], size / 2)
        return True


def _side(splits: Tensor) -> Tensor:
    """Of each entry that a box is divided by, -1 or 1; zero elsewhere."""
    return splits.sign()


def _multiplier(splits: Tensor) -> Tensor:
    """Of each such entry, not negative."""
    return (splits.abs() - 1).clamp(min=0)
