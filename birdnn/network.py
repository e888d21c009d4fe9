"""A network: a graph of operations over torch parameters that keep their ONNX initialiser names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from birdnn.errors import BirdnnError, MismatchError
from birdnn.operators import LINEAR_PARTS, apply

ActivationKind = Literal["relu", "leaky_relu", "elu", "sigmoid", "tanh"]

Interventions: TypeAlias = Mapping[str, Callable[[Tensor], Tensor]]
"""Value name -> what the forward pass makes of that value before anyone reads it.

The function maps a tensor of shape (..., size) to one of that shape; the last axis lists the value's entries for one
sample, flattened. `birdnn.neurons` makes the usual ones.
"""

UNTOUCHED: Interventions = MappingProxyType({})

MAX_DENSE_ENTRIES = 1 << 24
"""Largest dense matrix `Network.chain` builds: 4096 x 4096 entries of float64, 128 MiB."""

_ACTIVATIONS: Mapping[str, ActivationKind] = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}


class NotAChain(BirdnnError):
    """A network is not an alternation of dense affine maps and elementwise activations.

    Args:
        reason: what stands in the way, naming the node.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    Attributes:
        op: operator name, as ONNX spells it.
        name: the node's name in the file, or the name of its output where it has none.
        inputs: names of the values it reads: graph input, initialisers, constants, outputs of earlier nodes.
        output: name of the one value it makes.
        attributes: lowered attributes, see `birdnn.operators`.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_node, (self.op, self.name, self.inputs, self.output, dict(self.attributes))


def _restore_node(op: str, name: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]) -> Node:
    return Node(op, name, inputs, output, MappingProxyType(attributes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The structure of a network, without its numbers.

    Attributes:
        nodes: in topological order, only those that the output depends on.
        input_name, output_name: the one input and the one output.
        shapes: value name -> shape for a batch of one, for the input and every node's output.
        dependent: names of the values that depend on the input.
        repairable: initialisers that a repair may change.
        batched: the first axis of every dependent value is the batch. Otherwise the graph describes one sample,
            and batches are mapped over it.
    """

    nodes: tuple[Node, ...]
    input_name: str
    output_name: str
    shapes: Mapping[str, tuple[int, ...]]
    dependent: frozenset[str]
    repairable: frozenset[str]
    batched: bool


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The map ``x -> weight @ x + bias``.

    Attributes:
        weight: (out, in) float64.
        bias: (out,) float64.
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise activation.

    Attributes:
        kind: which one.
        alpha: slope of a leaky ReLU, scale of an ELU; 0 for the others.
    """

    kind: ActivationKind
    alpha: float = 0.0


class Network(nn.Module):
    """A graph of operations over torch parameters that keep their ONNX initialiser names.

    Initialisers that a repair may change are parameters, all others buffers; a parameter that two nodes share is one
    parameter. The numbers keep the data type of the file, and the forward pass computes in that of its argument.

    Args:
        graph: the structure.
        initialisers: ONNX initialiser name -> value, those that the computation reads.
        constants: value name -> value, from ``Constant`` nodes: part of the graph, never repaired.
        source: path of the file, empty where there is none.
        sha256: hex digest of the file, empty where there is none (or where values were changed since).
    """

    def __init__(
        self,
        graph: Graph,
        initialisers: Mapping[str, Tensor],
        constants: Mapping[str, Tensor] = MappingProxyType({}),
        *,
        source: str = "",
        sha256: str = "",
    ) -> None:
        super().__init__()
        self.graph, self.source, self.sha256 = graph, source, sha256
        self._keys: dict[str, str] = {}
        self._constant_names = frozenset(constants)
        for index, (name, value) in enumerate({**initialisers, **constants}.items()):
            self._keys[name] = key = f"value_{index}"  # ONNX names hold dots, which torch forbids
            if name in graph.repairable:
                self.register_parameter(key, nn.Parameter(value.detach().clone()))
            else:
                self.register_buffer(key, value.detach().clone())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The operations, in topological order."""
        return self.graph.nodes

    @property
    def input_name(self) -> str:
        """Name of the one input."""
        return self.graph.input_name

    @property
    def output_name(self) -> str:
        """Name of the one output."""
        return self.graph.output_name

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input as in the file, batch dimension included (a symbolic batch is 1), e.g. (1, 1, 1, 5)."""
        return self.graph.shapes[self.graph.input_name]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output for one input, batch dimension included."""
        return self.graph.shapes[self.graph.output_name]

    @property
    def n_inputs(self) -> int:
        """Number of inputs of one sample."""
        return self.size_of(self.input_name)

    @property
    def n_outputs(self) -> int:
        """Number of outputs for one sample."""
        return self.size_of(self.output_name)

    @property
    def repairable(self) -> frozenset[str]:
        """Initialisers that a repair may change: weights and biases behind or in the first weighted layer.

        Never preprocessing, shapes, statistics of a normalisation, or ``Constant`` nodes, which are no initialisers.
        """
        return self.graph.repairable

    def value(self, name: str) -> Tensor:
        """The initialiser or constant called `name`.

        Raises:
            KeyError: there is none.
        """
        tensor: Tensor = getattr(self, self._keys[name])
        return tensor

    def initialisers(self) -> dict[str, Tensor]:
        """ONNX initialiser name -> parameter or buffer, for those that the computation reads."""
        return {name: self.value(name) for name in self._keys if name not in self._constant_names}

    def values(self) -> dict[str, Tensor]:
        """Name -> tensor for initialisers and constants: everything that nodes read and no node makes."""
        return {name: self.value(name) for name in self._keys}

    def with_values(self, values: Mapping[str, Tensor]) -> Network:
        """A copy with other initialiser values, rounded to the data type that the initialiser has here.

        Raises:
            MismatchError: an unknown name, or a value of another shape.
        """
        current = self.initialisers()
        for name, value in values.items():
            if name not in current:
                raise MismatchError(f"the network has no initialiser {name!r}")
            if value.shape != current[name].shape:
                shapes = f"{tuple(value.shape)}, not {tuple(current[name].shape)}"
                raise MismatchError(f"initialiser {name!r} was given shape {shapes}")
        changed = {name: values[name].to(old) if name in values else old for name, old in current.items()}
        constants = {name: self.value(name) for name in self._constant_names}
        copy = Network(self.graph, changed, constants, source=self.source, sha256="" if values else self.sha256)
        return copy.train(self.training)

    def forward(self, x: Tensor, interventions: Interventions = UNTOUCHED) -> Tensor:
        """The outputs for a batch of inputs, both flat: (n, n_inputs) -> (n, n_outputs).

        Any floating type, any device; differentiable in `x` and in the parameters.

        Raises:
            MismatchError: `x` does not have shape (n, n_inputs), or an intervention is for a value that no node makes.
        """
        return self.observe(x, (self.output_name,), interventions)[0]

    def observe(self, x: Tensor, names: Sequence[str], interventions: Interventions = UNTOUCHED) -> tuple[Tensor, ...]:
        """Several values of the graph at once, each flat: (n, n_inputs) -> (n, size of the value for one sample).

        Raises:
            MismatchError: as for `forward`, or a value that is asked for does not depend on the input.
        """
        if x.dim() != 2 or x.shape[1] != self.n_inputs:
            raise MismatchError(f"the network takes inputs of shape (n, {self.n_inputs}), not {tuple(x.shape)}")
        made = self.graph.dependent | {self.output_name}
        if unknown := (set(names) - made) | (set(interventions) - made) | ({self.input_name} & set(interventions)):
            raise MismatchError(f"no node of the network makes the value {min(unknown)!r} from its input")
        values = {name: tensor.to(x) for name, tensor in self.values().items()}
        if self.graph.batched:
            found = self._run(x.reshape(-1, *self.input_shape[1:]), values, interventions)
            return tuple(found[name].reshape(len(x), self.size_of(name)) for name in names)
        if not len(x):
            return tuple(x.new_zeros(0, self.size_of(name)) for name in names)

        def single(row: Tensor) -> tuple[Tensor, ...]:
            found = self._run(row.reshape(self.input_shape), values, interventions)
            return tuple(found[name].reshape(-1) for name in names)

        out: tuple[Tensor, ...] = torch.func.vmap(single)(x)
        return out

    def size_of(self, name: str) -> int:
        """How many entries the value called `name` has for one sample."""
        return math.prod(self.graph.shapes[name])

    def _run(self, x: Tensor, values: dict[str, Tensor], interventions: Interventions) -> dict[str, Tensor]:
        values = {**values, self.input_name: x}
        for node in self.nodes:
            value = apply(node.op, [values[name] for name in node.inputs], node.attributes, node.name)
            if node.output in interventions:
                flat = value.flatten(1) if self.graph.batched else value.flatten()
                value = interventions[node.output](flat).reshape(value.shape)
            values[node.output] = value
        return values

    def chain(self) -> tuple[Affine | Activation, ...]:
        """The network as dense affine maps and elementwise activations, in float64.

        Starts and ends with `Affine`, and the two kinds alternate; neighbouring affine operations are folded into one
        by applying their linear parts to a basis, so that the first layer's weights are exact. The result carries
        no gradient.

        Raises:
            NotAChain: the graph has another form, or a matrix would exceed `MAX_DENSE_ENTRIES`.
        """
        with torch.no_grad():
            return _Folding(self).run()


class _Folding:
    """Walks a graph and keeps each value as an affine function of the last activation's output.

    The basis image of a value has shape (k, *sample) for k entries of that output, its offset (1, *sample).
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self.fixed = {name: tensor.detach().double() for name, tensor in net.values().items()}
        self.layers: list[Affine | Activation] = []
        self.live: dict[str, tuple[Tensor, Tensor]] = {}
        self.restart(net.input_name)

    def restart(self, name: str) -> None:
        """Make the value called `name` the one that all later ones are functions of."""
        shape = self.net.graph.shapes[name]
        size = math.prod(shape)
        if size * size > MAX_DENSE_ENTRIES:
            raise NotAChain(f"value {name!r} has {size} entries, too many for dense matrices")
        sample = shape[1:] if self.net.graph.batched else shape
        device = next(iter(self.fixed.values())).device if self.fixed else None
        basis = torch.eye(size, dtype=torch.float64, device=device).reshape(size, *sample)
        self.live = {name: (basis, torch.zeros_like(basis[:1]))}

    def run(self) -> tuple[Affine | Activation, ...]:
        graph = self.net.graph
        for node in graph.nodes:
            if node.output not in graph.dependent:
                inputs = [self.fixed[name] for name in node.inputs]
                self.fixed[node.output] = apply(node.op, inputs, node.attributes, node.name)
            elif (activation := _as_activation(node)) is not None:
                self.close(self.at(node.inputs[0], node))
                self.layers.append(activation)
                self.restart(node.output)
            else:
                self.live[node.output] = self.fold(node)
        if graph.output_name not in self.live:
            raise NotAChain(f"output {graph.output_name!r} is read before a later activation")
        self.close(self.live[graph.output_name])
        return tuple(self.layers)

    def close(self, image: tuple[Tensor, Tensor]) -> None:
        basis, offset = image
        self.layers.append(Affine(basis.reshape(basis.shape[0], -1).T.contiguous(), offset.flatten().clone()))

    def at(self, name: str, node: Node) -> tuple[Tensor, Tensor]:
        if name not in self.live:
            raise NotAChain(f"node {node.name!r} reads {name!r} across an activation")
        return self.live[name]

    def fold(self, node: Node) -> tuple[Tensor, Tensor]:
        depends = [name in self.net.graph.dependent for name in node.inputs]
        rule = LINEAR_PARTS.get(node.op)
        if rule is None:
            raise NotAChain(f"node {node.name!r} ({node.op}) is neither affine nor an elementwise activation")
        images = [self.at(name, node) if on else None for name, on in zip(node.inputs, depends, strict=True)]
        width = next(image[0].shape[0] for image in images if image is not None)
        if width * math.prod(self.net.graph.shapes[node.output]) > MAX_DENSE_ENTRIES:
            raise NotAChain(f"node {node.name!r} needs a dense matrix above {MAX_DENSE_ENTRIES} entries")
        constants = [self.fixed.get(name) for name in node.inputs]
        bases = [image[0] if image else constant for image, constant in zip(images, constants, strict=True)]
        offsets = [image[1] if image else constant for image, constant in zip(images, constants, strict=True)]
        linear = rule([part for part in bases if part is not None], depends)
        if linear is None:
            raise NotAChain(f"node {node.name!r} ({node.op}) is not affine in its inputs")
        basis = self.evaluate(node, linear, depends)
        return basis, self.evaluate(node, [part for part in offsets if part is not None], depends)

    def evaluate(self, node: Node, inputs: list[Tensor], depends: list[bool]) -> Tensor:
        if self.net.graph.batched:
            return apply(node.op, inputs, node.attributes, node.name)
        axes = tuple(0 if on else None for on in depends[: len(inputs)])
        mapped = torch.func.vmap(lambda *parts: apply(node.op, parts, node.attributes, node.name), in_dims=axes)
        out: Tensor = mapped(*inputs)
        return out


def _as_activation(node: Node) -> Activation | None:
    if node.op == "Clip" and node.attributes["min"] == 0.0 and node.attributes["max"] == math.inf:
        return Activation("relu")
    kind = _ACTIVATIONS.get(node.op)
    return None if kind is None else Activation(kind, float(node.attributes.get("alpha", 0.0)))


def weights_sha256(net: Network) -> str:
    """Hex digest of a network's content: initialiser names, shapes and values (as float64), in order of name.

    Neither the file, its path, its compression nor the data type it stores enters; the graph does not either.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(net.initialisers().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().double().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()
