"""Which neurons are bounded, in which order, and how large they can be: as docs/certificate.md says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from birdnn.certify.check.pairs.chain import Pair, join_chains
from birdnn.certify.check.pairs.floats import PairFloatEngine, PairFloatPass
from birdnn.certify.check.pairs.walk import PairWalk
from tests.certify.pairs.cases import KINDS, chain_of, drawn, moved
from tests.certify.producer import _empty_region

RELU = KINDS[0]
A = (1.0, 2.0), (-1.0, 1.0)
"""Bounds of two neurons: one is on, one is open."""
UNKNOWN = (-np.inf, np.inf), (-np.inf, np.inf)


def walk(shared: int) -> PairWalk:
    made = drawn(0, [1, 2, 2, 1])
    pair = join_chains(chain_of(made, RELU), chain_of(moved(made, 1, 0.1, shared), RELU), shared, "files", "proof")
    return PairWalk(pair, PairFloatEngine(pair), _empty_region([]), "test", False)


class Asked(PairFloatPass):
    """Notes which neurons it is asked for, and knows nothing of them."""

    def __init__(self) -> None:
        self.neurons_of: list[list[int]] = []

    def neurons(self, k: int, box: np.ndarray, neuron: np.ndarray, corners: Any) -> tuple[np.ndarray, np.ndarray]:
        self.neurons_of.append(neuron.tolist())
        nothing = np.full(len(box), np.inf)
        return -nothing, nothing


def asked(shared: int, k: int, ends: tuple[tuple[float, float], ...], anew: bool = True) -> list[list[int]]:
    pass_ = Asked()
    known = tuple(np.array([side]) for side in zip(*ends, strict=True))
    walk(shared)._bound_layer(pass_, k, RELU, known, np.array([anew]), (np.zeros((1, 1)), np.zeros((1, 1))))  # type: ignore[arg-type]
    return pass_.neurons_of


def test_networks_first_then_differences_that_are_no_known_multiple() -> None:
    """The first neuron is on in both, so that its difference is itself, and its bounds are those of both."""
    assert asked(1, 1, (*A, *A, *UNKNOWN)) == [[1, 3], [5]]
    assert asked(1, 1, (*A, *A, *UNKNOWN), anew=False) == []
    assert asked(1, 1, ((1.0, 2.0), (1.0, 2.0), (0.5, 1.0), (-2.0, -1.0), *UNKNOWN)) == [[5]]
    assert asked(1, 1, ((1.0, np.inf), (1.0, 2.0), (0.5, np.inf), (1.0, 2.0), *UNKNOWN)) == [[4]]


def test_the_first_layer_and_shared_ones() -> None:
    assert asked(0, 0, (*A, *A, *UNKNOWN)) == [[0, 1, 2, 3, 4, 5]]
    assert asked(2, 1, A) == [[1]]
    assert asked(1, 0, A) == [[0, 1]]


def test_the_first_layers_blocks_agree() -> None:
    """Of the first layer as well, where it is not shared."""
    l, u = np.array([[0.0, 0.0, 2.0, 2.0, -np.inf, -np.inf]]), np.array([[1.0, 1.0, 4.0, 4.0, np.inf, np.inf]])
    walk(0)._bound_layer(Asked(), 0, RELU, (l, u), np.array([True]), (l, u))
    assert l[0, 4:] == pytest.approx([1, 1])
    assert u[0, 4:] == pytest.approx([4, 4])


@pytest.mark.parametrize("shared", [0, 1])
def test_how_large_neurons_can_be(shared: int) -> None:
    """A difference as much as its bounds and the steepest slope say, from layer ``shared`` on."""
    l, u = (np.array([side]) for side in zip(*A, *A, (-0.5, 0.25), (-3.0, 2.0), strict=True))
    nothing = np.zeros_like(l)
    assert walk(shared)._layer_magnitude(shared, RELU, l, u, nothing)[0] == pytest.approx([2, 1, 2, 1, 0.5, 3])
    shared_one = walk(shared + 1)._layer_magnitude(shared, RELU, l[:, :2], u[:, :2], nothing[:, :2])
    assert shared_one[0] == pytest.approx([2, 1])


def test_a_walk_wants_both_networks() -> None:
    made: Any = walk(0)
    made.network = chain_of(drawn(0, [1, 2, 1]), RELU)
    assert not isinstance(made.network, Pair)
    with pytest.raises(TypeError, match="needs them as one chain"):
        made._layer_widths()
