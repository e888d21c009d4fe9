"""VNN-LIB 2.0 queries, parsed by the package ``vnnlib``, as the formula that 1.0 files give.

Each network has one input and one output. Element type ``real`` asks about the function over the reals,
``float32`` about the network as executed: then numbers of the text are rounded to the nearest float32, and arithmetic
is refused unless it is exact there, for its rounding is not modelled. Other types are answered with an error and never
with a verdict. Tensors are flattened in C order.

Source: VNN-LIB 2.0 standard (December 2025), https://www.vnnlib.org.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from birdnn.decimals import parse_number
from birdnn.errors import FormatError
from birdnn.formats.dnf import MAX_EXPONENT, And, Formula, Or, Term, compare_terms
from birdnn.later import later

if TYPE_CHECKING:
    import numpy as np
else:
    np = later("numpy")

MAX_ENTRIES = 1 << 22
"""Most entries of a declared tensor."""

_RELATIONS = {
    "LessEqual": "<=",
    "LessThan": "<",
    "GreaterEqual": ">=",
    "GreaterThan": ">",
    "Equal": "=",
}


Element = Literal["real", "float32"]

_ELEMENTS: Mapping[str, Element] = {"Real": "real", "F32": "float32"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A declared tensor; `kind` is X for the input and Y for the output, `size` the number of its entries.

    In a formula they are numbered from `first` on: the inputs of all networks one behind the other, and their outputs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int
    element: Element
    first: int = 0

    def index(self, indices: Sequence[int]) -> int:
        """Position in C order, among the tensors of its kind."""
        return self.first + reduce(  # Horner's scheme
            lambda flat, pair: flat * pair[1] + pair[0], zip(indices, self.shape, strict=True), 0
        )


@dataclass(frozen=True, slots=True)
class Declared:
    """A network that a query declares: its tensors, and the earlier one that it is alike (same layers) or equal to."""

    name: str
    input: Tensor
    output: Tensor
    alike: str = ""
    equal: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What a text asks: of which networks, and the formula of the unsafe set."""

    networks: tuple[Declared, ...]
    formula: Formula

    @property
    def element(self) -> Element:
        """The element type of all of its tensors."""
        return self.networks[0].input.element

    @property
    def n_inputs(self) -> int:
        """Inputs of all networks together."""
        return sum(net.input.size for net in self.networks)

    @property
    def n_outputs(self) -> int:
        """Outputs of all networks together."""
        return sum(net.output.size for net in self.networks)


def read_query(text: str, path: str) -> Query:
    """The query of a text.

    Raises:
        FormatError: the text is no query that ``vnnlib`` accepts, declares networks of other than one input and one
            output, all of element type ``real`` or all of ``float32``, or holds a comparison that is not linear, or
            whose arithmetic would round.
    """
    import vnnlib  # needed for 2.0 files only

    try:
        query = vnnlib.parse_query_string(text)
    except (vnnlib.VNNLibException, IndexError, ValueError, OverflowError, RuntimeError) as error:
        raise _parser_error(str(error), path) from None
    networks = list[Declared]()
    for net in query.networks:
        if len(net.inputs) != 1 or len(net.outputs) != 1 or net.hidden:
            problem = f"network {net.name!r} must have one input, one output and no hidden tensors"
            raise FormatError(path, "", problem)
        before = Query(tuple(networks), And(()))
        first, second = _read_tensor(net.inputs[0], "X", path), _read_tensor(net.outputs[0], "Y", path)
        first, second = replace(first, first=before.n_inputs), replace(second, first=before.n_outputs)
        networks.append(Declared(net.name, first, second, net.isometric_to or "", net.equal_to or ""))
    if not networks:
        raise FormatError(path, "", "no network is declared")
    if len({tensor.element for net in networks for tensor in (net.input, net.output)}) > 1:
        problem = (
            "tensors of real and of float32 in one query: what a proof would speak about differs, so say one of them"
        )
        raise FormatError(path, "", problem)
    read = Query(tuple(networks), And(()))
    tensors = {tensor.name: tensor for net in networks for tensor in (net.input, net.output)}
    walker = _Walker(path, tensors, read.element)
    return replace(read, formula=And(tuple(walker.formula(assertion.expr) for assertion in query.assertions)))


def _parser_error(message: str, path: str) -> FormatError:
    """The first complaint of the package ``vnnlib``, which gives JSON or a sentence with a line."""
    try:
        first = json.loads(message)["errors"][0]
        return FormatError(path, f"line {first['line']}", f"{first['message']}: {first['offendingSymbol']}")
    except (ValueError, LookupError, TypeError):
        return FormatError(path, "", f"no VNN-LIB 2.0 query: {message.strip().partition(chr(10))[0][:300]}")


def _read_tensor(declaration: Any, kind: str, path: str) -> Tensor:
    dtype = declaration.dtype.name
    element = _ELEMENTS.get(dtype)
    if element is None:
        problem = f"tensor {declaration.name!r} has element type {dtype}; only real and float32 are decided, so"
        raise FormatError(path, "", f"{problem} no verdict can be given")
    shape = tuple(declaration.shape)
    size = math.prod(shape)
    if not 0 < size <= MAX_ENTRIES:
        raise FormatError(path, "", f"tensor {declaration.name!r} of shape {list(shape)} is empty or too large")
    return Tensor(declaration.name, kind, shape, size, element)


@dataclass(frozen=True)
class _Walker:
    """Turns the package's syntax tree into formulas and linear terms."""

    path: str
    tensors: dict[str, Tensor]
    element: Element

    def formula(self, node: Any) -> Formula:
        kind = type(node).__name__
        if kind in ("And", "Or"):
            parts = tuple(self.formula(part) for part in node.args)
            return And(parts) if kind == "And" else Or(parts)
        line = _line_of_node(node)
        if kind == "NotEqual":
            left, right = self.term(node.lhs, line), self.term(node.rhs, line)
            # a region is convex, and what differs is not: one branch for each side
            return Or((compare_terms("<", left, right, line), compare_terms(">", left, right, line)))
        if kind not in _RELATIONS:
            raise self.fail(line, f"{kind} is not supported")
        return compare_terms(_RELATIONS[kind], self.term(node.lhs, line), self.term(node.rhs, line), line)

    def term(self, node: Any, line: int) -> Term:
        kind = type(node).__name__
        if kind == "Var":
            tensor = self.tensors.get(node.name)
            if tensor is None or len(node.indices) != len(tensor.shape):
                raise self.fail(line, f"{node.name!r} is not an element of an input or an output")
            if not all(0 <= index < size for index, size in zip(node.indices, tensor.shape, strict=True)):
                told = ",".join(map(str, node.indices))  # the package lets negative ones pass
                raise self.fail(line, f"{node.name}[{told}] lies outside of shape {list(tensor.shape)}")
            return Term({(tensor.kind, tensor.index(node.indices)): Fraction(1)}, Fraction(0))
        if kind == "Negate":
            return self.term(node.expr, line).times(Fraction(-1))
        if kind in ("Plus", "Minus", "Multiply"):
            return self.fold(kind, node, line)
        number = parse_number(node.lexeme, MAX_EXPONENT) if hasattr(node, "lexeme") else None
        if number is None:
            raise self.fail(line, f"{str(node)[:40]!r} is neither a variable nor a number we can read")
        return Term({}, self.rounded(number, line))

    def rounded(self, number: Fraction, line: int) -> Fraction:
        """The number as an element of the query's type."""
        if self.element == "real":
            return number
        try:
            with np.errstate(over="ignore"):
                close = np.float32(float(number))
        except OverflowError:
            close = np.float32(math.inf)
        # the rounding of float32 leads to infinity there, at which nothing can be bounded
        if not np.isfinite(close):
            raise self.fail(line, "a number is beyond the range of float32")
        # float64 lies between: beside a tie it may have led to the neighbour of the nearest
        beside = (close, np.nextafter(close, np.float32(-math.inf)), np.nextafter(close, np.float32(math.inf)))
        return min((Fraction(float(v)) for v in beside if np.isfinite(v)), key=lambda value: abs(value - number))

    def fold(self, kind: str, node: Any, line: int) -> Term:
        """A sum, difference or product of several terms."""
        parts = (node.head, *node.rest) if kind == "Minus" else node.args
        if self.element == "float32":
            told = "arithmetic on float32 rounds, which is not modelled, so no verdict can be given"
            raise self.fail(line, f"{told}; compare entries and numbers alone, or declare the tensors as real")
        total = self.term(parts[0], line)
        for part in parts[1:]:
            term = self.term(part, line)
            if kind == "Multiply":
                total = self.product(total, term, line)
            else:
                total = total.plus(term, Fraction(1 if kind == "Plus" else -1))
            if total.is_absurd():
                raise self.fail(line, "its numbers grow too long")
        return total

    def product(self, left: Term, right: Term, line: int) -> Term:
        if left.factors and right.factors:
            raise self.fail(line, "a product of variables is not linear")
        return right.times(left.constant) if right.factors else left.times(right.constant)

    def fail(self, line: int, problem: str) -> FormatError:
        return FormatError(self.path, f"line {line}" if line else "", problem)


def _line_of_node(node: Any) -> int:
    """Line of the first leaf below a node, 0 where the package gives none."""
    stack = [node]  # comparisons have no line, their leaves do
    while stack:
        top = stack.pop()
        line = getattr(top, "line", 0)
        if line:
            return int(line)
        stack.extend(reversed(top.children()))
    return 0
