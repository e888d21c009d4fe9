"""What a new activation and a new operator cost: rows of tables, and nothing else in the prover knows of them.

The activation is Softsign, ``z / (1 + |z|)``, in four places: its row, its lines and slopes, exact values and, which is
speed alone and left out here, compiled lines. The operator is Neg, in three: its row, its interval rule, exact values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from birdnn.bounds import interval, rules
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.difference import DifferenceBound, difference_questions
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound
from birdnn.chain import Activation, NotAChain
from birdnn.errors import UnsupportedOpError
from birdnn.formats import rewriting
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.neurons import hidden_layers
from birdnn.operators import OPERATORS, Function, Operator, Sums, forward, linear, shapes
from birdnn.records import Proved
from birdnn.verify import exactly
from birdnn.verify.balls import Balls, negate
from birdnn.verify.search import verify
from birdnn.verify.settings import SearchSettings
from tests.bounds.builders import (
    CPU,
    all_open,
    half_space,
    make_property,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_layers,
    random_polytopes,
)
from tests.verify.cases import Engine


def _softsign(z: Tensor) -> Tensor:
    return z / (1 + z.abs())


def _slope(z: Tensor) -> Tensor:
    return 1 / (1 + z.abs()) ** 2


def _exact_softsign(inputs: list[Balls], _: object) -> Balls:
    raise exactly.NotEvaluated("not needed for the float32 verdict")


@pytest.fixture
def softsign(monkeypatch: pytest.MonkeyPatch) -> None:
    """The activation, everywhere it has to be said."""
    row = Operator(
        forward=lambda inputs, _: _softsign(inputs[0]),
        shape=shapes.same,
        function=Function("softsign", float32_error=5e-7),
        elementwise=True,
        monotone=True,
    )
    monkeypatch.setitem(OPERATORS, "Softsign", row)  # type: ignore[arg-type]
    monkeypatch.setitem(rules.RULES, "softsign", lambda low, up, _: rules._s_shaped(low, up, _softsign, _slope, 0.0))
    monkeypatch.setitem(rules.SLOPES, "softsign", rules._bell_slopes(_slope))
    monkeypatch.setitem(exactly.RULES, "Softsign", _exact_softsign)  # type: ignore[arg-type]


@pytest.fixture
def neg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator, everywhere it has to be said; as if it were not read as a product."""
    monkeypatch.delitem(rewriting.REWRITTEN, "Neg")  # type: ignore[attr-defined]
    row = Operator(
        forward=lambda inputs, _: -inputs[0],
        shape=shapes.same,
        linear_part=linear.first_only,
        sums=Sums(lambda shapes, _: 0, forward.identity, forward.identity),
    )
    monkeypatch.setitem(OPERATORS, "Neg", row)  # type: ignore[arg-type]
    monkeypatch.setitem(interval.RULES, "Neg", lambda _, inputs: (-inputs[0][1], -inputs[0][0]))  # type: ignore[arg-type]
    monkeypatch.setitem(exactly.RULES, "Neg", lambda inputs, _: negate(inputs[0]))  # type: ignore[arg-type]


def _negated(seed: int) -> Network:
    """``relu(-(A x + a))`` negated again before the last map, from the bytes of a file."""
    (a, a0), (b, b0) = random_layers(seed, (2, 6, 3))
    parts = {"A": a, "a": a0, "B": b, "b": b0}
    nodes = [
        helper.make_node("Gemm", ["x", "A", "a"], ["h"], transB=1),
        helper.make_node("Neg", ["h"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Neg", ["r"], ["m"]),
        helper.make_node("Gemm", ["m", "B", "b"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in parts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return network_from_onnx(model.SerializeToString())  # compared with onnxruntime


def _check(make: Callable[[Network], MarginBound], net: Network, seed: int) -> None:
    boxes, polytopes = random_boxes(seed, 6, net.n_inputs), random_polytopes(seed, net.n_outputs)
    bound = make(net)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(len(boxes)))
    outputs = outputs_at(net, points_of(boxes))
    for box, polytope, lower in zip(found.box.tolist(), found.polytope.tolist(), found.lower.tolist(), strict=True):
        least = float(polytopes[polytope].margin(outputs[box]).amin())
        assert lower <= least + 1e-9
        assert lower > least - 50, "a bound that says nothing"


METHODS = [
    lambda net: CrownBound(net, CPU),
    lambda net: CrownBound(net, CPU, semantics="float32"),
    lambda net: IntervalBound(net, CPU),
    lambda net: IntervalBound(net, CPU, "float32"),
]


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("softsign")
def test_a_new_activation_is_bounded(seed: int, make: Callable[[Network], MarginBound]) -> None:
    """Read from a file, compared with onnxruntime, bounded by every method, in both semantics."""
    data = to_onnx_bytes(network_from_layers(random_layers(seed, (2, 6, 5, 3)), "Softsign"))
    net = network_from_onnx(data)
    assert [layer.kind for layer in net.chain() if isinstance(layer, Activation)] == ["softsign"] * 2
    assert [layer.size for layer in hidden_layers(net)] == [6, 5]
    _check(make, net, seed)


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("neg")
def test_a_new_operator_is_bounded(seed: int, make: Callable[[Network], MarginBound]) -> None:
    """The same of an affine operator: folded into the chain, written again."""
    net = _negated(seed)
    assert len(net.chain()) == 3
    again = network_from_onnx(to_onnx_bytes(net))
    assert [node.op for node in again.nodes] == [node.op for node in net.nodes]
    _check(make, again, seed)


@pytest.mark.usefixtures("softsign")
def test_a_difference_with_a_new_activation_is_bounded() -> None:
    """`compare` follows it too."""
    layers = random_layers(0, (2, 6, 3))
    other = [(weight + 0.01, bias) for weight, bias in layers]
    nets = [network_from_layers(each, "Softsign") for each in (layers, other)]
    boxes, points = random_boxes(0, 4, 2), points_of(random_boxes(0, 4, 2))
    bound, question = DifferenceBound(*nets, CPU), difference_questions(3, CPU)
    opened = torch.ones(len(boxes), len(question), dtype=torch.bool)
    most = -bound.bound(question, boxes, opened, bound.root(len(boxes))).lower.reshape(len(boxes), 3, 2).amin(2)
    seen = (outputs_at(nets[1], points) - outputs_at(nets[0], points)).abs().amax(1)
    assert bool((seen <= most).all())
    assert float(most.max()) < 1, "a bound that says nothing"


@pytest.mark.usefixtures("softsign")
def test_a_property_is_decided() -> None:
    """By the search that every command uses: compiled loops, which do not know the activation, leave it to torch."""
    net = network_from_layers(random_layers(3, (2, 8, 8, 1)), "Softsign")
    above = make_property([-1, -1], [1, 1], half_space([1.0], -100.0))
    settings = SearchSettings(timeout_s=60.0)
    assert isinstance(verify(net, above, settings=settings, replays=[Engine(net)]), Proved)


@pytest.mark.usefixtures("neg")
def test_a_new_operator_has_exact_values() -> None:
    """Over the reals, from the numbers of the file."""
    net = _negated(1)
    x = [0.25, -0.5]
    outputs = exactly.OverReals(net).outputs(x)
    y = net(torch.tensor([x], dtype=torch.float64))[0]
    for index, value in enumerate(y.tolist()):
        mid, rad = outputs.fraction(index)
        assert rad == 0
        assert abs(mid - Fraction(value)) < Fraction(1, 10**6)


@pytest.mark.parametrize("missing", ["lines", "interval", "error", "row"])
@pytest.mark.usefixtures("softsign")
def test_what_is_left_out_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never assumed: not monotone, not free of errors, not without effect."""
    net = network_from_layers(random_layers(0, (2, 6, 3)), "Softsign")
    row = OPERATORS["Softsign"]
    if missing == "lines":
        monkeypatch.delitem(rules.RULES, "softsign")
        with pytest.raises(KeyError, match="softsign"):
            _check(METHODS[0], net, 0)
    elif missing == "interval":
        monkeypatch.setitem(OPERATORS, "Softsign", _but(row, monotone=False))  # type: ignore[arg-type]
        with pytest.raises(UnsupportedOpError, match="Softsign"):
            _check(METHODS[2], net, 0)
    elif missing == "error":
        monkeypatch.setitem(OPERATORS, "Softsign", _but(row, function=Function("softsign")))  # type: ignore[arg-type]
        for make in (METHODS[1], METHODS[3]):
            with pytest.raises(KeyError, match="softsign"):
                _check(make, net, 0)
    else:
        monkeypatch.setitem(OPERATORS, "Softsign", _but(row, function=None, monotone=False))  # type: ignore[arg-type]
        for make, error in zip(METHODS, (NotAChain, NotAChain, UnsupportedOpError, UnsupportedOpError), strict=True):
            with pytest.raises(error, match="Softsign"):
                _check(make, net, 0)


@pytest.mark.usefixtures("neg")
def test_an_operator_that_does_not_say_what_it_errs_by_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing computed and nothing said are not the same."""
    net = _negated(0)
    monkeypatch.setitem(OPERATORS, "Neg", _but(OPERATORS["Neg"], sums=None))  # type: ignore[arg-type]
    for make in METHODS:
        with pytest.raises(UnsupportedOpError, match="Neg"):
            _check(make, net, 0)


def _but(row: Operator, **changes: object) -> Operator:
    return replace(row, **changes)  # type: ignore[arg-type]
