"""Is a network read as onnxruntime reads it?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdnn.errors import FormatError
from birdnn.network import Network
from birdnn.operators import apply
from birdnn.runtime import Session

_SLACK = 512  # units in the last place, see `require_agreement`
_N_PROBES, _N_PROBES_OF_LARGE, _LARGE = 4, 2, 1 << 20


def require_agreement(net: Network, data: bytes, dtype: torch.dtype) -> None:
    """Refuse a network that we read otherwise than onnxruntime does, on seeded inputs: one by one there, a batch here.

    Both run in the file's data type, so they may differ by rounding: each entry of a value carries an error of some
    units in the last place of the largest number that was summed on the way. 512 units of the largest value anywhere in
    the network are allowed (on the ACAS Xu networks none is seen, on forty layers of 256 about ten); a misread operator
    is off by far more.

    Args:
        net: what was read.
        data: the bytes of the uncompressed file.
        dtype: data type of the file's input.

    Raises:
        FormatError: they differ, or onnxruntime cannot load or run the file.
    """
    session = _open_session(data, net.source)
    x = probe_inputs(net, dtype)
    # one at a time, and ours as a batch: samples that are mixed in our reading would show
    theirs = [_run_session(session, net, row.numpy()) for row in x]
    if theirs[0].size != net.n_outputs:
        raise FormatError(net.source, "", f"onnxruntime gives {theirs[0].size} outputs, our reading {net.n_outputs}")
    try:
        with torch.no_grad():
            allowed = allowed_error(net, x).numpy()
            ours = net(x).double().numpy()
    except RuntimeError as error:
        raise FormatError(net.source, "", f"the network cannot be evaluated: {_first_line(error)}") from None
    expected = np.stack([out.ravel() for out in theirs]).astype(np.float64)
    # only where both have none: elsewhere NaN has to fail the comparison
    undefined = np.isnan(ours) & np.isnan(expected)  # a root or logarithm of what is negative
    if undefined.all():
        raise FormatError(net.source, "", "its outputs are no numbers on all inputs that were tried")
    with np.errstate(invalid="ignore"):  # infinity less infinity differs by more than is allowed
        difference = np.where(undefined, 0.0, np.abs(ours - expected))
    # written so that NaN fails
    if not (difference <= allowed).all():
        worst = f"{float(difference.max()):.3g} apart, {float(allowed.min()):.3g} allowed"
        raise FormatError(
            net.source, "", f"our reading and onnxruntime differ: outputs are {worst}{_quantisation_hint(data)}"
        )


def probe_inputs(net: Network, dtype: torch.dtype) -> Tensor:
    """Seeded inputs on which a network is compared with others: (n, n_inputs), the same at each call."""
    generator = torch.Generator().manual_seed(0)
    # each probe is evaluated three times: in torch, in float64 and by onnxruntime
    size = sum(math.prod(shape) for shape in net.graph.shapes.values())
    count = _N_PROBES if size < _LARGE else _N_PROBES_OF_LARGE
    return torch.randn((count, net.n_inputs), generator=generator).to(dtype)


def allowed_error(net: Network, x: Tensor) -> Tensor:
    """How far outputs at inputs (n, n_inputs) may differ between two who run the same network: (n, 1) float64."""
    with torch.no_grad():
        scale = torch.tensor([[_largest_value(net, row)] for row in x.double()], dtype=torch.float64)
    return _SLACK * torch.finfo(x.dtype).eps * scale


def _quantisation_hint(data: bytes) -> str:
    """Measured of 1.31: a matrix product with weights of 8 bits rounds what it reads to 8 bits as well."""
    if b"DequantizeLinear" not in data:
        return ""
    return ". onnxruntime quantises what is multiplied by quantised weights; store these as float32 instead"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def require_label(net: Network, data: bytes, dtype: torch.dtype) -> None:
    """Refuse a file that gives another label than the place of the greatest output, beyond what rounding allows.

    Args:
        net, dtype: see `require_agreement`.
        data: the bytes of the file, with what makes the label.

    Raises:
        FormatError: it does, or onnxruntime cannot load or run it.
    """
    session, x = _open_session(data, net.source), probe_inputs(net, dtype)
    with torch.no_grad():
        values, room = net(x).double(), allowed_error(net, x)[:, 0]
    # whose value is within rounding of the greatest may be the label in onnxruntime
    for row, y, least in zip(x, values, values.amax(1) - room, strict=True):
        given = _run_session(session, net, row.numpy())
        place = int(given[0]) if given.size == 1 else -1  # several values are no label
        if not (0 <= place < len(y) and y[place] >= least):
            raise FormatError(net.source, "", f"our reading and onnxruntime differ: its label is {given.tolist()[:8]}")


def _open_session(data: bytes, path: str) -> Session:
    try:
        return Session(data)
    except Exception as error:  # noqa: BLE001 - its exceptions share no base class
        raise FormatError(path, "", f"onnxruntime refuses the network: {_first_line(error)}") from None


def _run_session(session: Session, net: Network, x: NDArray[Any]) -> NDArray[Any]:
    try:
        return session(x)
    except Exception as error:  # noqa: BLE001 - its exceptions share no base class
        raise FormatError(net.source, "", f"onnxruntime cannot run the network: {_first_line(error)}") from None


def _largest_value(net: Network, row: Tensor) -> float:
    """The largest absolute value that any node makes from one input (n_inputs,)."""
    values = {name: tensor.double() for name, tensor in net.values().items()}
    values[net.input_name] = row.reshape(net.input_shape)
    for node in net.nodes:  # both forms of a graph take a batch of one
        values[node.output] = apply(node.op, [values[name] for name in node.inputs], node.attributes, node.name)
    made = (values[name].abs() for name in (net.input_name, *(node.output for node in net.nodes)))
    return max(float(value.nan_to_num(nan=0.0).max()) for value in made)
