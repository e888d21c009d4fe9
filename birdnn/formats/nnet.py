"""NNet files: a fully connected ReLU network in text, with the constants that normalise its inputs and outputs.

The network we verify and repair is the unclipped one, on normalised inputs and outputs; the header's ranges and its
normalisation are kept beside it.

Source: Julian, Stanford 2016, https://github.com/sisl/NNet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdnn.decimals import parse_number
from birdnn.errors import FormatError, MismatchError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.files import decompressed, read_stored, sha256, write_bytes
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.network import Network
from birdnn.reading import reads
from birdnn.spec import Property, Scaling, round_down, round_up

MAX_BYTES = 1 << 28
"""Largest file that is read, compressed or not."""

_MAX_LAYERS = 1000
_MAX_SIZE = 1 << 20
_LEAST_RANGE = Fraction(1, 10**300)

Matrix = NDArray[np.float64]
Layer = tuple[Matrix, Matrix]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NNet:
    """What an NNet file holds.

    Attributes:
        network: unclipped, on normalised inputs and outputs, in float32; initialisers ``W0``, ``B0``, ``W1``, ...
        scaling: the normalisation, exact as written.
        input_lower, input_upper: the header's ranges, raw units, exact as written.
        layers: weight (out, in) and bias (out,) of each layer, as written, in float64.
    """

    network: Network
    scaling: Scaling
    input_lower: tuple[Fraction, ...]
    input_upper: tuple[Fraction, ...]
    layers: tuple[Layer, ...]

    def evaluate(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Outputs for normalised inputs, both normalised, in float32: (n_inputs,) -> (n_outputs,), or batches of them.

        A second implementation for replay: NumPy on the file's own numbers, neither torch nor onnxruntime.
        """
        value = np.asarray(x, dtype=np.float32)
        for index, (weight, bias) in enumerate(self.layers):
            value = value @ weight.astype(np.float32).T + bias.astype(np.float32)
            if index < len(self.layers) - 1:
                value = np.maximum(value, np.float32(0))
        return value

    def onnx_bytes(self) -> bytes:
        """An ONNX file of the network, for replay in other engines."""
        return to_onnx_bytes(self.network)

    def domain(self) -> tuple[Tensor, Tensor]:
        """The header's input ranges in network units, rounded outward: (n_inputs,) float64 each."""
        lower = [round_down(value) for value in self._normalised(self.input_lower)]
        upper = [round_up(value) for value in self._normalised(self.input_upper)]
        return torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)

    def warnings(self, prop: Property) -> tuple[str, ...]:
        """What to tell a user whose property, in network units, leaves the header's ranges: one line for each input.

        A tool that clips inputs, as the format suggests, computes something else there than the network we speak about.
        A billionth of the range is let pass: benchmark files round their bounds to nine decimals.

        Raises:
            MismatchError: the property is for networks of another size.
        """
        prop.require_sizes(self.network.n_inputs, self.network.n_outputs)
        lower, upper = self._normalised(self.input_lower), self._normalised(self.input_upper)
        lines = []
        for index in range(prop.n_inputs):
            low = min(region.exact_lower[index] for region in prop.regions)
            high = max(region.exact_upper[index] for region in prop.regions)
            slack = Fraction(1, 10**9)
            if low < lower[index] - slack or high > upper[index] + slack:
                mean, extent = self.scaling.input_means[index], self.scaling.input_ranges[index]
                asked = f"[{float(low * extent + mean):.9g}, {float(high * extent + mean):.9g}]"
                given = f"[{float(self.input_lower[index]):.9g}, {float(self.input_upper[index]):.9g}]"
                lines.append(
                    f"property {prop.name!r} takes input {index} to {asked} (raw units), beyond the header's range "
                    f"{given}; the network is not clipped here"
                )
        return tuple(lines)

    def _normalised(self, raw: tuple[Fraction, ...]) -> list[Fraction]:
        parts = zip(raw, self.scaling.input_means, self.scaling.input_ranges, strict=True)
        return [(value - mean) / extent for value, mean, extent in parts]


@reads
def read_nnet(path: str | Path) -> NNet:
    """Read an NNet file, plain or ``.gz``, and compare its ONNX form with onnxruntime and with NumPy.

    Raises:
        FormatError: the file is no NNet file, or holds NaN or an empty range; names the line.
    """
    stored = read_stored(path, MAX_BYTES)
    lines = _Lines.of(decompressed(stored, path, MAX_BYTES), str(path))
    sizes, header = _read_header(lines)
    layers = tuple(_read_layer(lines, n_in, n_out) for n_in, n_out in pairwise(sizes))
    if (left := lines.rest()) is not None:
        raise lines.fail(left, "the file goes on after the last bias")
    network = network_from_onnx(layers_to_onnx(layers), path=path, digest=sha256(stored))
    scaling = Scaling(
        input_means=header[2][:-1], input_ranges=header[3][:-1], output_mean=header[2][-1], output_range=header[3][-1]
    )
    nnet = NNet(network=network, scaling=scaling, input_lower=header[0], input_upper=header[1], layers=layers)
    _compare_with_numpy(nnet)
    return nnet


def write_nnet(net: Network, original: str | Path, out: str | Path) -> None:
    """Write the NNet file `original` with the values of `net`, nine significant digits each; its header is kept.

    Nine digits identify a float32: read back, the weights are the same.

    Raises:
        FormatError: `original` cannot be read.
        MismatchError: `net` has other initialisers than `original`, or values that are not finite in float32.
        OutputError: `out` is `original`, or cannot be written.
    """
    lines = _Lines.of(decompressed(read_stored(original, MAX_BYTES), original, MAX_BYTES), str(original))
    sizes, _ = _read_header(lines)
    text = [line.rstrip() for line in lines.lines[: lines.next]]
    values = net.initialisers()
    if len(values) != 2 * (len(sizes) - 1):
        raise MismatchError(f"{original} has {len(sizes) - 1} layers; the network has {len(values)} initialisers")
    for index, (n_in, n_out) in enumerate(pairwise(sizes)):
        for name, shape in ((f"W{index}", (n_out, n_in)), (f"B{index}", (n_out,))):
            if name not in values or tuple(values[name].shape) != shape:
                raise MismatchError(f"the network has no initialiser {name!r} of shape {shape}, as {original} has")
            array = values[name].detach().cpu().to(torch.float32).numpy()
            if not np.isfinite(array).all():
                raise MismatchError(f"initialiser {name!r} would hold NaN or infinity")
            text.extend("".join(f"{value:.8e}," for value in row) for row in array.reshape(n_out, -1))
    write_bytes(out, ("\n".join(text) + "\n").encode(), keep=original)


@dataclass
class _Lines:
    """The lines of a file, read one after the other; comments and blank lines are passed over."""

    path: str
    lines: list[str]
    next: int = 0

    @classmethod
    def of(cls, data: bytes, path: str) -> _Lines:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(path, f"byte {error.start}", "not text in UTF-8") from None
        return cls(path, text.removesuffix("\n").split("\n"))

    def rest(self) -> int | None:
        """Number of the next line that holds something, None at the end."""
        while self.next < len(self.lines):
            line = self.lines[self.next].strip()
            if line and not line.startswith("//"):
                return self.next + 1
            self.next += 1
        return None

    def fail(self, line: int, problem: str) -> FormatError:
        return FormatError(self.path, f"line {line}", problem)

    def words(self, what: str, count: int | None) -> tuple[int, list[str]]:
        """The next line's number and its words; `count` of them where it is given."""
        number = self.rest()
        if number is None:
            raise self.fail(len(self.lines), f"the file ends where {what} should come")
        line = self.lines[self.next].strip().removesuffix(",")
        words = [word.strip() for word in line.split(",")]
        if count is not None and len(words) != count:
            raise self.fail(number, f"{what}: {count} numbers are expected, not {len(words)}")
        self.next += 1
        return number, words

    def integers(self, what: str, count: int | None, least: int, most: int) -> list[int]:
        """The next line as integers from `least` to `most`."""
        number, words = self.words(what, count)
        for word in words:
            digits = word.removeprefix("-")
            if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and least <= int(word) <= most):
                raise self.fail(number, f"{what}: {word[:40]!r} is no integer from {least} to {most}")
        return [int(word) for word in words]

    def exact(self, what: str, count: int) -> tuple[Fraction, ...]:
        """The next line as exact numbers."""
        number, words = self.words(what, count)
        values = [parse_number(word) for word in words]
        for word, value in zip(words, values, strict=True):
            if value is None or not math.isfinite(round_up(abs(value))):
                raise self.fail(number, f"{what}: {word[:40]!r} is no number we can read")
        return tuple(value for value in values if value is not None)

    def floats(self, what: str, count: int) -> list[float]:
        """The next line as numbers that are finite in float32."""
        number, words = self.words(what, count)
        values = []
        for word in words:
            try:
                value = float(word) if "_" not in word else math.nan
            except ValueError:
                value = math.nan
            if not abs(value) <= _LARGEST:
                raise self.fail(number, f"{what}: {word[:40]!r} is no finite float32")
            values.append(value)
        return values


_LARGEST = float(np.finfo(np.float32).max)

Header = tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...]]


def _read_header(lines: _Lines) -> tuple[list[int], Header]:
    """Layer sizes, and minima, maxima, means, ranges."""
    n_layers, n_in, n_out, _ = lines.integers("layer count, inputs, outputs, largest layer", 4, 1, _MAX_SIZE)
    if n_layers > _MAX_LAYERS:
        raise lines.fail(lines.next, f"{n_layers} layers are more than {_MAX_LAYERS}")
    sizes = lines.integers("layer sizes", n_layers + 1, 1, _MAX_SIZE)
    if (sizes[0], sizes[-1]) != (n_in, n_out):
        raise lines.fail(lines.next, f"layer sizes {sizes} do not start with {n_in} and end with {n_out}")
    lines.words("flag", 1)
    lower, upper = lines.exact("input minima", n_in), lines.exact("input maxima", n_in)
    for index, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if low > high:
            problem = f"input {index} has minimum {float(low):.9g} above maximum {float(high):.9g}"
            raise lines.fail(lines.next, problem)
    means, ranges = lines.exact("means", n_in + 1), lines.exact("ranges", n_in + 1)
    if any(value < _LEAST_RANGE for value in ranges):
        raise lines.fail(lines.next, f"ranges must be positive, {float(_LEAST_RANGE):.0e} or more")
    return sizes, (lower, upper, means, ranges)


def _read_layer(lines: _Lines, n_in: int, n_out: int) -> Layer:
    if len(lines.lines) - lines.next < 2 * n_out:
        raise lines.fail(len(lines.lines), f"the file ends before the {n_out} weight rows and biases of a layer")
    weight = [lines.floats("weights", n_in) for _ in range(n_out)]
    bias = [lines.floats("bias", 1) for _ in range(n_out)]
    return np.array(weight, dtype=np.float64), np.array(bias, dtype=np.float64)[:, 0]


def _compare_with_numpy(nnet: NNet) -> None:
    """Refuse a network whose torch form computes something else than NumPy on the file's numbers."""
    probes = torch.randn((4, nnet.network.n_inputs), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = nnet.network(probes).numpy()
    values, largest = probes.double().numpy(), 1.0
    with np.errstate(all="ignore"):
        direct = nnet.evaluate(probes.numpy())
        for weight, bias in nnet.layers:
            values = np.abs(values) @ np.abs(weight.T) + np.abs(bias)
            largest = max(largest, float(values.max()))
    if not np.abs(ours - direct).max() <= 512 * np.finfo(np.float32).eps * largest:
        raise FormatError(nnet.network.source, "", "NumPy and torch differ on the network")
