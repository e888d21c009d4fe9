"""Thresholds that are touched: boxes on which the margin reaches zero, which no bound in float64 excludes, exactly.

The output behind a ReLU is never negative, and ``y < 0`` is out of reach by nothing: every bound that accounts for its
rounding stays below zero, however small the boxes. Two ways decide such boxes. Intervals in float64 may have exact ends
(a ReLU's lower end is zero, in any execution too), and the rows are evaluated at them exactly. Over the reals small
networks are bounded in exact arithmetic: every value is an exact affine function of the inputs plus a ball, as in
affine arithmetic, in which neurons that do not change their sign are exact and others are relaxed. A bound of zero then
excludes a strict row, and one that is not strict where zero is attained only at a side that the property excludes.

A certificate has no form for such a box, so that those with something to spare are left to the bounds that it has.

Source: affine arithmetic, Stolfi and de Figueiredo 1997; DeepZ, Singh et al. 2018, for the relaxation of ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from birdnn.bounds.interval import propagate
from birdnn.boxes import Boxes
from birdnn.errors import UnsupportedOpError, out_of_memory
from birdnn.graph import Node
from birdnn.merging import Merging, mergings
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.rounding import Semantics
from birdnn.sample.pieces import multiplications
from birdnn.spec import Polytope, Region, Row
from birdnn.verify.balls import PRECISION, Balls, NotEvaluated, Whole, add, align_exponents, negate
from birdnn.verify.exactly import RULES, move_entries
from birdnn.verify.work import Step

EXACT = 200_000
"""Multiplications by exact numbers, about a microsecond each, that one box may take."""

_FAILURES = 2_000_000  # such multiplications of attempts that decide nothing, in a search
_ATTEMPT = 2_000  # what an attempt costs beside them
_NEAR = 1e-9  # of the size of a threshold: bounds that are this close to zero may touch it
_LAST_BITS = 2.0**-46  # of the size of a threshold: as much is lost to rounding
_AT_ONCE = 20_000  # multiplications that are spent on the first box, however far from zero its bound is
_SUMS, _PRODUCTS = frozenset({"Add", "Sub"}), frozenset({"Gemm", "MatMul", "Mul"})
_LINEAR_IN_FIRST = frozenset({"AveragePool", "BatchNormalization", "Conv", "Div", "GlobalAveragePool"})
_CURVED = frozenset({"Clip", "Elu", "LeakyRelu", "MaxPool", "Sigmoid", "Tanh"})
"""Operators that are linear in all of their values, in any one, in the first; and others with rules for balls."""
_STEPS = 8  # bits of a slope

Ends: TypeAlias = tuple[Fraction, bool]
"""An end of an input's range, and whether the property excludes it."""


class Touching:
    """Decides boxes exactly, as long as that is worth it.

    Args:
        net: with the numbers of its file, in the file's type.
        semantics: what is spoken of.

    Attributes:
        closed: how many boxes were decided so.
    """

    def __init__(self, net: Network, semantics: Semantics) -> None:
        self.closed = 0
        self._net, self._semantics = net, semantics
        work = multiplications(net) * (net.n_inputs + 1)
        self._forms = _Forms(net) if semantics == "real" and work <= EXACT else None
        self._cost, self._left = 2 * work + _ATTEMPT, _FAILURES
        self._first = work <= _AT_ONCE

    def close(self, region: Region, step: Step, *, first: bool) -> tuple[Step, list[Boxes]]:
        """The step without boxes that stay open in float64 only; of a small network the `first` one is tried anyway.

        Where one was decided no certificate can be written.

        Returns:
            The step; and boxes that are taken from it as nothing decides them: no exact form is made, or no more, and
            their margin is zero to the last bits, at a corner, so that no bound in float64 will exclude it.
        """
        size = max((float(p.b.abs().max()) for p in region.unsafe if p.rows), default=0.0)
        room = _NEAR * (1 + size)
        near = ((step.left.score > -room) | (first and self._first)).cpu()
        kept = torch.ones(len(near), dtype=torch.bool)
        for place in near.nonzero().flatten().tolist():
            if self._left <= 0:
                break
            opened = step.remains.opened[place].tolist()
            polytopes = [p for p, still in zip(region.unsafe, opened, strict=True) if still]
            corners = [side[place].tolist() for side in (step.remains.boxes.lower, step.remains.boxes.upper)]
            spare = self.spare(region, corners[0], corners[1], polytopes)
            kept[place] = spare is None or spare > room
            # only what decides nothing is charged: an attempt that closes a box spares all of its halves
            self._left -= self._cost if kept[place] else 0
        self.closed += int((~kept).sum())
        # where exact forms are still made, halves may be closed by them: they are worth a cut
        stuck = near & kept
        if bool(stuck.any()) and (self._forms is None or self._left <= 0):
            stuck[stuck.clone()] = self._attained_margins(region, step, stuck).abs() <= _LAST_BITS * (1 + size)
        else:
            stuck[:] = False
        kept &= ~stuck
        if bool(kept.all()):
            return step, []
        device = step.left.score.device
        return _step_with(step, kept.to(device)), [step.remains.boxes[stuck.to(device)]] if bool(stuck.any()) else []

    def _attained_margins(self, region: Region, step: Step, which: Tensor) -> Tensor:
        """Margins in float64 where the bounds of some open boxes are attained."""
        which = which.to(step.left.score.device)
        parent, boxes = step.left.parent[which], step.remains.boxes[which]
        plane = step.result.plane[torch.searchsorted(step.result.box, parent), -1]
        with torch.no_grad():
            return region.margin(self._float64_net(torch.where(plane > 0, boxes.lower, boxes.upper).cpu()))

    def spare(
        self, region: Region, lower: Sequence[float], upper: Sequence[float], polytopes: Sequence[Polytope]
    ) -> Fraction | None:
        """By how much all polytopes are out of reach of a box, within the region; None where that is not known.

        Not negative; zero is a proof too.
        """
        box = [
            _exact_ends(region, index, low, high) for index, (low, high) in enumerate(zip(lower, upper, strict=True))
        ]
        empty = any(low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])) for low, high in box)
        if empty and self._semantics == "real":  # runs may be at a number beside the region, see `Region.nearest`
            return Fraction(0)
        found: list[Fraction | None] = [None] * len(polytopes)
        try:
            for least in self._spare_methods(lower, upper, box):
                for place, polytope in enumerate(polytopes):
                    spares = [spare for row in _rows_and_sum(polytope) if (spare := least(row)) is not None]
                    if found[place] is None and spares:
                        found[place] = max(spares)
                if None not in found:
                    return min(spare for spare in found if spare is not None)
        except (NotEvaluated, UnsupportedOpError):
            return None
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        return None

    def _spare_methods(
        self, lower: Sequence[float], upper: Sequence[float], box: Sequence[tuple[Ends, Ends]]
    ) -> Iterator[Callable[[Row], Fraction | None]]:
        """Functions that tell by how much a row is out of reach, None where it may be within; the cheapest first."""
        corners = [torch.tensor([side], dtype=torch.float64) for side in (lower, upper)]
        with torch.no_grad():
            ends = propagate(self._float64_net, corners[0], corners[1], self._semantics, self._runtime_mergings)
        low, high = (end[0].tolist() for end in ends)
        # the cheapest first; rows are asked of the next one only where this one fails
        yield lambda row: _spare_of_ends(row, low, high)
        if self._forms is None:
            return
        # neither is the tighter one: an interval knows that a ReLU is not negative, a slope how values belong together
        for relaxed in (False, True):
            output = self._forms.outputs(box, relaxed)
            yield lambda row, output=output: _spare_of_form(row, output, box)  # type: ignore[misc]

    @cached_property
    def _float64_net(self) -> Network:
        return self._net.copy().double().cpu()

    @cached_property
    def _runtime_mergings(self) -> Mapping[str, Merging] | None:
        return mergings(self._net.graph, self._net.values()) if self._semantics == "float32" else None


def _rows_and_sum(polytope: Polytope) -> tuple[Row, ...]:
    """Its rows, and their sum: an output in all of them lies in that as well."""
    if len(polytope.rows) < 2:
        return polytope.rows
    rows = [row.normal() for row in polytope.rows]
    # scaled alike by `normal`, or a row in large units would drown the others
    coefficients = tuple(sum(column, Fraction(0)) for column in zip(*(row.coefficients for row in rows), strict=True))
    total = Row(coefficients, sum((row.bound for row in rows), Fraction(0)), any(row.strict for row in rows))
    return (*polytope.rows, total)


def _exact_ends(region: Region, index: int, low: float, high: float) -> tuple[Ends, Ends]:
    """The ends of an input's range in a box, within the region's."""
    exact = region.exact_lower[index], region.exact_upper[index]
    below, above = max(exact[0], Fraction(low)), min(exact[1], Fraction(high))
    # only at the region's own side: a side that a cut of the box made belongs to it
    strict = region.strict_lower[index] and below == exact[0], region.strict_upper[index] and above == exact[1]
    return (below, strict[0]), (above, strict[1])


def _spare_of_ends(row: Row, low: Sequence[float], high: Sequence[float]) -> Fraction | None:
    row = row.normal()
    ends = [(c, low[i] if c > 0 else high[i]) for i, c in enumerate(row.coefficients) if c]
    if not all(math.isfinite(end) for _, end in ends):
        return None
    least = sum((c * Fraction(end) for c, end in ends), -row.bound)
    return least if least > 0 or (least == 0 and row.strict) else None


def _step_with(step: Step, kept: Tensor) -> Step:
    """The step with those of its open boxes only that are ``kept``, (boxes,) bool."""
    left = step.left
    names = ("parent", "boxes", "opened", "score", "edge", "suspicious")
    left = replace(left, **{name: getattr(left, name)[kept] for name in names})
    return replace(step, left=left, remains=step.remains[kept])


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """``sum of columns[j] * x_j + rest``: the columns exact, one for each input, or none; the rest a ball."""

    columns: tuple[Balls, ...]
    rest: Balls

    def exact_columns(self) -> tuple[Balls, ...]:
        """The columns, once they are seen to be exact: very long numbers are rounded, and of no use here any more.

        Raises:
            NotEvaluated: one has been rounded.
        """
        if any(column.rad is not None for column in self.columns):
            raise NotEvaluated("a slope that is not exact")
        return self.columns


class _Forms:
    """The values of a network as affine forms."""

    def __init__(self, net: Network) -> None:
        self._net = net
        self._constants: dict[str, _Form] | None = None

    def outputs(self, box: Sequence[tuple[Ends, Ends]], relaxed: bool) -> _Form:
        """The network's outputs on a box; `relaxed`: ReLUs that change sign keep a slope, else they are intervals.

        Raises:
            NotEvaluated: an operator has no rule for whole boxes.
        """
        net = self._net
        if self._constants is None:
            self._constants = {name: _Form((), Balls.of(value)) for name, value in net.values().items()}
        values = dict(self._constants)
        unit = np.array([[int(i == j) for i in range(net.n_inputs)] for j in range(net.n_inputs)], dtype=object)
        columns = tuple(Balls(row.reshape(net.input_shape), None, 0) for row in unit)
        values[net.input_name] = _Form(columns, _zeros_like(columns[0]))
        for node in net.nodes:
            parts = [values[name] for name in node.inputs]
            values[node.output] = self._apply_node(node, parts, _Box(box), relaxed)
        return values[net.output_name]

    def _apply_rule(self, node: Node, inputs: list[Balls]) -> Balls:
        rule = RULES.get(node.op)
        if rule is not None:
            return rule(inputs, node.attributes)
        return move_entries(node, inputs, [self._net.shape_of(name) for name in node.inputs])

    def _apply_node(self, node: Node, parts: list[_Form], box: _Box, relaxed: bool) -> _Form:
        if not any(part.columns for part in parts):
            return _Form((), self._apply_rule(node, [part.rest for part in parts]))
        if node.op == "Relu":
            return _relu(parts[0], box, relaxed)
        if node.op in _CURVED:
            return _Form((), self._apply_rule(node, [box.range(part) for part in parts]))
        affine = [bool(part.columns) for part in parts]
        # a value that depends on the input may have no columns any more, when it was made an interval
        moving = [name in self._net.graph.dependent or name == self._net.input_name for name in node.inputs]
        linear = operator(node.op).moves or node.op in _SUMS or (node.op in _PRODUCTS and sum(moving) == 1)
        if linear or (node.op in _LINEAR_IN_FIRST and sum(moving) == 1 and moving[0]):
            nothing = [
                _zeros_like(part.rest) if moves else part.rest for part, moves in zip(parts, moving, strict=True)
            ]
            # what is affine in the inputs adds its constant to each column, and the constant is taken off again
            shift = negate(self._apply_rule(node, nothing))
            columns = []
            for j in range(box.n_inputs):
                inputs = [p.columns[j] if has else zero for p, has, zero in zip(parts, affine, nothing, strict=True)]
                columns.append(add(self._apply_rule(node, inputs), shift))
            if all(column.rad is None for column in columns):
                return _Form(tuple(columns), self._apply_rule(node, [part.rest for part in parts]))
            # a slope was rounded, by a quotient or for its length: no form may have it, and an interval remains
            return _Form((), self._apply_rule(node, [box.range(part) for part in parts]))
        raise NotEvaluated(f"operator {node.op} on a box")


class _Box:
    """The exact box, over one denominator."""

    def __init__(self, box: Sequence[tuple[Ends, Ends]]) -> None:
        self.n_inputs = len(box)
        # ends may be decimals, over which no power of two is a denominator
        self.over = math.lcm(*(end[0].denominator for ends in box for end in ends))
        self.low, self.high = ([int(ends[side][0] * self.over) for ends in box] for side in (0, 1))

    def ends(self, form: _Form) -> tuple[Whole, Whole, int]:
        """Numbers, times ``2**exponent / over``, that hold the form's values, and the exponent."""
        *columns, rest = align_exponents([*form.exact_columns(), form.rest])
        low, high = (end * self.over for end in rest.ends())
        for column, least, most in zip(columns, self.low, self.high, strict=True):
            low = low + np.where(column.mid > 0, column.mid * least, column.mid * most)
            high = high + np.where(column.mid > 0, column.mid * most, column.mid * least)
        return low, high, rest.exponent

    def dyadic(self, low: Whole, high: Whole, exponent: int) -> tuple[Whole, Whole, int]:
        """The same over a power of two alone, rounded outward."""
        # the power of two in the denominator costs nothing; only the odd part of it rounds
        power = (self.over & -self.over).bit_length() - 1
        odd = self.over >> power
        if odd == 1:
            return low, high, exponent - power
        return (low << PRECISION) // odd, -((-high << PRECISION) // odd), exponent - power - PRECISION

    def range(self, form: _Form) -> Balls:
        """A ball that holds the form's values."""
        if not form.columns:
            return form.rest
        low, high, exponent = self.dyadic(*self.ends(form))
        return Balls(low + high, high - low, exponent - 1)


def _zeros_like(one: Balls) -> Balls:
    return Balls(np.zeros_like(one.mid), None, 0)


def _relu(form: _Form, box: _Box, relaxed: bool) -> _Form:
    """``relu(z) = slope * z + r`` with ``0 <= r <= max(-slope * low, (1 - slope) * high)``, for slopes from 0 to 1.

    Where z does not change its sign the slope is 1 or 0, and r is 0.
    """
    low, high, exponent = box.ends(form)
    steps = 1 << _STEPS
    width = np.maximum(high - low, 1)
    # any slope from 0 to 1 is sound; a whole number of 256ths keeps integers short
    between = (2 * steps * np.maximum(high, 0) + width) // (2 * width) if relaxed else np.zeros_like(low)
    slope = np.where(low >= 0, steps, np.where(high <= 0, 0, between))
    low, high, exponent = box.dyadic(low, high, exponent)
    most = np.maximum(np.where(slope < steps, (steps - slope) * high, 0), np.where(slope > 0, -slope * low, 0))
    most = np.maximum(most, 0)
    columns = tuple(Balls(column.mid * slope, None, column.exponent - _STEPS) for column in form.columns)
    rad = None if form.rest.rad is None else form.rest.rad * slope
    scaled = Balls(form.rest.mid * slope, rad, form.rest.exponent - _STEPS)
    rest = add(scaled, Balls(most, most, exponent - _STEPS - 1)) if any(most.flat) else scaled
    return _Form(tuple(column.shortened() for column in columns), rest.shortened())


def _spare_of_form(row: Row, output: _Form, box: Sequence[tuple[Ends, Ends]]) -> Fraction | None:
    row = row.normal()
    used = [(index, c) for index, c in enumerate(row.coefficients) if c]
    balls = [(c, output.rest.fraction(index)) for index, c in used]
    least = sum((c * mid - abs(c) * rad for c, (mid, rad) in balls), -row.bound)
    attained = True
    for column, (low, high) in zip(output.exact_columns(), box, strict=bool(output.columns)):
        slope = sum((c * column.fraction(index)[0] for index, c in used), Fraction(0))
        # the least value is attained at this end alone; a point there is no input if the property excludes it
        end, excluded = low if slope > 0 else high
        least += slope * end
        attained &= not (slope and excluded)
    return least if least > 0 or (least == 0 and (row.strict or not attained)) else None
