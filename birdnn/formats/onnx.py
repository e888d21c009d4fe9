"""ONNX files: a graph importer, a writer that changes initialiser values only, and an export of plain networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError, EncodeError
from numpy.typing import NDArray

from birdnn.errors import FormatError, MismatchError, UnsupportedOpError
from birdnn.formats.files import decompressed, read_stored, sha256, write_bytes
from birdnn.formats.lowering import MAX_VALUES, Lowering
from birdnn.formats.tensors import Array, embed_external, put_tensor, read_tensor
from birdnn.network import Graph, Network, Node
from birdnn.operators import SUPPORTED

MAX_BYTES = 1 << 30
"""Largest file that is read, compressed or not."""

_OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
_FLOATS = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
}
_LAYOUT = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_WEIGHTED = frozenset({"Gemm", "MatMul", "Conv"})
_ACTIVATIONS = {"Relu": None, "LeakyRelu": 0.01, "Elu": 1.0, "Sigmoid": None, "Tanh": None}
_SLACK = 1024
_N_PROBES = 4


def read_onnx(path: str | Path) -> Network:
    """Read a network, plain or ``.gz``, and compare it with onnxruntime on seeded inputs.

    Raises:
        FormatError: the file is no ONNX network with one input and one output of floating-point numbers, holds NaN,
            declares sizes that its bytes do not hold, keeps data outside its folder, or our forward pass and
            onnxruntime differ on it.
        UnsupportedOpError: it holds an operator we have no rule for.
    """
    stored = read_stored(path, MAX_BYTES)
    return network_from_onnx(decompressed(stored, path, MAX_BYTES), path=path, digest=sha256(stored))


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
    model = _parse(data, str(path))
    if embed_external(model, path, MAX_BYTES):
        data = _serialised(model, str(path))
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
        repairable=_repairable(nodes, frozenset(lowering.dependent), frozenset(initialisers & used)),
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
        _compare_with_onnxruntime(net, data, lowering.dtypes[lowering.input_name])
    return net


def _parse(data: bytes, path: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise FormatError(path, "", f"not an ONNX file: {error}") from None
    if not model.HasField("graph") or not model.graph.node:
        raise FormatError(path, "", "not an ONNX file: it holds no graph")
    if model.graph.sparse_initializer:
        raise FormatError(path, "", "sparse initialisers are not supported")
    return model


def _opset(model: onnx.ModelProto, path: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in _OPSETS:
        raise FormatError(path, "opset_import", f"opset {versions} is not one of {_OPSETS.start} to {_OPSETS.stop - 1}")
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
        dtypes={inputs[0].name: dtype, **{n: torch.from_numpy(a).dtype for n, a in known.items() if a.dtype.kind == "f"}},
        dependent={inputs[0].name},
    )
    for node in needed:
        if node.op_type != "Constant":
            lowering.add(node)
    if output not in lowering.dependent:
        raise FormatError(path, f"output {output!r}", "does not depend on the input")
    return lowering, output


def _needed(graph: onnx.GraphProto, output: str, path: str) -> list[onnx.NodeProto]:
    wanted, needed = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            if node.domain not in ("", "ai.onnx"):
                raise UnsupportedOpError(path, f"{node.domain}.{node.op_type}", node.name, SUPPORTED)
            wanted.update(node.input)
            needed.append(node)
    return needed[::-1]


def _input_type(value: onnx.ValueInfoProto, path: str) -> tuple[tuple[int, ...], torch.dtype]:
    place = f"input {value.name!r}"
    tensor = value.type.tensor_type
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
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return read_tensor(tensor, path, "constant")
    if attribute.name in ("value_float", "value_floats"):
        array: Array = np.array(onnx.helper.get_attribute_value(attribute), dtype=np.float32)
        if not np.isfinite(array).all():
            raise FormatError(path, place, "holds NaN or infinity")
        return array
    if attribute.name in ("value_int", "value_ints"):
        return np.array(onnx.helper.get_attribute_value(attribute), dtype=np.int64)
    raise FormatError(path, place, f"attribute {attribute.name!r} is not supported")


def _repairable(nodes: Sequence[Node], dependent: frozenset[str], initialisers: frozenset[str]) -> frozenset[str]:
    """Initialisers that are weights or biases behind or in the first weighted layer, and nothing else."""
    makers = {node.output: node for node in nodes}

    def sources(name: str) -> set[str]:
        """The initialisers that `name` is, seen through layout operations."""
        if name in initialisers:
            return {name}
        maker = makers.get(name)
        return sources(maker.inputs[0]) if maker and maker.op in _LAYOUT and name not in dependent else set()

    weighted: set[str] = set()  # dependent values behind a weighted layer
    biasable: set[str] = set()  # values that are a weighted layer's own, up to layout
    chosen: set[str] = set()
    refused: set[str] = set()
    for node in nodes:
        if node.output not in dependent:
            continue
        behind = any(name in weighted for name in node.inputs)
        constants = set().union(*(sources(name) for name in node.inputs if name not in dependent))
        takes = node.op in _WEIGHTED
        if node.op == "Add" and any(name in biasable for name in node.inputs):
            takes = True
        if node.op == "BatchNormalization" and behind:
            chosen |= sources(node.inputs[1]) | sources(node.inputs[2])
            constants -= sources(node.inputs[1]) | sources(node.inputs[2])
        (chosen if takes else refused).update(constants)
        if node.op in _WEIGHTED or behind:
            weighted.add(node.output)
        if node.op in _WEIGHTED or (node.op in _LAYOUT and node.inputs[0] in biasable):
            biasable.add(node.output)
    return frozenset(chosen - refused)


def _session(data: bytes, path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        reason = str(error).strip().partition("\n")[0]
        raise FormatError(path, "", f"onnxruntime refuses the network: {reason}") from None


def _compare_with_onnxruntime(net: Network, data: bytes, dtype: torch.dtype) -> None:
    """Refuse a network that we read otherwise than onnxruntime does.

    Both run in the file's data type, so they may differ by rounding: each entry of a value carries an error of some
    units in the last place of the largest number that was summed on the way. `_SLACK` units of the largest value
    anywhere in the network are allowed; a misread operator is off by far more.
    """
    session = _session(data, net.source)
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn((_N_PROBES, net.n_inputs), generator=generator).to(dtype)
    try:
        theirs = [_run_session(session, net, row.numpy()) for row in probes]
    except Exception as error:  # its exceptions share no base class
        reason = str(error).strip().partition("\n")[0]
        raise FormatError(net.source, "", f"onnxruntime cannot run the network: {reason}") from None
    expected = np.stack([out.ravel() for out in theirs]) if theirs[0].size == net.n_outputs else np.empty(0)
    with torch.no_grad():
        scale = _largest_value(net, probes.double())
        ours = net(probes).numpy()
    if ours.shape != expected.shape:
        raise FormatError(net.source, "", f"onnxruntime gives {theirs[0].size} outputs, our reading {net.n_outputs}")
    difference = np.abs(ours.astype(np.float64) - expected.astype(np.float64))
    allowed = _SLACK * torch.finfo(dtype).eps * scale
    if not (difference <= allowed).all():
        worst = f"{np.nanmax(difference):.3g} apart, {allowed:.3g} allowed"
        raise FormatError(net.source, "", f"our reading and onnxruntime differ: outputs {worst}")


def _run_session(session: onnxruntime.InferenceSession, net: Network, x: NDArray[Any]) -> NDArray[Any]:
    out: NDArray[Any] = session.run([net.output_name], {net.input_name: x.reshape(net.input_shape)})[0]
    return out


def _largest_value(net: Network, x: torch.Tensor) -> float:
    """The largest absolute value that any node makes on `x`, weights included."""
    largest = float(x.abs().max())
    values: dict[str, torch.Tensor] = {name: tensor.double() for name, tensor in net.values().items()}
    return max([largest, float(net(x).abs().max()), *(float(v.abs().max()) for v in values.values() if v.numel())])
