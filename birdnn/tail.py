"""A network from one value on, with some of its values free to be trained and some of its nodes replaced by modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import apply

_TOGETHER = 256  # inputs of one pass: what lies between them and a value takes memory
_NOTHING: Mapping[str, nn.Module] = MappingProxyType({})


class Tail(nn.Module):
    """What a network computes from one value on, that lies on every path to the output.

    What precedes the value is frozen, so that it need be computed but once for many steps of training.

    Args:
        net: a network whose graph has a batch axis.
        start: name of the value; every node behind it reads nothing else that depends on the input.
        free: names of initialisers that are parameters here; copies, the network's own stay.
        slots: name of a node's value -> module that makes it, from the node's first input.

    Raises:
        MismatchError: the graph has no batch axis, or reads another value past `start`.
    """

    def __init__(
        self, net: Network, start: str, free: Iterable[str] = (), slots: Mapping[str, nn.Module] = _NOTHING
    ) -> None:
        super().__init__()
        if not net.graph.batched:
            raise MismatchError("the graph takes one input at a time: export it with a batch axis of free size")
        self.start, self.output = start, net.output_name
        self.shape = net.graph.shapes[start][1:]
        self.nodes = nodes_behind(net, start)
        made = {start, *(node.output for node in self.nodes)}
        if past := [n for node in self.nodes for n in node.inputs if n in net.graph.dependent and n not in made]:
            raise MismatchError(f"the value {past[0]!r} goes past {start!r}")
        self.free_names = tuple(dict.fromkeys(free))
        self.free = nn.ParameterList(nn.Parameter(net.value(name).detach().clone()) for name in self.free_names)
        read = {name for node in self.nodes for name in node.inputs} - made - set(self.free_names)
        self._names = net.origins(sorted(read))
        for place, name in enumerate(self._names):
            self.register_buffer(f"value_{place}", net.value(name).detach(), persistent=False)
        # computed in every pass: they may be made of values that are being trained; those of what precedes
        # `start` lack an operand here, and are left out
        self._constant = tuple(n for n in net.nodes if n.output not in net.graph.dependent and n.output not in made)
        self._slots = {output: f"slot_{place}" for place, output in enumerate(slots)}
        for output, module in slots.items():
            self.add_module(self._slots[output], module)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, outputs) for values (n, *shape) of `start`."""
        values: dict[str, Tensor] = {name: getattr(self, f"value_{i}") for i, name in enumerate(self._names)}
        values |= dict(zip(self.free_names, self.free, strict=True))
        values[self.start] = x
        for node in self._constant:
            if all(name in values for name in node.inputs):
                values[node.output] = apply(node.op, [values[n] for n in node.inputs], node.attributes, node.name)
        for node in self.nodes:
            if (key := self._slots.get(node.output)) is not None:
                values[node.output] = getattr(self, key)(values[node.inputs[0]])
            else:
                values[node.output] = apply(node.op, [values[n] for n in node.inputs], node.attributes, node.name)
        return values[self.output].flatten(1)

    def slot(self, output: str) -> nn.Module:
        """The module that makes a node's value.

        Raises:
            KeyError: there is none.
        """
        module: nn.Module = getattr(self, self._slots[output])
        return module

    def values(self) -> dict[str, Tensor]:
        """Initialiser name -> its value now, for those that are free."""
        return {name: value.detach().clone() for name, value in zip(self.free_names, self.free, strict=True)}


def value_at(net: Network, value: str, x: Tensor) -> Tensor:
    """What a tail from ``value`` on reads at inputs (n, inputs), without gradients: (n, *shape)."""
    if value == net.input_name:
        return x.reshape(-1, *net.input_shape[1:])
    with torch.no_grad():
        parts = [net.observe(part, [value])[0] for part in torch.split(x, _TOGETHER)]
    return torch.cat(parts).reshape(-1, *net.graph.shapes[value][1:])


def nodes_behind(net: Network, value: str) -> tuple[Node, ...]:
    """The nodes whose values depend on ``value``, in topological order."""
    reached, found = {value}, []
    for node in net.nodes:
        if reached.intersection(node.inputs):
            reached.add(node.output)
            found.append(node)
    return tuple(found)
