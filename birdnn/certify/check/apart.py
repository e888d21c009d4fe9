"""How far two networks are apart, where exact arithmetic says it at once: where they differ by constants alone.

Both files are read and folded by this checker. Where all layers but the last are the same exact numbers, and so are the
weights of the last, the outputs of one are those of the other and a constant more, at every input there is.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from birdnn.certify.check import files
from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Chain
from birdnn.certify.check.network import read_network
from birdnn.errors import MismatchError


def constants_apart(before: str | Path, after: str | Path, most: float | None = None) -> tuple[Fraction, ...]:
    """What the outputs of a network are more than those of another, over the reals, at every input.

    Args:
        before, after: ONNX files.
        most: what no output may differ by more than.

    Raises:
        FormatError, MismatchError: a file is no chain that this checker reads, or they have other inputs or outputs.
        Rejected: they differ by more than constants, of which this says nothing, or by more than `most`.
    """
    one, other = (read_network(files.read_file(path)) for path in (before, after))
    if (one.n_inputs, one.n_outputs) != (other.n_inputs, other.n_outputs):
        sizes = f"{one.n_inputs} inputs and {one.n_outputs} outputs, and {after} {other.n_inputs} and {other.n_outputs}"
        raise MismatchError(f"{before} has {sizes}: they cannot be compared")
    if told := _first_difference(one, other):
        raise Rejected(f"{told}, so that the networks differ by more than constants: of that nothing is said here")
    apart = tuple(other.layers[-1].bias - one.layers[-1].bias)
    worst = max(range(len(apart)), key=lambda output: abs(apart[output]))
    if most is not None and abs(apart[worst]) > Fraction(most):
        raise Rejected(f"output {worst} differs by {float(apart[worst])!r}, which is more than {most!r}")
    return apart


def _first_difference(one: Chain, other: Chain) -> str:
    """The first layer that differs in more than the last constants; empty where none does."""
    if len(one.layers) != len(other.layers):
        return f"they have {len(one.layers)} and {len(other.layers)} layers"
    for number, (mine, its) in enumerate(zip(one.layers, other.layers, strict=True), 1):
        # Only behind the last activation a constant stays a constant.
        last = number == len(one.layers)
        if (mine.activation, mine.limited) != (its.activation, its.limited):
            return f"layer {number} has other activations"
        # Exact numbers, so that equal means equal; shapes first, as NumPy would repeat one of them.
        if mine.weight.shape != its.weight.shape or bool((mine.weight != its.weight).any()):
            return f"layer {number} has other weights"
        if not last and bool((mine.bias != its.bias).any()):
            return f"layer {number} has another bias"
    return ""
