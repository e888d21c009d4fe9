"""What bound propagation on a graph knows before it sees a box: steps, values that planes depend on, what to spend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.expansion import expand_network
from birdnn.bounds.steps import Step, steps_of
from birdnn.chain import as_activation
from birdnn.merging import mergings
from birdnn.network import Network
from birdnn.operators import activation_function, operator
from birdnn.records.limits import Over, never
from birdnn.rounding import FLOAT64, SUM_ROUNDINGS, Semantics

_ENTRIES = 1 << 23
"""Of the rows that are propagated together, on the largest value of the graph: 64 MiB."""
_PLANES = 8
"""So many entries of values that are not affine weigh, by the planes of each row, as much as one of the largest value:
gradients are taken of a quarter of the rows, through a dozen numbers for each entry and what is made of these."""
_WORTH = 2e11
"""Multiplications that the bounds of one value of a batch may cost; of what costs more the intervals stay."""
_PASS = 2e9  # between two looks at the clock, a fraction of a second
_RECORDED = frozenset({"elu", "leaky_relu", "relu", "sigmoid", "tanh"})
"""Activations of which certificates know; beside them they know MaxPool, and what is affine."""
_APART, _SMOOTH_APART = 2.0**-30, 2.0**-21
"""Of the absolute terms of a bound, how far from zero it is to lie in a proof that is recorded: another arithmetic will
make it again, of slopes in single precision, on which the lines of smooth functions depend."""


class GraphPlan:
    """A network's graph, prepared for bounds.

    Args:
        net: any network; for executions in float32, one whose first axis is the batch.
        device: where the tensors live.
        settings: effort for each box; what they say of neuron splits is not for graphs.
        semantics: what the bounds speak about.
        record: keep the `Choices` of each item, if certificates know the network's operators; over the reals.

    Attributes:
        merged: what a runtime merges, where executions are spoken of.
        constants: those of the network, by name; `known`, intervals of these and of what nodes make of them.
        graph: the structure in which operators are replaced by their parts, see `birdnn.bounds.expansion`.
        whole: the operators that are, by the names of their values; `first_whole`, the place of the first one.
        executed: the values that an execution makes.
        ranges: of values of parts, by their names, what holds whatever the input is.
        steps: the nodes of `graph` that depend on the input, `places` by the names of their values.
        readers: of each value the nodes that are not affine in it, and its places among their operands.
        spans: places of the values on which planes depend among all their entries, which are the `neurons`.
        kinked: activations of two straight sides, which may be split at zero; `piecewise`, are all that is not affine?
        well_known: values of which intervals are about as good as backward propagation.
        rows: that are propagated together, at most.
        bent_entries: of all values that are not affine, which have planes on each box.
        record: are choices kept?
        intervals: see `Choices.intervals`.
        over: asked between passes and between steps on planes; `OutOfTime` is raised once it is so.

    Raises:
        UnsupportedOpError: an operator has no sound rule.
    """

    def __init__(
        self,
        net: Network,
        device: torch.device,
        settings: CrownSettings | None = None,
        semantics: Semantics = "real",
        record: bool = False,
    ) -> None:
        self.device, self.settings, self.semantics = device, settings or CrownSettings(), semantics
        self.over: Over = never
        self.merged = mergings(net.graph, net.values()) if semantics == "float32" else None
        net = net.copy().to(device=device, dtype=torch.float64)
        self.executed = frozenset(net.graph.shapes)
        expanded, whole = expand_network(net), net
        net, self.ranges = expanded.net.to(device), expanded.ranges
        self.graph = net.graph
        self.steps, self.known = steps_of(net, device, semantics)
        self.whole = _expanded_steps(whole, net, device, semantics)
        self.first_whole = min((k for k, step in enumerate(self.steps) if step.output in self.whole), default=math.inf)
        self.constants = {name: value.detach() for name, value in net.values().items()}
        self.places = {step.output: place for place, step in enumerate(self.steps)}
        self.readers = _find_readers(self.steps)
        self.spans = _neuron_spans(self.readers, net)
        self.neurons = sum(span.stop - span.start for span in self.spans.values())
        # the sign of an input is known better by a cut of the box
        self.kinked = [step for step in self.steps if is_kinked(step) and step.reads[0][1] != net.input_name]
        self.piecewise = all(step.affine or step in self.kinked for step in self.steps)
        self.well_known = _well_known(self.steps, net.input_name)
        self.n_inputs = net.n_inputs
        # up to a value, as if a row on it went through every node before: some of these do not lead to it
        self._cost = torch.tensor([step.multiplications for step in self.steps]).cumsum(0).tolist()
        widest = max(math.prod(step.shape) for step in self.steps)
        bends = [step for step in self.steps if not step.affine]
        self.bent_entries = sum(math.prod(step.shape) for step in bends)
        # what fits into memory, or what takes no longer than the clock may be left alone
        largest = max(widest, self.bent_entries // _PLANES)
        self.rows = max(1, int(min(_ENTRIES / largest, _PASS / max(1.0, self._cost[-1]))))
        self.record = record and semantics == "real" and _is_recordable(bends)
        # known before any box is seen: a certificate says once, for all boxes, which activations have intervals only
        kept = [k for k, step in enumerate(bends) if self.record and not self._is_affordable(step.reads[0][1])]
        self.intervals = tuple(kept)
        smooth = any(step.node.op != "MaxPool" and step not in self.kinked for step in bends)
        self._apart = (_SMOOTH_APART if smooth else _APART) if self.record else 0.0

    def worth(self, rows: int, name: str) -> bool:
        """May so many rows on a value be propagated? Where proofs are recorded the same is said of every box."""
        if self.record:
            return self._is_affordable(name)
        return bool(rows * self._cost[self.places[name]] <= _WORTH)

    def _is_affordable(self, name: str) -> bool:
        """May every entry of a value be bounded on a box?"""
        if name not in self.places:  # the input, which is known
            return True
        span = self.spans[name]
        return bool(2 * (span.stop - span.start) * self._cost[self.places[name]] <= _WORTH)

    def lost(self, size: Tensor) -> Tensor:
        """By how much a bound is lowered whose absolute terms add up to ``size``."""
        # a bound's constant is added up over all nodes, a few additions at each
        return (FLOAT64 * (16 * len(self.steps) + SUM_ROUNDINGS) + self._apart) * size


def _expanded_steps(whole: Network, parts: Network, device: torch.device, semantics: Semantics) -> Mapping[str, Step]:
    """The nodes of a network that have parts, by the names of their values."""
    if whole is parts:
        return {}
    kept = {node.output: node for node in parts.nodes}
    return {step.output: step for step in steps_of(whole, device, semantics)[0] if kept[step.output] is not step.node}


def is_kinked(step: Step) -> bool:
    """Is it an activation of two straight sides?"""
    activation = as_activation(step.node)
    return activation is not None and activation_function(activation.kind)[1].straight == "both sides"


def _is_recordable(bends: Sequence[Step]) -> bool:
    """Can a certificate name the neurons? Each node that is not affine has a value of its own to read."""
    names = [name for step in bends for _, name in step.reads]
    kinds = [as_activation(step.node) for step in bends if step.node.op != "MaxPool"]
    known = all(activation is not None and activation.kind in _RECORDED for activation in kinds)
    return known and len(names) == len(bends) == len(set(names))


def _find_readers(steps: Sequence[Step]) -> dict[str, list[tuple[Step, int]]]:
    """The nodes that are not affine in a value, and its places among their operands."""
    found = dict[str, list[tuple[Step, int]]]()
    for step in steps:
        for place, name in () if step.affine else step.reads:
            found.setdefault(name, []).append((step, place))
    return found


def _neuron_spans(names: Iterable[str], net: Network) -> dict[str, slice]:
    """Places of the values on which planes depend, among all their entries."""
    spans, end = dict[str, slice](), 0
    for name in names:
        spans[name] = slice(end, end + net.size_of(name))
        end = spans[name].stop
    return spans


def _well_known(steps: Sequence[Step], input_name: str) -> frozenset[str]:
    """Values of which intervals are about as good as backward propagation.

    These are functions of single entries of one value, whose ends are as good as its own, and affine functions of
    independent intervals: of the input, and of what only gives its entries another place.
    """
    boxes, found = {input_name}, set[str]()
    for step in steps:
        # the largest of several entries is excepted: its planes say more of it than its interval
        single = len(step.reads) == 1 and (step.reads[0][1] in boxes if step.affine else step.node.op != "MaxPool")
        if single:
            found.add(step.output)
        if single and step.affine and operator(step.node.op).is_layout:
            boxes.add(step.output)
    return frozenset(found)
