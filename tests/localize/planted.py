"""A network that is right but for one neuron, which we know."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.neurons import Neuron
from birdnn.records import SampleSet
from birdnn.sample import draw_from_region, evaluate
from birdnn.spec import Polytope, Region, Row

INPUTS, WIDTH = 16, 24
RESTING = {"Relu": 0.0, "LeakyRelu": 0.0, "Elu": -1.0, "Sigmoid": 0.0, "Tanh": -1.0}
PLANTED = Neuron("active_1", 5)


@dataclass(frozen=True)
class Planted:
    """The network, the region whose property it violates, and what the layers were made of."""

    net: Network
    region: Region

    def samples(self, seed: int, count: int = 20_000) -> tuple[SampleSet, SampleSet]:
        """Positive and negative ones."""
        x = draw_from_region(self.region, count, torch.Generator().manual_seed(seed))
        y = evaluate(self.net, x)
        everything = SampleSet(x=x, y=y, margin=self.region.margin(y))
        return everything.where(everything.margin > 0), everything.where(everything.margin <= 0)


def planted(activation: str) -> Planted:
    """Neuron 5 of the second hidden layer wakes up where a sum of first-layer outputs is in its top 5 %."""
    rng = np.random.default_rng(11)
    first = rng.normal(size=(WIDTH, INPUTS)), 0.3 * rng.normal(size=WIDTH)
    second = rng.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH), 0.3 * rng.normal(size=WIDTH)
    last = 0.1 * rng.normal(size=(2, WIDTH)), np.zeros(2)
    last[0][:, PLANTED.index] = 0.0
    box = tuple(Fraction(-1) for _ in range(INPUTS)), tuple(Fraction(1) for _ in range(INPUTS))

    def region(most: float) -> Region:
        row = Row((Fraction(-1), Fraction(0)), Fraction(-most))
        return Region(exact_lower=box[0], exact_upper=box[1], unsafe=(Polytope(rows=(row,), n_outputs=2),))

    x = draw_from_region(region(0.0), 20_000, torch.Generator().manual_seed(0))
    hidden = network_from_layers([first, (np.eye(WIDTH), np.zeros(WIDTH))], activation)
    safe = network_from_layers([first, second, last], activation)
    most = float(evaluate(safe, x)[:, 0].max()) + 0.1

    (awake,) = hidden.observe(x, ("active_0",))
    # no single neuron of the first layer tells much about the sum
    reads = rng.choice([-1.0, 1.0], size=WIDTH) / awake.detach().std(0).clamp(min=0.1).double().numpy()
    total: Tensor = awake.detach() @ torch.from_numpy(reads).float()
    steep = 30.0 / float(total.std())
    second[0][PLANTED.index] = steep * reads
    second[1][PLANTED.index] = -steep * float(torch.quantile(total, 0.95))
    last[0][0, PLANTED.index] = 3.0 if activation in ("Tanh", "Sigmoid") else 1.0
    last[1][0] = -RESTING[activation] * last[0][0, PLANTED.index]
    return Planted(network_from_layers([first, second, last], activation), region(most))
