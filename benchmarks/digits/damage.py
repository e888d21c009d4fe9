"""Networks with one block damaged on purpose: what localisation is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from birdnn.blocks import Block
from birdnn.network import Network

_TRIES = 9
_STRENGTHS = 0.02, 4.0
_LEAP = 2.5

Damage = Callable[[Tensor, float, torch.Generator], Tensor]


def _noise(weight: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    return weight + strength * weight.std() * noise


def _swap(weight: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """A share of the channels that it makes, at least two, change places in a ring."""
    count = min(len(weight), max(2, round(min(1.0, strength / _STRENGTHS[1]) ** 0.5 * len(weight))))
    chosen = torch.randperm(len(weight), generator=generator)[:count]
    swapped = weight.clone()
    swapped[chosen] = weight[chosen.roll(1)]
    return swapped


DAMAGE: Mapping[str, Damage] = {"noise": _noise, "swap": _swap}


def damaged(net: Network, block: Block, kind: str, strength: float, seed: int) -> Network:
    """A copy in which the convolutions of one block are damaged.

    Args:
        net: the network.
        block: which block.
        kind: ``"noise"``: normal, `strength` times the spread of the weights; ``"swap"``: channels change places, the
            more of them the greater `strength`.
        strength: above 0.
        seed: of what is drawn; the same for all strengths.
    """
    generator = torch.Generator().manual_seed(seed)
    names = dict.fromkeys(node.inputs[1] for node in block.convolutions if node.inputs[1] in net.repairable)
    return net.with_values({name: DAMAGE[kind](net.value(name).detach(), strength, generator) for name in names})


def mutant(
    net: Network,
    block: Block,
    kind: str,
    seed: int,
    failing: Callable[[Network], float],
    aim: tuple[float, float],
    start: float = 0.5,
) -> tuple[Network, float]:
    """A copy damaged so strongly that the share of failing examples lies between two numbers, if that can be had.

    Args:
        net, block, kind, seed: as for `damaged`.
        failing: share of examples that a network gets wrong.
        aim: least and greatest share.
        start: strength to try first, such as that of an earlier mutant of the kind.

    Returns:
        the copy and its strength.
    """
    low, high = _STRENGTHS
    strength = start
    for _ in range(_TRIES):
        found = damaged(net, block, kind, strength, seed)
        share = failing(found)
        if share < aim[0]:
            low, strength = strength, min((strength * high) ** 0.5, strength * _LEAP)
        elif share > aim[1]:
            high, strength = strength, max((low * strength) ** 0.5, strength / _LEAP)
        else:
            break
    return found, strength
