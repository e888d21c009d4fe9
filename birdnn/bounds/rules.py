"""Linear bounds of the elementwise activations: the table that bound propagation looks up.

Over an interval [l, u] of its pre-activation z an activation lies between lines. Each rule gives two valid lower and
two valid upper lines; every convex combination of valid lines is valid, and that is the freedom which slope
optimisation uses. For ReLU the lower lines are 0 and z (CROWN, Zhang et al. 2018, arXiv:1811.00866; alpha-CROWN,
Xu et al. 2021, arXiv:2011.13824), for sigmoid and tanh tangents (DeepPoly, Singh et al. 2019).

All arithmetic is float64. Its rounding is accounted for: a line that was computed is moved away from the function by
more than it, and by more than what it costs to apply the line to a row with an entry for each neuron. Where float32
execution is spoken of, lines also leave room for the error of the activation itself (`birdnn.rounding`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.chain import Activation
from birdnn.operators import Function, activation_function, apply
from birdnn.rounding import BISECTIONS, FLOAT32, FLOAT64, LINE_ROUNDINGS, NARROW, SLOPE_ROOM, SMALLEST, Semantics


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """Lines around an activation, each tensor of shape (boxes, neurons).

    Attributes:
        low: two lower lines, as (slope, offset); an offset of None is zero.
        up: two upper lines; the same object twice where there is only one.
        start: first guess of the weight of the second line, lower and upper, in 0..1.
        size: largest absolute pre-activation.
    """

    low: tuple[Line, Line]
    up: tuple[Line, Line]
    start: Tensor
    size: Tensor | None = None

    @property
    def one_upper(self) -> bool:
        """True where the upper line leaves no choice."""
        return self.up[0] is self.up[1]

    def widened(self, computed: Tensor, executed: Tensor | None, size: Tensor) -> Relaxation:
        """The same lines further away: by `computed` where they have an offset, by `executed` all of them."""
        low = _move_lines(self.low, computed, executed, -1)
        return Relaxation(low, _move_lines(self.up, computed, executed, 1), self.start, size)

    def take(self, box: Tensor) -> Relaxation:
        """The relaxation of the boxes ``box``, in that order."""
        low, up = self.low[0].take(box), self.up[0].take(box)
        return Relaxation(
            (low, low if self.low[0] is self.low[1] else self.low[1].take(box)),
            (up, up if self.one_upper else self.up[1].take(box)),
            self.start[box],
            None if self.size is None else self.size[box],
        )


def _move_lines(lines: tuple[Line, Line], computed: Tensor, executed: Tensor | None, sign: int) -> tuple[Line, Line]:
    first = lines[0].moved(computed, executed, sign)
    return first, first if lines[0] is lines[1] else lines[1].moved(computed, executed, sign)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """``slope * z + offset`` for each neuron."""

    slope: Tensor
    offset: Tensor | None

    def moved(self, computed: Tensor, executed: Tensor | None, sign: int) -> Line:
        """See `Relaxation.widened`; up for a positive sign."""
        if self.offset is None:
            return self if executed is None else Line(self.slope, sign * executed)
        by = computed if executed is None else computed + executed
        return Line(self.slope, self.offset + sign * by)

    def at(self, z: Tensor) -> Tensor:
        """The line's value, shape of ``z``."""
        return self.slope * z if self.offset is None else torch.addcmul(self.offset, self.slope, z)

    def take(self, box: Tensor) -> Line:
        """The lines of the boxes ``box``, in that order."""
        return Line(self.slope[box], None if self.offset is None else self.offset[box])


Rule: TypeAlias = Callable[[Tensor, Tensor, float], Relaxation]
SlopeRule: TypeAlias = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def relax(activation: Activation, lower: Tensor, upper: Tensor, semantics: Semantics = "real") -> Relaxation:
    """Lines that hold for every pre-activation in ``lower .. upper``.

    Args:
        activation: which.
        lower, upper: shape (boxes, neurons).
        semantics: of which values they hold: those of the function, or those that a float32 execution returns.

    Raises:
        KeyError: no rule for this activation (the graph importer admits only those that have one).
    """
    relaxation = RULES[activation.kind](lower, upper, activation.alpha)
    size = torch.maximum(lower.abs(), upper.abs())
    # the first term is for the line itself: its value and slope are at most 1 (alpha, of ELU) and right within some
    # units in the last place, and so are the slope's products with a point of the interval and with the way from there
    # to an end; the second is for rows, which have an entry, and so a product and a sum, for each neuron
    computed = (LINE_ROUNDINGS + 2 * lower.shape[1]) * FLOAT64 * (1 + abs(activation.alpha)) * (1 + size)
    if _function_of(activation).straight == "both sides":  # elsewhere the lines are the function itself
        computed = computed.where((lower < 0) & (upper > 0), torch.zeros_like(computed))
    executed = execution_error(activation, lower, upper) if semantics == "float32" else None
    return relaxation.widened(computed, executed, size)


def execution_error(activation: Activation, lower: Tensor, upper: Tensor) -> Tensor | None:
    """How far what a float32 runtime returns may lie from the function, on ``lower .. upper``; None: nowhere."""
    if activation.kind == "relu":
        return None
    if activation.kind == "leaky_relu":
        share = FLOAT32 if abs(activation.alpha) >= SMALLEST else 1.0  # below it may be flushed to zero
        return share * abs(activation.alpha) * lower.clamp(max=0).abs() + SMALLEST
    error = _function_of(activation).float32_error
    if error is None:
        raise KeyError(f"what a float32 runtime errs by in activation {activation.kind!r} is unknown")
    # of each of these functions, also of an ELU that falls and rises again, the absolute value is largest at an end
    size = torch.maximum(activation_value(activation, lower).abs(), activation_value(activation, upper).abs())
    return max(1.0, abs(activation.alpha)) * error + FLOAT32 * size + SMALLEST


def activation_value(activation: Activation, z: Tensor) -> Tensor:
    """The activation itself, elementwise."""
    name, _ = activation_function(activation.kind)
    return apply(name, [z], {"alpha": activation.alpha})


def is_bent(activation: Activation, lower: Tensor, upper: Tensor) -> Tensor:
    """Where an activation may be nonlinear between ``lower`` and ``upper``, bool of their shape."""
    match _function_of(activation).straight:
        case "both sides":
            return (lower < 0) & (upper > 0)
        case "right":
            return lower < 0
        case "nowhere":
            return lower < upper


def computes_function(activation: Activation) -> bool:
    """Does it take more than comparisons and products, so that what float32 runtimes return differs?"""
    return _function_of(activation).float32_error is not None


def _function_of(activation: Activation) -> Function:
    return activation_function(activation.kind)[1]


def slope_range(activation: Activation, low: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest slope of an activation between two pre-activations, rounded outward; NaN of NaN."""
    least, most = SLOPES[activation.kind](low, up, activation.alpha)
    if _function_of(activation).straight == "both sides":  # nothing was computed
        return least, most
    return least - SLOPE_ROOM * (1 + least.abs()), most + SLOPE_ROOM * (1 + most.abs())


def _leaky(lower: Tensor, upper: Tensor, alpha: float) -> Relaxation:
    """max(z, alpha z) for alpha <= 1, min(z, alpha z) above; ReLU is alpha = 0."""
    loose = (lower < 0) & (upper > 0)
    width = (upper - lower).where(loose, torch.ones_like(upper))
    nothing = torch.full_like(lower, torch.nan)  # bounds of NaN: neither active nor inactive
    fixed = torch.where(lower >= 0, 1.0, torch.where(upper <= 0, alpha, nothing))
    chord_slope = ((upper - alpha * lower) / width).where(loose, fixed)
    chord_offset = ((alpha - 1) * lower * upper / width).where(loose, torch.zeros_like(lower))
    chord = Line(chord_slope, chord_offset)
    small = Line(torch.where(loose, alpha, fixed), None)
    large = Line(torch.where(loose, 1.0, fixed), None)
    # the line that leaves the smaller triangle, as CROWN has it; the checker's default is the same (`default_slopes` in
    # `birdnn/certify/check/lines.py`), and who changes one without the other may have certificates refused
    start = (upper > -lower).to(lower.dtype)
    if alpha <= 1:
        return Relaxation((small, large), (chord, chord), start)
    return Relaxation((chord, chord), (small, large), start)


def _relu(lower: Tensor, upper: Tensor, alpha: float) -> Relaxation:
    del alpha
    return _leaky(lower, upper, 0.0)


def _elu(lower: Tensor, upper: Tensor, alpha: float) -> Relaxation:
    """Convex for 0 <= alpha <= 1; otherwise constants wherever it is not (alpha > 1: a concave kink at zero)."""
    chord = _chord(lower, upper, lambda z: _elu_value(z, alpha))
    # half of each is the checker's default slope: the mean of those at both quarters
    near, far = torch.lerp(lower, upper, 0.25), torch.lerp(lower, upper, 0.75)
    low = tuple(_tangent(p, _elu_value(p, alpha), _elu_slope(p, alpha)) for p in (near, far))
    if not 0 <= alpha <= 1:
        bent = (lower < 0) & (upper > 0) if alpha > 0 else lower < 0
        at_lower, at_upper = _elu_value(lower, alpha), _elu_value(upper, alpha)
        # for alpha < 0 it falls until zero and rises from there
        floor = torch.minimum(at_lower, at_upper) if alpha > 0 else at_upper.where(upper < 0, torch.zeros_like(upper))
        low = tuple(_flat_where(bent, floor, line) for line in low)
        chord = _flat_where(bent, torch.maximum(at_lower, at_upper), chord)
    return Relaxation((low[0], low[1]), (chord, chord), torch.full_like(lower, 0.5))


def _sigmoid(lower: Tensor, upper: Tensor, alpha: float) -> Relaxation:
    del alpha
    return _s_shaped(lower, upper, torch.sigmoid, _sigmoid_slope, 1.0)


def _tanh(lower: Tensor, upper: Tensor, alpha: float) -> Relaxation:
    del alpha
    return _s_shaped(lower, upper, torch.tanh, _tanh_slope, 0.0)


def _s_shaped(
    lower: Tensor, upper: Tensor, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], twin: float
) -> Relaxation:
    """Lines of a function that is convex below zero, concave above, with ``f(-z) = twin - f(z)``."""
    up = _upper_tangents(lower, upper, f, slope)
    mirrored = _upper_tangents(-upper, -lower, f, slope)
    # f(z) = twin - f(-z) >= twin - (s * (-z) + t)
    low = tuple(Line(line.slope, twin - _offset_or_zero(line)) for line in mirrored)
    return Relaxation((low[0], low[1]), up, torch.full_like(lower, 0.5))


def _upper_tangents(
    lower: Tensor, upper: Tensor, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
) -> tuple[Line, Line]:
    """Two lines above an S-shaped ``f``: tangents on its concave side where these clear the lower end, else the chord.

    A tangent at d >= 0 that lies above f at ``lower`` lies above f on the whole interval: on the concave side by
    concavity, on the convex side because it does at both ends of it.
    """

    def clears(d: Tensor) -> Tensor:
        return f(d) + slope(d) * (lower - d) >= f(lower)

    far = upper.clamp(min=0)
    near = lower.clamp(min=0).minimum(far)  # invariant of the bisection: `far` clears wherever anything does
    concave = lower >= 0  # there every tangent is valid, whatever rounding makes of the test
    possible = (upper > 0) & (concave | clears(far))
    left = near.clone()
    right = far.clone()
    # any number is sound, since the right end always clears
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        good = clears(middle)
        right = torch.where(good, middle, right)
        left = torch.where(good, left, middle)
    least = torch.where(concave | clears(near), near, right)
    chord = _chord(lower, upper, f)
    lines = []
    for weight in (0.25, 0.75):
        point = torch.lerp(least, far, weight)
        # between two points that clear every one does, but the test may round otherwise: `far` has passed it
        point = torch.where(concave | clears(point), point, far)
        tangent = _tangent(point, f(point), slope(point))
        lines.append(
            Line(
                torch.where(possible, tangent.slope, chord.slope),
                torch.where(possible, _offset_or_zero(tangent), _offset_or_zero(chord)),
            )
        )
    return lines[0], lines[1]


def _chord(lower: Tensor, upper: Tensor, f: Callable[[Tensor], Tensor]) -> Line:
    """The line through both ends; a constant above both where the interval is a point or nearly so."""
    width = upper - lower
    # between closer ends the difference of two values is mostly rounding, and the chord's slope could be anything
    wide = width > NARROW
    at_lower, at_upper = f(lower), f(upper)
    slope = torch.where(wide, (at_upper - at_lower) / width.where(wide, torch.ones_like(width)), 0.0)
    # made to go through one end, the chord may pass below the other by what the slope is rounded by
    offset = torch.maximum(at_lower - slope * lower, at_upper - slope * upper)
    return Line(slope, torch.where(wide, offset, torch.maximum(at_lower, at_upper)))


def _tangent(point: Tensor, at_point: Tensor, slope: Tensor) -> Line:
    return Line(slope, at_point - slope * point)


def _offset_or_zero(line: Line) -> Tensor:
    return torch.zeros_like(line.slope) if line.offset is None else line.offset


def _flat_where(mask: Tensor, level: Tensor, line: Line) -> Line:
    return Line(
        torch.where(mask, torch.zeros_like(line.slope), line.slope), torch.where(mask, level, _offset_or_zero(line))
    )


def _elu_value(z: Tensor, alpha: float) -> Tensor:
    return torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0)))


def _elu_slope(z: Tensor, alpha: float) -> Tensor:
    return torch.where(z > 0, torch.ones_like(z), alpha * torch.exp(z.clamp(max=0)))


def _two_slopes(low: Tensor, up: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    # comparisons with NaN are false, and ``where`` would make a proper slope of it: bounds of NaN have to stay so
    nothing = torch.zeros_like(low).masked_fill(low.isnan() | up.isnan(), torch.nan)
    left, right = nothing + torch.where(low >= 0, 1.0, alpha), nothing + torch.where(up <= 0, alpha, 1.0)
    return torch.minimum(left, right), torch.maximum(left, right)


def _elu_slopes(low: Tensor, up: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """At the ends, and of the left branch at zero, where the slope jumps."""
    left, right = torch.where(low >= 0, 1.0, alpha * torch.exp(low)), torch.where(up <= 0, alpha * torch.exp(up), 1.0)
    return _hull([left, right, torch.where((low >= 0) | (up <= 0), left, alpha)])


def _bell_slopes(slope: Callable[[Tensor], Tensor]) -> SlopeRule:
    """Of a function whose slope is largest at zero and falls to both sides."""

    def slopes(low: Tensor, up: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        del alpha
        return _hull([slope(z) for z in (low, up, torch.zeros_like(low).maximum(low).minimum(up))])

    return slopes


def _hull(candidates: list[Tensor]) -> tuple[Tensor, Tensor]:
    stacked = torch.stack(candidates)
    return stacked.amin(0), stacked.amax(0)


def _sigmoid_slope(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z)


def _tanh_slope(z: Tensor) -> Tensor:
    return 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z)  # 1 - tanh(z) ** 2 cancels: at z = 18 nothing is right


RULES: dict[str, Rule] = {"relu": _relu, "leaky_relu": _leaky, "elu": _elu, "sigmoid": _sigmoid, "tanh": _tanh}
"""Kind of activation -> lines around it."""

SLOPES: dict[str, SlopeRule] = {
    "relu": lambda low, up, _: _two_slopes(low, up, 0.0),
    "leaky_relu": _two_slopes,
    "elu": _elu_slopes,
    "sigmoid": _bell_slopes(_sigmoid_slope),
    "tanh": _bell_slopes(_tanh_slope),
}
"""Kind of activation -> its least and greatest slope between two pre-activations, before rounding is accounted for."""
