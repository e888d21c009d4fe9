"""Files into what the stages work with: a network with those who replay it, a property in the network's own units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from birdnn.crosscheck.onnxruntime import LabelReplay, OnnxReplay
from birdnn.errors import MismatchError
from birdnn.formats import network_kind, read_network, read_property
from birdnn.formats.files import NETWORK_BYTES, read_bytes
from birdnn.formats.labels import with_output
from birdnn.formats.nnet import NNet, read_nnet
from birdnn.formats.suite import Entry, Suite, recognise_bundled
from birdnn.formats.tensors import embed_external
from birdnn.labels import property_of_values
from birdnn.network import Network
from birdnn.printable import counted
from birdnn.reading import guarded_reader
from birdnn.records import Replay, Units
from birdnn.spec import NEAR, Property, Region, Scaling

_SAME_SCALING = 1e-6
"""Of a range: so far digits that were left out may move its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A network as read.

    Attributes:
        net: the network.
        path: absolute path of its file.
        replays: those who run the file outside torch, at least one.
        nnet: the whole file where it is NNet: scaling, header's ranges.
        known: the bundled suite and its entry that know the network by content.
    """

    net: Network
    path: Path
    replays: tuple[Replay, ...]
    nnet: NNet | None
    known: tuple[Suite, Entry] | None


@guarded_reader
def load_network(path: Path) -> Loaded:
    """Read a network and prepare its replay.

    Raises:
        FormatError: the file is unusable.
        DisagreementError: torch and onnxruntime differ on it.
    """
    # read once: scaling and header of an NNet file are needed besides its network
    nnet = read_nnet(path) if network_kind(path) == "nnet" else None
    net = read_network(path) if nnet is None else nnet.network
    replays = (_make_replay(net, _onnx_bytes(path)),) if nnet is None else nnet_replays(nnet)
    return Loaded(net=net, path=path.resolve(), replays=replays, nnet=nnet, known=recognise_bundled(net))


def _make_replay(net: Network, data: bytes) -> Replay:
    """Runs a file; of one that gives a label also the values whose greatest it is the place of."""
    return LabelReplay(data, _bytes_giving_values(net, data), net.graph.label) if net.graph.label else OnnxReplay(data)


def _bytes_giving_values(net: Network, data: bytes) -> bytes:
    """The file with what the network gives as its output."""
    return bytes(with_output(onnx.ModelProto.FromString(data), net.output_name).SerializeToString())


@dataclass(frozen=True, slots=True, eq=False)
class NumpyReplay:
    """`Replay` of an NNet file by NumPy on the file's own numbers."""

    nnet: NNet
    name: str = "numpy"

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs at one point: (inputs,) -> (outputs,), both normalised."""
        return self.nnet.evaluate(x)


def nnet_replays(nnet: NNet) -> tuple[Replay, ...]:
    """Two engines, on our ONNX export and directly: what violates must do so on both."""
    # the export alone would not do: a mistake of it would be one of the network and of its judge
    return OnnxReplay(nnet.onnx_bytes()), NumpyReplay(nnet)


def model_bytes(loaded: Loaded) -> bytes:
    """The network as an ONNX file, unpacked, for engines that read one: the file itself, or our export of an NNet.

    Of a file that gives a label, without what makes it.
    """
    if loaded.nnet is not None:
        return loaded.nnet.onnx_bytes()
    data = _onnx_bytes(loaded.path)
    return _bytes_giving_values(loaded.net, data) if loaded.net.graph.label else data


def _onnx_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked, external data embedded: a runtime that reads bytes has no folder to look into."""
    data = read_bytes(path, NETWORK_BYTES)
    # the file's own bytes where nothing lies beside it: what is run is what the user has, to the byte
    model = onnx.ModelProto.FromString(data)
    return model.SerializeToString() if embed_external(model, path, NETWORK_BYTES) else data


@guarded_reader
def load_property(
    path: Path, loaded: Loaded, units: Units, *, deciding: bool = False, relating: bool = False
) -> Property:
    """Read a property, state it in the network's units and see that it fits.

    ``deciding`` and ``relating``: see `read_property`.

    Raises:
        FormatError, SpecError: the file is unusable, or what it says makes no sense.
        MismatchError: it is for another number of inputs or outputs, or speaks raw units and nothing says the scaling.
    """
    prop = read_property(path, deciding=deciding, relating=relating)
    try:
        prop = _fit_to_network(prop, loaded.net)
    except MismatchError as error:
        raise MismatchError(f"{path}: {error.problem} ({loaded.path.name})") from None
    # after it fits: scaling needs a mean and a range for each of its inputs
    prop = prop if units == "normalised" else prop.scaled(scaling_of(loaded))
    return replace(prop, notes=(*prop.notes, *_nearest_run_notes(prop)))


def _fit_to_network(prop: Property, net: Network) -> Property:
    """The property of all outputs of a network, or of the values behind the label that it gives."""
    taken = net.graph.label
    # the file has one output, the label; a property of it becomes one of the values behind
    if taken:
        return property_of_values(prop.fitted(net.n_inputs, 1), net.n_outputs, taken)
    return prop.fitted(net.n_inputs, net.n_outputs)


def _nearest_run_notes(prop: Property) -> tuple[str, ...]:
    """Which inputs are run outside of their ranges, as these hold no float32, and which cannot be run at all."""
    near: dict[int, Region] = {}
    far: dict[int, Region] = {}
    for region in prop.regions:
        # the first region of each input is told of, the others are counted
        near |= {index: region for index in region.nearest if index not in near}
        if region.unrunnable is not None:
            far.setdefault(region.unrunnable, region)
    told = []
    if near:
        index = min(near)
        said = f"input {index} {_range_text(near[index], index)}"
        more = f"; so it is with {len(near)} inputs in all" if len(near) > 1 else ""
        told.append(f"{prop.name}: {said}, where no float32 is: it is run at {near[index].nearest[index]:.9g}{more}.")
    told += [
        f"{prop.name}: input {index} {_range_text(region, index)}, and no float32 is within {float(NEAR):g} of that: "
        "no run can be a counterexample there."
        for index, region in far.items()
    ]
    return tuple(told)


def _range_text(region: Region, index: int) -> str:
    low, high = float(region.exact_lower[index]), float(region.exact_upper[index])
    return f"is fixed at {low:.9g}" if region.is_fixed(index) else f"lies in [{low:.17g}, {high:.17g}]"


def known_scaling(loaded: Loaded) -> Scaling | None:
    """Raw to network units: from the suite that knows the network, whose names and units belong to it, else from the
    header of an NNet file; None where neither says it. Where they differ, raw numbers can be shown and not read."""
    if loaded.known is not None:
        return loaded.known[0].scaling
    return None if loaded.nnet is None else loaded.nnet.scaling


def scaling_of(loaded: Loaded) -> Scaling:
    """`known_scaling`, to read raw numbers with.

    Raises:
        MismatchError: neither says it, they say different things, or the suite's is that of another network.
        FormatError: the header of an NNet file is too odd to say it.
    """
    found = known_scaling(loaded)
    if found is None and loaded.nnet is not None:
        return loaded.nnet.require_scaling()  # which says what is missing
    if found is None:
        raise MismatchError(
            f"{loaded.path}: raw units need the network's scaling. An ONNX file does not hold it, and no suite knows "
            "this network; give the NNet file, or the property in normalised units"
        )
    if len(found.input_means) != loaded.net.n_inputs:
        told = f"the suite scales {len(found.input_means)} inputs, the network has {loaded.net.n_inputs}"
        raise MismatchError(f"{loaded.path}: {told}; name the suite and the entry that are this network's")
    if told := _scaling_conflict(loaded):
        raise MismatchError(
            f"{loaded.path}: raw units need one scaling, and {told}; mend the one that is wrong, or give everything in "
            "normalised units"
        )
    return found


def header_notes(loaded: Loaded, props: Iterable[Property]) -> tuple[str, ...]:
    """What an NNet header says against properties, and against the suite that knows the network; one sentence each."""
    if loaded.nnet is None:
        return ()
    told = _scaling_conflict(loaded)
    said = [f"Of {loaded.path.name} {told}; raw values are shown as the suite says."] if told else []
    return (*said, *(line for prop in props for line in loaded.nnet.warnings(prop)))


def _scaling_conflict(loaded: Loaded) -> str:
    """How the header of an NNet file scales otherwise than the suite; empty where it does not, or one is silent."""
    if loaded.nnet is None or loaded.nnet.scaling is None or loaded.known is None:
        return ""
    header, suite = loaded.nnet.scaling, loaded.known[0]
    columns = (
        [f"input {index}" for index in range(loaded.net.n_inputs)] + ["outputs"],
        *(pair for each in (header, suite.scaling) for pair in _means_and_ranges(each)),
    )
    # of a suite for another number of inputs others say more
    for what, mean, extent, mean_there, extent_there in zip(*columns, strict=False):
        if max(abs(mean - mean_there), abs(extent - extent_there)) > _SAME_SCALING * extent_there:
            return (
                f"the header scales {what} by mean {float(mean):g} and range {float(extent):g}, suite {suite.name} by "
                f"mean {float(mean_there):g} and range {float(extent_there):g}"
            )
    return ""


def _means_and_ranges(scaling: Scaling) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Of inputs, then of the outputs."""
    return (*scaling.input_means, scaling.output_mean), (*scaling.input_ranges, scaling.output_range)


def property_statement(prop: Property) -> str:
    """One line that says what a property is about: its file's first comment, or the shape of its formula."""
    for line in prop.text.splitlines():
        comment = line.strip().lstrip("; \t").strip()
        # a line of dashes is no sentence
        if line.lstrip().startswith(";") and any(letter.isalpha() for letter in comment):
            return comment
    regions, unsafe = len(prop.regions), sum(len(region.unsafe) for region in prop.regions)
    return f"{counted(regions, 'input box', 'input boxes')}, {counted(unsafe, 'unsafe output polytope')}"
