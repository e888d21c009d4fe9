"""How two graphs and their numbers differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby

from torch import Tensor

from birdnn.bounds.difference import layer_mismatch
from birdnn.chain import Affine, Chain, NotAChain
from birdnn.metrics import initialiser_changes
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.records import InitialiserChange, LayerChange, Matching, Structure

_SHOWN = 12


def compare_structure(before: Network, after: Network) -> Structure:
    """Compare graphs, then the numbers of those that correspond."""
    old, new = before.values(), after.values()
    matching, statements = _match_graphs(before, after)
    if matching == "graph":
        places = _layer_numbers(before)
        changes = tuple(
            LayerChange(name=n, layer=places.get(n, 0), change=c) for n, c in initialiser_changes(old, new).items()
        )
    elif matching == "layers":
        old, new = _folded_numbers(before.chain()), _folded_numbers(after.chain())
        changes = tuple(
            LayerChange(name=n, layer=int(n.split()[1]), change=c) for n, c in initialiser_changes(old, new).items()
        )
    else:
        changes = ()
    return Structure(
        matching=matching,
        statements=statements,
        changes=tuple(sorted(changes, key=lambda entry: entry.layer)),
        parameters=_count_numbers(before.values()),
        compared=0 if matching == "none" else _count_numbers(old),
        same_file=bool(before.sha256) and before.sha256 == after.sha256,
    )


def _match_graphs(before: Network, after: Network) -> tuple[Matching, tuple[str, ...]]:
    # told only where graphs differ, beside what is compared in their place
    said = _graph_differences(before, after)
    if before.graph == after.graph and _value_types(before) == _value_types(after):
        return "graph", ()
    # names and attributes are part of a graph, types of numbers are not
    if before.graph == after.graph:
        return "graph", ("The same graph, with numbers of other types: compared in float64.",)
    try:
        reason = layer_mismatch(before.chain(), after.chain())
    except NotAChain as error:
        return "none", (*said, f"No layers to compare instead: {error.reason}.")
    if reason:
        return "none", (*said, f"The layers that they fold to do not correspond either: {reason}.")
    told = f"Both fold to the same layers, {_chain_form(before.chain())}; these are compared."
    return "layers", (*said, told)


def _graph_differences(before: Network, after: Network) -> tuple[str, ...]:
    """In which respects the graphs differ, one sentence each."""
    said = []
    shapes = [tuple(map(tuple, (net.input_shape, net.output_shape))) for net in (before, after)]
    if shapes[0] != shapes[1]:
        parts = (f"{a} to {b} in {name}" for (a, b), name in zip(shapes, "AB", strict=True))
        said.append(f"The shapes of inputs and outputs differ: {', '.join(parts)}; both are compared flat.")
    operators = [[node.op for node in net.nodes] for net in (before, after)]
    if operators[0] != operators[1]:
        parts = (
            f"{len(ops)} nodes in {name} ({_list_operators(ops)})" for ops, name in zip(operators, "AB", strict=True)
        )
        said.append(f"The operations differ: {'; '.join(parts)}.")
    names = [set(net.values()) for net in (before, after)]
    if operators[0] == operators[1] and names[0] != names[1]:
        only = sorted(names[0] - names[1])[:3] + sorted(names[1] - names[0])[:3]
        said.append(f"The same operations on numbers of other names, such as {', '.join(only)}.")
    elif operators[0] == operators[1] and before.graph != after.graph:
        said.append("The same operations, wired differently or with other sizes or attributes.")
    return tuple(said)


def _list_operators(operators: list[str]) -> str:
    """In order, repetitions counted: ``Sub, Flatten, MatMul, Add, Relu`` or, where long, how many of each."""
    if len(operators) <= _SHOWN:
        return ", ".join(op if (n := len(list(run))) == 1 else f"{n} {op}" for op, run in groupby(operators))
    return ", ".join(op if n == 1 else f"{n} {op}" for op, n in Counter(operators).most_common())


def _value_types(net: Network) -> list[str]:
    return [str(value.dtype) for value in net.values().values()]


def _chain_form(chain: Chain) -> str:
    """Sizes and activations: ``5-50-50-5, relu``."""
    affine = [layer for layer in chain if isinstance(layer, Affine)]
    sizes = [affine[0].weight.shape[1], *(len(layer.bias) for layer in affine)]
    kinds = dict.fromkeys(layer.kind for layer in chain if not isinstance(layer, Affine))
    return ", ".join(["-".join(map(str, sizes)), *kinds])


def _folded_numbers(chain: Chain) -> dict[str, Tensor]:
    """The numbers of folded layers by name."""
    found: dict[str, Tensor] = {}
    for number, layer in enumerate((each for each in chain if isinstance(each, Affine)), 1):
        found[f"layer {number} weight"], found[f"layer {number} bias"] = layer.weight, layer.bias
    return found


def _layer_numbers(net: Network) -> Mapping[str, int]:
    """Name of a value -> number of the weighted layer that reads it, from 1; what comes before the first has 0."""
    found: dict[str, int] = {}
    number = 0
    for node in net.nodes:
        # what only prepares constants is no layer; its constants count where their product is read
        if node.output not in net.graph.dependent:
            continue
        if operator(node.op).weighted:
            number += 1
        for name in net.origins(node.inputs):
            # read by several layers it belongs to the first
            found.setdefault(name, number)
    return found


def _count_numbers(values: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in values.values())


def total_change(found: Structure) -> InitialiserChange:
    """All changes together."""
    parts = [entry.change for entry in found.changes]
    return InitialiserChange(
        count=sum(part.count for part in parts),
        size=found.compared,
        l1=sum(part.l1 for part in parts),
        linf=max((part.linf for part in parts), default=0.0),
    )
