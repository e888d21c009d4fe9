"""The nodes and constants that stand for one node of a file, in the making."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from birdnn.formats.lowering import MAX_VALUES, Site
from birdnn.formats.tensors import Array
from birdnn.graph import Node, unused_name
from birdnn.operators import Shape, ShapeProblem, shape_of


class Draft:
    """The nodes that stand for one node of a file, in the making.

    Args:
        site: the node of the file.
        dtype: of all values.
        outputs: names of the node's values, empty where nobody reads one.
        taken: names that no new value may have.

    Attributes:
        count: of the outputs.
        all_named: has each a name?
        constants: new ones, by name.
    """

    def __init__(self, site: Site, dtype: np.dtype[Any], outputs: Sequence[str], taken: set[str]) -> None:
        self._site, self._dtype, self._outputs, self._taken = site, dtype, tuple(outputs), {*taken, *outputs}
        self.count, self.all_named = len(self._outputs), all(self._outputs)
        self._shapes: dict[str, Shape] = {}
        self._nodes: list[Node] = []
        self.constants: dict[str, Array] = {}

    def put(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with lowered attributes; the name of its value.

        Raises:
            FormatError: the inputs' shapes do not fit, or its value would be too large.
        """
        try:
            shape = shape_of(op, [self.shape(name) for name in inputs], attributes)
        except ShapeProblem as problem:
            raise self._site.fail(f"does not fit its inputs: {problem}") from None
        name = self._new_value(op, shape)
        self._nodes.append(Node(op, self._site.name, inputs, name, MappingProxyType(attributes)))
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """The name of a new constant.

        Raises:
            FormatError: it is not finite, or too large.
        """
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=self._dtype)
        if not np.isfinite(array).all():
            raise self._site.fail(f"makes a constant that is not finite in {self._dtype}")
        name = self._new_value("constant", array.shape)
        self.constants[name] = array
        return name

    def filled(self, value: float, shape: Shape) -> str:
        """The name of a new constant of one number; memory is taken only where the shape is no larger than allowed."""
        self._require_few(shape)
        return self.constant(np.full(shape, value))

    def shape(self, name: str) -> Shape:
        """The shape of a value of the file or of this draft."""
        return self._shapes[name] if name in self._shapes else self._site.shapes[name]

    def reshaped(self, name: str, shape: Shape) -> str:
        """The same entries in another shape."""
        return name if self.shape(name) == shape else self.put("Reshape", name, shape=shape)

    def expanded(self, name: str, shape: Shape) -> str:
        """A value repeated along the axes that `shape` has more of, which it broadcasts to; zeros are added to it."""
        own = self.shape(name)
        own = (*(1,) * (len(shape) - len(own)), *own)
        name = self.reshaped(name, own)
        if own == shape:
            return name
        # an addition broadcasts, and every bound knows additions: no operator is needed for repetition
        nothing = tuple(1 if a == b else b for a, b in zip(own, shape, strict=True))
        return self.put("Add", name, self.filled(0.0, nothing))

    def along(self, name: str, axis: int, matrix: npt.ArrayLike) -> str:
        """A value mapped along an axis by a matrix, (entries before, entries after)."""
        rank = len(self.shape(name))
        perm = (*(i for i in range(rank) if i != axis), axis)
        back = tuple(perm.index(i) for i in range(rank))
        # a product of matrices sums over the last axis
        moved = name if axis == rank - 1 else self.put("Transpose", name, perm=perm)
        mapped = self.put("MatMul", moved, self.constant(matrix))
        return mapped if axis == rank - 1 else self.put("Transpose", mapped, perm=back)

    def finished(self, values: Sequence[str]) -> list[Node]:
        """All nodes, of which those that make `values`, one for each output, bear the outputs' names."""
        if len(values) != len(self._outputs):
            raise self._site.fail(f"has {len(self._outputs)} outputs, not {len(values)}")
        names: dict[str, str] = {}
        for value, output in zip(values, self._outputs, strict=True):
            # names are given to nodes: an input that is handed on, or a value that has a name already, gets a node of
            # its own
            if output and (value in names or all(node.output != value for node in self._nodes)):
                value = self.put("Identity", value)
            if output:
                names[value] = output
        return [
            Node(node.op, node.name, tuple(names.get(n, n) for n in node.inputs), names.get(node.output, node.output),
                 node.attributes)
            for node in self._nodes
        ]  # fmt: skip

    def _require_few(self, shape: Shape) -> None:
        if math.prod(shape) > MAX_VALUES:
            raise self._site.fail(f"its value of shape {list(shape)} is larger than {MAX_VALUES} entries")

    def _new_value(self, kind: str, shape: Shape) -> str:
        self._require_few(shape)
        # named after what the node makes, so that messages lead to the file
        name = unused_name(f"{next((output for output in self._outputs if output), '')}__{kind}", self._taken)
        self._taken.add(name)
        self._shapes[name] = shape
        return name


Rule = Callable[[Site, Draft], Sequence[str]]
"""Returns the names of the values that are the node's outputs, in order."""
