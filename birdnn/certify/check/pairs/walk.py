"""The tree of a proof about two networks: bounds of a layer's blocks tighten each other."""

from __future__ import annotations

import numpy as np

from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import Flags, Floats, is_bent
from birdnn.certify.check.lines import largest_magnitude as magnitude_of_networks
from birdnn.certify.check.pairs.chain import Pair, rows_in_forms
from birdnn.certify.check.pairs.lines import largest_magnitude, slants, tighten_blocks
from birdnn.certify.check.tree import Corners, Pass, Rows, Walk, padded_rows


class PairWalk(Walk):
    """`Walk` of a `Pair`: neurons of both networks first, whose bounds may say what multiple a difference is."""

    @property
    def _pair(self) -> Pair:
        if not isinstance(self.network, Pair):
            raise TypeError("a walk of two networks needs them as one chain")
        return self.network

    def _layer_widths(self) -> list[int]:
        return [len(layer.bias) for layer in self._pair.layers[:-1]]

    def _padded_rows(self) -> Rows:
        return padded_rows(rows_in_forms(self.region.polytopes), len(self._pair.layers[-1].bias))

    def _bound_layer(self, pass_: Pass, k: int, act: Activation, known: Corners, anew: Flags, corners: Corners) -> None:
        # The first layer reads the inputs themselves: all of its blocks are bounded at once, in exact rows.
        if k < self._pair.shared or k == 0:
            super()._bound_layer(pass_, k, act, known, anew, corners)
            if k >= self._pair.shared:
                tighten_blocks(*known)
            return
        wanted = is_bent(act, *known) & anew[:, None]
        # The last of three blocks.
        apart = slice(-known[0].shape[1] // 3, None)
        wanted[:, apart] = False
        self._tighten_neurons(pass_, k, wanted, known, corners)
        # First both networks, whose bounds decide which differences are known multiples.
        tighten_blocks(*known)
        wanted = np.zeros_like(wanted)
        # A known multiple needs no bounds for its line, but finite ones for its size.
        bounded = np.isfinite(known[0][:, apart]) & np.isfinite(known[1][:, apart])
        wanted[:, apart] = ~(slants(act, *known).known & bounded) & anew[:, None]
        self._tighten_neurons(pass_, k, wanted, known, corners)
        tighten_blocks(*known)

    def _layer_magnitude(self, k: int, act: Activation, l: Floats, u: Floats, error: Floats) -> Floats:
        if k < self._pair.shared:
            return super()._layer_magnitude(k, act, l, u, error)
        own = l.shape[1] // 3 * 2
        networks = magnitude_of_networks(act, l[:, :own], u[:, :own], error[:, :own])
        return np.concatenate([networks, largest_magnitude(slants(act, l, u), l[:, own:], u[:, own:])], 1)
