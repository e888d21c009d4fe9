"""How the neurons of each block behave on failing and on passing examples: spectrum formulas, forward and backward.

A neuron is a channel of a convolution. *Forward*, an example is said to cover it where its mean over all places lies
above what it is on average over passing examples, so that about half of these do, or below, whichever is the more
suspicious. *Backward*, a failing example is said to cover it where the step of the neuron's weights that would serve
the other failing examples serves it too: its gradient has a positive product with theirs. A passing example covers it
where that step would do harm. Counts over failing and passing examples give a suspiciousness by the formulas of
program debugging.

Source: Tarantula, Jones and Harrold 2005; Ochiai, Abreu et al. 2007; D*, Wong et al. 2014. How Qi et al. 2023
(ArchRepair) put forward and backward status together was not available to us: this is our own reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import apply, pad
from birdnn.records import FORMULAS, Formula

_BATCH_ENTRIES = 1 << 24
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumExamples:
    """Examples with their right classes, neighbours among them: (n, inputs), (n,)."""

    failing_x: Tensor
    failing_y: Tensor
    passing_x: Tensor
    passing_y: Tensor


def suspiciousness(failing: Tensor, passing: Tensor, n_failing: int, n_passing: int, formula: Formula) -> Tensor:
    """Of things that ``failing`` failing and ``passing`` passing examples cover, of so many: 0 to 1, elementwise.

    With f, p the covering ones and F, P all:

    * Tarantula ``(f / F) / (f / F + p / P)``,
    * Ochiai ``f / sqrt(F (f + p))``,
    * D* with exponent 2, ``f^2 / (p + F - f)``, brought to 0 to 1 as d / (1 + d).

    The passing counts are scaled to as many examples as there are failing ones: unequal sets would bias the last two.

    Raises:
        MismatchError: an unknown formula, or no examples.
    """
    if formula not in FORMULAS:
        raise MismatchError(f"formula {formula!r} is unknown; known: {', '.join(FORMULAS)}")
    if n_failing < 1 or n_passing < 1:
        raise MismatchError(f"examples of both kinds are needed: {n_failing} failing, {n_passing} passing")
    f, p = failing / n_failing, passing / n_passing
    if formula == "tarantula":
        return f / (f + p).clamp(min=_TINY)
    if formula == "ochiai":
        return f / (f + p).clamp(min=_TINY).sqrt()
    # where all failing examples and no passing one cover it the denominator is 0: half an example in its place
    d = n_failing * f.square() / (p + 1 - f).clamp(min=1 / (2 * n_failing))
    return d / (1 + d)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Symptoms:
    """What is seen of one convolution.

    Attributes:
        node: the convolution.
        forward, backward: suspiciousness of each channel, (channels,).
    """

    node: Node
    forward: Tensor
    backward: Tensor


def find_symptoms(
    net: Network, nodes: Sequence[Node], seen: SpectrumExamples, formula: Formula
) -> tuple[Symptoms, ...]:
    """Of some convolutions, in their order."""
    n_failing, n_passing = len(seen.failing_y), len(seen.passing_y)
    failing = _trace_examples(net, nodes, seen.failing_x, seen.failing_y)
    passing = _trace_examples(net, nodes, seen.passing_x, seen.passing_y)
    found = []
    for node, bad, good in zip(nodes, failing, passing, strict=True):
        # the passing mean for both kinds: what is usual is what passing examples do
        above = [(side.level > good.level.mean(0)).double().sum(0) for side in (bad, good)]
        below = [n - count for n, count in zip((n_failing, n_passing), above, strict=True)]
        either = [suspiciousness(f, p, n_failing, n_passing, formula) for f, p in (above, below)]
        total = bad.gradient.sum(0)
        # of the other failing examples: an example must not vote for itself
        served = [
            (bad.gradient * (total - bad.gradient)).sum(2) > 0 if n_failing > 1 else bad.gradient.abs().sum(2) > 0,
            (good.gradient * total).sum(2) < 0,
        ]
        votes = [side.double().sum(0) for side in served]
        found.append(
            Symptoms(
                node=node,
                forward=torch.maximum(*either).cpu(),
                backward=suspiciousness(votes[0], votes[1], n_failing, n_passing, formula).cpu(),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Trace:
    level: Tensor  # (n, channels) mean over all places
    gradient: Tensor  # (n, channels, weights of one) of the loss


def _trace_examples(net: Network, nodes: Sequence[Node], x: Tensor, y: Tensor) -> list[_Trace]:
    """What each convolution makes of each example, and the gradient of each example's loss by its weights."""
    largest = max(net.value(node.inputs[1]).numel() for node in nodes)
    # each example has a gradient of its own, as large as the weights
    size = max(1, _BATCH_ENTRIES // largest)
    parts = [
        _trace_batch(net, nodes, some, labels)
        for some, labels in zip(torch.split(x, size), torch.split(y, size), strict=True)
    ]
    return [_Trace(*(torch.cat(pieces) for pieces in zip(*traces, strict=True))) for traces in zip(*parts, strict=True)]


def _trace_batch(net: Network, nodes: Sequence[Node], x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    values = {name: tensor.detach().to(x) for name, tensor in net.values().items()}
    values[net.input_name] = x.reshape(-1, *net.input_shape[1:])
    wanted = {node.output for node in nodes}
    for node in net.nodes:
        value = apply(node.op, [values[name] for name in node.inputs], node.attributes, node.name)
        # from the first of them on: what precedes it needs no gradients kept
        if node.output in wanted and not value.requires_grad:
            value.requires_grad_(True)
        values[node.output] = value
    # a sum: the slopes of each example are its own
    loss = functional.cross_entropy(values[net.output_name].flatten(1), y, reduction="sum")
    slopes = torch.autograd.grad(loss, [values[node.output] for node in nodes])
    return [
        (values[node.output].detach().flatten(2).mean(2), _gradient_by_weights(node, values, slope))
        for node, slope in zip(nodes, slopes, strict=True)
    ]


def _gradient_by_weights(node: Node, values: dict[str, Tensor], slope: Tensor) -> Tensor:
    """The gradient of each example's loss by the weights of a convolution: (n, channels, weights of one)."""
    x, weight, a = values[node.inputs[0]].detach(), values[node.inputs[1]], node.attributes
    patches = functional.unfold(pad(x, a["pads"], 0.0), weight.shape[2:], a["dilations"], 0, a["strides"])
    n, groups = len(x), a["group"]
    patches = patches.reshape(n, groups, -1, patches.shape[2])
    rows = slope.flatten(2).reshape(n, groups, -1, patches.shape[3])
    # for each example by itself, where autograd would sum over them
    return (rows @ patches.mT).reshape(n, weight.shape[0], -1)
