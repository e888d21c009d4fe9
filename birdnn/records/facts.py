"""Facts that several outcomes state: the machine, the suite, what inputs and outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, TypeAlias

from birdnn.records.published import Said, publishes
from birdnn.rounding import Semantics
from birdnn.spec import Region, Row

Units = Literal["normalised", "raw"]

Device = Literal["cpu", "cuda"]

AskedDevice = Literal["auto", "cpu", "cuda"]
"""Where to compute, as the user says it: ``"auto"`` is the CPU unless a graphics device is there and pays."""


@publishes("MachineModel", "system cpu cores threads memory_gib device")
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the command ran on."""

    system: str
    cpu: str
    cores: Annotated[int, Said("Cores that this process may use.")]
    threads: int
    memory_gib: float | None
    device: str = "cpu"


@publishes("SuiteModel", "name entry by applicable not_named")
@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMatch:
    """A suite that knows the network.

    Attributes:
        name: the suite, e.g. ``"acasxu"``.
        entry: the network there, e.g. ``"N2,9"``.
        by: how it was found: ``"content"`` (sha256 of the weights) or ``"--as"``.
        applicable: names of all properties that are meant to hold.
    """

    name: str
    entry: str
    by: Literal["content", "--as"]
    applicable: tuple[str, ...]
    not_named: Annotated[tuple[str, ...], Said("Applicable properties that the user did not ask for.")] = ()


@publishes("ScaledQuantityModel", "name text unit mean range")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledQuantity:
    """An input or output: ``network value = (raw - mean) / range``; exact numbers as text."""

    name: str
    text: str
    unit: str
    mean: Fraction
    range: Fraction


publishes(
    "HalfSpaceModel",
    "coefficients bound strict",
    text="``coefficients . y <= bound``, or ``<`` where `strict`; exact numbers as text.",
)(Row)


@publishes("RegionModel", "lower upper unsafe")
@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRegion:
    """A box of inputs and what must not come out of it, network units; exact numbers as text.

    Attributes:
        lower, upper, unsafe: what a property says, for people and files; to compute with it there is `Region`.

    Raises:
        ValueError: corners or half-spaces have different lengths.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    unsafe: Annotated[tuple[tuple[Row, ...], ...], Said("Outputs in all half-spaces of one list are unsafe.")]

    def __post_init__(self) -> None:
        # Reports put names beside corners and coefficients by their place, and would fail on a damaged file.
        sizes = {len(row.coefficients) for rows in self.unsafe for row in rows}
        if len(self.lower) != len(self.upper) or len(sizes) > 1:
            raise ValueError("a region's corners, or its half-spaces, have different lengths")

    @staticmethod
    def of(region: Region) -> StatedRegion:
        """What a region of a property says."""
        unsafe = tuple(polytope.rows for polytope in region.unsafe)
        return StatedRegion(lower=region.exact_lower, upper=region.exact_upper, unsafe=unsafe)


ProofSemantics: TypeAlias = Annotated[
    Semantics,
    Said("A proof speaks about the function over the reals, or about any execution in float32."),
]
