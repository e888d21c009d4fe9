"""The graph of an ONNX file, lowered node by node, and its form for batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import torch

from birdnn.errors import UnsupportedOpError
from birdnn.formats.draft import Draft
from birdnn.formats.integers import INTEGERS, compute_integers
from birdnn.formats.lowering import (
    FOLDED,
    MAX_VALUES,
    Site,
    dequantize_constants,
    integer_attribute,
    lower_node,
)
from birdnn.formats.rewriting import READ, REWRITTEN, SEVERAL
from birdnn.formats.tensors import Array, read_attributes
from birdnn.graph import Node, unused_name
from birdnn.operators import OPERATORS, Shape, ShapeProblem, apply, shape_of

_CASTS: Mapping[int, type[np.generic]] = {
    onnx.TensorProto.INT64: np.int64,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.INT8: np.int8,
    onnx.TensorProto.UINT8: np.uint8,
    onnx.TensorProto.BOOL: np.bool_,
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.DOUBLE: np.float64,
    onnx.TensorProto.FLOAT16: np.float16,
}
_PROBE = 104_729  # of a batch; a prime that no axis is likely to have

FLOATS: Mapping[int, torch.dtype] = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.DOUBLE: torch.float64}
"""The types that a network may compute in."""

HALF = "half precision (float16) is not supported; convert the network to float32"

MAX_TOTAL = 1 << 26
"""Most entries that all values of a graph may have together for one sample, and all constants that are computed."""


@dataclass
class Lowering:
    """Lowers the nodes of a graph one after the other.

    Attributes:
        path: file, for errors.
        opset: version of the operator set.
        input_name: the graph's input.
        known: value name -> array; grows by what can be computed from constants of integers.
        shapes: value name -> shape for a batch of one; grows.
        dtypes: value name -> data type of floating values; grows.
        dependent: values that depend on the input; grows.
        nodes: the lowered nodes, for a single sample.
        total: entries of all their values.
        computed: entries of all constants that were computed.
        held: entries of the constants that the file holds.
        named: the names of all values of the file, which no value that is made here takes.
        fixed: constants of which nodes were made that do not read them: other values would need other nodes; grows.
        quantised: constants that ``DequantizeLinear`` makes of integers; grows.
    """

    path: str
    opset: int
    input_name: str
    known: dict[str, Array]
    shapes: dict[str, Shape]
    dtypes: dict[str, torch.dtype]
    dependent: set[str]
    nodes: list[Node] = field(default_factory=list)
    total: int = 0
    computed: int = 0
    named: frozenset[str] = frozenset()
    fixed: set[str] = field(default_factory=set)
    quantised: set[str] = field(default_factory=set)
    held: int = field(init=False)

    def __post_init__(self) -> None:
        self.held = sum(array.size for array in self.known.values())

    def add(self, proto: onnx.NodeProto) -> None:
        """Lower one node.

        Raises:
            FormatError: its inputs or attributes make no sense, or its value would be too large.
            UnsupportedOpError: there is no rule for its operator.
        """
        outputs = [name for name in proto.output if name]
        name = proto.name or (outputs[0] if outputs else proto.op_type)
        # a custom domain may call anything Relu
        if proto.domain not in ("", "ai.onnx") or all(
            proto.op_type not in table for table in (OPERATORS, REWRITTEN, FOLDED, INTEGERS)
        ):
            raise UnsupportedOpError(self.path, proto.op_type, name, READ)
        attributes = read_attributes(proto, self.path, f"node {name!r} ({proto.op_type})")
        site = self._make_site(proto.op_type, name, tuple(proto.input), attributes)
        if proto.op_type not in SEVERAL and (len(outputs) != 1 or outputs[0] != proto.output[0]):
            raise site.fail(f"has {len(outputs)} outputs; only the first one is supported")
        twice = [made for made in outputs if made in self.shapes]
        if twice:
            raise site.fail(f"value {twice[0]!r} is made twice")
        missing = [part for part in site.inputs if part and part not in self.shapes]
        if missing:
            raise site.fail(f"reads {missing[0]!r}, which nothing made before")
        # said here, before onnxruntime is asked, which crashes on some operators without their inputs
        if not site.has(0):
            raise site.fail("has no input")
        before = len(self.nodes)
        if not self._fold_constants(site, outputs[0]):
            if site.op in REWRITTEN:
                self._rewrite_node(site, proto.output)
            else:
                inputs, lowered = lower_node(site)
                self._append_node(site, Node(site.op, name, inputs, outputs[0], MappingProxyType(lowered)))
        # a constant that a rule looked at and that no node reads has become an attribute: if a repair moved it, the
        # node that is proved would no longer be that of the file
        read = {part for node in self.nodes[before:] for part in node.inputs}
        self.fixed |= {part for part in site.inputs if part in self.known} - read

    def _rewrite_node(self, site: Site, outputs: Sequence[str]) -> None:
        """Lower a node to others that bear its name, and whose values are those of its outputs."""
        dtype = next((self.dtypes[name] for name in site.inputs if name in self.dtypes), None)
        if dtype is None:
            raise site.fail("reads nothing that holds floating-point numbers")
        # also names of the file that come later are taken: nothing of ours may stand for one of them
        draft = Draft(site, torch.empty(0, dtype=dtype).numpy().dtype, outputs, {*self.named, *self.shapes})
        nodes = draft.finished(REWRITTEN[site.op](site, draft))
        for name, array in draft.constants.items():
            self._keep_constant(site, name, array)
            self.dtypes[name] = dtype
        for node in nodes:
            self._append_node(site, node)

    def _fold_constants(self, site: Site, output: str) -> bool:
        """Compute a node of constant integers at once: shape arithmetic that exporters leave in the graph."""
        # sizes are known even where values depend on the input, so this comes before any question about constants
        if site.op == "Shape":
            whole = site.shape()
            part = slice(integer_attribute(site, "start", 0), integer_attribute(site, "end", len(whole)))
            value: Array = np.array(whole[part], dtype=np.int64)
        elif site.op == "Cast" and site.inputs[0] in self.dtypes:
            kind = integer_attribute(site, "to", 0)
            if FLOATS.get(kind) == self.dtypes[site.inputs[0]]:  # of its own type, as converters write it everywhere
                self._append_node(site, Node("Identity", site.name, site.inputs[:1], output))
                return True
            value = self._cast_constant(site, kind)
            if value.dtype.kind == "f":
                self.dtypes[output] = torch.from_numpy(value).dtype
        elif site.op == "DequantizeLinear":
            value = dequantize_constants(site)
            self.dtypes[output] = torch.float32
            self.quantised.add(output)
        elif site.op == "CastLike":
            value = self._cast_like(site)
            self.dtypes[output] = self.dtypes[site.inputs[1]]
        # floating-point constants that nodes compute are left to nodes: a repair may change what these read
        elif all(name in self.known and self.known[name].dtype.kind in "iub" for name in site.inputs if name):
            value = _integer_result(site)
            if value.dtype.kind == "f":
                self.dtypes[output] = torch.from_numpy(value).dtype
        elif site.op in OPERATORS or site.op in REWRITTEN:
            return False
        else:
            raise site.fail("is supported on constant integers only")
        self._keep_constant(site, output, value)
        return True

    def _keep_constant(self, site: Site, name: str, value: Array) -> None:
        self.computed += value.size
        # beyond those of the file, which may all be cast: a few bytes declare any number of others
        if self.computed > MAX_TOTAL + self.held:
            raise site.fail(f"the constants that are computed up to here have more than {MAX_TOTAL} entries")
        self.known[name], self.shapes[name] = value, value.shape

    def _cast_constant(self, site: Site, kind: int) -> Array:
        """A stored floating-point constant in a data type of the file's choice."""
        name = site.inputs[0]
        if name not in self.known:
            raise site.fail(f"changes the data type of {name!r}; networks that compute in one type are supported")
        if kind not in _CASTS or _CASTS[kind] == np.float16:
            raise site.fail(HALF if kind in _CASTS else f"to data type {kind} is not supported")
        return self._converted(site, np.dtype(_CASTS[kind]))

    def _cast_like(self, site: Site) -> Array:
        """A constant in the data type of a floating value; exporters write numbers of an activation in this way."""
        constant, like = site.inputs[0], site.inputs[1] if len(site.inputs) > 1 else ""
        if constant not in self.known or like not in self.dtypes:
            raise site.fail("is supported on a constant and a floating-point value only")
        return self._converted(site, torch.empty(0, dtype=self.dtypes[like]).numpy().dtype)

    def _converted(self, site: Site, dtype: np.dtype[Any]) -> Array:
        """The constant that a node reads first in another data type, whose range it does not leave."""
        constant = self.known[site.inputs[0]]
        with np.errstate(over="ignore", invalid="ignore"):
            value = constant.astype(dtype)
        # a cast cuts fractions off; of what lies beyond the type each machine makes something else
        whole = np.trunc(constant.astype(np.float64))
        if not np.isfinite(value).all() or (value.dtype.kind in "iu" and not (value == whole).all()):
            raise site.fail(f"{site.inputs[0]!r} holds numbers beyond the range of the type that it is turned into")
        return value

    def _append_node(self, site: Site, node: Node) -> None:
        # before the questions below, whose answers would not say what can be done
        bad = [name for name in node.inputs if self.dtypes.get(name) == torch.float16]
        if bad:
            raise site.fail(f"reads {bad[0]!r}: {HALF}")
        bad = [name for name in node.inputs if name not in self.dtypes]
        if bad:
            raise site.fail(f"reads {bad[0]!r}, which does not hold floating-point numbers")
        if len({self.dtypes[name] for name in node.inputs}) > 1:
            raise site.fail("its inputs have different data types")
        shape = _shape_of(site, node, self.shapes)
        if not 0 < math.prod(shape) <= MAX_VALUES:
            raise site.fail(f"its value of shape {list(shape)} is empty or larger than {MAX_VALUES} entries")
        self.total += math.prod(shape)
        if self.total > MAX_TOTAL:
            raise site.fail(f"the values of the network have more than {MAX_TOTAL} entries up to here")
        self.shapes[node.output], self.dtypes[node.output] = shape, self.dtypes[node.inputs[0]]
        if any(name in self.dependent for name in node.inputs):
            self.dependent.add(node.output)
        self.nodes.append(node)

    def split_input(self, names: Sequence[str], whole: str) -> None:
        """Make the inputs called `names` parts of one flat input called `whole`, one after the other.

        Those that nobody reads only take their place.
        """
        sizes = [math.prod(self.shapes[name]) for name in names]
        self.input_name, self.shapes[whole], self.dtypes[whole] = whole, (1, sum(sizes)), self.dtypes[names[0]]
        self.dependent.add(whole)
        # not strict: `accumulate` ends with the size of the whole, at which no part begins
        for name, start, size in zip(names, accumulate(sizes, initial=0), sizes, strict=False):
            if name in self.dependent:
                # an input that is flat already is the slice itself, under its own name
                part = (
                    name
                    if self.shapes[name] == (1, size)
                    else unused_name(f"{name}__flat", {*self.named, *self.shapes})
                )
                self._put_node("Slice", name, (whole,), part, slices=((1, start, start + size, 1),))
                if part != name:
                    self._put_node("Reshape", name, (part,), name, shape=self.shapes[name])

    def join_outputs(self, names: Sequence[str], whole: str) -> str:
        """Make a flat value called `whole` of the outputs, one after the other."""
        parts = []
        for name in names:
            parts.append(name)
            if len(self.shapes[name]) != 2 or self.shapes[name][0] != 1:
                parts[-1] = unused_name(f"{name}__flat", {*self.named, *self.shapes})
                self._put_node("Reshape", name, (name,), parts[-1], shape=(1, math.prod(self.shapes[name])))
        self._put_node("Concat", whole, tuple(parts), whole, axis=1)
        return whole

    def _put_node(self, op: str, name: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> None:
        """Append a node of ours."""
        self._append_node(
            self._make_site(op, name, inputs), Node(op, name, inputs, output, MappingProxyType(attributes))
        )

    def _make_site(
        self, op: str, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Any] = MappingProxyType({})
    ) -> Site:
        double = self.dtypes.get(inputs[0] if inputs else "") == torch.float64
        return Site(self.path, op, name, inputs, dict(attributes), self.opset, self.shapes, self.known, double)

    def batched(self) -> tuple[Node, ...] | None:
        """The nodes rewritten so that the first axis of every dependent value is a batch; None where that cannot be.

        Every rewritten node is tried on the shapes of a batch of `_PROBE`.
        """
        if len(self.shapes[self.input_name]) < 2 or any(self.shapes[name][:1] != (1,) for name in self.dependent):
            return None
        wanted = {name: (_PROBE, *self.shapes[name][1:]) for name in self.dependent}
        shapes = {**self.shapes, **wanted}
        nodes = []
        for node in self.nodes:
            # both sides begin with the batch's axis of one, so that the rest holds one sample and no two are mixed
            if node.output in self.dependent and "shape" in node.attributes:
                shape = {"shape": (-1, *node.attributes["shape"][1:])}
                node = Node(node.op, node.name, node.inputs, node.output, MappingProxyType(shape))
            elif node.output in self.dependent and not self._takes_batch(node, shapes):
                return None
            nodes.append(node)
        return tuple(nodes)

    def _takes_batch(self, node: Node, shapes: Mapping[str, Shape]) -> bool:
        # shapes would fit, and the samples of a batch would be normalised together
        if OPERATORS[node.op].joint and node.attributes["axis"] == 0:
            return False
        inputs = [shapes[name] for name in node.inputs]
        if node.op == "Concat" and node.attributes["axis"] > 0:  # a constant operand is repeated
            inputs = [(_PROBE, *shape[1:]) if shape[:1] == (1,) else shape for shape in inputs]
        try:
            return shape_of(node.op, inputs, node.attributes) == shapes[node.output]
        except ShapeProblem:
            return False


def _shape_of(site: Site, node: Node, shapes: Mapping[str, Shape]) -> Shape:
    inputs = [shapes[name] for name in node.inputs]
    try:
        return shape_of(node.op, inputs, node.attributes)
    except ShapeProblem as problem:
        listed = ", ".join(str(list(shape)) for shape in inputs)
        raise site.fail(f"does not fit inputs of shapes {listed}: {problem}") from None


def _integer_result(site: Site) -> Array:
    arrays = [site.array(index) for index in range(len(site.inputs)) if site.has(index)]
    if site.op == "Cast":
        kind = integer_attribute(site, "to", 0)
        if kind not in _CASTS:
            raise site.fail(f"to data type {kind} is not supported")
        return arrays[0].astype(_CASTS[kind])
    if site.op in INTEGERS:
        return compute_integers(site, arrays)
    if site.op not in OPERATORS or not OPERATORS[site.op].on_integers:
        raise site.fail("is not supported on integers")
    inputs, attributes = lower_node(site)
    tensors = [torch.from_numpy(np.ascontiguousarray(site.known[name])) for name in inputs]
    # before memory is taken for it
    if math.prod(_shape_of(site, Node(site.op, site.name, inputs, "", attributes), site.shapes)) > MAX_VALUES:
        raise site.fail("its value is too large")
    try:
        return np.asarray(apply(site.op, tensors, attributes, site.name).numpy())
    except RuntimeError as error:  # torch has not every operation for every kind of integer
        raise site.fail(f"cannot be computed on its integers: {str(error).partition(chr(10))[0]}") from None
