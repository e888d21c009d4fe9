"""Two networks whose layers correspond, and their difference, as one chain of blocks with exact constants.

Layers in which they are the same are one network's. From the first one that differs on there are three blocks: the
pre-activations of A, those of B, and B minus A. With ``d = h_B - h_A``, ``W_B h_B + b_B - (W_A h_A + b_A)`` is
``(W_B - W_A) h_A + W_B d + b_B - b_A``: an affine map of the blocks as the others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from birdnn.certify.check.certificate import FORMS
from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Activation, Chain, Exact, Layer, exact_array
from birdnn.certify.check.statement import Row
from birdnn.errors import FormatError

FOLLOWED = ("relu", "leaky_relu")
"""Activations behind which a difference is followed."""


@dataclass(frozen=True)
class Pair(Chain):
    """The chain of both networks and their difference.

    Attributes:
        n_outputs: of both; its last layer has those of A, B, and B minus A.
        shared: so many of its layers, from the inputs on, are one network's.
    """

    shared: int = 0

    @property
    def hidden(self) -> tuple[tuple[Activation | None, int], ...]:
        """See `Network.hidden`: no slopes are chosen for differences."""
        found: list[tuple[Activation | None, int]] = []
        for k, layer in enumerate(self.layers[:-1]):
            n = len(layer.bias)
            # Differences are counted as a hidden layer without an activation: nobody chooses their slopes.
            found += [(layer.activation, n)] if k < self.shared else [(layer.activation, n - n // 3), (None, n // 3)]
        return tuple(found)


def at_variables(chain: Chain, reads: Sequence[int], n_variables: int) -> Chain:
    """A network as a function of the variables: its input i is variable ``reads[i]``."""
    first = chain.layers[0]
    shape = len(first.bias), n_variables
    weight, error = exact_array(np.zeros(shape)), exact_array(np.zeros(shape))
    for i, variable in enumerate(reads):
        # Several inputs may be one variable: their columns add up.
        weight[:, variable] += first.weight[:, i]
        error[:, variable] += first.error_weight[:, i]
    layers = replace(first, weight=weight, error_weight=error), *chain.layers[1:]
    return replace(chain, layers=layers, n_inputs=n_variables)


def count_same_layers(one: Chain, other: Chain) -> int:
    """How many layers, from the inputs on, are the same exact numbers with the same activations."""
    for count, (a, b) in enumerate(zip(one.layers, other.layers, strict=False)):
        same = (a.activation, a.limited, a.weight.shape) == (b.activation, b.limited, b.weight.shape)
        if not same or bool((a.weight != b.weight).any()) or bool((a.bias != b.bias).any()):
            return count
    return min(len(one.layers), len(other.layers))


def join_chains(one: Chain, other: Chain, shared: int, path: str, where: str) -> Pair:
    """The chain of two networks, of which the first ``shared`` layers are one network's.

    Args:
        one, other: the networks, as functions of the same variables.
        shared: what the proof states of them.
        path, where: of their files, and of the proof, for messages.

    Raises:
        FormatError: their layers do not correspond, or have an activation behind which no difference is followed.
        Rejected: layers that are said to be the same are not, or the last ones are.
    """
    if reason := _why_not_joined(one, other):
        raise FormatError(path, "", f"this checker does not follow their difference: {reason}")
    # At least the last layer has blocks: rows ask for both networks' outputs.
    if not 0 <= shared < len(one.layers) or count_same_layers(one, other) < shared:
        raise Rejected(f"{where}: the first {shared} layers are not the same in both networks, or there is none behind")
    layers = [
        a if k < shared else _join_layers(a, b, first=k == shared)
        for k, (a, b) in enumerate(zip(one.layers, other.layers, strict=True))
    ]
    return Pair(tuple(layers), one.n_inputs, one.n_outputs + other.n_outputs, False, shared)


def _why_not_joined(one: Chain, other: Chain) -> str:
    """Why the difference is not followed; empty where it is."""
    if len(one.layers) != len(other.layers):
        return f"they have {len(one.layers)} and {len(other.layers)} layers"
    for number, (a, b) in enumerate(zip(one.layers, other.layers, strict=True), 1):
        if a.activation != b.activation:
            return f"the activations of layer {number} differ"
        if a.weight.shape != b.weight.shape:
            return f"layer {number} is of other sizes"
        if a.activation is not None and a.activation.kind not in FOLLOWED:
            return f"it does so behind ReLU and LeakyReLU only, and layer {number} has {a.activation.kind}"
    return ""


def _join_layers(one: Layer, other: Layer, *, first: bool) -> Layer:
    """Of two layers; in the ``first`` that differs all blocks read the same."""
    # Exactly: the difference of two weights that are nearly equal is what the proof rests on, and float64 would lose
    # it.
    apart = other.weight - one.weight
    if first:
        weight = np.concatenate([one.weight, other.weight, apart])
    else:
        nothing = exact_array(np.zeros(one.weight.shape))
        weight = np.block(
            [[one.weight, nothing, nothing], [nothing, other.weight, nothing], [apart, nothing, other.weight]]
        )
    bias = np.concatenate([one.bias, other.bias, other.bias - one.bias])
    return Layer(
        weight=weight,
        bias=bias,
        error_weight=_no_error(weight),
        error_bias=_no_error(bias),
        peak=max(one.peak, other.peak),
        activation=one.activation,
        limited=one.limited or other.limited,
    )


def _no_error(like: Exact) -> Exact:
    """What is stated of both networks is stated of the reals."""
    return exact_array(np.zeros(like.shape))


def rows_in_forms(polytopes: Sequence[Sequence[Row]]) -> tuple[tuple[Row, ...], ...]:
    """The rows of polytopes on A, B and B minus A: all as they stand, then with the difference for B, then for A.

    ``f A + g B`` is ``(f + g) A + g (B - A)`` and ``(f + g) B - f (B - A)``.
    """
    return tuple(tuple(_row_in_form(row, form) for form in range(FORMS) for row in rows) for rows in polytopes)


def _row_in_form(row: Row, form: int) -> Row:
    n = len(row.coefficients) // 2
    f, g = row.coefficients[:n], row.coefficients[n:]
    # The same number in three ways: over a box each has another bound, and an item may mix them.
    nothing = tuple(0 * value for value in f)
    total = tuple(a + b for a, b in zip(f, g, strict=True))
    blocks = (f, g, nothing), (total, nothing, g), (nothing, total, tuple(-value for value in f))
    first, second, apart = blocks[form]
    return replace(row, coefficients=(*first, *second, *apart))
