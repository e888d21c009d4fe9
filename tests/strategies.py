"""Hypothesis strategies: small fully connected networks, and properties for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope, Property, Region, Row

ACTIVATIONS = ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh")

T = TypeVar("T")
Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


def undisturbed(make: Callable[[], T]) -> T:
    """What `make` gives. The checks of annotations draw from `random`, which Hypothesis forbids inside strategies."""
    state = random.getstate()
    try:
        return make()
    finally:
        random.setstate(state)


@st.composite
def layers(
    draw: st.DrawFn, *, max_inputs: int = 3, max_outputs: int = 3, max_width: int = 6, max_hidden: int = 3
) -> Layers:
    """Weights and biases of a small network, float32, of magnitude about one; some weights are exactly zero."""
    sizes = [draw(st.integers(1, max_inputs))]
    sizes += draw(st.lists(st.integers(1, max_width), min_size=1, max_size=max_hidden))
    sizes += [draw(st.integers(1, max_outputs))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sparse = draw(st.booleans())
    made: Layers = []
    for n_in, n_out in pairwise(sizes):
        weight = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in) * 1.5
        if sparse:
            weight *= rng.random(weight.shape) < 0.6
        made.append((weight.astype(np.float32), rng.normal(size=n_out).astype(np.float32)))
    return made


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    activations: tuple[str, ...] = ACTIVATIONS,
    max_inputs: int = 3,
    max_outputs: int = 3,
    max_width: int = 6,
    max_hidden: int = 3,
) -> Network:
    """A small fully connected network with one of the activations."""
    made = draw(layers(max_inputs=max_inputs, max_outputs=max_outputs, max_width=max_width, max_hidden=max_hidden))
    activation = draw(st.sampled_from(activations))
    alpha = draw(st.sampled_from([None, 0.25])) if activation in ("LeakyRelu", "Elu") else None
    return undisturbed(lambda: network_from_layers(made, activation, alpha=alpha))


def decimals(least: int = -2, most: int = 2) -> st.SearchStrategy[Fraction]:
    """Exact numbers with three decimals."""
    return st.integers(least * 1000, most * 1000).map(lambda value: Fraction(value, 1000))


@st.composite
def rows(draw: st.DrawFn, n_outputs: int) -> Row:
    """A half-space of outputs, as properties have them: small coefficients, sometimes strict."""
    coefficients = draw(st.lists(st.integers(-2, 2).map(Fraction), min_size=n_outputs, max_size=n_outputs))
    bound, strict = draw(decimals()), draw(st.booleans())
    return undisturbed(lambda: Row(tuple(coefficients), bound, strict))


@st.composite
def regions(draw: st.DrawFn, n_inputs: int, n_outputs: int) -> Region:
    """A box, degenerate in some inputs at times, with one to three unsafe polytopes."""
    pairs = [sorted(draw(st.tuples(decimals(), decimals()))) for _ in range(n_inputs)]
    polytopes = draw(st.lists(st.lists(rows(n_outputs), min_size=1, max_size=3), min_size=1, max_size=3))
    return undisturbed(
        lambda: Region(
            exact_lower=tuple(low for low, _ in pairs),
            exact_upper=tuple(high for _, high in pairs),
            unsafe=tuple(Polytope(rows=tuple(part), n_outputs=n_outputs) for part in polytopes),
        )
    )


@st.composite
def properties(draw: st.DrawFn, n_inputs: int, n_outputs: int, *, max_regions: int = 2) -> Property:
    """A property of one or more regions for networks of these sizes."""
    made = draw(st.lists(regions(n_inputs, n_outputs), min_size=1, max_size=max_regions))
    return undisturbed(lambda: Property(name="drawn", regions=tuple(made), n_inputs=n_inputs, n_outputs=n_outputs))


@st.composite
def networks_with_properties(
    draw: st.DrawFn, *, activations: tuple[str, ...] = ACTIVATIONS
) -> tuple[Network, Property]:
    """A small network and a property that fits it."""
    net = draw(networks(activations=activations))
    sizes = undisturbed(lambda: (net.n_inputs, net.n_outputs))
    return net, draw(properties(*sizes))
