"""Backward bound propagation with optimised slopes, for networks that fold to a chain of affine maps and activations.

The bound is CROWN (Zhang et al. 2018, arXiv:1811.00866), equivalently DeepPoly (Singh et al. 2019): replace each
activation by lines and push a linear function of the outputs back to the inputs, where its minimum over a box is
exact. Three things make it fast enough to cut a domain into a hundred thousand boxes:

* only neurons whose sign is still open are bounded anew; the halves of a box inherit everything else. The rows of all
  boxes are propagated as one matrix, because the weights are the same for all boxes;
* slopes are optimised for the final rows only, the bounds of inner neurons stay fixed (alpha-CROWN, Xu et al. 2021,
  arXiv:2011.13824, reduced to the part that pays here), by signed-gradient steps with hand-written derivatives;
* the rows of a conjunction are weighed by multipliers, optimised in the same steps: one joint bound, not the best row.

All arithmetic is float64, and its rounding is accounted for. The pre-activations ``z`` that are bounded are those of a
network in which every affine map may err by as much as a float32 execution does, if that is spoken of, and by as much
as our own float64 arithmetic makes of a row that is propagated through it (`_Layer.slack`): backward propagation
subtracts ``|row| @ slack``. What a row errs by at an activation is in the lines (`birdnn.bounds.rules`), what the last
products err by, and what underflows anywhere, is in `minimum_of`. `docs/soundness.md` has the argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import torch
from torch import Tensor

from birdnn.bounds.minima import combine_rows, minimum_of, or_unknown, outward_radius, step_multipliers
from birdnn.bounds.protocol import BoundResult, Choices, Question
from birdnn.bounds.rules import Relaxation, activation_value, computes_function, execution_error, is_bent, relax
from birdnn.bounds.slopes import Slopes, slopes_used
from birdnn.boxes import Boxes
from birdnn.chain import Activation, Affine, Chain, NotAChain, chain_on_device
from birdnn.network import Network
from birdnn.records.limits import Over, never, require_time
from birdnn.rounding import (
    COUNTED_ROWS,
    FLOAT32,
    FLOAT64,
    LARGEST,
    LOST64,
    RANGE64,
    SMALLEST,
    SMALLEST64,
    SUM_ROUNDINGS,
    Semantics,
    gamma,
)

_ROOM = 1 + 2.0**-36  # the checker of a certificate rounds differently
_PASS = 1e9  # multiplications between two looks at the clock, a fraction of a second
_ON_DEVICE = 32  # times as much in one pass: a graphics device has no cache to stay in, and wants to be filled
_FEW_ROWS = 64
_APART = 2.0**-20
"""How much less of a plane clips boxes, and closes them where a certificate is wanted, if activations bend everywhere.
There the checker finds lines of its own, its bounds of neurons differ from ours, and either side's plane may be the
higher one, by 3e-7 as far as seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """When a box is split by the signs of neurons, and how much effort goes into that.

    Attributes:
        few: neurons that may be undecided on such a box, and inputs that a network may have, at most.
        nodes: of a tree, at most.
        steps: on slopes and multipliers, at each node.
        tried: neurons of which both sides are bounded before one is split.
    """

    few: int = 40
    nodes: int = 61
    steps: int = 20
    tried: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CrownSettings:
    """How much effort goes into one box.

    Attributes:
        steps: signed-gradient steps on slopes and multipliers of the final rows.
        inner_steps: on slopes of rows of inner neurons whose sign is open, each for itself; the compiled loops do them,
            where no choices are recorded and the network is no larger than they are made for.
        step_size: first step; slopes and multipliers live in 0..1.
        decay: factor from one step to the next.
        hope: an item is left to its halves that would stay open if all steps to come gained so many times what the
            last three did; an inner neuron, so many times what the last step did.
        rows_per_pass: rows of inner neurons that are propagated together, fewer of a large network; chosen to stay in
            the processor's cache. On a graphics device more.
        splits: of neurons, which the compiled loops do; None for none.
    """

    steps: int = 6
    inner_steps: int = 0
    step_size: float = 0.4
    decay: float = 0.7
    hope: float = 2.0
    rows_per_pass: int = 4096
    splits: SplitSettings | None = None


class _Layer:
    """An affine map, and how much it errs.

    Attributes:
        weight, bias, size: the map, and the absolute values of its weights.
    """

    def __init__(self, layer: Affine, depth: int, semantics: Semantics, *, limited: bool) -> None:
        self.weight, self.bias, self.size = layer.weight, layer.bias, layer.weight.abs()
        self.terms = layer.terms
        # those of folding, of a row's products with the map, and of sums over all layers
        ours = layer.terms.roundings + sum(layer.weight.shape) + SUM_ROUNDINGS * depth
        self.factor = 4 * gamma(ours, FLOAT64)
        self.executed = _ROOM * gamma(layer.terms.roundings, FLOAT32) if semantics == "float32" else 0.0
        # an execution overflows before a bound does; where only bounds count, intermediate values may be any
        self.peak = layer.terms.peak if semantics == "float32" else 1.0
        # a Clip that ends at the largest float32 is a ReLU only below it, over the reals too
        self.largest = LARGEST if semantics == "float32" or limited else RANGE64
        self.smallest = layer.lost * SMALLEST64
        if semantics == "float32":
            self.smallest += (layer.terms.underflow + layer.terms.merging) * SMALLEST

    def slack(self, reach: Tensor, *, executed: bool = True) -> Tensor:
        """How far each result may lie from the exact one, (boxes, out), given bounds of absolute inputs, (boxes, in).

        Infinite where an execution may overflow, or a value is too large for `LOST64`. Without `executed`: but for what
        `linear_error` says.
        """
        terms = torch.addmm(self.terms.bias, reach, self.terms.weight.T)
        slack = (self.factor + (self.executed if executed else 0.0)) * terms
        slack += self.smallest * (1 + reach.amax(1, keepdim=True))
        peak = self.peak * reach.amax(1, keepdim=True).clamp(min=1)
        # NaN fails both comparisons, and infinite slack proves nothing
        return slack.where((terms < self.largest) & (peak < self.largest), torch.inf)

    @property
    def steepest(self) -> float:
        """How much larger the entries of a row may become on their way through the map."""
        return max(1.0, float(self.terms.weight.sum(0).max()))

    def linear_error(self, absolute: Tensor) -> tuple[Tensor, Tensor]:
        """What an execution errs by on inputs that are not negative, as rows on them and constants.

        Args:
            absolute: rows on the map's output, absolute values, shape (n, out).
        """
        return self.executed * (absolute @ self.terms.weight), self.executed * (absolute @ self.terms.bias)

    def back(self, rows: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Rows on the map's output, (n, out), to rows on its input. Its rounding error is part of the lines of the
        activation behind it."""
        return rows @ self.weight, torch.addmv(constant, rows, self.bias)


class CrownBound:
    """`MarginBound` for chains of affine maps and activations.

    Args:
        net: a network that `Network.chain` can fold, or such a chain.
        device: where the tensors live.
        settings: effort for each box.
        semantics: what the bounds speak about.
        record: keep the `Choices` of each item.

    Attributes:
        over: asked between passes over a layer and between steps on slopes; `bound` raises `OutOfTime` once it is so.

    Raises:
        NotAChain: the graph is something else, or its weights multiply to more than float64 bounds can pay for.
    """

    name = "crown"

    def __init__(
        self,
        net: Network | Chain,
        device: torch.device,
        settings: CrownSettings | None = None,
        semantics: Semantics = "real",
        record: bool = False,
    ) -> None:
        chain = chain_on_device(net.copy().cpu().chain() if isinstance(net, Network) else net, device)
        self.device, self.semantics, self.record = device, semantics, record
        self.over: Over = never
        self.settings = settings or CrownSettings()
        self._layer = [
            _Layer(layer, len(chain), semantics, limited=isinstance(after, Activation) and after.limited)
            for layer, after in zip_longest(chain, chain[1:])
            if isinstance(layer, Affine)
        ]
        self._activation = [layer for layer in chain if isinstance(layer, Activation)]
        self._apart = _APART if any(map(computes_function, self._activation)) else 0.0
        # what the checker would not close is no proof that can be handed over
        self._closed_apart = self._apart if record else 0.0
        slopes = [max(1.0, abs(activation.alpha)) for activation in self._activation]
        largest = math.prod(slopes) * math.prod(layer.steepest for layer in self._layer)
        if not largest <= RANGE64 / 2:
            raise NotAChain(
                f"the weights of all layers multiply to {largest:.3g}, beyond what bounds in float64 hold for"
            )
        # behind a ReLU the last map's error is a linear function of its inputs: far less than of their bounds
        self.linear = semantics == "float32" and bool(self._activation) and self._activation[-1].kind == "relu"
        widths = [len(layer.bias) for layer in self._layer[:-1]]
        ends = torch.tensor([0, *widths]).cumsum(0).tolist()
        self._span = [slice(a, b) for a, b in pairwise(ends)]
        self._neurons = ends[-1]
        # as many rows as stay in a cache, and no more than the clock can wait for
        weights = sum(layer.weight.numel() for layer in self._layer)
        share = 1 if device.type == "cpu" else _ON_DEVICE
        self._rows = max(_FEW_ROWS, min(share * self.settings.rows_per_pass, int(share * _PASS / weights)))

    def root(self, boxes: int) -> Tensor:
        """Nothing known: minus and plus infinity for each hidden neuron, shape (boxes, 2 * neurons)."""
        side = torch.full((boxes, self._neurons), torch.inf, dtype=torch.float64, device=self.device)
        return torch.cat([-side, side], 1)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`; ``inherited`` holds lower and upper pre-activation bounds of all hidden neurons."""
        with torch.no_grad():
            # copies: they are tightened in place, and `inherited` belongs to the search
            lower, upper = inherited[:, : self._neurons].clone(), inherited[:, self._neurons :].clone()
            relaxations, slacks = self._inner_bounds(boxes, lower, upper)
            box, polytope = opened.nonzero(as_tuple=True)
            rows = _FinalRows(self, question, boxes, relaxations, slacks, box, polytope)
            best, plane, minimum = rows.optimise()
            known, minimum = torch.cat([lower, upper], 1), minimum - self._apart
            return BoundResult(box, polytope, best - self._closed_apart, plane, minimum, known, rows.choices)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """Absolute weights multiplied through the upper slopes, for the rows of the open polytopes."""
        with torch.no_grad():
            rows = opened.to(torch.float64) @ question.a.abs().sum(1)
            flow = rows @ self._layer[-1].size
            for k in range(len(self._activation) - 1, -1, -1):
                lower, upper = inherited[:, self._span[k]], inherited[:, self._neurons :][:, self._span[k]]
                relaxation = self._relax(k, lower, upper)
                steepest = torch.maximum(relaxation.up[0].slope.abs(), relaxation.up[1].slope.abs())
                flow = (flow * steepest) @ self._layer[k].size
            return flow

    def _inner_bounds(self, boxes: Boxes, lower: Tensor, upper: Tensor) -> tuple[list[Relaxation], list[Tensor]]:
        """Tighten ``lower`` and ``upper`` in place, layer by layer.

        Returns:
            The relaxation of each activation, and the slack of each affine map.
        """
        centre, radius = boxes.centres(), outward_radius(boxes)
        reach = torch.maximum(boxes.lower.abs(), boxes.upper.abs())
        relaxations: list[Relaxation] = []
        slacks: list[Tensor] = []
        slopes: list[Slopes] = []
        for k in range(len(self._activation)):
            slacks.append(self._layer[k].slack(reach))
            low, up = lower[:, self._span[k]], upper[:, self._span[k]]
            # on a box the first map is bounded exactly, all neurons in one product
            if k == 0:
                first = self._layer[0]
                middle = torch.addmm(first.bias, centre, first.weight.T)
                spread = radius @ first.size.T + slacks[0]
                # what was inherited of a larger box holds as well
                low.copy_(torch.maximum(low, or_unknown(middle - spread - LOST64)))
                up.copy_(torch.minimum(up, -or_unknown(-middle - spread - LOST64)))
            else:
                self._tighten_layer(low, up, slopes, slacks[k], centre, radius)
            relaxations.append(self._relax(k, low, up))
            # fixed from here on: only the slopes of final rows are optimised, see the module's text
            slopes.append(Slopes.of(relaxations[-1], slacks[k], None, None))
            reach = self._activation_reach(k, low, up)
        slacks.append(self._layer[-1].slack(reach, executed=not self.linear))
        return relaxations, slacks

    def _relax(self, k: int, low: Tensor, up: Tensor) -> Relaxation:
        """Lines around activation ``k``."""
        return relax(self._activation[k], low, up, self.semantics)

    def _activation_reach(self, k: int, low: Tensor, up: Tensor) -> Tensor:
        """Bounds of the absolute values of activation ``k``, shape (boxes, neurons): they are largest at an end."""
        activation = self._activation[k]
        reach = torch.maximum(activation_value(activation, low).abs(), activation_value(activation, up).abs())
        error = execution_error(activation, low, up) if self.semantics == "float32" else None
        return reach if error is None else reach + error

    def _tighten_layer(
        self, low: Tensor, up: Tensor, slopes: list[Slopes], slack: Tensor, centre: Tensor, radius: Tensor
    ) -> None:
        """Bound the neurons behind the layers of ``slopes`` whose activation is not yet linear, in place."""
        self._tighten_neurons(low, up, is_bent(self._activation[len(slopes)], low, up), slopes, slack, centre, radius)

    def _tighten_neurons(
        self,
        low: Tensor,
        up: Tensor,
        needed: Tensor,
        slopes: list[Slopes],
        slack: Tensor,
        centre: Tensor,
        radius: Tensor,
    ) -> None:
        """Bound those of the neurons behind the layers of ``slopes`` that are ``needed``, in place."""
        k = len(slopes)
        box, neuron = needed.nonzero(as_tuple=True)
        for part in range(0, len(box), self._rows):
            require_time(self.over)
            i = box[part : part + self._rows]
            j = neuron[part : part + self._rows]
            weight, bias, room = self._layer[k].weight[j], self._layer[k].bias[j], slack[i, j]
            # the upper end is minus the least value of minus the neuron; either row pays the neuron's own slack
            rows, constant = torch.cat([weight, -weight]), torch.cat([bias - room, -bias - room])
            twice = torch.cat([i, i])
            for m in range(k - 1, -1, -1):
                rows, constant = slopes[m].of_rows(twice).back(rows, constant)
                rows, constant = self._layer[m].back(rows, constant)
            minimum = minimum_of(rows, constant, centre[twice], radius[twice])
            low[i, j] = torch.maximum(low[i, j], minimum[: len(i)])
            up[i, j] = torch.minimum(up[i, j], -minimum[len(i) :])


class _FinalRows:
    """The items of one batch: their rows, multipliers and slopes, improved together."""

    def __init__(
        self,
        net: CrownBound,
        question: Question,
        boxes: Boxes,
        relaxations: list[Relaxation],
        slacks: list[Tensor],
        box: Tensor,
        polytope: Tensor,
    ) -> None:
        self.net, self.question = net, question
        self.box, self.polytope = box, polytope
        self.relaxations, self.slacks = relaxations, slacks
        self.centre, self.radius = boxes.centres()[box], outward_radius(boxes)[box]
        self.a, self.b = question.a[polytope], question.b[polytope]
        self.choices: Choices | None = None

    def optimise(self) -> tuple[Tensor, Tensor, Tensor]:
        """Best lower bound of each item, and the planes of all single rows and of the best combination."""
        items, n_rows = self.b.shape
        owner = self.box.repeat_interleave(n_rows)
        a, b = self.a.flatten(0, 1), self.b.flatten()
        rows, constant = self._start_rows(a, b, a.abs(), b.abs(), owner)
        first = [Slopes.of(r, s, None, None).of_rows(owner) for r, s in self._lines_and_slacks()]
        plane, constant, _ = self._push_back(rows, constant, first)
        centre, radius = self.centre.repeat_interleave(n_rows, 0), self.radius.repeat_interleave(n_rows, 0)
        plane = plane.view(items, n_rows, plane.shape[1])
        minimum = minimum_of(plane.flatten(0, 1), constant, centre, radius).view(items, n_rows)
        best, row = minimum.max(1)
        if self.net.record:
            slopes = torch.full((items, self.net._neurons), torch.nan, dtype=torch.float32, device=row.device)
            self.choices = Choices(torch.nn.functional.one_hot(row, n_rows).to(best.dtype), slopes)
        best_plane = plane[torch.arange(items, device=row.device), row]
        # of what is proved no better bound is of use
        which = (~self.question.excluded(best - self.net._closed_apart, self.polytope)).nonzero()[:, 0]
        # without activations single rows are bounded exactly, and there are no lines to choose
        if len(which) and self.net.settings.steps and self.relaxations:
            weights = torch.nn.functional.one_hot(row[which], n_rows).to(best.dtype)
            best[which], best_plane[which] = self._ascend(which, weights, best[which], best_plane[which])
        if n_rows == 1:
            return best, best_plane[:, None], best[:, None]
        return best, torch.cat([plane, best_plane[:, None]], 1), torch.cat([minimum, best[:, None]], 1)

    def _lines_and_slacks(self) -> Iterator[tuple[Relaxation, Tensor]]:
        return zip(self.relaxations, self.slacks[:-1], strict=True)

    def _start_rows(self, a: Tensor, b: Tensor, a_size: Tensor, b_size: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Rows on the last activation's output and constants, from ``a @ y - b`` and the sizes of their terms."""
        last, many = self.net._layer[-1], max(1.0, self.b.shape[1] / COUNTED_ROWS)
        constant = torch.addmv(-b, a, last.bias) - many * torch.linalg.vecdot(a_size, self.slacks[-1][box])
        constant = constant - many * SUM_ROUNDINGS * len(self.slacks) * FLOAT64 * b_size
        # rows begin on the last activation: bounds of the outputs themselves are never made
        rows = a @ last.weight
        if not self.net.linear:
            return rows, constant
        rows_error, error = last.linear_error(a_size)
        # inputs behind a ReLU are not negative, so that less of them lowers the bound
        return rows - rows_error, constant - error

    def _ascend(self, which: Tensor, weights: Tensor, best: Tensor, best_plane: Tensor) -> tuple[Tensor, Tensor]:
        """Signed-gradient ascent on slopes and multipliers of the items ``which``."""
        settings = self.net.settings
        box = self.box[which]
        relaxations, slacks = [r.take(box) for r in self.relaxations], [s[box] for s in self.slacks[:-1]]
        # where the first bound began: the first pass makes it again
        low = [r.start for r in relaxations]
        up: list[Tensor | None] = [None if r.one_upper else r.start for r in relaxations]
        a, b, centre, radius = self.a[which], self.b[which], self.centre[which], self.radius[which]
        size, before, hopeful = settings.step_size, [best], torch.ones_like(best, dtype=torch.bool)
        for step in range(settings.steps + 1):
            require_time(self.net.over)
            slopes = [
                Slopes.of(r, s, lo, hi, storable=self.net.record)
                for r, s, lo, hi in zip(relaxations, slacks, low, up, strict=True)
            ]
            rows, constant = self._start_rows(
                *combine_rows(weights, a, b), *combine_rows(weights, a.abs(), b.abs()), box
            )
            plane, constant, passed = self._push_back(rows, constant, slopes)
            minimum = minimum_of(plane, constant, centre, radius)
            # of an item without hope, which others of the batch carry along, nothing more is kept
            better = (minimum > best) & hopeful
            best = torch.where(better, minimum, best)
            best_plane = torch.where(better[:, None], plane, best_plane)
            if self.choices is not None:
                self.choices.multipliers[which[better]] = weights[better]
                self.choices.slopes[which[better]] = slopes_used(relaxations, slopes, passed)[better]
            before.append(best)
            if step > 2:
                # so written that an item at minus infinity stays: its gain is NaN
                hopeful &= ~(best + settings.hope * (best - before[step - 2]) < 0)
            if step == settings.steps or not hopeful.any():
                break
            # a minimum's derivative is that at the point where it is attained (Danskin): no gradients, one pass forward
            h = centre - plane.sign() * radius
            for k, r in enumerate(relaxations):
                z = torch.addmm(self.net._layer[k].bias, h, self.net._layer[k].weight.T)
                # through the lines that were taken, not the activation: these are what the bound is made of
                h = slopes[k].forward(passed[k], z)
                low[k], up[k] = _step(r, passed[k], z, low[k], up[k], size)
            if weights.shape[1] > 1:
                y = torch.addmm(self.net._layer[-1].bias, h, self.net._layer[-1].weight.T)
                weights = step_multipliers(weights, torch.einsum("iro,io->ir", a, y) - b, size / 2)
            size *= settings.decay
        return best, best_plane

    def _push_back(self, rows: Tensor, constant: Tensor, slopes: list[Slopes]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Rows on the last activation to rows on the inputs; also those on each activation, first layer first."""
        passed = []
        for k in range(len(slopes) - 1, -1, -1):
            passed.append(rows)
            rows, constant = slopes[k].back(rows, constant)
            rows, constant = self.net._layer[k].back(rows, constant)
        return rows, constant, passed[::-1]


def _step(
    r: Relaxation, rows: Tensor, z: Tensor, low: Tensor, up: Tensor | None, size: float
) -> tuple[Tensor, Tensor | None]:
    """One signed step of the line weights: the bound's derivative is row times (second line - first line) at z."""
    low = _round_weight(low + size * (r.low[1].at(z) - r.low[0].at(z)).sign() * (rows > 0))
    if up is not None:
        up = _round_weight(up - size * (r.up[1].at(z) - r.up[0].at(z)).sign() * (rows < 0))
    return low, up


def _round_weight(weight: Tensor) -> Tensor:
    """In 0..1, as a multiple of 2**-12: a number that float32 holds, for certificates."""
    return weight.clamp(0, 1).mul(4096).round().div(4096)
