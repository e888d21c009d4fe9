"""A network over the reals: against the checker's evaluation, against Fractions by hand, against float64."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds.interval import propagate
from birdnn.certify.check import files
from birdnn.certify.check.exact import evaluate
from birdnn.certify.check.network import read_network
from birdnn.formats.onnx import layers_to_onnx, network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.operators import OPERATORS, operators_where
from birdnn.verify import exactly
from birdnn.verify.exactly import OverReals
from tests.bounds.builders import convolution, graph_net, half_space, make_property, random_net
from tests.bounds.test_interval import CASES
from tests.formats.test_onnx_operators import FUNCTIONS, REWRITES


def enclosed(net: Network, x: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    """Centre and radius of every output at a float32 point."""
    found = OverReals(net).outputs([float(value) for value in x])
    return [found.fraction(index) for index in range(found.mid.size)]


def agrees_with_intervals(net: Network, seed: int) -> None:
    """Rounding accounted for, float64 intervals at a point hold the exact values."""
    for x in np.random.default_rng(seed).normal(size=(5, net.n_inputs)).astype(np.float32):
        point = torch.from_numpy(x)[None].double()
        low, high = (end[0].tolist() for end in propagate(net, point, point))
        for (mid, rad), least, most in zip(enclosed(net, x), low, high, strict=True):
            assert rad < Fraction(1, 1 << 200)
            assert Fraction(least) <= mid + rad
            assert mid - rad <= Fraction(most)
            assert most - least < 1e-9


@pytest.mark.parametrize("case", CASES)
def test_every_operator(case: str) -> None:
    """Whatever the importer reads is evaluated, and no rule is wrong."""
    nodes, tensors, shape = CASES[case]
    agrees_with_intervals(graph_net(nodes, tensors, shape), seed=1)


@pytest.mark.parametrize("case", [*REWRITES, *FUNCTIONS])
def test_every_way_to_write_one(case: str) -> None:
    """Operators that become others, and functions that are balls."""
    agrees_with_intervals(network_from_onnx({**REWRITES, **FUNCTIONS}[case], check=False), seed=2)


def test_every_operator_is_evaluated() -> None:
    read = {
        step.op
        for data in (*REWRITES.values(), *FUNCTIONS.values())
        for step in network_from_onnx(data, check=False).nodes
    }
    read |= {nodes[0][0] for nodes, _, _ in CASES.values()}
    assert read == set(OPERATORS)
    assert set(exactly.RULES) == operators_where(lambda row: not row.moves)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_convolutions(seed: int) -> None:
    """Operators behind each other."""
    agrees_with_intervals(convolution(seed, "sigmoid"), seed)


def test_numbers_without_axes() -> None:
    """Moved, scaled and added to what has axes; a value of the network may have none, too."""
    tensors = {"s": np.array(0.5, np.float32), "w": np.array([1, -2, 4], np.float32)}
    nodes = [
        ("Transpose", ["s"], "t", {}),
        ("Identity", ["t"], "i", {}),
        ("MatMul", ["x", "w"], "m", {}),
        ("Transpose", ["m"], "n", {}),
        ("Mul", ["n", "i"], "p", {}),
        ("Add", ["p", "s"], "y", {}),
    ]
    net = graph_net(nodes, tensors, (3,))
    outputs = OverReals(net).outputs([1.0, 2.0, 3.0])
    assert outputs.fraction(0) == (Fraction(5), Fraction(0))


def test_what_cannot_be_told_is_not_told() -> None:
    """A LeakyRelu that falls first, behind a root: nothing, rather than something wrong."""
    prop = make_property([-1.0] * 18, [1.0] * 18, half_space([1.0, 0.0], 0.0))
    assert OverReals(convolution(0, "residual")).violates(prop, [0.5] * 18) is None


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_the_checker_evaluates(activation: str, dtype: type, tmp_path: Path) -> None:
    """Two programs without a line in common: the same rationals, or balls that meet."""
    draw = np.random.default_rng(3)
    for sizes in ((1, 1, 1), (3, 5, 4, 2)):
        scales = 10.0 ** draw.integers(-12, 6, size=len(sizes))
        layers = [
            ((draw.normal(size=(o, i)) * scale).astype(dtype), draw.normal(size=o).astype(dtype))
            for (i, o), scale in zip(pairwise(sizes), scales, strict=False)
        ]
        path = tmp_path / "net.onnx"
        path.write_bytes(
            layers_to_onnx(layers, activation, alpha=0.3 if activation in ("LeakyRelu", "Elu") else None, dtype=dtype)
        )
        chain = read_network(files.read_file(path))
        x = draw.normal(size=sizes[0]).astype(np.float32)
        theirs = evaluate(chain, [Fraction(float(value)) for value in x])
        ours = enclosed(network_from_onnx(path.read_bytes(), check=False), x)
        for (mid, rad), other in zip(ours, theirs, strict=True):
            if isinstance(other, Fraction):
                assert (mid, rad) == (other, 0)
            else:
                middle, radius = (
                    Fraction(int(p.numerator), int(p.denominator)) for p in (other.mid().fmpq(), other.rad().fmpq())
                )
                assert abs(mid - middle) <= rad + radius
                assert rad < Fraction(1, 1 << 200)


def test_by_hand() -> None:
    """x + 1 at 1e-9: float32 says 1, the reals do not."""
    net = network_from_layers([([[1.0]], [1.0])])
    x = float(np.float32(1.5e-9))
    assert enclosed(net, np.array([x], np.float32)) == [(1 + Fraction(x), 0)]
    over = OverReals(net)
    at_most_one = make_property([0.0], [1.0], half_space([1.0], 1.0))
    assert over.violates(at_most_one, [x]) is False
    assert over.violates(at_most_one, [0.0]) is True
    assert over.violates(at_most_one, [2.0]) is False  # outside of the box
    assert over.violates(make_property([0.0], [1.0], half_space([1.0], 1.0, strict=True)), [0.0]) is False


def test_thirds_are_balls() -> None:
    """A third is not exact, three of them touch one: not told; half of it is exact."""
    tensors = {"three": np.array([3.0], np.float32)}
    net = graph_net([("Div", ["x", "three"], "a", {}), ("Mul", ["a", "three"], "y", {})], tensors, (1, 1))
    touching = make_property([0.0], [1.0], half_space([1.0], 1.0), half_space([-1.0], -2.0))
    assert OverReals(net).violates(touching, [1.0]) is None
    assert OverReals(net).violates(touching, [0.75]) is True  # 2.25 thirds are exact
    halves = graph_net([("Div", ["x", "two"], "y", {})], {"two": np.array([2.0], np.float32)}, (1, 1))
    assert enclosed(halves, np.array([1.0], np.float32)) == [(Fraction(1, 2), 0)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_says_nothing(value: float) -> None:
    """Poisoned weights: not evaluated."""
    net = network_from_layers([([[1.0]], [0.0])])
    with torch.no_grad():
        net.value("W0").fill_(value)
    assert OverReals(net).violates(make_property([0.0], [1.0], half_space([1.0], 1.0)), [0.5]) is None


def test_huge_arguments_of_smooth_functions_take_no_time() -> None:
    """exp of -1e30 has 10^29 digits behind the point; one unit of 2**-257 is enough."""
    for op in ("Sigmoid", "Tanh", "Elu"):
        for weight in (1e30, -1e30, 1e-30):
            net = network_from_layers([([[weight]], [0.0]), ([[1.0]], [0.0])], op, alpha=1.0 if op == "Elu" else None)
            for x in (1.0, -1.0):
                ((mid, rad),) = enclosed(net, np.array([x], np.float32))
                expected = float(net(torch.tensor([[x]], dtype=torch.float64)).detach())
                assert abs(float(mid) - expected) <= 1e-9 * abs(expected)
                assert rad < Fraction(1, 1 << 120)


def test_large_networks_by_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large for exact arithmetic: float64 with its rounding accounted for still tells all but hair margins."""
    net = random_net(0, (3, 5, 2))
    x = [0.25, -0.5, 1.0]
    exact = OverReals(net).outputs(x)
    monkeypatch.setattr(exactly, "MULTIPLICATIONS", 1)
    (mid, rad), (value, _) = OverReals(net).outputs(x).fraction(0), exact.fraction(0)
    assert 0 < rad < Fraction(1, 10**9)
    assert abs(value - mid) <= rad
    box = [-1.0] * 3, [1.0] * 3
    for shift, answer in ((Fraction(1, 10**9), True), (-Fraction(1, 10**9), False), (Fraction(0), None)):
        prop = make_property(*box, half_space([1.0, 0.0], float(value + shift)))
        assert OverReals(net).violates(prop, x) is answer


def test_speed() -> None:
    """As large as ACAS Xu: milliseconds for each point once the weights are read."""
    over = OverReals(random_net(0, (5, 50, 50, 50, 50, 50, 50, 5)))
    over.outputs([0.1] * 5)
    begun = time.process_time()
    over.outputs([0.3] * 5)
    assert time.process_time() - begun < 2.5, "milliseconds on a quiet machine"


def _half_rounded(function):
    return lambda inputs, attributes: function([part.shortened() for part in inputs], attributes).each(lambda p: p // 2)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool", "Relu", "BatchNormalization", "Gemm"])
def test_a_planted_bug_is_seen(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that loses half of its value fails the test of all operators."""
    monkeypatch.setitem(exactly.RULES, op, _half_rounded(exactly.RULES[op]))
    case = next(name for name, (nodes, _, _) in CASES.items() if nodes[0][0] == op)
    with pytest.raises(AssertionError):
        test_every_operator(case)


@pytest.mark.parametrize(
    "op", ["ConvTranspose", "Gelu", "Softmax", "LayerNormalization", "Max", "Pow", "ReduceSum", "Exp"]
)
def test_a_planted_bug_of_a_function_is_seen(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exactly.RULES, op, _half_rounded(exactly.RULES[op]))
    case = next(
        name
        for name, data in {**REWRITES, **FUNCTIONS}.items()
        if op in {step.op for step in network_from_onnx(data, check=False).nodes}
    )
    with pytest.raises(AssertionError):
        test_every_way_to_write_one(case)
