"""A network: a graph of operations over torch parameters that keep their ONNX initialiser names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn

from birdnn.chain import Activation, Affine, fold_graph
from birdnn.errors import MismatchError
from birdnn.graph import Graph, Node
from birdnn.operators import apply
from birdnn.printable import counted

Interventions: TypeAlias = Mapping[str, Callable[[Tensor], Tensor]]
"""Value name -> what the forward pass makes of that value before anyone reads it.

The function maps a tensor of shape (..., size) to one of that shape; the last axis lists the value's entries for one
sample, flattened. `birdnn.neurons` makes the usual ones.
"""

UNTOUCHED: Interventions = MappingProxyType({})


class Network(nn.Module):
    """A graph of operations over torch parameters that keep their ONNX initialiser names.

    Initialisers that a repair may change are parameters, all others buffers; a parameter that two nodes share is one
    parameter. The numbers keep the data type of the file, and the forward pass computes in that of its argument.

    Args:
        graph: the structure.
        initialisers: ONNX initialiser name -> value, those that the computation reads.
        constants: value name -> value, part of the graph and never repaired: from ``Constant`` nodes, unless these
            hold the weights of layers.
        source: path of the file, empty where there is none.
        sha256: hex digest of the file, empty where there is none (or where values were changed since).
        notes: what a user should know of how the file was read, one sentence each.
    """

    def __init__(
        self,
        graph: Graph,
        initialisers: Mapping[str, Tensor],
        constants: Mapping[str, Tensor] = MappingProxyType({}),
        *,
        source: str = "",
        sha256: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.graph, self.source, self.sha256, self.notes = graph, source, sha256, notes
        self._last_reads = graph.last_reads()
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

        Never preprocessing, shapes, or statistics of a normalisation; ``Constant`` nodes only where they hold the
        weights of layers, as if they were initialisers.
        """
        return self.graph.repairable

    def repairable_sizes(self) -> dict[str, int]:
        """How many values each of the `repairable` has, in the file's order."""
        return {name: value.numel() for name, value in self.initialisers().items() if name in self.repairable}

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

    def origins(self, names: Iterable[str]) -> tuple[str, ...]:
        """The initialisers and constants behind some values: a node may make one of another, without the input.

        In the order in which they are met, each once. What depends on the input has none.
        """
        makers = {node.output: node for node in self.nodes if node.output not in self.graph.dependent}
        found, seen, wanted = dict[str, None](), set[str](), list(names)[::-1]
        while wanted:
            name = wanted.pop()
            if name in self._keys:
                found[name] = None
            elif name in makers and name not in seen:
                seen.add(name)
                # a stack: reversed, so that inputs are met in their order
                wanted += makers[name].inputs[::-1]
        return tuple(found)

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
        digest = "" if values else self.sha256  # no longer what the file holds
        copy = Network(self.graph, changed, constants, source=self.source, sha256=digest, notes=self.notes)
        return copy.train(self.training)

    def copy(self) -> Network:
        """The same network once more, to be moved or converted: a module does both in place."""
        return self.with_values({})

    def extra_repr(self) -> str:
        """What a prompt shows of it, beside its class."""
        count = sum(value.numel() for value in self.initialisers().values())
        shown = {"input": self.n_inputs, "output": self.n_outputs, "node": len(self.nodes), "value": count}
        return ", ".join(counted(number, what) for what, number in shown.items())

    def forward(self, x: Tensor, interventions: Interventions = UNTOUCHED) -> Tensor:
        """The outputs for a batch of inputs, both flat: (n, n_inputs) -> (n, n_outputs).

        Any floating type, any device; differentiable in `x` and in the parameters.

        Raises:
            MismatchError: `x` does not have shape (n, n_inputs) or a floating type, or an intervention is for a value
                that no node makes.
        """
        return self.observe(x, (self.output_name,), interventions)[0]

    def observe(self, x: Tensor, names: Sequence[str], interventions: Interventions = UNTOUCHED) -> tuple[Tensor, ...]:
        """Several values of the graph at once, each flat: (n, n_inputs) -> (n, size of the value for one sample).

        Raises:
            MismatchError: as for `forward`, or a value that is asked for does not depend on the input.
        """
        if x.dim() != 2 or x.shape[1] != self.n_inputs:
            raise MismatchError(f"the network takes inputs of shape (n, {self.n_inputs}), not {tuple(x.shape)}")
        if not x.is_floating_point():  # weights take the type of the inputs, and 0.125 would be 0
            raise MismatchError(f"the network takes inputs of a floating type, not {x.dtype}: say x.float()")
        made = self.graph.dependent | {self.output_name}
        if unknown := (set(names) - made) | (set(interventions) - made) | ({self.input_name} & set(interventions)):
            raise MismatchError(f"no node of the network makes the value {min(unknown)!r} from its input")
        values = {name: tensor.to(x) for name, tensor in self.values().items()}
        if self.graph.batched:
            found = self._run_nodes(x.reshape(-1, *self.input_shape[1:]), values, interventions, names)
            return tuple(found[name].reshape(len(x), self.size_of(name)) for name in names)
        if not len(x):
            return tuple(x.new_zeros(0, self.size_of(name)) for name in names)

        # the shapes of such a graph are those of one sample, and have no axis for more
        def single(row: Tensor) -> tuple[Tensor, ...]:
            found = self._run_nodes(row.reshape(self.input_shape), values, interventions, names)
            return tuple(found[name].reshape(-1) for name in names)

        out: tuple[Tensor, ...] = torch.func.vmap(single)(x)
        return out

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of any value, for a batch of one: stored, made by a node, or the input.

        Raises:
            KeyError: there is none of that name.
        """
        return tuple(self.value(name).shape) if name in self._keys else self.graph.shapes[name]

    def size_of(self, name: str) -> int:
        """How many entries the value called `name` has for one sample."""
        return math.prod(self.shape_of(name))

    def _run_nodes(
        self, x: Tensor, values: dict[str, Tensor], interventions: Interventions, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The values that are asked for, and others; what no node reads any more is let go, for memory is time."""
        values = {**values, self.input_name: x}
        for node, done in zip(self.nodes, self._last_reads, strict=True):
            value = apply(node.op, [values[name] for name in node.inputs], node.attributes, node.name)
            if node.output in interventions:
                flat = value.flatten(1) if self.graph.batched else value.flatten()
                value = interventions[node.output](flat).reshape(value.shape)
            values[node.output] = value
            for name in done:
                if name not in names:
                    del values[name]
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
            return fold_graph(self.graph, self.values())


def weights_sha256(net: Network) -> str:
    """Hex digest of a network's content: initialiser names, shapes and values (as float64), in order of name.

    Neither the file, its path, its compression nor the data type it stores enters; the graph does not either.
    """
    # one type and one order of bytes, whatever file, machine and device the values are on
    digest = hashlib.sha256()
    for name, tensor in sorted(net.initialisers().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().double().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()
