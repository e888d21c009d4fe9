"""What block-level localisation and repair tell: how suspicious each block is, what stood in it before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from birdnn.records.facts import AskedDevice, Machine
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
        suspiciousness: 0 to 1, by what becomes of the examples when it alone follows its gradients; None for a part
            without convolutions, or one that was not tried.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLocalizeRequest:
    """Everything that ``localize --blocks`` says.

    Attributes:
        data: labelled examples.
        chosen: name of a block -> its nodes, see `birdnn.blocks.partition`.
        radius: of adversarial neighbours, network units; None: 1 % of the range of the examples' values.
        examples: how many failing and how many passing ones are looked at, at most.
        top: how many neurons to name for each block.
        device: where to compute.
        command: the command line, for the record.
    """

    net: Path
    data: Path
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    formula: Formula = "ochiai"
    radius: float | None = None
    examples: int = 150
    top: int = 3
    device: AskedDevice = "auto"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLocalizeOutcome:
    """What ``localize --blocks`` found."""

    request: BlockLocalizeRequest
    net: str
    net_sha256: str
    examples: Examples
    found: BlockLocalisation
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest:
    """What ``repair --method blocks`` says beyond other methods.

    Attributes:
        data: examples to learn from: those that the network gets wrong are repaired, the others preserved.
        val: validation examples, which decide when to stop and which candidate is best.
        test: held-out examples, looked at once in the end.
        chosen, formula, radius, examples: as for ``localize --blocks``.
        block: the block to repair; None: of the most suspicious ones the one that a short training helps most.
        compare: repair by the other methods as well, and tell how they fare.
        epochs: passes over the examples at most, for each method.
    """

    data: Path
    val: Path
    test: Path | None = None
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    formula: Formula = "ochiai"
    radius: float | None = None
    examples: int = 150
    block: str | None = None
    compare: bool = False
    epochs: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Of one network on one file: how many are right, of how many; repaired and broken against the original."""

    right: int
    repaired: int
    broken: int
    n: int

    @property
    def share(self) -> float:
        """Of right ones."""
        return self.right / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One way to repair, by the same examples and the same training.

    Attributes:
        name: e.g. ``"blocks"``.
        changes: what it was free to change, in words.
        values: how many values that is.
        epochs: of training, the search left out.
        seconds: of everything.
        accuracy: role of a file -> accuracy.
        kept: decisions and outputs on the validation examples, against the original.
        architecture: convolution -> operation, where the method chooses one.
        finished: False where the time limit or the user ended it.
        out: absolute path of its network; None where it changed nothing.
    """

    name: str
    changes: str
    values: int
    epochs: int
    seconds: float
    accuracy: Mapping[str, Accuracy]
    kept: Fidelity
    architecture: Mapping[str, str] = field(default_factory=dict)
    finished: bool = True
    out: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceInBlock:
    """A convolution of the repaired block, before and after.

    Attributes:
        node: its name.
        before, after: e.g. ``"3x3 convolution, 16 to 16"``.
        shares: weight of each operation at the end of the search; empty where there was none.
    """

    node: str
    before: str
    after: str
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChange:
    """What differs between two ONNX files, compared byte by byte once external data is embedded.

    Attributes:
        nodes_gone, nodes_new: name and operator of those that one file alone has; a node that differs is in both.
        nodes_kept: how many are the same in both.
        initialisers_gone, initialisers_new: name -> shape, of those that one file alone has.
        initialisers_changed: names of those that both have, with other bytes.
        initialisers_kept: how many are the same in both.
        rest_kept: are inputs, outputs, operator sets, metadata and whatever else the file holds the same?
    """

    nodes_gone: tuple[tuple[str, str], ...]
    nodes_new: tuple[tuple[str, str], ...]
    nodes_kept: int
    initialisers_gone: Mapping[str, tuple[int, ...]]
    initialisers_new: Mapping[str, tuple[int, ...]]
    initialisers_changed: tuple[str, ...]
    initialisers_kept: int
    rest_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRepair:
    """What a repair by blocks did.

    Attributes:
        localisation: all blocks.
        block: which one was repaired.
        why: how it was chosen.
        places: its convolutions.
        examples: the files.
        before: role of a file -> accuracy of the original.
        methods: the repair first, then what it is compared with.
        graph: what differs in the file that was written; None where none was.
    """

    localisation: BlockLocalisation
    block: str
    why: str
    places: tuple[PlaceInBlock, ...]
    examples: tuple[Examples, ...]
    before: Mapping[str, Accuracy]
    methods: tuple[MethodResult, ...]
    graph: GraphChange | None = None
