"""Properties with known violation probabilities, of networks whose margin is linear."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope, Property, Region, Row

SUM = network_from_layers([([[1.0, 1.0]], [0.0])])
"""``x0 + x1``."""


def box(lower: Sequence[float], upper: Sequence[float], limit: float) -> Region:
    """A box in which an output of at most ``limit`` is forbidden."""
    corners = (tuple(Fraction(v) for v in side) for side in (lower, upper))
    below = Polytope(rows=(Row((Fraction(1),), Fraction(limit)),), n_outputs=1)
    low, high = corners
    return Region(exact_lower=low, exact_upper=high, unsafe=(below,))


def prop(*regions: Region) -> Property:
    return Property(name="p", regions=regions, n_inputs=regions[0].n_inputs, n_outputs=1)


def corner(probability: float) -> Property:
    """The unit square; `SUM` violates in a triangle of this area."""
    return prop(box((0, 0), (1, 1), (2 * probability) ** 0.5))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def float32(net: Network) -> Network:
    return net.copy().float()
