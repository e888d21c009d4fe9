"""ONNX files: a graph importer, a writer that changes initialiser values only, and plain networks from layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError, EncodeError
from numpy.typing import ArrayLike
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from birdnn.errors import FormatError, MismatchError, SpecError, UnsupportedOpError
from birdnn.formats.agreement import require_agreement
from birdnn.formats.export import model_bytes
from birdnn.formats.files import NETWORK_BYTES, decompressed, read_bytes, read_stored, sha256, write_bytes
from birdnn.formats.graph import Lowering
from birdnn.formats.lowering import MAX_VALUES
from birdnn.formats.rewriting import READ
from birdnn.formats.tensors import Array, embed_external, put_tensor, read_attribute, read_tensor
from birdnn.graph import Graph, Node
from birdnn.network import Network
from birdnn.operators import operator, operators_where
from birdnn.reading import reads

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
"""Versions of the operator set that are read."""
_FLOATS: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
}
_CONSTANTS: Mapping[str, int] = {
    "value": AttributeProto.TENSOR,
    "value_float": AttributeProto.FLOAT,
    "value_floats": AttributeProto.FLOATS,
    "value_int": AttributeProto.INT,
    "value_ints": AttributeProto.INTS,
}
"""How the value of a ``Constant`` may be written; onnxruntime goes by the type and not by the name."""


@reads
def read_onnx(path: str | Path) -> Network:
    """Read a network, plain or ``.gz``, and compare it with onnxruntime on seeded inputs.

    Raises:
        FormatError: the file is no ONNX network with one input and one output of floating-point numbers, holds NaN,
            declares sizes that its bytes do not hold, keeps data outside its folder, or our forward pass and
            onnxruntime differ on it.
        UnsupportedOpError: it holds an operator we have no rule for.
    """
    stored = read_stored(path, NETWORK_BYTES)
    return network_from_onnx(decompressed(stored, path, NETWORK_BYTES), path=path, digest=sha256(stored))


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
    model = parsed(data, str(original))
    changed = embed_external(model, original, NETWORK_BYTES)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in net.initialisers().items():
        if name not in tensors:
            raise MismatchError(f"{original} has no initialiser {name!r}")
        read_tensor(tensors[name], str(original))
        changed |= put_tensor(tensors[name], value.detach().cpu().numpy())
    return serialised(model, str(original)) if changed else data


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
    model = parsed(data, str(path))
    if embed_external(model, path, NETWORK_BYTES):
        data = serialised(model, str(path))
    lowering, output = _lower(model, str(path))
    nodes = lowering.batched()
    batched = nodes is not None
    nodes = nodes or tuple(lowering.nodes)
    initialisers = {tensor.name for tensor in model.graph.initializer}
    used = {name for node in nodes for name in node.inputs if name in lowering.known}
    ordered = [name for name in lowering.known if name in used]
    graph = Graph(
        nodes=nodes,
        input_name=lowering.input_name,
        output_name=output,
        shapes={name: lowering.shapes[name] for name in (lowering.input_name, *(node.output for node in nodes))},
        dependent=frozenset(lowering.dependent),
        repairable=_repairable(nodes, frozenset(lowering.dependent), frozenset(initialisers & used - lowering.fixed)),
        batched=batched,
    )
    net = Network(
        graph,
        {name: torch.from_numpy(lowering.known[name]) for name in ordered if name in initialisers},
        {name: torch.from_numpy(lowering.known[name]) for name in ordered if name not in initialisers},
        source=str(path),
        sha256=digest,
    )
    if check:
        require_agreement(net, data, lowering.dtypes[lowering.input_name])
    return net


def parsed(data: bytes, path: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise FormatError(path, "", f"not an ONNX file: {error}") from None
    if not model.HasField("graph") or not model.graph.node:
        raise FormatError(path, "", "not an ONNX file: it holds no graph")
    if any(isinstance(text, bytes) for text in _names(model.graph)):
        raise FormatError(path, "", "not an ONNX file: a name in it is not UTF-8")
    if model.graph.sparse_initializer:
        raise FormatError(path, "", "sparse initialisers are not supported")
    return model


def _names(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """All names in a graph, of axes too; protobuf hands out those that are not UTF-8 as bytes."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for value in (*graph.input, *graph.output):
        yield from (axis.dim_param for axis in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def serialised(model: onnx.ModelProto, path: str) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:  # protobuf ends at 2 GiB
        raise FormatError(path, "", f"cannot be put into one ONNX file: {error}") from None


def _opset(model: onnx.ModelProto, path: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise FormatError(path, "opset_import", f"opset {versions} is not one of {OPSETS.start} to {OPSETS.stop - 1}")
    return int(versions[0])


def _lower(model: onnx.ModelProto, path: str) -> tuple[Lowering, str]:
    known: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        if not tensor.name or tensor.name in known:
            raise FormatError(path, f"initialiser {tensor.name!r}", "its name is missing or given twice")
        known[tensor.name] = read_tensor(tensor, path)
    inputs = [value for value in model.graph.input if value.name not in known]
    outputs = list(model.graph.output)
    for kind, values in (("input", inputs), ("output", outputs)):
        if len(values) != 1:
            names = ", ".join(repr(value.name) for value in values)
            raise FormatError(path, "", f"a network with one {kind} is expected, not {len(values)} ({names})")
    _require_distinct((inputs[0].name, *known, *(name for node in model.graph.node for name in node.output)), path)
    shape, dtype = _input_type(inputs[0], path)
    output = outputs[0].name
    needed = _needed(model.graph, output, path)
    for node in needed:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            known[node.output[0]] = _constant(node, path)
    lowering = Lowering(
        path=path,
        opset=_opset(model, path),
        input_name=inputs[0].name,
        known=known,
        shapes={inputs[0].name: shape, **{name: array.shape for name, array in known.items()}},
        dtypes={
            inputs[0].name: dtype,
            **{name: torch.from_numpy(array).dtype for name, array in known.items() if array.dtype.kind == "f"},
        },
        dependent={inputs[0].name},
        named=frozenset(str(name) for name in _names(model.graph) if name),
    )
    for node in needed:
        if node.op_type != "Constant":
            lowering.add(node)
    if output not in lowering.dependent:
        raise FormatError(path, f"output {output!r}", "does not depend on the input")
    return lowering, output


def _require_distinct(names: Iterable[str], path: str) -> None:
    """Of two values of one name, needed or not, onnxruntime takes one or the other."""
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise FormatError(path, f"value {twice[0]!r}", "is made twice")


def _needed(graph: onnx.GraphProto, output: str, path: str) -> list[onnx.NodeProto]:
    wanted, needed = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            if node.domain not in ("", "ai.onnx"):
                raise UnsupportedOpError(path, f"{node.domain}.{node.op_type}", node.name, READ)
            wanted.update(node.input)
            needed.append(node)
    return needed[::-1]


def _input_type(value: onnx.ValueInfoProto, path: str) -> tuple[tuple[int, ...], torch.dtype]:
    place = f"input {value.name!r}"
    tensor = value.type.tensor_type
    if tensor.elem_type == TensorProto.FLOAT16:
        raise FormatError(path, place, "half precision (float16) is not supported; convert the network to float32")
    if not value.name or tensor.elem_type not in _FLOATS or not tensor.HasField("shape"):
        raise FormatError(path, place, "a tensor of floating-point numbers with a shape is expected")
    shape = []
    for axis, dim in enumerate(tensor.shape.dim):
        size = dim.dim_value if dim.HasField("dim_value") else 0
        if axis == 0 and size <= 0:
            size = 1  # symbolic batch; some exporters write 0 or -1
        if size <= 0:
            raise FormatError(path, place, f"axis {axis} has no fixed size; only the first, the batch, may vary")
        shape.append(size)
    total = int(np.prod([float(size) for size in shape])) if shape else 0
    if not 0 < total <= MAX_VALUES:
        raise FormatError(path, place, f"shape {shape} has no entries or more than {MAX_VALUES}")
    return tuple(shape), _FLOATS[tensor.elem_type]


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
    array: Array = np.array(read_attribute(attribute), dtype=np.float32 if real else np.int64)
    if real and not np.isfinite(array).all():
        raise FormatError(path, place, "holds NaN or infinity")
    return array


def _repairable(nodes: Sequence[Node], dependent: frozenset[str], initialisers: frozenset[str]) -> frozenset[str]:
    """Initialisers that are weights or biases behind or in the first weighted layer, and nothing else."""
    makers = {node.output: node for node in nodes}

    def sources(name: str) -> set[str]:
        """The initialiser that `name` is, seen through layout operations; none where it is something else."""
        while name not in initialisers:
            maker = makers.get(name)
            if maker is None or not operator(maker.op).is_layout or name in dependent:
                return set()
            name = maker.inputs[0]
        return {name}

    weighted: set[str] = set()  # dependent values behind a weighted layer
    biasable: set[str] = set()  # values that are a weighted layer's own, up to layout
    chosen: set[str] = set()
    refused: set[str] = set()
    for node in nodes:
        if node.output not in dependent:
            continue
        behind = any(name in weighted for name in node.inputs)
        constants = set().union(*(sources(name) for name in node.inputs if name not in dependent))
        row = operator(node.op)
        takes = row.weighted
        if node.op == "Add" and any(name in biasable for name in node.inputs):
            takes = True
        if node.op == "BatchNormalization" and behind:
            chosen |= sources(node.inputs[1]) | sources(node.inputs[2])
            constants -= sources(node.inputs[1]) | sources(node.inputs[2])
        (chosen if takes else refused).update(constants)
        if row.weighted or behind:
            weighted.add(node.output)
        if row.weighted or (row.is_layout and node.inputs[0] in biasable):
            biasable.add(node.output)
    return frozenset(chosen - refused)


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
