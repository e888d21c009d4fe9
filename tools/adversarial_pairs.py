"""Queries about two networks whose answers are known exactly: is any verdict wrong?

``python -m tools.adversarial_pairs --networks 5000`` draws small ReLU and LeakyReLU networks of two inputs, whose
weights are multiples of a power of two. In exact arithmetic it cuts the square of inputs into the pieces on which both
are affine, and so knows how far the two are apart at most, or how steep one is. It asks about a threshold a little
below, at, or a little above that: a proof is wrong where the threshold is reached, and a counterexample that is none is
wrong in any case.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import network_from_layers
from birdnn.formats.relation_text import equivalence_query, monotone_query, steepness_query
from birdnn.pipeline.relating import verify_related
from birdnn.records import Proved, VerifySettings, Violated, Witness
from tools.asked import concluded, seeds_of

F = Fraction
Point: TypeAlias = tuple[Fraction, Fraction]
Layers: TypeAlias = list[tuple[list[list[Fraction]], list[Fraction]]]
Affine: TypeAlias = list[tuple[Fraction, Fraction, Fraction]]
"""A value for each entry: slopes along both inputs, and a constant."""

_SQUARE: list[Point] = [(F(-1), F(-1)), (F(1), F(-1)), (F(1), F(1)), (F(-1), F(1))]
_NEAR = (F(-1, 4), F(-1, 2**10), F(-1, 2**20), F(0), F(1, 2**20), F(1, 2**10), F(1, 4))
"""Thresholds, relative to what is attained; on average half of them are beyond it."""


def value_at(entry: tuple[Fraction, Fraction, Fraction], x: Point) -> Fraction:
    """Of an affine function."""
    return entry[0] * x[0] + entry[1] * x[1] + entry[2]


def cut(polygon: list[Point], line: tuple[Fraction, Fraction, Fraction]) -> dict[bool, list[Point]]:
    """What lies on either side of a line, True above zero; a side without an inner point is left out."""
    values = [value_at(line, corner) for corner in polygon]
    if min(values) >= 0 or max(values) <= 0:
        return {min(values) >= 0: polygon}
    sides: dict[bool, list[Point]] = {True: [], False: []}
    for i, (corner, value) in enumerate(zip(polygon, values, strict=True)):
        for above in (True, False):
            if value == 0 or (value > 0) == above:
                sides[above].append(corner)
        after, then = polygon[(i + 1) % len(polygon)], values[(i + 1) % len(polygon)]
        if value * then < 0:
            share = value / (value - then)
            met = (corner[0] + share * (after[0] - corner[0]), corner[1] + share * (after[1] - corner[1]))
            sides[True].append(met)
            sides[False].append(met)
    return sides


def pieces(
    layers: Layers, alpha: Fraction, polygon: list[Point], values: Affine | None = None
) -> Iterator[tuple[list[Point], Affine]]:
    """The convex pieces of a polygon on which a network is affine, and its outputs there."""
    values = [(F(1), F(0), F(0)), (F(0), F(1), F(0))] if values is None else values
    weight, bias = layers[0]
    before: Affine = [
        (
            sum((w * v[0] for w, v in zip(row, values, strict=True)), F(0)),
            sum((w * v[1] for w, v in zip(row, values, strict=True)), F(0)),
            sum((w * v[2] for w, v in zip(row, values, strict=True)), b),
        )
        for row, b in zip(weight, bias, strict=True)
    ]
    if len(layers) == 1:
        yield polygon, before
        return
    parts: list[tuple[list[Point], Affine]] = [(polygon, [])]
    for z in before:
        bent = {True: z, False: (alpha * z[0], alpha * z[1], alpha * z[2])}
        parts = [(part, [*done, bent[above]]) for whole, done in parts for above, part in cut(whole, z).items()]
    for part, after in parts:
        yield from pieces(layers[1:], alpha, part, after)


@dataclass(frozen=True)
class Drawn:
    """One or two networks, a query, and what is known of it.

    Attributes:
        networks: their layers, by the names of the query.
        alpha: of LeakyReLU; 0: ReLU.
        text: the query.
        violated: is there a counterexample over the reals?
        most: what a counterexample is beyond, see `breaks`.
    """

    kind: str
    networks: dict[str, Layers]
    alpha: Fraction
    text: str
    violated: bool
    most: Fraction

    def outputs(self, name: str, x: Point) -> list[Fraction]:
        """Of a network at a point, exactly."""
        ((_, values),) = pieces(self.networks[name], self.alpha, [x])
        return [value_at(entry, x) for entry in values]

    def breaks(self, x: Sequence[float]) -> bool:
        """Is this, inputs of f and then those of g, a counterexample?"""
        at_f, at_g = (F(x[0]), F(x[1])), (F(x[2]), F(x[3]))
        f, g = self.outputs("f", at_f), self.outputs("g" if "g" in self.networks else "f", at_g)
        if max(map(abs, (*at_f, *at_g))) > 1 or at_f[1] != at_g[1]:
            return False
        if self.kind == "apart":
            return at_f == at_g and max(abs(b - a) for a, b in zip(f, g, strict=True)) >= self.most
        if at_g[0] > at_f[0]:
            return False
        return f[0] < g[0] if self.kind == "monotone" else abs(f[0] - g[0]) > self.most * (at_f[0] - at_g[0])


def drawn(seed: int) -> Drawn:
    """What a seed stands for."""
    rng = np.random.default_rng(seed)
    kind = ("apart", "apart", "steep", "monotone")[seed % 4]
    alpha = F(int(rng.integers(0, 3)), 8)
    sizes = [2, *rng.integers(2, 6, rng.integers(1, 3)).tolist(), int(rng.integers(1, 3))]
    # half of the monotone ones are so by construction: along the first input every path has positive weights
    rising = kind == "monotone" and bool(rng.integers(0, 2))
    f: Layers = []
    for n, m in itertools.pairwise(sizes):
        weight = rng.integers(-16, 17, (m, n))
        if rising:
            weight = abs(weight) + 1
        f.append(([[F(int(w), 8) for w in row] for row in weight], [F(int(b), 8) for b in rng.integers(-8, 9, m)]))
    box = [(-1.0, 1.0)] * 2
    if kind == "apart":
        grain = 2 ** int(rng.integers(0, 9))
        g = [
            (
                [[w + F(int(rng.integers(-2, 3)), 8 * grain) for w in row] for row in weight],
                [b + F(int(rng.integers(-2, 3)), 8 * grain) for b in bias],
            )
            for weight, bias in f
        ]
        found = max(
            (
                abs(value_at(b, corner) - value_at(a, corner))
                for part, values in pieces(f, alpha, _SQUARE)
                for smaller, others in pieces(g, alpha, part)
                for a, b in zip(values, others, strict=True)
                for corner in smaller
            ),
        )
        most = _threshold(rng, found)
        text = equivalence_query(box, sizes[-1], float(most))
        return Drawn(kind, {"f": f, "g": g}, alpha, text, found >= most, most)
    slopes = [values[0][0] for _, values in pieces(f, alpha, _SQUARE)]
    if kind == "monotone":
        return Drawn(kind, {"f": f}, alpha, monotone_query(box, sizes[-1], 0, 0), min(slopes) < 0, F(0))
    most = _threshold(rng, max(map(abs, slopes)))
    text = steepness_query(box, sizes[-1], 0, 0, float(most))
    return Drawn(kind, {"f": f}, alpha, text, max(map(abs, slopes)) > most, most)


def _threshold(rng: np.random.Generator, found: Fraction) -> Fraction:
    """What a query says for a float64 about what was found, its shortest decimal; not zero."""
    return F(repr(float(found * (1 + _NEAR[rng.integers(len(_NEAR))])))) or F(1, 2**10)


def judged(made: Drawn, folder: Path) -> tuple[str, str]:
    """What the verdict was, and what is wrong with it."""
    files = {}
    for name, layers in made.networks.items():
        arrays = [(np.array(w, np.float64), np.array(b, np.float64)) for w, b in layers]
        float32 = [(w.astype(np.float32), b.astype(np.float32)) for w, b in arrays]
        assert all((a == b).all() for pair in zip(arrays, float32, strict=True) for a, b in zip(*pair, strict=True))
        net = network_from_layers(float32, "LeakyRelu" if made.alpha else "Relu", alpha=float(made.alpha))
        files[name] = folder / f"{name}.onnx"
        files[name].write_bytes(to_onnx_bytes(net))
    query = folder / "query.vnnlib"
    query.write_text(made.text, encoding="utf-8")
    settings = VerifySettings(timeout_s=2.0)  # undecided is no answer, whoever was slow
    verdict = verify_related(files, [query], settings=settings).verdicts[0].verdict
    if isinstance(verdict, Proved):
        return "proved", "proved, and there is a counterexample" if made.violated else ""
    if not isinstance(verdict, Violated):
        return "undecided", ""
    if verdict.witness.exactly is False:
        return "violated when run, undecided over the reals", ""
    return "violated", _objection(made, verdict.witness)


def _objection(made: Drawn, witness: Witness) -> str:
    if not made.breaks(witness.x):
        return f"the counterexample {witness.x} is none"
    return "" if made.violated else "the counterexample is one, and none was to be found: this tool is wrong"


def main() -> int:
    """Print a table; status 1 where a verdict is wrong."""
    seeds = seeds_of(__doc__)
    begun, count, bad = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="birdnn-") as scratch:
        for seed in seeds:
            made = drawn(seed)
            said, objection = judged(made, Path(scratch))
            count[f"{made.kind}, {'violated' if made.violated else 'holds'}: {said}"] += 1
            if objection:
                bad += 1
                print(f"WRONG: seed {seed}, {made.kind}: {objection}", flush=True)
    return concluded(seeds, count, bad, begun)


if __name__ == "__main__":
    raise SystemExit(main())
