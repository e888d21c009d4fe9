"""Which block is to blame: the symptoms of a network held against those of networks with one block damaged.

The symptoms (`birdnn.localize.symptoms`) of a block depend on its depth, its width and its place beside joins, whatever
is wrong: a bare comparison of blocks would name the same one in most networks. So the analysis is asked about *mutants*
as well, copies of the network in which one block is damaged until about as many examples fail: what do its numbers look
like where the culprit is known? A block is suspicious as far as the observed symptoms look like those of its mutants
(linear discriminant analysis, the covariance shrunk towards its diagonal).

Failing and passing examples are joined by adversarial neighbours, each counted as what the network makes of it, so that
few failing examples suffice: what happens beside them counts as well.

This is our own reading of the adversarial-aware spectrum analysis of Qi et al. 2023 (ArchRepair), whose exact formula
was not available to us; that the analysis is calibrated on mutants is ours, after Papadakis and Le Traon 2015
(mutation-based fault localisation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from birdnn.blocks import Block
from birdnn.errors import MismatchError
from birdnn.localize.mutants import DAMAGE, mutant
from birdnn.localize.neighbours import neighbours
from birdnn.localize.symptoms import Evidence, Symptoms, features, symptoms
from birdnn.network import Network
from birdnn.records import BlockLocalisation, Formula, SuspiciousBlock, SuspiciousNeuron

_SHRINK = 0.5
_COUNTED = 200
_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSettings:
    """How blocks are judged.

    Attributes:
        formula: of the spectrum.
        examples: failing and passing ones that are looked at, at most so many of each.
        radius: of adversarial neighbours, network units; 0: none.
        steps: of the attack that finds them.
        mutants: of each block and kind of damage.
        slack: mutants fail on a share of examples between the network's own divided by this, and times this.
        shares: but never less than the first, nor more than the second.
        top: neurons that are named for each block.
    """

    formula: Formula = "ochiai"
    examples: int = 100
    radius: float = 0.0
    steps: int = 5
    mutants: int = 4
    slack: float = 1.6
    shares: tuple[float, float] = (0.04, 0.4)
    top: int = 3


def localize_blocks(
    net: Network,
    blocks: Sequence[Block],
    x: Tensor,
    y: Tensor,
    *,
    settings: SpectrumSettings,
    seed: int,
    news: Callable[[int, int], bool] = lambda done, most: True,
) -> BlockLocalisation:
    """Judge the blocks of a classifier by examples that it gets right and wrong.

    Args:
        net: float32, its outputs one score for each class.
        blocks: its partition.
        x, y: examples (n, inputs) and right classes (n,), on the network's device.
        settings: see there.
        seed: of the choice of examples, the attack and the mutants.
        news: told how many mutants are done, and of how many; False ends the calibration with those there are.

    Raises:
        MismatchError: no example fails, or none passes, or no block has a convolution to be judged.
    """
    rated = [block for block in blocks if _judged(net, block)]
    if not rated:
        raise MismatchError("no block has a convolution of images whose weights a repair may change")
    case = _Case(net, rated, settings, seed)
    right = case.right(net, x, y)
    _require_both(int((~right).sum()), int(right.sum()))
    seen, counts = case.evidence(net, x, y, right)
    found = symptoms(net, case.nodes, seen, settings.formula)
    scores = torch.zeros(len(rated), dtype=torch.float64)
    if len(rated) > 1:
        scores = case.likeness(features(found, rated), x[right], y[right], float((~right).double().mean()), news)
    return BlockLocalisation(
        formula=settings.formula,
        blocks=tuple(_described(net, block, rated, scores, found, settings.top) for block in blocks),
        failing=counts[0],
        passing=counts[1],
        near_failing=len(seen.failing_y) - counts[0],
        near_passing=len(seen.passing_y) - counts[1],
        radius=settings.radius,
    )


def _judged(net: Network, block: Block) -> bool:
    return any(_image(net, node.inputs[1]) for node in block.convolutions)


def _image(net: Network, weight: str) -> bool:
    return weight in net.repairable and net.value(weight).dim() == 4


def _require_both(failing: int, passing: int) -> None:
    if not failing or not passing:
        told = f"{failing} examples fail and {passing} pass"
        raise MismatchError(f"{told}: at least one that the network gets wrong is needed, and one that it gets right")


class _Case:
    """One network and its blocks."""

    def __init__(self, net: Network, blocks: Sequence[Block], settings: SpectrumSettings, seed: int) -> None:
        self.net, self.blocks, self.settings, self.seed = net, blocks, settings, seed
        self.nodes = [node for block in blocks for node in block.convolutions if _image(net, node.inputs[1])]

    def right(self, net: Network, x: Tensor, y: Tensor) -> Tensor:
        """Which examples a network gets right, (n,)."""
        with torch.no_grad():
            return torch.cat([net(part) for part in x.split(1024)]).argmax(1) == y

    def evidence(self, net: Network, x: Tensor, y: Tensor, right: Tensor) -> tuple[Evidence, tuple[int, int]]:
        """Some failing and passing examples, their neighbours with them, and how many of both were no neighbours."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen = []
        for some in ((~right).nonzero()[:, 0], right.nonzero()[:, 0]):
            order = torch.randperm(len(some), generator=generator)[: self.settings.examples]
            chosen.append(some[order.to(some.device)])
        places = torch.cat(chosen)
        xs, ys, bad = x[places], y[places], ~right[places]
        if self.settings.radius > 0:
            near = neighbours(net, xs, ys, radius=self.settings.radius, steps=self.settings.steps, generator=generator)
            xs, ys, bad = torch.cat([xs, near]), torch.cat([ys, ys]), torch.cat([bad, ~self.right(net, near, ys)])
        seen = Evidence(failing_x=xs[bad], failing_y=ys[bad], passing_x=xs[~bad], passing_y=ys[~bad])
        return seen, (len(chosen[0]), len(chosen[1]))

    def likeness(
        self, observed: Tensor, x: Tensor, y: Tensor, share: float, news: Callable[[int, int], bool]
    ) -> Tensor:
        """How well each block's mutants look like what is observed: log-likelihoods, (blocks,).

        Args:
            observed: features of the network.
            x, y: examples that it gets right: where its mutants fail on them, the damage is why.
            share: of examples that it gets wrong.
            news: see `localize_blocks`.
        """
        slack, (least, most) = self.settings.slack, self.settings.shares
        share = min(max(share, least * slack), most / slack)
        aim = (share / slack, share * slack)
        wanted = [
            (place, kind, number)
            for number in range(self.settings.mutants)
            for kind in DAMAGE
            for place in range(len(self.blocks))
        ]
        rows, labels, strengths = [], [], dict[tuple[int, str], float]()
        few = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))[:_COUNTED].to(x.device)
        for done, (place, kind, number) in enumerate(wanted):
            if not news(done, len(wanted)):
                break
            made, strengths[place, kind] = mutant(
                self.net,
                self.blocks[place],
                kind,
                self.seed + number * len(self.blocks) + place,
                lambda other: 1 - float(self.right(other, x[few], y[few]).double().mean()),
                aim,
                strengths.get((place, kind), 0.5),
            )
            right = self.right(made, x, y)
            if not right.all() and right.any():
                seen, _ = self.evidence(made, x, y, right)
                rows.append(features(symptoms(made, self.nodes, seen, self.settings.formula), self.blocks))
                labels.append(place)
        return discriminated(observed, rows, labels, len(self.blocks))


def discriminated(observed: Tensor, rows: Sequence[Tensor], labels: Sequence[int], classes: int) -> Tensor:
    """Log-likelihood of what is observed in each class, up to a constant: (classes,) float64.

    Features are compared between the blocks of one network: what all blocks have in common says nothing.

    Args:
        observed: (blocks, features).
        rows: the same for networks whose class is known.
        labels: their classes. A class without any gets the least likelihood of the others.
        classes: how many there are.
    """
    if not rows:
        return torch.zeros(classes, dtype=torch.float64)
    points = torch.stack([_between(row) for row in rows])
    which = torch.tensor(labels)
    present = [place for place in range(classes) if (which == place).any()]
    centres = {place: points[which == place].mean(0) for place in present}
    residual = torch.stack([point - centres[label] for point, label in zip(points, labels, strict=True)])
    freedom = max(1, len(rows) - len(present))
    covariance = residual.T @ residual / freedom
    diagonal = covariance.diagonal() + _TINY + 0.01 * covariance.diagonal().mean()
    shrunk = (1 - _SHRINK) * covariance + _SHRINK * torch.diag(diagonal)
    told = {p: _distance(_between(observed) - centre, shrunk) for p, centre in centres.items()}
    worst = min(told.values())
    return torch.tensor([told.get(place, worst) for place in range(classes)], dtype=torch.float64)


def _between(row: Tensor) -> Tensor:
    return (row - row.mean(0)).flatten()


def _distance(apart: Tensor, covariance: Tensor) -> float:
    return -0.5 * float(apart @ torch.linalg.solve(covariance, apart))


def _described(
    net: Network, block: Block, rated: Sequence[Block], scores: Tensor, found: Sequence[Symptoms], top: int
) -> SuspiciousBlock:
    shapes = net.graph.shapes
    values = sum(net.value(name).numel() for name in block.weights(net))
    described = SuspiciousBlock(
        name=block.name,
        by=block.by,
        nodes=tuple(node.name for node in block.nodes),
        entry=shapes[block.entry][1:],
        exit=shapes[block.exit][1:],
        weights=values,
        operations=" ".join(node.op for node in block.nodes if node.output in net.graph.dependent),
    )
    if block not in rated:
        return described
    mine = [entry for entry in found if entry.node in block.convolutions]
    neurons = sorted((neuron for entry in mine for neuron in _neurons(entry)), key=lambda neuron: -neuron.value)
    place = rated.index(block)
    return replace(
        described,
        forward=float(torch.cat([entry.forward for entry in mine]).mean()),
        backward=float(torch.cat([entry.backward for entry in mine]).mean()),
        evidence=float(scores[place] - scores.max()),
        suspiciousness=float(scores.softmax(0)[place]),
        neurons=tuple(neurons[:top]),
        layers={entry.node.name: float((entry.forward + entry.backward).mean() / 2) for entry in mine},
    )


def _neurons(entry: Symptoms) -> list[SuspiciousNeuron]:
    pairs = zip(entry.forward.tolist(), entry.backward.tolist(), strict=True)
    return [
        SuspiciousNeuron(node=entry.node.name, channel=channel, forward=forward, backward=backward)
        for channel, (forward, backward) in enumerate(pairs)
    ]
