"""The hidden neurons of a network: which there are, which weights read them, how to intervene on their outputs.

A hidden neuron is one entry of the value that an activation makes somewhere behind the first weighted layer, unless
that value is the network's output.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Interventions, Network
from birdnn.operators import operator


@dataclass(frozen=True, slots=True, order=True)
class Neuron:
    """One hidden neuron.

    Attributes:
        value: name of the value that its activation makes.
        index: its place there, counted from 0 over one sample's entries, flattened.
    """

    value: str
    index: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that read a layer: slice ``index`` of the initialiser along ``axis`` belongs to neuron ``index``."""

    initialiser: str
    axis: int


@dataclass(frozen=True, slots=True)
class HiddenLayer:
    """What one activation makes.

    Attributes:
        value: name of the value.
        node: name of the activation's node.
        size: number of neurons.
        weights: all that read it, so that scaling their slices scales the neuron; empty where that is not well
            defined: a convolution, a sum or a pooling reads it, or weights that may not be changed or are shared.
    """

    value: str
    node: str
    size: int
    weights: tuple[Weights, ...]

    def neurons(self) -> Iterator[Neuron]:
        """In order."""
        return (Neuron(self.value, index) for index in range(self.size))


def hidden_layers(net: Network) -> tuple[HiddenLayer, ...]:
    """The layers of hidden neurons, from input to output."""
    found, weighted = [], set[str]()
    for node in net.nodes:
        if node.output not in net.graph.dependent:
            continue
        # an activation before any weights, such as a clamp of the inputs, is preprocessing and has no neurons
        behind = any(name in weighted for name in node.inputs)
        row = operator(node.op)
        if behind or row.weighted:
            weighted.add(node.output)
        if behind and row.elementwise and not _is_output(net, node.output):
            weights = _weights_reading(net, node.output) or ()
            found.append(HiddenLayer(node.output, node.name, net.size_of(node.output), weights))
    return tuple(found)


def neurons(net: Network) -> tuple[Neuron, ...]:
    """Every hidden neuron, from input to output."""
    return tuple(neuron for layer in hidden_layers(net) for neuron in layer.neurons())


@dataclass(frozen=True, slots=True)
class Linear:
    """The matrix and the biases that make a value of one row, each its own.

    Attributes:
        reads: name of the value whose entries the matrix meets.
        weights: slice ``index`` along the axis makes entry ``index``; along the other one it reads entries.
        bias: initialiser of as many entries as the value; None where there is none that may be changed.
    """

    reads: str
    weights: Weights
    bias: str | None


def linear_behind(net: Network, value: str) -> Linear | None:
    """What makes a value, through reshapes and additions of biases; None where that is something else."""
    makers = {node.output: node for node in net.nodes}
    bias: str | None = None
    while (node := makers.get(value)) is not None:
        read = [name for name in node.inputs if name in net.graph.dependent | {net.input_name}]
        if len(read) != 1:
            return None
        if node.op in ("Gemm", "MatMul"):
            own = _weights_of_node(net, node, read[0])
            added = node.inputs[2] if len(node.inputs) > 2 else None
            # a product that is scaled, or read by someone else, has no weights that stand for themselves
            plain = all(node.attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta"))
            if own is None or not plain or (added is not None and bias is not None):
                return None
            return Linear(read[0], replace(own, axis=1 - own.axis), bias if added is None else _bias(net, added, value))
        if _keeps_entry_order(node):
            value = read[0]
        elif node.op == "Add" and bias is None:
            bias = _bias(net, next(name for name in node.inputs if name != read[0]), value)
            if bias is None:
                return None
            value = read[0]
        else:
            return None
    return None


def _bias(net: Network, name: str, value: str) -> str | None:
    """An initialiser that is added to a value, and has an entry for each of its."""
    found, _ = _sole_initialiser(net, name)
    return found if found in net.repairable and net.value(found).numel() == net.size_of(value) else None


def _is_output(net: Network, value: str) -> bool:
    """Is the value the network's output, up to its shape?"""
    if value == net.output_name:
        return True
    # through reshapes: its entries are then the outputs themselves
    return any(value in node.inputs and _keeps_entry_order(node) and _is_output(net, node.output) for node in net.nodes)


def _keeps_entry_order(node: Node) -> bool:
    """Does a node keep the order of entries?"""
    return operator(node.op).moves == "shape"


def _weights_reading(net: Network, value: str) -> tuple[Weights, ...] | None:
    """The weights that read a value, its layout followed; None where something else reads it."""
    found: list[Weights] = []
    for node in net.nodes:
        if value not in node.inputs:
            continue
        if _keeps_entry_order(node):
            behind = _weights_reading(net, node.output)
        else:
            own = _weights_of_node(net, node, value)
            behind = None if own is None else (own,)
        if behind is None:
            return None
        found.extend(behind)
    # the output is read from outside, too, by somebody who cannot be scaled
    return None if value == net.output_name else tuple(found)


def _weights_of_node(net: Network, node: Node, value: str) -> Weights | None:
    """The weights of a node that multiplies one matrix by one value."""
    # a product of the value with itself has no weights
    if node.op not in ("Gemm", "MatMul") or list(node.inputs).count(value) != 1:
        return None
    place = node.inputs.index(value)
    shape = net.graph.shapes[value]
    name, turned = _sole_initialiser(net, node.inputs[1 - place] if place < 2 else "")
    if name not in net.repairable or net.value(name).dim() != 2:
        return None
    # all entries in one row (or, on the other side, one column): entry i then meets slice i alone, along the axis that
    # the product sums over, as the initialiser lies in the file
    if place == 0 and not node.attributes.get("transA") and shape[-1] == math.prod(shape):
        return Weights(name, int(bool(node.attributes.get("transB")) != turned))
    if place == 1 and not node.attributes.get("transB") and shape[0] == math.prod(shape):
        return Weights(name, int(bool(node.attributes.get("transA")) == turned))
    return None


def _sole_initialiser(net: Network, name: str) -> tuple[str, bool]:
    """The initialiser that a matrix is and nobody else reads, and whether transposed; no name where there is none."""
    makers = {node.output: node for node in net.nodes if node.output not in net.graph.dependent}
    readers = Counter(read for node in net.nodes for read in node.inputs)
    turned = False
    # with a second reader, what is scaled for one neuron would change what the other computes
    while readers[name] == 1:
        maker = makers.get(name)
        if maker is None:
            return name, turned
        if maker.op not in ("Identity", "Transpose"):
            break
        turned ^= maker.op == "Transpose" and tuple(maker.attributes["perm"]) == (1, 0)
        name = maker.inputs[0]
    return "", False


# --- interventions


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """``value * scale + shift``, entry by entry; both of shape (size,)."""

    scale: Tensor
    shift: Tensor

    def __call__(self, value: Tensor) -> Tensor:
        """The value after the intervention, (..., size)."""
        return value * self.scale.to(value) + self.shift.to(value)


def rescaling_interventions(net: Network, changes: Mapping[Neuron, tuple[float, float]]) -> Interventions:
    """Interventions that turn the output of each neuron into ``scale * output + shift``; (0, c) fixes it to c.

    Raises:
        MismatchError: the network has no such neuron.
    """
    made: dict[str, Rescaling] = {}
    sizes = {layer.value: layer.size for layer in hidden_layers(net)}
    for neuron, (scale, shift) in changes.items():
        _require_neuron(neuron, sizes)
        if neuron.value not in made:
            size = sizes[neuron.value]
            made[neuron.value] = Rescaling(torch.ones(size, dtype=torch.float64), torch.zeros(size).double())
        made[neuron.value].scale[neuron.index] = scale
        made[neuron.value].shift[neuron.index] = shift
    return made


def with_scaled_outputs(net: Network, factors: Mapping[Neuron, float]) -> Network:
    """A copy in which each neuron's output counts ``factor`` times as much: the weights that read it are scaled.

    Raises:
        MismatchError: the network has no such neuron, or no weights are its own.
    """
    layers = {layer.value: layer for layer in hidden_layers(net)}
    changed: dict[str, Tensor] = {}
    for neuron, factor in factors.items():
        _require_neuron(neuron, {value: layer.size for value, layer in layers.items()})
        if not layers[neuron.value].weights:
            raise MismatchError(f"no weights belong to single neurons of {neuron.value!r}: they cannot be scaled")
        for weights in layers[neuron.value].weights:
            name = weights.initialiser
            if name not in changed:
                # once: factors of several neurons go into the same copy
                changed[name] = net.value(name).detach().clone()
            changed[name].select(weights.axis, neuron.index).mul_(factor)
    return net.with_values(changed)


def _require_neuron(neuron: Neuron, sizes: Mapping[str, int]) -> None:
    if not 0 <= neuron.index < sizes.get(neuron.value, 0):
        raise MismatchError(f"the network has no hidden neuron {neuron.index} in the value {neuron.value!r}")
