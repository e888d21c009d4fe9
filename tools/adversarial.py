"""Networks made to break a proof: numbers from one end of a format to the other, sums whose order matters.

``python -m tools.adversarial --networks 10000`` asks the search, and the checker of whatever it proves, about
networks that *violate* their property: the right-hand side is what the network itself attains at a point of the box, in
exact arithmetic (semantics real) or in some float32 execution of it (semantics float32). So every ``proved`` is wrong.
The same networks are asked about a bound that is out of reach, which shows that the questions are not idle.

The families: `extreme` scales tensors by powers of two over the whole range of float32 or float64, often by one and
back by another, so that products of weights, or of weights and values, underflow or overflow on the way; `absorbing`
puts large terms that cancel beside small ones, so that the order of a sum decides what is left of these (the idea is
that of "No Soundness in the Real World", arXiv:2506.01054). One in five asks about a conjunction of up to 412 rows.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from flint import arb, ctx, fmpq
from onnx import TensorProto, helper, numpy_helper

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.protocol import MarginBound
from birdnn.certify.check import Rejected, check
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.chain import NotAChain
from birdnn.errors import BirdnnError
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.pipeline.claims import assumptions
from birdnn.records import Proved
from birdnn.rounding import Semantics
from birdnn.spec import Property
from birdnn.verify import AttackSettings, SearchSettings, verify
from birdnn.verify.bounding import make_bound
from tools.asked import Asked, concluded, seeds_of

PRECISION = 4096
"""Bits of exact evaluation; numbers of float64 and what a few layers make of them are sums of far fewer."""

Step = tuple[str, dict[str, np.ndarray], dict[str, float]]
"""An operator, its constants, its attributes."""


@dataclass(frozen=True)
class Made(Asked):
    """A network as a row of steps, its box, and a row of coefficients on its outputs; see `Asked`.

    Attributes:
        steps: in order, on row vectors.
    """

    steps: tuple[Step, ...]
    lower: np.ndarray
    upper: np.ndarray
    coefficients: tuple[Fraction, ...]
    dtype: type[np.floating[Any]]
    rows: int = 1

    def model(self) -> bytes:
        """The network as an ONNX file."""
        nodes, tensors, before = [], [], "X"
        for place, (op, constants, attributes) in enumerate(self.steps):
            names = [f"{name}_{place}" for name in constants]
            tensors += [numpy_helper.from_array(v, n) for n, v in zip(names, constants.values(), strict=True)]
            after = "Y" if place == len(self.steps) - 1 else f"v_{place}"
            node = helper.make_node(op, [before, *names], [after], name=f"{op}_{place}")
            node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
            nodes.append(node)
            before = after
        kind = TensorProto.FLOAT if self.dtype is np.float32 else TensorProto.DOUBLE
        ends = [
            helper.make_tensor_value_info(name, kind, ["N", size])
            for name, size in (("X", len(self.lower)), ("Y", len(self.coefficients)))
        ]
        graph = helper.make_graph(nodes, "adversarial", [ends[0]], [ends[1]], tensors)
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        return bytes(model.SerializeToString())


# --- families


def extreme(seed: int, dtype: type[np.floating[Any]] = np.float32) -> Made:
    """A network whose tensors are scaled up and down by powers of two of the whole range."""
    rng = np.random.default_rng(seed)
    widest, calm = (140, 110) if dtype is np.float32 else (1060, 900)

    def power(limit: int) -> int:
        choices = [0, int(rng.integers(-limit, limit + 1)), int(rng.integers(-20, 21))]
        return int(rng.choice(choices, p=[0.4, 0.35, 0.25]))

    def tensor(*shape: int, by: int) -> np.ndarray:
        with np.errstate(all="ignore"):
            made = np.ldexp(rng.normal(size=shape).astype(np.float64), by).astype(dtype)
        return np.where(np.isfinite(made), made, dtype(1.5))

    def scalings(width: int) -> Iterator[Step]:
        """Up or down and, mostly, back again."""
        total = 0
        for _ in range(rng.integers(0, 4)):
            by = -total if total and rng.random() < 0.4 else power(widest if rng.random() < 0.5 else calm)
            by = max(-widest, min(calm, by))
            total += by
            op = rng.choice(["Mul", "Mul", "Mul", "Div", "Add", "Sub"])
            if op == "Div":
                yield op, {"b": tensor(1, width, by=max(-calm, -by))}, {}
            else:
                yield str(op), {"b": tensor(1, width, by=by)}, {}

    n_in, n_out = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    widths = [n_in, *(int(v) for v in rng.integers(1, 5, rng.integers(0, 3))), n_out]
    op, attributes = _activation(rng)
    steps: list[Step] = list(scalings(n_in))
    for place, (a, b) in enumerate(pairwise(widths)):
        steps.append(("MatMul", {"w": tensor(a, b, by=power(calm))}, {}))
        if rng.random() < 0.7:
            steps.append(("Add", {"b": tensor(1, b, by=power(calm))}, {}))
        if rng.random() < 0.15:
            steps.append(_normalization(rng, b, dtype, power(calm // 3)))
        steps += scalings(b)
        if place < len(widths) - 2:
            steps.append((op, {}, attributes))
    lower, upper = np.sort(tensor(2, n_in, by=power(calm)), axis=0)
    ten = Fraction(10) ** int(rng.choice([0, 0, int(rng.integers(-330, 331))]))
    coefficients = tuple(ten * Fraction(int(v)) * Fraction(2) ** int(rng.choice([0, 0, int(rng.integers(-1200, 1200))]))
                         for v in rng.integers(-9, 10, n_out))  # fmt: skip
    if not any(coefficients):
        coefficients = (ten, *coefficients[1:])
    return Made(tuple(steps), lower, upper, coefficients, dtype)


def absorbing(seed: int, dtype: type[np.floating[Any]] = np.float32) -> Made:
    """A sum of large terms that cancel and small ones that count, then a slope that makes them seen."""
    rng = np.random.default_rng(seed)
    bits = 24 if dtype is np.float32 else 53
    n_in, width = int(rng.integers(1, 4)), int(rng.integers(4, 24))
    small = rng.integers(-4, 5, (n_in, 1)) / 4.0
    large = np.ldexp(rng.integers(1, 4), int(rng.integers(bits - 6, bits + 6)))
    signs = rng.permutation(np.resize([1.0, -1.0], width - width % 2))
    first = np.concatenate([np.zeros((n_in, len(signs))), np.repeat(small, 2, 1) * [1, -1]], axis=1)
    bias = np.concatenate([np.ones(len(signs)), rng.integers(-2, 3, 2) / 2.0])
    last = np.concatenate([signs * large, [1.0, -1.0]])
    op = str(rng.choice(["Relu", "LeakyRelu"]))
    gain = np.ldexp(1.0, int(rng.integers(-6, 7)))
    steps: list[Step] = [
        ("MatMul", {"w": first.astype(dtype)}, {}),
        ("Add", {"b": bias[None].astype(dtype)}, {}),
        (op, {}, {"alpha": 0.25} if op == "LeakyRelu" else {}),
        ("MatMul", {"w": last[:, None].astype(dtype)}, {}),
        ("Add", {"b": np.array([[rng.integers(-3, 4) / 2.0]], dtype=dtype)}, {}),
    ]
    if rng.random() < 0.6:
        steps += [("Relu", {}, {}), ("MatMul", {"w": np.array([[gain]], dtype=dtype)}, {})]
    ends = np.sort(rng.integers(-8, 9, (2, n_in)) / 4.0, axis=0).astype(dtype)
    return Made(tuple(steps), ends[0], ends[1], (Fraction(int(rng.choice([-1, 1]))),), dtype)


def _activation(rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    op = str(rng.choice(["Relu", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu"]))
    if op == "LeakyRelu":
        return op, {"alpha": float(np.float32(rng.choice([0.01, 0.5, -0.5, 1.5, 1e-40, 1e-30, 1e20])))}
    return op, {"alpha": float(np.float32(rng.choice([1.0, 0.3])))} if op == "Elu" else {}


def _normalization(rng: np.random.Generator, width: int, dtype: type[np.floating[Any]], by: int) -> Step:
    def numbers(power: int) -> np.ndarray:
        return np.ldexp(rng.normal(size=width), power).astype(dtype)

    constants = {"scale": numbers(by), "shift": numbers(0), "mean": numbers(-by), "var": np.abs(numbers(by))}
    return "BatchNormalization", constants, {"epsilon": 1e-5}


# --- what a network answers


def exactly(made: Made, x: np.ndarray) -> list[arb]:
    """Outputs at ``x`` as balls so small that they may count as points."""
    with ctx.workprec(PRECISION):
        value = [arb(_rational(v)) for v in x]
        for op, constants, attributes in made.steps:
            value = _step(op, {k: _balls(v) for k, v in constants.items()}, attributes, value)
        return value


def _step(op: str, c: dict[str, list[Any]], attributes: dict[str, float], z: list[arb]) -> list[arb]:
    alpha = arb(_rational(attributes.get("alpha", 0.01 if op == "LeakyRelu" else 1.0)))
    match op:
        case "MatMul":
            return [sum((a * row[j] for a, row in zip(z, c["w"], strict=True)), arb(0)) for j in range(len(c["w"][0]))]
        case "Add" | "Sub" | "Mul" | "Div":
            return [_OPERATIONS[op](a, b) for a, b in zip(z, c["b"][0], strict=True)]
        case "BatchNormalization":
            columns = zip(z, c["scale"], c["shift"], c["mean"], c["var"], strict=True)
            eps = arb(_rational(np.float32(attributes["epsilon"])))
            return [(a - mean) * scale / (var + eps).sqrt() + shift for a, scale, shift, mean, var in columns]
    return [_function(op, alpha, a) for a in z]


_OPERATIONS = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
}


def _function(op: str, alpha: arb, z: arb) -> arb:
    if op in ("Relu", "LeakyRelu"):
        slope = arb(0) if op == "Relu" else alpha
        return z if z > 0 else slope * z if z <= 0 else z.union(slope * z)
    if op == "Elu":
        return z if z > 0 else alpha * (z.expm1() if z > -5000 else arb(-1))
    if abs(z) > 5000:
        high = bool(z > 0)
        return arb(1 if high else 0) if op == "Sigmoid" else arb(1 if high else -1)
    return z.tanh() if op == "Tanh" else 1 / (1 + (-z).exp())


def _rational(value: Any) -> fmpq:
    return fmpq(*float(value).as_integer_ratio())


def _balls(values: np.ndarray) -> list[Any]:
    return [_balls(part) if part.ndim else arb(_rational(part)) for part in values]


def executions(made: Made, x: np.ndarray, rng: np.random.Generator, count: int = 12) -> Iterator[np.ndarray]:
    """What float32 executions return at ``x``: onnxruntime's, and others in random orders and manners.

    A third of them merges constants before they meet the input, as onnxruntime does with some.
    """
    session = onnxruntime.InferenceSession(made.model(), providers=["CPUExecutionProvider"])
    yield np.asarray(session.run(None, {"X": x[None]})[0])[0]
    with np.errstate(all="ignore"):
        for k in range(count):
            value = x
            for op, constants, attributes in _merged(made.steps, rng) if k % 3 == 0 else made.steps:
                value = _executed(op, constants, attributes, value, rng)
            yield value


def _merged(steps: Sequence[Step], rng: np.random.Generator) -> list[Step]:
    """The steps, some that follow each other replaced by one matrix and an addition, computed in float32."""
    merged: list[Step] = []
    for step in steps:
        before = merged[-2:] if merged and merged[-1][0] == "Add" and len(merged) > 1 else merged[-1:]
        maps = [_map(one) for one in (*before, step)]
        if len(maps) == 1 or None in maps or rng.random() < 0.3:
            merged.append(step)
            continue
        weight, shift = maps[-1]  # type: ignore[misc]
        for one in reversed(maps[:-1]):
            earlier, offset = one
            shift = shift + np.array([_dot(offset, column, rng) for column in weight.T], np.float32)
            weight = np.array([[_dot(row, column, rng) for column in weight.T] for row in earlier], np.float32)
        merged[len(merged) - len(before) :] = [("MatMul", {"w": weight}, {}), ("Add", {"b": shift[None]}, {})]
    return merged


def _map(step: Step) -> tuple[np.ndarray, np.ndarray] | None:
    """A step as ``z @ weight + shift`` in float32, None where it is none."""
    op, c, attributes = step
    if op == "MatMul":
        return c["w"], np.zeros(c["w"].shape[1], np.float32)
    if op == "BatchNormalization":
        factor = c["scale"] / np.sqrt(c["var"] + np.float32(attributes["epsilon"]))
        return np.diag(factor), c["shift"] - c["mean"] * factor
    if op in ("Add", "Sub"):
        shift = c["b"][0] if op == "Add" else -c["b"][0]
        return np.eye(len(shift), dtype=np.float32), shift
    if op in ("Mul", "Div"):
        factor = c["b"][0] if op == "Mul" else np.float32(1) / c["b"][0]
        return np.diag(factor), np.zeros_like(factor)
    return None


def _executed(
    op: str, c: dict[str, np.ndarray], attributes: dict[str, float], z: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    one = np.float32(1)
    match op:
        case "MatMul":
            return np.array([_dot(z, column, rng) for column in c["w"].T], dtype=np.float32)
        case "Add":
            return np.asarray(z + c["b"][0])
        case "Sub":
            return np.asarray(z - c["b"][0])
        case "Mul":
            return _flushed(z * c["b"][0], rng)
        case "Div":
            return _flushed(z / c["b"][0] if rng.random() < 0.5 else z * (one / c["b"][0]), rng)
        case "BatchNormalization":
            factor = c["scale"] / np.sqrt(c["var"] + np.float32(attributes["epsilon"]))
            if rng.random() < 0.5:
                return np.asarray((z - c["mean"]) * factor + c["shift"])
            return np.asarray(z * factor + (c["shift"] - c["mean"] * factor))
    tensor, alpha = torch.from_numpy(z), attributes.get("alpha", 0.0)
    match op:
        case "Relu":
            return torch.relu(tensor).numpy()
        case "LeakyRelu":
            return torch.nn.functional.leaky_relu(tensor, alpha).numpy()
        case "Elu":
            return torch.nn.functional.elu(tensor, alpha).numpy()
        case "Sigmoid":
            return torch.sigmoid(tensor).numpy()
        case "Tanh":
            return torch.tanh(tensor).numpy()
    raise ValueError(op)


def _dot(z: np.ndarray, column: np.ndarray, rng: np.random.Generator) -> np.float32:
    order, manner = rng.permutation(len(z)), rng.integers(4)
    if manner == 0:  # wide accumulator
        return np.float32(np.sum(z.astype(np.float64) * column))
    if manner == 3:  # two partial sums, as vector units have
        half = len(z) // 2
        return np.float32(_sum(z[order[:half]] * column[order[:half]]) + _sum(z[order[half:]] * column[order[half:]]))
    total = np.float32(0)
    for i in order:
        if manner == 1:  # fused
            total = np.float32(np.float64(z[i]) * np.float64(column[i]) + np.float64(total))
        else:
            total = np.float32(total + _flushed(z[i] * column[i], rng))
    return total


def _sum(terms: np.ndarray) -> np.float32:
    total = np.float32(0)
    for term in terms:
        total = np.float32(total + term)
    return total


def _flushed(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(np.abs(value) < 2.0**-126, np.float32(0), value) if rng.random() < 0.3 else value


# --- questions


def attained(made: Made, semantics: Semantics, rng: np.random.Generator) -> Fraction | None:
    """The least value of the row that was seen, rounded up; None where nothing finite was."""
    least: Fraction | None = None
    for x in made.points(rng):
        if semantics == "real":
            values = [_of_balls(made, exactly(made, x))]
        else:
            values = [_of_floats(made, y) for y in executions(made, x, rng)]
        for value in values:
            if value is not None and (least is None or value < least):
                least = value
    return None if least is None else _short(least)


def _short(value: Fraction) -> Fraction:
    """Not below ``value``, with 60 significant bits: a file can hold it."""
    power = value.numerator.bit_length() - value.denominator.bit_length() - 60
    scale = Fraction(2) ** power
    return math.ceil(value / scale) * scale


def _of_floats(made: Made, y: np.ndarray) -> Fraction | None:
    if not np.isfinite(y).all():
        return None
    return sum((c * Fraction(float(v)) for c, v in zip(made.coefficients, y, strict=True)), Fraction(0))


def _of_balls(made: Made, y: list[arb]) -> Fraction | None:
    with ctx.workprec(PRECISION):
        total = sum((arb(fmpq(c.numerator, c.denominator)) * v
                     for c, v in zip(made.coefficients, y, strict=True)), arb(0))  # fmt: skip
        if not total.is_finite():
            return None
        mantissa, exponent = total.upper().man_exp()
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


NO_ATTACK = AttackSettings(evaluations=16)
"""Only proofs are looked for."""

Answer = Literal["proved", "accepted", "not proved", "refused"]


def asked(made: Made, bound: Fraction, semantics: Semantics, folder: Path, boxes: int = 16) -> Answer:
    """What the search says of ``row <= bound`` being unsafe, and the checker of its certificate."""
    model, limits = (
        made.model(),
        SearchSettings(semantics=semantics, record=True, max_boxes=boxes, batch=16, attack=NO_ATTACK),
    )
    try:
        net, prop = network_from_onnx(model, check=False), made.property(bound)
        verdict = verify(net, prop, settings=limits, replays=[_Nobody()], bound=_by_loops)
    except BirdnnError:
        return "refused"
    if not isinstance(verdict, Proved):
        return "not proved"
    if not verdict.proofs:
        return "proved"
    return "accepted" if _accepted(model, net, prop, verdict, semantics, folder) else "proved"


def _accepted(model: bytes, net: Network, prop: Property, verdict: Proved, semantics: Semantics, folder: Path) -> bool:
    files = folder / "net.onnx", folder / "prop.vnnlib", folder / "certificate.json"
    files[0].write_bytes(model)
    files[1].write_text(prop.text)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files[:2]]
    prop = replace(prop, sha256=digests[1], path=str(files[1]))
    decided = [Certified(prop=prop, verdict=verdict)]
    assumed = assumptions(net, semantics)
    files[2].write_bytes(
        certificate_bytes(files[0], digests[0], decided, semantics=semantics, assumptions=assumed, tool="adversarial")
    )
    try:
        check(files[0], [files[1]], files[2])
    except (Rejected, BirdnnError):
        return False
    return True


def _by_loops(net: Network, limits: SearchSettings) -> MarginBound:
    """The bounds of a search, compiled even where a batch is too small to be worth it."""
    try:
        return CompiledBound(net, limits.crown, limits.semantics, limits.record, always=True)
    except NotAChain:
        return make_bound(net, limits)


class _Nobody:
    """A replay that no counterexample survives: only proofs are looked for."""

    name = "nobody"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.full(1, np.nan)


FAMILIES = {"extreme": extreme, "absorbing": absorbing}
WRONG: tuple[Answer, ...] = ("proved", "accepted")
"""Answers to a question about a bound that is attained."""


@dataclass(frozen=True)
class Question:
    """A network and what is asked of it; ``bound`` is None where it answers nothing finite anywhere."""

    family: str
    made: Made
    semantics: Semantics
    bound: Fraction | None


def questions(seed: int) -> Iterator[Question]:
    """Those of one seed."""
    family = "absorbing" if seed % 4 == 3 else "extreme"
    wide: type[np.floating[Any]] = np.float64 if family == "extreme" and seed % 8 == 1 else np.float32
    made = FAMILIES[family](seed, wide)
    if seed % 5 == 4:
        made = replace(made, rows=int(np.random.default_rng(seed).choice([2, 9, 40, 100, 150, 412])))
    semantics: tuple[Semantics, ...] = ("real",) if wide is np.float64 else ("real", "float32")
    for spoken in semantics:
        yield Question(family, made, spoken, attained(made, spoken, np.random.default_rng(seed)))


def out_of_reach(bound: Fraction) -> Fraction:
    """A bound that is most likely far from anything that the network answers."""
    return bound - max(abs(bound), Fraction(1)) * 2**60


def main() -> int:
    """Print a table; status 1 where something was proved that is wrong."""
    seeds = seeds_of(__doc__)
    begun, found, wrong = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, question in ((n, question) for n in seeds for question in questions(n)):
            about = f"{question.family:10} {question.made.dtype.__name__:8} {question.semantics:8}"
            if question.bound is None:
                found[f"{about} nothing finite"] += 1
                continue
            answer = asked(question.made, question.bound, question.semantics, folder)
            found[f"{about} attained      {answer}"] += 1
            if answer in WRONG:
                wrong += 1
                print(f"WRONG: seed {seed}, {about}: {answer}", flush=True)
            answer = asked(question.made, out_of_reach(question.bound), question.semantics, folder)
            found[f"{about} out of reach  {answer}"] += 1
    return concluded(seeds, found, wrong, begun)


if __name__ == "__main__":
    raise SystemExit(main())
