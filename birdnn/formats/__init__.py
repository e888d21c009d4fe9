"""Files: networks and properties, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from birdnn.errors import FormatError
from birdnn.formats.files import NETWORK_BYTES, read_bytes, stem_and_kind
from birdnn.formats.vnnlib import read_property
from birdnn.later import later
from birdnn.reading import guarded_reader

if TYPE_CHECKING:
    from birdnn import network
    from birdnn.formats import nnet as _nnet
    from birdnn.formats import onnx as _onnx
else:  # by other names: `birdnn.formats.onnx` is the module
    network, _nnet, _onnx = later("birdnn.network"), later("birdnn.formats.nnet"), later("birdnn.formats.onnx")

__all__ = ["network_kind", "read_network", "read_property", "write_network"]


@guarded_reader
def network_kind(path: str | Path) -> str:
    """``"onnx"`` or ``"nnet"``: by extension (``.gz`` ignored), and by content where the extension says neither.

    Raises:
        FormatError: the file is missing or empty, or its extension is unknown and it does not begin as NNet files do.
    """
    kind = stem_and_kind(path)[1]
    if kind in {"onnx", "nnet"}:
        return kind
    # NNet files begin with a comment, ONNX files with a field of protobuf
    head = read_bytes(path, NETWORK_BYTES)[:2]
    if head == b"//":
        return "nnet"
    if kind in {"", "pb"}:
        return "onnx"
    raise FormatError(str(path), "", f"a network is expected (.onnx or .nnet, also with .gz), not .{kind}")


def read_network(path: str | Path) -> network.Network:
    """Read an ONNX or NNet network, compressed or not.

    Raises:
        FormatError: the file cannot be read as a network.
    """
    return _nnet.read_nnet(path).network if network_kind(path) == "nnet" else _onnx.read_onnx(path)


def write_network(net: network.Network, original: str | Path, out: str | Path) -> None:
    """Write `net`, whose values were changed, as the file `original` with other values, in the same format.

    Raises:
        OutputError: `out` is `original`, or cannot be written.
        MismatchError: `net` does not have the initialisers of `original`.
    """
    writer = _nnet.write_nnet if network_kind(original) == "nnet" else _onnx.write_onnx
    writer(net, original, out)
