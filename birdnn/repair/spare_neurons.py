"""Neurons of a fully connected ReLU network that are given other work, because others can do theirs.

A neuron that is inactive everywhere is free. Of any other the part that is a linear function of its neighbours is done
by these: their weights are changed so (least squares on inputs of the network's use), and what is left is lost. The
inverse of the covariance of a layer's activations says for each neuron which part that is; a few are tried, and the one
is taken with which the network loses least.

Structured pruning with a reconstruction of what was pruned goes back to He, Zhang and Sun 2017, arXiv:1707.06168.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.neurons import Linear, Weights, hidden_layers, linear_behind
from birdnn.records.limits import Over, never, require_time
from birdnn.sample.pieces import apply_in_memory

_RIDGE = 1e-10
"""Beside correlations: of two neurons that do the same each could go."""
_TRIED = 4
"""Neurons by each of two orders, of which the one is taken with which least is lost."""


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What a neuron does, as a linear function of what others do.

    Attributes:
        neuron: which one.
        others, factors, constant: see above.
    """

    neuron: int
    others: list[int]
    factors: Tensor
    constant: float


class SpareNeurons:
    """The weights of a network, changed in place, and which of its neurons have other work.

    Args:
        net: float32; never changed.
        x: inputs at which it is used, (n, inputs) float32.
        lost: what a network has lost of what it was; 0 is nothing.
        over: must everything end now?

    Attributes:
        layers: number of hidden ones.
        lost: so far.
        scale: of what those of the last layer make that have other work.

    Raises:
        MismatchError: it is no chain of matrices and ReLUs whose weights may be changed.
    """

    def __init__(self, net: Network, x: Tensor, lost: Callable[[Network], float], over: Over = never) -> None:
        self._net, self._x, self._loss, self._over = net, x, lost, over
        self.lost, self.scale = lost(net), 1.0
        found = hidden_layers(net)
        self._made = tuple(layer.value for layer in found)
        self._linear = _require_chain(net)
        self.layers = len(found)
        names = {name for linear in self._linear for name in (linear.weights.initialiser, linear.bias or "") if name}
        self._values = {name: net.value(name).detach().double().clone() for name in names}
        self._taken: list[list[int]] = [[] for _ in found]

    def copied(self) -> SpareNeurons:
        """The same, to be changed apart from this one."""
        other = copy(self)
        other._values = {name: value.clone() for name, value in self._values.items()}
        other._taken = [list(taken) for taken in self._taken]
        return other

    def network(self) -> Network:
        """As it is now."""
        return self._net.with_values(self.changed())

    def changed(self) -> dict[str, Tensor]:
        """Name -> float32 value, of all weights and biases."""
        return {name: value.float() for name, value in self._values.items()}

    def first_reads(self, x: Tensor) -> Tensor:
        """What the first map reads at inputs, (n, entries) float64: the inputs themselves, or what is made of them."""
        name, net = self._linear[0].reads, self._net.copy().double()
        if name == net.input_name:
            return x.double()
        with torch.no_grad():
            return net.observe(x.double(), [name])[0]

    def take(self, layer: int, most: float) -> int | None:
        """Free the neuron with which least is lost, where that is at most so much in all: its number.

        Raises:
            OutOfTime: it is over.
        """
        before, found = self._values, list[tuple[float, int, dict[str, Tensor]]]()
        for work in self._candidates(layer):
            require_time(self._over)
            self._values = {name: value.clone() for name, value in before.items()}
            self._hand_over(layer, work)
            found.append((self._loss(self.network()), work.neuron, self._values))
        self._values = before
        # none where all have other work; the first of equals
        best = min(found, key=lambda each: each[:2], default=None)
        if best is None or not best[0] <= most:
            return None
        lost, neuron, self._values = best
        self.lost = lost
        self._taken[layer].append(neuron)
        return neuron

    def read(self, layer: int, neuron: int, weights: Mapping[int, float], bias: float) -> None:
        """Let a neuron read these entries of what is before its layer, and nothing else.

        Raises:
            MismatchError: the layer has no biases, and one is needed.
        """
        row = self._weight(layer)[neuron]
        row.zero_()
        for index, value in weights.items():
            row[index] = value
        offset = self._bias(layer)
        if offset is not None:
            offset[neuron] = bias
        elif bias:
            raise MismatchError("a layer has no biases")

    def balance(self, last: float) -> None:
        """Scale what neurons with other work make, so that no layer is changed much more than others.

        ReLUs let scales pass.

        Args:
            last: about the size of the weights by which the outputs will read it.
        """
        own = [self._weight(layer)[self._taken[layer]] for layer in range(self.layers)]
        norms = [float(self._net.value(linear.weights.initialiser).detach().norm()) or 1.0 for linear in self._linear]
        # what each layer is changed by, as a share of its size
        shares = [size / norm for size, norm in zip([*(float(r.abs().max()) for r in own), last], norms, strict=True)]
        even = math.prod(share ** (1 / len(shares)) for share in shares)
        for layer, taken in enumerate(self._taken):
            self._weight(layer)[taken] *= even / shares[layer]
            self.scale *= even / shares[layer]
            if (offset := self._bias(layer)) is not None:
                offset[taken] *= self.scale

    def write(self, neuron: int, column: Tensor) -> None:
        """Let the outputs read a neuron of the last layer by these weights, as if nothing had been scaled."""
        self._weight(self.layers)[:, neuron] = column.double() / self.scale

    def output_effect(self, neuron: int, x: Tensor) -> Tensor:
        """How each entry of the last layer's column moves each output where that neuron is 1: (outputs, entries).

        Raises:
            MismatchError: it is inactive there, or what it does is no number.
        """
        weights = self._linear[self.layers].weights
        net = self.network().double()
        value = net.value(weights.initialiser)
        value.requires_grad_(True)
        out = net(x.double())[0]
        (own,) = net.observe(x.double(), [self._made[-1]])
        rows = [torch.autograd.grad(one, value, retain_graph=True)[0] for one in out]
        taken = torch.stack([row.select(1 - weights.axis, neuron) for row in rows])
        size = float(own[0, neuron].detach())
        effect = (taken / size).detach() if size > 0 else torch.full_like(taken, torch.nan)
        if not bool(effect.isfinite().all()):
            raise MismatchError("a neuron that is to carry the ramp is inactive where it should be largest")
        return effect

    def _candidates(self, layer: int) -> list[_Work]:
        """Neurons worth trying: one that is idle, or those that others can nearly do without, and the least read."""
        h, taken = self._activations(layer), self._taken[layer]
        spread = h.std(0)
        idle = [neuron for neuron in (spread == 0).nonzero()[:, 0].tolist() if neuron not in taken]
        if idle:
            safest = idle[int(self._nearness(layer)[idle].argmin())]
            return [_Work(safest, [], h.new_zeros(0), float(h[0, safest]))]
        live = [neuron for neuron in range(h.shape[1]) if neuron not in taken]
        # where there are no biases to take a constant up others have to do the whole
        mean = h[:, live].mean(0) if self._bias(layer + 1) is not None else h.new_zeros(len(live))
        size = (h[:, live] - mean).square().mean(0).sqrt()
        scaled = (h[:, live] - mean) / size
        correlation = scaled.T @ scaled / len(scaled) + _RIDGE * torch.eye(len(live), dtype=h.dtype)
        inverse, failed = torch.linalg.inv_ex(correlation)
        if int(failed) or not bool(inverse.isfinite().all()):
            raise MismatchError("activations are too large to compute with")
        # what a diagonal entry is one over is the variance that the others do not explain
        read = size * self._weight(layer + 1)[:, live].norm(dim=0)
        orders = (read / inverse.diagonal().clamp(min=_RIDGE).sqrt()).argsort(), read.argsort()
        found = list[_Work]()
        for place in dict.fromkeys(torch.cat([order[:_TRIED] for order in orders]).tolist()):
            # of the regression on all others: entries of a row of the inverse
            factors = -inverse[place] / inverse[place, place] * size[place] / size
            factors[place] = 0.0
            constant = float(mean[place] - factors @ mean)
            found.append(_Work(live[place], live, factors, constant))
        return found

    def _nearness(self, layer: int) -> Tensor:
        """How near each neuron comes to being active, in standard deviations of what it sums; negative where it never
        is. Of those that no input at hand wakes another one may."""
        read = self._activations(layer - 1) if layer else self.first_reads(self._x)
        offset = self._bias(layer)
        sums = read @ self._weight(layer).T + (0 if offset is None else offset)
        return sums.amax(0) / sums.std(0)

    def _hand_over(self, layer: int, work: _Work) -> None:
        """Let others do what they can of a neuron's work; nobody reads it then, and it reads nobody."""
        weight, offset = self._weight(layer + 1), self._bias(layer + 1)
        column = weight[:, work.neuron].clone()
        weight[:, work.others] += column[:, None] * work.factors
        if offset is not None:
            offset += work.constant * column
        weight[:, work.neuron] = 0
        self.read(layer, work.neuron, {}, 0.0)

    def _activations(self, layer: int) -> Tensor:
        return self._activations_of(self.network(), layer)

    def _activations_of(self, net: Network, layer: int) -> Tensor:
        made = [self._made[layer]]
        with torch.no_grad():
            parts = apply_in_memory(lambda part: net.observe(part, made)[0], self._x)
        return torch.cat(parts).double()

    def _weight(self, layer: int) -> Tensor:
        """Of the map before a hidden layer, or of the last one: (out, in), a view."""
        weights = self._linear[layer].weights
        value = self._values[weights.initialiser]
        return value.T if weights.axis else value

    def _bias(self, layer: int) -> Tensor | None:
        name = self._linear[layer].bias
        return None if name is None else self._values[name].view(-1)


def _require_chain(net: Network) -> tuple[Linear, ...]:
    """The maps before each hidden layer, and the last one.

    Raises:
        MismatchError: see `SpareNeurons`.
    """
    found = hidden_layers(net)
    nodes = {node.output: node for node in net.nodes}
    if not found or any(nodes[layer.value].op != "Relu" for layer in found):
        raise MismatchError("only neurons of ReLU networks are given other work")
    linear = [linear_behind(net, nodes[layer.value].inputs[0]) for layer in found]
    linear.append(_last_linear(net, net.output_name))
    known = tuple(one for one in linear if one is not None)
    if len(known) < len(linear):
        raise MismatchError("its layers are no matrices whose entries may be changed one by one")
    for layer, after in zip(found, known[1:], strict=True):
        if layer.weights != (Weights(after.weights.initialiser, 1 - after.weights.axis),):
            raise MismatchError("a layer is read by more than the one behind it")
    return known


def _last_linear(net: Network, value: str) -> Linear | None:
    """The last map, before whatever scales and shifts the outputs by constants."""
    node = next((node for node in net.nodes if node.output == value), None)
    found = linear_behind(net, value)
    if found is not None or node is None or node.op not in ("Add", "Sub", "Mul", "Div"):
        return found
    read = [name for name in node.inputs if name in net.graph.dependent]
    # a constant over a value is no scaling
    plain = len(read) == 1 and (node.op != "Div" or read[0] == node.inputs[0])
    return _last_linear(net, read[0]) if plain else None
