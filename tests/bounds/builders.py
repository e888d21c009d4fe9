"""Small networks, questions and exact answers, for the tests of bounds and searches.

The exact answers come from linear programs over the activation patterns of tiny ReLU networks, from weights alone: they
share no code with the bounds that they judge.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import linprog
from torch import Tensor

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.protocol import Question
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Property, Region, Row

CPU = torch.device("cpu")

ACTIVATIONS = (
    ("Relu", None),
    ("LeakyRelu", 0.1),
    ("LeakyRelu", -0.5),
    ("LeakyRelu", 1.5),
    ("Elu", 1.0),
    ("Elu", 0.3),
    ("Elu", 2.0),
    ("Elu", -0.7),
    ("Sigmoid", None),
    ("Tanh", None),
)
"""ONNX operator and alpha; every branch of every rule."""

Layers = list[tuple[np.ndarray, np.ndarray]]


def random_layers(seed: int, sizes: Sequence[int], scale: float = 1.5) -> Layers:
    """Normal weights (out, in) and biases, float32."""
    rng = np.random.default_rng(seed)
    return [
        (
            (scale * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)).astype(np.float32),
            (0.5 * rng.normal(size=n_out)).astype(np.float32),
        )
        for n_in, n_out in itertools.pairwise(sizes)
    ]


def random_net(seed: int, sizes: Sequence[int], op: str = "Relu", alpha: float | None = None, scale: float = 1.5):
    """A fully connected network."""
    return network_from_layers(random_layers(seed, sizes, scale), op, alpha=alpha)


def random_boxes(seed: int, count: int, n_inputs: int, width: float = 1.0) -> Boxes:
    """Boxes of different shapes; in each third one some edge is a point."""
    rng = torch.Generator().manual_seed(seed)
    lower = 2 * torch.rand(count, n_inputs, generator=rng, dtype=torch.float64) - 1
    widths = width * torch.rand(count, n_inputs, generator=rng, dtype=torch.float64)
    widths[::3, 0] = 0
    return Boxes(lower, lower + widths)


def random_polytopes(seed: int, n_outputs: int, rows: Iterable[int] = (1, 2, 3)) -> tuple[Polytope, ...]:
    """One polytope for each number of rows; coefficients are small dyadic numbers, exact in every type."""
    rng = np.random.default_rng(seed)

    def row() -> Row:
        coefficients = tuple(Fraction(int(v), 4) for v in rng.integers(-8, 9, n_outputs))
        return Row(coefficients, Fraction(int(rng.integers(-16, 17)), 16)).normal()

    return tuple(Polytope(rows=tuple(row() for _ in range(n)), n_outputs=n_outputs) for n in rows)


def half_space(coefficients: Sequence[float], bound: float, *, strict: bool = False) -> Polytope:
    """A polytope of one row."""
    row = Row(tuple(Fraction(c) for c in coefficients), Fraction(bound), strict)
    return Polytope(rows=(row,), n_outputs=len(coefficients))


def make_property(lower: Sequence[float], upper: Sequence[float], *unsafe: Polytope) -> Property:
    """A property of one region."""
    return property_of(
        Region(exact_lower=tuple(map(Fraction, lower)), exact_upper=tuple(map(Fraction, upper)), unsafe=unsafe)
    )


def property_of(*regions: Region) -> Property:
    """A property of these regions."""
    n_outputs = regions[0].unsafe[0].n_outputs
    return Property(name="made up", regions=regions, n_inputs=regions[0].n_inputs, n_outputs=n_outputs)


def compiled(
    net: Network,
    device: torch.device = CPU,
    settings: CrownSettings | None = None,
    semantics: Semantics = "real",
    record: bool = False,
) -> CompiledBound:
    """The compiled bounds, by the arguments of the others, whatever the size of the batch."""
    assert device == CPU
    return CompiledBound(net, settings, semantics, record, always=True)


def question_of(polytopes: tuple[Polytope, ...]) -> Question:
    """The polytopes as bound methods see them."""
    return Question.of(polytopes, polytopes[0].n_outputs, CPU)


def all_open(boxes: Boxes, polytopes: Sequence[Polytope]) -> Tensor:
    """Nothing excluded yet."""
    return torch.ones(len(boxes), len(polytopes), dtype=torch.bool)


def points_of(boxes: Boxes, seed: int = 0, count: int = 400) -> Tensor:
    """Corners, centre and uniform points of each box, shape (boxes, points, inputs)."""
    uniform = boxes.uniform(count, torch.Generator().manual_seed(seed))
    n = boxes.lower.shape[1]
    sides = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n))[:256], dtype=torch.float64)
    corners = torch.where(sides > 0, boxes.upper[:, None], boxes.lower[:, None])
    return torch.cat([uniform, corners, boxes.centres()[:, None]], 1)


def outputs_at(net: Network, points: Tensor) -> Tensor:
    """Outputs in float64, shape (boxes, points, outputs)."""
    with torch.no_grad():
        return net(points.flatten(0, 1)).unflatten(0, points.shape[:2])


# --- exact answers -----------------------------------------------------------------------------------------------


def exact_margin(layers: Layers, lower: Sequence[float], upper: Sequence[float], polytope: Polytope) -> float:
    """Minimum over the box of the largest ``a @ f(x) - b``, f a ReLU network: one linear program for each pattern."""
    return min(_minima(layers, np.asarray(lower, float), np.asarray(upper, float), polytope))


def _minima(layers: Layers, lower: np.ndarray, upper: np.ndarray, polytope: Polytope) -> Iterable[float]:
    a, b = polytope.a.numpy(), polytope.b.numpy()
    patterns = [
        (False, True) if low < 0 < up else ((True,) if low >= 0 else (False,))
        for low, up in zip(*_pre_activations(layers, lower, upper), strict=True)
    ]
    for pattern in itertools.product(*patterns):
        weight, bias, constraints, limits = np.eye(len(lower)), np.zeros(len(lower)), [], []
        start = 0
        for w, c in layers[:-1]:
            weight, bias = w.astype(float) @ weight, w.astype(float) @ bias + c
            on = np.array(pattern[start : start + len(c)])
            start += len(c)
            sign = np.where(on, -1.0, 1.0)[:, None]  # on: -z <= 0, off: z <= 0
            constraints.append(sign * weight)
            limits.append(-sign[:, 0] * bias)
            weight, bias = weight * on[:, None], bias * on
        w, c = layers[-1]
        weight, bias = w.astype(float) @ weight, w.astype(float) @ bias + c
        # variables x, t; minimise t with a @ f(x) - b <= t
        top = np.hstack([a @ weight, -np.ones((len(b), 1))])
        inner = [np.hstack([m, np.zeros((len(m), 1))]) for m in constraints]
        answer = linprog(
            np.append(np.zeros(len(lower)), 1.0),
            A_ub=np.vstack([top, *inner]),
            b_ub=np.concatenate([b - a @ bias, *limits]),
            bounds=[*zip(lower, upper, strict=True), (None, None)],
        )
        if answer.status == 0:
            yield answer.fun


def _pre_activations(layers: Layers, lower: np.ndarray, upper: np.ndarray) -> tuple[list[float], list[float]]:
    lows, ups = [], []
    for weight, bias in layers[:-1]:
        w = weight.astype(float)
        middle, radius = w @ (lower + upper) / 2 + bias, np.abs(w) @ (upper - lower) / 2
        lower, upper = middle - radius, middle + radius
        lows, ups = [*lows, *(lower - 1e-9)], [*ups, *(upper + 1e-9)]
        lower, upper = np.maximum(lower, 0), np.maximum(upper, 0)
    return lows, ups


# --- other graphs ------------------------------------------------------------------------------------------------


def graph_net(nodes: Sequence[tuple], tensors: dict[str, np.ndarray], shape: Sequence[int]) -> Network:
    """A network from ``(op, inputs, output, attributes)``; its input is ``x`` of ``shape``, its output ``y``."""
    made = [helper.make_node(op, list(inputs), [out], name=f"{op}_{out}", **kw) for op, inputs, out, kw in nodes]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return network_from_onnx(model.SerializeToString())


def convolution(seed: int, last: str = "Flatten") -> Network:
    """Conv (stride, pads), activation-free tail or residual blocks, by name of the case."""
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / 2).astype(np.float32)

    tensors = {"k0": floats(3, 2, 3, 3), "c0": floats(3), "k1": floats(3, 3, 3, 3), "c1": floats(3), "w": floats(27, 2)}
    nodes = [
        ("Conv", ["x", "k0", "c0"], "a", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["a"], "b", {}),
        ("Conv", ["b", "k1", "c1"], "c", {"pads": [1, 1, 1, 1]}),
    ]
    if last == "residual":
        tensors |= {"scale": floats(3), "shift": floats(3), "mean": floats(3), "var": floats(3) ** 2 + 0.1}
        nodes += [
            ("BatchNormalization", ["c", "scale", "shift", "mean", "var"], "d", {}),
            ("Add", ["d", "b"], "e", {}),
            ("LeakyRelu", ["e"], "f", {"alpha": -0.3}),
            ("MaxPool", ["f"], "g", {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}),
            ("AveragePool", ["g"], "h", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ]
    else:
        nodes += [("Sigmoid", ["c"], "h", {})]
    nodes += [("Flatten", ["h"], "i", {}), ("MatMul", ["i", "w"], "y", {})]
    return graph_net(nodes, tensors, (1, 2, 3, 3))
