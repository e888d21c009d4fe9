"""Backward propagation in float64, many boxes at a time, with its rounding accounted for.

The argument is under "Rounding in the checker" in docs/certificate.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birdnn.certify.check.layers import Chain
from birdnn.certify.check.lines import Floats, default_slopes, is_bent, line_offsets
from birdnn.certify.check.rounding import HUGE, MORE, TINY, UNDERFLOW, round_towards_zero, round_up
from birdnn.certify.check.tree import Items, Rows

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class _Map:
    """A layer in float64; ``slack_weight @ |h| + slack_bias`` covers execution, representation and this checker."""

    weight: Floats
    bias: Floats
    size: Floats
    slack_weight: Floats
    slack_bias: Floats


@dataclass(frozen=True)
class _Lines:
    """Lines around a layer's activation as functions of ``weight @ h``, (boxes, neurons): the bias and all errors
    of the layer are in the offsets."""

    low: Floats
    low_offset: Floats
    up: Floats
    up_offset: Floats

    def of(self, box: np.ndarray) -> _Lines:
        """A copy for each entry of ``box``."""
        return _Lines(self.low[box], self.low_offset[box], self.up[box], self.up_offset[box])


class FloatEngine:
    """`Engine` in float64.

    Args:
        chain: the network.
        single: do statements speak about executions in single precision?
    """

    name = "float64"

    def __init__(self, chain: Chain, single: bool) -> None:
        widest = max(max(layer.weight.shape) for layer in chain.layers)
        # N of docs/certificate.md: the terms of the longest sum and what else is done to one number on a way through
        # all layers; twice what is needed. A weight is truncated, which errs by less than two roundings: two of the 40.
        self.gamma = 2 * (widest + 4 * len(chain.layers) + 40) * 2.0**-53
        self.activations = [layer.activation for layer in chain.layers if layer.activation is not None]
        self.layers = []
        self.last_error: tuple[Floats, Floats] | None = None
        for layer in chain.layers:
            weight, bias = round_towards_zero(layer.weight), round_towards_zero(layer.bias)
            # Rounding is paid in the layer where it arises, as slack. A weight that was rounded to zero may meet h of
            # any size below `HUGE`: the constants pay for these, and keep infinity times zero from being NaN.
            slack_weight, slack_bias = self.gamma * np.abs(weight) + 2.0**-1000, self.gamma * np.abs(bias) + TINY
            # Behind a ReLU h is not negative, so that an execution's error is a linear function of it: `planes`
            # subtracts that, which is far less than a bound over the box where rows cancel.
            if single and layer is chain.layers[-1] and chain.ends_in_relu:
                self.last_error = round_up(layer.error_weight), round_up(layer.error_bias)
            elif single:
                slack_weight, slack_bias = (
                    slack_weight + round_up(layer.error_weight),
                    slack_bias + round_up(layer.error_bias),
                )
            self.layers.append(_Map(weight, bias, np.abs(weight), slack_weight, slack_bias))

    def start(self, rows: Rows, boxes: int) -> FloatPass:
        """Nothing known yet about ``boxes`` boxes."""
        return FloatPass(self, rows)


class FloatPass:
    """`Pass` in float64."""

    def __init__(self, engine: FloatEngine, rows: Rows) -> None:
        self.engine, self.rows = engine, rows
        self.slack: list[Floats] = []
        self.bounds: list[tuple[Floats, Floats, Floats]] = []
        self.lines: list[_Lines] = []
        self.height: list[Floats] = []

    def enter(self, k: int, h: Floats) -> None:
        """Begin layer ``k``, whose inputs do not exceed ``h`` (boxes, in)."""
        layer = self.engine.layers[k]
        # Written so that NaN becomes infinity: nothing is known there.
        h = np.where(h <= HUGE, h, np.inf)
        slack = (h @ layer.slack_weight.T + layer.slack_bias) * MORE
        self.height.append((h @ layer.size.T + np.abs(layer.bias) + slack) * MORE)
        # Beyond `HUGE` underflow of rows is no longer paid by `UNDERFLOW`; a sigmoid would make such a number small
        # again, so that it has to be caught here.
        self.slack.append(np.where(self.height[-1] <= HUGE, slack, np.inf))

    def neurons(
        self, k: int, box: np.ndarray, neuron: np.ndarray, corners: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """Lower and upper bounds of pre-activations of layer ``k``, one for each entry of ``box`` and ``neuron``."""
        low, high = np.empty(len(box)), np.empty(len(box))
        layer = self.engine.layers[k]
        if k == 0:
            return self._first_layer(corners, box, neuron)
        for start in range(0, len(box), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            i, j = box[part], neuron[part]
            # The upper bound is the lower one of the negated row; the slack is subtracted from both.
            rows = np.stack([layer.weight[j], -layer.weight[j]])
            constant = np.stack([layer.bias[j], -layer.bias[j]]) - self.slack[k][i, j]
            for m in range(k - 1, -1, -1):
                rows, constant = self._propagate_layer(m, rows, constant, self.lines[m].of(i))
            both = self._minimum_over_boxes(rows, constant, corners[0][i], corners[1][i])
            low[part], high[part] = both[0], -both[1]
        return low, high

    def _first_layer(
        self, corners: tuple[Floats, Floats], box: np.ndarray, neuron: np.ndarray
    ) -> tuple[Floats, Floats]:
        """`neurons` of the first layer, whose rows are the same for all boxes."""
        layer, (lower, upper) = self.engine.layers[0], corners
        # A minimum over a box errs by gamma times what the row meets: the corners move outward by that.
        wide = self.engine.gamma * np.maximum(np.abs(lower), np.abs(upper)) + TINY
        negative = np.minimum(layer.weight, 0.0)
        positive = layer.weight - negative
        low = (lower - wide) @ positive.T + (upper + wide) @ negative.T + (layer.bias - self.slack[0])
        high = (upper + wide) @ positive.T + (lower - wide) @ negative.T + (layer.bias + self.slack[0])
        known = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(known, low - UNDERFLOW, -np.inf), np.where(known, high + UNDERFLOW, np.inf)
        return low[box, neuron], high[box, neuron]

    def relax(self, k: int, l: Floats, u: Floats, error: Floats) -> None:
        """Fix the default lines of layer ``k`` for pre-activations in ``l .. u`` (boxes, neurons)."""
        low, below, high, above = self._default_lines(k, l, u)
        self.bounds.append((l, u, error))
        bias = self.engine.layers[k].bias
        self.lines.append(
            _Lines(
                low,
                self._safe_offset(below, low, bias, self.slack[k], error, -1.0),
                high,
                self._safe_offset(above, high, bias, self.slack[k], error, 1.0),
            )
        )

    def _default_lines(self, k: int, l: Floats, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Slope and offset of the default lines below, then of those above, as functions of pre-activations."""
        act = self.engine.activations[k]
        low, high = default_slopes(act, l, u)
        return low, line_offsets(act, l, u, low)[0], high, line_offsets(act, l, u, high)[1]

    def _safe_offset(
        self, offset: Floats, slope: Floats, bias: Floats, slack: Floats, error: Floats, side: float
    ) -> Floats:
        """The offset of a line as a function of ``weight @ h``, moved to the safe side (up where ``side`` is 1)."""
        # The slack is that of z, which the slope multiplies; ``error`` is that of the activation itself.
        wide = np.abs(slope) * slack + error + self.engine.gamma * np.abs(offset) + TINY
        out: Floats = offset + slope * bias + side * wide
        return out

    def planes(self, items: Items) -> tuple[Floats, Floats]:
        """Planes below the items' combinations: coefficients (items, inputs) and constants (items,)."""
        a, b = self.rows.a[items.polytope], self.rows.b[items.polytope]
        gamma, slack = self.engine.gamma + 2 * b.shape[1] * 2.0**-53, self.slack[-1][items.box]  # rows are added up too
        rows = np.einsum("ir,iro->io", items.multipliers, a)
        # Errors do not cancel where rows do: absolute values are combined.
        wide = np.einsum("ir,iro->io", items.multipliers, np.abs(a)) * MORE
        bound = np.einsum("ir,ir->i", items.multipliers, b)
        constant = rows @ self.engine.layers[-1].bias - bound
        constant -= np.einsum("io,io->i", wide, slack + gamma * self.height[-1][items.box])
        # Bounds were rounded when they were stored, and are added up with as many roundings as rows.
        constant -= gamma * np.einsum("ir,ir->i", items.multipliers, np.abs(b))
        rows = rows @ self.engine.layers[-1].weight
        if self.engine.last_error is not None:  # of an execution: a linear function of inputs that are not negative
            rows = rows - wide @ self.engine.last_error[0] * MORE
            constant -= wide @ self.engine.last_error[1] * MORE
        rows, constant = rows[None], constant[None]
        for m in range(len(self.lines) - 1, -1, -1):
            rows, constant = self._propagate_layer(
                m, rows, constant, self._lines_of_items(m, items), self._side_terms(m, items)
            )
        return rows[0], constant[0]

    def _side_terms(self, m: int, items: Items) -> tuple[Floats, Floats] | None:
        """What the sides of layer ``m`` add to rows on ``weight @ h`` (items, neurons) and to constants (items,)."""
        if not items.sides or not len(items.sides[m].item):
            return None
        sides, box = items.sides[m], items.box[items.sides[m].item]
        bias = self.engine.layers[m].bias[sides.neuron]
        # an item's sums of these have so many terms more, each off by v times its size
        errs = self.engine.gamma * (1 + sides.count) * (self.height[m][box, sides.neuron] + np.abs(sides.at))
        wide = self.slack[m][box, sides.neuron] + errs
        signed = sides.side * sides.beta
        rows, constant = np.zeros((len(items.box), len(self.engine.layers[m].bias))), np.zeros(len(items.box))
        # Unbuffered: a neuron may be split at several places above one item, of which ``-=`` would count one.
        np.subtract.at(rows, (sides.item, sides.neuron), signed)
        np.subtract.at(constant, sides.item, signed * (bias - sides.at) + sides.beta * wide)
        return rows, constant

    def _lines_of_items(self, m: int, items: Items) -> _Lines:
        """The lines of layer ``m`` for each item, its own slopes in place of the default ones."""
        lines = self.lines[m].of(items.box)
        item, neuron, slope = items.slopes[m]
        if not len(item):
            return lines
        act, box = self.engine.activations[m], items.box[item]
        l, u, error = (side[box, neuron] for side in self.bounds[m])
        # Where the activation is linear its own line stays: a stored slope would only be worse.
        keep = is_bent(act, l, u)
        item, neuron, slope = item[keep], neuron[keep], slope[keep]
        l, u, error = l[keep], u[keep], error[keep]
        below, above = line_offsets(act, l, u, slope)
        slack, bias = self.slack[m][items.box[item], neuron], self.engine.layers[m].bias[neuron]
        lines.low[item, neuron] = lines.up[item, neuron] = slope
        lines.low_offset[item, neuron] = self._safe_offset(below, slope, bias, slack, error, -1.0)
        lines.up_offset[item, neuron] = self._safe_offset(above, slope, bias, slack, error, 1.0)
        return lines

    def _propagate_layer(
        self, m: int, rows: Floats, constant: Floats, lines: _Lines, more: tuple[Floats, Floats] | None = None
    ) -> tuple[Floats, Floats]:
        """From rows (sides, n, out) on the outputs of layer ``m``'s activation to rows on the layer's inputs.

        ``more`` is added to the rows between activation and weights, and to the constants.
        """
        # Positive coefficients take the line below, negative ones the line above. NaN stays NaN, and proves nothing.
        negative = np.minimum(rows, 0.0)
        positive = rows - negative
        constant = constant + np.einsum("srn,rn->sr", positive, lines.low_offset)
        constant += np.einsum("srn,rn->sr", negative, lines.up_offset)
        positive *= lines.low
        negative *= lines.up
        positive += negative  # in place: what a pass needs stays in the processor's cache
        if more is not None:
            positive, constant = positive + more[0], constant + more[1]
        return positive @ self.engine.layers[m].weight, constant

    def minimum(self, planes: tuple[Floats, Floats], which: np.ndarray, corners: tuple[Floats, Floats]) -> Floats:
        """Minimum of the planes ``which`` over a box each, rounded down; minus infinity where nothing is known."""
        least: Floats = self._minimum_over_boxes(planes[0][which][None], planes[1][which][None], *corners)[0]
        return least

    def _minimum_over_boxes(self, rows: Floats, constant: Floats, lower: Floats, upper: Floats) -> Floats:
        wide = self.engine.gamma * np.maximum(np.abs(lower), np.abs(upper)) + TINY
        negative = np.minimum(rows, 0.0)
        least = np.einsum("srn,rn->sr", rows - negative, lower - wide)
        least += np.einsum("srn,rn->sr", negative, upper + wide)
        least += constant
        # Products of a row that underflow were counted nowhere else; this one number is more than all of them.
        return np.where(np.isfinite(least), least - UNDERFLOW, -np.inf)
