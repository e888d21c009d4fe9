"""Interval bounds for any graph that the importer reads: loose, cheap, always there.

Each operator has a rule that maps intervals of its inputs to an interval of its output. Affine operators use centre and
radius, monotone ones their end points. An operator without a rule raises; nothing is ever assumed monotone.

All arithmetic is float64, and its rounding is accounted for: each interval is widened by what the operator errs by, in
our arithmetic and, if that is spoken of, in a float32 execution (`birdnn.rounding`).

Source: interval bound propagation, Gowal et al. 2018, arXiv:1810.12715.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.bounds.protocol import BoundResult, Question
from birdnn.bounds.rules import execution_error
from birdnn.boxes import Boxes
from birdnn.chain import as_activation
from birdnn.errors import UnsupportedOpError
from birdnn.graph import Node
from birdnn.merging import Merging, mergings
from birdnn.network import Network
from birdnn.operators import apply, magnitude, operator, operators_where, peak, roundings
from birdnn.records.limits import Over, never, require_time
from birdnn.rounding import (
    FLOAT32,
    FLOAT64,
    LARGEST,
    LOST64,
    RANGE64,
    SMALLEST,
    SMALLEST64,
    Semantics,
    gamma,
)

_ROUNDINGS = 64  # more than any rule has beside those of its operator

Interval: TypeAlias = tuple[Tensor, Tensor]
Rule: TypeAlias = Callable[[Node, "list[Interval]"], Interval]


def propagate(
    net: Network,
    lower: Tensor,
    upper: Tensor,
    semantics: Semantics = "real",
    merged: Mapping[str, Merging] | None = None,
) -> Interval:
    """Intervals of the outputs for a batch of input boxes: (boxes, inputs) twice -> (boxes, outputs) twice.

    Args:
        net: any network.
        lower, upper: corners.
        semantics: what the intervals speak about.
        merged: `mergings` of the network, where somebody has them; only float32 execution asks.

    Raises:
        UnsupportedOpError: an operator has no sound rule.
    """
    if semantics == "float32" and merged is None:
        merged = mergings(net.graph, net.values())
    with torch.no_grad():
        return propagate_to(net, (net.output_name,), lower, upper, merged)[0]


def propagate_to(
    net: Network,
    names: Sequence[str],
    lower: Tensor,
    upper: Tensor,
    merged: Mapping[str, Merging] | None = None,
) -> tuple[Interval, ...]:
    """The same of any values, by name, each flat: (boxes, size of the value) twice; differentiable in all numbers.

    As executed in float32 where `merged` is there, else over the reals.
    """
    # no `detach`, and no `no_grad` as in `propagate`: a repair trains its weights through these intervals
    fixed = {name: value.to(lower) for name, value in net.values().items()}
    if net.graph.batched:
        shape = (-1, *net.input_shape[1:])
        found = _propagate_nodes(net, fixed, (lower.reshape(shape), upper.reshape(shape)), merged)
        flat = [tuple(end.reshape(len(lower), -1) for end in found[name]) for name in names]
        return tuple((low, high) for low, high in flat)

    def single(low: Tensor, high: Tensor) -> tuple[Interval, ...]:
        found = _propagate_nodes(net, fixed, (low.reshape(net.input_shape), high.reshape(net.input_shape)), merged)
        return tuple((found[name][0].reshape(-1), found[name][1].reshape(-1)) for name in names)

    several: tuple[Interval, ...] = torch.func.vmap(single)(lower, upper)
    return several


class IntervalBound:
    """`MarginBound` by interval propagation; hands no planes to clipping and nothing to the halves of a box.

    Args:
        net: any network.
        device: where the tensors live.
        semantics: what the bounds speak about.
    """

    name = "interval"
    record = False

    def __init__(self, net: Network, device: torch.device, semantics: Semantics = "real") -> None:
        self.device, self.semantics = device, semantics
        self.over: Over = never
        self._net = net.copy().to(device=device, dtype=torch.float64)
        self._merged = mergings(net.graph, net.values()) if semantics == "float32" else None

    def root(self, boxes: int) -> Tensor:
        """Nothing is inherited: shape (boxes, 0)."""
        return torch.zeros(boxes, 0, dtype=torch.float64, device=self.device)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`; the best single row of each polytope."""
        require_time(self.over)
        # cuDNN may convolve by Fourier transforms, also in float64: `roundings` says nothing about these
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
            low, high = propagate(self._net, boxes.lower, boxes.upper, self.semantics, self._merged)
            box, polytope = opened.nonzero(as_tuple=True)
            lower = least_rows(question.a[polytope], question.b[polytope], (low[box], high[box])).amax(1)
            return BoundResult(
                box,
                polytope,
                lower,
                boxes.lower.new_zeros(len(box), 1, boxes.lower.shape[1]),
                lower[:, None],
                inherited,
            )

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """All inputs alike, so that the longest edge is cut."""
        del question, inherited
        return torch.ones(len(opened), self._net.n_inputs, dtype=torch.float64, device=self.device)


def least_rows(a: Tensor, b: Tensor, outputs: Interval) -> Tensor:
    """Lower bounds of ``a @ y - b``, (items, rows), for outputs within intervals, (items, outputs)."""
    low, high = outputs
    rows = torch.einsum("iro,io->ir", a.clamp(min=0), low) + torch.einsum("iro,io->ir", a.clamp(max=0), high)
    sizes = reach_of(outputs)
    terms = torch.einsum("iro,io->ir", a.abs(), sizes) + b.abs()
    slack = gamma(2 * a.shape[2] + _ROUNDINGS, FLOAT64) * terms + LOST64
    # a coefficient of 0 would hide too much
    slack = slack.where(sizes.amax(1, keepdim=True) < RANGE64, torch.inf)
    return _or_unknown(rows - b - slack, -torch.inf)


def _propagate_nodes(
    net: Network, fixed: Mapping[str, Tensor], x: Interval, merged: Mapping[str, Merging] | None
) -> dict[str, Interval]:
    """Of all values, of one sample or a batch; as executed in float32 where `merged` is there, else over the reals."""
    semantics: Semantics = "real" if merged is None else "float32"
    # one tensor twice: `node_interval` and `birdnn.bounds.steps` know an exact number by ``low is high``
    values: dict[str, Interval] = {name: (value, value) for name, value in fixed.items()}
    values[net.input_name] = x if merged is None else widen_to_flushed(x)
    merging = None if merged is None else Mergings(merged, net.input_name, fixed, x)
    for node in net.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.output] = node_interval(node, inputs, net.graph.dependent, semantics, merging)
    return values


def node_interval(
    node: Node,
    inputs: list[Interval],
    dependent: Container[str],
    semantics: Semantics = "real",
    merging: Mergings | None = None,
) -> Interval:
    """The interval of a node's value, of one sample or of a batch, as everything that it errs by widens it.

    Args:
        node: which.
        inputs: of what it reads; a number is the same tensor twice.
        dependent: names of the values that depend on the network's input.
        semantics: what the intervals speak about.
        merging: of a float32 execution.

    Raises:
        UnsupportedOpError: the operator has no sound rule.
    """
    # identity, not equality: an interval without width is still known up to rounding only
    if node.output not in dependent and all(low is high for low, high in inputs):
        low = high = _apply_node(node, [number for number, _ in inputs])
    else:  # what nodes make of constants is known up to rounding only, and an interval from there on
        low, high = rule_for(node)(node, inputs)
    error = _error(node, inputs, (low, high), semantics)
    if error is not None:
        low, high = low - error, high + error
    # beside the node's own error: a runtime that merges constants rounds a term as often as its whole segment does
    if merging is not None:
        error = merging.error(node, (low, high))
        if node.output in dependent:
            low, high = low - error, high + error
    if low is high and bool(low.isfinite().all()):
        return low, high
    return _or_unknown(low, -torch.inf), _or_unknown(high, torch.inf)


class Mergings:
    """How far a runtime that merges constants may be from one that does not, see `birdnn.merging`.

    Args:
        merged: `mergings` of the network.
        name: of what it reads.
        fixed: its constants.
        x: what it reads.
    """

    def __init__(self, merged: Mapping[str, Merging], name: str, fixed: Mapping[str, Tensor], x: Interval) -> None:
        self._found = merged
        # of what the segment reads that a value belongs to; and the value's absolute terms, made of that
        self._reach = {name: reach_of(x).amax()}
        self._terms = {name: reach_of(x), **{constant: value.abs() for constant, value in fixed.items()}}

    def error(self, node: Node, output: Interval) -> Tensor:
        """Of a node's value, of its shape; infinite where what is merged may overflow.

        A term may be rounded as often as all operations of its segment do together, also one that came in late: as the
        addend of a matrix product it is there before the first of them.
        """
        merging, name = self._found[node.output], node.output
        live = [self._reach[read] for read in node.inputs if read in self._reach]
        if not merging.roundings:
            self._terms[name] = reach_of(output)
            if live:
                self._reach[name] = reach_of(output).amax()
            return torch.zeros_like(output[0])
        terms = self._terms[name] = magnitude(node.op, [self._terms[read] for read in node.inputs], node.attributes)
        if not live:
            return torch.zeros_like(output[0])
        # of the segment's inputs, not of this node's: what underflows on the way costs `gain` times as much in the end
        reach = self._reach[name] = torch.stack(live).amax(0)
        error: Tensor = gamma(merging.roundings + 1, FLOAT32) * terms + merging.lost * SMALLEST * (1 + reach)
        # so written that NaN, too, makes the error infinite
        return error.where(merging.gain * reach.clamp(min=1) < LARGEST, torch.inf)


def reach_of(interval: Interval) -> Tensor:
    """A bound of absolute values."""
    return torch.maximum(interval[0].abs(), interval[1].abs())


def _largest_finite(size: Tensor) -> Tensor:
    """Of those that are finite: where one is not, the terms of all that is made of it say so."""
    return size.nan_to_num(nan=0.0, posinf=0.0).amax()


def _least_size(interval: Interval) -> Tensor:
    """Zero where the interval holds it, or nothing is known."""
    low, high = interval
    return torch.maximum(low, -high).clamp(min=0).nan_to_num(nan=0.0)


def widen_to_flushed(x: Interval) -> Interval:
    """With zero where an input may be flushed to it, even where nothing is computed with it."""
    low, high = x
    return low.where((low <= 0) | (low >= SMALLEST), 0.0), high.where((high >= 0) | (high <= -SMALLEST), 0.0)


def _error(node: Node, inputs: list[Interval], output: Interval, semantics: Semantics) -> Tensor | None:
    """How far the ends may lie from those of the exact operator or, if that is spoken of, an execution; None: nowhere.

    Of shape like the output's. Infinite where an execution may overflow.
    """
    executed = executed_error(node, inputs, output) if semantics == "float32" else None
    row = operator(node.op, node.name)
    if row.unmeasured or (row.function is not None and not row.compares):
        computed = _ROUNDINGS * FLOAT64 * (1 + reach_of(output))
        return computed if executed is None else computed + executed
    terms = _terms_of(node, inputs)
    if terms is None:
        return None
    count, size, most, _ = terms
    error = gamma(4 * count + _ROUNDINGS, FLOAT64) * size + (4 * count + _ROUNDINGS) * most * SMALLEST64
    return error if executed is None else error + executed


def executed_error(node: Node, inputs: list[Interval], output: Interval) -> Tensor | None:
    """How far a float32 execution of a node may be from the exact operator on what was executed before; None: nowhere.

    Of shape like the output's. Infinite where it may overflow.
    """
    row = operator(node.op, node.name)
    if row.unmeasured:
        return torch.full_like(output[0], torch.inf)
    if row.function is not None and not row.compares:
        activation = as_activation(node)
        return None if activation is None else execution_error(activation, *inputs[0])
    terms = _terms_of(node, inputs)
    if terms is None:
        return None
    count, size, most, sizes = terms
    error = gamma(count, FLOAT32) * size + 4 * count * most * SMALLEST
    # of all that is formed on the way, which may overflow where the result does not
    return error.where(peak(node.op, sizes, node.attributes) < LARGEST, torch.inf)


def _terms_of(node: Node, inputs: list[Interval]) -> tuple[int, Tensor, Tensor, list[Tensor]] | None:
    """Roundings of a node's terms, their absolute values, the largest number, what each input reaches; None: exact."""
    count = roundings(node.op, [low.shape for low, _ in inputs], node.attributes)
    if not count:
        return None
    sizes = [reach_of(interval) for interval in inputs]
    largest = torch.stack([_largest_finite(size) for size in sizes]).amax()
    if operator(node.op, node.name).divides and len(inputs) == 2:  # largest where the divisor is smallest
        sizes[1] = _least_size(inputs[1])
    terms = magnitude(node.op, sizes, node.attributes)
    return count, terms, 1 + torch.maximum(largest, _largest_finite(terms)), sizes


def _or_unknown(end: Tensor, unknown: float) -> Tensor:
    """An end that overflowed, to either side or to NaN, says nothing: a later sigmoid would make a number of it."""
    return end.nan_to_num(nan=unknown, posinf=unknown, neginf=unknown)


def rule_for(node: Node) -> Rule:
    """The rule of a node's operator.

    Raises:
        UnsupportedOpError: there is none.
    """
    if node.op in RULES:
        return RULES[node.op]
    if operator(node.op, node.name).monotone:
        return _monotone
    raise UnsupportedOpError("", node.op, node.name, _ruled_operators())


def _ruled_operators() -> tuple[str, ...]:
    """The operators that have a rule, for an error."""
    return tuple(sorted({*RULES, *operators_where(lambda row: row.monotone)}))


def _apply_node(node: Node, inputs: list[Tensor]) -> Tensor:
    return apply(node.op, inputs, node.attributes, node.name)


def _monotone(node: Node, inputs: list[Interval]) -> Interval:
    """Operators that grow with each of their inputs."""
    return _apply_node(node, [low for low, _ in inputs]), _apply_node(node, [high for _, high in inputs])


def _product(node: Node, factors: list[Interval]) -> tuple[Tensor, Tensor]:
    """Centre and radius of what is linear in each of two factors: ``|A B - a b| <= |a| s + r |b| + r s``.

    Either may be an interval; one that is a number costs nothing.
    """
    (low_a, high_a), (low_b, high_b) = factors
    a, b = (low_a + high_a) / 2, (low_b + high_b) / 2
    radius_a, radius_b = (high_a - low_a) / 2, (high_b - low_b) / 2
    if low_a is high_a:
        spread = _apply_node(node, [a.abs(), radius_b])
    elif low_b is high_b:
        spread = _apply_node(node, [radius_a, b.abs()])
    else:
        spread = _apply_node(node, [a.abs() + radius_a, radius_b]) + _apply_node(node, [radius_a, b.abs()])
    return _apply_node(node, [a, b]), spread.abs()  # Gemm's alpha may be negative


def _conv(node: Node, inputs: list[Interval]) -> Interval:
    """Convolution, transposed or not; the bias may be an interval too."""
    middle, spread = _product(node, inputs[:2])
    low, high = middle - spread, middle + spread
    if len(inputs) < 3:
        return low, high
    column = (-1, *(1,) * (low.dim() - 2))
    return low + inputs[2][0].reshape(column), high + inputs[2][1].reshape(column)


def _gemm(node: Node, inputs: list[Interval]) -> Interval:
    """Matrix product; the addend may be an interval too."""
    middle, spread = _product(node, inputs[:2])
    low, high = middle - spread, middle + spread
    if len(inputs) < 3:
        return low, high
    beta = node.attributes["beta"]
    # either end may be the lower one: beta may be negative
    ends = beta * inputs[2][0], beta * inputs[2][1]
    return low + torch.minimum(*ends), high + torch.maximum(*ends)


def _sub(node: Node, inputs: list[Interval]) -> Interval:
    """Operators that grow with the first of their inputs and fall with the second."""
    (low_a, high_a), (low_b, high_b) = inputs
    return _apply_node(node, [low_a, high_b]), _apply_node(node, [high_a, low_b])


def _where(node: Node, inputs: list[Interval]) -> Interval:
    """Both values where nothing is known of the condition."""
    (may_fail, may_hold), one, other = inputs[0], inputs[1], inputs[2]
    holds, fails = may_fail > 0, ~(may_hold > 0)

    def chosen(a: Tensor, b: Tensor, both: Tensor) -> Tensor:
        return torch.where(holds, a, torch.where(fails, b, both))

    return (
        chosen(one[0], other[0], torch.minimum(one[0], other[0])),
        chosen(one[1], other[1], torch.maximum(one[1], other[1])),
    )


def _mul(node: Node, inputs: list[Interval]) -> Interval:
    (low_a, high_a), (low_b, high_b) = inputs
    if node.inputs[0] == node.inputs[1]:  # a square
        return _hull([_apply_node(node, [x, x]) for x in (low_a, high_a, _nearest_number(0.0, inputs[0]))])
    return _hull([_apply_node(node, [a, b]) for a in (low_a, high_a) for b in (low_b, high_b)])


def _div(node: Node, inputs: list[Interval]) -> Interval:
    """Of nothing is known where the divisor may be zero."""
    (low_a, high_a), (low_b, high_b) = inputs
    if low_b is high_b:
        return _hull([_apply_node(node, [a, low_b]) for a in (low_a, high_a)])
    low, high = _hull([_apply_node(node, [a, b]) for a in (low_a, high_a) for b in (low_b, high_b)])
    known = (low_b > 0) | (high_b < 0)
    return low.where(known, torch.nan), high.where(known, torch.nan)


def _batch_normalization(node: Node, inputs: list[Interval]) -> Interval:
    low, high = inputs[0]
    others = [_require_number(node, interval) for interval in inputs[1:]]
    return _hull([_apply_node(node, [low, *others]), _apply_node(node, [high, *others])])


def _monotone_each_side(place: Callable[[Node], float]) -> Rule:
    """A function of one number that is monotone on each side of a place, or nearly: flat is allowed."""

    def rule(node: Node, inputs: list[Interval]) -> Interval:
        low, high = inputs[0]
        return _hull([_apply_node(node, [x]) for x in (low, high, _nearest_number(place(node), inputs[0]))])

    return rule


def _nearest_number(value: float, interval: Interval) -> Tensor:
    """The number of the interval that is nearest to `value`."""
    return torch.full_like(interval[0], value).clamp(min=interval[0], max=interval[1])


def _least_of_gelu(node: Node) -> float:
    # the functions are flat there: a last digit of the place changes nothing in the value
    return -0.7517915246935645 if node.attributes["approximate"] == "none" else -0.7524614220710163


def _growing_from(least: float, holds: Callable[[Tensor, float], Tensor]) -> Rule:
    """A function that grows where it is defined: above `least`, or from it on. Elsewhere nothing is known."""

    def rule(node: Node, inputs: list[Interval]) -> Interval:
        low, high = inputs[0]
        known = holds(low, least)
        return _apply_node(node, [low]).where(known, torch.nan), _apply_node(node, [high]).where(known, torch.nan)

    return rule


_FAR = 2.0**20
"""Beyond it a period is not looked for."""


def _wave(crest: float) -> Rule:
    """Sine or cosine: 1 at `crest` and all full turns from it, -1 half a turn away."""

    def reaches(interval: Interval, place: float) -> Tensor:
        """May ``place + 2 k pi`` lie in the interval? Also if it lies beside it by less than rounding."""
        low, high = interval
        # below `_FAR` both lines are rounded by less than these margins; a crest too many only widens the interval
        turns = torch.ceil((low - place) / math.tau - 1e-9)
        return (place + turns * math.tau <= high + 1e-7) | ~(reach_of(interval) < _FAR)

    def rule(node: Node, inputs: list[Interval]) -> Interval:
        ends = torch.stack([_apply_node(node, [x]) for x in inputs[0]])
        low = torch.where(reaches(inputs[0], crest + math.pi), -1.0, ends.amin(0))
        return low, torch.where(reaches(inputs[0], crest), 1.0, ends.amax(0))

    return rule


def _log_odds(own: Tensor, others: Tensor, axis: int, lost: float) -> tuple[Tensor, Tensor]:
    """``log(sum over j != i of exp(others_j)) - own_i``, and how far it may be off.

    The others are summed before and behind each place, so that nothing cancels. `lost` is added for what underflows.
    """
    count, most = others.shape[axis], others.amax(axis, keepdim=True)
    parts = torch.exp(others - most)
    sums = torch.log(_sums_before(parts, axis) + _sums_before(parts.flip(axis), axis).flip(axis) + lost)
    # an exponent is off by its own rounding, of at most 750; all beyond underflows
    sizes = sums.abs().nan_to_num(posinf=0.0) + most.abs() + own.abs()
    return sums + (most - own), 4 * FLOAT64 * (count + 1024 + 2 * sizes)


def _sums_before(x: Tensor, axis: int) -> Tensor:
    first = torch.zeros_like(x.narrow(axis, 0, 1))
    return torch.cumsum(torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis), axis)


def _log_odds_range(node: Node, inputs: list[Interval]) -> Interval:
    """Of all other entries against each one, from below and above."""
    (low, high), axis = inputs[0], node.attributes["axis"]
    # what underflows makes these odds smaller, which is the safe side here; `most` has to pay for it
    least, below = _log_odds(high, low, axis, 0.0)
    most, above = _log_odds(low, high, axis, low.shape[axis] * 1e-300)
    return least - below, most + above


def _softmax(node: Node, inputs: list[Interval]) -> Interval:
    low, high = _log_odds_range(node, inputs)
    return torch.sigmoid(-high).nan_to_num(nan=0.0), torch.sigmoid(-low).nan_to_num(nan=1.0)


def _log_softmax(node: Node, inputs: list[Interval]) -> Interval:
    low, high = (apply("Softplus", [end], {}) for end in _log_odds_range(node, inputs))
    return -high, -low


def _layer_normalization(node: Node, inputs: list[Interval]) -> Interval:
    """Each entry less the mean over the spread, which is at most the root of one less than their number."""
    low, high = inputs[0]
    scale, *shift = [_require_number(node, interval) for interval in inputs[1:]]
    axes = tuple(range(node.attributes["axis"], low.dim()))
    count = math.prod(low.shape[axis] for axis in axes)
    slack = gamma(4 * count + _ROUNDINGS, FLOAT64)
    # an entry less the mean: with the entry itself at the one end and all others at the other
    wide = slack * reach_of(inputs[0]).amax(axes, keepdim=True)
    below = low - (high.sum(axes, keepdim=True) - high + low) / count - wide
    above = high - (low.sum(axes, keepdim=True) - low + high) / count + wide
    squares = _hull([below * below, above * above, _nearest_number(0.0, (below, above)) ** 2])
    narrow, broad = (
        torch.sqrt((1 + sign * slack) * part.sum(axes, keepdim=True) / count + node.attributes["epsilon"])
        for sign, part in zip((-1, 1), squares, strict=True)
    )
    limit = math.sqrt(count) * (1 + slack)
    known = broad.isfinite()  # squares may overflow, and a quotient by infinity would be zero
    least = torch.where(below < 0, below / narrow, below / broad).where(known, -limit).clamp(min=-limit, max=limit)
    most = torch.where(above > 0, above / narrow, above / broad).where(known, limit).clamp(min=-limit, max=limit)
    ends = _hull([least * scale, most * scale])
    off = slack * limit * scale.abs()
    ends = ends[0] - off, ends[1] + off
    return (ends[0] + shift[0], ends[1] + shift[0]) if shift else ends


def _hull(candidates: list[Tensor]) -> Interval:
    stacked = torch.stack(candidates)
    return stacked.amin(0), stacked.amax(0)


def _require_number(node: Node, interval: Interval) -> Tensor:
    low, high = interval
    if low is not high:
        raise UnsupportedOpError("", f"{node.op} with a variable operand", node.name, _ruled_operators())
    return low


_AT_ZERO = _monotone_each_side(lambda node: 0.0)
"""LeakyReLU and ELU whatever the sign of alpha, and powers."""

RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Cos": _wave(0.0),
    "Div": _div,
    "Elu": _AT_ZERO,
    "Gelu": _monotone_each_side(_least_of_gelu),
    "Gemm": _gemm,
    "Greater": _sub,
    "GreaterOrEqual": _sub,
    "HardSwish": _monotone_each_side(lambda node: -1.5),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _AT_ZERO,
    "Log": _growing_from(0.0, torch.gt),
    "LogSoftmax": _log_softmax,
    "MatMul": _gemm,
    "Mul": _mul,
    "Pow": _AT_ZERO,
    "Sin": _wave(math.pi / 2),
    "Softmax": _softmax,
    "Sqrt": _growing_from(0.0, torch.ge),
    "Sub": _sub,
    "Where": _where,
}
"""Operator -> interval rule; monotone ones need none of their own."""
