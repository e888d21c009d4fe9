"""The nodes of a graph as backward propagation sees them: affine ones are transposed, others lie between planes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from birdnn.bounds.interval import Interval, node_interval, reach_of
from birdnn.bounds.minima import flatten_samples
from birdnn.bounds.planes import RULES, Plane, Planes, planes_of
from birdnn.bounds.rules import is_bent
from birdnn.chain import as_activation
from birdnn.graph import Graph, Node
from birdnn.network import Network
from birdnn.operators import apply, magnitude, operator, roundings
from birdnn.rounding import FLOAT64, RANGE64, SMALLEST64, Semantics, gamma

Back = tuple[list[Tensor], Tensor, Tensor]
"""Rows on what a node reads, (n, *value) each; a constant of each row; how large the constant's terms are."""

_BY_OPERANDS = frozenset({"Add", "Concat", "Conv", "ConvTranspose", "Gemm", "MatMul", "Mul", "Sub"})
"""Operators that are linear in each of their operands, so that a constant which is known up to rounding has a price."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A node whose value depends on the network's input.

    All shapes are those of one sample, without the axis of a batch.

    Attributes:
        node: which.
        shape: of its value.
        batched: is the first axis of the graph's values the batch? Else functions of one sample are mapped.
        reads: the operands that depend on the input: places among all, and names.
        shapes: of these.
        operands: the intervals of the others, in their places.
        affine: is it affine in what it reads?
        multiplications: for one row, about.
        offset: of an affine one, its value where all that it reads is zero, (1, *value).
    """

    node: Node
    shape: tuple[int, ...]
    batched: bool
    reads: tuple[tuple[int, str], ...]
    shapes: tuple[tuple[int, ...], ...]
    operands: tuple[Interval | None, ...]
    affine: bool
    multiplications: float
    offset: Tensor | None = None

    @property
    def output(self) -> str:
        """The name of its value."""
        return self.node.output

    def interval(
        self, values: Sequence[Interval], dependent: frozenset[str], semantics: Semantics = "real"
    ) -> Interval:
        """Of its value on each box, from those of what it reads."""
        of_ends = partial(self._interval_of_ends, dependent, semantics)
        ends = [end for pair in values for end in pair]
        low, up = of_ends(*ends) if self.batched else torch.func.vmap(of_ends)(*ends)
        return low, up

    def _interval_of_ends(self, dependent: frozenset[str], semantics: Semantics, *ends: Tensor) -> Interval:
        pairs = list(zip(ends[::2], ends[1::2], strict=True))
        return node_interval(self.node, self.all_operands(pairs), dependent, semantics)

    def all_operands(self, values: Sequence[Interval]) -> list[Interval]:
        """Intervals of all that it is made of, in order: `values` of those that it reads."""
        reads = iter(values)
        return [next(reads) if known is None else known for known in self.operands]

    def computed(self, *values: Tensor) -> Tensor:
        """What it computes of what it reads, of a batch or of one sample."""
        return apply(self.node.op, self._fill_operands(values, _midpoint), self.node.attributes, self.node.name)

    def linear(self, *values: Tensor) -> Tensor:
        """Its linear part, where it is affine."""
        # constants that are known up to rounding take part with their middles; `Straight` pays for the rest
        part = operator(self.node.op).linear_part
        operands = (
            part(self._fill_operands(values, _midpoint), [known is None for known in self.operands]) if part else None
        )
        if operands is None:
            raise AssertionError(f"{self.node.op} is not affine in what it reads")
        return apply(self.node.op, operands, self.node.attributes, self.node.name)

    def terms(self, constant: Callable[[Interval], Tensor], *values: Tensor) -> Tensor:
        """The sum of the absolute terms of an affine node, of absolute values and what `constant` makes of others."""
        return magnitude(self.node.op, self._fill_operands(values, constant), self.node.attributes)

    def transposed(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows on its value, (n, *value), to rows on what it reads, where it is affine."""
        return self._pull_rows(self.linear, rows)

    def flow(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The same with the absolute values of all constants."""
        return self._pull_rows(partial(self.terms, reach_of), rows)

    def mapped(self, function: Callable[..., Tensor], values: Sequence[Tensor]) -> Tensor:
        """A function of what it reads, of a batch of it."""
        found: Tensor = function(*values) if self.batched else torch.func.vmap(function)(*values)
        return found

    def roundings(self) -> int:
        """Of a term in its own sums."""
        shapes = iter(self.shapes)
        whole = [(*(1,) * self.batched, *next(shapes)) if known is None else known[0].shape for known in self.operands]
        return roundings(self.node.op, whole, self.node.attributes)

    def spread(self, values: Sequence[Interval]) -> list[Interval]:
        """All operands, constants too, in the shape of its value, (boxes, *value) each."""
        whole, reads, found = (len(values[0][0]), *self.shape), iter(zip(values, self.shapes, strict=True)), []
        for operand in self.operands:
            low, up = operand or next(_reshape_ends(ends, (-1, *self._align_shape(shape))) for ends, shape in reads)
            found.append((low.expand(whole), up.expand(whole)))
        return found

    def gathered(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Rows on an operand that was spread to the value's shape, (n, *value), to rows on itself, (n, *shape)."""
        # where an operand was broadcast one of its entries is read at several places, and their rows on it add up
        wide = [k + 1 for k, size in enumerate(self._align_shape(shape)) if size == 1 and self.shape[k] != 1]
        whole: Tensor = rows.sum(wide, keepdim=True) if wide else rows
        return whole.reshape(len(rows), *shape)

    def needs(self, place: int, low: Tensor, up: Tensor) -> Tensor:
        """Where the planes around its value depend on the interval of the operand at a place, of its shape."""
        node, activation = self.node, as_activation(self.node)
        if node.op == "Clip":
            least, most = node.attributes["min"], node.attributes["max"]
            # linear on each side of both kinks, so that its planes are exact where neither lies inside
            kinked: Tensor = (low < most) & (up > least) & ((low < least) | (up > most))
            return kinked
        if activation is not None:
            return is_bent(activation, low, up)
        return torch.zeros_like(low).bool() if node.op == "Where" and place == 0 else low < up

    def _align_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*(1,) * (len(self.shape) - len(shape)), *shape)

    def _fill_operands(self, values: Sequence[Tensor], constant: Callable[[Interval], Tensor]) -> list[Tensor]:
        """All operands: `values` of those that it reads, and what `constant` makes of the others."""
        reads = iter(values)
        return [next(reads) if known is None else constant(known) for known in self.operands]

    def _pull_rows(self, function: Callable[..., Tensor], rows: Tensor) -> tuple[Tensor, ...]:
        """The vector-Jacobian product of a linear function of what it reads."""
        # the derivative of a linear function is the same at every point: ones will do
        lead = (len(rows),) * self.batched
        pull = _vjp_at(function, *(rows.new_ones(*lead, *shape) for shape in self.shapes))
        found: tuple[Tensor, ...] = pull(rows) if self.batched else torch.func.vmap(pull)(rows)
        return found


def steps_of(
    net: Network, device: torch.device, semantics: Semantics = "real"
) -> tuple[list[Step], dict[str, Interval]]:
    """The nodes that depend on the input, in their order, and intervals of all constants, on a device.

    Args:
        net, device: see above.
        semantics: of which constants that nodes compute: exact ones, or those of a float32 execution.

    Raises:
        UnsupportedOpError: an operator has no sound rule.
    """
    graph, known, steps = net.graph, dict[str, Interval](), list[Step]()
    for name, value in net.values().items():
        number = value.detach()
        known[name] = number, number
    for node in graph.nodes:
        if node.output not in graph.dependent:
            operands = [known[name] for name in node.inputs]
            # exact where the node only moves entries; else an interval, over the reals as well: we round, too
            known[node.output] = node_interval(node, operands, graph.dependent, semantics)
            continue
        reads = tuple((place, name) for place, name in enumerate(node.inputs) if name in graph.dependent)
        constants = tuple(known.get(name) for name in node.inputs)
        step = Step(
            node=node,
            shape=sample_shape(graph, node.output),
            batched=graph.batched,
            reads=reads,
            shapes=tuple(sample_shape(graph, name) for _, name in reads),
            operands=constants,
            affine=_is_affine(node, constants, graph),
            multiplications=_multiplications(net, node),
        )
        if step.affine:
            zeros = [torch.zeros(1, *shape, dtype=torch.float64, device=device) for shape in step.shapes]
            # one for all boxes, as an affine function's value at zero does not depend on them
            step = replace(step, offset=step.mapped(step.computed, zeros))
        steps.append(step)
    return steps, known


def sample_shape(graph: Graph, name: str) -> tuple[int, ...]:
    """The shape of a value for one sample, without the axis of a batch."""
    return tuple(graph.shapes[name][graph.batched :])


def _midpoint(interval: Interval) -> Tensor:
    low, up = interval
    return low if low is up else (low + up) / 2


def _reshape_ends(interval: Interval, shape: tuple[int, ...]) -> Interval:
    return interval[0].reshape(shape), interval[1].reshape(shape)


def _is_affine(node: Node, operands: Sequence[Interval | None], graph: Graph) -> bool:
    """Is it affine in what depends on the input, with constants that are known well enough?"""
    part = operator(node.op, node.name).linear_part
    # identity, not equality: an exact constant is one tensor twice, an interval stays one, however narrow
    rough = any(known is not None and known[0] is not known[1] for known in operands)
    if part is None or (rough and node.op not in _BY_OPERANDS):
        return False
    inputs = [
        # `linear_part` looks at shapes here, and a value of a box does not exist yet
        torch.empty(graph.shapes[name], device="meta") if known is None else known[0]
        for name, known in zip(node.inputs, operands, strict=True)
    ]
    return part(inputs, [known is None for known in operands]) is not None


def _multiplications(net: Network, node: Node) -> float:
    constant = [net.shape_of(name) for name in node.inputs if name not in net.graph.dependent]
    size = net.size_of(node.output)
    if node.op in ("Conv", "ConvTranspose") and constant:
        return float(size * math.prod(constant[0][1:]))
    return float(max([size, *map(math.prod, constant)]))


def _vjp_at(function: Callable[..., Tensor], *values: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The vector-Jacobian product of a function at a point."""
    pull: Callable[[Tensor], tuple[Tensor, ...]] = torch.func.vjp(function, *values)[1]
    return pull


class Straight:
    """An affine node on a batch of boxes.

    Args:
        step: the node.
        values: intervals of what it reads.
        count: roundings of the sums that rows on it go through, beside its own.
        executed: how far an execution may be from it, (boxes, *value); None over the reals.

    Attributes:
        slack: how far its value may seem to lie from the exact one, (boxes, *value), by what bounds round and
            executions err by; infinite where values are too large.
    """

    def __init__(self, step: Step, values: Sequence[Interval], count: int, executed: Tensor | None = None) -> None:
        self.step = step
        if step.offset is None:
            raise AssertionError(f"{step.node.op} is not affine in what it reads")
        self._offset = step.offset
        reaches = [reach_of(value) for value in values]
        terms = step.mapped(partial(step.terms, reach_of), reaches)
        # a term is rounded by the node itself and by the row's way back through it
        count += 2 * step.roundings()
        slack = 4 * gamma(count, FLOAT64) * terms + count * SMALLEST64
        if any(known is not None and known[0] is not known[1] for known in step.operands):
            # `computed` and `linear` take the middle of such a constant; it may lie as far away as its interval reaches
            slack = slack + (terms - step.mapped(partial(step.terms, _middle_size), reaches)).clamp(min=0)
        slack = slack if executed is None else slack + executed
        # infinite slack loses everything; a comparison with NaN is false, and loses it, too
        self.slack = slack.where(_in_range(terms, reaches), torch.inf)

    def back(self, rows: Tensor, box: Tensor) -> Back:
        """Rows on its value, (n, *value), of the boxes ``box``, (n,), to rows on what it reads."""
        level = flatten_samples(rows * self._offset)
        lost = _lost_to_slack(rows, self.slack, box)
        return list(self.step.transposed(rows)), level.sum(1) - lost, level.abs().sum(1) + lost

    def flow(self, rows: Tensor) -> Sequence[Tensor]:
        """Absolute rows on its value, one for each box, to such rows on what it reads."""
        return self.step.flow(rows)


def _middle_size(interval: Interval) -> Tensor:
    return _midpoint(interval).abs()


def _in_range(terms: Tensor, reaches: Sequence[Tensor]) -> Tensor:
    """Where float64 bounds hold: what underflows is small beside everything, see `birdnn.rounding.LOST64`."""
    largest = torch.stack([terms.new_zeros(len(terms)), *(flatten_samples(reach).amax(1) for reach in reaches)]).amax(0)
    return (terms < RANGE64) & (largest < RANGE64).reshape(-1, *(1,) * (terms.dim() - 1))


def _lost_to_slack(rows: Tensor, slack: Tensor, box: Tensor) -> Tensor:
    every, sizes = flatten_samples(slack), flatten_samples(rows.abs())
    if len(every) > 1:
        every = every[box]
    lost: Tensor = torch.linalg.vecdot(sizes, every)
    if not bool(lost.isnan().any()):
        return lost
    # infinite slack loses a row that meets it, and no other
    met: Tensor = (sizes * every).where(sizes != 0, 0.0).sum(1)
    return met


class Bent:
    """A node that is not affine, on a batch of boxes, and the planes around its value.

    Args:
        step: the node.
        values: intervals of what it reads.
        results: intervals of its value, made of these alone and with all that is known of the box.
        count: roundings of the sums that rows on it go through.
        executed: see `Straight`.

    Attributes:
        planes: in what it reads; in what it picks where it is a pooling node; in nothing where its operator has no
            rule, and its value lies between the ends of its interval.
        slack: see `Straight`.
    """

    def __init__(
        self,
        step: Step,
        values: Sequence[Interval],
        results: tuple[Interval, Interval],
        count: int,
        executed: Tensor | None = None,
    ) -> None:
        result, known = results
        self.step, self._picked = step, values[0][0] if step.node.op == "MaxPool" else None
        if self._picked is not None:
            # planes in the entry that is picked, whose range is that of the value
            operands, planes = [result], _pooling_planes(step, values[0], result)
        else:
            operands = step.spread(values) if step.node.op in RULES else []
            planes = planes_of(step.node, operands, result, known)
        # before planes are folded: what constants add to the offsets has been rounded as well
        terms = planes.size(operands)
        slack = 4 * gamma(count, FLOAT64) * terms + count * SMALLEST64
        slack = slack if executed is None else slack + executed
        reaches = [reach_of(values[0])] if self._picked is not None else planes.reaches(operands)
        self.slack = slack.where(_in_range(terms, reaches), torch.inf)
        places = [place for place, _ in step.reads]
        # rows are handed to what depends on the input only
        self.planes = planes.folded(operands, places) if operands and self._picked is None else planes
        self._lines = self.planes.mixed(*self.planes.start)

    def back(self, rows: Tensor, box: Tensor, lines: tuple[Plane, Plane] | None = None) -> Back:
        """Rows on its value, (n, *value), of the boxes ``box``, (n,), to rows on what it reads.

        Args:
            rows, box: see above.
            lines: the planes for each row; by default those that nobody improved.
        """
        # one plane for each entry, by the row's sign: any of the valid ones is sound
        low, up = lines or self._lines
        if lines is None and len(low.offset) > 1:  # of one box each row has the same planes, and no copies of them
            low, up = low.take(box), up.take(box)
        positive = rows > 0
        level = flatten_samples(rows * torch.where(positive, low.offset, up.offset))
        parts = [rows * torch.where(positive, a, b) for a, b in zip(low.slopes, up.slopes, strict=True)]
        lost = _lost_to_slack(rows, self.slack, box)
        return self._gather_parts(parts, box), level.sum(1) - lost, level.abs().sum(1) + lost

    def flow(self, rows: Tensor) -> Sequence[Tensor]:
        """Absolute rows on its value, one for each box, to such rows on what it reads, through the upper planes."""
        first, second = self.planes.up
        parts = [rows * torch.maximum(a.abs(), b.abs()) for a, b in zip(first.slopes, second.slopes, strict=True)]
        return self._gather_parts(parts, torch.arange(len(rows), device=rows.device))

    def _gather_parts(self, parts: list[Tensor], box: Tensor) -> list[Tensor]:
        if self._picked is not None:
            return [_rows_before_pooling(self.step, self._picked[box], parts[0])]
        shapes = self.step.shapes[: len(parts)]
        return [self.step.gathered(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _rows_before_pooling(step: Step, values: Tensor, rows: Tensor) -> Tensor:
    """Rows on the largest entries of windows of `values` to rows on what holds these."""

    def one(x: Tensor, row: Tensor) -> Tensor:
        return _vjp_at(step.computed, x)(row)[0]

    return step.mapped(one, (values, rows))


def _pooling_planes(step: Step, interval: Interval, result: Interval) -> Planes:
    """Planes in the entry of each window whose lower end is largest: below; above where no other one reaches it."""
    attributes = step.node.attributes
    sizes = zip(attributes["kernel_shape"], attributes["dilations"], attributes["strides"], strict=True)
    # of windows that share entries, one may pick an entry that another holds and does not pick
    apart = all(stride >= dilation * (kernel - 1) + 1 for kernel, dilation, stride in sizes)

    def settled(low: Tensor, up: Tensor) -> Tensor:
        most = step.computed(low)
        picked = _vjp_at(step.computed, low)(torch.ones_like(most))[0] > 0
        return step.computed(torch.where(picked, -torch.inf, up)) <= most

    one, nothing = torch.ones_like(result[0]), torch.zeros_like(result[0])
    known = step.mapped(settled, interval) if apart else nothing.bool()
    low = Plane((one,), nothing)
    up = low.where(known, Plane((nothing,), result[1]))
    return Planes((low, low), (up, up), (nothing, nothing))
