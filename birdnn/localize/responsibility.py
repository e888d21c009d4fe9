"""Responsibility: how differently a hidden neuron behaves on positive and on negative samples.

A neuron's behaviour is the output of its activation, whatever that is. The two forms:

``mean`` is ours and the default. With means m+ and m- and variances v+ and v- of the outputs on both sets,

    |m+ - m-| / (2 sqrt((v+ + v-) / 2 + (m+ - m-)^2 / 4)),

the absolute correlation of the output with the kind of sample when both kinds are weighted alike. It lies between 0 and
1, does not depend on the sizes of the sets, and does not change when a neuron's output is multiplied by a number that
the next layer divides by again, so that layers compare. It orders neurons as the difference of means over the pooled
spread does, which would be infinite for a neuron that separates the two sets perfectly. A neuron that does not vary
has 0.

``sum`` is the difference of the summed outputs, ``|sum+ - sum-|``, for comparison with the paper. Its defects: unequal
sets bias it (with ten times as many positive samples a neuron that behaves alike on both seems responsible in
proportion to its mean), and it grows with the scale of a layer.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365, for the idea and the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.neurons import HiddenLayer, hidden_layers
from birdnn.records import Behaviour, Form, Localisation, SampleSet
from birdnn.records.limits import Over, never, require_time

_BATCH_ENTRIES = 1 << 22
_ROUNDING = 1e-6


def localize(
    net: Network, positives: SampleSet, negatives: SampleSet, *, form: Form = "mean", over: Over = never
) -> Localisation:
    """The responsibility of every hidden neuron, on the network's device.

    Raises:
        OutOfTime: it was ``over`` between two batches.
        MismatchError: the network has no hidden neuron, a set is empty, or the form is unknown.
    """
    if form not in ("mean", "sum"):
        raise MismatchError(f"form {form!r} of responsibility is unknown; known: mean, sum")
    if not len(positives) or not len(negatives):
        raise MismatchError(f"both kinds of samples are needed: {len(positives)} positive, {len(negatives)} negative")
    layers = hidden_layers(net)
    if not layers:
        raise MismatchError("the network has no hidden neuron: there is no activation between two layers")
    good, bad = (_layer_moments(net, layers, samples.x, over) for samples in (positives, negatives))
    pairs = zip(layers, good, bad, strict=True)
    found = tuple(_layer_behaviour(layer, good, bad, form) for layer, good, bad in pairs)
    return Localisation(form=form, layers=found, positives=len(positives), negatives=len(negatives))


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Of a layer over a set of inputs; (size,) float64 each.

    Attributes:
        total: sum of the outputs.
        mean, variance: of the outputs.
        largest: absolute value.
    """

    total: Tensor
    mean: Tensor
    variance: Tensor
    largest: Tensor


def _layer_moments(net: Network, layers: tuple[HiddenLayer, ...], x: Tensor, over: Over) -> list[_Moments]:
    """Two passes, the second around the means of the first: differences of large sums would lose small spreads."""
    names = [layer.value for layer in layers]
    device = next(iter(net.values().values())).device
    batches = torch.split(x, max(1, _BATCH_ENTRIES // sum(layer.size for layer in layers)))

    def outputs(part: Tensor) -> list[Tensor]:
        require_time(over)
        with torch.no_grad():
            # sums of a hundred thousand float32 outputs would lose the small differences that are looked for
            return [value.double() for value in net.observe(part.to(device), names)]

    totals = [torch.zeros(layer.size, dtype=torch.float64, device=device) for layer in layers]
    squares, largest = ([torch.zeros_like(total) for total in totals] for _ in range(2))
    for part in batches:
        for i, value in enumerate(outputs(part)):
            totals[i] += value.sum(0)
            largest[i] = torch.maximum(largest[i], value.abs().amax(0))
    means = [total / len(x) for total in totals]
    for part in batches:
        for i, value in enumerate(outputs(part)):
            squares[i] += (value - means[i]).square().sum(0)
    parts = zip(totals, means, squares, largest, strict=True)
    return [_Moments(t.cpu(), m.cpu(), s.cpu() / len(x), most.cpu()) for t, m, s, most in parts]


def _layer_behaviour(layer: HiddenLayer, good: _Moments, bad: _Moments, form: Form) -> Behaviour:
    difference = (good.mean - bad.mean).abs()
    # of both kinds together, weighted alike: within each, and between their means
    spread = ((good.variance + bad.variance) / 2 + difference.square() / 4).sqrt()
    # what float32 rounding leaves of a constant is no behaviour
    alive = spread > _ROUNDING * torch.maximum(good.largest, bad.largest)
    if form == "mean":
        # `where` computes both sides: 0 / 0 of a neuron that never varies is kept from becoming NaN
        value = torch.where(alive, difference / (2 * spread).clamp(min=1e-300), 0.0)
    else:
        value = (good.total - bad.total).abs()
    return Behaviour(
        value=layer.value,
        node=layer.node,
        responsibility=value,
        positive=good.mean,
        negative=bad.mean,
        alive=alive,
    )
