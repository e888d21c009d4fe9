"""What block-level localisation and repair tell: how suspicious each block is, what stood in it before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from birdnn.records.facts import AskedDevice, Machine
from birdnn.records.published import CommandLine, Said, publishes

Formula = Literal["ochiai", "tarantula", "dstar"]
FORMULAS: tuple[Formula, ...] = ("ochiai", "tarantula", "dstar")
Border = Literal["names", "structure", "user"]
ExampleRole = Literal["repair", "validation", "test"]


@publishes("ExamplesModel", "role file=path sha256 n failing")
@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """A file of labelled examples."""

    role: Annotated[
        ExampleRole,
        Said("What it is for; test examples are looked at once, in the end."),
    ]
    path: str
    sha256: str
    n: int
    failing: Annotated[int, Said("How many of them the original network gets wrong.")]


@publishes("SuspiciousNeuronModel", "node channel forward backward")
@dataclass(frozen=True, slots=True, kw_only=True)
class SuspiciousNeuron:
    """One channel of a convolution.

    Attributes:
        node: the convolution.
        channel: counted from 0.
    """

    node: str
    channel: int
    forward: Annotated[float, Said("Suspiciousness by its activation status, 0 to 1.")]
    backward: Annotated[float, Said("By the gradients of its weights.")]

    @property
    def value(self) -> float:
        """The mean of both."""
        return (self.forward + self.backward) / 2


@publishes(
    "BlockModel",
    "name by nodes operations entry exit weights rank suspiciousness forward backward neurons layers",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SuspiciousBlock:
    """One block, in the order from input to output.

    Attributes:
        name, by: see `birdnn.blocks.Block`.
        nodes: names of its nodes, in order.
        operations: what it does, e.g. ``"Conv Relu Conv Add Relu"``.
        rank: 1 for the most suspicious; `BlockLocalisation` knows it.
    """

    name: str
    by: Annotated[Border, Said("What drew its borders.")]
    nodes: tuple[str, ...]
    entry: Annotated[tuple[int, ...], Said("Shape of what it reads, for one example.")]
    exit: tuple[int, ...]
    weights: Annotated[int, Said("Values that a repair may change.")]
    operations: str
    rank: Annotated[int | None, Said("Null for a part without convolutions, which is not judged.")] = None
    forward: Annotated[float, Said("Mean suspiciousness of its neurons, by activation status.")] = 0.0
    backward: float = 0.0
    suspiciousness: Annotated[
        float | None,
        Said(
            "0 to 1, by what becomes of the examples when it alone follows its gradients, a little less in a "
            "block of more weights; null where not tried."
        ),
    ] = None
    neurons: Annotated[tuple[SuspiciousNeuron, ...], Said("The most suspicious ones.")] = ()
    layers: Annotated[Mapping[str, float], Said("Each convolution's mean suspiciousness.")] = field(
        default_factory=dict
    )


@publishes("BlockLocalisationModel", "formula failing passing near_failing near_passing radius blocks")
@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLocalisation:
    """All blocks, and what they were judged by.

    Attributes:
        formula: of the spectrum.
        blocks: from input to output; they get their ranks here.
        failing, passing: examples looked at, their neighbours not counted.
    """

    formula: Formula
    blocks: tuple[SuspiciousBlock, ...]
    failing: int
    passing: int
    near_failing: Annotated[int, Said("Adversarial neighbours that the network gets wrong.")]
    near_passing: int
    radius: Annotated[float, Said("Of the neighbours, network units.")]

    def __post_init__(self) -> None:
        ranks = {block.name: rank for rank, block in enumerate(self.ranking(), 1)}
        ranked = tuple(replace(block, rank=ranks.get(block.name)) for block in self.blocks)
        # A frozen record sets its own field once; who makes the blocks need not know all of them to rank each.
        object.__setattr__(self, "blocks", ranked)

    def ranking(self) -> tuple[SuspiciousBlock, ...]:
        """Those with a suspiciousness, the greatest first; among equals those closer to the input first."""
        rated = [block for block in self.blocks if block.suspiciousness is not None]
        # Stable, also in reverse: blocks come from input to output, and equals stay in that order.
        return tuple(sorted(rated, key=lambda block: block.suspiciousness or 0.0, reverse=True))


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
    command: CommandLine = ()


@publishes(
    "BlockLocalizeReport",
    "command=request.command outcome interrupted net net_sha256 examples localisation=found seed=request.seed wall_s "
    "versions machine",
    text="What `birdnn localize --blocks --json` writes.",
    report=True,
)
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

    @property
    def outcome(self) -> Annotated[Literal["localised"], Said(absent="localised")]:
        """There is always something to localise: examples that fail are asked for."""
        return "localised"


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


@publishes("AccuracyModel", "share right n repaired broken")
@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Right examples of one file.

    Raises:
        ValueError: there was none to count.
    """

    right: int
    repaired: Annotated[int, Said("Wrong before, right now.")]
    broken: Annotated[int, Said("Right before, wrong now.")]
    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError("a share of right examples is of one at least")

    @property
    def share(self) -> float:
        """Of right ones."""
        return self.right / self.n


@publishes(
    "BlockMethodModel",
    "name changes values epochs seconds accuracy decision_agreement mae architecture finished out",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One way to repair: the same examples, the same training, another part of the network free to change.

    Attributes:
        name: e.g. ``"blocks"``.
        changes: what it was free to change, in words.
        epochs: of training, the search left out.
        seconds: of everything.
        architecture: convolution -> operation, where the method chooses one.
    """

    name: str
    changes: str
    values: Annotated[int, Said("How many values it was free to change.")]
    epochs: int
    seconds: float
    accuracy: Annotated[Mapping[str, Accuracy], Said("Role of a file -> accuracy.")]
    decision_agreement: Annotated[float | None, Said("With the original, over the validation examples.")]
    mae: Annotated[float, Said("Mean absolute difference of the outputs, over the same.")]
    architecture: Mapping[str, str] = field(default_factory=dict)
    finished: Annotated[bool, Said("False where the time limit or the user ended it.")] = True
    out: Annotated[str | None, Said("Absolute path of its network; null where it changed nothing.")] = None


COMPARED = "block weights", "layer", "network", "network longer", "imitation"
"""Names of the methods beside ``"blocks"``; each leaves a network."""


@publishes("PlaceModel", "node before after shares")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceInBlock:
    """A convolution of the repaired block.

    Attributes:
        before, after: e.g. ``"3x3 convolution, 16 to 16"``.
        shares: empty where there was no search.
    """

    node: str
    before: str
    after: str
    shares: Annotated[Mapping[str, float], Said("Weight of each operation at the end of the search.")] = field(
        default_factory=dict
    )


@publishes("NodeModel", "name op")
@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node of an ONNX graph."""

    name: str
    op: str


@publishes(
    "GraphChangeModel",
    "nodes_gone nodes_new nodes_kept initialisers_gone initialisers_new initialisers_changed initialisers_kept "
    "rest_kept",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChange:
    """What differs between the two ONNX files, compared byte by byte; a node that differs is gone and new.

    Attributes:
        nodes_kept, initialisers_kept: how many are the same in both, external data embedded.
    """

    nodes_gone: tuple[GraphNode, ...]
    nodes_new: tuple[GraphNode, ...]
    nodes_kept: int
    initialisers_gone: Annotated[Mapping[str, tuple[int, ...]], Said("Name -> shape.")]
    initialisers_new: Annotated[Mapping[str, tuple[int, ...]], Said("Name -> shape.")]
    initialisers_changed: Annotated[tuple[str, ...], Said("In both files, with other bytes.")]
    initialisers_kept: int
    rest_kept: Annotated[bool, Said("Are inputs, outputs, operator sets, metadata and all else the same?")]


@publishes("BlockRepairModel", "block why places localisation examples before methods graph")
@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRepair:
    """Of `birdnn repair --method blocks`: the block, both architectures, and what other methods do.

    Attributes:
        places: its convolutions.

    Raises:
        ValueError: on one of the files nothing was counted.
    """

    localisation: BlockLocalisation
    block: str
    why: Annotated[str, Said("How the block was chosen.")]
    places: tuple[PlaceInBlock, ...]
    examples: Annotated[tuple[Examples, ...], Said(least=1)]
    before: Annotated[Mapping[str, Accuracy], Said("Of the original; role of a file -> accuracy.")]
    methods: Annotated[tuple[MethodResult, ...], Said("The repair first, then what it is compared with.", least=1)]
    graph: Annotated[
        GraphChange | None, Said("What differs in the file that was written; null where none was.", absent=None)
    ] = None

    def __post_init__(self) -> None:
        roles = {entry.role for entry in self.examples}
        for counted in (self.before, *(method.accuracy for method in self.methods)):
            # Checked here, for reports look up each role without asking: a damaged file is told by the reader, with its
            # place.
            if lacking := roles - counted.keys():
                raise ValueError(f"no accuracy on the {min(lacking)} examples")
