"""Parameters that correspond are compared, and where none does it is said why."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from birdnn.compare.deciding import compare_guarantees
from birdnn.compare.structure import compare_structure, total_change
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.records import Guarantee
from tests.bounds.builders import Layers, graph_net, random_layers


def net(sizes: tuple[int, ...], seed: int = 0, op: str = "Relu") -> Network:
    return network_from_layers(random_layers(seed, sizes), op)


def test_changes_are_counted_by_layer() -> None:
    before = net((2, 3, 2))
    names = list(before.initialisers())
    values = {name: value.detach().clone() for name, value in before.initialisers().items()}
    first = next(name for name in names if values[name].shape[-1] == 3 and values[name].dim() == 1)
    last = next(name for name in names if values[name].numel() == 6 and name != names[0])
    values[first][1] += 0.5
    values[last].view(-1)[:2] -= 0.25
    found = compare_structure(before, before.with_values(values))
    assert (found.matching, found.statements, found.same_file) == ("graph", (), False)
    assert [(entry.layer, entry.name, entry.change.count) for entry in found.changes] == [
        (1, first, 1),
        (2, last, 2),
    ]
    assert found.changes[0].change.linf == pytest.approx(0.5)
    assert found.changes[1].change.l1 == pytest.approx(0.5)
    assert (found.parameters, found.compared) == (17, 17)


def test_a_network_and_itself() -> None:
    found = compare_structure(net((2, 3, 2)), net((2, 3, 2)))
    assert (found.matching, found.changes, found.same_file) == ("graph", (), False)


def matmul(layers: Layers) -> Network:
    """The same function by ``MatMul`` and ``Add`` nodes, which `net` does not have."""
    tensors, nodes, value = {}, [], "x"
    for k, (weight, bias) in enumerate(layers):
        tensors |= {f"w{k}": weight.T.copy(), f"b{k}": bias}
        made = "y" if k == len(layers) - 1 else f"z{k}"
        nodes += [("MatMul", (value, f"w{k}"), f"m{k}", {}), ("Add", (f"m{k}", f"b{k}"), made, {})]
        value = made
        if made != "y":
            nodes.append(("Relu", (made,), f"h{k}", {}))
            value = f"h{k}"
    return graph_net(nodes, tensors, [1, layers[0][0].shape[1]])


def residual() -> Network:
    """``x + relu(x)``."""
    return graph_net([("Relu", ("x",), "h", {}), ("Add", ("x", "h"), "y", {})], {}, [1, 2])


def test_other_graphs_of_the_same_layers() -> None:
    """Folded and compared; what differs is named by its layer."""
    layers = random_layers(0, (2, 3, 2))
    same = compare_structure(network_from_layers(layers, "Relu"), matmul(layers))
    assert (same.matching, same.changes, same.compared) == ("layers", (), 17)
    assert any("operations differ" in line for line in same.statements)
    assert any("2-3-2, relu" in line for line in same.statements)
    layers[1][1][0] += 1
    found = compare_structure(network_from_layers(random_layers(0, (2, 3, 2)), "Relu"), matmul(layers))
    assert [(entry.layer, entry.name, entry.change.count) for entry in found.changes] == [(2, "layer 2 bias", 1)]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (net((2, 4, 2)), "affine layer 1 is 3 x 2 in A, 4 x 2 in B"),
        (net((2, 3, 3, 2)), "2 affine layers in A, 3 in B"),
        (net((2, 3, 2), op="Tanh"), "relu in A, tanh in B"),
    ],
)
def test_structures_that_do_not_correspond(after: Network, words: str) -> None:
    found = compare_structure(net((2, 3, 2)), after)
    assert (found.matching, found.changes, found.compared) == ("none", (), 0)
    assert any(words in line for line in found.statements)


def test_a_graph_that_is_no_chain() -> None:
    found = compare_structure(residual(), net((2, 3, 2)))
    assert found.matching == "none"
    assert any("No layers to compare" in line for line in found.statements)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("proved", "proved", "kept"),
        ("proved", "violated", "lost"),
        ("violated", "proved", "gained"),
        ("violated", "violated", "violated in both"),
        ("proved", "unknown", "undecided"),
        ("unknown", "violated", "undecided"),
        ("unknown", "unknown", "undecided"),
    ],
)
def test_nothing_is_lost_or_gained_without_evidence_on_both_sides(
    before: Guarantee, after: Guarantee, word: str
) -> None:
    assert compare_guarantees(before, after) == word


def test_names_survive_a_round_trip() -> None:
    """A file that birdnn wrote compares by name with the network it came from."""
    before = net((2, 3, 2))
    assert compare_structure(before, network_from_onnx(to_onnx_bytes(before))).changes == ()


def test_layers_of_weights_that_nodes_move() -> None:
    """A value belongs to the layer that reads what nodes make of it, wherever these stand."""
    tensors = {
        "w": np.ones((4, 3), np.float32),
        "v": np.ones((2, 4), np.float32),
        "b": np.ones(4, np.float32),
    }
    nodes = [
        ("Transpose", ["v"], "vt", {"perm": [1, 0]}),
        ("Transpose", ["w"], "wt", {"perm": [1, 0]}),
        ("MatMul", ["x", "wt"], "m", {}),
        ("Add", ["m", "b"], "a", {}),
        ("Relu", ["a"], "r", {}),
        ("MatMul", ["r", "vt"], "y", {}),
    ]
    before = graph_net(nodes, tensors, (1, 3))
    after = before.with_values({"v": 2 * before.value("v"), "w": 2 * before.value("w")})
    found = compare_structure(before, after)
    assert [(entry.layer, entry.name) for entry in found.changes if entry.change.count] == [(1, "w"), (2, "v")]


def test_all_changes_together() -> None:
    before = net((2, 3, 2))
    values = {name: value.detach().clone() for name, value in before.initialisers().items()}
    for value, step in zip(values.values(), (0.5, -0.25), strict=False):
        value.view(-1)[:2] += step
    total = total_change(compare_structure(before, before.with_values(values)))
    assert (total.count, total.size) == (4, 17)
    assert (total.l1, total.linf) == (pytest.approx(1.5), pytest.approx(0.5))
    none = total_change(compare_structure(before, before))
    assert (none.count, none.l1, none.linf) == (0, 0.0, 0.0)


def test_numbers_of_another_type_in_the_same_graph() -> None:
    before = net((2, 3, 2))
    found = compare_structure(before, before.copy().double())
    assert (found.matching, found.changes) == ("graph", ())
    assert found.statements == ("The same graph, with numbers of other types: compared in float64.",)


def test_the_same_operations_wired_otherwise_or_on_other_names() -> None:
    def made(first: str = "x", value: float = 1.0, name: str = "c") -> Network:
        nodes = [("Relu", ("x",), "h", {}), ("Add", (first, "h"), "s", {}), ("Add", ("s", name), "y", {})]
        return graph_net(nodes, {name: np.full(2, value, np.float32)}, [1, 2])

    wired, named = compare_structure(made(), made("h")), compare_structure(made(), made(name="d"))
    assert wired.statements[0] == "The same operations, wired differently or with other sizes or attributes."
    assert named.statements[0] == "The same operations on numbers of other names, such as c, d."
    changed = compare_structure(made(), made(value=3.0))
    assert (changed.matching, [entry.name for entry in changed.changes]) == ("graph", ["c"])


def test_shapes_that_differ_are_said() -> None:
    flat = graph_net([("Relu", ("x",), "y", {})], {}, [1, 4])
    folded = graph_net([("Relu", ("x",), "y", {})], {}, [1, 2, 2])
    said = compare_structure(flat, folded).statements[0]
    assert said.startswith("The shapes of inputs and outputs differ: ")
    assert said.endswith("; both are compared flat.")


def test_long_lists_of_operations_are_counted() -> None:
    """Up to twelve in their order, repetitions together."""

    def waves(count: int) -> Network:
        names = ["x", *(f"h{i}" for i in range(count - 1)), "y"]
        ops = ["Relu", "Relu", *itertools.islice(itertools.cycle(["Tanh", "Relu"]), count - 2)]
        nodes = [(op, (a,), b, {}) for op, (a, b) in zip(ops, itertools.pairwise(names), strict=True)]
        return graph_net(nodes, {}, [1, 2])

    (said,) = [line for line in compare_structure(waves(12), waves(13)).statements if "operations differ" in line]
    assert "12 nodes in A (2 Relu, Tanh, Relu, Tanh, Relu, Tanh, Relu, Tanh, Relu, Tanh, Relu)" in said
    assert "13 nodes in B (7 Relu, 6 Tanh)" in said
