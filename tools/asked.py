"""What a bound is asked about a network that violates: a box, a row, and a value of the row that is attained.

`tools.adversarial` and `tools.adversarial_graphs` make the networks and know what they attain.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.errors import BirdnnError
from birdnn.formats.onnx import network_from_onnx
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Property, Region, Row


def seeds_of(what: str | None) -> range:
    """The seeds that the command line asks for, as ``what`` explains it; torch takes one thread."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    return range(given.seed, given.seed + given.networks)


def concluded(seeds: range, count: Counter[str], wrong: int, begun: float) -> int:
    """Print how often what was found, since ``begun`` on the monotonic clock; the exit status, 1 where it is wrong."""
    for key in sorted(count):
        print(f"{count[key]:7}  {key}")
    print(f"{len(seeds)} networks, {wrong} wrong, {time.monotonic() - begun:.0f} s")
    return int(wrong > 0)


class Asked:
    """What is asked of a network whose box, row of coefficients, and type are known.

    Attributes:
        lower, upper: corners of the box, numbers of the network's own type.
        coefficients: of the row, exact.
        dtype: of all constants.
        rows: of the conjunction that is asked about, see `property`.
    """

    lower: np.ndarray
    upper: np.ndarray
    coefficients: tuple[Fraction, ...]
    dtype: type[np.floating[Any]]
    rows: int

    def model(self) -> bytes:
        """The network as an ONNX file."""
        raise NotImplementedError

    def points(self, rng: np.random.Generator, count: int = 6) -> np.ndarray:
        """Corners and other points of the box, (n, inputs), in the network's type."""
        n = len(self.lower)
        share = np.concatenate([rng.integers(0, 2, (count, n)), rng.random((2, n))])
        with np.errstate(all="ignore"):
            x = self.lower * (1 - share) + self.upper * share
        return np.asarray(np.clip(x.astype(self.dtype), self.lower, self.upper))

    def property(self, bound: Fraction) -> Property:
        """Unsafe: ``coefficients @ y <= bound``; in every other row, that it is not below either, or by a hair."""
        # a bound that is not below what is attained has 60 bits: rows closer than its last two would miss the point
        hair = max(abs(bound) / 2**58, max(abs(bound), *map(abs, self.coefficients)) / 2**900)
        below, above = Row(self.coefficients, bound), Row(tuple(-c for c in self.coefficients), hair - bound)
        polytope = Polytope(rows=((below, above) * self.rows)[: self.rows], n_outputs=len(self.coefficients))
        corners = [tuple(Fraction(float(v)) for v in side) for side in (self.lower, self.upper)]
        region = Region(exact_lower=corners[0], exact_upper=corners[1], unsafe=(polytope,))
        return Property(name="made", regions=(region,), n_inputs=len(corners[0]), n_outputs=len(self.coefficients),
                        text=_vnnlib(region))  # fmt: skip


def _vnnlib(region: Region) -> str:
    rows = region.unsafe[0].rows
    n, m = region.n_inputs, len(rows[0].coefficients)

    def number(value: Fraction) -> str:
        sign, value = ("- ", -value) if value < 0 else ("", value)
        # every number here is a binary fraction, so that its decimals end; as a quotient it is shorter
        text = f"{value.numerator}.0" if value.denominator == 1 else f"(/ {value.numerator}.0 {value.denominator}.0)"
        return f"({sign}{text})" if sign else text

    lines = [f"(declare-const X_{i} Real)" for i in range(n)] + [f"(declare-const Y_{j} Real)" for j in range(m)]
    lines += [f"(assert (>= X_{i} {number(v)}))" for i, v in enumerate(region.exact_lower)]
    lines += [f"(assert (<= X_{i} {number(v)}))" for i, v in enumerate(region.exact_upper)]
    for row in rows:
        terms = " ".join(f"(* {number(c)} Y_{j})" for j, c in enumerate(row.coefficients))
        lines.append(f"(assert (<= (+ {terms} 0.0) {number(row.bound)}))")
    return "\n".join(lines) + "\n"


def bounds_of(made: Asked, semantics: Semantics) -> Iterator[Any]:
    """The bound methods that take the network."""
    net = network_from_onnx(made.model(), check=False)
    known = semantics == "real" or net.graph.batched
    makers: tuple[Callable[[], Any], ...] = (
        lambda: CrownBound(net, torch.device("cpu"), semantics=semantics),
        lambda: CompiledBound(net, semantics=semantics, always=True),
        lambda: IntervalBound(net, torch.device("cpu"), semantics=semantics),
        *((lambda: GraphBound(net, torch.device("cpu"), None, semantics),) if known else ()),
    )
    for make in makers:
        try:
            yield make()
        except BirdnnError:
            continue


def lowest(bound: MarginBound, made: Asked, value: Fraction) -> Fraction | None:
    """The bound of ``row - value`` over the whole box, in units of the row; None where nothing is claimed.

    Raises:
        ValueError: the bound is not a number, or infinite.
    """
    prop = made.property(value)
    region = prop.regions[0]
    boxes = Boxes(region.lower[None], region.upper[None])
    question = Question.of(region.unsafe, region.unsafe[0].n_outputs, torch.device("cpu"))
    opened = torch.ones(1, 1, dtype=torch.bool)
    lower = float(bound.bound(question, boxes, opened, bound.root(1)).lower)
    if not lower < math.inf:
        raise ValueError(f"{bound.name} answers {lower}")
    return None if lower == -math.inf else Fraction(lower)
