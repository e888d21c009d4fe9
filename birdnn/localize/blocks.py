"""Which block is behind what a classifier gets wrong: an adversarial-aware spectrum analysis of its blocks.

Two kinds of evidence, both as spectra over failing and passing examples:

* of each *neuron*, a channel of a convolution, its activation status in the forward pass and the gradients of its
  weights in the backward pass (`birdnn.localize.symptoms`);
* of each *block* what becomes of the examples when it alone follows its gradients (`birdnn.localize.trial`). Blocks are
  ranked by this one; of two whose change serves alike, the one of fewer weights comes first. The means of their
  neurons are told beside it: they depend on a block's depth and width whatever is wrong, and do not find a damaged
  block.

Failing and passing examples are joined by adversarial neighbours, each counted as what the network makes of it, so that
few failing examples suffice: what happens beside them counts as well.

This is our own reading of the analysis of Qi et al. 2023 (ArchRepair), whose exact formula was not available to us.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdnn.blocks import Block
from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.localize.neighbours import adversarial_neighbours
from birdnn.localize.symptoms import SpectrumExamples, Symptoms, find_symptoms, suspiciousness
from birdnn.localize.trial import Covered, TrialSettings, try_block
from birdnn.network import Network
from birdnn.records import BlockLocalisation, Formula, SuspiciousBlock, SuspiciousNeuron

# failing examples, below which each has several neighbours
_ENOUGH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSettings:
    """How blocks are judged.

    Attributes:
        formula: of the spectrum.
        examples: failing and passing ones that are looked at, at most so many of each.
        near: of how many of each kind a neighbour is looked at, at most; of fewer than 20 failing ones several.
        radius: of adversarial neighbours, network units; 0: none.
        steps: of the attack that finds them.
        trial: see there.
        price: the suspiciousness of a block is divided by its number of weights to this power. Whatever many weights
            serve, few serve only where they are to blame: by 0.005 a block of 30 times the weights has to do better by
            1.7 %. Chosen together with `TrialSettings`.
        top: neurons that are named for each block.
    """

    formula: Formula = "ochiai"
    examples: int = 150
    near: int = 50
    radius: float = 0.0
    steps: int = 5
    trial: TrialSettings = field(default_factory=TrialSettings)
    price: float = 0.005
    top: int = 3


def localize_blocks(
    net: Network,
    blocks: Sequence[Block],
    x: Tensor,
    y: Tensor,
    *,
    settings: SpectrumSettings,
    seed: int,
    news: Callable[[str, int, int], bool] = lambda name, done, most: True,
) -> BlockLocalisation:
    """Judge the blocks of a classifier by examples that it gets right and wrong.

    Args:
        net: float32, its outputs one score for each class.
        blocks: its partition.
        x, y: examples (n, inputs) and right classes (n,), on the network's device.
        settings: see there.
        seed: of the choice of examples, their halves and the attack.
        news: told which block is tried, how many are done and of how many; False ends the trials: blocks that were not
            tried have no suspiciousness.

    Raises:
        MismatchError: no example fails, or none passes, or no block has a convolution to be judged.
    """
    nodes = [node for block in blocks for node in _own_convolutions(net, block)]
    rated = [block for block in blocks if any(node in nodes for node in block.convolutions)]
    if not rated:
        raise MismatchError("no block has a convolution of images whose weights a repair may change")
    right = _is_right(net, x, y)
    if right.all() or not right.any():
        told = f"{int((~right).sum())} examples fail and {int(right.sum())} pass"
        raise MismatchError(f"{told}: at least one that the network gets wrong is needed, and one that it gets right")
    generator = torch.Generator().manual_seed(seed)
    seen = _gather_examples(net, x, y, right, settings, generator)
    bad = seen.failing
    evidence = SpectrumExamples(
        failing_x=seen.x[bad], failing_y=seen.y[bad], passing_x=seen.x[~bad], passing_y=seen.y[~bad]
    )
    found = find_symptoms(net, nodes, evidence, settings.formula)
    # the same halves for all blocks, or luck of the draw would rank them
    halvings = torch.stack([_split_in_halves(bad, seen.origin, generator) for _ in range(settings.trial.halvings)])
    tried: dict[str, float] = {}
    for done, block in enumerate(rated):
        if not news(block.name, done, len(rated)):
            break
        counts = try_block(net, block, seen.x, seen.y, bad, halvings, settings.trial)
        tried[block.name] = (
            _block_suspiciousness(counts, settings.formula) / _weight_count(net, block) ** settings.price
        )
    return BlockLocalisation(
        formula=settings.formula,
        blocks=tuple(_describe_block(net, block, tried.get(block.name), found, settings.top) for block in blocks),
        failing=seen.n_failing,
        passing=seen.n_passing,
        near_failing=int(bad.sum()) - seen.n_failing,
        near_passing=int((~bad).sum()) - seen.n_passing,
        radius=settings.radius,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Examples and neighbours, whose neighbour each is, and how many of either kind are no neighbours."""

    x: Tensor
    y: Tensor
    failing: Tensor
    origin: Tensor
    n_failing: int
    n_passing: int


def _gather_examples(
    net: Network, x: Tensor, y: Tensor, right: Tensor, settings: SpectrumSettings, generator: torch.Generator
) -> _Seen:
    chosen = []
    for some in ((~right).nonzero()[:, 0], right.nonzero()[:, 0]):
        # on the CPU: a seed draws the same examples on any device
        order = torch.randperm(len(some), generator=generator)[: settings.examples]
        chosen.append(some[order.to(some.device)])
    places = torch.cat(chosen)
    xs, ys, bad, origin = x[places], y[places], ~right[places], torch.arange(len(places), device=x.device)
    if settings.radius > 0:
        times = max(1, math.ceil(_ENOUGH / len(chosen[0])))
        first, second = (origin[kind][: settings.near] for kind in (bad, ~bad))
        # neighbours start anywhere around their example: the same one again has another
        beside = torch.cat([*[first] * times, second])
        labels, steps = ys[beside], settings.steps
        near = adversarial_neighbours(net, xs[beside], labels, radius=settings.radius, generator=generator, steps=steps)
        # a neighbour counts as what the network makes of it, whatever its origin is
        bad = torch.cat([bad, ~_is_right(net, near, labels)])
        xs, ys, origin = torch.cat([xs, near]), torch.cat([ys, labels]), torch.cat([origin, beside])
    return _Seen(xs, ys, bad, origin, len(chosen[0]), len(chosen[1]))


def _split_in_halves(failing: Tensor, origin: Tensor, generator: torch.Generator) -> Tensor:
    """Both kinds of examples are halved, at random; neighbours go with the example that they are neighbours of.

    Were they divided, a half would be judged by examples next to those it has learnt from, which favours whatever
    learns by heart. Of a single failing example there is no other way.
    """
    originals = origin == torch.arange(len(origin), device=origin.device)
    divided = originals if (failing & originals).sum() > 1 else torch.ones_like(originals)
    halves = torch.zeros_like(failing)
    for kind in (failing & divided, ~failing & divided):
        some = kind.nonzero()[:, 0]
        # within each kind, so that no half is without failing examples, or passing ones, where there are two
        order = torch.randperm(len(some), generator=generator).to(some.device)
        halves[some[order[: len(some) // 2]]] = True
    return torch.where(divided, halves, halves[origin])


def _block_suspiciousness(counts: Covered, formula: Formula) -> float:
    """The suspiciousness of a block: the mean over the steps of its trial."""
    values = suspiciousness(counts.failing, counts.passing, counts.n_failing, counts.n_passing, formula)
    return float(values.mean())


def _weight_count(net: Network, block: Block) -> int:
    return sum(net.value(name).numel() for name in block.weights(net))


def _own_convolutions(net: Network, block: Block) -> list[Node]:
    """Convolutions of images whose weights are the block's own."""
    weights = block.weights(net)
    return [n for n in block.convolutions if n.inputs[1] in weights and net.value(n.inputs[1]).dim() == 4]


def _is_right(net: Network, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([net(part) for part in torch.split(x, 1024)]).argmax(1) == y


def _describe_block(
    net: Network, block: Block, value: float | None, found: Sequence[Symptoms], top: int
) -> SuspiciousBlock:
    mine = [entry for entry in found if entry.node in block.convolutions]
    neurons = sorted(
        (neuron for entry in mine for neuron in _suspicious_neurons(entry)), key=lambda neuron: -neuron.value
    )
    forward, backward = (
        [value for entry in mine for value in side(entry)] for side in (_forward_values, _backward_values)
    )
    return SuspiciousBlock(
        name=block.name,
        by=block.by,
        nodes=tuple(dict.fromkeys(node.name for node in block.nodes)),
        entry=net.graph.shapes[block.entry][1:],
        exit=net.graph.shapes[block.exit][1:],
        weights=_weight_count(net, block),
        operations=" ".join(node.op for node in block.nodes if node.output in net.graph.dependent),
        forward=_mean_or_zero(forward),
        backward=_mean_or_zero(backward),
        suspiciousness=value,
        neurons=tuple(neurons[:top]),
        layers={entry.node.name: _mean_or_zero([*_forward_values(entry), *_backward_values(entry)]) for entry in mine},
    )


def _forward_values(entry: Symptoms) -> list[float]:
    return entry.forward.tolist()


def _backward_values(entry: Symptoms) -> list[float]:
    return entry.backward.tolist()


def _mean_or_zero(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _suspicious_neurons(entry: Symptoms) -> list[SuspiciousNeuron]:
    pairs = zip(entry.forward.tolist(), entry.backward.tolist(), strict=True)
    return [
        SuspiciousNeuron(node=entry.node.name, channel=channel, forward=forward, backward=backward)
        for channel, (forward, backward) in enumerate(pairs)
    ]
