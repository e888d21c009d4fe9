"""ONNX, read by the checker itself: a chain of affine maps and activations, with exact rational constants.

`layers` folds the operations between two activations.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from birdnn.certify.check.files import File
from birdnn.certify.check.layers import TINY, Activation, Chain, Exact, Fold, Layer, exact_array
from birdnn.certify.check.onnxfile import ACTIVATIONS, LAYOUT, MAX_RANK, FileReader, model_in
from birdnn.errors import FormatError

SUPPORTED = ("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Clip", "Constant", *LAYOUT, *ACTIVATIONS)

MAX_ENTRIES = 1 << 21
"""Most weights of all layers together, after folding."""

MAX_WORK = 1 << 23
"""Most operations on exact numbers, each counted as often as operations have been folded into the numbers: about 20 s,
which nothing interrupts."""


def read_network(file: File) -> Chain:
    """The network in ``file``.

    Raises:
        FormatError: it is no chain of operations that this checker knows.
    """
    return _Reader(file.path, model_in(file)).read()


class _Reader(FileReader):
    """Walks along the chain; ``current`` names the value that has been reached, of ``shape`` for a batch of one.

    Attributes:
        entries, work: see `MAX_ENTRIES` and `MAX_WORK`.
        depth: how many operations have been folded since the last activation.
    """

    def __init__(self, path: str, model: onnx.ModelProto) -> None:
        super().__init__(path, model)
        self.layers: list[Layer] = []
        self.entries = self.work = self.depth = 0

    def read(self) -> Chain:
        """The chain, if it is one."""
        self.current, self.shape = self.begin()
        n_inputs = prod(self.shape)
        self.fold = Fold(n_inputs)
        for node in self.graph.node:
            self._read_node(node)
        if self.current != self.graph.output[0].name:
            raise FormatError(self.path, "", "the last value of the chain is not the output")
        self._add_layer(None)
        return Chain(tuple(self.layers), n_inputs, prod(self.shape), self.dtype == np.float32)

    def _spend_work(self, entries: int, work: int) -> None:
        """Count what would be computed, before it is."""
        self.depth += 1
        # Fractions get longer with each operation that was folded into them, and slower.
        self.entries, self.work = self.entries + entries, self.work + work * self.depth
        if self.entries > MAX_ENTRIES or self.work > MAX_WORK:
            raise FormatError(self.path, "", "is too large for this checker, which computes with exact numbers")

    def _read_node(self, node: onnx.NodeProto) -> None:
        attributes = self.known_node(node, SUPPORTED)
        op, inputs = node.op_type, list(node.input)
        # A second name of a constant is a constant, not a value of the chain.
        if op == "Constant" or (op == "Identity" and inputs[0] in self.constants):
            self.name_constant(node, attributes)
            return
        others = inputs[:1] + [name for name in inputs[1:] if name]  # only what follows the first may be left out
        if inputs.count(self.current) != 1 or any(n != self.current and n not in self.constants for n in others):
            raise self.fail(node, "the network is no chain: one input must be the value before, the others constant")
        if op in LAYOUT:
            self._require_first(node)
            self.shape = self.layout(node, attributes, self.shape)
        elif op in ACTIVATIONS or op == "Clip":
            self._read_activation(node, attributes)
        elif op == "Gemm":
            self._gemm(node, attributes)
        elif op == "MatMul":
            self._matmul(node)
        else:
            self._elementwise(node)
        if len(self.shape) > MAX_RANK:
            raise self.fail(node, f"this checker reads values of at most {MAX_RANK} axes")
        self.current = node.output[0]
        self.require_declared(self.current, self.dtype, self.shape)

    def _read_activation(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._require_first(node)
        # Also where no limit is given, as the operator then ends at the largest number.
        limited = node.op_type == "Clip" and self.limits(node, attributes)[1] < np.inf
        self._add_layer(self.activation(node, attributes), limited=limited)

    def _require_first(self, node: onnx.NodeProto) -> None:
        if node.input[0] != self.current:
            raise self.fail(node, "its first input must be the value before")

    def _column_count(self) -> int:
        """Of the folded map; one where it is diagonal."""
        return self.fold.a.shape[1] if self.fold.a.ndim == 2 else 1

    def _add_layer(self, activation: Activation | None, *, limited: bool = False) -> None:
        size = prod(self.shape)
        # A diagonal is made a matrix here: it is counted before it is made.
        entries = size * (self._column_count() if self.fold.a.ndim == 2 else size)
        self._spend_work(entries, entries)
        self.layers.append(self.fold.layer(activation, limited=limited))
        self.fold, self.depth = Fold(size), 0

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        weight = self.floats(node, 1)
        if node.input[0] != self.current or attributes.get("transA", 0) or weight.ndim != 2:
            raise self.fail(node, "this checker reads Gemm of the value before, not transposed, with a constant")
        weight = weight if attributes.get("transB", 0) else weight.T
        if self.shape != (1, weight.shape[1]):
            raise self.fail(node, f"weights {weight.shape} do not fit a value of shape {self.shape}")
        # Over the reals any factor would do, as in graphs; in single precision each is one more rounding, and a runtime
        # chooses where.
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise self.fail(node, "this checker reads Gemm with alpha and beta of 1 only")
        self._fold_matrix(weight)
        self.shape = (1, weight.shape[0])
        if len(node.input) > 2 and node.input[2]:
            self.fold.shift(self._like_value(node, 2))

    def _matmul(self, node: onnx.NodeProto) -> None:
        left = node.input[0] == self.current
        weight = self.floats(node, int(left))
        shape, terms = self.shape, weight.shape[0 if left else 1] if weight.ndim == 2 else -1
        # From the left the value may be a row or a list, from the right a column or a list; a batch of several is
        # refused by its size.
        fits = shape[-1:] == (terms,) if left else shape[-2:] == (terms, 1) or shape == (terms,)
        if not fits or prod(shape) != terms:
            raise self.fail(node, f"weights of shape {weight.shape} do not fit a value of shape {shape}")
        self._fold_matrix(weight.T if left else weight)
        out = weight.shape[1] if left else weight.shape[0]
        self.shape = (*shape[:-1], out) if left else (*shape[:-2], out, 1) if len(shape) > 1 else (out,)

    def _fold_matrix(self, weight: NDArray[Any]) -> None:
        self._spend_work(0, weight.size * self._column_count())
        self.fold.matrix(exact_array(weight))

    def _like_value(self, node: onnx.NodeProto, index: int) -> Exact:
        """A constant operand, repeated to the value's shape."""
        array = self.floats(node, index)
        try:
            full = np.broadcast_to(array, self.shape)
        except ValueError:
            raise self.fail(node, f"an operand of shape {array.shape} for a value of shape {self.shape}") from None
        self._spend_work(0, full.size * self._column_count())
        return exact_array(full.reshape(-1))

    def _elementwise(self, node: onnx.NodeProto) -> None:
        first = node.input[0] == self.current
        other = self._like_value(node, int(first))
        op = node.op_type
        if op == "Add":
            self.fold.shift(other)
        elif op == "Sub":
            if not first:
                # A change of sign is exact.
                self.fold.scale(exact_array(-np.ones(len(other))), 0)
            self.fold.shift(-other if first else other)
        elif op == "Mul":
            self.fold.scale(other, 1)
        elif first and all(abs(value) >= TINY for value in other):  # a smaller one may be flushed to zero
            # Some runtimes multiply by the reciprocal: two roundings.
            self.fold.scale(1 / other, 2)
        else:
            raise self.fail(node, "division by the value, or by less than 2**-126")
