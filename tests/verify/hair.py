"""Networks with thresholds within rounding of their true greatest output, which is known exactly.

    python -m tests.verify.hair COUNT [SEED]

Every network is a sum of small ReLU networks of one input each, whose greatest values over an interval are found at its
ends and at their kinks, in rationals.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats.onnx import layers_to_onnx, network_from_layers
from birdnn.records import Proved, Unknown, Verdict, Violated
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Property, Region, Row
from birdnn.verify import AttackSettings, SearchSettings, verify

Layers = list[tuple[np.ndarray, np.ndarray]]
ATTACK = AttackSettings(evaluations=2500)


@dataclass(frozen=True)
class Hair:
    """A network and a property: never an output of at least ``greatest + gap``."""

    layers: Layers
    prop: Property
    gap: Fraction


def hair(seed: int) -> Hair:
    """A case from a seed; some thresholds are reached, others are missed, all by a few float32 roundings at most."""
    draw = np.random.default_rng(seed)
    inputs, hidden, width = int(draw.integers(1, 3)), int(draw.integers(1, 3)), int(draw.integers(1, 4))
    blocks = [_block(draw, hidden, width, biased=index == 0) for index in range(inputs)]
    lower = [Fraction(float(np.float32(draw.uniform(-1, 0)))) for _ in range(inputs)]
    upper = [low + Fraction(float(2.0 ** draw.integers(-30, 1))) for low in lower]
    greatest = sum((_greatest(*case) for case in zip(blocks, lower, upper, strict=True)), Fraction(0))
    ulp = Fraction(float(np.spacing(np.float32(max(abs(float(greatest)), 1e-3)))))
    gap = ulp * Fraction(int(draw.integers(-4000, 4000)), 1000) * (Fraction(1, 100) if draw.random() < 0.3 else 1)
    row = Row((Fraction(-1),), -(greatest + gap))
    region = Region(exact_lower=tuple(lower), exact_upper=tuple(upper), unsafe=(Polytope(rows=(row,), n_outputs=1),))
    layers = [_diagonal([block[k] for block in blocks], last=k == hidden) for k in range(hidden + 1)]
    return Hair(layers, Property(name=f"hair {seed}", regions=(region,), n_inputs=inputs, n_outputs=1), gap)


def _block(draw: np.random.Generator, hidden: int, width: int, *, biased: bool) -> Layers:
    """One of the sum, of which only the first has a bias at its end."""
    sizes = [1, *[width] * hidden, 1]
    layers = [
        (draw.normal(size=(o, i)).astype(np.float32), draw.normal(size=o).astype(np.float32))
        for i, o in pairwise(sizes)
    ]
    return layers if biased else [*layers[:-1], (layers[-1][0], np.zeros(1, np.float32))]


def _diagonal(parts: Layers, *, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Blocks side by side; the last layer adds them."""
    if last:
        return np.concatenate([weight for weight, _ in parts], axis=1), parts[0][1]
    rows, columns = (sum(weight.shape[axis] for weight, _ in parts) for axis in (0, 1))
    weight, row, column = np.zeros((rows, columns), np.float32), 0, 0
    for part, _ in parts:
        weight[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return weight, np.concatenate([bias for _, bias in parts])


def _greatest(layers: Layers, lower: Fraction, upper: Fraction) -> Fraction:
    return max(_value(layers, x) for x in _kinks(layers, lower, upper))


def _exact(layers: Layers) -> list[tuple[list[list[Fraction]], list[Fraction]]]:
    return [([[Fraction(float(w)) for w in row] for row in a], [Fraction(float(b)) for b in c]) for a, c in layers]


def _pre_activations(layers: Layers, x: Fraction) -> list[list[Fraction]]:
    values, found = [x], []
    for weight, bias in _exact(layers):
        z = [sum((w * v for w, v in zip(row, values, strict=True)), b) for row, b in zip(weight, bias, strict=True)]
        found.append(z)
        values = [max(v, Fraction(0)) for v in z]
    return found


def _value(layers: Layers, x: Fraction) -> Fraction:
    return _pre_activations(layers, x)[-1][0]


def _kinks(layers: Layers, lower: Fraction, upper: Fraction) -> list[Fraction]:
    """The ends, and every point between at which some neuron crosses zero: between neighbours all are linear."""
    points = [lower, upper]
    for depth in range(len(layers) - 1):
        more = list(points)
        for left, right in pairwise(points):
            ends = [_pre_activations(layers, x)[depth] for x in (left, right)]
            more += [left + (right - left) * a / (a - b) for a, b in zip(*ends, strict=True) if a * b < 0]
        points = sorted(set(more))
    return points


def decide(case: Hair, semantics: Semantics = "real") -> Verdict:
    """Our verdict; the engine is onnxruntime."""
    settings = SearchSettings(semantics=semantics, max_boxes=20_000, timeout_s=20.0, attack=ATTACK)
    net = network_from_layers(case.layers)
    return verify(net, case.prop, settings=settings, replays=[OnnxReplay(layers_to_onnx(case.layers))])


def word(case: Hair, verdict: Verdict) -> str:
    """What kind of answer it is; ``wrong ...`` for one that is not true."""
    holds = case.gap > 0  # over the reals
    match verdict:
        case Proved(executed=None):
            return "unsat" if holds else "wrong: proved"
        case Proved():
            return "unsat, a run violates" if holds else "wrong: proved"
        case Violated(witness=witness) if witness.exactly is None:
            return "wrong: not a word about the reals"
        case Violated(witness=witness) if witness.exactly:
            return "sat, both" if not holds else "wrong: violated over the reals"
        case Violated():
            return "sat when run, said so"
        case Unknown(over_reals=x) if x:
            return "unknown, the reals violate" if not holds else "wrong: violated over the reals"
    return "unknown"


def main(count: int, seed: int = 0) -> None:
    """Print how many answers of each kind there are."""
    found: Counter[str] = Counter()
    for n in range(count):
        case = hair(seed + n)
        found[word(case, decide(case))] += 1
    for kind, number in found.most_common():
        sys.stdout.write(f"{number:6,}  {kind}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
