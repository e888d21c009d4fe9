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
from birdnn.chain import Affine, Chain
from birdnn.network import Network


class SlopeBound(Followed):
    """`MarginBound` of rows on the outputs of a network, and behind them their slopes along an input.

    Args:
        net: a network that folds to a chain.
        direction: number of the input.
        device, settings: as for `CrownBound`.

    Raises:
        NotAChain: the graph is something else.
    """

    name = "crown on slopes"
    networks = 1

    def __init__(
        self, net: Network, direction: int, device: torch.device, settings: CrownSettings | None = None
    ) -> None:
        # no layer goes without slopes: those of the first one are a column of its weights
        self.shared = 0
        super().__init__(slope_chain(net, direction), device, settings)


class CompiledSlopeBound(Followed, CompiledBound):
    """`SlopeBound` by compiled loops.

    Args:
        net, direction, settings: see `SlopeBound`.
        threads, always: see `CompiledBound`.
    """

    name = "crown on slopes"
    networks = 1

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
