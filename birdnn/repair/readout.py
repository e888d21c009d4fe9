"""The outputs as an affine function of the last weights, whatever computes the features that these read.

Behind the last weighted layer of each way to the output there are affine operators only: sums, reshapes, means,
joins of several heads. So the outputs are affine, jointly and exactly, in the weights and biases of these layers, be
they matrices or convolutions, one or several, and what they read is computed by the network itself.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import apply, operator
from birdnn.sample.pieces import apply_in_memory, points_per_piece

_ENTRIES = 1 << 24
_MOST = 1 << 26
"""Outputs times values: how each moves with each is found out once."""


class Readout:
    """A network's outputs as an affine function of its last weights and biases.

    Args:
        net: any network; never changed.

    Attributes:
        reads: values that the last weights read, by name.
        names: initialisers that the outputs are jointly affine in, those nearest to the output first.
        moves: does the value move the output, (outputs, values) bool: values as they stand in a vector of all.
        constant: does it move outputs by the same whatever the input is, as a bias does, (values,) bool.
        matrix: where the weights, (outputs, features), and biases, (outputs,), stand among the values; None where the
            outputs are not ``weights @ features + biases`` with an own value for each entry.

    Raises:
        MismatchError: something that is not affine makes the outputs, no weights of their own do, or too many.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self._nodes, self.reads, self.names = _walk_back(net)
        self._constants = [node for node in net.nodes if node.output not in net.graph.dependent]
        self._sizes = [net.value(name).numel() for name in self.names]
        if not self.names:
            raise MismatchError("no weights or biases of their own make its outputs")
        if net.n_outputs * len(self) > _MOST:
            told = f"{net.n_outputs:,} outputs that depend on {len(self):,} last weights and biases"
            raise MismatchError(f"it has {told}, too many for a linear program")
        generator = torch.Generator().manual_seed(0)  # of features as no input makes them, none of which is zero
        probes = [torch.rand(1, self._n_features, generator=generator, dtype=torch.float64) + 1 for _ in range(2)]
        seen = [
            torch.stack([self._rows_of_sample(probe[0], row) for row in torch.eye(net.n_outputs)]) for probe in probes
        ]
        # two probes: by one of them a derivative may cancel to zero
        self.moves = (seen[0] != 0) | (seen[1] != 0)
        # exactly: what does not read the features is the same number for both
        self.constant = (seen[0] == seen[1]).all(0)
        self.matrix = self._find_matrix(probes[0][0], seen[0])

    def __len__(self) -> int:
        return sum(self._sizes)

    @property
    def _n_features(self) -> int:
        return sum(self.net.size_of(name) for name in self.reads)

    def features(self, x: Tensor) -> Tensor:
        """What the last weights read at inputs (n, inputs), all of it side by side: (n, features) float64."""
        made = [name for name in self.reads if name != self.net.input_name]

        def read(part: Tensor) -> Tensor:
            found = dict(zip(made, self.net.observe(part, made) if made else (), strict=True))
            found[self.net.input_name] = part
            return torch.cat([found[name] for name in self.reads], 1)

        with torch.no_grad():
            return torch.cat(
                [f for part in torch.split(x.double(), points_per_piece(self.net)) for f in apply_in_memory(read, part)]
            )

    def rows(self, features: Tensor, directions: Tensor, columns: Tensor | None = None) -> Tensor:
        """Derivatives of ``directions @ outputs`` by the values, or by those of some columns, (n, columns) float64.

        Args:
            features: (n, features).
            directions: (n, outputs), or (1, outputs) for all alike.
            columns: indices of values.
        """
        if not len(features):
            return features.new_empty(0, len(self) if columns is None else len(columns))
        wanted = directions.double().expand(len(features), -1)
        # the usual case, without a derivative: `vmap` of a gradient loads a package of algebra with its first use
        if self.matrix is not None:
            return self._rows_of_matrix(self.matrix, features, wanted, columns)
        parts, step = [], max(1, _ENTRIES // max(len(self), self._n_features))
        start = self._own_values()
        one = torch.func.vmap(torch.func.grad(self._directed_output), in_dims=(None, 0, 0))
        for some, direction in zip(torch.split(features, step), torch.split(wanted, step), strict=True):
            found = one(start, some, direction).detach()
            parts.append(found if columns is None else found[:, columns])
        return torch.cat(parts)

    def directed(self, net: Network, features: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """``directions @ outputs``, (n,), and its derivatives by the features, (n, features).

        Differentiable in the values of ``net``, which has the same graph, and in its data type.
        """
        if not len(features):
            return features.new_empty(0), features
        # not detached: training goes through the last weights as well
        values = torch.cat([net.value(name).flatten() for name in self.names]).to(features)

        def along(one: Tensor, direction: Tensor) -> Tensor:
            return self._directed_output(values, one, direction)

        pair = torch.func.vmap(torch.func.grad_and_value(along))(features, directions)
        slope, value = pair
        return value, slope

    def _rows_of_matrix(
        self, matrix: tuple[Tensor, Tensor], features: Tensor, directions: Tensor, columns: Tensor | None
    ) -> Tensor:
        """`rows` without a gradient: a weight moves its output by its feature, a bias by one."""
        weight_at, bias_at = matrix
        found = features.new_empty(len(features), len(self))
        found[:, weight_at.flatten()] = (directions[:, :, None] * features[:, None]).flatten(1)
        found[:, bias_at] = directions
        return found if columns is None else found[:, columns]

    def _rows_of_sample(self, features: Tensor, direction: Tensor) -> Tensor:
        """`rows` of one sample, by the gradient of a number: that of a batch loads a second of algebra at first."""
        values = self._own_values().requires_grad_(True)
        (found,) = torch.autograd.grad(
            self._directed_output(values, features, direction.double()), values, allow_unused=True
        )
        return torch.zeros_like(values) if found is None else found

    def _own_values(self) -> Tensor:
        """The network's own values, (values,) float64."""
        return torch.cat([self.net.value(name).detach().flatten().double() for name in self.names])

    def _find_matrix(self, features: Tensor, moved: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `matrix`; ``moved`` is how each output moves with each value at these features."""
        outputs = self.net.n_outputs
        if int(self.constant.sum()) != outputs or len(self) != outputs * (len(features) + 1):
            return None
        if not bool((self.moves.sum(1) == len(features) + 1).all()) or not bool((self.moves.sum(0) == 1).all()):
            return None
        # no two features of the probe are alike, so that equal numbers tell which weight reads which
        order = features.argsort()
        weight_at, bias_at = torch.empty(outputs, len(features), dtype=torch.int64), []
        for output in range(outputs):
            own = (self.moves[output] & ~self.constant).nonzero()[:, 0]
            own = own[moved[output, own].argsort()]
            if len(own) != len(features) or not torch.equal(moved[output, own], features[order]):
                return None
            weight_at[output, order] = own
            bias_at.append(int((self.moves[output] & self.constant).nonzero()[0, 0]))
        at, values = torch.tensor(bias_at), self._own_values()
        with torch.no_grad():
            # where all features are zero the biases are left; anything else there is a constant that no value holds
            offset = self._outputs_at(values, torch.zeros_like(features))
        return (weight_at, at) if torch.equal(offset, values[at]) else None

    def _directed_output(self, values: Tensor, features: Tensor, direction: Tensor) -> Tensor:
        return direction @ self._outputs_at(values, features)

    def _outputs_at(self, values: Tensor, features: Tensor) -> Tensor:
        """Of one sample, with ``values`` in place of the network's own: (outputs,)."""
        known = {name: tensor.detach().to(features) for name, tensor in self.net.values().items()}
        for name, part in zip(self.names, torch.split(values, self._sizes), strict=True):
            known[name] = part.reshape(self.net.value(name).shape)
        sizes = [self.net.size_of(name) for name in self.reads]
        for name, part in zip(self.reads, torch.split(features, sizes), strict=True):
            known[name] = part.reshape(self.net.shape_of(name))
        # constants again: a weight may pass through a transposition before it is read
        for node in (*self._constants, *self._nodes):
            known[node.output] = apply(node.op, [known[name] for name in node.inputs], node.attributes, node.name)
        return known[self.net.output_name].reshape(self.net.n_outputs)


def _walk_back(net: Network) -> tuple[list[Node], tuple[str, ...], tuple[str, ...]]:
    """The affine operators at the end in their order, the values that they begin with, and their weights and biases.

    From the output backwards, up to the first layer of weights on each way. A value that anything else reads as well is
    taken as it is: what makes it would move that, too.
    """
    dependent = net.graph.dependent
    readers: dict[str, list[str]] = {}
    for node in net.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.output)
    through, taken, found = set[str](), list[Node](), dict[str, None]()
    for node in reversed(net.nodes):
        if node.output not in dependent:
            continue
        ends = node.output == net.output_name
        # every reader has to be on the way and free of weights, or the value moves something else as well
        if not ends and not (readers[node.output] and through.issuperset(readers[node.output])):
            continue
        if not _is_affine(node, dependent):
            if ends:
                raise MismatchError(f"{node.op} makes its outputs, which is not affine")
            continue
        taken.insert(0, node)
        own = _own_initialisers(net, node) if operator(node.op).weighted or node.op == "Add" else ()
        found |= dict.fromkeys(own)
        if not (operator(node.op).weighted and own):
            through.add(node.output)
    made = {node.output for node in taken}
    reads = Counter(name for node in net.nodes for name in stored_initialisers(net, node))
    inside = Counter(name for node in taken for name in stored_initialisers(net, node))
    # an initialiser that anything before the features reads would move them
    names = tuple(name for name in found if reads[name] == inside[name])
    read = dict.fromkeys(name for node in taken for name in node.inputs)
    return taken, tuple(name for name in read if name in dependent and name not in made), names


def _is_affine(node: Node, dependent: frozenset[str]) -> bool:
    rule = operator(node.op).linear_part
    live = [name in dependent for name in node.inputs]
    # stand-ins: a rule looks at which operands depend on the input, not at their numbers
    return rule is not None and rule([torch.zeros(())] * len(live), live) is not None


def stored_initialisers(net: Network, node: Node) -> tuple[str, ...]:
    """The initialisers behind what a node reads, none of a node without the input: who reads its value has them."""
    return net.origins(node.inputs) if node.output in net.graph.dependent else ()


def _own_initialisers(net: Network, node: Node) -> tuple[str, ...]:
    """The initialisers that a node reads and a repair may change, as they are or moved."""
    makers = {other.output: other for other in net.nodes if other.output not in net.graph.dependent}
    found = dict[str, None]()
    for name in node.inputs:
        while name in makers and operator(makers[name].op).moves in ("shape", "order"):
            name = makers[name].inputs[0]
        if name in net.repairable:
            found[name] = None
    return tuple(sorted(found, key=lambda name: net.value(name).dim()))
