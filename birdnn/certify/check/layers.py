"""A network as the checker sees it: affine maps with exact constants, and activations between them.

Consecutive operations between two activations are folded into one affine map. Beside it goes what an execution in
single precision may add to it, by the rule under "Errors" in docs/certificate.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Exact = NDArray[np.object_]
"""An array of `Fraction`."""

UNIT = Fraction(1, 1 << 24)
"""Relative error of one rounding in single precision."""

TINY = Fraction(1, 1 << 126)
"""Absolute error of one operation below the normal numbers, flushed to zero or not."""


@dataclass(frozen=True)
class Activation:
    """An elementwise activation; ``alpha`` is LeakyReLU's slope, 0 for ReLU, or ELU's scale, as float64 (exact)."""

    kind: str
    alpha: float


@dataclass(frozen=True, eq=False)
class Layer:
    """``z = weight @ h + bias``, then the activation; the last layer has none.

    Attributes:
        weight, bias: exact, (out, in) and (out,).
        error_weight, error_bias: a single-precision execution differs by at most ``error_weight @ |h| + error_bias``.
        peak: no value on the way exceeds ``peak * max(1, largest |h|)``.
        limited: is the activation what it says only below the largest single-precision number, as Clip is?
    """

    weight: Exact
    bias: Exact
    error_weight: Exact
    error_bias: Exact
    peak: Fraction
    activation: Activation | None
    limited: bool = False


@runtime_checkable
class Network(Protocol):
    """What a proof tree needs to know of a network."""

    @property
    def n_inputs(self) -> int:
        """Entries of the input."""

    @property
    def n_outputs(self) -> int:
        """Entries of the output."""

    @property
    def single(self) -> bool:
        """Does the file compute in single precision?"""

    @property
    def hidden(self) -> tuple[tuple[Activation | None, int], ...]:
        """Activations in order, and how many neurons each has; None where it is none that lines with slopes bound."""


@dataclass(frozen=True)
class Chain:
    """A network of layers, each of which reads the one before."""

    layers: tuple[Layer, ...]
    n_inputs: int
    n_outputs: int
    single: bool

    @property
    def hidden(self) -> tuple[tuple[Activation | None, int], ...]:
        """See `Network.hidden`."""
        return tuple((layer.activation, len(layer.bias)) for layer in self.layers[:-1])

    @property
    def ends_in_relu(self) -> bool:
        """Are the inputs of the last layer never negative? Then its error is bounded by a linear function of them."""
        before = self.layers[-2].activation if len(self.layers) > 1 else None
        return before is not None and before.kind == "relu"


def exact_array(values: Any) -> Exact:
    """Floats or integers as an array of `Fraction`."""
    array = np.asarray(values)
    out = np.empty(array.shape, dtype=object)
    out.reshape(-1)[:] = [Fraction(value) for value in array.reshape(-1).tolist()]
    return out


class Fold:
    """Operations since the last activation, as one affine map of ``size`` entries.

    ``a h + c`` is the map and ``m_a |h| + m_c`` the same with absolute constants; ``a`` and ``m_a`` are diagonals (one
    axis) until the first matrix comes. ``roundings`` counts those between an entry of h and a result, ``flushed``
    bounds what underflow adds where the operations are done as they stand, and ``gain``, what all ``steps`` of them
    together make of an entry at most, what it adds where constants are merged before they meet h.
    """

    def __init__(self, size: int) -> None:
        # Diagonals until they have to be more: a matrix of fractions has as many numbers as its size squared.
        self.a, self.c = exact_array(np.ones(size)), exact_array(np.zeros(size))
        self.m_a, self.m_c = self.a, self.c
        self.flushed = self.c + TINY  # of what is read
        self.roundings, self.peak = 0, Fraction(1)
        self.steps, self.gain = 0, Fraction(1)

    def scale(self, by: Exact, roundings: int) -> None:
        size = _absolute_constants(by)
        self.a, self.m_a = _rows_times(by, self.a), _rows_times(size, self.m_a)
        self.c, self.m_c = by * self.c, size * self.m_c
        # What was flushed before grows with the factor; the constant and the product may be flushed as well.
        self.flushed = size * (self.flushed + TINY) + 2 * TINY
        self._count_step(roundings, max(size))

    def shift(self, by: Exact) -> None:
        size = _absolute_constants(by)
        self.c, self.m_c = self.c + by, self.m_c + size
        self.flushed = self.flushed + 3 * TINY
        self._count_step(1, 1 + max(size))

    def matrix(self, weight: Exact) -> None:
        size = _absolute_constants(weight)
        terms = weight.shape[1]
        self.a, self.m_a = _matrix_times(weight, self.a), _matrix_times(size, self.m_a)
        self.c, self.m_c = weight.dot(self.c), size.dot(self.m_c)
        self.flushed = size.dot(self.flushed + TINY) + 2 * terms * TINY
        # n products and n - 1 sums in any order, but n roundings on the way of any one term.
        self._count_step(terms, max(size.sum(axis=1)))

    def _count_step(self, roundings: int, gain: Fraction) -> None:
        self.roundings += roundings
        # Factors below 1 do not make up for larger ones: which are merged first the runtime chooses.
        self.steps, self.gain = self.steps + 1, self.gain * max(Fraction(1), gain)
        rows = self.m_a if self.m_a.ndim == 1 else self.m_a.sum(axis=1)
        self.peak = max(self.peak, *(rows + self.m_c + self.flushed))

    def layer(self, activation: Activation | None, *, limited: bool = False) -> Layer:
        """The map as a layer, with gamma = D u / (1 - D u); underflow may itself be enlarged on its way, by below 2."""
        spoilt = self.roundings * UNIT
        # The formula holds below one only; from a quarter on, an error so large that it proves nothing.
        gamma = spoilt / (1 - spoilt) if spoilt < Fraction(1, 4) else Fraction(1 << 126)
        merged = (self.steps + 1) * (self.roundings + 1) ** 2 * ceil(self.gain) * TINY
        weight, sizes = _dense_matrix(self.a), _dense_matrix(self.m_a)
        error_weight = gamma * sizes
        # Where no constant stands, none can be flushed.
        error_weight[sizes > 0] += merged
        error_bias = gamma * self.m_c + 2 * self.flushed + merged
        # Twice, as an error of gamma, below a third, comes on top; the gain bounds what merged constants make.
        return Layer(weight, self.c, error_weight, error_bias, max(2 * self.peak, self.gain), activation, limited)


def _absolute_constants(values: Exact) -> Exact:
    """Absolute values. A subnormal counts as 2**-102, so that gamma times it covers its being flushed to zero."""
    out = np.abs(values)
    out[(out > 0) & (out < TINY)] = TINY * (1 << 24)
    return out


def _rows_times(by: Exact, a: Exact) -> Exact:
    out: Exact = by * a if a.ndim == 1 else by[:, None] * a
    return out


def _matrix_times(weight: Exact, a: Exact) -> Exact:
    out: Exact = weight * a if a.ndim == 1 else weight.dot(a)
    return out


def _dense_matrix(a: Exact) -> Exact:
    if a.ndim == 2:
        return a
    out = exact_array(np.zeros((len(a), len(a))))
    np.fill_diagonal(out, a)
    return out


def activation_kinds(network: Network) -> set[str]:
    """The kinds of activations in a network."""
    return {activation.kind for activation, _ in network.hidden if activation is not None}
