"""Backward bound propagation with optimised planes through any graph that the importer reads.

As on chains (`birdnn.bounds.crown`): whatever is not affine is replaced by planes around it (`birdnn.bounds.planes`),
and a linear function of the outputs is pushed back to the inputs, where its minimum over a box is exact (CROWN, Zhang
et al. 2018, arXiv:1811.00866; alpha-CROWN, Xu et al. 2021, arXiv:2011.13824; graphs as in auto_LiRPA, Xu et al. 2020,
arXiv:2002.12920). An affine operator needs no rule for it: its transpose is its vector-Jacobian product, which torch
knows (`birdnn.bounds.steps`). Values start from intervals; where planes depend on them they are bounded backwards too.

All arithmetic is float64, and its rounding is accounted for at each node: the rows that it hands back are wrong by less
than a small share of the absolute terms that they stand for, so that what a row loses there is at most ``|row| @
slack``. Nothing is claimed where a value may exceed `RANGE64`. Where bounds speak of executions in float32, what these
err by at a node is part of its slack; `docs/soundness.md` has the argument.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from birdnn.bounds.ascent import FinalRows
from birdnn.bounds.batch import Batch
from birdnn.bounds.plan import GraphPlan
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.boxes import Boxes


class GraphBound(GraphPlan):
    """`MarginBound` for any graph; see `GraphPlan` for what it is made of."""

    name = "graph"

    def root(self, boxes: int) -> Tensor:
        """Nothing known, (boxes, 3 * neurons + inputs): ends of all values that planes depend on, splits, and flow.

        A split is its side, -1 or 1, times one more than its multiplier; where there is none it is zero.
        """
        side = torch.full((boxes, self.neurons), torch.inf, dtype=torch.float64, device=self.device)
        return torch.cat([-side, side, torch.zeros_like(side), side.new_ones(boxes, self.n_inputs)], 1)

    def split(self, inherited: Tensor, neuron: Tensor) -> Tensor:
        """See `SplitsNeurons.split`."""
        n, both = self.neurons, inherited.repeat(2, 1)
        for side, half in ((-1, both[: len(inherited)]), (1, both[len(inherited) :])):
            box = (neuron >= 0).nonzero()[:, 0]
            place = neuron[box]
            if side < 0:
                half[box, n + place] = half[box, n + place].clamp(max=0)
            else:
                half[box, place] = half[box, place].clamp(min=0)
            # the side times one more than the multiplier, which is zero to begin with
            half[box, 2 * n + place] = float(side)
        return both

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        # cuDNN may convolve by Fourier transforms, also in float64: `roundings` says nothing about these
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
            batch = Batch(self, boxes, inherited)
            box, polytope = opened.nonzero(as_tuple=True)
            rows = FinalRows(batch, question, box, polytope)
            lower, plane, minimum = rows.optimise()
            left = ~question.excluded(lower, polytope)
            still = torch.zeros_like(opened).index_put((box, polytope), left)
            flow = batch.flow(still.to(torch.float64) @ question.a.abs().sum(1))
            hardest = _hardest_items(box[left], lower[left])
            # every multiplier is sound for every row: both halves begin with those that served the hardest item best
            batch.splits[box[left][hardest]] = rows.splits[left][hardest]
            neuron = torch.full_like(still[:, 0], -1, dtype=torch.int64)
            neuron[box[left][hardest]] = batch.neuron(rows.single[left][hardest], box[left][hardest])
            # in the order of `root`, which `split`, `sensitivity` and `Batch` count on
            known = torch.cat([batch.lower, batch.upper, batch.splits, flow], 1)
            choices = rows.choices() if self.record else None
            return BoundResult(box, polytope, lower, plane, minimum, known, choices, neuron=neuron)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """Absolute weights multiplied through the upper planes, for the rows of the polytopes that were left open."""
        del question, opened
        return inherited[:, 3 * self.neurons :]


def _hardest_items(box: Tensor, lower: Tensor) -> Tensor:
    """Of each box the item with the least bound: indices."""
    # `return_index` gives the first place of each box, which after sorting is that of its least bound
    order = lower.argsort()
    _, first = np.unique(box[order].cpu().numpy(), return_index=True)
    return order[torch.from_numpy(first).to(order.device)]
