"""The network itself: flat batches, values, and its form as a chain of affine maps and activations."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from birdnn import network
from birdnn.chain import Activation, Affine, NotAChain
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network, weights_sha256
from birdnn.sample.pieces import multiplications
from tests.bounds.builders import random_net
from tests.formats.models import Array, model, node, perceptron
from tests.formats.test_onnx_operators import CASES, FUNCTIONS
from tests.strategies import networks

RNG = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def evaluate(chain: Sequence[Affine | Activation], x: Tensor) -> Tensor:
    """The chain in float64, written out once more."""
    rules = {
        "relu": lambda v, _: v.clamp(min=0),
        "leaky_relu": lambda v, a: torch.where(v > 0, v, a * v),
        "elu": lambda v, a: torch.where(v > 0, v, a * (v.exp() - 1)),
        "sigmoid": lambda v, _: 1 / (1 + (-v).exp()),
        "tanh": lambda v, _: v.tanh(),
    }
    for layer in chain:
        x = x @ layer.weight.T + layer.bias if isinstance(layer, Affine) else rules[layer.kind](x, layer.alpha)
    return x


def alternates(chain: Sequence[Affine | Activation]) -> bool:
    return len(chain) % 2 == 1 and all(isinstance(layer, Affine) == (i % 2 == 0) for i, layer in enumerate(chain))


@pytest.mark.thorough
@given(net=networks(max_hidden=4), seed=st.integers(0, 2**32 - 1))
def test_a_chain_computes_what_the_network_does(net: Network, seed: int) -> None:
    """Proofs are made on the chain; whatever it lost would be unproved."""
    chain = net.chain()
    assert alternates(chain)
    x = torch.randn(8, net.n_inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(evaluate(chain, x), net(x), rtol=1e-12, atol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("rows", [1, 3, 1000])
@given(net=networks(max_hidden=3), seed=st.integers(0, 2**32 - 1))
def test_some_rows_at_a_time(rows: int, net: Network, seed: int) -> None:
    """Large matrices go through an operator in parts; no part is lost or taken for another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("birdnn.chain._ROWS", rows)
        chain = net.chain()
    x = torch.randn(8, net.n_inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(evaluate(chain, x), net(x), rtol=1e-12, atol=1e-12)
    for layer, whole in zip(chain, net.chain(), strict=True):
        if isinstance(layer, Affine) and isinstance(whole, Affine):
            assert torch.allclose(layer.terms.weight, whole.terms.weight, rtol=1e-12)
            assert (layer.terms.roundings, layer.terms.underflow) == (whole.terms.roundings, whole.terms.underflow)


def test_a_large_kernel_is_not_unfolded_for_all_rows_at_once() -> None:
    """An image of 32 x 32 and a kernel of 11 x 11: 121 times the matrix if it were."""
    data = model(
        [node("Conv", ["x", "w"], "h", pads=[5, 5, 5, 5]), node("Flatten", ["h"], "y")],
        {"w": floats(1, 1, 11, 11)},
        (1, 1, 32, 32),
    )
    net = network_from_onnx(data)
    matrix = 8 * (32 * 32) ** 2
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        net.chain()
    largest = max(event.self_cpu_memory_usage for event in seen.events())
    assert matrix <= largest < 40 * matrix


_TRANSPOSED = {name for name in FUNCTIONS if name.startswith("conv-transpose")}
_BENT = (
    "clip-6",
    "clip-11",
    "max-pool",
    "max-number",
    "max-row",
    "max-wider",
    "min-number",
    "hard-sigmoid",
    "reduce-m",
)
_TWICE = {"einsum-attention", "matmul-own", "div-into", "max-3", "min-two", "where", "reduce-l1"}
AFFINE = sorted(set(CASES) - (set(FUNCTIONS) - _TRANSPOSED) - _TWICE)
MEANS = {name for name in CASES if name.startswith("reduce-mean")}


@pytest.mark.parametrize("name", [name for name in AFFINE if name in MEANS or not name.startswith(_BENT)])
def test_every_affine_operator_folds(name: str) -> None:
    """Convolutions, pooling of averages, layout, arithmetic with constants: all are matrices."""
    net = network_from_onnx(CASES[name])
    chain = net.chain()
    assert alternates(chain)
    x = torch.from_numpy(RNG.normal(size=(7, net.n_inputs)))
    assert torch.allclose(evaluate(chain, x), net(x), rtol=1e-12, atol=1e-12)


def test_a_sequential_convolutional_network_folds() -> None:
    """Affine operations between two activations become one map; two activations get an identity between them."""
    nodes = [
        node("Sub", ["x", "mean"], "h0"),
        node("Conv", ["h0", "c", "d"], "h1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["h1", "s", "t", "m", "v"], "h2"),
        node("Relu", ["h2"], "h3"),
        node("AveragePool", ["h3"], "h4", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["h4"], "h5"),
        node("Gemm", ["h5", "w", "b"], "h6", transB=1),
        node("Tanh", ["h6"], "h7"),
        node("Sigmoid", ["h7"], "y"),
    ]
    tensors = {
        "mean": floats(1, 1, 4, 4), "c": floats(2, 1, 3, 3), "d": floats(2), "s": floats(2), "t": floats(2),
        "m": floats(2), "v": floats(2) ** 2, "w": floats(3, 8), "b": floats(3),
    }  # fmt: skip
    net = network_from_onnx(model(nodes, tensors, (1, 1, 4, 4)))
    chain = net.chain()
    kinds = [layer.kind if isinstance(layer, Activation) else "affine" for layer in chain]
    assert kinds == ["affine", "relu", "affine", "tanh", "affine", "sigmoid", "affine"]
    x = torch.from_numpy(RNG.normal(size=(9, 16)))
    assert torch.allclose(evaluate(chain, x), net(x), rtol=1e-12, atol=1e-12)


def test_a_residual_of_affine_branches_folds() -> None:
    """Both branches start at the same activation, so their sum is one map."""
    nodes = [
        node("Relu", ["x"], "r"),
        node("MatMul", ["r", "w"], "a"),
        node("Add", ["a", "r"], "s"),
        node("Sub", ["s", "r"], "t"),
        node("Concat", ["t", "k", "s"], "y", axis=1),
    ]
    net = network_from_onnx(model(nodes, {"w": floats(4, 4), "k": floats(1, 2)}))
    chain = net.chain()
    assert [type(layer) for layer in chain] == [Affine, Activation, Affine]
    x = torch.from_numpy(RNG.normal(size=(5, 4)))
    assert torch.allclose(evaluate(chain, x), net(x), rtol=1e-12, atol=1e-12)


def test_the_first_layer_is_exact() -> None:
    """The folded weight of ``(x - mean) @ W`` is W, to the bit."""
    net = network_from_onnx(perceptron())
    first = net.chain()[0]
    assert isinstance(first, Affine)
    assert torch.equal(first.weight, net.value("W0").detach().double().T)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("Relu", ["x"], "r"), node("Add", ["r", "x"], "y")], "across an activation"),
        ([node("Mul", ["x", "x"], "y")], "not affine"),
        ([node("Clip", ["x", "k"], "y")], "neither affine"),
        ([node("Relu", ["x"], "r"), node("Relu", ["x"], "q"), node("Add", ["r", "q"], "y")], "across an activation"),
        ([node("Div", ["k", "x"], "y")], "not affine"),
    ],
)
def test_what_is_no_chain_says_so(nodes: list[Any], reason: str) -> None:
    """A graph that is folded wrongly would be proved wrongly."""
    net = network_from_onnx(model(nodes, {"k": np.float32(0.5)}), check=False)
    with pytest.raises(NotAChain, match=reason):
        net.chain()


def test_a_chain_that_would_not_fit_memory_says_so() -> None:
    """A convolution of a large image is no dense matrix."""
    net = network_from_onnx(model([node("Conv", ["x", "c"])], {"c": floats(1, 1, 1, 1)}, (1, 1, 100, 100)))
    with pytest.raises(NotAChain, match="10000 entries"):
        net.chain()


def test_clip_at_zero_is_relu() -> None:
    """Some exporters write ReLU so; it ends at the largest float32, which no ReLU does."""
    net = network_from_onnx(model([node("Clip", ["x", "k"])], {"k": np.float32(0)}))
    assert net.chain()[1] == Activation("relu", limited=True)


def test_forward_is_flat_typed_and_differentiable() -> None:
    """(n, inputs) in any floating type to (n, outputs) in that type; anything else is refused."""
    net = network_from_onnx(perceptron())
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = net(x)
    assert (y.shape, y.dtype) == ((3, 3), torch.float64)
    y.sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is not None for parameter in net.parameters())
    for bad in (torch.zeros(4), torch.zeros(2, 3), torch.zeros(1, 1, 1, 4)):
        with pytest.raises(MismatchError, match="shape"):
            net(bad)


def test_a_forward_pass_holds_few_values_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a deep network two of them, and those that are asked for."""
    net = network_from_layers([(floats(7, 7), floats(7)) for _ in range(9)])
    shown = net.nodes[3].output
    alive = list[weakref.ref[Tensor]]()
    most = 0
    whole = network.apply

    def watched(op: str, inputs: Sequence[Tensor], attributes: Any, name: str) -> Tensor:
        nonlocal most
        value = whole(op, inputs, attributes, name)
        alive.append(weakref.ref(value))
        most = max(most, sum(one() is not None for one in alive))
        return value

    monkeypatch.setattr(network, "apply", watched)
    with torch.no_grad():
        first, last = net.observe(torch.ones(3, 7), [shown, net.output_name])
    assert first.shape == last.shape == (3, 7)
    assert most <= 3 < len(net.nodes)


def test_with_values_leaves_the_original_alone() -> None:
    """A repair tries many values; the network it started from must stay."""
    net = network_from_onnx(perceptron(), digest="d")
    before = weights_sha256(net)
    other = net.with_values({"B1": torch.tensor([1.0, 2.0, 1 / 3], dtype=torch.float64)})
    assert weights_sha256(net) == before != weights_sha256(other)
    assert other.value("B1").dtype == torch.float32
    assert (net.sha256, other.sha256, net.copy().sha256) == ("d", "", "d")
    with torch.no_grad():
        other.value("W0").zero_()
    assert net.value("W0").abs().max() > 0
    with pytest.raises(MismatchError, match="no initialiser 'Q'"):
        net.with_values({"Q": torch.zeros(1)})
    with pytest.raises(MismatchError, match="'B1' was given shape"):
        net.with_values({"B1": torch.zeros(4)})


def test_names_with_dots_survive_copies() -> None:
    """Exporters name parameters like ``fc.weight``, which torch cannot register."""
    data = model([node("MatMul", ["x", "fc.0.weight"])], {"fc.0.weight": floats(4, 2)})
    net = network_from_onnx(data)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.double()):
        assert set(twin.initialisers()) == {"fc.0.weight"}
        x = torch.ones(1, 4, dtype=torch.float64)
        assert torch.equal(twin(x), net(x))
        assert weights_sha256(twin) == weights_sha256(network_from_onnx(data))


def test_fingerprint_is_of_content() -> None:
    """Names, shapes and values count; float32 and float64 storage of the same values do not differ."""
    layers = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    digest = weights_sha256(network_from_layers(layers))
    assert digest == weights_sha256(network_from_layers(layers, dtype=np.float64))
    assert digest != weights_sha256(network_from_layers([layers[0], (np.ones((1, 2)), np.array([1e-30]))]))
    assert digest != weights_sha256(network_from_layers(layers[:1]))


def test_values_that_nodes_make_of_constants() -> None:
    """Their shapes are known, and where they come from: who asks for a value by name need not know what it is."""
    tensors = {"w": np.ones((3, 4), np.float32), "s": np.float32(2), "b": np.ones(3, np.float32)}
    nodes = [
        node("Transpose", ["w"], "t", perm=[1, 0]),
        node("Mul", ["t", "s"], "v"),
        node("MatMul", ["x", "v"], "m"),
        node("Add", ["m", "b"]),
    ]
    net = network_from_onnx(model(nodes, tensors))
    assert (net.shape_of("v"), net.shape_of("s"), net.shape_of("m")) == ((4, 3), (), (1, 3))
    assert (net.size_of("w"), net.size_of("t")) == (12, 12)
    assert net.origins(["v", "b", "x", "m"]) == ("w", "s", "b")
    assert net.origins(["s", "v"]) == ("s", "w")
    assert multiplications(net) == 1 + 12 + 3
    with pytest.raises(KeyError):
        net.shape_of("nothing")


def test_integers_are_no_inputs() -> None:
    """Weights take the type of the inputs: a weight of 0.125 would be 0."""
    net = network_from_layers([(np.full((1, 2), 0.125), np.zeros(1))])
    with pytest.raises(MismatchError, match=r"a floating type, not torch.int64: say x.float\(\)"):
        net(torch.tensor([[1, 2]]))
    assert net(torch.tensor([[1.0, 2.0]])).item() == 0.375


def test_what_a_repair_may_change_is_counted() -> None:
    net = random_net(0, (2, 3, 1))
    assert list(net.repairable_sizes().values()) == [6, 3, 3, 1]
    assert set(net.repairable_sizes()) == net.repairable
