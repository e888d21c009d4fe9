"""The fitness of modified neurons: what violates, what was preserved.

As in the paper, with ``a`` for alpha: ``(1 - a) * (share that violates) + a * (1 - share preserved)``. Shares of a few
thousand points are flat nearly everywhere, and a search among equals stands still. Ties are therefore broken by a
smooth term: the same mixture of the mean margin that is lacking and of the mean difference of outputs, each squashed
into [0, 1) and the whole shrunk below what a single point counts, so that it never outweighs one.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365, for the shares; the smooth term is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.neurons import Neuron
from birdnn.records import Decision
from birdnn.spec import Region

# of the widest value, all particles together: 64 MiB of float32
_ENTRIES_PER_PASS = 1 << 24


class ScaledOutputs:
    """A network's outputs for many scalings of the same neurons at once.

    Args:
        net: float32; the computation runs on its device.
        neurons: those that are scaled, each named once.
    """

    def __init__(self, net: Network, neurons: Sequence[Neuron]) -> None:
        self.net = net
        self.device = next(iter(net.values().values())).device
        places: dict[str, list[tuple[int, int]]] = {}
        for column, neuron in enumerate(neurons):
            places.setdefault(neuron.value, []).append((neuron.index, column))
        self._places = {value: torch.tensor(pairs, device=self.device).T for value, pairs in places.items()}
        self._widest = max(net.size_of(node.output) for node in net.nodes)

    def __call__(self, changes: Tensor, x: Tensor) -> Tensor:
        """Neuron i counting 1 + changes[:, i] times: (particles, k), (n, inputs) -> (particles, n, outputs)."""
        changes = changes.to(self.device)
        scales = {value: self._factors_of_value(changes, value) for value in self._places}
        step = max(1, _ENTRIES_PER_PASS // max(1, len(changes) * self._widest))
        with torch.no_grad():
            return torch.cat([self._evaluate_part(scales, part.to(self.device)) for part in torch.split(x, step)], 1)

    def _factors_of_value(self, changes: Tensor, value: str) -> Tensor:
        index, column = self._places[value]
        scale = torch.ones(len(changes), self.net.size_of(value), device=self.device)
        # indexed addition does not accumulate: of a neuron that is named twice one change would be lost
        scale[:, index] += changes[:, column]
        return scale

    def _evaluate_part(self, scales: dict[str, Tensor], x: Tensor) -> Tensor:
        def one(scale: dict[str, Tensor]) -> Tensor:
            y: Tensor = self.net(x, {value: factors.mul for value, factors in scale.items()})
            return y

        outputs: Tensor = torch.func.vmap(one)(scales)
        return outputs


@dataclass(frozen=True, slots=True, eq=False)
class Healed:
    """Inputs that are to satisfy a region's property.

    Attributes:
        region: whose unsafe set.
        x: (n, inputs).
        least: a point violates unless its margin is above this; 0 is the paper's reading.
        margin: what is lacking of this counts in the smooth term, positive.
    """

    region: Region
    x: Tensor
    least: float
    margin: float


@dataclass(frozen=True, slots=True, eq=False)
class Preserved:
    """Inputs at which the original was right: decision and, in a region, satisfaction are to stay.

    Attributes:
        region: None for points of the domain.
        x: (n, inputs).
    """

    region: Region | None
    x: Tensor


class ModificationFitness:
    """The fitness above, for candidates (particles, k): (particles,) float32 on the network's device."""

    def __init__(
        self,
        outputs: ScaledOutputs,
        healed: Sequence[Healed],
        preserved: Sequence[Preserved],
        *,
        alpha: float,
        decision: Decision,
    ) -> None:
        self.outputs, self.alpha, self.decision = outputs, alpha, decision
        self.healed = [part for part in healed if len(part.x)]
        self.preserved = [part for part in preserved if len(part.x)]
        xs = [*(part.x for part in self.healed), *(part.x for part in self.preserved)]
        self._sizes = [len(x) for x in xs]
        self._x = torch.cat(xs).to(outputs.device)
        with torch.no_grad():
            self._before = torch.split(outputs.net(self._x), self._sizes)
        everything = torch.cat(self._before)
        # differences count in multiples of the outputs' spread, whatever their units are
        self._scale = max(float((everything - everything.mean(0)).abs().mean()), 1e-30)
        self._bad = sum(self._sizes[: len(self.healed)])
        self._kept = sum(self._sizes) - self._bad
        # less than what one point can change, of whichever kind
        counts = [(1 - alpha, self._bad), (alpha, self._kept)]
        self._tie = 0.5 * min((share / count for share, count in counts if share > 0 and count), default=1.0)

    def __call__(self, changes: Tensor) -> Tensor:
        """See the module; NaN outputs violate and are not preserved."""
        parts = torch.split(self.outputs(changes, self._x), self._sizes, 1)
        violated, lacking, lost, moved = (torch.zeros(len(changes), device=self.outputs.device) for _ in range(4))
        for group, y in zip(self.healed, parts, strict=False):
            margin = group.region.margin(y.flatten(0, 1)).view(y.shape[:2])
            # not `<=`: NaN violates
            violated += (~(margin > group.least)).sum(1)
            lacking += ((group.margin - margin).clamp(min=0) / group.margin).sum(1)
        for kept, y, before in zip(
            self.preserved, parts[len(self.healed) :], self._before[len(self.healed) :], strict=True
        ):
            lost += (~self._is_preserved(kept, before, y)).sum(1)
            moved += (y - before).abs().mean(2).sum(1) / self._scale
        # x / (x + n) stays below 1, so that `_tie` keeps the smooth term below what one point counts
        n_bad, n_kept = max(1, self._bad), max(1, self._kept)
        smooth = self._mix_by_alpha(lacking / (lacking + n_bad), moved / (moved + n_kept))
        # inf / inf is NaN: as bad as the smooth term gets, and no worse
        return self._mix_by_alpha(violated / n_bad, lost / n_kept) + self._tie * torch.nan_to_num(smooth, nan=1.0)

    def _mix_by_alpha(self, bad: Tensor, kept: Tensor) -> Tensor:
        return (1 - self.alpha) * bad + self.alpha * kept

    def _is_preserved(self, kept: Preserved, before: Tensor, y: Tensor) -> Tensor:
        """Is a point as right as it was: outputs (particles, n, outputs) -> (particles, n)."""
        same = y.isfinite().all(2)
        was, now = decisions(before, self.decision), decisions(y.flatten(0, 1), self.decision)
        if was is not None and now is not None:
            same &= now.view(y.shape[:2]) == was
        if kept.region is not None:
            same &= kept.region.margin(y.flatten(0, 1)).view(y.shape[:2]) > 0
        return same
