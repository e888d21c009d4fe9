"""Do the neurons that seem responsible cause violations?

Fix them to their mean over positive samples, and count what still violates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from birdnn.network import Network
from birdnn.neurons import Neuron, rescaling_interventions
from birdnn.records import InterventionCheck, Localisation
from birdnn.records.limits import Over, never
from birdnn.sample import evaluate
from birdnn.spec import Region

DRAWS = 20

Points = Sequence[tuple[Region, Tensor]]
"""Regions of a property and inputs (n, inputs) in each."""


def check_interventions(
    net: Network,
    found: Localisation,
    *,
    positives: Points,
    negatives: Points,
    counts: Sequence[int],
    generator: torch.Generator,
    over: Over = never,
) -> tuple[InterventionCheck, ...]:
    """For each k of ``counts``: the k most responsible neurons against `DRAWS` draws of k neurons that vary at all.

    Neurons that never vary are left out of the draws: fixing them does nothing, and would flatter the ranking.

    Args:
        net: the network.
        found: its ranking, from other samples than these.
        positives, negatives: points that satisfied and that violated the property; of the latter at least one.
        counts: numbers of neurons; those above the number of neurons that vary are left out.
        generator: of the draws, on the CPU.
        over: ends the checks early.

    Raises:
        OutOfTime: it was ``over`` between two batches.
    """
    ranked = found.ranking()
    top = [entry.neuron for entry in ranked]
    means = {entry.neuron: entry.positive for entry in ranked}
    alive = [Neuron(layer.value, index) for layer in found.layers for index in layer.alive.nonzero()[:, 0].tolist()]

    def violating(points: Points, fixed: Sequence[Neuron]) -> float:
        # times 0, plus its mean: the neuron is a constant
        interventions = rescaling_interventions(net, {neuron: (0.0, means[neuron]) for neuron in fixed})
        ys = [evaluate(net, x, interventions=interventions, over=over) for _, x in points]
        # not `<=`: NaN violates
        bad = [~(region.margin_at(x, y) > 0) for (region, x), y in zip(points, ys, strict=True)]
        return float(torch.cat(bad).double().mean())

    checks = []
    for k in counts:
        if k > len(alive):
            continue
        draws = [torch.randperm(len(alive), generator=generator)[:k].tolist() for _ in range(DRAWS)]
        checks.append(
            InterventionCheck.of(
                k,
                violating(negatives, top[:k]),
                [violating(negatives, [alive[i] for i in draw]) for draw in draws],
                broken=violating(positives, top[:k]),
                n=sum(len(x) for _, x in negatives),
            )
        )
    return tuple(checks)
