"""Inputs that a network is used on, with or without the right decision: ``repair --data`` and ``--test``.

NPZ: ``x`` (n, inputs), or (n, *shape of one input), and perhaps ``y`` (n,), the index of the output that ought to
decide. CSV: a header that names ``x_0`` .. and perhaps ``decision``, as in a file of points; other columns of such a
file are passed over.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdnn.decimals import FORM, parse_float
from birdnn.errors import FormatError
from birdnn.formats.files import read_bytes, stem_and_kind
from birdnn.formats.npz import MAX_BYTES, Npz
from birdnn.network import Network
from birdnn.reading import guarded_reader

WANTED = "an .npz file with x, or CSV with the columns x_0 .. x_n, is expected"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """A file of inputs.

    Attributes:
        path: as given.
        x: (n, inputs) float32.
        y: (n,) int64, the outputs that ought to decide; None where the file does not say it.
    """

    path: str
    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


@guarded_reader
def read_inputs(path: str | Path, net: Network, names: Sequence[str] = ()) -> Inputs:
    """Read inputs for a network.

    Args:
        path: .npz or .csv, also with .gz.
        net: the network.
        names: of the outputs, where they have any: a decision may be given by name.

    Raises:
        FormatError: the file is neither, holds no input, one of another size, no number, or an unknown output.
    """
    place, kind = str(path), stem_and_kind(path)[1]
    if kind not in ("npz", "csv"):
        raise FormatError(place, "", WANTED)
    data = read_bytes(path, MAX_BYTES)
    x, y = _read_npz(place, data, net) if kind == "npz" else _read_csv(place, data, net, names)
    if not len(x):
        raise FormatError(place, "", f"holds no input; {WANTED}")
    # what overflows becomes infinite, and is refused below with its row
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    finite = np.isfinite(values).all(1)
    if not finite.all():
        raise FormatError(place, f"input {int(np.argmin(finite))}", "holds NaN, infinity, or what float32 cannot hold")
    labels = None if y is None else _check_labels(place, y, len(values), net.n_outputs)
    return Inputs(path=place, x=torch.from_numpy(values), y=labels)


def _read_npz(place: str, data: bytes, net: Network) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    arrays = Npz.of(data, place, WANTED)
    x = arrays.array("x") if "x" in arrays.names else None
    if x is None or x.ndim < 2 or x.dtype.kind != "f":
        had = "no array x" if x is None else f"x of {x.dtype} with shape {x.shape}"
        raise FormatError(place, "x", f"has {had}; floats of shape (n, {net.n_inputs}) are expected")
    shape = net.input_shape[1:] if net.graph.batched else net.input_shape
    if x.shape[1:] not in (shape, (net.n_inputs,)):
        raise FormatError(place, "x", f"its shape is {x.shape}; the network takes (n, {net.n_inputs})")
    return x.reshape(len(x), net.n_inputs), arrays.array("y") if "y" in arrays.names else None


def _read_csv(
    place: str, data: bytes, net: Network, names: Sequence[str]
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        table = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(place, "", f"not CSV as UTF-8 text: {error}") from None
    header = [cell.strip().casefold() for cell in (table[0][1] if table else [])]
    wanted = [f"x_{i}" for i in range(net.n_inputs)]
    if missing := [name for name in wanted if header.count(name) != 1]:
        raise FormatError(place, "line 1", f"column {missing[0]!r} has to be there once; {WANTED}")
    places = [header.index(name) for name in wanted]
    # float64, so that overflow is noticed once and in one place, behind both formats
    x, y = np.empty((len(table) - 1, net.n_inputs)), np.empty(len(table) - 1, dtype=np.int64)
    decided = header.index("decision") if "decision" in header else None
    known = {name.casefold(): index for index, name in enumerate(names)}
    for row, (line, cells) in enumerate(table[1:]):
        if len(cells) != len(header):
            raise FormatError(place, f"line {line}", f"{len(cells)} values; the header names {len(header)}")
        x[row] = [_parse_input(place, line, cells[at].strip()) for at in places]
        if decided is not None:
            y[row] = _parse_decision(place, line, cells[decided].strip(), known)
    return x, None if decided is None else y


def _parse_input(place: str, line: int, cell: str) -> float:
    """A number of an input: beyond float64 it is infinite, and refused with what float32 cannot hold."""
    value = parse_float(cell)
    if value is None:
        raise FormatError(place, f"line {line}", f"holds {cell[:40]!r}; {FORM} is expected")
    return value


def _parse_decision(place: str, line: int, cell: str, known: dict[str, int]) -> int:
    if cell.casefold() in known:
        return known[cell.casefold()]
    if cell.isascii() and cell.isdigit() and len(cell) < 10:
        return int(cell)
    raise FormatError(place, f"line {line}", f"decision {cell!r} is no index of an output, nor the name of one")


def _check_labels(place: str, y: NDArray[np.generic], n: int, n_outputs: int) -> Tensor:
    if y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != n:
        raise FormatError(place, "y", f"{n:,} indices of outputs are expected, not {y.dtype} of shape {y.shape}")
    labels = y.astype(np.int64)
    outside = (labels < 0) | (labels >= n_outputs)
    if outside.any():
        first = int(np.argmax(outside))
        raise FormatError(place, f"input {first}", f"output {int(labels[first])}; the network has 0 to {n_outputs - 1}")
    return torch.from_numpy(labels)
