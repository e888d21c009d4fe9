"""VNN-LIB 2.0 queries, parsed by the package ``vnnlib``, as the formula that 1.0 files give.

Only one network, with one input and one output of element type ``real``: we decide real semantics, so a query over
``float32`` (or another machine type) is answered with an error and never with a verdict. Tensors are flattened in C
order.

Source: VNN-LIB 2.0 standard (December 2025), https://www.vnnlib.org.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

from birdnn.errors import FormatError
from birdnn.formats.dnf import And, Formula, Or, Term, compare, parse_number

MAX_ENTRIES = 1 << 22
"""Most entries of a declared tensor."""

_RELATIONS = {
    "LessEqual": "<=",
    "LessThan": "<",
    "GreaterEqual": ">=",
    "GreaterThan": ">",
    "Equal": "=",
}


def read_query(text: str, path: str) -> tuple[tuple[int, int], Formula]:
    """Numbers of inputs and outputs, and the formula of the unsafe set.

    Raises:
        FormatError: the text is no query that ``vnnlib`` accepts, declares other than one network with one input and
            one output of element type ``real``, or holds a comparison that is not linear.
    """
    import vnnlib  # needed for 2.0 files only

    try:
        query = vnnlib.parse_query_string(text)
    except (vnnlib.VNNLibException, IndexError, ValueError, OverflowError, RuntimeError) as error:
        raise _refusal(str(error), path) from None
    networks = query.networks
    if len(networks) != 1:
        raise FormatError(path, "", f"one network is expected, not {len(networks)}")
    net = networks[0]
    if len(net.inputs) != 1 or len(net.outputs) != 1 or net.hidden:
        problem = f"network {net.name!r} must have one input, one output and no hidden tensors"
        raise FormatError(path, "", problem)
    variables = [_Tensor.of(net.inputs[0], "X", path), _Tensor.of(net.outputs[0], "Y", path)]
    walker = _Walker(path, {tensor.name: tensor for tensor in variables})
    formula = And(tuple(walker.formula(assertion.expr) for assertion in query.assertions))
    return (variables[0].size, variables[1].size), formula


def _refusal(message: str, path: str) -> FormatError:
    """The first complaint of the package ``vnnlib``, which gives JSON or a sentence with a line."""
    try:
        first = json.loads(message)["errors"][0]
        return FormatError(path, f"line {first['line']}", f"{first['message']}: {first['offendingSymbol']}")
    except (ValueError, LookupError, TypeError):
        return FormatError(path, "", f"no VNN-LIB 2.0 query: {message.strip().partition(chr(10))[0][:300]}")


@dataclass(frozen=True)
class _Tensor:
    """A declared tensor; `kind` is X for the input and Y for the output."""

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, declaration: Any, kind: str, path: str) -> _Tensor:
        dtype = declaration.dtype.name
        if dtype != "Real":
            problem = f"tensor {declaration.name!r} has element type {dtype}; only real semantics is decided, so"
            raise FormatError(path, "", f"{problem} no verdict can be given (declare it as real)")
        shape = tuple(declaration.shape)
        size = math.prod(shape)
        if not 0 < size <= MAX_ENTRIES:
            raise FormatError(path, "", f"tensor {declaration.name!r} of shape {list(shape)} is empty or too large")
        return cls(declaration.name, kind, shape, size)

    def index(self, indices: Sequence[int]) -> int:
        """Position in C order."""
        return reduce(lambda flat, pair: flat * pair[1] + pair[0], zip(indices, self.shape, strict=True), 0)


@dataclass(frozen=True)
class _Walker:
    """Turns the package's syntax tree into formulas and linear terms."""

    path: str
    tensors: dict[str, _Tensor]

    def formula(self, node: Any) -> Formula:
        kind = type(node).__name__
        if kind in ("And", "Or"):
            parts = tuple(self.formula(part) for part in node.args)
            return And(parts) if kind == "And" else Or(parts)
        line = _line(node)
        if kind == "NotEqual":
            left, right = self.term(node.lhs, line), self.term(node.rhs, line)
            return Or((compare("<", left, right, line), compare(">", left, right, line)))
        if kind not in _RELATIONS:
            raise self.fail(line, f"{kind} is not supported")
        return compare(_RELATIONS[kind], self.term(node.lhs, line), self.term(node.rhs, line), line)

    def term(self, node: Any, line: int) -> Term:
        kind = type(node).__name__
        if kind == "Var":
            tensor = self.tensors.get(node.name)
            if tensor is None or len(node.indices) != len(tensor.shape):
                raise self.fail(line, f"{node.name!r} is not an element of the input or the output")
            return Term({(tensor.kind, tensor.index(node.indices)): Fraction(1)}, Fraction(0))
        if kind == "Negate":
            return self.term(node.expr, line).times(Fraction(-1))
        if kind in ("Plus", "Minus", "Multiply"):
            return self.fold(kind, node, line)
        number = parse_number(node.lexeme) if hasattr(node, "lexeme") else None
        if number is None:
            raise self.fail(line, f"{str(node)[:40]!r} is neither a variable nor a number we can read")
        return Term({}, number)

    def fold(self, kind: str, node: Any, line: int) -> Term:
        """A sum, difference or product of several terms."""
        parts = (node.head, *node.rest) if kind == "Minus" else node.args
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


def _line(node: Any) -> int:
    """Line of the first leaf below a node, 0 where the package gives none."""
    stack = [node]
    while stack:
        top = stack.pop()
        line = getattr(top, "line", 0)
        if line:
            return int(line)
        stack.extend(reversed(top.children()))
    return 0
