"""Bounds of how fast a network's outputs change along one input, over the reals.

Between two inputs of a box that differ by ``t`` in one coordinate the outputs differ by ``t D``. D passes an affine map
as its linear part, and an activation as a multiple of itself: the mean value theorem puts that between the least and
the greatest slope of the activation on the box. So D needs no smoothness, and one that is never negative says that an
output never falls, on a box and on all boxes that cover a convex set. It is one more chain of affine maps and
activations, as in `birdnn.bounds.difference`, whose lines are used: here the last block begins as a column of the first
weights.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound, available
from birdnn.bounds.compiled.state import Integers
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.difference import Followed, block_sizes
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.boxes import Boxes
from birdnn.chain import Affine, Chain
from birdnn.network import Network


class _Slopes(Followed):
    """What bounds of a network and its slopes have to do otherwise than `CrownBound`."""

    networks = 1

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        return self._exact_where_constant(question, super().bound(question, boxes, opened, inherited))

    def _exact_where_constant(self, question: Question, result: BoundResult) -> BoundResult:
        """Slopes are zero where all neurons of a layer are inactive, and no rounding is paid for.

        Bounds of such slopes are below zero by what may have underflown: no halving would prove that nothing falls.
        """
        constant = torch.zeros(len(result.inherited), dtype=torch.bool, device=result.lower.device)
        for span, activation in zip(self._span, self._activation, strict=True):
            if activation.kind == "relu":
                begin = self._neurons + span.start  # upper bounds, of the network's own neurons
                constant |= (result.inherited[:, begin : begin + (span.stop - span.start) // 2] <= 0).all(1)
        # of rows on slopes alone nothing but their bound is left
        outputs = question.a.shape[2] // 2
        alone = ~(question.a[..., :outputs] != 0).any(2)
        exact = (-question.b).where(alone, -torch.inf).amax(1)[result.polytope]
        better = constant[result.box] & (exact > result.lower)
        if not bool(better.any()):
            return result
        plane, minimum = result.plane.clone(), result.plane_minimum.clone()
        plane[better, -1], minimum[better, -1] = 0.0, exact[better]
        # what is left of the boxes was said of the bounds before
        lower = exact.where(better, result.lower)
        return replace(result, lower=lower, plane=plane, plane_minimum=minimum, left=None)


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
