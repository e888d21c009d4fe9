"""What is lost where a runtime computes with a network's constants before they meet the input.

onnxruntime, as it is installed, merges the constants of neighbouring operations: a matrix product between two scalings
becomes one that is scaled by the product of both, batch normalisation goes into the convolution before it, what is
added is there before the first product. No term is rounded more often by this than by all operations of a segment
together, so that `birdnn.rounding` holds of a segment as a whole. But a product of two constants may underflow where
the same factors would not with the input between them; and it may overflow.

Let a segment be the operations between two that are not affine, x what it reads, and its gain how much larger all of
them together may make an entry: the product of what each makes of ones, at least 1 each. Then an entry or a constant
that loses `SMALLEST` on the way costs at most so many times as much in the end, times ``1 + max |x|``; and nothing that
is computed on the way, in whichever order, exceeds the gain times ``max(1, max |x|)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.graph import Graph, Node
from birdnn.operators import apply, magnitude, operator, peak, roundings


@dataclass(frozen=True, slots=True)
class Merging:
    """What merging may do to a value; without anything said, nothing: a segment begins there.

    Attributes:
        roundings: that a term passes through since the segment began, at most.
        gain: of the segment up to here.
        lost: what underflows costs at most so often `SMALLEST`, times ``1 + max |x|``.
    """

    roundings: int = 0
    gain: float = 1.0
    lost: float = 0.0


def mergings(graph: Graph, values: Mapping[str, Tensor]) -> dict[str, Merging]:
    """By name, of each value that a network reads or makes.

    Args:
        graph: the structure.
        values: of initialisers and constants.
    """
    found = dict.fromkeys((*values, graph.input_name), Merging())
    fixed = {name: value.detach().double() for name, value in values.items()}
    like = next(iter(fixed.values()), torch.zeros(0, dtype=torch.float64))
    sizes = {name: value.abs() for name, value in fixed.items()}
    for name in graph.dependent | {graph.input_name}:
        # the gain is what operations make of ones: an input of size x makes x times as much
        sizes[name] = like.new_ones(graph.shapes[name])
    for node in graph.nodes:
        inputs = [sizes[name] for name in node.inputs]
        if node.output not in graph.dependent:
            fixed[node.output] = apply(node.op, [fixed[name] for name in node.inputs], node.attributes, node.name)
            sizes[node.output] = (
                magnitude(node.op, inputs, node.attributes) if _sums_or_moves(node) else fixed[node.output].abs()
            )
        found[node.output] = _merging_behind(node, graph, found, inputs) if _sums_or_moves(node) else Merging()
    return found


def _sums_or_moves(node: Node) -> bool:
    row = operator(node.op, node.name)
    return row.sums is not None or bool(row.moves)


def _merging_behind(node: Node, graph: Graph, found: Mapping[str, Merging], inputs: list[Tensor]) -> Merging:
    """Of the value of a node that adds up multiples of what it reads, or moves it; of `inputs`, all absolute."""
    live = [name in graph.dependent for name in node.inputs]
    rule = operator(node.op).linear_part
    count = roundings(node.op, [size.shape for size in inputs], node.attributes)
    count += sum(found[name].roundings for name in node.inputs)
    if not count and not all(live):  # a constant that comes in as it is may be merged as well
        count = 1
    # nothing is rounded yet, or the node is not affine in what depends on the input: a segment begins behind it
    if not count or (any(live) and (rule is None or rule(inputs, live) is None)):
        return Merging()
    made = peak(node.op, inputs, node.attributes).nan_to_num(nan=torch.inf, posinf=torch.inf)
    gain = max(1.0, float(made.max()) if made.numel() else 0.0)  # what it makes of all that is not constant together
    gain *= max((found[name].gain for name, on in zip(node.inputs, live, strict=True) if on), default=1.0)
    gain *= math.prod(found[name].gain for name, on in zip(node.inputs, live, strict=True) if not on)
    # each node may be merged with each before it; the entries of a merged matrix are sums of so many products as terms
    # are rounded, and so many of these entries meet the input; twice: for what the gain itself is rounded by
    return Merging(count, gain, 2 * (len(graph.nodes) + 1) * (count + 1) ** 2 * gain)
