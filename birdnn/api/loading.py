"""Networks and properties: from files, from torch, from numbers; and a repaired network back to torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from birdnn.decimals import exact_number
from birdnn.errors import BirdnnError, InputError, MismatchError, SpecError
from birdnn.formats import network_kind, read_network, read_property
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.files import write_bytes
from birdnn.formats.module import module_with_values, network_from_module
from birdnn.formats.onnx import bytes_with_values
from birdnn.formats.vnnlib_text import property_text
from birdnn.network import Network
from birdnn.spec import Polytope, Property, Region, Row

File: TypeAlias = str | os.PathLike[str]
NetworkLike: TypeAlias = File | nn.Module
PropertyLike: TypeAlias = File | Property

NETWORK = "a network, as a file, a torch module or a loaded network,"
PROPERTY = "a property, as a file, or made by load_property, box_property or rule,"


def path_of(what: str, given: object) -> Path:
    """The path that was given for something that is a file.

    Raises:
        InputError: what was given is no path.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given)
    # an object that prints in many lines would hide what is said about it
    raise InputError(f"{what} is expected, not {type(given).__name__}")


def load_network(source: NetworkLike, *, input_shape: Sequence[int] | int | None = None) -> Network:
    """A network from a file or from a torch module.

    It is compared with onnxruntime on seeded inputs, one from a module with the module's own forward pass as well. A
    module is read as it computes in evaluation mode, by way of torch's ONNX export, and not changed.

    Args:
        source: a file (``.onnx`` or ``.nnet``, also with ``.gz``), a module that takes one tensor of shape
            ``(batch, *input_shape)`` and gives one or a tuple of them, or a network.
        input_shape: of one sample, for a module; a number n stands for ``(n,)``.

    Returns:
        A network whose call takes a batch of flat inputs (n, n_inputs) to flat outputs (n, n_outputs). Several inputs
        or outputs of a file are counted one after the other, as its ``notes`` say.

    Raises:
        FormatError: the file cannot be read as a network.
        UnsupportedOpError: it holds an operator that we have no rule for.
        MismatchError: torch cannot export the module for such inputs, or `input_shape` is missing.
        DisagreementError: the module computes something else than what was read.

    >>> import birdnn
    >>> net = birdnn.load_network("demo.onnx")
    >>> net.n_inputs, net.n_outputs
    (5, 5)

    >>> from torch import nn
    >>> module = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> sorted(birdnn.load_network(module, input_shape=(5,)).initialisers())
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """
    if isinstance(source, Network):
        return source
    if isinstance(source, nn.Module):
        if input_shape is None:
            told = "nothing says what the module's input is like: birdnn.load_network(module, input_shape=(...)) does"
            raise MismatchError(f"input_shape is missing: {told}")
        # a module of vectors has one size, which is often said as a number
        shape = (int(input_shape),) if isinstance(input_shape, int | np.integer) else tuple(input_shape)
        return network_from_module(source, shape)
    return read_network(path_of(NETWORK, source))


def load_property(source: PropertyLike) -> Property:
    """A property from a VNN-LIB file (1.0 or 2.0, also with ``.gz``). Its formula describes what is unsafe.

    Raises:
        FormatError: the file cannot be read, with the line where it can be named.

    >>> import birdnn
    >>> prop = birdnn.load_property("prop_8.vnnlib")
    >>> prop.name, len(prop.regions), prop.n_inputs
    ('prop_8', 1, 5)
    """
    return source if isinstance(source, Property) else read_property(path_of(PROPERTY, source))


def box_property(
    name: str,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    unsafe: Sequence[tuple[ArrayLike, ArrayLike]],
    text: str = "",
) -> Property:
    """The property that no input of a box has an output in one of some unsafe polytopes.

    Numbers are taken as they are: a float stands for its exact value, an int, Fraction, Decimal or a string such as
    ``"0.1"`` for itself.

    Args:
        name: as reports print it, and the stem of its file where it becomes one.
        lower, upper: corners of the box, (n_inputs,) each, network units.
        unsafe: polytopes ``{y : a @ y <= b}``, each a pair of `a`, (rows, n_outputs), and `b`, (rows,).
        text: one line that says what must hold, for people.

    Raises:
        SpecError: the box is empty, a number is not finite, or sizes do not fit each other.

    Output 0 must stay above output 1, wherever both inputs are between 0 and 1:

    >>> import birdnn
    >>> unsafe = [([[1, -1]], [0])]
    >>> prop = birdnn.box_property("first_above_second", lower=[0, 0], upper=[1, 1], unsafe=unsafe)
    >>> prop.violated([0.5, 0.5], [1.0, 2.0]), prop.violated([0.5, 0.5], [2.0, 1.0])
    (True, False)
    """
    corners = [_exact_array(f"{name}: {side}", values, 1) for side, values in (("lower", lower), ("upper", upper))]
    polytopes = []
    for number, (a, b) in enumerate(unsafe):
        rows, bounds = (
            _exact_array(f"{name}: a of polytope {number}", a, 2),
            _exact_array(f"{name}: b of polytope {number}", b, 1),
        )
        if len(rows) != len(bounds):
            raise SpecError(f"{name}: polytope {number} has {len(rows)} rows and {len(bounds)} bounds")
        made = tuple(Row(tuple(row), bound) for row, bound in zip(rows, bounds, strict=True))
        polytopes.append(Polytope(rows=made, n_outputs=rows.shape[1]))
    if not polytopes:
        raise SpecError(f"{name}: nothing is unsafe; give at least one polytope")
    region = Region(exact_lower=tuple(corners[0]), exact_upper=tuple(corners[1]), unsafe=tuple(polytopes))
    return Property(
        name=name,
        regions=(region,),
        n_inputs=region.n_inputs,
        n_outputs=polytopes[0].n_outputs,
        # a comment of VNN-LIB goes to the end of its line, so that the text has to be one line
        text=f"; {' '.join(text.split())}" if text else "",
    )


def repaired_module(module: nn.Module, file: File | None) -> nn.Module:
    """A copy of a module with the weights of a repaired file, and nothing else changed.

    Args:
        module: the one that was repaired.
        file: ``outcome.out`` of its repair.

    Returns:
        A module of the same class, mode and device; its ``state_dict()`` fits the original.

    Raises:
        FormatError: the file cannot be read.
        MismatchError: the file has weights that the module has not, or there is none, as the repair wrote no network.
        DisagreementError: the copy computes something else than the file.
    """
    if file is None:
        raise MismatchError("there is no repaired network: the outcome's result says why none was written")
    return module_with_values(module, read_network(path_of("the file of a repaired network", file)))


def save_network(net: NetworkLike, file: File, *, input_shape: Sequence[int] | int | None = None) -> None:
    """Write a network, or a torch module, as an ONNX file (``.gz`` by its name).

    A network that was read from an ONNX file and has other values now is written as that file with these values, where
    it is still there: graph, names and metadata stay.

    Args:
        net: a loaded network, a module, or a file (an NNet file becomes ONNX).
        file: never the one that the network was read from.
        input_shape: of one sample, for a module.

    Raises:
        OutputError: the file cannot be written.

    >>> import birdnn, torch
    >>> birdnn.save_network(torch.nn.Linear(5, 2), "linear.onnx", input_shape=(5,))
    >>> birdnn.load_network("linear.onnx").n_outputs
    2
    """
    loaded = load_network(net, input_shape=input_shape)
    write_bytes(Path(file), network_bytes(loaded), keep=loaded.source or None)


def save_property(prop: Property, file: File) -> None:
    """Write a property as VNN-LIB 1.0, with exact numbers (``.gz`` by its name).

    Raises:
        OutputError: the file cannot be written, or is the one that the property was read from.
        SpecError: nothing is unsafe, so that there is nothing to write.

    >>> import birdnn
    >>> made = birdnn.box_property("low", lower=[0], upper=["0.1"], unsafe=[([[-1]], [-2])], text="Y_0 < 2")
    >>> birdnn.save_property(made, "low.vnnlib")
    >>> birdnn.load_property("low.vnnlib").regions[0].exact_upper[0]
    Fraction(1, 10)
    """
    write_bytes(Path(file), property_text(prop).encode(), keep=prop.path)


def network_bytes(net: Network) -> bytes:
    """A network as an ONNX file: the file it was read from with its present values, where that file still exists."""
    with suppress(BirdnnError):
        # where it is gone, damaged or another network by now, the network is written anew
        if net.source and network_kind(net.source) == "onnx" and read_network(net.source).graph == net.graph:
            return bytes_with_values(net, net.source)
    return to_onnx_bytes(net)


def _exact_array(what: str, values: ArrayLike, dimensions: int) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Numbers as fractions, in an array of this many dimensions."""
    # as objects: float64 would round what a string, a Decimal or a Fraction says
    found = np.array(values, dtype=object)
    if found.ndim != dimensions or not found.size:
        raise SpecError(f"{what}: an array of {dimensions} dimension(s) is expected, not one of shape {found.shape}")
    exact = np.empty_like(found)
    for index, value in np.ndenumerate(found):
        exact[index] = _exact_fraction(what, value)
    return exact


def _exact_fraction(what: str, value: Any) -> Fraction:
    try:
        if isinstance(value, str | Decimal):
            return exact_number(str(value).strip())
        return Fraction(value if isinstance(value, int | Fraction) else float(value))
    except (ValueError, OverflowError, TypeError) as error:
        told = error if isinstance(value, str | Decimal) else f"{value!r} is no finite number"
        raise SpecError(f"{what}: {told}") from None
