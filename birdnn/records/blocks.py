"""What block-level localisation and repair tell: how suspicious each block is, what stood in it before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from birdnn.records.facts import Machine
from birdnn.records.stages import Fidelity

Formula = Literal["ochiai", "tarantula", "dstar"]
FORMULAS: tuple[Formula, ...] = ("ochiai", "tarantula", "dstar")
Border = Literal["names", "structure", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """A file of labelled examples, and how the network does on it.

    Attributes:
        role: what it is for: ``"repair"``, ``"validation"``, ``"test"``.
        n: how many examples.
        failing: how many of them the network gets wrong.
    """

    role: Literal["repair", "validation", "test"]
    path: str
    sha256: str
    n: int
    failing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspiciousNeuron:
    """One channel of a convolution.

    Attributes:
        node: the convolution.
        channel: counted from 0.
        forward: suspiciousness by its activation status, 0 to 1.
        backward: by the gradients of its weights, 0 to 1.
    """

    node: str
    channel: int
    forward: float
    backward: float

    @property
    def value(self) -> float:
        """The mean of both."""
        return (self.forward + self.backward) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspiciousBlock:
    """One block.

    Attributes:
        name, by: see `birdnn.blocks.Block`.
        nodes: names of its nodes, in order.
        entry, exit: shapes of what it reads and makes, for one example.
        weights: how many values a repair may change.
        operations: what it does, e.g. ``"Conv Relu Conv Add Relu"``.
        forward, backward: means over its neurons.
        evidence: logarithm of how well damage in this block would explain where the network errs, relative to the best.
        suspiciousness: the same as a share, all blocks together 1; None for a part without convolutions.
        neurons: the most suspicious ones, in order.
        layers: suspiciousness of each convolution within the block, by name.
    """

    name: str
    by: Border
    nodes: tuple[str, ...]
    entry: tuple[int, ...]
    exit: tuple[int, ...]
    weights: int
    operations: str
    forward: float = 0.0
    backward: float = 0.0
    evidence: float = 0.0
    suspiciousness: float | None = None
    neurons: tuple[SuspiciousNeuron, ...] = ()
    layers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLocalisation:
    """All blocks, from input to output.

    Attributes:
        formula: of the spectrum.
        failing, passing: examples looked at, their neighbours not counted.
        near_failing, near_passing: adversarial neighbours that the network gets wrong, and right.
        radius: of the neighbours, network units.
    """

    formula: Formula
    blocks: tuple[SuspiciousBlock, ...]
    failing: int
    passing: int
    near_failing: int
    near_passing: int
    radius: float

    def ranking(self) -> tuple[SuspiciousBlock, ...]:
        """Those with a suspiciousness, the greatest first; among equals those closer to the input first."""
        rated = [block for block in self.blocks if block.suspiciousness is not None]
        return tuple(sorted(rated, key=lambda block: -(block.suspiciousness or 0.0)))
