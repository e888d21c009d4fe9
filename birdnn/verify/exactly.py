"""What a network is over the reals at one point: the very numbers that its file holds, in exact arithmetic.

A counterexample is an input at which the network violates when it is run; runs round. Whether the function over the
reals violates there too is decided here: exactly for networks that add, multiply and compare, within balls where they
divide or have smooth activations, and from float64 intervals where a network is too large for either.

Nothing is shared with the checker (`birdnn.certify.check`), which evaluates counterexamples again on its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from birdnn.bounds.interval import propagate
from birdnn.errors import UnsupportedOpError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import apply, operator
from birdnn.sample.pieces import multiplications
from birdnn.spec import Polytope, Property, Row, round_down, round_up
from birdnn.verify.balls import (
    PRECISION,
    Balls,
    NotEvaluated,
    Whole,
    add,
    align_exponents,
    apply_bilinear,
    apply_increasing,
    inverse_root,
    negate,
    quotient,
)

MULTIPLICATIONS = 500_000
"""Beyond so many a network is not evaluated exactly, which takes about a microsecond for each; float64 intervals do."""

_PADDING, _BEYOND = -1, -2

Rule: TypeAlias = Callable[["list[Balls]", Mapping[str, Any]], Balls]
_Index: TypeAlias = npt.NDArray[np.int64]


class OverReals:
    """A network over the reals.

    Args:
        net: with the numbers of its file, in the file's type.
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._constants: dict[str, Balls] | None = None
        self._small = multiplications(net) <= MULTIPLICATIONS

    def violates(self, prop: Property, x: Sequence[float]) -> bool | None:
        """Does the network violate ``prop`` at the input ``x``, over the reals? None where that cannot be told.

        The function is evaluated at the point that ``x`` stands for (`Region.stands_for`). False too where ``x``
        stands for a point of none of the property's boxes.
        """
        meant = [(region, point) for region in prop.regions if (point := region.stands_for(x)) is not None]
        outputs: dict[tuple[Fraction, ...], Balls] = {}  # which is nearly always one
        answers: list[bool | None] = []
        try:
            for region, point in meant:
                outputs[point] = at = outputs[point] if point in outputs else self.outputs(point)
                answers += [_is_inside(polytope, at) for polytope in region.unsafe]
        except (NotEvaluated, UnsupportedOpError):
            return None
        return True if True in answers else None if None in answers else False

    def outputs(self, x: Sequence[Fraction] | Sequence[float]) -> Balls:
        """All outputs at ``x``, flat.

        Raises:
            NotEvaluated: nothing is known of them.
            UnsupportedOpError: an operator has no rule.
        """
        return self._evaluate_exactly(x) if self._small else self._evaluate_by_intervals(x)

    def _evaluate_exactly(self, x: Sequence[Fraction] | Sequence[float]) -> Balls:
        net = self._net
        if self._constants is None:
            self._constants = {name: Balls.of(value) for name, value in net.values().items()}
        values = dict(self._constants)
        values[net.input_name] = Balls.around(x).each(lambda part: part.reshape(net.input_shape))
        for node in net.nodes:
            rule = RULES.get(node.op)
            inputs = [values[name] for name in node.inputs]
            shapes = [net.shape_of(name) for name in node.inputs]
            values[node.output] = move_entries(node, inputs, shapes) if rule is None else rule(inputs, node.attributes)
        return values[net.output_name].each(lambda part: part.reshape(-1))

    def _evaluate_by_intervals(self, x: Sequence[Fraction] | Sequence[float]) -> Balls:
        # a fraction need not be a float64: the interval of the point holds it
        ends = [[round_down(Fraction(value)) for value in x]], [[round_up(Fraction(value)) for value in x]]
        lower, upper = (torch.tensor(end, dtype=torch.float64) for end in ends)
        with torch.no_grad():
            low, high = (end[0] for end in propagate(self._net, lower, upper))
        # the middle of both ends, exactly: their sum over twice as fine a power of two
        a, b = align_exponents([Balls.of(low), Balls.of(high)])
        return Balls(a.mid + b.mid, b.mid - a.mid, a.exponent - 1)


def _is_inside(polytope: Polytope, outputs: Balls) -> bool | None:
    # a conjunction: one row that surely fails decides it, whatever is not known of the others
    answers = [_row_holds(row, outputs) for row in polytope.rows]
    return False if False in answers else None if None in answers else True


def _row_holds(row: Row, outputs: Balls) -> bool | None:
    """Does every value in the balls lie in the half-space (True), or none of them (False)?"""
    middle, spread = Fraction(0), Fraction(0)
    for index, coefficient in enumerate(row.coefficients):
        if coefficient:
            mid, rad = outputs.fraction(index)
            middle += coefficient * mid
            spread += abs(coefficient) * rad
    # a comparison is settled only where both ends of the ball are on one side
    low, high = middle - spread - row.bound, middle + spread - row.bound
    if high < 0 or (high == 0 and not row.strict):
        return True
    return False if low > 0 or (low == 0 and row.strict) else None


# --- rules: inputs and lowered attributes, see `birdnn.operators`


def move_entries(node: Node, inputs: list[Balls], shapes: list[tuple[int, ...]]) -> Balls:
    """An operator that only moves entries, done to their numbers; `shapes` also where balls have an axis too many."""
    if not operator(node.op).moves:
        raise NotEvaluated(f"operator {node.op}")
    # torch moves the numbers of entries, and these pick integers of any length: no rule of moving is written twice
    numbers, start = [], 0
    for part, shape in zip(inputs, shapes, strict=True):
        numbers.append(torch.arange(start, start + part.mid.size).reshape(shape))
        start += part.mid.size
    index = np.atleast_1d(apply(node.op, numbers, node.attributes, node.name).numpy())
    parts = align_exponents(inputs)
    mid = np.concatenate([part.mid.reshape(-1) for part in parts])
    exact = all(part.rad is None for part in parts)
    rad = None if exact else np.concatenate([part.radius().reshape(-1) for part in parts])
    return Balls(mid, rad, parts[0].exponent).each(lambda flat: flat[index])


def _matmul(a: Whole, b: Whole) -> Whole:
    out: Whole = np.atleast_1d(np.asarray(np.matmul(a, b), dtype=object))  # of two vectors it is a number
    return out


def _gemm(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    a, b = inputs[0], inputs[1]
    if attributes["transA"]:
        a = a.each(np.transpose)
    if attributes["transB"]:
        b = b.each(np.transpose)
    out = _multiply_entries(_ball_of_number(attributes["alpha"]), apply_bilinear(_matmul, a, b))
    return out if len(inputs) < 3 else add(out, _multiply_entries(_ball_of_number(attributes["beta"]), inputs[2]))


def _ball_of_number(value: float) -> Balls:
    return Balls.of(np.array(value, dtype=np.float64))


def _multiply_entries(a: Balls, b: Balls) -> Balls:
    return apply_bilinear(np.multiply, a, b)


def _kernel_windows(shape: tuple[int, ...], kernel: Sequence[int], attributes: Mapping[str, Any]) -> _Index:
    """Numbers of the entries under each place of the kernel, (channels, *places, *kernel).

    Padding has number `_PADDING`, what ``ceil_mode`` adds to it `_BEYOND`.
    """
    rank = len(kernel)
    # of one sample: a point is evaluated at a time
    numbers = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)[0]
    for pads, number in ((attributes["pads"], _PADDING), (attributes.get("overshoot", (0, 0) * rank), _BEYOND)):
        sides = [(0, 0), *((pads[axis], pads[axis + rank]) for axis in range(rank))]
        numbers = np.pad(numbers, sides, constant_values=number)
    return _entries_under_kernel(numbers, kernel, attributes["strides"], attributes["dilations"])


def _entries_under_kernel(
    numbers: _Index, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> _Index:
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(numbers, reach, axis=tuple(range(1, len(kernel) + 1)))
    places = tuple(slice(None, None, s) for s in strides)
    return views[(slice(None), *places, *(slice(None, None, d) for d in dilations))]


def _conv(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    windows = _kernel_windows(inputs[0].shape, inputs[1].shape[2:], attributes)
    return _convolve_windows(inputs, windows, attributes["group"])


def _conv_transpose(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    """A convolution with the mirrored kernel over the entries with gaps between them."""
    x, weight, *bias = inputs
    channels, spatial, kernel, group = x.shape[1], x.shape[2:], weight.shape[2:], attributes["group"]
    strides, dilations, pads = attributes["strides"], attributes["dilations"], attributes["pads"]
    rank = len(spatial)
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    gaps = [(size - 1) * stride + 1 for size, stride in zip(spatial, strides, strict=True)]
    numbers = np.full((channels, *gaps), _PADDING, dtype=np.int64)
    numbers[(slice(None), *(slice(None, None, stride) for stride in strides))] = np.arange(
        channels * math.prod(spatial)
    ).reshape(channels, *spatial)
    ends = [r + more for r, more in zip(reach, attributes["output_padding"], strict=True)]
    numbers = np.pad(numbers, [(0, 0), *zip(reach, ends, strict=True)], constant_values=_PADDING)
    windows = _entries_under_kernel(numbers, kernel, (1,) * rank, dilations)
    sizes = windows.shape[1 : 1 + rank]
    windows = windows[(slice(None), *(slice(pads[i], sizes[i] - pads[i + rank]) for i in range(rank)))]

    def mirrored(part: Whole) -> Whole:
        part = np.flip(part, axis=tuple(range(2, 2 + rank)))
        grouped = part.reshape(group, channels // group, *part.shape[1:])
        return np.swapaxes(grouped, 1, 2).reshape(-1, channels // group, *kernel)

    return _convolve_windows([x, weight.each(mirrored), *bias], windows, group)


def _convolve_windows(inputs: list[Balls], windows: _Index, groups: int) -> Balls:
    """The products of a kernel (out, channels of a group, *kernel) with the entries under each of its places."""
    x, weight = inputs[0], inputs[1]
    rank = len(x.shape) - 2
    places, count = windows.shape[1 : 1 + rank], math.prod(windows.shape[1 : 1 + rank])

    def convolved(values: Whole, kernel: Whole) -> Whole:
        flat = np.append(values.reshape(-1), 0)  # what `_PADDING` picks
        parts = []
        for group in range(groups):
            channels = np.array_split(windows, groups)[group]
            rows = np.moveaxis(channels.reshape(len(channels), count, -1), 1, 0).reshape(count, -1)
            own = np.array_split(kernel, groups)[group]
            parts.append(own.reshape(len(own), -1).dot(flat[rows].T))
        return np.concatenate(parts).reshape(1, -1, *places)

    out = apply_bilinear(convolved, x, weight)
    if len(inputs) < 3:
        return out
    return add(out, inputs[2].each(lambda part: part.reshape(1, -1, *(1,) * rank)))


def _average_pool(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x, windows = inputs[0], _pooling_windows(inputs[0], attributes)
    # ONNX divides by padding where it is told to, never by what `ceil_mode` adds
    counted = windows >= (_PADDING if attributes["count_include_pad"] else 0)

    def summed(values: Whole) -> Any:
        return np.append(values.reshape(-1), 0)[np.maximum(windows, -1)].sum(axis=-1)[None]

    return quotient(x.each(summed), Balls.of(counted.sum(axis=-1)[None]))


def _pooling_windows(x: Balls, attributes: Mapping[str, Any]) -> _Index:
    """The windows of a pooling, (channels, *places, entries)."""
    kernel = attributes["kernel_shape"]
    windows = _kernel_windows(x.shape, kernel, attributes)
    return windows.reshape(*windows.shape[: 1 + len(kernel)], -1)


def _global_average_pool(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x = inputs[0]
    axes = tuple(range(2, len(x.shape)))
    size = math.prod(x.shape[2:])
    return quotient(x.each(lambda part: part.sum(axis=axes, keepdims=True)), _ball_of_number(size))


def _max_pool(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x, windows = inputs[0], np.maximum(_pooling_windows(inputs[0], attributes), -1)

    def largest(values: Whole) -> Any:
        flat = values.reshape(-1)
        least = min(flat, default=0)  # padding is below everything
        return np.append(flat, least)[windows].max(axis=-1)[None]

    return apply_increasing(x, largest, x.exponent)


def _choice_rule(function: Callable[[Whole, Whole], Whole]) -> Rule:
    """The rule of a function that chooses one of two values, and never decreases with either."""

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        a, b = align_exponents(inputs)
        if a.rad is None and b.rad is None:
            return Balls(function(a.mid, b.mid), None, a.exponent).shortened()
        low, high = (function(*ends) for ends in zip(a.ends(), b.ends(), strict=True))
        return Balls(low + high, high - low, a.exponent - 1).shortened()

    return rule


def _comparison_rule(holds: Callable[[Whole], Whole]) -> Rule:
    """One where the difference of two numbers is such, zero where not; where it may be either nothing is known."""

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        # a difference of the same sign at both ends of its ball has it all over
        answers = [holds(end) for end in add(inputs[0], negate(inputs[1])).ends()]
        if (answers[0] != answers[1]).any():
            raise NotEvaluated("a comparison of numbers that are too close")
        return Balls(np.where(answers[0].astype(bool), 1, 0).astype(object), None, 0)

    return rule


def _where(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    condition, one, other = inputs[0], *align_exponents(inputs[1:])
    # either branch might be the one taken
    if condition.rad is not None:
        raise NotEvaluated("a condition that is not exact")
    holds = condition.mid != 0
    rad = None if one.rad is None and other.rad is None else np.where(holds, one.radius(), other.radius())
    return Balls(np.where(holds, one.mid, other.mid), rad, one.exponent)


def _reduce_sum(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    return inputs[0].each(lambda part: np.asarray(part.sum(axis=attributes["axes"], keepdims=True)))


def _batch_normalisation(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x, scale, shift, mean, variance = inputs
    column = (1, -1) + (1,) * (len(x.shape) - 2)
    root = inverse_root(add(variance, _ball_of_number(attributes["epsilon"])))
    factor, mean, shift = (
        part.each(lambda p: p.reshape(column)) for part in (_multiply_entries(scale, root), mean, shift)
    )
    return add(_multiply_entries(add(x, negate(mean)), factor), shift)


def _clip(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    limits = [attributes["min"], attributes["max"]]
    finite = [_ball_of_number(limit) if math.isfinite(limit) else None for limit in limits]
    x, *sides = align_exponents([inputs[0], *(side for side in finite if side is not None)])
    low, high = (None if side is None else sides.pop(0).mid.item() for side in finite)

    def clipped(values: Whole) -> Whole:
        values = values if low is None else np.maximum(values, low)
        return values if high is None else np.minimum(values, high)

    return apply_increasing(x, clipped, x.exponent)


def _leaky_relu(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x, alpha = inputs[0], _ball_of_number(attributes["alpha"])
    slope = alpha.mid.item()
    # `apply_increasing` evaluates the ends alone, which says nothing of a function that turns
    if slope < 0 and x.rad is not None:
        raise NotEvaluated("a function that first falls, at numbers that are not exact")
    # over a power of two that holds both slopes, 1 and alpha
    exponent = min(0, alpha.exponent)
    steep, one = slope << (alpha.exponent - exponent), 1 << -exponent
    return apply_increasing(x, lambda values: np.where(values > 0, values * one, values * steep), x.exponent + exponent)


def _relu(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    return apply_increasing(inputs[0], lambda values: np.maximum(values, 0), inputs[0].exponent)


def _sign(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    return apply_increasing(
        inputs[0], lambda values: np.where(values > 0, 1, np.where(values < 0, -1, 0)).astype(object), 0
    )


def _rounding_rule(function: Callable[[Whole, int], Whole]) -> Rule:
    """The rule of a rounding to whole numbers, by a function of integers and of how many bits are behind the point."""

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        x = inputs[0].at(min(inputs[0].exponent, -1))
        return apply_increasing(x, lambda values: function(values, -x.exponent), 0)

    return rule


def _round_half_to_even(values: Whole, bits: int) -> Whole:
    """The nearest whole numbers of integers over ``2**bits``; halves go to the even one."""
    whole, half = values >> bits, 1 << (bits - 1)
    rest = values - (whole << bits)
    up: Whole = ((rest > half) | ((rest == half) & (whole & 1 == 1))).astype(object)
    return np.asarray(whole + up)


def _power(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    powers: Balls = functools.reduce(_multiply_entries, inputs * attributes["exponent"])
    return powers


def _hard_swish(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    """``x * clip(x + 3, 0, 6) / 6``."""
    x = inputs[0]
    return quotient(
        _multiply_entries(x, _clip([add(x, _ball_of_number(3.0))], {"min": 0.0, "max": 6.0})), _ball_of_number(6.0)
    )


def _layer_normalisation(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    """By the root of the variance over some last axes, the only part that is not exact where the input is."""
    x, scale, *shift = inputs
    axes = tuple(range(attributes["axis"], len(x.shape)))
    count = _ball_of_number(math.prod(x.shape[axis] for axis in axes))

    def mean(part: Balls) -> Balls:
        return quotient(part.each(lambda values: np.asarray(values.sum(axis=axes, keepdims=True))), count)

    centred = add(x, negate(mean(x)))
    spread = add(mean(_multiply_entries(centred, centred)), _ball_of_number(attributes["epsilon"]))
    # not `inverse_root`, which takes exact numbers only: an inexact input has an inexact spread
    root = _rule_of_entries(lambda z: z.rsqrt())([spread], attributes)
    out = _multiply_entries(_multiply_entries(centred, root), scale)
    return add(out, shift[0]) if shift else out


def _rule_along_axis(function: Callable[[list[Any]], list[Any]]) -> Rule:
    """The rule of a function of rows of numbers along an axis, each an Arb ball."""

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        from flint import arb, ctx  # takes long to load, and few networks need it

        axis = attributes.get("axis", -1)
        x = inputs[0].each(lambda part: np.moveaxis(part, axis, -1))
        mid, rad = np.empty(x.mid.size, dtype=object), np.empty(x.mid.size, dtype=object)
        length, radii = x.shape[-1], x.radius().reshape(-1)
        numbers = list(zip(x.mid.reshape(-1), radii, strict=True))
        # 64 bits more than are kept, so that what Arb rounds on the way does not widen the result
        with ctx.workprec(PRECISION + 64):
            for start in range(0, len(numbers), length):
                row = [arb((m, x.exponent), (r, x.exponent)) for m, r in numbers[start : start + length]]
                for place, ball in enumerate(function(row), start):
                    mid[place], rad[place] = _ball_of_arb(ball)
        found = Balls(mid.reshape(x.shape), rad.reshape(x.shape), -PRECISION - 1)
        return found.each(lambda part: np.moveaxis(part, -1, axis))

    return rule


def _rule_of_entries(function: Callable[[Any], Any]) -> Rule:
    along = _rule_along_axis(lambda row: [function(z) for z in row])

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        return along(inputs, {})

    return rule


def _ball_of_arb(ball: Any) -> tuple[int, int]:
    """A ball over ``2**-(PRECISION + 1)``.

    Raises:
        NotEvaluated: it is not finite, or too large to be written so.
    """
    if not ball.is_finite():
        raise NotEvaluated("a function outside of where it is defined")
    parts = []
    for part in (ball.mid(), ball.rad()):
        man, exponent = (int(value) for value in part.man_exp())
        # over the power of two that all results share
        shift = exponent + PRECISION + 1
        if man.bit_length() + shift > _LONG:
            raise NotEvaluated("a number that is very large")
        parts.append(man << shift if shift >= 0 else man >> min(-shift, man.bit_length() + 1))
    # one unit for what the shift took from the middle, one for the radius
    return parts[0], parts[1] + 2


_LONG = 4096  # bits of a function's value, more than any float64 needs


def _softmax_of_row(row: list[Any]) -> list[Any]:
    # any entry would do; near the largest nothing overflows, and a wrong guess costs bits, not truth
    top = max(row, key=lambda z: float(z.mid()))
    parts = [(z - top).exp() for z in row]
    total = sum(parts[1:], parts[0])
    return [part / total for part in parts]


def _log_softmax_of_row(row: list[Any]) -> list[Any]:
    top = max(row, key=lambda z: float(z.mid()))
    parts = [(z - top).exp() for z in row]
    total = sum(parts[1:], parts[0]).log()
    return [z - top - total for z in row]


def _gelu(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    from flint import arb

    def exact(z: Any) -> Any:
        return z * (1 + (z / arb(2).sqrt()).erf()) / 2

    def approximate(z: Any) -> Any:
        return z * (1 + ((2 / arb.pi()).sqrt() * (z + arb(44715) / 1000000 * z**3)).tanh()) / 2

    return _rule_of_entries(exact if attributes["approximate"] == "none" else approximate)(inputs, attributes)


def _softplus(z: Any) -> Any:
    """``log(1 + exp(z))`` where nothing overflows."""
    return z + (-z).exp().log1p() if z.mid() > 0 else z.exp().log1p()


def _rule_within_range(function: Callable[[Any], Any], low: int, high: int) -> Rule:
    """The rule of an entrywise function of the reals to ``low .. high``, by Arb."""

    def rule(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
        from flint import arb, ctx  # takes long to load, and few networks need it

        x = inputs[0]
        mids, radii = x.mid.reshape(-1), x.radius().reshape(-1)
        mid, rad = np.empty(len(mids), dtype=object), np.empty(len(mids), dtype=object)
        with ctx.workprec(PRECISION + 64):
            for i, (m, r) in enumerate(zip(mids, radii, strict=True)):
                mid[i], rad[i] = _ball_within_range(function(arb((m, x.exponent), (r, x.exponent))), low, high)
        return Balls(mid.reshape(x.shape), rad.reshape(x.shape), -PRECISION - 1)

    return rule


def _ball_within_range(ball: Any, low: int, high: int) -> tuple[int, int]:
    """A ball within ``low .. high``, over ``2**-(PRECISION + 1)``."""
    # the range of the function is known, whatever Arb makes of a large ball
    if not ball.is_finite():
        return (low + high) << PRECISION, (high - low) << PRECISION
    parts = []
    for part in (ball.mid(), ball.rad()):
        man, exponent = (int(value) for value in part.man_exp())
        shift = exponent + PRECISION + 1
        if man and man.bit_length() + shift > PRECISION + 8:  # beyond the range of the function
            return (low + high) << PRECISION, (high - low) << PRECISION
        tiny = man.bit_length() + shift < 0
        parts.append(0 if tiny else man << shift if shift > 0 else man >> -shift)
    return parts[0], parts[1] + 2


def _elu(inputs: list[Balls], attributes: Mapping[str, Any]) -> Balls:
    x, alpha = inputs[0], _ball_of_number(attributes["alpha"])
    if alpha.mid.item() < 0 and x.rad is not None:
        raise NotEvaluated("a function that first falls, at numbers that are not exact")
    # in two parts that both never decrease; expm1 of a large x, which nobody needs, is not taken
    above = apply_increasing(x, lambda values: np.maximum(values, 0), x.exponent)
    below = apply_increasing(x, lambda values: np.minimum(values, 0), x.exponent)
    falls = _rule_within_range(lambda z: z.expm1(), -1, 0)([below], attributes)
    return add(above, _multiply_entries(alpha, falls))


RULES: Mapping[str, Rule] = {
    "Add": lambda inputs, _: add(*inputs),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalisation,
    "Ceil": _rounding_rule(lambda values, bits: -((-values) >> bits)),
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _rule_within_range(lambda z: z.cos(), -1, 1),
    "Div": lambda inputs, _: quotient(*inputs),
    "Elu": _elu,
    "Erf": _rule_within_range(lambda z: z.erf(), -1, 1),
    "Exp": _rule_of_entries(lambda z: z.exp()),
    "Floor": _rounding_rule(lambda values, bits: values >> bits),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Greater": _comparison_rule(lambda difference: difference > 0),
    "GreaterOrEqual": _comparison_rule(lambda difference: difference >= 0),
    "HardSwish": _hard_swish,
    "LayerNormalization": _layer_normalisation,
    "LeakyRelu": _leaky_relu,
    "Log": _rule_of_entries(lambda z: z.log()),
    "LogSoftmax": _rule_along_axis(_log_softmax_of_row),
    "MatMul": lambda inputs, _: apply_bilinear(_matmul, *inputs),
    "Max": _choice_rule(np.maximum),
    "MaxPool": _max_pool,
    "Min": _choice_rule(np.minimum),
    "Mul": lambda inputs, _: _multiply_entries(*inputs),
    "Pow": _power,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Round": _rounding_rule(_round_half_to_even),
    "Sigmoid": _rule_within_range(lambda z: 1 / (1 + (-z).exp()), 0, 1),
    "Sign": _sign,
    "Sin": _rule_within_range(lambda z: z.sin(), -1, 1),
    "Softmax": _rule_along_axis(_softmax_of_row),
    "Softplus": _rule_of_entries(_softplus),
    "Sqrt": _rule_of_entries(lambda z: z.sqrt()),
    "Sub": lambda inputs, _: add(inputs[0], negate(inputs[1])),
    "Tanh": _rule_within_range(lambda z: z.tanh(), -1, 1),
    "Where": _where,
}
"""Operator -> rule; those that only move entries need none."""
