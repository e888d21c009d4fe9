"""The rows of a question on a batch of boxes of a graph: bounded, and improved by gradient ascent on what is free.

Free are the planes around whatever is not affine, the multipliers of a polytope's rows, and those of the sides of split
neurons (beta-CROWN, Wang et al. 2021, arXiv:2103.06624).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from birdnn.bounds.batch import Batch, multiplier_of, side_of
from birdnn.bounds.interval import least_rows, reach_of
from birdnn.bounds.minima import combine_rows, flatten_samples, step_multipliers
from birdnn.bounds.planes import Plane
from birdnn.bounds.protocol import Choices, Question
from birdnn.bounds.rules import is_bent
from birdnn.bounds.settling import best_multipliers
from birdnn.bounds.steps import sample_shape
from birdnn.chain import as_activation
from birdnn.rounding import FLOAT64, SUM_ROUNDINGS


class FinalRows:
    """The items of a batch: their rows, multipliers and planes, improved together."""

    def __init__(self, batch: Batch, question: Question, box: Tensor, polytope: Tensor) -> None:
        self.batch, self.question, self.box, self.polytope = batch, question, box, polytope
        self.settings, self.a, self.b = batch.bound.settings, question.a[polytope], question.b[polytope]
        self.splits, self.single = batch.splits[box], self.a[:, 0]
        self.record, self.weights = batch.bound.record, torch.zeros_like(self.b)
        kept = len(box) if self.record else 0
        self.slopes = torch.full((kept, batch.bound.neurons), torch.nan, dtype=torch.float32, device=self.a.device)

    def choices(self) -> Choices:
        """What the last plane of each item was made with."""
        sides = [
            torch.where(splits != 0, multiplier_of(splits), torch.nan).float()
            for splits in (self.batch.splits[self.box], self.splits)
        ]
        return Choices(self.weights, self.slopes, (sides[0], sides[1]), self.batch.bound.intervals)

    def optimise(self) -> tuple[Tensor, Tensor, Tensor]:
        """Best lower bound of each item, and the planes of all single rows and of the best combination."""
        items, n_rows = self.b.shape
        # single rows first, by default planes and inherited multipliers: most items are closed by one of them
        owner, some = self.box.repeat_interleave(n_rows), self.batch.bound.rows
        plane = self.a.new_zeros(items * n_rows, self.batch.bound.n_inputs)
        minimum = self.b.new_zeros(items * n_rows)
        for part in range(0, len(owner), some):
            here = slice(part, part + some)
            a, b, box = self.a.flatten(0, 1)[here], self.b.flatten()[here], owner[here]
            found = self.batch.multipliers(box)
            splits = {name: side_of(each) * multiplier_of(each) for name, each in found.items()}
            plane[here], minimum[here] = self._push_back((a, b), (a.abs(), b.abs()), box, splits=splits)
        plane, minimum = plane.view(items, n_rows, -1), minimum.view(items, n_rows)
        if not self.record:  # by intervals alone no certificate closes anything
            low, up = self.batch.intervals[self.batch.bound.graph.output_name]
            level = least_rows(self.a, self.b, (flatten_samples(low)[self.box], flatten_samples(up)[self.box]))
            plane = plane.where((minimum >= level)[..., None], 0.0)  # a constant is a plane
            minimum = torch.maximum(minimum, level)
        best, row = minimum.max(1)
        self.single = self.a[torch.arange(items, device=row.device), row]
        best_plane = plane[torch.arange(items, device=row.device), row]
        # in place below: `_ascend` and `_solve_multipliers` put down with what the best bound was made
        self.weights = weights = torch.nn.functional.one_hot(row, n_rows).to(best.dtype)
        # fewer at a time than above: for the gradients all rows and planes on the way are kept
        todo, some = (~self.question.excluded(best, self.polytope)).nonzero()[:, 0], max(1, some // 4)
        for part in range(0, len(todo) if self.settings.steps else 0, some):
            which = todo[part : part + some]
            self._ascend(which, weights[which], best, best_plane)
        # where the network is affine a linear program gives the best multipliers, which steps only come near
        for item in (~self.question.excluded(best, self.polytope) & self.batch.decided[self.box]).nonzero()[:, 0]:
            self._solve_multipliers(item[None], best, best_plane)
        # the single row and the combination are one, and `best_plane` is the better plane of it
        if n_rows == 1:
            return best, best_plane[:, None], best[:, None]
        return best, torch.cat([plane, best_plane[:, None]], 1), torch.cat([minimum, best[:, None]], 1)

    def _push_back(
        self,
        side: tuple[Tensor, Tensor],
        size: tuple[Tensor, Tensor],
        box: Tensor,
        lines: Mapping[str, tuple[Plane, Plane]] | None = None,
        splits: Mapping[str, Tensor] | None = None,
        seen: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Planes and minima of ``a @ y - b``; sizes are those of the terms that a and b were combined of."""
        output = self.batch.bound.graph.output_name
        reach = flatten_samples(reach_of(self.batch.intervals[output]))[box]
        # what combining the rows has rounded, on outputs as large as they can be
        room = FLOAT64 * (SUM_ROUNDINGS + 8 * self.b.shape[1]) * (torch.linalg.vecdot(size[0], reach) + size[1])
        rows = side[0].reshape(-1, *sample_shape(self.batch.bound.graph, output))
        return self.batch.back(output, rows, -side[1] - room, box, lines, splits, seen)

    def _solve_multipliers(self, item: Tensor, best: Tensor, best_plane: Tensor) -> None:
        """The best multipliers of an item, (1,), on whose box every sign is known; betters `best` in place."""
        box = self.box[item]
        names, places, planes, levels = self.batch.half_spaces(box)
        if not names:
            return
        a, b = self.a[item[0]], self.b[item[0]]
        # without splits: the program is given these as half-spaces of their own
        rows = self._push_back((a, b), (a.abs(), b.abs()), box.expand(len(b)))
        centre, radius = (side[box] for side in self.batch.middle)
        found = best_multipliers(
            (rows[0].numpy(force=True), self.batch.constants(*rows, box).numpy(force=True)),
            (planes.numpy(force=True), levels.numpy(force=True)),
            # the corners as `minimum_of` has them, a little outward
            (centre - radius)[0].numpy(force=True),
            (centre + radius)[0].numpy(force=True),
        )
        if found is None:
            return
        weights, multipliers = (torch.from_numpy(each).to(planes)[None] for each in found)
        if self.record:
            # before the bound is made, not after: it is to hold for the numbers that the certificate has
            weights, multipliers = _round_to_float32(weights), _round_to_float32(multipliers)
        splits = self.batch.multipliers(box)
        signed = {name: torch.zeros_like(each) for name, each in splits.items()}
        for k, (name, place) in enumerate(zip(names, places, strict=True)):
            signed[name].view(-1)[place] = side_of(splits[name]).view(-1)[place] * multipliers[0, k]
        sides, sizes = self._combine_rows(weights, item)
        bettered, value = self._push_back(sides, sizes, box, splits=signed)
        # the solver's word counts for nothing: the bound is the one that a sound pass makes with what it found
        if float(value) > float(best[item]):
            best[item], best_plane[item] = value, bettered
            self.weights[item] = weights
            for name, each in signed.items():
                span = self.batch.bound.spans[name]
                self.splits[item, span] = flatten_samples(side_of(splits[name]) * (1 + each.abs()))
            if self.record:
                # all signs are known, and no activation has a line to choose
                self.slopes[item] = torch.nan

    def _combine_rows(self, weights: Tensor, which: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The rows of items, weighed, and the sizes of their terms, each (items, outputs) and (items,)."""
        a, b = self.a[which], self.b[which]
        return combine_rows(weights, a, b), combine_rows(weights, a.abs(), b.abs())

    def _ascend(self, which: Tensor, weights: Tensor, best: Tensor, best_plane: Tensor) -> None:
        """Gradient ascent on planes and multipliers of the items ``which``; betters `best` in place."""
        settings, before = self.settings, [best[which]]
        free = _Free(self.batch, self.box[which], weights)
        size = settings.step_size
        for step in range(settings.steps + 1):
            # the last pass only looks where the steps have led, and needs no gradient
            last, seen = step == settings.steps, dict[str, Tensor]() if self.record else None
            with torch.enable_grad():
                sides, sizes = self._combine_rows(free.weights.requires_grad_(not last), which)
                lines, splits = free.chosen(fixed=last)
                plane, minimum = self._push_back(sides, sizes, self.box[which], lines, splits, seen)
            better = minimum > best[which]
            self.weights[which[better]] = free.weights.detach()[better]
            if seen is not None:
                self.slopes[which[better]] = free.slopes(lines, seen)[better]
            best[which] = torch.where(better, minimum.detach(), best[which])
            best_plane[which] = torch.where(better[:, None], plane.detach(), best_plane[which])
            self.splits[which[better]] = free.splits()[better]
            before.append(best[which])
            hopeful = ~self.question.excluded(best[which], self.polytope[which])
            if step > 2:
                # so written that an item at minus infinity stays: its gain is NaN
                hopeful &= ~(best[which] + settings.hope * (best[which] - before[step - 2]) < 0)
            if last or not bool(hopeful.any()) or not free.moved(minimum, size):
                return
            size *= settings.decay


class _Free:
    """What may be chosen freely for some items: planes, multipliers of rows, multipliers of splits.

    Attributes:
        weights: of the rows of each item, (items, rows).
    """

    def __init__(self, batch: Batch, box: Tensor, weights: Tensor) -> None:
        self._batch, self._box, self.weights = batch, box, weights
        self._planes = {name: bent.planes.take(box) for name, bent in batch.bent.items()}
        self._lines = {name: [start.clone() for start in each.start] for name, each in self._planes.items()}
        splits = batch.multipliers(box)
        self._sides = {name: side_of(each) for name, each in splits.items()}
        self._multipliers = {name: multiplier_of(each) for name, each in splits.items()}

    def chosen(self, *, fixed: bool) -> tuple[dict[str, tuple[Plane, Plane]], dict[str, Tensor]]:
        """Planes for each row, and splits, as `Batch.back` takes them; derivatives can be asked for unless `fixed`."""
        for leaf in (*(leaf for pair in self._lines.values() for leaf in pair), *self._multipliers.values()):
            leaf.requires_grad_(not fixed)
        lines = {name: self._planes[name].mixed(*pair) for name, pair in self._lines.items()}
        # a side of zero where the box is not split takes the multiplier away
        return lines, {name: side * self._multipliers[name] for name, side in self._sides.items()}

    def slopes(self, lines: Mapping[str, tuple[Plane, Plane]], seen: Mapping[str, Tensor]) -> Tensor:
        """Of the lines that rows on the values of activations meet, (items, neurons), NaN where nothing was chosen."""
        bound = self._batch.bound
        found = self.weights.new_full((len(self.weights), bound.neurons), torch.nan, dtype=torch.float32)
        for step in bound.steps:
            activation = as_activation(step.node)
            if activation is None or step.output not in seen:
                continue
            span, planes, row = bound.spans[step.reads[0][1]], self._planes[step.output], seen[step.output].detach()
            low, up = (side[self._box][:, span] for side in (self._batch.lower, self._batch.upper))
            slope = torch.where(row > 0, lines[step.output][0].slopes[0], lines[step.output][1].slopes[0]).detach()
            below, above = (first.slopes[0] != second.slopes[0] for first, second in (planes.low, planes.up))
            # NaN where both planes have one slope, or no row meets them: a checker knows that slope without being told
            chosen = flatten_samples(slope.where(torch.where(row > 0, below, above) & (row != 0), torch.nan))
            found[:, span] = chosen.where(is_bent(activation, low, up), torch.nan).float()
        return found

    def splits(self) -> Tensor:
        """As they are handed on, (items, neurons)."""
        found = self._batch.splits[self._box]
        for name, side in self._sides.items():
            found[:, self._batch.bound.spans[name]] = flatten_samples(side * (1 + self._multipliers[name].detach()))
        return found

    def moved(self, minimum: Tensor, size: float) -> bool:
        """One step from where the minima are, (items,); false where nothing depends on anything.

        Planes and rows take a signed step, multipliers of splits one of Polyak's towards zero.
        """
        # one item at infinity would make NaN of the step of all
        known = minimum.detach().isfinite()
        if not minimum.requires_grad or not bool(known.any()):
            return False
        lines = [leaf for pair in self._lines.values() for leaf in pair]
        leaves = [*lines, *self._multipliers.values(), self.weights]
        # a sum needs no weights for its terms, which torch would load symbolic algebra for
        with torch.enable_grad():
            total = minimum.where(known, 0.0).sum()
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        slopes = [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(leaves, found, strict=True)]
        for leaf, slope in zip(lines, slopes, strict=False):
            leaf.requires_grad_(False).add_(size * slope.sign()).clamp_(0, 1)
            if self._batch.bound.record:
                leaf.copy_(_round_to_float32(leaf))
        betas = slopes[len(lines) : -1]
        # the bound is to reach zero: as far as it would have to go for that if it were linear (Polyak)
        if betas:
            lengths = torch.stack([flatten_samples(slope).square().sum(1) for slope in betas]).sum(0)
            step = (-minimum.detach()).clamp(min=0).nan_to_num(nan=0.0, posinf=0.0) / lengths.clamp(min=1e-30)
            for leaf, slope in zip(self._multipliers.values(), betas, strict=True):
                leaf.requires_grad_(False).add_(step.reshape(-1, *(1,) * (leaf.dim() - 1)) * slope).clamp_(min=0)
                if self._batch.bound.record:
                    leaf.copy_(_round_to_float32(leaf))
        self.weights = self.weights.detach()
        if self.weights.shape[1] > 1:
            # the gradient in a row's multiplier is the row's margin at the minimiser
            self.weights = step_multipliers(self.weights, slopes[-1], size / 2)
        return True


def _round_to_float32(values: Tensor) -> Tensor:
    """As a certificate holds them, in single precision."""
    return values.float().to(values.dtype)
