"""Making a network easier to prove: small boxes of the region shall keep the property by interval arithmetic alone.

A search fails on networks that are safe but restless: many neurons change sign inside each small box. The interval
bound of a small box punishes exactly that, and unlike a larger margin it asks nothing of the outputs themselves. The
boxes grow while half of them succeed, so that the lesson stays as hard as the network can bear.

Source: interval bound propagation for training, Gowal et al. 2018, arXiv:1810.12715; here as a light regulariser of one
input region, not as a defence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.bounds.interval import Interval, rule_for
from birdnn.network import Network
from birdnn.operators import apply
from birdnn.spec import Region

_CAP = 20.0


def intervals(net: Network, lower: Tensor, upper: Tensor) -> Interval:
    """Intervals of the outputs for input boxes, differentiable in the parameters: (n, inputs) -> (n, outputs) twice."""
    fixed = {name: value.to(lower) for name, value in net.values().items()}
    values: dict[str, Interval] = {name: (value, value) for name, value in fixed.items()}
    shape = (-1, *net.input_shape[1:])
    values[net.input_name] = lower.reshape(shape), upper.reshape(shape)
    for node in net.nodes:
        if node.output in net.graph.dependent:
            values[node.output] = rule_for(node)(node, [values[name] for name in node.inputs])
        else:
            number = apply(node.op, [values[name][0] for name in node.inputs], node.attributes, node.name)
            values[node.output] = number, number
    low, high = values[net.output_name]
    return low.reshape(len(lower), -1), high.reshape(len(upper), -1)


def worst_margin(region: Region, low: Tensor, high: Tensor) -> Tensor:
    """Lower bound of the region's margin for outputs anywhere between ``low`` and ``high``, (n,)."""
    worst = []
    for polytope in region.unsafe:
        a, b = polytope.a.to(low), polytope.b.to(low)
        worst.append((low @ a.clamp(min=0).T + high @ a.clamp(max=0).T - b).amax(1))
    return torch.stack(worst).amin(0)


@dataclass(slots=True, kw_only=True)
class Firmness:
    """How large the boxes of one region are at present.

    Attributes:
        size: edge of a box as a share of the region's edge.
        success: share of boxes at which `size` neither grows nor shrinks.
    """

    size: float = 0.01
    success: float = 0.5

    def loss(self, net: Network, region: Region, centres: Tensor, scale: float) -> Tensor:
        """Mean shortfall of the boxes' interval bounds, as multiples of ``scale``; adapts `size`."""
        half = (region.upper - region.lower).to(centres) * self.size / 2
        low, high = intervals(net, centres - half, centres + half)
        bound = worst_margin(region, low, high)
        good = float((bound.detach() > 0).double().mean())
        self.size = min(1.0, self.size * (1.02 if good > self.success else 0.98))
        return (-bound / max(scale, 1e-30)).clamp(min=0, max=_CAP).mean()
