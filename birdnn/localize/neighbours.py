"""Adversarial neighbours: inputs close to an example at which the network is as wrong as gradients can make it.

Source: Madry et al. 2018, projected gradient descent, arXiv:1706.06083.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from birdnn.network import Network

_BATCH = 512


def adversarial_neighbours(
    net: Network, x: Tensor, y: Tensor, *, radius: float, generator: torch.Generator, steps: int = 5
) -> Tensor:
    """One neighbour of each example, within `radius` in each input, where the loss is greatest as far as is seen.

    They stay within the range of values that the examples themselves have, so that pixels stay pixels.

    Args:
        net: a classifier, its outputs one score for each class.
        x: (n, inputs), on the network's device.
        y: (n,) the right classes.
        radius: greatest difference in each input, network units; 0 gives the examples back.
        generator: of the random start, on the CPU.
        steps: of projected gradient ascent.
    """
    if radius <= 0 or not len(x):
        return x.clone()
    low, high = float(x.min()), float(x.max())
    # drawn at once and before batches: neighbours do not depend on how these are cut
    start = (torch.rand(x.shape, generator=generator) * 2 - 1).to(x) * radius
    parts = []
    for place, labels, moved in zip(*(torch.split(some, _BATCH) for some in (x, y, start)), strict=True):
        now = (place + moved).clamp(low, high)
        for _ in range(steps):
            now.requires_grad_(True)
            # a sum: the slope of each example is its own
            (slope,) = torch.autograd.grad(cross_entropy(net(now), labels, reduction="sum"), now)
            # 2.5 radii in all, as Madry et al.: the rim is within reach from anywhere, with steps left along it
            step = now.detach() + slope.sign() * (2.5 * radius / steps)
            now = torch.minimum(torch.maximum(step, place - radius), place + radius).clamp(low, high)
        parts.append(now.detach())
    return torch.cat(parts)
