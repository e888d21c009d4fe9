"""A suite: what an ONNX file does not say about a family of networks, in one TOML file.

Input domain, decision rule, units, the properties in words, and for each known network the fingerprint of its weights
and the properties that are meant for it. A network is recognised by content, never by its file's name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from birdnn.chain import Affine, NotAChain
from birdnn.decimals import FORM, parse_number
from birdnn.errors import FormatError, MismatchError
from birdnn.formats.toml import read_validated
from birdnn.formats.vnnlib import read_property
from birdnn.network import Network, weights_sha256
from birdnn.reading import guarded_reader
from birdnn.spec import Property, Scaling, regions_hull

BUNDLED = ("acasxu", "hcas", "vcas")
LARGEST = Decimal(10) ** 300
"""Of a number in a suite; a range is at least its inverse. Beyond, float64 has no room to compute in."""

Decision = Literal["argmin", "argmax", "none"]
Key = str  # 64 hexadecimal digits


def _in_range(value: Decimal) -> Decimal:
    text = str(value)
    if parse_number(text) is None:
        raise ValueError(f"{text[:40]} is out of range; we read {FORM}")
    if abs(value) > LARGEST:
        raise ValueError(f"{text[:40]}: too large for float64")
    return value


def _require_least(value: Decimal) -> Decimal:
    if value < 1 / LARGEST:
        raise ValueError(f"{value}: a positive number of at least {1 / LARGEST} is expected")
    return value


Exact = Annotated[Decimal, AfterValidator(_in_range)]
"""A decimal that is cheap as a rational, and finite in float64."""


class _Table(BaseModel):
    # a misspelled key is an error and not a default
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Quantity(_Table):
    """An input or output: its name, what it means, its unit, and how raw values become network values.

    ``network value = (raw - mean) / range``; `lower` and `upper` are the declared domain in raw units.
    """

    name: str = Field(min_length=1)
    text: str
    unit: str = ""
    lower: Exact | None = None
    upper: Exact | None = None
    mean: Exact = Decimal(0)
    range: Annotated[Exact, AfterValidator(_require_least)] = Decimal(1)


def _require_one_scaling(outputs: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    first = outputs[0]
    for i, other in enumerate(outputs):
        if (other.mean, other.range) != (first.mean, first.range):
            told = f"mean {other.mean} and range {other.range}, and {first.name!r} {first.mean} and {first.range}"
            raise ValueError(f"[{i}] {other.name!r} has {told}; give all outputs one mean and one range")
    return outputs


class Domain(_Table):
    """The declared input domain in network units."""

    lower: tuple[Exact, ...] = Field(min_length=1)
    upper: tuple[Exact, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        if len(self.lower) != len(self.upper):
            raise ValueError(f"lower has {len(self.lower)} numbers, upper {len(self.upper)}")
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if not low <= high:
                raise ValueError(f"lower[{i}] = {low} is above upper[{i}] = {high}")
        return self


class Encounter(_Table):
    """Which inputs say where another aircraft is, as seen from above: names, see `Quantity`.

    `distance` in a unit of length, `bearing` in radians, counterclockwise from ownship's heading; so is `heading`, the
    other's.
    """

    distance: str
    bearing: str
    heading: str | None = None


class Stated(_Table):
    """A property as the suite states it: `file` lies beside the suite, `text` says it in words."""

    name: str = Field(min_length=1)
    file: str = Field(pattern=r"^[^/\\]+$")
    text: str


class Entry(_Table):
    """A network that the suite knows, and the names of the properties that are meant for it."""

    name: str = Field(min_length=1)
    weights_sha256: Key = Field(pattern=r"^[0-9a-f]{64}$")
    content_key: Key | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    properties: tuple[str, ...]

    @property
    def applicable(self) -> tuple[str, ...]:
        return self.properties


class _SuiteFile(_Table):
    """The whole TOML file."""

    suite: str = Field(min_length=1)
    text: str = ""
    decision: Decision
    units: Literal["normalised", "raw"] = "normalised"
    domain: Domain
    encounter: Encounter | None = None
    inputs: tuple[Quantity, ...] = Field(min_length=1)
    outputs: Annotated[tuple[Quantity, ...], Field(min_length=1), AfterValidator(_require_one_scaling)]
    properties: tuple[Stated, ...]
    networks: tuple[Entry, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if len(self.domain.lower) != len(self.inputs):
            raise ValueError(f"domain has {len(self.domain.lower)} inputs, the suite {len(self.inputs)}")
        known = {quantity.name for quantity in self.inputs}
        said = self.encounter.model_dump().values() if self.encounter is not None else ()
        if unknown := sorted({name for name in said if name is not None} - known):
            raise ValueError(f"the encounter names inputs that there are not: {', '.join(unknown)}")
        stated = {p.name for p in self.properties}
        for entry in self.networks:
            if unknown := sorted(set(entry.properties) - stated):
                raise ValueError(f"network {entry.name!r} names properties that are not stated: {', '.join(unknown)}")
        for kind, names in (
            ("property", [p.name for p in self.properties]),
            ("network", [n.name for n in self.networks]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} stated twice: {', '.join(twice)}")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """A suite file as read; see the module's description.

    Raises:
        FormatError: `load` cannot use the file; it names the key.
        MismatchError: a network or property is asked for that the suite does not know.
    """

    path: Path
    content: _SuiteFile

    @classmethod
    def load(cls, where: str | Path) -> Self:
        """The suite of a bundled name (``"acasxu"``) or of a TOML file.

        Raises:
            FormatError: there is none of that name and no such file, or it cannot be read.
        """
        path = bundled_path(where) if isinstance(where, str) and where in BUNDLED else Path(where)
        if path.suffix == "" and not path.exists():  # a name, and not that of a file
            raise FormatError(
                str(where), "", f"no suite of that name, and no such file; known are {', '.join(BUNDLED)}"
            )
        return cls(path, read_validated(path, _SuiteFile))

    @property
    def name(self) -> str:
        return self.content.suite

    @property
    def decision(self) -> Decision:
        """Which output decides."""
        return self.content.decision

    @property
    def units(self) -> Literal["normalised", "raw"]:
        """Units of the networks' inputs and of the property files."""
        return self.content.units

    @property
    def inputs(self) -> tuple[Quantity, ...]:
        return self.content.inputs

    @property
    def outputs(self) -> tuple[Quantity, ...]:
        return self.content.outputs

    @property
    def encounter(self) -> Encounter | None:
        """Which inputs make an encounter that can be drawn from above; None where none do."""
        return self.content.encounter

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.content.networks

    @property
    def texts(self) -> Mapping[str, str]:
        """Property name to its statement in words."""
        return {p.name: p.text for p in self.content.properties}

    @property
    def scaling(self) -> Scaling:
        """Raw to network units; the outputs of a suite share one mean and range."""
        first = self.outputs[0]
        return Scaling(
            input_means=tuple(Fraction(q.mean) for q in self.inputs),
            input_ranges=tuple(Fraction(q.range) for q in self.inputs),
            output_mean=Fraction(first.mean),
            output_range=Fraction(first.range),
        )

    def domain(self) -> tuple[Tensor, Tensor]:
        """The declared input domain in network units: lower and upper corner, (n_inputs,) float64."""
        return _domain_corners(self.content.domain)

    def recognise(self, net: Network) -> Entry | None:
        """The entry that computes what `net` does, whatever its file is called and whether ONNX or NNet; else None."""
        if (net.n_inputs, net.n_outputs) != (len(self.inputs), len(self.outputs)):
            return None
        # Weights alone do not tell a ReLU from a LeakyReLU; they serve where layers cannot be told apart.
        key = content_key(net)
        weights = weights_sha256(net) if key is None else None
        for entry in self.entries:
            if entry.content_key == key if key else entry.weights_sha256 == weights:
                return entry
        return None

    def entry(self, name: str) -> Entry:
        """The entry called `name` (``"N2,9"``), for a network that has changed since."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise MismatchError(f"suite {self.name!r} knows no network {name!r}; it knows {known}")

    def property(self, name: str) -> Property:
        """The property called `name` (``"prop_8"``), read from its file beside the suite."""
        for stated in self.content.properties:
            if stated.name == name:
                return read_property(self.path.parent / stated.file)
        raise MismatchError(f"suite {self.name!r} states no property {name!r}; it states {', '.join(self.texts)}")


def bundled_path(name: str) -> Path:
    """Where the package keeps the suite `name`."""
    return Path(__file__).resolve().parent.parent / "data" / "properties" / f"{name}.toml"


def recognise_bundled(net: Network) -> tuple[Suite, Entry] | None:
    """The bundled suite and entry that know `net` by its weights, if any does."""
    for name in BUNDLED:
        suite = Suite.load(name)
        if entry := suite.recognise(net):
            return suite, entry
    return None


def content_key(net: Network) -> str | None:
    """Fingerprint of what a chain of layers computes with, free of names and of the file format.

    sha256 over the folded layers in order: each affine map's shape, weights (row by row) and biases rounded to float32,
    little-endian; each activation's kind and parameter. None where the network is no chain.
    """
    try:
        layers = net.chain()
    except NotAChain:
        return None
    # float32, though layers are folded in float64: an NNet file of nine digits and its ONNX twin are one network
    digest = hashlib.sha256()
    for layer in layers:
        if isinstance(layer, Affine):
            digest.update(f"affine {tuple(layer.weight.shape)}\n".encode())
            for tensor in (layer.weight, layer.bias):
                # Adding zero turns -0.0 into 0.0: the two compute the same.
                digest.update((tensor.detach().cpu().float() + 0.0).numpy().astype("<f4").tobytes())
        else:
            digest.update(f"{layer.kind} {layer.alpha!r}\n".encode())
    return digest.hexdigest()


@guarded_reader
def read_domain(path: str | Path) -> tuple[Tensor, Tensor]:
    """An input domain in network units: lower and upper corner, (n_inputs,) float64.

    Either a TOML file with two arrays `lower` and `upper`, or a VNN-LIB property: the smallest box around its regions.

    Raises:
        FormatError: the file is neither, or its arrays are no box.
    """
    path = Path(path)
    if path.name.removesuffix(".gz").endswith(".vnnlib"):
        return property_hull(read_property(path))
    return _domain_corners(read_validated(path, Domain))


def property_hull(prop: Property) -> tuple[Tensor, Tensor]:
    """The smallest box around all regions of `prop`: lower and upper corner, (n_inputs,) float64."""
    return regions_hull(prop.regions)


def _domain_corners(domain: Domain) -> tuple[Tensor, Tensor]:
    """Corners as float64, rounded outward."""
    lower = [_round_decimal(value, -math.inf) for value in domain.lower]
    upper = [_round_decimal(value, math.inf) for value in domain.upper]
    return torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)


def _round_decimal(value: Decimal, towards: float) -> float:
    """The nearest float64 that does not lie on the wrong side of `value`."""
    nearest = float(value)
    # compared exactly: a decimal as a float is what has just been rounded
    beyond = Fraction(nearest) >= Fraction(value) if towards > 0 else Fraction(nearest) <= Fraction(value)
    return nearest if beyond else math.nextafter(nearest, towards)
