"""Common relations between two networks, or between two runs of one, as queries of VNN-LIB 2.0.

Each describes what must not happen, as every property does; `birdnn verify --net f=A.onnx --net g=B.onnx` decides it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

from birdnn.errors import SpecError
from birdnn.formats.vnnlib_text import decimal_text

Box = Sequence[tuple[Fraction | float, Fraction | float]]
"""For each input its least and its greatest value."""


def equivalence_query(box: Box, n_outputs: int, epsilon: float) -> str:
    """On the same input no output of g differs from that of f by ``epsilon`` or more.

    Raises:
        SpecError: a range is empty, or ``epsilon`` is not positive.
    """
    _require(epsilon > 0, f"a difference must be positive, and {epsilon} is not")
    far = (_apart_cases(f"Y_f[{j}]", f"Y_g[{j}]", epsilon) for j in range(n_outputs))
    said = f"no output of g differs from that of f by {epsilon:g} or more"
    return _query_text(said, box, n_outputs, [*_equal_inputs(range(len(box))), _any_of(far)])


def decision_query(box: Box, n_outputs: int, decides: Literal["least", "greatest"]) -> str:
    """On the same input f and g have the same output in front: the least or the greatest, ties set aside.

    Raises:
        SpecError: a range is empty, or there is one output only.
    """
    _require(n_outputs > 1, "a decision is between at least two outputs")
    before, beyond = ("<=", "<") if decides == "least" else (">=", ">")
    cases = []
    for i in range(n_outputs):
        others = [j for j in range(n_outputs) if j != i]
        first = " ".join(f"({before} Y_f[{i}] Y_f[{j}])" for j in others)
        # f may be tied, g has to prefer another output strictly: ties are set aside
        cases += [f"(and {first} ({beyond} Y_g[{j}] Y_g[{i}]))" for j in others]
    return _query_text(
        f"the output that is {decides} in f is so in g",
        box,
        n_outputs,
        [*_equal_inputs(range(len(box))), _any_of(cases)],
    )


def monotone_query(
    box: Box, n_outputs: int, input: int, output: int, *, rising: bool = True, tolerance: float = 0.0
) -> str:
    """Where one input grows, and all others stay, an output does not fall; or, if not ``rising``, does not rise.

    With a ``tolerance`` it may by less than that. Where outputs are constant in places, as those of ReLU networks may
    be, only such a query can be proved.

    Raises:
        SpecError: a range is empty, there is no such input or output, or the tolerance is negative.
    """
    _require(tolerance >= 0, f"a tolerance is not negative, and {tolerance} is")
    _require_place(input, len(box), "input")
    _require_place(output, n_outputs, "output")
    sign, does = ("<", "fall") if rising else (">", "rise")
    rest = [i for i in range(len(box)) if i != input]
    grows = [*_bound_assertions("X_g", input, box[input]), f"(<= X_g[{input}] X_f[{input}])"]
    unsafe = f"({sign} Y_f[{output}] Y_g[{output}])"
    said = f"output {output} does not {does} where input {input} grows"
    if tolerance:
        moved = f"({'-' if rising else '+'} Y_g[{output}] {_number_text(tolerance)})"
        unsafe, said = f"({sign}= Y_f[{output}] {moved})", f"{said}, by {tolerance:g} or more"
    return _query_text(said, box, n_outputs, [*_equal_inputs(rest), *grows, unsafe], equal=True)


def steepness_query(box: Box, n_outputs: int, input: int, output: int, most: float) -> str:
    """Along one input an output changes by at most ``most`` times as much.

    Raises:
        SpecError: a range is empty, there is no such input or output, or ``most`` is negative.
    """
    _require_place(input, len(box), "input")
    _require_place(output, n_outputs, "output")
    _require(most >= 0, f"a steepness is not negative, and {most} is")
    rest = [i for i in range(len(box)) if i != input]
    grows = [*_bound_assertions("X_g", input, box[input]), f"(<= X_g[{input}] X_f[{input}])"]
    run = f"(* {_number_text(most)} (- X_f[{input}] X_g[{input}]))"
    y_f, y_g = f"Y_f[{output}]", f"Y_g[{output}]"
    unsafe = _any_of([f"(> (- {y_f} {y_g}) {run})", f"(> (- {y_g} {y_f}) {run})"])
    said = f"output {output} changes by at most {most:g} times as much as input {input}"
    return _query_text(said, box, n_outputs, [*_equal_inputs(rest), *grows, unsafe], equal=True)


def symmetry_query(
    box: Box, n_outputs: int, inputs: Mapping[int, int], outputs: Mapping[int, int], epsilon: float
) -> str:
    """With inputs exchanged, the outputs are exchanged as well, up to less than ``epsilon``.

    Args:
        box, n_outputs: of the network.
        inputs: place -> the place whose value is taken there; those not named keep theirs.
        outputs: the same of outputs.
        epsilon: a difference that is one.

    Raises:
        SpecError: a range is empty, a place is none, or one is taken twice.
    """
    _require(epsilon > 0, f"a difference must be positive, and {epsilon} is not")
    taken = [_exchanged_places(each, size, what) for each, size, what in (
        (inputs, len(box), "input"), (outputs, n_outputs, "output"))]  # fmt: skip
    same = [f"(== X_g[{i}] X_f[{j}])" for i, j in enumerate(taken[0])]
    far = (_apart_cases(f"Y_f[{j}]", f"Y_g[{i}]", epsilon) for i, j in enumerate(taken[1]))
    said = f"with inputs exchanged, outputs are exchanged as well, up to {epsilon:g}"
    return _query_text(said, box, n_outputs, [*same, _any_of(far)], equal=True)


def _exchanged_places(given: Mapping[int, int], size: int, what: str) -> list[int]:
    for place in (*given, *given.values()):
        _require_place(place, size, what)
    taken = [given.get(i, i) for i in range(size)]
    _require(len(set(taken)) == size, f"an {what} is taken twice")
    return taken


def _query_text(said: str, box: Box, n_outputs: int, assertions: Sequence[str], *, equal: bool = False) -> str:
    lines = [f"; {said}", "(vnnlib-version <2.0>)"]
    # equal-to makes two runs of one network of them, isomorphic-to two networks of the same layers
    for name, like in (("f", ""), ("g", " (equal-to f)" if equal else " (isomorphic-to f)")):
        inputs, outputs = f"(declare-input X_{name} real [{len(box)}])", f"(declare-output Y_{name} real [{n_outputs}])"
        lines.append(f"(declare-network {name}{like} {inputs} {outputs})")
    bounds = [bound for i, ends in enumerate(box) for bound in _bound_assertions("X_f", i, ends)]
    return "\n".join([*lines, *(f"(assert {each})" for each in (*bounds, *assertions)), ""])


def _bound_assertions(tensor: str, place: int, ends: tuple[Fraction | float, Fraction | float]) -> list[str]:
    low, high = ends
    _require(low <= high, f"input {place} has lower bound {float(low):g} above upper bound {float(high):g}")
    return [f"(>= {tensor}[{place}] {_number_text(low)})", f"(<= {tensor}[{place}] {_number_text(high)})"]


def _equal_inputs(places: Sequence[int]) -> list[str]:
    return [f"(== X_f[{i}] X_g[{i}])" for i in places]


def _apart_cases(one: str, other: str, epsilon: float) -> str:
    return f"(>= {other} (+ {one} {_number_text(epsilon)})) (<= {other} (- {one} {_number_text(epsilon)}))"


def _any_of(cases: Iterable[str]) -> str:
    return f"(or {' '.join(cases)})"


def _number_text(value: Fraction | float) -> str:
    """A decimal that says it exactly; a float is the shortest decimal that it is written as."""
    if isinstance(value, float):
        _require(math.isfinite(value), f"{value} is no finite number")
        value = Fraction(repr(float(value)))  # of NumPy's own floats the text is another
    # the least float64, 2^-1074, has 1,074 places; the standard's numbers have no exponents
    text = decimal_text(Fraction(value), 1074)
    _require(bool(text), f"{value} is no decimal number")
    return text if "." in text else f"{text}.0"


def _require_place(place: int, size: int, what: str) -> None:
    _require(0 <= place < size, f"there is no {what} {place}: there are {size}")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise SpecError(problem)
