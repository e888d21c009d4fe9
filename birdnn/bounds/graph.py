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
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.interval import Interval, least_rows
from birdnn.bounds.minima import minimum_of, outward, step_multipliers
from birdnn.bounds.planes import Plane
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.bounds.steps import Bent, Step, Straight, reach_of, sample, steps_of
from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.records.limits import Over, never, require_time
from birdnn.rounding import FLOAT64, SUM_ROUNDINGS

_ENTRIES = 1 << 23
"""Of the rows that are propagated together, on the largest value of the graph: 64 MiB."""
_WORTH = 2e11
"""Multiplications that the bounds of one value of a batch may cost; of what costs more the intervals stay."""
_PASS = 2e9  # between two looks at the clock, a fraction of a second


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
        self.graph, self.steps = net.graph, steps_of(net)
        self.places = {step.output: place for place, step in enumerate(self.steps)}
        self.spans = _spans(self.steps, net)
        self.neurons = sum(span.stop - span.start for span in self.spans.values())
        self.well_known = _well_known(self.steps, net.input_name)
        self.n_inputs = net.n_inputs
        self._cost = torch.tensor([step.multiplications for step in self.steps]).cumsum(0).tolist()
        widest = max(math.prod(step.shape) for step in self.steps)
        self.rows = max(1, int(min(_ENTRIES / widest, _PASS / max(1.0, self._cost[-1]))))

    def root(self, boxes: int) -> Tensor:
        """Nothing known: (boxes, 2 * neurons + inputs), ends of all values that planes depend on, and `Batch.flow`."""
        side = torch.full((boxes, self.neurons), torch.inf, dtype=torch.float64, device=self.device)
        return torch.cat([-side, side, side.new_ones(boxes, self.n_inputs)], 1)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        # cuDNN may convolve by Fourier transforms, also in float64: `roundings` says nothing about these
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
            batch = _Batch(self, boxes, inherited)
            box, polytope = opened.nonzero(as_tuple=True)
            lower, plane, minimum = _FinalRows(batch, question, box, polytope).optimise()
            still = torch.zeros_like(opened).index_put((box, polytope), ~question.excluded(lower, polytope))
            flow = batch.flow(still.to(torch.float64) @ question.a.abs().sum(1))
            known = torch.cat([batch.lower, batch.upper, flow], 1)
            return BoundResult(box, polytope, lower, plane, minimum, known)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """Absolute weights multiplied through the upper planes, for the rows of the polytopes that were left open."""
        del question, opened
        return inherited[:, 2 * self.neurons :]

    def worth(self, rows: int, name: str) -> bool:
        """May so many rows on a value be propagated?"""
        return bool(rows * self._cost[self.places[name]] <= _WORTH)


def _spans(steps: Sequence[Step], net: Network) -> dict[str, slice]:
    """Places of the values on which planes depend, among all their entries; the input itself is known."""
    spans, end = dict[str, slice](), 0
    for step in steps:
        for _, name in () if step.affine else step.reads:
            if name not in spans and name != net.input_name:
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
    """

    def __init__(self, bound: GraphBound, boxes: Boxes, inherited: Tensor) -> None:
        self.bound, self._centre, self._radius = bound, boxes.centres(), outward(boxes)
        self.lower, self.upper = (side.clone() for side in inherited[:, : 2 * bound.neurons].chunk(2, 1))
        whole = (-1, *sample(bound.graph, bound.graph.input_name))
        self.intervals: dict[str, Interval] = {
            bound.graph.input_name: (boxes.lower.reshape(whole), boxes.upper.reshape(whole))
        }
        self.bent = dict[str, Bent]()
        self._straight = dict[str, Straight]()
        for step in bound.steps:
            self._through(step)

    def _through(self, step: Step) -> None:
        """The interval of a node's value, and what stands for the node."""
        values = [self.intervals[name] for _, name in step.reads]
        low, up = step.interval(values, self.bound.graph.dependent)
        span = self.bound.spans.get(step.output)
        if span is not None:
            low = torch.maximum(low, self.lower[:, span].reshape(low.shape))
            up = torch.minimum(up, self.upper[:, span].reshape(up.shape))
        count = 2 * math.prod(step.shape) + sum(map(math.prod, step.shapes)) + len(self.bound.steps) + SUM_ROUNDINGS
        if step.affine:
            self._straight[step.output] = Straight(step, values, count)
        else:
            self.bent[step.output] = Bent(step, values, (low, up), count)
        if span is not None:
            if step.output not in self.bound.well_known:
                low, up = self._tightened(step, low, up)
            self.lower[:, span], self.upper[:, span] = low.flatten(1), up.flatten(1)
        self.intervals[step.output] = low, up

    def _tightened(self, step: Step, low: Tensor, up: Tensor) -> Interval:
        """Ends of a value, (boxes, *value), by backward propagation wherever planes depend on them."""
        readers = [(reader, place) for reader in self.bound.steps if not reader.affine
                   for place, name in reader.reads if name == step.output]  # fmt: skip
        needed = torch.stack([reader.needs(place, low, up) for reader, place in readers]).any(0)
        box, entry = needed.flatten(1).nonzero(as_tuple=True)
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
    ) -> tuple[Tensor, Tensor]:
        """Rows on a value, (n, *value), and constants, (n,), to planes of the inputs and their minima over the boxes.

        Args:
            name: of the value.
            rows, constant: see above.
            box: whose each row is, (n,).
            lines: planes for each row; by default those that nobody improved.
        """
        require_time(self.bound.over)
        waiting, size = {name: rows}, constant.abs()
        for step in reversed(self.bound.steps[: self.bound.places.get(name, -1) + 1]):
            here = waiting.pop(step.output, None)
            if here is None:
                continue
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


def _hand_over(step: Step, parts: Sequence[Tensor], waiting: dict[str, Tensor]) -> None:
    """Add rows on what a node reads to those that wait there; of a node that lies between constants there are none."""
    for (_, name), part in zip(step.reads, parts, strict=False):
        waiting[name] = waiting[name] + part if name in waiting else part


class _FinalRows:
    """The items of a batch: their rows, multipliers and planes, improved together."""

    def __init__(self, batch: _Batch, question: Question, box: Tensor, polytope: Tensor) -> None:
        self.batch, self.question, self.box, self.polytope = batch, question, box, polytope
        self.settings, self.a, self.b = batch.bound.settings, question.a[polytope], question.b[polytope]

    def optimise(self) -> tuple[Tensor, Tensor, Tensor]:
        """Best lower bound of each item, and the planes of all single rows and of the best combination."""
        items, n_rows = self.b.shape
        owner, some = self.box.repeat_interleave(n_rows), self.batch.bound.rows
        plane = self.a.new_zeros(items * n_rows, self.batch.bound.n_inputs)
        minimum = self.b.new_zeros(items * n_rows)
        for part in range(0, len(owner), some):
            which = slice(part, part + some)
            a, b = self.a.flatten(0, 1)[which], self.b.flatten()[which]
            plane[which], minimum[which] = self._back(a, b, a.abs(), b.abs(), owner[which])
        plane, minimum = plane.view(items, n_rows, -1), minimum.view(items, n_rows)
        low, up = self.batch.intervals[self.batch.bound.graph.output_name]
        level = least_rows(self.a, self.b, (low.flatten(1)[self.box], up.flatten(1)[self.box]))
        plane = plane.where((minimum >= level)[..., None], 0.0)  # a constant is a plane
        minimum = torch.maximum(minimum, level)
        best, row = minimum.max(1)
        best_plane = plane[torch.arange(items, device=row.device), row]
        weights = torch.nn.functional.one_hot(row, n_rows).to(best.dtype)
        todo, some = (~self.question.excluded(best, self.polytope)).nonzero()[:, 0], max(1, some // 4)
        for part in range(0, len(todo) if self.settings.steps else 0, some):
            self._ascend(todo[part : part + some], weights[todo[part : part + some]], best, best_plane)
        if n_rows == 1:
            return best, best_plane[:, None], best[:, None]
        return best, torch.cat([plane, best_plane[:, None]], 1), torch.cat([minimum, best[:, None]], 1)

    def _back(
        self,
        a: Tensor,
        b: Tensor,
        a_size: Tensor,
        b_size: Tensor,
        box: Tensor,
        lines: Mapping[str, tuple[Plane, Plane]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Planes and minima of ``a @ y - b``; sizes are those of the terms that rows were combined of."""
        output = self.batch.bound.graph.output_name
        reach = reach_of(self.batch.intervals[output]).flatten(1)[box]
        combined = FLOAT64 * (SUM_ROUNDINGS + 8 * self.b.shape[1]) * (torch.linalg.vecdot(a_size, reach) + b_size)
        rows = a.reshape(-1, *sample(self.batch.bound.graph, output))
        return self.batch.back(output, rows, -b - combined, box, lines)

    def _ascend(self, which: Tensor, weights: Tensor, best: Tensor, best_plane: Tensor) -> None:
        """Signed-gradient ascent on planes and multipliers of the items ``which``; betters `best` in place."""
        settings, size, before = self.settings, self.settings.step_size, [best[which]]
        planes = {name: bent.planes.take(self.box[which]) for name, bent in self.batch.bent.items()}
        free = {name: [start.clone() for start in each.start] for name, each in planes.items()}
        for step in range(settings.steps + 1):
            leaves = [*(weight for pair in free.values() for weight in pair), weights]
            with torch.enable_grad():
                for leaf in leaves:
                    leaf.requires_grad_(step < settings.steps)
                lines = {name: planes[name].mixed(*pair) for name, pair in free.items()}
                sides = torch.einsum("ir,iro->io", weights, self.a[which]), torch.linalg.vecdot(weights, self.b[which])
                sizes = (
                    torch.einsum("ir,iro->io", weights, self.a[which].abs()),
                    torch.linalg.vecdot(weights, self.b[which].abs()),
                )
                plane, minimum = self._back(*sides, *sizes, self.box[which], lines)
                slopes = _slopes(minimum, leaves) if step < settings.steps else []
            better = minimum > best[which]
            best[which] = torch.where(better, minimum.detach(), best[which])
            best_plane[which] = torch.where(better[:, None], plane.detach(), best_plane[which])
            before.append(best[which])
            hopeful = ~self.question.excluded(best[which], self.polytope[which])
            if step > 2:
                hopeful &= ~(best[which] + settings.hope * (best[which] - before[step - 2]) < 0)
            if not slopes or not bool(hopeful.any()):
                return
            for leaf, slope in zip(leaves[:-1], slopes, strict=False):
                leaf.requires_grad_(False).add_(size * slope.sign()).clamp_(0, 1)
            weights = weights.detach()
            if weights.shape[1] > 1:
                weights = step_multipliers(weights, slopes[-1], size / 2)
            size *= settings.decay


def _slopes(minimum: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Derivatives of finite minima; zero where nothing depends on a leaf, none at all where none does."""
    known = minimum[minimum.isfinite()]
    if not len(known) or not known.requires_grad:
        return []
    found = torch.autograd.grad(known.sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(leaves, found, strict=True)]
