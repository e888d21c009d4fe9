"""Small pairs of networks, as exact chains and as files, and queries about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from birdnn.certify.check.certificate import Region
from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Activation, Chain, Layer, exact_array
from birdnn.certify.check.pairs.chain import Pair, join_chains
from birdnn.certify.check.pairs.exact import PairExactEngine
from birdnn.certify.check.pairs.floats import PairFloatEngine
from birdnn.certify.check.pairs.walk import PairWalk
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Batch, Items
from birdnn.formats.onnx import layers_to_onnx
from tests.certify.producer import _empty_region

Layers = list[tuple[np.ndarray, np.ndarray]]
KINDS = (
    Activation("relu", 0.0),
    Activation("leaky_relu", 0.25),
    Activation("leaky_relu", 2.0),
    Activation("leaky_relu", -0.5),
)


def drawn(seed: int, sizes: Sequence[int]) -> Layers:
    """Random layers, float32."""
    draw = np.random.default_rng(seed)
    return [
        ((draw.normal(size=(o, i)) * np.sqrt(2 / i)).astype(np.float32), (draw.normal(size=o) * 0.3).astype(np.float32))
        for i, o in pairwise(sizes)
    ]


def moved(made: Layers, seed: int, size: float, shared: int = 0) -> Layers:
    """The same with noise on all layers but the first ``shared``."""
    draw = np.random.default_rng(seed)
    return [
        (w, b) if k < shared else tuple((part + draw.normal(0, size, part.shape)).astype(np.float32) for part in (w, b))
        for k, (w, b) in enumerate(made)
    ]  # type: ignore[misc]


def chain_of(made: Layers, act: Activation) -> Chain:
    """As the checker would read it."""
    layers = []
    for k, (weight, bias) in enumerate(made):
        w, b = exact_array(weight.astype(np.float64)), exact_array(bias.astype(np.float64))
        layers.append(Layer(w, b, w * 0, b * 0, Fraction(1), act if k < len(made) - 1 else None))
    return Chain(tuple(layers), made[0][0].shape[1], len(made[-1][1]), True)


def scaled(made: Layers, powers: Sequence[int]) -> Layers:
    """Layers times powers of two, in float64."""
    return [
        (np.ldexp(w.astype(float), p), np.ldexp(b.astype(float), p)) for (w, b), p in zip(made, powers, strict=True)
    ]


def values(pair: Pair, chains: Sequence[Chain], x: Sequence[Fraction]) -> list[list[Fraction]]:
    """Exact pre-activations of all blocks, layer by layer, the outputs last; each network by itself."""
    found = []
    h = [list(x), list(x)]
    for k in range(len(pair.layers)):
        z = []
        for n, chain in enumerate(chains):
            layer = chain.layers[k]
            z.append(
                [
                    sum((w * v for w, v in zip(row, h[n], strict=True)), c)
                    for row, c in zip(layer.weight, layer.bias, strict=True)
                ]
            )
            act = layer.activation
            if act is not None:
                h[n] = [v if v > 0 else Fraction(act.alpha) * v for v in z[n]]
        apart = [b - a for a, b in zip(*z, strict=True)]
        found.append(z[0] if k < pair.shared else [*z[0], *z[1], *apart])
    return found


@dataclass
class Bounded:
    """What an engine says of one box: bounds of all neurons, and a plane at points of it, ``scale`` times as large."""

    l: np.ndarray
    u: np.ndarray
    least: list[float]
    scale: Fraction


def bounded(
    pair: Pair,
    engine: PairFloatEngine | PairExactEngine,
    lower: np.ndarray,
    upper: np.ndarray,
    rows: tuple[Row, ...],
    points: Sequence[np.ndarray],
    draw: np.random.Generator,
) -> tuple[Bounded, np.ndarray]:
    """The box through the walk, and random multipliers of the rows in all forms with random slopes."""
    region: Region = _empty_region([rows])
    walk = PairWalk(pair, engine, region, "test", False)
    walk.rows = walk._padded_rows()
    ends = np.cumsum([0, *walk._layer_widths()])
    walk.spans = [slice(a, b) for a, b in pairwise(ends)]
    unknown = np.full((1, ends[-1]), np.inf)
    batch = Batch(np.zeros(1, int), lower[None], upper[None], -unknown, unknown.copy(), np.ones((1, 1), bool))
    multipliers = draw.integers(0, 3, (1, walk.rows.a.shape[1])) / 2.0
    slopes = []
    for k, span in enumerate(walk.spans):
        width = span.stop - span.start
        own = width if k < pair.shared else width // 3 * 2
        neuron = np.nonzero(draw.random(own) < 0.5)[0]
        act = pair.layers[k].activation
        ends_ = sorted((act.alpha, 1.0))
        slopes.append((np.zeros(len(neuron), int), neuron, ends_[0] + draw.random(len(neuron)) * (ends_[1] - ends_[0])))
    with np.errstate(all="ignore"):
        pass_ = walk._tighten_bounds(batch)
        zero = np.zeros(1, int)
        planes = pass_.planes(Items(zero, zero, multipliers, tuple(slopes)))
        least = [float(pass_.minimum(planes, zero, (x[None], x[None]))[0]) for x in points]
        scale = planes.scale if isinstance(engine, PairExactEngine) else 1
    return Bounded(batch.l[0], batch.u[0], least, Fraction(int(scale))), multipliers[0]


def contradictions(seed: int, *, exactly: bool = False, powers: int = 0, kind: int | None = None) -> list[str]:
    """What a bound of a random pair says of sampled points that is not true, exactly."""
    draw = np.random.default_rng(seed)
    act = KINDS[draw.integers(len(KINDS)) if kind is None else kind]
    sizes = [int(n) for n in (draw.integers(1, 4), *draw.integers(1, 5, draw.integers(1, 4)), draw.integers(1, 3))]
    made = drawn(seed, sizes)
    shared = int(draw.integers(0, len(made)))
    other = moved(made, seed + 1, 10.0 ** -draw.integers(0, 6), shared)
    shifts = draw.integers(-powers, powers + 1, len(made)).tolist()
    chains = tuple(chain_of(scaled(each, shifts), act) for each in (made, other))
    pair = join_chains(*chains, shared, "files", "proof")
    side = np.ldexp(1.0, int(draw.integers(-powers, powers + 1)))
    middle, half = draw.uniform(-1, 1, sizes[0]) * side, draw.choice([1e-3, 0.1, 1.0]) * side
    lower, upper = middle - half, middle + half
    points = [
        lower,
        upper,
        *(np.clip(lower + draw.random(sizes[0]) * (upper - lower), lower, upper) for _ in range(12)),
    ]
    m = sizes[-1]
    rows = tuple(
        Row(
            tuple(Fraction(int(v), 3) for v in draw.integers(-3, 4, 2 * m)),
            Fraction(int(draw.integers(-9, 9)), 7),
            False,
        )
        for _ in range(2)
    )
    engine = PairExactEngine(pair) if exactly else PairFloatEngine(pair)
    try:
        found, multipliers = bounded(pair, engine, lower, upper, rows, points, draw)
    except Rejected as error:
        return [] if exactly and "beyond the range of float64" in error.reason else [error.reason]
    wrong = []
    for x, least in zip(points, found.least, strict=True):
        layers = values(pair, chains, [Fraction(float(v)) for v in x])
        z = [value for layer in layers[:-1] for value in layer]
        for j, (low, value, high) in enumerate(zip(found.l, z, found.u, strict=True)):
            if (np.isfinite(low) and Fraction(float(low)) > value) or (
                np.isfinite(high) and Fraction(float(high)) < value
            ):
                wrong.append(f"neuron {j}: {float(value)} is not in {low} .. {high}")
        y = layers[-1][: 2 * m]
        true = sum(
            (
                Fraction(float(w))
                * (sum((c * v for c, v in zip(row.coefficients, y, strict=True)), Fraction(0)) - row.bound)
                for w, row in zip(multipliers, rows * 3, strict=True)
            ),
            Fraction(0),
        )
        if np.isfinite(least) and Fraction(least) > true * found.scale:
            wrong.append(f"a plane reaches {least}, the rows {float(true)}")
    return wrong


def written(folder: Path, name: str, made: Layers, op: str = "Relu", alpha: float | None = None) -> Path:
    """The file of a network."""
    path = folder / f"{name}.onnx"
    path.write_bytes(layers_to_onnx(made, op, alpha=alpha))
    return path
