"""ONNX files: a graph importer, a writer that changes initialiser values only, and plain networks from layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError, EncodeError
from numpy.typing import ArrayLike
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from birdnn.errors import FormatError, MismatchError, SpecError
from birdnn.formats.agreement import require_agreement, require_label
from birdnn.formats.export import model_bytes
from birdnn.formats.files import NETWORK_BYTES, read_bytes, read_stored, sha256, unpack_gzip, write_bytes
from birdnn.formats.graph import FLOATS, HALF, Lowering
from birdnn.formats.labels import Label, label_of, with_output
from birdnn.formats.lowering import MAX_VALUES
from birdnn.formats.prepared import DEFAULT, Ports, graph_ports, inline_functions, needed_nodes, opset_version
from birdnn.formats.tensors import (
    Array,
    embed_external,
    lift_constants,
    put_tensor,
    read_attribute,
    read_tensor,
    require_few_axes,
)
from birdnn.graph import Graph, Node, unused_name
from birdnn.network import Network
from birdnn.operators import operator, operators_where
from birdnn.reading import guarded_reader

_CONSTANTS: Mapping[str, int] = {
    "value": AttributeProto.TENSOR,
    "value_float": AttributeProto.FLOAT,
    "value_floats": AttributeProto.FLOATS,
    "value_int": AttributeProto.INT,
    "value_ints": AttributeProto.INTS,
}
"""How the value of a ``Constant`` may be written; onnxruntime goes by the type and not by the name."""
_TERMWISE: Mapping[str, int] = {"Add": 2, "Sub": 2, "Mul": 2, "Div": 1}
"""Operator on weights that keeps an entry an entry -> how many of its first operands may be these weights."""


@guarded_reader
def read_onnx(path: str | Path) -> Network:
    """Read a network, plain or ``.gz``, and compare it with onnxruntime on seeded inputs.

    Raises:
        FormatError: the file is no ONNX network with one input and one output of floating-point numbers, holds NaN,
            declares sizes that its bytes do not hold, keeps data outside its folder, or our forward pass and
            onnxruntime differ on it.
        UnsupportedOpError: it holds an operator we have no rule for.
    """
    stored = read_stored(path, NETWORK_BYTES)
    return network_from_onnx(unpack_gzip(stored, path, NETWORK_BYTES), path=path, digest=sha256(stored))


def write_onnx(net: Network, original: str | Path, out: str | Path) -> None:
    """Write the file `original` with the initialiser values of `net`; ``.gz`` by the extension of `out`.

    Graph, names, shapes, opset, metadata, data types and the kind of storage stay; initialisers that did not change
    keep their bytes. Values are rounded to the data type of the file. External data is embedded. The file appears all
    at once.

    Raises:
        FormatError: `original` cannot be read.
        MismatchError: `net` has initialisers that `original` lacks, in name or shape, or values that are not finite.
        OutputError: `out` is `original`, or cannot be written.
    """
    write_bytes(out, bytes_with_values(net, original), keep=original)


def bytes_with_values(net: Network, original: str | Path) -> bytes:
    """What `write_onnx` writes, uncompressed.

    Raises:
        FormatError, MismatchError: see `write_onnx`.
    """
    data = read_bytes(original, NETWORK_BYTES)
    model = parse_model(data, str(original))
    changed = embed_external(model, original, NETWORK_BYTES)
    lift_constants(model, net.repairable)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in net.initialisers().items():
        if name not in tensors:
            raise MismatchError(f"{original} has no initialiser {name!r}")
        read_tensor(tensors[name], str(original))
        changed |= put_tensor(tensors[name], value.detach().cpu().numpy())
    return serialise_model(model, str(original)) if changed else data


def lifted_constants(net: Network, original: str | Path) -> tuple[str, ...]:
    """The initialisers of a network that are ``Constant`` nodes in the file `original`.

    Raises:
        FormatError: `original` cannot be read.
    """
    stored = {
        tensor.name for tensor in parse_model(read_bytes(original, NETWORK_BYTES), str(original)).graph.initializer
    }
    return tuple(name for name in net.initialisers() if name not in stored)


def network_from_onnx(data: bytes, *, path: str | Path = "", digest: str = "", check: bool = True) -> Network:
    """The network in the bytes of an uncompressed ONNX file.

    Args:
        data: the file's content.
        path: where it came from: for errors, and the folder of external data.
        digest: sha256 of the file as stored.
        check: compare with onnxruntime.

    Raises:
        FormatError, UnsupportedOpError: see `read_onnx`.
    """
    model = parse_model(data, str(path))
    if embed_external(model, path, NETWORK_BYTES):
        # onnxruntime gets these bytes below, and no folder to look for the rest in
        data = serialise_model(model, str(path))
    label = label_of(model.graph)
    if label is not None:
        # from here on the network is what ArgMax reads; the label itself is compared in the end
        model = with_output(model, label.values)
    ends = graph_ports(model.graph, str(path))
    lowering, output = _lower_graph(inline_functions(model, str(path)), ends, str(path))
    if label is not None:
        _require_one_label(label, lowering.shapes[output], str(path))
    nodes = lowering.batched()
    batched = nodes is not None
    nodes = nodes or tuple(lowering.nodes)
    used = {name for node in nodes for name in node.inputs if name in lowering.known}
    ordered = [name for name in lowering.known if name in used]
    stored = used.intersection(tensor.name for tensor in model.graph.initializer)
    # what a node keeps as an attribute would not change with the initialiser
    free = used - lowering.fixed
    repairable = _repairable_names(nodes, lowering, stored & free, free.intersection(_constant_names(model.graph)))
    initialisers = stored | repairable
    graph = Graph(
        nodes=nodes,
        input_name=lowering.input_name,
        output_name=output,
        shapes={name: lowering.shapes[name] for name in (lowering.input_name, *(node.output for node in nodes))},
        dependent=frozenset(lowering.dependent),
        repairable=repairable,
        batched=batched,
        quantised=frozenset(lowering.quantised),
        label="" if label is None else label.taken,
    )
    net = Network(
        graph,
        {name: torch.from_numpy(lowering.known[name]) for name in ordered if name in initialisers},
        {name: torch.from_numpy(lowering.known[name]) for name in ordered if name not in initialisers},
        source=str(path),
        sha256=digest,
        notes=(
            *_port_notes(ends, lowering.shapes),
            *_quantised_notes(sorted(lowering.quantised)),
            *_label_notes(label),
        ),
    )
    if check:
        # also by the values, not by the label alone: a label hides what is misread as long as the greatest stays in
        # front
        require_agreement(net, data if label is None else serialise_model(model, str(path)), lowering.dtypes[output])
        if label is not None:
            require_label(net, data, lowering.dtypes[output])
    return net


def parse_model(data: bytes, path: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise FormatError(path, "", f"not an ONNX file: {error}") from None
    # protobuf takes bytes of another kind for fields that it does not know
    if not model.HasField("graph") or not model.graph.node:
        raise FormatError(path, "", "not an ONNX file: it holds no graph")
    inside = (text for function in model.functions for text in _node_names(function.node))
    if any(isinstance(text, bytes) for text in (*_graph_names(model.graph), *inside)):
        raise FormatError(path, "", "not an ONNX file: a name in it is not UTF-8")
    if model.graph.sparse_initializer:
        raise FormatError(path, "", "sparse initialisers are not supported")
    return model


def _graph_names(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """All names in a graph, of axes too; protobuf hands out those that are not UTF-8 as bytes."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for value in (*graph.input, *graph.output):
        yield from (axis.dim_param for axis in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from _node_names(graph.node)


def _node_names(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def serialise_model(model: onnx.ModelProto, path: str) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:  # protobuf ends at 2 GiB
        raise FormatError(path, "", f"cannot be put into one ONNX file: {error}") from None


def _lower_graph(model: onnx.ModelProto, ends: Ports, path: str) -> tuple[Lowering, str]:
    graph = model.graph
    _require_distinct(graph, [value.name for value in ends.inputs], path)
    types = {value.name: _input_type(value, path) for value in ends.inputs}
    if len({dtype for _, dtype in types.values()}) > 1:
        raise FormatError(path, "", "its inputs have different data types")
    # what no output needs may hold anything: NaN, types and operators that we do not know
    nodes = needed_nodes(graph, ends.outputs, path)
    read = {*ends.outputs, *(name for node in nodes for name in node.input)}
    known = {tensor.name: read_tensor(tensor, path) for tensor in graph.initializer if tensor.name in read}
    for node in nodes:
        # at once, wherever they stand: some exporters put them behind their readers
        if node.op_type == "Constant":
            known[node.output[0]] = _constant(node, path)
    lowering = Lowering(
        path=path,
        opset=opset_version(model, path),
        input_name=ends.inputs[0].name,
        known=known,
        shapes={
            **{name: shape for name, (shape, _) in types.items()},
            **{name: array.shape for name, array in known.items()},
        },
        dtypes={
            **{name: dtype for name, (_, dtype) in types.items()},
            **{name: torch.from_numpy(array).dtype for name, array in known.items() if array.dtype.kind == "f"},
        },
        dependent=read.intersection(types),
        named=frozenset(str(name) for name in _graph_names(model.graph) if name),
    )
    if len(types) > 1:
        lowering.split_input(list(types), unused_name("inputs", lowering.named))
    for node in nodes:
        if node.op_type != "Constant":
            lowering.add(node)
    if missing := [name for name in ends.outputs if name not in lowering.shapes]:
        raise FormatError(path, f"output {missing[0]!r}", "is made by no node")
    if not lowering.dependent.intersection(ends.outputs):
        raise FormatError(path, f"output {ends.outputs[0]!r}", "does not depend on the input")
    # a network has one input and one output elsewhere; several of either become one, counted as the file lists them
    if len(ends.outputs) == 1:
        return lowering, ends.outputs[0]
    return lowering, lowering.join_outputs(ends.outputs, unused_name("outputs", lowering.named))


def _require_distinct(graph: onnx.GraphProto, inputs: Iterable[str], path: str) -> None:
    """Of two values of one name, needed or not, onnxruntime takes one or the other."""
    initialisers = [tensor.name for tensor in graph.initializer]
    if not all(initialisers) or len(set(initialisers)) < len(initialisers):
        name = next(name for name, count in Counter(initialisers).items() if not name or count > 1)
        raise FormatError(path, f"initialiser {name!r}", "its name is missing or given twice")
    made = (name for node in graph.node for name in node.output)
    twice = [name for name, count in Counter([*inputs, *initialisers, *made]).items() if name and count > 1]
    if twice:
        raise FormatError(path, f"value {twice[0]!r}", "is made twice")


def _input_type(value: onnx.ValueInfoProto, path: str) -> tuple[tuple[int, ...], torch.dtype]:
    place = f"input {value.name!r}"
    tensor = value.type.tensor_type
    if tensor.elem_type == TensorProto.FLOAT16:
        raise FormatError(path, place, HALF)
    if not value.name or tensor.elem_type not in FLOATS or not tensor.HasField("shape"):
        raise FormatError(path, place, "a tensor of floating-point numbers with a shape is expected")
    require_few_axes(tensor.shape.dim, path, place)
    shape = []
    for axis, dim in enumerate(tensor.shape.dim):
        size = dim.dim_value if dim.HasField("dim_value") else -1
        # everything is read for one sample first; `Lowering.batched` says whether it holds for many
        if axis == 0 and size < 0:
            size = 1  # a batch of any size; some exporters write -1
        if axis == 0 and size == 0:
            told = "axis 0, the batch, has 0 entries, so that onnxruntime runs no sample; name it, or make it 1"
            raise FormatError(path, place, told)
        if size <= 0:
            raise FormatError(path, place, f"axis {axis} has no fixed size; only the first, the batch, may vary")
        shape.append(size)
    if not shape or math.prod(shape) > MAX_VALUES:
        raise FormatError(path, place, f"shape {shape} has no axis, or more than {MAX_VALUES} entries")
    return tuple(shape), FLOATS[tensor.elem_type]


def _constant(node: onnx.NodeProto, path: str) -> Array:
    place = f"node {node.name or ''.join(node.output)!r} (Constant)"
    if len(node.attribute) != 1 or len(node.output) != 1:
        raise FormatError(path, place, "one value and one output are expected")
    attribute = node.attribute[0]
    if attribute.type != _CONSTANTS.get(attribute.name) or attribute.ref_attr_name:
        raise FormatError(
            path, place, f"attribute {attribute.name!r} is not supported, or of another type than its name"
        )
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return read_tensor(tensor, path, "constant")
    real = attribute.name.startswith("value_float")
    array: Array = np.array(read_attribute(attribute), dtype=np.float32 if real else np.int64)  # attributes are float32
    if real and not np.isfinite(array).all():
        raise FormatError(path, place, "holds NaN or infinity")
    return array


def _constant_names(graph: onnx.GraphProto) -> set[str]:
    """Values of ``Constant`` nodes that the file itself holds, not a function of it."""
    return {node.output[0] for node in graph.node if node.op_type == "Constant" and node.domain in DEFAULT}


def _port_notes(ends: Ports, shapes: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """How inputs and outputs are counted, where there are several, and what is left out."""
    said = []
    ports = ("input", "X", [value.name for value in ends.inputs]), ("output", "Y", ends.outputs)
    for kind, letter, names in ports:
        if len(names) > 1:
            places = _counted_places(letter, names, shapes)
            said.append(f"The network has {len(names)} {kind}s, counted one after the other: {places}.")
    if ends.left_out:
        named = ", ".join(repr(name) for name in ends.left_out)
        said.append(f"Outputs that hold no floating-point numbers are left out and not counted: {named}.")
    return tuple(said)


def _quantised_notes(names: Sequence[str]) -> tuple[str, ...]:
    """What is said of a network with constants that ``DequantizeLinear`` makes."""
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    told = "a runtime may compute with these integers instead, so that proofs speak about the reals, not about runs"
    return (f"DequantizeLinear makes {names[0]!r}{more} of integers; {told}.",)


def _require_one_label(label: Label, shape: Sequence[int], path: str) -> None:
    """See that a label is that of all values of one sample."""
    if not -len(shape) <= label.axis < len(shape) or math.prod(shape) != shape[label.axis]:
        told = f"looks along axis {label.axis} of a value of shape {list(shape)}"
        raise FormatError(path, label.place, f"{told}; one label of all its entries is supported")


def _label_notes(label: Label | None) -> tuple[str, ...]:
    """What is said of a network that gives a label."""
    if label is None:
        return ()
    told = f"its one output Y_0 is the place, counted from 0, of the greatest of the values {label.values!r}"
    return (f"The network gives a label: {told}, the {label.taken} of equal ones. These are what is computed with.",)


def _counted_places(letter: str, names: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> str:
    """Which variables of a property stand for which values."""
    ends = accumulate((math.prod(shapes[name]) for name in names), initial=0)
    places = [f"{letter}_{a} to {letter}_{b - 1} are" if b - a > 1 else f"{letter}_{a} is" for a, b in pairwise(ends)]
    return ", ".join(f"{place} {name!r}" for place, name in zip(places, names, strict=True))


@dataclass(frozen=True, slots=True)
class _Sources:
    """Follows constants back to the numbers in the file.

    Attributes:
        makers: value that does not depend on the input -> the node that makes it.
        shapes: of all values.
        names: of initialisers, and of constants that may be treated as such.
    """

    makers: Mapping[str, Node]
    shapes: Mapping[str, Sequence[int]]
    names: Set[str]

    def __call__(self, constants: Iterable[str]) -> set[str]:
        """Those that have a number for each entry of one of these, moved, scaled or shifted by others."""
        found, seen, wanted = set[str](), set[str](), list(constants)
        while wanted:
            name = wanted.pop()
            # a sum of a value and itself names it twice: each such would double the work
            if name in seen:
                continue
            seen.add(name)
            if name in self.names:
                found.add(name)
            elif name in self.makers:
                wanted += self.operands(self.makers[name])
        return found

    def operands(self, node: Node) -> Sequence[str]:
        """The inputs of a node that have a number for each entry of its value."""
        if operator(node.op).is_layout:
            return node.inputs[:1]
        # of the same shape: a factor that many entries share has no number for each, and moving it would move them all
        shape = tuple(self.shapes[node.output])
        return [name for name in node.inputs[: _TERMWISE.get(node.op, 0)] if tuple(self.shapes[name]) == shape]


def _repairable_names(
    nodes: Sequence[Node], lowering: Lowering, initialisers: Set[str], constants: Set[str]
) -> frozenset[str]:
    """Numbers that are weights or biases behind or in the first weighted layer, and nothing else.

    ``Constant`` nodes are numbers of the exporter's, such as an epsilon; but where they hold the weights of a layer the
    exporter writes all weights so, and they count as initialisers.
    """
    dependent = lowering.dependent
    makers = {node.output: node for node in nodes if node.output not in dependent}
    sources = _Sources(makers, lowering.shapes, initialisers | constants)
    fixed = {node.output: [name for name in node.inputs if name not in dependent] for node in nodes}
    layers = [fixed[node.output] for node in nodes if operator(node.op).weighted and node.output in dependent]
    # no layer has its weights in Constant nodes, so these are the exporter's own numbers
    if not sources(name for names in layers for name in names) & constants:
        sources = replace(sources, names=initialisers)
    rooted = set(sources.names)  # constants that have a source
    for node in makers.values():
        if not rooted.isdisjoint(sources.operands(node)):
            rooted.add(node.output)
    weighted: set[str] = set()  # dependent values behind a weighted layer
    biasable: set[str] = set()  # values that are a weighted layer's own, up to layout
    chosen: set[str] = set()  # constants, by those who read them
    refused: set[str] = set()
    for node in nodes:
        if node.output not in dependent:
            continue
        behind = any(name in weighted for name in node.inputs)
        found = set(fixed[node.output])
        row = operator(node.op)
        ours = found and rooted.isdisjoint(found) and lowering.named.isdisjoint(found)
        takes = layer = row.weighted and not ours  # a product by which we read another operator is no layer
        if node.op == "Add" and any(name in biasable for name in node.inputs):
            takes = True
        if node.op == "BatchNormalization" and behind:
            # scale and shift alone: mean and variance were measured on data, and are not trained
            chosen.update(node.inputs[1:3])
            found.difference_update(node.inputs[1:3])
        # one use of another kind is enough to refuse: what also serves preprocessing is preprocessing
        (chosen if takes else refused).update(found)
        if layer or behind:
            weighted.add(node.output)
        summed = row.is_layout or node.op == "Add"  # products of several inputs, before they have their bias
        if layer or (summed and biasable.issuperset(node.inputs)):
            biasable.add(node.output)
    return frozenset(sources(chosen) - sources(refused))


def layers_to_onnx(
    layers: Sequence[tuple[ArrayLike, ArrayLike]],
    activation: str = "Relu",
    *,
    alpha: float | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> bytes:
    """An ONNX file of a fully connected network: ``Gemm`` nodes with an activation between them.

    Args:
        layers: weight (out, in) and bias (out,) of each; initialisers are called ``W0``, ``B0``, ``W1``, ...
        activation: the operator, for example ``Relu`` or ``Tanh``.
        alpha: slope of a leaky ReLU, scale of an ELU; by default what ONNX says, 0.01 and 1.
        dtype: of the initialisers, the input ``X`` and the output ``Y``; batches of any size.

    Raises:
        SpecError: no layers, sizes that do not fit each other, or an unknown activation.
    """
    arrays = [(np.asarray(weight, dtype), np.asarray(bias, dtype)) for weight, bias in layers]
    if not arrays or any(w.ndim != 2 or not w.size or b.shape != w.shape[:1] for w, b in arrays):
        raise SpecError("layers need a weight (out, in) and a bias (out,) each")
    if any(first.shape[0] != second.shape[1] for (first, _), (second, _) in pairwise(arrays)):
        raise SpecError("the sizes of the layers do not fit each other")
    known = operators_where(lambda row: row.function is not None)
    if activation not in known:
        raise SpecError(f"activation {activation!r} is unknown; known are {', '.join(sorted(known))}")
    options: dict[str, Any] = (
        {} if alpha is None or "alpha" not in operator(activation).numbers else {"alpha": float(alpha)}
    )
    nodes, tensors, value = [], [], "X"
    for index, pair in enumerate(arrays):
        last = index == len(arrays) - 1
        names, out = [f"W{index}", f"B{index}"], "Y" if last else f"affine_{index}"
        tensors += [numpy_helper.from_array(array, name) for array, name in zip(pair, names, strict=True)]
        nodes.append(helper.make_node("Gemm", [value, *names], [out], name=f"layer_{index}", transB=1))
        value = out
        if not last:
            value = f"active_{index}"
            nodes.append(helper.make_node(activation, [out], [value], name=f"activation_{index}", **options))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    sizes = {"X": arrays[0][0].shape[1], "Y": arrays[-1][0].shape[0]}
    infos = [helper.make_tensor_value_info(name, element, ["batch", size]) for name, size in sizes.items()]
    return model_bytes(helper.make_graph(nodes, "birdnn", infos[:1], infos[1:], tensors))


def network_from_layers(
    layers: Sequence[tuple[ArrayLike, ArrayLike]],
    activation: str = "Relu",
    *,
    alpha: float | None = None,
    dtype: type[np.floating[Any]] = np.float32,
    check: bool = False,
) -> Network:
    """The fully connected network that `layers_to_onnx` describes; `check` compares it with onnxruntime.

    Raises:
        SpecError: see `layers_to_onnx`.
        FormatError: a value is not finite.
    """
    return network_from_onnx(layers_to_onnx(layers, activation, alpha=alpha, dtype=dtype), check=check)
