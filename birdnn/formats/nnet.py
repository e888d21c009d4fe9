"""NNet files: a fully connected ReLU network in text, with the constants that normalise its inputs and outputs.

The network we verify and repair is the unclipped one, on normalised inputs and outputs; the header's ranges and its
normalisation are kept beside it. Files in the field have odd headers: text without ``//``, integers written ``3.0``, no
flag, zeros or other numbers of values where minima, maxima, means and ranges belong. None of that changes the network;
what cannot be read of it is an error for whoever needs it.

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

from birdnn.decimals import parse_float, parse_number
from birdnn.errors import FormatError, MismatchError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.files import read_stored, sha256, unpack_gzip, write_bytes
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.network import Network
from birdnn.reading import guarded_reader
from birdnn.spec import Property, Scaling, round_down, round_up

MAX_BYTES = 1 << 28
"""Largest file that is read, compressed or not."""

_MAX_LAYERS = 1000
_MAX_SIZE = 1 << 20
_LEAST_RANGE = Fraction(1, 10**300)

_CODING = "latin-1"
"""Every byte is a character: comments are kept whatever they are written in, and all else is ASCII."""

_MARK = "\ufeff".encode().decode(_CODING)

Numbers = tuple[Fraction, ...]
Matrix = NDArray[np.float64]
Layer = tuple[Matrix, Matrix]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NNet:
    """What an NNet file holds.

    Attributes:
        network: unclipped, on normalised inputs and outputs, in float32; initialisers ``W0``, ``B0``, ``W1``, ...
        scaling: the normalisation, exact as written; None where the header does not hold it.
        ranges: the header's minima and maxima of inputs, raw units, exact as written; None where it does not hold them.
        layers: weight (out, in) and bias (out,) of each layer, as written, in float64.
        oddity: why the header does not hold the scaling; None where it does.
    """

    network: Network
    scaling: Scaling | None
    ranges: tuple[Numbers, Numbers] | None
    layers: tuple[Layer, ...]
    oddity: FormatError | None = None

    def require_scaling(self) -> Scaling:
        """The normalisation.

        Raises:
            FormatError: the header does not hold it.
        """
        if self.scaling is not None:
            return self.scaling
        path, place, problem = self.oddity.args if self.oddity is not None else (self.network.source, "", "no scaling")
        told = "raw units need it, --units normalised does not"
        raise FormatError(path, place, f"the header's normalisation cannot be used: {problem}; {told}")

    def evaluate(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Outputs for normalised inputs, both normalised, in float32: (n_inputs,) -> (n_outputs,), or batches of them.

        A second implementation for replay: NumPy on the file's own numbers, neither torch nor onnxruntime.
        """
        # float32 throughout: in float64 it would be another execution than the one that is replayed
        value = np.asarray(x, dtype=np.float32)
        for index, (weight, bias) in enumerate(self.layers):
            value = value @ weight.astype(np.float32).T + bias.astype(np.float32)
            if index < len(self.layers) - 1:
                value = np.maximum(value, np.float32(0))
        return value

    def onnx_bytes(self) -> bytes:
        """An ONNX file of the network, for replay in other engines."""
        return to_onnx_bytes(self.network)

    def domain(self) -> tuple[Tensor, Tensor] | None:
        """The header's input ranges in network units, rounded outward: (n_inputs,) float64 each; None without them."""
        if self.scaling is None or self.ranges is None:
            return None
        lower, upper = (_in_network_units(side, self.scaling) for side in self.ranges)
        return (
            torch.tensor([round_down(value) for value in lower], dtype=torch.float64),
            torch.tensor([round_up(value) for value in upper], dtype=torch.float64),
        )

    def warnings(self, prop: Property) -> tuple[str, ...]:
        """What to tell a user whose property, in network units, leaves the header's ranges: one line for each input.

        A tool that clips inputs, as the format suggests, computes something else there than the network we speak about.
        A billionth of the range is let pass: benchmark files round their bounds to nine decimals.

        Raises:
            MismatchError: the property is for networks of another size.
        """
        prop.require_sizes(self.network.n_inputs, self.network.n_outputs)
        if self.scaling is None or self.ranges is None or not prop.regions:
            return ()
        lower, upper = (_in_network_units(side, self.scaling) for side in self.ranges)
        lines = []
        for index in range(prop.n_inputs):
            low = min(region.exact_lower[index] for region in prop.regions)
            high = max(region.exact_upper[index] for region in prop.regions)
            slack = Fraction(1, 10**9)
            if low < lower[index] - slack or high > upper[index] + slack:
                mean, extent = self.scaling.input_means[index], self.scaling.input_ranges[index]
                asked = f"[{float(low * extent + mean):.9g}, {float(high * extent + mean):.9g}]"
                given = f"[{float(self.ranges[0][index]):.9g}, {float(self.ranges[1][index]):.9g}]"
                lines.append(
                    f"property {prop.name!r} takes input {index} to {asked} (raw units), beyond the header's range "
                    f"{given}; the network is not clipped here"
                )
        return tuple(lines)


def _in_network_units(raw: Numbers, scaling: Scaling) -> list[Fraction]:
    parts = zip(raw, scaling.input_means, scaling.input_ranges, strict=True)
    return [(value - mean) / extent for value, mean, extent in parts]


@guarded_reader
def read_nnet(path: str | Path) -> NNet:
    """Read an NNet file, plain or ``.gz``, and compare its ONNX form with onnxruntime and with NumPy.

    Raises:
        FormatError: the file is no NNet file, or holds NaN among its weights; names the line.
    """
    stored = read_stored(path, MAX_BYTES)
    lines = _Lines.of(unpack_gzip(stored, path, MAX_BYTES), str(path))
    header = _read_header(lines)
    sizes = header.sizes
    layers = tuple(_read_layer(lines, n_in, n_out) for n_in, n_out in pairwise(sizes))
    # more numbers than the sizes ask for: the header was misread, or the file is damaged
    if (left := lines.rest()) is not None:
        raise lines.fail(left, "the file goes on after the last bias")
    network = network_from_onnx(layers_to_onnx(layers), path=path, digest=sha256(stored))
    nnet = NNet(network=network, layers=layers, scaling=header.scaling, ranges=header.ranges, oddity=header.oddity)
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
    lines = _Lines.of(unpack_gzip(read_stored(original, MAX_BYTES), original, MAX_BYTES), str(original))
    sizes = _read_header(lines).sizes
    text = [line.rstrip(" \t\r") for line in lines.lines[: lines.next]]  # the header as it stands
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
    write_bytes(out, ("\n".join(text) + "\n").encode(_CODING), keep=original)


@dataclass
class _Lines:
    """The lines of a file, read one after the other; comments and blank lines are passed over."""

    path: str
    lines: list[str]
    next: int = 0

    @classmethod
    def of(cls, data: bytes, path: str) -> _Lines:
        return cls(path, data.decode(_CODING).removesuffix("\n").split("\n"))

    def text(self, index: int) -> str:
        """A line without what stands around it: white space, a byte order mark."""
        return (self.lines[index] if index else self.lines[index].removeprefix(_MARK)).strip()

    def begin(self) -> None:
        """Pass over text that nobody marked as a comment: lines without any number, in front of the first with one."""
        while self.rest() is not None and not any(map(_is_number, self.text(self.next).split(","))):
            self.next += 1

    def rest(self) -> int | None:
        """Go to the next line that holds something; its number counted from 1, None at the end."""
        while self.next < len(self.lines):
            line = self.text(self.next)
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
        line = self.text(self.next).removesuffix(",")
        words = [word.strip() for word in line.split(",")]
        if count is not None and len(words) != count:
            raise self.fail(number, f"{what}: {count} numbers are expected, not {len(words)}")
        self.next += 1
        return number, words

    def integers(self, what: str, count: int | None, least: int, most: int) -> list[int]:
        """The next line as integers from `least` to `most`."""
        number, words = self.words(what, count)
        values = [parse_number(word) for word in words]
        for word, value in zip(words, values, strict=True):
            if value is None or value.denominator != 1 or not least <= value <= most:
                raise self.fail(number, f"{what}: {word[:40]!r} is no integer from {least} to {most}")
        return [int(value) for value in values if value is not None]

    def exact(self, what: str, count: int) -> Numbers | FormatError:
        """The next line as so many exact numbers; where it does not hold them, the error to be raised."""
        number, words = self.words(what, None)
        if len(words) != count:
            return self.fail(number, f"{what}: {count} numbers are expected, not {len(words)}")
        values = [parse_number(word) for word in words]
        for word, value in zip(words, values, strict=True):
            # of what float64 cannot hold no box can be made
            if value is None or not math.isfinite(round_up(abs(value))):
                return self.fail(number, f"{what}: {word[:40]!r} is no number we can read")
        return tuple(value for value in values if value is not None)

    def floats(self, what: str, count: int) -> list[float]:
        """The next line as numbers that are finite in float32."""
        number, words = self.words(what, count)
        values = []
        for word in words:
            value = parse_float(word)
            if value is None or abs(value) > _LARGEST:
                raise self.fail(number, f"{what}: {word[:40]!r} is no finite float32")
            values.append(value)
        return values


_LARGEST = float(np.finfo(np.float32).max)


def _is_number(word: str) -> bool:
    return parse_number(word.strip()) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """Layer sizes, and what else could be read; see `NNet`."""

    sizes: list[int]
    scaling: Scaling | None
    ranges: tuple[Numbers, Numbers] | None
    oddity: FormatError | None


def _read_header(lines: _Lines) -> _Header:
    lines.begin()
    what = "layer count, inputs, outputs, largest layer"
    counts = lines.integers(what, None, 1, _MAX_SIZE)
    n_layers = counts[0]
    if len(counts) not in (1, 4):  # some writers leave out what the sizes say again
        raise lines.fail(lines.next, f"{what}: 4 numbers are expected, not {len(counts)}")
    if n_layers > _MAX_LAYERS:
        raise lines.fail(lines.next, f"{n_layers} layers are more than {_MAX_LAYERS}")
    sizes = lines.integers("layer sizes", n_layers + 1, 1, _MAX_SIZE)
    if counts[1:3] not in ([], [sizes[0], sizes[-1]]):
        raise lines.fail(lines.next, f"layer sizes {sizes} do not start with {counts[1]} and end with {counts[2]}")
    if not _flag_is_empty(lines, sizes):
        lines.words("flag", 1)
    n_in = sizes[0]
    lower, upper = lines.exact("input minima", n_in), lines.exact("input maxima", n_in)
    # the last entry of each is for all outputs together
    means, ranges = lines.exact("means", n_in + 1), lines.exact("ranges", n_in + 1)
    ends = None if isinstance(lower, FormatError) or isinstance(upper, FormatError) else (lower, upper)
    if ends is not None and any(low > high for low, high in zip(*ends, strict=True)):
        ends = None
    if isinstance(means, FormatError):
        return _Header(sizes=sizes, scaling=None, ranges=ends, oddity=means)
    if not isinstance(ranges, FormatError) and any(value < _LEAST_RANGE for value in ranges):
        ranges = lines.fail(lines.next, f"ranges must be positive, {float(_LEAST_RANGE):.0e} or more")
    if isinstance(ranges, FormatError):
        return _Header(sizes=sizes, scaling=None, ranges=ends, oddity=ranges)
    scaling = Scaling(input_means=means[:-1], input_ranges=ranges[:-1], output_mean=means[-1], output_range=ranges[-1])
    return _Header(sizes=sizes, scaling=scaling, ranges=ends, oddity=None)


def _flag_is_empty(lines: _Lines, sizes: list[int]) -> bool:
    """Is the flag's line blank? Blank lines are passed over elsewhere: then one line less stands before the weights."""
    if lines.next >= len(lines.lines) or lines.text(lines.next):
        return False
    begin, left = lines.next, 0
    while lines.rest() is not None:
        left, lines.next = left + 1, lines.next + 1
    lines.next = begin
    # four more lines of the header, then a row of weights and a bias for each neuron
    return left == 4 + 2 * sum(sizes[1:])


def _read_layer(lines: _Lines, n_in: int, n_out: int) -> Layer:
    # before lists of a declared size are made
    if len(lines.lines) - lines.next < 2 * n_out:
        raise lines.fail(len(lines.lines), f"the file ends before the {n_out} weight rows and biases of a layer")
    weight = [lines.floats("weights", n_in) for _ in range(n_out)]
    bias = [lines.floats("bias", 1) for _ in range(n_out)]
    return np.array(weight, dtype=np.float64), np.array(bias, dtype=np.float64)[:, 0]


def _compare_with_numpy(nnet: NNet) -> None:
    """Refuse a network whose torch form computes something else than NumPy on the file's numbers."""
    # other inputs than those that onnxruntime was asked for, whose seed is 0
    probes = torch.randn((4, nnet.network.n_inputs), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = nnet.network(probes).numpy()
    values, largest = probes.double().numpy(), 1.0
    with np.errstate(all="ignore"):
        direct = nnet.evaluate(probes.numpy())
        for weight, bias in nnet.layers:
            # with all signs alike: no partial sum, in whatever order, is larger
            values = np.abs(values) @ np.abs(weight.T) + np.abs(bias)
            largest = max(largest, float(values.max()))
    if not np.abs(ours - direct).max() <= 512 * np.finfo(np.float32).eps * largest:
        raise FormatError(nnet.network.source, "", "NumPy and torch differ on the network")
