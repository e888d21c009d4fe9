"""`ExactEngine` of two networks and their difference; and their exact outputs."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq

from birdnn.certify.check.exact import EVALUATION_PRECISION, ExactEngine, ExactPass, fmpq_of_float, fmpq_of_fraction
from birdnn.certify.check.exact import evaluate as evaluate_one
from birdnn.certify.check.layers import Chain
from birdnn.certify.check.lines import Floats
from birdnn.certify.check.lines import default_slopes as slopes_of_networks
from birdnn.certify.check.pairs.chain import Pair
from birdnn.certify.check.pairs.lines import Slants, default_slopes, slants
from birdnn.certify.check.tree import Rows


class PairExactEngine(ExactEngine):
    """`Engine` in exact arithmetic.

    Args:
        pair: both networks.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair, False)
        self.shared = pair.shared

    def start(self, rows: Rows, boxes: int) -> PairExactPass:
        """Nothing known yet about ``boxes`` boxes."""
        return PairExactPass(self, rows)


class PairExactPass(ExactPass):
    """`ExactPass` with lines of their own around differences."""

    engine: PairExactEngine

    def __init__(self, engine: PairExactEngine, rows: Rows) -> None:
        super().__init__(engine, rows)
        self._slants: list[Slants | None] = []

    def _default_slopes(self, k: int, l: Floats, u: Floats) -> tuple[Floats, Floats]:
        if k < self.engine.shared:
            self._slants.append(None)
            return super()._default_slopes(k, l, u)
        act, own = self.engine.activations[k], l.shape[1] // 3 * 2
        slanted = slants(act, l, u)
        # `relax` goes through the layers in order and asks for slopes first; the offsets need the same multiples.
        self._slants.append(slanted)
        usual, apart = slopes_of_networks(act, l[:, :own], u[:, :own]), default_slopes(slanted, l[:, own:], u[:, own:])
        low, high = (np.concatenate(both, 1) for both in zip(usual, apart, strict=True))
        return low, high

    def _gap_extremes(self, k: int, i: int, j: int, s: fmpq) -> tuple[fmpq, fmpq]:
        slanted, (l, u, _) = self._slants[k], self.bounds[k]
        own = l.shape[1] // 3 * 2
        if slanted is None or j < own:
            return super()._gap_extremes(k, i, j, s)
        (low_m, low_M), (up_m, up_M) = (
            tuple(fmpq_of_float(side[i, j - own]) for side in both) for both in (slanted.below, slanted.above)
        )
        ends = fmpq_of_float(l[i, j]), fmpq_of_float(u[i, j])
        # A concave function of d below, a convex one above: extreme at an end.
        below = min((low_m if d > 0 else low_M) * d - s * d for d in ends)
        return below, max((up_M if d > 0 else up_m) * d - s * d for d in ends)


def evaluate(chains: Sequence[Chain], x: Sequence[Fraction], *, beside: bool = False) -> list[Any]:
    """The exact outputs of both networks at the variables, one's behind the other's, and these where they are asked for
    ``beside`` the outputs: fractions, or balls."""
    found = [value for chain in chains for value in evaluate_one(chain, x)] + (list(x) if beside else [])
    # All or none, as `certainly_holds` looks at the first only.
    if any(isinstance(value, arb) for value in found):
        with ctx.workprec(EVALUATION_PRECISION):
            return [value if isinstance(value, arb) else arb(fmpq_of_fraction(value)) for value in found]
    return found
