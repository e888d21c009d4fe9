"""How a network's outputs move with some of its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.repair.readout import Readout, stored_initialisers

HELD = "The change was held where weights had moved by {:g} times their size; --max-change allows more."
"""What a user is told of a limit that was met: `Trained.reach`."""
_ASLEEP = 0.01
"""What a value counts at least for a layer's size, as a share of the root mean square of all: some are all zero."""

_ENTRIES_PER_PASS = 1 << 24
# values: the metric of `birdnn.repair.retrain` has as many rows and columns, 1 GiB in float32
_MOST = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class OutputLayer:
    """The last affine map, ``y = weight @ h + bias``, as part of the trained parameters.

    Attributes:
        weight, bias: (outputs, features) and (outputs,), float64, of the original.
        weight_at, bias_at: where each entry stands in the vector of parameters, same shapes.
    """

    weight: Tensor
    bias: Tensor
    weight_at: Tensor
    bias_at: Tensor


class Trained:
    """A network seen as a function of its last repairable initialisers, flattened to one vector.

    Args:
        net: float32 network; never changed.
        limit: take initialisers from the output backwards while their values stay within this number; those that
            enter the last affine operation are taken in any case.
        names: take these, whatever the limit.

    Attributes:
        least: size of a value that is zero, or nearly, where a layer or an initialiser is all of such.
    """

    def __init__(self, net: Network, limit: int = 0, *, names: tuple[str, ...] = ()) -> None:
        self.net = net
        self.names = names or _last_initialisers(net, limit)
        # by identity: torch calls parameters by other names than ONNX, see `Network`
        self._keys = {
            name: key for name in self.names for key, value in _named_tensors(net) if value is net.value(name)
        }
        self._rest = {k: v.detach() for k, v in _named_tensors(net) if k not in self._keys.values()}
        self._shapes = [net.value(name).shape for name in self.names]
        self._sizes = [net.value(name).numel() for name in self.names]
        # float64, so that original + change is rounded once, when it becomes a network
        self.original = torch.cat([net.value(name).detach().flatten() for name in self.names]).double()
        own = [value.detach().flatten() for name, value in net.initialisers().items() if name in net.repairable]
        self.least = _ASLEEP * float(torch.cat(own).double().square().mean().sqrt())

    def __len__(self) -> int:
        return sum(self._sizes)

    def output_layer(self) -> OutputLayer | None:
        """The last affine map, behind whatever features; None where its entries are no initialisers of their own."""
        try:
            readout = Readout(self.net)
        except MismatchError:
            return None
        found = readout.matrix
        if found is None or not set(self.names).issuperset(readout.names):
            return None
        own = self._initialiser_places()
        places = torch.cat([own[name] for name in readout.names])
        weight_at, bias_at = (places[at] for at in found)
        return OutputLayer(self.original[weight_at].cpu(), self.original[bias_at].cpu(), weight_at, bias_at)

    def _initialiser_places(self) -> dict[str, Tensor]:
        """Where the values of each initialiser stand."""
        return dict(zip(self.names, torch.split(torch.arange(len(self)), self._sizes), strict=True))

    def reach(self, start: Tensor, towards: Tensor, most: float) -> float:
        """How far from ``start`` to ``start + towards`` no layer has moved farther than ``most`` of its size: 0 to 1.

        Both have shape (parameters,), and are changes of the original. A layer's size is the Euclidean norm of its
        original weights and biases together, and at least as if each of them were `least`: a layer of zeros would hold
        all others where they are.
        """
        share = 1.0
        if math.isinf(most):
            return share
        for place in self._layer_places():
            limit = most * max(float(self.original[place].norm()), self.least * math.sqrt(len(place)))
            a, b = start[place], towards[place]
            # one that does not move stays where it is, beyond the limit or not, and must not hold the others
            if float((a + b).norm()) <= limit or not bool(b.any()):
                continue
            # |a + t b| = limit
            bb, ab, rest = float(b @ b), float(a @ b), float(a @ a) - limit**2
            # without a root the line misses the ball: as far as it comes closer, if at all
            share = min(share, max(0.0, (-ab + math.sqrt(max(0.0, ab * ab - bb * rest))) / bb))
        return share

    def _layer_places(self) -> list[Tensor]:
        """Where the values of each affine layer stand: a matrix, and the vectors between it and the one after it."""
        places, found = self._initialiser_places(), list[list[Tensor]]([[]])
        for node in reversed(self.net.nodes):
            mine = [name for name in stored_initialisers(self.net, node) if name in places]
            # backwards, and in a node vectors first: a bias is met before the matrix that it stands behind
            for name in sorted(mine, key=lambda name: self.net.value(name).dim()):
                found[-1].append(places.pop(name))
                if self.net.value(name).dim() > 1:
                    found.append([])
        if found[-1] and len(found) > 1:  # vectors before the first matrix have none of their own
            vectors = found.pop()  # apart from the line below, which would find its place before the list got shorter
            found[-1] += vectors
        return [torch.cat(layer) for layer in found if layer]

    def values(self, change: Tensor) -> dict[str, Tensor]:
        """Initialiser name -> float32 value at ``original + change``, with ``change`` of shape (parameters,)."""
        parts = torch.split((self.original + change).float(), self._sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self._shapes, strict=True)}

    def at(self, change: Tensor) -> Network:
        """The network at ``original + change``."""
        return self.net.with_values(self.values(change))

    def rows(self, change: Tensor, x: Tensor, directions: Tensor) -> Tensor:
        """Derivatives of ``directions @ f(x)``: x (n, inputs), directions (n, q, outputs) -> (n * q, parameters)."""
        if not len(x):
            return torch.zeros(0, len(self))
        values = {self._keys[name]: value for name, value in self.values(change).items()}
        made = sum(self.net.size_of(node.output) for node in self.net.nodes)
        # what takes the memory: the derivatives, or what the network makes on the way
        step = max(1, _ENTRIES_PER_PASS // max(len(self) * max(1, directions.shape[1]), made))
        parts = zip(torch.split(x, step), torch.split(directions, step), strict=True)
        with torch.no_grad():
            return torch.cat([self._rows_of_part(values, *part) for part in parts])

    def _rows_of_part(self, values: dict[str, Tensor], x: Tensor, directions: Tensor) -> Tensor:
        def one(point: Tensor, wanted: Tensor) -> Tensor:
            def outputs(trained: dict[str, Tensor]) -> Tensor:
                y = torch.func.functional_call(self.net, {**self._rest, **trained}, (point[None],))
                moved: Tensor = wanted @ y[0]
                return moved

            derivative = torch.func.jacrev(outputs)(values)
            return torch.cat([derivative[self._keys[name]].reshape(len(wanted), -1) for name in self.names], 1)

        stacked: Tensor = torch.func.vmap(one)(x, directions)
        return stacked.flatten(0, 1)


def _named_tensors(net: Network) -> list[tuple[str, Tensor]]:
    return [*net.named_parameters(), *net.named_buffers()]


def _last_initialisers(net: Network, limit: int) -> tuple[str, ...]:
    taken: list[str] = []
    layers = 0
    for node in reversed(net.nodes):
        names = [name for name in stored_initialisers(net, node) if name in net.repairable and name not in taken]
        if not names:
            continue
        total = sum(net.value(name).numel() for name in (*taken, *names))
        if total > limit and layers:
            break
        taken += names
        layers += operator(node.op).weighted  # of one output the weights are a vector, and a layer all the same
        if total > _MOST:
            raise MismatchError(f"node {node.name!r} makes {total:,} values to retrain; at most {_MOST:,} can be")
    return tuple(taken)
