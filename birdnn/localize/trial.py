"""Each block on trial: what becomes of failing and passing examples when this block alone follows its gradients.

The weights of one block take some steps down the loss of half of the examples, everything else frozen. On the other
half a failing example counts as *covered* as far as the steps raise the probability of its right class, a passing one
as far as they lower it: a spectrum of what changes the verdict, as in mutation-based fault localisation, where the
change is not drawn at random but the one that the gradients ask for. Where the block is to blame there is a change of
it that mends failing examples at once, those not seen too, and harms no passing one. Elsewhere the change has to undo
what went wrong before, or to prepare for what goes wrong later, which serves the examples that it was made for and
others less.

Steps are relative to the size of each weight tensor, so that layers of different scale compare, and smaller in a block
of more weights: many that move together change what the network computes more than few do. With equal steps a block of
few weights does not get as far as it could when the others are about to break.

Source: Papadakis and Le Traon 2015 (Metallaxis) for spectra over changes; the gradients are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from birdnn.blocks import Block
from birdnn.network import Network
from birdnn.tail import Tail, value_at

# weights of a block whose steps are `TrialSettings.rate`
_USUAL = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """How a block is tried.

    Attributes:
        steps: of Adam on all examples of a half at once.
        counted: after which steps the other half is looked at; the first few turn in the wrong direction as often.
        rate: a step changes a weight by so much, relative to the root mean square of its tensor, in a block of 10,000
            weights; by more in a smaller one, by less in a larger one.
        falls: with what power of the number of weights.
        halvings: how often the examples are halved anew.

    Chosen on 50 damaged networks of other seeds than those of `benchmarks/digits/blocks.py`.
    """

    steps: int = 36
    counted: tuple[int, ...] = (15, 18, 21, 24, 27, 30, 33, 36)
    rate: float = 0.0085
    falls: float = 0.25
    halvings: int = 2

    def step(self, weights: int) -> float:
        """The relative step of a block of so many weights."""
        return self.rate * math.pow(weights / _USUAL, -self.falls)


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """For each step that counts, how many examples are covered, as sums of changes of probability: (steps,) float64.

    `n_failing` and `n_passing` are how many might have been.
    """

    failing: Tensor
    passing: Tensor
    n_failing: int
    n_passing: int


def try_block(
    net: Network, block: Block, x: Tensor, y: Tensor, failing: Tensor, halvings: Tensor, settings: TrialSettings
) -> Covered:
    """Try one block, each half of the examples in turn for the steps and for the counting.

    Args:
        net, block: on whose device everything lies.
        x, y: examples (n, inputs) and right classes (n,).
        failing: which of them the network gets wrong, (n,) bool.
        halvings: to which half each belongs, (halvings, n) bool. Where one half has no failing example, or no passing
            one, both halves are all examples.
        settings: see there.
    """
    values = value_at(net, block.entry, x)
    parts = []
    for halves in halvings:
        if any(not (half & kind).any() for half in (halves, ~halves) for kind in (failing, ~failing)):
            parts = [(torch.ones_like(failing), torch.ones_like(failing))]
            break
        parts += [(halves, ~halves), (~halves, halves)]
    seen = _Seen(values, y, failing)
    found = [_try_half(net, block, seen.part(learn), seen.part(check), settings) for learn, check in parts]
    bad, good = (torch.stack([pair[side] for pair in found]).sum(0) for side in (0, 1))
    checks = [check for _, check in parts]
    return Covered(
        bad,
        good,
        sum(int((check & failing).sum()) for check in checks),
        sum(int((check & ~failing).sum()) for check in checks),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a block reads, (n, *shape), right classes (n,), and which examples fail, (n,)."""

    values: Tensor
    y: Tensor
    failing: Tensor

    def part(self, some: Tensor) -> _Seen:
        return _Seen(self.values[some], self.y[some], self.failing[some])


def _try_half(net: Network, block: Block, learn: _Seen, check: _Seen, settings: TrialSettings) -> tuple[Tensor, Tensor]:
    """Covered failing and passing examples of one half, at each step that counts."""
    # copies of the weights: the next half, and the next block, begin at the original
    tail = Tail(net, block.entry, block.weights(net))
    sizes = [float(p.detach().square().mean().sqrt()) for p in tail.free]
    largest = max(sizes)  # a bias of zero has no size of its own
    step = settings.step(sum(p.numel() for p in tail.free))
    rates = [step * (size if p.dim() > 1 else largest) for p, size in zip(tail.free, sizes, strict=True)]
    groups = [{"params": [p], "lr": rate} for p, rate in zip(tail.free, rates, strict=True)]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.9))
    bad = learn.failing
    # half of the loss for each kind, however few failing examples there are
    weights = torch.where(bad, 0.5 / bad.sum(), 0.5 / (~bad).sum())

    def right() -> Tensor:
        with torch.no_grad():
            # float64: small changes of many probabilities are summed
            chance: Tensor = tail(check.values).double().softmax(1).gather(1, check.y[:, None])[:, 0]
        return chance

    start, counts = right(), []
    for done in range(1, settings.steps + 1):
        optimiser.zero_grad()
        torch.autograd.backward((weights * cross_entropy(tail(learn.values), learn.y, reduction="none")).sum())
        optimiser.step()
        if done in settings.counted:
            moved = right() - start
            counts.append((moved[check.failing].clamp(min=0).sum(), (-moved[~check.failing]).clamp(min=0).sum()))
    return tuple(torch.stack(side).cpu() for side in zip(*counts, strict=True))  # type: ignore[return-value]
