"""Bounds of how fast a network's outputs change along one input, over the reals.

Between two inputs of a box that differ by ``t`` in one coordinate the outputs differ by ``t D``. D passes an affine map
as its linear part, and an activation as a multiple of itself: the mean value theorem puts that between the least and
the greatest slope of the activation on the box. So D needs no smoothness, and one that is never negative says that an
output never falls, on a box and on all boxes that cover a convex set. It is one more chain of affine maps and
activations, as in `birdnn.bounds.difference`, whose lines are used: here the last block begins as a column of the first
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound, available
from birdnn.bounds.compiled.state import Integers
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.difference import Followed, block_sizes
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.bounds.rules import slope_range
from birdnn.boxes import Boxes
from birdnn.chain import Affine, Chain
from birdnn.network import Network
from birdnn.rounding import SMALLEST64


class _Slopes(Followed):
    """What bounds of a network and its slopes have to do otherwise than `CrownBound`."""

    networks = 1

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        return self._settle_by_signs(question, super().bound(question, boxes, opened, inherited))

    def _settle_by_signs(self, question: Question, result: BoundResult) -> BoundResult:
        """A sum of slopes none of which is negative is not negative, and no rounding is paid for.

        Where outputs are constant, or begin to rise, such a sum is zero, and its bound is below zero by what may have
        been rounded: no halving would prove that nothing falls.
        """
        outputs = question.a.shape[2] // 2
        # of rows on slopes alone nothing but their bound is left
        alone = ~(question.a[..., :outputs] != 0).any(2)
        falls = self._may_be_negative(question.a[..., outputs:].flatten(0, 1), result.inherited)
        settled = alone & ~falls.reshape(-1, *alone.shape)
        exact = (-question.b).where(settled, -torch.inf).amax(2)[result.box, result.polytope]
        better = exact > result.lower
        if not bool(better.any()):
            return result
        plane, minimum = result.plane.clone(), result.plane_minimum.clone()
        plane[better, -1], minimum[better, -1] = 0.0, exact[better]
        # what is left of the boxes was said of the bounds before
        lower = exact.where(better, result.lower)
        return replace(result, lower=lower, plane=plane, plane_minimum=minimum, left=None)

    def _may_be_negative(self, rows: Tensor, inherited: Tensor) -> Tensor:
        """Which sums of slopes may be negative on which boxes, as far as the signs of all summands tell.

        Args:
            rows: coefficients of the outputs' slopes, (rows, outputs).
            inherited: bounds of pre-activations, see `CrownBound.bound`.
        """
        # of the input itself the slope is one
        signs = _Signs(*torch.tensor([[[False]], [[True]]], device=rows.device).expand(2, len(inherited), 1))
        for k, (activation, span) in enumerate(zip(self._activation, self._span, strict=True)):
            low, up = inherited[:, : self._neurons][:, span], inherited[:, self._neurons :][:, span]
            own = self._network_neurons(low)
            signs = signs.of_sums(*self._slope_weights(k)).within(low[:, own:], up[:, own:])
            signs = signs.of_multiples(*slope_range(activation, low[:, :own], up[:, :own]))
        weight, error = self._slope_weights(len(self._layer) - 1)
        # what the products are rounded by is part of the error already, but for what underflows
        error = rows.abs() @ error + rows.shape[1] * SMALLEST64
        return signs.of_sums(rows @ weight, error).negative

    def _slope_weights(self, k: int) -> tuple[Tensor, Tensor]:
        """By what an affine map multiplies slopes, and how far each weight may lie from the exact one: (out, in)."""
        layer, out = self._layer[k], len(self._layer[k].bias) // 2
        if k:
            weight, size = (part[out:, layer.weight.shape[1] // 2 :] for part in (layer.weight, layer.terms.weight))
        else:
            # a constant, see `_stack_blocks`
            weight, size = layer.bias[out:, None], layer.terms.bias[out:, None]
        return weight, layer.factor * size + layer.smallest


@dataclass(frozen=True, slots=True, eq=False)
class _Signs:
    """Which signs numbers may have: of a layer's slopes, (boxes, neurons).

    Attributes:
        negative, positive: may be so; zero is neither.
    """

    negative: Tensor
    positive: Tensor

    def of_sums(self, weight: Tensor, error: Tensor) -> _Signs:
        """Of sums with weights, (sums, neurons), that are known up to an error."""
        # one that may have either sign counts as both, and so does NaN; counts of summands are exact in float64
        rising, falling = (~(weight <= -error)).double().T, (~(weight >= error)).double().T
        negative, positive = self.negative.double(), self.positive.double()
        return _Signs(
            negative @ rising + positive @ falling > 0,
            positive @ rising + negative @ falling > 0,
        )

    def within(self, low: Tensor, up: Tensor) -> _Signs:
        """Of numbers that have bounds, too; NaN bounds nothing."""
        return _Signs(self.negative & ~(low >= 0), self.positive & ~(up <= 0))

    def of_multiples(self, least: Tensor, most: Tensor) -> _Signs:
        """Times numbers between `least` and `most`."""
        kept, turned = ~(most <= 0), ~(least >= 0)
        return _Signs(
            kept & self.negative | turned & self.positive,
            kept & self.positive | turned & self.negative,
        )


class SlopeBound(_Slopes):
    """`MarginBound` of rows on the outputs of a network, and behind them their slopes along an input.

    Args:
        net: a network that folds to a chain.
        direction: number of the input.
        device, settings: as for `CrownBound`.

    Raises:
        NotAChain: the graph is something else.
    """

    name = "crown on slopes"

    def __init__(
        self, net: Network, direction: int, device: torch.device, settings: CrownSettings | None = None
    ) -> None:
        # no layer goes without slopes: those of the first one are a column of its weights
        self.shared = 0
        super().__init__(slope_chain(net, direction), device, settings)


class CompiledSlopeBound(_Slopes, CompiledBound):
    """`SlopeBound` by compiled loops.

    Args:
        net, direction, settings: see `SlopeBound`.
        threads, always: see `CompiledBound`.
    """

    name = "crown on slopes"

    def __init__(
        self,
        net: Network,
        direction: int,
        settings: CrownSettings | None = None,
        threads: int | None = None,
        always: bool = False,
    ) -> None:
        # before the base class packs the layers, which asks `_block_sizes`, and that asks for `shared`
        self.shared = 0
        # a tree of signs of neurons knows nothing of slopes
        settings = replace(settings or CrownSettings(), splits=None)
        super().__init__(slope_chain(net, direction), settings, threads=threads, always=always)

    def _block_sizes(self, width: Integers) -> Integers:
        return block_sizes(width, self.shared, self.networks)


def slope_bound(
    net: Network, direction: int, device: torch.device, settings: CrownSettings | None = None
) -> SlopeBound | CompiledSlopeBound:
    """The form of `SlopeBound` that is fastest on a device.

    Raises:
        NotAChain: see `SlopeBound`.
    """
    if device.type == "cpu" and available():
        return CompiledSlopeBound(net, direction, settings)
    return SlopeBound(net, direction, device, settings)


def slope_chain(net: Network, direction: int) -> Chain:
    """A network and its slopes along an input as one chain.

    Raises:
        NotAChain: the graph is something else.
    """
    layers = net.copy().cpu().chain()
    return tuple(
        _with_slopes(layer, direction if place == 0 else None) if isinstance(layer, Affine) else layer
        for place, layer in enumerate(layers)
    )


def _with_slopes(layer: Affine, direction: int | None) -> Affine:
    """The map of both blocks; of the first layer slopes are a column of the weights, and read nothing."""
    terms = layer.terms
    weight, bias = _stack_blocks(layer.weight, layer.bias, direction)
    size, offset = _stack_blocks(terms.weight, terms.bias, direction)
    # a slope is summed of the terms of its neuron, or of fewer: all counts of the terms hold for it
    return Affine(weight, bias, replace(terms, weight=size, bias=offset))


def _stack_blocks(weight: Tensor, bias: Tensor, direction: int | None) -> tuple[Tensor, Tensor]:
    nothing = torch.zeros_like(weight)
    # the slopes of the first map do not depend on the inputs: zeros for weights, and the weights as a constant
    if direction is not None:
        return torch.cat([weight, nothing]), torch.cat([bias, weight[:, direction]])
    rows = torch.cat([torch.cat([weight, nothing], 1), torch.cat([nothing, weight], 1)])
    return rows, torch.cat([bias, torch.zeros_like(bias)])
