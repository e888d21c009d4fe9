"""Backward propagation without any rounding of its own, a few boxes at a time; and exact evaluation.

Choices (slopes, bounds of neurons, offsets) are rounded to short binary numbers, always to the safe side; what is
computed with them is exact. Smooth activations are enclosed in balls, of which the safe end is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq, fmpz, fmpz_mat

from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Activation, Chain
from birdnn.certify.check.lines import Floats, default_slopes, is_bent, touching_point
from birdnn.certify.check.rounding import round_towards
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Corners, Index, Items, Rows

# Bits behind the point of the grids that numbers are put on: sums on a common grid are integers, and stay short. Slopes
# may be rounded either way, all others only to the safe side.
_SLOPE_BITS = 53
_OFFSET_BITS = 140
_SLACK_BITS = 200
_SIZE_BITS = 60
_MORE_BITS = 40
_LONGEST = 300
PRECISION = 160
# Evaluation has no tree that could be refined: a counterexample whose ball touches the bound would be lost, so that far
# more bits are spent on it.
EVALUATION_PRECISION = 1024
_FAR = 1000
"""Farther from zero smooth activations are known well enough without being computed."""

_ONE = fmpz(1)
_SLOPE_SCALE = fmpz(1) << _SLOPE_BITS
_OFFSET_SCALE = fmpz(1) << _OFFSET_BITS


@dataclass(frozen=True)
class _Map:
    """A layer: ``weight`` times ``2**bits``; an execution's error and that of a cut-off weight, at most
    ``|h| @ slack_weight + slack_bias``, both times ``2**200`` and rounded up."""

    weight: fmpz_mat
    rows: list[list[fmpz]]
    bits: int
    bias: list[fmpq]
    slack_weight: fmpz_mat
    slack_bias: list[fmpz]
    error: fmpz_mat | None = None
    error_bias: list[fmpq] | None = None
    """An execution's error where it is a linear function of inputs that are not negative, in place of the slack."""


_Line = tuple[fmpz, fmpz, fmpz, fmpz]
"""A neuron's lines as functions of ``weight @ h``, slope and offset of the lower one, then of the upper one: slopes
times 2**53, offsets times 2**140."""


@dataclass(frozen=True)
class _Planes:
    """Rows times ``2**bits``, and their constants."""

    rows: list[list[fmpz]]
    bits: int
    constant: list[fmpq]
    scale: fmpz = _ONE
    """By which rows and constants are larger than what they stand for."""


class ExactEngine:
    """`Engine` in exact arithmetic.

    Args:
        chain: the network.
        single: do statements speak about executions in single precision?
    """

    name = "exact"

    def __init__(self, chain: Chain, single: bool) -> None:
        self.activations = [layer.activation for layer in chain.layers if layer.activation is not None]
        self.layers = []
        for layer in chain.layers:
            weight = layer.weight
            # A weight whose denominator is a power of two fits exactly; quotients, and what is longer than it is worth,
            # are cut off, and what they lose is paid as slack.
            longest = max((value.denominator.bit_length() for value in weight.reshape(-1)), default=1)
            bits = min(longest + _MORE_BITS, _LONGEST)
            whole = [[fmpz(_floor_on_grid(value, bits)) for value in row] for row in weight]
            # Measured against what was really kept, so that nothing depends on how the cut-off rounds.
            lost = np.abs(
                weight - np.array([[Fraction(int(v), 1 << bits) for v in row] for row in whole], dtype=object)
            )
            slack_weight, slack_bias = lost, layer.bias * 0
            linear: tuple[Any, ...] = ()
            if single and layer is chain.layers[-1] and chain.ends_in_relu:
                # On the grid of the weights, as `planes` subtracts one's rows from the other's. Behind a ReLU h is not
                # negative, so that this error is itself a function of h; elsewhere only |h| is bounded, and it is
                # slack.
                linear = (
                    _ceilings_on_grid(layer.error_weight, bits),
                    [_slack_ceiling(value) for value in layer.error_bias],
                )
            elif single:
                slack_weight, slack_bias = slack_weight + layer.error_weight, slack_bias + layer.error_bias
            bias = [fmpq_of_fraction(value) for value in layer.bias]
            slack = (
                _ceilings_on_grid(slack_weight, _SLACK_BITS).transpose(),
                _ceilings_on_grid(slack_bias[:, None], _SLACK_BITS),
            )
            self.layers.append(_Map(fmpz_mat(whole), whole, bits, bias, slack[0], slack[1].entries(), *linear))

    def start(self, rows: Rows, boxes: int) -> ExactPass:
        """Nothing known yet about ``boxes`` boxes."""
        return ExactPass(self, rows)


class ExactPass:
    """`Pass` in exact arithmetic."""

    def __init__(self, engine: ExactEngine, rows: Rows) -> None:
        self.engine, self.rows = engine, rows
        self.slack: list[list[list[fmpq]]] = []
        self.bounds: list[tuple[Floats, Floats, Floats]] = []
        self.lines: list[list[list[_Line]]] = []

    def enter(self, k: int, h: Floats) -> None:
        """Begin layer ``k``, whose inputs do not exceed ``h`` (boxes, in)."""
        layer = self.engine.layers[k]
        # Rounded up here, and the weights of the slack above: a bound of an error must never shrink.
        size = _ceilings_on_grid([[_fraction_of_float(value) for value in box] for box in h], _SIZE_BITS)
        whole = (size * layer.slack_weight).tolist()
        scale = fmpz(1) << (_SLACK_BITS + _SIZE_BITS)
        self.slack.append(
            [[fmpq(a + (b << _SIZE_BITS), scale) for a, b in zip(box, layer.slack_bias, strict=True)] for box in whole]
        )

    def neurons(self, k: int, box: Index, neuron: Index, corners: Corners) -> tuple[Floats, Floats]:
        """Lower and upper bounds of pre-activations of layer ``k``, one for each entry of ``box`` and ``neuron``."""
        layer = self.engine.layers[k]
        found = []
        # The upper bound is the lower bound of the negated row: one code path, one direction of rounding. The slack is
        # subtracted both times.
        for sign in (1, -1):
            rows = [[sign * value for value in layer.rows[j]] for j in neuron]
            constant = [sign * layer.bias[j] - self.slack[k][i][j] for i, j in zip(box, neuron, strict=True)]
            planes = self._propagate_to_inputs(
                k, _Planes(rows, layer.bits, constant), [self._lines_of_box(int(i)) for i in box]
            )
            found.append(sign * self._minimum_over_boxes(planes, [side[box] for side in corners]))
        return found[0], found[1]

    def relax(self, k: int, l: Floats, u: Floats, error: Floats) -> None:
        """Fix the default lines of layer ``k`` for pre-activations in ``l .. u`` (boxes, neurons)."""
        low, high = self._default_slopes(k, l, u)
        self.bounds.append((l, u, error))
        width = range(l.shape[1])
        self.lines.append(
            [[self._lines_of_slopes(k, i, j, low[i, j], high[i, j]) for j in width] for i in range(len(l))]
        )

    def _default_slopes(self, k: int, l: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Slopes of the default lines below and above, (boxes, neurons) each."""
        return default_slopes(self.engine.activations[k], l, u)

    def _lines_of_slopes(self, k: int, i: int, j: int, low: float, high: float) -> _Line:
        """The lines of slopes ``low`` and ``high``, both put on a grid."""
        return *self._line_of_slope(k, i, j, 0, low), *self._line_of_slope(k, i, j, 1, high)

    def _line_of_slope(self, k: int, i: int, j: int, side: int, slope: float) -> tuple[fmpz, fmpz]:
        # With ``z = weight @ h + bias + e`` and ``|e| <= slack``, a line ``s z + t`` is ``s (weight @ h) + (s bias +
        # t)``, moved by ``|s| slack`` to its safe side.
        bias, slack = self.engine.layers[k].bias[j], self.slack[k][i][j]
        whole = (fmpq_of_float(slope) * _SLOPE_SCALE).floor()
        s = fmpq(whole, _SLOPE_SCALE)
        offset = self._gap_extremes(k, i, j, s)[side] + s * bias
        room = abs(s) * slack + fmpq_of_float(self.bounds[k][2][i, j])
        # The lower one is a floor, written as a ceiling.
        return whole, _offset_ceiling(offset + room) if side else -_offset_ceiling(room - offset)

    def _gap_extremes(self, k: int, i: int, j: int, s: fmpq) -> tuple[fmpq, fmpq]:
        """See `gap_extremes`, of neuron ``j`` of layer ``k`` on box ``i``."""
        l, u, _ = self.bounds[k]
        return gap_extremes(self.engine.activations[k], fmpq_of_float(l[i, j]), fmpq_of_float(u[i, j]), s)

    def _lines_of_box(self, i: int) -> list[list[_Line]]:
        return [layer[i] for layer in self.lines]

    def planes(self, items: Items) -> _Planes:
        """Planes below the items' combinations: the certificate's multipliers, times exact rows."""
        last, chosen = self.engine.layers[-1], [self._lines_of_item(n, items) for n in range(len(items.box))]
        rows, sizes, constants = [], [], []
        for box, polytope, multipliers in zip(items.box, items.polytope, items.multipliers, strict=True):
            exact = self.rows.exact[polytope]
            # What follows pads polytopes of fewer rows.
            weight = [fmpq_of_float(value) for value in multipliers[: len(exact)]]
            sums = [
                sum((w * fmpq_of_fraction(row.coefficients[o]) for w, row in zip(weight, exact, strict=True)), fmpq(0))
                for o in range(len(last.bias))
            ]
            constant = -sum((w * fmpq_of_fraction(row.bound) for w, row in zip(weight, exact, strict=True)), fmpq(0))
            # Of rows that are combined the errors add up, whatever their signs: absolute values are combined, too.
            size = [
                sum(
                    (w * abs(fmpq_of_fraction(row.coefficients[o])) for w, row in zip(weight, exact, strict=True)),
                    fmpq(0),
                )
                for o in range(len(last.bias))
            ]
            errors = last.error_bias or [fmpq(0)] * len(size)
            for value, bias, much, slack, error in zip(sums, last.bias, size, self.slack[-1][box], errors, strict=True):
                constant += value * bias - abs(value) * slack - much * error
            rows.append(sums)
            sizes.append(size)
            constants.append(constant)
        scale = _common_denominator([value for row in (*rows, *sizes) for value in row])
        whole, wide = ([[(value * scale).p for value in row] for row in side] for side in (rows, sizes))
        # a common denominator that is no power of two goes into rows and constants alike: only signs count
        on_inputs = _times_weight(whole, last.weight)
        if last.error is not None:
            lost = _times_weight(wide, last.error)
            on_inputs = [[a - b for a, b in zip(*both, strict=True)] for both in zip(on_inputs, lost, strict=True)]
        planes = _Planes(on_inputs, last.bits, [constant * scale for constant in constants], scale)
        return self._propagate_to_inputs(len(self.lines), planes, chosen, items)

    def _lines_of_item(self, n: int, items: Items) -> list[list[_Line]]:
        """The lines of an item, layer by layer: its own slopes in place of the default ones."""
        i = int(items.box[n])
        lines = self._lines_of_box(i)
        for k, (item, neuron, slope) in enumerate(items.slopes):
            act, (l, u, _) = self.engine.activations[k], self.bounds[k]
            mine = np.nonzero(item == n)[0]
            if len(mine):
                # A copy: the default lines belong to all items of the box.
                lines[k] = list(lines[k])
            for at in mine:
                j = int(neuron[at])
                # Where the activation is linear a stored slope is ignored, as the float64 engine does: its own line is
                # exact.
                if is_bent(act, l[i : i + 1, j], u[i : i + 1, j])[0]:
                    lines[k][j] = self._lines_of_slopes(k, i, j, slope[at], slope[at])
        return lines

    def _propagate_to_inputs(
        self, k: int, planes: _Planes, lines: Sequence[list[list[_Line]]], items: Items | None = None
    ) -> _Planes:
        """From rows on the inputs of layer ``k`` to rows on the network's inputs; ``lines`` of each, and ``items``."""
        rows, bits, constant = planes.rows, planes.bits, planes.constant
        for m in range(k - 1, -1, -1):
            layer, passed, more = self.engine.layers[m], [], []
            for row, mine in zip(rows, lines, strict=True):
                total, new = fmpz(0), []
                for value, (low, low_offset, up, up_offset) in zip(row, mine[m], strict=True):
                    # A positive coefficient needs a bound from below, a negative one from above. At zero both give
                    # zero.
                    if value > 0:
                        new.append(value * low)
                        total += value * low_offset
                    else:
                        new.append(value * up)
                        total += value * up_offset
                passed.append(new)
                more.append(fmpq(total, fmpz(1) << (bits + _OFFSET_BITS)))
            if items is not None and items.sides:
                self._subtract_sides(m, items, planes.scale, passed, more, bits)
            rows = _times_weight(passed, layer.weight)
            # The grid gets finer by each factor, so that nothing is ever rounded on the way.
            bits += _SLOPE_BITS + layer.bits
            constant = [a + b for a, b in zip(constant, more, strict=True)]
        return _Planes(rows, bits, constant, planes.scale)

    def _subtract_sides(
        self, m: int, items: Items, scale: fmpz, rows: list[list[fmpz]], constant: list[fmpq], bits: int
    ) -> None:
        """Subtract the sides of layer ``m``, in place, from rows on ``weight @ h`` (times ``2**(bits + 53)``)."""
        sides, layer = items.sides[m], self.engine.layers[m]
        for item, j, side, at, beta in zip(sides.item, sides.neuron, sides.side, sides.at, sides.beta, strict=True):
            whole = (fmpq_of_float(beta) * _SLOPE_SCALE).floor()  # any number that is not negative will do
            rows[item][j] -= int(side) * (whole * scale << bits)
            # z is known up to the slack only, and what is subtracted must not be negative for any z of an execution.
            distance = int(side) * (layer.bias[j] - fmpq_of_float(at)) + self.slack[m][items.box[item]][j]
            constant[item] -= fmpq(whole, _SLOPE_SCALE) * scale * distance

    def minimum(self, planes: _Planes, which: Index, corners: Corners) -> Floats:
        """Minimum of the planes ``which`` over a box each, rounded down."""
        chosen = _Planes([planes.rows[n] for n in which], planes.bits, [planes.constant[n] for n in which])
        return self._minimum_over_boxes(chosen, corners)

    def _minimum_over_boxes(self, planes: _Planes, corners: Sequence[Floats]) -> Floats:
        least = np.empty(len(planes.rows))
        for n, (row, lower, upper) in enumerate(zip(planes.rows, *corners, strict=True)):
            total = fmpq(0)
            for value, low, high in zip(row, lower, upper, strict=True):
                total += value * fmpq_of_float(low if value > 0 else high)
            total = total / (fmpz(1) << planes.bits) + planes.constant[n]
            least[n] = round_towards(Fraction(int(total.p), int(total.q)), -np.inf)
        return least


def gap_extremes(act: Activation, l: fmpq, u: fmpq, s: fmpq) -> tuple[fmpq, fmpq]:
    """A lower bound of the minimum and an upper bound of the maximum of ``activation(z) - s z`` over ``l .. u``."""
    zero = fmpq(0)
    if act.kind in ("relu", "leaky_relu"):
        alpha = fmpq_of_float(act.alpha)
        # Piecewise linear: extreme at an end or at the kink, whatever the slopes.
        found = [(z if z > 0 else alpha * z) - s * z for z in (l, u)] + ([zero] if l < 0 < u else [])
        return min(found), max(found)
    # The identity there; a ball would have a radius, and lose what rests on the last bit.
    if act.kind == "elu" and l >= 0:
        ends = [z - s * z for z in (l, u)]
        return min(ends), max(ends)
    with ctx.workprec(PRECISION):
        balls = [smooth_value(act, arb(z)) - arb(s) * arb(z) for z in (l, u)]
        low, high = min(ball_end(ball, -1) for ball in balls), max(ball_end(ball, 1) for ball in balls)
        if act.kind == "elu":
            # Convex for alpha between 0 and 1, the only ones that are read: the maximum is at an end.
            return min(low, *_tangent_bounds(act, l, u, s, -1)), high
        # Convex below zero, concave above: only on its own side may an extreme lie inside. Zero itself, where both
        # sides meet, is an end of what a tangent looks at.
        if l < 0:
            low = min(low, *_tangent_bounds(act, l, min(u, zero), s, -1))
        if u > 0:
            high = max(high, *_tangent_bounds(act, max(l, zero), u, s, 1))
        return low, high


def _tangent_bounds(act: Activation, l: fmpq, u: fmpq, s: fmpq, side: int) -> list[fmpq]:
    """What a tangent at some d leaves of ``activation(z) - s z`` at both ends, on a side where it is a bound."""
    # Float64 is good enough for a point of contact: a tangent at any other is a bound as well, only a worse one.
    near = float(touching_point(act, *(np.array([float(value)]) for value in (l, u, s)))[0])
    d = min(max(fmpq_of_float(near), l), u)
    # At the kink every slope between alpha and 1 supports the function; the asked one is the best.
    slope = min(max(s, fmpq_of_float(act.alpha)), fmpq(1)) if act.kind == "elu" and d == 0 else None
    steep = _derivative(act, arb(d)) if slope is None else arb(slope)
    touch = smooth_value(act, arb(d)) - arb(s) * arb(d)
    return [ball_end(touch + (steep - arb(s)) * arb(z - d), side) for z in (l, u)]


def smooth_value(act: Activation, z: arb) -> arb:
    """A smooth activation's value in a ball that holds it."""
    if act.kind == "elu":
        return z if z > 0 else arb(act.alpha) * _expm1(z) if z <= 0 else z.union(arb(act.alpha) * _expm1(z))
    if z > _FAR:
        return 1 - _nearly_nothing()
    if z < -_FAR:
        return _nearly_nothing() - (1 if act.kind == "tanh" else 0)
    return z.tanh() if act.kind == "tanh" else 1 / (1 + (-z).exp())


def _derivative(act: Activation, z: arb) -> arb:
    if act.kind == "elu":
        return arb(1) if z > 0 else arb(act.alpha) * (_expm1(z) + 1)
    if abs(z) > _FAR:
        return _nearly_nothing()
    return 1 / z.cosh() ** 2 if act.kind == "tanh" else 1 / ((z / 2).cosh() ** 2 * 4)


def _expm1(z: arb) -> arb:
    return _nearly_nothing() - 1 if z < -_FAR else z.expm1()


def _nearly_nothing() -> arb:
    """From 0 to 2**-1400, which is more than ``4 * exp(-1000)``: exp of a large number would have that many digits."""
    return arb(0).union(arb(2) ** -1400)


def evaluate(chain: Chain, x: Sequence[Fraction]) -> list[Any]:
    """The network's exact outputs at ``x``: fractions, or balls that hold them where an activation is smooth."""
    h: list[Any] = list(x)
    with ctx.workprec(EVALUATION_PRECISION):
        for layer in chain.layers:
            # All of a layer are balls, or none is.
            smooth = any(isinstance(value, arb) for value in h)
            rows = [[_ball_of_fraction(v) for v in row] for row in layer.weight] if smooth else layer.weight
            bias = [_ball_of_fraction(v) for v in layer.bias] if smooth else layer.bias
            h = [sum((w * v for w, v in zip(row, h, strict=True)), b) for row, b in zip(rows, bias, strict=True)]
            act = layer.activation
            if act is not None and act.kind in ("relu", "leaky_relu"):
                h = [leaky_relu(z, act.alpha) for z in h]
            elif act is not None:
                h = [smooth_value(act, z if smooth else _ball_of_fraction(z)) for z in h]
    return h


def leaky_relu(z: Any, alpha: float) -> Any:
    if isinstance(z, Fraction):
        return z if z > 0 else Fraction(alpha) * z
    return z if z > 0 else arb(alpha) * z if z <= 0 else z.union(arb(alpha) * z)


def certainly_holds(row: Row, y: Sequence[Any]) -> bool:
    """Does ``y`` lie in the row's half-space, whatever its balls hold?"""
    with ctx.workprec(EVALUATION_PRECISION):
        # Of a ball only what holds for all its numbers is True: an unclear counterexample is none.
        if y and isinstance(y[0], arb):
            total = sum(
                (_ball_of_fraction(c) * v for c, v in zip(row.coefficients, y, strict=True)), arb(0)
            ) - _ball_of_fraction(row.bound)
            return bool(total < 0 if row.strict else total <= 0)
        return row.holds(sum((c * v for c, v in zip(row.coefficients, y, strict=True)), Fraction(0)))


def _require_finite(value: Any) -> float:
    """An entry of an array."""
    if not np.isfinite(value):
        raise Rejected("a number beyond the range of float64: nothing is known there")
    return float(value)


def _fraction_of_float(value: Any) -> Fraction:
    """An entry of an array, exactly."""
    return Fraction(_require_finite(value))


def fmpq_of_float(value: Any) -> fmpq:
    """An entry of an array, exactly."""
    return fmpq(*_require_finite(value).as_integer_ratio())


def fmpq_of_fraction(value: Fraction) -> fmpq:
    return fmpq(value.numerator, value.denominator)


def _ball_of_fraction(value: Fraction) -> arb:
    return arb(fmpq_of_fraction(value))


def ball_end(ball: arb, side: int) -> fmpq:
    """The upper (``side`` 1) or lower end of a ball."""
    # Arithmetic failed, which is a defect and no verdict.
    if not ball.is_finite():
        raise ArithmeticError("a ball without bounds")
    return (ball.upper() if side > 0 else ball.lower()).fmpq()


def _floor_on_grid(value: Fraction, bits: int) -> int:
    return (value.numerator << bits) // value.denominator


def _ceilings_on_grid(values: Any, bits: int) -> fmpz_mat:
    """Fractions times ``2**bits``, rounded up."""
    return fmpz_mat([[fmpz(-_floor_on_grid(-value, bits)) for value in row] for row in values])


def _offset_ceiling(value: fmpq) -> fmpz:
    """An offset on its grid, rounded up."""
    return (value * _OFFSET_SCALE).ceil()


def _slack_ceiling(value: Fraction) -> fmpq:
    """Not below ``value``."""
    return fmpq(-_floor_on_grid(-value, _SLACK_BITS), fmpz(1) << _SLACK_BITS)


def _common_denominator(values: Sequence[fmpq]) -> fmpz:
    """The least common multiple of all denominators."""
    scale = fmpz(1)
    for value in values:
        # Those of the numbers of a property need not be powers of two.
        scale = scale * value.q // scale.gcd(value.q)
    return scale


def _times_weight(rows: list[list[fmpz]], weight: fmpz_mat) -> list[list[fmpz]]:
    return (fmpz_mat(rows) * weight).tolist() if rows else []
