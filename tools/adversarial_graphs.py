"""Graphs that a runtime rewrites: convolutions, pooling, joins and residuals, run by onnxruntime at each of its levels.

``python -m tools.adversarial_graphs --networks 1000`` draws networks whose neighbouring operations a runtime merges,
moves or lays out anew, runs them with all of onnxruntime's levels of optimisation and with torch, and asks every bound
that takes the network whether it is above what some execution returned (semantics float32), or what the network is in
exact arithmetic (semantics real). Half of the boxes are points, where a bound has nothing but its account of rounding.

`tools.adversarial` asks chains of fully connected layers, and the checker as well.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from birdnn.errors import BirdnnError, SpecError
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.rounding import Semantics
from birdnn.verify.balls import NotEvaluated
from birdnn.verify.exactly import OverReals
from tools.asked import Asked, bounds_of, concluded, lowest, seeds_of

LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
_MOST = 4096
"""Entries of a value, at most."""


@dataclass(frozen=True)
class Drawn(Asked):
    """A network, its box, and a row of coefficients on its outputs; see `Asked`.

    Attributes:
        graph: the ONNX model.
        shape: of the input.
    """

    graph: onnx.ModelProto
    shape: tuple[int, ...]
    lower: np.ndarray
    upper: np.ndarray
    coefficients: tuple[Fraction, ...]
    dtype: type[np.floating[Any]] = np.float32
    rows: int = 1

    def model(self) -> bytes:
        """The network as an ONNX file."""
        return bytes(self.graph.SerializeToString())


class Draft:
    """A graph in the making; the last of `live` is the value that the next node reads."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.own, self.computes = np.random.default_rng([seed, 1]), seed % 3 == 1
        self.manner = str(self.rng.choice(["calm", "wide", "absorbing"]))
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        pick = self.rng.random()
        if pick < 0.65:
            channels = int(self.rng.choice([1, 2, 3, 4, 8, 16], p=[0.2, 0.25, 0.2, 0.15, 0.1, 0.1]))
            sides = self.rng.integers(2, 6, 2)
            self.shape: tuple[int, ...] = (1, channels, int(sides[0]), int(sides[1]))
        elif pick < 0.85:
            self.shape = (1, int(self.rng.integers(1, 9)))
        else:
            self.shape = (1, int(self.rng.integers(1, 4)), int(self.rng.integers(1, 5)))
        self.live: list[tuple[str, tuple[int, ...]]] = [("X", self.shape)]
        self.power = 0  # the last value is about so many powers of two large

    @property
    def last(self) -> tuple[int, ...]:
        return self.live[-1][1]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def factors(self, *shape: int) -> np.ndarray:
        """Constants that multiply: of size one; far up or down and, mostly, back; or quarters and large powers."""
        values = self.rng.normal(size=shape)
        if self.manner == "wide" and self.chance(0.7):
            by = -self.power if self.power and self.chance(0.5) else int(self.rng.integers(-140, 121))
            by = min(max(by, -145, -150 - self.power), 120, 100 - self.power)
            self.power += by
            values = np.ldexp(values, by)
        return self._written(values)

    def terms(self, *shape: int) -> np.ndarray:
        """Constants that are added, of a size near that of what they are added to."""
        values = self.rng.normal(size=shape)
        if self.manner == "wide":
            values = np.ldexp(values, max(-145, min(100, self.power + int(self.rng.integers(-30, 31)))))
        return self._written(values)

    def _written(self, values: np.ndarray) -> np.ndarray:
        if self.manner == "absorbing":
            values = np.round(4 * values) / 4
            if self.chance(0.3):
                values = np.ldexp(np.sign(values + 0.1), self.rng.integers(18, 28, values.shape))
        return np.asarray(values, dtype=np.float32)

    def constant(self, values: np.ndarray | np.floating[Any]) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def number(self, values: np.ndarray) -> str:
        """A constant that weights, adds or scales; in a third of all networks nodes make every other one, of others."""
        if not self.computes or self.own.random() < 0.5:
            return self.constant(values)
        op, more = str(self.own.choice(["Identity", "Transpose", "Add", "Mul", "Mul"])), list[np.ndarray]()
        if op == "Transpose":  # of all axes, as it is without attributes
            values = values.T.copy()
        elif op != "Identity":
            wide = int(self.own.integers(-60, 61)) if self.manner == "wide" and op == "Mul" else 0
            more = [np.asarray(np.ldexp(self.own.normal(size=values.shape[-1:]), wide), np.float32)]
        name, inputs = f"k{len(self.nodes)}", [self.constant(each) for each in (values, *more)]
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{name}"))
        return name

    def put(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> None:
        """Append a node whose value has this shape."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{name}", **attributes))
        self.live.append((name, shape))

    def beside(self) -> tuple[int, ...]:
        """A shape that broadcasts against the last value without changing its shape."""
        last, kind = self.last, self.rng.integers(5)
        if kind == 0:
            return (1,)
        if kind == 1:
            return ()
        if kind == 2 and len(last) == 4:
            return (1, last[1], 1, 1)
        if kind == 3 and len(last) > 1:
            return (*(1,) * (len(last) - 1), last[-1])
        return last


Move = Callable[[Draft], None]
"""Appends nodes, or nothing where the last value does not fit."""


def _conv(draft: Draft) -> None:
    if len(draft.last) != 4:
        return
    rng, (_, channels, height, width) = draft.rng, draft.last
    kernel = [int(rng.integers(1, min(3, side) + 1)) for side in (height, width)]
    pads = [int(v) for v in rng.integers(0, 2, 4)] if draft.chance(0.5) else [0] * 4
    strides = [int(v) for v in rng.integers(1, 3, 2)] if draft.chance(0.3) else [1, 1]
    group = channels if draft.chance(0.2) else 1
    out = group * int(rng.integers(1, 3)) if group > 1 else int(rng.choice([1, 2, 3, 8, 16]))
    inputs = [draft.live[-1][0], draft.number(draft.factors(out, channels // group, *kernel))]
    if draft.chance(0.6):
        inputs.append(draft.number(draft.terms(out)))
    places = _places((height, width), kernel, strides, pads)
    draft.put("Conv", inputs, (1, out, *places), kernel_shape=kernel, pads=pads, strides=strides, group=group)


def _places(sides: tuple[int, ...], kernel: list[int], strides: list[int], pads: list[int]) -> list[int]:
    return [
        (side + pads[axis] + pads[axis + len(sides)] - kernel[axis]) // strides[axis] + 1
        for axis, side in enumerate(sides)
    ]


def _pool(draft: Draft) -> None:
    if len(draft.last) != 4:
        return
    name, (_, channels, height, width) = draft.live[-1]
    if draft.chance(0.2):
        draft.put("GlobalAveragePool", [name], (1, channels, 1, 1))
        return
    kernel = [int(draft.rng.integers(1, min(3, side) + 1)) for side in (height, width)]
    pads = [int(draft.rng.integers(0, k)) for k in (*kernel, *kernel)] if draft.chance(0.4) else [0] * 4
    strides = [int(v) for v in draft.rng.integers(1, 3, 2)]
    shape = (1, channels, *_places((height, width), kernel, strides, pads))
    op = str(draft.rng.choice(["AveragePool", "MaxPool"]))
    more = {"count_include_pad": int(draft.rng.integers(2))} if op == "AveragePool" else {}
    draft.put(op, [name], shape, kernel_shape=kernel, pads=pads, strides=strides, **more)


def _normalization(draft: Draft) -> None:
    if len(draft.last) not in (2, 4):
        return
    width = draft.last[1]
    scale, shift, mean = draft.factors(width), draft.terms(width), draft.terms(width)
    constants = [scale, shift, mean, np.abs(draft.factors(width)) + np.float32(draft.rng.choice([0, 1e-3]))]
    inputs = [draft.live[-1][0], *map(draft.constant, constants)]
    draft.put("BatchNormalization", inputs, draft.last, epsilon=1e-5)


def _arithmetic(draft: Draft) -> None:
    op = str(draft.rng.choice(["Add", "Sub", "Mul", "Div"]))
    shape, name = draft.beside(), draft.live[-1][0]
    values = draft.terms(*shape) if op in ("Add", "Sub") else draft.factors(*shape)
    if op == "Div":
        values = np.where(np.abs(values) < 2.0**-100, np.float32(1.5), values)
    first = op != "Div" and draft.chance(0.3)
    other = draft.constant(values) if op == "Div" else draft.number(values)
    draft.put(op, [other, name] if first else [name, other], draft.last)


def _activation(draft: Draft) -> None:
    op = str(draft.rng.choice(["Relu", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Clip"]))
    inputs, attributes = [draft.live[-1][0]], {}
    if op in ("LeakyRelu", "Elu"):
        attributes["alpha"] = float(np.float32(draft.rng.choice([0.1, 0.5, -0.5, 1.5])))
    if op == "Clip":
        inputs += [draft.constant(np.array(v, np.float32)) for v in (0.0, draft.rng.choice([6.0, 1.0]))]
    draft.put(op, inputs, draft.last, **attributes)
    if op in ("Sigmoid", "Tanh", "Clip"):
        draft.power = min(draft.power, 0)


def _join(draft: Draft) -> None:
    """A residual, or a concatenation with a value or a constant."""
    name, shape = draft.live[-1]
    if draft.chance(0.5):
        alike = [other for other, its in draft.live if its == shape]
        op = str(draft.rng.choice(["Add", "Add", "Sub"]))
        draft.put(op, [name, str(draft.rng.choice(alike))], shape)
        return
    others = [(other, its) for other, its in draft.live if _joins(its, shape)]
    if draft.chance(0.5):
        other, its = others[int(draft.rng.integers(len(others)))]
    else:
        its = (1, int(draft.rng.integers(1, 3)), *shape[2:])
        other = draft.constant(draft.terms(*its))
    pair = [(name, shape), (other, its)]
    order = [pair[k] for k in draft.rng.permutation(2)]
    joined = (1, shape[1] + its[1], *shape[2:])
    draft.put("Concat", [part for part, _ in order], joined, axis=1)


def _joins(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and one[2:] == other[2:]


def _layout(draft: Draft) -> None:
    name, shape = draft.live[-1]
    kind = draft.rng.integers(4)
    if kind == 0 and len(shape) > 2:
        perm = [0, *(int(v) + 1 for v in draft.rng.permutation(len(shape) - 1))]
        draft.put("Transpose", [name], tuple(shape[axis] for axis in perm), perm=perm)
    elif kind == 1 and shape[1] > 1:
        start = int(draft.rng.integers(0, shape[1] - 1))
        bounds = [draft.constant(np.array([v])) for v in (start, shape[1], 1)]
        draft.put("Slice", [name, *bounds], (1, shape[1] - start, *shape[2:]))
    elif kind == 2:
        draft.put("Flatten", [name], (1, math.prod(shape)))
    elif kind == 3 and len(shape) == 4:
        target = (1, shape[1] * shape[2], shape[3])
        draft.put("Reshape", [name, draft.constant(np.array(target))], target)


def _dense(draft: Draft) -> None:
    """Gemm, or MatMul with what may become one."""
    name, shape = draft.live[-1]
    wide, out = shape[-1], int(draft.rng.integers(1, 5))
    if wide > 600 or len(shape) == 4:
        return
    if len(shape) == 2 and draft.chance(0.4):
        turned = draft.chance(0.5)
        weight = draft.factors(*((out, wide) if turned else (wide, out)))
        inputs = [name, draft.number(weight)]
        if draft.chance(0.7):
            inputs.append(draft.number(draft.terms(*((out,) if draft.chance(0.5) else (1, out)))))
        factors = {"alpha": 0.5, "beta": -2.0} if draft.chance(0.3) else {}
        draft.put("Gemm", inputs, (1, out), transB=int(turned), **factors)
        return
    draft.put("MatMul", [name, draft.number(draft.factors(wide, out))], (*shape[:-1], out))
    if draft.chance(0.7):
        draft.put("Add", [draft.live[-1][0], draft.number(draft.terms(out))], (*shape[:-1], out))


def _sandwich(draft: Draft) -> None:
    """A product between two scalings by one number each."""
    for op in ("Mul", str(draft.rng.choice(["Mul", "Div"]))):
        draft.put(op, [draft.live[-1][0], draft.constant(np.abs(draft.factors()) + np.float32(2.0**-140))], draft.last)
        if op == "Mul":
            (_conv if len(draft.last) == 4 else _dense)(draft)


MOVES: tuple[tuple[Move, float], ...] = (
    (_conv, 0.2),
    (_arithmetic, 0.2),
    (_sandwich, 0.1),
    (_activation, 0.14),
    (_join, 0.14),
    (_dense, 0.12),
    (_normalization, 0.08),
    (_pool, 0.07),
    (_layout, 0.05),
)


def drawn(seed: int, weighted: Sequence[tuple[Move, float]] = MOVES, opset: int = 13) -> Drawn:
    """The network of a seed."""
    draft = Draft(seed)
    moves, weights = [move for move, _ in weighted], np.array([weight for _, weight in weighted])
    for _ in range(int(draft.rng.integers(2, 12))):
        before = len(draft.nodes), len(draft.live), len(draft.tensors)
        moves[int(draft.rng.choice(len(moves), p=weights / weights.sum()))](draft)
        if math.prod(draft.last) > _MOST:
            del draft.nodes[before[0] :], draft.live[before[1] :], draft.tensors[before[2] :]
    if not draft.nodes:
        _activation(draft)
    if len(draft.last) != 2:
        draft.put("Flatten", [draft.live[-1][0]], (1, math.prod(draft.last)))
    return _finished(draft, opset)


def _finished(draft: Draft, opset: int) -> Drawn:
    size, rng = math.prod(draft.last), draft.rng
    name, batch = draft.live[-1][0], 1 if draft.chance(0.5) else "N"
    values = [
        helper.make_tensor_value_info(of, TensorProto.FLOAT, [batch, *shape[1:]])
        for of, shape in (("X", draft.shape), (name, draft.last))
    ]
    graph = helper.make_graph(draft.nodes, "drawn", [values[0]], [values[1]], draft.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    n = math.prod(draft.shape)
    draft.power = 0
    ends = np.sort(draft.terms(2, n), axis=0)
    if draft.chance(0.5):
        ends[1] = ends[0]
    pick = np.zeros(size, dtype=np.int64)
    pick[rng.integers(size)] = rng.choice([-1, 1])
    if draft.chance(0.3):
        pick = rng.integers(-3, 4, size)
        pick[0] = pick[0] or 1
    return Drawn(model, draft.shape, ends[0], ends[1], tuple(Fraction(int(v)) for v in pick))


# --- what it answers


def sessions(made: Drawn) -> list[onnxruntime.InferenceSession]:
    """One of each level of optimisation at which onnxruntime can load its own graph.

    It merges padding into a pooling whose kernel is smaller, and then refuses the pooling.
    """
    found = []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, 1
        options.log_severity_level = 3
        with contextlib.suppress(Fail):
            found.append(onnxruntime.InferenceSession(made.model(), options, providers=["CPUExecutionProvider"]))
    return found


def executed(made: Drawn, net: Network) -> Iterator[np.ndarray]:
    """What executions in float32 return at points of the box."""
    run = sessions(made)
    for x in made.points(np.random.default_rng(0), count=3):
        reading = x.reshape(made.shape)
        for session in run:
            yield np.asarray(session.run(None, {"X": reading})[0]).reshape(-1)
        with torch.no_grad():
            yield net(torch.from_numpy(x[None])).numpy().reshape(-1)


def attained(made: Drawn, net: Network, semantics: Semantics) -> Fraction | None:
    """The least value of the row that was seen; None where nothing finite was, or nothing can be said exactly."""
    if semantics == "float32":
        rows = [
            sum((c * Fraction(float(v)) for c, v in zip(made.coefficients, y, strict=True)), Fraction(0))
            for y in executed(made, net)
            if np.isfinite(y).all()
        ]
        return min(rows, default=None)
    exact, least = OverReals(net), []
    for x in made.points(np.random.default_rng(0), count=2)[:2]:
        outputs = exact.outputs([float(v) for v in x])
        middle, spread = Fraction(0), Fraction(0)
        for index, c in enumerate(made.coefficients):
            mid, rad = outputs.fraction(index)
            middle, spread = middle + c * mid, spread + abs(c) * rad
        least.append(middle + spread)
    return min(least)


@dataclass(frozen=True)
class Found:
    """A bound that is above what the network attains."""

    seed: int
    bound: str
    semantics: Semantics
    above: float


def wrong(seed: int, count: Counter[str], draw: Callable[[int], Drawn] = drawn) -> Iterator[Found]:
    """The bounds of a seed's network that are above what it attains; all are counted."""
    made = draw(seed)
    net = network_from_onnx(made.model(), check=False)
    spoken: Semantics
    for spoken in ("float32", "real"):
        try:
            value = attained(made, net, spoken)
        except (NotEvaluated, BirdnnError):
            count[f"{spoken}: not evaluated"] += 1
            continue
        if value is None:
            count[f"{spoken}: nothing finite"] += 1
            continue
        for bound in bounds_of(made, spoken):
            try:
                lower = lowest(bound, made, value)
            except SpecError:  # no property can speak about such a number
                count[f"{spoken}: out of range"] += 1
                break
            said = "nothing claimed" if lower is None else "a bound"
            count[f"{spoken}, {bound.name}: {said}"] += 1
            if lower is not None and lower > 0:
                yield Found(seed, bound.name, spoken, float(lower))


def main(explained: str | None = __doc__, draw: Callable[[int], Drawn] = drawn) -> int:
    """Print a table; status 1 where a bound is wrong."""
    seeds = seeds_of(explained)
    begun, count, bad = time.monotonic(), Counter[str](), 0
    for seed in seeds:
        for found in wrong(seed, count, draw):
            bad += 1
            print(f"WRONG: {found}", flush=True)
    return concluded(seeds, count, bad, begun)


if __name__ == "__main__":
    raise SystemExit(main())
