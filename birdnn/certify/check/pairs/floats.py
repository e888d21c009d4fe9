"""`FloatEngine` of two networks and their difference."""

from __future__ import annotations

import numpy as np

from birdnn.certify.check.floats import FloatEngine, FloatPass
from birdnn.certify.check.lines import Floats
from birdnn.certify.check.lines import default_slopes as slopes_of_networks
from birdnn.certify.check.lines import line_offsets as offsets_of_networks
from birdnn.certify.check.pairs.chain import Pair
from birdnn.certify.check.pairs.lines import default_slopes, line_offsets, slants
from birdnn.certify.check.tree import Rows


class PairFloatEngine(FloatEngine):
    """`Engine` in float64.

    Args:
        pair: both networks.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair, False)
        self.shared = pair.shared

    def start(self, rows: Rows, boxes: int) -> PairFloatPass:
        """Nothing known yet about ``boxes`` boxes."""
        return PairFloatPass(self, rows)


class PairFloatPass(FloatPass):
    """`FloatPass` with lines of their own around differences."""

    engine: PairFloatEngine

    def _default_lines(self, k: int, l: Floats, u: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        if k < self.engine.shared:
            return super()._default_lines(k, l, u)
        act, own = self.engine.activations[k], l.shape[1] // 3 * 2
        # Two blocks of three are neurons of networks, with the lines that these have.
        networks = l[:, :own], u[:, :own]
        low, high = slopes_of_networks(act, *networks)
        usual = low, offsets_of_networks(act, *networks, low)[0], high, offsets_of_networks(act, *networks, high)[1]
        slanted, apart = slants(act, l, u), (l[:, own:], u[:, own:])
        low, high = default_slopes(slanted, *apart)
        below, above = line_offsets(slanted, *apart, low, high)
        both = zip(usual, (low, below, high, above), strict=True)
        low, below, high, above = (np.concatenate(sides, 1) for sides in both)
        return low, below, high, above
