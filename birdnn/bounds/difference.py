"""Bounds of how far apart the outputs of two networks can be on a box, over the reals.

Two networks of the same layers are followed together. Layers in which they do not differ are one network. Behind the
first that differs there are three blocks: the pre-activations ``z`` of the first network, those of the second, and
their difference ``d``. Behind an activation it is ``s(z + d) - s(z)``, which the mean value theorem puts between
``m d`` and ``M d``, with the least and the greatest slope that the activation has between the pre-activations of both;
of a convex one the slopes at z bound it from below, those at ``z + d`` from above. So a small change of the weights
gives a small bound, which subtracting two bounds never does. The idea is that of differential verification (Paulsen,
Wang and Wang 2020, ReluDiff, arXiv:2001.03662, and NeuroDiff, arXiv:2009.09943); here it is one more chain of affine
maps and activations for `CrownBound`, whose arithmetic and account of rounding are used as they are. A row on both
networks' outputs is asked for in several forms, with the third block and without, and multipliers take the best
mixture.

Networks whose layers do not correspond are bounded each by itself (`SeparateBound`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound, available
from birdnn.bounds.compiled.state import Integers
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.protocol import BoundResult, MarginBound, Question
from birdnn.bounds.rules import Line, Relaxation, is_bent, relax, slope_range
from birdnn.bounds.slopes import Slopes
from birdnn.boxes import Boxes
from birdnn.chain import Activation, Affine, Chain, NotAChain, Terms, as_activation
from birdnn.network import Network
from birdnn.records.limits import Over
from birdnn.rounding import FLOAT64, LINE_ROUNDINGS

FORMS = 3
"""In which a row on both networks' outputs can be asked for, see `in_all_forms`."""

INNER_STEPS = 8
"""`CrownSettings.inner_steps` of queries about differences and slopes: a sixth of the boxes of pairs that need many."""

Slant: TypeAlias = tuple[Tensor, Tensor]
"""Multiples of d: the least and the greatest one."""


def layer_mismatch(before: Chain, after: Chain) -> str:
    """Why the layers of two chains do not correspond; empty where they do: same sizes, same activations."""
    depths = [len(chain) // 2 + 1 for chain in (before, after)]
    if depths[0] != depths[1]:
        return f"{depths[0]} affine layers in A, {depths[1]} in B"
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        layer = place // 2 + 1
        if isinstance(one, Affine) and isinstance(other, Affine):
            if one.weight.shape != other.weight.shape:
                sizes = (
                    f"{len(part.bias)} x {part.weight.shape[1]} in {name}" for part, name in ((one, "A"), (other, "B"))
                )
                return f"affine layer {layer} is {', '.join(sizes)}"
        elif isinstance(one, Activation) and isinstance(other, Activation) and one != other:
            a, b = _describe_activation(one), _describe_activation(other)
            return f"the activation behind affine layer {layer} is {a} in A, {b} in B"
    return ""


def _describe_activation(layer: Activation) -> str:
    return f"{layer.kind} ({layer.alpha:g})" if layer.alpha else layer.kind


def difference_questions(n_outputs: int, device: torch.device) -> Question:
    """What to ask of the outputs of A and B: item ``2 j`` bounds ``A_j - B_j`` from below, ``2 j + 1`` the opposite."""
    eye = torch.eye(n_outputs, dtype=torch.float64)
    rows = torch.cat([-eye, eye], 1)
    a = torch.stack([-rows, rows], 1).flatten(0, 1)[:, None].to(device)
    return Question(a, a.new_zeros(a.shape[:2]), torch.ones(len(a), dtype=torch.bool, device=device))


def in_all_forms(question: Question) -> Question:
    """The same of the joint outputs (A, B, B - A): rows on A and B once as they are, and with the difference instead.

    ``f A + g B`` is ``(f + g) A + g (B - A)`` and ``(f + g) B - f (B - A)``, where ``f + g`` is exact.
    """
    first, second = question.a.chunk(2, dim=2)
    total, nothing = first + second, torch.zeros_like(first)
    # a sum that was rounded would multiply the outputs themselves, beside which their difference is nothing
    exact = (total - first == second) & (total - second == first)
    plain = torch.cat([first, second, nothing], 2)
    forms = [plain, torch.cat([total, nothing, second], 2), torch.cat([nothing, total, -first], 2)]
    if not total.any():
        del forms[2]  # it is the second one
    told = [torch.where(exact.all(2)[..., None], form, plain) for form in forms]
    return Question(torch.cat(told, 1), question.b.repeat(1, len(told)), question.closed)


class Followed(CrownBound):
    """Bounds of a chain whose last block of neurons is a difference, or a slope, and known up to a multiple.

    Attributes:
        shared: so many affine layers, from the inputs on, have no such block.
        networks: so many blocks before it are those of networks.
    """

    shared: int
    networks: int

    def _relax(self, k: int, low: Tensor, up: Tensor) -> Relaxation:
        """Usual lines for the networks, those of the slopes for the last block."""
        if k < self.shared:
            return super()._relax(k, low, up)
        # blocks stand side by side: networks first, the difference or the slope behind
        activation, own = self._activation[k], self._network_neurons(low)
        usual = relax(activation, low[:, :own], up[:, :own])
        below, above = self._block_slopes(activation, low, up)
        lines = _gap_lines(below, above, low[:, own:], up[:, own:])
        size = torch.maximum(low[:, own:].abs(), up[:, own:].abs())
        # as `relax` pays for lines, with the steepest multiple in the place of alpha
        steepest = 1 + torch.maximum(_steepest(*below), _steepest(*above))
        computed = (LINE_ROUNDINGS + 2 * low.shape[1]) * FLOAT64 * 2 * steepest * (1 + size)
        # a known multiple is a line through zero: what its slope is rounded by is paid with the row (`_Layer.slack`)
        return _side_by_side(usual, lines.widened(computed.masked_fill(_is_fixed(below, above), 0.0), None, size))

    def _activation_reach(self, k: int, low: Tensor, up: Tensor) -> Tensor:
        if k < self.shared:
            return super()._activation_reach(k, low, up)
        own = self._network_neurons(low)
        networks = super()._activation_reach(k, low[:, :own], up[:, :own])
        below, above = self._block_slopes(self._activation[k], low, up)
        # outward, for what the product is rounded by
        steepest = torch.maximum(_steepest(*below), _steepest(*above)) * (1 + LINE_ROUNDINGS * FLOAT64)
        return torch.cat([networks, steepest * torch.maximum(low[:, own:].abs(), up[:, own:].abs())], 1)

    def _tighten_layer(
        self, low: Tensor, up: Tensor, slopes: list[Slopes], slack: Tensor, centre: Tensor, radius: Tensor
    ) -> None:
        """Networks first: where they say what multiple it is, the last block need not be bounded closely."""
        k = len(slopes)
        if k < self.shared:
            super()._tighten_layer(low, up, slopes, slack, centre, radius)
            return
        activation, own = self._activation[k], self._network_neurons(low)
        needed = is_bent(activation, low, up)
        # what the networks' bounds say of slopes decides whether the last block is worth bounding
        needed[:, own:] = False
        self._tighten_neurons(low, up, needed, slopes, slack, centre, radius)
        self._tighten_if_paired(low, up)
        needed = torch.zeros_like(needed)
        # also where the multiple is known the reach of the block has to be a number
        known = low[:, own:].isfinite() & up[:, own:].isfinite()
        needed[:, own:] = ~(_is_fixed(*self._block_slopes(activation, low, up)) & known)
        self._tighten_neurons(low, up, needed, slopes, slack, centre, radius)
        self._tighten_if_paired(low, up)

    def _network_neurons(self, low: Tensor) -> int:
        """How many neurons of a layer are those of networks."""
        return low.shape[1] // (self.networks + 1) * self.networks

    def _block_slopes(self, activation: Activation, low: Tensor, up: Tensor) -> tuple[Slant, Slant]:
        """What the last block is at least and at most, in multiples of what it was before the activation."""
        if self.networks == 1:
            own = self._network_neurons(low)
            both = slope_range(activation, low[:, :own], up[:, :own])
            return both, both
        return _gap_slopes(activation, low, up)

    def _tighten_if_paired(self, low: Tensor, up: Tensor) -> None:
        if self.networks == 2:
            _tighten_blocks(low, up)


class _Differences(Followed):
    """What bounds of the joint outputs of two networks have to do otherwise than `CrownBound`."""

    networks = 2

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`; rows are on the outputs of A and then B, multipliers of them in all forms."""
        # `at_a_glance` and the fallback to torch come by here a second time: `_in_forms` must not do it twice
        return self._drop_gap_slopes(super().bound(self._in_forms(question), boxes, opened, inherited))

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """See `CrownBound.sensitivity`."""
        return super().sensitivity(self._in_forms(question), opened, inherited)

    def _in_forms(self, question: Question) -> Question:
        asked_already = question.a.shape[2] == len(self._layer[-1].bias)
        return question if asked_already else in_all_forms(question)

    def _drop_gap_slopes(self, result: BoundResult) -> BoundResult:
        """Without slopes of differences, which are not free: whoever makes the lines again knows them."""
        if result.choices is None:
            return result
        slopes = result.choices.slopes.clone()
        for k in range(self.shared, len(self._activation)):
            width = self._span[k].stop - self._span[k].start
            slopes[:, self._span[k].start + width // 3 * 2 : self._span[k].stop] = torch.nan
        return replace(result, choices=replace(result.choices, slopes=slopes))


class DifferenceBound(_Differences):
    """`MarginBound` of rows on the outputs of two networks, A and then B, whose layers correspond.

    Rows have coefficients that float64 holds exactly: what others are rounded by would be lost where they cancel.

    Args:
        before, after: A and B, with the same inputs.
        device, settings, record: as for `CrownBound`.

    Raises:
        NotAChain: one of the graphs is something else, or their layers do not correspond.
    """

    name = "crown on the difference"

    def __init__(
        self,
        before: Network,
        after: Network,
        device: torch.device,
        settings: CrownSettings | None = None,
        record: bool = False,
    ) -> None:
        chain, self.shared = joint_chain(before, after)
        super().__init__(chain, device, settings, record=record)


class CompiledDifferenceBound(_Differences, CompiledBound):
    """`DifferenceBound` by compiled loops.

    Args:
        before, after, settings, record: see `DifferenceBound`.
        threads, always: see `CompiledBound`.
    """

    name = "crown on the difference"

    def __init__(
        self,
        before: Network,
        after: Network,
        settings: CrownSettings | None = None,
        threads: int | None = None,
        always: bool = False,
        record: bool = False,
    ) -> None:
        chain, self.shared = joint_chain(before, after)
        settings = settings or CrownSettings()
        # a tree of signs of neurons knows those of one network only, and certificates of two networks have none
        if record or self.shared < len(chain) // 2:
            settings = replace(settings, splits=None)
        super().__init__(chain, settings, record=record, threads=threads, always=always)

    def at_a_glance(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `CompiledBound.at_a_glance`."""
        return super().at_a_glance(self._in_forms(question), boxes, opened, inherited)

    def _block_sizes(self, width: Integers) -> Integers:
        return block_sizes(width, self.shared, self.networks)


def difference_bound(
    before: Network,
    after: Network,
    device: torch.device,
    settings: CrownSettings | None = None,
    record: bool = False,
) -> DifferenceBound | CompiledDifferenceBound:
    """The form of `DifferenceBound` that is fastest on a device.

    Raises:
        NotAChain: see `DifferenceBound`.
    """
    if device.type == "cpu" and available():
        return CompiledDifferenceBound(before, after, settings, record=record)
    return DifferenceBound(before, after, device, settings, record)


def block_sizes(width: Integers, shared: int, networks: int) -> Integers:
    """How many neurons each block of a layer has, as `birdnn.bounds.compiled.state.Net.shape` says it."""
    sizes = np.zeros_like(width)
    # layer k has the blocks of what it makes, ``width[k + 1]`` values; the last column belongs to no layer
    sizes[shared:-1] = width[shared + 1 :] // (networks + 1)
    return sizes


def joint_chain(before: Network, after: Network) -> tuple[Chain, int]:
    """A, B and B - A as one chain, and how many layers from the inputs on are the same in both.

    Raises:
        NotAChain: one of the graphs is something else, or their layers do not correspond.
    """
    one, other = (net.copy().cpu().chain() for net in (before, after))
    if reason := layer_mismatch(one, other):
        raise NotAChain(f"the layers do not correspond: {reason}")
    shared = _shared_layers(before, after)
    return _join_chains(one, other, shared), shared


class SeparateBound:
    """`MarginBound` of the joint outputs of two networks, each bounded by itself; for any pair.

    Args:
        before, after: bounds of A and B.
        n_outputs: of each.
    """

    record = False

    def __init__(self, before: MarginBound, after: MarginBound, n_outputs: int) -> None:
        self.before, self.after, self.n_outputs, self.device = before, after, n_outputs, before.device
        self.name = f"{' and '.join(dict.fromkeys((before.name, after.name)))} on each network by itself"
        self._split = before.root(1).shape[1]

    @property
    def over(self) -> Over:
        """See `MarginBound`: both bounds ask it."""
        return self.before.over

    @over.setter
    def over(self, over: Over) -> None:
        self.before.over = self.after.over = over

    def root(self, boxes: int) -> Tensor:
        """What both know of boxes of which nothing is known."""
        return torch.cat([self.before.root(boxes), self.after.root(boxes)], 1)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`, of single rows on the outputs of A and then B, as sums of two bounds."""
        one, other = self._split_question(question)
        first = self.before.bound(one, boxes, opened, inherited[:, : self._split])
        second = self.after.bound(other, boxes, opened, inherited[:, self._split :])
        # both list the items of `opened` in the same order; the sum rounds once
        lower = next_below(first.lower + second.lower)
        # a plane of zeros cuts nothing away
        plane = boxes.lower.new_zeros(len(lower), 1, boxes.lower.shape[1])
        kept = torch.cat([first.inherited, second.inherited], 1)
        return BoundResult(first.box, first.polytope, lower, plane, lower[:, None], kept)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """Both together."""
        one, other = self._split_question(question)
        first = self.before.sensitivity(one, opened, inherited[:, : self._split])
        return first + self.after.sensitivity(other, opened, inherited[:, self._split :])

    def _split_question(self, question: Question) -> tuple[Question, Question]:
        if question.b.shape[1] != 1:
            raise ValueError("a sum of two bounds bounds single rows")
        first, second = question.a[..., : self.n_outputs], question.a[..., self.n_outputs :]
        return (
            Question(first, question.b, question.closed),
            Question(second, torch.zeros_like(question.b), question.closed),
        )


def _shared_layers(before: Network, after: Network) -> int:
    """How many affine layers, from the inputs on, are made by the same operations on the same numbers; never the last.

    That two folded layers are equal is not enough: what folding rounds may differ.
    """
    if before.graph != after.graph:
        return 0
    old, new = before.values(), after.values()
    # in float64, which holds the numbers of either type: networks may be in float32 and float64
    changed = {name for name in old if not torch.equal(old[name].double(), new[name].double())}
    count = 0
    for node in before.nodes:
        if changed.intersection(node.inputs):
            if node.output in before.graph.dependent:
                break
            changed.add(node.output)
        elif as_activation(node) is not None and node.output in before.graph.dependent:
            count += 1
    return count


def _join_chains(before: Chain, after: Chain, shared: int) -> Chain:
    """One chain: the shared layers, then A, B and B - A block by block."""
    layers: list[Affine | Activation] = []
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if isinstance(one, Affine) and isinstance(other, Affine) and place >= 2 * shared:
            layers.append(_join_affine(one, other, first=place == 2 * shared))
        else:
            layers.append(one)
    return tuple(layers)


def _join_affine(one: Affine, other: Affine, *, first: bool) -> Affine:
    """``d' = (other - one) h_one + other d``; in the first layer that differs all blocks read the same."""
    a, b = one.terms, other.terms
    terms = Terms(
        # not of the size of ``B - A``: what both were folded with errs by as much as they are large
        weight=_block_matrix(a.weight, b.weight, a.weight + b.weight, first),
        bias=torch.cat([a.bias, b.bias, a.bias + b.bias]),
        # one more: the two weights, or biases, are subtracted
        roundings=max(a.roundings, b.roundings) + 1,
        underflow=a.underflow + b.underflow,
        peak=max(a.peak, b.peak),
        merging=a.merging + b.merging,
    )
    weight = _block_matrix(one.weight, other.weight, other.weight - one.weight, first)
    return Affine(weight, torch.cat([one.bias, other.bias, other.bias - one.bias]), terms)


def _block_matrix(one: Tensor, other: Tensor, mixed: Tensor, first: bool) -> Tensor:
    if first:
        return torch.cat([one, other, mixed])
    nothing = torch.zeros_like(one)
    # columns are what is read: A reads A, B reads B, the difference A and itself
    rows = ([one, nothing, nothing], [nothing, other, nothing], [mixed, nothing, other])
    return torch.cat([torch.cat(row, 1) for row in rows])


def _gap_slopes(activation: Activation, low: Tensor, up: Tensor) -> tuple[Slant, Slant]:
    """What ``s(z + d) - s(z)`` is at least and at most, in multiples of d: the least and the greatest slope of each.

    A convex function lies above its tangents: ``s'(z) d`` from below, ``s'(z + d) d`` from above.
    """
    n = low.shape[1] // 3
    bends = convexity(activation)
    if bends == 0:
        lowest = torch.minimum(low[:, :n], low[:, n : 2 * n])
        both = slope_range(activation, lowest, torch.maximum(up[:, :n], up[:, n : 2 * n]))
        return both, both
    of_first, of_second = (slope_range(activation, low[:, part], up[:, part]) for part in (slice(n), slice(n, 2 * n)))
    return (of_first, of_second) if bends > 0 else (of_second, of_first)


def convexity(activation: Activation) -> int:
    """1 of a convex activation, -1 of a concave one, else 0."""
    match activation.kind:
        case "relu":
            return 1
        case "leaky_relu":
            return 1 if activation.alpha <= 1 else -1
        case "elu":
            return 1 if 0 <= activation.alpha <= 1 else 0
        case _:
            return 0


def _steepest(least: Tensor, most: Tensor) -> Tensor:
    return torch.maximum(least.abs(), most.abs())


def _is_fixed(below: Slant, above: Slant) -> Tensor:
    """Where the difference is a multiple of d, which is known exactly."""
    return (below[0] == below[1]) & (above[0] == above[1]) & (below[0] == above[0])


def _tighten_blocks(low: Tensor, up: Tensor) -> None:
    """Let the three blocks tighten each other, in place: d is b - a, b is a + d, a is b - d."""
    n = low.shape[1] // 3
    (a_low, b_low, d_low), (a_up, b_up, d_up) = (torch.split(side, n, 1) for side in (low, up))
    # one after the other: what is tightened here tightens what follows
    d_low.copy_(torch.maximum(d_low, next_below(b_low - a_up)))
    d_up.copy_(torch.minimum(d_up, -next_below(a_low - b_up)))
    b_low.copy_(torch.maximum(b_low, next_below(a_low + d_low)))
    b_up.copy_(torch.minimum(b_up, -next_below(-a_up - d_up)))
    a_low.copy_(torch.maximum(a_low, next_below(b_low - d_up)))
    a_up.copy_(torch.minimum(a_up, -next_below(d_low - b_up)))


def next_below(value: Tensor) -> Tensor:
    """One float64 further down; minus infinity for what overflowed."""
    known = value.nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf)
    return torch.nextafter(known, known.new_tensor(-math.inf))


def _gap_lines(below: Slant, above: Slant, low: Tensor, up: Tensor) -> Relaxation:
    """Lines around everything between ``below`` times d and ``above`` times d, for d in ``low .. up``."""
    mixed = (low < 0) & (up > 0)
    width = (up - low).where(mixed, torch.ones_like(up))
    nothing = torch.full_like(low, math.nan)  # bounds of NaN

    def chord(left: Tensor, right: Tensor) -> Line:
        """Through ``left * low`` and ``right * up``."""
        # NaN is on neither side, and stays NaN
        one_sided = torch.where(low >= 0, right, torch.where(up <= 0, left, nothing))
        offset = ((left - right) * low * up / width).where(mixed, torch.zeros_like(low))
        return Line(((right * up - left * low) / width).where(mixed, one_sided), offset)

    # of a negative d the greatest multiple is lowest, of a positive one the least: the lower edge is concave, and no
    # line through its ends lies above it; the upper one is convex
    lower, upper = chord(below[1], below[0]), chord(above[0], above[1])
    return Relaxation((lower, lower), (upper, upper), torch.zeros_like(low))


def _side_by_side(one: Relaxation, other: Relaxation) -> Relaxation:
    """The relaxations of neighbouring neurons as one; `other` has one line on each side."""

    def joined(left: Line, right: Line) -> Line:
        parts = [torch.zeros_like(line.slope) if line.offset is None else line.offset for line in (left, right)]
        return Line(torch.cat([left.slope, right.slope], 1), torch.cat(parts, 1))

    low = joined(one.low[0], other.low[0]), joined(one.low[1], other.low[0])
    above = joined(one.up[0], other.up[0])
    up = above, above if one.one_upper else joined(one.up[1], other.up[0])
    return Relaxation(low, up, torch.cat([one.start, other.start], 1))
