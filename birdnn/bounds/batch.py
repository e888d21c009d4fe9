"""A batch of boxes of a graph: intervals of values, planes around what is not affine, and the way back to inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from birdnn.bounds.interval import Interval, Mergings, executed_error, widen_to_flushed
from birdnn.bounds.minima import flatten_samples, minimum_of, outward_radius
from birdnn.bounds.plan import GraphPlan
from birdnn.bounds.planes import Plane
from birdnn.bounds.steps import Bent, Step, Straight, sample_shape
from birdnn.boxes import Boxes
from birdnn.records.limits import require_time
from birdnn.rounding import FLOAT64, SUM_ROUNDINGS, gamma

FEW_INPUTS = 24
"""That vary, at most, where boxes are cut by their inputs; where more do, by the signs of neurons."""
_SIDE = 0.2
"""What a neuron with a positive coefficient counts beside one with a negative coefficient: its lower line may tilt."""


class Batch:
    """Intervals of all values on some boxes, and what stands for each node there.

    Attributes:
        bent: the nodes that are not affine, by the names of their values.
        lower, upper: ends of the values that planes depend on, (boxes, neurons).
        splits: see `GraphBound.root`.
        by_neurons: which boxes come with signs of neurons that are not known, and are divided by these, (boxes,).
        decided: on which of those with many inputs the network is affine now, so that multipliers alone close them.
    """

    def __init__(self, bound: GraphPlan, boxes: Boxes, inherited: Tensor) -> None:
        many = (boxes.widths() > 0).sum(1) > FEW_INPUTS
        if bound.merged is not None:
            # an input that is flushed to zero lies outside a box that begins just above it
            boxes = Boxes(*widen_to_flushed((boxes.lower, boxes.upper)))
        self.bound, self._centre, self._radius = bound, boxes.centres(), outward_radius(boxes)
        known = inherited[:, : 3 * bound.neurons].reshape(len(boxes), 3, bound.neurons)
        # copies: they are tightened in place, and `inherited` belongs to the search
        self.lower, self.upper, self.splits = (known[:, k].clone() for k in range(3))
        self.by_neurons = many & self._undecided_boxes()
        whole = (-1, *sample_shape(bound.graph, bound.graph.input_name))
        self.intervals: dict[str, Interval] = {
            bound.graph.input_name: (boxes.lower.reshape(whole), boxes.upper.reshape(whole))
        }
        own = bound.spans.get(bound.graph.input_name)
        if own is not None:
            # what is known of the input is the box itself, which a cut has changed since
            self.lower[:, own], self.upper[:, own] = boxes.lower, boxes.upper
        self.bent = dict[str, Bent]()
        self._straight = dict[str, Straight]()
        self._merging: Mergings | None = None
        if bound.merged is not None:
            x = self.intervals[bound.graph.input_name]
            self._merging = Mergings(bound.merged, bound.graph.input_name, bound.constants, x)
        # in the graph's order: the planes of a node need the intervals of what it reads
        for node in bound.graph.nodes:
            if node.output in bound.places:
                self._enter_node(bound.steps[bound.places[node.output]])
            elif self._merging is not None and node.output in bound.executed:  # of what nodes make of constants, too
                self._merging.error(node, bound.known[node.output])
        self.decided = many & ~self._undecided_boxes() & bound.piecewise

    def _undecided_boxes(self) -> Tensor:
        """On which boxes the sign of a neuron is not known."""
        found = torch.zeros(len(self.lower), dtype=torch.bool, device=self.lower.device)
        for step in self.bound.kinked:
            span = self.bound.spans[step.reads[0][1]]
            found = found | ((self.lower[:, span] < 0) & (self.upper[:, span] > 0)).any(1)
        return found

    def _enter_node(self, step: Step) -> None:
        """The interval of a node's value, and what stands for the node."""
        values = self._read_values(step)
        # `own` is what the operands alone give, and all that rules of planes may see: on one side of a split the
        # value's range says nothing of the rest of the operands' (a sine's curvature was taken from it, and a violation
        # proved away)
        own, (low, up), executed = self._node_interval(step, values)
        span = self.bound.spans.get(step.output)
        if span is not None:
            # what was inherited of the box that this one is a part of, and the side of a split
            low = torch.maximum(low, self.lower[:, span].reshape(low.shape))
            up = torch.minimum(up, self.upper[:, span].reshape(up.shape))
        count = 2 * math.prod(step.shape) + sum(map(math.prod, step.shapes)) + len(self.bound.steps) + SUM_ROUNDINGS
        if step.affine:
            self._straight[step.output] = Straight(step, values, count, executed)
        else:
            self.bent[step.output] = Bent(step, values, (own, (low, up)), count, executed)
        if span is not None:
            # after the node itself was entered: rows on its value go through it
            if step.output not in self.bound.well_known:
                low, up = self._tighten_value(step, low, up)
            self.lower[:, span], self.upper[:, span] = flatten_samples(low), flatten_samples(up)
        self.intervals[step.output] = low, up

    def _read_values(self, step: Step) -> list[Interval]:
        return [self.intervals[name] for _, name in step.reads]

    def _node_interval(self, step: Step, values: Sequence[Interval]) -> tuple[Interval, Interval, Tensor | None]:
        """Of a node's value: made of the operands' intervals alone, and known; how far executions may be from it.

        An operator that has parts (`birdnn.bounds.expansion`) is executed as a whole, and that is what its last part
        makes; the others make numbers that nobody executes.
        """
        if step.output not in self.bound.executed:
            own = step.interval(values, self.bound.graph.dependent)
            return own, _both(own, self.bound.ranges.get(step.output, (-math.inf, math.inf))), None
        whole = self.bound.whole.get(step.output, step)
        known, executed = self._executed_interval(whole)
        if whole is step:
            return known, known, executed
        low, up = step.interval(values, self.bound.graph.dependent)
        own = (low, up) if executed is None else (low - executed, up + executed)
        return own, _both(own, known), executed

    def _executed_interval(self, step: Step) -> tuple[Interval, Tensor | None]:
        """Of the value of a node of the network, and how far an execution may be from the exact operator."""
        reads = self._read_values(step)
        low, up = step.interval(reads, self.bound.graph.dependent, self.bound.semantics)
        if self._merging is None:
            return (low, up), None
        found = executed_error(step.node, step.all_operands(reads), (low, up))
        merged = self._merging.error(step.node, (low, up))
        return (low - merged, up + merged), merged if found is None else merged + found

    def _tighten_value(self, step: Step, low: Tensor, up: Tensor) -> Interval:
        """Ends of a value, (boxes, *value), by backward propagation wherever planes depend on them."""
        readers = self.bound.readers[step.output]
        needed = flatten_samples(torch.stack([reader.needs(place, low, up) for reader, place in readers]).any(0))
        # what a split of neurons tells of others is left to intervals: there are too many of them
        needed &= ~(self.splits != 0).any(1, keepdim=True)
        box, entry = needed.nonzero(as_tuple=True)
        # otherwise intervals stay, which are sound as well
        if not len(box) or not self.bound.worth(2 * len(box), step.output):
            return low, up
        ends, some = (flatten_samples(low).clone(), flatten_samples(up).clone()), max(1, self.bound.rows // 2)
        for part in range(0, len(box), some):
            i, j = box[part : part + some], entry[part : part + some]
            rows = torch.nn.functional.one_hot(j, ends[0].shape[1]).to(low.dtype)
            both = torch.cat([rows, -rows]).reshape(-1, *step.shape)
            _, minimum = self.back(step.output, both, low.new_zeros(2 * len(i)), torch.cat([i, i]))
            # both are sound, and neither is always the tighter one
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
        plane, minimum = self._pass_back(name, rows, constant, box, lines, splits, seen)
        if lines is None and seen is None and self.bound.places.get(name, -1) > self.bound.first_whole:
            # where boxes are wide an operator's interval may say more than planes around all of its parts
            flat = self._pass_back(name, rows, constant, box, None, splits, None, whole=True)
            better = flat[1] > minimum.nan_to_num(nan=-torch.inf)
            plane, minimum = flat[0].where(better[:, None], plane), flat[1].where(better, minimum)
        return plane, minimum

    def _pass_back(
        self,
        name: str,
        rows: Tensor,
        constant: Tensor,
        box: Tensor,
        lines: Mapping[str, tuple[Plane, Plane]] | None,
        splits: Mapping[str, Tensor] | None,
        seen: dict[str, Tensor] | None,
        *,
        whole: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """See `back`; ``whole``: rows end at operators that have parts, in the ends of their intervals."""
        require_time(self.bound.over)
        waiting, size = {name: rows}, constant.abs()
        for step in reversed(self.bound.steps[: self.bound.places.get(name, -1) + 1]):
            here = waiting.pop(step.output, None)
            if splits and step.output in splits:
                # what is taken away is not negative on the box's side: the row still bounds from below there
                here = -splits[step.output] if here is None else here - splits[step.output]
            if here is None:
                continue
            if seen is not None and not step.affine:
                seen[step.output] = here
            if whole and step.output in self.bound.whole and step.output in self.intervals:
                moved, terms = _least_sum(here, self.intervals[step.output], box)
                constant, size = constant + moved, size + terms
                continue
            if step.affine:
                parts, moved, terms = self._straight[step.output].back(here, box)
            else:
                parts, moved, terms = self.bent[step.output].back(here, box, lines[step.output] if lines else None)
            _hand_over(step, parts, waiting)
            constant, size = constant + moved, size + terms
        plane = waiting.get(self.bound.graph.input_name)
        row = rows.new_zeros(len(rows), self.bound.n_inputs) if plane is None else flatten_samples(plane)
        # each node has paid for what rows on it lose; what is left is the rounding of the constants' own sum
        return row, minimum_of(row, constant - self.bound.lost(size), self._centre[box], self._radius[box])

    def flow(self, rows: Tensor) -> Tensor:
        """How much widths of inputs matter, (boxes, inputs), for absolute rows on the outputs of each box."""
        graph = self.bound.graph
        waiting = {graph.output_name: rows.reshape(-1, *sample_shape(graph, graph.output_name))}
        for step in reversed(self.bound.steps):
            here = waiting.pop(step.output, None)
            if here is not None:
                kind = self._straight if step.affine else self.bent
                _hand_over(step, kind[step.output].flow(here), waiting)
        found = waiting.get(graph.input_name)
        return torch.zeros_like(self._centre) if found is None else flatten_samples(found)

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
            side = side_of(splits).flatten()
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
        row = rows.reshape(-1, *sample_shape(graph, graph.output_name))
        self.back(graph.output_name, row, rows.new_zeros(len(box)), box, seen=seen)
        for step in self.bound.kinked:
            if step.output in seen:
                low, up = (side[:, self.bound.spans[step.reads[0][1]]][box] for side in (self.lower, self.upper))
                # what the upper line of a ReLU lies above it, at worst, where it bends
                here, open_ = flatten_samples(seen[step.output]), (low < 0) & (up > 0)
                gap = (-low * up / (up - low)).where(open_, torch.zeros_like(up))
                worth = (-here).clamp(min=0) * gap + _SIDE * here.clamp(min=0) * gap
                scores[:, self.bound.spans[step.reads[0][1]]] += worth.nan_to_num(nan=0.0)
        best, place = scores.max(1)
        return torch.where(self.by_neurons[box] & (best > 0), place, found)


def _hand_over(step: Step, parts: Sequence[Tensor], waiting: dict[str, Tensor]) -> None:
    """Add rows on what a node reads to those that wait there; of a node that lies between constants there are none."""
    for (_, name), part in zip(step.reads, parts, strict=False):
        waiting[name] = waiting[name] + part if name in waiting else part


def _least_sum(rows: Tensor, interval: Interval, box: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows, (n, *value), times numbers of an interval: no more than the least sum, and the sum of absolute terms."""
    low, up = (end[box] for end in interval)
    # of what is not known a row loses nothing where it is zero
    level = flatten_samples((rows * torch.where(rows > 0, low, up)).where(rows != 0, 0.0))
    terms = level.abs().sum(1)
    lost = 4 * gamma(level.shape[1] + SUM_ROUNDINGS, FLOAT64) * terms
    return level.sum(1) - lost, terms + lost


def _both(first: Interval, second: tuple[Tensor | float, Tensor | float]) -> Interval:
    """What lies in both."""
    return first[0].clamp(min=second[0]), first[1].clamp(max=second[1])


def side_of(splits: Tensor) -> Tensor:
    """Of each entry that a box is divided by, -1 or 1; zero elsewhere."""
    return splits.sign()


def multiplier_of(splits: Tensor) -> Tensor:
    """Of each such entry, not negative."""
    return (splits.abs() - 1).clamp(min=0)
