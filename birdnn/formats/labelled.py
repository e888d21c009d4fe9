"""Labelled examples from ``.npz``: ``x`` (n, *shape of one input) of floats, ``y`` (n,) of class indices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdnn.errors import FormatError
from birdnn.formats.files import read_stored, sha256, stem_and_kind
from birdnn.formats.npz import MAX_BYTES, Npz
from birdnn.network import Network
from birdnn.reading import guarded_reader

WANTED = "an .npz file with x, one float32 input in each row, and y, the index of its class"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Examples with the class that each ought to have.

    Attributes:
        name: the file's stem.
        path: as given.
        sha256: of the file.
        x: (n, inputs) float32, each example flattened.
        y: (n,) int64.
    """

    name: str
    path: str
    sha256: str
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@guarded_reader
def read_labelled(path: str | Path, net: Network) -> Labelled:
    """Read examples for a network whose outputs are one score for each class.

    Raises:
        FormatError: the file is unusable, holds no example, or one of another shape, NaN, or an unknown class.
    """
    stored = read_stored(path, MAX_BYTES)
    place = str(path)
    arrays = Npz.of(stored, place, WANTED)
    if missing := [name for name in ("x", "y") if name not in arrays.names]:
        held = ", ".join(arrays.names) or "nothing"
        raise FormatError(place, "", f"holds no array {missing[0]!r} but {held}; wanted is {WANTED}")
    x, y = arrays.array("x"), arrays.array("y")
    inputs, labels = _check_inputs(place, x, net), _check_labels(place, y, net)
    if len(inputs) != len(labels):
        raise FormatError(place, "", f"x has {len(inputs):,} examples and y {len(labels):,} labels")
    if not len(inputs):
        raise FormatError(place, "x", "holds no example")
    return Labelled(
        name=stem_and_kind(path)[0], path=place, sha256=sha256(stored), x=inputs.flatten(1), y=labels.long()
    )


def _check_inputs(place: str, x: NDArray[np.generic], net: Network) -> Tensor:
    shape = net.input_shape[1:] if net.graph.batched else net.input_shape
    if x.dtype.kind != "f":
        told = "scale the pixels as the network wants them" if x.dtype.kind in "iub" else "no numbers"
        raise FormatError(place, "x", f"float32 is expected, not {x.dtype}: {told}")
    if x.shape[1:] != shape:
        wanted = ", ".join(map(str, ("n", *shape)))
        raise FormatError(place, "x", f"its shape is {x.shape}; the network takes images of shape ({wanted})")
    # float64 beyond float32 becomes infinite, and is refused with the example's number
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        raise FormatError(place, f"x, example {int(np.argmin(finite))}", "holds NaN or infinity")
    return torch.from_numpy(values)


def _check_labels(place: str, y: NDArray[np.generic], net: Network) -> Tensor:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise FormatError(place, "y", f"class indices, integers of shape (n,), are expected, not {y.dtype} {y.shape}")
    # it would wrap around below, and the message would name another class
    if y.dtype == np.uint64 and y.size and y.max() > np.iinfo(np.int64).max:
        raise FormatError(place, "y", f"class {y.max()}; the network has classes 0 to {net.n_outputs - 1}")
    labels = y.astype(np.int64)
    outside = (labels < 0) | (labels >= net.n_outputs)
    if outside.any():
        first = int(np.argmax(outside))
        told = f"class {int(labels[first])}; the network has classes 0 to {net.n_outputs - 1}"
        raise FormatError(place, f"y, example {first}", told)
    return torch.from_numpy(labels)
