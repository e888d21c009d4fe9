"""A network in the words of torch.nn.functional, from which a tracer makes a graph that auto_LiRPA can read.

`birdnn.network.Network` computes the same, but in forms (transposed views, mapped samples, generic padding) that are
no operators to a tracer. Here each node becomes the plainest call there is. What has none is refused, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from birdnn.chain import Activation, NotAChain, as_activation
from birdnn.errors import EngineError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import activation_function, apply

Word: TypeAlias = Callable[[Node, Sequence[Tensor]], Tensor]

ENGINE = "auto_lirpa"


class Traceable(nn.Module):
    """A network as plain calls, float64; its input has the file's shape, its output is flat.

    Args:
        net: any network whose nodes all have a word. One that the graph describes for a single sample is rebuilt from
            its chain of affine maps and activations.

    Raises:
        EngineError: a node has no word.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        graph = net.graph
        self.values: dict[str, Tensor] = {name: value.detach().double() for name, value in net.values().items()}
        self.nodes: list[Node] = []
        self.input_name, self.output_name = graph.input_name, graph.output_name
        self.shape: tuple[int, ...] = net.input_shape[1:] if graph.batched else (net.n_inputs,)
        if graph.batched:
            self._from_graph(net)
        else:
            self._from_chain(net)
        self.keys = {name: f"value_{i}" for i, name in enumerate(self.values)}
        for name, key in self.keys.items():
            self.register_parameter(key, nn.Parameter(self.values[name], requires_grad=False))
        # a last layer of the kind that every engine can put rows of a property behind
        self.last = nn.Linear(net.n_outputs, net.n_outputs, dtype=torch.float64).requires_grad_(False)
        nn.init.eye_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, flat: (n, *shape) -> (n, n_outputs)."""
        values = {name: getattr(self, key) for name, key in self.keys.items()}
        values[self.input_name] = x
        for node in self.nodes:
            values[node.output] = word_for(node)(node, [values[name] for name in node.inputs])
        y: Tensor = self.last(values[self.output_name].flatten(1))
        return y

    def _from_graph(self, net: Network) -> None:
        graph = net.graph
        for node in net.nodes:
            if node.output not in graph.dependent:
                # computed here, once: the engine sees constants, whatever made them
                fixed = [self.values[name] for name in node.inputs]
                self.values[node.output] = apply(node.op, fixed, node.attributes, node.name)
                continue
            self.nodes += self._nodes_with_words(node, graph.shapes[node.output])
        read = {name for node in self.nodes for name in node.inputs}
        self.values = {name: value for name, value in self.values.items() if name in read}

    def _nodes_with_words(self, node: Node, shape: tuple[int, ...]) -> list[Node]:
        """A node as one or several nodes of operators that auto_LiRPA can trace."""
        if node.op in ("Gemm", "MatMul"):
            return [self._dense_node(node)]
        if node.op == "BatchNormalization":
            return self._normalization_nodes(node, shape)
        word_for(node)
        return [self._align_constants(node, shape) if node.op in _ELEMENTWISE else node]

    def _dense_node(self, node: Node) -> Node:
        """A product as ``weight @ x + bias``, with values of its own: a tracer would record every transposition."""
        x, weight = node.inputs[0], self.values.get(node.inputs[1])
        said = node.attributes if node.op == "Gemm" else _PLAIN
        if weight is None or x in self.values or weight.dim() != 2 or said["transA"]:
            raise _refusal_of(node, "is not x times a constant matrix")
        # factors go into the constants, so that the node is `x @ weight.T + bias` and nothing else
        weight = said["alpha"] * (weight if said["transB"] else weight.T)
        bias = weight.new_zeros(weight.shape[0])
        if len(node.inputs) > 2:
            if node.inputs[2] not in self.values or self.values[node.inputs[2]].shape[:-1].numel() != 1:
                raise _refusal_of(node, "adds something else than one constant row")
            bias = bias + said["beta"] * self.values[node.inputs[2]].flatten()
        return self._linear_node(node.output, x, weight, bias)

    def _linear_node(self, name: str, x: str, weight: Tensor, bias: Tensor) -> Node:
        self.values |= {f"{name}.weight": weight.contiguous(), f"{name}.bias": bias}
        return Node("Gemm", name, (x, f"{name}.weight", f"{name}.bias"), name)

    def _align_constants(self, node: Node, shape: tuple[int, ...]) -> Node:
        """With constants of its own that have every axis of a sample and none for the batch.

        Engines sum over axes that broadcasting adds, and confuse them with the batch.
        """
        inputs = list(node.inputs)
        if node.op == "Div" and inputs[1] not in self.values:
            raise _refusal_of(node, "divides by what depends on the input")
        for i, name in enumerate(inputs):
            if name not in self.values:
                continue
            value = self.values[name]
            # an axis of one for the batch says nothing and is dropped
            if value.dim() == len(shape) and value.shape[0] == 1:
                value = value[0]
            if value.dim() >= len(shape):
                raise _refusal_of(node, "has a constant with a batch axis")
            if node.op == "Div":
                value = 1 / value
            inputs[i] = f"{node.output}.{i}"
            self.values[inputs[i]] = value.expand(shape[1:]).contiguous()
        return Node("Mul" if node.op == "Div" else node.op, node.name, tuple(inputs), node.output)

    def _normalization_nodes(self, node: Node, shape: tuple[int, ...]) -> list[Node]:
        """A batch normalisation as a product and a sum."""
        scale, shift, mean, variance = (self.values[name] for name in node.inputs[1:])
        factor = scale / torch.sqrt(variance + node.attributes["epsilon"])
        column = (-1,) + (1,) * (len(shape) - 2)
        names = [f"{node.output}.{part}" for part in ("factor", "offset", "product")]
        self.values[names[0]] = factor.reshape(column)
        self.values[names[1]] = (shift - mean * factor).reshape(column)
        pair = Node("Mul", node.name, (node.inputs[0], names[0]), names[2])
        return [
            self._align_constants(pair, shape),
            self._align_constants(Node("Add", node.name, (names[2], names[1]), node.output), shape),
        ]

    def _from_chain(self, net: Network) -> None:
        try:
            layers = net.chain()
        except NotAChain as error:
            raise EngineError(ENGINE, f"the graph has no batch axis and is no chain: {error.reason}") from None
        # nothing of the graph is left: the chain has numbers of its own
        self.values, self.input_name, name = {}, "x", "x"
        for i, layer in enumerate(layers):
            name, before = f"layer_{i}", name
            if isinstance(layer, Activation):
                op, _ = activation_function(layer.kind)
                self.nodes.append(Node(op, name, (before,), name, {"alpha": layer.alpha}))
                word_for(self.nodes[-1])
                continue
            self.nodes.append(self._linear_node(name, before, layer.weight, layer.bias))
        self.output_name = name


def word_for(node: Node) -> Word:
    """How a node is said.

    Raises:
        EngineError: there is no word that auto_LiRPA has a rule for.
    """
    if node.op not in WORDS:
        told = f"node {node.name!r}: no rule for operator {node.op!r}; rules: {', '.join(SUPPORTED)}"
        raise EngineError(ENGINE, told)
    return WORDS[node.op]


def _refusal_of(node: Node, problem: str) -> EngineError:
    return EngineError(ENGINE, f"node {node.name!r} ({node.op}) {problem}")


def _equal_pads(node: Node) -> list[int]:
    """One number for each axis: beginnings and ends alike."""
    pads = node.attributes["pads"]
    half = len(pads) // 2
    if half != 2 or list(pads[:half]) != list(pads[half:]) or any(node.attributes.get("overshoot", ())):
        raise _refusal_of(node, "is not two-dimensional with the same padding at both ends")
    return list(pads[:half])


def _conv(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    said = node.attributes
    bias = inputs[2] if len(inputs) > 2 else None
    return functional.conv2d(
        inputs[0], inputs[1], bias, said["strides"], _equal_pads(node), said["dilations"], said["group"]
    )


def _max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    said, pads = node.attributes, _equal_pads(node)
    if any(pads) or any(d != 1 for d in said["dilations"]) or list(said["strides"]) != list(said["kernel_shape"]):
        raise _refusal_of(node, "has overlapping, dilated or padded windows")
    return functional.max_pool2d(inputs[0], said["kernel_shape"], said["strides"])


def _average_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    said, pads = node.attributes, _equal_pads(node)
    if any(pads) or any(d != 1 for d in said["dilations"]):
        raise _refusal_of(node, "has dilated or padded windows")
    return functional.avg_pool2d(inputs[0], said["kernel_shape"], said["strides"])


def _global_average_pool(_: Node, inputs: Sequence[Tensor]) -> Tensor:
    return functional.avg_pool2d(inputs[0], tuple(int(size) for size in inputs[0].shape[2:]))


def _clip(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if as_activation(node) is None:
        raise _refusal_of(node, "cuts elsewhere than at zero from below")
    return torch.relu(inputs[0])


def _leaky_relu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    alpha = node.attributes["alpha"]
    if not 0 <= alpha <= 1:  # measured: 0.3 gives bounds above the true minimum by whole units
        raise _refusal_of(node, f"has slope {alpha:g}; the rule of auto_LiRPA is sound for slopes from 0 to 1 only")
    return functional.leaky_relu(inputs[0], alpha)


def _reshape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    target = tuple(node.attributes["shape"])
    return inputs[0].flatten(1) if len(target) == 2 else inputs[0].reshape(-1, *target[1:])


def _linear(_: Node, inputs: Sequence[Tensor]) -> Tensor:
    return functional.linear(*inputs)


_PLAIN: Mapping[str, float] = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}

_ELEMENTWISE: Mapping[str, Word] = {
    "Add": lambda _, inputs: inputs[0] + inputs[1],
    "Div": lambda _, inputs: inputs[0] / inputs[1],  # by a constant, which becomes a product
    "Mul": lambda _, inputs: inputs[0] * inputs[1],
    "Sub": lambda _, inputs: inputs[0] - inputs[1],
}

WORDS: Mapping[str, Word] = {
    **_ELEMENTWISE,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Conv": _conv,
    "Flatten": _reshape,
    "Gemm": _linear,
    "GlobalAveragePool": _global_average_pool,
    "Identity": lambda _, inputs: inputs[0],
    "LeakyRelu": _leaky_relu,
    "MaxPool": _max_pool,
    "Relu": lambda _, inputs: torch.relu(inputs[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda _, inputs: torch.sigmoid(inputs[0]),
    "Squeeze": _reshape,
    "Tanh": lambda _, inputs: torch.tanh(inputs[0]),
    "Unsqueeze": _reshape,
}
"""Operator -> the call that stands for it. ELU and others have no rule in auto_LiRPA 0.3."""

SUPPORTED: tuple[str, ...] = tuple(sorted((*WORDS, "BatchNormalization", "MatMul")))
"""What an error lists; the last two become others."""
